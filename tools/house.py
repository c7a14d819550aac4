"""The picture of how memcalc is built: its wings, their rooms, and the way of one config through them."""

from __future__ import annotations

from typing import NamedTuple

from memcalc.show.colours import COLOURS

WIDTH, HEIGHT, GAP, LEFT = 372, 74, 16, 34


class Wing(NamedTuple):
    """A wing of the package: what it is for, its main rooms, and which steps of the way happen there."""

    name: str
    purpose: str
    rooms: str
    way: str = ""


FLOORS = (
    (
        Wing(
            "cli", "the commands, made from tables of options", "options · model · serve · train · list", "7"
        ),
    ),
    (Wing("interview", "questions that the ledger answers", "bank · sums · question · grading · session"),),
    (Wing("evidence", "what others measured, and predictions of it", "inference · training · score"),),
    (
        Wing("serving", "plans of inference", "plan · stage · engines", "4 5 6"),
        Wing("training", "plans of a step", "plan · stage · autograd"),
    ),
    (
        Wing(
            "show",
            "how an estimate looks, in text and in HTML",
            "card · text · html · figure · drawings",
            "7",
        ),
    ),
    (
        Wing(
            "formula", "letters for numbers: derived, proved, printed", "lifting · core · latex · javascript"
        ),
    ),
    (
        Wing(
            "files",
            "where a model comes from, how it is stored",
            "sources · config · readers · storage",
            "1 2",
        ),
    ),
    (Wing("ledger", "tensors, and the bytes that they take", "parts · tensor · formats · budget", "3"),),
)
"""From the roof down: a wing imports from those below it alone."""


def svg() -> str:
    """Return the picture; its lines and letters have the colour of the text around it."""
    height = len(FLOORS) * (HEIGHT + GAP) - GAP + 2
    rows = [
        (
            f'<svg viewBox="0 0 {WIDTH} {height}" role="img"'
            ' style="width:100%;max-width:34em;margin-bottom:1rem"'
            ' xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" fill="currentColor">'
        ),
        f"<title>{title()}</title>",
    ]
    for place, wings in enumerate(FLOORS):
        top = place * (HEIGHT + GAP) + 1
        width = (WIDTH - LEFT - 1 - GAP * (len(wings) - 1)) // len(wings)
        for column, wing in enumerate(wings):
            rows += box(wing, LEFT + column * (width + GAP), top, width)
            if place + 1 < len(FLOORS):
                rows.append(arrow(LEFT + column * (width + GAP) + width // 2, top + HEIGHT))
        rows += steps(" ".join(wing.way for wing in wings).split(), top)
    return "\n".join([*rows, "</svg>", ""])


def title() -> str:
    """Return what the picture shows, in words."""
    names = ", ".join(" and ".join(wing.name for wing in wings) for wings in FLOORS)
    return f"The packages of memcalc from top to bottom: {names}. Each imports only from those below it."


def box(wing: Wing, left: int, top: int, width: int) -> list[str]:
    """Return a wing as a box with three lines of text."""
    place = f'x="{left}" y="{top}" width="{width}" height="{HEIGHT}"'
    return [
        f'<rect {place} rx="4" fill="none" stroke="currentColor"/>',
        f'<text x="{left + 10}" y="{top + 21}" font-size="14" font-weight="bold">{wing.name}</text>',
        f'<text x="{left + 10}" y="{top + 42}" font-size="13">{wing.purpose}</text>',
        f'<text x="{left + 10}" y="{top + 61}" font-size="12" font-style="italic">{wing.rooms}</text>',
    ]


def steps(numbers: list[str], top: int) -> list[str]:
    """Return the numbers of the steps that happen on a floor, one below the other."""
    rows = []
    for place, number in enumerate(numbers):
        middle = top + 13 + 24 * place
        rows += [
            f'<circle cx="14" cy="{middle}" r="11" fill="{COLOURS["weights"]}"/>',
            f'<text x="14" y="{middle + 5}" font-size="13" text-anchor="middle" fill="white">{number}</text>',
        ]
    return rows


def arrow(middle: int, top: int) -> str:
    """Return an arrow from one wing down to the next floor."""
    end = top + GAP - 2
    path = f"M{middle} {top} V{end} M{middle - 4} {end - 5} L{middle} {end} L{middle + 4} {end - 5}"
    return f'<path d="{path}" fill="none" stroke="currentColor"/>'
