"""A pen: boxes, bars, lines and words, on a sheet as wide as a phone.

A sheet is 360 units wide and shown at most a third larger, so that its letters are those of the text on a
large screen and at least 11 pixels on a phone. Ink is `currentColor`; a colour is a component's
(`show/colours.py`) or the capacity's. Words are measured by the widest of the common fonts.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from memcalc.show.colours import CAPACITY, COLOURS, LABELS
from memcalc.show.pictures import Picture

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Point = tuple[float, float]

__all__ = ["CAPTION", "FONT", "LINE", "SMALL", "WIDTH", "Sheet", "ink_on", "label", "width_of", "wrapped"]

WIDTH, SHOWN = 360, 480
SMALL, CAPTION, LINE = 12.0, 13.0, 16
FREE = 0.16  # of the ink
FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif"
# Hundredths of the font's size, of DejaVu Sans: wider than what most readers have.
WIDTHS = {
    **dict.fromkeys("ijl'", 28),
    **dict.fromkeys("IJ,. ·’:;/\\|", 34),
    **dict.fromkeys("f-t()[]!r", 41),
    **dict.fromkeys('"*_–sz“”?c', 55),
    **dict.fromkeys("LkFvxyPaoTYe", 62),
    **dict.fromkeys("hnuE0123456789bdgpqS${}", 64),
    **dict.fromkeys("KAVXZBCRUHN", 75),
    **dict.fromkeys("DGOQw&", 82),
    **dict.fromkeys("#+<=>~×→−≤≥M", 86),
}
WIDEST, BOLDER = 100, 1.11


def width_of(words: str, size: float = SMALL, *, bold: bool = False) -> float:
    """Return how wide words are at most, in units of the sheet.

    >>> round(width_of("4,096 x 4,096"))
    85
    """
    return sum(WIDTHS.get(letter, WIDEST) for letter in words) * size / 100 * (BOLDER if bold else 1)


def wrapped(words: str, width: float, size: float = SMALL) -> list[str]:
    """Return words in lines of a width.

    >>> wrapped("keys and values", 60)
    ['keys and', 'values']
    """
    rows: list[str] = []
    for word in words.split():
        if rows and width_of(f"{rows[-1]} {word}", size) <= width:
            rows[-1] += f" {word}"
        else:
            rows.append(word)
    return rows


def label(component: str) -> str:
    """Return what a component is called.

    >>> label("kv_cache"), label("weights")
    ('KV cache', 'weights')
    """
    return LABELS.get(component, component)


def ink_on(colour: str) -> str:
    """Return the ink, black or white, that stands out more on a colour.

    >>> ink_on("#0072B2"), ink_on("#E69F00")
    ('#fff', '#000')
    """
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    light = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "#fff" if 1.05 / (light + 0.05) > (light + 0.05) / 0.05 else "#000"


def number(value: float) -> str:
    """Return a coordinate, to a hundredth."""
    return f"{round(value, 2):g}"


class Sheet:
    """A drawing that grows downwards: `y` is where the next thing goes.

    Parameters
    ----------
    alt : str
        What it shows, in words.

    Examples
    --------
    >>> sheet = Sheet("One box")
    >>> sheet.box(0, 0, 40, 20, ["here"], colour="weights")
    >>> sheet.y = 20
    >>> sheet.picture()
    Figure: One box

    """

    def __init__(self, alt: str) -> None:
        """Begin with an empty sheet."""
        self.alt, self.rows, self.y = alt, [f"<title>{escape(alt)}</title>"], 0.0

    def picture(self) -> Picture:
        """Return what was drawn."""
        height = self.y + 2
        shown = f'width="{SHOWN}" height="{number(SHOWN * height / WIDTH)}"'
        start = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {number(height)}" {shown} '
            f'role="img" font-family="{FONT}" font-size="{SMALL:g}" fill="currentColor">'
        )
        return Picture("\n".join([start, *self.rows, "</svg>"]), self.alt)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = SMALL,
        anchor: str = "start",
        bold: bool = False,
        faint: bool = False,
        ink: str = "",
    ) -> None:
        """Write words on a base line at `y`; `anchor` is the end of them that stands at `x`."""
        style = f' font-size="{size:g}"' if size != SMALL else ""
        style += f' text-anchor="{anchor}"' if anchor != "start" else ""
        style += ' font-weight="bold"' if bold else ""
        style += ' opacity=".75"' if faint else ""
        style += f' fill="{ink}"' if ink else ""
        self.rows.append(f'<text x="{number(x)}" y="{number(y)}"{style}>{escape(words, quote=False)}</text>')

    def heading(self, words: str, right: str = "") -> None:
        """Write a line in bold, and what belongs to it at the right end, or below where both do not fit."""
        self.y += LINE
        self.text(1, self.y - 4, words, size=CAPTION, bold=True)
        if right and width_of(words, CAPTION, bold=True) + width_of(right) > WIDTH - 14:
            self.y += LINE
            self.text(1, self.y - 4, right)
        elif right:
            self.text(WIDTH - 1, self.y - 4, right, anchor="end")
        self.y += 2

    def note(self, words: str) -> None:
        """Write a sentence below what was drawn."""
        self.y += 4
        for row in wrapped(words, WIDTH - 4):
            self.y += LINE
            self.text(1, self.y - 4, row, faint=True)

    def rect(
        self, x: float, y: float, width: float, height: float, colour: str = "", *, tint: float = 1
    ) -> None:
        """Fill a rectangle with the colour of a component; without one with the ink, faintly for `free`."""
        if colour == "free":
            colour, tint = "", FREE
        fill = f' fill="{COLOURS[colour]}"' if colour else ""
        fill += f' fill-opacity="{tint:g}"' if tint != 1 else ""
        size = f'x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"'
        self.rows.append(f"<rect {size}{fill}/>")

    def frame(self, x: float, y: float, width: float, height: float, *, dashed: bool = False) -> None:
        """Draw a thin line around a rectangle."""
        dash = ' stroke-dasharray="3 3"' if dashed else ""
        size = f'x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"'
        self.rows.append(
            f'<rect {size} rx="3" fill="none" stroke="currentColor" stroke-opacity=".55"{dash}/>'
        )

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        words: Sequence[str] = (),
        *,
        colour: str = "",
        tint: float = 0.2,
    ) -> None:
        """Draw a box of a component with words in its middle: of several lines the first is bold."""
        line = COLOURS[colour] if colour else "currentColor"
        fill = f'fill="{line}" fill-opacity="{tint if colour else 0:g}" stroke="{line}"'
        size = f'x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"'
        self.rows.append(f'<g><rect {size} rx="3" {fill}/>')
        top = y + height / 2 - (len(words) - 1) * 7 + 4
        for place, row in enumerate(words):
            first = place == 0 and len(words) > 1
            self.text(x + width / 2, top + 14 * place, row, anchor="middle", bold=first)
        self.rows.append("</g>")

    def line(
        self,
        points: Iterable[Point],
        *,
        colour: str = "currentColor",
        dashed: bool = False,
        arrow: bool = False,
        weight: float = 1,
    ) -> None:
        """Draw a line through points; with `arrow` its end has a tip that points down, up or to the right."""
        ends = list(points)
        path = " ".join(f"{number(x)},{number(y)}" for x, y in ends)
        style = ' stroke-dasharray="5 3"' if dashed else ""
        style += f' stroke-width="{weight:g}"' if weight != 1 else ""
        self.rows.append(f'<polyline points="{path}" fill="none" stroke="{colour}"{style}/>')
        if arrow:
            (x1, y1), (x, y) = ends[-2:]
            if x1 == x:
                back = y - 5 if y > y1 else y + 5
                tip = [(x, y), (x - 3.5, back), (x + 3.5, back)]
            else:
                tip = [(x, y), (x - 5, y - 3.5), (x - 5, y + 3.5)]
            self.area(tip, colour)

    def plus(self, x: float, y: float) -> None:
        """Draw a ring with a plus: two things are added here."""
        place = f'cx="{number(x)}" cy="{number(y)}" r="5"'
        self.rows.append(f'<circle {place} fill="none" stroke="currentColor"/>')
        self.line([(x - 3, y), (x + 3, y)])
        self.line([(x, y - 3), (x, y + 3)])

    def area(self, points: Iterable[Point], colour: str) -> None:
        """Fill what points go around; the colour is a component's, or one of SVG's."""
        path = " ".join(f"{number(x)},{number(y)}" for x, y in points)
        self.rows.append(f'<polygon points="{path}" fill="{COLOURS.get(colour, colour)}"/>')

    def capacity(self, points: Iterable[Point]) -> None:
        """Draw the line up to which there is memory."""
        self.line(points, colour=CAPACITY, dashed=True, weight=2)

    def legend(self, components: Iterable[str], extra: str = "") -> None:
        """Write what each colour stands for; `extra` is what the capacity's line stands for."""
        x = 1.0
        self.y += LINE + 2
        for name in [*components, *([CAPACITY] if extra else [])]:
            words = extra if name == CAPACITY else label(name)
            if x > 1 and x + 14 + width_of(words) > WIDTH - 1:
                x, self.y = 1.0, self.y + LINE
            if name == CAPACITY:
                self.capacity([(x, self.y - 8), (x + 10, self.y - 8)])
            else:
                self.rect(x, self.y - 13, 10, 10, name)
            self.text(x + 14, self.y - 4, words)
            x += 14 + width_of(words) + 12
        self.y += 2

    def bar(
        self, x: float, y: float, width: float, height: float, parts: Mapping[str, int], *, whole: int
    ) -> None:
        """Draw bytes by component side by side; `whole` bytes are as wide as the bar."""
        for name, size in parts.items():
            if width * size / whole >= 0.2:
                self.rect(x, y, width * size / whole, height, name)
            x += width * size / whole
