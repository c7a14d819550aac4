"""A model becomes its own formula: letters in the place of its numbers."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from memcalc.formula.expression import PRIME, symbol
from memcalc.ledger.model import Layer, Model
from memcalc.ledger.vocabulary import WORDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sympy

    from memcalc.ledger.parts import Part

__all__ = ["Lifted", "lift"]


class Lifted(NamedTuple):
    """A model with letters in the place of numbers, and the numbers."""

    model: Model
    numbers: dict[str, int]


def lift(model: Model) -> Lifted:
    """Replace each number of a model's parts by the symbol of its field, and remember the numbers.

    Equal layers become one layer, counted by a symbol: ``depth`` where all layers are equal, otherwise the
    word of the part that tells them apart, or ``other_depth`` where no single part does. Two numbers of one
    name in one model get a prime.

    >>> import memcalc
    >>> from memcalc.formula import derive
    >>> lifted = lift(memcalc.model("Qwen/Qwen3-32B"))
    >>> derive(lifted.model.weights()).value(**lifted.numbers)
    32762123264
    """
    numbers: dict[str, int] = {}

    def letter(name: str, number: int) -> sympy.Symbol:
        while numbers.setdefault(name, number) != number:
            name += PRIME
        return symbol(name)

    def lifted(part: Any) -> Any:
        found = {item.name: getattr(part, item.name) for item in fields(part)}
        single = {name: letter(name, n) for name, n in found.items() if type(n) is int}
        lists = {name: each for name, each in found.items() if type(each) is tuple and name in WORDS}
        return replace(part, **single, **{n: tuple(letter(n, i) for i in each) for n, each in lists.items()})

    def named(parts: Sequence[tuple[str, Part]]) -> tuple[tuple[str, Part], ...]:
        return tuple((name, lifted(part)) for name, part in parts)

    def times(group: Layer) -> sympy.Symbol:
        name = counted(group, model.groups)
        while name in numbers:  # two kinds of layers that happen to be equally many are still two quantities
            name += PRIME
        return letter(name, group.times)

    outside = named(model.outside)
    layers = tuple(Layer(named(group.parts), times(group), group.formats) for group in model.groups)
    return Lifted(Model(model.name, model.model_type, layers, outside, model.tied), numbers)


def counted(layer: Layer, groups: Sequence[Layer]) -> str:
    """Return the word for how many layers are like this one: that of the part that sets them apart."""
    others = [part for group in groups if group is not layer for _, part in group.parts]
    own = [part for _, part in layer.parts if part not in others]
    if len(groups) == 1:
        return "depth"
    if own and getattr(own[0], "window", None) is not None:
        return "window_depth"
    return next((part.counted for part in own if part.counted != "depth"), "other_depth")
