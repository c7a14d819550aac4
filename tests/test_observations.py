"""The record of measured rows, and the pool that engines take in advance; see also test_scoreboard.py."""

from __future__ import annotations

import json

import pytest

from memcalc.__main__ import main
from memcalc.evidence import records
from memcalc.evidence.inference import CHECKS, REASONS, Observation, left_out, observations
from memcalc.evidence.records import GRADES, ROLES, LeftOut, entry, left_out_checks
from memcalc.evidence.training import TRAINING_REASONS
from memcalc.files.api import model as load_model
from memcalc.ledger.formats import tensor_bytes
from memcalc.serving import serve
from memcalc.serving.parallelism import ServingParallelism

GIB = 2**30
KIMI = load_model("moonshotai/Kimi-K2-Instruct")  # its config has the widths of Kimi-K2-Thinking's
PRINTED = 0.005 * GIB  # logs print two decimals


def test_every_row_says_where_it_comes_from():
    rows = observations()
    assert len({row.id for row in rows}) == len(rows)
    assert {row.role for row in rows} == set(ROLES)
    assert {row.grade for row in rows} == set(GRADES)


@pytest.mark.parametrize(
    "broken",
    [
        *({field: missing} for field in ("source", "date", "role", "grade") for missing in (None, "")),
        {"role": "both"},
        {"value_bytes": None},
        {"value": 1},
    ],
    ids=str,
)
def test_a_row_without_a_source_does_not_load(broken):
    (row, *_) = observations()
    fields = {**row._asdict(), **broken}
    stored = {name: value for name, value in fields.items() if value is not None}
    with pytest.raises(TypeError, match=next(iter(broken))):
        entry(Observation, stored, CHECKS)


def test_what_is_loaded_is_checked(monkeypatch):
    """One broken entry of a file is enough."""
    stored = [{**observations()[0]._asdict(), "date": ""}]
    monkeypatch.setattr(records, "read_record", lambda _file, _part: stored)
    with pytest.raises(TypeError, match="needs its date"):
        observations()


def test_what_is_left_out_is_counted_once_with_its_reason():
    entries = left_out()
    assert len({(one.source, one.what) for one in entries}) == len(entries)
    assert {one.reason for one in entries} == set(REASONS)


@pytest.mark.parametrize(
    "broken",
    [{"source": "a thread"}, {"what": ""}, {"rows": 0}, {"rows": True}, {"rows": "2"}, {"reason": "other"}],
    ids=str,
)
@pytest.mark.parametrize("reasons", [REASONS, TRAINING_REASONS], ids=["serving", "training"])
def test_what_is_left_out_without_a_reason_does_not_load(broken, reasons):
    stored = {"source": "https://x", "what": "a run", "rows": 1, "reason": "again", **broken}
    with pytest.raises(TypeError, match=f"needs its {next(iter(broken))}"):
        entry(LeftOut, stored, left_out_checks(reasons))


def test_what_an_expert_and_a_token_of_kimi_k2_5_cost_on_the_gpu():
    """4 more experts of each layer and 32,768 more tokens: 8.25 GB derived, 8 between two rounded figures."""
    few, many = observations(model="moonshotai/Kimi-K2.5")
    longer = [serve(few.model, context=row.context) for row in (few, many)]
    expert = next(w for w in longer[0].model.weights() if w.kind == "expert").experts
    experts = sum(
        tensor_bytes(w, longer[0].plan.rule(w)) for w in longer[0].model.weights() if w.kind == "expert"
    )
    derived = 4 * experts // expert + longer[1].cache_bytes - longer[0].cache_bytes
    assert round(derived / 1e9, 2) == 8.25
    assert abs(many.value_bytes - few.value_bytes - derived) <= 10**9


