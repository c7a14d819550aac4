"""Hunyuan-Large, of which transformers has none: held by the size of a checkpoint and by published counts.

config.json of huggingface.co/tencent/Tencent-Hunyuan-Large (Hunyuan-A52B-Pretrain); that of the tuned models
has 129,024 rows (Ascend/MindIE-LLM, its test of hunyuan). total_size and the kinds of tensors: index of
Hunyuan-A52B-Instruct-FP8, commit 6ff7711. 389 and 52 billion: README.md of Tencent/Tencent-Hunyuan-Large. All
were read in 2026-11.
"""

from __future__ import annotations

import json
import math
import re

import pytest

from memcalc.errors import MemcalcError
from memcalc.files.readers import read
from memcalc.files.tensor_names import header
from memcalc.ledger.model import cache_growth
from memcalc.serving import serve

LARGE = {
    "architectures": ["HunYuanForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "auto_map": {
        "AutoConfig": "configuration_hunyuan.HunYuanConfig",
        "AutoModel": "modeling_hunyuan.HunyuanModel",
        "AutoModelForCausalLM": "modeling_hunyuan.HunYuanForCausalLM",
    },
    "capacity_factor": 1.0,
    "cla_share_factor": 2,
    "hidden_act": "silu",
    "hidden_size": 6400,
    "initializer_range": 0.02,
    "intermediate_size": 18_304,
    "max_position_embeddings": 262_144,
    "model_type": "hunyuan",
    "moe_drop_tokens": False,
    "moe_random_routing_dropped_token": False,
    "moe_topk": 1,
    "num_attention_heads": 80,
    "num_experts": 16,
    "num_hidden_layers": 64,
    "num_key_value_heads": 8,
    "num_shared_expert": 1,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {"alpha": 100_000.0, "factor": 1.0, "type": "dynamic"},
    "rope_theta": 10_000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "use_cla": True,
    "use_mixed_mlp_moe": True,
    "use_qk_norm": True,
    "vocab_size": 128_512,
}
DENSE = {
    "model_type": "hunyuan",
    "attention_head_dim": 128,
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "moe_topk": [1] * 32,
    "num_attention_heads": 32,
    "num_experts": 1,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "num_shared_expert": [1] * 32,
    "tie_word_embeddings": True,
    "use_qk_norm": True,
    "vocab_size": 129_024,
}  # a smaller one: ml-explore/mlx-swift-lm, a test of hunyuan
FP8_TOTAL = 389_547_683_328


def test_its_parameters_are_those_that_its_makers_state():
    """They round 388.7 and 51.3 up."""
    model = read(LARGE)
    assert round(model.parameters / 10**9) == 389
    assert math.ceil(model.active_parameters / 10**9) == 52


def test_the_checkpoint_in_eight_bits_has_the_size_of_its_index():
    """Each matrix but router and embedding has a byte a number, and two scales of 4; routers have 4 bytes."""
    total = 0
    for name, shape in header(read({**LARGE, "vocab_size": 129_024})).items():
        linear = name.endswith("_proj.weight")
        size = 1 if linear else 4 if ".gate.wg." in name else 2
        total += math.prod(shape) * size + 2 * 4 * linear
    assert total == FP8_TOTAL


def test_its_tensors_are_those_of_its_code():
    shapes = header(read(LARGE))
    inside = {
        place: {re.sub(r"\.\d+(?=\.)", ".*", name[len(place) :]) for name in shapes if name.startswith(place)}
        for place in ("model.layers.0.", "model.layers.1.", "model.layers.63.")
    }
    first, second, last = inside.values()
    assert first - second == {f"self_attn.{letter}_proj.weight" for letter in "kv"}
    assert (
        second
        == last
        == {
            *(
                f"self_attn.{name}.weight"
                for name in ("q_proj", "o_proj", "query_layernorm", "key_layernorm")
            ),
            *(f"mlp.experts.*.{name}_proj.weight" for name in ("gate", "up", "down")),
            *(f"mlp.shared_mlp.{name}_proj.weight" for name in ("gate", "up", "down")),
            "mlp.gate.wg.weight",
            "input_layernorm.weight",
            "post_attention_layernorm.weight",
        }
    )
    assert shapes["model.layers.1.self_attn.key_layernorm.weight"] == (80,)
    assert "lm_head.weight" not in shapes


def test_half_of_the_layers_keep_keys_and_values(tmp_path):
    """Its class for transformers keeps them in the others, too."""
    token = 2 * 8 * 80 * 2
    assert cache_growth(read(LARGE))["bytes_per_token"] == 32 * token
    assert cache_growth(read({**LARGE, "use_cla": False}))["bytes_per_token"] == 64 * token
    (tmp_path / "config.json").write_text(json.dumps(LARGE), encoding="utf-8")
    kept = serve(tmp_path, context=1000, engine="transformers").device.lines
    assert sum(line.bytes for line in kept if line.component == "kv_cache") == 1000 * 64 * token


def test_routers_have_32_bits():
    gates = [one for one in read(LARGE).weights() if one.name.endswith("gate.weight")]
    assert sum(one.layers for one in gates) == 64
    assert {one.format for one in gates} == {"fp32"}


def test_the_plain_part_stands_where_there_is_one_expert():
    small = read(DENSE)
    later = {
        field: DENSE[field] for field in DENSE if field not in ("moe_topk", "num_experts", "use_qk_norm")
    }
    later = {**later, "model_type": "hunyuan_v1_dense", "head_dim": later.pop("attention_head_dim")}
    del later["num_shared_expert"]
    assert small.parameters == read(later).parameters
    assert small.active_parameters == small.parameters


@pytest.mark.parametrize("engine", ["vllm", "sglang", "llama.cpp"])
def test_an_engine_without_a_class_refuses(tmp_path, engine):
    (tmp_path / "config.json").write_text(json.dumps(LARGE), encoding="utf-8")
    with pytest.raises(MemcalcError, match="hunyuan"):
        serve(tmp_path, context=1024, engine=engine)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_attention_heads", 81),
        ("attention_head_dim", 128),
        ("moe_topk", 17),
        ("moe_topk", [1, 2] * 32),
        ("moe_topk", []),
        ("num_shared_expert", [1]),
        ("cla_share_factor", 0),
        ("surprise", 12),
    ],
)
def test_what_is_not_understood_is_refused(field, value):
    with pytest.raises(MemcalcError, match="num_experts_per_tok" if value == 17 else field):
        read({**LARGE, field: value})
