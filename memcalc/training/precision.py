"""Precision: the bytes of one parameter in each of its forms, by the name of the regime."""

from __future__ import annotations

from typing import NamedTuple

from memcalc.data.record import Record, record

__all__ = ["GRADIENTS", "PRECISIONS", "Precision", "StateWidths", "gradients_of", "state_widths"]

ZERO = "Rajbhandari et al. 2019, arXiv:1910.02054, section 3.1 and figure 1"
PYTORCH = "torch.optim.AdamW 2.13: moments take the parameter's dtype"


@record
class Precision(Record):
    """Bytes of one parameter in each of its forms; `master` is None where no copy is kept."""

    id: str
    weight: int
    gradient: int
    master: int | None
    moment: int
    source: str

    @property
    def stream(self) -> int:
        """Bytes of a number of the residual stream: as the weights, or 16 bits with a master copy."""
        return self.weight if self.master is None else 2


PRECISIONS: dict[str, Precision] = {
    one.id: one
    for one in (
        Precision("pure-bf16", weight=2, gradient=2, master=None, moment=2, source=PYTORCH),
        Precision("bf16-mixed", weight=2, gradient=2, master=4, moment=4, source=ZERO),
        Precision("amp", weight=4, gradient=4, master=None, moment=4, source=PYTORCH),
        Precision("fp32", weight=4, gradient=4, master=None, moment=4, source=PYTORCH),
    )
}
GRADIENTS = {"bf16": (2,), "fp32": (4,), "bf16+fp32": (2, 4)}  # one gradient a number, or two of them


class StateWidths(NamedTuple):
    """Bytes of one number of each state of a weight that is trained.

    `master` is 0 where the optimizer updates the weight itself; its moments are as wide as what it updates.
    """

    weight: int
    gradients: tuple[int, ...]
    master: int

    @property
    def updated(self) -> int:
        """Bytes of a number of what the optimizer updates."""
        return self.master or self.weight


def state_widths(precision: Precision, gradients: str, *, fsdp: bool) -> StateWidths:
    """Return the widths of a precision's states: FSDP shards 32-bit weights, and gathers 16-bit ones.

    >>> state_widths(PRECISIONS["bf16-mixed"], "bf16", fsdp=False)
    StateWidths(weight=2, gradients=(2,), master=4)
    >>> state_widths(PRECISIONS["bf16-mixed"], "fp32", fsdp=True)
    StateWidths(weight=4, gradients=(4,), master=0)
    """
    if precision.master is not None and fsdp:
        return StateWidths(precision.master, GRADIENTS[gradients], 0)
    return StateWidths(precision.weight, GRADIENTS[gradients], precision.master or 0)


def gradients_of(precision: Precision, *, fsdp: bool = False) -> str:
    """Return the name of a precision's own gradients: they are as wide as what FSDP shards.

    >>> gradients_of(PRECISIONS["bf16-mixed"]), gradients_of(PRECISIONS["bf16-mixed"], fsdp=True)
    ('bf16', 'fp32')
    """
    width = 4 if fsdp and precision.master is not None else precision.gradient
    return next(name for name, widths in GRADIENTS.items() if widths == (width,))
