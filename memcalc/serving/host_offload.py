"""What vLLM puts into the host's memory when asked: weights (`cpu_offload_gb`), cache (`kv_offloading_size`).

Weights leave a device parameter by parameter, in the order of the layers, until so many GiB have left it; the
pinned memory that takes them is rounded up to powers of two, so that a host holds up to twice as much. Each
rank has its own. Sources: vllm-project/vllm, model_executor/offloader (UVAOffloader), #56410, #58185 and
#53042, read 2026-11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.data.constants import VLLM_KV_OFFLOAD, VLLM_WEIGHT_OFFLOAD
from memcalc.data.units import GIB
from memcalc.ledger.budget import Line
from memcalc.ledger.formats import tensor_bytes
from memcalc.serving.engines.base import ALWAYS, WHILE_SERVING, measured_line
from memcalc.serving.engines.shared import fused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from memcalc.data.constants import Measured
    from memcalc.serving.engines.base import RankContext

__all__ = ["WEIGHTS", "host_offload_lines", "offloaded_line"]

WEIGHTS, CACHE = "cpu_offload_gb", "kv_offloading_size"


def offloaded_line(rank: RankContext) -> Line:
    """Return what leaves one device: as much as was asked for, and at most a parameter more.

    Parameters
    ----------
    rank : RankContext
        The device, and the stage that it holds.

    """
    asked = rank.options[WEIGHTS] * GIB
    there = layer_bytes(rank)
    largest = max(max(fused(rank, layer.weights())) for layer in rank.stage.groups)
    return Line(
        component="weights",
        name="offloaded to the host",
        bytes=-min(asked, there),
        formula=f"at least {rank.options[WEIGHTS]} GiB of {there} B in layers; the last parameter goes whole",
        moments=ALWAYS,
        evidence="assumed",
        source="vllm-project/vllm model_executor/offloader, UVAOffloader, 2026-11",
        low=-min(asked + largest, there),
        high=-min(asked, there),
    )


def layer_bytes(rank: RankContext) -> int:
    """Return the bytes of the layers of one device: embedding and head stay there."""
    tensors = (tensor for tensor in rank.stage.weights() if tensor.name.startswith("model.layers."))
    return sum(tensor_bytes(rank.parallelism.on_rank(tensor), rank.rule(tensor)) for tensor in tensors)


def host_offload_lines(ranks: Iterable[RankContext], options: Mapping[str, int]) -> Iterator[Line]:
    """Yield what the host holds for all devices.

    Parameters
    ----------
    ranks : iterable of RankContext
        One device of each pipeline stage.
    options : mapping of str to int
        The engine's options.

    """
    if options[WEIGHTS]:
        moved = [
            -offloaded_line(rank).bytes * rank.parallelism.world // rank.parallelism.pp for rank in ranks
        ]
        yield measured_line(
            "offloaded weights of all devices",
            times(sum(moved), VLLM_WEIGHT_OFFLOAD),
            formula=f"{sum(moved)} B x 1.0 to 2.0: pinned memory in powers of two",
            evidence="measured",
            component="weights",
            moments=ALWAYS,
        )
    if options[CACHE]:
        size = options[CACHE] * GIB
        yield measured_line(
            "offloaded KV cache of all devices",
            times(size, VLLM_KV_OFFLOAD),
            formula=f"{size} B x 1.0 to 2.0: pinned memory in powers of two",
            evidence="measured",
            component="kv_cache",
            moments=WHILE_SERVING,
        )


def times(size: int, factor: Measured) -> Measured:
    """Return a size times a factor in thousandths, with its source.

    >>> times(200 * GIB, VLLM_KV_OFFLOAD).typical
    413390602240
    """
    low, typical, high = (size * end // 1000 for end in factor[:3])
    return factor._replace(low=low, typical=typical, high=high)
