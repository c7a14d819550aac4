"""Measured rows beside what memcalc says: rows that set a constant, and rows that test it."""

from __future__ import annotations

import json

import pytest

from memcalc import observations as module
from memcalc.engines import vllm
from memcalc.formats import FORMATS
from memcalc.observations import observations
from memcalc.serving import plan

GIB = 2**30
PRINTED = 0.005 * GIB  # logs print two decimals


def test_every_row_has_source_and_date():
    rows = observations()
    assert len({row.id for row in rows}) == len(rows)
    assert all(row.source.startswith("https://") and row.date for row in rows)
    assert {row.role for row in rows} == {"calibration", "test"}


def test_a_row_without_a_source_does_not_load(monkeypatch, tmp_path):
    (row, *_) = observations()
    fields = {name: value for name, value in row._asdict().items() if name != "source"}
    path = tmp_path / "observations.json"
    path.write_text(json.dumps([fields]))
    monkeypatch.setattr(module, "open_text", lambda _name: path.open())
    with pytest.raises(TypeError, match="source"):
        observations()


@pytest.mark.parametrize(
    "row", observations(model="Qwen/Qwen3-32B", engine="transformers"), ids=lambda r: r.id
)
def test_qwens_table_at_the_moment_decode(row):
    (pool,) = plan(row.model, context=row.context, prompt=row.prompt, on="h20-96g").budget.pools
    assert abs(pool.at(row.moment) - row.value_bytes) <= 0.1 * GIB


@pytest.mark.parametrize("row", observations(model="Qwen/Qwen2.5-0.5B"), ids=lambda r: r.id)
def test_qwen25_rows_at_their_peak(row):
    """The peak of both moments: the rows are published as a peak, and set the law 3f + 4h."""
    (pool,) = plan(row.model, context=row.context, prompt=row.prompt).budget.pools
    assert 0 <= row.value_bytes - max(pool.moments.values()) <= 0.1 * GIB


@pytest.mark.parametrize("row", observations(what="weights_bytes_per_rank"), ids=lambda row: row.id)
def test_vllm_weights_a_rank(row):
    (pool,) = plan(row.model, context=128, tp=row.tp, engine_name="vllm").budget.pools
    assert abs(pool.at("load") - row.value_bytes) <= 0.003 * row.value_bytes + PRINTED


def test_the_activation_peak_is_set_by_two_rows_and_holds_the_others():
    vocabulary = {"Qwen/Qwen3-0.6B": 151_936, "meta-llama/Llama-3.3-70B-Instruct": 128_256}
    setting = observations(what="activation_peak_bytes", role="calibration")
    each = sorted(row.value_bytes / (1024 * vocabulary[row.model]) for row in setting)
    assert [round(number, 2) for number in each] == [vllm.PEAK_LOW, vllm.PEAK_HIGH]
    others = observations(what="activation_peak_bytes", role="test")
    assert len(others) == 2
    for row in others:
        (pool,) = plan(row.model, context=128, tp=row.tp, engine_name="vllm").budget.pools
        (line,) = (line for line in pool.lines if line.component == "activations")
        assert line.least_bytes <= row.value_bytes <= line.most_bytes


def test_non_torch_memory_of_one_device_is_set_by_two_rows_and_holds_the_others():
    low, high = (row.value_bytes for row in observations(what="non_torch_bytes", role="calibration"))
    for row in observations(what="non_torch_bytes", role="test"):
        (pool,) = plan(row.model, context=128, tp=row.tp, engine_name="vllm").budget.pools
        (line,) = (line for line in pool.lines if line.component == "runtime")
        assert line.least_bytes <= row.value_bytes <= line.most_bytes
        if row.tp == 1:
            assert abs(line.least_bytes - low) <= 1
            assert abs(line.most_bytes - high) <= 1


@pytest.mark.parametrize(
    "row", observations(what="kv_bytes_per_rank", version="0.11"), ids=lambda row: row.id
)
def test_the_pool_is_what_is_left(row):
    """The measured pools of this version lie inside the range that the plan states."""
    serving = plan(row.model, context=128, on=f"{row.tp}x h100-80g", engine_name="vllm")
    assert serving.kv_pool.low_bytes - PRINTED <= row.value_bytes <= serving.kv_pool.high_bytes + PRINTED


def test_bytes_a_token_of_the_pool_are_exact():
    """Tokens in whole blocks times the derived bytes of a token print as the measured pool does."""
    for run in ("v10517-20k", "v10517-29k"):
        (tokens,) = (row for row in observations(what="kv_tokens") if row.id.startswith(run))
        (pool,) = (row for row in observations(what="kv_bytes_per_rank") if row.id.startswith(run))
        size = plan(tokens.model, context=tokens.value, engine_name="vllm").cache_bytes
        assert size == 131_072 * tokens.value
        assert f"{size / GIB:.2f} GiB" == pool.printed


def test_the_72b_rows_carry_a_residual_that_nothing_here_explains():
    """Qwen2.5-72B GPTQ-Int4 on one A100: 0.4 to 0.6 GiB above the derived peak, at both lengths."""
    for row in observations(model="Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4"):
        if row.hardware.startswith("1 x"):
            (pool,) = plan(row.model, context=row.context, prompt=row.prompt).budget.pools
            assert 0.4 * GIB <= row.value_bytes - max(pool.moments.values()) <= 0.6 * GIB
    assert FORMATS["gptq-int4-g128"].index_bits == 32
