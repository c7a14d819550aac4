"""Slots for LoRA adapters: the numbers that peft prints for one, times slots, cut as the engine cuts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from memcalc.errors import MemcalcError
from memcalc.serving import serve
from memcalc.serving.plan import plan_fields

if TYPE_CHECKING:
    from memcalc.ledger.budget import Line
    from memcalc.serving import ServingEstimate

NEW = {"engine": "vllm", "engine_version": "0.28"}
QWEN, LLAMA = "Qwen/Qwen3-32B", "meta-llama/Meta-Llama-3.1-8B"
SPARSE, GPT = "Qwen/Qwen3-30B-A3B", "openai/gpt-oss-20b"


def slots_of(served: ServingEstimate, *ends: str) -> list[Line]:
    """The lines of slots, of modules with these names alone if some are given."""
    lines = [line for line in served.device.lines if line.name.startswith("LoRA slots")]
    return [line for line in lines if not ends or any(line.name.endswith(f"{end}.weight") for end in ends)]


def bytes_of(served: ServingEstimate, *ends: str) -> int:
    """Their bytes."""
    return sum(line.bytes for line in slots_of(served, *ends))


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_one_adapter_is_what_peft_prints(engine: str) -> None:
    """Rank 16 on q, k, v, o of Qwen3-32B: 39,845,888 numbers; on all linear layers of an 8B, 41,943,040."""
    served = serve(QWEN, context=4096, engine=engine, lora_slots=1)
    assert bytes_of(served, "q_proj", "k_proj", "v_proj", "o_proj") == 2 * 39_845_888
    served = serve(LLAMA, context=4096, engine=engine, lora_slots=4)
    linear = [line for line in slots_of(served) if line.name.endswith("weight")]
    assert sum(line.bytes for line in linear) == 4 * 2 * 41_943_040
    assert {line.evidence for line in linear} == {"exact"}
    doubled = serve(LLAMA, context=4096, engine=engine, lora_slots=4, lora_rank=32)
    assert bytes_of(doubled, "q_proj") == 2 * bytes_of(served, "q_proj")


def test_ranks_cut_one_of_the_two_arrays() -> None:
    """Of a column-parallel matrix B, of a row-parallel one A; copied KV heads are copied here too."""
    served = serve(QWEN, context=4096, tp=16, lora_slots=2, **NEW)  # type: ignore[arg-type]
    layers, size = 64, 2 * 2
    assert bytes_of(served, "q_proj") == layers * size * 16 * (64 * 128 // 16 + 5120)
    assert bytes_of(served, "k_proj") == layers * size * 16 * (128 + 5120)
    assert bytes_of(served, "o_proj") == layers * size * 16 * (5120 + 64 * 128 // 16)
    assert bytes_of(served, "down_proj") == layers * size * 16 * (5120 + 25_600 // 16)


def test_embedding_and_head_of_llama_are_whole_on_every_rank() -> None:
    """Llama's class in vLLM names them; Qwen's does not."""
    served = serve(LLAMA, context=4096, tp=4, lora_slots=3, **NEW)  # type: ignore[arg-type]
    tables = {line.name: line.bytes for line in slots_of(served) if not line.name.endswith("weight")}
    each = 3 * 16 * (128_256 + 4096) * 2
    assert tables == {"LoRA slots: embedding": each, "LoRA slots: head": each}
    served = serve(QWEN, context=4096, lora_slots=3, **NEW)  # type: ignore[arg-type]
    assert all(line.name.endswith("weight") for line in slots_of(served))
    (old, _) = [
        line
        for line in slots_of(serve(LLAMA, context=9, engine="vllm", engine_version="0.10", lora_slots=1))
        if not line.name.endswith("weight")
    ]
    assert old.bytes == 2 * (16 * (128_256 + 4096) + 256 * (4096 + 16))


def test_experts() -> None:
    """Each expert has slots in vLLM since 0.11.1; gpt-oss has one A for gate and up."""
    served = serve(SPARSE, context=4096, tp=2, lora_slots=1, **NEW)  # type: ignore[arg-type]
    assert bytes_of(served, "experts.{expert}.up_proj") == 48 * 128 * 16 * (768 // 2 + 2048) * 2
    (router,) = slots_of(served, "mlp.gate")
    assert (router.low, router.bytes, router.evidence) == (0, 48 * 16 * (128 + 2048) * 2, "assumed")
    before = serve(SPARSE, context=4096, engine="vllm", engine_version="0.10", lora_slots=1)
    assert not slots_of(before, "experts.{expert}.up_proj")
    served = serve(GPT, context=4096, lora_slots=1, **NEW)  # type: ignore[arg-type]
    assert bytes_of(served, "experts.{expert}.gate_proj") == 24 * 32 * 16 * (2880 + 2880) * 2
    assert bytes_of(served, "experts.{expert}.up_proj") == 24 * 32 * 16 * 2880 * 2


def test_the_pool_is_smaller_by_them() -> None:
    plan = {"context": 4096, "on": "1x h200-141g", **NEW}
    bare, slots = (serve(QWEN, lora_slots=number, **plan) for number in (None, 8))  # type: ignore[arg-type]
    assert bare.kv_pool is not None
    assert slots.kv_pool is not None
    assert bare.kv_pool.bytes - slots.kv_pool.bytes == bytes_of(slots)
    assert slots.max_context is not None
    assert slots.search.fits(1, slots.max_context)
    assert not slots.search.fits(1, slots.max_context + 16)
    assert plan_fields(slots.plan)["lora_rank"] == 16
    assert "LoRA rank 16, all linear layers" in slots.plan.defaults


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (QWEN, {"lora_slots": 1}, "an engine with slots for adapters, given 'transformers'"),
        (QWEN, {"lora_slots": 1, "lora_rank": 24, **NEW}, "--lora-rank: expected one of 1, 8, 16"),
        (QWEN, {"lora_slots": 0, **NEW}, "--lora-slots"),
        ("deepseek-ai/DeepSeek-V3", {"lora_slots": 1, "engine": "sglang"}, "without latent attention"),
    ],
)
def test_what_is_refused(model: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(MemcalcError, match=words):
        serve(model, context=4096, **options)  # type: ignore[arg-type]
