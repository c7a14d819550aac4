"""Sweeps: contexts and batches as arrays that broadcast, and the figures of an estimate at each point.

The plan is resolved once, for the largest context and batch. What grows is worked out by the functions that
single plans use, slice by slice; which stage is the fullest, and at which moment, may differ from point to
point.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache, cached_property, partial, reduce
from math import prod
from typing import TYPE_CHECKING, Any

from memcalc.errors import BadInputError
from memcalc.ledger.budget import COMPONENTS, Line
from memcalc.ledger.formats import tensor_bytes
from memcalc.ledger.sweep import columns, is_array, is_lazy, sweep
from memcalc.ledger.tensor import greatest
from memcalc.serving.engines.base import WHILE_SERVING
from memcalc.serving.estimate import ServingEstimate
from memcalc.serving.plan import CHECKS_OF_OPTIONS, resolve
from memcalc.serving.search import Search
from memcalc.serving.stage import (
    cache_format,
    component_of,
    device_budget,
    growing_lines,
    host_budget,
    host_cache,
    host_lines,
    loaded_stages,
    whole_cache_bytes,
)
from memcalc.show.card import Card

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from os import PathLike

    from memcalc.files.source import Source
    from memcalc.ledger.budget import PoolBudget
    from memcalc.ledger.tensor import Tensor
    from memcalc.serving.options import ServingOptions
    from memcalc.serving.plan import ServingPlan

    Stages = list[tuple[Line, ...]]  # the lines of one device of every stage
    Figure = Callable[[tuple[Line, ...], str], Any]  # of a stage's lines and a moment

__all__ = ["ServingSweep", "SweptPool", "swept_estimate"]

LIMIT = 2**63
CONTEXT, BATCH = "--context", "--batch"
ASK_SINGLE_PLANS = "ask for single plans"


class SweptPool:
    """The fullest device of a pool at every point: the figures of `PoolBudget` as arrays of 64-bit integers.

    `frame` is the budget of a device that holds nothing, `lines_at` gives the lines of one device of each
    stage for a batch and a context.
    """

    def __init__(self, frame: PoolBudget, plan: ServingPlan, lines_at: Callable[[Any, Any], Stages]) -> None:
        self.name, self.devices, self.moment_names = frame.name, frame.devices, frame.moment_names
        self.capacity_bytes, self.usable_bytes = frame.capacity_bytes, frame.usable_bytes
        self.points = {CONTEXT: plan.context, BATCH: plan.batch}
        self.lines_at = lines_at

    @property
    def total_bytes(self) -> Any:
        """The fullest moment, and the runtime."""
        return self._of_fullest(None)

    @property
    def low_bytes(self) -> Any:
        """The total with every measured range at its lower end."""
        return self._of_fullest(self._most(least_bytes))

    @property
    def high_bytes(self) -> Any:
        """The total with every measured range at its upper end."""
        return self._of_fullest(self._most(most_bytes))

    @property
    def share_bytes(self) -> Any:
        """What the engine's share has to hold: the most of it at a moment, without what comes on top."""
        return self._of_fullest(self._most(share_bytes))

    @property
    def components(self) -> dict[str, Any]:
        """Bytes of each component at the fullest moment, 0 where there is none; they add up to the total."""
        names = {line.component for lines in self.lines_at(1, 1) for line in lines}
        names_in_order = sorted(names, key=COMPONENTS.index)
        return {name: self._of_fullest(component(name)) for name in names_in_order}

    @property
    def moments(self) -> dict[str, Any]:
        """Bytes at every moment on the fullest device."""
        return {name: self._of_fullest(allocated_at(name)) for name in self.moment_names}

    @property
    def free_bytes(self) -> Any:
        """What is left of the capacity; None without a machine."""
        return None if self.capacity_bytes is None else self.capacity_bytes - self.total_bytes

    @property
    def room_bytes(self) -> Any:
        """What is left of the share, or of the whole device if that is less; None without a machine."""
        return None if self.capacity_bytes is None else -self._of_fullest(self._over)

    @property
    def fits(self) -> Any:
        """Whether share and device are large enough; None without a machine."""
        room = self.room_bytes
        return None if room is None else room >= 0

    @property
    def all_fit(self) -> Any:
        """Whether that holds for the devices of every stage, the fullest or not; None without a machine."""
        if self.capacity_bytes is None:
            return None
        return self._swept(lambda stages: reduce(greatest, (self._over(one, "") for one in stages))) <= 0

    def _over(self, lines: tuple[Line, ...], moment: str) -> Any:
        """Return how much more than there is one device of a stage holds, of the share or of all."""
        share, total = (self._most(figure)(lines, moment) for figure in (share_bytes, total_bytes))
        return greatest(share - self.usable_bytes, total - self.capacity_bytes)

    def _most(self, figure: Callable[[list[Line]], Any]) -> Figure:
        """Return the figure that is the most of another one at any moment."""
        return lambda lines, _: reduce(greatest, (figure(living(lines, one)) for one in self.moment_names))

    def _swept(self, figure: Callable[[Stages], Any]) -> Any:
        """Return a figure of the stages at every point."""

        def prepare(ranges: Mapping[str, tuple[int, int]]) -> Callable[[Mapping[str, Any]], Any]:
            for batch in ranges[BATCH]:
                for lines in self.lines_at(batch, ranges[CONTEXT][1]):
                    refuse_beyond_64_bits(most_bytes(lines), ranges)
            return lambda at: figure(self.lines_at(unlisted(at[BATCH]), unlisted(at[CONTEXT])))

        return sweep(prepare, self.points)

    def _of_fullest(self, figure: Figure | None) -> Any:
        """Return a figure of the fullest stage at its fullest moment, or (None) how much it holds there."""
        return self._swept(partial(self._at_fullest, figure))

    def _at_fullest(self, figure: Figure | None, stages: Stages) -> Any:
        """Return it at some points."""
        held = [(lines, moment) for lines in stages for moment in self.moment_names]
        totals = [total_bytes(living(*one)) for one in held]
        if figure is None:
            return reduce(greatest, totals)
        from numpy import where

        most, found = totals[0], figure(*held[0])
        for total, one in zip(totals[1:], held[1:], strict=True):
            fuller = total > most  # of equals the first is the fullest, as in a single plan
            most, found = where(fuller, total, most), where(fuller, figure(*one), found)
        return found


