"""A content security policy in every page: what it may load, and that it connects to nothing.

A page loads the scripts, styles, fonts and pictures of the site, and runs the scripts that stand in it, each
by the hash of its text: markup that came in by another way runs nothing. `blob:` and `wasm-unsafe-eval` are
the worker that answers questions (book/_static/ask.js). `file:` stands beside `'self'` because a page that
was opened from a file has no origin of its own in some browsers; from a server it allows nothing.
"""

from __future__ import annotations

import base64
import hashlib
from html.parser import HTMLParser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SITE = "'self' file:"
MARK = '<meta charset="utf-8" />'  # the policy stands behind it, before anything that it is about
RUN = {None, "text/javascript", "module"}  # types of scripts that a browser runs; others are data


class Scripts(HTMLParser):
    """Collects the scripts that stand in a page, and those in attributes such as onclick."""

    def __init__(self) -> None:
        super().__init__()
        self.whole, self.attributes = set[str](), set[str]()
        self.text: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a script, and note what runs on events."""
        self.attributes |= {value for name, value in attrs if name.startswith("on") and value}
        given = dict(attrs)
        if tag == "script" and "src" not in given and given.get("type") in RUN:
            self.text = []

    def handle_data(self, data: str) -> None:
        """Take a piece of a script."""
        if self.text is not None:
            self.text.append(data)

    def handle_endtag(self, tag: str) -> None:
        """End a script."""
        if tag == "script" and self.text is not None:
            self.whole.add("".join(self.text))
            self.text = None


def policy(page: str) -> str:
    """Return the policy of a page."""
    found = Scripts()
    found.feed(page)
    found.close()
    handlers = ["'unsafe-hashes'", *map(hash_of, sorted(found.attributes))] if found.attributes else []
    scripts = [*map(hash_of, sorted(found.whole)), *handlers]
    return "; ".join(
        [
            "default-src 'none'",
            " ".join(["script-src", SITE, "blob:", "'wasm-unsafe-eval'", *scripts]),
            "worker-src blob:",
            f"style-src {SITE} 'unsafe-inline'",  # formulas and figures carry style attributes
            f"img-src {SITE} data:",
            f"font-src {SITE} data:",
            f"form-action {SITE}",  # the search
            "base-uri 'none'",
        ]
    )


def hash_of(script: str) -> str:
    """Return a script as a policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def with_policy(page: str) -> str:
    """Return a page with its policy."""
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy(page)}" />\n'
    head, mark, rest = page.partition(MARK)
    return f"{head}{mark}\n{meta}{rest}" if mark else f"{meta}{page}"  # what leads to Home has no head


def protect(site: Path) -> None:
    """Put a policy into every page of a site."""
    for path in site.rglob("*.html"):
        path.write_text(with_policy(path.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
