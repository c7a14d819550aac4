"""Gemma 2 and 3, and Gemma 3's vision tower. Held against transformers 5.23 in tests/oracles."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.files.config_classes import config_class
from memcalc.files.readers.common import (
    SANDWICH_NORMS,
    check_head_width,
    decoder,
    decoder_layer,
    dense_mlp,
    gqa,
    periodic_windows,
    rope_parameters,
    scaled_positions,
    stack,
)
from memcalc.files.readers.vision import hidden_size_of, nested_text_model, vision_tower
from memcalc.ledger.parts import Linear, Norm, PositionTable

if TYPE_CHECKING:
    from memcalc.files.config import Config
    from memcalc.ledger.model import Layer, Model

__all__ = ["gemma2", "gemma3", "gemma3_text"]


def gemma(config: Config, name: str, found: tuple[int | None, ...], *, qk_norm: bool) -> Model:
    """Return a decoder with a norm before and behind each part, and a window (or None) for each layer."""
    check_head_width(config)
    config.restates("cache_implementation", "hybrid")  # what the class does anyway
    biased, width = config.flag("attention_bias"), config.size("hidden_size")
    layers = stack(
        found,
        lambda window: decoder_layer(
            gqa(config, window=window, biased=biased, qk_norm=qk_norm),
            dense_mlp(config),
            width,
            SANDWICH_NORMS,
        ),
    )
    return decoder(config, name, layers)


def gemma2(config: Config, name: str) -> Model:
    """Read Gemma 2: a window in every second layer, the same one where it sees both ways."""
    config.has("use_bidirectional_attention")
    return gemma(config, name, periodic_windows(config, 2), qk_norm=False)


def gemma3_text(config: Config, name: str) -> Model:
    """Read Gemma 3's text model: every sixth layer without a window, a norm on every query and key head.

    Layers with a window are rotated in their own way, so that each kind has its own table of sines.
    """
    config.has("_sliding_window_pattern")  # transformers writes down what it sets itself, and reads it never
    found = periodic_windows(config, config.size("sliding_window_pattern"))
    if config.flag("use_bidirectional_attention"):  # the class counts half of the window on each side
        found = tuple(None if window is None else window // 2 + 1 for window in found)
    model = gemma(config, name, found, qk_norm=True)
    if model.max_context is None:
        return model
    scaling = rope_parameters(config) or {}
    full, local = scaling.get("full_attention", scaling), scaling.get("sliding_attention", {})
    kinds = {full_layer: full if full_layer else local for full_layer in {window is None for window in found}}
    rows = (scaled_positions(config, kind, model.max_context) for kind in kinds.values())
    return replace(model, rotary_positions=sum(rows))


def gemma3(config: Config, name: str) -> Model:
    """Read Gemma 3: the text model, and SigLIP as its vision tower."""
    text = nested_text_model(config, name, "gemma3_text")
    return replace(text, vision=siglip(config, hidden_size_of(text)))


def siglip(config: Config, text_width: int) -> tuple[Layer, ...]:
    """Read SigLIP without its head, and the projection of its patches into the text model's stream."""
    vision = config.nested("vision_config", config_class("siglip_vision_model"))
    vision.restates("model_type", "siglip_vision_model")
    if vision.flag("vision_use_head"):
        raise BadInputError("vision_use_head", "false", "true", "Gemma 3 has no head there: none is counted")
    width, side = vision.size("hidden_size"), vision.size("image_size") // vision.size("patch_size")
    into = Linear(width, text_width)
    projection = (("multi_modal_projector", into), ("multi_modal_projector.mm_soft_emb_norm", Norm(width)))
    kernel = vision.size("num_channels"), None
    return vision_tower(vision, kernel, PositionTable(((side, side),), width), projection)
