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
    stored = MatrixStorage(
        AUTOCAST if micro.copies_matrices else (), packed=micro.quantised and name != "lm_head"
    )
    trained = micro.trained(name)
    out = tape.linear(name, x, columns, trained=trained, bias=bias, region=region, cut=cut, stored=stored)
    if micro.adapter(name) is None:
        return out
    from memcalc.training.autograd.adapters import beside

    return beside(tape, micro, name, (x, out), region=region, cut=cut, packed=stored.packed)
