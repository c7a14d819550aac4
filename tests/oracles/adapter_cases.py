"""Record what torch holds in steps with PEFT's adapters in all their forms: tests/recorded/adapters.json.

    python tests/oracles/adapter_cases.py [GROUP ...]    (in the environment of requirements-oracles.txt)

The tracing itself is that of tests/oracles/train.py and record_saved.py.
"""

from __future__ import annotations

import json
import sys
import unittest.mock
from functools import partial
from importlib.metadata import version
from itertools import product
from pathlib import Path

import bitsandbytes
import record_saved
import torch
import train
import train_cases
from bitsandbytes.nn import parametrize
from torch._subclasses.fake_tensor import FakeTensorMode
from train import Run

RECORDED = Path(__file__).resolve().parent.parent / "recorded" / "adapters.json"
SMALL = partial(Run, batch=2, sequence=33, optimizer="none")
WIDE = {"weights": "fp32", "autocast": True}


def two_layers(family, **more):
    """A small config of a family."""
    return train_cases.with_depth(train_cases.FAMILIES[family], 2) | more


def ends():
    """Embedding and head trained beside adapters, or with adapters of their own; tied, and not."""
    kinds = (
        *("q_proj,v_proj fp32 save=lm_head", "q_proj,v_proj fp32 save=embed_tokens", "q_proj,lm_head fp32"),
        *("q_proj,v_proj bf16 save=embed_tokens,lm_head", "q_proj,embed_tokens fp32"),
        "embed_tokens,lm_head bf16",
    )
    for family, again, low, kind in product(("llama", "qwen3"), (False, True), (False, True), kinds):
        yield two_layers(family), SMALL(trained=f"lora 8 {kind}", recompute=again, autocast=low)
    both, copies = "lora 8 q_proj,embed_tokens,lm_head fp32", "lora 8 q_proj fp32 save=embed_tokens,lm_head"
    for trained in both, copies:
        yield (
            two_layers("llama"),
            SMALL(batch=1, trained=trained, optimizer="adamw foreach", keep_gradients=True),
        )
        yield two_layers("qwen3"), SMALL(batch=1, trained=trained, optimizer="adamw for-loop")
        yield two_layers("llama"), SMALL(trained=trained, **WIDE)
        yield two_layers("llama"), SMALL(batch=1, sequence=5, trained=trained, autocast=True)
    yield two_layers("llama"), SMALL(trained=f"{both} dropout=0.1")


def dora():
    """Magnitudes and norms, of every matrix and of some; with dropout the matrix is multiplied twice."""
    kinds = ("q_proj,v_proj fp32 dora", "down_proj bf16 dora", "all-linear fp32 dora", "lm_head fp32 dora")
    dropped = ("all-linear fp32 dora dropout=0.1",)
    for family, again, low in product(("llama", "qwen2"), (False, True), (False, True)):
        for kind in (*kinds, *dropped):
            yield two_layers(family), SMALL(trained=f"lora 8 {kind}", recompute=again, autocast=low)
    broad = two_layers("llama", intermediate_size=704)  # the identity is larger than any matrix
    for again, low in product((False, True), (False, True)):
        yield broad, SMALL(batch=1, trained="lora 8 all-linear fp32 dora", recompute=again, autocast=low)
    some = "lora 8 q_proj fp32 dora"
    yield two_layers("llama"), SMALL(trained=some, **WIDE)
    yield two_layers("llama"), SMALL(batch=1, trained=some, optimizer="adamw foreach", keep_gradients=True)


