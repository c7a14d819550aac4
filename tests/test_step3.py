"""Step-3, of which transformers has no class: figures of its makers, names of its published code, refusals.

Config: huggingface.co/stepfun-ai/step3, config.json at refs/pr/2; the excerpt that was found ends in the
tower, whose inner width is the one that the published totals leave room for. Figures: README.md and
docs/deploy_guidance.md of github.com/stepfun-ai/Step3 (316B of text, 321B together, 38B a token, 642 GB at 16
bits); 2.56e8 bytes of cache at 8 bits and 8k tokens (arXiv:2507.19427). Names: modeling_step3.py and
vision_encoder.py beside the weights, and vllm-project/vllm, model_executor/models/step3_text.py, which says
how files call them. All were read in 2026-11.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter

import pytest

from memcalc.errors import MemcalcError
from memcalc.files.readers import read
from memcalc.files.tensor_names import header
from memcalc.ledger.model import cache_growth
from memcalc.serving import serve

TEXT = {
    "architectures": ["Step3TextForCausalLM"],
    "model_type": "step3_text",
    "hidden_size": 7168,
    "intermediate_size": 18_432,
    "num_hidden_layers": 61,
    "max_seq_len": 65_536,
    "max_position_embedding": 65_536,
    "vocab_size": 128_815,
    "torch_dtype": "bfloat16",
    "moe_layers_enum": ",".join(map(str, range(4, 60))),
    "num_attention_heads": 64,
    "num_attention_groups": 1,
    "head_dim": 256,
    "share_q_dim": 2048,
    "moe_num_experts": 48,
    "moe_top_k": 3,
    "moe_intermediate_size": 5120,
    "share_expert_dim": 5120,
    "norm_expert_weight": False,
    "rope_theta": 500_000,
}
VISION = {
    "hidden_size": 1792,
    "output_hidden_size": 4096,
    "image_size": 728,
    "intermediate_size": 15_360,
    "num_attention_heads": 16,
    "num_hidden_layers": 63,
    "patch_size": 14,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-05,
}
STEP3 = {
    "architectures": ["Step3VLForConditionalGeneration"],
    "auto_map": {
        "AutoConfig": "configuration_step3.Step3VLConfig",
        "AutoModelForCausalLM": "modeling_step3.Step3vForConditionalGeneration",
    },
    "model_type": "step3_vl",
    "im_end_token": "<im_end>",
    "im_patch_token": "<im_patch>",
    "im_start_token": "<im_start>",
    "image_token_len": 169,
    "patch_token_len": 81,
    "understand_projector_stride": 2,
    "projector_bias": False,
    "image_token_id": 128_001,
    "bos_token_id": 0,
    "eos_token_id": 128_805,
    "text_config": TEXT,
    "vision_config": VISION,
}
ALONE = TEXT


def given(folder, config):
    """A config.json in a folder."""
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def test_its_parameters_and_its_cache_are_those_that_its_makers_state():
    """Their 38B leave the input embedding out."""
    model = read(STEP3)
    assert round(model.parameters / 10**9) == 316
    assert math.floor((model.active_parameters - model.embedding_parameters) / 10**8) == 379
    both = model.parameters + model.vision_parameters
    assert (round(both / 10**9), round(2 * both / 10**9)) == (321, 642)
    assert cache_growth(model)["bytes_per_token"] == 61 * 2 * 256 * 2
    assert round(61 * 2 * 256 * 8192 / 10**6) == 256


def test_its_tensors_are_those_of_its_published_code():
    sizes = {re.sub(r"\.\d+(?=\.)", ".*", name): shape for name, shape in header(read(STEP3)).items()}
    inside = "vision_model.transformer.layers.*"
    named = {
        "model.layers.*.self_attn.q_proj.weight": (2048, 7168),
        "model.layers.*.self_attn.k_proj.weight": (256, 7168),
        "model.layers.*.self_attn.v_proj.weight": (256, 7168),
        "model.layers.*.self_attn.inter_norm.weight": (2048,),
        "model.layers.*.self_attn.wq.weight": (16_384, 2048),
        "model.layers.*.self_attn.o_proj.weight": (7168, 16_384),
        **{f"model.layers.*.mlp.{one}_proj.weight": (18_432, 7168) for one in ("gate", "up")},
        "model.layers.*.mlp.down_proj.weight": (7168, 18_432),
        "model.layers.*.moe.gate.weight": (48, 7168),
        **{f"model.layers.*.moe.{one}_proj.weight": (48, 5120, 7168) for one in ("gate", "up")},
        "model.layers.*.moe.down_proj.weight": (48, 7168, 5120),
        **{f"model.layers.*.share_expert.{one}_proj.weight": (5120, 7168) for one in ("gate", "up")},
        "model.layers.*.share_expert.down_proj.weight": (7168, 5120),
        **{f"model.layers.*.{one}_layernorm.weight": (7168,) for one in ("input", "post_attention")},
        **{f"{one}.weight": (128_815, 7168) for one in ("model.embed_tokens", "lm_head")},
        "model.norm.weight": (7168,),
        "vision_model.embeddings.class_embedding": (1, 1792),
        "vision_model.embeddings.patch_embedding.weight": (1792, 3, 14, 14),
        "vision_model.embeddings.patch_embedding.bias": (1792,),
        "vision_model.embeddings.position_embedding.weight": (52 * 52 + 1, 1792),
        f"{inside}.self_attn.qkv_proj.weight": (3 * 1792, 1792),
        f"{inside}.self_attn.qkv_proj.bias": (3 * 1792,),
        f"{inside}.self_attn.out_proj.weight": (1792, 1792),
        f"{inside}.self_attn.out_proj.bias": (1792,),
        f"{inside}.mlp.fc1.weight": (15_360, 1792),
        f"{inside}.mlp.fc1.bias": (15_360,),
        f"{inside}.mlp.fc2.weight": (1792, 15_360),
        f"{inside}.mlp.fc2.bias": (1792,),
        **{f"{inside}.layer_norm{number}.{end}": (1792,) for number in (1, 2) for end in ("weight", "bias")},
        "vit_downsampler.weight": (4096, 1792, 2, 2),
        "vit_downsampler.bias": (4096,),
        "vit_downsampler2.weight": (8192, 4096, 3, 3),
        "vit_downsampler2.bias": (8192,),
        "vit_large_projector.weight": (7168, 8192),
    }
    assert sizes == named


@pytest.mark.parametrize("stated", ["4-59", list(range(4, 60)), " 4, 5-58 ,59"])
def test_the_layers_with_experts_may_be_written_otherwise(stated):
    assert read({**ALONE, "moe_layers_enum": stated}).parameters == read(ALONE).parameters


def test_what_is_absent_is_what_the_class_declares():
    """Null is another thing: its code then has experts in all layers but the first."""
    absent = {field: value for field, value in ALONE.items() if field != "moe_layers_enum"}
    assert read(absent).parameters == read(ALONE).parameters
    null = header(read({**absent, "moe_layers_enum": None}))
    assert sum(name.endswith("moe.gate.weight") for name in null) == 60
    assert read({"model_type": "step3_text"}).parameters == read(ALONE).parameters


def test_ranks_share_the_heads_and_each_makes_the_narrow_stream_of_all(tmp_path):
    """vLLM, step3_text.py: q, k, v and the norm are replicated, wq and the output are cut."""
    served = {
        tp: serve(given(tmp_path, ALONE), context=1024, engine="vllm", tp=tp).device.lines for tp in (1, 8)
    }
    bytes_of = {
        tp: {line.name.rpartition("layers.{layer}.")[2]: line.bytes for line in lines}
        for tp, lines in served.items()
    }
    for name in ("q_proj", "k_proj", "v_proj", "inter_norm"):
        assert bytes_of[8][f"self_attn.{name}.weight"] == bytes_of[1][f"self_attn.{name}.weight"]
    for name in ("wq", "o_proj"):
        assert 8 * bytes_of[8][f"self_attn.{name}.weight"] == bytes_of[1][f"self_attn.{name}.weight"]


def test_sglang_has_a_class_for_the_whole_alone(tmp_path):
    assert serve(given(tmp_path, STEP3), context=1024, engine="sglang", tp=8).device.lines
    with pytest.raises(MemcalcError, match="step3_text"):
        serve(given(tmp_path, ALONE), context=1024, engine="sglang", tp=8)


def test_llama_cpp_has_no_such_architecture(tmp_path):
    with pytest.raises(MemcalcError, match="no GGUF of it"):
        serve(given(tmp_path, STEP3), context=1024, engine="llama.cpp")


@pytest.mark.parametrize(
    ("where", "field", "value"),
    [
        ("text_config", "num_attention_groups", 8),
        ("text_config", "num_key_value_heads", 8),
        ("text_config", "moe_layers_enum", "4,x"),
        ("text_config", "moe_layers_enum", "4-59-60"),
        ("text_config", "moe_layers_enum", 4),
        ("text_config", "moe_layers_enum", ""),
        ("text_config", "moe_top_k", 49),
        ("text_config", "surprise", 12),
        ("text_config", "model_type", "llama"),
        ("vision_config", "patch_size", 729),
        ("vision_config", "num_attention_heads", 15),
        ("vision_config", "surprise", 12),
    ],
)
def test_what_is_not_understood_is_refused(where, field, value):
    with pytest.raises(MemcalcError, match=field if field != "moe_top_k" else "num_experts_per_tok"):
        read({**STEP3, where: {**STEP3[where], field: value}})


@pytest.mark.parametrize(("field", "value"), [("tie_word_embeddings", True), ("hidden_size", 4096)])
def test_what_is_said_outside_must_agree(field, value):
    with pytest.raises(MemcalcError, match=field):
        read({**STEP3, field: value})


# stepfun-ai/Step-3.5-Flash, README.md: 196B parameters without embedding and head, 11B a token, three layers
# for multi-token prediction; windows in three of four layers, which have 96 query heads. The sizes are those
# of NVIDIA's Step35Config (docs.nvidia.com/nemo/megatron-bridge), both read in 2026-11.
EVERY = [("sliding_attention", "full_attention")[index % 4 == 0] for index in range(48)]
FLASH = {
    "model_type": "step3p5",
    "architectures": ["Step3p5ForCausalLM"],
    "att_impl_type": "GQA",
    "attention_other_setting": {
        "attention_type": "sliding_attention",
        "num_attention_heads": 96,
        "num_attention_groups": 8,
        "head_dim": 128,
    },
    "head_dim": 128,
    "hidden_size": 4096,
    "intermediate_size": 11_264,
    "layer_types": EVERY,
    "moe_intermediate_size": 1280,
    "moe_layers_enum": ",".join(map(str, range(3, 45))),
    "moe_num_experts": 288,
    "moe_top_k": 8,
    "norm_expert_weight": True,
    "num_attention_groups": 8,
    "num_attention_heads": 64,
    "num_hidden_layers": 45,
    "num_nextn_predict_layers": 3,
    "partial_rotary_factors": [0.5 if kind == "full_attention" else 1.0 for kind in EVERY],
    "rope_theta": [5e6 if kind == "full_attention" else 1e4 for kind in EVERY],
    "share_expert_dims": 1280,
    "sliding_window": 512,
    "use_head_wise_attn_gate": True,
    "use_moe_router_bias": True,
    "vocab_size": 128_896,
}


def test_step_3_5_flash_has_the_parameters_that_its_makers_state():
    model = read(FLASH)
    ends = 2 * model.embedding_parameters
    assert round((model.parameters - ends) / 10**9) == 196
    assert round((model.active_parameters - ends) / 10**9) == 11
    assert cache_growth(model)["bytes_per_token"] == 12 * 2 * 8 * 128 * 2
    assert Counter(part.heads for layer in model.layers for _, part in layer.remembering) == {64: 12, 96: 33}


def heads_ahead(**changed):
    """The query heads of the layers for multi-token prediction."""
    return [dict(layer.parts)["self_attn"].heads for layer in read({**FLASH, **changed}).mtp]


def test_its_layers_ahead_are_dense_and_of_the_kinds_that_are_said():
    assert heads_ahead() == [96, 96, 96]
    assert not any(tensor.kind == "expert" for layer in read(FLASH).mtp for tensor in layer.weights())
    apart = {"layer_types": EVERY[:45], "mtp_layer_types": ["full_attention", *EVERY[46:]]}
    assert heads_ahead(**apart) == [64, 96, 96]
    unsaid = read({**FLASH, "layer_types": EVERY[:45]})
    assert unsaid.mtp == ()
    assert "num_nextn_predict_layers 3" in unsaid.not_read[0]
    assert heads_ahead(num_nextn_predict_layers=0, layer_types=EVERY[:45]) == []


def test_each_kind_of_its_layers_has_a_table_of_its_own():
    assert read(FLASH).rotary_positions == 2 * 128_000
    dims = {part.window: part.rope_dim for layer in read(FLASH).layers for _, part in layer.remembering}
    assert dims == {None: 64, 512: None}


def test_the_tower_of_step_3_7():
    """1.8B without what joins patches: huggingface.co/docs/transformers, model_doc/step3p7, 2026-11."""
    model = read({"model_type": "step3p7", "text_config": FLASH, "vision_config": {}})
    joined = 9 * (1536 * 3072 + 3072 * 6144) + 3072 + 6144 + 6144 * 4096
    assert round((model.vision_parameters - joined) / 10**8) == 17
    assert model.parameters == read(FLASH).parameters


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("use_head_wise_attn_gate", False),
        ("mlp_bias", True),
        ("layer_types", EVERY[:44]),
        ("attention_other_setting", {**FLASH["attention_other_setting"], "num_attention_groups": 4}),
        ("attention_other_setting", {**FLASH["attention_other_setting"], "head_dim": 64}),
        ("num_sliding_attention_heads", 90),
        ("sliding_window", None),
        ("per_layer_config", {"1": {"num_attention_heads": 64}}),
        ("sparse_attention_config", {"sparse_num_index_heads": 4}),
    ],
)
def test_what_step_3_5_cannot_be_is_refused(field, value):
    with pytest.raises(MemcalcError):
        read({**FLASH, field: value})


def test_layers_with_as_many_heads_are_not_written_again():
    """Of layers whose heads are those of all, the class saves nothing; elsewhere nothing is no answer."""
    same = {**FLASH, "per_layer_config": {}, "attention_other_setting": None}
    assert read({**same, "num_sliding_attention_heads": FLASH["num_attention_heads"]}).parameters
    with pytest.raises(MemcalcError, match="per_layer_config"):
        read({**FLASH, "per_layer_config": {}})
