"""Vision-language models: published sizes, which text models they take, and what is refused by name.

Every tensor's name and shape is held by tests/oracles. The configs have the fields that sizes depend on.
Where a public copy of one was found it is named; the others are held by their numbers alone.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memcalc.errors import BadInputError, UnknownNameError
from memcalc.files.readers import INSIDE, READERS, VISION_LANGUAGE, read
from memcalc.files.readers.towers import TOWERS
from memcalc.files.readers.vision_language import MODELS
from memcalc.files.tensor_names import header

QWEN2_7B = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "max_position_embeddings": 32768,
    "max_window_layers": 28,
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "sliding_window": 32768,
    "tie_word_embeddings": False,
    "use_sliding_window": False,
    "vision_start_token_id": 151652,
    "vision_token_id": 151654,
    "vocab_size": 152064,
}
SPATIAL = {"in_chans": 3, "patch_size": 14, "spatial_merge_size": 2, "spatial_patch_size": 14}
CLIP = {
    "hidden_size": 1024,
    "image_size": 336,
    "intermediate_size": 4096,
    "model_type": "clip_vision_model",
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "patch_size": 14,
    "projection_dim": 768,
    "vocab_size": 32000,
}
# repository: config, numbers of all its tensors, and who says so
PUBLISHED = {
    "Qwen/Qwen2-VL-7B-Instruct": (
        {
            "model_type": "qwen2_vl",
            **QWEN2_7B,
            "vision_config": {
                **SPATIAL,
                "depth": 32,
                "embed_dim": 1280,
                "hidden_size": 3584,
                "mlp_ratio": 4,
                "num_heads": 16,
                "temporal_patch_size": 2,
            },
        },
        # from safetensors metadata: floschne/gimmick, commit 81c06a5, src/gimmick/utils, get_model_sizes
        8_291_375_616,
    ),
    "Qwen/Qwen2.5-VL-7B-Instruct": (
        {
            "model_type": "qwen2_5_vl",
            **QWEN2_7B,
            "vision_config": {
                "hidden_size": 1280,
                "in_chans": 3,
                "model_type": "qwen2_5_vl",
                "spatial_patch_size": 14,
                "tokens_per_second": 2,
            },
        },
        # of its fine-tune Alibaba-NLP/GVE-7B: embeddings-benchmark/mteb, commit edeffb2,
        # mteb/models/model_implementations/gve_models.py. Config: that of Nexus-GenV2, its fine-tune, too, in
        # modelscope/DiffSynth-Studio, commit e23578b, diffsynth/models/nexus_gen.py
        8_292_166_656,
    ),
    "llava-hf/llava-1.5-7b-hf": (
        {
            "model_type": "llava",
            "text_config": {"max_position_embeddings": 4096, "model_type": "llama", "vocab_size": 32064},
            "tie_word_embeddings": False,
            "vision_config": CLIP,
            "vision_feature_layer": -2,
            "vision_feature_select_strategy": "default",
        },
        # config: mit-han-lab/llm-awq, issue 210; the number is what several public logs print of the loaded
        # repository, 686 tensors of revision b234b80 among them, none of them by a name to cite
        7_063_427_072,
    ),
    "keras/paligemma/pali_gemma_3b_mix_224": (
        {
            "model_type": "paligemma",
            "hidden_size": 2048,
            "projection_dim": 2048,
            "text_config": {
                "hidden_size": 2048,
                "intermediate_size": 16384,
                "model_type": "gemma",
                "num_attention_heads": 8,
                "num_hidden_layers": 18,
                "num_image_tokens": 256,
                "num_key_value_heads": 1,
                "vocab_size": 257152,
            },
            "vision_config": {
                "hidden_size": 1152,
                "intermediate_size": 4304,
                "model_type": "siglip_vision_model",
                "num_attention_heads": 16,
                "num_hidden_layers": 27,
                "num_image_tokens": 256,
                "patch_size": 14,
                "projection_dim": 2048,
                "projector_hidden_act": "gelu_fast",
                "vision_use_head": False,
            },
            "vocab_size": 257152,
        },
        # keras-team/keras-hub, commit cac6f1e, keras_hub/src/models/pali_gemma/pali_gemma_presets.py; its
        # vocabulary is 64 rows shorter than that of the files for transformers
        2_923_335_408,
    ),
    "HuggingFaceTB/SmolVLM-256M-Instruct": (
        {
            "model_type": "smolvlm",
            "scale_factor": 4,
            "text_config": {
                "head_dim": 64,
                "hidden_size": 576,
                "intermediate_size": 1536,
                "is_llama_config": True,
                "max_position_embeddings": 8192,
                "model_type": "llama",
                "num_attention_heads": 9,
                "num_hidden_layers": 30,
                "num_key_value_heads": 3,
                "perceiver_config": {"model_type": "vllama3", "resampler_depth": 6},
                "pixel_shuffle_factor": 4,
                "qk_layer_norms": False,
                "use_resampler": False,
                "vocab_size": 49280,
            },
            "tie_word_embeddings": False,
            "vision_config": {
                "hidden_size": 768,
                "image_size": 512,
                "intermediate_size": 3072,
                "max_image_size": {"longest_edge": 512},
                "model_type": "smolvlm_vision",
                "num_attention_heads": 12,
                "patch_size": 16,
                "size": {"longest_edge": 2048},
                "use_base_siglip": True,
            },
            "vocab_size": 49280,
        },
        # public logs print it of the loaded repository, none of them by a name to cite; that many in 16 bits
        # and 58,952 B are docling-project/SmolDocling-256M-preview, revision ce51f56: 513,028,808 B
        256_484_928,
    ),
    "LiquidAI/LFM2-VL-450M": (
        {
            "model_type": "lfm2_vl",
            "do_image_splitting": True,
            "downsample_factor": 2,
            "encoder_patch_size": 16,
            "max_image_tokens": 256,
            "max_tiles": 10,
            "min_tiles": 2,
            "projector_bias": True,
            "projector_hidden_size": 2560,
            "text_config": {
                "block_auto_adjust_ff_dim": True,
                "block_dim": 1024,
                "block_ff_dim": 6656,
                "block_ffn_dim_multiplier": 1.0,
                "block_multiple_of": 256,
                "block_use_swiglu": True,
                "conv_L_cache": 3,
                "conv_bias": False,
                "conv_dim": 1024,
                "conv_dim_out": 1024,
                "full_attn_idxs": [2, 5, 8, 10, 12, 14],
                "hidden_size": 1024,
                "max_position_embeddings": 128000,
                "model_type": "lfm2",
                "num_attention_heads": 16,
                "num_heads": 16,
                "num_hidden_layers": 16,
                "num_key_value_heads": 8,
                "use_pos_enc": True,
                "vocab_size": 65536,
            },
            "vision_config": {
                "hidden_size": 768,
                "intermediate_size": 3072,
                "model_type": "siglip2_vision_model",
                "num_attention_heads": 12,
                "num_hidden_layers": 12,
                "num_patches": 256,
                "patch_size": 16,
                "vision_use_head": False,
            },
            "vision_feature_layer": -1,
        },
        450_822_656,  # AlexsJones/llmfit, commit a6839af, scripts/scrape_hf_models.py
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_all_numbers_of_a_published_checkpoint(name):
    config, numbers = PUBLISHED[name]
    model = read(config)
    assert model.parameters + model.vision_parameters == numbers
    assert not model.not_read


def test_qwen2_5_vl_in_its_two_halves():
    """As a public log of a training run has them: the tower was frozen there."""
    model = read(PUBLISHED["Qwen/Qwen2.5-VL-7B-Instruct"][0])
    assert (model.parameters, model.vision_parameters) == (7_615_616_512, 676_550_144)


def test_a_text_model_stands_inside_or_outside():
    """Files of the Hub do not nest it, newer versions of transformers write it both ways."""
    flat = PUBLISHED["Qwen/Qwen2-VL-7B-Instruct"][0]
    nested = {key: flat[key] for key in ("model_type", "vision_config", "tie_word_embeddings")}
    both = {**flat, "text_config": QWEN2_7B}
    nested["text_config"] = {**QWEN2_7B, "model_type": "qwen2_vl_text"}
    found = [read(fields) for fields in (flat, nested, both)]
    assert header(found[0]) == header(found[1]) == header(found[2])
    assert found[0].layers == found[1].layers == found[2].layers
    with pytest.raises(BadInputError, match="hidden_size: expected 3584, given 4096"):
        read({**both, "hidden_size": 4096})
    with pytest.raises(BadInputError, match="text_config: expected an object"):
        read({"model_type": "qwen2_vl", "vision_config": flat["vision_config"]})


@pytest.mark.parametrize("model_type", VISION_LANGUAGE)
def test_its_text_model_alone_is_readable(model_type):
    """Every type that may stand in its text_config has a reader of its own."""
    assert all(text in READERS or text in INSIDE for text in MODELS[model_type].texts)
    assert all(tower in TOWERS for tower in MODELS[model_type].towers)


LLAVA = PUBLISHED["llava-hf/llava-1.5-7b-hf"][0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"text_config": {"model_type": "new_text"}}, "given 'new_text'"),
        ({"vision_config": {**CLIP, "model_type": "new_tower"}}, "vision_config.model_type"),
        ({"vision_config": {**CLIP, "surprise": 7}}, "surprise: expected only fields"),
        ({"vision_config": {**CLIP, "num_attention_heads": 7}}, "a divisor of hidden_size"),
        ({"vision_config": {**CLIP, "patch_size": [14, 7]}}, "patch_size: expected the same number twice"),
        ({"vision_config": {**CLIP, "vision_use_head": True}}, "vision_use_head"),
        ({"vision_config": None}, "vision_config: expected an object"),
    ],
)
def test_what_is_not_understood_is_named(change, said):
    with pytest.raises((BadInputError, UnknownNameError), match=said):
        read({**LLAVA, **change})


SMALL_VIT = {
    "hidden_size": 1024,
    "image_size": 448,
    "intermediate_size": 4096,
    "model_type": "intern_vit_6b",
    "norm_type": "layer_norm",
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "patch_size": 14,
    "qk_normalization": False,
    "qkv_bias": True,
}
LARGE_VIT = {
    "hidden_size": 3200,
    "image_size": 448,
    "intermediate_size": 12800,
    "model_type": "intern_vit_6b",
    "norm_type": "rms_norm",
    "num_attention_heads": 25,
    "num_hidden_layers": 45,
    "patch_size": 14,
    "qk_normalization": True,
    "qkv_bias": False,
}


def internvl_chat(tower, *sizes):
    """InternVL2.5 with Qwen2.5 as its text model; fields as in OpenGVLab/InternVL, commit 2410d1d."""
    width, inner, depth, heads, kv_heads = sizes
    text = {
        "model_type": "qwen2",
        "architectures": ["Qwen2ForCausalLM"],
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": 151674,
        "tie_word_embeddings": False,
    }
    return {
        "model_type": "internvl_chat",
        "architectures": ["InternVLChatModel"],
        "auto_map": {"AutoModel": "modeling_internvl_chat.InternVLChatModel"},
        "downsample_ratio": 0.5,
        "dynamic_image_size": True,
        "force_image_size": 448,
        "llm_config": text,
        "max_dynamic_patch": 12,
        "ps_version": "v2",
        "select_layer": -1,
        "template": "internvl2_5",
        "use_thumbnail": True,
        "vision_config": tower,
    }


@pytest.mark.parametrize(
    ("sizes", "numbers"),
    [
        ((SMALL_VIT, 896, 4864, 24, 14, 2), 938_193_024),  # InternVL2_5-1B
        ((SMALL_VIT, 2048, 11008, 36, 16, 2), 3_712_637_952),  # InternVL2_5-4B
        ((LARGE_VIT, 5120, 27648, 64, 40, 8), 38_388_164_992),  # InternVL2_5-38B
        ((LARGE_VIT, 8192, 29568, 80, 64, 8), 78_408_318_336),  # InternVL2_5-78B
    ],
)
def test_internvl_of_its_own_code(sizes, numbers):
    """Sizes from safetensors metadata: floschne/gimmick, commit 81c06a5, get_model_sizes."""
    model = read(internvl_chat(*sizes))
    assert model.parameters + model.vision_parameters == numbers
    names = header(model)
    assert names["vision_model.encoder.layers.0.attn.qkv.weight"] == (
        3 * sizes[0]["hidden_size"],
        sizes[0]["hidden_size"],
    )
    assert {"language_model.lm_head.weight", "mlp1.0.bias", "mlp1.3.weight"} <= set(names)
    with pytest.raises(UnknownNameError, match="given 'internlm9'"):
        read({**internvl_chat(*sizes), "llm_config": {"model_type": "internlm9"}})


def test_internvl_of_its_own_code_ties_no_head():
    """Its class sets it to false whatever the text model's class declares; a true is refused."""
    sizes = SMALL_VIT, 896, 4864, 24, 14, 2
    fields = internvl_chat(*sizes)
    tied = {**fields["llm_config"], "tie_word_embeddings": True}
    for change in ({"tie_word_embeddings": True}, {"llm_config": tied}):
        with pytest.raises(BadInputError, match="tie_word_embeddings: expected false"):
            read({**fields, **change})
    silent = {key: value for key, value in fields["llm_config"].items() if key != "tie_word_embeddings"}
    assert header(read({**fields, "llm_config": silent})) == header(read(fields))


