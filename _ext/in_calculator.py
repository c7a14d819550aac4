"""Below each cell of a chapter that asks memcalc for a plan: links that the calculator's page answers.

tools/chapter_plans.py writes them before the pages are built.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx

LINES = Path("_build", "generated", "chapter_plans.json")


def read_lines(app: Sphinx) -> None:
    """Read the lines of all chapters."""
    path = Path(app.srcdir) / LINES
    found = (
        json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    )  # a site of one model has none
    app.config.in_calculator = found


def add_lines(app: Sphinx, doctree: nodes.document) -> None:
    """Put each line behind its cell."""
    lines = app.config.in_calculator.get(Path(app.env.docname).name, {})
    for cell in list(doctree.findall(nodes.container)):
        line = lines.get(str(cell.get("cell_index"))) if cell.get("nb_element") == "cell_code" else None
        if line:
            cell.parent.insert(cell.parent.index(cell) + 1, nodes.raw("", line, format="html"))


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.add_config_value("in_calculator", {}, "", types=[dict])
    app.connect("builder-inited", read_lines)
    app.connect("doctree-read", add_lines)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
