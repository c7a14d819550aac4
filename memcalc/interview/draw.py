"""What a seed draws: all that a template allows, in an order that repeats nothing before it must."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import product
from math import gcd
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

from memcalc.interview.facts import device_facts, model_facts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from memcalc.interview.sums import Number
    from memcalc.interview.template import Template

__all__ = ["Known", "drawn", "sample", "shuffled"]

T = TypeVar("T")


class Known(Mapping[str, Any]):
    """What a question may name: what was drawn, its facts, and the values of steps as they are found.

    Parameters
    ----------
    template : Template
        Whose facts are asked of the ledger, each when it is named.
    given : mapping
        What was drawn.

    """

    def __init__(self, template: Template, given: Mapping[str, Any]) -> None:
        self.template, self.found = template, dict(given)
        self.given = SimpleNamespace(**given)

    def __getitem__(self, name: str) -> Any:
        if name not in self.found:
            self.found[name] = self.fact(name)
        return self.found[name]

    def fact(self, name: str) -> Number:
        """Return a fact of the template, of the model or of the device."""
        if name in self.template.facts:
            return int(self.template.facts[name](self.given))
        for thing, facts in (("model", model_facts), ("device", device_facts)):
            if thing in self.found and name in (known := facts(self.found[thing])):
                return known[name]
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)

    def beside(self, more: Mapping[str, Any]) -> Known:
        """Return the same with more."""
        return Known(self.template, {**vars(self.given), **more})


@cache
def combinations(template: Template) -> tuple[Mapping[str, Any], ...]:
    """Return all that a template allows to be drawn."""
    names = tuple(template.draws)
    found = (dict(zip(names, values, strict=True)) for values in product(*template.draws.values()))
    return tuple(one for one in found if template.where is None or template.where(SimpleNamespace(**one)))


def drawn(template: Template, seed: int) -> Known:
    """Return what a seed draws: another combination for each seed until all have been drawn.

    Parameters
    ----------
    template : Template
        Of what.
    seed : int
        Which; not negative.

    """
    allowed = combinations(template)
    count = len(allowed)
    start = int(chance(template.id).random() * count)
    return Known(template, allowed[(start + seed * stride(count)) % count])


def chance(*seed: object) -> Random:
    """Return a source of numbers that a seed decides."""
    return Random("/".join(map(str, seed)))  # noqa: S311 (what is drawn shall be drawn again)


def stride(count: int) -> int:
    """Return a step that meets each of `count` places once, and goes far each time."""
    step = max(1, round(count * 0.618))
    while gcd(step, count) != 1:
        step += 1
    return step


def shuffled(items: Sequence[T], *seed: object) -> list[T]:
    """Return items in an order that a seed decides, the same in every release of Python."""
    drawing = chance(*seed)
    keyed = sorted((drawing.random(), index) for index in range(len(items)))
    return [items[index] for _, index in keyed]


def sample(items: Sequence[T], count: int, *seed: object) -> list[T]:
    """Return some of the items, drawn by a seed."""
    return shuffled(items, *seed)[:count]
