"""Every inverse question is one function."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["largest"]


def largest(fits: Callable[[int], bool], limit: int = 2**40) -> int:
    """Return the largest whole number for which `fits` is true, 0 if not even 1 fits, `limit` at most.

    `fits` must not become true again after it was false: more tokens never need less memory.

    >>> largest(lambda context: 262144 * context <= 8 * 2**30)
    32768
    """
    if not fits(1):
        return 0
    low, high = 1, 2
    while high <= limit and fits(high):
        low, high = high, 2 * high
    high = min(high, limit + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
