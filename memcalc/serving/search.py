"""The inverse questions of a plan: the largest context, the largest batch, what is left for the cache."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from memcalc.ledger.amount import Amount
from memcalc.serving.stage import (
    cache_bytes,
    device_budget,
    growing_lines,
    host_cache,
    pass_lines,
    pool_bytes,
    summed_cache,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from memcalc.ledger.budget import PoolBudget
    from memcalc.serving.plan import ServingPlan
    from memcalc.serving.stage import LoadedStage

__all__ = ["LIMIT", "KVPool", "Search", "largest", "largest_fitting"]

LIMIT = 2**40  # where a search ends: with windows in all layers more tokens need no more memory


class KVPool(NamedTuple):
    """What an engine takes for the cache in advance on one device, and its range where parts are measured.

    `tokens` are those of one sequence in whole blocks, the model's own limit aside.
    """

    bytes: Amount
    low_bytes: Amount
    high_bytes: Amount
    tokens: int
    low_tokens: int
    high_tokens: int


class Search:
    """Where the largest is looked for: a plan on a machine, its stages, the host's memory if it is used."""

    def __init__(self, plan: ServingPlan, stages: tuple[LoadedStage, ...], host: PoolBudget | None) -> None:
        self.plan, self.stages, self.host = plan, stages, host

    def free_bytes(self, one: LoadedStage, batch: int, context: int) -> int:
        """Return what is left on one device of a stage: below 0 if it is not large enough."""
        growing = growing_lines(self.plan, one.rank, batch, context, summed_cache)
        return device_budget(self.plan, (*one.weights, *one.constant, *growing)).room_bytes or 0

    def free_host_bytes(self, batch: int, context: int) -> int:
        """Return what is left in the host's memory; 0 where its size is not known."""
        plan = self.plan
        if self.host is None or self.host.room_bytes is None:
            return 0
        held, asked = (
            cache_bytes(plan, host_cache(plan, *load))
            for load in ((plan.batch, plan.context), (batch, context))
        )
        return self.host.room_bytes + held - asked

    def fits(self, batch: int, context: int) -> bool:
        """Say whether devices and host are large enough for `batch` sequences of `context` tokens."""
        return self.free_host_bytes(batch, context) >= 0 and all(
            self.free_bytes(one, batch, context) >= 0 for one in self.stages
        )

    @property
    def host_suffices(self) -> bool:
        """Whether the host's memory is large enough, as far as its size is known."""
        return self.host is None or self.host.fits is not False

    def bounds(self, load: Callable[[int], tuple[int, int]]) -> list[Callable[[int], int]]:
        """Return what each stage, and the host, have left for the load (batch, context) of a number."""
        found: list[Callable[[int], int]] = [
            lambda number, one=one: self.free_bytes(one, *load(number))  # type: ignore[misc]
            for one in self.stages
        ]
        if host_cache(self.plan, 1, 1):
            found.append(lambda number: self.free_host_bytes(*load(number)))
        return found

    def max_context(self) -> int:
        """Return the longest context that fits with this batch, bounded by memory alone.

        Within a block of the engine's more tokens take no more memory: blocks are searched.
        """
        if not self.host_suffices:
            return 0
        batch, block, bound = self.plan.batch, self.block, self.plan.engine.shorter_trial_above
        if bound is None:
            return min(largest_fitting(self.bounds(lambda blocks: (batch, blocks * block))) * block, LIMIT)
        beyond = largest_fitting(self.bounds(lambda tokens: (batch, bound + tokens)))
        return (
            bound + beyond if beyond else largest(lambda tokens: self.fits(batch, tokens), bound, start=bound)
        )

    def max_batch(self) -> int:
        """Return the most sequences that fit at this context, bounded by memory alone."""
        if not self.host_suffices:
            return 0
        context, limit = self.plan.context, self.plan.most_sequences
        if limit is not None:
            return largest(lambda batch: self.fits(batch, context), limit, start=limit)
        return largest_fitting(self.bounds(lambda batch: (batch, context)))

    @property
    def block(self) -> int:
        """The tokens for which the engine takes memory at once."""
        return self.plan.engine.allocated_tokens(1, self.plan.engine_options)

    def kv_pool(self) -> KVPool:
        """Return what is left for the cache; of several stages the one with the least counts.

        Source: utilization x visible = weights + activation peak + non-torch + pool, vLLM's log.
        """
        beside = []
        plan = self.plan
        for one in self.stages:
            growing = pass_lines(plan, one.rank, 1, 1)
            trial = plan.engine.trial_lines(one.rank, plan.context)
            pool = device_budget(plan, (*one.weights, *one.constant, *growing, *trial))
            beside.append([line for line in pool.at_fullest if not line.outside])
        usable = plan.usable_bytes or 0
        sizes, tokens = [], []
        for end in ("bytes", "most_bytes", "least_bytes"):  # the most of all else leaves the least
            left = [max(0, usable - sum(getattr(line, end) for line in lines)) for lines in beside]
            unused = [partial(self.unused, size, one) for size, one in zip(left, self.stages, strict=True)]
            sizes.append(min(left))
            tokens.append(self.block * largest_fitting(unused))
        return KVPool(*map(Amount, sizes), *tokens)

    def unused(self, size: int, one: LoadedStage, blocks: int) -> int:
        """Return what one sequence of so many blocks leaves of a pool of this size."""
        return size - pool_bytes(self.plan, one.rank, blocks * self.block)


def largest_fitting(left: Iterable[Callable[[int], int]]) -> int:
    """Return the largest number with which nothing falls below 0; 0 if 1 is too many.

    Parameters
    ----------
    left : iterable of callables
        What a number leaves of each of some memories.

    Examples
    --------
    >>> largest_fitting([lambda context: 8 * 2**30 - 262144 * context, lambda context: 2**33 - context])
    32768

    """
    found: int | None = None
    for memory in left:
        if found is None or (found and memory(found) < 0):
            found = largest_in(memory)
    return found or 0


def largest_in(left: Callable[[int], int], far: int = 2**20) -> int:
    """Return the largest number for one memory; the search starts where the slope beyond windows ends."""
    there = left(far)
    slope = there - left(2 * far)
    even = far * far if there >= 0 else 1  # windows in all layers: more tokens take no more memory
    start = far + there * far // slope if slope else even
    return largest(lambda number: left(number) >= 0, start=start)


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
