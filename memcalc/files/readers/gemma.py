"""Gemma 2 and 3, and Gemma 3's vision tower. Held against transformers 5.23 in tests/oracles."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.files.config import Config
from memcalc.files.readers.common import (
    SANDWICH,
    block,
    decoder,
    dense,
    gqa,
    patterned,
    refuse_broken_heads,
    rope_fields,
    scaled_positions,
    stack,
)
from memcalc.files.readers.vision import seeing, tower
from memcalc.ledger.parts import Linear, Norm, PositionTable

if TYPE_CHECKING:
    from memcalc.ledger.model import Layer, Model

__all__ = ["gemma2", "gemma3", "gemma3_text"]


def gemma(config: Config, name: str, found: tuple[int | None, ...], *, qk_norm: bool) -> Model:
    """Return a decoder with a norm before and behind each part, and these windows."""
    refuse_broken_heads(config)
    config.restates("cache_implementation", "hybrid")  # what the class does anyway
    biased, width = config.flag("attention_bias"), config.size("hidden_size")
    layers = stack(
        found,
        lambda window: block(
            gqa(config, window=window, biased=biased, qk_norm=qk_norm), dense(config), width, SANDWICH
        ),
    )
    return decoder(config, name, layers)


def gemma2(config: Config, name: str) -> Model:
    """Read Gemma 2: a window in every second layer."""
    return gemma(config, name, patterned(config, 2), qk_norm=False)


def gemma3_text(config: Config, name: str) -> Model:
    """Read Gemma 3's text model: every sixth layer without a window, a norm on every query and key head.

    Layers with a window are rotated in their own way, so that each kind has its own table of sines.
    """
    config.has("_sliding_window_pattern")  # transformers writes down what it sets itself, and reads it never
    found = patterned(config, config.size("sliding_window_pattern"))
    model = gemma(config, name, found, qk_norm=True)
    if model.max_context is None:
        return model
    scaling = rope_fields(config) or {}
    full, local = scaling.get("full_attention", scaling), scaling.get("sliding_attention", {})
    kinds = {full_layer: full if full_layer else local for full_layer in {window is None for window in found}}
    rows = (scaled_positions(config, kind, model.max_context) for kind in kinds.values())
    return replace(model, rotary_positions=sum(rows))


def gemma3(config: Config, name: str) -> Model:
    """Read Gemma 3: the text model, and SigLIP beside it."""
    return replace(seeing(config, name, "gemma3_text"), vision=siglip(config))


def siglip(config: Config) -> tuple[Layer, ...]:
    """Read SigLIP without its head, and the projection of its patches into the text model's stream.

    Raises:
        BadInputError: there is a head.

    """
    fields = {"model_type": "siglip_vision_model", **config.mapping("vision_config")}
    vision = Config(fields, num_channels=3, vision_use_head=True)
    vision.restates("model_type", "siglip_vision_model")
    if vision.flag("vision_use_head"):
        raise BadInputError("vision_use_head", "false", "true", "Gemma 3 has no head there: none is counted")
    width, side = vision.size("hidden_size"), vision.size("image_size") // vision.size("patch_size")
    into = Linear(width, Config(config.mapping("text_config")).size("hidden_size"))
    projection = (("multi_modal_projector", into), ("multi_modal_projector.mm_soft_emb_norm", Norm(width)))
    layers = tower(vision, vision.size("num_channels"), PositionTable(((side, side),), width), projection)
    vision.refuse_unread()
    return layers
