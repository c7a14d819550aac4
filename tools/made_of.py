"""One number for the files that something is made of: what was made of the same is not made again."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parents[1]


def fingerprint(names: Iterable[str], folders: Iterable[str]) -> str:
    """Return one number for files, for all that lies in folders, and for the Python that reads them."""
    files = [ROOT / name for name in names]
    for folder in folders:
        files += [path for path in (ROOT / folder).rglob("*") if not hidden(path.relative_to(ROOT))]
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(path for path in files if path.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(ROOT)} {content}\n".encode())
    return digest.hexdigest()


def hidden(path: Path) -> bool:
    """Whether a path is a cache or a checkpoint."""
    return any(part == "__pycache__" or part.startswith(".") for part in path.parts)
