"""DBRX: its published size, and what is refused. Its tensors are held by tests/oracles.

config.json of databricks/dbrx-instruct, as copies of it in 4 bits on GitHub have it; 132 and 36 billion
parameters: its makers. Read in 2026-11.
"""

from __future__ import annotations

import pytest

from memcalc.errors import MemcalcError
from memcalc.files.readers import read
from memcalc.files.tensor_names import header
from memcalc.ledger.model import cache_growth

DBRX = {
    "architectures": ["DbrxForCausalLM"],
    "attn_config": {"clip_qkv": 8, "kv_n_heads": 8, "model_type": "", "rope_theta": 500_000},
    "d_model": 6144,
    "emb_pdrop": 0.0,
    "ffn_config": {
        "ffn_hidden_size": 10_752,
        "model_type": "",
        "moe_jitter_eps": 0,
        "moe_loss_weight": 0.05,
        "moe_num_experts": 16,
        "moe_top_k": 4,
        "return_dict": True,
        "tie_word_embeddings": True,
        "uniform_expert_assignment": False,
    },
    "initializer_range": 0.02,
    "max_seq_len": 32_768,
    "model_type": "dbrx",
    "n_heads": 48,
    "n_layers": 40,
    "resid_pdrop": 0.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "vocab_size": 100_352,
}


def test_its_parameters_and_its_cache():
    model = read(DBRX)
    assert round(model.parameters / 10**9) == 132
    assert round(model.active_parameters / 10**9) == 36
    assert cache_growth(model)["bytes_per_token"] == 40 * 2 * 8 * 128 * 2


def test_the_experts_of_a_layer_lie_below_each_other():
    shapes = header(read(DBRX))
    experts = "transformer.blocks.39.ffn.experts.mlp."
    assert {shapes[f"{experts}{name}"] for name in ("w1", "v1", "w2")} == {(16 * 10_752, 6144)}
    assert shapes["transformer.blocks.0.norm_attn_norm.attn.Wqkv.weight"] == (6144 + 2 * 8 * 128, 6144)


def test_what_an_object_leaves_out_is_its_classs():
    small = read({**DBRX, "attn_config": {}, "ffn_config": {"ffn_hidden_size": 3584}})
    assert small == read({**DBRX, "attn_config": {"kv_n_heads": 1}, "ffn_config": None})


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("attn_config", None, "attn_config"),
        ("attn_config", {"kv_n_heads": 7}, "kv_n_heads"),
        ("attn_config", {"kv_n_heads": None}, "kv_n_heads"),
        ("attn_config", {"surprise": 12}, "surprise"),
        ("ffn_config", {"moe_num_experts": 4, "moe_top_k": 5}, "moe_top_k"),
        ("ffn_config", {"surprise": 12}, "surprise"),
        ("ffn_config", 12, "ffn_config"),
        ("tie_word_embeddings", True, "tie_word_embeddings"),
        ("num_key_value_heads", 2, "num_key_value_heads"),
        ("n_heads", 47, "num_attention_heads"),
    ],
)
def test_what_its_class_does_not_build_is_refused(field, value, named):
    with pytest.raises(MemcalcError, match=named):
        read({**DBRX, field: value})
