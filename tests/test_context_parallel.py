"""Decode context parallelism: ranks that hold copies of a cache share its tokens instead."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from memcalc.errors import MemcalcError
from memcalc.files.sources import source
from memcalc.serving import serve
from memcalc.serving.stage import pool_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from memcalc.serving import ServingEstimate

NEW = {"engine": "vllm", "engine_version": "0.28"}
DEEPSEEK, SPARSE, QWEN = "deepseek-ai/DeepSeek-V3", "deepseek-ai/DeepSeek-V3.2", "Qwen/Qwen3-30B-A3B"


def taken(served: ServingEstimate, tokens: int) -> int:
    """Bytes of a pool that one sequence takes on the fullest device."""
    (stage,) = served.stages
    return pool_bytes(served.plan, stage.rank, tokens)


def test_latents_are_divided() -> None:
    """Eight ranks hold an eighth of the tokens each, in whole blocks."""
    alone, shared = (serve(DEEPSEEK, context=4096, tp=8, dcp=dcp, **NEW) for dcp in (1, 8))  # type: ignore[arg-type]
    assert taken(alone, 4096) == 8 * taken(shared, 4096) == 4096 * 70_272
    assert taken(shared, 4097) == (512 + 16) * 70_272
    assert shared.device.components["kv_cache"] == 512 * 70_272
    assert shared.cache_bytes == alone.cache_bytes


def test_what_was_printed_of_kimi() -> None:
    """715,136 tokens in 46.80 GiB a rank, 5,721,088 where eight ranks share them: vllm recipes."""
    kimi = "moonshotai/Kimi-K2-Instruct"
    alone, shared = (serve(kimi, context=4096, tp=8, dcp=dcp, **NEW) for dcp in (1, 8))  # type: ignore[arg-type]
    assert taken(alone, 715_136) == taken(shared, 5_721_088) == 715_136 * 70_272
    assert f"{taken(shared, 5_721_088) / 2**30:.2f}" == "46.80"


def test_the_indexers_keys_are_not() -> None:
    """They are whole on every rank: 61 x (656 / 2 + 132) B a token in fp8_ds_mla."""
    served = serve(SPARSE, context=4096, tp=8, dcp=2, kv="fp8", **NEW)  # type: ignore[arg-type]
    assert taken(served, 4096) == 61 * 4096 * (656 // 2 + 132)


def test_what_was_printed_of_glm(tmp_path: Path) -> None:
    """2,292,288 tokens on a rank, 4,252,416 with two that share them: sgl-project/sglang#31821.

    Of GLM-5.2's 78 layers 21 have an indexer; plain fp8. What communicators take is not in the law.
    """
    fields = {
        **source("zai-org/GLM-5-FP8").fields,
        "indexer_types": ["full"] * 3 + (["shared"] * 3 + ["full"]) * 18 + ["shared"] * 3,
    }
    (tmp_path / "config.json").write_text(json.dumps(fields))
    plan = {"engine": "sglang", "kv": "fp8", "engine_options": {"plain_fp8": True}, "tp": 8}
    alone, shared = (serve(tmp_path, context=4096, dcp=dcp, **plan) for dcp in (1, 2))  # type: ignore[arg-type]
    pool = 2_292_288 * taken(alone, 2**20) // 2**20
    assert taken(alone, 2**20) == 2**20 * (78 * 576 + 21 * 132)
    assert pool * 2**20 // taken(shared, 2**20) == pytest.approx(4_252_416, rel=0.02)


def test_copies_of_heads_are_shared() -> None:
    """Four KV heads on eight ranks are held twice: two ranks share the tokens of one."""
    alone, shared = (serve(QWEN, context=4096, tp=8, dcp=dcp, **NEW) for dcp in (1, 2))  # type: ignore[arg-type]
    assert taken(alone, 4096) == 2 * taken(shared, 4096)


def test_the_pool_holds_as_many_tokens_more() -> None:
    plan = {"context": 4096, "tp": 8, "on": "8x h200-141g", **NEW}
    alone, shared = (serve(DEEPSEEK, dcp=dcp, **plan) for dcp in (None, 8))  # type: ignore[arg-type]
    assert alone.kv_pool is not None
    assert shared.kv_pool is not None
    assert 0 <= shared.kv_pool.tokens - 8 * alone.kv_pool.tokens < 8 * 16
    longest = shared.max_context
    assert longest is not None
    assert shared.search.fits(1, longest)
    assert not shared.search.fits(1, longest + 8 * 16)


def test_a_sweep_is_its_plans() -> None:
    contexts = np.array([1, 4095, 70_001])
    swept = serve(SPARSE, context=contexts, batch=3, tp=8, dcp=4, draft="mtp", **NEW)  # type: ignore[arg-type]
    for context, total in zip(contexts, swept.device.total_bytes, strict=True):
        one = serve(SPARSE, context=int(context), batch=3, tp=8, dcp=4, draft="mtp", **NEW)  # type: ignore[arg-type]
        assert one.device.total_bytes == total


def test_the_draft_is_shared_with_vllm_and_whole_with_sglang() -> None:
    for engine, version, tokens in (("vllm", "0.28", 512), ("sglang", "0.5.18", 4096)):
        served = serve(
            DEEPSEEK, context=4096, tp=8, dcp=8, draft="mtp", engine=engine, engine_version=version
        )
        lines = [line for line in served.device.lines if line.name.startswith("draft KV cache")]
        assert sum(line.bytes for line in lines) == tokens * 1152


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (DEEPSEEK, {"tp": 8, "dcp": 3, **NEW}, "--dcp: expected a divisor of --tp 8, given 3"),
        (QWEN, {"tp": 8, "dcp": 4, **NEW}, "a divisor of the copies of each KV head on 8 ranks, 2"),
        (QWEN, {"tp": 4, "dcp": 2, **NEW}, "raise --tp"),
        (QWEN, {"tp": 8, "dcp": 2, "engine": "sglang"}, "sglang shares latents alone"),
        (DEEPSEEK, {"tp": 8, "dcp": 2}, "vllm and sglang have it"),
        (
            DEEPSEEK,
            {"tp": 8, "dcp": 2, "engine": "vllm", "engine_version": "0.9"},
            "0.10 or newer with --dcp",
        ),
        ("openai/gpt-oss-20b", {"tp": 16, "dcp": 2, **NEW}, "without sliding windows"),
    ],
)
def test_what_is_refused(model: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(MemcalcError, match=words):
        serve(model, context=4096, **options)  # type: ignore[arg-type]
