"""What ranks that share the weights gather for a while: FSDP's units, ZeRO-3's parameters and buckets."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from memcalc.data.constants import ZERO_3_LIVE_NUMBERS, ZERO_3_PERSISTENT_NUMBERS, ZERO_BUCKET_NUMBERS
from memcalc.ledger.budget import Line
from memcalc.ledger.tensor import ceil_div
from memcalc.training.plan import EMBEDDING
from memcalc.training.weights import gathered_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memcalc.training.plan import TrainingPlan
    from memcalc.training.stage import StageTensors
    from memcalc.training.weights import WeightShard

__all__ = ["ZERO_3", "gathered_lines"]

FSDP = "torch.distributed.fsdp.fully_shard 2.13: one unit a layer, the next one gathered ahead"
ZERO_3 = (
    "https://github.com/deepspeedai/DeepSpeed, 0.19.6, runtime/zero/partitioned_param_coordinator.py, "
    "partition_parameters.py, stage3.py, 2026-08"
)

AUTOMATIC = f"{ZERO_3}; huggingface/transformers v5.23, integrations/deepspeed.py: what auto stands for"


def gathered_lines(plan: TrainingPlan, stage: StageTensors) -> Iterator[Line]:
    """Yield what ranks that share the weights gather for a while: layers, and gradients to be shared out."""
    if plan.parallelism.states_ranks == 1:
        return
    yield from fsdp_lines(plan, stage) if plan.parallelism.shard == "fsdp" else zero_lines(plan, stage)


def line(name: str, count: int, size: int, moments: tuple[str, ...], **more: Any) -> Line:
    """Return a line of what is gathered: how far ahead is the library's choice."""
    return Line("gathered", name, size, count=count, moments=moments, evidence="assumed", **more)


def copied_gradients(plan: TrainingPlan) -> int:
    """Return the bytes of a gradient before it is shared out: as wide as it is made, and as it is kept."""
    width, wide = plan.micro_batch.element_bytes, sum(plan.widths.gradients)
    return width + (wide if wide != width else 0)


# ---- FSDP --------------------------------------------------------------------------------------------------


def fsdp_lines(plan: TrainingPlan, stage: StageTensors) -> Iterator[Line]:
    """Yield whole units: the root from the first layer to the end, a layer while it or one before runs."""
    *_, backward, end, _ = plan.moments
    layers = [group for groups in stage.groups for group in groups]
    root = [one for one in stage.shards if "{layer}" not in one.name]
    trained_root = sum(one.count for one in root if one.trained)
    unit = max([trained_root, *(group.trained_numbers for group in layers)])
    copies = copied_gradients(plan)
    form = "as stored" if plan.options.quantize_base else f"{plan.micro_batch.element_bytes} B a number"
    whole = sum(gathered_bytes(plan, one) for one in root)
    numbers, largest = (
        max((getattr(group, what) for group in layers), default=0) for what in ("numbers", "gathered")
    )
    name, more = "embedding, norm and head, whole", {"formula": form, "source": FSDP}
    yield line(name, sum(one.count for one in root), whole, plan.moments[:4], **more)
    if plan.holds_inputs:  # the first layer runs last, and is fullest: none is gathered ahead
        yield line("a layer, whole", numbers, largest, (backward,), **more)
    else:
        yield line("two layers, whole", 2 * numbers, 2 * largest, (backward,), **more)
    if "parameters" in plan.options.offload:
        name, ranks = "shard of a layer, on its way from the host", plan.parallelism.states_ranks
        ends = {"low": 0, "high": ceil_div(largest, ranks)}  # copied and gathered in turn, or at once
        yield line(name, ceil_div(numbers, ranks), 0, (backward,), **more, **ends)
    name, form = "gradients of one unit before they are shared out", f"{copies} B a number"
    yield line(name, unit, copies * unit, (backward, end), formula=form, source=FSDP)


# ---- ZeRO-3 ------------------------------------------------------------------------------------------------


