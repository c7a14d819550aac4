"""gpt-oss. Held against transformers 5.23 in tests/oracles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.files.readers.common import decoder, decoder_layer, gqa, moe, periodic_windows, stack

if TYPE_CHECKING:
    from memcalc.files.config import Config
    from memcalc.ledger.model import Model

__all__ = ["gpt_oss"]


def gpt_oss(config: Config, name: str) -> Model:
    """Read gpt-oss: a window in every second layer, a sink a head, biases on the router and the experts."""
    biased, width = config.flag("attention_bias"), config.size("hidden_size")
    config.restates("experts_per_token", config.size("num_experts_per_tok"))
    sparse = moe(config, "num_local_experts", "intermediate_size", bias=True)
    layers = stack(
        periodic_windows(config, 2),
        lambda window: decoder_layer(gqa(config, window=window, biased=biased, sinks=True), sparse, width),
    )
    return decoder(config, name, layers)
