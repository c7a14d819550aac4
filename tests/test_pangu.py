"""Pangu Pro MoE in its two forms, of which transformers has no class: figures of its makers, and refusals.

The second: config.json of huggingface.co/openpangu/openPangu-R-72B-2512, whose last two fields are those of
its Int8 copy; 74B parameters, 15B a token, a cache 37.5 % smaller than that of 8 heads of 128 (README.md).
The first: the sizes that configuration_pangu_moe.py of ascend-tribe/pangu-pro-moe-model declares; 72B and 16B
(arXiv:2505.21411). Names: vllm-project/vllm-ascend, vllm_ascend/models/pangu_moe.py (commit e225de5), and
omni-infer, omni/models/pangu/pangu_pro_moe_v2. All were read in 2026-11; no index of a checkpoint was found.
"""

from __future__ import annotations

import json
import re

import pytest

from memcalc.errors import MemcalcError
from memcalc.files.readers import read
from memcalc.files.tensor_names import header, listed
from memcalc.ledger.model import cache_growth
from memcalc.serving import serve

FIRST = {
    "architectures": ["PanguProMoEForCausalLM"],
    "auto_map": {"AutoModelForCausalLM": "modeling_pangu_moe.PanguProMoEForCausalLM"},
    "model_type": "PanguProMoE",
    "hidden_size": 5120,
    "max_position_embeddings": 131_072,
    "moe_intermediate_size": 1344,
    "num_attention_heads": 40,
    "num_experts": 64,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 48,
    "num_key_value_heads": 8,
    "rope_theta": 16_000_000.0,
    "shared_expert_intermediate_size": 5376,
    "tie_word_embeddings": False,
    "vocab_size": 153_376,
}
SECOND = {
    "architectures": ["PanguProMoEV2ForCausalLM"],
    "attention_dropout": 0.0,
    "auto_map": {
        "AutoConfig": "configuration_pangu_moe.PanguProMoEConfig",
        "AutoModel": "modeling_pangu_moe.PanguProMoEModel",
        "AutoModelForCausalLM": "modeling_pangu_moe.PanguProMoEV2ForCausalLM",
    },
    "mlp_only_layers": [0, 1, 2, 3],
    "hidden_act": "silu",
    "hidden_size": 4608,
    "intermediate_size": 10_240,
    "max_position_embeddings": 131_072,
    "model_type": "PanguProMoE",
    "moe_intermediate_size": 1280,
    "num_attention_heads": 64,
    "num_experts": 80,
    "norm_topk_prob": True,
    "router_enable_expert_bias": True,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 50,
    "num_key_value_heads": 4,
    "output_router_logits": False,
    "rms_norm_eps": 1e-05,
    "rope_theta": 25_600_000,
    "routed_scaling_factor": 2.5,
    "sandwich_norm": True,
    "shared_expert_intermediate_size": 2560,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.48.2",
    "use_cache": True,
    "vocab_size": 153_600,
    "qk_nope_dim": 128,
    "qk_rope_dim": 64,
    "v_channels": 128,
    "param_sink_number": 128,
    "param_sink_with_value": True,
    "num_mtp_layers": 1,
}
OF_BOTH = {
    **{f"{name}.weight": (153_600, 4608) for name in ("model.embed_tokens", "lm_head")},
    "model.norm.weight": (4608,),
    **{f"model.layers.*.{name}_layernorm.weight": (4608,) for name in ("input", "post_attention")},
}


def starred(config):
    """The shapes of a model by names in which each number is a star."""
    return {re.sub(r"\.\d+(?=\.)", ".*", name): shape for name, shape in header(read(config)).items()}


@pytest.mark.parametrize(("config", "total", "active"), [(FIRST, 72, 16.5), (SECOND, 74, 15.2)])
def test_their_parameters_are_those_that_their_makers_state(config, total, active):
    """They round 16.5 and 15.2 down."""
    model = read(config)
    assert round(model.parameters / 10**9) == total
    assert round(model.active_parameters / 10**8) == 10 * active


def test_the_cache_of_the_second_is_smaller_by_what_its_makers_state():
    growth = cache_growth(read(SECOND))["bytes_per_token"]
    assert growth == 50 * 4 * (192 + 128) * 2
    assert growth / (50 * 2 * 8 * 128 * 2) == 1 - 0.375


