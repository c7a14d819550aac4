"""An estimate of training as a card: what the shell and Jupyter show of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.ledger.amount import gib
from memcalc.show.card import Card

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.training.estimate import TrainingEstimate

__all__ = ["card"]


def card(step: TrainingEstimate) -> Card:
    """Return an estimate as a card.

    Parameters
    ----------
    step : TrainingEstimate
        What was estimated.

    Returns
    -------
    Card
        Its title, facts, pools and notes; of a sweep no pools, which differ from point to point.

    """
    plan, asked = step.plan, step.plan.options
    how = f"{asked.regime}, {plan.optimizer.id} ({plan.optimizer_step}), {asked.attention}"
    trained = f"{step.trainable_parameters:,} of {step.parameters:,} parameters trained"
    title, how = f"{step.model.name}: {trained}", f"{how}, recompute {asked.recompute}"
    if plan.points is not None:
        return Card(title, (how, "a sweep: allocated_bytes has an element for each point"))
    micro, world = plan.micro_batch, plan.parallelism.world
    facts = (f"{how}, {micro.batch:,} x {micro.seq:,} tokens a rank",)
    stage = "" if plan.parallelism.pp == 1 else f", pipeline stage {step.stage.number}"
    pools = ((f"fullest of {world:,} device(s){stage}", step.device),)
    return Card(title, facts, pools, moments=True, notes=tuple(notes(step)))


def notes(step: TrainingEstimate) -> Iterator[str]:
    """Yield what follows: the verdict, the host's memory, what was assumed."""
    machine = step.plan.machine
    if step.fits is not None:
        yield "fits" if step.fits else "does not fit"
    if step.host is not None:
        room = None if machine is None else machine.host_bytes
        yield f"in the host's memory: {gib(step.host_bytes)}{'' if room is None else f' of {gib(room)}'}"
    for one in step.assumed:
        yield f"assumed: {one}"
    if step.model.not_read:
        yield f"not read: {', '.join(step.model.not_read)}"
