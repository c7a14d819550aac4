"""A sheet of questions: as many as asked for, no question twice, the easy ones first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import BadInputError, check_whole_number, choices
from memcalc.interview.draw import sample
from memcalc.interview.language import LANGUAGES
from memcalc.interview.question import question
from memcalc.interview.session import chosen
from memcalc.interview.template import DIFFICULTIES, TOPICS

if TYPE_CHECKING:
    from memcalc.interview.question import Question

__all__ = ["POINTS", "sheet"]

POINTS = {"easy": 1, "medium": 2, "hard": 3}


def sheet(seed: int, count: int, topic: str | None = None, language: str = "en") -> list[Question]:
    """Return the questions of a sheet: the same seed gives the same sheet.

    Parameters
    ----------
    seed : int
        Which questions, and which numbers; not negative.
    count : int
        How many.
    topic : str, optional
        Of which topic, default all.
    language : str, default "en"
        ``en``, or ``zh`` for Chinese.

    Raises
    ------
    BadInputError
        There are not so many, or a word is not understood.

    Examples
    --------
    >>> [one.template.topic for one in sheet(1, 2, "serving")]
    ['serving', 'serving']

    """
    check_whole_number("SEED", seed, "give one, for example SEED=1", least=0)
    check_whole_number("N", count, "give at least one, for example N=10")
    if language not in LANGUAGES:
        raise BadInputError("EDITION", choices(LANGUAGES), language, "choose one of these")
    if topic is not None and topic not in TOPICS:
        raise BadInputError("TOPIC", choices(TOPICS), topic, "choose one of these")
    known = chosen(topic)
    if count > len(known):
        raise BadInputError(
            "N", f"at most {len(known)} questions", str(count), "ask for fewer, or for all topics"
        )
    drawn = sample(known, count, "sheet", seed)
    rising = sorted(drawn, key=lambda one: DIFFICULTIES.index(one.difficulty))
    return [question(one, seed, language) for one in rising]
