"""A question as it is asked: a template with numbers, its answer and how one gets there."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any, NamedTuple

from memcalc.errors import ProofError
from memcalc.interview.draw import Known, drawn, sample, shuffled
from memcalc.interview.language import label, phrase, worded
from memcalc.interview.sums import Number, Step, evaluate, numeral, printed, steps
from memcalc.interview.values import BYTES, filled, in_unit, rounded, written

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from memcalc.interview.template import Row, Template

__all__ = ["Question", "WrongAnswer", "question"]

APART = Fraction(105, 100)  # what is compared lies at least so far apart
TRIES = 1000  # of drawing items that lie so


class WrongAnswer(NamedTuple):
    """An answer that is often given, and why it is wrong."""

    answer: int | float | str
    why: str


class Question(NamedTuple):
    """A question with its numbers.

    `answer` is a number in `unit`, the letter of a choice, several letters (of kinds ``fits`` and
    ``mistakes``; of ``order`` from the smallest), or of kind ``explain`` a text.
    `tolerance` is a share of it.
    """

    template: Template
    seed: int
    language: str
    text: str
    answer: float | str | tuple[str, ...]
    choices: tuple[str, ...]
    derivation: tuple[str, ...]
    wrong: tuple[WrongAnswer, ...]
    hints: tuple[str, ...]
    further: str

    @property
    def letters(self) -> tuple[str, ...]:
        """The letters of the answer, where it has some."""
        return self.answer if isinstance(self.answer, tuple) else (str(self.answer),)

    @property
    def unit(self) -> str:
        """What a number counts; nothing where the answer is none."""
        return self.template.unit

    @property
    def tolerance(self) -> float:
        """How far an answer may lie off, as a share of the right one."""
        return self.template.tolerance

    def lines(self) -> list[str]:
        """Return the question and its choices, a line each."""
        return [
            self.text,
            *(f"{name}. {text}" for name, text in zip(ascii_uppercase, self.choices, strict=False)),
        ]

    def __repr__(self) -> str:
        """Show the question: its derivation and the rest are asked for."""
        return "\n".join((f"{self.template.id}, seed {self.seed}", *self.lines()))

    def _repr_markdown_(self) -> str:
        """Show the question in a notebook."""
        return f"**{self.template.title}**\n\n" + "\n\n".join(self.lines())

    def fields(self) -> dict[str, object]:
        """Return the question as JSON shows it."""
        return {
            "schema": 1,
            **self.template.fields(),
            "seed": self.seed,
            "language": self.language,
            "question": self.text,
            "answer": list(self.answer) if isinstance(self.answer, tuple) else self.answer,
            "unit": self.unit,
            "tolerance": self.tolerance,
            "choices": list(self.choices),
            "derivation": list(self.derivation),
            "wrong": [one._asdict() for one in self.wrong],
            "hints": list(self.hints),
            "further": self.further,
            "source": self.template.source,
            "chapter": self.template.chapter,
        }


class Draft(NamedTuple):
    """What kinds of questions differ in."""

    answer: float | str | tuple[str, ...]
    derivation: tuple[str, ...]
    choices: tuple[str, ...] = ()
    wrong: tuple[WrongAnswer, ...] = ()
    known: Mapping[str, Any] | None = None


def question(template: Template, seed: int, language: str = "en") -> Question:
    """Ask a template with the numbers of a seed.

    Parameters
    ----------
    template : Template
        What is asked.
    seed : int
        Which numbers; not negative.
    language : str
        ``en`` or ``zh``.

    Raises
    ------
    ProofError
        The sum and the ledger differ: a fault of the template.

    Examples
    --------
    >>> from memcalc.interview.bank import find
    >>> asked = question(find("kv-bytes-a-token"), 0)
    >>> asked.derivation[-1] == f"answer: {asked.answer:,} B"
    True

    """
    template = worded(template, language)
    draft = KINDS_OF[template.kind](template, drawn(template, seed), seed, language)
    known = draft.known or drawn(template, seed)
    return Question(
        template,
        seed,
        language,
        filled(template.question, known),
        draft.answer,
        draft.choices,
        draft.derivation,
        draft.wrong,
        tuple(filled(hint, known) for hint in template.hints),
        filled(template.further, known),
    )


def number(template: Template, known: Known, _: int, language: str) -> Draft:
    """Of kinds number and estimate: the sum, held against the ledger."""
    lines = [*worked(steps(template.steps), known, language)]
    result = value_of(template.steps, known)
    if template.ledger is not None and template.ledger(known.given) != result:
        ledger = template.ledger(known.given)
        raise ProofError(f"question {template.id}: the sum gives {result}, the ledger {ledger}")
    answer = rounded(in_unit(result, template.unit))
    lines += converted(result, template.unit)
    if template.because:
        lines.append(filled(template.because, known))
    lines.append(f"{phrase('answer', language)}{written(answer, template.unit)}")
    wrong = tuple(wrong_numbers(template, known, answer))
    return Draft(answer, tuple(lines), wrong=wrong, known=known)


def wrong_numbers(template: Template, known: Known, answer: float) -> Iterator[WrongAnswer]:
    """Yield what wrong sums lead to; with some numbers a wrong sum happens to be right."""
    for wrong in template.wrong:
        beside = known.beside({})
        result = rounded(in_unit(value_of(wrong.steps, beside), template.unit))
        if abs(result - answer) > template.tolerance * abs(answer):
            yield WrongAnswer(result, filled(wrong.why, beside))


def choice(template: Template, known: Known, seed: int, language: str) -> Draft:
    """Of kind choice: the options in an order of the seed's."""
    lines = [*worked(steps(template.steps), known, language)]
    right, *_ = template.options
    order = shuffled(template.options, template.id, seed)
    texts = [filled(one.text, known) for one in order]
    letter = ascii_uppercase[order.index(right)]
    lines.append(filled(template.because, known))
    lines.append(f"{phrase('answer', language)}{letter}. {texts[order.index(right)]}")
    wrong = tuple(
        WrongAnswer(name, filled(one.why, known))
        for name, one in zip(ascii_uppercase, order, strict=False)
        if one is not right
    )
    return Draft(letter, tuple(filter(None, lines)), tuple(texts), wrong, known)


