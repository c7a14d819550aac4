"""The words that the book uses, each with its Chinese, a sentence and the chapter that explains it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Word(NamedTuple):
    """A word; `spelled` are the spellings in which its chapter has it, by default the word's own."""

    word: str
    chinese: str
    meaning: str
    chapter: str
    spelled: tuple[str, ...] = ()

    @property
    def anchor(self) -> str:
        """The name of its place in the glossary, to which pages link: KV cache is kv-cache."""
        return "-".join(re.findall("[a-z0-9]+", self.word.lower()))


def words() -> list[Word]:
    """Return every word, in alphabetical order."""
    records = json.loads((ROOT / "book" / "glossary.json").read_text(encoding="utf-8"))
    return sorted((Word(**record) for record in records), key=lambda one: one.word.casefold())


def source(chapter: str) -> Path:
    """Return the file of a chapter, which is a page or a notebook."""
    path = ROOT / chapter
    return path.with_suffix(".ipynb" if path.parent.name == "notebooks" else ".md")


def listed() -> str:
    """Return all words as a Markdown list: each with a place, its Chinese, its sentence and its chapter."""
    return "".join(
        f"- [**{one.word}**]{{#{one.anchor}}} {one.chinese}: {one.meaning} "
        f"([](../{source(one.chapter).relative_to(ROOT)})).\n"
        for one in words()
    )
