"""Plans side by side: what they hold, in what the questions differ, and why the numbers do.

Causes are read off the lines: each knows the quantities that its bytes were made of (`show.steps`), so that a
component differs because a number in its formulas does, a format, or a line that only one of the plans has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from memcalc.data.units import gib
from memcalc.errors import BadInputError, escaped
from memcalc.ledger.budget import COMPONENTS
from memcalc.ledger.model import Model, cache_growth
from memcalc.show.card import in_words
from memcalc.show.explain import explain
from memcalc.show.traced import base_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from memcalc.show.explanation import Explanation
    from memcalc.show.steps import Step

__all__ = ["Comparison", "Contrast", "Side", "compare"]

LINES_NAMED = 3  # of those that only one plan has
NO_LIMIT = 2**40  # a search that ends here found none
HOST = "host "  # stands before the components of the host's memory


class Side(NamedTuple):
    """One plan: what it was asked, what it holds, and the lines that say why.

    `rows` are bytes by component at the fullest moment, those of the host's memory behind; of a model its
    counts. `options` are all options with what was left open filled in, `asked` the names of those given.
    """

    kind: str
    title: str
    explanation: Explanation
    model: str
    options: dict[str, object]
    asked: frozenset[str]
    rows: dict[str, int]
    pool: str
    moment: str
    total: int
    low: int | None
    high: int | None
    capacity: int | None
    verdict: str | None
    cause: str | None
    max_context: int | None
    max_batch: int | None
    unit: str

    def steps(self, row: str) -> list[Step]:
        """Return the lines of a component, at the fullest moment."""
        host = row.startswith(HOST)
        name = row.removeprefix(HOST)
        return [
            step
            for section in self.explanation.sections
            if section.pool and section.pool == ("host" if host else self.pool)
            for step in section.steps
            if step.component == name and (not step.moments or self.moment in step.moments or host)
        ]


class Contrast(NamedTuple):
    """A component of all plans: its bytes in each, and why those of each differ from the first plan's."""

    name: str
    sizes: tuple[int, ...]
    causes: tuple[tuple[str, ...], ...]


class Comparison:
    """Two plans or more, the first of which the others are compared with.

    Attributes
    ----------
    sides : tuple of Side
        The plans.

    """

    def __init__(self, sides: Sequence[Side]) -> None:
        self.sides = tuple(sides)

    @property
    def options(self) -> dict[str, tuple[object, ...]]:
        """The options that differ, with the value in each plan: of those that all of them have."""
        first = self.sides[0].options
        shared = [name for name in first if all(name in side.options for side in self.sides)]
        values = {name: tuple(side.options[name] for side in self.sides) for name in shared}
        said = {name: set(map(value_in_words, of_each)) for name, of_each in values.items()}
        return {name: of_each for name, of_each in values.items() if len(said[name]) > 1}

    @property
    def differences(self) -> tuple[Contrast, ...]:
        """Every component of a plan, with the causes of what differs."""
        names = sorted(dict.fromkeys(name for side in self.sides for name in side.rows), key=place)
        return tuple(
            Contrast(
                name,
                tuple(int(side.rows.get(name, 0)) for side in self.sides),
                tuple(tuple(causes(name, self.sides[0], side)) for side in self.sides),
            )
            for name in names
        )

    @property
    def remarks(self) -> tuple[str, ...]:
        """What cannot be compared, in words."""
        kinds = {side.kind for side in self.sides}
        if len(kinds) < 2:
            return ()
        return (
            "serving and training have options of their own: only those that both have are compared",
            "weights are the same thing in both; activations, logits and the runtime are not",
        )

    @property
    def last_line(self) -> str:
        """What each plan holds against the first."""
        first, *others = self.sides
        said = [f"plan {number} {against(side, first)}" for number, side in enumerate(others, 2)]
        return "; ".join(said)

    def __str__(self) -> str:
        return "\n".join(map(escaped, lines(self)))

    def __repr__(self) -> str:
        """Return the plans and the answer: all of it is long."""
        titles = [f"{number}  {one.title}" for number, one in enumerate(self.sides, 1)]
        return "\n".join(map(escaped, [*titles, f"  {self.last_line}"]))

    def _repr_html_(self) -> str:
        return page(self)


def against(side: Side, first: Side) -> str:
    """Say what a plan holds beyond the first, or less."""
    difference = side.total - first.total
    more = (
        "as much as"
        if difference == 0
        else f"{abs(difference):,} {side.unit} {'more' if difference > 0 else 'less'} than"
    )
    verb = "has" if side.kind == "model" else "holds"
    return f"{verb} {side.total:,} {side.unit}, {more} plan 1"


