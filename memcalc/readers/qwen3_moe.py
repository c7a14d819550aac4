"""Qwen3's mixture of experts. Held against transformers 5.23 in tests/oracles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.parts import MoE
from memcalc.readers.common import block, decoder, dense, gqa

if TYPE_CHECKING:
    from memcalc.config import Config
    from memcalc.model import Model

__all__ = ["qwen3_moe", "routed"]


def routed(config: Config, experts: str, *, shared_width: int | None = None, score_bias: bool = False) -> MoE:
    """Return the mixture of experts whose count stands in the field `experts`.

    Raises:
        BadInputError: a token would use more experts than there are.

    """
    number, top_k = config.size(experts), config.size("num_experts_per_tok")
    if top_k > number:
        given = f"{top_k} of {number}"
        raise BadInputError("num_experts_per_tok", f"at most {experts}", given, "correct config.json")
    width = config.size("hidden_size")
    return MoE(
        width, config.size("moe_intermediate_size"), number, top_k, shared_width, score_bias=score_bias
    )


def qwen3_moe(config: Config, name: str) -> Model:
    """Read Qwen3-MoE: experts every `decoder_sparse_step` layers, but not in `mlp_only_layers`."""
    used = config.has("use_sliding_window") and config.flag("use_sliding_window")
    window = config.size("sliding_window") if config.has("sliding_window") and used else None
    attention = gqa(config, window=window, biased=config.flag("attention_bias"), qk_norm=True)
    plain, step = config.whole_numbers("mlp_only_layers"), config.size("decoder_sparse_step")
    config.has("intermediate_size")  # the width of dense layers: needed only where there are some
    width, sparse = config.size("hidden_size"), routed(config, "num_experts")
    layers = (
        block(attention, dense(config) if index in plain or (index + 1) % step else sparse, width)
        for index in range(config.size("num_hidden_layers"))
    )
    return decoder(config, name, layers)
