"""config.json of a model_type -> Model: one small module a family, loaded when it is needed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.files.config import Config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memcalc.ledger.model import Model

__all__ = ["FAMILIES", "read"]

DEEPSEEK: dict[str, object] = {
    "attention_bias": False,
    "n_shared_experts": 1,
    "first_k_dense_replace": 3,
    "num_nextn_predict_layers": 0,
    "max_position_embeddings": 4096,
}
# model_type -> (module, function) and the defaults that transformers' configuration class brings
FAMILIES: dict[str, tuple[str, str, dict[str, object]]] = {
    "llama": (
        "dense",
        "llama",
        {"attention_bias": False, "mlp_bias": False, "max_position_embeddings": 2048},
    ),
    "qwen2": (
        "dense",
        "qwen2",
        {"num_key_value_heads": 32, "sliding_window": 4096, "max_position_embeddings": 32768},
    ),
    "qwen3": (
        "dense",
        "qwen3",
        {
            "num_key_value_heads": 32,
            "head_dim": 128,
            "sliding_window": 4096,
            "attention_bias": False,
            "max_position_embeddings": 32768,
        },
    ),
    "qwen3_moe": (
        "qwen3_moe",
        "qwen3_moe",
        {
            "num_key_value_heads": 4,
            "attention_bias": False,
            "decoder_sparse_step": 1,
            "sliding_window": 4096,
            "max_position_embeddings": 32768,
        },
    ),
    "qwen3_next": (
        "qwen3_next",
        "qwen3_next",
        {
            "num_key_value_heads": 2,
            "attention_bias": False,
            "decoder_sparse_step": 1,
            "full_attention_interval": 4,
            "shared_expert_intermediate_size": 512,
            "max_position_embeddings": 32768,
        },
    ),
    "deepseek_v2": (
        "deepseek",
        "deepseek_v2",
        {
            "attention_bias": False,
            "n_shared_experts": 2,
            "first_k_dense_replace": 0,
            "num_nextn_predict_layers": 0,
            "max_position_embeddings": 2048,
        },
    ),
    "deepseek_v3": ("deepseek", "deepseek_v3", DEEPSEEK),
    "kimi_k2": ("deepseek", "deepseek_v3", DEEPSEEK),
    "deepseek_v32": (
        "deepseek",
        "deepseek_v32",
        {**DEEPSEEK, "max_position_embeddings": 163_840, "index_n_heads": 64, "index_head_dim": 128},
    ),
    "glm_moe_dsa": (
        "deepseek",
        "glm_moe_dsa",
        {
            **DEEPSEEK,
            "max_position_embeddings": 202_752,
            "index_n_heads": 32,
            "index_head_dim": 128,
            "index_topk_freq": 1,
            "index_skip_topk_offset": 2,
        },
    ),
    "kimi_k25": ("kimi", "kimi_k25", {"tie_word_embeddings": True, "projection_hidden_size": 1152}),
    "mistral": (
        "dense",
        "mistral",
        {"num_key_value_heads": 8, "sliding_window": 4096, "max_position_embeddings": 131_072},
    ),
    "mixtral": (
        "mixtral",
        "mixtral",
        {
            "num_key_value_heads": 8,
            "num_local_experts": 8,
            "num_experts_per_tok": 2,
            "max_position_embeddings": 131_072,
        },
    ),
    "gpt2": (
        "gpt2",
        "gpt2",
        {
            "vocab_size": 50_257,
            "n_positions": 1024,
            "n_embd": 768,
            "n_layer": 12,
            "n_head": 12,
            "tie_word_embeddings": True,
        },
    ),
    "phi3": ("dense", "phi3", {"max_position_embeddings": 4096}),
    "gemma2": (
        "gemma",
        "gemma2",
        {
            "vocab_size": 256_000,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "sliding_window": 4096,
            "attention_bias": False,
            "tie_word_embeddings": True,
            "max_position_embeddings": 8192,
        },
    ),
    "gemma3_text": (
        "gemma",
        "gemma3_text",
        {
            "vocab_size": 262_208,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "sliding_window": 4096,
            "sliding_window_pattern": 6,
            "attention_bias": False,
            "tie_word_embeddings": True,
            "max_position_embeddings": 131_072,
        },
    ),
    "gemma3": ("gemma", "gemma3", {"tie_word_embeddings": True}),
    "gpt_oss": (
        "gpt_oss",
        "gpt_oss",
        {
            "num_key_value_heads": 8,
            "head_dim": 64,
            "num_local_experts": 128,
            "num_experts_per_tok": 4,
            "sliding_window": 128,
            "attention_bias": True,
            "max_position_embeddings": 131_072,
            "rope_parameters": {
                "rope_type": "yarn",
                "factor": 32.0,
                "original_max_position_embeddings": 4096,
            },
        },
    ),
    "glm4_moe": (
        "glm",
        "glm4_moe",
        {
            "num_key_value_heads": 8,
            "attention_bias": False,
            "use_qk_norm": False,
            "n_shared_experts": 1,
            "first_k_dense_replace": 1,
            "num_nextn_predict_layers": 1,
            "partial_rotary_factor": 0.5,
            "max_position_embeddings": 131_072,
        },
    ),
}


def read(fields: Mapping[str, object], name: str = "model") -> Model:
    """Return the model that a config.json describes.

    >>> read({"model_type": "llama", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1,
    ...       "num_attention_heads": 2, "vocab_size": 10}).parameters
    824

    Raises:
        BadInputError: the model_type is unknown, a size is wrong, or a field is not understood.

    """
    if "model_type" not in fields and ("num-layers" in fields or "num_layers" in fields):
        from memcalc.files.readers.megatron import is_megatron, megatron, plain

        if is_megatron(fields):
            arguments = Config(plain(fields))
            model = megatron(arguments, name)
            arguments.refuse_unread()
            return model
    model_type = fields.get("model_type")
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise BadInputError("model_type", f"one of {known}", model_type, "add a reader, see CONTRIBUTING.md")
    module, function, defaults = FAMILIES[model_type]
    config = Config(fields, **defaults)
    found: Model = getattr(import_module(f"memcalc.files.readers.{module}"), function)(config, name)
    config.refuse_unread()
    return found