def test_the_tensors_of_the_second_are_those_of_its_code():
    attention = "model.layers.*.self_attn"
    assert starred(SECOND) == OF_BOTH | {
        f"{attention}.qkv_proj.weight": (64 * 192 + 4 * 192 + 4 * 128, 4608),
        f"{attention}.o_proj.weight": (4608, 64 * 128),
        f"{attention}.k_layernorm.weight": (192,),
        f"{attention}.param_sink_key": (128, 4, 192),
        f"{attention}.param_sink_value": (128, 4, 128),
        **{f"model.layers.*.{place}_mlp_layernorm.weight": (4608,) for place in ("pre", "post")},
        **{f"model.layers.*.mlp.{one}_proj.weight": (10_240, 4608) for one in ("gate", "up")},
        "model.layers.*.mlp.down_proj.weight": (4608, 10_240),
        "model.layers.*.mlp.gate.weight": (80, 4608),
        "model.layers.*.mlp.e_score_correction_bias": (80,),
        **{f"model.layers.*.mlp.experts.*.{one}_proj.weight": (1280, 4608) for one in ("gate", "up")},
        "model.layers.*.mlp.experts.*.down_proj.weight": (4608, 1280),
        **{f"model.layers.*.mlp.shared_experts.{one}_proj.weight": (2560, 4608) for one in ("gate", "up")},
        "model.layers.*.mlp.shared_experts.down_proj.weight": (4608, 2560),
    }


def test_its_layer_ahead_is_a_sparse_one_with_what_joins_two_streams():
    model = read(SECOND)
    layer = sum(tensor.count for tensor in model.layers[-1].weights())
    assert model.mtp_parameters == layer + 2 * 4608 * 4608 + 3 * 4608
    ahead = {name.rpartition("layers.50.")[2] for name, one in listed(model).items() if one.part == "mtp"}
    assert {"eh_proj.weight", "enorm.weight", "hnorm.weight", "shared_head.norm.weight"} <= ahead
    assert read({**SECOND, "num_mtp_layers": 0}).mtp_parameters == 0


def test_the_tensors_of_the_first_are_those_of_its_code():
    model = read(FIRST)
    names = set(starred(FIRST))
    assert {f"model.layers.*.self_attn.{letter}_proj.bias" for letter in "qkvo"} <= names
    assert {"model.layers.*.mlp.router_scale", "model.layers.*.mlp.shared_expert.up_proj.weight"} <= names
    assert header(model)["model.layers.0.mlp.router_scale"] == (1, 64)
    assert not any("e_score_correction_bias" in name or "k_layernorm" in name for name in names)
    assert cache_growth(model)["bytes_per_token"] == 48 * 2 * 8 * 128 * 2


@pytest.mark.parametrize(
    ("config", "engine", "named"),
    [
        (FIRST, "vllm", "PanguProMoEV1"),
        (SECOND, "vllm", "192 and 128"),
        (FIRST, "sglang", "PanguProMoE"),
        (SECOND, "sglang", "PanguProMoE"),
        (SECOND, "llama.cpp", "PanguProMoE"),
    ],
)
def test_an_engine_without_a_class_or_a_known_cache_refuses(tmp_path, config, engine, named):
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(MemcalcError, match=named):
        serve(tmp_path, context=1024, engine=engine)


@pytest.mark.parametrize(
    ("config", "field", "value"),
    [
        (FIRST, "architectures", ["PanguProMoEV2ForCausalLM"]),
        (SECOND, "architectures", ["PanguProMoEForCausalLM"]),
        (SECOND, "architectures", ["PanguProMoEModel"]),
        (SECOND, "qk_rope_dim", None),
        (SECOND, "attention_bias", True),
        (SECOND, "param_sink_of_head_num", True),
        (SECOND, "param_sink_scalar", 4),
        (SECOND, "n_routed_experts", 64),
        (SECOND, "n_shared_experts", 1),
        (SECOND, "first_k_dense_replace", 3),
        (SECOND, "num_nextn_predict_layers", 2),
        (SECOND, "head_dim", 128),
        (SECOND, "surprise", 12),
        (FIRST, "param_sink_number", 128),
        (FIRST, "router_enable_expert_bias", True),
        (FIRST, "sandwich_norm", True),
        (FIRST, "num_attention_heads", 39),
    ],
)
def test_what_is_not_understood_is_refused(config, field, value):
    with pytest.raises(MemcalcError, match=field):
        read({**config, field: value})


def test_what_is_said_again_is_read():
    again = {"n_routed_experts": 80, "n_shared_experts": 2, "first_k_dense_replace": 4}
    assert read({**SECOND, **again}).parameters == read(SECOND).parameters
