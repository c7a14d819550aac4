"""``memcalc train``: what a training step holds, moment by moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.cli.command import SOURCE, Answer, Command
from memcalc.cli.parser import add_options, options_from
from memcalc.training.estimate import estimate
from memcalc.training.options import TrainingOptions
from memcalc.training.plan import plan_fields

if TYPE_CHECKING:
    import argparse

    from memcalc.cli.parser import Parser
    from memcalc.training.estimate import TrainingEstimate

__all__ = ["COMMAND", "fields"]


def add(parser: Parser) -> None:
    """Add the options."""
    parser.add_argument("source", metavar="SOURCE", help=SOURCE)
    add_options(parser, TrainingOptions)


def answer(given: argparse.Namespace) -> Answer:
    """Answer."""
    step = estimate(given.source, options_from(given, TrainingOptions))
    return Answer(0, lambda: fields(step), lambda: text(step))


def fields(step: TrainingEstimate) -> dict[str, object]:
    """Return an estimate as JSON shows it.

    Parameters
    ----------
    step : TrainingEstimate
        What was estimated.

    Returns
    -------
    dict
        The names and numbers of the answer; sizes are whole bytes.

    """
    device, pools = step.device, [step.device, *([] if step.host is None else [step.host])]
    moments = [
        {"at": name, "total_bytes": device.moments[name], "components": step.at(name)}
        for name in step.moments
    ]
    return {
        "schema": 1,
        "model": step.model.name,
        "plan": plan_fields(step.plan),
        "parameters": step.parameters,
        "trainable_parameters": step.trainable_parameters,
        "stage": step.stage.number,
        "moments": moments,
        "peak_at": device.fullest,
        "allocated_bytes": step.allocated_bytes,
        "device_bytes": device.total_bytes,
        "low_bytes": device.low_bytes,
        "high_bytes": device.high_bytes,
        "capacity_bytes": device.capacity_bytes,
        "host_bytes": step.host_bytes,
        "fits": step.fits,
        "assumed": list(step.assumed),
        "lines": [{"pool": pool.name, **line.fields} for pool in pools for line in pool.lines],
    }


def text(step: TrainingEstimate) -> str:
    """Return the answer for people."""
    from memcalc.ledger.amount import gib, thin

    device, plan, micro = step.device, step.plan, step.plan.micro_batch
    world, asked_for = plan.parallelism.world, plan.options
    ranks = "" if world == 1 else f" on {world} devices, stage {step.stage.number}"
    trained = f"{thin(step.trainable_parameters)} of {thin(step.parameters)} parameters trained"
    how = f"{asked_for.regime}, {plan.optimizer.id} ({plan.optimizer_step}), {asked_for.attention}"
    tokens = f"{thin(micro.batch)} x {thin(micro.seq)} tokens a rank"
    rows = [f"{step.model.name}: {trained}{ranks}", f"  {how}, recompute {asked_for.recompute}, {tokens}"]
    for moment in step.moments:
        mark = "  <- most" if moment == device.fullest else ""
        rows.append(f"  {moment:<13} {gib(device.moments[moment]):>14}{mark}")
    rows.append(f"  at {device.fullest}:")
    rows += [f"    {name:<12} {gib(size):>13}" for name, size in step.at(device.fullest).items()]
    span = f"{gib(device.low_bytes)} to {gib(device.high_bytes)}"
    rows.append(f"  on the device  {gib(device.total_bytes):>13}  ({span}, with context and allocator)")
    if step.host is not None:
        rows.append(f"  in the host    {gib(step.host_bytes):>13}")
    if step.fits is not None:
        room = f"{gib(device.capacity_bytes or 0)} a device"
        rows.append(f"  {'fits' if step.fits else 'does not fit'}: {room}")
    rows += [f"  assumed: {one}" for one in step.assumed]
    return "\n".join(rows)


COMMAND = Command(add, answer)
