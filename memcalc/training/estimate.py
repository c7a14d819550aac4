"""An estimate of a training step: each stage's budget, and what the fullest one holds."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from memcalc.data.units import Amount, amount, gib, gib_or_less
from memcalc.errors import BadInputError, Described, UnknownNameError, nearest, not_read_rows
from memcalc.ledger.budget import PoolBudget
from memcalc.show.card import Card, in_words
from memcalc.show.shown import Shown
from memcalc.training.adapters import (
    EMBEDDED,
    HEAD,
    has_adapters_of_experts,
    names_beside_experts,
    smaller_sides,
)
from memcalc.training.autograd.architectures import keeps_states, kernels_read_matrices, uses_others
from memcalc.training.backward import largest
from memcalc.training.beside.moment import VERBS
from memcalc.training.checkpoints import read_as_numbers
from memcalc.training.checks import CHECKS, against_quantised_experts
from memcalc.training.host import ALLOCATOR, beside_offloaded, program_lines
from memcalc.training.layer_runs import LayerRuns
from memcalc.training.lines import KEPT_BY_LAYERS, stage_lines
from memcalc.training.overheads import (
    by_torch,
    computed_by_torch,
    paged_lines,
    reserve_line,
    runtime_lines,
    tower_lines,
    uncertain_lines,
    up_to_torch,
    varying_line,
    workspace_line,
)
from memcalc.training.plan import plan_fields, resolve
from memcalc.training.stage import chunks_of, stage_tensors, stages_asked
from memcalc.training.stage_estimate import StageEstimate
from memcalc.training.weights import added_parameters, trainable_parameters

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from os import PathLike

    from memcalc.files.source import Source
    from memcalc.ledger.budget import Line
    from memcalc.ledger.model import Model
    from memcalc.show.explanation import Explanation
    from memcalc.show.remedy import Remedy
    from memcalc.training.beside.every import NotCounted
    from memcalc.training.beside.moment import Beside
    from memcalc.training.options import TrainingOptions
    from memcalc.training.plan import TrainingPlan
    from memcalc.training.stage import StageTensors

__all__ = ["StageEstimate", "TrainingEstimate", "estimate"]

CONSTANT_SHAPES = (
    "constant shapes: where the tokens of micro-batches vary, the allocator reserves more (--lengths varying)"
)
VARYING_SHAPES = (
    "micro-batches vary, up to --seq tokens: longer ones take segments of their own, which are reserved, and "
    "given back before memory runs out; the verdict leaves them out"
)
PACKED_BASE = (
    "bitsandbytes 0.43.3 or newer, and bnb_4bit_quant_storage bf16: in uint8 no rank shares weights out, and "
    "older versions keep the input of each quantised matrix"
)
PINNED = (
    "what is moved to the host is pinned, and PyTorch rounds each pinned array up to a power of two; the "
    "lower end is without: pin_memory false, or PYTORCH_ALLOC_CONF=pinned_max_round_threshold_mb:64"
)
BEYOND = (
    "--seq is beyond the model's own limit of {:,} tokens: that changes no byte, but the model has learnt no "
    "such positions"
)
DROPPED = (
    "the model drops {} of some numbers while it is trained, as its config or its class has it: --dropout 0 "
    "is without (beside adapters that is theirs: state it in the config)"
)
UNTIED = (
    "embedding and head are tied no more where one of them has an adapter or a copy: PEFT without "
    "ensure_weight_tying"
)
EXPERTS_IN_16_BITS = (
    "experts and router stay in 16 bits: bitsandbytes quantises linear layers, and in transformers 5 the "
    "experts of a layer are one array"
)


class TrainingEstimate(Shown):
    """How much memory a training step needs: `stages` are those among which the fullest is looked for.

    >>> from memcalc.training import train
    >>> step = train("Qwen/Qwen3-0.6B", seq=4096, regime="pure-bf16")
    >>> step.at("step")["optimizer"] == 4 * step.trainable_parameters
    True
    """

    def __init__(self, plan: TrainingPlan, stages: tuple[StageEstimate, ...]) -> None:
        self.plan, self.stages = plan, stages

    @property
    def card(self) -> Card:
        """What the shell and Jupyter show of it; of a sweep no pools, which differ from point to point."""
        plan, asked = self.plan, self.plan.options
        how = f"{asked.regime}, {plan.optimizer.id} ({plan.optimizer_step}), {asked.attention}"
        trained = f"{self.trainable_parameters:,} of {self.parameters:,} parameters trained"
        title, how = f"{self.model.name}: {trained}", f"{how}, recompute {asked.recompute}"
        if plan.points is not None:
            return Card(title, (how, "a sweep: allocated_bytes has an element for each point"))
        micro, world = plan.micro_batch, plan.parallelism.world
        facts = (f"{how}, {micro.batch:,} x {micro.seq:,} tokens a rank",)
        stage = "" if plan.parallelism.pp == 1 else f", pipeline stage {self.stage.number}"
        pools = ((f"fullest of {world:,} device(s){stage}", self.device),)
        return Card(
            title,
            facts,
            pools,
            moments=True,
            notes=tuple(notes(self)),
            defaults=self.defaults,
            verdict=self.verdict or "",
        )

    @property
    def model(self) -> Model:
        """The model, its vocabulary padded."""
        return self.plan.model

    @property
    def parameters(self) -> int:
        """Numbers of the model, of its adapters and of the copies beside them, tied ones once."""
        return self.model.parameters + added_parameters(self.plan)

    @property
    def trainable_parameters(self) -> int:
        """Numbers that get a gradient."""
        return trainable_parameters(self.plan)

    @property
    def moments(self) -> tuple[str, ...]:
        """The moments of a step."""
        return self.plan.moments

    @property
    def stage(self) -> StageEstimate:
        """The stage that holds most.

        Raises
        ------
        BadInputError
            In a sweep it is another one at each point.

        """
        if self.plan.points is not None and len(self.stages) > 1:
            remedy = "the fullest stage is another one at each point"
            asked = self.plan.options.rank
            raise BadInputError("--rank", "first or last in a sweep with --pp", asked, remedy)
        return max(self.stages, key=lambda one: one.allocated_bytes)

    @property
    def device(self) -> PoolBudget:
        """The budget of a device of the fullest stage.

        Raises
        ------
        BadInputError
            There is one for each point of a sweep.

        """
        if self.plan.points is not None:
            remedy = "allocated_bytes and at() have an element for each point"
            raise BadInputError("device", "a single plan", Described("a sweep"), remedy)
        return self.stage.device

    @property
    def host(self) -> PoolBudget | None:
        """One rank's part of the host's memory, None where nothing lies there."""
        return self.stage.host

    @property
    def host_bytes(self) -> Amount:
        """What all ranks put into the host's memory: that of one machine."""
        return Amount(0 if self.host is None else self.plan.parallelism.world * self.host.total_bytes)

    @property
    def allocated_bytes(self) -> Amount:
        """The largest moment: what torch.cuda.max_memory_allocated reports. In a sweep it is an array."""
        found = largest(one.allocated_bytes for one in self.stages)
        return amount(found) if self.plan.points is None else self.plan.points.value(found)

    def at(self, moment: str) -> dict[str, Amount]:
        """Return the components of a moment on the fullest stage; they add up to it.

        Parameters
        ----------
        moment : str
            One of `moments`.

        Returns
        -------
        dict
            Bytes by component; in a sweep arrays, one element for each point.

        Raises
        ------
        BadInputError
            In a sweep the fullest stage is another one at each point.

        """
        if moment not in self.moments:
            known = f"one of {', '.join(self.moments)}"
            raise UnknownNameError("moment", known, moment, nearest(moment, self.moments) or "see moments")
        components, points = self.stage.components(moment), self.plan.points
        if points is None:
            return components
        return {name: points.value(size) for name, size in components.items()}

    @cached_property
    def beside_the_step(self) -> tuple[Beside, ...]:
        """What loading, evaluation and saving hold, on the fullest device and in the host's memory.

        >>> from memcalc.training import train
        >>> step = train("Qwen/Qwen3-0.6B", seq=4096, world=2, shard="fsdp")
        >>> [(one.at, one.where) for one in step.beside_the_step]
        [('load', 'device'), ('load', 'host'), ('save', 'device'), ('save', 'host')]
        """
        from memcalc.training.beside.every import beside_the_step

        return beside_the_step(self.plan, self.stages[0])

    @property
    def not_counted(self) -> tuple[NotCounted, ...]:
        """The moments beside the step of which no bytes are known, or asked for."""
        from memcalc.training.beside.every import not_counted

        return not_counted(self.plan)

    @property
    def fits(self) -> bool | None:
        """Whether what is held at once fits, with the context; None where no machine was named.

        Raises
        ------
        BadInputError
            There is an answer for each point of a sweep.

        """
        if self.plan.points is not None:
            remedy = "compare allocated_bytes with what the device has"
            raise BadInputError("--on", "a single plan", Described("a sweep"), remedy)
        return None if self.plan.machine is None else self.lacking("bytes") is None

    def lacking(self, end: str) -> str | None:
        """Say which memory is too small with lines at one end of their ranges; None if none is."""
        beyond = ", with every measured range at its upper end" if end == "most_bytes" else ""
        found = (f"{one.words(end)}{beyond}" for one in self.beside_the_step if one.lacking(end))
        return self.lacking_in_the_step(end) or next(found, None)

    def lacking_in_the_step(self, end: str) -> str | None:
        """Say it of the step alone."""
        beyond = ", with every measured range at its upper end" if end == "most_bytes" else ""
        device = min(one.room(end) or 0 for one in self.stages)
        if device < 0:
            return f"a device lacks {gib_or_less(-device)}{beyond}"
        room = None if self.plan.machine is None else self.plan.machine.host_bytes
        held = self.plan.parallelism.world * max(
            0 if one.host is None else one.host.held(end)[1] for one in self.stages
        )
        if room is None or held <= room:
            return None
        return f"the host's memory lacks {gib_or_less(held - room)}{beyond}"

    @property
    def verdict(self) -> str | None:
        """Whether the step fits; None without a machine.

        ``may_not_fit``: with every measured range at its upper end, the allocator's reserve too, it does not.
        """
        if self.fits is None:
            return None
        if not self.fits:
            return "does_not_fit"
        return "fits" if self.lacking("most_bytes") is None else "may_not_fit"

    @property
    def cause(self) -> str | None:
        """Why it does not fit, or may not; None where it does, and without a machine."""
        return None if self.fits is None else self.lacking("bytes") or self.lacking("most_bytes")

    @cached_property
    def remedies(self) -> tuple[Remedy, ...]:
        """The smallest changes, three at most, with which a step fits that does not, or may not."""
        if self.verdict in (None, "fits"):
            return ()
        from memcalc.training.remedies import remedies

        lacking = [one for one in self.beside_the_step if one.lacking("most_bytes")]
        return remedies(self.plan, partial(estimate, self.plan.source), lacking)

    @cached_property
    def max_seq(self) -> int | None:
        """The longest sequence with which the step surely fits; None without a machine.

        >>> from memcalc.training import train
        >>> step = train("Qwen/Qwen3-0.6B", seq=4096, on="1x rtx-4090")
        >>> [train("Qwen/Qwen3-0.6B", seq=step.max_seq + more, on="1x rtx-4090").verdict for more in (0, 1)]
        ['fits', 'may_not_fit']
        """
        found: int | None = self.most("max_seq")
        return found

    @cached_property
    def max_batch(self) -> int | None:
        """The largest micro-batch with which the step surely fits; None without a machine."""
        found: int | None = self.most("max_batch")
        return found

    @cached_property
    def fewest_devices(self) -> int | None:
        """The fewest devices of the machine's kind with which it surely fits, if that many share the step."""
        found: int | None = self.most("fewest_devices")
        return found

    @cached_property
    def fewest_otherwise(self) -> tuple[str, int] | None:
        """How it is run where no number of devices is enough, as it is typed, and how many are then."""
        found: tuple[str, int] | None = self.most("fewest_otherwise")
        return found

    def most(self, what: str) -> Any:
        """Return one of the things that `memcalc.training.search` looks for; None without a machine."""
        if self.plan.machine is None or self.plan.points is not None:
            return None
        from memcalc.training import search

        return getattr(search, what)(self.plan, partial(self.changed, self.plan.source))

    def changed(self, source: Source, options: Mapping[str, Any]) -> TrainingEstimate:
        """Return the same step asked again of a source, with some options in another way.

        Parameters
        ----------
        source : Source
            The model: the plan's own, or another.
        options : mapping of str to object
            What is asked for in another way, by name.

        Raises
        ------
        RefusalError
            There is no such plan.

        Examples
        --------
        >>> from memcalc.training import train
        >>> step = train("Qwen/Qwen3-0.6B", seq=4096)
        >>> step.changed(step.plan.source, {"optimizer": "sgd"}).at("step").get("optimizer", 0)
        0

        """
        return estimate(source, replace(self.plan.asked, **options))

    @property
    def settings(self) -> dict[str, object]:
        """Every option by name, with what was left open filled in."""
        return plan_fields(self.plan)

    @property
    def defaults(self) -> tuple[str, ...]:
        """What was chosen where an option was left open, in words."""
        return self.plan.defaults

    @property
    def phase_fields(self) -> dict[str, object]:
        """The phases of a method as JSON shows them; a step of one model has none."""
        return {}

    @property
    def explanation(self) -> Explanation:
        """Where its numbers come from, line by line; `memcalc.explain` returns it."""
        return explained(self)

    @property
    def assumed(self) -> tuple[str, ...]:
        """What no plan can say, and what was taken for it."""
        plan = self.plan
        found = [*of_lengths(plan)]
        if plan.model.has_experts:
            found.append("every expert gets as many tokens; the rank that gets more holds more")
            if plan.options.quantize_base is not None and not plan.options.quantize_experts:
                found.append("; ".join([EXPERTS_IN_16_BITS, *advice_on_experts(plan)]))
        if plan.options.quantize_base is not None and plan.parallelism.shares_weights:
            found.append(PACKED_BASE)
        if plan.model.tied and (
            (plan.options.trainable and plan.adapters) or {HEAD, EMBEDDED} & {*plan.adapters}
        ):
            found.append(UNTIED)
        dropped = max(plan.micro_batch.dropout, plan.micro_batch.hidden_dropout)
        if plan.implementation.id == "transformers" and dropped:
            asked = plan.options.dropout if not plan.adapters else None
            found += [] if asked is not None else [DROPPED.format(dropped)]
        found += [*beyond_a_rank(plan), *of_architecture(plan)]
        found += read_as_numbers(plan.source, plan.options.quantize_base)
        if plan.machine is not None and plan.machine.count > plan.parallelism.world:
            idle = plan.machine.count - plan.parallelism.world
            stay = "stays" if idle == 1 else "stay"
            found.append(
                f"{idle} of {plan.machine.count} devices {stay} idle: --world says how many are used, as in "
                f"--world {plan.machine.count} --shard fsdp"
            )
        machine = plan.machine
        if plan.options.offload and machine is not None and machine.is_unified:
            found.append("offloading moves nothing: host and device share the memory")
        elif plan.options.offload and machine is not None and machine.host_bytes is None:
            found.append(
                "the host has room for what is offloaded; its size can be added to --on, as in + 512GiB host"
            )
        if self.host is not None and any(line.source == ALLOCATOR for line in self.host.lines):
            found.append(PINNED)
        return tuple(found)