def test_internvl_for_transformers_has_to_say_whether_its_head_is_tied():
    """Its class ties where nothing is said; OpenGVLab/InternVL3-1B-hf has a head of its own all the same.

    938,193,024 numbers, as a note of 2026-09-02 has it of revision 014c058.
    """
    text = internvl_chat(SMALL_VIT, 896, 4864, 24, 14, 2)["llm_config"]
    text = {key: value for key, value in text.items() if key not in ("architectures", "tie_word_embeddings")}
    tower = {
        "model_type": "internvl_vision",
        "attention_bias": True,
        "image_size": [448, 448],
        "patch_size": [14, 14],
    }
    fields = {"model_type": "internvl", "text_config": text, "vision_config": tower}
    with pytest.raises(BadInputError, match="tie_word_embeddings: expected true or false"):
        read(fields)
    tied, untied = (read({**fields, "tie_word_embeddings": said}) for said in (True, False))
    assert untied.parameters + untied.vision_parameters == 938_193_024
    assert tied.parameters == untied.parameters - 151_674 * 896


KIMI_VL = {
    "model_type": "kimi_vl",
    "architectures": ["KimiVLForConditionalGeneration"],
    "media_placeholder_token_id": 163605,
    "text_config": {
        "model_type": "deepseek_v3",
        "first_k_dense_replace": 1,
        "hidden_size": 2048,
        "intermediate_size": 11264,
        "kv_lora_rank": 512,
        "max_position_embeddings": 131072,
        "moe_intermediate_size": 1408,
        "moe_layer_freq": 1,
        "n_group": 1,
        "n_routed_experts": 64,
        "n_shared_experts": 2,
        "num_attention_heads": 16,
        "num_experts_per_tok": 6,
        "num_hidden_layers": 27,
        "num_key_value_heads": 16,
        "q_lora_rank": None,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "topk_group": 1,
        "v_head_dim": 128,
        "vocab_size": 163840,
    },
    "vision_config": {
        "model_type": "moonvit",
        "hidden_size": 1152,
        "init_pos_emb_height": 64,
        "init_pos_emb_width": 64,
        "intermediate_size": 4304,
        "merge_kernel_size": [2, 2],
        "num_attention_heads": 16,
        "num_hidden_layers": 27,
        "patch_size": 14,
    },
}


