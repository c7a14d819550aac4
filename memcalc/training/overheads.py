"""What no shape decides: library workspaces, the context, the allocator's reserve, and doubts."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from memcalc.data.constants import (
    TRAINING_COMMUNICATORS,
    TRAINING_CUDA_CONTEXT,
    TRAINING_EXPANDABLE_PERCENT,
    TRAINING_FUSED_AWAY_PERCENT,
    TRAINING_RESERVE_PERCENT,
    TRAINING_VARYING_PERCENT,
    ZERO_BUCKET_NUMBERS,
    ZERO_BUCKETS,
    Measured,
)
from memcalc.ledger.budget import Line
from memcalc.ledger.tensor import ceil_div, product
from memcalc.training.autograd.architectures import keeps_states
from memcalc.training.backward import fullest_point
from memcalc.training.layer_runs import LayerRuns, tables_bytes
from memcalc.training.layers import run_ends
from memcalc.training.stage import checkpoint_bytes, kept_by, stage_tensors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.ledger.budget import PoolBudget
    from memcalc.training.plan import TrainingPlan
    from memcalc.training.stage import StageTensors

__all__ = [
    "VARYING",
    "Segments",
    "by_torch",
    "computed_by_torch",
    "paged_lines",
    "reserve_line",
    "runtime_lines",
    "segments_of",
    "tower_lines",
    "uncertain_lines",
    "up_to_torch",
    "varying_line",
    "workspace_line",
]

VARYING = "segments of varying lengths"
BY_TORCH = "layers that keep a state, where torch computes them"
IF_INSTALLED = "transformers v5.23, integrations/hub_kernels.py, 2026-12: kernels if installed"
OF_TOKENS = ("activations", "logits", "temporaries")  # but for what the optimizer's step needs


AUTO_CLASSES = "huggingface/transformers v5.23, models/auto/modeling_auto.py, 2026-12"
# types with towers whose class for causal language models has none
OF_TOWERS = ("q_proj", "k_proj", "v_proj")  # names that towers have, too; those of others are often their own
TEXT_ALONE = frozenset({"llama4", "qwen3_5", "qwen3_5_moe"})


def measured(
    component: str, name: str, size: Measured, *, moments: tuple[str, ...] = (), evidence: str = "measured"
) -> Line:
    """Return a line whose bytes are a range."""
    low, typical, high, source, date = size
    return Line(
        component=component,
        name=name,
        bytes=typical,
        moments=moments,
        evidence=evidence,
        source=f"{source}, {date}",
        low=low,
        high=high,
    )


def evidence_on(plan: TrainingPlan) -> str:
    """Return how far what was measured on NVIDIA's devices holds for the plan's."""
    known = plan.machine is None or plan.machine.device.vendor == "NVIDIA"
    return "measured" if known else "assumed"


def workspace_line(plan: TrainingPlan) -> Line:
    """Return what the libraries allocate for their own use, inside of what PyTorch counts."""
    capability = None if plan.machine is None else plan.machine.device.capability
    size = plan.implementation.workspace(capability)
    name = "library workspaces"
    return measured("workspace", name, size, moments=plan.moments, evidence=evidence_on(plan))


def runtime_lines(plan: TrainingPlan) -> Iterator[Line]:
    """Yield what lies outside of the allocator's memory."""
    evidence = evidence_on(plan)
    yield measured("runtime", "CUDA context", TRAINING_CUDA_CONTEXT, evidence=evidence)
    if plan.parallelism.world > 1:
        yield measured("runtime", "communicators", TRAINING_COMMUNICATORS, evidence=evidence)
    device = None if plan.machine is None else plan.machine.device
    if device is not None and device.held_bytes is not None:
        from memcalc.files.machines import SYSTEM

        yield measured("runtime", SYSTEM, Measured(*device.held_bytes, device.source, device.date))


class Segments(NamedTuple):
    """What PyTorch's allocator takes from the device: bytes that are always held, and others for a while.

    What is held for a while (kept activations, the loss, gathered layers, copies of a step) lies in segments
    of its own size: `kept` for the backward pass from layer to layer, `constant` whatever the micro-batch,
    `passing` as much as it has tokens. `held` is the most that is there at once.
    """

    held: int
    always: int
    kept: int
    constant: int
    passing: int

    @property
    def everything(self) -> int:
        """All of it, as if it were there at once."""
        return self.always + self.kept + self.constant + self.passing


