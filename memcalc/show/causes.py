"""Why the numbers of two plans differ: the options that make it, and the lines in which it is seen.

What an option makes is not guessed: the first plan is asked again with that option alone as the other has it.
Effects that add up to the difference are its causes; where they do not, that is said. The lines then say how:
each knows the quantities that its bytes were made of (`show.steps`).
"""

from __future__ import annotations

from functools import cached_property, reduce
from operator import add
from typing import TYPE_CHECKING, Any, NamedTuple

from memcalc.errors import RefusalError
from memcalc.show.explained_model import CACHE_SAID
from memcalc.show.sides import HOST, ON_DEVICE, device_names, flat, given_options, held_at, pools_of
from memcalc.show.steps import Step
from memcalc.show.traced import base_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from memcalc.show.explanation import Explanation
    from memcalc.show.sides import Side

__all__ = ["LARGEST", "Difference", "number_of", "value_in_words"]

LINES_NAMED = 3  # of those that differ
LARGEST = {"largest context": "max_context", "largest batch": "max_batch"}
MODEL, NAMED, VERSION, OWN, ENGINE = "model", "engine", "engine_version", "engine_options", "engine_option "
WHOLE = "cache"  # the line of a model's cache that is not told by tensors

Place = tuple[str, str]  # a memory and a moment


class Change(NamedTuple):
    """An option that two questions have in different ways, and that in words."""

    name: str
    words: str