def test_kimi_vl_of_its_own_code():
    """The tower by hand: patches, positions, 27 layers, the last norm, the projector's norm and matrices.

    Parameters: ai-bot-pro/achatbot, pull request 142, 2025-04-10. The file and the text model's sizes:
    joshuahickscorp/hawking, commit e9d354e, workspace/campaign/odyssey/patients/O003/census.json. It has 27
    tensors and 3,456 B more, which are no parameters: 32 frequencies of rotation a layer have that size.
    """
    model, width, merged = read(KIMI_VL), 1152, 4 * 1152
    layer = 4 * width * width + 4 * width + 2 * width * 4304 + 4304 + width + 4 * width
    tower = width * 3 * 14 * 14 + width + 64 * 64 * width + 27 * layer + 2 * width
    assert model.vision_parameters == tower + 2 * width + merged * (merged + 1) + 2048 * (merged + 1)
    assert model.buffer_values == 26 * 64
    assert model.parameters + model.vision_parameters + model.buffer_values == 16_407_656_048
    assert 2 * 16_407_656_048 + 27 * 32 * 4 == 32_815_315_552
    assert len(header(model)) + 27 == 5_679
    names = header(model)
    assert names["vision_tower.encoder.blocks.26.wqkv.weight"] == (3 * width, width)
    assert names["vision_tower.patch_embed.pos_emb.weight"] == (64, 64, width)
    assert {"language_model.lm_head.weight", "multi_modal_projector.linear_2.bias"} <= set(names)
    with pytest.raises(BadInputError, match="tie_word_embeddings"):
        read({**KIMI_VL, "tie_word_embeddings": True})