def place(name: str) -> tuple[bool, int]:
    """Return where a row stands: components in the budget's order, the host behind, counts as they come."""
    plain = name.removeprefix(HOST)
    return name.startswith(HOST), COMPONENTS.index(plain) if plain in COMPONENTS else len(COMPONENTS)


def compare(*answers: object) -> Comparison:
    """Return plans side by side: what differs in the question, and why the numbers do.

    Parameters
    ----------
    *answers : Model, ServingEstimate or TrainingEstimate
        Two or more of what `memcalc.serve` and `memcalc.train` returned, mixed or not, or of what
        `memcalc.model` returned; the first is the one that the others are compared with.

    Returns
    -------
    Comparison
        Its `options` that differ, its `differences` by component with their causes; print it for all of it.
        In Jupyter it shows itself.

    Raises
    ------
    BadInputError
        There is one plan only, something else than an answer, a sweep, or a model beside a plan.

    Examples
    --------
    >>> import memcalc
    >>> plain = memcalc.serve("Qwen/Qwen3-32B", context=8192)
    >>> found = compare(plain, memcalc.serve("Qwen/Qwen3-32B", context=8192, weights="fp8-block128"))
    >>> found.options["weights"], found.differences[0].causes[1][0]
    (('bf16', 'fp8-block128'), 'stored as: bf16 -> bf16, fp8-block128')

    """
    if len(answers) < 2:
        remedy = "write for example memcalc.compare(memcalc.serve(...), memcalc.serve(...))"
        raise BadInputError("compare", "two plans or more", len(answers), remedy)
    sides = [side_of(answer) for answer in answers]
    kinds = [side.kind for side in sides]
    if "model" in kinds and set(kinds) != {"model"}:
        number = kinds.index("model") + 1
        remedy = "compare models with models, and plans of serve and train with each other"
        raise BadInputError(
            f"plan {number}", "a plan of serve or train, as the others are", "a model", remedy
        )
    return Comparison(sides)


def side_of(answer: Any) -> Side:
    """Return one plan as it stands beside others."""
    said = explain(answer)
    if isinstance(answer, Model):
        return side_of_model(answer, said)
    device, host = answer.device, answer.host
    rows = {name: int(size) for name, size in device.components.items()}
    if host is not None:
        rows |= {f"{HOST}{name}": int(size) for name, size in host.components.items()}
    return Side(
        kind=said.kind,
        title=said.title if said.kind == "serve" else f"{said.title}; {said.facts[0]}",
        explanation=said,
        model=said.model,
        options=flat(answer.settings),
        asked=frozenset(answer.plan.options.asked),
        rows=rows,
        pool=device.name,
        moment=device.fullest,
        total=int(device.total_bytes),
        low=int(device.low_bytes),
        high=int(device.high_bytes),
        capacity=device.capacity_bytes,
        verdict=answer.verdict,
        cause=answer.cause,
        max_context=getattr(answer, "max_context", None),
        max_batch=getattr(answer, "max_batch", None),
        unit="bytes",
    )


def side_of_model(model: Model, said: Explanation) -> Side:
    """Return a model as it stands beside others: its counts, and what tokens leave behind."""
    rows = {
        "parameters": model.parameters,
        "active parameters": model.active_parameters,
        "embedding parameters": model.embedding_parameters,
        **{name.replace("_", " "): size for name, size in cache_growth(model).items()},
    }
    return Side(
        kind="model",
        title=said.title,
        explanation=said,
        model=model.name,
        options={"model type": model.model_type, "tied": model.tied, **said.numbers},
        asked=frozenset(),
        rows=rows,
        pool="",
        moment="",
        total=model.parameters,
        low=None,
        high=None,
        capacity=None,
        verdict=None,
        cause=None,
        max_context=None,
        max_batch=None,
        unit="parameters",
    )


def flat(settings: Mapping[str, object]) -> dict[str, object]:
    """Return options with those of an engine one by one, as ``engine_option max_num_seqs``."""
    found: dict[str, object] = {}
    for name, value in settings.items():
        if name in ("engine_options", "engine_option") and isinstance(value, dict):
            found |= {f"engine_option {key}": one for key, one in value.items()}
        else:
            found[name] = value
    return found


# ---- why ----


