"""Servers of NPUs: what a device shows, which servers are too few, and which ranks an engine refuses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from memcalc.errors import BadInputError, UnknownNameError
from memcalc.files.machines import devices, machine, servers
from memcalc.files.sources import source
from memcalc.ledger.tensor import ceil_div
from memcalc.serving import serve
from memcalc.serving.engines import engine

if TYPE_CHECKING:
    from pathlib import Path

GIB = 2**30
R1, K2, DENSE = "deepseek-ai/DeepSeek-R1", "moonshotai/Kimi-K2-Instruct", "Qwen/Qwen3-32B"
NPU = devices()["ascend-910b-64g"].capacity_bytes
ENGINES = ("vllm-ascend", "mindie")


def on_servers(count: int) -> str:
    return f"{count}x atlas-800i-a2"


def test_a_server_is_eight_devices_and_a_cluster_is_servers():
    server = servers()["atlas-800i-a2"]
    assert (server.devices, server.device) == (8, "ascend-910b-64g")
    for count in (1, 2, 4):
        cluster = machine(on_servers(count))
        assert (cluster.count, cluster.device.id) == (8 * count, server.device)
        assert cluster == machine(f"{8 * count}x ascend-910b-64g")
    assert machine("atlas-800-a3").count == 16
    assert machine("2x atlas-800i-a2 + 1024GiB host").host_bytes == 2**40


def test_a_64_gb_npu_shows_less_than_64_of_either_unit():
    assert NPU == 62_433 * 2**20 == 65_465_745_408
    assert f"{NPU / GIB:.2f}" == "60.97"
    assert 64 * 10**9 < NPU < 64 * GIB


def test_a_server_without_a_record_is_refused():
    with pytest.raises(UnknownNameError, match=r"--on.*atlas-800i-a9.*list machines"):
        machine("2x atlas-800i-a9")


def test_one_npu_misses_qwen3_32b_by_its_weights_alone():
    """65,524,246,528 B of weights on 65,465,745,408 B: 0.05 GiB short; two and four have room."""
    weights = serve(DENSE, context=1).weights_file_bytes
    assert weights == 65_524_246_528
    assert weights - NPU == 58_501_120
    for name in ENGINES:
        fits = [
            serve(DENSE, context=32_768, on=f"{count}x ascend-910b-64g", engine=name).fits
            for count in (1, 2, 4, 8)
        ]
        assert fits == [False, True, True, True]


@pytest.mark.parametrize(
    ("name", "form", "size", "least"),
    [
        (R1, "bf16", 1_342_052_808_704, 3),
        (R1, "w8a8", 673_331_394_176, 2),
        (K2, "w8a8", 1_029_448_291_968, 2),
        ("moonshotai/Kimi-K2.5", None, 594_205_259_776, 2),
    ],
)
def test_the_bound_by_bytes(name: str, form: str | None, size: int, least: int):
    assert serve(name, context=1, weights=form).weights_file_bytes == size
    assert ceil_div(size, 8 * NPU) == least


@pytest.mark.parametrize("name", ENGINES)
def test_24_ranks_are_refused_by_the_engine_that_cannot_have_them(name: str):
    """24 divides neither 128 heads nor 256 experts; 32 divides both."""
    with pytest.raises(BadInputError, match=f"--tp.*128 query heads, given 24; {name}"):
        serve(R1, context=1, weights="bf16", engine=name, on=on_servers(3))
    with pytest.raises(BadInputError, match=f"--ep.*256 experts, given 24; {name}"):
        serve(R1, context=1, weights="bf16", engine=name, on=on_servers(3), tp=8, dp=3, ep=24)
    four = serve(R1, context=4096, weights="bf16", engine=name, on=on_servers(4))
    assert four.plan.parallelism.tp == 32
    assert four.fits


def test_two_servers_are_too_few_for_r1_in_bf16_and_one_in_w8a8():
    for form, enough in (("bf16", 4), ("w8a8", 2)):
        plans = [
            serve(R1, context=4096, weights=form, engine="vllm-ascend", on=on_servers(count))
            for count in (enough // 2, enough)
        ]
        assert [one.fits for one in plans] == [False, True]
        assert plans[0].budget.pools[0].at("load") > NPU


def test_stages_could_use_three_servers_for_r1_in_bf16_but_not_within_nine_tenths():
    """TP 8 in each of three stages: 56.89 GiB of weights, more than 0.9 x 60.97 and less than all of it."""
    three = serve(R1, context=4096, weights="bf16", engine="vllm-ascend", on=on_servers(3), tp=8, pp=3)
    weights = three.budget.pools[0].components["weights"]
    assert not three.fits
    assert three.usable_bytes is not None
    assert three.usable_bytes < weights < NPU


def test_24_divides_kimis_experts_but_not_its_heads():
    with pytest.raises(BadInputError, match="64 query heads, given 24"):
        serve(K2, context=1, weights="w8a8", engine="mindie", on=on_servers(3))
    three = serve(K2, context=4096, weights="w8a8", engine="mindie", on=on_servers(3), tp=8, dp=3, ep=24)
    assert three.fits


def test_two_servers_hold_kimis_bytes_but_not_its_ranks():
    """59.92 GiB would be an even share of 16 NPUs; what is not cut makes it more than 60.97 GiB."""
    two = serve(
        K2, context=1, weights="w8a8", engine="mindie", on=on_servers(2), tp=16, ep=16, utilization=1.0
    )
    held = two.budget.pools[0].at("load")
    assert two.weights_file_bytes // 16 < NPU < held


def test_a_format_of_the_npus_that_is_not_known_is_refused():
    with pytest.raises(UnknownNameError, match=r"--weights.*w4a8"):
        serve("moonshotai/Kimi-K2.5", context=1, weights="w4a8", engine="vllm-ascend")


@pytest.mark.parametrize("name", ENGINES)
def test_a_block_of_the_cache_is_128_tokens(name: str):
    one, full, more = (
        serve(DENSE, context=context, on="2x ascend-910b-64g", engine=name) for context in (1, 128, 129)
    )
    block = 128 * 262_144 // 2
    sizes = [serving.budget.pools[0].components["kv_cache"] for serving in (one, full, more)]
    assert sizes == [block, block, 2 * block]
    assert one.kv_pool is not None
    assert one.kv_pool.tokens == one.kv_pool.bytes // block * 128


def test_a_block_may_be_of_another_size():
    options = {"block_size": 16}
    serving = serve(DENSE, context=1, tp=2, engine="vllm-ascend", engine_options=options)
    assert serving.budget.pools[0].components["kv_cache"] == 16 * 262_144 // 2


@pytest.mark.parametrize("name", ENGINES)
def test_what_cuda_measured_is_assumed_on_npus(name: str):
    """Of several NPUs nothing that lies outside the allocator was measured, and of MindIE nothing at all."""
    (pool,) = serve(DENSE, context=4096, on="2x ascend-910b-64g", engine=name).budget.pools
    evidence = {line.component: set() for line in pool.lines}
    for line in pool.lines:
        evidence[line.component].add(line.evidence)
    assert evidence["kv_cache"] == {"exact"}
    outside = {line.evidence for line in pool.lines if line.name == "outside PyTorch's allocator"}
    assert outside == {"assumed"}
    assert evidence["activations"] == ({"assumed"} if name == "mindie" else {"measured"})
    assert evidence["weights"] == {"exact", "assumed"}
    (card,) = serve(DENSE, context=4096, on="2x h100-80g", engine="vllm").budget.pools
    assert "measured" in {line.evidence for line in card.lines}


def test_states_are_refused_by_mindie(tmp_path: Path):
    config = {
        "model_type": "qwen3_next",
        "vocab_size": 512,
        "hidden_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "full_attention_interval": 4,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
        "linear_conv_kernel_dim": 4,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 64,
        "shared_expert_intermediate_size": 64,
        "decoder_sparse_step": 1,
    }
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    with pytest.raises(BadInputError, match="--engine mindie: "):
        serve(str(path), context=1, engine="mindie")


def test_mindie_has_one_law_and_refuses_versions():
    assert engine("mindie").id == "mindie"
    assert engine("mindie").release == "as vLLM Ascend 0.17"  # MindIE's own versions are others
    asked = {"context": 4096, "on": "2x ascend-910b-64g"}
    ours = serve(DENSE, **asked, engine="mindie")
    theirs = serve(DENSE, **asked, engine="vllm-ascend", engine_version="0.17")
    assert ours.kv_pool == theirs.kv_pool


def test_graphs_are_in_the_share_of_npus_since_2026_04():
    """vllm-ascend#8289: 0.22 GiB of activations, 0.13 outside, 0.04 of graphs; Qwen3-0.6B."""
    asked = {"context": 4096, "on": "1x ascend-910b-64g", "engine": "vllm-ascend", "utilization": 0.9}
    old, new = (serve("Qwen/Qwen3-0.6B", engine_version=name, **asked) for name in ("0.17", "0.18"))
    graphs = [line for one in (old, new) for line in one.device.lines if line.name == "CUDA graphs"]
    assert [line.outside for line in graphs] == [True, False]
    assert [line.bytes for line in graphs] == [int(0.04 * GIB)] * 2
    assert round(new.device.components["activations"] / GIB, 2) == 0.22
    assert round(new.device.components["runtime"] / GIB, 2) == 0.17
    assert serve("Qwen/Qwen3-0.6B", context=8, engine="vllm-ascend").plan.utilization == 0.92


