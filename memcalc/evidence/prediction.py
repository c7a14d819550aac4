"""What memcalc says of a measured quantity: bytes, and the ends of the range that belongs to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memcalc.ledger.budget import Line, PoolBudget

__all__ = ["Prediction", "exactly", "sum_of", "sum_of_lines", "whole_device"]


class Prediction(NamedTuple):
    """Bytes, and the ends of their range; both are the bytes where nothing measured is part of them."""

    bytes: int
    low: int
    high: int


def exactly(size: int) -> Prediction:
    """Return a prediction in which nothing was measured."""
    return Prediction(size, size, size)


def sum_of_lines(lines: Iterable[Line]) -> Prediction:
    """Return the sum of lines, and of the ends of their ranges."""
    return sum_of(Prediction(line.bytes, line.least_bytes, line.most_bytes) for line in lines)


def sum_of(parts: Iterable[Prediction]) -> Prediction:
    """Return the sum of predictions.

    >>> sum_of([Prediction(2, 1, 4), exactly(3)]), sum_of([])
    (Prediction(bytes=5, low=4, high=7), Prediction(bytes=0, low=0, high=0))
    """
    return Prediction(*map(sum, zip(exactly(0), *parts, strict=True)))


def whole_device(pool: PoolBudget) -> Prediction:
    """Return what a device holds in all: its fullest moment, and what lives outside of moments."""
    return Prediction(pool.total_bytes, pool.low_bytes, pool.high_bytes)
