"""What vLLM takes outside PyTorch's allocator, by the ranks that talk, and for captured CUDA graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.data import constants
from memcalc.errors import BadInputError
from memcalc.ledger.tensor import ceil_div
from memcalc.serving.engines.base import measured_line
from memcalc.serving.engines.shared import shares_experts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memcalc.data.constants import Measured
    from memcalc.ledger.budget import Line
    from memcalc.serving.engines.base import RankContext
    from memcalc.serving.engines.vllm_behaviour import Behaviour

__all__ = [
    "capture_sizes",
    "communicating_groups",
    "cuda_graphs",
    "largest_capture",
    "listed_sizes",
    "outside_allocator",
]

USUAL_SIZES = 51  # up to 512 sequences, as vLLM's logs print it: PIECEWISE=51 (largest=512)


def communicating_groups(rank: RankContext) -> int:
    """Return how many groups of ranks have a communicator: tensor, data and expert parallelism have one each.

    Copies of a dense model do not talk; pipeline stages hand on what they computed, which is seen apart.
    Source: vllm-project/vllm, distributed/parallel_state.py, initialize_model_parallel, 2026-11.
    """
    ranks = rank.parallelism
    return (ranks.tp > 1) + shares_experts(rank) * ((ranks.dp > 1) + (ranks.ep > 1))


def outside_allocator(rank: RankContext, behaviour: Behaviour) -> Line:
    """Return what lies outside PyTorch's allocator: the context, and communicators of ranks that talk."""
    alone, together = behaviour.non_torch
    groups, each = communicating_groups(rank), constants.NCCL_COMMUNICATOR
    size = alone if groups == 0 else further(together, each, groups - 1)
    if rank.parallelism.pp > 1:
        size = size._replace(high=size.high + each.high)
    formula = f"context + {groups} communicator{'s' * (groups > 1)}" if groups else "context"
    evidence = "assumed" if groups and behaviour.measured_on != "NVIDIA" else behaviour.evidence(rank)
    return measured_line("outside PyTorch's allocator", size, formula=formula, evidence=evidence)


def further(size: Measured, each: Measured, more: int) -> Measured:
    """Return a size with so many communicators more."""
    low, typical, high = (a + more * b for a, b in zip(size[:3], each[:3], strict=True))
    return size._replace(low=low, typical=typical, high=high)


def largest_capture(options: Mapping[str, int]) -> int:
    """Return the most sequences of a captured graph: twice those of the server, and 512 at most.

    Source: vllm-project/vllm, config/vllm.py, _set_cudagraph_sizes, 2026-11.
    """
    asked = options["max_cudagraph_capture_size"]
    return min(2 * options["max_num_seqs"], 512) if asked < 0 else asked


def listed_sizes(field: str, value: object) -> tuple[int, ...]:
    """Return the sizes that are listed, as in ``1,2,4``; none where none are.

    >>> listed_sizes("--engine-option cudagraph_capture_sizes", "1,2,4")
    (1, 2, 4)
    """
    pieces = value if isinstance(value, (list, tuple)) else str(value).split(",")
    words = [str(piece).strip() for piece in pieces]
    if not all(word.isdecimal() and len(word) < 7 and int(word) for word in words):
        raise BadInputError(field, "sizes as in 1,2,4", value, "correct the value")
    return tuple(map(int, words))


def capture_sizes(largest: int) -> int:
    """Return how many sizes are captured: 1, 2, 4, then each eighth one to 256, then each sixteenth.

    >>> [capture_sizes(largest) for largest in (512, 256, 96, 16, 1)]
    [51, 35, 15, 5, 1]
    """
    small = sum(size <= largest for size in (1, 2, 4))
    return small + min(largest, 255) // 8 + max(0, largest - 256 + 16) // 16


def cuda_graphs(rank: RankContext, behaviour: Behaviour) -> Line:
    """Return what captured graphs take; fewer sizes take less, in proportion as far as is known.

    The end is open: where experts are spread over Blackwell's devices, 63.99 GiB were captured.
    """
    listed = rank.options["cudagraph_capture_sizes"]
    size, sizes = behaviour.graphs, listed or capture_sizes(rank.options["max_cudagraph_capture_size"])
    hopper = rank.device is None or rank.device.capability == "9.0"
    if not behaviour.graphs_by_size:
        evidence, formula = behaviour.evidence(rank), "captured graphs"
    else:
        capability = "" if rank.device is None else rank.device.capability or ""
        largest = constants.VLLM_GRAPHS_OF_SHARED_EXPERTS
        wide = shares_experts(rank) and capability.startswith("10.")
        size = size._replace(
            low=min(size.low, ceil_div(size.low * sizes, USUAL_SIZES)),
            typical=size.typical * sizes // USUAL_SIZES,
            high=max(size.high, largest.high * sizes // USUAL_SIZES) if wide else size.high,
            source=f"{size.source}; {largest.source}" if wide else size.source,
        )
        measured = hopper and sizes == USUAL_SIZES
        evidence, formula = "measured" if measured else "assumed", f"graphs of {sizes} sizes"
    return measured_line(
        "CUDA graphs", size, formula=formula, evidence=evidence, outside=not behaviour.graphs_inside
    )
