"""Fields of published configs that change no memory are no reason to refuse; those that do are refused.

Each is in a public file: of fine-tunes and mirrors (Unsloth, mergekit, TheBloke, Optimum, transformers.js),
and of the makers of models themselves. Read 2026-11; classes of transformers 5.23 pass them over.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memcalc.errors import BadInputError
from memcalc.files.catalogue import record
from memcalc.files.config_classes import config_class
from memcalc.files.quantization import scheme
from memcalc.files.readers import READERS, read
from memcalc.files.source import Source
from memcalc.serving import serve
from tests.changed_configs import inside, known_configs, objects, planted

PUBLIC = json.loads((Path(__file__).parent / "recorded" / "models.json").read_text(encoding="utf-8"))[
    "models"
]
LLAMA, MISTRAL = "meta-llama/Meta-Llama-3.1-8B", "mistralai/Mistral-7B-v0.3"
MIXTRAL, QWEN2, QWEN3 = "mistralai/Mixtral-8x7B-v0.1", "Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen3-8B"
MOE, GLM, GPT2 = "Qwen/Qwen3-30B-A3B", "zai-org/GLM-5", "openai-community/gpt2"
DEEPSEEK, KIMI, AIR = "deepseek-ai/DeepSeek-V3", "moonshotai/Kimi-K2-Instruct", "zai-org/GLM-4.5-Air"
GEMMA, OSS, PHI = "google/gemma-3-27b-it", "openai/gpt-oss-20b", "microsoft/phi-4"

HARMLESS = [
    (LLAMA, {"unsloth_version": "2026.3.5"}),
    (LLAMA, {"unsloth_version": "2026.4.7", "unsloth_fixed": True}),
    (LLAMA, {"is_llama_config": True, "rope_interleaved": False}),
    (LLAMA, {"transformers.js_config": {"kv_cache_dtype": {"q4f16": "float16"}, "dtype": "q4"}}),
    (LLAMA, {"max_sequence_length": 2048}),
    (LLAMA, {"mergekit": {"merge_method": "slerp", "slices": [{"layer_range": [0, 32]}]}}),
    (LLAMA, {"num_labels": 1}),
    (LLAMA, {"num_labels": 3, "id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}}),
    (LLAMA, {"problem_type": "single_label_classification"}),
    (LLAMA, {"chat_template": "{% for message in messages %}"}),
    (LLAMA, {"_commit_hash": "0e9e39f249a16976918f6564b8830bc894c89659"}),
    (LLAMA, {"_name_or_path": "x", "transformers_version": "4.57.1"}),
    (LLAMA, {"neftune_noise_alpha": 5}),
    (LLAMA, {"attn_implementation": "flash_attention_2"}),
    (LLAMA, {"_attn_implementation_autoset": True}),
    (LLAMA, {"_flash_attn_2_enabled": True}),
    (LLAMA, {"use_flash_attn": True}),
    (LLAMA, {"use_sdpa": True}),
    (LLAMA, {"torch_compile": True}),
    (LLAMA, {"gradient_checkpointing": True}),
    (LLAMA, {"low_cpu_mem_usage": True}),
    (LLAMA, {"device_map": {"": 0}}),
    (LLAMA, {"trust_remote_code": True}),
    (LLAMA, {"pad_vocab_size_multiple": 64}),
    (LLAMA, {"rope_condense_ratio": 1}),
    (LLAMA, {"rope_condense_ratio": 8}),
    (LLAMA, {"use_dynamic_ntk": True, "use_logn_attn": True}),
    (LLAMA, {"max_tokenizer_truncation": 4096}),
    (LLAMA, {"model_max_length": 8192, "tokenizer_model_max_length": 8192}),
    (LLAMA, {"keys_to_ignore_at_inference": ["past_key_values"]}),
    (LLAMA, {"num_experts": None}),
    (LLAMA, {"num_experts": 0, "num_experts_per_tok": 0}),
    (LLAMA, {"shared_expert_intermediate_size": 0}),
    (LLAMA, {"pretraining_tp": 2}),
    (LLAMA, {"eos_token_id": [128001, 128008, 128009], "pad_token_id": 128004}),
    (LLAMA, {"auto_map": {"AutoConfig": "configuration_x.XConfig"}}),
    (LLAMA, {"use_cache": False, "tokenizer_class": "LlamaTokenizer"}),
    (LLAMA, {"temperature": 0.6, "top_p": 0.9, "do_sample": True, "max_length": 4096}),
    (LLAMA, {"attention_dropout": 0.1, "hidden_dropout": 0.1}),
    (LLAMA, {"vision_config": None, "adapter_path": None, "quantization_config": None}),
    (MISTRAL, {"head_dim": None}),
    (MISTRAL, {"sliding_window": None, "attention_dropout": 0.0}),
    (MIXTRAL, {"router_jitter_noise": 0.0, "output_router_logits": True}),
    (QWEN2, {"use_mrope": False}),
    (QWEN2, {"seq_length": 8192}),
    (QWEN2, {"max_window_layers": 21, "use_sliding_window": False, "sliding_window": 32768}),
    (QWEN3, {"use_qk_norm": True}),
    (QWEN3, {"layer_types": ["full_attention"] * 36}),
    (QWEN3, {"model_name": "unsloth/Qwen3-8B", "unsloth_fixed": True}),
    (MOE, {"shared_expert_intermediate_size": 0, "use_qk_norm": True}),
    (MOE, {"router_aux_loss_coef": 0.001, "norm_topk_prob": True}),
    (GLM, {"moe_router_dtype": "float32"}),
    (GLM, {"layer_types": ["deepseek_sparse_attention"] * 78}),
    (GLM, {"num_experts": 256}),
    (AIR, {"use_qk_norm": False, "moe_router_dtype": "fp32"}),
    (DEEPSEEK, {"aux_loss_alpha": 0.001, "seq_aux": True, "ep_size": 1}),
    (KIMI, {"attn_module_list_cfg": []}),
    (GEMMA, {"mm_tokens_per_image": 256, "boi_token_index": 255999}),
    (OSS, {"swiglu_limit": 7.0, "router_aux_loss_coef": 0.9, "initial_context_length": 4096}),
    (PHI, {"original_max_position_embeddings": 16384}),
    (GPT2, {"n_special": 0, "predict_special_tokens": True}),
    (GPT2, {"task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}}}),
    (GPT2, {"summary_type": "cls_index", "reorder_and_upcast_attn": False}),
]
MEMORY = [  # what may be a size, a switch or a kind of layer that the class does not have
    (LLAMA, {"num_experts": 8}, "num_experts"),
    (LLAMA, {"shared_expert_intermediate_size": 1024}, "shared_expert_intermediate_size"),
    (MOE, {"shared_expert_intermediate_size": 1024}, "shared_expert_intermediate_size"),
    (LLAMA, {"num_kv_shared_layers": 4}, "num_kv_shared_layers"),
    (LLAMA, {"use_qk_norm": True}, "use_qk_norm"),
    (LLAMA, {"layer_types": ["linear_attention"] * 32}, "layer_types"),
    (LLAMA, {"linear_attn_config": {"num_heads": 32}}, "linear_attn_config"),
    (LLAMA, {"load_in_4bit": True}, "load_in_4bit"),
    (LLAMA, {"mm_hidden_size": 1024}, "mm_hidden_size"),
    (LLAMA, {"pad_vocab_size_multiple": 1000}, "pad_vocab_size_multiple"),
    (GLM, {"layer_types": ["sliding_attention"] * 78}, "layer_types"),
]


# What stands in files of any type: transformers 4.2x to 4.57 wrote the whole of its base class, tools theirs.
ANYWHERE = {
    **dict.fromkeys(("_attn_implementation_autoset", "_flash_attn_2_enabled", "_from_model_config"), True),
    **dict.fromkeys(("do_sample", "early_stopping", "remove_invalid_values", "renormalize_logits"), True),
    **dict.fromkeys(("return_dict", "return_dict_in_generate", "output_scores", "use_return_dict"), True),
    **dict.fromkeys(("output_attentions", "output_hidden_states", "gradient_checkpointing"), True),
    **dict.fromkeys(
        ("torchscript", "use_bfloat16", "use_cache", "tie_encoder_decoder", "tf_legacy_loss"), False
    ),
    **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "unk_token_id"), 2),
    **dict.fromkeys(("image_start_token_id", "video_end_token_id", "audio_token_index"), 151_339),
    **dict.fromkeys(("max_length", "max_new_tokens", "min_length", "num_beams", "num_beam_groups"), 20),
    **dict.fromkeys(("num_return_sequences", "no_repeat_ngram_size", "top_k", "forced_bos_token_id"), 5),
    **dict.fromkeys(
        ("max_seq_len", "max_seq_length", "seq_length", "max_sequence_length", "model_max_length"), 4096
    ),
    **dict.fromkeys(("temperature", "top_p", "typical_p", "repetition_penalty", "length_penalty"), 0.7),
    **dict.fromkeys(("dropout", "hidden_dropout_prob", "attention_probs_dropout_prob", "layerdrop"), 0.1),
    **dict.fromkeys(
        ("use_flash_attn", "use_flash_attention", "use_liger_kernel", "use_sdpa", "torch_compile"), True
    ),
    **dict.fromkeys(
        ("fuse_rms_norm", "fuse_swiglu", "fused_rmsnorm", "unsloth_fixed", "low_cpu_mem_usage"), True
    ),
    "suppress_tokens": [1, 2],
    "begin_suppress_tokens": [220, 50_256],
    "bad_words_ids": [[5]],
    "exponential_decay_length_penalty": [5, 1.1],
    "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
    "label2id": {"LABEL_0": 0, "LABEL_1": 1},
    "pruned_heads": {},
    "task_specific_params": {"text-generation": {"max_length": 50}},
    "problem_type": "single_label_classification",
    "_name_or_path": "unsloth/x",
    "torch_dtype": "bfloat16",
    "unsloth_version": "2026.4.7",
    "cache_implementation": "hybrid",
    "transformers.js_config": {"dtype": "q4", "use_external_data_format": {"model.onnx": 2}},
    "mergekit": {"merge_method": "slerp"},
    "quantization": {"group_size": 64, "bits": 4},
    "neftune_noise_alpha": 5,
    "rope_theta": 10_000.0,
    "vocab_file": "tokenizer.model",
    "type_vocab_size": 16,
}


def beside(own):
    """These fields beside a config's own; what its class takes for one of them says what that one says."""
    declared = config_class(own.get("model_type"))
    aliases = declared.aliases if declared else {}
    return {**{field: own.get(aliases.get(field), value) for field, value in ANYWHERE.items()}, **own}


