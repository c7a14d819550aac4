"""Names in GGUF files: which architecture a model is there, and how its tensors are called.

Source of the names: ggml-org/llama.cpp, gguf-py/gguf/constants.py and src/llama-arch.cpp, read 2026-11. What
they allow is held against the library itself in tests/oracles: it refuses a file that lacks a tensor.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import BadInputError
from memcalc.ledger.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memcalc.ledger.model import Model

__all__ = ["ARCHITECTURES", "Architecture", "architecture", "gguf_name", "translated"]

COMMON = {
    "model.embed_tokens.": "token_embd.",
    "model.norm.": "output_norm.",
    "lm_head.": "output.",
    "input_layernorm.": "attn_norm.",
    "post_attention_layernorm.": "ffn_norm.",
    **{f"self_attn.{letter}_proj.": f"attn_{letter}." for letter in "qkv"},
    **{f"self_attn.{letter}_norm.": f"attn_{letter}_norm." for letter in "qk"},
    "self_attn.o_proj.": "attn_output.",
    **{f"mlp.{half}_proj.": f"ffn_{half}." for half in ("gate", "up", "down")},
}
EXPERTS = {
    "mlp.gate.e_score_correction_bias": "exp_probs_b.bias",
    "mlp.gate.": "ffn_gate_inp.",
    "mlp.shared_expert_gate.": "ffn_gate_inp_shexp.",
    **{f"mlp.experts.{{expert}}.{half}_proj.": f"ffn_{half}_exps." for half in ("gate", "up", "down")},
    **{f"mlp.shared_experts.{half}_proj.": f"ffn_{half}_shexp." for half in ("gate", "up", "down")},
}
LATENT = {
    "self_attn.q_a_proj.": "attn_q_a.",
    "self_attn.q_a_layernorm.": "attn_q_a_norm.",
    "self_attn.q_b_proj.": "attn_q_b.",
    "self_attn.kv_a_proj_with_mqa.": "attn_kv_a_mqa.",
    "self_attn.kv_a_layernorm.": "attn_kv_a_norm.",
    "self_attn.kv_b_proj.": "attn_kv_b.",
    "self_attn.k_b_proj.": "attn_k_b.",
    "self_attn.v_b_proj.": "attn_v_b.",
}
RECURRENT = {
    "linear_attn.in_proj_qkv.": "attn_qkv.",
    "linear_attn.in_proj_z.": "attn_gate.",
    "linear_attn.in_proj_b.": "ssm_ba.",
    "linear_attn.in_proj_a.": "ssm_ba.",
    "linear_attn.conv1d.": "ssm_conv1d.",
    "linear_attn.dt_bias": "ssm_dt.bias",
    "linear_attn.A_log": "ssm_a",
    "linear_attn.norm.": "ssm_norm.",
    "linear_attn.out_proj.": "ssm_out.",
}
INDEXED = {
    "self_attn.indexer.wq_b.": "indexer.attn_q_b.",
    "self_attn.indexer.wk.": "indexer.attn_k.",
    "self_attn.indexer.k_norm.": "indexer.k_norm.",
    "self_attn.indexer.weights_proj.": "indexer.proj.",
}
PREDICTING = {
    **{f"{name}.": f"nextn.{name}." for name in ("eh_proj", "enorm", "hnorm")},
    "shared_head.norm.": "nextn.shared_head_norm.",
}
BEHIND = {"post_attention_layernorm.": "post_attention_norm."}
# Qwen3.5: ggml-org/llama.cpp, conversion/qwen.py (_Qwen35MtpMixin) and gguf-py/gguf/constants.py, 2026-11
RECURRENT_35 = {
    **RECURRENT,
    **BEHIND,
    "linear_attn.in_proj_b.": "ssm_beta.",
    "linear_attn.in_proj_a.": "ssm_alpha.",
    "fc.": "nextn.eh_proj.",
    "pre_fc_norm_embedding.": "nextn.enorm.",
    "pre_fc_norm_hidden.": "nextn.hnorm.",
    "norm.": "nextn.shared_head_norm.",
}
SANDWICH = {
    **BEHIND,
    "pre_feedforward_layernorm.": "ffn_norm.",
    "post_feedforward_layernorm.": "post_ffw_norm.",
}
FUSED = {
    **{f"self_attn.{letter}_proj.": "attn_qkv." for letter in "qkv"},
    **{f"mlp.{half}_proj.": "ffn_up." for half in ("gate", "up")},
}


QKV = {f"self_attn.{letter}_proj.": "attn_qkv." for letter in "qkv"}
AFTER = {**BEHIND, "post_feedforward_layernorm.": "post_ffw_norm."}
LEARNED = {"model.embed_positions.": "position_embd."}
SPARSE = {**COMMON, **EXPERTS}


class Architecture(NamedTuple):
    """What llama.cpp calls an architecture, its words for tensors, and whether it knows their windows.

    Two canonical names that become one are one tensor, as in `files.tensor_names`. Where llama.cpp knows no
    window, its layers keep all tokens whatever the config says; where its code says which layers have one,
    every `period`-th has none, and only models of `depth` layers have any if that is stated. With experts
    the architecture may have another name, `sparse`. `predicts`: its converter writes the layers
    for multi-token prediction behind the others; they are in the file, and are not loaded.
    Source of the last: ggml-org/llama.cpp, conversion/deepseek.py and glm.py (skip_mtp), 2026-11.
    """

    id: str
    words: Mapping[str, str]
    windows: bool = False
    predicts: bool = False
    period: int | None = None
    depth: int | None = None
    sparse: str | None = None


def state_space(module: str) -> dict[str, str]:
    """Return the words of Mamba and Mamba-2, which stand in a module of that name."""
    words = {
        **{f"{name}.": f"ssm_{theirs}." for name, theirs in (("in_proj", "in"), ("out_proj", "out"))},
        **{f"{name}.": f"ssm_{name}." for name in ("conv1d", "norm")},
        **{f"{name}_proj.": f"ssm_{name}." for name in ("x", "dt")},
        **{f"{name}_layernorm.": f"ssm_{name}_norm." for name in ("dt", "b", "c")},
        "dt_bias": "ssm_dt.bias",
        "A_log": "ssm_a",
        "D": "ssm_d",
    }
    return {f"{module}.{ours}": theirs for ours, theirs in words.items()}


INNER = ("mlp.", "self")


def within(module: str, words: Mapping[str, str]) -> dict[str, str]:
    """Return the words of attention, feed-forward parts and experts in a module of another name."""
    return {
        f"{module}.{ours.partition('.')[2]}": theirs for ours, theirs in words.items() if ours[:4] in INNER
    }


MIXER = {**COMMON, **state_space("mixer"), "norm.": "attn_norm."}
FEEDING = {**SPARSE, **within("feed_forward", SPARSE)}
JAMBA = {**FEEDING, **state_space("mamba"), "pre_ff_layernorm.": "ffn_norm."}
LFM2 = {
    **FEEDING,
    "model.norm.": "token_embd_norm.",
    "operator_norm.": "attn_norm.",
    "ffn_norm.": "ffn_norm.",
    "conv.conv.": "shortconv.conv.",
    "conv.in_proj.": "shortconv.in_proj.",
    "conv.out_proj.": "shortconv.out_proj.",
}
NEMOTRON = {
    **MIXER,
    **within("mixer", SPARSE),
    "mixer.fc1_latent_proj.": "ffn_latent_down.",
    "mixer.fc2_latent_proj.": "ffn_latent_up.",
}
HYBRIDS = {
    "falcon_h1": Architecture("falcon-h1", {**JAMBA, "pre_ff_layernorm.weight": "ffn_norm"}),
    "falcon_mamba": Architecture("mamba", MIXER),
    "granitemoehybrid": Architecture("granitehybrid", {**SPARSE, **state_space("mamba")}),
    "jamba": Architecture("jamba", JAMBA),
    "lfm2": Architecture("lfm2", LFM2),
    "lfm2_moe": Architecture("lfm2moe", LFM2),
    "mamba": Architecture("mamba", MIXER),
    "mamba2": Architecture("mamba2", MIXER),
    "nemotron_h": Architecture("nemotron_h", NEMOTRON, sparse="nemotron_h_moe"),
}
GEMMA4 = {
    **COMMON,
    **SANDWICH,
    **{f"post_feedforward_layernorm_{number}.": f"post_ffw_norm_{number}." for number in "12"},
    "pre_feedforward_layernorm_2.": "pre_ffw_norm_2.",
    "model.embed_tokens_per_layer.": "per_layer_token_embd.",
    "model.per_layer_model_projection.": "per_layer_model_proj.",
    "model.per_layer_projection_norm.": "per_layer_proj_norm.",
    "per_layer_input_gate.": "inp_gate.",
    "per_layer_projection.": "proj.",
    "post_per_layer_input_norm.": "post_norm.",
    "layer_scalar.value": "layer_output_scale.weight",
    "moe.gate.": "ffn_gate_inp.",
    "router.scale.value": "ffn_gate_inp.scale",
    "router.per_expert_scale.value": "ffn_down_exps.scale",
    **{f"moe.experts.{{expert}}.{half}_proj.": "ffn_gate_up_exps." for half in ("gate", "up")},
    "moe.experts.{expert}.down_proj.": "ffn_down_exps.",
}
# decoders of the table in files.readers.plain, and their relatives
PLAIN = {
    "arcee": Architecture("arcee", COMMON),
    "bloom": Architecture("bloom", {**COMMON, **QKV, "model.embed_norm.": "token_embd_norm."}),
    "cohere": Architecture("command-r", COMMON),
    "cohere2": Architecture("cohere2", COMMON, windows=True, period=4),
    "dots1": Architecture("dots1", SPARSE),
    "ernie4_5": Architecture("ernie4_5", COMMON),
    "ernie4_5_moe": Architecture("ernie4_5-moe", SPARSE),
    "exaone4": Architecture("exaone4", {**COMMON, **AFTER}, windows=True, period=4, depth=64),
    "gemma": Architecture("gemma", COMMON),
    "glm4": Architecture(
        "glm4",
        {
            **COMMON,
            **{f"mlp.{half}_proj.": "ffn_up." for half in ("gate", "up")},
            "post_self_attn_layernorm.": "post_attention_norm.",
            "post_mlp_layernorm.": "post_ffw_norm.",
        },
    ),
    "glm4_moe_lite": Architecture("deepseek2", {**COMMON, **EXPERTS, **LATENT}),
    "gpt2": Architecture("gpt2", {**COMMON, **QKV, **LEARNED}),
    "gpt_bigcode": Architecture("starcoder", {**COMMON, **QKV, **LEARNED}),
    "gpt_neox": Architecture("gptneox", {**COMMON, **QKV}),
    "granite": Architecture("granite", COMMON),
    "granitemoe": Architecture("granitemoe", SPARSE),
    "granitemoeshared": Architecture("granitemoe", SPARSE),
    "hunyuan_v1_dense": Architecture("hunyuan-dense", COMMON),
    "hunyuan_v1_moe": Architecture("hunyuan-moe", SPARSE),
    "llama4": Architecture("llama4", SPARSE, windows=True, period=4),
    "llama4_text": Architecture("llama4", SPARSE, windows=True, period=4),
    "minimax_m2": Architecture("minimax-m2", SPARSE),
    "ministral3": Architecture("mistral3", COMMON),
    "mistral3": Architecture("mistral3", COMMON),
    "nemotron": Architecture("nemotron", COMMON),
    "olmo": Architecture("olmo", COMMON),
    "olmo2": Architecture("olmo2", {**COMMON, **AFTER}),
    "olmo3": Architecture("olmo2", {**COMMON, **AFTER}, windows=True, period=4),
    "olmoe": Architecture("olmoe", SPARSE),
    "phi": Architecture("phi2", COMMON),
    "phimoe": Architecture("phimoe", SPARSE),
    "qwen2_moe": Architecture("qwen2moe", SPARSE),
    "qwen3_vl": Architecture("qwen3vl", COMMON),
    "qwen3_vl_moe": Architecture("qwen3vlmoe", SPARSE),
    "seed_oss": Architecture("seed_oss", {**COMMON, **BEHIND}),
    "smollm3": Architecture("smollm3", COMMON),
    "stablelm": Architecture("stablelm", COMMON),
    "starcoder2": Architecture("starcoder2", COMMON),
}
QWEN35 = Architecture("qwen35", {**COMMON, **RECURRENT_35}, predicts=True)
QWEN35_MOE = Architecture("qwen35moe", {**COMMON, **EXPERTS, **RECURRENT_35}, predicts=True)
LATENT_EXPERTS = Architecture("deepseek2", {**COMMON, **EXPERTS, **LATENT})
SPARSE_LATENT = {**COMMON, **EXPERTS, **LATENT, **INDEXED, **PREDICTING}
ARCHITECTURES: Registry[Architecture] = Registry(
    "model_type",
    {
        "llama": Architecture("llama", COMMON),
        "mistral": Architecture("llama", COMMON),
        "mixtral": Architecture("llama", {**COMMON, **EXPERTS}),
        "qwen2": Architecture("qwen2", COMMON),
        "qwen3": Architecture("qwen3", COMMON),
        "qwen3_moe": Architecture("qwen3moe", {**COMMON, **EXPERTS}),
        "qwen3_next": Architecture("qwen3next", {**COMMON, **EXPERTS, **RECURRENT, **BEHIND}),
        "qwen3_5": QWEN35,
        "qwen3_5_text": QWEN35,
        "qwen3_5_moe": QWEN35_MOE,
        "qwen3_5_moe_text": QWEN35_MOE,
        "phi3": Architecture("phi3", {**COMMON, **FUSED}),
        "gemma2": Architecture("gemma2", {**COMMON, **SANDWICH}, windows=True, period=2),
        "gemma3_text": Architecture("gemma3", {**COMMON, **SANDWICH}, windows=True, period=6),
        "gemma3": Architecture("gemma3", {**COMMON, **SANDWICH}, windows=True, period=6),
        "gpt_oss": Architecture(
            "gpt-oss", {**COMMON, **EXPERTS, **BEHIND, "self_attn.sinks": "attn_sinks.weight"}, windows=True
        ),
        "deepseek_v2": LATENT_EXPERTS,
        "deepseek_v3": LATENT_EXPERTS,
        "kimi_k2": LATENT_EXPERTS,
        "kimi_k25": LATENT_EXPERTS,
        "deepseek_v32": Architecture("deepseek32", SPARSE_LATENT, predicts=True),
        "glm_moe_dsa": Architecture("glm-dsa", SPARSE_LATENT, predicts=True),
        **PLAIN,
        **HYBRIDS,
        **dict.fromkeys(("gemma4", "gemma4_text"), Architecture("gemma4", GEMMA4, windows=True)),
        "glm4_moe": Architecture("glm4moe", {**COMMON, **EXPERTS, **BEHIND, **PREDICTING}, predicts=True),
    },
    remedy="its names in GGUF are not known, so no GGUF of it is counted; --engine transformers answers",
    offers=False,
)


def architecture(model: Model) -> Architecture:
    """Return what llama.cpp calls the architecture of a model.

    >>> import memcalc
    >>> architecture(memcalc.model("openai/gpt-oss-20b")).id
    'gpt-oss'

    """
    found = ARCHITECTURES[model.model_type]
    return found._replace(id=found.sparse) if found.sparse and model.has_experts else found


def gguf_name(model: Model, name: str) -> str:
    """Return the name in GGUF of a canonical one; `{layer}` and `{expert}` may stand in it.

    >>> import memcalc
    >>> gguf_name(memcalc.model("Qwen/Qwen3-30B-A3B"), "model.layers.7.mlp.experts.{expert}.up_proj.weight")
    'blk.7.ffn_up_exps.weight'

    Raises
    ------
    BadInputError
        The model, or the tensor, has no name in GGUF here.

    """
    if name.startswith("model.layers."):
        layer, _, rest = name.removeprefix("model.layers.").partition(".")
        return f"blk.{layer}.{translated(model.model_type, rest)}"
    return translated(model.model_type, name)


@cache
def translated(model_type: str, name: str) -> str:
    """Return a name, without the layer before it, in GGUF's words: the longest beginning known decides."""
    words = ARCHITECTURES[model_type].words
    fitting = [ours for ours in words if name.startswith(ours)]
    if not fitting:
        expected, remedy = "a tensor with a name in GGUF", "--engine transformers answers"
        raise BadInputError(f"model_type {model_type}", expected, name, remedy)
    ours = max(fitting, key=len)
    return words[ours] + name.removeprefix(ours)
