"""Lines that add up to moments, moments that decide whether a device is large enough."""

from __future__ import annotations

from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from memcalc.data.units import amount

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from memcalc.data.units import Amount

__all__ = ["COMPONENTS", "Budget", "Line", "PoolBudget"]

COMPONENTS = (
    *("weights", "master", "gradients", "optimizer", "kv_cache", "state", "activations", "logits"),
    *("gathered", "temporaries", "workspace", "runtime"),
)


class Line(NamedTuple):
    """Bytes of one tensor (or overhead) on the fullest device, and why we believe them.

    `count` is how many numbers they are, None where no count was taken. `evidence` is exact (follows from
    shapes), measured (an engine's overhead: a range with its source) or assumed (not measured for this
    case). `moments` names when it lives. What is `outside` the share of a device that an engine takes
    comes on top of it.
    """

    component: str
    name: str
    bytes: int
    count: int | None = None  # type: ignore[assignment]  # not the tuple's
    formula: str = ""
    moments: tuple[str, ...] = ()
    evidence: str = "exact"
    source: str = "derived from the tensors' shapes"
    low: int | None = None
    high: int | None = None
    outside: bool = False

    @property
    def fields(self) -> dict[str, object]:
        """All of it by name, as JSON shows it."""
        return self._asdict()

    @property
    def least_bytes(self) -> int:
        """The lower end of the range."""
        return self.bytes if self.low is None else self.low

    @property
    def most_bytes(self) -> int:
        """The upper end of the range."""
        return self.bytes if self.high is None else self.high


class PoolBudget:
    """The fullest device of a pool of equal devices; `usable_bytes` is None where no machine was named."""

    def __init__(
        self,
        name: str,
        devices: int,
        *,
        capacity_bytes: int | None,
        usable_bytes: int | None,
        lines: tuple[Line, ...],
        moment_names: tuple[str, ...],
    ) -> None:
        self.name, self.devices = name, devices
        self.capacity_bytes, self.usable_bytes = capacity_bytes, usable_bytes
        self.lines, self.moment_names = lines, moment_names

    def __repr__(self) -> str:
        of = "" if self.capacity_bytes is None else f" of {amount(self.capacity_bytes)}"
        return f"<{self.devices} x {self.name}: {self.total_bytes}{of}, at {self.fullest}>"

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "moments"}  # a view of a dict

    def holding(self, lines: tuple[Line, ...]) -> PoolBudget:
        """Return the same device with other lines."""
        return PoolBudget(
            self.name,
            self.devices,
            capacity_bytes=self.capacity_bytes,
            usable_bytes=self.usable_bytes,
            lines=lines,
            moment_names=self.moment_names,
        )

    def at(self, moment: str) -> Amount:
        """Return the allocator's bytes at a moment: without context and communicators."""
        return self.moments[moment]

    @cached_property
    def moments(self) -> Mapping[str, Amount]:
        """Bytes at every moment."""
        sizes = dict.fromkeys(self.moment_names, 0)
        for line in self.lines:
            for moment in line.moments:
                sizes[moment] += line.bytes
        return MappingProxyType({moment: amount(size) for moment, size in sizes.items()})

    @cached_property
    def fullest(self) -> str:
        """The moment at which most is allocated."""
        return max(self.moment_names, key=self.moments.__getitem__)

    @cached_property
    def at_fullest(self) -> list[Line]:
        """The lines that live at the fullest moment, and the runtime, which always does."""
        moment = self.fullest
        return [line for line in self.lines if line.component == "runtime" or moment in line.moments]

    @property
    def components(self) -> dict[str, Amount]:
        """Bytes of each component at the fullest moment; they add up to `total_bytes`."""
        return by_component(self.at_fullest)

    def components_at(self, moment: str) -> dict[str, Amount]:
        """Return the allocator's bytes of each component at a moment; they add up to those of the moment."""
        return by_component(line for line in self.lines if moment in line.moments)

    @property
    def total_bytes(self) -> Amount:
        """The fullest moment, and the runtime."""
        return amount(self.held("bytes")[1])

    @property
    def low_bytes(self) -> Amount:
        """The total with every measured range at its lower end."""
        return amount(self.held("least_bytes")[1])

    @property
    def high_bytes(self) -> Amount:
        """The total with every measured range at its upper end."""
        return amount(self.held("most_bytes")[1])

    @property
    def free_bytes(self) -> Amount | None:
        """What is left of the capacity."""
        return None if self.capacity_bytes is None else amount(self.capacity_bytes - self.total_bytes)

    @property
    def share_bytes(self) -> Amount:
        """What the engine's share has to hold: the most of it at a moment, without what comes on top."""
        return amount(self.held("bytes")[0])

    @property
    def room_bytes(self) -> Amount | None:
        """What is left of the share, or of the whole device if that is less; below 0 it is too small."""
        return amount(self.room("bytes"))

    @property
    def fits(self) -> bool | None:
        """Whether the share stays within utilization x capacity, and everything within the device."""
        room = self.room("bytes")
        return None if room is None else room >= 0

    def held(self, end: str) -> tuple[int, int]:
        """Return the most that the share, and the device, hold at a moment, with lines at one end."""
        share, beside = dict.fromkeys(self.moment_names, 0), dict.fromkeys(self.moment_names, 0)
        for line in self.lines:
            sizes, size = beside if line.outside else share, getattr(line, end)
            for moment in self.moment_names if line.component == "runtime" else line.moments:
                sizes[moment] += size
        return max(share.values()), max(share[moment] + beside[moment] for moment in share)

    def room(self, end: str) -> int | None:
        """Return `room_bytes` with lines at one end of their ranges: bytes, least_bytes or most_bytes."""
        if self.usable_bytes is None or self.capacity_bytes is None:
            return None
        share, whole = self.held(end)
        return min(self.usable_bytes - share, self.capacity_bytes - whole)


def by_component(lines: Iterable[Line]) -> dict[str, Amount]:
    """Return the bytes of each component that has lines."""
    sizes: dict[str, int] = {}
    for line in lines:
        sizes[line.component] = sizes.get(line.component, 0) + line.bytes
    return {name: amount(sizes[name]) for name in sorted(sizes, key=COMPONENTS.index)}


class Budget:
    """One budget a pool."""

    def __init__(self, pools: tuple[PoolBudget, ...]) -> None:
        self.pools = pools
