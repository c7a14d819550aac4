"""What vLLM and SGLang have in common: fused weights, a rotary table, copies for MLA, tokens on their way."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from memcalc.ledger.budget import Line
from memcalc.ledger.formats import array_bytes
from memcalc.ledger.parts.kinds import is_gqa, is_mla, is_moe
from memcalc.serving.allocator import unused_bytes
from memcalc.serving.engines.base import ALWAYS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memcalc.ledger.tensor import Tensor
    from memcalc.serving.engines.base import RankContext

__all__ = ["absorbed_copies", "fused", "inner_width", "rotary_table", "shares_experts", "weight_rounding"]

ALLOCATOR = "pytorch/pytorch c10/cuda/CUDACachingAllocator.cpp, should_split, 2026-11"
ABSORBED = "vllm-project/vllm v1/attention/backends/mla/common.py (W_UV, W_UK_T), 2026-11"
ROTARY = "vllm-project/vllm model_executor/layers/rotary_embedding, cos_sin_cache, 2026-11"
UP_PROJECTIONS = ("kv_b_proj.weight", "k_b_proj.weight", "v_b_proj.weight")  # llama.cpp cuts it in two
# matrices that become one array
FUSED = {"q_proj": "qkv", "k_proj": "qkv", "v_proj": "qkv", "gate_proj": "gate_up", "up_proj": "gate_up"}


def shares_experts(rank: RankContext) -> bool:
    """Say whether experts are spread over ranks, those of data parallelism too: then all of them talk."""
    ranks = rank.parallelism
    several = ranks.tp * ranks.dp > 1
    return several and any(is_moe(part) for layer in rank.stage.groups for _, part in layer.parts)


def weight_rounding(rank: RankContext) -> Line:
    """Return what the allocator holds beyond the weights of one device.

    Queries, keys and values are one array, gate and up another, the experts of a layer two.
    """
    outside = [tensor for _, part in rank.stage.outside for tensor in part.weights()]
    layers = [(fused(rank, layer.weights()), layer.times) for layer in rank.stage.groups]
    return Line(
        component="weights",
        name="allocator rounding",
        bytes=unused_bytes(fused(rank, outside), layers),
        formula="blocks of 2 MiB steps, less the arrays in them",
        moments=ALWAYS,
        evidence="assumed",
        source=ALLOCATOR,
    )


def fused(rank: RankContext, tensors: Iterable[Tensor]) -> list[int]:
    """Return the bytes of every array on one device, with what is fused as one."""
    sizes: dict[tuple[str, int], int] = {}
    for tensor in tensors:
        mine = rank.parallelism.on_rank(tensor)
        name = fused_name(tensor.name)
        for piece, size in enumerate(array_bytes(mine, rank.rule(tensor))):
            sizes[name, piece] = sizes.get((name, piece), 0) + mine.experts * size
    return list(sizes.values())


@cache
def fused_name(name: str) -> str:
    """Return the name of the array that holds a tensor.

    >>> fused_name("self_attn.k_proj.weight"), fused_name("mlp.up_proj.weight")
    ('self_attn.qkv.weight', 'mlp.gate_up.weight')
    """
    return ".".join(FUSED.get(piece, piece) for piece in name.split("."))


def inner_width(rank: RankContext) -> int:
    """Return how many numbers a token needs on its way: three inner and three outer widths of a part."""
    return max(width - getattr(part, "width", 0) for part, width in rank.widths.items())


def absorbed_copies(rank: RankContext) -> Iterator[Line]:
    """Yield the 16-bit copies of MLA's up-projection that are made where the stored one is quantised.

    Source: vllm-project/vllm, v1/attention/backends/mla/common.py, process_weights_after_loading.
    """
    for layer in rank.stage.groups:
        for whole in layer.weights():
            if whole.name.endswith(UP_PROJECTIONS) and not rank.rule(whole).is_plain:
                yield copies(rank.parallelism.on_rank(whole._replace(layers=layer.times)), rank.element_bytes)


def copies(tensor: Tensor, element_bytes: int) -> Line:
    """Return the line of a weight's 16-bit copies."""
    shape = " x ".join(map(str, tensor.stored_shape))
    return Line(
        component="weights",
        name=f"{tensor.name}, 16-bit copies",
        count=tensor.count,
        bytes=tensor.count * element_bytes,
        formula=f"{tensor.copies} x ({shape}) x {element_bytes} B",
        moments=ALWAYS,
        source=ABSORBED,
    )


def rotary_table(rank: RankContext) -> Iterator[Line]:
    """Yield the table of cosines and sines that all layers of a rank share, whole on every rank.

    Source: vLLM, model_executor/layers/rotary_embedding: positions x rotary width, in the model's dtype.
    """
    positions, element = rank.stage.rotary_positions, rank.element_bytes
    for part in (part for layer in rank.stage.groups for _, part in layer.parts):
        if (is_gqa(part) or is_mla(part)) and positions is not None:
            width = part.rope_dim or part.head_dim if is_gqa(part) else part.rope_dim
            yield Line(
                component="weights",
                name="rotary table",
                count=positions * width,
                bytes=positions * width * element,
                formula=f"{positions} positions x {width} x {element} B",
                moments=ALWAYS,
                source=ROTARY,
            )
            return