def base():
    """Quantised bases: as PEFT's prepare_model_for_kbit_training leaves them, with experts, or plainly."""
    targets = ("all-linear fp32", "q_proj,v_proj bf16", "all-linear fp32 dropout=0.1")
    for again, low, attention in product((False, True), (False, True), ("flash", "repeated", "eager")):
        for words, kind in product(("", "upcast"), targets[: 2 if attention == "eager" else 1]):
            run = SMALL(attention=attention, trained=f"lora 8 {kind}", recompute=again, autocast=low)
            yield two_layers("llama"), run, words
    for low, words in product((False, True), ("", "upcast")):
        yield two_layers("qwen3"), SMALL(trained=f"lora 8 {targets[0]}", autocast=low), words
        yield two_layers("llama"), SMALL(trained=f"lora 8 {targets[2]}", autocast=low), words
    for family, again, low in product(("qwen3_moe", "mixtral"), (False, True), (False, True)):
        run = SMALL(trained="lora 8 q_proj,o_proj fp32", recompute=again, autocast=low)
        for words in "", "experts":
            yield two_layers(family), run, words


def prepared(words, model, run):
    """The model with bitsandbytes' matrices and PEFT's adapters, and what the words ask for beside."""
    model = record_saved.packed(model)
    for module in [one for one in model.modules() if hasattr(one, "gate_up_proj") and "experts" in words]:
        for name in "gate_up_proj", "down_proj":
            parametrize.replace_parameter_4bit(module, name, quant_type="nf4")
    for item in model.parameters() if "upcast" in words else ():
        if item.dtype == torch.bfloat16 and not isinstance(item, bitsandbytes.nn.Params4bit):
            item.data = item.data.float()
    return record_saved.LORA(model, run)


def states(model):
    """The quantisation states of a model, and the modules whose weights they belong to, or None."""
    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            yield module.weight.quant_state, module
        elif isinstance(module, parametrize.Bnb4bitParametrization):
            yield module.quant_state, None


def quantised(fields, run, words):
    """One step with a quantised base on fake tensors: bytes beside those that are held when it starts."""
    with unittest.mock.patch.object(train.steps, "lora", partial(prepared, words)):
        model = train.build(fields, run, "cpu")
    model.config._is_quantized = True
    known, ledger = list(states(model)), train.Ledger()
    with FakeTensorMode():
        train.faked(model)
        for state, module in known:
            state.absmax, state.code = torch.empty(state.absmax.shape), torch.empty(state.code.shape)
            if module is not None:
                module.weight.quant_state = module.quant_state = state
        ids = torch.zeros((run.batch, run.sequence), dtype=torch.long)
        for item in (*model.parameters(), *model.buffers(), ids, *(state.absmax for state, _ in known)):
            ledger.take(item)
        start = ledger.held
        train.watch(model, ledger)
        enabled = torch.is_autocast_enabled  # PEFT asks it without a device, which is CUDA's state
        with unittest.mock.patch("torch.is_autocast_enabled", lambda kind="cpu": enabled(kind)), ledger:
            for _ in range(2):
                train.one_step(model, None, ids, run, ledger)
    used = {name: ledger.moments[name] for name in record_saved.USED if name in ledger.moments}
    moments = {name: [at["held"] - start, at["peak"] - start] for name, at in used.items()}
    return {"config": fields, "run": run.stated(), "base": words, "moments": moments}


GROUPS = {
    "ends": (ends, record_saved.recorded),
    "dora": (dora, record_saved.recorded),
    "base": (base, quantised),
}


def main():
    """Write the file, a step a line: the groups that are named anew, the others as they were."""
    known = json.loads(RECORDED.read_text(encoding="utf-8")) if RECORDED.exists() else {}
    listed = []
    for name, (cases, asked) in GROUPS.items():
        anew = name in (sys.argv[1:] or GROUPS)
        steps = [asked(*case) for case in cases()] if anew else known[name]
        listed.append(f'"{name}": [\n' + ",\n".join(map(json.dumps, steps)) + "\n]")
    versions = {name: version(name) for name in ("torch", "transformers", "peft", "bitsandbytes")}
    text = f'"versions": {json.dumps(versions)},\n' + ",\n".join(listed)
    RECORDED.write_text(f"{{{text}}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
