"""What trainers do where nothing is said: each default with the version of the tool and where it is read."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from memcalc.data import open_text
from memcalc.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memcalc.training.options import TrainingOptions

__all__ = ["Fact", "Trainer", "trained_kind", "trainers"]

OF_A_TRAINER = ("name", "version", "date", "source", "facts")
OF_A_FACT = ("option", "value", "source")


class Fact(NamedTuple):
    """A default of a trainer: the option, its value, where that is read, and for which plans it holds.

    `when` has an option's name, or ``trains`` (`trained_kind`), with the values for which it holds; an option
    that is left open takes the value of the one that it is the `same_as`, if that is stated.
    """

    option: str
    value: Any
    source: str
    when: Mapping[str, list[Any]] = {}
    same_as: str = ""

    def holds(self, options: TrainingOptions) -> bool:
        """Say whether the default is that of a plan."""
        asked = {
            "trains": trained_kind(options),
            "shard": options.shard,
            "optimizer": options.optimizer or "adamw",
            "world": options.world,
            "evaluate": options.evaluate,
        }
        return all(asked[name] in values for name, values in self.when.items())

    def of(self, options: TrainingOptions) -> Fact:
        """Return the fact with the value that it has beside what else is stated."""
        stated = getattr(options, self.same_as) if self.same_as else None
        return self if stated is None else self._replace(value=stated)


class Trainer(NamedTuple):
    """A tool that trains, at a version."""

    name: str
    version: str
    date: str
    source: str
    facts: tuple[Fact, ...]
    widens_outputs: str = ""  # where that is read, of one that copies 16-bit logits to 32 under autocast
    loads_in_32_bits: str = ""  # where that is read, of a trainer that asks for them whatever it trains in

    @property
    def called(self) -> str:
        """Its name and its version."""
        return f"{self.name} {self.version}"

    def defaults(self, options: TrainingOptions) -> dict[str, Fact]:
        """Return its defaults for what options train, by option.

        >>> from memcalc.training.options import TrainingOptions
        >>> found = trainers()["trl"].defaults(TrainingOptions(seq=1024))
        >>> found["recompute"].value, found["micro_batch"].value, found["regime"].value
        ('full', 8, 'amp')
        """
        return {fact.option: fact.of(options) for fact in self.facts if fact.holds(options)}


def trained_kind(options: TrainingOptions) -> str:
    """Return what is trained: all weights, adapters, or adapters on a quantised base.

    >>> from memcalc.training.options import TrainingOptions
    >>> trained_kind(TrainingOptions(seq=1, lora_rank=8))
    'adapters'
    """
    if options.lora_rank is None:
        return "all weights"
    return "adapters" if options.quantize_base is None else "adapters on a quantised base"


@cache
def trainers() -> Mapping[str, Trainer]:
    """Return the trainers of the record by id; one without a source, or a fact without, does not load."""
    with open_text("trainers.json") as file:
        record: dict[str, dict[str, Any]] = json.load(file)
    return {name: trainer_of(name, fields) for name, fields in record.items()}


def trainer_of(name: str, fields: dict[str, Any]) -> Trainer:
    """Return a trainer of the record.

    Raises
    ------
    BadInputError
        It, or one of its facts, does not say where it is read.

    """
    refuse_unstated(name, fields, OF_A_TRAINER)
    for fact in fields["facts"]:
        refuse_unstated(f"{name}, {fact.get('option')}", fact, OF_A_FACT)
    return Trainer(**{**fields, "facts": tuple(Fact(**one) for one in fields["facts"])})


def refuse_unstated(name: str, fields: dict[str, Any], needed: tuple[str, ...]) -> None:
    """Refuse an entry without what every entry states."""
    for one in needed:
        if fields.get(one) in (None, "", []):
            raise BadInputError(f"trainers.json: {name}", f"its {one}", fields.get(one), "state it")
