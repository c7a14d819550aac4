"""Key-values of GGUF files of decoders that differ from Llama in a few words, as in files.readers.plain.

What no key says the tensors do: biases and norms are there or not. Source of the keys: ggml-org/llama.cpp,
gguf-py/gguf/constants.py and src/models/*.cpp (load_arch_hparams), read 2026-11.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.files.gguf.values import CONVERT, attending, basic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memcalc.files.gguf.values import Fields, Values

__all__ = ["DECODERS"]

BIASED = {"attention_bias": "blk.0.attn_q.bias", "mlp_bias": "blk.0.ffn_up.bias"}
ATTENTION = {"attention_bias": "blk.0.attn_q.bias"}
USE_BIAS = {"use_bias": "blk.0.attn_q.bias"}


def plain(values: Values, model_type: str, there: Mapping[str, str] = BIASED, **fixed: object) -> Fields:
    """Read a decoder: `there` are switches, each with the tensor that is there if it is on."""
    switches = {field: tensor in values.tensors for field, tensor in there.items()}
    return {"model_type": model_type, **attending(values), **switches, **fixed}


def sparse(values: Values, model_type: str, experts: str, inner: str, **fixed: object) -> Fields:
    """Read a mixture of experts: the fields that count them, and that say how wide one is."""
    found = plain(values, model_type, ATTENTION, **fixed)
    counts = values.sizes(**{experts: "expert_count", "num_experts_per_tok": "expert_used_count"})
    width = values.stated(**{inner: "expert_feed_forward_length"})
    return {**found, **counts, **width}


def four_times(values: Values, model_type: str) -> Fields:
    """Read a decoder whose class has no field for its inner width: it is four times its own.

    Raises
    ------
    BadInputError
        It is another.

    """
    found = basic(values)
    inner, width = found.pop("intermediate_size", None), values.size("embedding_length")
    if inner not in (None, 4 * width):
        field = f"{values.name}.feed_forward_length"
        raise BadInputError(field, f"4 x {width}", inner, CONVERT)
    multi_query = {"multi_query": found["num_key_value_heads"] == 1} if model_type == "gpt_bigcode" else {}
    found.pop("num_key_value_heads")
    return {"model_type": model_type, **found, **multi_query}


def windowed(values: Values, model_type: str, period: int) -> Fields:
    """Read a decoder with a window in all layers but every `period`-th, as llama.cpp's code has it."""
    window = values.sizes(sliding_window="attention.sliding_window")
    return {**plain(values, model_type, ATTENTION), **window, "sliding_window_pattern": period}


def exaone4(values: Values) -> Fields:
    """Read EXAONE 4: llama.cpp's code has windows for the model of 64 layers alone."""
    if values.blocks == 64:
        window = {"sliding_window": 4096, **values.stated(sliding_window="attention.sliding_window")}
        return {**plain(values, "exaone4", {}), **window, "sliding_window_pattern": 4}
    return {**plain(values, "exaone4", {}), "sliding_window": None, "sliding_window_pattern": None}


def olmo2(values: Values) -> Fields:
    """Read OLMo 2, or OLMo 3 where a window is stated."""
    window = values.stated(sliding_window="attention.sliding_window")
    return {**plain(values, "olmo3" if window else "olmo2", ATTENTION), **window}


def ernie_moe(values: Values) -> Fields:
    """Read ERNIE 4.5's mixture of experts."""
    return {
        **sparse(values, "ernie4_5_moe", "moe_num_experts", "moe_intermediate_size"),
        "moe_layer_start_index": values.get("leading_dense_block_count") or 0,
        "moe_layer_interval": values.get("interleave_moe_layer_step") or 1,
        "moe_num_shared_experts": values.get("expert_shared_count") or 0,
    }