def test_weights_of_deepseek_r1_on_sixteen_npus_are_four_percent_more_than_their_tensors():
    (row,) = observations(id="ascend-deepseek-r1-w8a8-weights")
    share = serve(row.model, context=row.context, weights="w8a8").weights_file_bytes / 16
    assert row.role == "test"
    assert 1.03 < row.value_bytes / share < 1.05


def test_the_file_of_deepseek_r1_in_q4_k_m_has_nearly_five_bits_a_parameter():
    (row,) = observations(quantity="file_bytes")
    assert 4.8 < 8 * row.value_bytes / load_model(row.model).parameters < 4.85


def test_every_rank_holds_the_whole_latent():
    """Kimi-K2-Thinking at TP 8: 70,272 bytes a token on each rank; shared tokens are eight times as many."""
    token = 2 * sum(ServingParallelism(tp=8).on_rank(tensor).count for tensor in KIMI.cache(1, 1))
    (pool,) = observations(id="kimi-k2-thinking-tp8-pool")
    (tokens,) = observations(id="kimi-k2-thinking-tp8-tokens")
    (shared,) = observations(id="kimi-k2-thinking-tp8-dcp8-tokens")
    assert token == 70_272
    assert f"{tokens.value * token / GIB:.2f} GiB" == pool.printed
    assert f"{shared.value // 8 * token / GIB:.2f} GiB" == pool.printed


@pytest.mark.parametrize(
    "row",
    [
        row
        for row in observations(quantity="kv_bytes_per_rank", version="0.11")
        if row.model.startswith("Qwen/Qwen3-")
    ],
    ids=lambda row: row.id,
)
def test_the_pool_is_what_is_left(row):
    """The measured pools lie inside the stated range, and within 0.1 GiB of its typical value."""
    serving = serve(
        row.model, context=128, on=f"{row.tp}x h100-80g", engine="vllm", engine_version=row.version
    )
    assert round(serving.plan.machine.device.capacity_bytes / GIB, 2) == row.visible_gib
    pool = serving.kv_pool
    assert pool.low_bytes - PRINTED <= row.value_bytes <= pool.high_bytes + PRINTED
    assert abs(pool.bytes - row.value_bytes) <= 0.1 * GIB


def test_the_tokens_of_a_pool_are_whole_blocks_that_fit():
    for tp, block in ((1, 16), (2, 16), (2, 128)):
        options = {"block_size": block}
        serving = serve(
            "Qwen/Qwen3-32B", context=1, on=f"{tp}x h100-80g", engine="vllm", engine_options=options
        )
        pool, token = serving.kv_pool, 262_144 // tp
        assert [
            size // (block * token) * block for size in (pool.bytes, pool.low_bytes, pool.high_bytes)
        ] == [pool.tokens, pool.low_tokens, pool.high_tokens]
        assert pool.low_tokens < pool.tokens < pool.high_tokens
        assert pool.tokens == serving.max_context


def test_the_pool_of_unequal_stages_is_the_least_of_them():
    """Three stages of 64 layers: 21, 22 and 21; the middle one has the most cache, the outer ones a table."""
    serving = serve("Qwen/Qwen3-32B", context=1, on="3x h100-80g", pp=3, engine="vllm")
    assert serving.kv_pool.tokens == serving.max_context


def test_the_command_shows_the_pool(capsys):
    asked = ["serve", "Qwen/Qwen3-32B", "--context", "8192", "--on", "1x h100-80g", "--engine"]
    assert main([*asked, "vllm", "--json"]) == 0
    (pool,) = json.loads(capsys.readouterr().out)["pools"]
    assert {"bytes", "tokens", "low_tokens", "high_tokens"} <= set(pool["kv_pool"])
    assert main([*asked, "vllm"]) == 0
    assert f"{pool['kv_pool']['tokens']:,} tokens" in capsys.readouterr().out
    assert main([*asked, "transformers", "--json"]) == 0
    (pool,) = json.loads(capsys.readouterr().out)["pools"]
    assert pool["kv_pool"] is None