def test_a_small_model_on_one_npu_is_what_was_printed():
    """vllm-ascend#8289: 55.14 - 1.14 - 0.22 - 0.13 - 0.04 GiB, where 61.27 are seen."""
    asked = {"context": 4096, "on": "1x ascend-910b-64g", "engine": "vllm-ascend", "utilization": 0.9}
    served = serve("Qwen/Qwen3-0.6B", **asked)
    assert round(served.device.components["weights"] / GIB, 2) == 1.14
    assert served.kv_pool.low_bytes < 53.61 * GIB < served.kv_pool.high_bytes
    assert served.kv_pool.bytes / GIB == pytest.approx(53.61, rel=0.01)


def test_tables_are_kept_apart_but_with_yarn(tmp_path: Path):
    """Cosines and sines are 40,960 x 128 numbers each, beside the table that holds halves of both."""
    plain = serve("Qwen/Qwen3-0.6B", context=8, engine="vllm-ascend")
    (line,) = (line for line in plain.device.lines if line.name == "tables of cosines and of sines")
    assert line.bytes == 2 * 40_960 * 128 * 2
    fields = {**source("Qwen/Qwen3-0.6B").fields}
    fields["rope_scaling"] = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32_768}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    yarn = serve(tmp_path, context=8, engine="vllm-ascend")
    assert "tables of cosines and of sines" not in {line.name for line in yarn.device.lines}


def test_mindies_versions_are_others():
    with pytest.raises(UnknownNameError, match="--engine-version: expected none"):
        engine("mindie", "2.0")


@pytest.mark.parametrize("name", ["vllm-ascend", "mindie"])
def test_npus_do_not_serve_fp8(name: str) -> None:
    """The checkpoint as it is published is refused; converted it is answered."""
    asked = {"context": 8192, "on": "2x atlas-800i-a2", "engine": name}
    with pytest.raises(BadInputError, match=r"^--weights: .*add --weights bf16 or w8a8"):
        serve("deepseek-ai/DeepSeek-R1", **asked)
    assert serve("deepseek-ai/DeepSeek-R1", weights="w8a8", **asked).fits