@pytest.mark.parametrize("model_type", READERS)
def test_what_files_of_any_type_have_changes_none(model_type):
    """In the config, in its text model's, and in its tower's."""
    fields = known_configs()[model_type][0]
    plain = read(fields)
    for path in objects(fields):
        if path and path[-1] not in ("text_config", "vision_config"):
            continue
        model = read(planted(fields, path, beside(inside(fields, path))))
        assert (model.layers, model.outside, model.vision) == (plain.layers, plain.outside, plain.vision)


# As published, 2026-11: LiquidAI/LFM2-2.6B (in jwalin-shah/voice-engine-swift, GitHub), tencent/Hunyuan's
# reprompt of HunyuanImage-2.1 (ai-dynamo/aiconfigurator), LG's EXAONE 4.0, zai-org/GLM-4.5V
# (sdpython/onnx-diagnostic).
MAKERS = [
    (
        "lfm2",
        {"block_use_swiglu": True, "block_use_xavier_init": True, "conv_use_xavier_init": True}
        | {"use_pos_enc": True, "block_mlp_init_scale": 1.0, "block_norm_eps": 1e-05, "tie_embedding": True},
        {"block_dim": "hidden_size", "conv_dim": "hidden_size", "num_heads": "num_attention_heads"},
    ),
    (
        "hunyuan_v1_dense",
        {
            "use_qk_norm": True,
            "use_cla": False,
            "cla_share_factor": 2,
            "dense_list": [4096, 0],
            "class_num": 0,
        }
        | {"org_vocab_size": 128_167, "pool_type": "last", "norm_type": "rms", "use_rotary_pos_emb": True}
        | {"add_classification_head": False, "im_start_id": 4, "mask_init_id": 12, "pad_id": 127_961},
        {"attention_head_dim": "head_dim"},
    ),
    ("exaone4", {"reorder_qk_norm": True}, {}),
]


