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


class Architecture(NamedTuple):
    """What llama.cpp calls an architecture, its words for tensors, and whether it knows their windows.

    Two canonical names that become one are one tensor, as in `files.tensor_names`. Where llama.cpp knows no
    window, its layers keep all tokens whatever the config says. `predicts`: its converter writes the layers
    for multi-token prediction behind the others; they are in the file, and are not loaded.
    Source of the last: ggml-org/llama.cpp, conversion/deepseek.py and glm.py (skip_mtp), 2026-11.
    """

    id: str
    words: Mapping[str, str]
    windows: bool = False
    predicts: bool = False


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
        "gemma2": Architecture("gemma2", {**COMMON, **SANDWICH}, windows=True),
        "gemma3_text": Architecture("gemma3", {**COMMON, **SANDWICH}, windows=True),
        "gemma3": Architecture("gemma3", {**COMMON, **SANDWICH}, windows=True),
        "gpt_oss": Architecture(
            "gpt-oss", {**COMMON, **EXPERTS, **BEHIND, "self_attn.sinks": "attn_sinks.weight"}, windows=True
        ),
        "deepseek_v2": LATENT_EXPERTS,
        "deepseek_v3": LATENT_EXPERTS,
        "kimi_k2": LATENT_EXPERTS,
        "kimi_k25": LATENT_EXPERTS,
        "deepseek_v32": Architecture("deepseek32", SPARSE_LATENT, predicts=True),
        "glm_moe_dsa": Architecture("glm-dsa", SPARSE_LATENT, predicts=True),
        "glm4_moe": Architecture("glm4moe", {**COMMON, **EXPERTS, **BEHIND, **PREDICTING}, predicts=True),
    },
    remedy="its names in GGUF are not known: add them to memcalc/files/gguf/names.py, or leave GGUF aside",
    offers=False,
)


def architecture(model: Model) -> Architecture:
    """Return what llama.cpp calls the architecture of a model.

    >>> import memcalc
    >>> architecture(memcalc.model("openai/gpt-oss-20b")).id
    'gpt-oss'

    """
    return ARCHITECTURES[model.model_type]


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
        expected, remedy = "a tensor with a name in GGUF", "add it to memcalc/files/gguf/names.py"
        raise BadInputError(f"model_type {model_type}", expected, name, remedy)
    ours = max(fitting, key=len)
    return words[ours] + name.removeprefix(ours)
