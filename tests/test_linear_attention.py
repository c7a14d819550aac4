"""Models with states of the newer kinds: figures known from outside, and what engines make of them."""

from __future__ import annotations

import json

import pytest

from memcalc.errors import MemcalcError
from memcalc.files.readers import read
from memcalc.ledger.model import cache_growth
from memcalc.ledger.tensor import count
from memcalc.serving import serve
from memcalc.serving.engines import engine

# MiniMax-AI/MiniMax-M1, config.json, 2025-06: every eighth layer attends
M1 = {
    "model_type": "minimax_m1",
    "architectures": ["MiniMaxM1ForCausalLM"],
    "attn_type_list": ([0] * 7 + [1]) * 10,
    "head_dim": 128,
    "hidden_size": 6144,
    "intermediate_size": 9216,
    "layernorm_linear_attention_alpha": 3.5565588200778455,
    "max_position_embeddings": 10_240_000,
    "num_attention_heads": 64,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 80,
    "num_key_value_heads": 8,
    "num_local_experts": 32,
    "postnorm": True,
    "rotary_dim": 64,
    "shared_intermediate_size": 0,
    "shared_moe_mode": "sigmoid",
    "sliding_window": None,
    "tie_word_embeddings": False,
    "vocab_size": 200_064,
}
TEXT_01 = {
    **{field: M1[field] for field in ("head_dim", "hidden_size", "intermediate_size", "vocab_size")},
    **{field: value for field, value in M1.items() if field.startswith("num_")},
    "model_type": "minimax",
    "layer_types": (["linear_attention"] * 7 + ["full_attention"]) * 10,
}
STATE = 70 * 64 * 128 * 128  # numbers


VLLM = {"engine": "vllm", "engine_version": "0.23"}  # the last release that has it


def given(folder, config):
    """A config.json in a folder."""
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def test_minimax_is_as_transformers_counts_it():
    model = read(TEXT_01)
    assert (model.parameters, model.active_parameters) == (456_089_655_296, 48_403_306_496)
    assert model.buffer_values == 70 * (64 + 2 * 64 * 256 + 64 * 256 * 256)
    assert list(cache_growth(model).values()) == [40_960, 40_960, 4 * STATE]


def test_m1_is_as_large_as_its_index_says():
    """github.com/MiniMax-AI/MiniMax-M1, model.safetensors.index.json: total_size 912210767872."""
    model = read(M1)
    assert (model.parameters, model.buffer_values) == (456_089_655_296, 0)
    routers = count(tensor for tensor in model.weights() if tensor.kind == "router")
    wide = count(tensor for tensor in model.weights() if tensor.format == "fp32")
    assert routers == wide == 80 * 32 * 6144
    assert 2 * model.parameters + 2 * wide == 912_210_767_872


@pytest.mark.parametrize(
    ("field", "value"),
    [("attn_type_list", [0, 1]), ("attn_type_list", [2] * 80), ("shared_intermediate_size", 512)],
)
def test_what_m1_does_not_say_is_refused(field, value):
    with pytest.raises(MemcalcError, match=field):
        read({**M1, field: value})


def test_engines_keep_the_states_of_lightning_attention_in_the_models_dtype(tmp_path):
    """transformers casts them from nothing, vLLM's linear_attention_state_dtype is the model's."""
    transformers = engine("transformers")
    held = transformers.cache(read(TEXT_01), 1, 1, {})
    assert sum(2 * one.count for one in held if one.kind == "state" and one.format is None) == 2 * STATE
    options = {"mamba_ssm_cache_dtype": "float32", "prefix_caching": False}
    served = serve(given(tmp_path, M1), context=512, tp=8, engine_options=options, **VLLM)
    assert served.plan.engine_options["page_bytes"] == 64 // 8 * 128 * 128 * 2
    assert served.plan.engine_options["attention_block"] == 512
    assert served.device.components["state"] == 70 * 8 * 128 * 128 * 2


def test_the_tables_of_decay_are_in_transformers_alone(tmp_path):
    folder = given(tmp_path, TEXT_01)
    sizes = [
        sum(
            line.bytes for line in served.device.lines if line.component == "weights" and "decay" in line.name
        )
        for served in (serve(folder, context=64, **asked) for asked in ({"engine": "transformers"}, VLLM))
    ]
    assert sizes == [2 * 70 * (2 * 64 * 256 + 64 * 256 * 256), 0]


