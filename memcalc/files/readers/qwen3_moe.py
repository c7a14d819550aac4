"""Qwen3's mixture of experts. Held against transformers 5.23 in tests/oracles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.files.readers.common import decoder, decoder_layer, dense_mlp, gqa, moe, sliding_window, stack

if TYPE_CHECKING:
    from memcalc.files.config import Config
    from memcalc.ledger.model import Model

__all__ = ["qwen3_moe"]


def qwen3_moe(config: Config, name: str) -> Model:
    """Read Qwen3-MoE: experts every `decoder_sparse_step` layers, but not in `mlp_only_layers`."""
    attention = gqa(config, window=sliding_window(config), biased=config.flag("attention_bias"), qk_norm=True)
    config.flag("use_qk_norm")  # the class has the norms whatever it says
    plain, step = config.whole_numbers("mlp_only_layers"), config.size("decoder_sparse_step")
    config.has("intermediate_size")  # the width of dense layers: needed only where there are some
    width, normed = config.size("hidden_size"), config.flag("norm_topk_prob")
    sparse = moe(config, "num_experts", normed=normed)
    layers = stack(
        (index in plain or (index + 1) % step > 0 for index in range(config.size("num_hidden_layers"))),
        lambda is_plain: decoder_layer(attention, dense_mlp(config) if is_plain else sparse, width),
    )
    return decoder(config, name, layers)