def of_lengths(plan: TrainingPlan) -> Iterator[str]:
    """Yield what was taken for the lengths of sequences, and what the model says of them."""
    yield CONSTANT_SHAPES if plan.options.lengths == "packed" else VARYING_SHAPES
    limit = plan.model.max_context
    if limit is not None and plan.points is None and plan.options.seq > limit:
        yield BEYOND.format(limit)


def estimate(source: str | PathLike[str] | Source, options: TrainingOptions) -> TrainingEstimate:
    """Return the estimate of a training step; `memcalc.train` is the same with options as keywords.

    Parameters
    ----------
    source : str, path or Source
        The model.
    options : TrainingOptions
        What is asked for.

    Returns
    -------
    TrainingEstimate
        What each stage holds at each moment.

    Raises
    ------
    BadInputError
        A number that cannot be, or a plan that the implementation cannot run.
    UnknownNameError
        A name without a record.

    """
    plan = resolve(source, options, CHECKS)
    runs, chunks = LayerRuns(plan), chunks_of(plan)
    tensors = [stage_tensors(plan, number, chunks[number], runs) for number in stages_asked(plan)]
    return TrainingEstimate(plan, tuple(estimate_stage(plan, one) for one in tensors))


def explained(step: TrainingEstimate) -> Explanation:
    """Return where the numbers of a step come from: the fullest stage again, with numbers that remember."""
    from memcalc.show.explanation import Explanation
    from memcalc.show.steps import pool_section
    from memcalc.show.traced import Names
    from memcalc.training.explained import NamedRuns, named_plan, tensor_sections

    card, names, stage = step.card, Names(), step.stage
    if not card.pools:
        raise BadInputError(
            "explain", "a single plan", Described("a sweep"), "each point is a plan of its own"
        )
    plan = named_plan(step.plan, names)
    tensors = stage_tensors(plan, stage.number, chunks_of(plan)[stage.number], NamedRuns(plan, names))
    traced = estimate_stage(plan, tensors)
    heading, _ = card.pools[0]
    sections = [*tensor_sections(plan, tensors), pool_section(heading, stage.device, traced.device)]
    if stage.host is not None:
        sections.append(pool_section("one rank's part of the host's memory", stage.host, traced.host))
    at, allocated = stage.device.fullest, step.allocated_bytes
    return Explanation(
        "train",
        card.title,
        sections,
        model=step.model.name,
        defaults=step.plan.defaults,
        facts=card.facts,
        conclusion=card.notes,
        answer=stage.device.total_bytes,
        said=f"the allocator holds {allocated:,} bytes at {at}, and the fullest device {{}} bytes in all",
    )


