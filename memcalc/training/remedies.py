"""What would make a training step fit, and what lies beside it: the gentlest change of each kind."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from memcalc.data.units import GIB
from memcalc.errors import RefusalError
from memcalc.serving.search import largest
from memcalc.show.remedy import MOST, Change, Remedy, command_line, listed, machine_text
from memcalc.training.adapters import folds, has_adapters_of_experts, names_beside_experts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from memcalc.training.beside.moment import Beside
    from memcalc.training.options import TrainingOptions
    from memcalc.training.plan import TrainingPlan

    Kinds = Callable[[TrainingPlan, "Enough"], "Iterator[Iterable[Change]]"]
    Enough = Callable[[Change], bool]

__all__ = ["TRIED", "remedies"]

COUNTS = (2, 4, 8, 16, 32, 64)  # of devices that are tried
NODE = 8  # devices of a server: more of them are tried after recomputation
FAR = 2  # times shorter: then everything else is tried before
HOSTS = (64, 128, 256, 512, 1024, 2048, 4096)  # GiB
STAGES = (1, 2, 3)  # of ZeRO
RECOMPUTED = Change("full recomputation", {"recompute": "full", "recompute_modules": None})
TRIED = "recomputation, smaller micro-batches, up to 64 devices, adapters on 4 bits, shorter sequences"
LIGER = Change("the cross-entropy of Liger Kernel", {"loss": "liger"})
LORA = Change("LoRA adapters of rank 16", {"lora_rank": 16})
QUANTISED = Change("base weights in NF4", {"quantize_base": "nf4"})
RANK_0 = Change("the first rank alone loading the weights", {"load": "rank-0"})
BY_HOST = Change("weights that are loaded to the host's memory", {"load": "host"})
TO_DEVICE = Change("weights that are loaded to the device", {"load": "device"})
SHARDED = Change("sharded checkpoints", {"save": "sharded"})
SOONER = Change("logits that move to the host after each batch", {"eval_accumulation_steps": 1})
ONE_BY_ONE = Change("evaluation of one sequence at a time", {"eval_batch": 1})
LOSS_ALONE = Change("evaluation of the loss alone", {"evaluate": "loss", "eval_accumulation_steps": None})


def remedies(
    plan: TrainingPlan, estimate: Callable[[TrainingOptions], Any], lacking: Iterable[Beside] = ()
) -> tuple[Remedy, ...]:
    """Return what makes a step fit that does not, the gentlest change first; nothing in it can be left out.

    What changes a moment beside the step that has no room comes first. What trains the same comes then, alone
    and with recomputation; then adapters and shorter sequences.

    Parameters
    ----------
    plan : TrainingPlan
        What does not fit.
    estimate : callable
        Returns the estimate of options.
    lacking : iterable of Beside, optional
        The moments beside the step for which there is no room.

    """
    tried, beside = (
        Tried(plan, estimate),
        tuple({one.words: one for one in beside_the_step(plan, lacking)}.values()),
    )
    found: dict[tuple[Kinds, int], Remedy] = {}
    if beside and tried.fits(*beside):
        return (tried.remedy(beside),)
    for start, kinds in ((beside + start, kinds) for start, kinds in passes(plan)):
        for number, kind in enumerate(kinds(plan, partial(tried.fits, *start))):
            change = None if (kinds, number) in found else first_of(tried, start, kind)
            if change is not None:
                remedy = tried.remedy((*start, change))
                if all(remedy.command != one.command for one in found.values()):
                    found[kinds, number] = remedy
            if len(found) == MOST:
                return tuple(found.values())
    return tuple(found.values())


def first_of(tried: Tried, start: tuple[Change, ...], kind: Iterable[Change]) -> Change | None:
    """Return the first change that is enough, of those that leave alone what was changed before."""
    taken = {name for one in start for name in one.options}
    free = (one for one in kind if taken.isdisjoint(one.options))
    return next((one for one in free if tried.fits(*start, one)), None)


class Tried:
    """Estimates of a plan with some options changed, each made once.

    Parameters
    ----------
    plan : TrainingPlan
        What is changed.
    estimate : callable
        Returns the estimate of options.

    """

    def __init__(self, plan: TrainingPlan, estimate: Callable[[TrainingOptions], Any]) -> None:
        self.plan, self.estimate = plan, estimate
        self._made: dict[frozenset[tuple[str, Any]], Any] = {}

    def __call__(self, *changes: Change) -> Any:
        """Return the estimate with changes; None where it is refused."""
        options = {name: value for one in changes for name, value in one.options.items()}
        key = frozenset(options.items())
        if key not in self._made:
            self._made[key] = self.with_options(options)
        return self._made[key]

    def with_options(self, options: dict[str, Any]) -> Any:
        """Return the estimate with options changed; None where it is refused."""
        try:
            return self.estimate(replace(self.plan.asked, **options))
        except RefusalError:
            return None

    def fits(self, *changes: Change) -> bool:
        """Say whether a step fits with changes."""
        then = self(*changes)
        return then is not None and then.verdict == "fits"

    def remedy(self, changes: tuple[Change, ...]) -> Remedy:
        """Return changes that fit, without those that can be left out, in words and as a command."""
        least = self.least_of(changes)
        step = self(*least)
        command = command_line("train", self.plan.source.name, step.plan.asked)
        return Remedy(listed(one.words for one in least), command, step.device.total_bytes)

    def least_of(self, changes: tuple[Change, ...]) -> tuple[Change, ...]:
        """Return changes that fit without those that can be left out."""
        for change in changes:
            others = tuple(one for one in changes if one is not change)
            if others and self.fits(*others):
                return self.least_of(others)
        return changes


def beside_the_step(plan: TrainingPlan, lacking: Iterable[Beside]) -> Iterator[Change]:
    """Yield what changes the moments beside the step for which there is no room."""
    of_moment = {"load": loaded_elsewhere, "evaluate": evaluated_in_parts, "save": saved_in_shards}
    for one in lacking:
        yield from of_moment[one.at](plan, one.where)


def loaded_elsewhere(plan: TrainingPlan, where: str) -> Iterator[Change]:
    """Yield another way to load."""
    asked, quantised = plan.options, plan.options.quantize_base is not None
    if where != asked.load:
        return
    if asked.shard == "fsdp":
        if where == "device" or not quantised:
            yield BY_HOST if quantised else RANK_0
    elif where == "host" and not plan.parallelism.shares_weights:
        yield TO_DEVICE


def evaluated_in_parts(plan: TrainingPlan, where: str) -> Iterator[Change]:
    """Yield fewer logits at once; in the host's memory none."""
    if plan.options.eval_accumulation_steps not in (None, 1):
        yield SOONER
    if plan.options.eval_batch != 1:
        yield ONE_BY_ONE
    if where == "host":
        yield LOSS_ALONE


