"""A card as HTML: a stacked bar against the capacity, the components, and every line folded away.

Styles stand in the elements: JupyterLab, the book's pages and an e-mail show the same. Text has the colour of
its surroundings, so that it can be read by day and by night.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from memcalc.ledger.amount import gib
from memcalc.show.card import span
from memcalc.show.colours import COLOURS, LABELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from memcalc.ledger.budget import Line, PoolBudget
    from memcalc.show.card import Card

__all__ = ["page"]

BAR = "display:flex;height:1.4em;border:1px solid currentColor;overflow:hidden"
SWATCH = "display:inline-block;width:.8em;height:.8em;margin-right:.5em;background:"
NUMBER = "text-align:right;white-space:nowrap;padding:0 .6em"


def page(card: Card) -> str:
    """Return a card as one element."""
    facts = "".join(f"<div>{escape(row)}</div>" for row in card.facts)
    pools = "".join(of_a_pool(heading, pool, moments=card.moments) for heading, pool in card.pools)
    first, *others = card.notes or ("",)
    notes = "".join(f"<div>{escape(row)}</div>" for row in others)
    verdict = f"<div><strong>{escape(first)}</strong></div>" if first else ""
    title = f"<div><strong>{escape(card.title)}</strong></div>"
    style = "max-width:46em;line-height:1.5"
    return f'<div class="memcalc" style="{style}">{title}{facts}{verdict}{pools}{notes}</div>'


def of_a_pool(heading: str, pool: PoolBudget, *, moments: bool) -> str:
    """Return a pool: its heading, its bar, its components, its lines."""
    of = "" if pool.capacity_bytes is None else f" of {gib(pool.capacity_bytes)}"
    title = f"{heading}, at {pool.fullest}: {gib(pool.total_bytes)}{of} {span(pool)}".rstrip()
    shown = "".join(bar(pool))
    label = escape(f"{title}: " + ", ".join(f"{name} {gib(size)}" for name, size in pool.components.items()))
    return (
        f'<div style="margin-top:.6em">{escape(title)}</div>'
        f'<div role="img" aria-label="{label}" style="{BAR}">{shown}</div>'
        f"{components(pool)}{of_moments(pool) if moments else ''}{of_lines(pool.lines)}"
    )


def bar(pool: PoolBudget) -> Iterator[str]:
    """Yield the segments of the bar; what is free up to the capacity is hatched."""
    whole = max(pool.total_bytes, pool.capacity_bytes or 0) or 1
    for name, size in pool.components.items():
        yield segment(LABELS.get(name, name), size, whole, COLOURS[name])
    if whole > pool.total_bytes:
        hatched = f"repeating-linear-gradient(45deg,transparent 0 4px,{COLOURS['free']} 4px 5px)"
        yield segment("free", whole - pool.total_bytes, whole, hatched)


def segment(name: str, size: int, whole: int, background: str) -> str:
    """Return one segment of a bar: as wide as its share."""
    width = f"{100 * size / whole:.3f}%"
    title = escape(f"{name}: {gib(size)}")
    return f'<span title="{title}" style="width:{width};background:{background}"></span>'


def components(pool: PoolBudget) -> str:
    """Return the components as a table."""
    rows = [
        (f'<span style="{SWATCH}{COLOURS[name]}"></span>{escape(LABELS.get(name, name))}', gib(size))
        for name, size in pool.components.items()
    ]
    return rows_of((*rows, ("<strong>total</strong>", f"<strong>{gib(pool.total_bytes)}</strong>")))


def of_moments(pool: PoolBudget) -> str:
    """Return what the allocator holds at each moment."""
    rows = [(escape(name), gib(size)) for name, size in pool.moments.items()]
    return folded("what the allocator holds at each moment", rows_of(rows))


def of_lines(lines: Sequence[Line]) -> str:
    """Return every line with its formula and its evidence, folded."""
    rows = [
        (escape(f"{one.component}: {one.name}"), gib(one.bytes), escape(one.formula), escape(one.evidence))
        for one in lines
    ]
    return folded(f"{len(lines)} lines, each with its formula and its evidence", rows_of(rows))


def folded(summary: str, inside: str) -> str:
    """Return what opens when its summary is clicked; wide tables scroll in a box of their own."""
    box = '<div style="overflow-x:auto" tabindex="0">'
    return f"<details><summary>{escape(summary)}</summary>{box}{inside}</div></details>"


def rows_of(rows: Iterable[tuple[str, ...]]) -> str:
    """Return rows as a table whose second column holds numbers; cells are HTML already."""
    cells = "".join(
        "<tr>"
        + "".join(
            f'<td style="{NUMBER if place == 1 else "text-align:left;padding:0 .6em"}">{cell}</td>'
            for place, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return f'<table style="border-collapse:collapse;margin:.3em 0">{cells}</table>'
