"""A model whose numbers know their names: its parts, its formats, and how many layers are alike."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from memcalc.data.record import record
from memcalc.ledger.model import Layer, Model
from memcalc.ledger.vocabulary import WORDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from memcalc.ledger.formats import Format, Rule
    from memcalc.ledger.parts import Part
    from memcalc.ledger.tensor import Tensor
    from memcalc.show.traced import Names

__all__ = ["NamedModel", "group_names", "named_format", "named_model", "named_ranks", "named_rule"]

RANKS = ("tp", "pp", "ep", "dp", "dcp", "attention_dp", "cp", "world")


@record
class NamedModel(Model):
    """A model that counts equal layers in named numbers, those of its pipeline stages too."""

    names: Any = None

    @cached_property
    def groups(self) -> tuple[Layer, ...]:
        """Equal layers once, with a named number of them."""
        plain = super().groups
        words = group_names(plain)
        return tuple(
            group if group.times == 1 else replace(group, times=self.names(word, group.times))
            for group, word in zip(plain, words, strict=True)
        )


def group_names(groups: tuple[Layer, ...]) -> list[str]:
    """Return the word for how many layers are like each: that of the part which sets them apart."""
    found = []
    for layer in groups:
        others = [part for group in groups if group is not layer for _, part in group.parts]
        own = [part for _, part in layer.parts if part not in others]
        word = "depth"
        if len(groups) > 1 and any(getattr(part, "window", None) is not None for part in own):
            word = "window_depth"
        elif len(groups) > 1:
            word = next((part.counted for part in own if part.counted != "depth"), word)
        found.append(word)
    return found


def named_model(model: Model, names: Names) -> NamedModel:
    """Return a model whose parts have named numbers; equal layers stay one object."""
    parts: dict[int, Part] = {}
    layers: dict[int, Layer] = {}

    def part_of(part: Part) -> Part:
        if id(part) not in parts:
            parts[id(part)] = named_part(part, names)
        return parts[id(part)]

    def named(pairs: tuple[tuple[str, Part], ...]) -> tuple[tuple[str, Part], ...]:
        return tuple((name, part_of(part)) for name, part in pairs)

    def layer_of(layer: Layer) -> Layer:
        if id(layer) not in layers:
            layers[id(layer)] = replace(layer, parts=named(layer.parts))
        return layers[id(layer)]

    found = {one.name: getattr(model, one.name) for one in fields(Model)}
    found["outside"] = named(model.outside)
    for name in ("layers", "mtp", "vision"):
        found[name] = tuple(map(layer_of, getattr(model, name)))
    return NamedModel(**found, names=names)


def named_part(part: Any, names: Names) -> Part:
    """Return a part whose sizes know the names of their fields; what is no whole number stays."""
    values = {one.name: getattr(part, one.name) for one in fields(part) if one.name in WORDS}
    sizes = {name: names(name, value) for name, value in values.items() if type(value) is int and value > 0}
    found: Part = replace(part, **sizes)
    return found


def named_format(form: Format, names: Names) -> Format:
    """Return a format whose numbers have a named width; of blocks the numbers are the format's own."""
    if not form.is_plain or form.bits % 8:
        return form
    return replace(form, bits=8 * names("bytes_per_element", form.bits // 8))


def named_rule(rule: Rule, names: Names) -> Callable[[Tensor], Format]:
    """Return a rule that gives named formats."""
    known: dict[int, Format] = {}

    def named(tensor: Tensor) -> Format:
        form = rule(tensor)
        if id(form) not in known:
            known[id(form)] = named_format(form, names)
            kept.append(form)
        return known[id(form)]

    kept: list[Format] = []  # an id stays one format's as long as that lives
    return named


def named_ranks(ranks: Any, names: Names) -> Any:
    """Return ranks by their names, but where there is one alone."""
    found = {name: getattr(ranks, name, 1) for name in RANKS if name in ranks._fields}
    return ranks._replace(**{name: names(name, n) for name, n in found.items() if n > 1})
