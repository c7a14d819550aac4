"""What loading holds: on each rank's device, and in the host's memory, all ranks together.

What is read, and where: huggingface/transformers v5.23 (modeling_utils.py, core_model_loading.py,
integrations/deepspeed.py), accelerate 1.15 (utils/fsdp_utils.py), DeepSpeed 0.19.6 (runtime/engine.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.ledger.budget import Line
from memcalc.training.beside.moment import (
    Beside,
    all_along,
    array_numbers,
    in_host,
    is_added,
    largest_array,
    on_device,
    split_experts,
    times,
    whole_weights,
)
from memcalc.training.checkpoints import method_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.training.plan import TrainingPlan
    from memcalc.training.stage_estimate import StageEstimate
    from memcalc.training.weights import WeightShard

__all__ = ["loading"]

PRETRAINED = "huggingface/transformers v5.23, modeling_utils.py: from_pretrained; core_model_loading.py"
ENGINE = "deepspeedai/DeepSpeed 0.19.6, runtime/engine.py: _configure_distributed_model"
ZERO_INIT = "huggingface/transformers v5.23, integrations/deepspeed.py: _load_state_dict_into_zero3_model"
FSDP_2 = "huggingface/accelerate 1.15, utils/fsdp_utils.py: fsdp2_prepare_model"
BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}  # a number of a file, by its config's dtype
RANK_0 = "--load rank-0: fsdp_cpu_ram_efficient_loading, the first rank alone reads the weights"
TO_DEVICE = "--load device: device_map={'': local_rank}, weights go from their files to the device"
BY_HOST = "--load host: device_map={'': 'cpu'}, each rank quantises in the host's memory"
DEQUANTISED = "a copy of the checkpoint in bf16: then ZeRO-3 shares it out while it is read"


def loading(plan: TrainingPlan, held: StageEstimate) -> Iterator[Beside]:
    """Yield what loading holds on a device, and in the host's memory unless all there is pages of files.

    Numbers that a file has in the same format are read as pages of the file: ranks share them, and the system
    takes them back when it needs room.
    """
    whole = whole_weights(plan, held.tensors)
    yield on_device(plan, "load", list(device_lines(plan, held, whole)), device_fixes(plan))
    lines = list(host_lines(plan, whole))
    if any(line.bytes for line in lines):
        alone = plan.options.load == "rank-0" and not is_packed_in_file(
            plan
        )  # what is packed, each rank loads
        ranks = 1 if alone else plan.parallelism.world
        yield in_host(plan, "load", [times(line, ranks) for line in lines], host_fixes(plan))


def is_packed_in_file(plan: TrainingPlan) -> bool:
    """Say whether the checkpoint is quantised, and trained in the numbers that its codes stand for."""
    return method_of(plan.source) is not None and plan.options.quantize_base is None


def loads_whole(plan: TrainingPlan) -> bool:
    """Say whether each rank has all weights on its device before any are shared out.

    ZeRO-3 shares out what it builds under zero.Init, where transformers builds no quantised model: its engine
    moves the whole model to the device first. Under FSDP bitsandbytes loads to the device of the rank, unless
    device_map says cpu: transformers 4.40 to 4.57 had a way by the host's memory, which 5 has no more.
    """
    if plan.parallelism.shard == 3:
        return plan.options.quantize_base is not None or is_packed_in_file(plan)
    return plan.options.load == "device"


# ---- on a device -------------------------------------------------------------------------------------------


def device_lines(plan: TrainingPlan, held: StageEstimate, whole: list[WeightShard]) -> Iterator[Line]:
    """Yield the weights as they lie on a device at the end, and what is whole on the way there."""
    if not plan.parallelism.shares_weights:
        yield from weights_on_device(plan, held)
    elif loads_whole(plan):
        size = sum(one.bytes for one in whole)
        name = "all weights on each rank, before they are shared out"
        source = ENGINE if plan.parallelism.shard == 3 else FSDP_2
        yield Line("weights", name, size, sum(one.count for one in whole), "bytes as trained", source=source)
    else:
        yield from weights_on_device(plan, held)
        yield passing_line(plan, held, whole)
    if plan.options.quantize_base is not None:
        packed = [array_numbers(one) for one in whole if one.packed]
        size = plan.micro_batch.element_bytes * max(packed, default=0)
        name, form = "the largest matrix before it is quantised", "rows x columns, in 16 bits"
        yield Line("temporaries", name, size, max(packed, default=0), form, source=PRETRAINED)


def weights_on_device(plan: TrainingPlan, held: StageEstimate) -> Iterator[Line]:
    """Yield the lines of the weights that a device holds from step to step."""
    return (line for line in all_along(plan, held, "device") if line.component == "weights")


def passing_line(plan: TrainingPlan, held: StageEstimate, whole: list[WeightShard]) -> Line:
    """Return what is whole for a while: a module's arrays under ZeRO-3, a unit or an array under FSDP."""
    if plan.parallelism.shard == 3:
        from memcalc.training.gathering import Arrays

        arrays = Arrays(held.tensors.shards)
        width = plan.micro_batch.element_bytes
        numbers = max(arrays.largest(), arrays.experts)
        name, form = "the largest module, whole while it is read", f"{width} B a number"
        return Line("gathered", name, numbers * width, numbers, form, source=ZERO_INIT)
    least, more = largest_array(whole), plan.widths.weight - plan.micro_batch.element_bytes
    groups = [group for groups in held.tensors.groups for group in groups]
    unit = max([least, *(group.gathered + more * group.trained_numbers for group in groups)])
    most = least if plan.options.load == "rank-0" else unit
    name, form = "a unit, whole until it is shared out", "bytes as trained"
    line = Line("gathered", name, most, None, form, source=FSDP_2, evidence="assumed")
    return line._replace(low=least, high=2 * most)  # with its shard, or its padded copy


