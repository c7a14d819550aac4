"""Drawings of a training step: memory over its moments, and what its devices share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from memcalc.data.units import gib
from memcalc.ledger.budget import COMPONENTS
from memcalc.show.drawings.pen import LINE, WIDTH, Sheet, label, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from memcalc.ledger.budget import PoolBudget
    from memcalc.show.pictures import Picture

__all__ = ["sharing", "step"]

PLOT = 190
SEEN = 0.5  # units of the sheet: what is thinner is not drawn
SHARED = ("weights", "gradients", "master", "optimizer", "activations")


class Moment(NamedTuple):
    """Bytes by component at a moment."""

    name: str
    parts: dict[str, int]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.parts.values())


def moments(device: PoolBudget) -> list[Moment]:
    """Return what a device holds as a step begins, which is what it always holds, and at each moment."""
    always: dict[str, int] = {}
    for line in device.lines:
        if set(line.moments) == set(device.moment_names):
            always[line.component] = always.get(line.component, 0) + line.bytes
    found = [Moment(name, dict(device.components_at(name))) for name in device.moment_names]
    return [Moment("begin", always), *found]


def step(trained: Any) -> Picture:
    """Draw the memory of a device over a training step, component on component.

    Parameters
    ----------
    trained : TrainingEstimate
        What `memcalc.train` returned, of a single plan. Without context and allocator: what the allocator
        is asked for.

    """
    device: PoolBudget = trained.device
    found = moments(device)
    peak = max(found, key=lambda one: one.total)
    limit = device.capacity_bytes
    sheet = Sheet(
        f"Memory over a training step of {trained.model.name}: "
        + ", ".join(f"{words(one.name)} {gib(one.total)}" for one in found)
        + (f". The device has {gib(limit)}." if limit else ".")
    )
    sheet.heading("GiB over one step", f"most at {words(peak.name)}: {gib(peak.total)}")
    sheet.y += LINE
    scale = PLOT / max(peak.total, limit or 0)
    bottom, column = sheet.y + PLOT, (WIDTH - 2) / len(found)
    ramps(sheet, found, bottom, scale)
    for place, one in enumerate(found):
        middle, near = 1 + column * (place + 0.5), found[max(place - 1, 0) : place + 2]
        # the label stands clear of the slopes at its sides
        reach = max([one.total, *(one.total + 0.4 * (other.total - one.total) for other in near)])
        sheet.text(middle, bottom - reach * scale - 5, bare(one.total), anchor="middle", bold=one is peak)
        for row, said in enumerate(wrapped(words(one.name), column)):
            sheet.text(middle, bottom + 14 + 13 * row, said, anchor="middle")
    sheet.line([(1, bottom), (WIDTH - 1, bottom)])
    if limit:
        sheet.capacity([(1, bottom - limit * scale), (WIDTH - 1, bottom - limit * scale)])
    sheet.y = bottom + 30
    sheet.legend(drawn(found, scale), f"capacity {gib(limit)}" if limit else "")
    return sheet.picture()


def words(moment: str) -> str:
    """Return a moment's name as words."""
    return moment.replace("_", " ")


def bare(size: int) -> str:
    """Return GiB without the unit, which stands above."""
    return gib(size).partition(" ")[0]


def drawn(found: Iterable[Moment], scale: float) -> list[str]:
    """Return the components that can be seen at a scale, in the ledger's order."""
    named = {name for one in found for name, size in one.parts.items() if size * scale >= SEEN}
    return [name for name in COMPONENTS if name in named]


def ramps(sheet: Sheet, found: list[Moment], bottom: float, scale: float) -> None:
    """Draw component on component, straight from one moment to the next."""
    column = (WIDTH - 2) / len(found)
    across = [1 + column * (place + 0.5) for place in range(len(found))]
    across = [1, *across, WIDTH - 1]
    heights = [found[0], *found, found[-1]]
    below = [bottom] * len(heights)
    for name in drawn(found, scale):
        above = [start - one.parts.get(name, 0) * scale for start, one in zip(below, heights, strict=True)]
        edge = list(zip(across, below, strict=True))
        sheet.area([*zip(across, above, strict=True), *reversed(edge)], name)
        below = above