def test_gemma3n_with_its_towers():
    """Class defaults are those of google/gemma-3n-E4B; the vision tower is that of timm, tensor by tensor."""
    fields = {"model_type": "gemma3n", "architectures": ["Gemma3nForConditionalGeneration"]}
    model = read(fields)
    assert (model.parameters, model.vision_parameters) == (6_835_235_568, 983_281_504)
    record = json.loads((Path(__file__).parent / "recorded" / "mobilenetv5.json").read_text(encoding="utf-8"))
    root, names = "model.vision_tower.timm_model.", header(model)
    found = {name.removeprefix(root): list(shape) for name, shape in names.items() if name.startswith(root)}
    assert found == record["tensors"]
    assert names["model.embed_audio.embedding.weight"] == (128, 1536)
    for change, said in (
        ({"vision_config": {"architecture": "resnet50"}}, "architecture: expected mobilenetv5_300m_enc"),
        ({"vision_config": {"hidden_size": 1024}}, "hidden_size: expected 2048"),
        ({"vision_config": {"model_args": {"depth": 3}}}, "model_args"),
        ({"audio_config": {"sscp_conv_kernel_size": [3, 3]}}, "sscp_conv_kernel_size: expected two whole"),
        ({"audio_config": {"sscp_conv_stride_size": [[2, 2]]}}, "sscp_conv_stride_size: expected two pairs"),
        ({"audio_config": {"conf_num_attention_heads": 7}}, "a divisor of hidden_size"),
        (
            {"audio_config": {"input_feat_size": 1, "sscp_conv_kernel_size": [[9, 9], [9, 9]]}},
            "input_feat_size",
        ),
    ):
        with pytest.raises(BadInputError, match=said):
            read({**fields, **change})