class Arrays:
    """The arrays of numbers that DeepSpeed deals out, each by itself: a layer's experts are two of them."""

    def __init__(self, shards: Iterable[WeightShard]) -> None:
        self.shards = [one for one in shards if one.shape is not None]

    @staticmethod
    def numbers(one: WeightShard) -> int:
        """Return the numbers of an array: four codes of a quantised matrix are one number of 16 bits."""
        size = prod(one.shape or ())
        return ceil_div(size, 4) if one.packed else size

    def largest(self, *, trained: bool = False) -> int:
        """Return the numbers of the largest array, of all or of those that are trained."""
        return max((self.numbers(one) for one in self.shards if one.trained or not trained), default=0)

    def small(self, threshold: int) -> int:
        """Return the numbers of all arrays that are small enough to stay whole."""
        return sum(one.arrays * self.numbers(one) for one in self.shards if self.numbers(one) <= threshold)

    @property
    def trained_numbers(self) -> int:
        """Numbers of all arrays that are trained."""
        return sum(one.arrays * self.numbers(one) for one in self.shards if one.trained)

    @property
    def experts(self) -> int:
        """Numbers of a layer's experts: both arrays are fetched together, and copied out of one buffer."""
        of_experts = (self.numbers(one) for one in self.shards if one.shape and len(one.shape) == 3)
        return sum(sorted(of_experts)[-2:])


def zero_lines(plan: TrainingPlan, stage: StageTensors) -> Iterator[Line]:
    """Yield what DeepSpeed gathers: it fetches ahead until so many numbers are there.

    Each module that is entered fetches what it lacks, then a bucket ahead, as long as fewer than
    stage3_max_live_parameters are there: so they run up to this number, and one array beyond. The lower end
    is a run that fetches nothing ahead; the upper one has the buffer out of which a layer's experts come.
    """
    end, width, arrays = plan.moments[3], plan.micro_batch.element_bytes, Arrays(stage.shards)
    layer = max((group.gathered for groups in stage.groups for group in groups), default=0)
    everything = sum(gathered_bytes(plan, one) for one in stage.shards)
    live = min(everything, max(ZERO_3_LIVE_NUMBERS * width, layer))
    beyond = min(everything, live + arrays.largest() * width) + arrays.experts * width
    form, name = "at most stage3_max_live_parameters", "parameters that are there at once"
    ends = {"low": min(live, layer), "high": beyond}
    yield line(name, live // width, live, plan.moments[:3], formula=form, source=ZERO_3, **ends)
    embedding = sum(gathered_bytes(plan, one) for one in stage.shards if one.name.startswith(EMBEDDING))
    form = f"{width} B a number"
    yield line("embedding, whole", embedding // width, embedding, (end,), formula=form, source=ZERO_3)
    hidden = stage.stream_shape[2]
    kept, most = (arrays.small(most) for most in (10 * hidden, max(10 * hidden, ZERO_3_PERSISTENT_NUMBERS)))
    form, name = "stage3_param_persistence_threshold: 10 x hidden_size", "small arrays, always whole"
    ends = {"low": 0, "high": most * width}
    yield line(name, kept, kept * width, plan.moments, formula=form, source=AUTOMATIC, **ends)
    yield from bucket_lines(plan, arrays, min(hidden**2, ZERO_BUCKET_NUMBERS))


def bucket_lines(plan: TrainingPlan, arrays: Arrays, bucket: int) -> Iterator[Line]:
    """Yield the bucket of gradients, allocated once, and what lies beside it on its way to other ranks."""
    *_, backward, end, _ = plan.moments
    width, trained, form = plan.micro_batch.element_bytes, arrays.trained_numbers, "reduce_bucket_size"
    largest = ZERO_BUCKET_NUMBERS * width
    more: dict[str, Any] = {"formula": f"{form}: hidden_size^2", "source": AUTOMATIC}
    size = bucket * width
    yield line("bucket of gradients", bucket, size, plan.moments, low=size, high=largest, **more)
    full, name = min(bucket, trained), "a bucket's copy in the order of ranks"
    most = min(ZERO_BUCKET_NUMBERS, trained) * width + 2 * arrays.largest(trained=True) * width
    yield line(name, full, full * width, (backward, end), low=0, high=most, **more)
