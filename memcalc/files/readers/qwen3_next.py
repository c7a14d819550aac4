"""Qwen3-Next: Gated DeltaNet in most layers, gated attention in the others, experts in all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.files.readers.common import (
    PRE_NORMS,
    decoder,
    decoder_layer,
    dense_mlp,
    gqa,
    moe,
    rotary_dim,
    stack,
)
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import DeltaNet, Norm

if TYPE_CHECKING:
    from memcalc.files.config import Config
    from memcalc.ledger.model import Model
    from memcalc.ledger.parts import Part

__all__ = ["qwen3_next"]

KINDS = ("linear_attention", "full_attention")


def qwen3_next(config: Config, name: str) -> Model:
    """Read Qwen3-Next: every `full_attention_interval`-th layer attends to all tokens, or as it lists."""
    width, depth = config.size("hidden_size"), config.size("num_hidden_layers")
    attention = gqa(
        config, biased=config.flag("attention_bias"), qk_norm=True, gated=True, rope_dim=rotary_dim(config)
    )
    delta = DeltaNet(
        width,
        config.size("linear_num_key_heads"),
        config.size("linear_num_value_heads"),
        config.size("linear_key_head_dim"),
        config.size("linear_value_head_dim"),
        config.size("linear_conv_kernel_dim"),
    )
    shared = config.size("shared_expert_intermediate_size")
    sparse = moe(config, "num_experts", shared_width=shared, shared_gate=True)
    config.has("intermediate_size")  # the width of dense layers: needed only where there are some
    plain, step = config.whole_numbers("mlp_only_layers"), config.size("decoder_sparse_step")
    period = config.size("full_attention_interval")
    kinds = config.words("layer_types", KINDS, depth) or [
        KINDS[(index + 1) % period == 0] for index in range(depth)
    ]

    def layer(kind: tuple[str, bool]) -> Layer:
        mlp: Part = dense_mlp(config) if kind[1] else sparse
        if kind[0] == "full_attention":
            return decoder_layer(attention, mlp, width)
        norms = ((norm, Norm(width)) for norm in PRE_NORMS)
        return Layer((("linear_attn", delta), ("mlp", mlp), *norms))

    dense_layers = (index in plain or (index + 1) % step > 0 for index in range(depth))
    return decoder(config, name, stack(zip(kinds, dense_layers, strict=True), layer))
