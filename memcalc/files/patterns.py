"""Regular expressions from a command line or a file: those alone that answer in time.

Python tries every way in which an expression can lie on a text. A repeat of what can lie in several ways has
exponentially many; repeats and choices beside each other have the product of theirs.
"""

from __future__ import annotations

import re

__all__ = ["PATTERN", "quick_pattern"]

LONGEST = 1000  # characters
REPEAT, MOST_WAYS = 8, 2**14  # of 26 letters; more take seconds on the thousand names of a model's tensors
PATTERN = f"a regular expression of at most {LONGEST} characters, few repeats, and none in another"
# an escape, a set of letters, the beginning of a group, its end, a choice, a repeat, anything else
PIECES = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\??|\)|\||[*+?]\??|\{\d*,?\d*\}\??|.", re.DOTALL)


def quick_pattern(text: str) -> re.Pattern[str] | None:
    """Return an expression, compiled; None if it is none, or if it might not answer in time.

    >>> quick_pattern(r"ffn_.*_exps").pattern, quick_pattern("([a-z]+)+$"), quick_pattern("(")
    ('ffn_.*_exps', None, None)
    """
    if len(text) > LONGEST or not is_quick(text):
        return None
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError):
        return None


def is_quick(text: str) -> bool:
    """Say whether an expression has few repeats and choices, and repeats nothing that has some itself.

    >>> is_quick("(1[0-9]|2[0-4]).ffn_.*"), is_quick("(a|ab)*"), is_quick(".*.*.*.*.*"), is_quick("a?" * 30)
    (True, False, False, False)
    """
    groups, closed = [Ways()], 1  # those that are open; in how many ways the piece before can lie
    for piece in PIECES.findall(text):
        inside, before, closed = groups[-1], closed, 1
        if piece.startswith("("):
            groups.append(Ways())
        elif piece == ")" and len(groups) > 1:
            closed = groups.pop().all
            groups[-1].here *= closed
        elif piece == "|":
            inside.choose()
        elif is_repeat(piece):
            if before > 1 and piece[0] != "?":
                return False
            inside.here *= 2 if piece[0] == "?" else REPEAT
        if groups[-1].all > MOST_WAYS:
            return False
    return True


class Ways:
    """In how many ways a group can lie: those of the choices before, and of the one that is read."""

    def __init__(self) -> None:
        self.before, self.here = 0, 1

    @property
    def all(self) -> int:
        """All of them together."""
        return self.before + self.here

    def choose(self) -> None:
        """Begin the next choice."""
        self.before, self.here = self.all, 1


def is_repeat(piece: str) -> bool:
    """Say whether a piece lets the one before it stand several times, or not at all.

    >>> [piece for piece in ("*", "{2,}", "{7}", "a", "{") if is_repeat(piece)]
    ['*', '{2,}', '{7}']
    """
    return piece[0] in "*+?" or (piece[0] == "{" and len(piece) > 1)