def segments_of(device: PoolBudget) -> Segments:
    """Return what a device's allocator holds, by how long it does and whether tokens decide it."""
    always = kept = 0
    shared: dict[str, Counter[str]] = defaultdict(Counter)  # what shares segments -> its bytes at each moment
    for_a_while: set[str] = set()
    of_tokens: set[str] = set()
    for line in device.lines:
        segment = line.component if line.component != "temporaries" else line.name
        shared[segment].update(dict.fromkeys(line.moments, line.bytes))
        if set(device.moment_names) <= set(line.moments):
            always += line.bytes
            continue
        if line.moments:
            for_a_while.add(segment)
        if (
            line.component in ("activations", "logits", "temporaries")
            and line.moments != device.moment_names[-1:]
        ):
            of_tokens.add(segment)
        if line.component == "activations" and device.moment_names[0] in line.moments:
            kept += line.bytes
    most = {segment: max(shared[segment].values()) for segment in for_a_while}
    passing = sum(size for segment, size in most.items() if segment in of_tokens)
    held = max(device.moments.values())
    return Segments(held, always, kept, sum(most.values()) - passing, passing - kept)


def room_of_segments(device: PoolBudget, held: int) -> int | None:
    """Return what a device has for the allocator, at least what it must hold; None without a machine."""
    beside = sum(line.bytes for line in device.lines if line.component == "runtime")
    return None if device.capacity_bytes is None else max(device.capacity_bytes - beside, held)


