"""What would make a training step fit: the gentlest change of each kind, tried like any other plan."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from memcalc.errors import RefusalError
from memcalc.serving.search import largest
from memcalc.show.remedy import MOST, Change, Remedy, command_line, machine_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from memcalc.training.options import TrainingOptions
    from memcalc.training.plan import TrainingPlan

__all__ = ["remedies"]

COUNTS = (2, 4, 8, 16, 32, 64)  # of devices that are tried
RECOMPUTED = Change("full recomputation", {"recompute": "full", "recompute_modules": None})
LORA = Change("LoRA adapters of rank 16", {"lora_rank": 16, **RECOMPUTED.options})
QLORA = Change("LoRA adapters of rank 16 on NF4 weights", {"quantize_base": "nf4", **LORA.options})


def remedies(plan: TrainingPlan, estimate: Callable[[TrainingOptions], Any]) -> tuple[Remedy, ...]:
    """Return what makes a step fit that does not: single changes, then with recomputation, then of adapters.

    Parameters
    ----------
    plan : TrainingPlan
        What does not fit.
    estimate : callable
        Returns the estimate of options.

    """

    def tried(*made: Change) -> Any:
        changed = {name: value for one in made for name, value in one.options.items()}
        try:
            return estimate(replace(plan.options, **changed))
        except RefusalError:
            return None

    def fits(*made: Change) -> bool:
        then = tried(*made)
        return then is not None and then.verdict == "fits"

    found: dict[int, Remedy] = {}  # by the kind of change
    for start in starts(plan):
        if found and start in (LORA, QLORA):
            break
        for number, kind in enumerate(kinds(plan, partial(fits, start))):
            free = (one for one in kind if not start.options.keys() & one.options.keys())
            change = None if number in found else next((one for one in free if fits(start, one)), None)
            if change is not None:
                then = tried(start, change)
                command = command_line("train", plan.source.name, then.plan.options)
                words = " and ".join(one.words for one in (start, change) if one.words)
                found[number] = Remedy(words, command, then.device.total_bytes)
            if len(found) == MOST:
                return tuple(found.values())
    return tuple(found.values())


def starts(plan: TrainingPlan) -> Iterator[Change]:
    """Yield what is changed first: nothing, recomputation, what is trained."""
    yield Change("", {})
    if plan.options.recompute != "full":
        yield RECOMPUTED
    if not plan.adapters:
        yield LORA
    if plan.options.quantize_base is None:
        yield QLORA


def kinds(plan: TrainingPlan, fits: Callable[[Change], bool]) -> Iterator[Iterable[Change]]:
    """Yield the kinds of changes: what trains the same first, then adapters, then a shorter sequence."""
    asked, adapters = plan.options, bool(plan.adapters)
    yield [RECOMPUTED] if asked.recompute != "full" else []
    batch = largest(lambda number: fits(smaller_batch(number)), asked.micro_batch - 1, asked.micro_batch // 2)
    yield [smaller_batch(batch)] if batch else []
    eight_bits = Change("AdamW in 8 bits", {"optimizer": "adamw-8bit", "optimizer_step": None})
    yield [eight_bits] if asked.optimizer == "adamw" and not adapters else []
    yield [Change(f"ZeRO stage {stage}", {"shard": stage}) for stage in (1, 2, 3) if plan.parallelism.dp > 1]
    yield more_devices(plan)
    yield [] if adapters else [LORA]
    yield [QLORA] if asked.quantize_base is None else []
    seq = largest(lambda number: fits(shorter(number)), asked.seq - 1, asked.seq // 2)
    yield [shorter(seq)] if seq else []


def smaller_batch(number: int) -> Change:
    """Return the change to so many sequences of a micro-batch."""
    return Change(f"a micro-batch of {number:,}", {"micro_batch": number})


def shorter(number: int) -> Change:
    """Return the change to sequences of so many tokens."""
    return Change(f"sequences of {number:,} tokens", {"seq": number})


def more_devices(plan: TrainingPlan) -> Iterator[Change]:
    """Yield more of the same devices, which share weights, gradients and states, or the states alone."""
    machine, on = plan.machine, plan.options.on
    if machine is None or on is None or machine.cards:
        return
    for count in COUNTS:
        if count > max(machine.count, plan.parallelism.world):
            text = machine_text(on, machine.device.id, count)
            for shard in (3, 1):
                options = {"on": text, "world": count, "shard": shard}
                yield Change(f"{count}x {machine.device.id} with ZeRO stage {shard}", options)
