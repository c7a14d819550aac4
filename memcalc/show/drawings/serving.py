"""Drawings of serving: what fills a device, over time and at once, and the machine around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memcalc.data.units import gib
from memcalc.ledger.budget import COMPONENTS
from memcalc.ledger.tensor import ceil_div
from memcalc.show.colours import COLOURS
from memcalc.show.drawings.moments import Moment, bare, held_at, over_time
from memcalc.show.drawings.pen import LINE, WIDTH, Sheet, ink_on, label

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from memcalc.ledger.budget import PoolBudget
    from memcalc.show.pictures import Picture

__all__ = ["blocks", "card", "host_and_card", "phases", "server"]

TANK, SMALL_TANK = 230, 72
CELL = 20
OUTSIDE = "outside the share"
SHOWN = 48  # blocks of the pool that are drawn


def short(model: Any) -> str:
    """Return a model's name without its owner."""
    return str(model.name).rpartition("/")[2]


def words_of(pool: PoolBudget) -> str:
    """Return what a pool holds, in words."""
    parts = ", ".join(f"{label(name)} {gib(size)}" for name, size in pool.components.items())
    of = "" if pool.capacity_bytes is None else f" of {gib(pool.capacity_bytes)}"
    return f"{parts}, together {gib(pool.total_bytes)}{of}"


def phases(prompted: Any, finished: Any) -> Picture:
    """Draw memory while a model loads, reads a prompt and writes an answer.

    Parameters
    ----------
    prompted, finished : ServingEstimate
        `memcalc.serve`'s answers for the prompt alone as context, and for prompt and answer together.

    """
    before, after = prompted.plan.context, finished.plan.context
    first, last = prompted.device, finished.device
    found = [
        Moment("weights loaded", held_at(first, "load")),
        Moment(f"prefill of {before:,}", held_at(first, "prefill")),
        Moment("first token", held_at(first, "decode")),
        Moment(f"token {after - before:,}", held_at(last, "decode")),
    ]
    said = ", ".join(f"{one.name} {gib(one.total)}" for one in found)
    limit = first.capacity_bytes
    batch = prompted.plan.batch
    served = f"{batch:,} {'sequence' if batch == 1 else 'sequences at once'}"
    sheet = Sheet(f"Memory while {prompted.model.name} serves {served}: {said}.")
    sheet.heading("GiB while serving", short(prompted.model))
    over_time(sheet, found, limit)
    return sheet.picture()


def card(served: Any, tallest: int = 0) -> Picture:
    """Draw one device as a vessel: what fills it, to scale, and what an engine may not use of it.

    Parameters
    ----------
    served : ServingEstimate or TrainingEstimate
        What `memcalc.serve` or `memcalc.train` returned, with a machine.
    tallest : int, default 0
        Bytes of the largest device: with the same bytes, several drawings have one scale.

    """
    pool: PoolBudget = served.device
    whole = max(pool.total_bytes, pool.capacity_bytes or 0)
    tank = TANK * whole / max(whole, tallest)
    sheet = Sheet(f"What fills one device with {served.model.name}: {words_of(pool)}.")
    sheet.heading(short(served.model), f"fullest at {pool.fullest.replace('_', ' ')}")
    sheet.y += 14
    rows = [(name, label(name), size) for name, size in [*pool.components.items(), *unfilled(pool)]]
    rows = [row for row in rows if bare(row[2]) != "0.00"]
    room = max(tank, LINE * len(rows))
    bottom = sheet.y + room
    beside = spread([size * tank / whole for _, _, size in rows], room)
    level = bottom
    for (name, words, size), y in zip(rows, beside, strict=True):
        height = size * tank / whole
        if name != OUTSIDE:
            sheet.rect(1, level - height, 120, height, name)
        sheet.line([(121, level - height / 2), (140, bottom - y), (150, bottom - y)])
        sheet.text(156, bottom - y + 4, words)
        sheet.text(WIDTH - 1, bottom - y + 4, gib(size), anchor="end")
        level -= height
    sheet.frame(1, bottom - tank, 120, tank)
    if pool.capacity_bytes is not None:
        line = bottom - pool.capacity_bytes * tank / whole
        sheet.capacity([(1, line), (136, line)])
    sheet.y = bottom + 4
    sheet.legend([], f"capacity {gib(pool.capacity_bytes)}" if pool.capacity_bytes else "")
    return sheet.picture()


