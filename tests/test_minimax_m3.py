"""MiniMax-M3: the published config under both of its names, and what engines make of its indexers.

Config: nvidia/MiniMax-M3-NVFP4 and MiniMaxAI/MiniMax-M3, from aiconfigurator-core 0.12.0 (PyPI), 2026-11.
Right values: transformers 5.23 on the meta device, and 427,040,140,160 numbers in the file (safetensors at
huggingface.co/api/models/MiniMaxAI/MiniMax-M3, as several public records quote it alike, 2026-11); vLLM's
caches as models/minimax_m3 of 0.32 has them.
"""

from __future__ import annotations

import json

import pytest

from memcalc.errors import MemcalcError
from memcalc.files.readers import read
from memcalc.files.tensor_names import header
from memcalc.ledger.model import cache_growth
from memcalc.serving import serve

LATE = [0] * 3 + [1] * 57
TEXT = {
    "hidden_size": 6144,
    "intermediate_size": 3072,
    "num_hidden_layers": 60,
    "num_attention_heads": 64,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "vocab_size": 200_064,
    "max_position_embeddings": 1_048_576,
    "use_gemma_norm": True,
    "attention_output_gate": False,
    "rotary_dim": 64,
    "partial_rotary_factor": 0.5,
    "use_qk_norm": True,
    "tie_word_embeddings": False,
    "dense_intermediate_size": 12_288,
    "shared_intermediate_size": 3072,
    "num_local_experts": 128,
    "num_experts_per_tok": 4,
    "n_shared_experts": 1,
    "use_routing_bias": True,
    "moe_layer_freq": LATE,
    "qk_norm_type": "per_head",
    "num_mtp_modules": 1,
    "sparse_attention_config": {
        "use_sparse_attention": True,
        "sparse_index_dim": 128,
        "sparse_num_index_heads": 4,
        "sparse_topk_blocks": 16,
        "sparse_block_size": 128,
        "sparse_disable_index_value": LATE,
        "sparse_score_type": "max",
        "sparse_init_block": 0,
        "sparse_local_block": 1,
        "sparse_attention_freq": LATE,
    },
}
VISION = {
    "hidden_size": 1280,
    "num_attention_heads": 16,
    "num_hidden_layers": 32,
    "intermediate_size": 5120,
    "patch_size": 14,
    "image_size": 2016,
    "projection_dim": 6144,
    "position_embedding_type": "rope",
    "rope_mode": "3d",
    "model_type": "clip_vision_model",
    "num_channels": 3,
    "vocab_size": 32_000,
    "img_token_compression_config": {"spatial_merge_size": 2, "temporal_patch_size": 2},
    "vision_segment_max_frames": 4,
}
WITH_TOWER = {
    "model_type": "minimax_m3_vl",
    "text_config": TEXT,
    "vision_config": VISION,
    "multimodal_projector_bias": True,
    "projector_hidden_size": 6144,
}
ALONE = {"model_type": "minimax_m3", "architectures": ["MiniMaxM3ForCausalLM"], **TEXT}
KEYS, INDEX = 60 * 2 * 4 * 128, 57 * 128  # numbers of a token


def given(folder, config):
    """A config.json in a folder."""
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.mark.parametrize(("config", "vision"), [(WITH_TOWER, 865_567_232), (ALONE, 0)], ids=["vl", "text"])
def test_it_is_as_transformers_counts_it(config, vision):
    model = read(config)
    assert (model.parameters, model.active_parameters) == (426_174_565_632, 25_962_466_560)
    assert (model.vision_parameters, model.buffer_values) == (vision, 57 * 128)
    whole = model.parameters + 865_567_232 + model.buffer_values
    assert whole == 427_040_140_160
    assert list(cache_growth(model).values()) == [2 * (KEYS + INDEX), 2 * (KEYS + INDEX), 0]


def test_a_text_file_has_the_names_of_the_other_without_their_beginning():
    with_tower = {
        name.removeprefix("language_model.") for name in header(read(WITH_TOWER)) if "language" in name
    }
    assert set(header(read(ALONE))) == with_tower
    assert "model.layers.3.self_attn.index_k_norm.weight" in with_tower


def test_vllm_keeps_the_keys_of_indexers_whole_and_in_16_bits(tmp_path):
    """FullAttentionSpec and MLAAttentionSpec of 128 tokens in one group, on 4 ranks a head of keys each."""
    asked = {"context": 8192, "engine": "vllm", "tp": 4, "kv": "fp8"}
    served = serve(given(tmp_path, ALONE), **asked)
    assert served.plan.engine_options["block_size"] == 128
    assert served.device.components["kv_cache"] == 8192 * (KEYS // 4 + 2 * INDEX)


def test_sglang_refuses_by_name(tmp_path):
    with pytest.raises(MemcalcError, match="minimax_m3"):
        serve(given(tmp_path, ALONE), context=64, engine="sglang")


def test_a_file_of_it_as_llama_cpp_says_it(tmp_path):
    """Its v0.5.0: bytes of a mix, and 594 MiB, 114 of which are indexers' keys, with values nobody reads."""
    served = serve(given(tmp_path, ALONE), context=4096, engine="llama.cpp", weights="Q4_K_M")
    assert served.weights_file_bytes == 257_998_499_328
    assert served.device.components["kv_cache"] == 594 * 2**20


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sparse_disable_index_value", [0] * 60),
        ("use_sparse_attention", False),
        ("sparse_index_dim", 0),
        ("sparse_attention_freq", [1] * 59),
        ("surprise", 3),
    ],
)
def test_what_is_not_understood_of_its_indexers_is_refused(field, value):
    sparse = {**TEXT["sparse_attention_config"], field: value}
    with pytest.raises(MemcalcError, match="layer_types" if field == "sparse_attention_freq" else field):
        read({**ALONE, "sparse_attention_config": sparse})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("qk_norm_type", "whole"),
        ("attention_output_gate", True),
        ("moe_layer_freq", [1]),
        ("n_shared_experts", 2),
    ],
)
def test_other_meanings_are_refused(field, value):
    with pytest.raises(MemcalcError, match="mlp_layer_types" if field == "moe_layer_freq" else field):
        read({**ALONE, field: value})


@pytest.mark.parametrize(("field", "value"), [("rope_mode", "2d"), ("num_attention_heads", 3)])
def test_another_tower_is_refused(field, value):
    with pytest.raises(MemcalcError, match=field):
        read({**WITH_TOWER, "vision_config": {**VISION, field: value}})
