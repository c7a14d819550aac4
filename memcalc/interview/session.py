"""Questions one after the other in a notebook: ask, check, hint, score."""

from __future__ import annotations

from random import SystemRandom
from typing import NamedTuple

from memcalc.errors import BadInputError, check_whole_number, choices
from memcalc.interview.bank import bank, find
from memcalc.interview.grading import Grade, grade
from memcalc.interview.language import LANGUAGES
from memcalc.interview.question import Question, question
from memcalc.interview.template import DIFFICULTIES, TOPICS, Template

__all__ = ["Score", "ask", "check", "chosen", "hint", "score"]

SEEDS = 1_000_000


class Score(NamedTuple):
    """How many were answered right, of how many that were answered."""

    right: int
    answered: int


class Session:
    """What was asked last, how many hints were given, and what was answered."""

    def __init__(self) -> None:
        self.asked: Question | None = None
        self.hints = 0
        self.grades: dict[tuple[str, int], bool] = {}

    @property
    def last(self) -> Question:
        """The question that was asked last."""
        if self.asked is None:
            raise BadInputError("answer", "a question before it", "none yet", "call ask() first")
        return self.asked


SESSION = Session()


def chosen(topic: str | None = None, difficulty: str | None = None) -> list[Template]:
    """Return the templates of a topic and a difficulty.

    Parameters
    ----------
    topic : str, optional
        One of serving, training, hybrids, units.
    difficulty : str, optional
        One of easy, medium, hard.

    Raises
    ------
    BadInputError
        There is no such topic or difficulty.

    """
    for name, given, known in (("topic", topic, TOPICS), ("difficulty", difficulty, DIFFICULTIES)):
        if given is not None and given not in known:
            raise BadInputError(f"--{name}", choices(known), given, "choose one of these")
    return [
        one for one in bank().values() if topic in (None, one.topic) and difficulty in (None, one.difficulty)
    ]


def ask(
    id: str | None = None,  # noqa: A002 (the word of the command line)
    *,
    topic: str | None = None,
    difficulty: str | None = None,
    seed: int | None = None,
    lang: str = "en",
) -> Question:
    """Ask an interview question about memory, with new numbers for each seed.

    Parameters
    ----------
    id : str, optional
        Which question; default one that the seed chooses.
    topic : str, optional
        Of which it chooses: serving, training, hybrids or units.
    difficulty : str, optional
        Of which it chooses: easy, medium or hard.
    seed : int, optional
        Which numbers; default any.
    lang : str, default "en"
        ``en``, or ``zh`` for Chinese.

    Returns
    -------
    Question
        It shows itself in a notebook; `check` grades an answer to it.

    Raises
    ------
    MemcalcError
        There is no such question, topic or language; or a question is named, and a topic or a
        difficulty besides.

    Examples
    --------
    >>> import memcalc
    >>> asked = memcalc.ask("kv-bytes-a-token", seed=1)
    >>> asked.derivation[-1] == f"answer: {asked.answer:,} B"
    True

    """
    if lang not in LANGUAGES:
        raise BadInputError("--lang", choices(LANGUAGES), lang, "choose one of these")
    for name, given in (("--topic", topic), ("--difficulty", difficulty)):
        if id is not None and given is not None:
            raise BadInputError(name, f"nothing beside the question {id}", given, "leave out one of the two")
    if seed is None:
        seed = SystemRandom().randrange(SEEDS)
    check_whole_number("--seed", seed, "give one, for example 1", least=0)
    if id is None:
        known = chosen(topic, difficulty)
        template = known[seed % len(known)]
    else:
        template = find(id)
    SESSION.asked, SESSION.hints = question(template, seed, lang), 0
    return SESSION.asked


def check(answer: str) -> Grade:
    """Grade an answer to the question that was asked last.

    Parameters
    ----------
    answer : str
        For example ``5 GiB``, ``5.37 GB``, ``B``, ``A, C`` or a line of text.

    Raises
    ------
    BadInputError
        Nothing was asked.

    """
    found = grade(SESSION.last, str(answer))
    if found.right is not None:
        SESSION.grades[SESSION.last.template.id, SESSION.last.seed] = found.right
    return found


def hint() -> str:
    """Return the next hint for the question that was asked last, and in the end its derivation."""
    given = SESSION.last.hints
    SESSION.hints += 1
    if SESSION.hints <= len(given):
        return given[SESSION.hints - 1]
    return "\n".join(SESSION.last.derivation)


def score() -> Score:
    """Return how many answers were right.

    >>> score() <= (10**6, 10**6)
    True
    """
    return Score(sum(SESSION.grades.values()), len(SESSION.grades))
