"""Where a number comes from: every line of an answer with its formula, the numbers put in, and its source.

The formula is that of the code itself: the same estimate is made again of numbers that remember how they were
made (`show.traced`). A line whose bytes would differ from the answer's has none, and nothing is rounded.
"""

from __future__ import annotations

import re
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, NamedTuple

from memcalc.ledger.budget import COMPONENTS
from memcalc.ledger.vocabulary import word
from memcalc.show.traced import Letter, base_of, expression_of, latex_letter, letters_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from memcalc.ledger.budget import Line, PoolBudget
    from memcalc.show.traced import Expression

__all__ = ["SHAPES", "Derivation", "Section", "Step", "Sum", "pool_section", "together"]

STORED_AS = re.compile(r" as (\S+)$")  # how the words of a line of tensors end
SHAPES = "derived from the tensors' shapes"
PLACES = {name: place for place, name in enumerate(COMPONENTS)}
SHORT = 64  # factors of the formula of several lines together: in longer ones nobody finds them again
MOST_SAID = 60  # factors of the formula of something that was measured: a longer one says nothing
LARGEST_PLAIN = 999  # a larger number in a formula is a product whose factors have no letters
MOST_FACTORS = 700  # of any other: it is longer only where every tensor has a format of its own


class Step(NamedTuple):
    """One line of an answer: its expression, None where there is none but its `words`, and its number.

    `moments` is empty where it lives always. `low` and `high` are the ends of a range that was measured. What
    is `outside` comes on top of the share of a device that the engine takes.
    """

    component: str
    name: str
    value: int
    expression: Expression | None = None
    words: str = ""
    moments: tuple[str, ...] = ()
    evidence: str = "exact"
    source: str = SHAPES
    low: int | None = None
    high: int | None = None
    outside: bool = False

    @property
    def stored_as(self) -> str:
        """The format in which its tensors are stored; empty where it is not one of tensors."""
        found = STORED_AS.search(self.words)
        return found[1] if found else ""

    @property
    def is_derived(self) -> bool:
        """Whether a formula says more than the number does."""
        return self.expression is not None and not self.expression.is_plain

    @property
    def made_of(self) -> str:
        """What a large number in its formula is made of, in the line's own words; empty where none is."""
        if not self.is_derived or self.expression is None or self.expression.largest <= LARGEST_PLAIN:
            return ""
        return STORED_AS.sub("", self.words)


def together(steps: Sequence[Step]) -> Step | None:
    """Return the lines of a component as one, with their formula where that is short.

    None where there is one alone, or where they do not all live at the same moments.
    """
    first = steps[0]
    if len(steps) < 2 or any(step.moments != first.moments for step in steps):
        return None
    name = f"{len(steps)} lines together"
    whole = Step(first.component, name, sum(step.value for step in steps), moments=first.moments)
    said = [step.expression for step in steps if step.expression is not None]
    if len(said) < len(steps):
        return whole
    expression = reduce(add, said)
    return whole._replace(expression=expression) if expression.size <= SHORT else whole


class Sum(NamedTuple):
    """Numbers that add up to another one; those below 0 are taken away."""

    name: str
    parts: tuple[tuple[str, int], ...]
    value: int
    note: str = ""


class Section(NamedTuple):
    """Steps under a heading, and what they add up to; `pool` is the memory that holds them, if one does."""

    heading: str
    steps: tuple[Step, ...]
    sums: tuple[Sum, ...] = ()
    pool: str = ""
    unit: str = "bytes"

    @property
    def by_component(self) -> dict[str, list[Step]]:
        """The steps of each component, in the order of the total's."""
        found: dict[str, list[Step]] = {}
        for step in self.steps:
            found.setdefault(step.component, []).append(step)
        return dict(sorted(found.items(), key=lambda pair: PLACES.get(pair[0], len(PLACES))))


