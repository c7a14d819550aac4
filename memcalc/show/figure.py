"""Figures: one colour a component everywhere, legible by day and by night, the same bytes on every run."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

from memcalc.data.units import GIB
from memcalc.show.colours import COLOURS, LABELS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "INK", "Picture", "bars", "lines", "new", "picture"]

INK = "#3D444D"  # on a white card of the figure's own, so that it is the same by day and by night

STYLE = {
    "svg.hashsalt": "memcalc",
    "svg.fonttype": "none",  # text stays text: it can be searched and it follows the reader's font
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "savefig.facecolor": "white",
}


class Picture:
    """An SVG that a notebook shows; made once, the same bytes every time.

    Parameters
    ----------
    svg : str
        The drawing.
    alt : str
        What it shows, in words.

    """

    def __init__(self, svg: str, alt: str) -> None:
        """Keep the drawing and its words."""
        self.svg, self.alt = svg, alt

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        """Say in words what the figure shows."""
        return f"Figure: {self.alt}"


def new(width: float = 7, height: float = 3) -> tuple[Figure, Axes]:
    """Return an empty figure in the book's style.

    Parameters
    ----------
    width, height : float
        Inches; 7 by 3 by default.

    Returns
    -------
    tuple
        Matplotlib's figure, and its axes.

    """
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
    return figure, axes


def picture(figure: Figure, alt: str) -> Picture:
    """Return a figure as SVG text without a date, and close it.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        A figure made by `new`.
    alt : str
        What it shows, in words, for those who do not see it.

    """
    buffer = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Title": alt})
    plt.close(figure)
    svg = buffer.getvalue()
    return Picture(svg[svg.index("<svg") :], alt)


def bars(
    rows: Mapping[str, Mapping[str, int]], alt: str, *, capacity: Mapping[str, int] | None = None
) -> Picture:
    """Draw one stacked bar a row, in GiB.

    Parameters
    ----------
    rows : mapping
        Bytes by component for each label, as `PoolBudget.components` gives them.
    alt : str
        What the figure shows, in words.
    capacity : mapping, optional
        Bytes for each label that has a limit: a line across its bar.

    """
    figure, axes = new(height=0.9 + 0.55 * len(rows))
    with mpl.rc_context(STYLE):
        names = list(dict.fromkeys(name for parts in rows.values() for name in parts))
        left = [0.0] * len(rows)
        for name in names:
            sizes = [parts.get(name, 0) / GIB for parts in rows.values()]
            axes.barh(
                list(rows), sizes, left=left, color=COLOURS[name], label=LABELS.get(name, name), height=0.6
            )
            left = [start + size for start, size in zip(left, sizes, strict=True)]
        for index, label in enumerate(rows):
            if capacity and label in capacity:
                limit = capacity[label] / GIB
                axes.plot([limit, limit], [index - 0.42, index + 0.42], color="black", linewidth=2)
        axes.invert_yaxis()
        axes.set_xlabel("GiB")
        axes.tick_params(axis="y", length=0)
        in_a_row = len(names) if len(names) <= 5 else 4  # more do not fit the figure's width
        figure.legend(loc="outside upper center", ncols=in_a_row)
    return picture(figure, alt)


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
    colours = list(COLOURS.values())
    with mpl.rc_context(STYLE):
        for (name, values), colour in zip(series.items(), colours, strict=False):
            axes.plot(x, values, color=colour, linewidth=2)
            axes.annotate(name, (x[-1], values[-1]), xytext=(6, 0), textcoords="offset points", va="center")
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
    return picture(figure, alt)
