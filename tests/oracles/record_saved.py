"""Record what torch and transformers hold at each moment of small training steps: tests/recorded/saved.json.

    python tests/oracles/record_saved.py    (in the environment of requirements-oracles.txt)

The tracing itself is that of tests/oracles/train.py; this file says which steps are traced, and what is kept.
"""

from __future__ import annotations

import json
import unittest.mock
from dataclasses import replace
from importlib.metadata import version
from itertools import product
from pathlib import Path

import bitsandbytes
import torch
import train
import train_cases

RECORDED = Path(__file__).resolve().parent.parent / "recorded" / "saved.json"
LORA = train.lora

USED = ("forward", "loss backward", "head backward", "layers backward", "backward", "step")
SMALL = {"sequence": 33, "optimizer": "none"}
REGIMES = ({}, {"weights": "fp32"}, {"weights": "fp32", "autocast": True})


def dense():
    """Yield every regime, kernel and way to recompute of three dense families."""
    for family, (number, regime), again in product(
        ("qwen2", "qwen3", "llama"), enumerate(REGIMES), (False, True)
    ):
        for attention in ("flash", "eager", "repeated")[: 1 if family == "llama" else 3]:
            yield (
                family,
                train.Run(
                    **SMALL,
                    **regime,
                    batch=1 + (number + again) % 3,
                    recompute=again,
                    attention=attention,
                    hold_logits=attention == "eager",
                    keep_gradients=attention == "repeated",
                ),
            )


def partly(again):
    """Yield what is trained in part, or beside the model."""
    for trained in ("embedding", "head", "attention", "mlp", "norms"):
        if not (again and trained == "head"):
            yield "llama", train.Run(**SMALL, batch=2, trained=trained, recompute=again)
    for targets, dtype in product(("q_proj,v_proj", "all-linear"), ("fp32", "bf16")):
        yield "llama", train.Run(**SMALL, batch=2, trained=f"lora 8 {targets} {dtype}", recompute=again)
    low = {**SMALL, **REGIMES[2], "batch": 2}
    yield "llama", train.Run(**low, trained="lora 8 q_proj,v_proj fp32", recompute=again)
    yield "qwen3", train.Run(**SMALL, batch=2, trained="lora 8 all-linear fp32", recompute=again)


AUTOCAST = {**SMALL, "batch": 2, "autocast": True}  # weights in 16 bits: what Trainer's bf16=True trains


def adapted(again):
    """Yield adapters under autocast, and those of mixtures of experts."""
    for targets, dtype in product(("q_proj,v_proj", "down_proj,o_proj", "all-linear"), ("fp32", "bf16")):
        yield "llama", train.Run(**AUTOCAST, trained=f"lora 8 {targets} {dtype}", recompute=again)
    everywhere = train.Run(**AUTOCAST, trained="lora 8 all-linear fp32", recompute=again)
    for family in ("qwen3", "qwen2", "mistral"):
        yield family, everywhere
    yield "llama", replace(everywhere, attention="eager", hold_logits=True)
    yield "llama", replace(everywhere, batch=1, keep_gradients=True, optimizer="adamw foreach")
    yield "llama", replace(everywhere, batch=1, optimizer="adamw for-loop")
    for family, low in product(("qwen3_moe", "mixtral"), (False, True)):
        for targets in ("all-linear fp32", "q_proj,k_proj,v_proj,o_proj bf16", "gate fp32"):
            yield family, replace(everywhere, autocast=low, trained=f"lora 8 {targets}")
    experts = "gate_proj,up_proj,down_proj"
    yield "qwen3_moe", replace(everywhere, trained=f"lora 4 q_proj,{experts} bf16")
    yield "qwen3_moe", replace(everywhere, batch=1, keep_gradients=True, optimizer="adamw foreach")
    yield "qwen3_moe", replace(everywhere, batch=1, optimizer="adamw for-loop")
    for family in ("llama", "qwen3_moe"):
        yield family, train.Run(**AUTOCAST, recompute=again)


def runs():
    """Yield a family and a run: every regime, kernel, way to recompute and part that is trained."""
    yield from dense()
    for again in (False, True):
        yield from partly(again)
        yield from adapted(again)
        for family, experts in product(("qwen3_moe", "mixtral"), ("grouped_mm", "batched_mm")):
            yield family, train.Run(**SMALL, batch=2, experts=experts, recompute=again)
        for attention, regime in product(("flash", "eager"), REGIMES):
            yield "gpt2", train.Run(**SMALL, **regime, batch=2, attention=attention, recompute=again)


