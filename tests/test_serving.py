"""Serving plans: the machines of the notes, sums that add up, searches that find the largest."""

from __future__ import annotations

import json
import re
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest

from memcalc.errors import MemcalcError
from memcalc.files.catalogue import record
from memcalc.files.machines import devices, servers
from memcalc.files.safetensors import Header
from memcalc.files.source import Source
from memcalc.files.sources import source
from memcalc.options import options_of
from memcalc.serving import ServingOptions, serve
from memcalc.serving.engines import ENGINES, EngineName
from memcalc.serving.plan import plan_fields
from memcalc.serving.search import largest
from memcalc.serving.stage import growing_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from memcalc.ledger.budget import Line
    from memcalc.serving import ServingEstimate

GIB = 2**30


@pytest.mark.parametrize(
    "machine", ["rtx-pro-6000-blackwell", "2x rtx-a6000", "2x rtx-a6000-ecc", "2x ascend-910b-64g"]
)
@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_qwen3_32b_fits(machine: str, engine: str) -> None:
    """The notes' 96 GB machines, and two NPUs, hold Qwen3-32B in BF16; the limits are limits."""
    by = "vllm-ascend" if "ascend" in machine and engine == "vllm" else engine
    serving = serve("Qwen/Qwen3-32B", context=8192, on=machine, engine=by)
    assert serving.fits
    context, batch = serving.max_context, serving.max_batch
    assert context is not None
    assert batch is not None
    assert serving.search.fits(1, context)
    assert not serving.search.fits(1, context + serving.search.block)
    assert not serving.search.fits(batch + 1, 8192)


def test_one_npu_is_too_small_by_a_hair() -> None:
    """61.02 GiB of weights do not go into 60.97 GiB, whatever the utilization."""
    serving = serve("Qwen/Qwen3-32B", context=1, on="ascend-910b-64g", utilization=1.0)
    (pool,) = serving.budget.pools
    assert serving.fits is False
    assert pool.capacity_bytes is not None
    assert 0 < pool.at("load") - pool.capacity_bytes < 0.1 * GIB


def test_components_add_up() -> None:
    """The components of the fullest moment are the total, and so are its lines."""
    (pool,) = serve("deepseek-ai/DeepSeek-V3", context=4096, batch=3, tp=8, engine="vllm").budget.pools
    assert sum(pool.components.values()) == pool.total_bytes
    assert pool.low_bytes <= pool.total_bytes <= pool.high_bytes