@pytest.mark.parametrize(("model_type", "added", "restated"), MAKERS)
def test_what_makers_write_of_their_own_changes_nothing(model_type, added, restated):
    fields = next(one for one in known_configs()[model_type] if one.get("tie_word_embeddings") is not False)
    own = {other: fields[field] for other, field in restated.items()}
    assert list(read({**fields, **added, **own}).weights()) == list(read(fields).weights())
    for other, value in own.items():
        with pytest.raises(BadInputError, match=other):
            read({**fields, **added, other: value + 1})


def test_exaone_spells_its_period_with_letters():
    """Three layers of four have a window, as with the number."""
    fields = {**known_configs()["exaone4"][0], "num_hidden_layers": 8, "sliding_window": 99}
    fields.pop("layer_types", None)
    letters, number = (read({**fields, "sliding_window_pattern": one}) for one in ("LLLG", 4))
    assert letters.layers == number.layers
    assert len(set(letters.layers)) == 2
    with pytest.raises(BadInputError, match="sliding_window_pattern"):
        read({**fields, "sliding_window_pattern": "GLLL"})


def fields_of(name):
    return PUBLIC[name]["config"] if name in PUBLIC else record(name).fields


def test_there_are_sixty():
    assert len(HARMLESS) >= 60


@pytest.mark.parametrize(
    ("name", "added"), HARMLESS, ids=lambda given: given if isinstance(given, str) else ""
)
def test_the_same_model_as_without(name, added):
    fields = fields_of(name)
    model, plain = read({**fields, **added}), read(fields)
    assert (model.parameters, model.active_parameters) == (plain.parameters, plain.active_parameters)
    assert list(model.weights()) == list(plain.weights())
    assert list(model.cache(1, 4096)) == list(plain.cache(1, 4096))


