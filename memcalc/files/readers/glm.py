"""GLM-4.5. Held against transformers 5.23 in tests/oracles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.files.readers.common import decoder, dense_then_sparse, gqa, moe, mtp_layers, rotary_dim

if TYPE_CHECKING:
    from memcalc.files.config import Config
    from memcalc.ledger.model import Model

__all__ = ["glm4_moe"]


def glm4_moe(config: Config, name: str) -> Model:
    """Read GLM-4.5: biases on q, k and v, norms on their heads if it says so, the first layers dense."""
    attention = gqa(
        config,
        qkv_bias=config.flag("attention_bias"),
        qk_norm=config.flag("use_qk_norm"),
        rope_dim=rotary_dim(config),
    )
    shared = config.size("n_shared_experts") * config.size("moe_intermediate_size")
    sparse = moe(config, "n_routed_experts", shared_width=shared, score_bias=True)
    layers = dense_then_sparse(config, attention, sparse)
    return decoder(config, name, layers, mtp_layers(config, attention, sparse))
