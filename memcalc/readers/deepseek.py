"""DeepSeek-V3 and R1. Held against transformers 5.23 in tests/oracles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.model import Layer
from memcalc.parts import MLA, Linear, Norm
from memcalc.readers.common import block, decoder, dense
from memcalc.readers.qwen3_moe import routed

if TYPE_CHECKING:
    from memcalc.config import Config
    from memcalc.model import Model

__all__ = ["deepseek_v3"]


def deepseek_v3(config: Config, name: str) -> Model:
    """Read DeepSeek-V3: MLA everywhere, the first layers dense, then experts with a shared one.

    Raises:
        BadInputError: a field restates another and contradicts it.

    """
    width, heads = config.size("hidden_size"), config.size("num_attention_heads")
    refuse_contradictions(config, heads)
    rank = config.size("q_lora_rank") if config.has("q_lora_rank") else None
    attention = MLA(
        width,
        heads,
        config.size("kv_lora_rank"),
        config.size("qk_nope_head_dim"),
        config.size("qk_rope_head_dim"),
        config.size("v_head_dim"),
        rank,
        bias=config.flag("attention_bias"),
    )
    shared = config.size("n_shared_experts") * config.size("moe_intermediate_size")
    sparse = routed(config, "n_routed_experts", shared_width=shared, score_bias=True)
    depth, first = config.size("num_hidden_layers"), config.count("first_k_dense_replace")
    config.has("intermediate_size")  # the width of dense layers: needed only where there are some
    layers = [block(attention, dense(config) if index < first else sparse, width) for index in range(depth)]
    extra = (("enorm", Norm(width)), ("hnorm", Norm(width)), ("eh_proj", Linear(width, 2 * width)))
    last = (("shared_head.norm", Norm(width)),)
    mtp = Layer(block(attention, sparse, width).parts + extra + last)
    return decoder(config, name, layers, (mtp,) * config.count("num_nextn_predict_layers"))


def refuse_contradictions(config: Config, heads: int) -> None:
    """Check what other fields say again.

    Raises:
        BadInputError: it says something else.

    """
    rope, nope = config.size("qk_rope_head_dim"), config.size("qk_nope_head_dim")
    restated = {
        "num_key_value_heads": (heads,),  # MLA has one latent for all heads; the field repeats their number
        "head_dim": (rope, rope + nope),  # transformers writes the rotary width, others the whole head
        "qk_head_dim": (rope + nope,),
        "moe_layer_freq": (1,),
    }
    for field, expected in restated.items():
        if config.has(field) and config.size(field) not in expected:
            remedy = "correct config.json; with another meaning the field is not understood"
            raise BadInputError(field, " or ".join(map(str, expected)), config.size(field), remedy)
