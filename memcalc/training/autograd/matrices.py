"""A matrix of a model of transformers, with autocast's copies and PEFT's adapter where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.training.autograd.tape import AUTOCAST, MatrixStorage

if TYPE_CHECKING:
    from memcalc.training.autograd.base import MicroBatch
    from memcalc.training.autograd.tape import Tape, Value

__all__ = ["matrix"]


def matrix(
    tape: Tape,
    micro: MicroBatch,
    name: str,
    x: Value,
    columns: int,
    *,
    bias: bool = False,
    region: str | None = None,
    cut: str | None = None,
) -> Value:
    """Multiply by a matrix of the model, with autocast's copies and an adapter where there are any."""
    by = None if name in ("lm_head", "model.embed_tokens") else micro.quantised
    packed, kept = by in ("bitsandbytes", "awq"), by == "gptq"
    narrowed = ("x",) if micro.autocast and x.element_bytes == 4 else ()  # what autocast's norms give
    copied = AUTOCAST if micro.copies_matrices and by is None else narrowed
    turned = micro.architecture.biases_apart and name != "lm_head"  # Falcon's own class, but for its head
    stored = MatrixStorage(copied, packed, kept, turned)
    trained, wide = micro.trained(name), x.element_bytes
    given = x if by is None else tape.cast(x, 2, f"{name} input in 16 bits")
    joined = bias and not micro.architecture.biases_apart
    out = tape.linear(
        name, given, columns, trained=trained, bias=joined, region=region, cut=cut, stored=stored
    )
    if bias and not joined:
        wider = max(out.element_bytes, micro.element_bytes)  # autocast narrows no sum
        out = tape.promote(out, wider)
        own = columns * out.element_bytes if trained else 0
        out = tape.record(
            "add", (out,), tape.like(out, f"{name} with its bias"), aliased=True, weight_bytes=own
        )
    out = out if by is None else tape.cast(out, wide, f"{name} output, as wide as its input")
    if micro.adapter(name) is None:
        return out
    from memcalc.training.autograd.adapters import beside

    return beside(tape, micro, name, (x, out), region=region, cut=cut, by=by)
