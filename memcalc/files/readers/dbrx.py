"""DBRX, whose config says of attention and experts in objects of their own. Held by tests/oracles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.files.readers.common import check_head_width, decoder, decoder_layer
from memcalc.ledger.parts import GQA, MoE

if TYPE_CHECKING:
    from memcalc.files.config import Config
    from memcalc.ledger.model import Model

__all__ = ["dbrx"]

# fields of the two objects that shape nothing: what is clipped, dropped and added up; the head is outside
HARMLESS = {
    "attn_config": ("attn_pdrop", "clip_qkv", "rope_theta", "tie_word_embeddings"),
    "ffn_config": (
        "ffn_act_fn", "hidden_size", "moe_jitter_eps", "moe_loss_weight", "moe_normalize_expert_weights",
        "tie_word_embeddings", "uniform_expert_assignment",
    ),
}  # fmt: skip
EXPERTS = {"ffn_hidden_size": 3584, "moe_num_experts": 4, "moe_top_k": 1}  # DbrxFFNConfig's own


def dbrx(config: Config, name: str) -> Model:
    """Read the decoder: each layer has experts, and their width is the model's whatever is said of it."""
    check_head_width(config)
    width, heads = config.size("hidden_size"), config.size("num_attention_heads")
    if config.value("attn_config") is None:
        remedy = "add it: its class cannot be built without"
        raise BadInputError("attn_config", "an object with kv_n_heads and rope_theta", None, remedy)
    (kv_heads,) = inside(config, "attn_config", {"kv_n_heads": 1})
    config.restates("num_key_value_heads", kv_heads)
    config.restates("head_dim", width // heads)
    config.restates("tie_word_embeddings", False)  # noqa: FBT003 (a value that a field must have)
    if heads % kv_heads:
        expected, remedy = f"a divisor of {heads} heads", "correct config.json"
        raise BadInputError("attn_config.kv_n_heads", expected, kv_heads, remedy)
    inner, experts, top_k = inside(config, "ffn_config", EXPERTS)
    if top_k > experts:
        expected, remedy = f"at most moe_num_experts {experts}", "correct config.json"
        raise BadInputError("ffn_config.moe_top_k", expected, top_k, remedy)
    layer = decoder_layer(
        GQA(width, heads, kv_heads, width // heads), MoE(width, inner, experts, top_k), width
    )
    return decoder(config, name, (layer,) * config.size("num_hidden_layers"))


def inside(config: Config, field: str, defaults: dict[str, int]) -> list[int]:
    """Return sizes that an object says, or its class's where it says nothing."""
    if config.value(field) is None:
        return list(defaults.values())
    found = config.nested(field, None)
    for each in HARMLESS[field]:
        found.has(each)
    return [found.size(each) if each in found.stated else own for each, own in defaults.items()]
