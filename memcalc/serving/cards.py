"""Unequal devices: how many layers each takes, as transformers and llama.cpp share them out by themselves.

What lies behind the last layer (norm and head) counts as a layer: a device may have it alone.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["by_balance", "by_free_memory"]


def by_free_memory(depth: int, free: Sequence[int]) -> tuple[int, ...]:
    """Return the layers and the output of each device where shares follow the free memory.

    Source: ggml-org/llama.cpp, src/llama-model.cpp (load_tensors: splits, get_layer_buft_list), v0.5.0: layer
    i of n, the output among them, goes to the first device whose share, added up, exceeds i / n.

    Parameters
    ----------
    depth : int
        The layers.
    free : sequence of int
        The free bytes of each device, in order.

    Examples
    --------
    >>> by_free_memory(64, [24, 24]), by_free_memory(64, [24, 12]), by_free_memory(4, [90, 5])
    ((33, 32), (44, 21), (5, 0))

    """
    places, whole = depth + 1, sum(free)
    first = [-(-sum_ * places // whole) for sum_ in accumulate(free)]  # the first place beyond each device
    return tuple(end - begin for begin, end in zip([0, *first], first, strict=False))


def by_balance(before: int, layers: Sequence[int], after: int, free: Sequence[int]) -> tuple[int, ...]:
    """Return the layers and the output of each device where ``device_map="auto"`` places them.

    Source: huggingface/transformers v5.23, integrations/accelerate.py (get_balanced_memory,
    infer_auto_device_map): devices are filled in order, all but the last up to an equal share and 1.25 of the
    largest layer, none beyond its free memory; the first keeps room for the largest layer still to come.

    Parameters
    ----------
    before, after : int
        Bytes of what stands before the first layer, and behind the last.
    layers : sequence of int
        Bytes of each layer.
    free : sequence of int
        The free bytes of each device, in order.

    Examples
    --------
    >>> by_balance(4, [2] * 10, 4, [100, 100]), by_balance(4, [2] * 10, 4, [12, 100])
    ((5, 6), (2, 9))

    """
    modules = [before, *layers, after]
    share = sum(modules) // len(free) + 5 * max(modules) // 4
    limits = [*(min(share, size) for size in free[:-1]), free[-1]]
    to_come = [0, *accumulate(reversed(modules[1:]), max)][::-1]  # the largest module behind each
    places, device, held = [], 0, 0
    for size, largest in zip(modules, to_come, strict=True):
        while device + 1 < len(free) and held + size > limits[device] - (0 if device else largest):
            device, held = device + 1, 0
        held += size
        places.append(device)
    return tuple(places[1:].count(device) for device in range(len(free)))
