"""SGLang: its own share by release and card, pools of windowed layers, copies of attention."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from memcalc.errors import MemcalcError
from memcalc.files.api import model as load_model
from memcalc.files.machines import devices
from memcalc.serving import serve
from memcalc.serving.engines import engine
from memcalc.serving.engines.base import Setting
from memcalc.serving.engines.sglang_share import Asked, own_share, prefill_graphs
from memcalc.serving.launch import launch_line
from memcalc.serving.parallelism import ServingParallelism

QWEN, KIMI = "Qwen/Qwen3-32B", "moonshotai/Kimi-K2.5"


def share(name: str = QWEN, on: str = "1x h100-80g", **asked: Any) -> float:
    """Return the share that SGLang takes if nobody says."""
    return serve(name, context=8, on=on, engine="sglang", **asked).plan.utilization


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("0.4.2", 0.88),  # printed by the server of this release on a card of 80 GB
        ("0.4.9", 0.874),  # (81,559 - 10 x 1,024) / 81,559
        ("0.5.3", 0.835),  # (81,559 - 13,440) / 81,559: 512 + 12,288 + 128 + 512
        ("0.5.9.post1", 0.835),
        ("0.5.10", 0.83),  # 58 captured prefills of 8 MiB more
        ("0.5.23", 0.83),
        (None, 0.83),
    ],
)
def test_the_share_of_an_h100_by_release(version, expected):
    assert share(engine_version=version) == expected


def test_two_ranks_take_what_a_user_found():
    """0.828 on H100 with Qwen3-32B: https://github.com/sgl-project/sglang/issues/29092, 2026-06."""
    assert share(on="2x h100-80g", engine_version="0.5.12") == 0.828


@pytest.mark.parametrize(
    ("on", "chunk", "graphs"),
    [
        ("1x rtx-4090", 4096, 48),
        ("4x rtx-4090", 4096, 160),
        ("1x a100-40g", 4096, 32),
        ("1x h100-80g", 8192, 256),
        ("4x h100-80g", 8192, 512),
        ("1x h200-141g", 8192, 256),
        ("1x b200", 16384, 512),
    ],
)
def test_passes_and_graphs_follow_the_card_and_the_ranks(on, chunk, graphs):
    options = serve("Qwen/Qwen3-8B", context=8, on=on, engine="sglang").plan.engine_options
    assert (options["chunked_prefill_size"], options["cuda_graph_max_bs"]) == (chunk, graphs)


def test_older_releases_take_smaller_passes_on_a_card_of_24_gib():
    found = {
        version: serve(
            "Qwen/Qwen3-8B", context=8, on="1x rtx-4090", engine="sglang", engine_version=version
        ).plan.engine_options
        for version in ("0.4.2", "0.5.3", "0.5.5", "0.5.19", "0.5.20")
    }
    sizes = {name: (one["chunked_prefill_size"], one["cuda_graph_max_bs"]) for name, one in found.items()}
    assert sizes == {
        "0.4.2": (2048, 8),
        "0.5.3": (2048, 16),
        "0.5.5": (2048, 24),
        "0.5.19": (2048, 24),
        "0.5.20": (4096, 48),
    }


def test_large_cards_keep_ten_gib_free_at_least():
    """Short passes and few graphs would leave less: 512 + 3,072 + 128 + 16 + 42 x 8 MiB."""
    options = {"chunked_prefill_size": 2048, "cuda_graph_max_bs": 8}
    assert share(engine_options=options) == round((81_559 - 10_240) / 81_559, 3)


def test_stages_and_disabled_graphs_are_not_captured():
    assert share(on="2x h100-80g", pp=2, tp=1) == round((81_559 - 512 - 12_288 - 256 - 512) / 81_559, 3)
    eager = {"disable_cuda_graph": True}
    assert share(engine_options=eager) == round((81_559 - 512 - 12_288 - 128) / 81_559, 3)
    assert share(engine_options=eager, engine_version="0.5.3") == 0.835  # counted all the same


def test_latent_attention_keeps_room_for_prefills_but_not_on_blackwell():
    for_prefills = 512 + 1.5 * 8192 + 1024 + 2 * 512 + 1536
    assert share("deepseek-ai/DeepSeek-V3", "8x h200-141g") == round(1 - for_prefills / 143_771, 3)
    assert share("deepseek-ai/DeepSeek-V3", "8x h200-141g", engine_version="0.5.15") == round(
        1 - (for_prefills - 1536) / 143_771, 3
    )
    assert share("deepseek-ai/DeepSeek-V3", "8x b200") == round(
        1 - (512 + 1.5 * 16_384 + 1024 + 2 * 512) / 183_359, 3
    )


