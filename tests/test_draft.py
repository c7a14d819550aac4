"""Speculative decoding: what a draft adds, held to published sizes and to the laws of each engine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from memcalc.errors import MemcalcError
from memcalc.files.sources import source
from memcalc.serving import serve
from memcalc.serving.plan import plan_fields
from memcalc.serving.stage import growing_lines, pool_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from memcalc.ledger.budget import Line
    from memcalc.serving import ServingEstimate

DEEPSEEK, GLM = "deepseek-ai/DeepSeek-V3", "zai-org/GLM-4.5-Air"
LARGE, SMALL = "Qwen/Qwen3-32B", "Qwen/Qwen3-0.6B"
NEW = {"engine": "vllm", "engine_version": "0.28"}


def lines_of(served: ServingEstimate, begin: str) -> list[Line]:
    """The lines of the device whose names begin so."""
    return [line for line in served.device.lines if line.name.startswith(begin)]


def bytes_of(served: ServingEstimate, begin: str) -> int:
    """Their bytes."""
    return sum(line.bytes for line in lines_of(served, begin))


def device_lines(served: ServingEstimate, at: int) -> list[Line]:
    """What a device of a stage holds, with its cache."""
    plan, stage = served.plan, served.stages[at]
    growing = growing_lines(plan, stage.rank, plan.batch, plan.context)
    return [*stage.weights, *stage.constant, *growing]


def stored(served: ServingEstimate) -> int:
    """The bytes of the draft's tensors alone, as stored."""
    made = ("allocator rounding", "16-bit copies", "rotary table")
    return sum(line.bytes for line in lines_of(served, "draft weights") if not line.name.endswith(made))


def test_deepseeks_prediction_layer_is_what_its_checkpoint_holds_beside_the_model() -> None:
    """688,574,839,360 bytes in all (github.com/simpx/model-inspect); the file has copies of two tables.

    The router's correction has 32 bits in the file, 16 here.
    """
    served = serve(DEEPSEEK, context=4096, draft="mtp", **NEW)  # type: ignore[arg-type]
    table, corrections = 2 * 129_280 * 7168, 4 * 58 * 256
    beside = 688_574_839_360 - 673_150_552_416 - corrections - 2 * table
    assert stored(served) == beside - 2 * 256 == 11_717_510_880
    plain = serve(DEEPSEEK, context=4096, **NEW)  # type: ignore[arg-type]
    assert plain.not_loaded_bytes["mtp"] == 11_717_510_880
    assert served.not_loaded_bytes["mtp"] == 0
    assert bytes_of(plain, "draft") == 0
    assert (
        plan_fields(served.plan)["draft_parameters"] == 11_610_067_968
    )  # README_WEIGHTS.md: 11.5 B and norms


def test_its_cache_is_one_layer_more() -> None:
    """62 layers' latents where there were 61."""
    served = serve(DEEPSEEK, context=4096, draft="mtp", batch=3, tp=8, **NEW)  # type: ignore[arg-type]
    assert bytes_of(served, "draft KV cache") == 3 * 4096 * 576 * 2
    assert bytes_of(served, "model.layers.{layer}.self_attn.latent") == 61 * 3 * 4096 * 512 * 2
    (stage,) = served.stages
    assert pool_bytes(served.plan, stage.rank, 16) * 61 == 62 * 16 * 61 * 576 * 2
    sparse = serve(DEEPSEEK, context=4096, draft="mtp", tp=8, engine="sglang", engine_version="0.5.18")
    (stage,) = sparse.stages
    assert pool_bytes(sparse.plan, stage.rank, 1) == 62 * 576 * 2


@pytest.mark.parametrize(
    ("version", "pp", "copies"),
    [("0.28", 1, 0), ("0.17", 1, 0), ("0.28", 2, 1), ("0.11", 1, 1), ("0.9", 1, 2)],
)
def test_what_vllm_copies(version: str, pp: int, copies: int) -> None:
    """The head since 0.17, the embedding since 0.10 and only on one stage: vllm#34385, #17326."""
    served = serve(GLM, context=4096, draft="mtp", engine="vllm", engine_version=version, pp=pp)
    *first, last = served.stages
    tables = [line for line in last.constant if "embed_tokens" in line.name or "shared_head.0" in line.name]
    assert sum(line.bytes for line in tables) == copies * 2 * 151_552 * 4096
    assert not any("draft" in line.name for stage in first for line in stage.constant)


def test_what_sglang_copies_until_its_pool_is_sized() -> None:
    """Twice V x h x 2 B / tp: 2.4 GiB a device for a vocabulary of 248,320 and 5,120 (sglang#37155)."""
    served = serve(GLM, context=4096, draft="mtp", engine="sglang", engine_version="0.5.18", tp=8)
    tables = bytes_of(served, "draft weights: embed_tokens.0") + bytes_of(
        served, "draft weights: shared_head.0"
    )
    assert tables == 2 * 151_552 * 4096 * 2 // 8
    assert not any(line.outside for line in lines_of(served, "draft weights"))
    assert sum("given back" in line.formula for line in lines_of(served, "draft weights")) == 2


