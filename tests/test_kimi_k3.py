"""Kimi-K3, of which transformers has no class: figures that others read off its files, and refusals.

Config: moonshotai/Kimi-K3, from aiconfigurator-core 0.12.0 (PyPI). Figures: 2.78T parameters, 104.2B a token,
401M in the tower (arXiv:2607.24653, table 1, as README.md of github.com/TimRots/kimi3 has it); a trunk of
108.81 GB and 1.45 TB of experts (docs/ARCHITECTURE.md of github.com/FareedKhan-dev/kimi-k3-in-c); experts of
[3072, 3584] in MXFP4 (docs/K3.md of github.com/sqliteai/waste, commit d9b919a); numbers by their dtype
(safetensors at huggingface.co/api/models/moonshotai/Kimi-K3, as several public records quote it alike). All
were read in 2026-11.
"""

from __future__ import annotations

import json
import math

import pytest

from memcalc.errors import MemcalcError
from memcalc.files.readers import read
from memcalc.files.tensor_names import header
from memcalc.ledger.model import cache_growth
from memcalc.serving import serve

FULL = [*range(4, 93, 4), 93]
TEXT = {
    "model_type": "kimi_linear",
    "architectures": ["KimiLinearForCausalLM"],
    "auto_map": {"AutoModelForCausalLM": "modeling_kimi_linear.KimiLinearForCausalLM"},
    "attn_res_block_size": 12,
    "activation_situ_beta": 4.0,
    "activation_situ_linear_beta": 25.0,
    "first_k_dense_replace": 1,
    "hidden_act": "situ",
    "hidden_size": 7168,
    "intermediate_size": 33_792,
    "kv_lora_rank": 512,
    "latent_moe_use_norm": True,
    "linear_attn_config": {
        "full_attn_layers": FULL,
        "gate_lower_bound": -5.0,
        "head_dim": 128,
        "kda_layers": [layer for layer in range(1, 94) if layer not in FULL],
        "num_heads": 96,
        "short_conv_kernel_size": 4,
        "use_full_rank_gate": True,
    },
    "max_position_embeddings": 1_048_576,
    "mla_use_nope": True,
    "mla_use_output_gate": True,
    "moe_intermediate_size": 3072,
    "moe_layer_freq": 1,
    "moe_renormalize": True,
    "num_attention_heads": 96,
    "num_experts": 896,
    "num_experts_per_token": 16,
    "num_hidden_layers": 93,
    "num_key_value_heads": 96,
    "num_nextn_predict_layers": 0,
    "num_shared_experts": 2,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "quantization_config": {
        "config_groups": {
            "group_0": {
                "format": "mxfp4-pack-quantized",
                "targets": ["Linear"],
                "weights": {
                    "group_size": 32,
                    "num_bits": 4,
                    "scale_dtype": "torch.uint8",
                    "strategy": "group",
                    "symmetric": True,
                    "type": "float",
                },
            }
        },
        "format": "mxfp4-pack-quantized",
        "ignore": [
            "re:.*self_attn.*",
            "re:.*shared_experts.*",
            r"re:.*mlp\.(gate|up|gate_up|down)_proj.*",
            "re:.*lm_head.*",
            "re:.*vision_tower.*",
            "re:.*mm_projector.*",
        ],
        "quant_method": "compressed-tensors",
    },
    "routed_expert_hidden_size": 3584,
    "use_grouped_topk": True,
    "v_head_dim": 128,
    "vocab_size": 163_840,
}
VISION = {
    "attn_bias": False,
    "init_pos_emb_height": 64,
    "init_pos_emb_time": 4,
    "init_pos_emb_width": 64,
    "linear_bias": False,
    "merge_kernel_size": [2, 2],
    "merge_type": "sd2_tpool",
    "mlp_type": "mlp2",
    "mm_hidden_size": 1024,
    "mm_projector_type": "patchmergerv2",
    "norm_type": "rmsnorm",
    "patch_embed_proj_bias": False,
    "patch_size": 14,
    "pos_emb_type": "divided_fixed",
    "qkv_hidden_size": 1536,
    "text_hidden_size": 7168,
    "vt_hidden_size": 1024,
    "vt_intermediate_size": 4096,
    "vt_num_attention_heads": 12,
    "vt_num_hidden_layers": 27,
}
K3 = {
    "model_type": "kimi_k3",
    "architectures": ["KimiK3ForConditionalGeneration"],
    "auto_map": {"AutoModelForCausalLM": "modeling_kimi_k3.KimiK3ForConditionalGeneration"},
    "text_config": TEXT,
    "vision_config": VISION,
    "tie_word_embeddings": False,
}
ALONE = {field: value for field, value in TEXT.items() if field not in ("architectures", "auto_map")}
ALONE |= {"model_type": "kimi_k3_text", "tie_word_embeddings": False}


