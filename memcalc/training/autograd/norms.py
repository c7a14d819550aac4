"""RMSNorms as the classes of transformers compute them: they differ in where the numbers are narrowed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memcalc.training.autograd.base import MicroBatch
    from memcalc.training.autograd.tape import Tape, Value

__all__ = ["norm", "softcapped"]


def norm(tape: Tape, micro: MicroBatch, name: str, x: Value, *, scaled: bool = True) -> Value:
    """Normalise as the architecture does; without `scaled` there is no weight."""
    trained, kind = scaled and micro.trained(name), micro.architecture.norm
    if kind == "layer":
        return tape.layer_norm(name, x, trained=trained, wide=micro.autocast, stored=micro.element_bytes)
    if kind == "bare":
        given = tape.cast(x, 4, f"{name} input in fp32")
        return tape.cast(tape.layer_norm(name, given, trained=False), x.element_bytes, f"{name}, narrowed")
    if kind == "narrow" and scaled:
        return tape.rms_norm(name, x, trained=trained)
    if kind == "centred":
        normal = centred(tape, name, x)
    else:
        normal = normalised(tape, name, x, by_power=kind == "power")
    if scaled:
        scale = scale_of(tape, micro, name, normal, kind)
        normal = tape.multiply(normal, scale, f"{name} scaled in fp32")
    return tape.cast(normal, x.element_bytes, f"{name} output")


def normalised(tape: Tape, name: str, x: Value, *, by_power: bool) -> Value:
    """Divide by the root of the mean square, in 32 bits; of a power the derivative needs the argument."""
    rstd = tape.value(f"{name} 1/root", (*x.shape[:-1], 1), 4, grad=x.grad, region=x.region)
    wide = tape.cast(x, 4, f"{name} input in fp32")
    square = tape.like(wide, f"{name} square")
    tape.record("square", (wide,), square, (wide,), beside=2 * wide.bytes)
    mean = tape.like(rstd, f"{name} mean square")
    tape.record("mean", (square,), mean)
    needed = rstd
    if by_power:
        needed = tape.like(rstd, f"{name} mean square and a little")
        mean = tape.record("add", (mean,), needed, aliased=True)
    tape.record("root", (mean,), rstd, (needed,), beside=2 * rstd.bytes)
    return tape.multiply(wide, rstd, f"{name} normalised in fp32")


def centred(tape: Tape, name: str, x: Value) -> Value:
    """Subtract the mean, twice, and divide by the root of the mean square of what is left (Cohere)."""
    wide = tape.cast(x, 4, f"{name} input in fp32")
    mean = tape.value(f"{name} mean", (*x.shape[:-1], 1), 4, grad=x.grad, region=x.region)
    tape.record("mean", (wide,), mean)

    def less(what: str) -> Value:
        # the gradient of the mean is summed over one as large as the input
        out = tape.like(wide, f"{name} {what}")
        return tape.record("subtract", (wide, mean), out, aliased=(wide,), beside=wide.bytes)

    distance = less("distance from the mean")
    square = tape.like(wide, f"{name} square")
    tape.record("square", (distance,), square, (distance,), beside=2 * wide.bytes)
    variance, rstd = tape.like(mean, f"{name} variance"), tape.like(mean, f"{name} 1/root")
    tape.record("mean", (square,), variance)
    distance = less("distance from the mean, again")
    tape.record("root", (variance,), rstd, (rstd,), beside=2 * rstd.bytes)
    return tape.multiply(distance, rstd, f"{name} normalised in fp32")


def scale_of(tape: Tape, micro: MicroBatch, name: str, x: Value, kind: str) -> Value:
    """Return what the normalised numbers are multiplied with: the weight, or a copy in 32 bits, and 1.

    Cohere's heads have a row each.
    """
    shape = x.shape[2:] if kind == "centred" else (x.shape[-1],)
    weight = tape.weight(name, shape, micro.element_bytes, trained=micro.trained(name))
    if kind == "wide":
        return tape.promote(weight, 4)
    weight = tape.cast(weight, 4, f"{name} in fp32")
    if kind == "plus one":
        more = tape.like(weight, f"{name} and 1")
        weight = tape.record("add", (weight,), more, aliased=True)
    return weight


def softcapped(tape: Tape, x: Value) -> Value:
    """Divide, take the hyperbolic tangent, multiply: each step is a storage of its own."""
    small = tape.record("scale", (x,), tape.like(x, f"{x.name}, divided"))
    bent = tape.like(x, f"{x.name}, bent")
    tape.record("tanh", (small,), bent, (bent,))
    return tape.record("scale", (bent,), tape.like(x, f"{x.name}, capped"))
