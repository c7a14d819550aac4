"""Llama 4 and its vision tower. Held against transformers 5.23 in tests/oracles."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.errors import BadInputError
from memcalc.files.config_classes import config_class
from memcalc.files.readers.common import decoder, decoder_layer, head_counts, moe, stack
from memcalc.files.readers.vision import (
    Values,
    hidden_size_of,
    nested_text_model,
    tower_of_class,
    vision_tower,
)
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import GQA, MLP, Linear, MoE, PositionTable

if TYPE_CHECKING:
    from memcalc.files.config import Config
    from memcalc.ledger.model import Model

__all__ = ["ChunkedGQA", "EveryExpert", "llama4", "llama4_text"]

KINDS = ("chunked_attention", "full_attention")


@record
class ChunkedGQA(GQA):
    """Attention that sees nothing before its own chunk of `window` tokens: it keeps so many at most.

    Source: huggingface/transformers v5.23, masking_utils.py (create_chunked_causal_mask), 2026-11.

    >>> part = ChunkedGQA(width=64, heads=4, kv_heads=2, head_dim=16, window=8192)
    >>> part.chunked, part.window
    (True, 8192)
    """

    chunked = True  # engines whose rule for chunks is another than that for windows look here


@record
class EveryExpert(MoE):
    """Experts of which transformers gives every one every token, scaled by zero where it was not chosen.

    Source: huggingface/transformers v5.23, models/llama4/modeling_llama4.py (Llama4TextMoe), 2026-11.

    >>> EveryExpert(width=64, expert_width=16, experts=8, top_k=1).run_for_every_token
    True
    """

    run_for_every_token = True  # a pass of transformers is as wide as all of them together


def llama4_text(config: Config, name: str) -> Model:
    """Read Llama 4's text model: three layers of four see a chunk of tokens, every n-th has experts."""
    for field in ("use_qk_norm", "attn_temperature_tuning", "floor_scale", "attn_scale"):
        config.has(field)  # scales and a norm without weights
    width, depth = config.size("hidden_size"), config.size("num_hidden_layers")
    heads, biased = head_counts(config), config.flag("attention_bias")
    shared = config.size("intermediate_size")
    mixed = experts(config, depth)
    for field in ("num_local_experts", "num_experts_per_tok"):
        config.has(field)  # needed only where there are some: Llama Guard 4 has none
    sparse = None
    if any(mixed):
        routed = moe(config, "num_local_experts", "intermediate_size", shared_width=shared)
        sparse = EveryExpert(**vars(routed))
    dense = MLP(width, config.size("intermediate_size_mlp"))

    def layer(kind: tuple[int | None, bool]) -> Layer:
        window, has_experts = kind
        attends = GQA if window is None else ChunkedGQA
        attention = attends(width, *heads, window=window, qkv_bias=biased, out_bias=biased)
        return decoder_layer(attention, sparse if has_experts and sparse else dense, width)

    layers = stack(zip(chunks(config, depth), mixed, strict=True), layer)
    return decoder(config, name, layers)


def chunks(config: Config, depth: int) -> tuple[int | None, ...]:
    """Return the chunk of each layer; layers without rotation have none."""
    interval, rotated = config.size("no_rope_layer_interval"), config.whole_numbers("no_rope_layers")
    if rotated and len(rotated) < depth:
        raise BadInputError("no_rope_layers", f"{depth} numbers, one a layer", list(rotated), "correct it")
    turns = rotated or tuple((index + 1) % interval for index in range(depth))
    kinds = config.words("layer_types", KINDS, depth)
    found = [KINDS[not turn] for turn in turns[:depth]] if kinds is None else kinds
    chunk = config.optional("attention_chunk_size")
    if chunk is None and KINDS[0] in found:
        remedy = "a chunked layer needs it; without it the class refuses, too"
        raise BadInputError("attention_chunk_size", "a whole number >= 1", None, remedy)
    return tuple(chunk if kind == KINDS[0] else None for kind in found)


def experts(config: Config, depth: int) -> tuple[bool, ...]:
    """Say of each layer whether it has experts: those that are listed, or every n-th."""
    listed = config.whole_numbers("moe_layers")
    if config.has("moe_layers"):
        config.has("interleave_moe_layer_step")
        return tuple(index in listed for index in range(depth))
    step = config.size("interleave_moe_layer_step")
    return tuple((index + 1) % step == 0 for index in range(depth))


def llama4(config: Config, name: str) -> Model:
    """Read Llama 4: the text model, and its vision tower, the class's default one where none is stated."""
    text = nested_text_model(config, name, "llama4_text", tied_inside=True)
    if not config.has("vision_config"):
        text, made = tower_of_class(config, text)
        if not made:
            return text
    return replace(text, vision=tower(config, hidden_size_of(text)))


def tower(config: Config, text_width: int) -> tuple[Layer, ...]:
    """Read the vision tower: a vector for the whole image beside its patches, and an adapter behind it."""
    vision = config.nested("vision_config", config_class("llama4_vision_model"))
    vision.restates("model_type", "llama4_vision_model")
    # the last is never read, the others shape no matrix: neighbouring patches are put together
    for field in ("pixel_shuffle_ratio", "vision_feature_select_strategy", "multi_modal_projector_bias"):
        vision.has(field)
    width, patch, inner = (vision.size(one) for one in ("hidden_size", "patch_size", "intermediate_size"))
    before, after, seen = (
        vision.size(one) for one in ("projector_input_dim", "projector_output_dim", "vision_output_dim")
    )
    positions = PositionTable(((vision.size("image_size") // patch) ** 2 + 1,), width)
    behind = (
        ("vision_tower.vision_adapter.mlp.fc1", Linear(before, inner)),
        ("vision_tower.vision_adapter.mlp.fc2", Linear(after, after)),
        ("multi_modal_projector.linear_1", Linear(text_width, seen)),
    )
    first, *rest = vision_tower(vision, (vision.size("num_channels"), None), positions, behind)
    norm = dict(rest[-1].parts)["vision_tower.norm"]
    patches = Linear(width, vision.size("num_channels") * patch**2)
    extra = (
        ("vision_tower.class_embedding", Values((width,), "positions")),
        ("vision_tower.norm_before", norm),
    )
    return (Layer((("vision_tower.patches", patches), *first.parts[1:], *extra)), *rest)