def cases():
    """Yield a config and a run: those above with two layers, and drawn ones."""
    for family, run in runs():
        yield train_cases.with_depth(train_cases.FAMILIES[family], 2), run
    for seed in range(4):
        for family in train_cases.DRAWN:
            yield train_cases.drawn_config(family, seed), train_cases.drawn_run(family, seed)


def recorded(fields, run):
    """One step: bytes held at each moment and their peak since the one before, without ids and scalars."""
    moments = train.step(fields, run)
    model = train.build(fields, run)
    scalars = 4 * sum(item.requires_grad for item in model.parameters()) if "adamw" in run.optimizer else 0
    beside = 8 * run.batch * run.sequence + scalars
    used = {name: moments[name] for name in USED if name in moments}
    return {
        "config": fields,
        "run": run.stated(),
        "moments": {name: [at["held"] - beside, at["peak"] - beside] for name, at in used.items()},
    }


def packed(model):
    """Put bitsandbytes' 4-bit matrices where the layers have linear ones."""
    for name, module in list(model.named_modules()):
        if isinstance(module, torch.nn.Linear) and name != "lm_head":
            sizes = {"bias": False, "compute_dtype": torch.bfloat16, "quant_type": "nf4"}
            new = bitsandbytes.nn.Linear4bit(
                module.in_features, module.out_features, **sizes, compress_statistics=False
            )
            how = {"quant_type": "nf4", "compress_statistics": False, "requires_grad": False}
            new.weight = bitsandbytes.nn.Params4bit(module.weight.data, **how)  # in its own 16 bits
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, new.to("cpu"))
    model.is_loaded_in_4bit = True
    return model


def quantised(fields, run):
    """One step with a quantised base, on real tensors: bytes beside those that are held when it starts."""
    with unittest.mock.patch.object(train.steps, "lora", lambda model, run: LORA(packed(model), run)):
        model = train.build(fields, run, "cpu")
    ledger, ids = train.Ledger(), torch.zeros((run.batch, run.sequence), dtype=torch.long)
    for item in (*model.parameters(), *model.buffers(), ids):
        ledger.take(item)
    for module in model.modules():
        state = getattr(getattr(module, "weight", None), "quant_state", None)
        if state is not None:
            ledger.take(state.absmax)
    start = ledger.held
    train.watch(model, ledger)
    enabled = torch.is_autocast_enabled  # PEFT asks it without a device, which is CUDA's state
    with unittest.mock.patch("torch.is_autocast_enabled", lambda kind="cpu": enabled(kind)), ledger:
        for _ in range(2):
            train.one_step(model, None, ids, run, ledger)
    used = {name: ledger.moments[name] for name in USED if name in ledger.moments}
    moments = {name: [at["held"] - start, at["peak"] - start] for name, at in used.items()}
    return {"config": fields, "run": run.stated(), "moments": moments}


def quantised_cases():
    """Yield a config and a run: real tensors have no flash kernel for CPUs that is the one of GPUs."""
    fields = train_cases.with_depth(train_cases.FAMILIES["llama"], 2)
    for targets, dtype in (("q_proj,v_proj", "fp32"), ("all-linear", "bf16"), ("all-linear", "fp32")):
        for low, again in product((False, True), (False, True)):
            run = {"batch": 2, "sequence": 33, "attention": "eager", "optimizer": "none", "recompute": again}
            yield fields, train.Run(**run, autocast=low, trained=f"lora 8 {targets} {dtype}")


def former_cases():
    """Yield a config and a run with the loss of a former release: one sequence and several, each regime."""
    fields = train_cases.with_depth(train_cases.FAMILIES["llama"], 2)
    for number, (release, batch, held) in enumerate(product(("4.45", "4.48"), (1, 3), (False, True))):
        for regime in REGIMES:
            again = bool(number % 2)
            yield (
                fields,
                train.Run(**SMALL, **regime, batch=batch, hold_logits=held, recompute=again, release=release),
            )


def lines(steps):
    """JSON, a step a line."""
    return ",\n".join(json.dumps(step) for step in steps)


def main():
    """Write the file."""
    versions = {name: version(name) for name in ("torch", "transformers", "peft", "bitsandbytes")}
    steps = lines(recorded(*case) for case in cases())
    packed_steps = lines(quantised(*case) for case in quantised_cases())
    former = lines(recorded(*case) for case in former_cases())
    groups = {"steps": steps, "quantised": packed_steps, "former": former}
    listed = ",\n".join(f'"{name}": [\n{group}\n]' for name, group in groups.items())
    text = f'"versions": {json.dumps(versions)},\n{listed}'
    RECORDED.write_text(f"{{{text}}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
