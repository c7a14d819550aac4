"""Weights on one rank: how many numbers, and what training keeps for each."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

from memcalc.ledger.tensor import ceil_div, product
from memcalc.training.adapters import HEAD, adapter_arrays, adapter_of
from memcalc.training.plan import EMBEDDING
from memcalc.training.precision import StateWidths

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memcalc.ledger.model import Model
    from memcalc.ledger.tensor import Tensor
    from memcalc.training.autograd.base import Adapter
    from memcalc.training.plan import TrainingPlan

__all__ = [
    "WeightShard",
    "added_parameters",
    "gathered_bytes",
    "shared_bytes",
    "trainable_parameters",
    "weight_shards",
]

# linear layers, which bitsandbytes quantises; experts are one array a layer in transformers 5, and none
QUANTISED = ("matrix", "shared")
OUTSIDE = ("embedding", "head", "positions")


class WeightShard(NamedTuple):
    """A weight on one rank: how many numbers, in how many bytes, and what training keeps for it.

    FSDP's shares are taken already. ZeRO cuts one long list of numbers, so that its shares are taken of the
    sum: `ranks` are those that hold the same weight. `shape` is that of the array which holds it, None
    where it is part of another's, and `arrays` how many such there are. `packed` are the bytes of the codes
    of a quantised matrix, whole, `scales` those of all that belongs to them, which no rank shares out.
    `updated` are the bytes of what the optimizer updates, `width` those of a number of it; `inside` says
    that it is a layer's, and no embedding, head or table of positions.
    """

    name: str
    count: int  # type: ignore[assignment]  # the word every reader expects, and no tuple's
    bytes: int
    master: int
    gradient: int
    moments: int
    paged: int
    updated: int
    width: int
    trained: bool
    ranks: int
    shape: tuple[int, ...] | None
    inside: bool
    arrays: int
    packed: int = 0
    scales: int = 0

    @property
    def dealt_out(self) -> int:
        """Bytes that ranks may share out."""
        return self.bytes - self.scales


def weight_shards(plan: TrainingPlan, model: Model) -> Iterator[WeightShard]:
    """Yield the weights of a rank that holds a model, or a stage of one: copies and adapters among them.

    Beside adapters PEFT trains a copy of a module (modules_to_save), and the module itself stays. A head that
    is tied to an embedding on the same rank is stored once.
    """
    once = plan.model.tied and {EMBEDDING, HEAD} <= {name for name, _ in model.outside}
    for whole in model.weights():
        tensor = plan.parallelism.on_rank(whole)
        trained = tensor.kind != "buffer" and plan.is_trained(tensor.name)
        copied = trained and bool(plan.adapters)
        if not (once and tensor.kind == "head"):
            yield shard_of(plan, tensor, widths_of(plan, tensor), trained=trained and not copied)
        if copied:
            copy = tensor._replace(name=f"{tensor.name.removesuffix('weight')}modules_to_save.weight")
            stream = plan.micro_batch.element_bytes
            yield shard_of(plan, copy, StateWidths(stream, (stream,), 0), trained=True)
        adapter = adapter_of(plan.adapters, tensor)
        if adapter is not None:
            yield from adapter_shards(plan, tensor, adapter, ranks_of(plan, tensor))


def shard_of(plan: TrainingPlan, tensor: Tensor, widths: StateWidths, *, trained: bool) -> WeightShard:
    """Return a weight on a rank, with the states of its widths where it is trained."""
    ranks = ranks_of(plan, tensor)
    count = rows_of_fsdp(tensor, ranks) if plan.parallelism.shard == "fsdp" else tensor.count
    numbers = count if trained else 0
    shape, arrays = plan.implementation.stored(plan.model, tensor)
    inside = tensor.kind not in OUTSIDE
    packed, scales = quantised_bytes(plan, tensor)
    held, width = (numbers, ranks), widths.updated
    moments = moments_of(plan, shape, arrays, held, width, inside=inside) if trained else []
    stored = stored_bytes(plan, tensor, count, widths.weight if trained else plan.micro_batch.element_bytes)
    return WeightShard(
        name=tensor.name,
        count=tensor.count,
        bytes=share_of_codes(plan, packed, ranks) + scales if packed else stored,
        master=numbers * widths.master,
        gradient=numbers * sum(widths.gradients),
        moments=sum(size for _, size in moments),
        paged=paged_bytes(moments),
        updated=numbers * widths.updated,
        width=widths.updated,
        trained=trained,
        ranks=ranks,
        shape=shape,
        inside=inside,
        arrays=arrays,
        packed=packed,
        scales=scales,
    )


def widths_of(plan: TrainingPlan, tensor: Tensor) -> StateWidths:
    """Return the widths of a weight's states: a class loads some in 32 bits, whatever its dtype."""
    wide = plan.micro_batch.architecture.wide_weights
    if plan.widths.weight == 2 and not plan.widths.master and tensor.name.endswith(wide):
        return plan.widths._replace(weight=4, gradients=(4,))
    return plan.widths


