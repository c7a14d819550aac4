"""What the site weighs: each page with all that it names, as it travels (gzip), and the whole on disk.

`python tools/weigh.py` prints the site's total and the heaviest pages; so does each build. What scripts load
is not named: the fonts of MathJax that a formula needs, the numbers of the calculator's model.
tests/browser/test_weight.py counts all that a browser asks for, and holds the limits.
"""

from __future__ import annotations

import gzip
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

SITE = Path(__file__).resolve().parents[1] / "_build" / "html"
HEAVIEST = 5


@cache
def travels(file: Path) -> int:
    """Return the bytes of a file as a server sends it."""
    return len(gzip.compress(file.read_bytes(), 6))


@cache
def named(file: Path) -> frozenset[Path]:
    """Return the files that a page or a style sheet names for the browser to load, and itself."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".css":
        found = re.findall(r"""@import ["']([^"']+)|url\((?!["']?data:)["']?([^"')]+)""", text)
        names = ["".join(pair) for pair in found]
    else:
        names = re.findall(r"""<(?:script|img)\b[^>]*? src="([^"]+)""", text)
        names += re.findall(r'<link\b(?=[^>]*rel="(?:stylesheet|preload|icon)")[^>]*? href="([^"]+)', text)
    files = {
        (file.parent / unquote(re.split("[?#]", name)[0])).resolve() for name in names if ":" not in name
    }
    loaded = {one for one in files if one.is_file()}
    sheets = (named(one) for one in loaded if one.suffix == ".css" and one != file)
    return frozenset({file}.union(loaded, *sheets))


def pages(site: Path) -> dict[str, int]:
    """Return what each page weighs with all that it names, heaviest first."""
    found = (page for page in site.rglob("*.html") if "_static" not in page.relative_to(site).parts)
    sizes = {str(page.relative_to(site)): sum(map(travels, named(page.resolve()))) for page in found}
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def report(site: Path = SITE) -> str:
    """Return the site's total and its heaviest pages, in words."""
    files = [path for path in site.rglob("*") if path.is_file()]
    total = sum(path.stat().st_size for path in files)
    asked = sum(path.stat().st_size for path in files if path.parent == site / "_static" / "ask")
    heaviest = [f"{name} {size // 1000:,} kB" for name, size in list(pages(site).items())[:HEAVIEST]]
    return (
        f"   site: {total / 1e6:.1f} MB in {len(files)} files, {asked / 1e6:.1f} MB of it are Python and "
        f"memcalc, for pages that are asked; heaviest pages, gzipped: {', '.join(heaviest)}"
    )


if __name__ == "__main__":
    print(report())