def estimate_stage(plan: TrainingPlan, tensors: StageTensors) -> StageEstimate:
    """Return the budgets of one stage: the device, and the host's memory where something lies there."""
    placed: dict[bool, list[Line]] = {False: [], True: []}
    towers = tower_lines(plan) if plan.loads_towers and tensors.number == 0 else []
    for line in (*stage_lines(plan, tensors), *towers, workspace_line(plan), *runtime_lines(plan)):
        if not is_nothing(line):
            placed[in_host(plan, line)].append(line)
    capacity = None if plan.machine is None else plan.machine.device.capacity_bytes
    device = pool(plan, "gpu", capacity, placed[False])
    if plan.points is None:
        reserve = reserve_line(device, plan.options.allocator)
        by = computed_by_torch(plan, tensors)
        doubts = [reserve, *uncertain_lines(plan, tensors), *(by_torch(plan, tensors, *by) if by else ())]
        if plan.options.lengths == "varying":
            doubts.insert(1, varying_line(device, reserve, plan.options.allocator))
        device = pool(plan, "gpu", capacity, [*placed[False], *doubts])
        here, there = paged_lines(plan, device, sum(one.paged for one in tensors.trained))
        device = pool(plan, "gpu", capacity, [*device.lines, *here])
        placed[True] += there
        if by is not None:
            device = device.holding((*device.lines, up_to_torch(device, estimate_stage(*by).device)))
    room = None if plan.machine is None else plan.machine.host_bytes
    if placed[True] and plan.points is None:
        placed[True] += (line for line in beside_offloaded(plan, tensors) if not is_nothing(line))
        placed[True] += program_lines(plan, placed[True])
    host = pool(plan, "host", room, placed[True]) if placed[True] else None
    return StageEstimate(tensors.number, tensors, device, host)


