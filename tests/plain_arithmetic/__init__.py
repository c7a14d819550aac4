"""Answers to the questions of the bank from their texts alone: nothing here imports memcalc or its formulas.

Each topic's module has `ANSWERS`: for each question a function of what was read (`Asked`), which returns the
number in the unit that the question asks for, or the letters. Whoever writes one reads the question, not the
template's sum.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["GB", "GIB", "Asked", "asked", "fitting", "rising"]

GB, GIB, MIB = 10**9, 2**30, 2**20
# 8,192 or 0.9; no digits of a name (Qwen3-32B, RTX 4090 stays a number), of a range or of a power
NUMBER = re.compile(r"(?<![\w.^-])(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(?![\w-]*[A-Za-z]{2})(?!\w)")


class Asked(NamedTuple):
    """A question as it is read: its text, its numbers in their order, and its choices as they are read."""

    text: str
    numbers: list[float]
    choices: list[Asked]

    def has(self, words: str) -> bool:
        """Whether the text has these words."""
        return words in self.text

    def before(self, words: str) -> float:
        """The number that stands before these words."""
        found = re.search(r"(\d[\d,]*(?:\.\d+)?)\s*" + re.escape(words), self.text)
        assert found is not None, f"no number before {words!r} in {self.text!r}"
        return number(found[1])

    def after(self, words: str) -> float:
        """The number that stands behind these words."""
        found = re.search(re.escape(words) + r"\s*(\d[\d,]*(?:\.\d+)?)", self.text)
        assert found is not None, f"no number after {words!r} in {self.text!r}"
        return number(found[1])


def number(text: str) -> float:
    """A number with commas: a whole one where it is one."""
    plain = text.replace(",", "")
    return float(plain) if "." in plain else int(plain)


def asked(text: str, choices: list[str]) -> Asked:
    """Read a question."""
    found = [number(one[0] + one[1]) for one in NUMBER.findall(text)]
    return Asked(text, found, [asked(one, []) for one in choices])


def letters(count: int) -> str:
    """A, B, C, ..."""
    return "ABCDEFGHIJ"[:count]


def rising(sizes: list[float]) -> list[str]:
    """The letters of choices from the smallest to the largest."""
    return [name for _, name in sorted(zip(sizes, letters(len(sizes)), strict=True))]


def fitting(sizes: list[float], room: float) -> list[str]:
    """The letters of choices that are not larger than the room."""
    return [name for name, size in zip(letters(len(sizes)), sizes, strict=True) if size <= room]