def compared(template: Template, known: Known, seed: int, language: str) -> Draft:
    """Of kinds fits and order: items drawn so that none is a matter of taste."""
    for attempt in range(TRIES):
        items = sample(template.items, template.take, template.id, seed, attempt)
        places = [known.beside(one) for one in items]
        sizes = [value_of(template.steps, place) for place in places]
        room = value_of(f"room = {template.capacity}", known) if template.capacity else None
        if is_decided(sizes, room):
            break
    else:
        raise ProofError(f"question {template.id}: no items lie apart")
    names = ascii_uppercase[: len(items)]
    lines = []
    for name, place, size in zip(names, places, sizes, strict=True):
        end = ""
        if room is not None:
            end = f" {'≤' if size <= room else '>'} {amount(room, template.unit)}"
        sums = phrase("between steps", language).join(
            worked_in_numbers(steps(template.steps), place, language)
        )
        lines.append(f"{name}. {sums} = {amount(size, template.unit)}{end}")
    if room is None:
        answer = tuple(name for _, name in sorted(zip(sizes, names, strict=True)))
        said = " < ".join(answer)
    else:
        answer = tuple(name for name, size in zip(names, sizes, strict=True) if size <= room)
        said = ", ".join(answer)
    if template.because:
        lines.append(filled(template.because, known))
    lines.append(f"{phrase('answer', language)}{said}")
    texts = tuple(filled(template.item, place) for place in places)
    return Draft(answer, tuple(lines), texts, known=known)


def is_decided(sizes: Sequence[Number], room: Number | None) -> bool:
    """Whether sizes lie apart, from each other or from the room; of those some fit, and some do not."""
    if room is None:
        rising = sorted(sizes)
        return all(low * APART <= high for low, high in pairwise(rising))
    clear = all(size * APART <= room or room * APART <= size for size in sizes)
    return clear and 0 < sum(size <= room for size in sizes) < len(sizes)


def mistakes(template: Template, known: Known, seed: int, language: str) -> Draft:
    """Of kind mistakes: rows of a published table, right and wrong ones."""
    faulty = [row for row in template.rows if row.mistake]
    sound = [row for row in template.rows if not row.mistake]
    few = max(1, min(len(faulty), template.take // 2))
    chosen = sample(faulty, few, template.id, seed) + sample(sound, template.take - few, template.id, seed)
    rows: list[Row] = shuffled(chosen, template.id, seed, "rows")
    names = ascii_uppercase[: len(rows)]
    answer = tuple(name for name, row in zip(names, rows, strict=True) if row.mistake)
    lines = [
        f"{name}. {filled(row.mistake, known) or phrase('right', language)}"
        for name, row in zip(names, rows, strict=True)
    ]
    lines.append(f"{phrase('answer', language)}{', '.join(answer)}")
    return Draft(answer, tuple(lines), tuple(filled(row.text, known) for row in rows), known=known)


def explained(template: Template, known: Known, _: int, language: str) -> Draft:
    """Of kind explain: a model answer, and what a good one names."""
    lines = [*worked(steps(template.steps), known, language)]
    answer = filled(template.because, known)
    lines += [filled(f"– {point}", known) for point in template.points]
    return Draft(answer, (*lines, answer), known=known)


KINDS_OF = {
    "number": number,
    "estimate": number,
    "choice": choice,
    "fits": compared,
    "order": compared,
    "mistakes": mistakes,
    "explain": explained,
}


def value_of(text: str, known: Known) -> Number:
    """Return what a sum gives; its steps are known from then on."""
    found: Number = 0
    for step in steps(text):
        found = known.found[step.name] = evaluate(step.expression, known)
    return found


def worked(given: tuple[Step, ...], known: Known, language: str) -> Iterator[str]:
    """Yield a sum step by step: in words, in numbers, and what it gives."""
    for step in given:
        words = printed(step.expression, lambda name: label(name, language))
        numbers = printed(step.expression, lambda name: in_brackets(known[name]))
        value = known.found[step.name] = evaluate(step.expression, known)
        name = label(step.name, language)
        yield f"{name} = {words}"
        if numbers != words:
            yield f"{name} = {numbers}"
        if numeral(value) not in (numbers, words):
            yield f"{name} = {numeral(value)}"


def worked_in_numbers(given: tuple[Step, ...], known: Known, language: str) -> Iterator[str]:
    """Yield a sum in numbers alone, each step by its name."""
    for step in given:
        numbers = printed(step.expression, lambda name: in_brackets(known[name]))
        yield f"{label(step.name, language)} = {numbers}"


def in_brackets(number: Number) -> str:
    """Write a number as a factor."""
    return numeral(number) if number >= 0 else f"({numeral(number)})"


def converted(result: Number, unit: str) -> list[str]:
    """Return the line that turns bytes into a larger unit."""
    if BYTES.get(unit, 1) == 1:
        return []
    size = BYTES[unit]
    power = f"2^{size.bit_length() - 1}" if unit.endswith("iB") else f"10^{len(str(size)) - 1}"
    return [f"{numeral(result)} B ÷ {power} = {amount(result, unit)}"]


def amount(number: Number, unit: str) -> str:
    """Write a size in a unit."""
    return written(rounded(in_unit(number, unit)), unit)