def device_fixes(plan: TrainingPlan) -> tuple[str, ...]:
    """Return what people change where the weights do not fit while they are loaded."""
    if plan.parallelism.shard == 3 and is_packed_in_file(plan):
        return (DEQUANTISED,)
    if plan.parallelism.shard == "fsdp" and plan.options.load == "device":
        return (RANK_0,) if plan.options.quantize_base is None else (BY_HOST,)
    return ()


# ---- in the host's memory ----------------------------------------------------------------------------------


def host_lines(plan: TrainingPlan, whole: list[WeightShard]) -> Iterator[Line]:
    """Yield what one rank has in the host's memory that is no page of a file."""
    options, shard = plan.options, plan.parallelism.shard
    if options.load == "device":
        return
    if options.quantize_base is not None:
        name, form = "quantised weights", "bytes as trained"
        yield Line("weights", name, sum(one.bytes for one in whole), None, form, source=PRETRAINED)
        return
    if is_packed_in_file(plan):
        yield from unpacked_lines(plan, whole)
        return
    if shard == 3:
        return
    split = {one.name for one in split_experts(plan, whole)}
    width, sizes = stored_width(plan), {"made": 0, "merged": 0, "read": 0}
    numbers = dict(sizes)
    for one in whole:
        size, kind = one.count * host_width(plan, one), "made"
        if not is_added(plan, one) and size == one.count * (width or 0):
            kind = "merged" if one.name in split else "read"
        sizes[kind] += size
        numbers[kind] += one.count
    low = 0 if width is None else None
    name, form = "weights in another format than their files'", "bytes as loaded; under FSDP 4 B if trained"
    yield Line("weights", name, sizes["made"], numbers["made"], form, source=FSDP_2, low=low)
    name = "experts, which files have one by one, as one array a layer"
    yield Line("weights", name, sizes["merged"], numbers["merged"], "bytes as read", source=PRETRAINED)
    if widened := [one for one in whole if host_width(plan, one) > loaded_width(plan, one)]:
        most = max(loaded_width(plan, one) * array_numbers(one) for one in widened)
        towers = plan.widths.weight * (plan.model.vision_parameters if plan.loads_towers else 0)
        name = "the array that is widened, before and after; towers, if they are trained"
        yield Line("weights", name, 0, evidence="assumed", source=FSDP_2, low=0, high=most + towers)


def unpacked_lines(plan: TrainingPlan, whole: list[WeightShard]) -> Iterator[Line]:
    """Yield what is made of the codes of a quantised checkpoint, on each rank."""
    inside = [one for one in whole if one.inside and len(one.shape or (0, 0)) > 1 and not is_added(plan, one)]
    experts = [one for one in inside if "{expert}" in one.name]
    most, least = (sum(one.count * host_width(plan, one) for one in some) for some in (inside, experts))
    name, form = "weights made of the checkpoint's codes", "bytes as loaded"
    line = Line("weights", name, least or most, None, form, evidence="assumed", source=PRETRAINED)
    yield line._replace(low=least or most, high=most)


def stored_width(plan: TrainingPlan) -> int | None:
    """Return the bytes of a number of the files, as the config says it; None where it does not."""
    fields = plan.source.fields
    text = fields.get("text_config")
    for one in (fields, text if isinstance(text, dict) else {}):
        dtype = one.get("dtype") or one.get("torch_dtype")
        if dtype in BYTES:
            return BYTES[dtype]
    return None


def loaded_width(plan: TrainingPlan, one: WeightShard) -> int:
    """Return the bytes of a number as from_pretrained is asked for it."""
    like = plan.options.like
    if like is not None:
        from memcalc.training.trainers import trainers

        if trainers()[like].loads_in_32_bits:
            return 4
    return plan.precision.weight if one.trained else plan.micro_batch.element_bytes


def host_width(plan: TrainingPlan, one: WeightShard) -> int:
    """Return the bytes of a number in the host's memory: FSDP's is widened there where it is trained."""
    if is_added(plan, one):
        return one.bytes // one.count
    widened = plan.parallelism.shard == "fsdp" and one.trained
    return max(loaded_width(plan, one), plan.widths.weight if widened else 0)


def host_fixes(plan: TrainingPlan) -> tuple[str, ...]:
    """Return what people change where the host's memory is too small for loading."""
    if plan.parallelism.shard == "fsdp":
        shared = plan.options.load == "rank-0" or plan.options.quantize_base is not None
        return () if shared or is_packed_in_file(plan) else (RANK_0,)
    return (DEQUANTISED,) if is_packed_in_file(plan) else (TO_DEVICE,)