@pytest.mark.parametrize("config", [M1, TEXT_01], ids=["minimax_m1", "minimax"])
@pytest.mark.parametrize("name", ["sglang", "vllm"])
def test_engines_without_such_a_class_refuse_by_name(tmp_path, name, config):
    with pytest.raises(MemcalcError, match=config["model_type"]):
        serve(given(tmp_path, config), context=64, engine=name)


@pytest.mark.parametrize("config", [M1, TEXT_01], ids=["minimax_m1", "minimax"])
def test_a_file_of_them_as_llama_cpp_says_it(tmp_path, config):
    """Its v0.5.0 on a file of their shapes: MiB of cache and of states in fp32, and the bytes of a mix."""
    served = serve(given(tmp_path, config), context=4096, engine="llama.cpp", weights="Q4_K_M")
    sizes = served.device.components
    assert (sizes["kv_cache"], sizes["state"]) == (160 * 2**20, 280 * 2**20)
    assert served.weights_file_bytes == 276_945_692_672


# huggingface.co/Zyphra/Zamba2-7B, config.json, 2024-10: 81 layers, 13 of which use one of two blocks
HYBRIDS = [6, 11, 17, 23, 29, 35, 41, 47, 53, 59, 65, 71, 77]
ZAMBA2 = {
    "model_type": "zamba2",
    "hidden_size": 3584,
    "intermediate_size": 14_336,
    "num_hidden_layers": 81,
    "layers_block_type": ["hybrid" if layer in HYBRIDS else "mamba" for layer in range(81)],
    "hybrid_layer_ids": HYBRIDS,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "n_mamba_heads": 112,
    "mamba_headdim": 64,
    "mamba_ngroups": 2,
    "mamba_d_state": 64,
    "num_mem_blocks": 2,
    "adapter_rank": 128,
    "use_mem_rope": True,
    "use_shared_attention_adapter": False,
    "vocab_size": 32_000,
}


def test_a_shared_block_is_counted_once_and_remembers_at_each_use():
    model = read(ZAMBA2)
    assert round(model.parameters / 10**7) == 736  # its page: 7.36B parameters
    first, again = model.layers[6], model.layers[17]
    assert {"shared_transformer.self_attn.q_proj.weight"} <= {one.name for one in first.weights()}
    assert not [one for one in again.weights() if one.name.startswith("shared_transformer.")]
    adapters = [one.name for one in first.weights() if one.name.endswith("adapter_list.2.0.weight")]
    assert adapters == ["shared_transformer.feed_forward.gate_up_proj_adapter_list.2.0.weight"]
    growth = cache_growth(model)
    assert growth["bytes_per_token"] == 13 * 2 * 32 * 224 * 2
    assert growth["state_bytes_per_sequence"] == 81 * (7424 * 4 * 2 + 112 * 64 * 64 * 4)


@pytest.mark.parametrize(("name", "why"), [("transformers", "share a block"), ("vllm", "equal shares")])
def test_a_shared_block_is_on_no_two_stages(tmp_path, name, why):
    with pytest.raises(MemcalcError, match=why):
        _ = serve(given(tmp_path, ZAMBA2), context=64, engine=name, pp=3).device


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mamba_headdim", 32),
        ("hybrid_layer_ids", [1, 2]),
        ("attention_head_dim", 128),
        ("n_mamba_heads", 111),
        ("tie_word_embeddings", False),
        ("layers_block_type", ["mamba"] * 81),
    ],
)
def test_what_contradicts_itself_in_zamba2_is_refused(field, value):
    with pytest.raises(MemcalcError, match=field):
        read({**ZAMBA2, field: value})


def test_zamba_is_as_transformers_counts_it():
    """Zamba-7B-v1 is the class's default: parameters and caches as transformers 5.23 has them."""
    model = read({"model_type": "zamba"})
    assert model.parameters == 7_232_490_496
    assert list(cache_growth(model).values()) == [386_048, 386_048, 40_624_128]


def test_olmo_hybrid_in_vllm(tmp_path):
    """States in the model's own 16 bits (gated_delta_net_state_dtype): 80 tokens of 30 heads hold one."""
    served = serve(given(tmp_path, {"model_type": "olmo_hybrid"}), context=64, engine="vllm")
    state = 3 * (2 * 30 * 96 + 30 * 192) * 2 + 30 * 96 * 192 * 2
    token = 2 * 30 * 128 * 2
    assert served.plan.engine_options["attention_block"] == -(-state // (16 * token)) * 16 == 80
