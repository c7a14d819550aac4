"""Words for tensors: how a canonical name, without its layer, begins in GGUF.

Source: ggml-org/llama.cpp, gguf-py/gguf/constants.py, tensor_mapping.py and conversion/*.py, read 2026-11.
What they allow is held against the library itself in tests/oracles: it refuses a file that lacks a tensor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

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
BARE = {f"{ours}weight": f"{theirs}weight" for ours, theirs in COMMON.items()}  # where no bias is loaded
QKV_BIAS = {f"self_attn.{letter}_proj.bias": f"attn_{letter}.bias" for letter in "qkv"}
ATTENTION_BIAS = {**QKV_BIAS, "self_attn.o_proj.bias": "attn_output.bias"}
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
QKV_WEIGHT = {f"self_attn.{letter}_proj.weight": "attn_qkv.weight" for letter in "qkv"}
QKV = {**QKV_WEIGHT, **{f"self_attn.{letter}_proj.bias": "attn_qkv.bias" for letter in "qkv"}}
UP = {f"mlp.{half}_proj.weight": "ffn_up.weight" for half in ("gate", "up")}
FUSED = {**QKV, **UP}
AFTER = {**BEHIND, "post_feedforward_layernorm.": "post_ffw_norm."}
LEARNED = {"model.embed_positions.": "position_embd."}
SPARSE = {**COMMON, **EXPERTS}


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
SPARSE_BARE = {**BARE, **EXPERTS}
GLM4 = {
    **COMMON,
    **UP,
    "post_self_attn_layernorm.": "post_attention_norm.",
    "post_mlp_layernorm.": "post_ffw_norm.",
}
GLM4_MOE = {**COMMON, **EXPERTS, **BEHIND, **PREDICTING}
# the one norm of a layer, or that of the feed-forward part and that of attention
FALCON = {
    **{ours: theirs for ours, theirs in BARE.items() if not ours.startswith("post_")},
    **QKV_WEIGHT,
    "model.norm.": "output_norm.",
    "input_layernorm.": "attn_norm.",
    "ln_mlp.": "attn_norm.",
    "ln_attn.": "attn_norm_2.",
}
AFMOE = {
    **SPARSE_BARE,
    "post_attention_layernorm.weight": "post_attention_norm.weight",
    "self_attn.gate_proj.": "attn_gate.",
    "pre_mlp_layernorm.": "ffn_norm.",
    "post_mlp_layernorm.": "post_ffw_norm.",
}
APERTUS = {**BARE, **QKV_BIAS, "attention_layernorm.": "attn_norm.", "feedforward_layernorm.": "ffn_norm."}
HY_V3 = {**SPARSE_BARE, **QKV_BIAS, **PREDICTING, "mlp.gate.e_score_correction_bias": "exp_probs_b"}
# every layer has experts
MELLUM = {ours: theirs for ours, theirs in SPARSE_BARE.items() if "ffn_" not in theirs or "_exps" in theirs}
MELLUM |= {"mlp.gate.": "ffn_gate_inp.", "post_attention_layernorm.": "ffn_norm."}
GATE_UP = {f"mlp.experts.{{expert}}.{half}_proj.": "ffn_gate_up_exps." for half in ("gate", "up")}
MINICPM3 = {ours: theirs for ours, theirs in {**BARE, **LATENT}.items() if ".q_proj" not in ours}
LIGHTNING = {
    **SPARSE_BARE,
    "self_attn.qkv_proj.": "attn_qkv.",
    "self_attn.output_gate.": "attn_gate.",
    "self_attn.out_proj.": "attn_output.",
    "self_attn.norm.": "attn_norm_2.",
}
DECI = {**BARE, "self_attn.linear_attn.": "attn_output."}
GRANITE_SWA = {
    **COMMON,
    **EXPERTS,
    "self_attn.sinks": "attn_sinks.weight",
    **{f"mlp.shared_experts.{half}_proj.": "ffn_up_shexp." for half in ("gate", "up")},
}
DELTA = {
    **{f"linear_attn.{letter}_proj.": f"attn_{letter}." for letter in "qkv"},
    **{f"linear_attn.{letter}_conv1d.": f"ssm_conv1d_{letter}." for letter in "qkv"},
    **{f"linear_attn.{gate}_{rank}_proj.": f"ssm_{gate}_{rank}." for gate in "fg" for rank in "ab"},
    "linear_attn.A_log": "ssm_a",
    "linear_attn.dt_bias": "ssm_dt.bias",
    "linear_attn.b_proj.": "ssm_beta.",
    "linear_attn.o_norm.": "ssm_norm.",
    "linear_attn.o_proj.": "attn_output.",
}
NARROW_DELTA = {**SPARSE_BARE, **LATENT, **DELTA}
# of queries of low rank its loader knows no width
KIMI_LINEAR = {ours: theirs for ours, theirs in NARROW_DELTA.items() if not ours.startswith("self_attn.q_")}
KIMI_LINEAR |= {"self_attn.q_proj.weight": "attn_q.weight"}
BAILING = {
    **NARROW_DELTA,
    "self_attn.g_proj.": "attn_gate.",
    "linear_attn.f_proj.": "ssm_f_a.",
    "linear_attn.g_proj.": "ssm_g_a.",
}
ROUTED = ("down_proj", "up_proj", "norm")
KIMI_K3 = {
    **NARROW_DELTA,
    "self_attn.g_proj.": "attn_gate.",
    "linear_attn.g_proj.": "ssm_g.",
    "self_attention_res_norm.": "attn_res_score.",
    "mlp_res_norm.": "ffn_res_score.",
    "model.output_attn_res_norm.": "output_res_score.",
    **{f"mlp.routed_expert_{name}.": f"ffn_routed_{name.removesuffix('_proj')}." for name in ROUTED},
}
# the matrices of three streams lie in one array; another number of streams its converter refuses
ALTUP = {
    f"model.altup_{ours}.{index}.": f"altup_{theirs}."
    for ours, theirs in (("projections", "proj"), ("unembed_projections", "unembd_proj"))
    for index in range(3)
}
GEMMA3N = {
    **{ours: theirs for ours, theirs in GEMMA4.items() if "moe." not in ours and "router." not in ours},
    **ALTUP,
    "altup.correct_output_scale.value": "altup_correct_scale.weight",
    "altup.correction_coefs.": "altup_correct_coef.",
    "altup.prediction_coefs.": "altup_predict_coef.",
    "altup.modality_router.": "altup_router.",
    "altup.router_norm.": "altup_router_norm.",
    "laurel.linear_left.": "laurel_l.",
    "laurel.linear_right.": "laurel_r.",
    "laurel.post_laurel_norm.": "laurel_post_norm.",
}
MINIMAX_M3 = {
    **SPARSE_BARE,
    **{f"self_attn.indexer.{one}.": f"indexer.{one}." for one in ("q_proj", "k_proj", "q_norm", "k_norm")},
}
HYPER = {
    f"hc_{ours}_layer.hc_pre.hc_{one}.value": f"hc_{theirs}_{one}.weight"
    for ours, theirs in (("attn", "attn"), ("mlp", "ffn"))
    for one in ("fn", "base", "scale")
}
HY_V4 = {
    **SPARSE_BARE,
    **LATENT,
    **INDEXED,
    **HYPER,
    **{f"model.hc_head.hc_head_{one}.value": f"output_hc_{one}.weight" for one in ("fn", "base", "scale")},
    "self_attn.linear_gate.": "attn_gate.",
    "self_attn.learnable_sink_param.value": "attn_sinks.weight",
}
