"""Every inverse question is one function."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LIMIT", "largest"]

LIMIT = 2**40  # where a search ends: with windows in all layers more tokens need no more memory


def largest(fits: Callable[[int], bool], limit: int = LIMIT, start: int = 1) -> int:
    """Return the largest whole number that fits, 0 if not even 1 does.

    Parameters
    ----------
    fits : callable
        Whether a number fits. Once false it stays false: more tokens never need less memory.
    limit : int, default 2**40
        The largest answer.
    start : int, default 1
        Where to begin: a good guess saves time, and changes nothing else.

    Examples
    --------
    >>> largest(lambda context: 262144 * context <= 8 * 2**30)
    32768

    """
    low, high, step = 0, limit + 1, 1
    number = min(max(start, 1), limit)
    while low < number < high:  # in strides that double, away from the start, until it lies between the two
        if fits(number):
            low, number = number, number + step
        else:
            high, number = number, number - step
        step *= 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
