"""The picture of how memcalc is built: its wings, their rooms, and the way of one config through them."""

from __future__ import annotations

from typing import NamedTuple

from memcalc.show.colours import COLOURS

WIDTH, HEIGHT, GAP, LEFT = 372, 74, 16, 34


class Wing(NamedTuple):
    """A wing of the package: what it is for, its main rooms, and what happens there on the way."""

    name: str
    purpose: str
    rooms: str
    way: str


WINGS = (
    Wing("cli, show", "how an answer is asked for and how it looks", "parser · text · html · figure", "6"),
    Wing("evidence", "what others measured, and what is predicted of it", "records · score · notes", ""),
    Wing(
        "serving, training",
        "a plan is data; an estimate is computed from it",
        "options · plan · estimate",
        "5",
    ),
    Wing("formula", "letters instead of numbers: derived, proved, printed", "lift · derive · latex", ""),
    Wing("files", "where a model comes from, how it is stored", "sources · config · readers · gguf", "1 2"),
    Wing("ledger", "what a model is made of: tensors and bytes", "parts · tensor · formats · budget", "3 4"),
)


def svg() -> str:
    """Return the picture; its lines and letters have the colour of the text around it."""
    height = len(WINGS) * (HEIGHT + GAP)
    rows = [
        (
            f'<svg viewBox="0 0 {WIDTH} {height}" role="img" style="width:100%;max-width:34em"'
            ' xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" fill="currentColor">'
        ),
        f"<title>{title()}</title>",
    ]
    for place, wing in enumerate(WINGS):
        top = place * (HEIGHT + GAP) + 1
        rows += box(wing, top)
        if place + 1 < len(WINGS):
            rows.append(arrow(top + HEIGHT))
    return "\n".join([*rows, "</svg>", ""])


def title() -> str:
    """Return what the picture shows, in words."""
    names = ", ".join(wing.name for wing in WINGS)
    return f"The wings of memcalc from top to bottom: {names}. Each imports only from those below it."


def box(wing: Wing, top: int) -> list[str]:
    """Return a wing as a box with three lines of text, and the numbers of the steps that happen in it."""
    rows = [
        (
            f'<rect x="{LEFT}" y="{top}" width="{WIDTH - LEFT - 1}" height="{HEIGHT}" rx="4" fill="none"'
            ' stroke="currentColor"/>'
        ),
        f'<text x="{LEFT + 10}" y="{top + 21}" font-size="14" font-weight="bold">{wing.name}</text>',
        f'<text x="{LEFT + 10}" y="{top + 42}" font-size="12">{wing.purpose}</text>',
        f'<text x="{LEFT + 10}" y="{top + 61}" font-size="11" font-style="italic">{wing.rooms}</text>',
    ]
    for place, number in enumerate(wing.way.split()):
        middle = top + 20 + 34 * place
        rows += [
            f'<circle cx="14" cy="{middle}" r="12" fill="{COLOURS["weights"]}"/>',
            f'<text x="14" y="{middle + 5}" font-size="13" text-anchor="middle" fill="white">{number}</text>',
        ]
    return rows


def arrow(top: int) -> str:
    """Return an arrow from one wing down to the next."""
    middle, end = LEFT + (WIDTH - LEFT) // 2, top + GAP - 2
    path = f"M{middle} {top} V{end} M{middle - 4} {end - 5} L{middle} {end} L{middle + 4} {end - 5}"
    return f'<path d="{path}" fill="none" stroke="currentColor"/>'
