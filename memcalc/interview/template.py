"""A question template: what is drawn, what is asked, and the sum that answers it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import SimpleNamespace

    from memcalc.interview.sums import Number

__all__ = ["DIFFICULTIES", "KINDS", "TOPICS", "Option", "Row", "Template", "Wrong"]

Topic = Literal["serving", "training", "hybrids", "units"]
Difficulty = Literal["easy", "medium", "hard"]
Kind = Literal["number", "estimate", "choice", "fits", "order", "mistakes", "explain"]
TOPICS: tuple[Topic, ...] = ("serving", "training", "hybrids", "units")
DIFFICULTIES: tuple[Difficulty, ...] = ("easy", "medium", "hard")
KINDS: tuple[Kind, ...] = ("number", "estimate", "choice", "fits", "order", "mistakes", "explain")


class Wrong(NamedTuple):
    """A common wrong answer: the sum that leads to it, and why it is wrong."""

    steps: str
    why: str


class Option(NamedTuple):
    """A choice: what it says, and why it tempts though it is wrong (of the right one, nothing)."""

    text: str
    why: str = ""


class Row(NamedTuple):
    """A row of a published table: what it says, and what is wrong with it (nothing, where it is right)."""

    text: str
    mistake: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Template:
    """A question that can be asked with many numbers.

    Texts hold names in braces, and every name in a sum has to stand in the question, so that it can be
    answered with a pen. A name is, in this order, what was drawn, a fact of `facts`, a shape of the drawn
    ``model`` (``depth``, ``kv_heads``, ...: the words of memcalc's vocabulary), a fact of the drawn
    ``device`` (``capacity``), or the value of a step. ``{size:GiB}`` writes bytes in a unit.

    Parameters
    ----------
    id : str
        Lower-case words with hyphens: the question's address.
    topic, difficulty, kind : str
        One of `TOPICS`, `DIFFICULTIES`, `KINDS`.
    subject, title : str
        What it is about, in a word or two; and the question in a line, without numbers.
    question : str
        What is asked.
    source : str
        Where its facts can be read by anyone.
    chapter : str
        The page of the book that explains it.
    draws : mapping of str to tuple
        For each name the values it may have: all combinations are drawn in turn.
    where : callable, optional
        Of what is drawn: whether it makes a good question.
    facts : mapping of str to callable
        For each name how the ledger gives it, of what is drawn.
    steps : str
        The sum that answers (see `sums`); of kinds ``fits`` and ``order`` the last step is an item's bytes.
    unit : str
        Of the answer: a unit of bytes, where the sum gives bytes, or what is counted.
    ledger : callable, optional
        Of what is drawn: the same number from memcalc's ledger, which has to equal the sum.
    tolerance : float
        How far an answer may lie off, as a share of the right one.
    by_hand : bool
        Whether it can be answered with a pen: at most six operations, numbers of at most four digits.
    options : tuple of Option
        Of a choice, the right one first.
    items, take, item : tuple of mappings, int, str
        Of kinds ``fits`` and ``order``: what is drawn from, how many, and the text of one.
    capacity : str
        Of kind ``fits``: a name or sum of the bytes there are.
    rows : tuple of Row
        Of kind ``mistakes``: the table, of which `take` rows are drawn.
    because : str
        What explains the answer, beside or in place of a sum; of kind ``explain`` the model answer.
    points : tuple of str
        Of kind ``explain``: what a good answer names.
    wrong, hints, further
        Common wrong answers, hints from the first to the last, and what is asked next.

    """

    id: str
    topic: Topic
    subject: str
    difficulty: Difficulty
    title: str
    question: str
    source: str
    chapter: str
    kind: Kind = "number"
    draws: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    where: Callable[[SimpleNamespace], bool] | None = None
    facts: Mapping[str, Callable[[SimpleNamespace], int]] = field(default_factory=dict)
    steps: str = ""
    unit: str = ""
    ledger: Callable[[SimpleNamespace], Number] | None = None
    tolerance: float = 0.01
    by_hand: bool = False
    options: tuple[Option, ...] = ()
    items: tuple[Mapping[str, Any], ...] = ()
    take: int = 4
    item: str = ""
    capacity: str = ""
    rows: tuple[Row, ...] = ()
    because: str = ""
    points: tuple[str, ...] = ()
    wrong: tuple[Wrong, ...] = ()
    hints: tuple[str, ...] = ()
    further: str = ""

    def fields(self) -> dict[str, object]:
        """Return what is known of it without numbers, as JSON shows it."""
        return {
            "id": self.id,
            "topic": self.topic,
            "subject": self.subject,
            "difficulty": self.difficulty,
            "title": self.title,
            "kind": self.kind,
            "by_hand": self.by_hand,
        }
