"""Whose class a config names: its own type's, another one's, or nobody's."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError, RefusalError
from memcalc.files.config_classes import stem, types_by_stem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

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
        name = shown.rpartition(".")[2]
        found = stem(name)
        if found in {*own, ""}:
            check_structure(model, field, shown, name.partition("For")[2])
            continue
        other = types_by_stem().get(found)
        if other is None:
            check_structure(model, field, shown, name)
            named.append(f"{field} {shown!r}")
        elif not is_the_same(model, other, config):
            model_type = config.fields["model_type"]
            expected, given = f"a class of {model_type}, as model_type says", f"{shown}, of {other}"
            raise BadInputError(field, expected, given, "correct whichever of the two is wrong")
    return replace(model, not_read=(*model.not_read, *dict.fromkeys(named))) if named else model


def has_states(model: Model) -> bool:
    """Say whether a sequence leaves a state of fixed size behind."""
    return any(one.kind == "state" for one in model.cache(1, 1))


# what a word of a class's name speaks of, and how a model shows that it has some
STRUCTURES: tuple[tuple[str, Callable[[Model], bool]], ...] = (
    ("MoE|Moe|MOE|Mixture|Experts?", lambda model: any(one.experts > 1 for one in model.weights())),
    ("Mamba|SSM|Ssm|RWKV|Rwkv|Hybrid|Linear", has_states),
    ("MTP|Mtp|NextN", lambda model: model.mtp_parameters > 0),
    ("Vision|VL|Llava|Audio|Speech|Omni|Multimodal|MultiModal", lambda model: model.vision_parameters > 0),
    (
        "Medusa|Eagle|EAGLE|Hydra|Draft|Speculat(?:ive|or)|LoRA|Lora|Adapter|Cross|Encoder|MLA",
        lambda _model: False,
    ),
)


def check_structure(model: Model, field: str, shown: str, name: str) -> None:
    """Refuse a class whose name speaks of parts that the model, as its type is read, has none of.

    Raises:
        BadInputError: it does.

    """
    for words, has in STRUCTURES:
        found = re.search(rf"(?:{words})(?![a-z])", name)
        if found and not has(model):
            expected = f"a class of {model.model_type} without {found[0]}, which its reader does not know"
            remedy = "its tensors are not known; its .safetensors or .gguf alone gives the weights"
            raise BadInputError(field, expected, shown, remedy)


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
