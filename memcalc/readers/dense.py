"""Dense decoders: Llama, Qwen2, Qwen3. Held against transformers 5.23 in tests/oracles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.parts import GQA
from memcalc.readers.common import block, decoder, dense, gqa, head_counts, windows

if TYPE_CHECKING:
    from memcalc.config import Config
    from memcalc.model import Model

__all__ = ["llama", "qwen2", "qwen3"]


def llama(config: Config, name: str) -> Model:
    """Read Llama 2 and 3: `attention_bias` is on q, k, v and o, `mlp_bias` on gate, up and down."""
    depth, width = config.size("num_hidden_layers"), config.size("hidden_size")
    if width % config.size("num_attention_heads"):  # transformers refuses this as well, head_dim or not
        given = f"{config.size('num_attention_heads')} for hidden_size {width}"
        raise BadInputError("num_attention_heads", "a divisor of hidden_size", given, "correct config.json")
    layer = block(
        gqa(config, biased=config.flag("attention_bias")), dense(config, bias=config.flag("mlp_bias")), width
    )
    return decoder(config, name, [layer] * depth)


def qwen2(config: Config, name: str) -> Model:
    """Read Qwen2 and Qwen2.5: a bias on q, k and v, always; `attention_bias` has no effect there."""
    config.has("attention_bias")
    heads, kv_heads, head_dim = head_counts(config)
    width = config.size("hidden_size")
    layers = (
        block(GQA(width, heads, kv_heads, head_dim, window, qkv_bias=True), dense(config), width)
        for window in windows(config)
    )
    return decoder(config, name, layers)


def qwen3(config: Config, name: str) -> Model:
    """Read Qwen3: a norm on every query and key head, and its own head_dim."""
    biased, width = config.flag("attention_bias"), config.size("hidden_size")
    layers = (
        block(gqa(config, window=window, biased=biased, qk_norm=True), dense(config), width)
        for window in windows(config)
    )
    return decoder(config, name, layers)
