"""Records: every figure with its source and its date."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # `import memcalc` loads this module, and typing takes longer than all the rest
if TYPE_CHECKING:
    from typing import TextIO

__all__ = ["folder", "open_text"]


def folder(*names: str) -> str:
    """Return the path of a record file or folder (os.path: pathlib would double the start-up time)."""
    return os.path.join(os.path.dirname(__file__), *names)  # noqa: PTH118, PTH120


def open_text(*names: str) -> TextIO:
    """Open a record file for reading."""
    return open(folder(*names), encoding="utf-8")  # noqa: PTH123
