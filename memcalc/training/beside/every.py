"""All moments beside the step of a plan, and those of which no rule is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from memcalc.training.plan import MOMENTS_BESIDE
from memcalc.training.releases import NEWEST, release_number, words_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memcalc.training.beside.moment import Beside
    from memcalc.training.plan import TrainingPlan
    from memcalc.training.stage_estimate import StageEstimate

__all__ = ["NotCounted", "beside_the_step", "not_counted", "why_not"]


class NotCounted(NamedTuple):
    """A moment beside the step that is not counted, and why."""

    at: str
    why: str


def why_not(plan: TrainingPlan) -> str | None:
    """Say why no moment beside the step is counted; None where they are."""
    options, ranks = plan.options, plan.parallelism
    unread = {
        "of several models beside each other no rule was read": options.method != "sft",
        "Megatron-LM has checkpoints of its own, of which no rule was read": plan.implementation.id
        == "megatron",
        "a program that calls DeepSpeed itself loads and saves in its own way": options.like == "deepspeed",
    }
    if any(unread.values()):
        return next(why for why, holds in unread.items() if holds)
    if options.engine_version is not None and release_number(options.engine_version) < NEWEST:
        return f"the rules are those of transformers {words_of(NEWEST)}, not of {options.engine_version}"
    if ranks.tp > 1 or ranks.pp > 1:
        return "of ranks that cut the model (--tp, --pp) no rule was read"
    return None if plan.points is None else "a sweep: ask for single plans"


def not_counted(plan: TrainingPlan) -> tuple[NotCounted, ...]:
    """Return the moments that are not counted."""
    why = why_not(plan)
    if why is not None:
        return tuple(NotCounted(at, why) for at in MOMENTS_BESIDE)
    found = []
    if not is_load_known(plan):
        found.append(NotCounted("load", SPREAD))
    if plan.options.evaluate is None:
        found.append(NotCounted("evaluate", "not asked for: --evaluate loss or --evaluate metrics"))
    return tuple(found)


SPREAD = (
    "TRL spreads the model over all devices (device_map auto) before FSDP shares it out: no rule was read"
)


def is_load_known(plan: TrainingPlan) -> bool:
    """Say whether it is known where a trainer loads: TRL asks for device_map auto under FSDP."""
    return not (plan.options.like == "trl" and plan.options.shard == "fsdp" and plan.asked.load is None)


def beside_the_step(plan: TrainingPlan, held: StageEstimate) -> tuple[Beside, ...]:
    """Return the moments beside the step, in each memory that they need."""
    if why_not(plan) is not None:
        return ()
    from memcalc.training.beside.loading import loading
    from memcalc.training.beside.saving import saving

    loaded = loading(plan, held) if is_load_known(plan) else ()
    return (*loaded, *evaluated(plan, held), *saving(plan, held))


def evaluated(plan: TrainingPlan, held: StageEstimate) -> Iterable[Beside]:
    """Return the moments of an evaluation, if one is asked for."""
    if plan.options.evaluate is None:
        return ()
    from memcalc.training.beside.evaluation import evaluation

    return evaluation(plan, held)
