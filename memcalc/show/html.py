"""A card as HTML: a stacked bar against the capacity, the components, and every line folded away.

Styles stand in the elements: JupyterLab, the book's pages and an e-mail show the same. Text has the colour of
its surroundings, so that it can be read by day and by night. No figure needs its colour: components stand in
the table in the order of the bar, each with its share, and a thin line parts them there.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from memcalc.data.units import gib
from memcalc.show.card import span
from memcalc.show.colours import COLOURS, LABELS, VERDICT_COLOURS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from memcalc.ledger.budget import Line, PoolBudget
    from memcalc.show.card import Card

__all__ = ["page"]

BAR = "display:flex;height:1.4em;border:1px solid currentColor;overflow:hidden"
SWATCH = "display:inline-block;width:.8em;height:.8em;margin-right:.5em;background:"
NUMBER = "text-align:right;font-weight:normal;white-space:nowrap;padding:0 .6em"
WORDS = "text-align:left;font-weight:normal;padding:0 .6em"
PARTED = ";box-shadow:inset -1px 0 #fff"
MARK = (
    "position:absolute;top:-.3em;bottom:-.3em;border-left:2px solid currentColor;outline:1px solid #fff;left:"
)
COLUMN, ROW = 'th scope="col"', 'th scope="row"'
LINE_COLUMNS = ("line", "size", "formula", "evidence")


def page(card: Card) -> str:
    """Return a card as one element."""
    facts = "".join(f"<div>{escape(row)}</div>" for row in card.facts)
    pools = "".join(of_a_pool(heading, pool, moments=card.moments) for heading, pool in card.pools)
    first, *others = card.notes or ("",)
    notes = "".join(f"<div>{escape(row)}</div>" for row in others)
    mark = (
        f' style="border-left:.4em solid {VERDICT_COLOURS[card.verdict]};padding-left:.5em"'
        if card.verdict
        else ""
    )
    verdict = f"<div{mark}><strong>{escape(first)}</strong></div>" if first else ""
    title = f"<div><strong>{escape(card.title)}</strong></div>"
    chosen = folded(f"{len(card.defaults)} options were left open", listed(card.defaults))
    facts += chosen if card.defaults else ""
    style = "max-width:46em;line-height:1.5"
    return f'<div class="memcalc" style="{style}">{title}{facts}{verdict}{pools}{notes}</div>'


def of_a_pool(heading: str, pool: PoolBudget, *, moments: bool) -> str:
    """Return a pool: its heading, its bar, its components, its lines."""
    of = "" if pool.capacity_bytes is None else f" of {gib(pool.capacity_bytes)}"
    title = f"{heading}, at {pool.fullest}: {gib(pool.total_bytes)}{of} {span(pool)}".rstrip()
    if pool.usable_bytes is not None and pool.usable_bytes != pool.capacity_bytes:
        title += f", usable {gib(pool.usable_bytes)}"
    sizes = ", ".join(f"{LABELS.get(name, name)} {gib(size)}" for name, size in pool.components.items())
    return (
        f'<div style="margin:.6em 0 .4em">{escape(title)}</div><div style="position:relative">'
        f'<div role="img" aria-label="{escape(f"{title}: {sizes}")}" style="{BAR}">{"".join(bar(pool))}</div>'
        f"{''.join(marks(pool))}</div>"
        f"{components(pool)}{of_moments(pool) if moments else ''}{of_lines(pool.lines)}"
    )


def length_of(pool: PoolBudget) -> int:
    """Return the bytes for which the whole bar stands: the capacity, or what is asked for if that is more."""
    return max(pool.total_bytes, pool.capacity_bytes or 0) or 1


def marks(pool: PoolBudget) -> Iterator[str]:
    """Yield a mark for each limit that lies within the bar: what may be used, what there is."""
    whole = length_of(pool)
    for name, limit in {"usable": pool.usable_bytes, "capacity": pool.capacity_bytes}.items():
        if limit is not None and limit < whole:
            yield f'<span title="{name}: {gib(limit)}" style="{MARK}{100 * limit / whole:.3f}%"></span>'


def bar(pool: PoolBudget) -> Iterator[str]:
    """Yield the segments of the bar; what is free up to the capacity is hatched."""
    whole = length_of(pool)
    for name, size in pool.components.items():
        yield segment(LABELS.get(name, name), size, whole, COLOURS[name] + PARTED)
    if whole > pool.total_bytes:
        hatched = f"repeating-linear-gradient(45deg,transparent 0 4px,{COLOURS['free']} 4px 5px)"
        yield segment("free", whole - pool.total_bytes, whole, hatched)


def segment(name: str, size: int, whole: int, background: str) -> str:
    """Return one segment of a bar: as wide as its share."""
    width = f"{100 * size / whole:.3f}%"
    title = escape(f"{name}: {gib(size)}")
    return f'<span title="{title}" style="width:{width};background:{background}"></span>'


def components(pool: PoolBudget) -> str:
    """Return the components as a table, in the order of the bar."""
    whole = pool.total_bytes or 1
    rows = [
        (
            f'<span style="{SWATCH}{COLOURS[name]}"></span>{escape(LABELS.get(name, name))}',
            gib(size),
            f"{100 * size / whole:.0f} %",
        )
        for name, size in pool.components.items()
    ]
    total = ("<strong>total</strong>", f"<strong>{gib(pool.total_bytes)}</strong>", "")
    return rows_of((*rows, total), numbers=(1, 2))


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
    summary = f"{len(lines)} lines with their evidence, exact ones with their formula"
    return folded(summary, rows_of(rows, header=LINE_COLUMNS, width="min-width:34em;"))


def folded(summary: str, inside: str) -> str:
    """Return what opens when its summary is clicked; wide tables scroll in a box of their own."""
    box = f'<div style="overflow-x:auto" tabindex="0" role="region" aria-label="{escape(summary)}">'
    return f"<details><summary>{escape(summary)}</summary>{box}{inside}</div></details>"


def listed(rows: Iterable[str]) -> str:
    """Return rows as a list."""
    return f"<ul>{''.join(f'<li>{escape(row)}</li>' for row in rows)}</ul>"


def rows_of(
    rows: Iterable[tuple[str, ...]],
    *,
    numbers: tuple[int, ...] = (1,),
    header: tuple[str, ...] = (),
    width: str = "",
) -> str:
    """Return rows as a table; `numbers` are the columns that hold some, cells are HTML already."""

    def line(cells: Sequence[str], *kinds: str) -> str:
        styled = (
            f'<{kind} style="{NUMBER if place in numbers else WORDS}">{cell}</{kind[:2]}>'
            for place, (cell, kind) in enumerate(zip(cells, kinds, strict=True))
        )
        return f"<tr>{''.join(styled)}</tr>"

    head = f"<thead>{line(header, *[COLUMN] * len(header))}</thead>" if header else ""
    body = "".join(line(row, ROW, *["td"] * (len(row) - 1)) for row in rows)
    return f'<table style="{width}border-collapse:collapse;margin:.3em 0">{head}<tbody>{body}</tbody></table>'
