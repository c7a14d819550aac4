"""Fields that a class takes under an older name, passes over, or builds something else from than it seems."""

from __future__ import annotations

import pytest

from memcalc.errors import BadInputError
from memcalc.files.catalogue import record
from memcalc.files.readers import read

LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 100,
}
# inclusionAI/Ling-3.0-tiny, as the tests of NVIDIA-NeMo's Megatron-Bridge have it, 2026-11
LING = {
    "model_type": "bailing_hybrid",
    "architectures": ["BailingMoeV3ForCausalLM"],
    "hidden_size": 1536,
    "intermediate_size": 4608,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "head_dim": 128,
    "vocab_size": 157184,
    "layer_group_size": 4,
    "short_conv_kernel_size": 4,
    "no_kda_lora": True,
    "use_kda_lora": False,
    "linear_silu": True,
    "use_qk_norm": True,
    "rotary_dim": 64,
    "gated_attention_proj_granularity_type": "head_wise",
    "qk_head_dim": 192,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "q_lora_rank": 256,
    "kv_lora_rank": 512,
    "first_k_dense_replace": 1,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "num_shared_experts": 1,
    "moe_intermediate_size": 512,
    "moe_shared_expert_intermediate_size": 512,
    "moe_router_enable_expert_bias": True,
    "num_nextn_predict_layers": 0,
    "num_kv_heads_for_linear_attn": 0,
}


@pytest.mark.parametrize(
    ("older", "newer", "value"),
    [
        ("mamba_n_groups", "n_groups", 4),
        ("mamba_d_conv", "conv_kernel", 2),
        ("mamba_conv_bias", "use_conv_bias", False),
    ],
)
def test_nemotron_h_takes_older_names_first(older, newer, value):
    """As its class does, which puts them over what the newer names say."""
    fields = record("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16").fields
    assert newer in fields
    expected = read({**fields, newer: value})
    assert read({**fields, older: value}).layers == expected.layers != read(fields).layers


def test_lfm2_takes_older_names_first():
    fields = {**LLAMA, "model_type": "lfm2", "num_key_value_heads": 4, "block_multiple_of": 32}
    assert read({**fields, "block_ff_dim": 160}) == read({**fields, "intermediate_size": 160})
    assert not read({**fields, "tie_embedding": False, "tie_word_embeddings": True}).tied


def test_the_class_of_llama_passes_a_bias_of_its_own_over():
    """Code that lies beside some weights has it, and `auto_map` names such code."""
    beside = {"auto_map": {"AutoModelForCausalLM": "modeling_llama.LlamaForCausalLM"}}
    stated = {**LLAMA, "attention_out_bias": True}
    assert read(stated).parameters == read(LLAMA).parameters
    assert read({**stated, **beside}).parameters == read(LLAMA).parameters + 2 * 64


def test_norms_of_olmoe_are_as_wide_as_the_stream():
    fields = {**LLAMA, "model_type": "olmoe"}
    with pytest.raises(BadInputError, match="head_dim: expected hidden_size / num_attention_heads"):
        read({**fields, "head_dim": 24})
    assert read({**fields, "head_dim": 16}) == read(fields)


def test_ling_3_has_a_head_of_its_own_whatever_its_config_says():
    """Its class has no rule that ties, and neither has vLLM's."""
    assert read({**LING, "tie_word_embeddings": True}) == read(LING)


@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_either_config_ties_the_head_of_minimax_m3(outside, inside):
    tower = {"hidden_size": 12, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 1}
    text = {**LLAMA, "model_type": "minimax_m3_vl_text", "tie_word_embeddings": inside}
    whole = {"model_type": "minimax_m3_vl", "text_config": text, "vision_config": tower}
    assert read({**whole, "tie_word_embeddings": outside}).tied is (outside or inside)


@pytest.mark.parametrize("stated", [1, "false", []])
def test_what_ties_the_head_of_minimax_m3_is_true_or_false(stated):
    text = {**LLAMA, "model_type": "minimax_m3_vl_text", "tie_word_embeddings": stated}
    with pytest.raises(BadInputError, match=r"text_config\.tie_word_embeddings: expected true or false"):
        read({"model_type": "minimax_m3_vl", "text_config": text, "vision_config": {}})


