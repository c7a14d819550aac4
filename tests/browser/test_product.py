"""What comes with the pages: their weight in words, notebooks, llms.txt, pages about the book."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

HOME = "book/index.html"
BY_SCRIPTS = ("/output/chtml/fonts/", "/calculator/", "/ask/contents.js")


def test_what_the_build_prints_is_what_a_browser_loads(visit, site):
    """But for what scripts load by themselves: MathJax's fonts, numbers of a model, what Python weighs."""
    spec = importlib.util.spec_from_file_location("weigh", site.parents[1] / "tools" / "weigh.py")
    weigh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(weigh)
    for name in (HOME, "notebooks/bytes.html", "book/changes.html"):
        asked = {Path(unquote(urlsplit(address).path)) for address in visit(name).asked}
        files = {path for path in asked if not any(part in str(path) for part in BY_SCRIPTS)}
        named = weigh.named((site / name).resolve())
        assert files <= named
        # pictures of rules that this page does not meet, and its icon, which a browser asks for when it likes
        assert {path.name for path in named - files if path.suffix != ".png"} <= {"icon.svg"}


def test_a_chapter_offers_the_notebook_that_it_was_made_from(site, site_page):
    """The file itself, byte for byte, and not something that looks like it."""
    text = (site / site_page).read_text(encoding="utf-8")
    source = site.parents[1] / Path(site_page).with_suffix(".ipynb")
    offered = text.count('class="notebook-of-page')
    assert offered == source.is_file()
    if offered:
        address = text.partition('class="notebook-of-page')[2].partition('href="')[2].partition('"')[0]
        served = (site / site_page).parent / unquote(address)
        assert json.loads(served.read_text(encoding="utf-8"))["nbformat"] == 4
        assert served.read_bytes() == source.read_bytes()


def test_language_models_find_every_page(site):
    text = (site / "llms.txt").read_text(encoding="utf-8")
    made = {
        str(path.relative_to(site))
        for folder in ("book", "fits", "notebooks")
        for path in (site / folder).glob("*.html")
    }
    lines = {
        line.partition("](")[2].partition(")")[0]: line
        for line in text.splitlines()
        if line.startswith("- [")
    }
    assert made <= lines.keys()
    assert all(len(lines[name].partition("): ")[2]) > 20 for name in made)
    assert "`memcalc serve`" in text


@pytest.mark.parametrize(
    ("page", "words"),
    [("citation", "@software"), ("notices", "apache-2.0.txt"), ("changes", "0.1.0 (unreleased)")],
)
def test_pages_about_the_book_say_what_they_are_for(site, page, words):
    assert words in (site / "book" / f"{page}.html").read_text(encoding="utf-8")