def unlisted(number: Any) -> Any:
    """Return an array that formulas do not list: to write out its numbers takes longer than to use them."""
    return number.view(unlisted_array()) if is_array(number) else number


@cache
def unlisted_array() -> type[Any]:
    """Return the class of such arrays; NumPy loads when the first sweep is asked for."""
    from numpy import ndarray

    class UnlistedArray(ndarray):
        def __format__(self, spec: str) -> str:
            return "..."

    return UnlistedArray


def swept_cache(plan: ServingPlan, tensors: Iterable[Tensor], moments: tuple[str, ...]) -> Iterator[Line]:
    """Yield a line for each component of a cache: whole numbers are multiplied before arrays are.

    What a tensor takes is so many bytes for each of its rows, as no format of a cache shares anything between
    rows. Tensors with the same arrays among their axes are one product.
    """
    numbers: dict[tuple[str, tuple[int, ...]], int] = {}
    arrays: dict[tuple[str, tuple[int, ...]], list[Any]] = {}
    for tensor in tensors:
        varied = [axis for axis in tensor.shape if is_array(axis)]
        row = tensor._replace(shape=tuple(1 if is_array(axis) else axis for axis in tensor.shape))
        key = component_of(tensor), tuple(map(id, varied))
        numbers[key] = numbers.get(key, 0) + tensor_bytes(row, cache_format(plan, tensor))
        arrays[key] = varied
    for key, number in numbers.items():
        size = prod(arrays[key], start=number)
        yield Line(component=key[0], name="all", bytes=size, moments=moments)


def living(lines: Iterable[Line], moment: str) -> list[Line]:
    """Return the lines that live at a moment, and the runtime, which always does."""
    return [line for line in lines if line.component == "runtime" or moment in line.moments]


def total_bytes(lines: Iterable[Line]) -> Any:
    """Return what lines hold together."""
    return sum(line.bytes for line in lines)


def least_bytes(lines: Iterable[Line]) -> Any:
    """Return the same with every range at its lower end."""
    return sum(line.least_bytes for line in lines)


def most_bytes(lines: Iterable[Line]) -> Any:
    """Return the same with every range at its upper end."""
    return sum(line.most_bytes for line in lines)


def share_bytes(lines: Iterable[Line]) -> Any:
    """Return what lines take of the engine's share."""
    return sum(line.bytes for line in lines if not line.outside)


def component(name: str) -> Figure:
    """Return the figure that a component is."""
    return lambda lines, moment: total_bytes(one for one in living(lines, moment) if one.component == name)


def allocated_at(name: str) -> Figure:
    """Return the figure that the allocator's bytes at a moment are."""
    return lambda lines, _: total_bytes(line for line in lines if name in line.moments)


def refuse_beyond_64_bits(size: int, ranges: Mapping[str, tuple[int, int]]) -> None:
    """Refuse a sweep whose largest size does not fit into 64 bits."""
    if size >= LIMIT:
        largest = {name.removeprefix("--"): high for name, (_, high) in ranges.items()}
        raise BadInputError(CONTEXT, "sizes below 2^63 bytes", largest, "sweep smaller numbers")