class Difference:
    """What tells a plan from the first one.

    Parameters
    ----------
    first, other : Side
        The plans.
    number : int, default 2
        That of the other.

    """

    def __init__(self, first: Side, other: Side, number: int = 2) -> None:
        self.first, self.other, self.number = first, other, number

    @cached_property
    def changes(self) -> tuple[Change, ...]:
        """The options that were asked for in different ways, the model among them; none of models alone."""
        if self.first.kind == "model":
            return ()
        before, after = (asked_of(side) for side in (self.first, self.other))
        names = [name for name in dict.fromkeys((*before, *after)) if before.get(name) != after.get(name)]
        if NAMED in names:  # a version, and options of its own, mean nothing to another engine
            names = [name for name in names if name != VERSION and not name.startswith(ENGINE)]
        return tuple(Change(name, self.in_words(name, before.get(name), after.get(name))) for name in names)

    def in_words(self, name: str, before: object, after: object) -> str:
        """Return a change with what was left open filled in, where that tells the plans apart."""
        filled = [
            side.model if name == MODEL else side.options.get(name, given)
            for side, given in ((self.first, before), (self.other, after))
        ]
        if name == MODEL and filled[0] == filled[1]:
            before, after = (side.options["source"] for side in (self.first, self.other))
        pair = [value_in_words(value) for value in filled]
        if name == NAMED and VERSION in self.first.asked | self.other.asked:
            releases = (str(side.options[VERSION]) for side in (self.first, self.other))
            pair = [f"{engine} {release}" for engine, release in zip(pair, releases, strict=True)]
        if pair[0] == pair[1]:
            pair = [value_in_words(value) for value in (before, after)]
        return f"{name}: {' -> '.join(pair)}"

    @cached_property
    def alone(self) -> dict[Change, Any]:
        """The first plan with one option alone as the other has it; None where that is refused."""
        return {change: asked_again(self.first, self.other, change.name) for change in self.changes}

    @cached_property
    def but_for(self) -> dict[Change, Any]:
        """The other plan with one option alone as the first has it; None where that is refused."""
        return {change: asked_again(self.other, self.first, change.name) for change in self.changes}

    @property
    def moment(self) -> str:
        """Say that the plans are at their fullest at different moments, and which option makes that."""
        first, other = self.first, self.other
        labels = [side.labels.get(side.pool) for side in (first, other)]
        if first.moment == other.moment and (None in labels or labels[0] == labels[1]):
            return ""
        said = f"plan 1 is fullest at {first.at}, plan {self.number} at {other.at}"
        if first.is_unequal or other.is_unequal:
            which = f"plan 1 is shown at {first.at}, plan {self.number} at {other.at}"
            return f"{which}: of unequal devices the one with the least room"
        if first.kind != other.kind or first.moment == other.moment:
            return said
        if len(self.changes) == 1:
            return f"{said} ({self.changes[0].words})"
        alone = ((one.words, made) for one, made in self.alone.items() if made is not None)
        moved = [words for words, made in alone if made.device.fullest == other.moment]
        return (
            f"{said} ({' alone, or '.join(moved)} alone)" if moved else f"{said} (no option alone does that)"
        )

    def causes(self, row: str) -> Iterator[str]:
        """Yield why a row of the comparison is another number; nothing where it is not."""
        first, other = self.first, self.other
        sizes = number_of(first, row), number_of(other, row)
        if sizes[0] == sizes[1] and (first.kind != other.kind or len(self.changes) < 2):
            return
        if other.kind == "model":
            counts = [of_a_count(row, side.explanation) for side in (first, other)]
            if any(step.name == WHOLE for steps in counts for step in steps):
                counts = [[in_all(steps)] for steps in counts]
            yield from details(counts[0], counts[1], self.number)
        elif row in LARGEST or row.startswith(ON_DEVICE):
            yield from self.whole(row, sizes[0], sizes[1])
        elif first.kind != other.kind:
            yield from self.of_two_commands(row)
        else:
            yield from self.of_one_command(row, sizes[0] or 0, sizes[1] or 0)

    def whole(self, row: str, before: int | None, after: int | None) -> Iterator[str]:
        """Yield why a largest load, or all that a device holds, differs."""
        label = row.removeprefix(ON_DEVICE)
        if before is None or after is None:
            yield f"only plan {1 if after is None else self.number} has it"
            return
        if self.first.kind == self.other.kind:
            yield from self.made(row, None, after - before)
        if label != row:
            pools = (side.by_device[label] for side in (self.first, self.other))
            held = [held_at(pool, pool.fullest) for pool in pools]
            for name in dict.fromkeys((*held[0], *held[1])):
                size = held[1].get(name, 0) - held[0].get(name, 0)
                yield from [f"{name} {size:+,}"] if size else []

    def of_one_command(self, row: str, before: int, after: int) -> Iterator[str]:
        """Yield why a component differs: the moment, the options, the lines."""
        place: Place | None = self.other.place(row)
        there = None if self.is_elsewhere(row) else size_at(self.first.answer, row, place)
        if there is None:
            place, there = None, before
        elif there != before:
            at = self.other.at if row == row.removeprefix(HOST) else self.other.place(row)[1]
            what = f"{there:,}" if there else "none"
            yield f"at {at} plan 1 holds {what}{', too' if there == after else ''}"
        if there == after != before:
            return
        said = list(self.made(row, place, after - there))
        yield from said
        before_steps = self.first.steps(row, place or self.first.place(row))
        after_steps = self.other.steps(row, self.other.place(row))
        known = {change.words for change in self.changes}
        yield from (one for one in details(before_steps, after_steps, self.number) if one not in known)

    def of_two_commands(self, row: str) -> Iterator[str]:
        """Yield why a component differs between serving and training, which have options of their own."""
        for side, another in ((self.first, self.other), (self.other, self.first)):
            if not side.rows.get(row, 0):
                name, host = row.removeprefix(HOST), row.startswith(HOST)
                pool = side.pools.get("host") if host else side.deciding
                held = {at: held_at(pool, at).get(name, 0) for at in pool.moment_names} if pool else {}
                most = max(held, key=held.__getitem__, default="")
                never = f"`{side.kind}` has none; only `{another.kind}` has it"
                at = f"`{side.kind}` holds none at {side.at}, {held.get(most, 0):,} at {most}"
                yield at if held.get(most) else never
                return
        before, after = (
            by_name(map(in_one, side.steps(row, side.place(row)))) for side in (self.first, self.other)
        )
        yield from lines_differ(before, after, self.number)

    def is_elsewhere(self, row: str) -> bool:
        """Say whether the numbers are those of another device or stage than in the first plan."""
        names = (side.labels.get(side.place(row)[0]) for side in (self.first, self.other))
        return len(set(names)) > 1

    def made(self, row: str, place: Place | None, difference: int) -> Iterator[str]:
        """Yield the options that make a difference, each with its part where there are several."""
        if len(self.changes) < 2:
            yield from (change.words for change in self.changes)
            return
        before = size_at(self.first.answer, row, place) or 0
        sizes = {one: size_of(made, row, place) for one, made in self.alone.items()}
        parts = {one: size - before for one, size in sizes.items() if size not in (None, before)}
        left = difference - sum(parts.values())
        if not left and len(parts) == 1:
            yield from (one.words for one in parts)
        elif not left:
            yield from (f"{one.words}: {size:+,}" for one, size in parts.items())
        else:
            yield from (f"{one.words} alone: {size:+,}" for one, size in parts.items())
            after = before + difference
            others = {one: size_of(made, row, place) for one, made in self.but_for.items()}
            together = [
                one.name.removeprefix(ENGINE) for one in others if one in parts or others[one] != after
            ]
            only = "the other {:+,}" if parts else "{:+,} only"
            yield f"{only.format(left)} from {' and '.join(together)} together"


