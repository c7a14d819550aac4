"""Words of the search index: Chinese in pairs of characters, names with their number, numbers that are names.

Sphinx takes a run of Chinese for one word, parts Qwen3.6 at its point, and leaves numbers out of a question.
search_words.js parts what a reader asks by the same rules; `split` yields what a question may ask for.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from sphinx.search.en import SearchEnglish

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx

HAN = "\u3400-\u9fff"
WORD = re.compile(rf"[{HAN}]+|\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?|[^\W{HAN}]+(?:\.\d+)*")
# Figures, which nobody looks for by their digits: 65,524,246,528 and 61.02, not 4090 and 3.6.
FIGURE = re.compile(r"\d[\d_]{6,}|\d+(?:,\d{3})+(?:\.\d+)?|\d+\.\d\d+|\d\d+\.\d+")


def words(text: str) -> Iterator[str]:
    """Yield the words of a text as a question has them.

    >>> list(words("24 GB 显存能跑 Qwen3.6-27B: 61.02 GiB"))
    ['24', 'GB', '显存', '存能', '能跑', 'Qwen3.6', '27B', 'GiB']
    """
    for word in WORD.findall(text):
        if re.match(f"[{HAN}]", word):
            yield from (word[place : place + 2] for place in range(max(1, len(word) - 1)))
        elif not FIGURE.fullmatch(word):
            yield word


class Words(SearchEnglish):
    """English as Sphinx has it, in words of another cut."""

    lang = "en"
    js_splitter_code = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")

    def split(self, text: str) -> list[str]:
        """Return the words of a text; what stands before the number of a name is one of them, too."""
        found = list(words(text))
        return found + [word.partition(".")[0] for word in found if "." in word and not word[0].isdigit()]


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.add_search_language(Words)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