def ranks_of(plan: TrainingPlan, tensor: Tensor) -> int:
    """Return how many ranks hold the same weight, and could share its states."""
    return (
        plan.parallelism.states_ranks
        if tensor.active_experts is None
        else plan.parallelism.expert_states_ranks
    )


def rows_of_fsdp(tensor: Tensor, ranks: int) -> int:
    """Return how many numbers of a weight a rank keeps: FSDP deals out rows, in chunks rounded up."""
    shape = tensor.stored_shape
    return tensor.count if ranks == 1 else tensor.copies * ceil_div(shape[0], ranks) * prod(shape[1:])


def moments_of(
    plan: TrainingPlan,
    shape: tuple[int, ...] | None,
    arrays: int,
    held: tuple[int, int],
    width: int,
    *,
    inside: bool,
) -> list[tuple[str, int]]:
    """Return the optimizer's states of a weight: a number for each that is `held`, or by its arrays.

    `held` are the numbers that this rank updates, and the ranks that hold the same weight.
    """
    optimizer = plan.optimizer
    numbers, ranks = held
    if optimizer.elementwise:
        return [(name, numbers * width) for name in optimizer.moments]
    if shape is None:
        return []
    if plan.parallelism.shard == "fsdp":  # a rank has rows of the array
        shape = (ceil_div(shape[0], ranks), *shape[1:])
    return [(name, arrays * size) for name, size in optimizer.states(shape, width, inside=inside)]


def paged_bytes(states: Iterable[tuple[str, int]]) -> int:
    """Return the bytes of the states that lie in unified memory."""
    return sum(size for name, size in states if name.startswith("paged "))


def stored_bytes(plan: TrainingPlan, tensor: Tensor, count: int, width: int) -> int:
    """Return the bytes of a weight as it lies on the device: frozen ones have no 32-bit numbers."""
    words = plan.micro_batch.architecture
    if tensor.kind == "buffer":
        return (plan.micro_batch.element_bytes if words.narrow_buffers else 4) * tensor.count
    if tensor.name.endswith(words.wide_weights):
        return 4 * count
    return count * width


def quantised_bytes(plan: TrainingPlan, tensor: Tensor) -> tuple[int, int]:
    """Return the bytes of a quantised matrix: its codes, and all that belongs to them; else nothing.

    bitsandbytes keeps scales and tables in a QuantState, which is neither parameter nor buffer: what shares
    out parameters (FSDP, ZeRO-3) leaves it whole on each rank, and on the device where parameters lie in the
    host's memory. Of double quantisation it keeps the scales' mean, too, 4 bytes that files have as text.
    """
    base = plan.options.quantize_base
    stacked = tensor.kind == "expert" and plan.options.quantize_experts
    if base is None or not (stacked or tensor.kind in QUANTISED):
        return 0, 0
    joined = (
        stacked and plan.implementation.stored(plan.model, tensor)[0] is None
    )  # its array has tables of its own
    if stacked:
        tensor = in_one_array(tensor)
    from memcalc.ledger.formats import format_named, tensor_bytes

    form = format_named(base)
    codes = tensor.copies * ceil_div(form.bits * tensor.each, 8)
    means = 4 if form.scales_per_scale else 0
    tables = form.matrix_bits // 8 + means if joined else 0
    return codes, tensor_bytes(tensor, form) - codes + tensor.copies * (means - tables)


