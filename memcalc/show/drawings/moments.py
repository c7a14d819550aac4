"""Memory over time: component on component, from one moment to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from memcalc.data.units import gib
from memcalc.ledger.budget import COMPONENTS
from memcalc.show.drawings.pen import LINE, WIDTH, Sheet, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from memcalc.ledger.budget import PoolBudget

__all__ = ["Moment", "bare", "drawn", "held_at", "over_time", "ramps"]

PLOT = 190
SEEN = 0.5  # units of the sheet: what is thinner is not drawn


class Moment(NamedTuple):
    """Bytes by component at a moment."""

    name: str
    parts: dict[str, int]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.parts.values())


def held_at(pool: PoolBudget, moment: str) -> dict[str, int]:
    """Return the bytes by component at a moment, with the runtime, which is always there."""
    parts: dict[str, int] = dict(pool.components_at(moment))
    runtime = sum(line.bytes for line in pool.lines if line.component == "runtime")
    return {**parts, "runtime": runtime} if runtime else parts


def bare(size: int) -> str:
    """Return GiB without the unit, which stands above.

    >>> bare(2**30)
    '1.00'
    """
    return gib(size).partition(" ")[0]


def drawn(found: Iterable[Moment], scale: float) -> list[str]:
    """Return the components that can be seen at a scale, in the ledger's order."""
    named = {name for one in found for name, size in one.parts.items() if size * scale >= SEEN}
    return [name for name in COMPONENTS if name in named]


def over_time(sheet: Sheet, found: Sequence[Moment], limit: int | None) -> None:
    """Draw moments with their names and sums, the limit if there is one, and what the colours stand for."""
    sheet.y += LINE
    peak = max(found, key=lambda one: one.total)
    scale = PLOT / max(peak.total, limit or 0)
    bottom, column = sheet.y + PLOT, (WIDTH - 2) / len(found)
    ramps(sheet, found, bottom, scale)
    for place, one in enumerate(found):
        middle, near = 1 + column * (place + 0.5), found[max(place - 1, 0) : place + 2]
        # the number stands clear of the slopes at its sides
        reach = max([one.total, *(one.total + 0.4 * (other.total - one.total) for other in near)])
        y = bottom - reach * scale - 5
        if limit and abs(y - 4 - (bottom - limit * scale)) < 9:  # and clear of the limit's line
            y = bottom - limit * scale - 5
        sheet.text(middle, y, bare(one.total), anchor="middle", bold=one is peak)
        for row, said in enumerate(wrapped(one.name, column)):
            sheet.text(middle, bottom + 14 + 14 * row, said, anchor="middle")
    sheet.line([(1, bottom), (WIDTH - 1, bottom)])
    if limit:
        sheet.capacity([(1, bottom - limit * scale), (WIDTH - 1, bottom - limit * scale)])
    sheet.y = bottom + 4 + 14 * max(len(wrapped(one.name, column)) for one in found)
    sheet.legend(drawn(found, scale), f"capacity {gib(limit)}" if limit else "")


def ramps(sheet: Sheet, found: Sequence[Moment], bottom: float, scale: float) -> None:
    """Draw component on component, straight from one moment to the next."""
    column = (WIDTH - 2) / len(found)
    across = [1, *(1 + column * (place + 0.5) for place in range(len(found))), WIDTH - 1]
    heights = [found[0], *found, found[-1]]
    below = [bottom] * len(heights)
    for name in drawn(found, scale):
        above = [start - one.parts.get(name, 0) * scale for start, one in zip(below, heights, strict=True)]
        edge = list(zip(across, below, strict=True))
        sheet.area([*zip(across, above, strict=True), *reversed(edge)], name)
        below = above