def given(folder, config):
    """A config.json in a folder."""
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def test_its_parameters_are_those_that_others_count():
    model = read(K3)
    assert round(model.parameters / 10**10) == 278
    assert round((model.active_parameters - model.embedding_parameters) / 10**8) == 1042
    tower = [shape for name, shape in header(model).items() if name.startswith("vision_tower.")]
    assert round(sum(map(math.prod, tower)) / 10**6) == 401
    assert cache_growth(model) == {
        "bytes_per_token": 24 * (512 + 64) * 2,
        "bytes_per_token_in_window": 24 * (512 + 64) * 2,
        "state_bytes_per_sequence": 69 * (3 * 12_288 * 4 * 2 + 96 * 128 * 128 * 4),
    }
    sizes = header(model)
    expert = "language_model.model.layers.92.block_sparse_moe.experts.895"
    assert (sizes[f"{expert}.w1.weight"], sizes[f"{expert}.w2.weight"]) == ((3072, 3584), (3584, 3072))


IN_32_BITS = ("_conv1d.weight", ".o_norm.weight", ".A_log", ".dt_bias", ".e_score_correction_bias")


def test_its_numbers_are_those_of_its_file():
    """Packed experts, what has 32 bits, and the rest: to the number, and to the byte of its index.

    In the file A_log has 128 numbers in each of 69 layers, one for each of 96 heads in the code; MXFP4 has a
    byte of scale for 32 numbers.
    """
    counts = {name: math.prod(shape) for name, shape in header(read(K3)).items()}
    packed = sum(count for name, count in counts.items() if ".experts." in name)
    wide = sum(count for name, count in counts.items() if name.endswith(IN_32_BITS)) + 69 * (128 - 96)
    rest = sum(counts.values()) + 69 * (128 - 96) - packed - wide
    assert (packed, rest, wide) == (2_722_740_830_208, 57_179_884_544, 11_122_432)
    assert packed // 2 + packed // 32 + 2 * rest + 4 * wide == 1_560_860_324_864


def test_its_file_is_as_large_as_others_say(tmp_path):
    """Trunk, experts, embedding and head, to the digits that are published."""
    served = serve(given(tmp_path, K3), context=64, engine="transformers")
    lines = [line for line in served.device.lines if line.component == "weights" and "{layer}" in line.name]
    experts = sum(line.bytes for line in lines if "{expert}" in line.name)
    trunk = sum(line.bytes for line in lines) - experts
    assert (round(experts / 10**10), round(trunk / 10**7)) == (145, 10_881)


def test_vllm_keeps_its_states_in_32_bits_and_its_convolutions_in_16(tmp_path):
    options = {"mamba_ssm_cache_dtype": "bfloat16", "prefix_caching": False}
    served = serve(given(tmp_path, K3), context=64, engine="vllm", tp=8, engine_options=options)
    state = 3 * 3 * 96 // 8 * 128 * 2 + 96 // 8 * 128 * 128 * 4
    page, block = (served.plan.engine_options[name] for name in ("page_bytes", "attention_block"))
    assert page == block * 576 * 2 >= state
    assert page - 128 * 576 * 2 < state


@pytest.mark.parametrize(
    ("where", "field", "value"),
    [
        ("text_config", "mla_use_output_gate", False),
        ("text_config", "latent_moe_use_norm", False),
        ("text_config", "num_nextn_predict_layers", 1),
        ("text_config", "surprise", 12),
        ("text_config", "model_type", "llama"),
        ("vision_config", "norm_type", "layernorm"),
        ("vision_config", "mm_projector_type", "patchmerger"),
        ("vision_config", "surprise", 12),
    ],
)
def test_what_is_not_established_is_refused(where, field, value):
    with pytest.raises(MemcalcError, match=field):
        read({**K3, where: {**K3[where], field: value}})


def test_its_text_model_alone_is_not_taken_for_kimi_linear():
    """It calls itself kimi_linear, whose class would build other tensors: its own fields are refused."""
    text = {field: value for field, value in TEXT.items() if field != "auto_map"}
    with pytest.raises(MemcalcError, match="attn_res_block_size"):
        read(text)


def test_llama_cpp_keeps_its_experts_as_they_are(tmp_path):
    """Its converter repacks them, 17 bytes for 32 numbers; all else is in 16 bits, or in 32."""
    served = serve(given(tmp_path, K3), context=4096, engine="llama.cpp")
    experts = sum(line.bytes for line in served.device.lines if "experts.{expert}" in line.name)
    assert experts == 92 * 896 * 3 * 3072 * 3584 * 17 // 32
    assert 1.45e12 < served.weights_file_bytes < 1.7e12


def test_a_file_of_it_as_the_library_says_it(tmp_path):
    """llama.cpp v0.5.0 on a file of its shapes: 108 MiB of cache, 443.11 of states, and this many bytes."""
    served = serve(given(tmp_path, K3), context=4096, engine="llama.cpp", weights="Q4_K_M")
    sizes = served.device.components
    assert sizes["kv_cache"] == 108 * 2**20
    assert sizes["state"] / 2**20 == pytest.approx(443.11, abs=0.006)
    assert served.weights_file_bytes == 1_681_669_259_648
