"""Pages that need no network, and carry nothing that they do not use: extras of the theme are left out."""

from __future__ import annotations

import re
import shutil
from importlib.metadata import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

# What sphinx-thebe writes at the end of each page: where a kernel would run, and its name.
KERNEL = re.compile(
    r'\s*<script type="text/x-thebe-config">.*?</script>\s*<script>kernelName = .*?</script>', re.DOTALL
)

# A cell with one paragraph in it, and a name in a cell: a fifth of a page of tables is such wrappers.
CELL = re.compile(r'<td class="text-(left|right)"><p>((?:(?!</?p>)[^\n])*)</p></td>')
NAME = re.compile(r'(<code class="docutils literal notranslate">)<span class="pre">([^<]*)</span>(?=</code>)')

FORMULA = re.compile(r'class="[^"]*\bmath\b')


def mathjax(app: Sphinx) -> None:
    """Copy MathJax's one script and its fonts beside the pages (the package holds 24 MB, this is 1.6)."""
    if app.builder.format != "html":
        return
    installed = files("sphinx-mathjax-offline") or []
    script = next(Path(str(file.locate())) for file in installed if file.name == "tex-mml-chtml.js")
    target = Path(app.outdir) / "_static" / "mathjax"
    fonts = Path("output/chtml/fonts/woff-v2")
    (target / fonts).mkdir(parents=True, exist_ok=True)
    shutil.copy(script, target)
    for font in (script.parent / fonts).glob("*.woff"):
        shutil.copy(font, target / fonts)


def without(head: str, *words: str) -> str:
    """Return a part of a page's head without the lines that speak of something."""
    return "\n".join(line for line in head.splitlines() if not any(word in line for word in words))


def plain(cell: re.Match[str]) -> str:
    """Return a cell of a table without what it does not need: numbers stand right, all else left anyway."""
    start = "<td>" if cell[1] == "left" else '<td class="text-right">'
    return start + NAME.sub(r"\1\2", cell[2]) + "</td>"


def without_extras(
    _app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: object
) -> None:
    """Drop sphinx-thebe, which asks a foreign host, and MathJax where no formula stands."""
    context["without"] = without  # layout.html drops more
    body = context["body"] = CELL.sub(plain, KERNEL.sub("", context.get("body", "")))
    extras = ["thebe"] if FORMULA.search(body) else ["thebe", "mathjax"]

    def extra(asset: object) -> bool:
        inside = str((getattr(asset, "attributes", None) or {}).get("body"))
        said = f"{getattr(asset, 'filename', asset)} {inside}".lower()
        return any(word in said for word in extras)

    for kind in ("script_files", "css_files"):
        context[kind] = [asset for asset in context.get(kind, []) if not extra(asset)]


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.connect("builder-inited", mathjax)
    app.connect("html-page-context", without_extras, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
