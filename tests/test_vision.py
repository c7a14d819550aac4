"""The vision tower where an engine loads it: the checkpoint's parameters, cut as the engine cuts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from memcalc.errors import MemcalcError
from memcalc.serving import serve
from memcalc.serving.plan import plan_fields

if TYPE_CHECKING:
    from memcalc.ledger.budget import Line
    from memcalc.serving import ServingEstimate

GEMMA, KIMI = "google/gemma-3-27b-it", "moonshotai/Kimi-K2.5"
TOWER = 27_432_406_640 - 27_009_346_304  # medgemma-27b with and without it, as the Hub counts
NEW = {"engine": "vllm", "engine_version": "0.28"}


def line_of(served: ServingEstimate, name: str) -> Line | None:
    """The line of this name; None if there is none."""
    return next((line for line in served.device.lines if line.name == name), None)


def bytes_of(served: ServingEstimate, name: str = "vision tower") -> int:
    """Its bytes."""
    line = line_of(served, name)
    return 0 if line is None else line.bytes


@pytest.mark.parametrize(
    ("engine", "option"),
    [("transformers", "language_model_only"), ("vllm", "language_model_only"), ("sglang", "language_only")],
)
def test_who_loads_it(engine: str, option: str) -> None:
    """In 16 bits, unless the language model alone is asked for.

    google/medgemma-27b-it, model.safetensors.index.json, metadata.total_size.
    """
    with_tower = serve(GEMMA, context=4096, engine=engine)
    assert bytes_of(with_tower) == 2 * TOWER
    assert with_tower.not_loaded_bytes["vision"] == 0
    assert plan_fields(with_tower.plan)["parameters_not_counted"] == 0
    without = serve(GEMMA, context=4096, engine=engine, engine_options={option: True})
    assert bytes_of(without) == 0
    assert without.not_loaded_bytes["vision"] == 2 * TOWER
    assert with_tower.weights_file_bytes == without.weights_file_bytes
    assert without.weights_file_bytes + 2 * TOWER == 54_864_813_280
    assert plan_fields(without.plan)["parameters_not_counted"] == TOWER


def test_ranks_share_it() -> None:
    """Its heads and inner widths are cut; convolution, positions, norms and projection are whole."""
    served = serve(GEMMA, context=4096, tp=4, **NEW)  # type: ignore[arg-type]
    line = line_of(served, "vision tower")
    assert line is not None
    assert line.high == 2 * TOWER
    layer = (
        4 * 1152 * 1152 + 2 * 1152 * 4304 + 3 * 1152 + 4304
    )  # matrices and the biases that are cut with them
    assert line.bytes == 2 * (TOWER - 27 * layer + 27 * layer // 4)


def test_the_first_stage_alone_has_it() -> None:
    served = serve(GEMMA, context=4096, pp=2, **NEW)  # type: ignore[arg-type]
    first, last = served.stages
    assert any(line.name == "vision tower" for line in first.constant)
    assert not any(line.name == "vision tower" for line in last.constant)


def test_the_encoder_cache_holds_a_pass() -> None:
    """`Encoder cache will be initialized with a budget of 8192 tokens`: embeddings as wide as the model."""
    served = serve(GEMMA, context=4096, **NEW)  # type: ignore[arg-type]
    line = line_of(served, "encoder cache")
    assert line is not None
    assert (line.low, line.bytes) == (0, 8192 * 5376 * 2)
    old = serve(GEMMA, context=4096, engine="vllm", engine_version="0.7")
    assert (bytes_of(old), line_of(old, "encoder cache")) == (2 * TOWER, None)
    assert line_of(serve("Qwen/Qwen3-8B", context=4096, **NEW), "encoder cache") is None  # type: ignore[arg-type]


def test_llama_cpp_has_it_in_a_file_of_its_own() -> None:
    """Named, it is loaded: f16, and f32 for what has one axis; or as it was printed (llama.cpp#21489)."""
    plain = serve(GEMMA, context=4096, weights="Q4_K_M")
    assert bytes_of(plain) == 0
    named = serve(GEMMA, context=4096, weights="Q4_K_M", engine_options={"mmproj": True})
    assert 2 * TOWER < bytes_of(named) < 2 * TOWER * 1.01
    printed = serve("Qwen/Qwen3-8B", context=4096, weights="Q4_K_M", engine_options={"mmproj_mib": 2448})
    assert bytes_of(printed, "vision tower, as it was printed") == 2448 * 2**20
    with pytest.raises(MemcalcError, match="mmproj_mib=N"):
        serve("Qwen/Qwen3-8B", context=4096, weights="Q4_K_M", engine_options={"mmproj": True})


def test_ktransformers_has_it_as_before() -> None:
    served = serve(KIMI, context=4096, engine="ktransformers")
    assert bytes_of(served) == 2 * 471_143_920


def test_the_pool_is_smaller_by_it() -> None:
    plan = {"context": 4096, "on": "1x h200-141g", **NEW}
    with_tower = serve(GEMMA, **plan)  # type: ignore[arg-type]
    without = serve(GEMMA, engine_options={"language_model_only": True}, **plan)  # type: ignore[arg-type]
    assert with_tower.kv_pool is not None
    assert without.kv_pool is not None
    assert without.kv_pool.bytes - with_tower.kv_pool.bytes == 2 * TOWER + 8192 * 5376 * 2
