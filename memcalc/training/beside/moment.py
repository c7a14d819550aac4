"""One moment beside the step, in one memory: its lines, its range, and whether there is room for it."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from memcalc.data.units import Amount, amount, gib_or_less
from memcalc.ledger.budget import by_component
from memcalc.ledger.tensor import ceil_div
from memcalc.training.host import program_lines
from memcalc.training.overheads import runtime_lines
from memcalc.training.weights import weight_shards

if TYPE_CHECKING:
    from memcalc.ledger.budget import Line
    from memcalc.training.plan import TrainingPlan
    from memcalc.training.stage import StageTensors
    from memcalc.training.stage_estimate import StageEstimate
    from memcalc.training.weights import WeightShard

__all__ = [
    "VERBS",
    "Beside",
    "all_along",
    "array_numbers",
    "in_host",
    "is_added",
    "largest_array",
    "on_device",
    "split_experts",
    "times",
    "whole_weights",
]

VERBS = {"load": "to load", "evaluate": "to evaluate", "save": "to save"}


class Beside(NamedTuple):
    """What a moment beside the step holds: on the fullest device, or of all ranks in the host's memory.

    `at` is ``load``, ``evaluate`` or ``save``, `where` is ``device`` or ``host``. `fixes` are what people
    change when there is no room: memcalc's options with other tools' names for them, and what no option says.
    """

    at: str
    where: str
    lines: tuple[Line, ...]
    capacity_bytes: int | None
    fixes: tuple[str, ...] = ()

    def held(self, end: str) -> int:
        """Return the sum with lines at one end of their ranges: bytes, least_bytes or most_bytes."""
        total: int = sum(getattr(line, end) for line in self.lines)
        return total

    @property
    def total_bytes(self) -> Amount:
        """All that is held, with the programs."""
        return amount(self.held("bytes"))

    @property
    def components(self) -> dict[str, Amount]:
        """The bytes of each component; they add up to the total."""
        return by_component(self.lines)

    @property
    def verdict(self) -> str | None:
        """Whether there is room for it; None where the memory's size is not known."""
        if self.capacity_bytes is None:
            return None
        if self.lacking("bytes"):
            return "does_not_fit"
        return "may_not_fit" if self.lacking("most_bytes") else "fits"

    def lacking(self, end: str) -> int:
        """Return the bytes that are missing, 0 where none are, or where the memory's size is not known."""
        return 0 if self.capacity_bytes is None else max(0, self.held(end) - self.capacity_bytes)

    def words(self, end: str) -> str:
        """Say what is missing."""
        memory = "a device lacks" if self.where == "device" else "the host's memory lacks"
        return f"{VERBS[self.at]}, {memory} {gib_or_less(self.lacking(end))}"

    @property
    def fields(self) -> dict[str, object]:
        """All of it by name, as JSON shows it."""
        pool = "gpu" if self.where == "device" else "host"
        return {
            "at": self.at,
            "where": self.where,
            "total_bytes": self.total_bytes,
            "low_bytes": amount(self.held("least_bytes")),
            "high_bytes": amount(self.held("most_bytes")),
            "capacity_bytes": self.capacity_bytes,
            "verdict": self.verdict,
            "components": self.components,
            "lines": [{"pool": pool, **line.fields} for line in self.lines],
            "fixes": list(self.fixes),
        }


def on_device(plan: TrainingPlan, at: str, lines: list[Line], fixes: tuple[str, ...] = ()) -> Beside:
    """Return a moment on the fullest device, with what lies outside of the allocator's memory."""
    capacity = None if plan.machine is None else plan.machine.device.capacity_bytes
    return Beside(at, "device", marked(at, [*lines, *runtime_lines(plan)]), capacity, fixes)


def in_host(plan: TrainingPlan, at: str, lines: list[Line], fixes: tuple[str, ...] = ()) -> Beside:
    """Return a moment in the host's memory, with the programs of all ranks and the operating system."""
    machine, world = plan.machine, plan.parallelism.world
    room = None if machine is None or machine.is_unified else machine.host_bytes
    of_a_rank = [share_of(line, world)._replace(moments=plan.moments) for line in lines]
    programs = () if any(one.component == "runtime" for one in lines) else program_lines(plan, of_a_rank)
    every = [*lines, *(times(line, world) for line in programs)]
    return Beside(at, "host", marked(at, every), room, fixes)


def marked(at: str, lines: list[Line]) -> tuple[Line, ...]:
    """Return lines of a moment, those that hold something."""
    return tuple(line._replace(moments=(at,)) for line in lines if line.bytes or line.most_bytes)


def share_of(line: Line, ranks: int) -> Line:
    """Return a rank's share of what all hold together."""
    return line._replace(bytes=ceil_div(line.bytes, ranks), low=None, high=ceil_div(line.most_bytes, ranks))


def times(line: Line, ranks: int) -> Line:
    """Return what so many ranks hold of a line."""
    if ranks == 1:
        return line
    low, high, count = (None if one is None else ranks * one for one in (line.low, line.high, line.count))
    formula = f"{line.formula} x {ranks} ranks".strip()
    return line._replace(bytes=ranks * line.bytes, count=count, low=low, high=high, formula=formula)


def all_along(plan: TrainingPlan, held: StageEstimate, where: str) -> list[Line]:
    """Return what a device, or the host, holds from step to step."""
    pool = held.device if where == "device" else held.host
    if pool is None:
        return []
    always = [line for line in pool.lines if set(plan.moments) <= set(line.moments)]
    if where == "device":  # what lies outside of the allocator's memory is added to any moment
        return [line for line in always if line.component != "runtime"]
    always += [line for line in pool.lines if line.component == "runtime"]
    return [times(line, plan.parallelism.world) for line in always]


def whole_weights(plan: TrainingPlan, stage: StageTensors) -> list[WeightShard]:
    """Return the weights of a stage as a rank would hold them if no other shared them."""
    if not plan.parallelism.shard:
        return list(stage.shards)
    alone = replace(plan, parallelism=plan.parallelism._replace(shard=0))
    return [one for chunk in stage.chunks for one in weight_shards(alone, chunk)]


def array_numbers(one: WeightShard) -> int:
    """Return the numbers of one array of a weight, as its class has it; 0 where another one holds it."""
    return prod(one.shape) if one.shape is not None else 0


def largest_array(whole: list[WeightShard]) -> int:
    """Return the bytes of the largest array of all weights, as they are trained; codes as they are packed."""
    sizes = (
        one.packed // one.arrays if one.packed and one.arrays else one.bytes // one.count * array_numbers(one)
        for one in whole
    )
    return max(sizes, default=0)


def split_experts(plan: TrainingPlan, whole: list[WeightShard]) -> list[WeightShard]:
    """Return the experts that files have one by one, and their class has as one array a layer."""
    if not plan.model.has_experts:
        return []
    from memcalc.files.tensor_names import family_name

    return [
        one
        for one in whole
        if "{expert}" in one.name
        and not is_added(plan, one)
        and "{expert}" in family_name(plan.model, one.name)
    ]


def is_added(plan: TrainingPlan, one: WeightShard) -> bool:
    """Say whether a weight stands in no file: it is an adapter's, or a copy beside adapters."""
    return bool(plan.adapters) and one.name not in {tensor.name for tensor in plan.apart.weights()}
