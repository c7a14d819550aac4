"""The inverse questions of a plan: the largest context, the largest batch, what is left for the cache."""

from __future__ import annotations

from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

from memcalc.data.units import Amount, gib, gib_or_less
from memcalc.ledger.tensor import ceil_div, least
from memcalc.serving.stage import (
    cache_bytes,
    cache_tensors,
    device_budget,
    growing_lines,
    host_budget,
    host_cache,
    host_lines,
    loaded_stages,
    pass_lines,
    pool_bytes,
    summed_cache,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from memcalc.ledger.budget import Line, PoolBudget
    from memcalc.serving.engines.vllm_pool import Request
    from memcalc.serving.plan import ServingPlan
    from memcalc.serving.stage import LoadedStage

__all__ = ["LIMIT", "KVPool", "Search", "largest", "largest_fitting", "limited"]

CACHES = ("kv_cache", "state")
LIMIT = 2**40  # where a search ends: with windows in all layers more tokens need no more memory


class KVPool(NamedTuple):
    """What an engine takes for the cache in advance on one device, and its range where parts are measured.

    `tokens` are what the engine prints: those of one sequence in whole blocks, the model's own limit aside,
    or, where windows have blocks too, those of as many requests as fit. `concurrency` is how many requests of
    the plan's context that are; None of an engine that does not print it. Where tokens take none of the pool,
    `tokens` are 2^40 or more: JSON has null there.
    """

    bytes: Amount
    low_bytes: Amount
    high_bytes: Amount
    tokens: int
    low_tokens: int
    high_tokens: int
    concurrency: float | None = None


class Search:
    """A plan on a machine, asked which loads it has room for; `end` says which figures count.

    All answers come from `fits`: the verdict is that of the plan's own load, the largest context and batch
    are the last for which it holds. `host` is the host's memory with the plan's load, None where it is not
    used; one whose size is not known is taken as large enough.
    """

    def __init__(
        self, plan: ServingPlan, stages: tuple[LoadedStage, ...], host: PoolBudget | None, end: str = "bytes"
    ) -> None:
        self.plan, self.stages, self.host, self.end = plan, stages, host, end
        self.sizes: dict[tuple[int, str], int] = {}  # what `bytes_each` found: a search asks it many times

    def at(self, end: str) -> Search:
        """Return the same with every range at one end: least_bytes or most_bytes."""
        return Search(self.plan, self.stages, self.host, end)

    def device(self, one: LoadedStage, batch: int, context: int) -> PoolBudget:
        """Return the budget of one device of a stage with a load."""
        growing = growing_lines(self.plan, one.rank, batch, context, summed_cache)
        return device_budget(self.plan, (*one.weights, *one.constant, *growing), one.rank.device)

    def free_bytes(self, one: LoadedStage, batch: int, context: int) -> int:
        """Return what is left on one device of a stage: below 0 if it is not large enough."""
        device, fixed = self.device(one, batch, context), self.plan.fixed_pool
        if self.shares is not None:
            bytes_left, requests = next(
                share for share, stage in zip(self.shares, self.stages, strict=True) if stage is one
            )
            tokens = [line for line in device.lines if line.component == "kv_cache" and not line.outside]
            held, _ = device.holding(tuple(tokens)).held(self.end)
            slots = requests - self.plan.parallelism.sequences(batch)
            return min(bytes_left - held, slots * self.slot_bytes, device.room(self.end) or 0)
        if fixed is None:
            return device.room(self.end) or 0
        own = [line for line in device.lines if line.component in CACHES and not line.outside]
        held, _ = device.holding(tuple(own)).held(self.end)
        beside = device.holding(tuple(line for line in device.lines if line not in own))
        return min(fixed - held, (beside.room(self.end) or 0) - fixed)

    @cached_property
    def host_room(self) -> int | None:
        """What the host's memory has for the cache of layers that lie there; None where it has no limit."""
        room = None if self.host is None else self.host.room(self.end)
        return None if room is None else room + self.host_bytes(self.plan.batch, self.plan.context)

    def host_bytes(self, batch: int, context: int) -> int:
        """Return the bytes of a load's cache in the host's memory."""
        return cache_bytes(self.plan, host_cache(self.plan, batch, context))

    def free_host_bytes(self, batch: int, context: int) -> int:
        """Return what is left in the host's memory; 0 where its size is not known."""
        return 0 if self.host_room is None else self.host_room - self.host_bytes(batch, context)

    @cached_property
    def memories(self) -> list[Callable[[int, int], int]]:
        """What each stage, and the host, have left for a load of `batch` sequences of `context` tokens."""
        found: list[Callable[[int, int], int]] = [partial(self.free_bytes, one) for one in self.stages]
        start = self.plan.room_at_start(self.end)
        if start is not None:
            found.append(lambda *_load: start)
        spare = self.spare_blocks(self.end)
        if spare is not None:
            found.append(lambda *_load: spare)
        return [*map(cache, found if self.host_room is None else [*found, self.free_host_bytes])]

    def __getstate__(self) -> dict[str, object]:
        """Store it without what is remembered of the loads that were asked for."""
        return {name: value for name, value in vars(self).items() if name != "memories"}

    def fits(self, batch: int, context: int) -> bool:
        """Say whether every memory has room for a load, and the engine for so many sequences."""
        return batch <= self.most_sequences and all(left(batch, context) >= 0 for left in self.memories)

    @property
    def most_sequences(self) -> int:
        """The sequences that the engine has room for, whatever the memory."""
        return self.plan.most_sequences or LIMIT

    @property
    def answer(self) -> bool | None:
        """Whether the plan's own load fits; None without a machine.

        A host whose size is not given is taken as large enough, as by `which`.
        """
        return None if self.plan.machine is None else self.fits(self.plan.batch, self.plan.context)

    @cached_property
    def judged(self) -> str:
        """The verdict where a memory whose size is not known is large enough."""
        load = self.plan.batch, self.plan.context
        if self.plan.beyond_limit or not self.fits(*load):
            return "does_not_fit"
        return "fits" if self.at("most_bytes").fits(*load) else "may_not_fit"

    @property
    def verdict(self) -> str | None:
        """Whether the plan fits, may not, with every range at its upper end, or does not."""
        return None if self.answer is None else self.judged

    @cached_property
    def cause(self) -> str | None:
        """Why it does not fit, or may not; None where it does, and without a machine."""
        if self.verdict in (None, "fits"):
            return None
        return self.shortage() or self.plan.beyond_limit or self.at("most_bytes").shortage()

    @property
    def total_bytes(self) -> Amount:
        """What the fullest device holds of the plan's own load."""
        plan = self.plan
        return max(self.device(one, plan.batch, plan.context).total_bytes for one in self.stages)

    def shortage(self) -> str | None:
        """Say what the plan's own load is too much for; None if it is for nothing."""
        plan, start = self.plan, self.plan.room_at_start(self.end)
        if start is not None and start < 0:
            asked = plan.usable_bytes or Amount(0)
            return (
                f"{plan.engine.title} starts only where {gib(asked)} are free, and {gib(asked + start)} are"
            )
        loads = [(one.weight_bytes, plan.usable_of(one.rank.device)) for one in self.stages]
        weights, usable = max(loads, key=lambda load: load[0] - load[1])
        if weights > usable:
            return f"the weights alone take {gib(weights)} of a device, and {gib(usable)} may be used"
        beyond = ", with every measured range at its upper end" if self.end == "most_bytes" else ""
        slots = None if self.shares is None else min(requests for _, requests in self.shares)
        if slots is not None and plan.parallelism.sequences(plan.batch) > slots:
            return (
                f"{plan.engine.title}'s pool has room for the states of {slots:,} requests a device{beyond}"
            )
        device = min(self.free_bytes(one, plan.batch, plan.context) for one in self.stages)
        if device < 0:
            return f"a device lacks {gib_or_less(-device)}{beyond}"
        spare = self.spare_blocks(self.end)
        if spare is not None and spare < 0:
            needed = plan.engine_options["max_num_seqs"]
            return (
                f"{plan.engine.title} does not start: {needed:,} sequences (max_num_seqs) are more than the "
                f"{needed + spare:,} blocks for states{beyond}"
            )
        host = self.free_host_bytes(plan.batch, plan.context)
        return f"the host's memory lacks {gib_or_less(-host)}{beyond}" if host < 0 else None

    def max_context(self) -> int:
        """Return the longest context that fits with this batch, bounded by memory alone.

        Within a block of the engine's more tokens hardly take more memory: blocks are searched first.
        """
        batch, bound = self.plan.batch, self.plan.engine.shorter_profile_above
        if bound is None:
            return self.last(lambda tokens: (batch, tokens), step=self.block)
        beyond = self.last(lambda tokens: (batch, bound + tokens))
        return bound + beyond if beyond else self.last(lambda tokens: (batch, tokens), limit=bound)

    def max_batch(self) -> int:
        """Return the most sequences that fit at this context, bounded by memory alone."""
        return self.last(lambda batch: (batch, self.plan.context), limit=self.most_sequences)

    def last(self, load: Callable[[int], tuple[int, int]], *, limit: int = LIMIT, step: int = 1) -> int:
        """Return the largest number whose load fits; in steps first, then one by one."""
        start = limit
        if limit == LIMIT:
            left = [lambda number, one=one: one(*load(number * step)) for one in self.memories]
            start = largest_fitting(left) * step
        return largest(lambda number: self.fits(*load(number)), limit, start)

    @property
    def block(self) -> int:
        """The tokens for which the engine takes memory at once."""
        return self.plan.engine.allocated_tokens(1, self.plan.engine_options) * self.plan.parallelism.dcp

    def kv_pool(self) -> KVPool:
        """Return what is left for the cache; of several stages the one with the least counts.

        Source: utilization x visible = weights + activation peak + non-torch + pool, vLLM's log.
        """
        takes = [cache(partial(pool_bytes, self.plan, one.rank)) for one in self.stages]
        sizes: list[int] = []
        tokens: list[int] = []
        concurrency: list[float | None] = []
        lefts = [self.left_for_pool(end) for end in ("bytes", "most_bytes", "least_bytes")]
        for left in lefts:  # the most of all else leaves the least
            printed = [self.printed(*each) for each in zip(left, self.stages, takes, strict=True)]
            sizes.append(min(left))
            tokens.append(min(number for number, _ in printed))
            concurrency.append(min((requests for _, requests in printed), key=lambda number: number or 0))
        if self.shares is not None:
            ends = [self.ends_of_tokens(*each) for each in zip(*lefts[1:], self.stages, strict=True)]
            tokens[1:] = map(min, zip(*ends, strict=True))
        return KVPool(*map(Amount, sizes), *tokens)._replace(concurrency=concurrency[0])

    def left_for_pool(self, end: str) -> list[int]:
        """Return what is left for the cache on a device of each stage, with every range at one end."""
        plan, fixed = self.plan, self.plan.fixed_pool
        if fixed is not None:
            return [fixed] * len(self.stages)
        usable = plan.usable_bytes or 0
        capacity = 0 if plan.machine is None else plan.machine.device.capacity_bytes
        last = self.stages[-1].constant if plan.shares_memory else ()
        others = sum(getattr(line, end) for line in last if line.outside)  # what else lies in unified memory
        most = min(usable, capacity - others)
        return [max(0, most - sum(getattr(line, end) for line in lines)) for lines in self.beside_pool]

    @cached_property
    def beside_pool(self) -> list[list[Line]]:
        """What a device of each stage holds in the share beside the pool."""
        plan, found = self.plan, []
        for one in self.stages:
            growing = pass_lines(plan, one.rank, 1, 1)
            profiled = plan.engine.profile_lines(one.rank, plan.context)
            pool = device_budget(plan, (*one.weights, *one.constant, *growing, *profiled))
            found.append([line for line in pool.at_fullest if not line.outside])
        return found

    @cached_property
    def shares(self) -> list[tuple[int, int]] | None:
        """What each stage's pool has for tokens, in bytes, and for states, in requests; None if undivided."""
        engine, options = self.plan.engine, self.plan.engine_options
        if engine.split(0, 1, options) is None:
            return None
        split = (engine.split(size, self.slot_bytes, options) for size in self.left_for_pool(self.end))
        return [each for each in split if each is not None]

    def ends_of_tokens(self, small: int, large: int, one: LoadedStage) -> tuple[int, int]:
        """Return the fewest and the most tokens of a divided pool whose size lies between two.

        A larger pool need not hold more: where it has one more slot for states, tokens have less. The ends
        lie at the sizes themselves, at the first that has a slot more, and just before the last that has.
        """

        def states(size: int) -> int:
            left, _ = self.plan.engine.split(size, self.slot_bytes, self.plan.engine_options) or (size, 0)
            return size - left

        fewest, most = states(small), states(large)
        if fewest == most:
            return self.printed(small, one, int)[0], self.printed(large, one, int)[0]
        before_first = largest(lambda size: states(size) <= fewest, large, small)
        before_last = largest(lambda size: states(size) < most, large, large)
        sizes = (small, min(before_first + 1, large), max(before_last, small), large)
        tokens = [self.printed(size, one, int)[0] for size in sizes]
        return min(tokens), max(tokens)

    @cached_property
    def slot_bytes(self) -> int:
        """Bytes of the states of one slot on a device, of several stages the most."""
        return max(self.bytes_each(one, "state") for one in self.stages)

    def bytes_each(self, one: LoadedStage, kind: str) -> int:
        """Return the bytes of one slot of a stage's states, or of one token of its cache, on a device."""
        asked = id(one), kind
        if asked not in self.sizes:
            held = cache_tensors(self.plan, one.rank.stage, 1, 1)
            each = (tensor._replace(shape=(1, *tensor.shape[1:])) for tensor in held if tensor.kind == kind)
            self.sizes[asked] = cache_bytes(self.plan, each)
        return self.sizes[asked]

    def spare_blocks(self, end: str) -> int | None:
        """Return the blocks of states beyond those without which an engine does not start.

        Below 0 it does not; None of models and engines that need none.
        """
        plan = self.plan
        needed = plan.engine.blocks_at_start(plan.engine_options)
        if needed is None or plan.machine is None:
            return None
        pools = zip(self.left_for_pool(end), self.stages, strict=True)
        asked = ((size, one, self.request(one)) for size, one in pools)
        return min(self.blocks(*each) for each in asked if each[2] is not None) - needed  # type: ignore[arg-type]

    def printed(self, size: int, one: LoadedStage, take: Callable[[int], int]) -> tuple[int, float | None]:
        """Return the tokens of a pool of this size, and how many requests of the plan's context it holds.

        `take` says what one sequence of so many tokens takes of it.
        """
        plan = self.plan
        asked = self.request(one)
        split = None if self.shares is None else plan.engine.split(size, self.slot_bytes, plan.engine_options)
        if split is not None:
            each = self.bytes_each(one, "cache")  # of a stage without attention no token takes any
            return max(0, split[0]) // each if each else LIMIT, None
        if asked is None:
            return self.block * largest_fitting([lambda blocks: size - take(blocks * self.block)]), None
        blocks = self.blocks(size, one, asked)
        if asked.groups > 1 and not plan.engine.since(0, 21):
            return blocks // asked.groups * self.shortest_block, blocks / asked.blocks
        if asked.full:
            return blocks * self.block, blocks / asked.blocks
        return blocks * plan.context // asked.blocks, blocks / asked.blocks

    def request(self, one: LoadedStage) -> Request | None:
        """Return what a request of the plan's context takes of a pool; ranks may share its tokens."""
        tokens = ceil_div(self.plan.context, self.plan.parallelism.dcp)
        return self.plan.engine.request(one.rank.stage, tokens, self.plan.engine_options)

    def blocks(self, size: int, one: LoadedStage, asked: Request) -> int:
        """Return the blocks of a pool of this size: one spans a group, and padding layers have blocks too."""
        options = self.plan.engine_options
        page = options.get("page_bytes") or options.get("uniform_page")
        if page is not None:
            return size // (page * asked.layers)
        held = pool_bytes(self.plan, one.rank, self.block)
        if asked.full:
            return size // held
        stage, on_rank = one.rank.stage, self.plan.parallelism.on_rank
        whole = list(map(on_rank, stage.cache(1, self.block, lambda context, _window: context)))
        layers = sum(layer.times * len(layer.remembering) for layer in stage.groups)
        page = cache_bytes(self.plan, whole) // layers
        beside = held - cache_bytes(self.plan, cache_tensors(self.plan, stage, 1, self.block))  # a draft's
        return size * asked.groups // (page * asked.layers * asked.groups + beside)

    @property
    def shortest_block(self) -> int:
        """The tokens of the shortest block: that of states is a request where prefixes are not cached."""
        options = self.plan.engine_options
        if "window_block" in options:
            return least(options["window_block"], options["full_block"])
        states = "page_bytes" in options and not options["prefix_caching"]
        return least(self.block, self.plan.context) if states else self.block


def search_of(plan: ServingPlan) -> Search:
    """Return the search of a plan."""
    host = None
    if plan.uses_host:
        host = host_budget(plan, host_lines(plan, host_cache(plan, plan.batch, plan.context)))
    return Search(plan, tuple(one.summed for one in loaded_stages(plan)), host)


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
    """Return the largest number for one memory; the search starts where the slope beyond windows ends.

    From there slopes nearby say where to go on: a limit that holds far away may not hold here.
    """
    left = cache(left)
    there = left(far)
    slope = there - left(2 * far)
    even = far * far if there >= 0 else 1  # windows in all layers: more tokens take no more memory
    start = max(1, far + there * far // slope) if slope else even
    for _ in range(3):  # what is left is the least of several limits
        slope = left(start) - left(start + 1) if start > 1 else 0
        if slope <= 0 or 0 <= left(start) < slope:
            break
        start = max(1, start + left(start) // slope)
    return largest(lambda number: left(number) >= 0, start=start)


def limited(number: int | None) -> int | None:
    """Return a largest number as JSON has it: None where memory sets no limit, or where none was asked for.

    In Python such numbers are the end of the search, 2^40 or more, and compare as numbers do.

    >>> limited(40_960), limited(2**40), limited(None)
    (40960, None, None)
    """
    return None if number is None or number >= LIMIT else number


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
