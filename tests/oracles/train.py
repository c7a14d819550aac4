"""What torch and transformers hold during a training step: fake tensors, real autograd, real optimizers.

Nothing here knows what memcalc derives: configs and runs go in, bytes come out. The step itself is that which
`memcalc measure` runs on a reader's GPU: memcalc/evidence/measure/step.py says what is true of every figure.
"""

from __future__ import annotations

import contextlib
import re
from functools import partial

import ask
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from memcalc.evidence.measure import step as steps
from memcalc.evidence.measure.step import (
    DTYPES,
    Ledger,
    Run,
    casting,
    faked,
    lora,
    one_step,
    optimizer_of,
    watch,
)

__all__ = ["DTYPES", "Ledger", "Run", "casting", "faked", "lora", "one_step", "optimizer_of", "watch"]


def build(fields, run, device="meta"):
    """The model on a device, ready for `run`."""
    config = ask.config_of({**fields, "use_cache": False})
    return steps.build(config, ask.class_of(config), run, device)


def step(fields, run):
    """Every moment of the second step: states exist, and gradients if they are kept."""
    return steps.traced_step(build(fields, run), run)


class Kept:
    """The storages that autograd packs, each once, under the module that runs when it is first packed.

    Rotary tables are made once and packed in whichever layer first needs them: they stand under their own
    module.
    """

    def __init__(self, model):
        self.running, self.known, self.kept, self.tensors, self.tables = [], set(), [], [], {}
        for item in model.parameters():
            self.known.add(item.untyped_storage()._cdata)
        for name, module in model.named_modules():
            module.register_forward_pre_hook(partial(self.enter, name))
            module.register_forward_hook(self.leave)
            if name.endswith("rotary_emb"):
                module.register_forward_hook(partial(self.own, name))

    def own(self, name, module, args, output):
        self.tables |= {item.untyped_storage()._cdata: name for item in output}
        self.tensors += output

    def enter(self, name, *_):
        self.running.append(name)

    def leave(self, *_):
        self.running.pop()

    def pack(self, tensor):
        """Note a storage that is no parameter and was not noted before."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self.known:
            self.known.add(storage._cdata)
            self.tensors.append(tensor)  # while it is held no other storage gets its address
            shape, dtype = "x".join(map(str, tensor.shape)), str(tensor.dtype).removeprefix("torch.")
            running = self.running[-1] if self.running else ""
            self.kept.append([self.tables.get(storage._cdata, running), shape, dtype, storage.nbytes()])
        return tensor


def layers_of(model):
    """The list of the layers: where it stands, and how many there are."""
    lists = [
        (name, len(item)) for name, item in model.named_modules() if isinstance(item, torch.nn.ModuleList)
    ]
    return next((name, depth) for name, depth in lists if name.endswith(("layers", ".h")))


def saved(fields, run, *, fake=True):
    """What autograd keeps of one forward pass: module, shape, dtype, bytes of the storage behind it.

    Three layers are built: the first may have an input that needs no gradient, the others are alike. What is
    kept outside of layers stands under `outside`: embedding, rotary tables, last norm, head, loss.

    Experts that loop over those that were chosen ask for numbers, which fake tensors do not have: such a
    model really runs. Its tokens are all alike and choose the same experts.

    Raises:
        AssertionError: the second and the third layer keep other tensors.

    """
    model = build(fields, run, "meta" if fake else "cpu")
    with FakeTensorMode() if fake else contextlib.nullcontext():
        if fake:
            faked(model)
        kept = Kept(model)
        ids = torch.zeros((run.batch, run.sequence), dtype=torch.long)
        with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda tensor: tensor), casting(run):
            model(input_ids=ids, labels=ids)
    path, depth = layers_of(model)
    found = {"outside": [], **{str(number): [] for number in range(depth)}}
    for name, *tensor in kept.kept:
        inside = re.fullmatch(re.escape(path) + r"\.(\d+)(?:\.(.*))?", name)
        where = inside[1] if inside else "outside"
        found[where].append(
            [(inside[2] or "") if inside else name.removeprefix("base_model.model."), *tensor]
        )
    first, second, *others = (found[str(number)] for number in range(depth))
    assert all(other == second for other in others)
    return {"outside": found["outside"], "first": first, "layer": second}


def moments(fields, run):
    """`step`, briefly: the bytes held at each moment, and their peak since the one before."""
    return {moment: [at["held"], at["peak"]] for moment, at in step(fields, run).items()}
