"""LFM3: short convolutions, windows and full attention with gated heads. Held against transformers 5.23."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.files.readers.common import decoder, dense_mlp, gqa, stack
from memcalc.files.readers.lfm2 import ShortConvolution
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import Linear, Norm

if TYPE_CHECKING:
    from memcalc.files.config import Config
    from memcalc.ledger.model import Model, Named

__all__ = ["lfm3"]

KINDS = ("conv", "sliding_attention", "full_attention")
NORMS = ("operator_norm", "ffn_norm", "post_operator_norm", "post_ffn_norm")


def lfm3(config: Config, name: str) -> Model:
    """Read LFM3: of four layers one attends to all tokens, one in a window, or as it lists."""
    depth, width = config.size("num_hidden_layers"), config.size("hidden_size")
    kinds = config.words("layer_types", KINDS, depth) or [
        KINDS[2 if index % 4 == 2 else 1 if index % 4 == 0 and index else 0] for index in range(depth)
    ]
    window = config.size("sliding_window") if KINDS[1] in kinds else config.optional("sliding_window")
    short = ShortConvolution(width, config.size("conv_L_cache"), config.flag("conv_bias"))
    norm, mlp, biased = Norm(width), dense_mlp(config), config.flag("attention_bias")
    norms = tuple((each, norm) for each in NORMS[: 4 if config.flag("use_sandwich_norm") else 2])
    gate: Named = ()
    if config.flag("use_attention_gate"):
        gate = (("self_attn.gate_proj", Linear(config.size("num_attention_heads"), width, cut=True)),)

    def layer(kind: str) -> Layer:
        first: Named = (("conv", short),)
        if kind != "conv":
            seen = window if kind == "sliding_attention" else None
            first = (("self_attn", gqa(config, biased=biased, qk_norm=True, window=seen)), *gate)
        return Layer((*first, ("feed_forward", mlp), *norms))

    return decoder(config, name, stack(kinds, layer))
