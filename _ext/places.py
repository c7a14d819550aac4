"""Places within a page, such as a word of the glossary, to which other pages can link: page.md#place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docutils import nodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def remember_places(app: Sphinx, doctree: nodes.document) -> None:
    """Add words that have a name of their own to the headings, which MyST lets pages link to."""
    slugs = app.env.metadata[app.env.docname].setdefault("myst_slugs", {})
    for place in doctree.findall(nodes.inline):
        for name in place["ids"]:
            slugs.setdefault(name, (0, name, place.astext()))


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.connect("doctree-read", remember_places)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
