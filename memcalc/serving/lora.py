"""LoRA adapters that a server holds at once: slots of one rank for every matrix, taken when it starts.

A matrix of m x n has two arrays a slot, rank x n and m x rank; ranks cut the one whose axis the matrix is cut
along and hold the other whole. Sources, read 2026-11: vllm-project/vllm, lora/layers/ (base_linear.py,
column_parallel_linear.py, fused_moe.py; fully_sharded_loras is off by default), lora/model_manager.py (every
linear layer of the language model has slots) and config/lora.py; sgl-project/sglang, srt/lora/mem_pool.py
(A and B of the target modules, here all of attention and feed-forward, as with --lora-target-modules all).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.ledger.budget import Line
from memcalc.ledger.parts.kinds import is_mla
from memcalc.ledger.tensor import product
from memcalc.serving.engines.base import ALWAYS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.ledger.model import Model
    from memcalc.ledger.tensor import Tensor
    from memcalc.serving.engines.base import Engine, RankContext

__all__ = ["DEFAULT_RANK", "check_lora", "lora_lines"]

DEFAULT_RANK = 16  # max_lora_rank of vLLM; SGLang takes its adapters'
USUAL = {*(f"{letter}_proj" for letter in "qkvo"), "gate_proj", "up_proj", "down_proj"}
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM has kernels for
VLLM, SGLANG = "vllm-project/vllm lora/layers, 2026-11", "sgl-project/sglang srt/lora/mem_pool.py, 2026-11"
# whose classes in vLLM name embedding and head as modules with adapters, and whose do not
EMBEDDED = ("llama", "mistral", "mixtral", "phi3")
PLAIN = ("qwen2", "qwen3", "qwen3_moe", "gemma", "gemma2", "gemma3", "gemma3_text")
FUSED_EXPERTS = ("gpt_oss",)  # gate and up are one array there: one A for both
ADDED_ROWS = 256  # of the vocabulary, for each slot, before 0.12


def check_lora(engine: Engine, model: Model, rank: int) -> None:
    """Refuse slots that an engine has not.

    Parameters
    ----------
    engine : Engine
        What serves the model.
    model : Model
        The model as it loads it.
    rank : int
        The largest rank of an adapter.

    Raises
    ------
    BadInputError
        The engine has no slots, none of this rank, or it is not known which matrices have them.

    """
    if engine.id not in ("vllm", "sglang"):
        remedy = "vllm and sglang hold adapters in slots; others merge them, or load their files"
        raise BadInputError("--lora-slots", "an engine with slots for adapters", engine.id, remedy)
    if engine.id == "vllm" and rank not in RANKS:
        expected = f"one of {', '.join(map(str, RANKS))}"
        raise BadInputError("--lora-rank", expected, rank, "take the next larger one")
    if engine.id == "sglang" and any(is_mla(part) for layer in model.groups for _, part in layer.parts):
        remedy = "which of sglang's latent projections have adapters is not understood yet"
        raise BadInputError("--lora-slots", "a model without latent attention", model.name, remedy)


def lora_lines(engine: Engine, rank: RankContext, slots: int, lora_rank: int) -> Iterator[Line]:
    """Yield what the slots of one device take.

    Parameters
    ----------
    engine : Engine
        What serves the model.
    rank : RankContext
        The device, and the stage that it holds.
    slots : int
        Adapters that are held at once: max_loras, or max_loras_per_batch.
    lora_rank : int
        The largest rank of an adapter.

    """
    layers = [tensor for tensor in rank.stage.weights() if tensor.name.startswith("model.layers.")]
    for tensor in layers:
        certain = is_certain(engine, tensor)
        if certain is not None:
            line = matrix_line(rank, tensor, slots, lora_rank)
            yield line._replace(
                source=VLLM if engine.id == "vllm" else SGLANG, evidence="exact" if certain else "assumed"
            )
    if engine.id == "vllm":
        yield from vocabulary_lines(engine, rank, slots, lora_rank)


def is_certain(engine: Engine, tensor: Tensor) -> bool | None:
    """Say whether a tensor surely has slots; None if it has none.

    Experts have them in vLLM since 0.11.1 (vllm-project/vllm#21229), and routers, which are linear layers;
    in SGLang all experts have them, and routers none.
    """
    vllm = engine.id == "vllm"
    if len(tensor.shape) != 2:
        return None
    if tensor.kind == "router":
        return False if vllm else None
    if tensor.kind == "expert":
        return vllm if not vllm or engine.since(0, 11, 1) else None
    return tensor.name.split(".")[-2] in USUAL if tensor.kind in ("matrix", "shared") else None


def matrix_line(rank: RankContext, tensor: Tensor, slots: int, lora_rank: int) -> Line:
    """Return the slots of a matrix: rank x (rows + columns) numbers each, of a rank's rows and columns."""
    mine = rank.parallelism.on_rank(tensor)
    rows, columns = map(product, mine.shape)
    fused = rank.stage.model_type in FUSED_EXPERTS and tensor.name.endswith("experts.{expert}.up_proj.weight")
    width = rows + (0 if fused else columns)
    count = slots * mine.copies * lora_rank * width
    return Line(
        component="weights",
        name=f"LoRA slots: {tensor.name}",
        count=count,
        bytes=count * rank.element_bytes,
        formula=f"{slots} slots x {mine.copies} x rank {lora_rank} x {width} x {rank.element_bytes} B",
        moments=ALWAYS,
        low=0 if tensor.kind == "router" else None,
    )


def vocabulary_lines(engine: Engine, rank: RankContext, slots: int, lora_rank: int) -> Iterator[Line]:
    """Yield the slots of embedding and head, whole on every rank, where a model's class names them."""
    named = rank.stage.model_type in EMBEDDED
    if rank.stage.model_type in PLAIN:
        return
    added = 0 if engine.since(0, 12) else ADDED_ROWS
    parts = dict(rank.stage.outside)
    names = {"model.embed_tokens": "embedding", "lm_head": "head"}
    if rank.stage.tied and "model.embed_tokens" in parts and rank.stage.logits_width is not None:
        parts["lm_head"] = parts["model.embed_tokens"]
    for name, word in names.items():
        if name in parts:
            vocab, width = parts[name].vocab, parts[name].width  # type: ignore[attr-defined]
            count = slots * (lora_rank * (vocab + width) + added * (width + lora_rank))
            yield Line(
                component="weights",
                name=f"LoRA slots: {word}",
                count=count,
                bytes=count * rank.element_bytes if named else 0,
                formula=f"{slots} slots x rank {lora_rank} x ({vocab} + {width}), whole on every rank",
                moments=ALWAYS,
                evidence="exact" if named and not added else "assumed",
                source=VLLM,
                low=None if named else 0,
                high=None if named else count * rank.element_bytes,
            )
