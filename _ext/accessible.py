"""Pages that a screen reader can read: what the theme and its extensions write is mended here.

tests/browser/test_pages.py asks axe-core about it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

# A list of terms without a term: the parameters of a signature, one on each line.
PARAMETERS = re.compile(r"\n<dl>\n((?:<dd>.*</dd>\n)+)</dl>\n")
MENDED = (
    # A control's name has the words that it shows: "Search Ctrl+K", "Show code cell source".
    (re.compile(r'(<button class="btn search-button-field[^>]*) title="Search" aria-label="Search"'), r"\1"),
    (re.compile(r'<summary aria-label="Toggle hidden content">'), "<summary>"),
    (re.compile(r'<summary>(?=<span class="toctree-toggle")'), '<summary aria-label="Pages below this one">'),
)


def as_lines(found: re.Match[str]) -> str:
    """Return the parameters of a signature as lines."""
    lines = found[1].replace("<dd>", '<span class="parameter-line">').replace("</dd>", "</span>")
    return f"\n{lines}"


def mended(page: str) -> str:
    """Return what a page shows, mended."""
    for fault, instead in MENDED:
        page = fault.sub(instead, page)
    return PARAMETERS.sub(as_lines, page)


def offer(_app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: object) -> None:
    """Give the template (layout.html) what mends a page."""
    context["mended"] = mended


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.connect("html-page-context", offer)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