@pytest.mark.parametrize("listed", [[[1], 0], [{}, 1], [2, 0]])
def test_kinds_of_minimax_m3_s_layers_are_0_or_1(listed):
    fields = {**LLAMA, "model_type": "minimax_m3_vl_text", "rotary_dim": 4, "moe_layer_freq": listed}
    with pytest.raises(BadInputError, match="as numbers: expected a list of 2 numbers, each 0 or 1"):
        read(fields)


def test_a_head_of_one_value_is_refused_whatever_its_config_says_is_rotated():
    """The class of MiniMax-M3 rotates a share of head_dim, and would cache two values of it."""
    fields = {**LLAMA, "model_type": "minimax_m3_vl_text", "rotary_dim": 4}
    with pytest.raises(BadInputError, match="head_dim: expected at least 2 rotated values"):
        read({**fields, "head_dim": 1})


def test_queries_of_ling_3_tiny_have_a_low_rank():
    """As its weights, vLLM and Megatron-Bridge have them; the class of transformers has none."""
    names = {one.name for one in read(LING).weights()}
    assert any(name.endswith("q_a_proj.weight") for name in names)
    heads, layers = 16 * 192, 6
    plain = layers * (1536 * heads - (1536 * 256 + 256 + 256 * heads))
    assert read({**LING, "q_lora_rank": None}).parameters - read(LING).parameters == plain
    with pytest.raises(BadInputError, match="q_lora_rank: expected null"):
        read({**LING, "architectures": ["BailingHybridForCausalLM"]})
    with pytest.raises(BadInputError, match="architectures: expected BailingMoeV3ForCausalLM"):
        read({**LING, "architectures": ["BailingMoeV2_5ForCausalLM"]})


def test_a_layer_ahead_of_ling_3_attends_and_has_experts():
    """As vLLM's bailing_moe_v3_mtp.py has it, 2026-11: that of an MLA layer, three norms, and a matrix."""
    found, width = read({**LING, "num_nextn_predict_layers": 1}), 1536
    assert found.parameters == read(LING).parameters
    attention = width * 256 + 256 + 256 * 16 * 192 + width * (512 + 64) + 512 + 512 * 16 * 256
    attention += width * 16 + 16 * 128 * width
    experts = 129 * 3 * width * 512 + 128 * width + 128  # the last are what corrects the router
    assert found.mtp_parameters == attention + experts + 5 * width + 2 * width**2


def test_layers_of_longcat_hold_two_attentions():
    """With the number of layers as `num_hidden_layers` the class would build half of them."""
    fields = {"model_type": "longcat_flash", "num_layers": 4}
    assert read({**fields, "num_hidden_layers": 8}) == read(fields)
    with pytest.raises(BadInputError, match="num_hidden_layers: expected 8, given 4"):
        read({**fields, "num_hidden_layers": 4})


