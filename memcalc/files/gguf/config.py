"""Key-values of a GGUF file -> the fields of a config.json, for the readers that know the model.

Source of the keys: ggml-org/llama.cpp, gguf-py/gguf/constants.py and src/llama-arch.cpp, read 2026-11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.files.gguf.header import Listing

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

__all__ = ["config_fields"]

Fields = dict[str, object]


class Values:
    """The key-values of one architecture, under the names behind its own, and the names of the tensors."""

    def __init__(self, values: Mapping[str, object], tensors: Container[str]) -> None:
        """Look up the architecture.

        Raises:
            BadInputError: the file names none.

        """
        self.values, self.tensors = values, tensors
        name = values.get("general.architecture")
        if not isinstance(name, str) or name not in READERS:
            expected = f"one of {', '.join(READERS)}"
            raise BadInputError("general.architecture", expected, name, "add a reader, see CONTRIBUTING.md")
        self.name = name

    def get(self, key: str) -> int | None:
        """Return a whole number; None if it is missing. A list of equal numbers, one a layer, is one number.

        Raises:
            BadInputError: it is no whole number, or the layers differ.

        """
        field = f"{self.name}.{key}"
        value = self.values.get(field)
        if isinstance(value, Listing) and value.numbers and len(set(value.numbers)) == 1:
            value = value.numbers[0]
        if value is not None and type(value) is not int:
            remedy = "layers that differ in it are not understood"
            raise BadInputError(field, "one whole number for all layers", value, remedy)
        return value

    def size(self, key: str) -> int:
        """Return a whole number that must be there.

        Raises:
            BadInputError: it is missing.

        """
        found = self.get(key)
        if found is None:
            raise BadInputError(f"{self.name}.{key}", "a whole number", None, "convert the model again")
        return found

    @property
    def vocab(self) -> int:
        """Rows of the embedding: stated, or as many as the tokenizer has tokens."""
        tokens = self.values.get("tokenizer.ggml.tokens")
        counted = tokens.count if isinstance(tokens, Listing) else None
        stated = self.get("vocab_size")
        return self.size("vocab_size") if counted is None else (counted if stated is None else stated)


def basic(values: Values) -> Fields:
    """Return what all decoders state."""
    width, heads = values.size("embedding_length"), values.size("attention.head_count")
    found: Fields = {
        "hidden_size": width,
        "num_hidden_layers": values.size("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": values.get("attention.head_count_kv") or heads,
        "vocab_size": values.vocab,
        "max_position_embeddings": values.size("context_length"),
        "tie_word_embeddings": "output.weight" not in values.tensors,
    }
    ffn = values.get("feed_forward_length")
    return found if ffn is None else found | {"intermediate_size": ffn}


def attending(values: Values) -> Fields:
    """Return them, and the width of a head.

    Raises:
        BadInputError: keys and values have heads of different widths.

    """
    found = basic(values)
    key, value = values.get("attention.key_length"), values.get("attention.value_length")
    if key != value:
        remedy = "heads of different widths are not understood"
        raise BadInputError(f"{values.name}.attention.value_length", str(key), value, remedy)
    return found if key is None else found | {"head_dim": key}


def llama(values: Values) -> Fields:
    """Read Llama, Mistral and Mixtral."""
    found = attending(values)
    experts = values.get("expert_count")
    if not experts:
        biased = {"attention_bias": "attn_q", "mlp_bias": "ffn_up"}
        stated = {name: f"blk.0.{part}.bias" in values.tensors for name, part in biased.items()}
        return {"model_type": "llama", **found, **stated}
    return {
        "model_type": "mixtral",
        **found,
        "intermediate_size": values.get("expert_feed_forward_length") or values.size("feed_forward_length"),
        "num_local_experts": experts,
        "num_experts_per_tok": values.size("expert_used_count"),
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
    return {
        "num_experts": values.size("expert_count"),
        "num_experts_per_tok": values.size("expert_used_count"),
        "moe_intermediate_size": values.size("expert_feed_forward_length"),
    }


def qwen3moe(values: Values) -> Fields:
    """Read Qwen3's mixture of experts."""
    return {"model_type": "qwen3_moe", **attending(values), **routed(values)}


def qwen3next(values: Values) -> Fields:
    """Read Qwen3-Next: the state's sizes have the names of state-space models."""
    heads = values.size("ssm.time_step_rank")
    return {
        "model_type": "qwen3_next",
        **attending(values),
        **routed(values),
        "shared_expert_intermediate_size": values.size("expert_shared_feed_forward_length"),
        "full_attention_interval": values.get("full_attention_interval") or 4,
        "linear_conv_kernel_dim": values.size("ssm.conv_kernel"),
        "linear_num_key_heads": values.size("ssm.group_count"),
        "linear_num_value_heads": heads,
        "linear_key_head_dim": values.size("ssm.state_size"),
        "linear_value_head_dim": values.size("ssm.inner_size") // heads,
    }