def asked_of(side: Side) -> dict[str, object]:
    """Return what was asked for: the source, and the options as they were given."""
    plan = side.answer.plan
    options = {
        name: dict(value) if name == OWN else value for name, value in vars(given_options(plan)).items()
    }
    return {MODEL: (plan.source.name, plan.source.found, str(plan.source.fields)), **flat(options)}


def asked_again(first: Side, other: Side, name: str) -> Any:
    """Return the first plan with one option as the other has it; None where that is refused.

    With an engine come its version and its own options.
    """
    before, after = first.answer.plan, other.answer.plan
    source = after.source if name == MODEL else before.source
    changed: dict[str, object] = {}
    key = name.removeprefix(ENGINE)
    if key != name:
        own = {**dict(before.options.engine_options), key: dict(after.options.engine_options).get(key)}
        changed = {OWN: {one: value for one, value in own.items() if value is not None}}
    elif name == NAMED:
        changed = {one: getattr(given_options(after), one) for one in (NAMED, VERSION, OWN)}
    elif name != MODEL:
        changed = {name: getattr(given_options(after), name)}
    try:
        return first.answer.changed(source, changed)
    except RefusalError:
        return None


def number_of(side: Side, row: str) -> int | None:
    """Return a row of the comparison: bytes of a component, the largest load, or what a device holds."""
    if row in LARGEST:
        found: int | None = getattr(side, LARGEST[row])
        return found
    if row.startswith(ON_DEVICE):
        pool = side.by_device.get(row.removeprefix(ON_DEVICE))
        return None if pool is None else int(pool.total_bytes)
    return int(side.rows.get(row, 0))


def size_at(answer: Any, row: str, place: Place | None) -> int | None:
    """Return a row of an answer, of components at a place; at its own fullest where none is named.

    None where there is no such device, or where it has no such moment.
    """
    if row in LARGEST:
        found: int | None = getattr(answer, LARGEST[row])
        return found
    pools = pools_of(answer)
    if row.startswith(ON_DEVICE):
        labels = device_names(answer, pools)
        named = (pool for name, pool in pools.items() if labels.get(name) == row.removeprefix(ON_DEVICE))
        return next((int(pool.total_bytes) for pool in named), None)
    name = row.removeprefix(HOST)
    pool = pools.get("host") if name != row else answer.device if place is None else pools.get(place[0])
    if pool is None:
        return 0 if name != row else None
    moment = pool.fullest if place is None else place[1]
    return held_at(pool, moment).get(name, 0) if moment in pool.moment_names else None


def size_of(answer: Any, row: str, place: Place | None) -> int | None:
    """Return a row of an answer as `size_at` does; None where it was refused."""
    return None if answer is None else size_at(answer, row, place)


# ---- of models ----


def of_a_count(row: str, said: Explanation) -> list[Step]:
    """Return the lines of a count of a model: of its parameters, of its embedding, or of its cache."""
    sections = {section.heading.partition(":")[0]: section.steps for section in said.sections}
    if row in ("parameters", "embedding parameters"):
        steps = sections["parameters"]
        return [step for step in steps if row == "parameters" or step.component == "embedding"]
    if row == "active parameters":
        return list(sections.get("parameters that a token uses", sections["parameters"]))
    words = CACHE_SAID[row.replace(" ", "_")]
    own = [step for step in sections.get("cache of all layers, 16-bit", ()) if step.component == words]
    return own or ([] if row.startswith("state") else list(sections.get("cache", ())))


