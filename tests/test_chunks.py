"""Chunked attention and the streams beside the stream: Llama 4, Gemma 3n and 4."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memcalc import serve
from memcalc.errors import MemcalcError
from memcalc.files.readers import read

PUBLIC = json.loads((Path(__file__).parent / "recorded" / "models.json").read_text(encoding="utf-8"))[
    "models"
]
SCOUT = PUBLIC["meta-llama/Llama-4-Scout-17B-16E-Instruct, text"]["config"]
CHUNKED, FULL, TOKEN = 36, 12, 2 * 2 * 8 * 128  # layers, and bytes of a token in one


@pytest.fixture
def scout(tmp_path):
    """Llama 4 Scout's text model as a file."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(SCOUT), encoding="utf-8")
    return path


def test_scout_has_its_published_size():
    """17B active of 109B with its tower (ai.meta.com/blog/llama-4-multimodal-intelligence, 2025-04)."""
    model = read(SCOUT)
    assert (model.parameters, model.active_parameters) == (107_769_861_120, 17_172_894_720)


@pytest.mark.parametrize(
    ("engine", "tokens"),
    [
        ("transformers", 8191),
        ("vllm", 8192 + 2 * 2048),
    ],  # a window less the current token; a chunk, two passes
)
def test_layers_with_chunks_keep_so_many_tokens(scout, engine, tokens):
    options = {"max_num_batched_tokens": 2048} if engine == "vllm" else {}
    served = serve(scout, context=65_536, engine=engine, engine_options=options)
    assert served.device.components["kv_cache"] == TOKEN * (FULL * 65_536 + CHUNKED * tokens)


def test_older_and_other_engines_refuse_chunks(scout):
    for engine, version in (("vllm", "0.22"), ("vllm-ascend", None), ("mindie", None)):
        with pytest.raises(MemcalcError, match=r"chunk|window"):
            serve(scout, context=4096, engine=engine, engine_version=version)


@pytest.mark.parametrize("release", ["0.9.2", "0.10.2", "0.13"])
def test_chunks_keep_all_tokens_where_vllm_has_no_pages_for_them(scout, release):
    """None before vllm-project/vllm#19351 (0.10.0), and off by default from #21761 (0.10.1) to 0.13."""
    served = serve(scout, context=65_536, engine="vllm", engine_version=release)
    assert served.device.components["kv_cache"] == TOKEN * (FULL + CHUNKED) * 65_536
    with pytest.raises(MemcalcError, match="chunk"):
        serve(scout, context=65_536, engine="vllm", engine_version="0.10.0")


def test_transformers_gives_every_expert_every_token(scout):
    """As the class does: 16 of them instead of the one that a token is routed to."""
    (line,) = (
        line
        for line in serve(scout, context=1000).device.lines
        if line.component == "activations" and line.name.startswith("widest part")
    )
    assert line.count == 1000 * (4 * 5120 + 2 * 16 * 5120 + 3 * 16 * 8192 + 16)


@pytest.mark.parametrize("vision", [{}, {"vision_config": None}])
def test_llama_4_without_a_stated_tower_has_that_of_its_class(vision):
    """As Llama4ForConditionalGeneration builds it in transformers 5.23; the class for text alone has none."""
    config = {"model_type": "llama4", "text_config": SCOUT, **vision}
    found = read(config)
    assert found.parameters == read(SCOUT).parameters
    assert found.vision_parameters == 455_178_240
    assert "vision_config: no tower is stated, and its class makes one" in found.class_defaults
    alone = read({**config, "architectures": ["Llama4ForCausalLM"]})
    assert alone.vision_parameters == 0
    assert alone.not_read == ("no vision_config: a tower is not counted",)


def test_inputs_of_each_layer_live_through_a_pass():
    """42 layers, 256 numbers each, 16 bits."""
    lines = serve("google/gemma-4-E4B", context=8192).device.lines
    assert [line.bytes for line in lines if line.name == "inputs of each layer"] == [8192 * 42 * 256 * 2]
    assert not [
        line for line in serve("google/gemma-4-31B", context=8192).device.lines if "inputs of" in line.name
    ]


def test_altup_holds_its_streams():
    """Four streams, three times, of which one is what every model has; each end is on its stage."""
    model = read({"model_type": "gemma3n_text"})
    assert model.parameters == 6_835_235_568
    first, last = model.stage(0, 20), model.stage(20, 35)
    assert sum(each.parameters for each in (first, last)) == model.parameters + model.embedding_parameters
    names = [{name for name, _ in stage.outside} for stage in (first, last)]
    assert ["model.altup_projections.2" in each for each in names] == [True, False]
    assert ["model.altup_unembed_projections.2" in each for each in names] == [False, True]
