"""Packs Python and memcalc as scripts, so that any page of the book can answer as the command line does.

A page that is opened from a file may load scripts and nothing else: so all travels as text in scripts, below
`_static/ask/`. One gzip stream holds every file, one after the other, and is cut into pieces of half a
megabyte, so that a page can say how far it is. A piece is named after its content: what a browser has kept of
an older site is never mixed with a newer one. `contents.js` lists the pieces and the files in them, and holds
what the worker runs (`book/worker/`); `book/_static/ask.js` loads all of it when it is first asked.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pyodide

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[1]
RUN = ROOT / "book" / "worker"
PIECE = 512 * 1024  # characters of base64 in a script
WRITTEN = "// Written by tools/worker.py.\n"


def write(folder: Path) -> None:
    """Write all scripts into a folder.

    Raises:
        pyodide.NotFetchedError: Python for the browser could not be had.

    """
    files = packed_files(pyodide.fetched())
    text = base64.b64encode(gzip.compress(b"".join(files.values()), mtime=0)).decode()
    scripts = {}
    for number, start in enumerate(range(0, len(text), PIECE)):
        piece = f"{WRITTEN}MEMCALC_PACKED.piece({number}, {json.dumps(text[start : start + PIECE])});\n"
        scripts[f"{hashlib.sha256(piece.encode()).hexdigest()[:16]}.js"] = piece
    contents = {
        "pieces": {name: len(piece) for name, piece in scripts.items()},
        "files": {name: len(content) for name, content in files.items()},
        "worker": (RUN / "worker.js").read_text(encoding="utf-8"),
    }
    scripts["contents.js"] = f"{WRITTEN}MEMCALC_PACKED.contents({json.dumps(contents)});\n"
    folder.mkdir(parents=True)
    for name, script in scripts.items():
        (folder / name).write_text(script, encoding="utf-8", newline="\n")


def packed_files(package: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return what the worker needs by name: Python first, which changes least."""
    lock = json.loads(package["pyodide-lock.json"])
    lock["packages"] = {}  # memcalc needs none
    return {
        **{name: package[name] for name in ("pyodide.asm.wasm", "pyodide.asm.mjs", "pyodide.mjs")},
        "python_stdlib.zip": pyodide.library(package),
        "pyodide-lock.json": json.dumps(lock).encode(),
        **{f"memcalc/{path.relative_to(ROOT / 'memcalc').as_posix()}": path.read_bytes() for path in own()},
        "command.py": (RUN / "command.py").read_bytes(),
    }


def own() -> Iterator[Path]:
    """Yield the files of memcalc."""
    for path in sorted((ROOT / "memcalc").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
            yield path