def pool(plan: TrainingPlan, name: str, capacity: int | None, lines: list[Line]) -> PoolBudget:
    """Return the budget of a pool: of all devices alike, or of the one host."""
    devices = plan.parallelism.world if name == "gpu" else 1
    return PoolBudget(
        name,
        devices,
        capacity_bytes=capacity,
        usable_bytes=capacity,
        lines=tuple(lines),
        moment_names=plan.moments,
    )


def in_host(plan: TrainingPlan, line: Line) -> bool:
    """Say whether a line lies in the host's memory: states by --offload, and their step with them."""
    offload, step = plan.options.offload, plan.moments[-1:]
    if plan.machine is not None and plan.machine.is_unified:
        return False  # host and device share the memory
    of_states = line.component in ("master", "optimizer") or line.moments == step
    if plan.optimizer.in_host and line.component == "optimizer":
        return True
    if "activations" in offload and line.name == KEPT_BY_LAYERS:
        return True
    if "parameters" in offload:
        return of_states or line.name in ("weights", "gradients")
    zero_3 = plan.options.shard == 3  # its buffer of gradients lies beside the states
    return "optimizer" in offload and (of_states or (zero_3 and line.name == "gradients"))


def is_nothing(line: Line) -> bool:
    """Say whether a line holds nothing, at either end of its range."""
    sizes = (line.bytes, line.least_bytes, line.most_bytes)
    return all(type(size) is int and size == 0 for size in sizes)  # arrays are never left out


