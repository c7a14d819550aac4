"""How values are written in a question, in either language."""

from __future__ import annotations

import string
from fractions import Fraction
from math import floor, log10
from typing import TYPE_CHECKING, Any

from memcalc.interview.facts import short
from memcalc.interview.sums import Number, numeral

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BYTES", "filled", "in_unit", "placeholders", "plain", "rounded", "written"]

BYTES = {
    "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
DIGITS = 4  # significant digits of an answer


def in_unit(number: Number, unit: str) -> Number:
    """Return bytes in a unit of bytes; what is counted stays as it is.

    >>> in_unit(3 * 2**29, "GiB"), in_unit(7, "cards")
    (Fraction(3, 2), 7)
    """
    found = Fraction(number) / BYTES.get(unit, 1)
    return int(found) if found == int(found) else found


def rounded(number: Number) -> int | float:
    """Return a number as an answer gives it: whole as it is, others with four significant digits.

    Halves are rounded up, as everyone does with a pen.

    >>> rounded(65536), rounded(Fraction(65524246528, 2**30)), rounded(Fraction(105, 16))
    (65536, 61.02, 6.563)
    """
    if number == int(number):
        return int(number)
    size = 10 ** max(DIGITS - 1 - floor(log10(abs(float(number)))), 0)
    found = Fraction(floor(Fraction(number) * size + Fraction(1, 2)), size)
    return int(found) if found == int(found) else float(found)


def plain(number: float) -> str:
    """Write an answer in plain decimals.

    >>> plain(65536), plain(61.02), plain(0.00002)
    ('65536', '61.02', '0.00002')
    """
    return str(number) if isinstance(number, int) else f"{number:.12f}".rstrip("0").rstrip(".")


def written(number: float, unit: str) -> str:
    """Write an answer with thousands commas and its unit.

    >>> written(65536, "B"), written(61.02, "GiB"), written(0.00002, "GiB")
    ('65,536 B', '61.02 GiB', '0.00002 GiB')
    """
    whole, point, decimals = plain(number).partition(".")
    return f"{int(whole):,}{point}{decimals} {unit}"


class Texts(string.Formatter):
    """Fills texts: ``{context}`` with commas, ``{size:GiB}`` in a unit, ``{model}`` without its owner."""

    def format_field(self, value: Any, format_spec: str) -> str:
        """Write one value."""
        if isinstance(value, str):
            return short(value)
        if format_spec in BYTES:
            return f"{numeral(Fraction(plain(rounded(in_unit(value, format_spec)))))} {format_spec}"
        return numeral(value if isinstance(value, int) else Fraction(str(value)))


def filled(text: str, known: Mapping[str, Any]) -> str:
    """Fill a text with values.

    >>> filled("{model}: {context} tokens, {size:GiB}", {"model": "a/B", "context": 8192, "size": 2**31})
    'B: 8,192 tokens, 2 GiB'
    """
    return Texts().vformat(text, (), known)


def placeholders(text: str) -> set[str]:
    """Return the names in a text.

    >>> sorted(placeholders("{model}: {context} tokens, {size:GiB}"))
    ['context', 'model', 'size']
    """
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}
