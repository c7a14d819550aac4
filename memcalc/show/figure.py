"""Figures: one colour a component, legible by day, by night and on a phone, the same bytes on every run.

`bars` are drawn as the drawings are; the other figures are Matplotlib's, as wide, with the page's own ink.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

from memcalc.data.units import gib
from memcalc.show.colours import COLOURS
from memcalc.show.drawings.pen import FONT, LINE, WIDTH, Sheet, width_of, wrapped
from memcalc.show.pictures import Picture

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "INK", "Picture", "bars", "lines", "new", "picture"]

INK = "black"  # what Matplotlib calls the ink; the picture says currentColor
LETTERS = 12  # points of a sheet that is as wide as a phone's page
ACROSS = WIDTH / 72  # inches
PITCH = 42  # points from one row to the next where the rows' names stand above them
THIN = 0.5  # of a row: the bar below a name
BESIDE = 70  # points that names may take at the left
BESIDE_DOTS = 100  # the same where there is no bar to be thinned: dots would lie on a name above them

STYLE = {
    "svg.hashsalt": "memcalc",
    "svg.fonttype": "none",  # text stays text: it can be searched and it follows the reader's font
    "font.family": "sans-serif",
    "font.size": LETTERS,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "savefig.transparent": True,
}
IN_INK = (
    ("stroke: #000000", "stroke: currentColor"),
    ("fill: #d9d9d9", "fill: currentColor; fill-opacity: 0.18"),  # what is free, and grids
    ("stroke: #d9d9d9", "stroke: currentColor; stroke-opacity: 0.18"),
)
FAMILY = re.compile(r"font-family: [^;\"]*;? ?")
METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
# A rule of style in a picture would hold for the whole page that it stands in.
EVERYWHERE = re.compile(r"\s*<defs>\s*<style.*?</style>\s*</defs>", re.DOTALL)


def new(width: float = ACROSS, height: float = 3) -> tuple[Figure, Axes]:
    """Return an empty figure in the book's style, at most as wide as a phone's page.

    Parameters
    ----------
    width, height : float
        Inches; 5 by 3 by default. What is wider keeps its height and gets 5.

    Returns
    -------
    tuple
        Matplotlib's figure, and its axes.

    """
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(min(width, ACROSS), height), layout="constrained")
    return figure, axes


def picture(figure: Figure, alt: str) -> Picture:
    """Return a figure as SVG text without a date, and close it.

    Letters are as large as a phone needs; long names of rows stand above them, and a key has as many columns
    as its words leave room for.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        A figure made by `new`.
    alt : str
        What it shows, in words, for those who do not see it.

    """
    import matplotlib as mpl
    from matplotlib import pyplot as plt
    from matplotlib.text import Text

    buffer = io.StringIO()
    with mpl.rc_context(STYLE):
        for axes in figure.axes:
            axes.set_xlabel("\n".join(wrapped(axes.get_xlabel(), WIDTH - 40, LETTERS)))
            few_numbers(axes)
            names_above(figure, axes)
            key_above(figure, axes)
        for text in figure.findobj(Text):
            text.set_fontsize(max(text.get_fontsize(), LETTERS))
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Title": alt})
    plt.close(figure)
    return Picture(in_ink(buffer.getvalue()), alt)


def few_numbers(axes: Axes) -> None:
    """Write as many numbers along an axis as there is room for, thousands parted."""
    from matplotlib.ticker import AutoLocator, FuncFormatter, MaxNLocator

    if isinstance(axes.xaxis.get_major_locator(), AutoLocator):
        axes.xaxis.set_major_locator(MaxNLocator(5))
        if max(map(abs, axes.get_xlim())) >= 1000:
            axes.xaxis.set_major_formatter(FuncFormatter(lambda number, _place: f"{number:,.0f}"))


def names_above(figure: Figure, axes: Axes) -> None:
    """Write the names of rows above them, where they are too long to stand at their left."""
    from matplotlib.patches import Rectangle

    names = [label.get_text() for label in axes.get_yticklabels()]
    places = list(axes.get_yticks())
    is_named = axes.get_yscale() == "linear" and any(re.search("[A-Za-z]", name) for name in names)
    widest = max((width_of(line, LETTERS) for name in names for line in name.split("\n")), default=0)
    if not is_named or widest <= (BESIDE if axes.patches else BESIDE_DOTS):
        return
    up = -1 if axes.yaxis_inverted() else 1
    for name, place in zip(names, places, strict=True):
        at = (0, place + up / 2)
        axes.annotate(
            name.replace("\n", " "), at, (2, 0), ("axes fraction", "data"), "offset points", va="center"
        )
    axes.set_yticks(places, [""] * len(places))
    axes.tick_params(axis="y", length=0)
    axes.set_ylabel("")
    for bar in axes.patches:
        if isinstance(bar, Rectangle):
            bar.set(y=bar.get_y() + bar.get_height() / 2 - THIN / 2, height=THIN)
    ends = [min(places) - 0.6, max(places) + 0.6]
    ends[1 if up > 0 else 0] += 0.3 * up
    axes.set_ylim(*(ends[::-1] if up < 0 else ends))
    span = ends[1] - ends[0]
    figure.set_figheight((PITCH * span + 44 + 18 * (len(axes.get_legend_handles_labels()[1]) // 3 + 1)) / 72)


def key_above(figure: Figure, axes: Axes) -> None:
    """Write the figure's key above it, in as many columns as there is room for."""
    own = axes.get_legend()
    for key in [*figure.legends, *([own] if own else [])]:
        names = [text.get_text() for text in key.get_texts()]
        handles: list[Any] = list(key.legend_handles)
        key.remove()
        room = (WIDTH - 10) // (max(width_of(name, LETTERS) for name in names) + 34)
        figure.legend(handles, names, loc="outside upper left", ncols=max(1, min(len(names), int(room))))