def beyond_a_rank(plan: TrainingPlan) -> Iterator[str]:
    """Yield which matrices have adapters of a higher rank than their own."""
    rank = plan.options.lora_rank or 0
    lower = {name: side for name, side in smaller_sides(plan.apart, plan.adapters).items() if side < rank}
    if lower:
        named = ", ".join(f"{name} ({side:,})" for name, side in lower.items())
        yield f"adapters of rank {rank:,} where a matrix has a lower one: {named}"


def advice_on_experts(plan: TrainingPlan) -> Iterator[str]:
    """Yield how the experts of a quantised base are quantised, too, where a plan can have that."""
    if not any(against_quantised_experts(plan)):
        named = ",".join(names_beside_experts(plan.model))
        targets = f" with --lora-targets {named}" if has_adapters_of_experts(plan.adapters) else ""
        yield f"--quantize-experts{targets} quantises that, as axolotl can"


def of_architecture(plan: TrainingPlan) -> Iterator[str]:
    """Yield what is assumed of how the model's class runs, and of what stands beside its text model."""
    words, model = plan.micro_batch.architecture, plan.model
    name = model.text_type or model.model_type
    if plan.implementation.id == "transformers" and not words.listed:
        alone = ", whose layers use what others made, is listed on one rank alone"
        how = alone if uses_others(model) else " is not listed"
        yield (
            f"what autograd keeps of {name}{how}: activations are a range, by the numbers that pass each "
            "layer's products; weights and states are exact"
        )
    elif plan.micro_batch.state_kernels == "fused" and keeps_states(model):
        yield (
            f"layers that keep a state run by fused kernels, which save what {kernels_of(plan)} "
            "sources say; with --state-kernels torch they are exact against autograd"
        )
        if "out_proj" in plan.adapters and kernels_read_matrices(model):
            yield (
                "the fused kernel multiplies by out_proj without its adapter, which gets no gradient; one is "
                "counted, and states"
            )
    if model.vision:
        towers = f"its towers, {model.vision_parameters:,} parameters, are"
        loaded = "not trained, and no image is shown to them; the lower end is without them"
        yield f"the text model is trained alone: {towers} {loaded if plan.loads_towers else 'left out'}"


