"""Key-values of a GGUF file -> the fields of a config.json, for the readers that know the model.

Source of the keys: ggml-org/llama.cpp, gguf-py/gguf/constants.py and src/llama-arch.cpp, read 2026-11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memcalc.errors import BadInputError
from memcalc.files.gguf.decoders import DECODERS
from memcalc.files.gguf.header import Listing
from memcalc.files.gguf.hybrids import HYBRIDS
from memcalc.files.gguf.values import CONVERT, Values, attending, basic
from memcalc.ledger.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from memcalc.files.gguf.values import Fields

__all__ = ["config_fields"]


def llama(values: Values) -> Fields:
    """Read Llama, Mistral and Mixtral."""
    found = attending(values)
    if not values.get("expert_count"):
        biased = {"attention_bias": "attn_q", "mlp_bias": "ffn_up"}
        stated = {name: f"blk.0.{part}.bias" in values.tensors for name, part in biased.items()}
        return {"model_type": "llama", **found, **stated}
    return {
        "model_type": "mixtral",
        **found,
        **values.sizes(num_local_experts="expert_count", num_experts_per_tok="expert_used_count"),
        **values.stated(intermediate_size="expert_feed_forward_length"),
    }


def qwen2(values: Values) -> Fields:
    """Read Qwen2 and Qwen2.5."""
    return {"model_type": "qwen2", **attending(values)}


def qwen3(values: Values) -> Fields:
    """Read Qwen3."""
    return {"model_type": "qwen3", **attending(values)}


def phi3(values: Values) -> Fields:
    """Read Phi-3 and Phi-4."""
    return {"model_type": "phi3", **attending(values)}


def routed(values: Values) -> Fields:
    """Return what a mixture of experts states beside the rest, in Qwen's words."""
    return values.sizes(
        num_experts="expert_count",
        num_experts_per_tok="expert_used_count",
        moe_intermediate_size="expert_feed_forward_length",
    )


def qwen3moe(values: Values) -> Fields:
    """Read Qwen3's mixture of experts."""
    return {"model_type": "qwen3_moe", **attending(values), **routed(values)}


def qwen3next(values: Values) -> Fields:
    """Read Qwen3-Next."""
    shared = values.sizes(shared_expert_intermediate_size="expert_shared_feed_forward_length")
    return {"model_type": "qwen3_next", **attending(values), **routed(values), **shared, **recurrent(values)}


def qwen35(values: Values) -> Fields:
    """Read the text model of Qwen3.5 and 3.6, with the layers behind it that predict further tokens."""
    depth, behind = predicting(values).values()
    number = {"num_hidden_layers": depth, "mtp_num_hidden_layers": behind}
    return {"model_type": "qwen3_5_text", **attending(values), **recurrent(values), **number}


def qwen35moe(values: Values) -> Fields:
    """Read the same with experts in every layer."""
    return {**qwen3next(values), **qwen35(values), "model_type": "qwen3_5_moe_text"}


def recurrent(values: Values) -> Fields:
    """Return the sizes of Gated DeltaNet, which have the names of state-space models."""
    heads = values.size("ssm.time_step_rank")
    return {
        **values.sizes(
            linear_conv_kernel_dim="ssm.conv_kernel",
            linear_num_key_heads="ssm.group_count",
            linear_num_value_heads="ssm.time_step_rank",
            linear_key_head_dim="ssm.state_size",
        ),
        "linear_value_head_dim": values.size("ssm.inner_size") // heads,
        "full_attention_interval": values.get("full_attention_interval") or 4,
    }


def gemma2(values: Values) -> Fields:
    """Read Gemma 2."""
    window = {"sliding_window": 4096, **values.stated(sliding_window="attention.sliding_window")}
    return {"model_type": "gemma2", **attending(values), **window}


def gemma3(values: Values) -> Fields:
    """Read Gemma 3's text model."""
    window = values.sizes(sliding_window="attention.sliding_window")
    return {"model_type": "gemma3_text", **attending(values), **window}


def gpt_oss(values: Values) -> Fields:
    """Read gpt-oss."""
    return {
        "model_type": "gpt_oss",
        **attending(values),
        **values.sizes(
            intermediate_size="expert_feed_forward_length",
            num_local_experts="expert_count",
            num_experts_per_tok="expert_used_count",
            sliding_window="attention.sliding_window",
        ),
    }


def deepseek2(values: Values) -> Fields:
    """Read DeepSeek-V2, V3 and R1, Kimi-K2: of V3's kind if a router has a correction."""
    last = values.blocks - 1
    corrected = f"blk.{last}.exp_probs_b.bias" in values.tensors
    return {"model_type": "deepseek_v3" if corrected else "deepseek_v2", **latent(values)}


def deepseek32(values: Values) -> Fields:
    """Read DeepSeek-V3.2."""
    return {"model_type": "deepseek_v32", **latent(values), **predicting(values), **indexing(values)}