def in_ink(svg: str) -> str:
    """Return Matplotlib's SVG with the ink of the text around it, and only with names that are used."""
    svg = METADATA.sub("", svg[svg.index("<svg") :])
    for found, instead in IN_INK:
        svg = svg.replace(found, instead)
    svg = EVERYWHERE.sub("", FAMILY.sub("", svg))
    used = set(re.findall(r'[("]#([\w-]+)[)"]', svg))
    svg = re.sub(r' id="([\w-]+)"', lambda found: found[0] if found[1] in used else "", svg)
    drawn = f'role="img" fill="currentColor" stroke-linejoin="round" font-family="{FONT}"'
    return svg.replace("<svg ", f"<svg {drawn} ", 1)


def bars(
    rows: Mapping[str, Mapping[str, int]],
    alt: str,
    *,
    capacity: Mapping[str, int] | None = None,
    line: str = "capacity",
) -> Picture:
    """Draw one stacked bar a row, its name and its sum above it.

    Parameters
    ----------
    rows : mapping
        Bytes by component for each label, as `PoolBudget.components` gives them.
    alt : str
        What the figure shows, in words.
    capacity : mapping, optional
        Bytes for each label that has a limit: a dashed line across its bar.
    line : str, optional
        What the dashed line stands for, as the key says it: the capacity by default.

    """
    limits = capacity or {}
    whole = max([*(sum(parts.values()) for parts in rows.values()), *limits.values()])
    sheet = Sheet(alt)
    for name, parts in rows.items():
        heading, *more = name.split("\n")
        sheet.y += LINE
        sheet.text(1, sheet.y - 4, heading, bold=bool(more))
        if more:
            sheet.text(1, sheet.y + LINE - 4, " ".join(more))
            sheet.y += LINE
        sheet.text(WIDTH - 1, sheet.y - 4, gib(sum(parts.values())), anchor="end")
        sheet.bar(1, sheet.y, WIDTH - 3, 20, parts, whole=whole)
        if name in limits:
            x = 1 + (WIDTH - 3) * limits[name] / whole
            sheet.capacity([(x, sheet.y - 2), (x, sheet.y + 22)])
        sheet.y += 28
    names = dict.fromkeys(name for parts in rows.values() for name, size in parts.items() if size)
    sheet.legend(names, line if limits else "")
    return sheet.picture()


def lines(
    x: Sequence[int], series: Mapping[str, Sequence[float]], alt: str, *, xlabel: str, ylabel: str = "GiB"
) -> Picture:
    """Draw one line a series; each is labelled at its end, so that colour is not needed.

    Parameters
    ----------
    x : sequence of int
        What is varied, such as tokens.
    series : mapping
        Values for each label, in the unit of `ylabel`.
    alt : str
        What the figure shows, in words.
    xlabel, ylabel : str
        The axes, with their units; GiB by default.

    """
    figure, axes = new(height=3.4)
    for (name, values), colour in zip(series.items(), COLOURS.values(), strict=False):
        axes.plot(x, values, color=colour, linewidth=2)
        axes.annotate(name, (x[-1], values[-1]), xytext=(6, 0), textcoords="offset points", va="center")
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    return picture(figure, alt)
