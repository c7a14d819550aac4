"""Mistral 3 with Pixtral as its vision tower. Held against transformers 5.23 in tests/oracles."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.files.config_classes import config_class
from memcalc.files.readers.common import check_head_width
from memcalc.files.readers.vision import Patches, hidden_size_of, nested_text_model
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import GQA, MLP, Linear, Norm

if TYPE_CHECKING:
    from memcalc.files.config import Config
    from memcalc.ledger.model import Model

__all__ = ["mistral3"]


def mistral3(config: Config, name: str) -> Model:
    """Read Mistral Small 3.1 to 4, and Ministral 3: a text model, and Pixtral before it."""
    text = nested_text_model(config, name, "mistral", "ministral3", "mistral4")
    return replace(text, vision=pixtral(config, hidden_size_of(text)))


def pixtral(config: Config, text_width: int) -> tuple[Layer, ...]:
    """Read Pixtral, which has no table of positions, and what joins neighbouring patches.

    Raises
    ------
    BadInputError
        The projection would see several layers of the tower.

    """
    vision = config.nested("vision_config", config_class("pixtral"))
    vision.restates("model_type", "pixtral")
    check_head_width(vision)
    if type(config.value("vision_feature_layer")) is not int:
        given, remedy = config.value("vision_feature_layer"), "several layers are not understood"
        raise BadInputError("vision_feature_layer", "one layer", given, remedy)
    width, heads = vision.size("hidden_size"), vision.size("num_attention_heads")
    vision.restates("head_dim", width // heads)
    vision.has("image_size")
    vision.has("vocab_size")
    merged = width * config.size("spatial_merge_size") ** 2
    biased, norm = config.flag("multimodal_projector_bias"), Norm(width)
    name = "vision_tower.layers.{layer}."
    layer = (
        (f"{name}attention", GQA(width, heads, heads, width // heads)),
        (f"{name}feed_forward", MLP(width, vision.size("intermediate_size"))),
        (f"{name}attention_norm", norm),
        (f"{name}ffn_norm", norm),
    )
    into = (
        ("multi_modal_projector.norm", norm),
        ("multi_modal_projector.patch_merger.merging_layer", Linear(width, merged)),
        ("multi_modal_projector.linear_1", Linear(text_width, width, bias=biased)),
        ("multi_modal_projector.linear_2", Linear(text_width, text_width, bias=biased)),
    )
    kernel = Patches(width, vision.size("num_channels"), vision.size("patch_size"), bias=False)
    return (
        Layer((("vision_tower.patch_conv", kernel), ("vision_tower.ln_pre", norm))),
        Layer(layer, times=vision.size("num_hidden_layers")),
        Layer(into),
    )