def test_kv_heads_are_replicated_beyond_their_number() -> None:
    """Qwen3-235B has 4 KV heads: a rank of 8 holds as much cache as a rank of 4."""
    sizes = [
        serve("Qwen/Qwen3-235B-A22B", context=32_768, tp=tp, engine="vllm")
        .budget.pools[0]
        .components["kv_cache"]
        for tp in (1, 2, 4, 8)
    ]
    assert [sizes[0], sizes[0] // 2, sizes[0] // 4, sizes[0] // 4] == sizes


@pytest.mark.parametrize(
    ("device", "seqs", "tokens"),
    [("h100-80g", 1024, 8192), ("h20-96g", 1024, 8192), ("a100-80g", 256, 2048), ("rtx-a6000", 256, 2048)],
)
def test_vllm_tries_as_many_sequences_as_the_device_lets_it(device: str, seqs: int, tokens: int) -> None:
    """From 70 GiB on 1,024, on smaller devices and on an A100 256; what is said holds anywhere."""
    serving = serve("Qwen/Qwen3-0.6B", context=1, on=device, engine="vllm")
    assert (
        serving.plan.engine_options["max_num_seqs"],
        serving.plan.engine_options["max_num_batched_tokens"],
    ) == (seqs, tokens)
    said = serve("Qwen/Qwen3-0.6B", context=1, on=device, engine="vllm", engine_options={"max_num_seqs": 7})
    assert said.plan.engine_options["max_num_seqs"] == 7


@pytest.mark.parametrize(
    ("name", "weights", "ranks", "fits"),
    [
        ("Qwen/Qwen3-235B-A22B-FP8", None, {"tp": 4}, True),
        ("Qwen/Qwen3-235B-A22B-FP8", None, {"tp": 8}, False),  # 1536 / 8 = 192: a block and a half
        ("Qwen/Qwen3-235B-A22B-FP8", None, {"tp": 8, "ep": 8}, True),  # experts whole
        ("Qwen/Qwen3-30B-A3B", "fp8-block128", {"tp": 4}, False),
        ("Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4", None, {"tp": 8}, True),  # padded for this
        ("Qwen/Qwen2.5-72B", "gptq-int4-g128", {"tp": 2}, False),  # 29568 / 2 = 115.5 groups
    ],
)
def test_ranks_do_not_cut_the_blocks_of_a_format(
    name: str, weights: str | None, ranks: dict[str, int], *, fits: bool
) -> None:
    """Published refusals: vllm-project/vllm#17569 and #25292, QwenLM/Qwen3#578."""
    asked = {"context": 8, "weights": weights, "engine": "vllm", **ranks}
    if fits:
        assert serve(name, **asked).plan.parallelism.tp == ranks["tp"]  # type: ignore[arg-type]
    else:
        with pytest.raises(MemcalcError, match="whole blocks of 128"):
            serve(name, **asked)  # type: ignore[arg-type]


def test_mla_keeps_16_bit_copies_of_a_quantised_projection() -> None:
    """61 layers x 128 heads x (128 + 128) x 512 x 2 B; a 16-bit one is used as it is."""

    def copies(weights: str | None) -> int:
        (pool,) = serve(
            "deepseek-ai/DeepSeek-V3", context=8, weights=weights, engine="vllm", tp=8
        ).budget.pools
        return sum(line.bytes for line in pool.lines if line.name.endswith("16-bit copies"))

    assert copies(None) == 61 * (128 // 8) * 256 * 512 * 2
    assert copies("bf16") == 0


def test_what_a_file_holds_beside_the_model_is_told_apart() -> None:
    """DeepSeek-V3's layer for multi-token prediction, Kimi-K2.5's vision tower, the routers' biases."""
    beside = serve("deepseek-ai/DeepSeek-V3", context=8).not_loaded_bytes
    assert beside["mtp"] > 11 * 10**9
    assert beside["buffers"] == 4 * 58 * 256
    apart = serve("moonshotai/Kimi-K2.5", context=8, engine_options={"language_model_only": True})
    assert apart.not_loaded_bytes["vision"] == 2 * 471_143_920


@pytest.mark.parametrize(
    "shared",
    [devices, servers, lambda: serve("Qwen/Qwen3-32B", context=8).device.moments],
    ids=["devices", "servers", "moments"],
)
def test_what_is_kept_for_the_next_who_asks_cannot_be_changed(shared: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match="does not support item assignment"):
        shared()["load"] = 0


def test_the_prefill_peak_of_deepseek_by_hand() -> None:
    """Numbers a token: of MLA 4h + a(2(dN + dR) + (dN + dV) + dV), of experts 4h + k max(h + 4f, 4h) + E.

    Attention decides where the layers are dense: 4 x 7,168 + 128 x (384 + 256 + 128) = 126,976 numbers are
    more than 4 x 7,168 + 3 x 18,432. Elsewhere the experts do: 28,672 + 8 x 28,672 + 256 = 258,304; before
    transformers 5, one after another, 4h + 2kh + 3kf + E: 28,672 + 114,688 + 49,152 + 256 = 192,768.
    """

    def widest(served: ServingEstimate, stage: int) -> Line:
        lines = growing_lines(served.plan, served.stages[stage].rank, 1, 1000)
        return next(line for line in lines if line.name == "widest part of a prefill pass")

    whole, dense = (serve("deepseek-ai/DeepSeek-V3", context=1000, pp=stages) for stages in (1, 61))
    assert widest(whole, 0).bytes == 1000 * 258_304 * 2 == 516_608_000
    older = serve("deepseek-ai/DeepSeek-V3", context=1000, pp=1, engine_version="4.51")
    assert widest(older, 0).bytes == 1000 * 192_768 * 2 == 385_536_000
    assert widest(dense, 0).bytes == 1000 * 126_976 * 2 == 253_952_000


@pytest.mark.parametrize(
    ("name", "before", "since", "expanded", "latent"),
    [
        ("deepseek-ai/DeepSeek-V3", "5.14.1", "5.15", 128 * (192 + 128) * 61, (512 + 64) * 61),
        ("deepseek-ai/DeepSeek-V3", "4.51", "5", 128 * (192 + 128) * 61, (512 + 64) * 61),
        ("deepseek-ai/DeepSeek-V2-Lite", "4.51", "5.24", 16 * (192 + 128) * 27, (512 + 64) * 27),
        ("deepseek-ai/DeepSeek-V3.2", "5.17", "5.18", (128 * 320 + 128) * 61, (512 + 64 + 128) * 61),
        ("deepseek-ai/DeepSeek-V3.2", "5.15", "5.24", (128 * 320 + 128) * 61, (512 + 64 + 128) * 61),
        ("Qwen/Qwen3-32B", "4.51", "5.24", 2 * 8 * 128 * 64, 2 * 8 * 128 * 64),
    ],
)
def test_latents_are_cached_since_5_15_and_with_an_indexer_since_5_18(
    name: str, before: str, since: str, expanded: int, latent: int
) -> None:
    """Numbers a token: keys and values of all heads before, what they are made of since."""
    for version, numbers in ((before, expanded), (since, latent)):
        served = serve(name, context=1000, weights="bf16", engine_version=version)
        assert served.device.components["kv_cache"] == 1000 * 2 * numbers


def test_a_release_behaves_as_the_version_that_it_begins_with() -> None:
    """One place says which: a release, a longer name of it, and one that only looks like it."""
    known = ENGINES["vllm"].for_version
    assert [known(release) for release in ("0.6.4", "0.6.4.post1", "0.11", "0.110", "0.17.1rc0", "0.21")] == [
        *("V0", "V0", "0.11", None, "0.17", "0.21")
    ]
    served = serve("Qwen/Qwen3-8B", context=8, engine="vllm", engine_version="0.19.0")
    assert (served.engine.version, served.engine.release) == ("0.17", "0.19.0")
    with pytest.raises(MemcalcError, match=r"--engine-version: expected none: .* given '1\.0'"):
        serve("Qwen/Qwen3-8B", context=8, engine="mindie", engine_version="1.0")


def test_experts_are_dealt_out_over_ranks_that_they_divide() -> None:
    """EP 3 of TP 4 is no whole number of ranks for each group of experts."""
    with pytest.raises(MemcalcError, match="--ep: expected a divisor of tp x dp, given '3 for tp 4 x dp 1'"):
        serve("Qwen/Qwen3-30B-A3B", context=8, tp=4, ep=3, engine="vllm")
    assert serve("Qwen/Qwen3-30B-A3B", context=8, tp=2, dp=2, ep=4, engine="vllm").plan.parallelism.ep == 4


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_has_one_name(name: str) -> None:
    """In its class, the registry and the option's type; its default version has a behaviour, if any has."""
    found = ENGINES[name]()
    assert found.id == name
    assert name in get_args(EngineName)
    assert len(ENGINES) == len(get_args(EngineName))
    assert set(found.versions.values()) <= (set(found.behaviours) or {found.version})
    assert not found.behaviours or found.version in found.behaviours


def test_options_of_an_engine_are_a_mapping_or_its_items() -> None:
    """The same plan; texts are the command line's, and a value of another kind is refused."""
    asked, own = {"context": 8, "engine": "vllm"}, {"block_size": 32, "enforce_eager": True}
    plans = [
        serve("Qwen/Qwen3-8B", engine_options=given, **asked).plan  # type: ignore[arg-type]
        for given in (own, tuple(own.items()))
    ]
    assert plans[0].engine_options == plans[1].engine_options
    assert plan_fields(plans[0])["engine_options"] == {
        "block_size": 32,
        "max_num_seqs": 1024,
        "max_num_batched_tokens": 8192,
        "enforce_eager": True,
        "max_cudagraph_capture_size": 512,
        "cudagraph_capture_sizes": 0,
        "kv_cache_memory": 0,
        "plain_fp8": False,
        "disable_hybrid_kv_cache_manager": False,
        "language_model_only": False,
        "cpu_offload_gb": 0,
        "kv_offloading_size": 0,
        "async_scheduling": True,
        "batches_in_flight": 2,
    }
    for option, value, expected in (
        ("block_size", "32", "a whole number from 1 to 999999999, given '32'"),
        ("block_size", True, "a whole number from 1 to 999999999, given True"),
        ("enforce_eager", 1, "true or false, given 1"),
    ):
        with pytest.raises(MemcalcError, match=f"--engine-option {option}: expected {expected}"):
            serve("Qwen/Qwen3-8B", engine_options={option: value}, **asked)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", ["block_size=32", ("block_size=32",), {1: 2}, 5])
def test_what_is_no_mapping_is_refused(given: object) -> None:
    with pytest.raises(MemcalcError, match="--engine-option: expected a mapping, or a tuple of names"):
        serve("Qwen/Qwen3-8B", context=8, engine="vllm", engine_options=given)  # type: ignore[arg-type]


def test_every_option_of_serve_is_explained() -> None:
    """In the docstring, in the signature, and in what --json shows as the plan."""
    named = [option.name for option in options_of(ServingOptions)]
    assert list(signature(serve).parameters) == ["source", *named]
    assert set(named) <= set(re.findall(r"^    (\w+) :", serve.__doc__ or "", re.MULTILINE))
    assert all(option.meaning and option.group for option in options_of(ServingOptions))
    shown = plan_fields(serve("Qwen/Qwen3-8B", context=8).plan)
    assert set(named) - {"engine", "on"} <= set(shown)  # these two stand beside the plan


def test_mxfp4_is_padded_where_other_formats_are_refused() -> None:
    """2,880 / 8 is no multiple of 32: vLLM pads each rank, transformers refuses."""
    assert serve("openai/gpt-oss-120b", context=8, tp=8, engine="vllm").plan.parallelism.tp == 8
    with pytest.raises(MemcalcError, match="whole blocks of 32"):
        serve("openai/gpt-oss-120b", context=8, tp=8)


def test_versions_follow_their_laws() -> None:
    """4.38 reads logits of the whole prompt and holds two caches; unknown versions are refused."""
    asked = {"context": 8192, "prompt": 6144}
    old, new = (
        serve("Qwen/Qwen2-7B-Instruct", engine_version=version, **asked).budget.pools[0]  # type: ignore[arg-type]
        for version in ("4.38.2", "4.46.0")
    )
    logits = [line.bytes for line in old.lines if line.component == "logits" and "prefill" in line.moments]
    assert logits == [6144 * (152_064 * 6 + 3584 * 2)]
    held = [
        sum(line.bytes for line in pool.lines if line.component == "kv_cache" and "decode" in line.moments)
        for pool in (old, new)
    ]
    assert held[0] == 2 * held[1] == 2 * 8192 * 57_344
    with pytest.raises(MemcalcError, match="begins with 4"):
        serve("Qwen/Qwen2-7B-Instruct", engine_version="4.40", **asked)  # type: ignore[arg-type]


def test_graphs_come_on_top_of_the_share_before_they_are_in_it() -> None:
    """vLLM 0.19 and 0.24 differ by the graphs; without them not at all, given the same share."""
    asked = {"context": 8192, "on": "1x h100-80g", "engine": "vllm", "utilization": 0.9}
    pools = {
        (version, eager): serve(
            "Qwen/Qwen3-8B", engine_version=version, engine_options={"enforce_eager": eager}, **asked
        ).kv_pool.bytes  # type: ignore[union-attr]
        for version in ("0.19", "0.24")
        for eager in (True, False)
    }
    assert pools["0.19", True] == pools["0.19", False] == pools["0.24", True]
    assert pools["0.24", True] - pools["0.24", False] == int(0.91 * GIB)


def test_sglang_takes_its_pool_from_a_share_of_what_was_free() -> None:
    """Fraction x (visible - runtime) - weights - what loading leaves behind, to the byte."""
    serving = serve("Qwen/Qwen3-32B", context=8, on="1x h100-80g", engine="sglang", utilization=0.88)
    (pool,) = serving.budget.pools
    runtime = sum(line.bytes for line in pool.lines if line.name.startswith("outside PyTorch's allocator"))
    loading = next(line.bytes for line in pool.lines if line.name == "loading workspaces")
    assert pool.capacity_bytes is not None
    assert serving.kv_pool is not None
    left = pool.capacity_bytes * 88 // 100 - runtime * 88 // 100 - pool.at("load") - loading
    assert abs(serving.kv_pool.bytes - left) <= 1


def test_only_the_stage_with_the_head_makes_logits() -> None:
    """The first stage has the embedding and no head: its peak is that of the tokens of a pass."""
    serving = serve("Qwen/Qwen3-32B", context=8, engine="vllm", engine_version="0.16", pp=4)
    peaks = [
        next(line.bytes for line in one.constant if line.component == "activations") for one in serving.stages
    ]
    assert peaks[0] == peaks[1] == 8192 * 3 * (25_600 + 5_120) * 2
    assert peaks[-1] > 3 * peaks[0]


def test_pipeline_stages_are_sized_by_the_fullest() -> None:
    """The last of two stages holds the head, so it is the fullest one."""
    (pool,) = serve("Qwen/Qwen3-32B", context=1, pp=2).budget.pools
    assert pool.at("load") == 2 * (32 * (94_371_840 + 393_216_000 + 256 + 2 * 5120) + 777_912_320 + 5120)


@pytest.mark.parametrize("start", [1, 2, 7, 41, 42, 43, 1000, 10**15])
@pytest.mark.parametrize("answer", [0, 1, 2, 42, 2**40])
def test_the_search_finds_the_same_from_everywhere(start: int, answer: int) -> None:
    """A start only saves time."""
    assert largest(lambda number: number <= answer, start=start) == answer


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("engine", ["transformers", "vllm"])
@pytest.mark.parametrize(("name", "split"), [("Qwen/Qwen3-32B", {"pp": 3}), ("deepseek-ai/DeepSeek-V3", {})])
def test_the_largest_fits_on_every_stage_and_one_more_does_not(
    name: str, split: dict[str, int], engine: str, batch: int
) -> None:
    """Stages differ: the one that bounds the context need not be the first, nor bound the batch."""
    machine = "3x h100-80g" if split else "16x h20-96g"
    serving = serve(name, context=8192, batch=batch, on=machine, engine=engine, **split)  # type: ignore[arg-type]
    context, most = serving.max_context, serving.max_batch
    assert context
    assert most
    assert serving.search.fits(batch, context)
    assert not serving.search.fits(batch, context + 1)
    assert serving.search.fits(most, 8192)
    assert not serving.search.fits(most + 1, 8192)


@pytest.mark.parametrize("prompt", [None, 100, 8192])
def test_a_cache_stands_once_in_the_lines_of_a_moment(prompt: int | None) -> None:
    """Without --prompt the cache of prefill and decode is the same, and is not listed twice."""
    (pool,) = serve("Qwen/Qwen3-32B", context=8192, prompt=prompt).budget.pools
    for moment in ("prefill", "decode"):
        lines = [line for line in pool.lines if line.component == "kv_cache" and moment in line.moments]
        tokens = prompt if moment == "prefill" and prompt else 8192
        assert sum(line.bytes for line in lines) == 262_144 * tokens


@pytest.mark.parametrize(
    ("engine", "option"), [("vllm", "max_num_batched_tokens"), ("sglang", "chunked_prefill_size")]
)
def test_a_chunk_is_the_engines_own_option(engine: str, option: str) -> None:
    """One number for the pass and, in vLLM, for what windows hold of the tokens on their way."""
    name = "openai/gpt-oss-20b" if engine == "vllm" else "Qwen/Qwen3-32B"
    chunk = serve(name, context=131072, engine=engine, prefill_chunk=1024)
    own = serve(name, context=131072, engine=engine, engine_options={option: 1024})
    assert chunk.budget.pools[0].components == own.budget.pools[0].components
    assert chunk.cache_bytes == own.cache_bytes
    with pytest.raises(MemcalcError, match="one number for both"):
        serve(name, context=8, engine=engine, prefill_chunk=1024, engine_options={option: 512})


@pytest.mark.parametrize("version", ["4.38", "4.46"])
def test_a_chunk_is_refused_by_versions_that_do_not_know_it(version: str) -> None:
    says = f"--prefill-chunk: expected no value for transformers {version}, given 1024; this version takes"
    with pytest.raises(MemcalcError, match=says):
        serve("Qwen/Qwen2.5-7B-Instruct", prefill_chunk=1024, context=32768, engine_version=version)


@pytest.mark.parametrize("version", ["4.51", "5.23"])
def test_a_chunk_is_for_versions_that_know_it(version: str) -> None:
    asked = {"context": 32768, "engine_version": version}
    whole, parts = (
        serve("Qwen/Qwen2.5-7B-Instruct", prefill_chunk=chunk, **asked).budget.pools[0].total_bytes
        for chunk in (None, 1024)
    )
    assert parts < whole


def test_the_ends_of_ranges_are_told_apart_as_the_middle_is() -> None:
    """What lies outside the share is held against the device, not against the share."""
    asked = {"on": "8x h20-96g", "engine": "sglang", "utilization": 0.9}
    serving = serve("deepseek-ai/DeepSeek-V3.2", context=8192, **asked)
    (pool,) = serving.budget.pools
    assert pool.usable_bytes is not None
    assert pool.high_bytes > pool.usable_bytes
    assert pool.fits
    assert pool.room("least_bytes") > pool.room("bytes") > pool.room("most_bytes") >= 0
    assert pool.held("most_bytes") == (pool.usable_bytes - pool.room("most_bytes"), pool.high_bytes)


def test_a_folder_comes_before_a_catalogue_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in transformers: what lies on the disk is what was meant."""
    (tmp_path / "Qwen3-32B").mkdir()
    fields = {**source("Qwen/Qwen3-32B").fields, "num_hidden_layers": 2}
    (tmp_path / "Qwen3-32B" / "config.json").write_text(json.dumps(fields))
    monkeypatch.chdir(tmp_path)
    assert serve("Qwen3-32B", context=1).model.depth == 2


def test_what_was_left_open_is_said_in_words():
    """Of what was named nothing is said."""
    plan = serve("Qwen/Qwen3-32B", context=8192, on="1x h100-80g", engine="vllm").plan
    assert plan.defaults[0] == f"vLLM {plan.engine.release}"
    assert {"1,024 sequences", "8,192 tokens a pass", f"share {plan.utilization:g}", "batch 1"} <= {
        *plan.defaults
    }
    assert any(word.startswith("weights bf16") for word in plan.defaults)
    named = serve(
        "Qwen/Qwen3-32B",
        context=8192,
        prompt=100,
        batch=2,
        weights="fp16",
        kv="fp8",
        on="2x h100-80g",
        tp=2,
        prefill_chunk=2048,
        utilization=0.91,
        engine="vllm",
        engine_version="0.11",
        engine_options={"block_size": 16, "max_num_seqs": 8, "enforce_eager": True},
    )
    assert named.plan.defaults == ()


@pytest.mark.parametrize("weights", ["nf4", "nf4-dq", "fp4", "fp4-dq", "int8"])
def test_bitsandbytes_quantises_linear_layers_alone(weights: str) -> None:
    """From transformers 5 on experts are one array a layer; before, each was three linear layers."""
    name = "Qwen/Qwen3-30B-A3B"
    now = serve(name, context=8, weights=weights)
    before = serve(name, context=8, weights=weights, engine_version="4.51")
    forms = {weight.kind: now.plan.rule(weight).id for weight in now.model.weights()}
    assert {kind for kind, form in forms.items() if form == weights} == {"matrix"}
    forms = {weight.kind: before.plan.rule(weight).id for weight in before.model.weights()}
    assert {kind for kind, form in forms.items() if form == weights} == {"matrix", "expert", "router"}
    assert "experts and router in 16 bits" in now.plan.assumed
    assert not before.plan.assumed
    if weights == "nf4":
        assert now.weights_file_bytes / 2**30 == pytest.approx(55.66, abs=0.005)


def test_bitsandbytes_leaves_gpt_oss_experts_in_every_version() -> None:
    """They were one array from the start; DeepSeek's router was no linear layer before 5 either."""
    sizes = {
        serve("openai/gpt-oss-20b", context=8, weights="nf4", engine_version=version).weights_file_bytes
        for version in ("4.51", "5")
    }
    assert len(sizes) == 1
    old = serve("deepseek-ai/DeepSeek-V3", context=8, weights="nf4", engine_version="4.51")
    forms = {weight.kind: old.plan.rule(weight).id for weight in old.model.weights()}
    assert (forms["expert"], forms["shared"], forms["router"]) == ("nf4", "nf4", "bf16")


PUBLIC = json.loads((Path(__file__).parent / "recorded" / "models.json").read_text(encoding="utf-8"))[
    "models"
]
SECOND_HEAD = "lm_head.weight, stored beside the embedding"


def small_qwen(name: str) -> Source:
    """A Qwen of the catalogue, or of the record of configs."""
    return Source(name, PUBLIC[name]["config"], "recorded") if name in PUBLIC else record(name)


@pytest.mark.parametrize(
    ("name", "vocab", "width"), [("Qwen/Qwen3-0.6B", 151_936, 1024), ("Qwen/Qwen3-1.7B", 151_936, 2048)]
)
@pytest.mark.parametrize("version", ["4.51.3", None])
def test_fp8_files_of_qwen3_hold_the_tied_head_twice(
    name: str, vocab: int, width: int, version: str | None
) -> None:
    """As long as the model lives; version 5 ties what is equal, which leaves the lower end open."""
    source = small_qwen(name)
    asked = {"context": 2049, "engine": "transformers", "engine_version": version}
    one = serve(source, weights="fp8", **asked).device
    two = serve(source, weights="fp8-block128", **asked).device
    (line,) = (line for line in two.lines if line.name == SECOND_HEAD)
    assert line.bytes == line.high == 2 * vocab * width
    assert line.low == (line.bytes if version else 0)
    assert SECOND_HEAD not in {line.name for line in one.lines}


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        # "GPU Memory" with a prompt of one token, QwenLM/Qwen3@a912d23 speed_benchmark.rst, transformers 4.46
        ("Qwen/Qwen2.5-0.5B", 0.68)
    ],
)
def test_awq_files_of_qwen25_hold_it_while_they_load(name: str, printed: float) -> None:
    asked = {"context": 2049, "prompt": 1, "weights": "awq-int4-g128", "engine_version": "4.46"}
    moments = serve(small_qwen(name), **asked).device.moments
    assert moments["load"] / 2**30 == pytest.approx(printed, rel=0.01)
    assert moments["load"] == max(moments.values())
    assert moments["decode"] / 2**30 < 0.5
    assert moments["load"] - moments["decode"] > 150_000_000


