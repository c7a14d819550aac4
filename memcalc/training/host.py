"""What the host's memory holds beside the arrays that are moved there: rounding, leftovers, the programs.

Page-locked ("pinned") arrays are what a device copies from and to. PyTorch's CachingHostAllocator rounds each
up to a power of two, and keeps the block of one that is gone for the next of its size
(aten/src/ATen/core/CachingHostAllocator.h, 2.13). DeepSpeed pins by default since 0.19, as the published
configs of trainers did before; the lower ends are runs with ``pin_memory`` false, or with PyTorch's
``pinned_max_round_threshold_mb``.
"""

from __future__ import annotations

from math import prod
from operator import itemgetter
from typing import TYPE_CHECKING

from memcalc.data.constants import (
    TRAINING_HOST_PROCESS,
    TRAINING_HOST_SYSTEM,
    ZERO_3_STEP_NUMBERS,
    ZERO_OFFLOAD_UNEXPLAINED,
)
from memcalc.data.units import GIB, MIB
from memcalc.ledger.budget import Line
from memcalc.ledger.tensor import ceil_div

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memcalc.training.plan import TrainingPlan
    from memcalc.training.stage import StageTensors
    from memcalc.training.weights import WeightShard

__all__ = ["ALLOCATOR", "beside_offloaded", "gradient_buffer", "power_of_two", "program_lines"]

ALLOCATOR = "https://github.com/pytorch/pytorch, v2.13.0, aten/src/ATen/core/CachingHostAllocator.h"
ZERO_3 = "https://github.com/deepspeedai/DeepSpeed, 0.19.6, runtime/zero/stage3.py, partition_parameters.py"
ZERO_2 = "https://github.com/deepspeedai/DeepSpeed, 0.19.6, runtime/zero/stage_1_and_2.py"
GKE = ((4 * GIB, 25), (8 * GIB, 20), (16 * GIB, 10), (128 * GIB, 6))  # up to so many bytes: per cent of them


def power_of_two(size: int) -> int:
    """Return the bytes of the block that holds a pinned array.

    >>> power_of_two(3 * 2**30) // 2**30, power_of_two(2**30) // 2**30
    (4, 1)
    """
    return 1 << (size - 1).bit_length() if size else 0


def beside_offloaded(plan: TrainingPlan, stage: StageTensors) -> Iterator[Line]:
    """Yield what one rank's arrays in the host's memory have beside them: rounding, leftovers, copies."""
    pinned = [(size, count) for size, count in pinned_arrays(plan, stage) if size]
    more = sum(count * (power_of_two(size) - size) for size, count in pinned)
    name = "pinned arrays, rounded up to powers of two"
    yield may_be_absent(plan, name, more, ALLOCATOR)
    stated = zero_stage(plan)
    if stated == 3 and "parameters" in plan.options.offload:
        left = sum(count * power_of_two(size) for size, count in partitions(plan, stage.trained))
        name = "blocks of the loaded partitions, kept when they moved into one buffer"
        yield may_be_absent(plan, name, left, ZERO_3)
    if stated in (1, 2):
        yield from gradient_buffer(plan, stage)
        yield from of_zero_2(plan, sum(map(sum, groups(stage.trained))))


def gradient_buffer(plan: TrainingPlan, stage: StageTensors) -> Iterator[Line]:
    """Yield the buffer through which stages 1 and 2 move gradients: one on the device, one in the host.

    Each has room for the largest weight that is trained, from the start on.
    """
    if zero_stage(plan) not in (1, 2):
        return
    numbers = max((prod(one.shape) for one in stage.trained if one.shape is not None), default=0)
    size, form = plan.widths.weight * numbers, "the largest weight that is trained"
    name = "buffer of gradients on their way to the host"
    yield Line("workspace", name, size, numbers, form, plan.moments, source=ZERO_2)


def of_zero_2(plan: TrainingPlan, numbers: int) -> Iterator[Line]:
    """Yield what stages 1 and 2 hold for each number of a rank: a copy, and what nothing explains."""
    name, form = "16-bit copies on their way to the device", "2 B a number of the share"
    yield Line("weights", name, 2 * numbers, numbers, form, plan.moments, "assumed", ZERO_2)
    low, typical, high, source, date = ZERO_OFFLOAD_UNEXPLAINED
    yield Line(
        component="temporaries",
        name="beside the step on the host, unexplained",
        bytes=typical * numbers,
        moments=plan.moments[-1:],
        evidence="measured",
        source=f"{source}, {date}",
        low=low * numbers,
        high=high * numbers,
    )


def may_be_absent(plan: TrainingPlan, name: str, size: int, source: str) -> Line:
    """Return a line of what pinning adds, down to nothing where it is switched off."""
    return Line(
        component="workspace",
        name=name,
        bytes=size,
        formula="the next power of two of each array",
        moments=plan.moments,
        evidence="assumed",
        source=source,
        low=0,
        high=size,
    )


def program_lines(plan: TrainingPlan, beside: Iterable[Line]) -> Iterator[Line]:
    """Yield the process of a rank, and its part of what the operating system and its services take.

    At most that is what Kubernetes keeps of the smallest machine with room for all the rest, the lines
    `beside` them: what runs needs as much of a larger machine, of which more is kept.
    """
    world, lines = plan.parallelism.world, list(beside)
    system, process = TRAINING_HOST_SYSTEM, TRAINING_HOST_PROCESS
    held = (sum(one.most_bytes for one in lines if moment in one.moments) for moment in plan.moments)
    needed = world * (max(held) + process.high)
    system = system._replace(high=max(system.typical, kept_beside(needed)))
    of_all = (("process of the rank", process, 1), ("operating system, shared", system, world))
    for name, (low, typical, high, source, date), ranks in of_all:
        yield Line(
            component="runtime",
            name=name,
            bytes=ceil_div(typical, ranks),
            evidence="measured",
            source=f"{source}, {date}",
            low=ceil_div(low, ranks),
            high=ceil_div(high, ranks),
        )


