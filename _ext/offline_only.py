"""Pages that need no network: MathJax from the installed package, no launch buttons, no source maps."""

from __future__ import annotations

import shutil
from importlib.metadata import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx


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


def without_thebe(
    _app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: object
) -> None:
    """Drop sphinx-thebe, which is always loaded, asks a foreign host for its script and raises an error."""

    def foreign(asset: object) -> bool:
        body = str((getattr(asset, "attributes", None) or {}).get("body"))
        return "thebe" in f"{getattr(asset, 'filename', asset)} {body}".lower()

    for kind in ("script_files", "css_files"):
        context[kind] = [asset for asset in context.get(kind, []) if not foreign(asset)]


def without_leftovers(app: Sphinx, error: Exception | None) -> None:
    """Remove the theme's source maps and templates: a third of the site, and read by nobody."""
    if error is None and app.builder.format == "html":
        for pattern in ("*.map", "*webpack-macros.html"):
            for path in (Path(app.outdir) / "_static").rglob(pattern):
                path.unlink()


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.connect("builder-inited", mathjax)
    app.connect("html-page-context", without_thebe, priority=900)
    app.connect("build-finished", without_leftovers, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
