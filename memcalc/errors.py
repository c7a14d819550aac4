"""The package's own errors: each names the field, what was expected, what was given, and what to do.

An error is one line. What comes from a file or a path may hold line breaks and commands for the terminal:
they are written as escapes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "LARGEST",
    "BadInputError",
    "MemcalcError",
    "ProofError",
    "RefusalError",
    "UnknownNameError",
    "at_least_one",
    "check_whole_number",
    "escaped",
    "nearest",
    "shown",
]

LARGEST = 2**53  # no model and no machine comes near; beyond it floats and JavaScript lose whole numbers
LONGEST_TEXT = 200  # characters of a text that was given: a path shows its file
LONGEST_NAME, LONGEST_PROSE, LONGEST_CHOICES = 200, 1000, 4000  # characters; choices are the help: all stand


class MemcalcError(Exception):
    """Anything that memcalc refuses to answer."""


class RefusalError(MemcalcError):
    """A refusal with its four facts, as one line.

    Parameters
    ----------
    field : str
        What cannot be answered: an option, a field of a file, a file.
    expected : str
        What would have been understood.
    given : object
        What was given: shown, and shortened where it is long.
    remedy : str
        What to do.

    """

    def __init__(self, field: str, expected: str, given: object, remedy: str) -> None:
        self.field, self.expected, self.given, self.remedy = field, expected, given, remedy
        super().__init__(field, expected, given, remedy)

    def __str__(self) -> str:
        field, remedy = shortened(self.field, LONGEST_NAME), shortened(self.remedy, LONGEST_PROSE)
        expected = shortened(self.expected, LONGEST_CHOICES)
        return f"{field}: expected {expected}, given {shown(self.given)}; {remedy}"


class BadInputError(RefusalError, ValueError):
    """A value that cannot be right, or that memcalc does not understand.

    >>> str(BadInputError("--context", "a whole number >= 1", 0, "say how many tokens one sequence holds"))
    '--context: expected a whole number >= 1, given 0; say how many tokens one sequence holds'
    """


class UnknownNameError(RefusalError, LookupError):
    """A name that is in no record: a machine, a format, an engine, a model."""


class ProofError(MemcalcError, ValueError):
    """Two expressions that were said to be equal are not."""


def at_least_one(name: str, value: object) -> None:
    """Refuse an option that is no whole number >= 1."""
    check_whole_number(f"--{name}", value, "give at least one")


def check_whole_number(field: str, value: object, remedy: str, *, least: int = 1) -> int:
    """Return a value that is a whole number from `least` to 2^53, or refuse it.

    Parameters
    ----------
    field : str
        Where the value was given, as the error names it.
    value : object
        What was given.
    remedy : str
        What to do if it is refused.
    least : int, optional
        The smallest that is understood, default 1.

    Raises
    ------
    BadInputError
        It is no whole number, or out of range.

    Examples
    --------
    >>> check_whole_number("--batch", 8, "give at least one")
    8
    >>> check_whole_number("--batch", 10**400, "give at least one")
    Traceback (most recent call last):
    memcalc.errors.BadInputError: --batch: expected at most 9007199254740992 (2^53), given a whole number of \
1329 bits; give at least one

    """
    if type(value) is not int or value < least:
        raise BadInputError(field, f"a whole number >= {least}", value, remedy)
    if value > LARGEST:
        raise BadInputError(field, f"at most {LARGEST} (2^53)", value, remedy)
    return value


def escaped(text: str) -> str:
    r"""Write what a terminal would obey or not show as escapes: controls, line breaks, marks of direction.

    >>> print(escaped("a\n\x1b[31mb \u202e \u4e2d"))
    a\n\x1b[31mb \u202e 中
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def shortened(text: str, limit: int) -> str:
    """Return a text on one line, cut where it is longer than any that memcalc writes."""
    return escaped(text if len(text) <= limit else f"{text[:limit]}...")


def shown(given: object, limit: int = 80) -> str:
    """Write what was given on one short line, null as JSON writes it.

    >>> len(shown("a" * 999)), shown(None), shown([1, {"a": "b"}])
    (205, 'null', "[1, {'a': 'b'}]")
    """
    if given is None:
        return "null"
    if isinstance(given, str):
        return repr(given if len(given) <= LONGEST_TEXT else f"{given[:LONGEST_TEXT]}...")
    text = ""
    for piece in pieces(given):  # of millions of values only those that are shown are written
        text += piece
        if len(text) > limit:
            return escaped(" ".join(f"{text[:limit]}...".split()))
    return escaped(" ".join(text.split()))


def pieces(value: object) -> Iterator[str]:
    """Yield a value's repr piece by piece."""
    if type(value) is dict:
        yield "{"
        for number, (name, item) in enumerate(value.items()):
            yield f"{', ' if number else ''}{shown(name)}: "
            yield from pieces(item)
        yield "}"
    elif type(value) is list:
        yield "["
        for number, item in enumerate(value):
            yield ", " if number else ""
            yield from pieces(item)
        yield "]"
    elif type(value) is str:
        yield shown(value)
    elif type(value) is int and value.bit_length() > 1000:  # Python writes no more than 4,300 digits
        yield f"a whole number of {value.bit_length()} bits"
    else:
        yield repr(value)


def nearest(name: object, known: Iterable[str]) -> str:
    """Return a question that offers the known names most like one that is not known; empty if none is.

    >>> nearest("vLLM", ["transformers", "vllm"]), nearest("x", ["transformers"])
    ('did you mean vllm?', '')
    """
    from difflib import get_close_matches

    spelled = {one.lower(): one for one in known}
    found = get_close_matches(str(name).lower(), spelled, n=3, cutoff=0.7)
    return f"did you mean {' or '.join(spelled[one] for one in found)}?" if found else ""