@pytest.mark.parametrize(("name", "added", "field"), MEMORY)
def test_what_may_change_memory_is_still_refused(name, added, field):
    with pytest.raises(BadInputError) as refused:
        read({**fields_of(name), **added})
    assert refused.value.field == field
    assert len(str(refused.value)) < 1000


def test_all_of_them_are_named_at_once():
    """Four fields that no class of this name has, as in Kimi-K3, and what was likely meant by a fifth."""
    added = {
        "attn_res_block_size": 4,
        "latent_moe": True,
        "linear_attn_config": {"a": 1},
        "kda_layers": [1, 2],
    }
    with pytest.raises(BadInputError) as refused:
        read({**fields_of(LLAMA), **added})
    assert [one.field for one in (refused.value, *refused.value.others)] == list(added)
    missing = {name: value for name, value in fields_of(LLAMA).items() if name != "num_key_value_heads"}
    with pytest.raises(BadInputError, match=r"num_key_value_head: .*did you mean num_key_value_heads\?"):
        read({**missing, "num_key_value_head": 8})


def test_null_is_as_many_as_query_heads_where_transformers_4_took_it():
    """It is named with the sizes that the file does not state."""
    model = read({**fields_of(MISTRAL), "num_key_value_heads": None})
    assert model.class_defaults == ("num_key_value_heads 32",)
    assert model.parameters > read(fields_of(MISTRAL)).parameters
    with pytest.raises(BadInputError, match="another value than null"):
        read({**fields_of(MOE), "num_key_value_heads": None})


