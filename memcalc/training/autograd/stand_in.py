"""Layers whose operations are not listed: a range for what autograd keeps, about a middle figure.

Whatever a layer does, each of its products keeps what goes in (for the weight's gradient), and mostly what
comes out (for the operation behind it); norms keep their input in 32 bits. Counted in the numbers that go in
and out of a token's products, in the stream's numbers, layers whose operations are listed keep 0.6 to 2.2
times as much; tests/test_programs.py holds them to that. Layers that are not listed are taken to keep 1.5
times as much, and between a half and 4 times: frozen weights keep less, unknown operations may keep more.
Those with a state, whose kernels differ most (chunks in PyTorch, or fused), are taken for up to 32 times:
traces of small ones, in PyTorch's chunks, keep 7.5 (Gated DeltaNet), 18 (Mamba-2), 27 times (Kimi delta).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.ledger.tensor import product

if TYPE_CHECKING:
    from memcalc.ledger.model import Layer
    from memcalc.training.autograd.base import MicroBatch
    from memcalc.training.autograd.tape import Tape, Value

__all__ = ["MOST", "MOST_WITH_STATE", "kept_most", "middle", "run_stand_in", "through_products"]

MULTIPLIED = ("matrix", "shared", "router", "expert")
MOST, MOST_WITH_STATE = 4, 32


def through_products(layer: Layer) -> int:
    """Return the numbers of a token that go in and out of the products of a layer."""
    found = 0
    for tensor in layer.weights():
        if tensor.kind in MULTIPLIED and len(tensor.shape) > 1:
            out, inner = (product(axis) for axis in tensor.shape[-2:])
            found += (out + inner) * (tensor.active_experts or 1)
    return found


def kept_most(layer: Layer) -> int:
    """Return how many times these numbers a layer may keep."""
    with_state = any(part.counted == "state_depth" for _, part in layer.parts)
    return MOST_WITH_STATE if with_state else MOST


def middle(tape: Tape, micro: MicroBatch, layer: Layer) -> Value:
    """Return the middle of what a layer keeps: ranks that share its matrices share it."""
    shape = (micro.batch, micro.seq, through_products(layer))
    name = "kept by operations that are not listed"
    return tape.value(name, shape, 3 * micro.low_bytes // 2, grad=False, region="inner")


def run_stand_in(tape: Tape, micro: MicroBatch, layer: Layer, x: Value) -> Value:
    """Run a layer as one operation that keeps the middle of the range, and as much again run backwards."""
    tape.module = "layer"
    names = [tensor.name.removesuffix(".weight") for tensor in layer.weights()]
    trained = bool(micro.adapters) or any(map(micro.trained, names))
    grad = x.grad or trained
    kept = middle(tape, micro, layer)
    size = (
        sum(one.count for one in layer.weights()) * micro.element_bytes
        if trained and not micro.adapters
        else 0
    )
    out = tape.like(x, "stream after the layer", grad=grad)
    return tape.record("layer", (x,), out, (x, kept), weight_bytes=size, beside=kept.bytes)
