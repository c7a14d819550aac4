"""The record of what others measured: where it lies, how its entries are read, what each of them must state.

It lies in the book's folder of a checkout, not in an installed package.
"""

from __future__ import annotations

import json
import re
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from memcalc.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import TextIO

    Checks = Mapping[str, Callable[[Any], bool]]

__all__ = [
    "GRADES",
    "OPEN",
    "PURPOSE",
    "ROLES",
    "SOURCED",
    "LeftOut",
    "entry",
    "half_a_digit",
    "load_left_out",
    "load_records",
    "matching",
    "open_record",
    "read_record",
    "source_of",
]

Entry = TypeVar("Entry", bound=tuple[Any, ...])

FOLDER = Path(__file__).resolve().parents[2] / "book" / "record"
ROLES = ("calibration", "test")
GRADES = ("A", "B")
OPEN = "?"  # what `memcalc check --record` leaves to be filled in
# vLLM's (to 0.8) and SGLang's GB are GiB, and Qwen's columns say GB and mean GiB: such rows print GiB here
UNITS = (("GiB", 2**30), ("MiB", 2**20), ("GB", 10**9), ("MB", 10**6))

SOURCED: Checks = {  # where an entry was read, and of when that is
    "source": lambda one: one.source.startswith("https://"),
    "date": lambda one: one.date != "",
}
PURPOSE: Checks = {  # whether a row sets a constant of memcalc, and how certain it is
    "role": lambda row: row.role in ROLES,
    "grade": lambda row: row.grade in GRADES,
    'fields filled in where they say "?"': lambda row: OPEN not in row,
}


class LeftOut(NamedTuple):
    """Published figures that are no rows of the record: where they stand, what, how many, and why."""

    source: str
    what: str
    rows: int
    reason: str


def open_record(name: str) -> TextIO:
    """Open a file of the record for reading.

    Raises
    ------
    BadInputError
        The package was installed without the repository around it.

    """
    path = FOLDER / name
    if not path.is_file():
        expected = "a checkout of the repository, which holds the record of measurements"
        remedy = "clone the repository; an installed package answers without it, but has no evidence"
        raise BadInputError(f"book/record/{name}", expected, str(FOLDER), remedy)
    return path.open(encoding="utf-8")


def read_record(file: str, part: str | None = None) -> list[dict[str, Any]]:
    """Return the entries of a file as they are stored, or those of one part of it."""
    with open_record(file) as opened:
        stored = json.load(opened)
    entries: list[dict[str, Any]] = stored if part is None else stored[part]
    return entries


def load_records(
    kind: Callable[..., Entry], file: str, checks: Checks, *, part: str | None = None
) -> tuple[Entry, ...]:
    """Return the entries of a file, or of one part of it, in the file's order.

    Parameters
    ----------
    kind : callable
        The class of an entry, or a function of its stored fields.
    file : str
        The file's name in book/record.
    checks : mapping of str to callable
        What every entry must state: a name for it, and whether an entry does.
    part : str, optional
        The key under which the entries stand, where a file has several lists.

    Raises
    ------
    TypeError
        An entry lacks a field that every entry has, or does not state what it must.

    """
    return tuple(entry(kind, fields, checks) for fields in read_record(file, part))


def entry(kind: Callable[..., Entry], fields: Mapping[str, Any], checks: Checks) -> Entry:
    """Return one entry of the record, if it states what it must; errors begin with its first field.

    >>> entry(LeftOut, {"source": "a thread", "what": "x", "rows": 1, "reason": ""}, SOURCED)
    Traceback (most recent call last):
    TypeError: a thread: an entry of the record needs its source

    """
    found = kind(**fields)
    for name, stated in checks.items():
        if not stated(found):
            raise TypeError(f"{found[0]}: an entry of the record needs its {name}")
    return found


def matching(rows: Iterable[Entry], wanted: Mapping[str, object]) -> tuple[Entry, ...]:
    """Return the rows whose fields have the wanted values."""
    return tuple(row for row in rows if all(getattr(row, name) == value for name, value in wanted.items()))


def load_left_out(file: str, reasons: Mapping[str, str]) -> tuple[LeftOut, ...]:
    """Return the figures that are no rows, each for one of the `reasons`."""
    return load_records(LeftOut, file, left_out_checks(reasons))


def left_out_checks(reasons: Mapping[str, str]) -> Checks:
    """Return what must be said of figures that are no rows."""
    return {
        "source": SOURCED["source"],
        "what": lambda one: one.what != "",
        "rows": lambda one: type(one.rows) is int and one.rows > 0,
        "reason": lambda one: one.reason in reasons,
    }


def half_a_digit(printed: str) -> int:
    """Return half a unit of the last printed digit, in bytes: how far rounding can have moved a figure.

    Of a sum or a difference of figures each can have been rounded.

    >>> half_a_digit("61.02 GiB"), half_a_digit("31.4 GB"), half_a_digit("511,214,080")
    (5368710, 50000000, 1)
    >>> half_a_digit("8.23 + 8.23 GiB")
    10737419
    """
    figures = re.match(r"[-+0-9.]+(?: [-+] [0-9.]+)*", printed.replace(",", ""))
    unit = next((size for name, size in UNITS if name in printed), 1)
    decimals = [len(one.partition(".")[2]) for one in re.split(r" [-+] ", figures[0])] if figures else [0]
    return ceil(sum(unit / 10**count / 2 for count in decimals))


def source_of(address: str) -> str:
    """Return what counts as one source: a thread, the files of one repository, or a page.

    >>> source_of("https://github.com/vllm-project/vllm/issues/27508#issuecomment-1")
    'https://github.com/vllm-project/vllm/issues/27508'
    >>> source_of("https://github.com/NVIDIA/Megatron-LM/blob/d98e8a64/tests/golden_values.json")
    'https://github.com/NVIDIA/Megatron-LM'
    """
    page = address.partition("#")[0].rstrip("/")
    file = re.match(r"(https://(?:github\.com|huggingface\.co)/[^/]+/[^/]+)/(?:blob|tree|raw|resolve)/", page)
    return file[1] if file else page