def kept_beside(needed: int) -> int:
    """Return what Google's Kubernetes Engine keeps of the smallest machine that leaves so many bytes.

    It keeps a share of each part of a machine's memory, and 100 MiB.

    >>> round(kept_beside(722 * 2**30) / 2**30, 1), round(kept_beside(2**30) / 2**30, 1)
    (21.7, 0.5)
    """
    left, kept, below = needed + 100 * MIB, 100 * MIB, 0
    for end, percent in GKE:
        room = (end - below) * (100 - percent) // 100
        if left <= room:
            return kept + ceil_div(left * percent, 100 - percent)
        kept, left, below = kept + end - below - room, left - room, end
    return kept + ceil_div(2 * left, 98)


# ---- what is pinned ----------------------------------------------------------------------------------------


def zero_stage(plan: TrainingPlan) -> int | None:
    """Return the stage of ZeRO that moves states or parameters to the host; None if no stage does."""
    shard, moved = plan.options.shard, {"optimizer", "parameters"} & set(plan.options.offload)
    return shard if isinstance(shard, int) and shard and moved else None


def pinned_arrays(plan: TrainingPlan, stage: StageTensors) -> Iterator[tuple[int, int]]:
    """Yield the bytes of each pinned array of a rank, and how many there are."""
    offload, shard, trained = plan.options.offload, zero_stage(plan), stage.trained
    if shard == 3:
        yield from pinned_by_zero_3(plan, stage)
    elif shard is not None:  # master copy, gradients and 16-bit copies: a buffer of each, by group
        yield from ((width * sum(group), 1) for group in groups(trained) for width in (4, 4, 2))
        yield from ((one.bytes, 1) for one in gradient_buffer(plan, stage))
    elif plan.options.shard == "fsdp" and "parameters" in offload:
        yield from (share_of_fsdp(plan, one) for one in stage.shards if one.shape is not None)
        yield from (share_of_fsdp(plan, one) for one in trained if one.shape is not None)  # gradients
    if plan.optimizer.in_host:  # a copy of each weight, and its gradient
        sizes = [
            (plan.widths.weight * prod(one.shape), one.arrays) for one in trained if one.shape is not None
        ]
        yield from (*sizes, *sizes)
    if "activations" in offload:
        yield stage.stream, stage.layers_kept // stage.stream


def pinned_by_zero_3(plan: TrainingPlan, stage: StageTensors) -> Iterator[tuple[int, int]]:
    """Yield DeepSpeed's arrays: a buffer of parameters a group, one of gradients, and gradients in 32 bits.

    These go by sub-groups, each closed by the parameter that fills it. What is frozen keeps a partition a
    parameter. The master copy and the moments are not pinned.
    """
    found = groups(stage.trained)
    if "parameters" in plan.options.offload:
        yield from ((plan.micro_batch.element_bytes * sum(group), 1) for group in found)
        yield from partitions(plan, [one for one in stage.shards if not one.trained])
    yield sum(plan.widths.gradients) * sum(map(sum, found)), 1
    if plan.widths.master:
        yield from ((4 * numbers, 1) for group in found for numbers in sub_groups(group))


def groups(shards: Iterable[WeightShard]) -> list[list[int]]:
    """Return the numbers of each parameter's share, in the model's order: of a group with decay, and without.

    Trainers do not decay norms and biases.
    """
    found: dict[bool, list[tuple[tuple[int, float], int]]] = {True: [], False: []}
    for one in shards:
        if one.shape is not None:
            share, flat = ceil_div(prod(one.shape), one.ranks), len(one.shape) == 1
            found[not flat] += [(place(one, number), share) for number in range(one.arrays)]
    ordered = ([share for _, share in sorted(group, key=itemgetter(0))] for group in found.values())
    return [group for group in ordered if group]


def place(one: WeightShard, number: int) -> tuple[int, float]:
    """Return where a parameter stands: the embedding first, layer by layer, then what follows them."""
    if "{layer}" not in one.name:
        return (0 if one.name.startswith("model.embed_") else 2), 0
    return 1, number / one.arrays


def sub_groups(shares: Iterable[int]) -> Iterator[int]:
    """Yield the numbers of a group's sub-groups: each ends with the parameter that fills it.

    >>> list(sub_groups([400_000_000] * 7))
    [1200000000, 1200000000, 400000000]
    """
    filled = 0
    for share in shares:
        filled += share
        if filled >= ZERO_3_STEP_NUMBERS:
            yield filled
            filled = 0
    if filled:
        yield filled


def share_of_fsdp(plan: TrainingPlan, one: WeightShard) -> tuple[int, int]:
    """Return the bytes of FSDP's share of an array, rows in chunks rounded up, and how many there are."""
    if one.packed:
        return ceil_div(one.packed // one.arrays, one.ranks), one.arrays
    width, shape = plan.widths.weight if one.trained else plan.precision.stream, one.shape or (0,)
    return width * ceil_div(shape[0], one.ranks) * prod(shape[1:]), one.arrays


def partitions(plan: TrainingPlan, shards: Iterable[WeightShard]) -> Iterator[tuple[int, int]]:
    """Yield the bytes of ZeRO-3's share of each parameter, as it is loaded, and how many there are."""
    width = plan.micro_batch.element_bytes
    for one in shards:
        if one.shape is not None:
            yield width * ceil_div(prod(one.shape), one.ranks), one.arrays
