"""LoRA's adapters as PEFT 0.21 runs them: beside a linear layer, or folded into the matrices of experts.

Read in peft/tuners/lora/layer.py (Linear, ParamWrapper), bnb.py and dora.py; held against autograd in
tests/test_saved.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.training.autograd.tape import AUTOCAST, CACHED, MatrixStorage

if TYPE_CHECKING:
    from memcalc.training.autograd.base import Adapter, MicroBatch
    from memcalc.training.autograd.tape import Tape, Value

__all__ = ["Factors", "beside", "fold", "fold_router"]


def beside(
    tape: Tape,
    micro: MicroBatch,
    name: str,
    ends: tuple[Value, Value],
    *,
    region: str | None,
    cut: str | None,
    packed: bool,
) -> Value:
    """Multiply by the two low-rank matrices of an adapter, and add what comes out to the layer's output.

    PEFT's adapter copies the input to its own numbers, each adapter for itself, drops some of them, and adds
    its output in them. For a matrix that is quantised (peft/tuners/lora/bnb.py) it copies that one's output
    first, and narrows its own before it adds, unless autocast is on: then it copies no input. bitsandbytes'
    MatMul4Bit keeps nothing of the input, and makes the matrix's numbers again to run backwards.
    """
    (x, out), (rank, width, *_) = ends, micro.adapters[name.rpartition(".")[2]]
    if packed:
        out = tape.record("clone", (out,), tape.like(out, f"{name} output, copied"), aliased=True)
    stored = MatrixStorage(AUTOCAST if micro.autocast and width != 2 else ())
    own = x if packed and micro.autocast else tape.cast(x, width, f"{name} input for its adapter")
    dropped = tape.dropout(own, micro.adapter_dropout, f"{name} input after dropout")
    first, last = (None, cut) if region != "hidden" else (cut, None)  # which one is cut with its matrix
    down = tape.linear(
        f"{name}.lora_A", dropped, rank, trained=True, region="hidden", cut=first, stored=stored
    )
    tape.refer(dropped)  # so does who calls the first one
    columns = out.shape[-1]
    up = tape.linear(f"{name}.lora_B", down, columns, trained=True, region=region, cut=last, stored=stored)
    for held in x, own, out:  # PEFT's forward, and who calls it, hold them until it returns
        tape.refer(held)
    up = tape.record("scale", (up,), tape.like(up, f"{name}.lora_B scaled"))
    if packed:
        up = tape.cast(up, out.element_bytes, f"{name}.lora_B as wide as the output")
    return tape.cast(tape.add(out, up, f"{name} with its adapter"), out.element_bytes, f"{name} result")


class Factors:
    """The two factors of a stack of matrices, in the numbers of these: views of the adapter, or copies."""

    def __init__(self, tape: Tape, name: str, adapter: Adapter, shape: tuple[int, int, int]) -> None:
        experts, rows, columns = shape
        self.name, self.shape, self.narrow = name, shape, adapter.element_bytes != 2
        sizes = {
            "lora_B": experts * rows * adapter.lora_rank,
            "lora_A": experts * adapter.lora_rank * columns,
        }
        self.values = []
        for letter, numbers in sizes.items():
            value = tape.value(f"{name}.{letter}, by experts", (numbers,), 2, grad=True, region="weight")
            size = numbers * adapter.element_bytes
            turned = letter == "lora_B"  # its gradient is copied into the order of the storage
            if self.narrow:
                tape.record("cast", (), value, weight_bytes=size, beside=value.bytes if turned else 0)
            else:
                tape.record("turn", (), value, weight_bytes=size if turned else 0)
            self.values.append(value)


def fold(tape: Tape, factors: Factors) -> Value:
    """Add the product of the factors to a stack of matrices: a second one, as large as the first."""
    merged = tape.value(f"{factors.name} with its adapter", factors.shape, 2, grad=True, region="weight")
    keeps = factors.values if factors.narrow else ()
    return tape.record("baddbmm", factors.values, merged, keeps)


def fold_router(tape: Tape, micro: MicroBatch, adapter: Adapter, shape: tuple[int, int]) -> Value:
    """Add the product of the factors to the router's matrix, step by step."""
    rows, columns = shape
    width, rank = adapter.element_bytes, adapter.lora_rank
    copied = micro.autocast and width != 2
    copies = []
    for letter, numbers in (("lora_A", rank * columns), ("lora_B", rows * rank)):
        if copied:
            value = tape.value(f"mlp.gate.{letter} in 16 bits", (numbers,), 2, grad=True, region="weight")
            copies.append(tape.record(CACHED, (), value, weight_bytes=numbers * width))
    own = 0 if copied else rank * (rows + columns) * width
    wide = 2 if copied else width
    product = tape.value("mlp.gate: product of its adapter", shape, wide, grad=True, region="weight")
    tape.record("product", copies, product, copies, weight_bytes=own)
    scaled = tape.record("scale", (product,), tape.like(product, "mlp.gate: product, scaled"))
    scaled = tape.cast(scaled, 2, "mlp.gate: product in 16 bits")
    merged = tape.like(scaled, "mlp.gate with its adapter")
    return tape.record("add", (scaled,), merged, aliased=True)