def saved_in_shards(plan: TrainingPlan, where: str) -> Iterator[Change]:
    """Yield checkpoints of shards, where ranks have some."""
    if where == "host" and plan.parallelism.shares_weights:
        yield SHARDED


def passes(plan: TrainingPlan) -> Iterator[tuple[tuple[Change, ...], Kinds]]:
    """Yield what is changed first, and the kinds of changes that are tried with it."""
    again = () if plan.options.recompute == "full" else (RECOMPUTED,)
    adapters = () if plan.adapters else (LORA,)
    base = () if plan.options.quantize_base is not None else (QUANTISED,)
    yield (), training_the_same
    yield again, training_the_same
    yield (), on_many_devices
    yield again, on_many_devices
    yield (), training_less
    yield again, training_less
    for start in (adapters, (*adapters, *base)):
        yield (*start, *again), training_the_same
        yield (*start, *again), training_less
    if plan.loss.id == "plain":
        yield (LIGER, *again), training_the_same
    yield (), shorter_text
    yield again, shorter_text


def training_the_same(plan: TrainingPlan, enough: Enough) -> Iterator[Iterable[Change]]:
    """Yield the kinds of changes after which the same is trained."""
    asked = plan.options
    fused = plan.optimizer_step == "foreach" and "fused" in plan.optimizer.steps
    yield [Change("the fused optimizer step", {"optimizer_step": "fused"})] if fused else []
    yield [LIGER] if plan.loss.id == "plain" else []
    yield [RECOMPUTED] if asked.recompute != "full" else []
    most = largest(
        lambda number: enough(smaller_batch(number)), asked.micro_batch - 1, asked.micro_batch // 2
    )
    yield [smaller_batch(most)] if most else []
    yield eight_bits(plan)
    yield [zero(stage) for stage in STAGES if plan.parallelism.dp > 1 and stage > stage_of(asked.shard)]
    yield [*idle_devices(plan), *more_devices(plan, enough, [one for one in COUNTS if one <= NODE])]
    yield larger_hosts(plan)


def on_many_devices(plan: TrainingPlan, enough: Enough) -> Iterator[Iterable[Change]]:
    """Yield more than one server of the same devices, where one is too small."""
    one_server = (*idle_devices(plan), *more_devices(plan, enough, [one for one in COUNTS if one <= NODE]))
    more = more_devices(plan, enough, [one for one in COUNTS if one > NODE])
    yield () if any(map(enough, one_server)) else more


