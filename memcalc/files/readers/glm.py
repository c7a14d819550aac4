"""GLM-4.5. Held against transformers 5.23 in tests/oracles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.files.readers.common import after_dense, decoder, gqa, predictors, rotated, routed

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
        rope_dim=rotated(config),
    )
    shared = config.size("n_shared_experts") * config.size("moe_intermediate_size")
    sparse = routed(config, "n_routed_experts", shared_width=shared, score_bias=True)
    layers = after_dense(config, attention, sparse)
    return decoder(config, name, layers, predictors(config, attention, sparse))
