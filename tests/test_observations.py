"""Measured rows beside what memcalc says: rows that set a constant, and rows that test it."""

from __future__ import annotations

import json
from statistics import mean

import pytest

from memcalc import observations as module
from memcalc.__main__ import main
from memcalc.engines import transformers, vllm
from memcalc.formats import FORMATS
from memcalc.observations import observations
from memcalc.parts import GQA
from memcalc.serving import plan
from memcalc.sources import load_model
from memcalc.split import Split

GIB, MIB = 2**30, 2**20
KIMI = load_model("moonshotai/Kimi-K2-Instruct")  # its config has the widths of Kimi-K2-Thinking's
PRINTED = 0.005 * GIB  # logs print two decimals

# PyPI package litgpt 0.5.13, litgpt/config.py, in the field names of transformers
QWEN25 = {"model_type": "qwen2", "vocab_size": 152_064, "tie_word_embeddings": False}
SHAPES = {
    "Qwen/Qwen2.5-7B": {"num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4}
    | {"hidden_size": 3584, "intermediate_size": 18_944},
    "Qwen/Qwen2.5-32B": {"num_hidden_layers": 64, "num_attention_heads": 40, "num_key_value_heads": 8}
    | {"hidden_size": 5120, "intermediate_size": 27_648},
}


@pytest.fixture
def pool(tmp_path):
    """The pool of one device in the plan that a row was measured with."""

    def found(row):
        source = row.model
        if source in SHAPES:
            source = tmp_path / "config.json"
            source.write_text(json.dumps(QWEN25 | SHAPES[row.model]))
        (one,) = plan(
            str(source), context=row.context, prompt=row.prompt, tp=row.tp, engine_name=row.engine
        ).budget.pools
        return one

    return found


@pytest.fixture
def residual(pool):
    """Measured bytes less what memcalc says of the row's moment, the runtime left out."""

    def found(row):
        moments = pool(row).moments
        return row.value_bytes - (max(moments.values()) if row.moment == "peak" else moments[row.moment])

    return found


def line_of(pool, component):
    (line,) = (line for line in pool.lines if line.component == component)
    return line


def test_every_row_says_where_it_comes_from():
    rows = observations()
    assert len({row.id for row in rows}) == len(rows)
    assert {row.role for row in rows} == set(module.ROLES)
    assert {row.grade for row in rows} == set(module.GRADES)


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
def test_a_row_without_a_source_does_not_load(monkeypatch, tmp_path, broken):
    (row, *_) = observations()
    fields = {**row._asdict(), **broken}
    path = tmp_path / "observations.json"
    path.write_text(json.dumps([{name: value for name, value in fields.items() if value is not None}]))
    monkeypatch.setattr(module, "open_text", lambda _name: path.open())
    with pytest.raises(TypeError, match=next(iter(broken))):
        observations()


@pytest.mark.parametrize("row", observations(engine="transformers", version="4.51.3"), ids=lambda row: row.id)
def test_qwens_table_at_the_moment_decode(row, residual):
    """Weights, cache of prompt and 2,048 answered tokens, last logits: 32 to 46 MiB are left in six rows."""
    assert row.role == "test"
    assert transformers.ROUNDING_LOW * MIB <= residual(row) <= transformers.ROUNDING_HIGH * MIB < 0.1 * GIB


def test_rounding_and_workspaces_are_set_by_eight_rows(residual):
    """Least, mean and most of what Qwen2.5's table shows beside the peak for 0.5B and 7B."""
    rows = observations(engine="transformers", role="calibration")
    beside = [residual(row) / MIB for row in rows if "GPTQ" not in row.model]
    constants = [transformers.ROUNDING_LOW, transformers.ROUNDING, transformers.ROUNDING_HIGH]
    assert len(beside) == 8
    assert [round(number) for number in (min(beside), mean(beside), max(beside))] == constants


@pytest.mark.parametrize("row", observations(model="Qwen/Qwen2.5-32B"), ids=lambda row: row.id)
def test_the_law_of_the_prefill_peak_holds_for_rows_that_did_not_set_it(row, residual):
    """8 to 53 MiB are left, beside a peak of which weights and cache explain up to 5.4 GiB less."""
    assert row.role == "test"
    assert 0 <= residual(row) <= transformers.ROUNDING_HIGH * MIB


@pytest.mark.parametrize(
    "row", observations(model="Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4"), ids=lambda row: row.id
)
def test_the_72b_rows_carry_a_residual_that_nothing_here_explains(row, residual):
    """GPTQ-Int4 on one A100: 479 MiB above the derived peak, at both lengths; on two GPUs more."""
    if row.hardware.startswith("1 x"):
        assert transformers.QUANTISED_HIGH - 1 <= residual(row) / MIB < transformers.QUANTISED_HIGH + 1
    else:
        assert residual(row) > 0.6 * GIB
    assert FORMATS["gptq-int4-g128"].index_bits == 32


@pytest.mark.parametrize("row", observations(what="weights_bytes_per_rank"), ids=lambda row: row.id)
def test_vllm_weights_a_rank(row, pool):
    """Within 0.3 %; on one rank within two printed decimals, on two 69 MiB that nothing here explains."""
    off = abs(pool(row).at("load") - row.value_bytes)
    assert off <= 0.003 * row.value_bytes
    assert off <= (1.5 * PRINTED if row.tp == 1 else 70 * MIB)


def test_the_activation_peak_is_set_by_two_rows_and_holds_the_others(pool):
    vocabulary = {"Qwen/Qwen3-0.6B": 151_936, "meta-llama/Llama-3.3-70B-Instruct": 128_256}
    setting = observations(what="activation_peak_bytes", role="calibration", version="0.11")
    each = sorted(row.value_bytes / (1024 * vocabulary[row.model]) for row in setting)
    assert [round(number, 2) for number in each] == [vllm.PEAK_LOW, vllm.PEAK_HIGH]
    others = observations(what="activation_peak_bytes", role="test", version="0.11")
    assert [row.tp for row in others] == [1, 2]
    for row in others:
        line = line_of(pool(row), "activations")
        assert line.least_bytes <= row.value_bytes <= line.most_bytes


def test_a_small_card_has_the_same_bytes_an_entry():
    """RTX 4060, vLLM 0.7: 256 sequences instead of 1,024, and a quarter of the peak."""
    (row,) = observations(id="v13882-activation-peak")
    entries = 256 * 152_064
    low, high = entries * vllm.PEAK_LOW, entries * vllm.PEAK_HIGH
    assert row.role == "test"
    assert low - PRINTED <= row.value_bytes <= high + PRINTED


@pytest.mark.parametrize("row", observations(what="activation_peak_bytes", hardware="1 x RTX 3090"))
def test_many_tokens_a_pass_outweigh_the_logits(row):
    """Three inner and three outer widths a token, without chunked prefill: 0.01 GiB are left."""
    options = {"max_num_seqs": "256", "max_num_batched_tokens": str(row.context)}
    (one,) = plan(row.model, context=128, engine_name="vllm", engine_options=options).budget.pools
    assert abs(line_of(one, "activations").bytes - row.value_bytes) <= 2 * PRINTED + 0.001 * GIB


def test_memory_outside_the_allocator_is_set_by_the_least_the_newest_and_the_most(pool):
    """On several devices no lower row is known: the least is one device's, and a communicator beside it."""
    rows = {
        tp: sorted(row.value_bytes for row in observations(what="non_torch_bytes", role="calibration", tp=tp))
        for tp in (1, 2)
    }
    assert [round(size / GIB, 2) for size in rows[1]] == list(vllm.ALONE)
    assert [round(size / GIB, 2) for size in rows[2]] == list(vllm.TOGETHER[1:])
    assert vllm.TOGETHER[0] == vllm.ALONE[0]
    for row in observations(what="non_torch_bytes"):
        if row.version == "0.11":
            line = line_of(pool(row), "runtime")
            assert line.least_bytes <= row.value_bytes <= line.most_bytes


@pytest.mark.parametrize("run", ["lld-qwen3-06b", "lld-qwen3-32b-tp1", "lld-qwen3-32b-tp2"])
def test_the_law_of_the_pool_closes_on_printed_figures_alone(run):
    """Utilization x visible = weights + activation peak + non-torch + pool, to the printed 0.01 GiB."""
    rows = {row.what: row for row in observations(version="0.11") if row.id.startswith(run)}
    (share,) = {row.utilization * row.visible_gib * GIB for row in rows.values()}
    assert len(rows) == 4
    assert abs(share - sum(row.value_bytes for row in rows.values())) <= 2 * PRINTED


@pytest.mark.parametrize(
    "row",
    [row for row in observations(what="kv_bytes_per_rank", version="0.11") if row.model.startswith("Qwen")],
    ids=lambda row: row.id,
)
def test_the_pool_is_what_is_left(row):
    """The measured pools lie inside the stated range, and within 0.1 GiB of its typical value."""
    serving = plan(row.model, context=128, on=f"{row.tp}x h100-80g", engine_name="vllm")
    assert round(serving.machine.device.capacity_bytes / GIB, 2) == row.visible_gib
    pool = serving.kv_pool
    assert pool.low_bytes - PRINTED <= row.value_bytes <= pool.high_bytes + PRINTED
    assert abs(pool.bytes - row.value_bytes) <= 0.1 * GIB


def test_bytes_a_token_of_the_pool_are_exact():
    """Tokens in whole blocks times the derived bytes of a token print as the measured pool does."""
    mistral = 40 * sum(part.count for part in GQA(5120, 32, 8, 128).cache(1, 1, lambda n, _window: n))
    for run in ("v10517-20k", "v10517-29k", "lld-mistral-small32"):
        (tokens,) = (row for row in observations(what="kv_tokens") if row.id.startswith(run))
        (pool,) = (row for row in observations(what="kv_bytes_per_rank") if row.id.startswith(run))
        if run.startswith("lld"):
            size = 2 * mistral * tokens.value
        else:
            size = plan(tokens.model, context=tokens.value, engine_name="vllm").cache_bytes
        assert tokens.value % tokens.block_size == 0
        assert f"{size / GIB:.2f} GiB" == pool.printed


def test_every_rank_holds_the_whole_latent():
    """Kimi-K2-Thinking at TP 8: 70,272 bytes a token on each rank; shared tokens are eight times as many."""
    token = 2 * sum(Split(tp=8).on_rank(tensor).count for tensor in KIMI.cache(1, 1))
    (pool,) = observations(id="kimi-k2-thinking-tp8-pool")
    (tokens,) = observations(id="kimi-k2-thinking-tp8-tokens")
    (shared,) = observations(id="kimi-k2-thinking-tp8-dcp8-tokens")
    assert token == 70_272
    assert f"{tokens.value * token / GIB:.2f} GiB" == pool.printed
    assert f"{shared.value // 8 * token / GIB:.2f} GiB" == pool.printed


def test_the_tokens_of_a_pool_are_whole_blocks_that_fit():
    for tp, block in ((1, 16), (2, 16), (2, 128)):
        options = {"block_size": str(block)}
        serving = plan(
            "Qwen/Qwen3-32B", context=1, on=f"{tp}x h100-80g", engine_name="vllm", engine_options=options
        )
        pool, token = serving.kv_pool, 262_144 // tp
        assert [
            size // (block * token) * block for size in (pool.bytes, pool.low_bytes, pool.high_bytes)
        ] == [
            pool.tokens,
            pool.low_tokens,
            pool.high_tokens,
        ]
        assert pool.low_tokens < pool.tokens < pool.high_tokens
        assert pool.tokens == serving.max_context


def test_the_pool_of_unequal_stages_is_the_least_of_them():
    """Three stages of 64 layers: 21, 22 and 21; the middle one has the most cache, the outer ones a table."""
    serving = plan("Qwen/Qwen3-32B", context=1, on="3x h100-80g", pp=3, engine_name="vllm")
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