def granite_moe(values: Values) -> Fields:
    """Read Granite's mixture of experts, with a shared expert or without."""
    shared = values.get("expert_shared_feed_forward_length") or 0
    kind = "granitemoeshared" if "blk.0.ffn_up_shexp.weight" in values.tensors else "granitemoe"
    found = sparse(values, kind, "num_local_experts", "intermediate_size")
    return {**found, "shared_intermediate_size": shared} if kind == "granitemoeshared" else found


def dots1(values: Values) -> Fields:
    """Read dots.llm1."""
    found = sparse(values, "dots1", "n_routed_experts", "moe_intermediate_size")
    first = values.get("leading_dense_block_count") or 0
    return {**found, **values.sizes(n_shared_experts="expert_shared_count"), "first_k_dense_replace": first}


def llama4(values: Values) -> Fields:
    """Read Llama 4's text model; how long a chunk is stands in llama.cpp's code."""
    found = sparse(values, "llama4_text", "num_local_experts", "intermediate_size")
    dense = values.sizes(intermediate_size_mlp="feed_forward_length")
    step = values.sizes(interleave_moe_layer_step="interleave_moe_layer_step")
    return {**found, **dense, **step, "attention_chunk_size": 8192}


def qwen2_moe(values: Values) -> Fields:
    """Read Qwen2's mixture of experts."""
    found = sparse(values, "qwen2_moe", "num_experts", "moe_intermediate_size")
    del found["attention_bias"]
    shared = values.sizes(shared_expert_intermediate_size="expert_shared_feed_forward_length")
    return {**found, **shared, "qkv_bias": "blk.0.attn_q.bias" in values.tensors}


def qwen3_vl_moe(values: Values) -> Fields:
    """Read the text model of Qwen3-VL's mixture of experts, which is that of Qwen3."""
    return sparse(values, "qwen3_moe", "num_experts", "moe_intermediate_size")


def phimoe(values: Values) -> Fields:
    """Read Phi-3.5-MoE."""
    found = sparse(values, "phimoe", "num_local_experts", "intermediate_size")
    return {**found, "lm_head_bias": "output.bias" in values.tensors, "sliding_window": None}


def hunyuan_moe(values: Values) -> Fields:
    """Read Hunyuan's mixture of experts."""
    return sparse(values, "hunyuan_v1_moe", "num_experts", "intermediate_size")


def falcon(values: Values) -> Fields:
    """Read Falcon: of the newer kind where two norms stand side by side, or a few key/value heads do."""
    found = basic(values)
    heads, kept = found["num_attention_heads"], found.pop("num_key_value_heads")
    new = "blk.0.attn_norm_2.weight" in values.tensors or kept not in (1, heads)
    norms = {"num_ln_in_parallel_attn": 2 if "blk.0.attn_norm_2.weight" in values.tensors else 1}
    kinds = {"new_decoder_architecture": new, "num_kv_heads": kept, "multi_query": kept == 1}
    inner = {"ffn_hidden_size": found.pop("intermediate_size")}
    return {"model_type": "falcon", **found, **kinds, **inner, **(norms if new else {}), "bias": False}


def chatglm(values: Values) -> Fields:
    """Read ChatGLM and GLM-4 by their own code, where queries, keys and values are one matrix, or GLM."""
    if "blk.0.attn_qkv.weight" not in values.tensors:
        return plain(values, "glm", ATTENTION)
    found = basic(values)
    head_dim = values.size("embedding_length") // values.size("attention.head_count")
    return {
        "model_type": "chatglm",
        "hidden_size": found["hidden_size"],
        "num_attention_heads": found["num_attention_heads"],
        "padded_vocab_size": found["vocab_size"],
        "num_layers": found["num_hidden_layers"],
        "ffn_hidden_size": found["intermediate_size"],
        "kv_channels": head_dim,
        "seq_length": found["max_position_embeddings"],
        "multi_query_attention": True,
        "multi_query_group_num": found["num_key_value_heads"],
        "add_qkv_bias": "blk.0.attn_qkv.bias" in values.tensors,
    }


