"""Whether an answer is right: units are read, and an answer that may mean two things is asked back."""

from __future__ import annotations

import re
from fractions import Fraction
from string import ascii_uppercase
from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import shortened
from memcalc.interview.language import phrase
from memcalc.interview.values import BYTES, plain

if TYPE_CHECKING:
    from memcalc.interview.question import Question

__all__ = ["Grade", "grade"]

ABOUT = r"(?:about|ca\.?|~|≈|约)?\s*"
DIGITS = r"([+-]?(?:\d{1,3}(?:[,_]\d{3})+|\d+)?(?:\.\d+)?(?:e[+-]?\d+)?)"
NUMBER = re.compile(ABOUT + DIGITS + r"\s*(.*)", re.IGNORECASE)
SHORT = {"k": "K", "m": "M", "g": "G", "t": "T"}  # which say neither 1,000 nor 1,024
CONFUSED = {f"{a}{b}": f"{a}{c}" for a in "KMGT" for b, c in (("B", "iB"), ("iB", "B"))}
TINY, HUGE, LONG = 1e-30, 1e30, 80  # nothing asked for is smaller or larger; what is repeated is no longer
BYTE_WORDS = ("b", "byte", "bytes", "字节")
# what stands before an answer, and is no part of it
PREFIX = re.compile(
    r"\A(?:(?:the\s+)?(?:answer|option)\b(?:\s+is\b)?|答案是?|选项?|答)\s*[:：=]?\s*", re.IGNORECASE
)
# what is counted, by each of its names; an answer needs none of them
COUNTED = [
    set(names.split("|"))
    for names in (
        "tokens|token|tok|词元|个词元|个",
        "tokens/s|token/s|tok/s|tokens per second|tokens a second|tokens|词元/秒|个词元/秒|词元",
        "cards|card|gpus|gpu|张卡|卡|张",
        "servers|server|nodes|node|台服务器|台",
        "chats|chat|个对话|对话|个",
        "blocks|block|块|个块|个",
        "micro-batches|micro-batch|microbatches|microbatch|micro batches|个微批次|微批次|个",
        "numbers|number|parameters|parameter|params|个数|个|个参数|参数",
        "million numbers|million|million parameters|百万个数|百万个|百万|百万个参数",
        "billion parameters|billion|b|十亿个参数|十亿|十亿参数",
        "times|x|×|倍",
        "%|per cent|percent",
    )
]


class Grade(NamedTuple):
    """A grade: whether it is right (None: asked back, or for the reader to compare), and why."""

    right: bool | None
    says: str


def grade(question: Question, given: str) -> Grade:
    """Grade an answer.

    Parameters
    ----------
    question : Question
        What was asked.
    given : str
        The answer as it was typed: a number with its unit (``5 GiB``), letters, or a line of text.

    Examples
    --------
    >>> from memcalc.interview.bank import find
    >>> from memcalc.interview.question import question
    >>> asked = question(find("kv-bytes-a-token"), 1)
    >>> grade(asked, f"{asked.answer / 1024} KiB").right, grade(asked, "0 B").right
    (True, False)
    >>> grade(asked, "256 K").says
    '256 K: is that KB (10^3 bytes) or KiB (2^10 bytes)?'

    """
    given = PREFIX.sub("", given.strip())
    if question.template.kind == "explain":
        return Grade(None, said(question, "compare", question.answer))
    if question.choices:
        return grade_letters(question, given)
    return grade_number(question, given)


def grade_letters(question: Question, given: str) -> Grade:
    """Grade a choice, a set of choices, or their order."""
    known = ascii_uppercase[: len(question.choices)]
    words = [word for word in re.split(r"[^A-Za-z]+", given) if word and word.lower() not in ("and", "none")]
    letters = [letter.upper() for word in words for letter in word]
    asked = question.template.kind
    if (
        set(letters) - set(known)
        or len(set(letters)) < len(letters)
        or not given
        or len(letters) != {"choice": 1, "order": len(known)}.get(asked, len(letters))
    ):
        expected = {"choice": "one letter", "order": "all letters"}.get(asked, "letters")
        return Grade(None, said(question, expected, repeated(question, given), ", ".join(known)))
    wanted = "".join(question.letters)
    right = "".join(letters) == wanted if asked == "order" else set(letters) == set(wanted)
    why = next((one.why for one in question.wrong if [one.answer] == letters), "")
    if right:
        return Grade(right=True, says=said(question, "right"))
    return Grade(right=False, says=said(question, "wrong, because", why) if why else said(question, "wrong"))


