"""What saving holds: on each rank's device, and in the host's memory, all ranks together.

Source: huggingface/transformers v5.23 (trainer.py: save_model; modeling_utils.py: save_pretrained;
core_model_loading.py: revert_weight_conversion), accelerate 1.15 (accelerator.py: get_state_dict), torch 2.13
(distributed/_state_dict_utils.py), DeepSpeed 0.19.6 (runtime/engine.py), safetensors 0.8 (torch.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.data.units import GB
from memcalc.ledger.budget import Line
from memcalc.training.beside.moment import (
    Beside,
    all_along,
    in_host,
    largest_array,
    on_device,
    split_experts,
    times,
    whole_weights,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.training.plan import TrainingPlan
    from memcalc.training.stage_estimate import StageEstimate
    from memcalc.training.weights import WeightShard

__all__ = ["saving"]

LARGEST_FILE = 50 * GB  # max_shard_size of save_pretrained
FILES = "huggingface/transformers v5.23, save_pretrained: max_shard_size; safetensors 0.8, torch.py"
CLONES = "accelerate 1.15, get_state_dict; deepspeedai/DeepSpeed 0.19.6, clone_tensors_for_torch_save"
ZERO_3 = "deepspeedai/DeepSpeed 0.19.6, runtime/engine.py: _zero3_consolidated_16bit_state_dict"
FSDP_2 = "accelerate 1.15, get_state_dict; torch 2.13, get_model_state_dict with full_state_dict"
STATES = "accelerate 1.15, save_fsdp_optimizer; torch 2.13, get_optimizer_state_dict with full_state_dict"
SPLIT = "huggingface/transformers v5.23, core_model_loading.py: revert_weight_conversion"
SHARDED = "--save sharded: fsdp_state_dict_type SHARDED_STATE_DICT, each rank writes its own"
ZERO_SHARDED = "--save sharded: stage3_gather_16bit_weights_on_model_save false, then zero_to_fp32.py"
WEIGHTS = "--save weights: save_only_model, no optimizer states"
AS_BUILT = "save_pretrained(save_original_format=False): experts stay as their class has them"


def saving(plan: TrainingPlan, held: StageEstimate) -> Iterator[Beside]:
    """Yield what saving holds on a device, and in the host's memory."""
    whole = whole_weights(plan, held.tensors)
    split = Line("temporaries", *split_copies(plan, whole), source=SPLIT)
    alone = not plan.parallelism.shares_weights and plan.parallelism.shard not in (1, 2)
    lines = [*all_along(plan, held, "device"), *([split] if alone else [])]
    if plan.parallelism.shares_weights and plan.options.save != "sharded":
        lines.append(gathered_line(plan, held, whole))
    fixes = (AS_BUILT,) if alone and split.bytes else ()
    yield on_device(plan, "save", lines, fixes)
    kept = list(host_lines(plan, whole))
    if kept:
        more = [] if alone or plan.options.save == "sharded" else [split]
        yield in_host(plan, "save", [*all_along(plan, held, "host"), *kept, *more], host_fixes(plan))


def writes_all(plan: TrainingPlan) -> bool:
    """Say whether files get all weights: beside adapters these alone are written."""
    return not plan.adapters


def split_copies(plan: TrainingPlan, whole: list[WeightShard]) -> tuple[str, int, int, str]:
    """Return the copies of experts that files have one by one: gate and up, one array in their class.

    Those of down are parts of their array.
    """
    found = split_experts(plan, whole) if writes_all(plan) else []
    ups = {one.name for one in found if one.shape is None}  # in the array of a gate
    gates = {one.name for one in found if one.name.replace(".gate_proj.", ".up_proj.") in ups - {one.name}}
    copied = [
        one for one in found if one.name in gates or one.name.replace(".up_proj.", ".gate_proj.") in gates
    ]
    name, form = "experts' gate and up, cut out of their one array", "bytes as trained"
    return name, sum(one.bytes for one in copied), sum(one.count for one in copied), form


def gathered_line(plan: TrainingPlan, held: StageEstimate, whole: list[WeightShard]) -> Line:
    """Return what is whole on a device for a while: a module's arrays under ZeRO-3, one array under FSDP."""
    from memcalc.training.gathering import Arrays

    arrays = Arrays(held.tensors.shards)
    if plan.parallelism.shard == 3:
        width, numbers = plan.micro_batch.element_bytes, max(arrays.largest(), arrays.experts)
        name, form = "the largest module, whole while it is copied to the host", f"{width} B a number"
        return Line("gathered", name, numbers * width, numbers, form, source=ZERO_3)
    name, form = "the largest array, whole while it is copied to the host", "bytes as trained"
    return Line("gathered", name, largest_array(whole), None, form, source=FSDP_2)


def host_lines(plan: TrainingPlan, whole: list[WeightShard]) -> Iterator[Line]:
    """Yield what all ranks together have in the host's memory for it."""
    options, shard = plan.options, plan.parallelism.shard
    written = [one for one in whole if writes_all(plan) or one.trained]
    if plan.parallelism.shares_weights and options.save == "sharded":
        return
    if shard == "fsdp":
        yield full_line(plan, whole)
        return
    if shard == 3:
        width = plan.micro_batch.element_bytes
        count = sum(one.count for one in written)
        name, form = "all that is written, on the first rank", f"{width} B a number"
        yield Line("weights", name, count * width, count, form, source=ZERO_3)
        return
    if shard in (1, 2):
        size, count = sum(one.bytes for one in whole), sum(one.count for one in whole)
        name, form = "all weights, copied by each rank", "bytes as on the device"
        yield times(Line("weights", name, size, count, form, source=CLONES), plan.parallelism.world)
        return
    size = sum(one.bytes for one in written)
    name, form = "a file's weights on the first rank, at most 50 GB", "bytes as on the device"
    yield Line("weights", name, min(size, LARGEST_FILE), None, form, source=FILES)


def full_line(plan: TrainingPlan, whole: list[WeightShard]) -> Line:
    """Return what FSDP's first rank gets of all others: the weights, or after them the optimizer's states.

    Frozen weights are gathered, too, before PEFT leaves them out.
    """
    weights, states = (sum(getattr(one, what) for one in whole) for what in ("bytes", "moments"))
    if plan.options.save == "full" and states > weights:
        name, form = "all optimizer states, on the first rank", "bytes a number x numbers"
        return Line("optimizer", name, states, None, form, source=STATES)
    name, form = "all weights, on the first rank", "bytes as trained"
    return Line("weights", name, weights, sum(one.count for one in whole), form, source=FSDP_2)


def host_fixes(plan: TrainingPlan) -> tuple[str, ...]:
    """Return what people change where the host's memory is too small for saving."""
    if plan.parallelism.shard == 3:
        return (ZERO_SHARDED,)
    if plan.parallelism.shard == "fsdp":
        return (SHARDED, *((WEIGHTS,) if plan.options.save == "full" else ()))
    return ()
