"""Figures: the ink of the page, letters that a phone shows, names above rows, the same bytes on every run."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from memcalc.data.units import GIB
from memcalc.show import CAPACITY, COLOURS, INK, bars, lines, new, picture

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))
NAMES = ("a checkpoint with a long name", "another one", "the third")


def rows(names=NAMES):
    """A figure with a bar for each name, made as notebooks make one."""
    figure, axes = new(width=9, height=3)
    axes.barh(names, [3, 2, 1], color=COLOURS["weights"], label="weights")
    axes.barh(names, [1, 1, 1], left=[3, 2, 1], color=COLOURS["free"], label="free")
    axes.text(3, 0, "3.0", color=INK, fontsize=8)
    axes.axvline(2, color=CAPACITY, linestyle="--")
    axes.set_xlabel("GiB")
    axes.invert_yaxis()
    figure.legend(loc="outside upper center", ncols=2)
    return picture(figure, "Three bars")


def curves():
    x = [0, 40_000, 80_000, 120_000]
    return lines(x, {"one": [0, 1, 2, 3], "two": [0, 2, 4, 6]}, "Two lines", xlabel="tokens")


@pytest.mark.parametrize("figure", [rows, curves])
def test_ink_is_the_page_s(figure):
    svg = figure().svg
    colours = set(re.findall(r"(?:fill|stroke)(?::|=)\s*\"?(#\w{3,8}|black|white)", svg))
    assert colours <= {colour.lower() for colour in (*COLOURS.values(), CAPACITY)} - {"#d9d9d9"}
    assert 'role="img" fill="currentColor"' in svg
    assert svg.count("<title>") == 1
    assert "<metadata>" not in svg
    assert "<style" not in svg


@pytest.mark.parametrize("figure", [rows, curves])
def test_a_phone_shows_it(figure):
    """No wider than 360 units, letters of 12: 342 pixels show them at 11 and more."""
    svg = figure().svg
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1])
    assert width <= 360
    sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", svg)]
    assert sizes
    assert min(sizes) * 342 / width >= 11


@pytest.mark.parametrize("figure", [rows, curves])
def test_it_is_the_same_on_every_run(figure):
    assert figure().svg == figure().svg


def drawn_in(path):
    """The figures that a notebook shows."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            yield "".join(output.get("data", {}).get("image/svg+xml", ""))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_figure_of_a_chapter_has_a_white_area(path):
    """Ink is white where the page is dark, so that words in a white box vanish."""
    white = r'<(?!text)\w+\b[^>]*?\bfill(?:="|: ?)(?:#fff(?:fff)?|white)\b'
    assert [found for svg in drawn_in(path) for found in re.findall(white, svg, re.IGNORECASE)] == []


def test_identifiers_are_those_that_are_used():
    svg = rows().svg
    named = set(re.findall(r' id="([\w-]+)"', svg))
    assert named == set(re.findall(r'[("]#([\w-]+)[)"]', svg))


def place(svg, words):
    """Where words stand: across and down."""
    root = ET.fromstring(svg)
    (found,) = (one for one in root.iter() if one.tag.endswith("text") and one.text == words)
    return float(found.get("x")), float(found.get("y"))


def test_long_names_stand_above_their_rows():
    svg = rows().svg
    places = [place(svg, name) for name in NAMES]
    assert len({x for x, _ in places}) == 1
    assert places[0][0] < 30
    downs = [y for _, y in places]
    assert downs == sorted(downs)
    assert min(b - a for a, b in pairwise(downs)) > 35


def test_short_names_stay_beside_their_rows():
    svg = rows(("q", "k", "v")).svg
    assert [place(svg, name)[0] for name in "qkv"] == pytest.approx([place(svg, "q")[0]] * 3, abs=4)
    assert "text-anchor: end" in svg


def dots(names):
    figure, axes = new(height=3)
    axes.scatter(range(len(names)), range(len(names)))
    axes.set_yticks(range(len(names)), names)
    return picture(figure, "Dots").svg


def test_names_of_dots_stay_beside_them_where_bars_have_theirs_above():
    """Names of two lines are as wide as the wider one; dots would lie on names above them."""
    names = ("pool for the KV\ncache", "total, several\nGPUs", "states")
    assert place(dots(names), "states")[0] > 60
    assert place(rows(names).svg, "states")[0] < 30
    assert place(dots((*names, "transformers: total used, several GPUs")), "states")[0] < 30


def test_powers_of_ten_are_no_names():
    figure, axes = new(height=3.4)
    axes.loglog([1, 10, 100], [10, 100, 1000], color=COLOURS["weights"])
    svg = picture(figure, "A line").svg
    assert float(re.search(r'viewBox="0 0 360 ([\d.]+)', svg)[1]) == pytest.approx(3.4 * 72, abs=1)


def test_large_numbers_are_parted_and_few():
    svg = curves().svg
    along = re.findall(r">([\d,]+)</text>", svg)
    assert "120,000" in along
    assert len([words for words in along if "," in words]) <= 6


def test_a_key_has_as_many_columns_as_fit():
    figure, axes = new()
    names = [f"a component of the name {number}" for number in range(4)]
    for name, colour in zip(names, COLOURS.values(), strict=False):
        axes.plot([0, 1], [0, 1], color=colour, label=name)
    figure.legend(loc="outside upper center", ncols=4)
    svg = picture(figure, "Four lines").svg
    assert len({place(svg, name)[1] for name in names}) == 4


def test_bars_are_to_scale():
    svg = bars({"one": {"weights": 2 * GIB, "kv_cache": GIB}, "two": {"weights": GIB}}, "Two bars").svg
    root = ET.fromstring(svg)
    widths = [float(one.get("width")) for one in root.iter() if one.tag.endswith("rect")][:3]
    assert [width / widths[0] for width in widths] == pytest.approx([1, 0.5, 0.5], abs=1e-3)
    assert ">3.00 GiB<" in svg
    assert CAPACITY not in svg


def test_a_limit_is_a_dashed_line_of_its_own_colour():
    svg = bars({"one": {"weights": GIB}}, "A bar", capacity={"one": 2 * GIB}).svg
    assert ">capacity<" in svg
    line = next(row for row in svg.splitlines() if CAPACITY in row)
    assert "stroke-dasharray" in line
    assert float(re.search(r'points="([\d.]+),', line)[1]) == pytest.approx(358, abs=1)


def test_a_figure_names_its_dashed_line():
    svg = bars({"one": {"weights": GIB}}, "A bar", capacity={"one": 2 * GIB}, line="measured in all").svg
    assert ">measured in all<" in svg
    assert ">capacity<" not in svg
