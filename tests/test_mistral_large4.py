"""Mistral Large 4 and Doge: sizes and what is refused. Their tensors are held by tests/oracles."""

from __future__ import annotations

import json

import pytest

from memcalc.errors import MemcalcError
from memcalc.files.config_classes import config_class
from memcalc.files.readers import read
from memcalc.ledger.model import cache_growth
from memcalc.serving import serve

# the class's own defaults, which transformers 5.23 gives for mistralai/Mistral-Large-4-1T-A52B
DEFAULTS = config_class("mistral_large4_text").defaults
TEXT = {**DEFAULTS, "model_type": "mistral_large4_text"}
VISION = {
    "model_type": "pixtral",
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_hidden_layers": 30,
    "num_attention_heads": 16,
    "patch_size": 14,
    "image_size": 1540,
}
LARGE4 = {"model_type": "mistral_large4", "text_config": TEXT, "vision_config": VISION}
DOGE = {"model_type": "doge", "is_moe": True}


def changed(**fields):
    """The config with other values in its text model."""
    return {**LARGE4, "text_config": {**TEXT, **fields}}


def test_its_parameters_are_those_of_its_name():
    model = read(LARGE4)
    assert round(model.parameters / 10**12) == 1
    assert round((model.active_parameters - 204_800 * 6144) / 10**9) == 52  # but the table of tokens


def test_a_layer_that_reads_anothers_latents_keeps_its_indexers_keys_alone():
    own = cache_growth(read(LARGE4))["bytes_per_token"]
    assert own == 2 * (72 * (512 + 128) + 54 * 64)  # every fourth layer rotates nothing
    sources = [0, 0, *range(2, 72)]
    assert own - cache_growth(read(changed(kv_source_layers=sources)))["bytes_per_token"] == 2 * (512 + 64)
    looking = ["full", "shared", *["full"] * 70]
    both = cache_growth(read(changed(kv_source_layers=sources, indexer_types=looking)))["bytes_per_token"]
    assert own - both == 2 * (512 + 64 + 128)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kv_source_layers", [0, 0]),
        ("kv_source_layers", [0, 2, *range(2, 72)]),
        ("kv_source_layers", [0, 0, 1, *range(3, 72)]),
        ("kv_source_layers", [0, 1, 2, 0, *range(4, 72)]),
        ("kv_source_layers", [-1, *range(1, 72)]),
        ("no_rope_layers", [1] * 71),
        ("no_rope_layers", [2] * 72),
        ("index_topk_pattern", "F" * 72),
        ("qk_rope_head_dim", 63),
        ("q_lora_rank", 1536),
        ("num_experts", 64),
        ("surprise", 12),
    ],
)
def test_what_its_class_does_not_build_is_refused(field, value):
    with pytest.raises(MemcalcError, match=field):
        read(changed(**{field: value}))


def test_alpha_has_a_number_for_each_pair_that_is_rotated():
    assert read(LARGE4).buffer_values == 32
    rotation = {**TEXT["rope_parameters"], "partial_rotary_factor": 0.5}
    with pytest.raises(MemcalcError, match="partial_rotary_factor"):
        read(changed(rope_parameters=rotation))


def test_experts_of_doge_are_two_rows_each():
    plain, mixed = read({**DOGE, "is_moe": False}), read(DOGE)
    keys, rows = 2 * 128 * 1024, 2 * 1024
    assert mixed.parameters - plain.parameters == 32 * (keys + 16_384 * rows)
    assert mixed.active_parameters - plain.parameters == 32 * (keys + 64 * rows)


@pytest.mark.parametrize(("number", "fits"), [(16_384, True), (16_385, False), (20_000, False)])
def test_a_token_of_doge_uses_no_more_experts_than_its_keys_can_name(number, fits):
    fields = {**DOGE, "num_experts_per_tok": number, "num_experts": 16_400}
    if fits:
        assert read(fields).active_parameters
    else:
        with pytest.raises(MemcalcError, match="num_experts_per_tok"):
            read(fields)


@pytest.mark.parametrize("fields", [LARGE4, DOGE], ids=["mistral_large4", "doge"])
def test_engines_without_a_class_for_it_refuse_it(fields, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(fields), encoding="utf-8")
    assert serve(path, context=4096).max_context is None
    for engine in ("vllm", "sglang", "llama.cpp"):
        with pytest.raises(MemcalcError, match=r"--engine|model_type"):
            serve(path, context=4096, engine=engine)


@pytest.mark.parametrize(
    ("field", "value"), [("hidden_act", "xielu"), ("num_attention_heads", 2048), ("surprise", 12)]
)
def test_a_tower_that_its_class_does_not_write_is_refused(field, value):
    with pytest.raises(MemcalcError, match=field):
        read({**LARGE4, "vision_config": {**VISION, field: value}})
