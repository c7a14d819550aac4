"""SGLang's states in slots: a part of the pool, as many as are asked for or as the ratio gives.

Right values: github.com/kvcache-ai/ktransformers/issues/1870 (82 slots and one for padding, 45 layers of 32
heads on a rank: "ssm_state size: 7.29GB"), and sgl-project/sglang's own rules.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memcalc.errors import MemcalcError
from memcalc.serving import serve

RECORDED = json.loads((Path(__file__).parent / "recorded" / "models.json").read_text(encoding="utf-8"))
NEXT = {
    key: value
    for key, value in RECORDED["models"]["Qwen/Qwen3-Next-80B-A3B-Instruct"]["config"].items()
    if key != "layer_types"
}
# the caches of Qwen3.5-397B-A17B: 15 layers of 60 attend, with 2 heads of 256; 64 value heads, 16 key heads
LARGE = {**NEXT, "num_hidden_layers": 60, "linear_num_value_heads": 64, "num_experts": 16}
SLOT = 36 * (3 * 8192 * 2 + 32 * 128 * 128 * 4)  # of Qwen3-Next on one device
TOKEN = 12 * 2 * 2 * 256 * 2


def hybrid(folder, config, **asked):
    """Serve a config of a hybrid with SGLang."""
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return serve(folder, **{"engine": "sglang", **asked})


@pytest.mark.parametrize("engine", ["sglang", "ktransformers"])
def test_82_slots_and_one(tmp_path, engine):
    served = hybrid(
        tmp_path, LARGE, context=4096, tp=2, engine=engine, engine_options={"max_mamba_cache_size": 82}
    )
    sizes = {
        line.name.rpartition(".")[2]: line.bytes for line in served.device.lines if line.component == "state"
    }
    assert sizes["recurrent_state"] == 83 * 45 * 32 * 128 * 128 * 4
    assert f"{sizes['recurrent_state'] / 2**30:.2f}" == "7.29"
    assert sizes["conv_state"] == 83 * 45 * 3 * 12_288 // 2 * 2
    assert f"{sizes['conv_state'] / 2**30:.2f}" == "0.13"
    assert served.device.components["kv_cache"] == 4096 * 15 * 2 * 256 * 2


@pytest.mark.parametrize(
    ("version", "ratio", "spare"), [("0.5.3", 0.2, 0), ("0.5.5", 0.9, 0), ("0.5.23", 0.9, 1)]
)
def test_the_pool_is_split_by_the_ratio(tmp_path, version, ratio, spare):
    """states / tokens = ratio, in whole slots; the slot for padding is charged for since 0.5.19."""
    served = hybrid(tmp_path, NEXT, context=4096, on="1x h200-141g", weights="fp8", engine_version=version)
    pool = served.kv_pool
    parts = round(ratio * 10**6)
    slots = pool.bytes * parts // (10**6 + parts) // SLOT - spare
    assert pool.tokens == (pool.bytes - (slots + spare) * SLOT) // TOKEN
    assert served.max_batch == min(slots // 3, pool.tokens // 4096)
    assert pool.low_tokens < pool.tokens < pool.high_tokens


@pytest.mark.parametrize("hundredths", range(50, 90, 4))
def test_the_range_of_tokens_holds_every_pool_in_it(tmp_path, hundredths):
    """A larger pool with one more slot has fewer tokens: the ends of the range are not those of its bytes."""
    asked = {"context": 4096, "on": "1x h200-141g", "weights": "fp8", "utilization": hundredths / 100}
    served = hybrid(tmp_path, NEXT, **asked)
    pool, (one,) = served.kv_pool, served.search.stages
    sizes = range(pool.low_bytes, pool.high_bytes + 1, 1_000_003)
    tokens = [served.search.printed(size, one, int)[0] for size in (*sizes, pool.bytes, pool.high_bytes)]
    assert pool.low_tokens <= min(tokens) <= pool.tokens <= max(tokens) <= pool.high_tokens
    near = 2 * 1_000_003 // TOKEN
    assert min(tokens) - pool.low_tokens <= near >= pool.high_tokens - max(tokens)


def test_slots_that_are_asked_for_are_the_most_requests(tmp_path):
    asked = {"context": 1, "on": "1x h200-141g", "weights": "fp8"}
    served = hybrid(tmp_path, NEXT, engine_options={"max_mamba_cache_size": 30}, **asked)
    assert served.max_batch == 10
    assert served.kv_pool.tokens == (served.kv_pool.bytes - 31 * SLOT) // TOKEN
    more = hybrid(tmp_path, NEXT, batch=11, engine_options={"max_mamba_cache_size": 30}, **asked)
    assert [served.verdict, more.verdict] == ["fits", "does_not_fit"]
    assert "states of 10 requests" in more.cause


def test_a_larger_ratio_has_more_requests_and_fewer_tokens(tmp_path):
    asked = {"context": 4096, "on": "1x h200-141g", "weights": "fp8"}
    usual, more, narrow = (
        hybrid(tmp_path, NEXT, engine_options=options, **asked)
        for options in ({}, {"mamba_full_memory_ratio": 2}, {"mamba_ssm_dtype": "bfloat16"})
    )
    assert more.kv_pool.tokens < usual.kv_pool.tokens
    assert more.search.shares[0][1] > usual.search.shares[0][1]
    assert narrow.search.shares[0][1] > usual.search.shares[0][1]
    assert narrow.device.components["state"] == 4 * 36 * (3 * 8192 * 2 + 32 * 128 * 128 * 2)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"engine_version": "0.5.1"}, "--engine-version"),
        ({"tp": 16}, "--tp"),
        ({"engine_options": {"mamba_full_memory_ratio": 0}}, "mamba_full_memory_ratio"),
        ({"engine_options": {"mamba_ssm_dtype": "fp4"}}, "mamba_ssm_dtype"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path, asked, said):
    config = {**NEXT, "linear_num_value_heads": 24} if "tp" in asked else NEXT
    with pytest.raises(MemcalcError, match=said):
        hybrid(tmp_path, config, context=8192, **asked)


def test_the_command_names_them(tmp_path):
    options = {"max_mamba_cache_size": 82, "mamba_ssm_dtype": "bfloat16"}
    line = hybrid(tmp_path, NEXT, context=8192, engine_options=options).launch_line
    assert "--max-mamba-cache-size 82" in line
    assert "--mamba-ssm-dtype bfloat16" in line


def test_sweeps_have_no_machine(tmp_path):
    """What fits follows from two parts of a pool; how much is held does not."""
    numpy = pytest.importorskip("numpy")
    contexts = numpy.array([1, 4096])
    swept = hybrid(tmp_path, NEXT, context=contexts)
    for total, context in zip(swept.device.total_bytes, contexts, strict=True):
        assert total == hybrid(tmp_path, NEXT, context=int(context)).device.total_bytes
    with pytest.raises(MemcalcError, match="--on: expected none in a sweep"):
        hybrid(tmp_path, NEXT, context=contexts, on="1x h200-141g")
