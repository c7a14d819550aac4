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

__all__ = ["activate", "bent_step_by_step", "mlp"]


STEPS = {"silu": "silu", "swish": "silu", "gelu": "gelu", "gelu_pytorch_tanh": "gelu"}
STEPS |= {name: name for name in ("hardswish", "leaky_relu", "mish", "relu6")}
BY_RESULT = ("relu", "tanh", "sigmoid")  # whose derivative needs the result alone


def activate(tape: Tape, micro: MicroBatch, x: Value, name: str) -> Value:
    """Apply the activation that the config names: mostly one operation, whose derivative needs its argument.

    Raises
    ------
    BadInputError
        What autograd keeps of this one is not listed.

    """
    how = micro.architecture.activation
    if how in STEPS:
        return tape.apply(STEPS[how], x, name)
    if how == "linear":
        return x
    if how in (*BY_RESULT, "relu2"):
        out = tape.like(x, name)
        bent = tape.record("relu" if how == "relu2" else how, (x,), out, (out,))
        if how != "relu2":
            return bent
        square = tape.like(x, f"{name} squared")
        return tape.record("square", (bent,), square, (bent,), beside=2 * bent.bytes)
    if how == "bloom":  # a function of its own, whose backward pass takes five storages more
        return tape.record("gelu", (x,), tape.like(x, name), (x,), beside=4 * x.bytes)
    if how == "gelu_new":
        return bent_step_by_step(tape, x, wide=micro.autocast)
    raise BadInputError(
        "hidden_act",
        choices([*STEPS, *BY_RESULT, "relu2", "gelu_new", "linear"]),
        how,
        "what is kept of it is not modelled",
    )


def bent_step_by_step(tape: Tape, x: Value, *, wide: bool = False) -> Value:
    """Return x/2 (1 + tanh(c (x + 0.044715 x^3))), each step a storage of its own (NewGELUActivation).

    `wide`: autocast takes the power in 32 bits, and what follows has as many.
    """
    half = tape.record("scale", (x,), tape.like(x, "half of the inner width"))
    given = tape.cast(x, 4, "argument in fp32") if wide else x
    cube = tape.record("cube", (given,), tape.like(given, "cube"), (given,), beside=2 * given.bytes)
    small = tape.record("scale", (cube,), tape.like(cube, "cube, scaled"))
    inner = tape.add(x, small, "argument")
    inner = tape.record("scale", (inner,), tape.like(inner, "argument, scaled"))
    bent = tape.like(inner, "tanh")
    tape.record("tanh", (inner,), bent, (bent,))
    raised = tape.record("add", (bent,), tape.like(bent, "1 + tanh"), aliased=True)
    return tape.multiply(half, raised, "gelu")


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
