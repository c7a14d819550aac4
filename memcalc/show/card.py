"""What an answer shows, whoever shows it: the shell as text, Jupyter as HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from memcalc.data.units import gib

if TYPE_CHECKING:
    from memcalc.ledger.budget import PoolBudget

__all__ = ["VERDICTS", "Card", "in_words", "span"]

VERDICTS = {"fits": "fits", "may_not_fit": "may not fit", "does_not_fit": "does not fit"}


def in_words(verdict: str, cause: str | None) -> str:
    """Return a verdict with its cause.

    >>> in_words("does_not_fit", "a device lacks 3.20 GiB")
    'does not fit: a device lacks 3.20 GiB'
    """
    return VERDICTS[verdict] + (f": {cause}" if cause else "")


def span(pool: PoolBudget) -> str:
    """Return the range of a pool's total in brackets, or nothing where nothing measured is part of it."""
    low, high = pool.low_bytes, pool.high_bytes
    return "" if low == high else f"({gib(low)} to {gib(high)})"


class Card(NamedTuple):
    """An answer in the order in which it is read.

    Parameters
    ----------
    title : str
        What was asked, in a line.
    facts : tuple of str
        Lines below the title: how the plan was understood.
    defaults : tuple of str
        What was chosen where an option was left open.
    pools : tuple of (str, PoolBudget)
        The memory of the fullest device, and of the host where it is used, each under its heading.
    moments : bool
        Whether all moments of a device are listed (a training step), and not the fullest alone.
    notes : tuple of str
        What follows from it: the verdict first, then what else is known.
    verdict : str
        The verdict's key, empty where there is none.

    """

    title: str
    facts: tuple[str, ...] = ()
    pools: tuple[tuple[str, PoolBudget], ...] = ()
    moments: bool = False
    notes: tuple[str, ...] = ()
    defaults: tuple[str, ...] = ()
    verdict: str = ""
