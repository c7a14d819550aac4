"""Other words for the same: names that are nearly right, and names that other tools have for a thing.

Loaded where an error is made, never on the way of an answer.
"""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import TYPE_CHECKING

from memcalc.data import open_text

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["nearest", "right_words"]

OFFERED = 3  # names that a question offers at most
ONE_ENGINE_S = (
    "--engine-option",
    "--kv",
    "--loss",
    "--offload",
    "--recompute-modules",
)  # each engine's are others
ALIKE = {"memcalc which": "memcalc serve"}  # commands with options of another
SHORTEST_PART = 3  # letters: fewer stand in too many names


def plain(text: str) -> str:
    """Return letters and digits alone, in lower case.

    >>> plain("--Micro_Batch")
    'microbatch'
    """
    return "".join(filter(str.isalnum, text.lower()))


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Return the known names most like one that is not known, the most like first.

    Parameters
    ----------
    name : str
        What was given.
    known : iterable of str
        What would have been understood.

    Examples
    --------
    >>> nearest("--microbatch", ["--micro-batch", "--batch"]), nearest("h100", ["h200", "h100-80g"])
    (['--micro-batch'], ['h100-80g', 'h200'])
    >>> nearest("sevre", ["serve", "train"]), nearest("x", ["serve"])
    (['serve'], [])

    """
    wanted, spelled = plain(name), {plain(one): one for one in known}
    if wanted in spelled:
        return [spelled[wanted]]
    parts = [one for one in spelled if len(wanted) >= SHORTEST_PART and wanted in one]
    begun = [one for one in parts if one.startswith(wanted)]
    alike = get_close_matches(wanted, spelled, n=OFFERED, cutoff=0.7)
    return [spelled[one] for one in dict.fromkeys([*begun, *parts, *alike])][:OFFERED]


def right_words(kind: str, name: str, known: Iterable[str] = ()) -> list[str]:
    """Return memcalc's words for another tool's name of a thing, one or more to choose from.

    Parameters
    ----------
    kind : str
        What is named: ``"memcalc train"`` for its options, ``"--kv"`` for values of this option.
    name : str
        What was given.
    known : iterable of str, optional
        What would be understood here: some values of an option are one engine's alone.

    Examples
    --------
    >>> right_words("memcalc train", "--gradient_checkpointing"), right_words("--weights", "load_in_4bit")
    (['--recompute full'], ['nf4'])

    """
    with open_text("synonyms.json") as file:
        table: dict[str, list[str]] = json.load(file).get(ALIKE.get(kind, kind), {})
    wanted, names = plain(name), set(known)
    for right, others in table.items():
        if wanted in map(plain, others) and is_offered(kind, right, names):
            return right.split(" or ")
    return []


def is_offered(kind: str, right: str, known: set[str]) -> bool:
    """Say whether words are understood here: of some options the values are one engine's alone."""
    if right.startswith(("leave", "SOURCE")) or not known:
        return True
    if kind.startswith("memcalc "):
        option = plain(right.split(maxsplit=1)[0]).removesuffix("s")  # engine_options in Python
        return any(plain(one).removesuffix("s") == option for one in known)
    return right in known or kind not in ONE_ENGINE_S