def in_all(steps: Sequence[Step]) -> Step:
    """Return the lines of a cache as one, as it is where windows or states tell only the whole of it."""
    expressions = [step.expression for step in steps if step.expression is not None]
    expression = reduce(add, expressions) if steps and len(expressions) == len(steps) else None
    return Step("cache", WHOLE, total(steps), expression)


# ---- lines ----


def details(before: Sequence[Step], after: Sequence[Step], number: int) -> Iterator[str]:
    """Yield in which lines two plans differ: how tensors are stored, quantities, lines of their own."""
    one, other = by_name(before), by_name(after)
    changed = [name for name in one if name in other and total(one[name]) != total(other[name])]
    stored = [formats(step for name in changed for step in lines[name]) for lines in (one, other)]
    if stored[0] != stored[1] and all(stored):
        yield f"stored as: {stored[0]} -> {stored[1]}"
    said = dict[str, None]()
    for name in changed:
        words = quantities(one[name], other[name])
        if words or formats(one[name]) != formats(other[name]):
            said |= dict.fromkeys(words)
            del one[name], other[name]
    yield from said
    yield from lines_differ(one, other, number)


def quantities(before: Sequence[Step], after: Sequence[Step]) -> list[str]:
    """Return the quantities with another number, where the formulas are the same; else nothing."""
    texts = [[step.expression.text("name") for step in some if step.expression] for some in (before, after)]
    return numbers(before, after) if texts[0] == texts[1] and len(texts[0]) == len(before) else []


def numbers(before: Sequence[Step], after: Sequence[Step]) -> list[str]:
    """Return the quantities of both formulas that have another number."""
    found: list[dict[str, int]] = [{}, {}]
    for letters, some in zip(found, (before, after), strict=True):
        for step in some:
            letters.update(step.expression.letters if step.expression else {})
    one, other = found
    pairs = ((name, one[name], other.get(name)) for name in one if base_of(name) == name)
    return [f"{name}: {old:,} -> {new:,}" for name, old, new in pairs if new not in (None, old)]


def in_one(step: Step) -> Step:
    """Return a line of tensors as one of weights: training has them in one line, serving each in its own."""
    return step._replace(name=step.component) if step.stored_as else step


def by_name(steps: Iterable[Step]) -> dict[str, list[Step]]:
    """Return lines by name: equal names are kinds of layers."""
    found: dict[str, list[Step]] = {}
    for step in steps:
        found.setdefault(step.name, []).append(step)
    return found


def formats(steps: Iterable[Step]) -> str:
    """Return the formats in which the tensors of some lines are stored."""
    return ", ".join(sorted({step.stored_as for step in steps if step.stored_as}))


def total(steps: Iterable[Step]) -> int:
    """Return the bytes of some lines."""
    return sum(step.value for step in steps)


def lines_differ(
    one: Mapping[str, Sequence[Step]], other: Mapping[str, Sequence[Step]], number: int
) -> Iterator[str]:
    """Yield the lines that only one plan has, or that are another number: the largest first."""
    found = []
    for name in dict.fromkeys((*one, *other)):
        old, new = total(one.get(name, ())), total(other.get(name, ()))
        if old == new:
            continue
        if name not in one:
            found.append((new, f"only in plan {number}: {name} {new:,}"))
        elif name not in other:
            found.append((-old, f"only in plan 1: {name} {old:,}"))
        else:
            words = ", ".join(numbers(one[name], other[name]))
            found.append((new - old, f"{name}: {old:,} -> {new:,}{f' ({words})' if words else ''}"))
    found.sort(key=lambda pair: -abs(pair[0]))
    named = LINES_NAMED if len(found) > LINES_NAMED + 1 else len(found)
    yield from (text for _, text in found[:named])
    if found[named:]:
        yield f"{len(found) - named} smaller lines: {sum(size for size, _ in found[named:]):+,} together"


# ---- words ----


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
