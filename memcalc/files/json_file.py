"""Files that hold one JSON object: read within bounds, and refused where a field stands there twice."""

from __future__ import annotations

import gc
import json
import os
import re
import stat
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from memcalc.errors import BadInputError

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["WithoutCollection", "load", "parse"]

IN_JSON = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
DEEPEST = 100  # objects and lists within each other; no published file has ten
LONGEST_FILE = 64 * 2**20  # bytes; the index of DeepSeek-V3, with 91,991 names, has 9 million


class NestingError(ValueError):
    """A JSON text with more objects and lists within each other than any reader needs."""


def load(path: str, what: str = "config.json") -> dict[str, Any]:
    """Return the fields of a config.json, or of another file with a JSON object.

    Parameters
    ----------
    path : str
        The file, or what the shell puts in a file's place: ``/dev/stdin``, ``<(curl ...)``.
    what : str, optional
        What it should be, as errors name it; default config.json.

    Raises
    ------
    BadInputError
        The file is missing, empty, too large, no text, no JSON, nested too deeply, or no object; a field
        stands there twice.

    """
    text = text_of(path, what)
    if not text.strip():
        raise BadInputError("SOURCE", "a JSON object", f"{path} (empty)", f"give the model's {what}")
    try:
        fields = parse(text)
    except BadInputError as twice:
        raise BadInputError(twice.field, twice.expected, twice.given, f"{twice.remedy} in {path}") from None
    except NestingError:
        expected = f"at most {DEEPEST} objects and lists within each other"
        raise BadInputError("SOURCE", expected, f"{path} (more)", f"give the model's {what}") from None
    except ValueError:
        remedy = f"download {what} again; it is cut or damaged"
        raise BadInputError("SOURCE", "valid JSON", path, remedy) from None
    if not isinstance(fields, dict):
        kind = IN_JSON.get(type(fields), "a number")
        raise BadInputError("SOURCE", "a JSON object", f"{path} ({kind})", f"give the model's {what}")
    return fields


def text_of(path: str, what: str) -> str:
    """Return the text of a file, or refuse what is none, or does not end."""
    try:
        if is_named_pipe(path):
            remedy = "write it into a file, or give /dev/stdin"
            raise BadInputError("SOURCE", "a file that ends", f"{path} (a named pipe)", remedy)
        with open(path, "rb") as file:  # a terminal or a pipe says nothing of its length: read, then look
            found = file.read(LONGEST_FILE + 1)
    except OSError as error:
        why = error.strerror or "unreadable"
        raise BadInputError("SOURCE", "a readable file", f"{path} ({why})", "check the path") from None
    if len(found) > LONGEST_FILE:
        expected = f"at most {LONGEST_FILE // 2**20} MiB"
        raise BadInputError("SOURCE", expected, f"{path} (larger)", f"give the model's {what}")
    try:
        return found.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInputError("SOURCE", "a JSON text file", f"{path} (binary)", f"give a {what}") from None


def is_named_pipe(path: str) -> bool:
    """Say whether a path is a pipe in a folder, which may stay open for ever; the shell's own are in /dev."""
    return stat.S_ISFIFO(os.stat(path).st_mode) and not path.startswith(("/dev/", "/proc/"))


def parse(text: str) -> Any:
    """Return what a JSON text says.

    Raises
    ------
    BadInputError
        A field stands twice in one object, and they may contradict each other.
    NestingError, ValueError
        It is nested too deeply, or no JSON.

    """
    if is_nested_deeply(text):
        raise NestingError
    with WithoutCollection():
        return json.loads(text, object_pairs_hook=without_duplicates)


def is_nested_deeply(text: str) -> bool:
    """Say whether a JSON text has more objects and lists within each other than any reader needs.

    It is counted before it is parsed: how deep a parser may go before the program ends differs from one
    Python to the next.

    >>> is_nested_deeply("[" * 200_000), is_nested_deeply("[]" * 200_000), is_nested_deeply('"' + "[" * 999)
    (True, False, False)
    """
    if text.count("[") + text.count("{") <= DEEPEST:
        return False
    outside_texts = re.sub(r"\\.", "", text, flags=re.DOTALL).split('"')[::2]
    brackets = re.sub(r"[^][{}]+", "", "".join(outside_texts))
    return max(accumulate((1 if one in "[{" else -1 for one in brackets), initial=0)) > DEEPEST


def without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the fields of a JSON object, or refuse one that stands there twice."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise BadInputError(name, "each field once", "the field twice", "remove one of the two")
            seen.add(name)
    return fields


class WithoutCollection:
    """Make a million objects without Python's search for cycles, which would take most of the time."""

    def __enter__(self) -> None:
        self.was_enabled = gc.isenabled()
        gc.disable()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.was_enabled:
            gc.enable()
