"""Serving plans against published measurements, and the machines of the notes."""

from __future__ import annotations

import pytest

from memcalc.serving import plan

GIB, MIB = 2**30, 2**20

# QwenLM/Qwen3, docs/source/getting_started/speed_benchmark.md (H20 96 GB, transformers 4.51.3), MiB
QWEN3_32B_BF16 = [(6144, 64_583), (14_336, 66_632), (30_720, 70_728)]


@pytest.mark.parametrize(("prompt", "measured"), QWEN3_32B_BF16)
def test_qwens_table_at_the_moment_decode(prompt: int, measured: int) -> None:
    """All three rows lie within 0.1 GiB of weights and cache after 2,048 generated tokens."""
    (pool,) = plan("Qwen/Qwen3-32B", context=prompt + 2048, prompt=prompt, on="h20-96g").budget.pools
    assert abs(pool.at("decode") - measured * MIB) <= 0.1 * GIB


# llm-d-incubation/llm-d-planner, docs/empirical-vllm-memory-results.md (H100 80 GB, utilization 0.9)
VLLM_WEIGHTS = [("Qwen/Qwen3-0.6B", 1, 1.12), ("Qwen/Qwen3-32B", 1, 61.03), ("Qwen/Qwen3-32B", 2, 30.59)]


@pytest.mark.parametrize(("name", "tp", "measured"), VLLM_WEIGHTS)
def test_vllm_weights_a_rank(name: str, tp: int, measured: float) -> None:
    """Weights a rank: within 0.3 %, beside the 0.005 GiB to which the log rounds."""
    (pool,) = plan(name, context=128, tp=tp, engine_name="vllm").budget.pools
    assert abs(pool.at("load") - measured * GIB) <= 0.003 * measured * GIB + 0.005 * GIB


@pytest.mark.parametrize(("name", "tp"), [("Qwen/Qwen3-32B", 1), ("Qwen/Qwen3-32B", 2)])
def test_vllm_ranges_hold_rows_that_did_not_set_them(name: str, tp: int) -> None:
    """Activation peak (5.64 GiB) and non-torch memory of the 32B rows lie in ranges set by other rows."""
    (pool,) = plan(name, context=128, tp=tp, engine_name="vllm").budget.pools
    peak = next(line for line in pool.lines if line.component == "activations")
    runtime = next(line for line in pool.lines if line.component == "runtime")
    assert peak.least_bytes <= 5.64 * GIB <= peak.most_bytes
    assert runtime.least_bytes <= {1: 0.14, 2: 0.54}[tp] * GIB <= runtime.most_bytes


@pytest.mark.parametrize(
    "machine", ["rtx-pro-6000-blackwell", "2x rtx-a6000", "2x rtx-a6000-ecc", "2x ascend-910b-64g"]
)
@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_qwen3_32b_fits(machine: str, engine: str) -> None:
    """The notes' 96 GB machines, and two NPUs, hold Qwen3-32B in BF16; the limits are limits."""
    serving = plan("Qwen/Qwen3-32B", context=8192, on=machine, engine_name=engine)
    assert serving.budget.fits
    context, batch = serving.max_context, serving.max_batch
    assert context is not None
    assert batch is not None
    assert serving.fits(1, context)
    assert not serving.fits(1, context + 16)
    assert not serving.fits(batch + 1, 8192)


def test_one_npu_is_too_small_by_a_hair() -> None:
    """61.02 GiB of weights do not go into 60.97 GiB, whatever the utilization."""
    serving = plan("Qwen/Qwen3-32B", context=1, on="ascend-910b-64g", utilization=1.0)
    (pool,) = serving.budget.pools
    assert serving.budget.fits is False
    assert pool.capacity_bytes is not None
    assert 0 < pool.at("load") - pool.capacity_bytes < 0.1 * GIB


def test_components_add_up() -> None:
    """The components of the fullest moment are the total, and so are its lines."""
    (pool,) = plan("deepseek-ai/DeepSeek-V3", context=4096, batch=3, tp=8, engine_name="vllm").budget.pools
    assert sum(pool.components.values()) == pool.total_bytes
    assert pool.low_bytes <= pool.total_bytes <= pool.high_bytes


def test_kv_heads_are_replicated_beyond_their_number() -> None:
    """Qwen3-235B has 4 KV heads: a rank of 8 holds as much cache as a rank of 4."""
    sizes = [
        plan("Qwen/Qwen3-235B-A22B", context=32_768, tp=tp, engine_name="vllm")
        .budget.pools[0]
        .components["kv_cache"]
        for tp in (1, 2, 4, 8)
    ]
    assert [sizes[0], sizes[0] // 2, sizes[0] // 4, sizes[0] // 4] == sizes


def test_pipeline_stages_are_sized_by_the_fullest() -> None:
    """The last of two stages holds the head, so it is the fullest one."""
    (pool,) = plan("Qwen/Qwen3-32B", context=128, pp=2).budget.pools
    assert pool.at("load") == 2 * (32 * (94_371_840 + 393_216_000 + 256 + 2 * 5120) + 777_912_320 + 5120)
