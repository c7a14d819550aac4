"""Every quantity, named once: in memcalc/data/vocabulary.json.

A quantity's name is at once the dataclass field, the keyword argument, the SymPy symbol, the table column
and the JavaScript variable. Only its LaTeX is extra. The order of the records is the order in which products
are printed: counts, then widths and heads as textbooks write them (``2had``, ``3Ehf_E``), formats, ranks.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from memcalc.data import open_text

__all__ = ["WORDS", "Quantity", "word"]


class Quantity(NamedTuple):
    """LaTeX, unit and meaning of one quantity; the unit of a pure count is ``1``."""

    latex: str
    unit: str
    meaning: str


with open_text("vocabulary.json") as _file:
    WORDS = {name: Quantity(**record) for name, record in json.load(_file).items()}


def word(name: str) -> Quantity:
    """Return the quantity called `name`; LookupError if there is none.

    >>> word("kv_heads").meaning
    'key/value heads'
    """
    if name not in WORDS:
        raise LookupError(f"no quantity is called {name!r}; the names stand in memcalc/data/vocabulary.json")
    return WORDS[name]