def training_less(plan: TrainingPlan, enough: Enough) -> Iterator[Iterable[Change]]:
    """Yield the kinds of changes after which less is trained: adapters, on quantised weights, less text."""
    if plan.adapters:
        yield []
        yield [QUANTISED] if plan.options.quantize_base is None else []
    else:
        yield [LORA]
        both = Change(f"{LORA.words} on {QUANTISED.words}", {**LORA.options, **QUANTISED.options})
        yield [] if enough(LORA) else [both]
    yield quantised_experts(plan)
    (less,) = shorter_text(plan, enough)
    yield [one for one in less if FAR * one.options["seq"] > plan.options.seq]


def quantised_experts(plan: TrainingPlan) -> Iterator[Change]:
    """Yield experts in 4 bits as well, and adapters of all else: an expert made of codes has none."""
    asked = plan.options
    if not plan.model.has_experts or asked.quantize_experts:
        return
    options: dict[str, Any] = {"quantize_experts": True}
    words, others = "experts in 4 bits", ""
    if has_adapters_of_experts(plan.adapters) or (not plan.adapters and folds(plan.model)):
        options["lora_targets"] = names_beside_experts(plan.model)
        others = ", adapters of all but experts"
    if asked.quantize_base is None:
        options, words = {**QUANTISED.options, **options}, "base weights and experts in NF4"
    if not plan.adapters:
        options, words = {**LORA.options, **options}, f"{LORA.words} on {words}"
    yield Change(f"{words}{others}", options)


def shorter_text(plan: TrainingPlan, enough: Enough) -> Iterator[Iterable[Change]]:
    """Yield the longest sequences that are short enough."""
    seq = largest(lambda number: enough(shorter(number)), plan.options.seq - 1, plan.options.seq // 2)
    yield [shorter(seq)] if seq else []


def smaller_batch(number: int) -> Change:
    """Return the change to so many sequences of a micro-batch."""
    return Change(f"a micro-batch of {number:,}", {"micro_batch": number})


def shorter(number: int) -> Change:
    """Return the change to sequences of so many tokens."""
    return Change(f"sequences of {number:,} tokens", {"seq": number})


def eight_bits(plan: TrainingPlan) -> Iterator[Change]:
    """Yield the optimizer with states in 8 bits, which has a step of its own."""
    asked = plan.options
    if asked.optimizer == "adamw" and not plan.adapters:
        own = asked.optimizer_step not in (None, "fused")
        words = "AdamW in 8 bits, with its own step" if own else "AdamW in 8 bits"
        yield Change(words, {"optimizer": "adamw-8bit"} | ({"optimizer_step": None} if own else {}))


def zero(stage: int) -> Change:
    """Return the change to a stage of ZeRO."""
    return Change(f"ZeRO stage {stage}", {"shard": stage})


def stage_of(shard: int | str) -> int:
    """Return the stage of ZeRO that shards as much."""
    return shard if isinstance(shard, int) else STAGES[-1]


def idle_devices(plan: TrainingPlan) -> Iterator[Change]:
    """Yield all devices that the machine has, where some are not used: as they share now, then with FSDP."""
    machine, world = plan.machine, plan.parallelism.world
    if machine is None or machine.cards or machine.count <= world:
        return
    words, options = f"all {machine.count}x {machine.device.id}", {"world": machine.count}
    yield Change(words, options)
    if stage_of(plan.options.shard) < STAGES[-1]:
        yield Change(f"{words} with FSDP", {**options, "shard": "fsdp"})


def larger_hosts(plan: TrainingPlan) -> Iterator[Change]:
    """Yield more of the host's memory, where its size is named."""
    machine, on = plan.machine, plan.options.on
    for size in HOSTS:
        if machine is not None and on is not None and (machine.host_bytes or size * GIB) < size * GIB:
            yield Change(f"{size:,} GiB of host memory", {"on": machine_text(on, host=size)})


def more_devices(plan: TrainingPlan, enough: Enough, counts: Iterable[int]) -> Iterator[Change]:
    """Yield so many of the same devices, as they share now; where no stage of ZeRO is enough, with one."""
    machine, on, shard = plan.machine, plan.options.on, plan.options.shard
    if machine is None or on is None or machine.cards:
        return
    stages = [stage for stage in STAGES if stage > stage_of(shard)]
    if any(enough(zero(stage)) for stage in stages):  # with the devices that are there
        stages = []
    for count in counts:
        if count > max(machine.count, plan.parallelism.world):
            text = machine_text(on, machine.device.id, count)
            options, words = {"on": text, "world": count}, f"{count}x {machine.device.id}"
            yield Change(words, options)
            for stage in stages:
                yield Change(f"{words} with ZeRO stage {stage}", {**options, "shard": stage})
