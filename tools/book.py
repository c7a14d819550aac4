"""Build the book into _build/html, from scratch, when anything that it is made of has changed.

From scratch, because a page that left the table of contents must leave the site, and because a warning must
be seen on every build. The link check is the build: `-n -W` turns each broken reference into an error.

One build at a time: a second one waits, and then finds the book up to date. The site is put in its place when
it is whole, so that who reads it, or ends a build half-way, never has half of one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import generate
import lighten
import paint
import pyodide
import security
import weigh
import worker
from made_of import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "_build"
HOME = BUILD / "html" / "index.html"
STAMP = BUILD / "book.stamp"
GENERATED = BUILD / "generated"
PAGES = ROOT / "fits"  # beside book/ and notebooks/, as its pages are on the site
UNFINISHED = BUILD / "unfinished"
MADE_OF = (
    *("_config.yml", "_toc.yml", "requirements.txt", "CHANGELOG.md", "README.md", "CONTRIBUTING.md"),
    *("CITATION.cff", "LICENSE", "THIRD_PARTY.md"),
)
MADE_OF_FOLDERS = ("_ext", "book", "memcalc", "notebooks", "tools")


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Wait until no other build runs; the system gives the lock back, however this one ends."""
    try:
        import fcntl
    except ImportError:  # no POSIX, no lock
        yield
        return
    BUILD.mkdir(exist_ok=True)
    with (BUILD / "book.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build() -> int:
    """Build; the exit status of Jupyter Book."""
    try:
        pyodide.fetched()
    except pyodide.NotFetchedError as error:  # before anything is removed
        print(f"missing: {error}", file=sys.stderr)
        return 1
    for leftover in (UNFINISHED, GENERATED, PAGES):
        shutil.rmtree(leftover, ignore_errors=True)
    served = GENERATED / "served"
    # What no page looks at takes as long as the pages do: it is written meanwhile, by other processes.
    with ProcessPoolExecutor(max(1, (os.cpu_count() or 2) - 1)) as others:
        written = [others.submit(generate.write_served, name, served) for name in generate.SERVED]
        generate.write(generate.BUILT, GENERATED)
        generate.write(generate.PAGES, PAGES)
        status = pages(served)
        for one in written:
            one.result()
    return status or finish(served)


def pages(served: Path) -> int:
    """Let Jupyter Book write the pages, and pack what they run; the exit status."""
    program = str(Path(sys.executable).with_name("jupyter-book"))
    command = [program, "build", ".", "--path-output", str(UNFINISHED), "-n", "-W", "--keep-going", "--quiet"]
    # The version of this package, whichever environment or folder the command was started from.
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True) as writing:
        worker.write(served / "ask")  # meanwhile
        said = "".join(writing.communicate())
    if writing.returncode:
        print(said, file=sys.stderr)
    return writing.returncode


def finish(served: Path) -> int:
    """Put pages and what is served with them together, and in their place."""
    whole = UNFINISHED / "_build" / "html"
    shutil.copytree(served, whole / "_static", dirs_exist_ok=True)
    lighten.lighten(whole)
    paint.hasten(whole)
    security.protect(whole)
    STAMP.unlink(missing_ok=True)
    shutil.rmtree(HOME.parent, ignore_errors=True)
    whole.rename(HOME.parent)
    shutil.rmtree(UNFINISHED)
    print(weigh.report(HOME.parent))
    return 0


def main() -> int:
    """Build if needed, and say where to open it."""
    with alone():
        now = fingerprint(MADE_OF, MADE_OF_FOLDERS)
        if not (HOME.is_file() and STAMP.is_file() and STAMP.read_text(encoding="utf-8") == now):
            print("   building the book (some seconds)", flush=True)
            status = build()
            if status:
                return status
            STAMP.write_text(now, encoding="utf-8")
    print(f"   open {HOME.as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