class Rank(NamedTuple):
    """A device of a run: which one of its stage, of how many, and what it holds most of each component."""

    stage: int
    place: int
    most: dict[str, int]


def ranks(trained: Any) -> Iterator[Rank]:
    """Yield the devices of a run, those of a pipeline stage together."""
    each = trained.plan.parallelism.world // trained.plan.parallelism.pp
    for one in trained.stages:
        held = [one.device.components_at(moment) for moment in trained.moments]
        most = {name: max(parts.get(name, 0) for parts in held) for name in SHARED}
        yield from (Rank(one.number, place, most) for place in range(each))


def sharing(alone: Any, steps: Mapping[str, Any]) -> Picture:
    """Draw which part of each component every device of a run holds, as a grid.

    Parameters
    ----------
    alone : TrainingEstimate
        The step on one device: what it holds fills a cell.
    steps : mapping
        `memcalc.train`'s answer for each way to share, by its name.

    """
    whole = next(ranks(alone)).most
    said = [f"{name}: {sizes(each)}" for name, each in steps.items()]
    sheet = Sheet(f"What each device holds of {alone.model.name}, at most. {'; '.join(said)}.")
    for name, each in steps.items():
        sheet.heading(name, f"peak {gib(each.allocated_bytes)}")
        grid(sheet, each, whole)
        sheet.y += 8
    sheet.note(
        "A column is a device, a cell what one device alone would hold, filled is what is held here; "
        "the number is the fullest device's."
    )
    return sheet.picture()


def sizes(trained: Any) -> str:
    """Return what the fullest device holds of each component, in words."""
    most = fullest(trained)
    return ", ".join(f"{label(name)} {gib(most[name])}" for name in SHARED)


def fullest(trained: Any) -> dict[str, int]:
    """Return the most that any device of a run holds of each component."""
    found = [one.most for one in ranks(trained)]
    return {name: max(most[name] for most in found) for name in SHARED}


def grid(sheet: Sheet, trained: Any, whole: Mapping[str, int]) -> None:
    """Draw a row for each component, and in it a cell for each device."""
    found, most = list(ranks(trained)), fullest(trained)
    left, right, height = 78, 288, 20
    column = (right - left) / len(found)
    for name in SHARED:
        sheet.text(1, sheet.y + 14, label(name))
        sheet.text(WIDTH - 1, sheet.y + 14, gib(most[name]), anchor="end")
        parts = [min(1, one.most[name] / whole[name]) for one in found]
        pieces = name != "activations" or trained.plan.parallelism.pp == 1
        starts = slices(found, parts) if pieces else [1 - part for part in parts]
        for number, (part, start) in enumerate(zip(parts, starts, strict=True)):
            x = left + column * number
            sheet.rect(x, sheet.y, column - 2, height, name, tint=0.16)
            if part:
                sheet.rect(x, sheet.y + start * height, column - 2, part * height, name)
        sheet.y += height + 2


def slices(found: list[Rank], parts: list[float]) -> list[float]:
    """Return where the slice of each device begins, of the whole.

    Where slices make up the whole, once or several times, they follow one another, stage by stage; else there
    is something that all hold, and each is as a vessel filled from below.
    """
    copies = round(sum(parts))
    if not copies or abs(sum(parts) - copies) > 0.01 * copies:
        return [1 - part for part in parts]
    begins, begin = [], 0.0
    for stage in sorted({one.stage for one in found}):
        mine = [part for one, part in zip(found, parts, strict=True) if one.stage == stage]
        size = sum(mine) / copies
        begins += [
            begin + (place % round(size / part)) * part if part else 0 for place, part in enumerate(mine)
        ]
        begin += size
    return [min(start, 1 - part) for start, part in zip(begins, parts, strict=True)]