def kernels_of(plan: TrainingPlan) -> str:
    """Return whose kernels run layers that keep a state."""
    return (
        "mamba-ssm's"
        if plan.micro_batch.architecture.chunk
        else "flash-linear-attention's and causal-conv1d's"
    )


def in_the_host(step: TrainingEstimate) -> str:
    """Return what lies in the host's memory, in words, with the ends of its range."""
    machine, host, world = step.plan.machine, step.host, step.plan.parallelism.world
    room = None if machine is None else machine.host_bytes
    of = "" if room is None else f" of {gib(room)}"
    if host is None or host.low_bytes == host.high_bytes:
        return f"in the host's memory: {gib(step.host_bytes)}{of}"
    ends = f"{gib(world * host.low_bytes)} to {gib(world * host.high_bytes)}"
    return f"in the host's memory: {gib(step.host_bytes)} ({ends}){of}"


def beside_notes(step: TrainingEstimate) -> Iterator[str]:
    """Yield the moments beside the step that hold more than it, or anything in the host's memory.

    What was asked for is said, too, and with a machine what is not counted.
    """
    if step.plan.points is not None:
        return
    for one in step.beside_the_step:
        total, several = one.total_bytes, step.plan.parallelism.world > 1
        beyond = (
            total > step.device.total_bytes if one.where == "device" else several and total > step.host_bytes
        )
        if not (beyond or one.at == "evaluate" or one.lacking("most_bytes")):
            continue
        of = "" if one.capacity_bytes is None else f" of {gib(one.capacity_bytes)}"
        low, high = one.held("least_bytes"), one.held("most_bytes")
        ends = "" if low == high else f" ({gib(low)} to {gib(high)})"
        where = "a device" if one.where == "device" else "the host's memory"
        fixes = f"; fixes: {'; '.join(one.fixes)}" if one.fixes and one.verdict not in (None, "fits") else ""
        yield f"{VERBS[one.at]}: {gib(total)}{of} of {where}{ends}{fixes}"
    for gap in step.not_counted if step.plan.machine is not None else ():
        if gap.at == "load":
            yield f"loading and saving are not counted: {gap.why}"


def notes(step: TrainingEstimate) -> Iterator[str]:
    """Yield what follows: the verdict, the host's memory, what was assumed."""
    if step.verdict is not None:
        yield in_words(step.verdict, step.cause)
    if step.verdict not in (None, "fits"):
        from memcalc.show.remedy import lines
        from memcalc.training.remedies import TRIED

        yield from lines(step.remedies, TRIED)
    if step.host is not None:
        yield in_the_host(step)
    yield from beside_notes(step)
    for one in step.assumed:
        yield f"assumed: {one}"
    yield from (f"{words}: {said}" for words, said in not_read_rows(step.model.not_read).items())
    if step.model.class_defaults:
        yield f"class defaults: {', '.join(step.model.class_defaults)}"