def gemma2(values: Values) -> Fields:
    """Read Gemma 2."""
    window = values.get("attention.sliding_window") or 4096
    return {"model_type": "gemma2", **attending(values), "sliding_window": window}


def gemma3(values: Values) -> Fields:
    """Read Gemma 3's text model."""
    window = values.size("attention.sliding_window")
    return {"model_type": "gemma3_text", **attending(values), "sliding_window": window}


def gpt_oss(values: Values) -> Fields:
    """Read gpt-oss."""
    return {
        "model_type": "gpt_oss",
        **attending(values),
        "intermediate_size": values.size("expert_feed_forward_length"),
        "num_local_experts": values.size("expert_count"),
        "num_experts_per_tok": values.size("expert_used_count"),
        "sliding_window": values.size("attention.sliding_window"),
    }


def deepseek2(values: Values) -> Fields:
    """Read DeepSeek-V2, V3 and R1, Kimi-K2: of V3's kind if a router has a correction."""
    last = values.size("block_count") - 1
    corrected = f"blk.{last}.exp_probs_b.bias" in values.tensors
    return {"model_type": "deepseek_v3" if corrected else "deepseek_v2", **latent(values)}


def deepseek32(values: Values) -> Fields:
    """Read DeepSeek-V3.2."""
    return {"model_type": "deepseek_v32", **latent(values), **predicting(values), **indexing(values)}


def glm_dsa(values: Values) -> Fields:
    """Read GLM-5: a list says which layers have an indexer of their own.

    Without the list a file is older than GLM-5.2, and all have one; with a context of 2^20 it is GLM-5.2's.
    Source: ggml-org/llama.cpp, src/models/glm-dsa.cpp (load_arch_hparams), 2026-11.

    Raises:
        BadInputError: the list has another length than there are layers.

    """
    found = latent(values) | predicting(values) | indexing(values)
    depth, field = values.size("block_count") - (values.get("nextn_predict_layers") or 0), INDEXERS
    own = values.values.get(f"{values.name}.{field}")
    if own is None:
        newer = values.size("context_length") >= 2**20
        listed = [not newer or index < 2 or (index - 2) % 4 == 0 for index in range(depth)]
    elif isinstance(own, Listing) and own.numbers is not None and len(own.numbers) >= depth:
        listed = [number != 0 for number in own.numbers[:depth]]
    else:
        expected, remedy = f"a list of {depth} numbers, one a layer", "convert the model again"
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
    return {"num_hidden_layers": values.size("block_count") - behind, "num_nextn_predict_layers": behind}


def indexing(values: Values) -> Fields:
    """Return what the indexers of sparse attention state."""
    return {
        "index_n_heads": values.size("attention.indexer.head_count"),
        "index_head_dim": values.size("attention.indexer.key_length"),
        "index_topk": values.size("attention.indexer.top_k"),
    }


def after_dense(values: Values) -> Fields:
    """Return what a mixture of experts behind dense layers states, in DeepSeek's words."""
    return {
        "n_routed_experts": values.size("expert_count"),
        "num_experts_per_tok": values.size("expert_used_count"),
        "n_shared_experts": values.size("expert_shared_count"),
        "moe_intermediate_size": values.size("expert_feed_forward_length"),
        "first_k_dense_replace": values.get("leading_dense_block_count") or 0,
    }


def latent(values: Values) -> Fields:
    """Return what MLA and its experts state: newer files name the heads before absorption otherwise."""
    heads, rotated = values.size("attention.head_count"), values.size("rope.dimension_count")
    key = values.get("attention.key_length_mla") or values.size("attention.key_length")
    return {
        **basic(values),
        **after_dense(values),
        "num_key_value_heads": heads,
        "q_lora_rank": values.get("attention.q_lora_rank"),
        "kv_lora_rank": values.size("attention.kv_lora_rank"),
        "qk_rope_head_dim": rotated,
        "qk_nope_head_dim": key - rotated,
        "v_head_dim": values.get("attention.value_length_mla") or values.size("attention.value_length"),
    }


READERS: dict[str, Callable[[Values], Fields]] = {
    "llama": llama,
    "qwen2": qwen2,
    "qwen3": qwen3,
    "qwen3moe": qwen3moe,
    "qwen3next": qwen3next,
    "phi3": phi3,
    "gemma2": gemma2,
    "gemma3": gemma3,
    "gpt-oss": gpt_oss,
    "deepseek2": deepseek2,
    "deepseek32": deepseek32,
    "glm-dsa": glm_dsa,
    "glm4moe": glm4moe,
}


def config_fields(values: Mapping[str, object], tensors: Container[str]) -> Fields:
    """Return the fields of a config.json that says what the key-values of a file say.

    Raises:
        BadInputError: the architecture is unknown, or a size is missing.

    """
    found = Values(values, tensors)
    return READERS[found.name](found)