class Derivation:
    """An answer derived: what there is to show, whoever shows it.

    Attributes
    ----------
    kind : str
        What was asked: ``model``, ``serve`` or ``train``.
    title : str
        What was asked, in a line.
    defaults : tuple of str
        What was chosen where an option was left open.
    sections : tuple of Section
        The steps, and what they add up to.
    conclusion : tuple of str
        What follows: the verdict, the largest load, what is not counted.
    answer : int
        The number that was asked for, and that stands in the last line.

    """

    def __init__(
        self,
        kind: str,
        title: str,
        sections: Sequence[Section],
        *,
        answer: int,
        said: str,
        model: str = "",
        defaults: Sequence[str] = (),
        facts: Sequence[str] = (),
        conclusion: Sequence[str] = (),
    ) -> None:
        self.kind, self.title, self.model = kind, title, model
        self.sections, self.answer, self.said = tuple(sections), answer, said
        self.defaults, self.facts, self.conclusion = tuple(defaults), tuple(facts), tuple(conclusion)

    @property
    def numbers(self) -> dict[str, int]:
        """The quantities of its formulas by their names in the vocabulary; ``width_2`` is a second width."""
        found: dict[str, int] = {}
        for section in self.sections:
            for step in section.steps:
                if step.expression is not None:
                    found.update(step.expression.letters)
        return {name: found[name] for name in letters_in(found)}

    @property
    def legend(self) -> Iterator[tuple[str, int, str]]:
        """The quantities with their numbers and what they mean."""
        for name, value in self.numbers.items():
            quantity = word(base_of(name))
            meaning = "layers that are alike, on one device" if name.startswith("depth") else quantity.meaning
            yield name, value, meaning

    @property
    def letters(self) -> list[str]:
        """The letters of the quantities, in LaTeX and in the order of the legend."""
        return [latex_letter(Letter(name, value)) for name, value in self.numbers.items()]

    @property
    def last_line(self) -> str:
        """The answer in words: the number of bytes, or of parameters."""
        return self.said.format(f"{self.answer:,}")


def step_of(line: Line, traced: Line | None, moments: tuple[str, ...]) -> Step:
    """Return the step of a line, with the expression of the same line of an estimate that was traced."""
    expression = None
    if traced is not None and (traced.name, traced.bytes) == (line.name, line.bytes):
        found = expression_of(traced.bytes)
        most = MOST_FACTORS if line.evidence == "exact" else MOST_SAID
        expression = found if found.size <= most else None
    return Step(
        component=line.component,
        name=line.name,
        value=line.bytes,
        expression=expression,
        words=line.formula,
        moments=() if set(line.moments) >= set(moments) else line.moments,
        evidence=line.evidence,
        source=line.source,
        low=line.low,
        high=line.high,
        outside=line.outside,
    )


def pool_section(heading: str, pool: PoolBudget, traced: PoolBudget | None) -> Section:
    """Return the lines of a memory, what they add up to at each moment, and the total."""
    alike = traced is not None and len(traced.lines) == len(pool.lines)
    others: Iterable[Line | None] = traced.lines if traced is not None and alike else [None] * len(pool.lines)
    pairs = zip(pool.lines, others, strict=True)
    steps = tuple(step_of(line, other, pool.moment_names) for line, other in pairs)
    sums = [
        Sum(moment, tuple(pool.components_at(moment).items()), pool.at(moment), why(pool, moment))
        for moment in pool.moment_names
    ]
    low, high = pool.low_bytes, pool.high_bytes
    span = "" if low == high else f"{low:,} to {high:,}"
    sums.append(Sum("total", tuple(pool.components.items()), pool.total_bytes, span))
    if pool.capacity_bytes is not None and pool.free_bytes is not None:
        usable = pool.usable_bytes
        note = "" if usable in (None, pool.capacity_bytes) else f"usable: {usable:,}"
        parts = (("capacity", int(pool.capacity_bytes)), ("total", -int(pool.total_bytes)))
        sums.append(Sum("free", parts, int(pool.free_bytes), note))
    return Section(heading, steps, tuple(sums), pool.name)


def why(pool: PoolBudget, moment: str) -> str:
    """Say why a moment is the fullest: what it holds beyond the next one; nothing of the others."""
    others = [one for one in pool.moment_names if one != moment]
    if moment != pool.fullest or not others:
        return ""
    next_one = max(others, key=pool.moments.__getitem__)
    here, there = pool.components_at(moment), pool.components_at(next_one)
    names = dict.fromkeys((*here, *there))
    differences = {name: int(here.get(name, 0)) - int(there.get(name, 0)) for name in names}
    said = ", ".join(f"{name} {size:+,}" for name, size in differences.items() if size)
    return f"the fullest; compared with {next_one}: {said}" if said else f"the fullest, with {next_one}"