def unfilled(pool: PoolBudget) -> Iterator[tuple[str, int]]:
    """Yield what is free of the share that an engine may use, and what of the device is outside of it."""
    capacity = pool.capacity_bytes or pool.total_bytes
    usable = capacity if pool.usable_bytes is None else pool.usable_bytes
    free = min(max(0, usable - pool.share_bytes), max(0, capacity - pool.total_bytes))
    yield "free", free
    yield OUTSIDE, max(0, capacity - pool.total_bytes - free)


def spread(heights: Sequence[float], whole: float) -> list[float]:
    """Return where the words of segments stand, from the bottom: in their middle, or clear of each other.

    >>> spread([100, 2, 2], 104)
    [50, 84, 100]
    """
    level = 0.0
    places: list[float] = []
    for height in heights:
        places.append(max(level + height / 2, places[-1] + LINE if places else 4))
        level += height
    top = whole - 4.0
    for number in reversed(range(len(places))):
        places[number] = min(places[number], top)
        top = places[number] - LINE
    return [round(place) for place in places]


def host_and_card(served: Any) -> Picture:
    """Draw the memory of a host and of its cards, all areas to one scale.

    Parameters
    ----------
    served : ServingEstimate
        `memcalc.serve`'s answer for a machine with a host.

    """
    host: PoolBudget = served.host
    device: PoolBudget = served.device
    words = f"the host holds {words_of(host)}; a device holds {words_of(device)}"
    sheet = Sheet(f"{served.model.name} on a host and its card, areas to scale: {words}.")
    sheet.heading(short(served.model), "areas to one scale")
    most = max(host.capacity_bytes or host.total_bytes, host.total_bytes)
    area = (WIDTH - 2) * 120 / most
    filled(sheet, "host memory", host, area, WIDTH - 2)
    sheet.y += 6
    size = max(device.capacity_bytes or 0, device.total_bytes)
    width, top = (size * area * 1.6) ** 0.5, sheet.y + LINE
    filled(sheet, "one card", device, area, width)
    beside(sheet, device, width + 12, top)
    names = [name for name in COMPONENTS if {**host.components, **device.components}.get(name)]
    sheet.legend(names, "capacity")
    return sheet.picture()


def filled(sheet: Sheet, name: str, pool: PoolBudget, area: float, width: float) -> None:
    """Draw a pool as a vessel of a width, filled from the bottom, its words above it."""
    sheet.y += LINE
    of = "" if pool.capacity_bytes is None else f" of {gib(pool.capacity_bytes)}"
    sheet.text(1, sheet.y - 5, name, bold=True)
    sheet.text(WIDTH - 1, sheet.y - 5, f"{gib(pool.total_bytes)}{of}", anchor="end")
    whole = max(pool.capacity_bytes or 0, pool.total_bytes)
    height = whole * area / width
    level = sheet.y + 2 + height
    for part, size in pool.components.items():
        sheet.rect(1, level - size * area / width, width, size * area / width, part)
        level -= size * area / width
    sheet.frame(1, sheet.y + 2, width, height)
    if pool.capacity_bytes is not None:
        line = sheet.y + 2 + height - pool.capacity_bytes * area / width
        sheet.capacity([(1, line), (1 + width, line)])
    sheet.y += height + 6


def beside(sheet: Sheet, pool: PoolBudget, x: float, y: float) -> None:
    """Write a pool's parts beside its vessel, the highest first: some are too thin to be seen in it."""
    for part, size in reversed(pool.components.items()):
        y += LINE
        sheet.rect(x, y - 9, 10, 10, part)
        sheet.text(x + 14, y, f"{label(part)} {gib(size)}")
    sheet.y = max(sheet.y, y + 6)


