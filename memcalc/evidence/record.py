"""Where the record of measurements lies: in the book's folder of a checkout, not in an installed package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

__all__ = ["need", "open_record"]

FOLDER = Path(__file__).resolve().parents[2] / "book" / "record"


def open_record(name: str) -> TextIO:
    """Open a file of the record for reading.

    Raises:
        BadInputError: there is none: the package was installed without the repository around it.

    """
    path = FOLDER / name
    if not path.is_file():
        expected = "a checkout of the repository, which holds the record of measurements"
        remedy = "clone the repository; an installed package answers without it, but has no evidence"
        raise BadInputError(f"book/record/{name}", expected, str(FOLDER), remedy)
    return path.open(encoding="utf-8")


def need(what: str, stated: Mapping[str, bool]) -> None:
    """Refuse an entry of a record that does not say what it must.

    Raises:
        TypeError: something is not stated.

    """
    for name, good in stated.items():
        if not good:
            raise TypeError(f"{what} needs its {name}")