# tencent/Hy3-preview, whose page says 295B, and 3.8B of multi-token prediction; 2026-11. Exact: transformers
# 5.23 and vLLM's hy_v3_mtp.py
HY3 = {
    "model_type": "hy_v3",
    "architectures": ["HYV3ForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 13312,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 120832,
    "num_experts": 192,
    "num_experts_per_tok": 8,
    "num_shared_experts": 1,
    "moe_intermediate_size": 1536,
    "expert_hidden_dim": 1536,
    "first_k_dense_replace": 1,
    "moe_router_use_sigmoid": True,
    "moe_router_enable_expert_bias": True,
    "route_norm": True,
    "num_nextn_predict_layers": 1,
    "use_grouped_mm": True,
    "qk_norm": True,
    "enable_attention_fp32_softmax": True,
    "enable_moe_fp32_combine": True,
    "enable_lm_head_fp32": True,
}


def test_what_the_file_of_hy3_says_beside_its_class():
    found = read(HY3)
    assert (found.parameters, found.mtp_parameters) == (295_033_528_320, 3_752_612_288)
    with pytest.raises(BadInputError, match="expert_hidden_dim: expected 1536"):
        read({**HY3, "expert_hidden_dim": 1024})


def sparse(model_type, **own):
    """A small mixture with one layer for multi-token prediction."""
    return {**LLAMA, "model_type": model_type, "num_nextn_predict_layers": 1, **own}


@pytest.mark.parametrize(
    ("fields", "norms"),
    [
        (sparse("exaone_moe", num_key_value_heads=2, head_dim=16), 2 + 3),
        (sparse("ernie4_5_moe", num_key_value_heads=2, weight_share_add_bias=True), 2 + 2),
    ],
)
def test_layers_ahead_of_a_mixture_may_be_dense(fields, norms):
    """As vLLM's exaone_moe_mtp.py and ernie_mtp.py build them, 2026-11: a matrix joins two streams."""
    found = read(fields)
    heads = 2 * 16 if fields["model_type"] == "exaone_moe" else 0
    attention = 2 * 64 * 64 + 2 * 64 * 32 + heads
    assert found.mtp_parameters == attention + 3 * 64 * 96 + norms * 64 + 2 * 64 * 64
    assert found.parameters == read({**fields, "num_nextn_predict_layers": 0}).parameters


def test_a_head_of_ernie_with_a_bias_is_not_known():
    fields = {**LLAMA, "model_type": "ernie4_5", "num_key_value_heads": 2, "weight_share_add_bias": True}
    assert read({**fields, "use_bias": False}).parameters
    with pytest.raises(BadInputError, match="weight_share_add_bias"):
        read({**fields, "use_bias": True})


@pytest.mark.parametrize(
    ("model_type", "own"),
    [
        ("qwen2", {"dual_chunk_attention_config": {"chunk_size": 262144, "local_size": 8192}}),
        ("hunyuan_v1_dense", {"enable_lm_head_fp32": True}),
        ("minicpm", {"mup_denominator": 32}),
    ],
)
def test_fields_of_published_files_that_change_no_memory(model_type, own):
    fields = {**LLAMA, "model_type": model_type, "num_key_value_heads": 2, "max_position_embeddings": 512}
    assert read({**fields, **own}) == read(fields)


def test_llama_guard_4_has_no_experts():
    """Its file lists no layer with some, and says that there are none."""
    own = {"num_local_experts": 0, "num_experts_per_tok": 0, "moe_layers": [], "interleave_moe_layer_step": 0}
    text = {
        **LLAMA,
        "model_type": "llama4_text",
        "intermediate_size_mlp": 96,
        "num_key_value_heads": 2,
        **own,
    }
    found = read(text)
    assert found.active_parameters == found.parameters


def test_a_head_of_internvl_is_tied_as_its_text_model_says():
    """Where the file says nothing outside, the class ties; a text model that says otherwise is refused."""
    text = {
        "model_type": "qwen3",
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151936,
        "tie_word_embeddings": False,
    }
    tower = {"model_type": "internvl_vision", "image_size": [448, 448], "patch_size": [14, 14]}
    fields = {
        "model_type": "internvl",
        "text_config": text,
        "vision_config": {**tower, "attention_bias": True},
    }
    with pytest.raises(BadInputError, match="tie_word_embeddings: expected true or false"):
        read(fields)
    assert read({**fields, "text_config": {**text, "tie_word_embeddings": True}}).tied


def test_the_width_inside_of_falcon_mamba_is_stated():
    """tiiuae/falcon-mamba-7b says `expand` 16, and 8,192; its class takes the latter."""
    fields = {
        "model_type": "falcon_mamba",
        "conv_kernel": 4,
        "expand": 16,
        "hidden_size": 4096,
        "intermediate_size": 8192,
        "num_hidden_layers": 64,
        "state_size": 16,
        "tie_word_embeddings": False,
        "time_step_rank": 256,
        "vocab_size": 65024,
    }
    assert read(fields).parameters == 7_272_665_088


def test_what_the_file_of_codestral_mamba_says_again():
    """A config in the shapes of Codestral Mamba, as its class in transformers counts them."""
    fields = {
        "model_type": "mamba2",
        "chunk_size": 256,
        "expand": 2,
        "head_dim": 64,
        "hidden_size": 4096,
        "intermediate_size": 8192,
        "n_groups": 8,
        "norm_before_gate": True,
        "num_heads": 128,
        "num_hidden_layers": 64,
        "rms_norm": True,
        "state_size": 128,
        "tie_word_embeddings": False,
        "vocab_size": 32768,
    }
    assert read(fields).parameters == 7_285_403_648