def blocks(served: Any, lengths: Mapping[str, int]) -> Picture:
    """Draw requests as blocks of a paged pool: which are theirs, and what is left empty in the last one.

    Parameters
    ----------
    served : ServingEstimate
        `memcalc.serve`'s answer for an engine with a pool of blocks.
    lengths : mapping
        The tokens of a few requests, by names of one letter.

    """
    size, pool = served.plan.engine_options["block_size"], served.kv_pool
    needed = {name: ceil_div(tokens, size) for name, tokens in lengths.items()}
    counted = {name: f"{count} {'block' if count == 1 else 'blocks'}" for name, count in needed.items()}
    said = ", ".join(f"{name} {lengths[name]} tokens in {counted[name]}" for name in lengths)
    whole = pool.tokens // size
    sheet = Sheet(f"A pool of {whole:,} blocks of {size} tokens: {said}.")
    sheet.heading(f"{whole:,} blocks of {size} tokens", gib(pool.bytes))
    for name, tokens in lengths.items():
        sheet.y += LINE
        empty = needed[name] * size - tokens
        words = f"request {name}: {tokens} tokens, {counted[name]}, {empty} slots empty"
        sheet.text(1, sheet.y - 5, words)
        slot = min(CELL, (WIDTH - 2) / needed[name] - 2)
        for number in range(needed[name]):
            x, here = 1 + (slot + 2) * number, min(size, tokens - number * size)
            sheet.rect(x, sheet.y, slot, 14, "kv_cache", tint=0.2)
            sheet.rect(x, sheet.y, slot * here / size, 14, "kv_cache")
        sheet.y += 22
    sheet.y += LINE
    sheet.text(1, sheet.y - 5, "in the pool, in the order in which they came:")
    in_turn(sheet, needed, whole)
    sheet.note(
        f"Blocks of a request need not lie side by side. The grey ones, and {whole - SHOWN:,} more, are free."
    )
    return sheet.picture()


def in_turn(sheet: Sheet, needed: Mapping[str, int], whole: int) -> None:
    """Draw the first blocks of the pool, taken in turn by requests that grow together."""
    left, order = dict(needed), []
    while any(left.values()):
        for name, more in left.items():
            if more:
                order.append(name)
                left[name] -= 1
    across = (WIDTH - 2) // (CELL + 2)
    for number in range(min(SHOWN, whole)):
        x, y = 1 + (CELL + 2) * (number % across), sheet.y + (CELL + 2) * (number // across)
        name = order[number] if number < len(order) else ""
        sheet.rect(x, y, CELL, CELL, "kv_cache" if name else "free")
        if name:
            ink = ink_on(COLOURS["kv_cache"])
            sheet.text(x + CELL / 2, y + 14, name, anchor="middle", bold=True, ink=ink)
    sheet.y += (CELL + 2) * ceil_div(min(SHOWN, whole), across)


def server(served: Any, of: int = 8, tallest: int = 0) -> Picture:
    """Draw the devices of a machine, each filled with what it holds, in the servers that they stand in.

    Parameters
    ----------
    served : ServingEstimate
        `memcalc.serve`'s answer for a machine of equal devices.
    of : int, default 8
        Devices of one server.
    tallest : int, default 0
        Bytes of the largest device: with the same bytes, several drawings have one scale.

    """
    pools = [pool for pool in served.devices for _ in range(pool.devices)]
    device = served.plan.machine.device
    count = ceil_div(len(pools), of)
    plural = "server" if count == 1 else "servers"
    sheet = Sheet(
        f"{served.model.name} on {len(pools)} x {device.name}, {count} {plural}. "
        f"The fullest device holds {words_of(served.device)}."
    )
    limit = served.device.capacity_bytes
    sheet.heading(short(served.model), f"{gib(served.device.total_bytes)} of {gib(limit)} each")
    for first in range(0, len(pools), of):
        here = pools[first : first + of]
        top = sheet.y + 4
        sheet.text(11, top + 16, f"server {first // of}: {len(here)} × {device.nominal}", bold=True)
        rows = ceil_div(len(here), 8)
        pitch = (WIDTH - 20) / min(8, of)
        for number, pool in enumerate(here):
            x, y = 11 + pitch * (number % 8), top + 24 + 96 * (number // 8)
            tank(sheet, pool, (x, y), pitch - 5, tallest)
            sheet.text(x + (pitch - 5) / 2, y + 86, str(first + number), anchor="middle", faint=True)
        sheet.frame(1, top, WIDTH - 2, 24 + 96 * rows)
        sheet.y = top + 24 + 96 * rows + 4
    names = [name for name in COMPONENTS if served.device.components.get(name)]
    sheet.legend(names, f"capacity {gib(limit)}")
    return sheet.picture()


def tank(sheet: Sheet, pool: PoolBudget, place: tuple[float, float], width: float, tallest: int) -> None:
    """Draw a device as a small vessel, filled from the bottom up to its capacity."""
    whole = max(pool.total_bytes, pool.capacity_bytes or 0)
    height = SMALL_TANK * whole / max(whole, tallest)
    x, y = place[0], place[1] + SMALL_TANK - height
    sheet.rect(x, y, width, height, "free")
    level = y + height
    for name, size in pool.components.items():
        sheet.rect(x, level - size * height / whole, width, size * height / whole, name)
        level -= size * height / whole
    line = y + height - (pool.capacity_bytes or whole) * height / whole
    sheet.capacity([(x, line), (x + width, line)])