def test_before_its_share_held_the_draft() -> None:
    """Then the pool knew nothing of it: weights and cache came on top (sglang#23862)."""
    old = {"engine": "sglang", "engine_version": "0.5.7", "tp": 8, "on": "8x h200-141g", "utilization": 0.8}
    with_draft, without = (serve(GLM, context=4096, draft=draft, **old) for draft in ("mtp", None))  # type: ignore[arg-type]
    assert with_draft.kv_pool == without.kv_pool
    assert all(line.outside for line in lines_of(with_draft, "draft"))
    assert with_draft.device.total_bytes > without.device.total_bytes


def test_a_draft_model_has_weights_and_a_cache_of_its_own() -> None:
    """Qwen3-0.6B beside Qwen3-32B: 114,688 B a token beside 262,144."""
    served = serve(LARGE, context=8192, draft=SMALL, draft_tokens=5, **NEW)  # type: ignore[arg-type]
    assert stored(served) == 2 * 596_049_920
    assert bytes_of(served, "draft KV cache") == 8192 * 114_688
    (stage,) = served.stages
    assert pool_bytes(served.plan, stage.rank, 16) == 16 * (262_144 + 114_688)
    assert plan_fields(served.plan)["draft_tokens"] == 5
    assert "rotary table" not in {
        line.name for line in lines_of(served, "draft")
    }  # the model's own serves it


