"""Whose class a config names: its own type's, another one's, or nobody's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError, RefusalError
from memcalc.files.config_classes import stem, types_by_stem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from memcalc.files.config import Config
    from memcalc.ledger.model import Model

__all__ = ["checked_against"]


def checked_against(model: Model, first: str, own: Collection[str], config: Config) -> Model:
    """Return a model whose classes are not another type's; those that nobody has are named in it.

    Parameters
    ----------
    model : Model
        The model as its type is read.
    first : str
        The class that `architectures` names first; empty where it names none.
    own : collection of str
        The stems of the type's own classes.
    config : Config
        The config.json; its `auto_map` names classes in code that lies beside the weights.

    Raises
    ------
    BadInputError
        A class belongs to another type, whose tensors or cache are others.

    """
    named = []
    for field, shown in (("architectures", first), *own_code(config.fields.get("auto_map"))):
        found = stem(shown.rpartition(".")[2])
        if found in {*own, ""}:
            continue
        other = types_by_stem().get(found)
        if other is None:
            named.append(f"{field} {shown!r}")
        elif not is_the_same(model, other, config):
            model_type = config.fields["model_type"]
            expected, given = f"a class of {model_type}, as model_type says", f"{shown}, of {other}"
            raise BadInputError(field, expected, given, "correct whichever of the two is wrong")
    return replace(model, not_read=(*model.not_read, *dict.fromkeys(named))) if named else model


def own_code(stated: object) -> Iterator[tuple[str, str]]:
    """Yield the classes of models that an `auto_map` names."""
    for task, named in stated.items() if isinstance(stated, dict) else ():
        if str(task).startswith("AutoModel") and isinstance(named, str):
            yield "auto_map", named


def is_the_same(model: Model, other: str, config: Config) -> bool:
    """Say whether a config means the same tensors and the same cache if another type reads it."""
    if config.read_model is None:
        return False
    left_out = ("architectures", "auto_map")
    fields = {name: value for name, value in config.fields.items() if name not in left_out}
    try:
        found = config.read_model({**fields, "model_type": other}, model.name)
    except RefusalError:
        return False
    return list(found.weights()) == list(model.weights()) and found.layers == model.layers
