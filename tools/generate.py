"""Files that are written by the program, not by hand.

`python tools/generate.py` writes the committed ones; `--check` compares them with the disk, and changes none.
What only the built book needs is not committed: `tools/book.py` calls `write(BUILT)` before each build.

To add one: a function that returns the file's text, and a line in COMMITTED or BUILT.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import calculator
import house
import pages

ROOT = Path(__file__).resolve().parents[1]
Generators = Mapping[str, Callable[[], str]]

COMMITTED: Generators = {}
BUILT: Generators = {
    "static/calculator-data.js": calculator.javascript,
    "static/colours.css": pages.colours,
    "static/what_fills_a_device.svg": pages.picture,
    "how_it_is_built.svg": house.svg,
    "deployments.md": pages.deployments,
    "machines.md": pages.machines,
    "models.md": pages.models,
    "symbols.md": pages.symbols,
}
"""Below _build/generated: `static/` is served with the pages, the rest may be included by them."""


def outdated(generators: Generators, folder: Path = ROOT) -> list[str]:
    """The files whose text on disk is not what their generator says."""
    return [
        path
        for path, text in generators.items()
        if not (folder / path).is_file() or (folder / path).read_text(encoding="utf-8") != text()
    ]


def write(generators: Generators, folder: Path = ROOT) -> None:
    """Write each file; one that is up to date is left alone."""
    for path in outdated(generators, folder):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(generators[path](), encoding="utf-8", newline="\n")
        print(f"   wrote {path}")


def main(arguments: list[str]) -> int:
    """Write, or with --check compare."""
    if "--check" not in arguments:
        write(COMMITTED)
        return 0
    stale = outdated(COMMITTED)
    for path in stale:
        print(f"{path} is not what tools/generate.py writes; run: make generate", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
