"""Drawings of a training step: memory over its moments, and what its devices share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from memcalc.data.units import gib
from memcalc.ledger.budget import COMPONENTS
from memcalc.show.colours import COLOURS
from memcalc.show.drawings.moments import Moment, drawn, held_at, over_time, ramps
from memcalc.show.drawings.pen import LINE, WIDTH, Sheet, ink_on, label, width_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from memcalc.ledger.budget import PoolBudget
    from memcalc.show.pictures import Picture

__all__ = ["one_card", "pipeline", "rungs", "sharing", "step"]

RUNG = 90
SHARED = ("weights", "gradients", "master", "optimizer", "activations")
ROUTED = (
    "experts"  # a row of its own: routed experts are weights that other ranks share than those of the rest
)


def in_words(moment: str) -> str:
    """Return a moment's name as words.

    >>> in_words("forward_end"), in_words("loss")
    ('end of forward', 'loss')
    """
    name, _, end = moment.rpartition("_")
    return f"end of {name}" if end == "end" else moment.replace("_", " ")


def moments(device: PoolBudget) -> list[Moment]:
    """Return what a device holds as a step begins, which is what it always holds, and at each moment.

    Where the device is known the runtime is part of it: context and allocator take of what there is.
    """
    always: dict[str, int] = {}
    known = device.capacity_bytes is not None
    for line in device.lines:
        if set(line.moments) == set(device.moment_names) or (known and line.component == "runtime"):
            always[line.component] = always.get(line.component, 0) + line.bytes
    found = [Moment("begin", always)]
    for name in device.moment_names:
        parts = held_at(device, name) if known else device.components_at(name)
        found.append(Moment(in_words(name), dict(parts)))
    return found


def step(trained: Any) -> Picture:
    """Draw the memory of a device over a training step, component on component.

    Parameters
    ----------
    trained : TrainingEstimate
        What `memcalc.train` returned, of a single plan. Without a machine it is what the allocator holds;
        on one, context and allocator come on top.

    """
    device: PoolBudget = trained.device
    found, limit = moments(device), device.capacity_bytes
    peak = max(found, key=lambda one: one.total)
    sheet = Sheet(
        f"Memory over a training step of {trained.model.name}: "
        + ", ".join(f"{one.name} {gib(one.total)}" for one in found)
        + (f". The device has {gib(limit)}." if limit else ".")
    )
    sheet.heading("GiB over one step", f"most at {peak.name}: {gib(peak.total)}")
    over_time(sheet, found, limit)
    return sheet.picture()


def rungs(steps: Mapping[str, Any]) -> Picture:
    """Draw memory over a training step once for each way to take it, all to one scale.

    Parameters
    ----------
    steps : mapping
        `memcalc.train`'s answer for each way, by its name: the rungs of a ladder, the first to the last.

    """
    found = {name: moments(trained.device) for name, trained in steps.items()}
    limit = next(iter(steps.values())).device.capacity_bytes
    peaks = {name: max(row, key=lambda one: one.total) for name, row in found.items()}
    words = {name: f"{gib(peak.total)} at {peak.name}" for name, peak in peaks.items()}
    scale = RUNG / max(*(peak.total for peak in peaks.values()), limit or 0)
    said = ", ".join(f"{name} {word}" for name, word in words.items())
    sheet = Sheet(f"Memory over a training step, and its peak with each rung: {said}.")
    for name, row in found.items():
        sheet.heading(name, words[name])
        bottom = sheet.y + max(peaks[name].total, limit or 0) * scale + 2
        ramps(sheet, row, bottom, scale)
        sheet.line([(1, bottom), (WIDTH - 1, bottom)])
        if limit:
            sheet.capacity([(1, bottom - limit * scale), (WIDTH - 1, bottom - limit * scale)])
        sheet.y = bottom + 10
    columns = zip(*found.values(), strict=True)
    names = ", ".join(" or ".join(dict.fromkeys(one.name for one in column)) for column in columns)
    sheet.note(f"From left to right: {names}.")
    seen = {name for row in found.values() for name in drawn(row, scale)}
    sheet.legend([name for name in COMPONENTS if name in seen], f"capacity {gib(limit)}" if limit else "")
    return sheet.picture()


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
        routed = sum(shard.bytes for shard in one.tensors.shards if "{expert}" in shard.name)
        most = {ROUTED: routed, **most, "weights": most["weights"] - routed}
        yield from (Rank(one.number, place, most) for place in range(each))


def one_card(trained: Any) -> Picture:
    """Draw one card in each phase of a method: policy, reference, reward model, critic and engine on it.

    Parameters
    ----------
    trained : TrainingEstimate
        What `memcalc.train` returned with a `method`.

    """
    card = trained.device.capacity_bytes
    whole = max([card or 0, *(phase.total_bytes for phase in trained.phases)])
    said = [
        f"{words_of(phase.name)} {gib(phase.total_bytes)} "
        f"({', '.join(f'{name} {gib(size)}' for name, size in phase.components.items())})"
        for phase in trained.phases
    ]
    sheet = Sheet(f"One card with {trained.model.name} in each phase: {'; '.join(said)}.")
    seen: dict[str, None] = {}
    for phase in trained.phases:
        sheet.heading(words_of(phase.name), gib(phase.total_bytes))
        top, x = sheet.y + 4, 1.0
        for name, size in phase.components.items():
            parts = trained.held_by(name, phase.fullest) or {"runtime": size}
            seen |= dict.fromkeys(parts)
            sheet.bar(x, sheet.y + 4, WIDTH - 3, 14, parts, whole=whole)
            wide = (WIDTH - 3) * size / whole
            words = f"{name} {gib(size)}"
            left = min(x + wide + 4, WIDTH - 1) if x + wide < WIDTH / 2 else x - 4
            sheet.text(left, sheet.y + 15, words, anchor="start" if x + wide < WIDTH / 2 else "end")
            sheet.y += 18
            x += wide
        if card is not None:
            at = 1 + (WIDTH - 3) * card / whole
            sheet.capacity([(at, top - 2), (at, sheet.y + 2)])
        sheet.y += 8
    sheet.legend(seen, f"capacity {gib(card)}" if card else "")
    return sheet.picture()


def words_of(phase: str) -> str:
    """Return a phase in words."""
    return phase.replace("_", " ").replace("log probs", "log-probs")


def sharing(alone: Any, steps: Mapping[str, Any]) -> Picture:
    """Draw which part of each component every device of a run holds, as a grid.

    Routed experts are a row of their own. What one device alone does not hold has no row.

    Parameters
    ----------
    alone : TrainingEstimate
        The step on one device: what it holds fills a cell.
    steps : mapping
        `memcalc.train`'s answer for each way to share, by its name.

    """
    whole = {name: size for name, size in next(ranks(alone)).most.items() if size}
    said = [f"{name}: {sizes(each, whole)}" for name, each in steps.items()]
    sheet = Sheet(f"What each device holds of {alone.model.name}, at most. {'; '.join(said)}.")
    for name, each in steps.items():
        sheet.heading(name, f"peak {gib(each.allocated_bytes)}")
        grid(sheet, each, whole)
        sheet.y += 8
    words = "A column is a device, a cell what one device alone would hold"
    if any(together(each, name, size) > size for each in steps.values() for name, size in whole.items()):
        words += " (or, where FSDP's shards are in a wider format, what all of them hold together)"
    sheet.note(
        f"{words}; filled is what is held here. Slices like stairs make up the whole once. The number is the "
        "fullest device's, each row at its own fullest moment; logits and what is there for a moment have no "
        "row. So the rows do not add up to the peak."
    )
    return sheet.picture()


def row_name(name: str, whole: Mapping[str, int]) -> str:
    """Return what a row is called: weights are the other ones where experts have a row.

    >>> row_name("weights", {"weights": 1}), row_name("weights", {"experts": 1, "weights": 1})
    ('weights', 'the rest')
    """
    return "the rest" if name == "weights" and ROUTED in whole else label(name)


def sizes(trained: Any, whole: Mapping[str, int]) -> str:
    """Return what the fullest device holds of each component, in words."""
    most = fullest(trained, whole)
    return ", ".join(f"{row_name(name, whole)} {gib(most[name])}" for name in whole)


def fullest(trained: Any, whole: Mapping[str, int]) -> dict[str, int]:
    """Return the most that any device of a run holds of each component."""
    found = [one.most for one in ranks(trained)]
    return {name: max(most[name] for most in found) for name in whole}


def grid(sheet: Sheet, trained: Any, whole: Mapping[str, int]) -> None:
    """Draw a row for each component, and in it a cell for each device."""
    found, most = list(ranks(trained)), fullest(trained, whole)
    left, right, height = 78, 288, 20
    column = (right - left) / len(found)
    for name in whole:
        colour = "weights" if name == ROUTED else name
        sheet.text(1, sheet.y + 14, row_name(name, whole))
        sheet.text(WIDTH - 1, sheet.y + 14, gib(most[name]), anchor="end")
        full = together(trained, name, whole[name])
        parts = [min(1, one.most[name] / full) for one in found]
        piled = name == "activations" and trained.plan.parallelism.pp > 1  # of several micro-batches
        starts = [1 - part for part in parts] if piled else slices(found, parts)
        for number, (part, start) in enumerate(zip(parts, starts, strict=True)):
            x = left + column * number
            sheet.rect(x, sheet.y, column - 2, height, colour, tint=0.16)
            if part:
                sheet.rect(x, sheet.y + start * height, column - 2, part * height, colour)
        sheet.y += height + 2


def together(trained: Any, name: str, alone: int) -> int:
    """Return what fills a cell: what one device alone holds, or all shards where they are in a wider format.

    Where everything is shared out nothing is held twice: shards that make up more than the whole are weights
    or gradients in 32 bits.
    """
    every = sum(one.most[name] for one in ranks(trained))
    sharded = trained.plan.options.shard == "fsdp" and name != "activations"
    return every if sharded and every > 1.01 * alone else alone


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


def pipeline(trained: Any) -> Picture:
    """Draw the micro-batches of a step as they pass through the stages, one forward, one backward.

    Parameters
    ----------
    trained : TrainingEstimate
        `memcalc.train`'s answer with `pp` stages; a backward pass is drawn twice as long as a forward pass.

    """
    parallel, micro = trained.plan.parallelism, trained.plan.options.accumulate
    passes = one_forward_one_backward(parallel.pp, micro)
    flight = [parallel.in_flight(stage, micro) for stage in range(parallel.pp)]
    kept = {one.number: one.device.components_at("forward_end")["activations"] for one in trained.stages}
    said = "; ".join(f"stage {number} keeps {flight[number]}, {gib(size)}" for number, size in kept.items())
    sheet = Sheet(
        f"One forward, one backward: {micro} micro-batches on {parallel.pp} stages. "
        f"In flight at most: {said}."
    )
    sheet.heading(f"{micro} micro-batches, {parallel.pp} stages", "time runs to the right")
    slot = (WIDTH - 2) / max(end for one in passes for _, end, _ in one)
    numbered = width_of(str(micro)) < slot  # of the narrowest pass
    for stage, row in enumerate(passes):
        sheet.y += LINE
        plural = "micro-batch" if flight[stage] == 1 else "micro-batches"
        sheet.text(1, sheet.y - 5, f"stage {stage}: {flight[stage]} {plural} in flight")
        if stage in kept:
            sheet.text(WIDTH - 1, sheet.y - 5, f"keeps {gib(kept[stage])}", anchor="end")
        for forward in (True, False):
            colour = "activations" if forward else "gradients"
            mine = [(begin, end) for begin, end, goes in row if goes == forward]
            for number, (begin, end) in enumerate(mine, 1):
                sheet.rect(1 + slot * begin, sheet.y, slot * (end - begin) - 1, 14, colour)
                if numbered:
                    middle = 1 + slot * (begin + end) / 2
                    sheet.text(
                        middle, sheet.y + 11, str(number), anchor="middle", ink=ink_on(COLOURS[colour])
                    )
        sheet.y += 20
    sheet.y += 2
    passed = (("activations", "forward: its activations stay"), ("gradients", "backward: they go"))
    for colour, words in passed:
        sheet.rect(1, sheet.y + 3, 10, 10, colour)
        sheet.text(15, sheet.y + 12, words)
        sheet.y += LINE
    return sheet.picture()


def one_forward_one_backward(stages: int, micro: int) -> list[list[tuple[int, int, bool]]]:
    """Return the passes of each stage, each with begin, end and whether it is a forward one.

    A stage runs as many forward passes ahead as there are stages behind it, then one backward, one forward.

    >>> one_forward_one_backward(1, 2)
    [[(0, 1, True), (1, 3, False), (3, 4, True), (4, 6, False)]]
    """
    orders = []
    for stage in range(stages):
        ahead = min(stages - stage - 1, micro)
        order = [(True, number) for number in range(ahead)]
        for number in range(micro - ahead):
            order += [(True, ahead + number), (False, number)]
        orders.append(order + [(False, number) for number in range(micro - ahead, micro)])
    ends: dict[tuple[int, bool, int], int] = {}
    passes: list[list[tuple[int, int, bool]]] = [[] for _ in range(stages)]
    while any(orders):
        for stage, order in enumerate(orders):
            forward, number = order[0] if order else (True, -1)
            before = (stage - 1, True, number) if forward else (stage + 1, False, number)
            if number < 0 or (0 <= before[0] < stages and before not in ends):
                continue
            free = passes[stage][-1][1] if passes[stage] else 0
            begin = max(free, ends.get(before, 0))
            ends[stage, forward, number] = end = begin + (1 if forward else 2)
            passes[stage].append((begin, end, forward))
            order.pop(0)
    return passes
