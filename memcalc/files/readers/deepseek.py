"""DeepSeek-V2, V3, R1 and V3.2, Kimi-K2, GLM-5. Held against transformers 5.23 in tests/oracles."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.files.readers.common import (
    check_head_width,
    decoder,
    decoder_layer,
    dense_mlp,
    dense_then_sparse,
    moe,
    mtp_layers,
    stack,
)
from memcalc.ledger.parts import MLA, Indexer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memcalc.files.config import Config
    from memcalc.ledger.model import Layer, Model

__all__ = [
    "deepseek_v2",
    "deepseek_v3",
    "deepseek_v32",
    "glm4_moe_lite",
    "glm_moe_dsa",
    "latent_attention",
    "layers_with_indexer",
    "minicpm3",
    "mistral4",
]


def deepseek_v2(config: Config, name: str) -> Model:
    """Read DeepSeek-V2: as DeepSeek-V3, but its router has no correction."""
    check_head_width(config)
    return deepseek(config, name, score_bias=False)


def deepseek_v3(config: Config, name: str) -> Model:
    """Read DeepSeek-V3 and Kimi-K2: MLA everywhere, first dense layers, then experts with a shared one."""
    return deepseek(config, name, score_bias=True)


def deepseek(config: Config, name: str, *, score_bias: bool, dense: Sequence[bool] | None = None) -> Model:
    """Read what DeepSeek's models have in common; `dense` says which layers have no experts."""
    attention, width = latent_attention(config), config.size("hidden_size")
    shared = config.size("n_shared_experts") * config.size("moe_intermediate_size")
    sparse = moe(config, "n_routed_experts", shared_width=shared, score_bias=score_bias)
    if dense is None:
        layers = dense_then_sparse(config, attention, sparse)
    else:
        config.has("intermediate_size")
        layers = stack(
            dense, lambda plain: decoder_layer(attention, dense_mlp(config) if plain else sparse, width)
        )
    return decoder(config, name, layers, mtp_layers(config, attention, sparse))


def minicpm3(config: Config, name: str) -> Model:
    """Read MiniCPM3: MLA and a dense feed-forward part; what it scales has no weights."""
    check_head_width(config)
    width, heads = config.size("hidden_size"), config.size("num_attention_heads")
    config.restates("num_key_value_heads", heads)
    rope, nope = config.size("qk_rope_head_dim"), config.size("qk_nope_head_dim")
    config.has("head_dim")  # the class sets it to the rotated width, whatever it says
    config.has("dim_model_base")
    config.has("scale_emb")
    config.restates("qk_head_dim", rope + nope)
    value = config.optional("v_head_dim") or width // heads
    rank, q_rank, biased = (
        config.size("kv_lora_rank"),
        config.optional("q_lora_rank"),
        config.flag("attention_bias"),
    )
    attention = MLA(width, heads, rank, nope, rope, value, q_rank, bias=biased)
    layer = decoder_layer(attention, dense_mlp(config, bias=config.flag("mlp_bias")), width)
    return decoder(config, name, [layer] * config.size("num_hidden_layers"))


def latent_attention(config: Config) -> MLA:
    """Return attention over a latent as DeepSeek's configs describe it."""
    heads = config.size("num_attention_heads")
    refuse_contradictions(config, heads)
    return MLA(
        config.size("hidden_size"),
        heads,
        config.size("kv_lora_rank"),
        config.size("qk_nope_head_dim"),
        config.size("qk_rope_head_dim"),
        config.size("v_head_dim"),
        config.optional("q_lora_rank"),
        bias=config.flag("attention_bias"),
    )


def mistral4(config: Config, name: str) -> Model:
    """Read Mistral Small 4's text model: as DeepSeek-V2, with a shared expert and usually no dense layer."""
    return deepseek(config, name, score_bias=False)


def glm4_moe_lite(config: Config, name: str) -> Model:
    """Read GLM-4.7 Flash: as DeepSeek-V3, with a list of dense layers, by default the first alone."""
    depth = config.size("num_hidden_layers")
    kinds = config.words("mlp_layer_types", ("dense", "sparse"), depth) or (
        "dense",
        *("sparse",) * (depth - 1),
    )
    config.has("first_k_dense_replace")  # published, and read by no class
    return deepseek(config, name, score_bias=True, dense=[kind == "dense" for kind in kinds])


def deepseek_v32(config: Config, name: str) -> Model:
    """Read DeepSeek-V3.2: DeepSeek-V3, and an indexer beside every attention."""
    model = deepseek_v3(config, name)
    return with_indexers(config, model, (True,) * model.depth)


def glm_moe_dsa(config: Config, name: str) -> Model:
    """Read GLM-5: as DeepSeek-V3.2; from 5.2 on some layers look where an earlier layer's indexer looked."""
    config.has("indexer_rope_interleave")
    config.has("index_share_for_mtp_iteration")  # when multi-token prediction looks again
    model = deepseek_v3(config, name)
    return with_indexers(config, model, layers_with_indexer(config, model.depth))


def layers_with_indexer(config: Config, depth: int) -> Sequence[bool]:
    """Say of each layer whether it has an indexer of its own: by a list, or by a period."""
    config.restates("index_topk_pattern")  # another way to say which layers have one: in no published config
    kinds = config.words("indexer_types", ("full", "shared"), depth)
    period, first = config.size("index_topk_freq"), config.count("index_skip_topk_offset") - 1
    rule = (max(index - first, 0) % period == 0 for index in range(depth))
    return [kind == "full" for kind in kinds] if kinds else list(rule)


def with_indexers(config: Config, model: Model, own: Sequence[bool]) -> Model:
    """Return the model with an indexer in each layer that has its own; multi-token prediction has one too."""
    config.has("index_topk")  # how many tokens are looked at: all are kept
    config.restates("num_experts", config.size("n_routed_experts"))  # the class takes it for the same
    first = min(config.count("first_k_dense_replace"), model.depth)
    config.restates("mlp_layer_types", ["dense"] * first + ["sparse"] * (model.depth - first))
    config.words(
        "layer_types", ("indexed_attention", "deepseek_sparse_attention"), model.depth
    )  # new, old name
    rank, width = config.size("q_lora_rank"), config.size("hidden_size")
    indexer = Indexer(width, rank, config.size("index_n_heads"), config.size("index_head_dim"))

    def indexed(layer: Layer) -> Layer:
        return replace(layer, parts=(*layer.parts, ("self_attn.indexer", indexer)))

    kinds = {id(layer): layer for layer in model.layers}  # equal layers are one object: no need to compare
    listed = zip(map(id, model.layers), own, strict=True)
    layers = stack(listed, lambda pair: indexed(kinds[pair[0]]) if pair[1] else kinds[pair[0]])
    return replace(model, layers=tuple(layers), mtp=tuple(stack(model.mtp, indexed)))


def refuse_contradictions(config: Config, heads: int) -> None:
    """Check what other fields say again."""
    rope, nope = config.size("qk_rope_head_dim"), config.size("qk_nope_head_dim")
    config.restates("num_key_value_heads", heads)  # MLA has one latent for all heads; it repeats their number
    # transformers writes the rotary width, others all of it, GLM-5.2 the rest of it: no class reads it, and
    # each that declares one puts the rotary width in its place
    declared = config.defaults.get("head_dim")
    config.restates("head_dim", rope, rope + nope, nope, *(() if declared is None else (declared,)))
    config.restates("qk_head_dim", rope + nope)
    config.restates("moe_layer_freq", 1)
