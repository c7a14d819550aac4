"""Dense decoders: Llama, Qwen2, Qwen3, Mistral, Phi-3. Held against transformers 5.23 in tests/oracles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.files.readers.common import (
    block,
    decoder,
    dense,
    gqa,
    refuse_broken_heads,
    rotated,
    stack,
    windows,
)

if TYPE_CHECKING:
    from memcalc.files.config import Config
    from memcalc.ledger.model import Model

__all__ = ["llama", "mistral", "phi3", "qwen2", "qwen3"]


def llama(config: Config, name: str) -> Model:
    """Read Llama 2 and 3: `attention_bias` is on q, k, v and o, `mlp_bias` on gate, up and down."""
    depth, width = config.size("num_hidden_layers"), config.size("hidden_size")
    refuse_broken_heads(config)
    layer = block(
        gqa(config, biased=config.flag("attention_bias")), dense(config, bias=config.flag("mlp_bias")), width
    )
    return decoder(config, name, [layer] * depth)


def qwen2(config: Config, name: str) -> Model:
    """Read Qwen2 and Qwen2.5: a bias on q, k and v, always; `attention_bias` has no effect there."""
    config.has("attention_bias")
    width = config.size("hidden_size")
    layers = stack(
        windows(config), lambda window: block(gqa(config, window=window, qkv_bias=True), dense(config), width)
    )
    return decoder(config, name, layers)


def qwen3(config: Config, name: str) -> Model:
    """Read Qwen3: a norm on every query and key head, and its own head_dim."""
    biased, width = config.flag("attention_bias"), config.size("hidden_size")
    layers = stack(
        windows(config),
        lambda window: block(gqa(config, window=window, biased=biased, qk_norm=True), dense(config), width),
    )
    return decoder(config, name, layers)


def mistral(config: Config, name: str) -> Model:
    """Read Mistral: the sliding window, if there is one, is in every layer."""
    window = config.optional("sliding_window")
    config.restates("sliding_window_size", window)  # MLC's word for the same
    layer = block(gqa(config, window=window), dense(config), config.size("hidden_size"))
    return decoder(config, name, [layer] * config.size("num_hidden_layers"))


def phi3(config: Config, name: str) -> Model:
    """Read Phi-3 and Phi-4: a window as in Mistral, heads that may be rotated in part."""
    config.restates("full_attn_mod", 1)  # two fields of Phi-4-mini's that the class does not read:
    config.restates("interpolate_factor", 1)  # what other numbers would mean is not known
    attention = gqa(config, window=config.optional("sliding_window"), rope_dim=rotated(config))
    layer = block(attention, dense(config), config.size("hidden_size"))
    return decoder(config, name, [layer] * config.size("num_hidden_layers"))