def glm_dsa(values: Values) -> Fields:
    """Read GLM-5: a list says which layers have an indexer of their own.

    Without the list a file is older than GLM-5.2, and all have one; with a context of 2^20 it is GLM-5.2's.
    Source: ggml-org/llama.cpp, src/models/glm-dsa.cpp (load_arch_hparams), 2026-11.

    """
    found = latent(values) | predicting(values) | indexing(values)
    depth, field = values.blocks - (values.get("nextn_predict_layers") or 0), INDEXERS
    own = values.values.get(f"{values.name}.{field}")
    if own is None:
        newer = values.size("context_length") >= 2**20
        listed = [not newer or index < 2 or (index - 2) % 4 == 0 for index in range(depth)]
    elif isinstance(own, Listing) and own.numbers is not None and len(own.numbers) >= depth:
        listed = [number != 0 for number in own.numbers[:depth]]
    else:
        expected, remedy = f"a list of {depth} numbers, one a layer", CONVERT
        raise BadInputError(f"{values.name}.{field}", expected, own, remedy)
    kinds = ["full" if is_own else "shared" for is_own in listed]
    return {"model_type": "glm_moe_dsa", **found, "indexer_types": kinds}


def glm4moe(values: Values) -> Fields:
    """Read GLM-4.5."""
    found = attending(values)
    share = values.size("rope.dimension_count") / values.size("attention.key_length")
    return {
        "model_type": "glm4_moe",
        **found,
        **predicting(values),
        **after_dense(values),
        "partial_rotary_factor": share,
        "attention_bias": "blk.0.attn_q.bias" in values.tensors,
        "use_qk_norm": "blk.0.attn_q_norm.weight" in values.tensors,
    }


INDEXERS = "attention.indexer.types"


def predicting(values: Values) -> Fields:
    """Return how many blocks are layers, and how many behind them are for multi-token prediction."""
    behind = values.get("nextn_predict_layers") or 0
    return {"num_hidden_layers": values.blocks - behind, "num_nextn_predict_layers": behind}


def indexing(values: Values) -> Fields:
    """Return what the indexers of sparse attention state."""
    return values.sizes(
        index_n_heads="attention.indexer.head_count",
        index_head_dim="attention.indexer.key_length",
        index_topk="attention.indexer.top_k",
    )


def after_dense(values: Values) -> Fields:
    """Return what a mixture of experts behind dense layers states, in DeepSeek's words."""
    found = values.sizes(
        n_routed_experts="expert_count",
        num_experts_per_tok="expert_used_count",
        n_shared_experts="expert_shared_count",
        moe_intermediate_size="expert_feed_forward_length",
    )
    return {**found, "first_k_dense_replace": values.get("leading_dense_block_count") or 0}


def latent(values: Values) -> Fields:
    """Return what MLA and its experts state: newer files name the heads before absorption otherwise."""
    heads, rotated = values.size("attention.head_count"), values.size("rope.dimension_count")
    values.under(qk_nope_head_dim="attention.key_length", v_head_dim="attention.value_length")
    key = values.get("attention.key_length_mla") or values.size("attention.key_length")
    return {
        **basic(values),
        **after_dense(values),
        "num_key_value_heads": heads,
        "q_lora_rank": values.get("attention.q_lora_rank"),
        **values.sizes(kv_lora_rank="attention.kv_lora_rank", qk_rope_head_dim="rope.dimension_count"),
        "qk_nope_head_dim": key - rotated,
        "v_head_dim": values.get("attention.value_length_mla") or values.size("attention.value_length"),
    }


READERS: Registry[Callable[[Values], Fields]] = Registry(
    "general.architecture",
    {
        "llama": llama,
        "qwen2": qwen2,
        "qwen3": qwen3,
        "qwen3moe": qwen3moe,
        "qwen3next": qwen3next,
        "qwen35": qwen35,
        "qwen35moe": qwen35moe,
        "phi3": phi3,
        "gemma2": gemma2,
        "gemma3": gemma3,
        "gpt-oss": gpt_oss,
        "deepseek2": deepseek2,
        "deepseek32": deepseek32,
        "glm-dsa": glm_dsa,
        "glm4moe": glm4moe,
        **DECODERS,
        **HYBRIDS,
    },
    remedy="add a reader, see CONTRIBUTING.md",
    offers=False,
)


def config_fields(values: Mapping[str, object], tensors: Container[str]) -> tuple[Fields, dict[str, str]]:
    """Return the fields of a config.json that says what the key-values of a file say, and the key of each.

    Parameters
    ----------
    values : mapping
        The key-values of the file.
    tensors : container of str
        The names of its tensors: some say what no key does.

    Raises
    ------
    BadInputError
        A size is missing, or cannot be.
    UnknownNameError
        The architecture is unknown.

    """
    name: Any = values.get("general.architecture")
    reader = READERS[name]
    found = Values(values, tensors, name)
    return reader(found), found.keys
