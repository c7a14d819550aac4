"""Qwen3-Next, Qwen3.5 and 3.6: Gated DeltaNet in most layers, gated attention in the others."""

from __future__ import annotations

from dataclasses import replace
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
from memcalc.ledger.parts import DeltaNet, Linear, Norm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memcalc.files.config import Config
    from memcalc.ledger.model import Model
    from memcalc.ledger.parts import GQA, MoE, Part

__all__ = ["qwen3_5_moe_text", "qwen3_5_text", "qwen3_next"]

KINDS = ("linear_attention", "full_attention")


def qwen3_next(config: Config, name: str) -> Model:
    """Read Qwen3-Next: every `full_attention_interval`-th layer attends to all tokens, or as it lists."""
    depth = config.size("num_hidden_layers")
    sparse = replace(shared_experts(config), normed=config.flag("norm_topk_prob"))
    config.has("intermediate_size")  # the width of dense layers: needed only where there are some
    plain, step = config.whole_numbers("mlp_only_layers"), config.size("decoder_sparse_step")
    dense = [index in plain or (index + 1) % step > 0 for index in range(depth)]
    mlps: list[Part] = [dense_mlp(config) if each else sparse for each in dense]
    return decoder(config, name, delta_layers(config, mlps))


def qwen3_5_text(config: Config, name: str) -> Model:
    """Read Qwen3.5's and 3.6's dense text model: as Qwen3-Next, with a feed-forward part in every layer."""
    return qwen3_5(config, name, dense_mlp(config))


def qwen3_5_moe_text(config: Config, name: str) -> Model:
    """Read Qwen3.5's and 3.6's text model with experts in every layer."""
    config.has("intermediate_size")  # some files state it; no layer is dense
    return qwen3_5(config, name, replace(shared_experts(config), normed=True))  # its class asks no field


def qwen3_5(config: Config, name: str, mlp: Part) -> Model:
    """Return a text model with the same feed-forward part in every layer, and its multi-token prediction.

    Source of the latter's tensors: vllm-project/vllm, model_executor/models/qwen3_5_mtp.py, 2026-11.
    """
    config.restates("attn_output_gate", True)  # noqa: FBT003 (a value that a field must have)
    config.restates("output_gate_type", "swish")
    config.restates("mamba_ssm_dtype", "float32")  # the recurrent state's
    config.restates("mtp_use_dedicated_embeddings", False)  # noqa: FBT003 (a value that a field must have)
    depth, width = config.size("num_hidden_layers"), config.size("hidden_size")
    layers = delta_layers(config, [mlp] * depth)
    norm = Norm(width)
    joined = (("pre_fc_norm_embedding", norm), ("pre_fc_norm_hidden", norm), ("norm", norm))
    layer = decoder_layer(gated_attention(config), mlp, width)
    first = Layer((*layer.parts, *joined, ("fc", Linear(width, 2 * width))))
    ahead = config.count("mtp_num_hidden_layers") if config.has("mtp_num_hidden_layers") else 0
    return decoder(config, name, layers, (first, *(layer,) * (ahead - 1))[:ahead])


def shared_experts(config: Config) -> MoE:
    """Return the mixture of experts of a layer, with a gated shared expert."""
    shared = config.size("shared_expert_intermediate_size")
    return moe(config, "num_experts", shared_width=shared, shared_gate=True)


def gated_attention(config: Config) -> GQA:
    """Return the attention of the layers that keep every token."""
    biased = config.flag("attention_bias")
    return gqa(config, biased=biased, qk_norm=True, gated=True, rope_dim=rotary_dim(config))


def delta_layers(config: Config, mlps: Sequence[Part]) -> list[Layer]:
    """Return the layers: Gated DeltaNet, or attention in every so many, each with its feed-forward part."""
    width, depth = config.size("hidden_size"), config.size("num_hidden_layers")
    attention = gated_attention(config)
    delta = DeltaNet(
        width,
        config.size("linear_num_key_heads"),
        config.size("linear_num_value_heads"),
        config.size("linear_key_head_dim"),
        config.size("linear_value_head_dim"),
        config.size("linear_conv_kernel_dim"),
    )
    config.has("full_attention_interval")  # asked where no list says which layers attend
    kinds = config.words("layer_types", KINDS, depth) or [
        KINDS[(index + 1) % config.size("full_attention_interval") == 0] for index in range(depth)
    ]

    def layer(kind: tuple[str, Part]) -> Layer:
        if kind[0] == "full_attention":
            return decoder_layer(attention, kind[1], width)
        norms = ((norm, Norm(width)) for norm in PRE_NORMS)
        return Layer((("linear_attn", delta), ("mlp", kind[1]), *norms))

    return stack(zip(kinds, mlps, strict=True), layer)
