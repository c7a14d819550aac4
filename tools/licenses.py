"""Licenses of what the built pages carry, as installed packages state them; THIRD_PARTY.md lists both."""

from __future__ import annotations

import re
from functools import partial
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    *("sphinx", "sphinx-book-theme", "pydata-sphinx-theme", "sphinx-copybutton", "sphinx-design"),
    *("sphinx-togglebutton", "sphinx-exercise", "myst-nb", "pygments"),
)
# These come without the text of their licenses; packages under the same ones have it.
BORROWED = {
    "mathjax-apache-2.0": ("requests", "Apache License", None),
    "fonts-ofl-1.1": ("fonttools", "SIL OPEN FONT LICENSE Version", "====="),
    "pyodide-mpl-2.0": ("hypothesis", "Mozilla Public License Version 2.0", None),
    "cpython-psf": ("typing-extensions", "A. HISTORY OF THE SOFTWARE", None),
    "emscripten-mit": ("attrs", "Permission is hereby granted", None),
}


def license_of(package: str) -> str:
    """Return the license files of a package, one after the other."""
    files = distribution(package).files or ()
    named = [file for file in files if re.search(r"licen[sc]e", file.name, re.IGNORECASE)]
    texts = [file.read_text(encoding="utf-8").strip("\n") for file in named]
    return "\n\n".join(texts) + "\n"


def borrowed(package: str, title: str, end: str | None) -> str:
    """Return a license's text as another package has it, from its title to its end."""
    text = license_of(package)
    text = text[text.index(title) :]
    return text.partition(end)[0].rstrip("-\n ") + "\n" if end else text


def own(name: str) -> str:
    """Return a file of this repository."""
    return (ROOT / name).read_text(encoding="utf-8")


BUILT: Mapping[str, Callable[[], str]] = {
    "LICENSE.txt": partial(own, "LICENSE"),
    "THIRD_PARTY.md": partial(own, "THIRD_PARTY.md"),
    **{f"{package}.txt": partial(license_of, package) for package in PACKAGES},
    **{f"{name}.txt": partial(borrowed, *where) for name, where in BORROWED.items()},
}
"""Files below `licenses/`, which the site serves."""