def reserve_line(device: PoolBudget, allocator: str = "default") -> Line:
    """Return what PyTorch's allocator keeps beyond what is held at once: segments that fit no other use.

    If all that is held for a while is there at once, the device must have room for the sum; where it has not,
    the allocator gives some back, and what is reserved lies anywhere between. Segments that expand serve
    other uses, too: then the lower end is what is held.
    """
    segments = segments_of(device)
    everything, held, room = segments.everything, segments.held, room_of_segments(device, segments.held)
    low, typical, high, source, date = TRAINING_RESERVE_PERCENT
    ends = [everything * (100 + percent) // 100 for percent in (low, typical, high)]
    if allocator == "expandable":
        ends[0] = held
    if room is not None and everything > room:
        ends = [held, (held + room) // 2, room]
    low, typical, high = (max(0, (end if room is None else min(end, room)) - held) for end in ends)
    name = "allocator reserve"
    return measured("runtime", name, Measured(low, typical, high, source, date))


def varying_line(device: PoolBudget, reserve: Line, allocator: str) -> Line:
    """Return what the allocator keeps on top where lengths vary, each longer batch in segments of its own.

    It gives them back before it runs out of memory: no verdict counts them.
    """
    segments = segments_of(device)
    per_cent = TRAINING_EXPANDABLE_PERCENT if allocator == "expandable" else TRAINING_VARYING_PERCENT
    base, constant, room = (
        segments.always + segments.kept,
        segments.constant,
        room_of_segments(device, segments.held),
    )
    low, typical, high = (segments.passing * percent // 100 for percent in per_cent[:3])
    ends = (base + max(constant, low), base + max(constant, typical), base + constant + high)
    taken = [segments.held + size for size in (reserve.least_bytes, reserve.bytes, reserve.most_bytes)]
    low, typical, high = (
        max(0, (end if room is None else min(end, room)) - before)
        for end, before in zip(ends, taken, strict=True)
    )
    size = Measured(min(low, typical), typical, max(typical, high), *per_cent[3:])
    return measured("runtime", VARYING, size)


def paged_lines(plan: TrainingPlan, device: PoolBudget, paged: int) -> tuple[list[Line], list[Line]]:
    """Return the optimizer's states in unified memory: on the device while it has room, else in the host.

    They are allocated by cudaMallocManaged, outside of PyTorch's allocator, and the driver moves their pages
    to the side that uses them; where the device is full, it evicts them.
    """
    if not paged:
        return [], []
    room = device.capacity_bytes
    here = paged if room is None else max(0, min(paged, room - device.total_bytes))
    name, source = "paged states", plan.optimizer.source
    on_device = Line("runtime", name, here, evidence="assumed", source=source, low=0, high=here)
    rest, moments = paged - here, plan.moments
    in_host = Line("optimizer", name, rest, moments=moments, evidence="assumed", source=source, high=paged)
    return [on_device], [in_host._replace(low=rest)]


def uncertain_lines(plan: TrainingPlan, stage: StageTensors) -> Iterator[Line]:
    """Yield what no plan can say, as ranges about nothing: what a compiler fuses, how routing turns out."""
    full = plan.options.recompute == "full"
    groups = [group for found in stage.groups for group in found]
    if plan.options.compile:
        kept = max((group.again for group in groups), default=0) if full else stage.layers_kept
        source, date = TRAINING_FUSED_AWAY_PERCENT[3:]
        least = -(kept * TRAINING_FUSED_AWAY_PERCENT.high // 100)
        yield measured("runtime", "fused away by torch.compile", Measured(least, 0, 0, source, date))
    if not plan.micro_batch.architecture.listed and plan.implementation.id == "transformers":
        yield from not_listed(plan, stage)
    if full and not plan.input_grad:
        yield kept_for_nothing(plan, stage)
    if full and plan.layers_train and plan.implementation.gradients is None:
        yield Line(
            component="activations",
            name="output of the layer that runs again, with reentrant checkpoints",
            bytes=0,
            moments=plan.moments[2:3],
            evidence="assumed",
            source="torch 2.13, torch/utils/checkpoint.py, 2026-12: use_reentrant, as transformers 4 has it",
            low=0,
            high=stage.stream,
        )
    if plan.micro_batch.quantised == "gptq":
        yield made_of_codes(stage, full=full)
    parallel = plan.parallelism
    if parallel.shard in (1, 2) and parallel.states_ranks > 1 and plan.implementation.gradients is None:
        numbers = min(ZERO_BUCKET_NUMBERS, sum(one.count for one in stage.trained))
        low, typical, high, source, date = ZERO_BUCKETS
        size = Measured(low * numbers, typical * numbers, high * numbers, source, date)
        yield measured("runtime", "ZeRO buckets", size, evidence="assumed")
    routed = sum(group.routed * (1 if full else group.times) for group in groups)
    if parallel.ep > 1 and routed:
        yield Line(
            component="runtime",
            name="imbalance of experts",
            bytes=0,
            evidence="assumed",
            source="the bound: every token is sent to the experts of one rank",
            low=0,
            high=routed * (parallel.ep - 1),
        )


def tower_lines(plan: TrainingPlan) -> list[Line]:
    """Return what lies beside a text model whose class loads towers with it."""
    return [tower_line(plan), *([tower_adapters(plan)] if plan.adapters else [])]


def tower_line(plan: TrainingPlan) -> Line:
    """Return the towers beside the text model, if its class loads them with it; no text trains them.

    Which class that is, the model's type does not say alone: `AutoModelForImageTextToText` loads them, and
    `AutoModelForCausalLM` of some types does not.
    """
    model, width = plan.model, plan.widths.weight
    ranks = plan.parallelism.states_ranks if plan.parallelism.shares_weights else 1
    size = ceil_div(model.vision_parameters * width, ranks)
    shared = f" / {ranks} ranks" if ranks > 1 else ""
    return Line(
        component="weights",
        name="towers, not trained",
        count=model.vision_parameters,
        bytes=0 if model.model_type in TEXT_ALONE else size,
        formula=f"{model.vision_parameters:,} x {width} B{shared}",
        moments=plan.moments,
        evidence="assumed",
        source=AUTO_CLASSES,
        low=0,
        high=size,
    )


def tower_adapters(plan: TrainingPlan) -> Line:
    """Return the adapters that towers get beside the text model: no text gives them a gradient.

    PEFT looks for names in the whole model, and for all linear layers where none is named. Those of a
    projector may be no linear layers (Gemma 3's is a bare array), and a tower's names are often its own.
    """
    model, asked = plan.model, plan.options
    rank, wide = asked.lora_rank or 0, 2 if asked.adapter_dtype == "bf16" else 4
    named = None if asked.lora_targets in (None, ("all-linear",)) else asked.lora_targets
    surely = possibly = 0
    for layer in model.vision:
        for tensor in layer.weights():
            name = tensor.name.removesuffix(".weight").rpartition(".")[2]
            if tensor.kind != "matrix" or not (named is None or name in named):
                continue
            numbers = rank * layer.times * sum(map(product, tensor.shape))
            possibly += numbers
            linear = "projector" not in tensor.name
            surely += numbers if linear and (named is None or name in OF_TOWERS) else 0
    return Line(
        component="weights",
        name="adapters of towers, without a gradient",
        count=surely,
        bytes=0 if model.model_type in TEXT_ALONE else wide * surely,
        formula=f"{surely:,} x {wide} B",
        moments=plan.moments,
        evidence="assumed",
        source="peft 0.21.2, tuners/tuners_utils.py: _maybe_include_all_linear_layers",
        low=0,
        high=wide * possibly,
    )


def made_of_codes(stage: StageTensors, *, full: bool) -> Line:
    """Return what layers keep less whose kernels keep codes: those that train keep the matrix itself.

    Read in gptqmodel 7.7.0, 2026-12: nn_modules/qlinear/torch.py multiplies by dequantised numbers, and so
    does TritonV2 while it trains; nn_modules/triton_utils/dequant.py (QuantLinearFunction) saves codes.
    """
    of_all = max if full else sum
    kept = of_all(
        group.unpacked * (1 if full else group.times) for groups in stage.groups for group in groups
    )
    return Line(
        component="activations",
        name="matrices made of codes, if kernels make them again",
        bytes=0,
        moments=("recompute",) if full else ("forward_end", "loss", "backward"),
        evidence="assumed",
        source="gptqmodel 7.7.0, nn_modules/qlinear/torch.py and triton_utils/dequant.py, read 2026-12",
        low=-kept,
        high=0,
    )


def not_listed(plan: TrainingPlan, stage: StageTensors) -> Iterator[Line]:
    """Yield the range of what layers keep whose operations are not listed, about what is counted."""
    from memcalc.training.autograd.stand_in import kept_most, middle, through_products

    full, micro = plan.options.recompute == "full", plan.micro_batch
    tokens, tape = micro.batch * micro.seq * micro.low_bytes, micro.tape()
    layers = [layer for chunk in stage.chunks for layer in chunk.layers]
    if not layers:
        return
    of_all = max if full else sum  # of layers that run again one is there at a time
    counted = of_all(middle(tape, micro, one).bytes * (1 if full else one.times) for one in layers)
    most = of_all(
        tokens * through_products(one) * kept_most(one) * (1 if full else one.times) for one in layers
    )
    yield Line(
        component="activations",
        name="operations that are not listed",
        bytes=0,
        moments=plan.moments[2:3] if full else plan.moments[:3],
        evidence="assumed",
        source="layers whose operations are listed keep 0.6 to 2.2 times the numbers of their products",
        low=-(2 * counted // 3),
        high=most - counted,
    )


def computed_by_torch(plan: TrainingPlan, stage: StageTensors) -> tuple[TrainingPlan, StageTensors] | None:
    """Return plan and tensors where no kernels for layers with a state are installed, if that is open.

    transformers takes flash-linear-attention, mamba-ssm and causal-conv1d where they can be imported, each by
    itself, and its own functions in PyTorch else: what a step takes lies between the two.
    """
    micro = plan.micro_batch
    is_open = plan.options.state_kernels is None and micro.state_kernels != "torch"
    if not (is_open and micro.architecture.listed and keeps_states(plan.model)):
        return None
    slow = replace(plan, micro_batch=replace(micro, state_kernels="torch"))
    return slow, stage_tensors(slow, stage.number, stage.chunks, LayerRuns(slow))


def by_torch(
    plan: TrainingPlan, stage: StageTensors, slow: TrainingPlan, other: StageTensors
) -> Iterator[Line]:
    """Yield what layers with a state take more where torch computes them."""
    kept = other.layers_kept - stage.layers_kept
    point = fullest_point(slow, other).total - fullest_point(plan, stage).total
    for more, moments in (kept, plan.moments[:2]), (point, plan.moments[2:3]):
        if more > 0:
            yield Line(
                component="activations",
                name=BY_TORCH,
                bytes=0,
                moments=moments,
                evidence="assumed",
                source=IF_INSTALLED,
                low=0,
                high=more,
            )


def up_to_torch(device: PoolBudget, slower: PoolBudget) -> Line:
    """Return what the upper end of a device's range lacks of that of the same step computed by torch.

    The allocator keeps segments that fit no other use, and more of them where more is held for a while.
    """
    more = max(0, slower.held("most_bytes")[1] - device.held("most_bytes")[1])
    return Line(
        component="runtime",
        name=f"{BY_TORCH}, beyond what is held",
        bytes=0,
        evidence="assumed",
        source=IF_INSTALLED,
        low=0,
        high=more,
    )


def kept_for_nothing(plan: TrainingPlan, stage: StageTensors) -> Line:
    """Return what recomputed layers keep that have nothing to train, if their input gets a gradient.

    torch.utils.checkpoint keeps none of it. Where the embedded tokens are asked for a gradient, as
    transformers 5 does by itself, every layer keeps its input.
    """
    runs = LayerRuns(plan)
    groups = [group for chunk in stage.chunks for group in runs.groups(chunk.layers, grad=True)[0]]
    kept = kept_by(groups) + tables_bytes(groups) + checkpoint_bytes(plan)
    if stage.ends is not None:
        kept += run_ends(plan, stage.chunks[-1], grad=True).kept - stage.ends.kept
    return Line(
        component="activations",
        name="kept by frozen layers, if their input gets a gradient",
        bytes=0,
        moments=plan.moments[:2],
        evidence="assumed",
        source="huggingface/transformers v4.57.6, modeling_utils.py: enable_input_require_grads, 2026-12",
        low=0,
        high=kept,
    )