# What transformers 5.23 writes beside the fields of a config (tests/oracles/test_headers.py): what the class
# has derived, and the fields of every class in an object inside.
LING = {"model_type": "bailing_hybrid", "num_hidden_layers": 6, "head_dim": 96, "num_local_experts": 16}
ARIA = {
    "model_type": "aria",
    "text_config": {"model_type": "aria_text"},
    "vision_config": {"hidden_size": 1152},
}
WRITTEN = [
    (ARIA, {"max_value_projector_patch_to_query_dict": 256}),
    (
        {"model_type": "mpt"},
        {"attn_config": {"alibi": True, "id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "architectures": None}},
    ),
    (
        LING,
        {"head_dim": 64, "linear_head_dim": 96, "linear_num_heads": 32, "linear_conv_kernel_dim": 4}
        | {"num_expert_group": 8},
    ),
]


@pytest.mark.parametrize(("fields", "written"), WRITTEN, ids=lambda given: given.get("model_type", ""))
def test_what_transformers_writes_beside_it_changes_nothing(fields, written):
    before, after = read(fields), read({**fields, **written})
    assert (after.layers, after.outside, after.vision) == (before.layers, before.outside, before.vision)


def test_another_number_than_the_one_derived_is_refused():
    with pytest.raises(BadInputError, match="max_value_projector_patch_to_query_dict: expected 256"):
        read({**ARIA, "max_value_projector_patch_to_query_dict": 300})
    with pytest.raises(BadInputError, match=r"attn_config\.qk_ln"):
        read({"model_type": "mpt", "attn_config": {"qk_ln": True}})


def test_experts_in_the_first_layer_alone():
    """ERNIE 4.5 may end them at layer 0, which a model of one layer writes."""
    small = {"model_type": "ernie4_5_moe", "num_hidden_layers": 2, "moe_layer_start_index": 0}
    only = read({**small, "moe_layer_end_index": 0})
    assert [any("experts" in one.name for one in layer.weights()) for layer in only.layers] == [True, False]


# Quantisation

EIGHT = {"dynamic": False, "num_bits": 8, "type": "float"}
GROUP = {"weights": EIGHT, "input_activations": EIGHT, "targets": ["Linear"]}
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": True}
BNB = {"quant_method": "bitsandbytes", "load_in_8bit": True, "load_in_4bit": False}
STORED = [
    ({**GPTQ, "pack_dtype": "int32", "meta": {"quantizer": ["gptqmodel:2.2.0"]}}, "gptq-int4-g128"),
    ({**BNB, "bnb_4bit_quant_type": "fp4", "bnb_4bit_use_double_quant": False}, "int8"),
    ({"quant_method": "awq", "w_bit": 4, "q_group_size": 128, "zero_point": True}, "awq-int4-g128"),
]
CACHED = [
    {"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_scheme": EIGHT, "ignore": ["lm_head"]},
    {"quant_method": "modelopt", "quant_algo": "NVFP4", "kv_cache_scheme": EIGHT, "ignore": ["lm_head"]},
    {"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_quant_algo": "FP8"},
    {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": GROUP},
        "kv_cache_scheme": {**EIGHT, "strategy": "tensor", "symmetric": True},
    },
]


def quantised(stated):
    return Source("x", {**fields_of(QWEN3), "quantization_config": stated}, "x")


@pytest.mark.parametrize(("stated", "weights"), STORED)
def test_what_tools_say_of_their_work_is_understood(stated, weights):
    assert serve(quantised(stated), context=8192).plan.weights == weights


@pytest.mark.parametrize("stated", CACHED)
@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_a_format_of_the_cache_that_the_file_states_is_used_and_said(stated, engine):
    served = serve(quantised(stated), context=8192, engine=engine)
    assert [form.id for form in served.plan.kv] == ["fp8", "fp8"]
    assert "KV cache fp8 (as the source states)" in served.plan.defaults
    named = serve(quantised(stated), context=8192, engine=engine, kv="bf16")
    assert named.cache_bytes == 2 * served.cache_bytes


def test_another_one_is_refused_with_the_option_to_state():
    stated = {**CACHED[0], "kv_cache_scheme": {**EIGHT, "type": "int"}}
    with pytest.raises(BadInputError, match=r"kv_cache_scheme: expected floats of 8 bits.*add --kv"):
        serve(quantised(stated), context=8192, engine="vllm")
    assert serve(quantised(stated), context=8192, engine="vllm", kv="fp8").plan.kv[0].id == "fp8"


# Formats module by module

MLX = {"group_size": 64, "bits": 4}
GATES_OF_EIGHT = {f"model.layers.{layer}.mlp.gate": {"group_size": 64, "bits": 8} for layer in range(48)}


def size_with(name, stated):
    served = serve(Source("x", {**fields_of(name), "quantization_config": stated}, "x"), context=64)
    return served.plan.weights, int(served.weights_file_bytes)


def test_mlx_may_give_modules_bits_of_their_own():
    """Routers of 8 bits: codes, and a scale and a bias of 16 bits for 64 of them, in place of 16 bits."""
    name, all_four = size_with(MOE, MLX)
    assert name == "mlx-4bit-g64"
    router = 128 * 2048
    eight = router + router // 64 * 4
    assert size_with(MOE, {**MLX, **GATES_OF_EIGHT})[1] == all_four + 48 * (eight - 2 * router)
    embedding = 151_936 * 2048
    plain_head = size_with(MOE, {**MLX, "lm_head": {"bits": 8, "group_size": 64}})[1]
    assert plain_head == all_four + embedding // 2
    experts = {"model.layers.0.mlp.switch_mlp.down_proj": {"group_size": 64, "bits": 6}}
    assert size_with(MOE, {**MLX, **experts})[1] == all_four + 128 * 2048 * 768 // 4
    kept = size_with(MOE, {**MLX, "model.layers.0.self_attn.q_proj": False})[1]
    query = 4096 * 2048
    assert kept == all_four + 2 * query - (query // 2 + query // 64 * 4)


def test_nvidias_mixed_precision_is_read_module_by_module():
    """FP8 with two scales, NVFP4 with two, NVFP4 of weights alone with one; the rest has its 16 bits."""
    _, plain = size_with(QWEN3, None)
    listed = {
        "model.layers.0.self_attn.q_proj": {"quant_algo": "FP8"},
        "model.layers.1.mlp.up_proj": {"quant_algo": "NVFP4", "group_size": 16},
        "lm_head": {"quant_algo": "W4A16_NVFP4", "group_size": 16},
    }
    mixed = {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": listed}
    name, size = size_with(QWEN3, {**mixed, "exclude_modules": ["mtp*"], "kv_cache_quant_algo": None})
    query, up, head = 4096 * 4096, 4096 * 12_288, 151_936 * 4096
    saved = (query - 8) + (2 * up - up // 2 - up // 16 - 8) + (2 * head - head // 2 - head // 16 - 4)
    assert (name, size) == ("mixed", plain - saved)


def test_gptqmodels_dynamic_names_what_stays_or_has_other_bits():
    """Attention of one layer in 16 bits, or in 8: the codes double, and the zero points with them."""
    _, four = size_with(QWEN3, GPTQ)
    query, groups = 4096 * 4096, 4096 * 32
    as_four = query // 2 + groups * 2 + groups // 2 + 4096 * 4
    assert size_with(QWEN3, {**GPTQ, "dynamic": {}})[1] == four
    kept = {r"-:.*layers\.3\.self_attn\.q_proj": {}, r"-:.*shared_expert_gate": {}}
    assert size_with(QWEN3, {**GPTQ, "dynamic": kept})[1] == four + 2 * query - as_four
    eight = {r"+:.*layers\.3\.self_attn\.q_proj": {"bits": 8}}
    assert size_with(QWEN3, {**GPTQ, "dynamic": eight})[1] == four + query // 2 + groups // 2


@pytest.mark.parametrize(
    ("stated", "says"),
    [
        ({**GPTQ, "dynamic": {"-:a": {}, "+:b": {"bits": 8}}}, "or one other format"),
        ({**GPTQ, "dynamic": {"+:.*q_proj": {"bits": 7}}}, "bits and group_size that are known"),
        ({**GPTQ, "dynamic": {r"-:.*experts\.3\..*": {}}}, "all experts alike"),
        ({**GPTQ, "dynamic": {"+:nothing": {"bits": 8}}}, "modules of qwen3_moe"),
        ({**MLX, "model.layers.0.mlp.gate": {"bits": 7, "group_size": 64}}, "affine quantisation"),
        ({**MLX, "model.layers.0.new_module": {"bits": 8, "group_size": 64}}, "modules of qwen3_moe"),
        ({**MLX, "model.layers.0.mlp.gate": {"bits": 8, "group_size": 64, "mode": "mxfp4"}}, "affine"),
        ({"quant_algo": "MIXED_PRECISION"}, "an object of modules"),
        (
            {"quant_algo": "MIXED_PRECISION", "quantized_layers": {"lm_head": {"quant_algo": "MXFP8"}}},
            "one of FP8, NVFP4, W4A16_NVFP4",
        ),
        ({"quant_method": "auto-round", "bits": 4, "group_size": 128}, "packing_format: expected auto_round"),
        *(
            ({"quant_method": method}, f"given '{method}'; its .safetensors headers alone have exact weights")
            for method in (
                *("hqq", "quark", "quanto", "fp_quant", "higgs", "spqr", "vptq", "aqlm"),
                *("exl2", "exl3", "sinq", "four_over_six"),
            )
        ),
        ({**GPTQ, "pack_dtype": "int16"}, "pack_dtype"),
    ],
)
def test_what_is_not_understood_of_them_is_refused(stated, says):
    with pytest.raises((BadInputError, LookupError), match=says):
        size_with(MOE, stated)


@pytest.mark.parametrize(
    ("field", "value", "none"),
    [
        ("num_nextn_predict_layers", 2, 0),
        ("num_nextn_predict_layers", 1, 0),
        ("pruned_heads", {"0": [1, 2]}, {}),
        ("add_cross_attention", True, False),
        ("is_encoder_decoder", True, False),
    ],
)
def test_fields_of_other_tensors_are_refused_where_nobody_counts_them(field, value, none) -> None:
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    llama = {"model_type": "llama", "vocab_size": 10, **sizes}
    with pytest.raises(BadInputError, match=rf"^{field}: expected only fields that the reader of llama"):
        read({**llama, field: value})
    assert read({**llama, field: none}).not_read == ()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        (
            {"model_type": "gemma3n_text", "altup_num_inputs": 10**9},
            "altup_num_inputs: expected at most 1000",
        ),
        ({"model_type": "chatglm", "num_attention_heads": 32, "kv_channels": 1}, "kv_channels: expected"),
    ],
)
def test_a_slip_is_refused_before_anything_is_listed(fields, named):
    with pytest.raises(BadInputError, match=named):
        read(fields)


def test_an_algorithm_that_is_not_stated_is_refused():
    stated = {"quant_method": "modelopt", "kv_cache_quant_algo": None}
    with pytest.raises(BadInputError, match="quant_algo: expected FP8, NVFP4 or MIXED_PRECISION, given null"):
        scheme(stated)