def test_a_file_says_whether_it_holds_the_head() -> None:
    """What its header shows goes before what other files of the family have."""
    found = small_qwen("Qwen/Qwen3-0.6B")
    names = {False: {"model.embed_tokens.weight": None}, True: {"lm_head.weight": None}}
    for stored, tensors in names.items():
        source = Source(found.name, found.fields, "here", header=Header(tensors, files=0))
        lines = serve(source, context=8, weights="fp8-block128").device.lines
        assert (SECOND_HEAD in {line.name for line in lines}) == stored


def test_other_engines_skip_the_second_head() -> None:
    """vLLM and SGLang take the embedding, whatever the file holds."""
    for engine in "vllm", "sglang":
        lines = serve(small_qwen("Qwen/Qwen3-0.6B"), context=8, weights="fp8-block128", engine=engine).device
        assert SECOND_HEAD not in {line.name for line in lines.lines}


def test_routers_of_deepseeks_kind_lie_in_32_bits_since_5_24() -> None:
    """58 layers of 256 x 7168 numbers, 2 bytes more each; the file keeps its 16 bits. Qwen's stay."""
    before, now = (
        serve("deepseek-ai/DeepSeek-V3", context=8, engine_version=version) for version in ("5.23", "5.24")
    )
    assert now.plan.engine.version == serve("Qwen/Qwen3-8B", context=8).engine.release == "5.24"
    more = now.device.components["weights"] - before.device.components["weights"]
    assert more == 2 * 58 * 256 * 7168
    sizes = {
        serve("deepseek-ai/DeepSeek-V3", context=8, weights="fp32", engine_version=version).device.total_bytes
        for version in ("5.23", "5.24")
    }
    assert len(sizes) == 1
    assert now.weights_file_bytes == before.weights_file_bytes
    sizes = {
        serve("Qwen/Qwen3-30B-A3B", context=8, engine_version=version).device.total_bytes
        for version in ("5.23", "5.24")
    }
    assert len(sizes) == 1
