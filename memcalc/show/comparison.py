"""Plans side by side: what they hold, in what the questions differ, and why (`show.causes`)."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from memcalc.data.units import gib
from memcalc.errors import BadInputError, escaped
from memcalc.ledger.budget import COMPONENTS
from memcalc.show.card import in_words
from memcalc.show.causes import LARGEST, Difference, number_of, value_in_words
from memcalc.show.sides import HOST, ON_DEVICE, Side, side_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Comparison", "Contrast", "Side", "compare"]

NO_LIMIT = 2**40  # a search that ends here found none


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

    @cached_property
    def against(self) -> tuple[Difference, ...]:
        """What tells each plan from the first one."""
        return tuple(Difference(self.sides[0], side, number) for number, side in enumerate(self.sides, 1))

    @property
    def differences(self) -> tuple[Contrast, ...]:
        """Every component of a plan, with the causes of what differs."""
        names = dict.fromkeys(name for side in self.sides for name in side.rows)
        return self.contrasts(sorted(names, key=place))

    @property
    def devices(self) -> tuple[Contrast, ...]:
        """What each device holds, with the causes of what differs; nothing where no plan has unequal ones."""
        if not any(side.is_unequal for side in self.sides):
            return ()
        labels = dict.fromkeys(label for side in self.sides for label in side.by_device)
        return self.contrasts(f"{ON_DEVICE}{label}" for label in labels)

    @property
    def limits(self) -> tuple[Contrast, ...]:
        """The largest context and the largest batch, where memory sets them, with the causes."""
        known = (name for name in LARGEST if all(number_of(side, name) is not None for side in self.sides))
        return self.contrasts(name for name in known if max(self.sizes(name)) < NO_LIMIT)

    def contrasts(self, names: Iterable[str]) -> tuple[Contrast, ...]:
        """Return rows of the comparison, each with its causes."""
        return tuple(
            Contrast(name, self.sizes(name), tuple(tuple(one.causes(name)) for one in self.against))
            for name in names
        )

    def sizes(self, name: str) -> tuple[int, ...]:
        """Return a row's number in each plan."""
        return tuple(number_of(side, name) or 0 for side in self.sides)

    @property
    def moments(self) -> tuple[str, ...]:
        """Which plans are fullest at another moment, or on another device, than the first, and why."""
        return tuple(one.moment for one in self.against if one.moment)

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
        """What each plan holds against the first, on a device; where their numbers differ, on all of them."""
        first, *others = self.sides
        said = [f"plan {number} {beside(side, first)}" for number, side in enumerate(others, 2)]
        if len({side.devices for side in self.sides}) > 1:
            counts = [f"plan {number} {on_all(side)}" for number, side in enumerate(self.sides, 1)]
            said.append(f"all devices together: {', '.join(counts)}")
        return "; ".join(said)

    def __str__(self) -> str:
        return "\n".join(map(escaped, lines(self)))

    def __repr__(self) -> str:
        """Return the plans and the answer: all of it is long."""
        titles = [f"{number}  {one.title}" for number, one in enumerate(self.sides, 1)]
        return "\n".join(map(escaped, [*titles, f"  {self.last_line}"]))

    def _repr_html_(self) -> str:
        return page(self)


def beside(side: Side, first: Side) -> str:
    """Say what a plan holds beyond the first, or less, and on which device."""
    difference = side.total - first.total
    more = (
        "as much as"
        if difference == 0
        else f"{abs(difference):,} {side.unit} {'more' if difference > 0 else 'less'} than"
    )
    verb = "has" if side.kind == "model" else "holds"
    where, there = "", ""
    if side.is_unequal or first.is_unequal:
        where, there = (f" on {one.labels.get(one.pool, 'its fullest device')}" for one in (side, first))
    elif max(side.devices, first.devices) > 1:
        where = " on its fullest device"
    return f"{verb} {side.total:,} {side.unit}{where}, {more} plan 1{there}"


def on_all(side: Side) -> str:
    """Say what all devices of a plan hold: at most that, because others may hold less than the fullest."""
    most = "" if side.devices == 1 else "at most "
    return f"{most}{side.together:,} {side.unit} on {side.devices:,}"


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
    (('bf16', 'fp8-block128'), 'weights: bf16 -> fp8-block128')

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
    if any(side.is_unequal for side in sides):
        sides = [side.with_device_named() for side in sides]
    return Comparison(sides)


# ---- as text ----


def lines(found: Comparison) -> Iterator[str]:
    """Yield the lines of a comparison."""
    sides = found.sides
    yield from (f"{number}  {side.kind} {side.title}" for number, side in enumerate(sides, 1))
    yield ""
    yield from table(found)
    yield ""
    yield from differs(found)
    reasons = list(why(found))
    if reasons:
        yield "why the numbers differ"
    for head, causes in reasons:
        yield f"  {head}"
        yield from (f"    {cause}" for cause in causes)
    yield from (f"  {line}" for line in verdicts(found))
    yield from found.remarks
    yield found.last_line


def why(found: Comparison) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield what differs, and below each difference its causes."""
    yield from ((moment, ()) for moment in found.moments)
    for row in (*found.differences, *found.devices, *found.limits):
        unit = "" if found.sides[0].kind == "model" or row.name in LARGEST else " bytes"
        for number, (size, causes) in enumerate(zip(row.sizes, row.causes, strict=True), 1):
            if causes or size != row.sizes[0]:
                less = size - row.sizes[0]
                yield f"{row.name}, plan {number}: {f'{less:+,}{unit}' if less else 'as much'}", causes


def verdicts(found: Comparison) -> Iterator[str]:
    """Yield why plans do not fit, or may not."""
    for number, side in enumerate(found.sides, 1):
        if side.verdict is not None and side.cause:
            yield f"plan {number} {in_words(side.verdict, side.cause)}"


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
    yield ("at", *(side.at for side in sides))
    pools = [side.deciding for side in sides]
    ends = [("", "") if pool is None else (gib(pool.low_bytes), gib(pool.high_bytes)) for pool in pools]
    if any(low != high for low, high in ends):
        yield ("range", *("" if low == high else f"{low} to {high}" for low, high in ends))
    for row in found.devices:
        yield (row.name, *(gib(size) if size else "-" for size in row.sizes))
    for name in ("capacity", "usable"):
        values = [getattr(pool, f"{name}_bytes", None) for pool in pools]
        if any(value is not None for value in values):
            yield (name, *("-" if value is None else gib(value) for value in values))
    if any(side.verdict is not None for side in sides):
        yield ("verdict", *("-" if side.verdict is None else in_words(side.verdict, None) for side in sides))
    for name in LARGEST:
        values = [number_of(side, name) for side in sides]
        if any(value is not None for value in values):
            yield (name, *("-" if n is None else "any" if n >= NO_LIMIT else f"{n:,}" for n in values))


def differs(found: Comparison) -> Iterator[str]:
    """Yield the options that differ: first those that were asked for, then what follows or was chosen."""
    options, asked = found.options, frozenset[str]().union(*(side.asked for side in found.sides))
    models = [side.model for side in found.sides]
    own = {name: values for name, values in options.items() if name in asked}
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
    reasons = (f"{head} ({'; '.join(causes)})" if causes else head for head, causes in why(found))
    below = [*(line.strip() for line in differs(found)), *reasons, *verdicts(found), *found.remarks]
    rest = folded("what differs, and why", listed(below))
    last = f"<div><strong>{escape(found.last_line)}</strong></div>"
    return f'<div class="memcalc" style="max-width:60em;line-height:1.5">{titles}{shown}{rest}{last}</div>'
