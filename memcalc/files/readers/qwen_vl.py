"""Qwen3-VL, Qwen3.5 and 3.6 with their vision tower. Held against transformers 5.23 in tests/oracles."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.files.config_classes import config_class
from memcalc.files.readers.common import decoder, decoder_layer, dense_mlp, gqa, moe, stack
from memcalc.files.readers.vision import hidden_size_of, nested_text_model, tower_of_class, vision_tower
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import Linear, Norm, PositionTable

if TYPE_CHECKING:
    from memcalc.files.config import Config
    from memcalc.ledger.model import Model

__all__ = ["qwen3_vl", "qwen3_vl_moe_text", "qwen3_vl_text"]


def qwen3_vl_text(config: Config, name: str) -> Model:
    """Read Qwen3-VL's text model: Qwen3 without windows."""
    attention = gqa(config, biased=config.flag("attention_bias"), qk_norm=True)
    layer = decoder_layer(attention, dense_mlp(config), config.size("hidden_size"))
    return decoder(config, name, [layer] * config.size("num_hidden_layers"))


def qwen3_vl_moe_text(config: Config, name: str) -> Model:
    """Read Qwen3-VL-MoE's text model: experts every `decoder_sparse_step` layers, as in Qwen3-MoE."""
    attention = gqa(config, biased=config.flag("attention_bias"), qk_norm=True)
    plain, step = config.whole_numbers("mlp_only_layers"), config.size("decoder_sparse_step")
    config.has("intermediate_size")  # the width of dense layers: needed only where there are some
    config.flag("norm_topk_prob")  # the class does it whatever it says
    sparse, width = moe(config, "num_experts", normed=True), config.size("hidden_size")
    layers = stack(
        (index in plain or (index + 1) % step > 0 for index in range(config.size("num_hidden_layers"))),
        lambda is_plain: decoder_layer(attention, dense_mlp(config) if is_plain else sparse, width),
    )
    return decoder(config, name, layers)


def qwen3_vl(config: Config, name: str) -> Model:
    """Read a text model and its vision tower; the type of the text model's config has a word more.

    The class gives a config without a tower its default one, whose outputs are 3,584 wide, whatever the text
    model's width.
    """
    kind = str(config.fields["model_type"])
    text = nested_text_model(config, name, f"{kind}_text")
    if config.has("vision_config"):
        return replace(text, vision=tower(config, kind, hidden_size_of(text)))
    text, made = tower_of_class(config, text)
    return replace(text, vision=tower(config, kind, None)) if made else text


def tower(config: Config, kind: str, text_width: int | None) -> tuple[Layer, ...]:
    """Read the tower: patches in space and time, and a merger of neighbours at the end.

    Qwen3-VL merges after some layers, too, and adds what comes out to the first layers of the text model.
    Outputs have the text model's width, or without one that of the class.
    """
    vision = config.nested("vision_config", config_class(f"{kind}_vision"))
    vision.restates("model_type", kind, f"{kind}_vision")
    text_width = text_width or vision.size("out_hidden_size")
    if vision.size("out_hidden_size") != text_width:
        expected, given = f"{text_width}, the text model's hidden_size", vision.size("out_hidden_size")
        raise BadInputError("out_hidden_size", expected, given, "correct one of the two")
    width = vision.size("hidden_size")
    merged = width * vision.size("spatial_merge_size") ** 2
    into = (Linear(merged, merged, bias=True), Linear(text_width, merged, bias=True))
    merger = (("merger.linear_fc1", into[0]), ("merger.linear_fc2", into[1]))
    positions = PositionTable((vision.size("num_position_embeddings"),), width)
    kernel = vision.size("in_channels"), vision.size("temporal_patch_size")
    layers = vision_tower(vision, kernel, positions, merger)
    after = len(vision.whole_numbers("deepstack_visual_indexes"))
    if not after:
        return layers
    deep = "deepstack.{layer}."
    mergers = Layer(
        (
            (f"{deep}norm", Norm(merged, bias=True)),
            (f"{deep}linear_fc1", into[0]),
            (f"{deep}linear_fc2", into[1]),
        ),
        times=after,
    )
    return (*layers, mergers)
