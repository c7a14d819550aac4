"""Kimi-K2.5: Kimi-K2 and MoonViT. Held against transformers 5.23 in tests/oracles."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.files.config_classes import config_class
from memcalc.files.readers.vision import hidden_size_of, nested_text_model, vision_tower
from memcalc.ledger.parts import Linear, Norm, PositionTable

if TYPE_CHECKING:
    from memcalc.files.config import Config
    from memcalc.ledger.model import Layer, Model

__all__ = ["kimi_k25"]

# Moonshot's own names of fields, and transformers'
NAMES = {
    "vt_hidden_size": "hidden_size",
    "vt_intermediate_size": "intermediate_size",
    "vt_num_attention_heads": "num_attention_heads",
    "vt_num_hidden_layers": "num_hidden_layers",
    "init_pos_emb_height": "pos_emb_height",
    "init_pos_emb_width": "pos_emb_width",
    "init_pos_emb_time": "pos_emb_time",
}
# What is known under one name only: with another the tower would have other parts.
KINDS = {
    "model_type": ("kimi_k25_vision", ""),
    "merge_type": ("sd2_tpool",),
    "mm_projector_type": ("patchmerger",),
    "pos_emb_type": ("divided_fixed",),
    "video_attn_type": ("spatial_temporal",),
}


def kimi_k25(config: Config, name: str) -> Model:
    """Read Kimi-K2.5: Kimi-K2 as the text model, and MoonViT as its vision tower."""
    text = nested_text_model(config, name, "deepseek_v3", "kimi_k2")
    return replace(text, vision=moonvit(config, hidden_size_of(text)))


def moonvit(config: Config, text_width: int) -> tuple[Layer, ...]:
    """Read MoonViT, and the two matrices that make one vector of a few neighbouring patches.

    The positions in time are computed, not learned: no tensor holds them.

    Raises
    ------
    BadInputError
        A field contradicts another, or it is not said how many patches are joined.

    """
    vision = config.nested("vision_config", config_class("kimi_k25_vision"), NAMES)
    vision.restates("text_hidden_size", text_width)
    vision.restates("mm_hidden_size", config.size("projection_hidden_size"))
    for field, known in KINDS.items():
        vision.restates(field, *known)
    width, joined = vision.size("hidden_size"), vision.whole_numbers("merge_kernel_size")
    if len(joined) != 2 or min(joined) < 1:
        remedy = "give how many patches become one, in height and in width"
        raise BadInputError("merge_kernel_size", "two whole numbers >= 1", list(joined), remedy)
    merged = width * prod(joined)
    projection = (
        ("mm_projector.pre_norm", Norm(config.size("projection_hidden_size"), bias=True)),
        ("mm_projector.in_proj", Linear(merged, merged, bias=True)),
        ("mm_projector.out_proj", Linear(text_width, merged, bias=True)),
    )
    positions = PositionTable((vision.size("pos_emb_height"), vision.size("pos_emb_width")), width)
    vision.has("pos_emb_time")
    return vision_tower(vision, (3, None), positions, projection)