def in_one_array(tensor: Tensor) -> Tensor:
    """Return the experts of a layer as one array."""
    out, inner = map(product, tensor.shape)
    return tensor._replace(shape=(tensor.experts * out, inner), experts=1, active_experts=None)


def share_of_codes(plan: TrainingPlan, packed: int, ranks: int) -> int:
    """Return the bytes of codes that a rank keeps of a matrix: FSDP deals them out as numbers of 16 bits."""
    return 2 * ceil_div(ceil_div(packed, 2), ranks) if plan.parallelism.shard == "fsdp" else packed


def adapter_shards(plan: TrainingPlan, tensor: Tensor, adapter: Adapter, ranks: int) -> Iterator[WeightShard]:
    """Yield the arrays of an adapter: their states are as wide as they are."""
    width, trained = adapter.element_bytes, not plan.is_unreached(tensor.name)
    for letter, shape, times in adapter_arrays(tensor, adapter):
        rows = ceil_div(shape[0], ranks) if plan.parallelism.shard == "fsdp" else shape[0]
        mine = (rows, *shape[1:])
        size = times * prod(mine) * width
        states = plan.optimizer.states(mine, width)
        yield WeightShard(
            name=f"{tensor.name.removesuffix('.weight')}.{letter}",
            count=times * prod(shape),
            bytes=size,
            master=0,
            gradient=size if trained else 0,
            moments=times * sum(each for _, each in states) if trained else 0,
            paged=times * paged_bytes(states) if trained else 0,
            updated=size if trained else 0,
            width=width,
            trained=trained,
            ranks=ranks,
            shape=shape,
            inside=True,
            arrays=tensor.copies,
        )


def added_parameters(plan: TrainingPlan) -> int:
    """Return the numbers of all adapters, all layers together, and of the copies beside them."""
    return (trained_in_full(plan) if plan.adapters else 0) + sum(
        times * prod(shape)
        for tensor in plan.apart.weights()
        if (adapter := adapter_of(plan.adapters, tensor)) is not None
        for _, shape, times in adapter_arrays(tensor, adapter)
    )


def trainable_parameters(plan: TrainingPlan) -> int:
    """Return the numbers that get a gradient, tied ones once."""
    return added_parameters(plan) if plan.adapters else trained_in_full(plan)


def trained_in_full(plan: TrainingPlan) -> int:
    """Return the numbers of the weights that are trained, or, beside adapters, of their copies."""
    weights = (one for one in plan.apart.weights() if one.kind != "buffer" and plan.is_trained(one.name))
    return sum(one.count for one in weights)


def shared_bytes(plan: TrainingPlan, shards: Iterable[WeightShard], what: str, *, shared: bool) -> int:
    """Return the bytes of one rank: of a list that ZeRO cuts, whole numbers, rounded up."""
    if not shared or plan.parallelism.shard == "fsdp":
        return sum(getattr(one, what) for one in shards)
    lists: dict[tuple[int, int], int] = {}
    for one in shards:
        size = getattr(one, what)
        if size:
            numbers = one.count if size >= one.count else ceil_div(size, 2)  # codes are packed into 16 bits
            key = one.ranks, size // numbers
            lists[key] = lists.get(key, 0) + numbers
    return sum(ceil_div(count, ranks) * width for (ranks, width), count in lists.items())


def gathered_bytes(plan: TrainingPlan, one: WeightShard) -> int:
    """Return the bytes of a weight that is whole for a while: a quantised one is gathered as it is packed."""
    return one.packed or one.count * plan.micro_batch.element_bytes
