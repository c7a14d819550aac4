"""Dense feed-forward parts as transformers 5.23 runs them: each step is a storage of its own."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError, choices
from memcalc.training.autograd.matrices import matrix

if TYPE_CHECKING:
    from memcalc.ledger.parts import MLP
    from memcalc.training.autograd.base import MicroBatch
    from memcalc.training.autograd.tape import Tape, Value

__all__ = ["activate", "mlp"]


STEPS = {"silu": "silu", "swish": "silu", "gelu": "gelu", "gelu_pytorch_tanh": "gelu", "gelu_python": "gelu"}


def activate(tape: Tape, micro: MicroBatch, x: Value, name: str) -> Value:
    """Apply the activation that the config names: one operation, whose derivative needs its argument.

    Raises
    ------
    BadInputError
        What autograd keeps of this one is not listed.

    """
    how = micro.architecture.activation
    if how in STEPS:
        return tape.apply(STEPS[how], x, name)
    if how in ("relu", "relu2"):
        out = tape.like(x, name)
        bent = tape.record("relu", (x,), out, (out,))
        if how == "relu":
            return bent
        square = tape.like(x, f"{name} squared")
        return tape.record("square", (bent,), square, (bent,), beside=2 * bent.bytes)
    raise BadInputError(
        "hidden_act", choices([*STEPS, "relu", "relu2"]), how, "what is kept of it is not modelled"
    )


def mlp(tape: Tape, micro: MicroBatch, part: MLP, x: Value, *, under: str = "mlp") -> Value:
    """Step by step: gate, up, the activated gate and the product are storages of their own."""
    outer = partial(matrix, tape, micro, bias=part.bias, region="inner", cut="inner")
    if not part.gated:
        product = activate(tape, micro, outer(f"{under}.up_proj", x, part.ffn_width), "activated")
    elif "gate_up" in micro.architecture.fused:
        both = outer(f"{under}.gate_up_proj", x, 2 * part.ffn_width)
        half = (*x.shape[:-1], part.ffn_width)
        gate, up = tape.split(both, {"gate": half, "up": half})
        product = tape.multiply(up, activate(tape, micro, gate, "activated gate"), "activated gate x up")
    else:
        active = activate(tape, micro, outer(f"{under}.gate_proj", x, part.ffn_width), "activated gate")
        product = tape.multiply(active, outer(f"{under}.up_proj", x, part.ffn_width), "activated gate x up")
    return matrix(
        tape, micro, f"{under}.down_proj", product, part.width, bias=part.bias, region="hidden", cut="inner"
    )
