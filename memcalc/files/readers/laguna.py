"""Laguna. Held against transformers 5.23 in tests/oracles."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.files.readers.common import decoder, decoder_layer, dense_mlp, gqa, stack
from memcalc.files.readers.variants import beside_shared, full_where, listed_dense, pass_over_widths, rotated
from memcalc.ledger.parts import Linear

if TYPE_CHECKING:
    from memcalc.files.config import Config
    from memcalc.ledger.model import Layer, Model

__all__ = ["laguna"]


def laguna(config: Config, name: str) -> Model:
    """Read Laguna: layers differ in windows and query heads, and a gate stands behind each head.

    Layers with a window are rotated in their own way, so that each kind has its own table of sines.
    """
    windows = full_where(config, lambda *_: True)
    width, dense = config.size("hidden_size"), listed_dense(config)
    each = heads_of_layers(config)
    pass_over_widths(config)
    sparse = None if all(dense) else beside_shared(config, corrected=True, trained=True)
    gating = config.value("gating")
    if gating not in {True, "per-head", "per-element"}:
        raise BadInputError("gating", "true, per-head or per-element", gating, "correct config.json")
    attention = gqa(config, biased=config.flag("attention_bias"), qk_norm=True)

    def layer(kind: tuple[int | None, bool, int]) -> Layer:
        window, plain, heads = kind
        rope_dim = rotated(config, window, 0.5 if window is None else 1)
        part = replace(attention, heads=heads, window=window, rope_dim=rope_dim)
        mlp = dense_mlp(config) if plain or sparse is None else sparse
        gates = heads * attention.head_dim if gating == "per-element" else heads
        gate = "self_attn.g_proj", Linear(gates, width, cut=True)
        made = decoder_layer(part, mlp, width)
        return replace(made, parts=(*made.parts, gate))

    model = decoder(config, name, stack(zip(windows, dense, each, strict=True), layer))
    if model.rotary_positions is None:
        return model
    tables = len({window is None for window in windows})
    return replace(model, rotary_positions=tables * model.rotary_positions)


def heads_of_layers(config: Config) -> tuple[int, ...]:
    """Return each layer's query heads.

    Raises
    ------
    BadInputError
        The list is of another length, or some do not share the key/value heads evenly.

    """
    depth, kv_heads = config.size("num_hidden_layers"), config.size("num_key_value_heads")
    listed = config.whole_numbers("num_attention_heads_per_layer")
    if not listed:
        return (config.size("num_attention_heads"),) * depth
    if len(listed) != depth or any(heads < 1 or heads % kv_heads for heads in listed):
        expected = f"{depth} multiples of num_key_value_heads {kv_heads}"
        raise BadInputError("num_attention_heads_per_layer", expected, list(listed), "correct config.json")
    return listed