def test_a_vision_tower_scales_the_share_unless_it_stays_off():
    """MoonViT: 27 layers of 1,152, 1.42 times the tower that is taken for granted; Gemma's is off."""
    plain = round(1 - (512 + 1.5 * 8192 + 1024 + 2 * 512 + 1536) / 143_771, 3)
    factor = 0.95 * (1 - 0.1 * (27 * 1152**2 / (24 * 1024**2) - 1))
    assert share(KIMI, "8x h200-141g") == plain * factor
    assert share("google/gemma-3-27b-it") == 0.83
    assert share(KIMI, "8x h200-141g", engine_version="0.4.9") == round(1 - 16 / (143_771 / 1024), 3) * 0.9


def test_an_mi355x_has_the_share_that_a_server_printed():
    """0.911, and then the scale (sgl-project/sglang#18263, 2026-07)."""
    assert share("Qwen/Qwen3-30B-A3B", "1x mi355x") == 0.911 * 0.85


def test_amds_attention_kernels_scale_any_share_of_a_long_context():
    plain = round(1 - (512 + 1.5 * 16_384 + 128 + 2 * 512) / 196_592, 3)
    assert share("Qwen/Qwen3-8B", "1x mi300x") == plain * 0.85
    assert share("Qwen/Qwen3-8B", "1x mi300x", utilization=0.8) == 0.8 * 0.85
    assert share("Qwen/Qwen3-8B", "1x mi300x", utilization=0.8, engine_version="0.5.3") == 0.8
    assert share(utilization=0.8) == 0.8
    assert share("Qwen/Qwen3-8B", "2x rx-7900-xtx", utilization=0.8) == 0.8


def test_the_workspace_of_amds_attention_is_what_a_user_found():
    """3,261 requests of 32 heads and 262,144 positions: 51.75 GiB (sgl-project/sglang#18263, 2026-07)."""
    lines = serve("Qwen/Qwen3-8B", context=8, on="1x mi300x", engine="sglang").budget.pools[0].lines
    (line,) = (line for line in lines if line.name == "workspace of AITER attention")
    assert line.bytes == 2048 * 32 * 160 * (128 * 4 + 8)  # 160 pieces of 40,960 positions
    assert line.high == 2 * line.bytes
    assert round(3261 * 32 * 1024 * (128 * 4 + 8) / 2**30, 2) == 51.75


def test_the_workspace_of_amds_attention_has_the_width_of_whole_attention():
    """Of two kinds of attention SGLang's head_dim is the full layers', and swa_head_dim the windows'."""
    served = serve("google/gemma-4-26B-A4B", context=8, on="1x mi300x", engine="sglang")
    lines = served.budget.pools[0].lines
    (line,) = (line for line in lines if line.name == "workspace of AITER attention")
    assert "(512 x 4 + 8)" in line.formula


@pytest.mark.parametrize(
    ("version", "draft", "kept"),
    [
        ("0.5.3", "mtp", 2048),
        ("0.5.3", "Qwen/Qwen3-0.6B", 6144),
        ("0.5.10", "mtp", 4096 - 464),  # and no prefill is captured
        ("0.5.23", "mtp", 0),
    ],
)
def test_a_draft_has_room_of_its_own(version, draft, kept):
    plan = serve(QWEN, context=8, on="1x h100-80g", engine="sglang", engine_version=version).plan
    asked = Asked(
        engine("sglang", version).rules,  # type: ignore[attr-defined]
        plan.model,
        plan.machine.device,  # type: ignore[union-attr]
        plan.parallelism,
        plan.engine_options,
    )
    without, _ = own_share(asked)
    with_draft, words = own_share(asked._replace(draft=draft))
    assert with_draft == pytest.approx(without - kept / 81_559, abs=0.001)
    assert ("for the draft" in words) == (version != "0.5.23")


@pytest.mark.parametrize(("tokens", "count"), [(2048, 42), (4096, 50), (8192, 58), (16_384, 74)])
def test_sizes_of_captured_prefills(tokens, count):
    assert prefill_graphs(tokens) == count