def grade_number(question: Question, given: str) -> Grade:
    """Grade a number with its unit."""
    found = NUMBER.fullmatch(given)
    number = None if found is None else read_number(found[1])
    if found is None or number is None:
        return Grade(None, said(question, "a number", repeated(question, given), unit_wanted(question)))
    unit = found[2].strip().rstrip(".")
    size, asked_back = read_unit(question, repeated(question, given), unit)
    if asked_back:
        return Grade(None, asked_back)
    answer = Fraction(str(question.answer)) * BYTES.get(question.unit, 1)
    value = number * size
    if is_near(value, answer, question):
        return Grade(right=True, says=said(question, "right"))
    return Grade(right=False, says=why_wrong(value, answer, question, unit))


def read_number(digits: str) -> Fraction | None:
    """Return a number that was typed; none of a sign alone, or of a size that nothing has."""
    try:
        size = float(digits.replace(",", "").replace("_", ""))
    except ValueError:
        return None
    # a fraction of 1e999999999 would be written out, digit by digit
    return Fraction(str(size)) if size == 0 or TINY < abs(size) < HUGE else None


def repeated(question: Question, given: str) -> str:
    """Return an answer as a grade repeats it."""
    return shortened(given, LONG) or said(question, "nothing")


def read_unit(question: Question, given: str, unit: str) -> tuple[int, str]:
    """Return how much one of a unit is; or what has to be asked back."""
    if question.unit not in BYTES:
        return 1, not_counted(question, given, unit.lower())
    sizes = {name.lower(): size for name, size in BYTES.items()} | dict.fromkeys(BYTE_WORDS, 1)
    if not unit:
        return 1, said(question, "no unit", given, unit_wanted(question))
    if unit.lower() in SHORT:
        letter = SHORT[unit.lower()]
        power = "KMGT".index(letter) + 1
        return 1, said(question, "which unit", given, letter, 3 * power, 10 * power)
    if unit.lower() not in sizes:
        return 1, said(question, "a unit", given, unit_wanted(question))
    return sizes[unit.lower()], ""


def not_counted(question: Question, given: str, unit: str) -> str:
    """Return what has to be asked back where things are counted, not bytes."""
    if unit in SHORT:
        return said(question, "which power", given, SHORT[unit])
    names = next((names for names in COUNTED if question.unit in names), {question.unit})
    return "" if unit in ("", *names) else said(question, "a number", given, unit_wanted(question))


def unit_wanted(question: Question) -> str:
    """Return an example of what is expected."""
    if question.unit in BYTES:
        return said(question, "of bytes")
    return said(question, "of a unit", question.unit) if question.unit else ""


def is_near(value: Fraction, answer: Fraction, question: Question) -> bool:
    """Whether a number lies within the tolerance: a factor of an estimate, a share of others."""
    share = Fraction(str(question.tolerance))
    if question.template.kind == "estimate":
        return answer <= value * (1 + share) and value <= answer * (1 + share)
    return abs(value - answer) <= share * abs(answer)


def why_wrong(value: Fraction, answer: Fraction, question: Question, unit: str) -> str:
    """Return what a wrong number is taken from, if that is known."""
    size = BYTES.get(question.unit, 1)
    for one in question.wrong:
        if is_near(value, Fraction(str(one.answer)) * size, question):
            return said(question, "wrong, because", one.why)
    of_unit = next((name for name in BYTES if name.lower() == unit.lower()), "")
    other = CONFUSED.get(of_unit, of_unit)
    if is_near(value * BYTES.get(other, 1) / BYTES.get(of_unit, 1), answer, question):
        return said(question, "unit alone", of_unit, other)
    direction = said(question, "too large" if value > answer else "too small")
    if min(value, answer) <= 0:
        return direction
    times = max(value, answer) / min(value, answer)
    return said(question, "by a factor", direction, plain(round(float(times), 2)))


def said(question: Question, name: str, *given: object) -> str:
    """Return words of a grade in the question's language."""
    return phrase(name, question.language, *given)
