"""Folded code of neighbouring cells becomes one fold, as it makes one thing: a figure, a table.

A notebook's cells are short, so what draws one figure is often five of them: five bars above a picture
say nothing that one does not. Each cell stays a block of code of its own inside the fold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

from docutils import nodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def is_folded(node: nodes.Node | None) -> TypeGuard[nodes.container]:
    """Say whether a node is a cell whose code is folded."""
    return (
        isinstance(node, nodes.container)
        and node.get("nb_element") == "cell_code"
        and node.get("hide_mode") in {"input", "all"}
    )


def merge(_app: Sphinx, doctree: nodes.document) -> None:
    """Move the code of each folded cell that shows nothing into the folded cell behind it."""
    for cell in list(doctree.findall(is_folded)):
        place = cell.parent.index(cell)
        after = cell.parent[place + 1] if place + 1 < len(cell.parent) else None
        if len(cell) == 1 and is_folded(after) and after["hide_mode"] == cell["hide_mode"]:
            after[0].insert(0, cell[0].children)
            cell.parent.remove(cell)


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx, behind in_calculator: a cell with a link below it stays where it is."""
    app.connect("doctree-read", merge, priority=600)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