def test_the_answer_says_what_its_share_is_computed_from():
    defaults = serve(QWEN, context=8, on="1x h100-80g", engine="sglang").plan.defaults
    terms = "512 + 1.5 x 8,192 tokens a pass + 128 x 1 rank(s) + 2 x 256 captured sequences"
    share = f"share 0.83 = 1 - ({terms} + 8 x 58 captured prefills) / 81,559 MiB"
    assert defaults[:2] == ("SGLang 0.5.23", share)
    assert (
        serve(QWEN, context=8, engine="sglang")
        .plan.defaults[1]
        .endswith("of a card of 80 GiB, as none is named")
    )


def test_qwen3_32b_on_an_h100_without_a_flag():
    pool = serve(QWEN, context=8, on="1x h100-80g", engine="sglang").kv_pool
    assert pool is not None
    assert 15_800 <= pool.low_tokens < pool.tokens < pool.high_tokens <= 18_800


# ---- windows ----


def held(name: str, context: int, **asked: Any) -> int:
    """Return the bytes of the cache of a plan without a machine."""
    return serve(name, context=context, engine="sglang", **asked).budget.pools[0].components["kv_cache"]


def test_gpt_oss_has_a_pool_for_its_windows():
    """18 full layers hold every token, 18 windowed ones 0.8 of them: 2,048 B a token and layer."""
    cell, context = 2 * 8 * 64 * 2, 8000
    assert held("openai/gpt-oss-120b", context) == 18 * cell * (8000 + 6400)
    tenth = {"swa_full_tokens_ratio": 0.1}
    assert held("openai/gpt-oss-120b", context, engine_options=tenth) == 18 * cell * (8000 + 800)
    # a sequence within its window needs as many cells of either kind: the first pool is 1 / 0.8 as large
    assert held("openai/gpt-oss-120b", 100) == 18 * cell * (125 + 100)
    # one release had one pool
    assert held("openai/gpt-oss-120b", context, engine_version="0.5.7") == 36 * cell * 8000


def test_the_two_pools_share_what_there_is():
    """ "full_layer_tokens=375360, swa_layer_tokens=300288": the second is 0.8 of the first."""
    served = serve("openai/gpt-oss-120b", context=8, on="2x h100-80g", engine="sglang")
    pool, cell = served.kv_pool, 2 * 4 * 64 * 2
    assert pool is not None
    first, second = pool.tokens, pool.tokens * 8 // 10
    assert 18 * cell * (first + second) <= pool.bytes < 18 * cell * (first + 1 + (first + 1) * 8 // 10)


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("google/gemma-3-27b-it", 62 * 2 * 16 * 128 * 2),
        ("google/gemma-2-9b-it", 42 * 2 * 8 * 256 * 2),
        ("mistralai/Mistral-7B-v0.1", 32 * 2 * 8 * 128 * 2),
    ],
)
def test_other_windows_are_kept_whole(name, cell):
    assert held(name, 4096) == 4096 * cell


def test_gemma_4_has_a_pool_for_its_windows():
    """10 layers of 4 heads x 512 hold every token, 50 of 16 heads x 256 hold 0.8 of them."""
    full, windowed = 10 * 2 * 4 * 512 * 2, 50 * 2 * 16 * 256 * 2
    assert held("google/gemma-4-31B", 8000) == 8000 * full + 6400 * windowed
    with pytest.raises(MemcalcError, match=r"^--engine-version: expected 0.5.20 or newer, given '0.5.18'; "):
        held("google/gemma-4-31B", 8000, engine_version="0.5.18")


def test_caches_that_layers_share_are_refused():
    with pytest.raises(MemcalcError, match="some share one'; which of its cells they get is not known"):
        held("google/gemma-4-E4B", 8000)


# ---- copies of attention ----


