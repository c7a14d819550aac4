"""Readers and models: counts that were published, to the last number."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from memcalc.errors import BadInputError
from memcalc.files.catalogue import catalogue
from memcalc.files.readers import read
from memcalc.files.sources import source

if TYPE_CHECKING:
    from memcalc.ledger.model import Layer, Model


def load(name: str) -> Model:
    found = source(name)
    return read(found.fields, found.name)


PARAMETERS = {
    "Qwen/Qwen3-32B": (32_762_123_264, 32_762_123_264),
    "Qwen/Qwen2.5-72B": (72_706_203_648, 72_706_203_648),
    "Qwen/Qwen3-235B-A22B": (235_093_634_560, 22_190_763_520),
    "deepseek-ai/DeepSeek-V3": (671_026_404_352, 37_552_282_624),
    "deepseek-ai/DeepSeek-V3.2": (671_877_929_216, 38_403_807_488),
    "zai-org/GLM-5": (743_911_199_232, 41_784_709_632),
    "openai/gpt-oss-20b": (20_914_757_184, 4_187_440_704),
    "Qwen/Qwen3-8B": (8_190_735_360, 8_190_735_360),
    "meta-llama/Llama-3.1-8B": (8_030_261_248, 8_030_261_248),
}
CACHE = {
    "Qwen/Qwen3-32B": 262_144,
    "Qwen/Qwen2.5-72B": 327_680,
    "Qwen/Qwen3-235B-A22B": 192_512,
    "deepseek-ai/DeepSeek-V3": 70_272,
    "deepseek-ai/DeepSeek-V3.2": 85_888,
    "zai-org/GLM-5": 109_824,
    "meta-llama/Llama-3.1-8B": 131_072,
}


# safetensors.total of the Hub, as teilomillet/kvfit and others quote it (2026-09): buffers and towers count
HUB = {
    "MiniMaxAI/MiniMax-M2.7": 228_689_764_864,
    "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512,
    "Qwen/Qwen3-235B-A22B": 235_093_634_560,
    "Qwen/Qwen3-30B-A3B": 30_532_122_624,
    "Qwen/Qwen3-4B": 4_022_468_096,
    "Qwen/Qwen3.6-27B": 27_781_427_952,
    "Qwen/Qwen3.6-35B-A3B": 35_951_822_704,
    "google/gemma-2-27b-it": 27_227_128_320,
    "google/gemma-2-2b-it": 2_614_341_888,
    "google/gemma-2-9b-it": 9_241_705_984,
    "google/gemma-3-12b-it": 12_187_325_040,
    "google/gemma-3-1b-it": 999_885_952,
    "google/gemma-3-27b-it": 27_432_406_640,
    "google/gemma-3-4b-it": 4_300_079_472,
    "ibm-granite/granite-4.0-h-small": 32_207_337_984,
    "meta-llama/Llama-3.3-70B-Instruct": 70_553_706_496,
    "microsoft/Phi-3.5-mini-instruct": 3_821_079_552,
    "microsoft/Phi-4-mini-instruct": 3_836_021_760,
    "microsoft/phi-4": 14_659_507_200,
    "mistralai/Mistral-7B-v0.1": 7_241_732_096,
    "mistralai/Mistral-7B-v0.3": 7_248_023_552,
    "openai/gpt-oss-120b": 116_829_156_672,
    "openai/gpt-oss-20b": 20_914_757_184,
}


@pytest.mark.parametrize("name", HUB)
def test_a_catalogue_model_has_as_many_numbers_as_its_files(name: str) -> None:
    """Whatever else the record was copied from."""
    model = load(name)
    held = (model.parameters, model.vision_parameters, model.mtp_parameters, model.buffer_values)
    assert sum(held) == HUB[name]


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_exact(name: str) -> None:
    """Parameters and active parameters equal what transformers counts."""
    model = load(name)
    assert PARAMETERS[name] == (model.parameters, model.active_parameters)


@pytest.mark.parametrize("name", CACHE)
def test_a_token_leaves_exactly_this_behind(name: str) -> None:
    """One token of one sequence at 16 bits, all layers together."""
    assert CACHE[name] == sum(2 * tensor.count for tensor in load(name).cache(1, 1))


def test_deepseek_keeps_its_router_bias_and_mtp_apart() -> None:
    """58 routers of 256 corrections are buffers, and the MTP layer is no parameter of the model."""
    model = load("deepseek-ai/DeepSeek-V3")
    assert (model.buffer_values, model.mtp_parameters) == (58 * 256, 11_610_068_224)


@pytest.mark.slow
@pytest.mark.parametrize("name", catalogue())
def test_grouped_and_single_weights_agree(name: str) -> None:
    """Walking every tensor by its own name counts what the grouped walk counts."""
    model = load(name)
    each = [tensor for tensor in model.each_weight() if tensor.kind != "buffer"]
    assert model.parameters == sum(tensor.count for tensor in each)
    assert len(each) == len({tensor.name for tensor in each})


GLM = source("zai-org/GLM-5").fields
DEPTH = 78
EVERY_FOURTH = ["full"] * 3 + ["shared" if (index - 2) % 4 else "full" for index in range(3, DEPTH)]


@pytest.mark.parametrize(
    ("stated", "indexers"),
    [
        ({}, DEPTH),
        ({"indexer_types": EVERY_FOURTH}, 21),
        ({"index_topk_freq": 4, "index_skip_topk_offset": 3}, 21),
        ({"index_topk_freq": 4, "indexer_types": ["full"] * DEPTH}, DEPTH),
    ],
    ids=["all", "listed", "every fourth after three", "the list decides"],
)
def test_layers_may_share_an_indexer(stated: dict[str, object], indexers: int) -> None:
    """GLM-5.2 has 21 in 78 layers: 95,232 bytes a token, and weights for 57 indexers less."""
    model = read(GLM | stated)
    token = sum(2 * tensor.count for tensor in model.cache(1, 1))
    assert token == 2 * (DEPTH * 576 + indexers * 128)
    indexer = 2048 * 32 * 128 + 6144 * 128 + 2 * 128 + 6144 * 32
    assert load("zai-org/GLM-5").parameters - model.parameters == (DEPTH - indexers) * indexer


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("q_lora_rank", None),
        ("index_n_heads", 0),
        ("index_topk_pattern", "FSSS"),
        ("mlp_layer_types", ["sparse"] * DEPTH),
        ("indexer_types", ["full"] * 3),
        ("indexer_types", ["half"] * DEPTH),
    ],
)
def test_what_an_indexer_cannot_be_is_refused(field: str, value: object) -> None:
    """By the name of the field, instead of a count without it."""
    with pytest.raises(BadInputError, match=field):
        read(GLM | {field: value})


def test_a_pipeline_stage_is_a_model() -> None:
    """The stages of an untied model add up to the model."""
    model = load("Qwen/Qwen3-32B")
    first, last = model.stage(0, 40), model.stage(40, 64)
    assert model.parameters == first.parameters + last.parameters
    assert first.embedding_parameters == 777_912_320


def test_equal_layers_are_changed_once() -> None:
    """Layers that are one object stay one, those for multi-token prediction are changed too."""
    model = load("deepseek-ai/DeepSeek-V3")
    asked: list[object] = []

    def change(layer: Layer, key: object) -> Layer:
        asked.append(key)
        return replace(layer, formats=(("mlp.gate.weight", "fp32"),))

    changed = model.map_layers(change)
    assert asked == [None] * 3  # dense, sparse, and the one behind them
    assert len({id(layer) for layer in changed.layers}) == 2
    assert changed.mtp[0].formats
    keys = [index == 0 for index in range(len(model.layers) + len(model.mtp))]
    assert len({id(layer) for layer in model.map_layers(change, keys).layers}) == 3
    with pytest.raises(ValueError, match="shorter"):
        model.map_layers(change, keys[:-1])


def test_qwen2_windows_begin_at_max_window_layers() -> None:
    """Only layers from max_window_layers on have the window, and only if it is used."""
    fields = dict(source("Qwen/Qwen2.5-0.5B").fields)
    fields |= {"use_sliding_window": True, "sliding_window": 100, "max_window_layers": 20}
    model = read(fields)
    lengths = [tensor.shape[2] * tensor.layers for tensor in model.cache(1, 1000)]
    assert lengths == [1000 * 20, 1000 * 20, 100 * 4, 100 * 4]


@pytest.mark.parametrize(
    ("scaling", "positions"),
    [
        (None, 40_960),
        ({"rope_theta": 1e6}, 40_960),
        ({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}, 40_960),
        ({"rope_type": "linear", "factor": 2}, 81_920),
        ({"type": "dynamic", "factor": 2.0}, 81_920),
        ({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32_768}, 131_072),
        ({"rope_type": "longrope", "original_max_position_embeddings": 4096}, 45_056),
    ],
)
def test_scaling_decides_how_many_positions_are_tabulated(
    scaling: dict[str, object] | None, positions: int
) -> None:
    """Of Qwen3-32B's 40,960 positions; vLLM's table of sines and cosines has a row for each."""
    fields = {**source("Qwen/Qwen3-32B").fields, "rope_scaling": scaling}
    assert read(fields).rotary_positions == positions