def causes(name: str, first: Side, other: Side) -> Iterator[str]:
    """Yield why a component of a plan differs from the first plan's; nothing where it does not."""
    if first.rows.get(name, 0) == other.rows.get(name, 0):
        return
    if other.kind == "model":
        yield from numbers_differ(*(of_a_count(name, side.explanation) for side in (first, other)))
        return
    before, after = first.steps(name), other.steps(name)
    if first.kind != other.kind:  # the lines of the one are not those of the other
        if before and after:
            yield from numbers_differ(first.explanation.numbers, other.explanation.numbers, shared=True)
        else:
            yield f"only `{(other if after else first).kind}` has it"
        return
    if first.moment != other.moment and name.removeprefix(HOST) not in ("weights", "runtime"):
        yield f"fullest at: {first.moment} -> {other.moment}"
    stored = formats(before), formats(after)
    if stored[0] != stored[1] and all(stored):
        yield f"stored as: {stored[0]} -> {stored[1]}"
    numbers = list(numbers_differ(letters(before, after), letters(after, before)))
    yield from numbers
    yield from lines_differ(before, after, explained=bool(numbers) or stored[0] != stored[1])


def of_a_count(name: str, said: Explanation) -> dict[str, int]:
    """Return the quantities in a count of a model: of its embedding, of its cache, or of all weights."""
    found: dict[str, int] = {}
    for section in said.sections:
        in_cache, asked = section.heading.startswith("cache"), name.startswith(("bytes", "state"))
        for step in section.steps:
            if in_cache == asked and step.expression is not None and is_of(name, step):
                found |= step.expression.letters
    return found


def is_of(name: str, step: Step) -> bool:
    """Say whether a line is one of a count: that of the embedding has lines of one kind."""
    return step.component == "embedding" or not name.startswith("embedding")


def formats(steps: Iterable[Step]) -> str:
    """Return the formats in which the tensors of some lines are stored."""
    return ", ".join(sorted({step.stored_as for step in steps if step.stored_as}))


def letters(steps: Iterable[Step], others: Iterable[Step]) -> dict[str, int]:
    """Return the quantities in the lines that both plans have, with their numbers."""
    known, found = {step.name for step in others}, dict[str, int]()
    for step in steps:
        if step.name in known and step.expression is not None:
            found |= step.expression.letters
    return found


def numbers_differ(
    before: Mapping[str, int], after: Mapping[str, int], *, shared: bool = False
) -> Iterator[str]:
    """Yield the quantities whose number is another, and those that only one of the formulas has.

    A width of numbers in one alone says no more than that their format differs; with `shared` the formulas
    are of different things, and only what both have is compared.
    """
    for name in before:
        if name in after and before[name] != after[name] and base_of(name) == name:
            yield f"{name}: {before[name]:,} -> {after[name]:,}"
    for word, some, others in (("without", before, after), ("with", after, before)):
        names = [name for name in some if name not in others and base_of(name) == name]
        named = ", ".join(f"{name} ({some[name]:,})" for name in names if name != "bytes_per_element")
        if named and not shared:
            yield f"{word} {named}"


def lines_differ(before: Sequence[Step], after: Sequence[Step], *, explained: bool) -> Iterator[str]:
    """Yield the lines that one plan has alone, and those that no formula tells apart: the largest first.

    `explained` says that a quantity was named already; where none was, lines have other formulas of the same
    quantities, and their bytes have to say it.
    """
    one, other = summed(before), summed(after)
    found = []
    for name in dict.fromkeys((*one, *other)):
        old, new = one.get(name), other.get(name)
        if old is None and new:
            found.append((abs(new), f"only here: {name} {new:,}"))
        elif new is None and old:
            found.append((abs(old), f"only in plan 1: {name} {old:,}"))
        elif old is not None and new is not None and old != new and not (explained and derived(name, after)):
            found.append((abs(new - old), f"{name}: {old:,} -> {new:,}"))
    found.sort(key=lambda pair: -pair[0])
    yield from (text for _, text in found[:LINES_NAMED])
    if len(found) > LINES_NAMED:
        rest = sum(size for size, _ in found[LINES_NAMED:])
        yield f"{len(found) - LINES_NAMED} smaller lines, {rest:,} bytes together"


def summed(steps: Iterable[Step]) -> dict[str, int]:
    """Return the bytes of lines by name: equal names are kinds of layers."""
    found: dict[str, int] = {}
    for step in steps:
        found[step.name] = found.get(step.name, 0) + step.value
    return found


def derived(name: str, steps: Iterable[Step]) -> bool:
    """Say whether all lines of a name have a formula, so that its quantities say what differs."""
    return all(step.is_derived for step in steps if step.name == name)


# ---- as text ----


