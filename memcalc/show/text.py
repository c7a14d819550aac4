"""A card as text: in full at the shell, in at most twelve lines at a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.data.units import gib
from memcalc.errors import escaped
from memcalc.show.card import span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from memcalc.ledger.budget import PoolBudget
    from memcalc.show.card import Card

__all__ = ["brief", "full"]

LINES, CHARACTERS = 12, 1400  # what a prompt shows of an answer at most


def full(card: Card) -> str:
    """Return all of a card, a line for each component."""
    rows = [card.title, *indented(above(card))]
    for heading, pool in card.pools:
        rows += pool_in_full(heading, pool, moments=card.moments)
    return "\n".join(map(escaped, [*rows, *indented(card.notes)]))


def brief(card: Card) -> str:
    """Return a card in at most twelve lines: components share a line where there are too many."""
    text = full(card)
    if text.count("\n") < LINES and len(text) <= CHARACTERS:
        return text
    rows = [card.title, *indented(above(card))]
    for heading, pool in card.pools:
        rows += pool_in_brief(heading, pool, moments=card.moments)
    rows += indented(card.notes)
    if len(rows) > LINES:
        left = len(rows) - LINES + 1
        rows = [*rows[: LINES - 1], f"  ... and {left} lines more: print it"]
    rows = list(map(escaped, rows))
    return "\n".join(shortened(rows))


def above(card: Card) -> tuple[str, ...]:
    """Return the lines between title and pools."""
    return (f"assumed: {', '.join(card.defaults)}", *card.facts) if card.defaults else card.facts


def indented(rows: tuple[str, ...]) -> list[str]:
    """Return lines with two spaces before them."""
    return [f"  {row}" for row in rows]


def shortened(rows: list[str]) -> list[str]:
    """Return lines of so many characters in all; the longest lose their ends."""
    lengths = range(CHARACTERS, 0, -1)
    most = next(most for most in lengths if sum(min(len(row), most) + 1 for row in rows) <= CHARACTERS)
    return [row if len(row) <= most else f"{row[: most - 3]}..." for row in rows]


def pool_in_full(heading: str, pool: PoolBudget, *, moments: bool) -> Iterator[str]:
    """Yield the lines of one pool: its moments if they are asked for, its components, its total."""
    if moments:
        yield f"  {heading}, what the allocator holds"
        wide = max(12, *map(len, pool.moments))
        largest = max(pool.moments, key=pool.moments.__getitem__)
        for moment, size in pool.moments.items():
            most = "  <- most" if moment == largest else ""
            yield f"    {moment:<{wide}} {gib(size):>12}{most}"
        yield f"  at {pool.fullest}, with context and allocator"
    else:
        yield f"  {heading}, at {pool.fullest}"
    for name, size in pool.components.items():
        yield f"    {name:<12} {gib(size):>12}"
    yield f"    {'total':<12} {gib(pool.total_bytes):>12}  {span(pool)}".rstrip()
    if pool.capacity_bytes is not None and pool.usable_bytes is not None:
        usable = "" if pool.usable_bytes == pool.capacity_bytes else f"  (usable: {gib(pool.usable_bytes)})"
        yield f"    {'capacity':<12} {gib(pool.capacity_bytes):>12}{usable}"
    if pool.share_bytes != pool.total_bytes:
        yield f"    {'in the share':<12} {gib(pool.share_bytes):>12}  (the usable part holds this)"


def pool_in_brief(heading: str, pool: PoolBudget, *, moments: bool) -> Iterator[str]:
    """Yield the same in two or three lines."""
    of = "" if pool.capacity_bytes is None else f" of {gib(pool.capacity_bytes)}"
    yield f"  {heading}: {gib(pool.total_bytes)}{of} {span(pool)}".rstrip()
    if moments:
        yield f"    {in_a_line(pool.moments)}"
    yield f"    at {pool.fullest}: {in_a_line(pool.components)}"


def in_a_line(sizes: Mapping[str, int]) -> str:
    """Return named sizes in one line."""
    return ", ".join(f"{name} {gib(size)}" for name, size in sizes.items())
