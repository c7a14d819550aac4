"""PyTorch's caching allocator: what it holds for an array can be more than the array.

Source: pytorch/pytorch, c10/cuda/CUDACachingAllocator.cpp (kMinBlockSize to kRoundLarge, should_split), read
2026-11. A block that is larger than asked is split only if more than 1 MiB would be left over; what is not
split off counts as allocated, though it is not used.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

from memcalc.data.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Allocator", "unused_bytes"]

ROUND = 512  # every size is rounded up to a multiple of it
SMALL = MIB  # up to this size arrays lie together in segments of 2 MiB
LARGE = 10 * MIB  # below this size they lie together in segments of 20 MiB; from here each has its own
SMALL_SEGMENT, SHARED_SEGMENT, OWN_SEGMENT_STEP = 2 * MIB, 20 * MIB, 2 * MIB
SAMPLE = 4  # layers that are laid out one by one; what the next ones add repeats itself


class Allocator:
    """Blocks in segments, the smallest free block that is large enough first; nothing is given back.

    >>> allocator = Allocator()
    >>> allocator.take(27648 * 5120 // 2) // 2**20, allocator.unused // 2**10
    (68, 512)
    """

    def __init__(self) -> None:
        """Begin with no segment."""
        self.free: dict[bool, list[int]] = {True: [], False: []}
        self.unused = 0

    def take(self, size: int) -> int:
        """Return the bytes that are held for an array of `size` bytes."""
        needed = max(ROUND, -(-size // ROUND) * ROUND)
        small = needed <= SMALL
        free = self.free[small]
        place = bisect_left(free, needed)
        block = free.pop(place) if place < len(free) else segment(needed)
        left = block - needed
        if left >= ROUND if small else left > SMALL:
            insort(free, left)
            block = needed
        self.unused += block - size
        return block


def segment(needed: int) -> int:
    """Return the bytes that are asked of the device for an array of `needed` bytes.

    >>> [segment(size * 2**20) // 2**20 for size in (1, 5, 9, 11)]
    [2, 20, 20, 12]
    """
    if needed <= SMALL:
        return SMALL_SEGMENT
    return SHARED_SEGMENT if needed < LARGE else -(-needed // OWN_SEGMENT_STEP) * OWN_SEGMENT_STEP


def unused_bytes(outside: Iterable[int], layers: Iterable[tuple[Sequence[int], int]]) -> int:
    """Return what is held beyond the arrays: those outside the layers, and equal layers with their number.

    The first layers of each kind are laid out array by array; the others add what these added on average.

    >>> unused_bytes([], [([27648 * 5120 // 2], 64)]) // 2**20
    32
    """
    allocator = Allocator()
    for size in outside:
        allocator.take(size)
    beyond = 0
    for sizes, times in layers:
        after = []
        for _ in range(min(times, SAMPLE)):
            for size in sizes:
                allocator.take(size)
            after.append(allocator.unused)
        if times > SAMPLE:
            beyond += (after[-1] - after[0]) * (times - SAMPLE) // (SAMPLE - 1)
    return allocator.unused + beyond