def test_attention_is_cut_among_the_ranks_of_one_copy():
    """4 ranks, 2 copies: 94,208 B a token and rank of GLM-4.5-Air (sgl-project/sglang#11208, 2025-10)."""
    served = serve("zai-org/GLM-4.5-Air", context=1000, batch=2, engine="sglang", tp=4, attention_dp=2, ep=4)
    pool = served.budget.pools[0]
    assert pool.components["kv_cache"] == 1000 * 94_208  # of one sequence: each copy serves its own
    whole, alone = (
        serve("zai-org/GLM-4.5-Air", context=1000, engine="sglang", tp=tp, ep=tp).budget.pools[0]
        for tp in (4, 2)
    )
    sizes = [
        {line.name: line.bytes for line in one.lines if line.component == "weights"}
        for one in (pool, whole, alone)
    ]
    for name, size in sizes[0].items():
        if name != "allocator rounding":
            like = 2 if "self_attn" in name or "embed_tokens" in name else 1
            assert size == sizes[like][name], name


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"engine": "vllm", "tp": 4, "attention_dp": 2}, "--attention-dp: expected 1 for vllm"),
        ({"engine": "sglang", "tp": 4, "attention_dp": 3}, "a divisor of tp 4"),
        ({"engine": "sglang", "tp": 4, "attention_dp": 2, "engine_version": "0.5.3"}, "0.5.9 or newer"),
    ],
)
def test_copies_that_cannot_be_are_refused(asked, says):
    with pytest.raises(MemcalcError, match=says):
        serve(QWEN, context=8, **asked)
    with pytest.raises(MemcalcError, match="a model of type deepseek_v2"):
        serve("meta-llama/Meta-Llama-3.1-8B", context=8, engine="sglang", tp=2, attention_dp=2)


@pytest.mark.parametrize("value", [0, 1.5, "many", True])
def test_a_ratio_is_a_share(value):
    with pytest.raises(MemcalcError, match="swa_full_tokens_ratio: expected a share above 0 and at most 1"):
        held("openai/gpt-oss-120b", 8, engine_options={"swa_full_tokens_ratio": value})


def test_the_newest_release_is_meant_and_unknown_ones_are_refused():
    assert engine("sglang").release == "0.5.23"
    assert engine("sglang", "0.5").version == "0.5.23"
    assert engine("sglang", "0.4").version == "0.4.10"
    with pytest.raises(MemcalcError, match="--engine-version"):
        engine("sglang", "0.6")


@pytest.mark.parametrize(
    ("version", "on", "inner", "hidden"),
    [
        ("0.5.23", "8x b200", 384, 3072),
        ("0.5.10", "8x b200", 512, 3072),
        ("0.5.23", "8x a100-80g", 384, 3072),
    ],
)
def test_mxfp4_experts_are_rounded_up_for_the_kernel(version, on, inner, hidden):
    """A rank of 8 has 360 of an expert's 2,880 numbers."""
    served = serve("openai/gpt-oss-120b", context=8, on=on, engine="sglang", engine_version=version)
    (padding,) = (line for line in served.device.lines if line.name == "padding of MXFP4 experts")
    experts = 36 * 128 * 3 * inner * hidden * 17 // 32
    held = sum(
        line.bytes for line in served.device.lines if ".experts." in line.name and "weight" in line.name
    )
    assert padding.low <= padding.bytes <= padding.high
    assert held + padding.bytes == experts


def test_sglangs_own_words_for_copies_of_attention_are_answered():
    """`--tp 4 --dp 2` has four ranks there."""
    with pytest.raises(MemcalcError, match="within the tp ranks are --attention-dp 2"):
        serve("zai-org/GLM-4.5-Air", context=8, engine="sglang", tp=4, dp=2, on="4x b200")


def test_a_command_says_the_share_that_the_engine_scales_itself():
    """0.867 of an MI300X; the engine takes 0.85 of that."""
    served = serve("Qwen/Qwen3-8B", context=8192, engine="sglang", on="1x mi300x")
    assert " --mem-fraction-static 0.867 " in launch_line(served.plan)


RECORDED = json.loads(
    (Path(__file__).parent / "recorded" / "sglang_defaults.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("version", dict.fromkeys(row[0] for row in RECORDED["rows"]))
def test_defaults_are_those_that_the_release_computes(version):
    """Share, tokens of a pass, captured batch: of cards of 15 to 179 GiB, by ranks."""
    models = {"heads": load_model(QWEN), "latent": load_model("deepseek-ai/DeepSeek-V3")}
    by, device = engine("sglang", version), devices()["h100-80g"]
    for _, memory, tp, pp, copies, attention, chunk, graphs, share_of_it in (
        row for row in RECORDED["rows"] if row[0] == version
    ):
        card = device._replace(printed_mib=memory)
        ranks = ServingParallelism(tp=tp, pp=pp, attention_dp=copies)
        options = by.options({}, card, ranks)
        assert options["chunked_prefill_size"] == chunk
        assert graphs in (None, options["cuda_graph_max_bs"])
        assert by.default_share(Setting(models[attention], card, ranks, options)) == share_of_it