def deepseek(values: Values) -> Fields:
    """Read DeepSeek's first mixture of experts."""
    found = sparse(values, "deepseek", "n_routed_experts", "moe_intermediate_size")
    del found["attention_bias"]
    first = values.get("leading_dense_block_count") or 0
    shared = values.sizes(n_shared_experts="expert_shared_count")
    return {**found, **shared, "first_k_dense_replace": first}


def phi(values: Values) -> Fields:
    """Read Phi-2, or as Microsoft's own code has it: queries, keys and values are one matrix."""
    if "blk.0.attn_qkv.weight" not in values.tensors:
        return plain(values, "phi", {})
    found = basic(values)
    inner = {"n_inner": found.pop("intermediate_size"), "rotary_dim": values.size("rope.dimension_count")}
    return {"model_type": "phi-msft", **found, **inner}


def mpt(values: Values) -> Fields:
    """Read MPT."""
    found = four_times(values, "mpt")
    return {**found, "max_seq_len": found.pop("max_position_embeddings")}


def named(model_type: str, there: Mapping[str, str] = BIASED, **fixed: object) -> Callable[[Values], Fields]:
    """Return the reader of a plain decoder."""
    return lambda values: plain(values, model_type, there, **fixed)


DECODERS: dict[str, Callable[[Values], Fields]] = {
    "apertus": named("apertus", ATTENTION),
    "baichuan": named("baichuan", {}),
    "bitnet": named("bitnet", {}),
    "chatglm": chatglm,
    "deepseek": deepseek,
    "falcon": falcon,
    "internlm2": named("internlm2", {}, bias=False),
    "jais2": named("jais2"),
    "minicpm": named("minicpm", ATTENTION),
    "mpt": mpt,
    "pangu-embedded": named("PanguEmbedded", {"bias": "blk.0.attn_q.bias"}),
    "qwen": named("qwen", {}),
    "qwen2vl": named("qwen2", {}),
    "arcee": named("arcee"),
    "bloom": partial(four_times, model_type="bloom"),
    "command-r": named("cohere", ATTENTION),
    "cohere2": partial(windowed, model_type="cohere2", period=4),
    "dots1": dots1,
    "ernie4_5": named("ernie4_5", USE_BIAS),
    "ernie4_5-moe": ernie_moe,
    "exaone4": exaone4,
    "gemma": named("gemma", ATTENTION),
    "glm4": named("glm4", ATTENTION),
    "gpt2": partial(four_times, model_type="gpt2"),
    "starcoder": partial(four_times, model_type="gpt_bigcode"),
    "gptneox": named("gpt_neox", {"attention_bias": "blk.0.attn_qkv.bias"}),
    "granite": named("granite"),
    "granitemoe": granite_moe,
    "hunyuan-dense": named("hunyuan_v1_dense", ATTENTION),
    "hunyuan-moe": hunyuan_moe,
    "llama4": llama4,
    "minimax-m2": lambda values: sparse(values, "minimax_m2", "num_local_experts", "intermediate_size"),
    "mistral3": named("ministral3", {}, sliding_window=None),
    "nemotron": named("nemotron"),
    "olmo": named("olmo", ATTENTION),
    "olmo2": olmo2,
    "olmoe": lambda values: sparse(values, "olmoe", "num_experts", "intermediate_size"),
    "phi2": phi,
    "phimoe": phimoe,
    "qwen2moe": qwen2_moe,
    "qwen3vl": named("qwen3", ATTENTION),
    "qwen3vlmoe": qwen3_vl_moe,
    "seed_oss": named("seed_oss", {**BIASED, "attention_out_bias": "blk.0.attn_output.bias"}),
    "smollm3": named("smollm3"),
    "stablelm": named("stablelm", {"use_qkv_bias": "blk.0.attn_q.bias"}, qk_layernorm=False),
    "starcoder2": named("starcoder2", USE_BIAS, sliding_window=None),
}
