"""The built site so that a page is painted early: one style sheet, and no script that is waited for.

The theme and its extensions bring ten style sheets and as many scripts in a page's head, each of which a
browser fetches before it shows anything. The sheets become one; the scripts run in their order once the page
is there (`defer`). What is called by a script that stands in the page itself stands there, too.
"""

from __future__ import annotations

import hashlib
import re
from posixpath import normpath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pathlib import Path

SHEET = "site.css"
CALLED = "documentation_options.js"  # scripts in the page set its values
LINK = re.compile(r'[ \t]*<link\b(?=[^>]*rel="stylesheet")[^>]*?href="([^"]+)"[^>]*>\n?')
PRELOAD = re.compile(r'[ \t]*<link rel="preload" as="script"[^>]*>\n?')
SCRIPT = re.compile(r'<script\b(?![^>]*\b(?:defer|async)\b)([^>]*?) src="([^"]+)"></script>')
IMPORT = re.compile(r"""@import ["']([^"']+)["'];""")
ADDRESS = re.compile(r"""url\((["']?)(?!["']?(?:data:|#))([^"')]+)\1\)""")


def pages(site: Path) -> list[Path]:
    """Return the pages that have a head of the theme's."""
    found = (path for path in site.rglob("*.html") if "_static" not in path.relative_to(site).parts)
    return [path for path in found if LINK.search(path.read_text(encoding="utf-8"))]


def sheet(path: Path, static: Path) -> str:
    """Return a style sheet with what it imports, its addresses as seen from the folder of the one sheet."""

    def seen(found: re.Match[str]) -> str:
        address = normpath((path.parent.relative_to(static) / found[2]).as_posix())
        return f"url({address})"

    text = ADDRESS.sub(seen, path.read_text(encoding="utf-8"))
    return IMPORT.sub(lambda found: sheet((path.parent / found[1]).resolve(), static), text)


def one_sheet(site: Path) -> None:
    """Put all style sheets into one, in their order; every page loads the same ones."""
    static = (site / "_static").resolve()
    named = {path: LINK.findall(path.read_text(encoding="utf-8")) for path in pages(site)}
    listed = {
        tuple((path.parent / urlsplit(one).path).resolve() for one in found) for path, found in named.items()
    }
    if len(listed) != 1:
        raise ValueError(f"style sheets: expected the same on every page, given {len(listed)} lists of them")
    (sheets,) = listed
    text = "\n".join(sheet(path, static) for path in sheets)
    for path in static.rglob("*.css"):
        path.unlink()
    (static / SHEET).write_text(text, encoding="utf-8", newline="\n")
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    for path in named:
        page = path.read_text(encoding="utf-8")
        address = f"{'../' * (len(path.relative_to(site).parts) - 1)}_static/{SHEET}?v={digest}"
        first = LINK.search(page)
        place = first.start() if first else 0
        page = f'{page[:place]}    <link rel="stylesheet" href="{address}" />\n{LINK.sub("", page[place:])}'
        path.write_text(page, encoding="utf-8", newline="\n")


def later(page: str, called: str) -> str:
    """Return a page whose head waits for no script.

    Parameters
    ----------
    page : str
        Its HTML.
    called : str
        The script that others in the page call: it takes the place of its address.

    """
    head, end, body = page.partition("</head>")

    def deferred(found: re.Match[str]) -> str:
        if urlsplit(found[2]).path.endswith(f"/{CALLED}"):
            return f"<script>{called}</script>"
        return f'<script defer{found[1]} src="{found[2]}"></script>'

    return SCRIPT.sub(deferred, PRELOAD.sub("", head)) + end + body


def hasten(site: Path) -> None:
    """Let the pages of a built site be painted early."""
    one_sheet(site)
    script = site / "_static" / CALLED
    called = script.read_text(encoding="utf-8")
    for path in pages(site):
        text = later(path.read_text(encoding="utf-8"), called)
        path.write_text(text, encoding="utf-8", newline="\n")
    script.unlink()
