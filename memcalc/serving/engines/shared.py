"""What vLLM and SGLang have in common: fused weights, a rotary table, copies for MLA, tokens on their way."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from memcalc.ledger.budget import Line
from memcalc.ledger.formats import array_bytes
from memcalc.ledger.parts import GQA, MLA
from memcalc.serving.allocator import unused_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memcalc.ledger.tensor import Tensor
    from memcalc.serving.engines.base import Step

__all__ = ["absorbed_copies", "passing_width", "rests_of_blocks", "rotary_table"]

ALWAYS = ("load", "prefill", "decode")
ALLOCATOR = "pytorch/pytorch c10/cuda/CUDACachingAllocator.cpp, should_split, 2026-11"
# matrices that become one array: their names lose the letter or the half
FUSED = re.compile(r"\b([qkv])_proj\b|\b(gate|up)_proj\b")


def rests_of_blocks(step: Step) -> Line:
    """Return what the allocator holds beyond the weights of one device.

    Queries, keys and values are one array, gate and up another, the experts of a layer two.
    """
    outside = [tensor for _, part in step.stage.outside for tensor in part.weights()]
    layers = [(fused(step, layer.weights()), layer.times) for layer in step.stage.groups]
    size = unused_bytes(fused(step, outside), layers)
    formula = "blocks of 2 MiB steps, less the arrays in them"
    return Line(
        component="weights",
        name="rests of blocks",
        bytes=size,
        formula=formula,
        moments=ALWAYS,
        evidence="assumed",
        source=ALLOCATOR,
    )


def fused(step: Step, tensors: Iterable[Tensor]) -> list[int]:
    """Return the bytes of every array on one device, with what is fused as one."""
    sizes: dict[tuple[str, int], int] = {}
    for tensor in tensors:
        mine = step.split.on_rank(tensor)
        name = fused_name(tensor.name)
        for piece, size in enumerate(array_bytes(mine, step.rule(tensor))):
            sizes[name, piece] = sizes.get((name, piece), 0) + mine.experts * size
    return list(sizes.values())


@cache
def fused_name(name: str) -> str:
    """Return the name of the array that holds a tensor.

    >>> fused_name("self_attn.k_proj.weight"), fused_name("mlp.up_proj.weight")
    ('self_attn.qkv.weight', 'mlp.gate_up.weight')
    """
    return FUSED.sub(lambda found: "qkv" if found[1] else "gate_up", name)


def passing_width(step: Step) -> int:
    """Return how many numbers a token needs on its way: three inner and three outer widths of a part."""
    return max(width - getattr(part, "width", 0) for part, width in step.widths.items())


def absorbed_copies(step: Step) -> Iterator[Line]:
    """Yield the 16-bit copies of MLA's up-projection that are made where the stored one is quantised.

    Source: vllm-project/vllm, v1/attention/backends/mla/common.py, process_weights_after_loading.
    """
    for layer in step.stage.groups:
        for name, part in layer.parts:
            stored = part.weights() if isinstance(part, MLA) else ()
            for whole in (tensor for tensor in stored if tensor.name == "kv_b_proj.weight"):
                if not step.rule(whole).is_plain:
                    yield copied(step.split.on_rank(whole._replace(layers=layer.times)), name, step)


def copied(tensor: Tensor, name: str, step: Step) -> Line:
    """Return the line of a weight's 16-bit copies."""
    shape = " x ".join(map(str, tensor.stored_shape))
    formula = f"{tensor.copies} x ({shape}) x {step.element_bytes} B"
    title = f"{name}.{tensor.name}, 16-bit copies"
    source = "vllm-project/vllm v1/attention/backends/mla/common.py (W_UV, W_UK_T), 2026-11"
    size = tensor.count * step.element_bytes
    return Line(
        component="weights",
        name=title,
        count=tensor.count,
        bytes=size,
        formula=formula,
        moments=ALWAYS,
        source=source,
    )


def rotary_table(step: Step) -> Iterator[Line]:
    """Yield the table of cosines and sines that all layers of a rank share, whole on every rank.

    Source: vLLM, model_executor/layers/rotary_embedding: positions x rotary width, in the model's dtype.
    """
    positions = step.stage.rotary_positions
    for part in (part for layer in step.stage.groups for _, part in layer.parts):
        if isinstance(part, GQA | MLA) and positions is not None:
            width = part.rope_dim or part.head_dim if isinstance(part, GQA) else part.rope_dim
            size = positions * width * step.element_bytes
            formula = f"{positions} positions x {width} x {step.element_bytes} B"
            source = "vllm-project/vllm model_executor/layers/rotary_embedding, cos_sin_cache, 2026-11"
            yield Line(
                component="weights",
                name="rotary table",
                count=positions * width,
                bytes=size,
                formula=formula,
                moments=ALWAYS,
                source=source,
            )
            return