def test_ranks_share_a_draft_as_they_share_the_model() -> None:
    """Eight KV heads on four ranks are two each; its matrices and its two tables are cut, its norms not."""
    served = serve(LARGE, context=8192, draft=SMALL, tp=4, **NEW)  # type: ignore[arg-type]
    assert bytes_of(served, "draft KV cache") == 8192 * 114_688 // 4
    norms = 28 * (2 * 1024 + 2 * 128) + 1024
    assert stored(served) == 2 * ((596_049_920 - norms) // 4 + norms)


def test_drafted_tokens_in_vllms_trial_pass() -> None:
    """1,024 sequences have a drafted token each; from 0.29 on a rank samples from its part."""
    for version, cut in (("0.28", 1), ("0.33", 4)):
        served = serve(LARGE, context=8, draft=SMALL, tp=4, engine="vllm", engine_version=version)
        (line,) = lines_of(served, "drafted tokens in the profile run")
        assert line.bytes == 1024 * 151_936 // cut * 2
        assert (line.low, line.high) == (0, 2 * 1024 * 151_936 * 2)


def test_sglang_sizes_the_pool_by_layers() -> None:
    """A cell grows by 28 / 64 for Qwen3-0.6B, whatever its heads are: pool_configurator.py."""
    served = serve(LARGE, context=8192, draft=SMALL, engine="sglang", engine_version="0.5.18")
    (stage,) = served.stages
    assert pool_bytes(served.plan, stage.rank, 100) == 100 * 262_144 * (64 + 28) // 64
    assert bytes_of(served, "draft KV cache") == 8192 * 114_688


def test_the_assistant_of_transformers() -> None:
    """Its cache to the element; twenty tokens are verified by their logits."""
    served = serve(LARGE, context=1000, draft=SMALL)
    assert bytes_of(served, "draft KV cache") == 1000 * 114_688
    assert bytes_of(served, "logits of the drafted tokens") == 20 * 151_936 * (2 + 4)
    served = serve(LARGE, context=1000, draft=SMALL, on="2x rtx-a6000", tp=2)
    assert served.max_batch in (0, 1)


def test_llama_cpp_makes_a_second_context() -> None:
    """As many cells as the first, in f16 whatever --kv says; the draft's embedding lies in the host."""
    served = serve(LARGE, context=8000, weights="Q4_K_M", kv="q8_0", draft=SMALL)
    assert bytes_of(served, "draft KV cache") == 8192 * 114_688
    assert served.host is not None
    (host,) = [line for line in served.host.lines if line.name.startswith("draft weights")]
    assert (host.name, host.bytes) == ("draft weights: model.embed_tokens.weight", 2 * 151_936 * 1024)
    ahead = serve(GLM, context=8192, weights="Q8_0", draft="mtp")
    assert bytes_of(ahead, "draft KV cache") == 8192 * 2 * 8 * 128 * 2
    *first, last = serve(GLM, context=8192, weights="Q8_0", draft="mtp", pp=2).stages
    assert any("draft" in line.name for line in last.constant)
    assert not any("draft" in line.name for stage in first for line in stage.constant)


@pytest.mark.parametrize(("asked", "states"), [({}, 4), ({"draft_tokens": 2}, 3), ({"draft": SMALL}, 1)])
def test_llama_cpp_rolls_states_back_as_far_as_its_layers_draft(asked: dict[str, Any], states: int) -> None:
    """149.63 MiB of Qwen3.5-27B for each: 448.88 with 2 tokens (TheTom/llama-cpp-turboquant#308)."""
    plan = {"weights": "Q4_K_M", "draft": "mtp", "context": 8192, **asked}
    served = serve("Qwen/Qwen3.5-27B", **plan)
    assert served.device.components["state"] == states * 48 * (48 * 128 * 128 + 3 * 10_240) * 4


@pytest.mark.parametrize("weights", ["bf16", "Q4_K_M"])
def test_a_draft_model_is_spread_as_the_model_is(weights: str) -> None:
    """Each of two devices has half of its layers and of their cache; the parts add up to all of it."""
    one, two = (serve(LARGE, context=8192, weights=weights, draft=SMALL, pp=pp) for pp in (1, 2))
    halves = [
        [line.bytes for line in device_lines(two, at) if line.name.startswith("draft KV cache")]
        for at in (0, 1)
    ]
    assert [sum(half) for half in halves] == [8192 * 114_688 // 2] * 2
    whole = [line for line in device_lines(one, 0) if line.name.startswith("draft weights")]
    parts = [line for at in (0, 1) for line in device_lines(two, at) if line.name.startswith("draft weights")]
    again = 0 if weights == "Q4_K_M" else 2 * 151_936 * 1024  # a tied embedding stands at both ends
    assert sum(line.bytes for line in parts) - sum(line.bytes for line in whole) == again
    swept = serve(LARGE, context=np.array([8192]), weights=weights, draft=SMALL, pp=2)
    assert swept.device.total_bytes[0] == two.device.total_bytes


def test_the_largest_context_counts_the_draft() -> None:
    """It fits, and a block more does not; without the draft there is more room."""
    plan = {"context": 8192, "on": "2x h100-80g", **NEW}
    with_draft, without = (serve(LARGE, draft=draft, **plan) for draft in (SMALL, None))  # type: ignore[arg-type]
    longest = with_draft.max_context
    assert longest is not None
    assert without.max_context is not None
    assert with_draft.search.fits(1, longest)
    assert not with_draft.search.fits(1, longest + 16)
    assert longest < without.max_context * 0.72
    assert with_draft.kv_pool is not None
    assert without.kv_pool is not None
    assert with_draft.kv_pool.bytes < without.kv_pool.bytes


@pytest.mark.parametrize(("engine", "draft"), [("vllm", "mtp"), ("sglang", "mtp"), ("sglang", "self")])
def test_a_sweep_is_its_plans(engine: str, draft: str) -> None:
    contexts = np.array([1000, 4096, 70_000])
    model, ask = (GLM, "mtp") if draft == "mtp" else (LARGE, SMALL)
    swept = serve(
        model,
        context=contexts,
        batch=2,
        draft=ask,
        engine=engine,
        engine_version="0.5.18" if engine == "sglang" else "0.28",
    )
    for context, total in zip(contexts, swept.device.total_bytes, strict=True):
        one = serve(
            model,
            context=int(context),
            batch=2,
            draft=ask,
            engine=engine,
            engine_version=swept.engine.release,
        )
        assert one.device.total_bytes == total


def test_a_head_is_no_model(tmp_path: Path) -> None:
    """EAGLE's heads call themselves llama; their embedding is the model's, and a matrix joins two streams."""
    fields = {**source(SMALL).fields, "architectures": ["LlamaForCausalLMEagle3"], "num_hidden_layers": 1}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    with pytest.raises(MemcalcError, match="a model by itself"):
        serve(LARGE, context=4096, draft=str(tmp_path), **NEW)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (
            LARGE,
            {"draft": "mtp", **NEW},
            "--draft mtp: expected a model with layers for multi-token prediction",
        ),
        (DEEPSEEK, {"draft": "mtp"}, "loads no layers for multi-token prediction"),
        (GLM, {"draft": "mtp", "engine": "mindie"}, "speculative decoding of mindie is not understood"),
        (LARGE, {"draft": SMALL, "engine": "vllm", "engine_version": "0.11"}, "0.15 or newer, or V0"),
        ("Qwen/Qwen2.5-72B", {"draft": "Qwen/Qwen2.5-0.5B", **NEW}, "a vocabulary of 152064"),
        (LARGE, {"draft": SMALL, "on": "rtx-4090 + rtx-a6000"}, "equal devices"),
        (LARGE, {"draft": SMALL, "batch": 2}, "at most 1 sequences"),
        (LARGE, {"draft": "nobody/knows-this", **NEW}, "knows-this"),
        (LARGE, {"draft": SMALL, "draft_tokens": 0, **NEW}, "--draft-tokens"),
    ],
)
def test_what_is_refused(model: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(MemcalcError, match=words):
        serve(model, context=4096, **options)  # type: ignore[arg-type]
