"""Mixtral. Held against transformers 5.23 in tests/oracles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.files.readers.common import decoder, decoder_layer, gqa, moe

if TYPE_CHECKING:
    from memcalc.files.config import Config
    from memcalc.ledger.model import Model

__all__ = ["mixtral"]


def mixtral(config: Config, name: str) -> Model:
    """Read Mixtral: Mistral's attention, and experts in every layer."""
    attention = gqa(config, window=config.optional("sliding_window"))
    sparse = moe(config, "num_local_experts", "intermediate_size", normed=True, wide=True)
    layer = decoder_layer(attention, sparse, attention.width)
    return decoder(config, name, [layer] * config.size("num_hidden_layers"))
