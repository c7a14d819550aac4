"""Dense decoders: Llama and its like, Qwen2, Qwen3, Mistral, Phi-3. Held by tests/oracles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.files.readers.common import (
    check_head_width,
    decoder,
    decoder_layer,
    dense_mlp,
    gqa,
    rotary_dim,
    stack,
    windows_from_layer,
)

if TYPE_CHECKING:
    from memcalc.files.config import Config
    from memcalc.ledger.model import Model

__all__ = ["llama", "llama_like", "mistral", "phi3", "qwen2", "qwen3"]


def llama(config: Config, name: str) -> Model:
    """Read Llama 2 and 3, whose class wants a width that the heads divide."""
    check_head_width(config)
    return llama_like(config, name)


def llama_like(config: Config, name: str) -> Model:
    """Read a decoder of Llama's kind: attention and gated feed-forward part, biases where its switches say.

    `attention_bias` is on q, k, v and o; `mlp_bias` on gate, up and down. `attention_out_bias` is a field of
    code that lies beside some weights: the class of transformers passes it over.
    """
    biased = config.flag("attention_bias")
    apart = config.has("attention_out_bias") and bool(config.fields.get("auto_map"))
    out = config.flag("attention_out_bias") if apart else biased
    attention = gqa(config, qkv_bias=biased, out_bias=out)
    layer = decoder_layer(attention, dense_mlp(config, bias=config.flag("mlp_bias")), attention.width)
    return decoder(config, name, [layer] * config.size("num_hidden_layers"))


def qwen2(config: Config, name: str) -> Model:
    """Read Qwen2 and Qwen2.5: a bias on q, k and v, always; `attention_bias` has no effect there."""
    config.has("attention_bias")
    width, mlp = config.size("hidden_size"), dense_mlp(config)
    layers = stack(
        windows_from_layer(config),
        lambda window: decoder_layer(gqa(config, window=window, qkv_bias=True), mlp, width),
    )
    return decoder(config, name, layers)


def qwen3(config: Config, name: str) -> Model:
    """Read Qwen3: a norm on every query and key head, and its own head_dim."""
    config.flag("use_qk_norm")  # the class has the norms whatever it says
    biased, width, mlp = config.flag("attention_bias"), config.size("hidden_size"), dense_mlp(config)
    layers = stack(
        windows_from_layer(config),
        lambda window: decoder_layer(gqa(config, window=window, biased=biased, qk_norm=True), mlp, width),
    )
    return decoder(config, name, layers)


def mistral(config: Config, name: str) -> Model:
    """Read Mistral: the sliding window, if there is one, is in every layer."""
    window = config.optional("sliding_window")
    config.restates("sliding_window_size", window)  # MLC's word for the same
    attention = gqa(config, window=window)
    layer = decoder_layer(attention, dense_mlp(config), attention.width)
    return decoder(config, name, [layer] * config.size("num_hidden_layers"))


def phi3(config: Config, name: str) -> Model:
    """Read Phi-3 and Phi-4: a window as in Mistral, heads that may be rotated in part."""
    config.restates("full_attn_mod", 1)  # two fields of Phi-4-mini's that the class does not read:
    config.restates("interpolate_factor", 1)  # what other numbers would mean is not known
    attention = gqa(config, window=config.optional("sliding_window"), rope_dim=rotary_dim(config))
    layer = decoder_layer(attention, dense_mlp(config), attention.width)
    return decoder(config, name, [layer] * config.size("num_hidden_layers"))