class ServingSweep(ServingEstimate):
    """The figures of plans whose context or batch is an array, point by point."""

    @property
    def card(self) -> Card:
        """What the shell and Jupyter show of it: how many points there are, and how they are asked for."""
        from numpy import broadcast_shapes

        plan = self.plan
        shapes = (getattr(number, "shape", ()) for number in (plan.context, plan.batch))
        points = " x ".join(map(str, broadcast_shapes(*shapes)))
        engine = f"{plan.engine.id} {plan.engine.release}"
        title = f"{plan.model.name}: a sweep of {points} points, weights {plan.weights}, {engine}"
        return Card(title, ("device.total_bytes has an element for each point",))

    @property
    def defaults(self) -> tuple[str, ...]:
        """What was chosen where an option was left open, in words."""
        return self.plan.defaults

    @cached_property
    def device(self) -> Any:
        """The fullest device at every point."""
        plan = self.plan
        loaded = [one.summed for one in loaded_stages(plan)]

        def lines_at(batch: Any, context: Any) -> Stages:
            return [
                (*weights, *constant, *growing_lines(plan, rank, batch, context, swept_cache))
                for rank, weights, constant in loaded
            ]

        return SweptPool(device_budget(plan, ()), plan, lines_at)

    @property
    def devices(self) -> Any:
        """The same: devices of one kind."""
        return (self.device,)

    @cached_property
    def host(self) -> Any:
        """The host's memory at every point; None with engines that do not use it."""
        plan = self.plan
        if not plan.uses_host:
            return None
        constant = tuple(host_lines(plan, ()))

        def lines_at(batch: Any, context: Any) -> Stages:
            return [(*constant, *swept_cache(plan, host_cache(plan, batch, context), WHILE_SERVING))]

        return SweptPool(host_budget(plan, ()), plan, lines_at)

    @property
    def fits(self) -> Any:
        """Whether device and host are large enough at each point; None without a machine.

        A host whose size is not given is taken as large enough.
        """
        device = self.device.all_fit
        stages = tuple(one.summed for one in loaded_stages(self.plan))
        starts = self.plan.room_at_start("bytes"), Search(self.plan, stages, None).spare_blocks("bytes")
        if any(left is not None and left < 0 for left in starts):
            device = device & False
        if device is None or self.host is None:
            return device
        host = self.host.fits
        return device if host is None else device & host

    @property
    def cache_bytes(self) -> Any:
        """The architecture's cache at each point, all devices together."""
        plan = self.plan

        def prepare(ranges: Mapping[str, tuple[int, int]]) -> Callable[[Mapping[str, Any]], Any]:
            refuse_beyond_64_bits(whole_cache_bytes(plan, ranges[BATCH][1], ranges[CONTEXT][1]), ranges)
            return lambda at: whole_cache_bytes(plan, at[BATCH], at[CONTEXT])

        return sweep(prepare, {CONTEXT: plan.context, BATCH: plan.batch})

    @property
    def verdict(self) -> Any:
        """The verdict: of a sweep there is one for each point.

        Raises
        ------
        BadInputError
            Always.

        """
        raise BadInputError("--on", "a single plan for a verdict", "a sweep", ASK_SINGLE_PLANS)

    @property
    def max_context(self) -> Any:
        """The longest context: of a sweep there is none.

        Raises
        ------
        BadInputError
            Always.

        """
        raise BadInputError(BATCH, "a single number for the largest context", "a sweep", ASK_SINGLE_PLANS)

    @property
    def max_batch(self) -> Any:
        """The largest batch: of a sweep there is none.

        Raises
        ------
        BadInputError
            Always.

        """
        raise BadInputError(CONTEXT, "a single number for the largest batch", "a sweep", ASK_SINGLE_PLANS)


def swept_estimate(source: str | PathLike[str] | Source, options: ServingOptions) -> ServingSweep:
    """Return the estimate that options mean where context or batch is an array.

    Parameters
    ----------
    source : str, path or Source
        What is served.
    options : ServingOptions
        What is asked for; `context` and `batch` are whole numbers or arrays of them that broadcast.

    Raises
    ------
    BadInputError
        An array is not of whole numbers >= 1, the two do not fit each other, or a rule of the engine differs
        from point to point.

    """
    points = {CONTEXT: options.context, BATCH: options.batch}
    if not any(map(is_lazy, points.values())):
        columns(points)
    largest, smallest = (
        {name: int(getattr(number, end, lambda number=number: number)()) for name, number in points.items()}
        for end in ("max", "min")
    )
    for refuse in CHECKS_OF_OPTIONS:
        refuse(replace(options, context=smallest[CONTEXT], batch=largest[BATCH]))
    plan = resolve(source, replace(options, context=largest[CONTEXT], batch=largest[BATCH]))
    plan.engine.check_sweep(dict(options.engine_options))
    if plan.machine is not None and plan.engine.split(0, 1, plan.engine_options) is not None:
        expected, remedy = (
            "none in a sweep of a model with states",
            f"its pool is divided: {ASK_SINGLE_PLANS}",
        )
        raise BadInputError("--on", expected, options.on, remedy)
    if plan.layers_by_device:
        raise BadInputError("--on", "devices of one kind in a sweep", options.on, ASK_SINGLE_PLANS)
    return ServingSweep(plan._replace(context=options.context, batch=options.batch))
