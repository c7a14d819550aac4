"""Models that see: a text model of a known type, a tower, and what joins them; a line or two a type.

Held against transformers 5.23 in tests/oracles.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import BadInputError
from memcalc.files.readers.towers import tower, tower_config
from memcalc.files.readers.vision import hidden_size_of, nested_text_model
from memcalc.ledger.model import Layer

if TYPE_CHECKING:
    from collections.abc import Callable

    from memcalc.files.config import Config
    from memcalc.ledger.model import Model, Named

    Join = Callable[[Config, Config, int], Named]

__all__ = ["MODELS", "seeing"]


class Seeing(NamedTuple):
    """What a type that sees consists of.

    `texts` are the known types of its text model and `towers` those of its tower, the first of which is meant
    where a file says nothing. `join` is what stands between tower and text model, by config, tower and the
    text model's width. `flat` types have files that state the text model's fields outside. With
    `tied_by_either` a text model that says so is tied, too. `harmless` are fields that change no memory.
    """

    texts: tuple[str, ...]
    towers: tuple[str, ...]
    join: Join | None = None
    flat: bool = False
    tied_by_either: bool = False
    harmless: tuple[str, ...] = ()


MODELS: dict[str, Seeing] = {
    "qwen2_vl": Seeing(("qwen2_vl_text",), ("qwen2_vl_vision",), flat=True, tied_by_either=True),
    "qwen2_5_vl": Seeing(("qwen2_5_vl_text",), ("qwen2_5_vl_vision",), flat=True, tied_by_either=True),
    "glm4v": Seeing(("glm4v_text",), ("glm4v_vision",), tied_by_either=True),
    "glm4v_moe": Seeing(("glm4v_moe_text",), ("glm4v_moe_vision",), tied_by_either=True),
    "glm46v": Seeing(("glm4v_text", "glm4v_moe_text"), ("glm4v_vision", "glm4v_moe_vision")),
    "glm_ocr": Seeing(("glm_ocr_text",), ("glm_ocr_vision",), tied_by_either=True),
}


def seeing(config: Config, name: str) -> Model:
    """Read a model of the table: the text model's parameters are its own, the tower's are counted apart.

    Raises
    ------
    BadInputError
        A text model or a tower is not understood, or the two do not fit.

    """
    words = MODELS[str(config.fields["model_type"])]
    for field in words.harmless:
        config.has(field)
    if words.flat and not config.has("text_config"):
        text = flat_text_model(config, name, words.texts[0])
    else:
        text = nested_text_model(config, name, *words.texts, tied_by_either=words.tied_by_either)
        for field, value in config.mapping("text_config").items() if words.flat else ():
            if field in config.fields and field not in ("model_type", "tie_word_embeddings"):
                config.restates(field, value)  # saved by transformers 4.5x: inside and outside
    width = hidden_size_of(text)
    vision = tower_config(config, *words.towers)
    layers = tower(vision, width)
    joined = (Layer(words.join(config, vision, width)),) if words.join else ()
    return replace(text, vision=(*layers, *joined))


def flat_text_model(config: Config, name: str, text_type: str) -> Model:
    """Return the text model of a file that states its fields outside, among those of the whole.

    Raises
    ------
    BadInputError
        There are no such fields.

    """
    outside = config.declared.defaults if config.declared else {}
    kept = ("model_type", "architectures", "auto_map", "quantization_config")
    inside = {key: value for key, value in config.fields.items() if key not in outside and key not in kept}
    if "hidden_size" not in inside:
        raise BadInputError("text_config", "an object", None, "add the object to config.json")
    config.read |= inside.keys()
    text = {**inside, "model_type": text_type, "tie_word_embeddings": config.flag("tie_word_embeddings")}
    if config.read_model is None:
        raise TypeError("text_config: no reader for it was given")
    outer = str(config.fields["model_type"])
    return replace(config.read_model(text, name), model_type=outer, text_type=text_type)
