"""DeepSeek-V3 and R1, Kimi-K2. Held against transformers 5.23 in tests/oracles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.parts import MLA
from memcalc.readers.common import after_dense, decoder, predictors, routed

if TYPE_CHECKING:
    from memcalc.config import Config
    from memcalc.model import Model

__all__ = ["deepseek_v3"]


def deepseek_v3(config: Config, name: str) -> Model:
    """Read DeepSeek-V3 and Kimi-K2: MLA everywhere, first dense layers, then experts with a shared one."""
    width, heads = config.size("hidden_size"), config.size("num_attention_heads")
    refuse_contradictions(config, heads)
    attention = MLA(
        width,
        heads,
        config.size("kv_lora_rank"),
        config.size("qk_nope_head_dim"),
        config.size("qk_rope_head_dim"),
        config.size("v_head_dim"),
        config.optional("q_lora_rank"),
        bias=config.flag("attention_bias"),
    )
    shared = config.size("n_shared_experts") * config.size("moe_intermediate_size")
    sparse = routed(config, "n_routed_experts", shared_width=shared, score_bias=True)
    layers = after_dense(config, attention, sparse)
    return decoder(config, name, layers, predictors(config, attention, sparse))


def refuse_contradictions(config: Config, heads: int) -> None:
    """Check what other fields say again."""
    rope, nope = config.size("qk_rope_head_dim"), config.size("qk_nope_head_dim")
    config.restates("num_key_value_heads", heads)  # MLA has one latent for all heads; it repeats their number
    config.restates("head_dim", rope, rope + nope)  # transformers writes the rotary width, others all of it
    config.restates("qk_head_dim", rope + nope)
    config.restates("moe_layer_freq", 1)