def lines(found: Comparison) -> Iterator[str]:
    """Yield the lines of a comparison."""
    sides = found.sides
    yield from (f"{number}  {side.kind} {side.title}" for number, side in enumerate(sides, 1))
    yield ""
    yield from table(found)
    yield ""
    yield from differs(found)
    changed = [one for one in found.differences if any(one.causes)]
    if changed:
        yield "why the numbers differ"
    for one in changed:
        for number, (size, why) in enumerate(zip(one.sizes, one.causes, strict=True), 1):
            if size != one.sizes[0]:
                unit = "" if sides[0].kind == "model" else " bytes"
                said = "; ".join(why) or "no line tells"
                yield f"  {one.name}, plan {number}: {size - one.sizes[0]:+,}{unit} ({said})"
    for number, side in enumerate(sides, 1):
        if side.verdict is not None and side.cause:
            yield f"  plan {number} {in_words(side.verdict, side.cause)}"
    yield from found.remarks
    yield found.last_line


def table(found: Comparison) -> Iterator[str]:
    """Yield the components, the totals, the verdicts and the largest contexts side by side."""
    rows = list(cells(found))
    wide = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for first, *others in rows:
        padded = "  ".join(f"{cell:>{width}}" for cell, width in zip(others, wide[1:], strict=True))
        yield f"  {first:<{wide[0]}}  {padded}".rstrip()


def cells(found: Comparison) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table, each with a cell for each plan."""
    sides = found.sides
    yield ("plan", *(str(number) for number, _ in enumerate(sides, 1)))
    shown = (lambda size: f"{size:,}") if sides[0].kind == "model" else gib
    for one in found.differences:
        yield (one.name, *map(shown, one.sizes))
    if sides[0].kind == "model":
        return
    yield ("total", *(gib(side.total) for side in sides))
    yield ("at", *(side.moment for side in sides))
    spans = [
        "" if side.low == side.high else f"{gib(side.low or 0)} to {gib(side.high or 0)}" for side in sides
    ]
    if any(spans):
        yield ("range", *spans)
    if any(side.capacity is not None for side in sides):
        yield ("capacity", *("-" if side.capacity is None else gib(side.capacity) for side in sides))
        yield ("verdict", *("-" if side.verdict is None else in_words(side.verdict, None) for side in sides))
    for name, label in (("max_context", "largest context"), ("max_batch", "largest batch")):
        values = [getattr(side, name) for side in sides]
        if any(value is not None for value in values):
            yield (label, *("-" if n is None else "any" if n >= NO_LIMIT else f"{n:,}" for n in values))


def differs(found: Comparison) -> Iterator[str]:
    """Yield the options that differ: first those that were asked for, then what follows or was chosen."""
    options, asked = found.options, frozenset[str]().union(*(side.asked for side in found.sides))
    models = [side.model for side in found.sides]
    own = {name: values for name, values in options.items() if plain_name(name) in asked}
    others = {name: values for name, values in options.items() if name not in own and name != "source"}
    if any(model != models[0] for model in models):
        own = {"model": tuple(models), **own}
    first = (
        "in what the models differ"
        if found.sides[0].kind == "model"
        else "what follows, or was chosen by default"
    )
    for heading, some in (("what differs in the question", own), (first, others)):
        if some:
            yield heading
            yield from (
                f"  {name}: {' -> '.join(map(value_in_words, values))}" for name, values in some.items()
            )


def plain_name(name: str) -> str:
    """Return the option that a row belongs to: the engine's own are one."""
    return "engine_options" if name.startswith("engine_option ") else name


def value_in_words(value: object) -> str:
    """Return an option's value in words.

    >>> [value_in_words(one) for one in (None, True, 8192, (1, 2), "bf16", {})]
    ['none', 'yes', '8,192', '1, 2', 'bf16', 'none']
    """
    if value is None or value in ((), [], {}, ""):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


# ---- as HTML ----


def page(found: Comparison) -> str:
    """Return a comparison as one element of HTML: the table, what differs and why folded."""
    from html import escape

    from memcalc.show.html import folded, listed, rows_of

    head, *rows = cells(found)
    numbers = tuple(range(1, len(head)))
    titles = listed(f"{number}  {one.title}" for number, one in enumerate(found.sides, 1))
    shown = rows_of(
        [tuple(map(escape, row)) for row in rows], header=tuple(map(escape, head)), numbers=numbers
    )
    text = list(lines(found))
    below = text[len(text) - text[::-1].index("") :]  # what stands behind the table
    why = folded("what differs, and why", listed(line.strip() for line in below[:-1]))
    last = f"<div><strong>{escape(found.last_line)}</strong></div>"
    return f'<div class="memcalc" style="max-width:60em;line-height:1.5">{titles}{shown}{why}{last}</div>'
