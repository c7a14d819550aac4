"""``memcalc train``: what a training step holds, moment by moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.cli.command import CHECK, Answer, Command, add_source, config_fields, remedy_fields
from memcalc.cli.options import add_options, options_from
from memcalc.errors import NOTHING, BadInputError
from memcalc.training.asked import estimate
from memcalc.training.options import TrainingOptions

if TYPE_CHECKING:
    import argparse

    from memcalc.cli.parser import Parser
    from memcalc.training.estimate import TrainingEstimate

__all__ = ["COMMAND", "OF_A_VERDICT", "fields"]

SHORTEST = 128  # tokens, where only the longest sequence is asked for: all ranks that share one divide it


MOST = {  # what is looked for where it is asked for, in words
    "max_seq": "the longest sequence with which the step surely fits, in tokens",
    "max_batch": "the largest micro-batch with which it surely fits",
    "fewest_devices": "the fewest devices of this kind, all used, with which it surely fits",
}
OF_A_VERDICT = ("check", *MOST)


def add(parser: Parser) -> None:
    """Add the options."""
    add_source(parser)
    add_options(parser, TrainingOptions)
    parser.add_argument("--check", action="store_true", help=CHECK)
    for name, meaning in MOST.items():
        text = f"print {meaning}; with --json under `{name}`"
        parser.add_argument(f"--{name.replace('_', '-')}", action="store_true", help=text)


def answer(given: argparse.Namespace) -> Answer:
    """Answer.

    Raises:
        BadInputError: --check has nothing to check against.

    """
    asked = [name for name in MOST if getattr(given, name)]
    searched = "max_seq" in asked and given.seq is None
    if searched:
        given.seq = SHORTEST
    step = estimate(given.source, options_from(given, TrainingOptions))
    for name in OF_A_VERDICT:
        if getattr(given, name) and given.on is None:
            remedy = 'add --on, as in "8x h100-80g"'
            raise BadInputError(f"--{name.replace('_', '-')}", "a machine to check against", NOTHING, remedy)
    found = {"max_seq": step.max_seq} if "max_seq" in asked else {}
    if searched and step.max_seq:
        step = step.changed(step.plan.source, {"seq": step.max_seq})
    found |= {name: getattr(step, name) for name in asked if name not in found}
    said = (f"\n  {MOST[name]}: {number_in_words(step, name, number)}" for name, number in found.items())
    return Answer(
        1 if given.check and step.verdict != "fits" else 0,
        lambda: fields(step) | found | remedy_fields(step.remedies) | config_fields(step.model),
        lambda: f"{step}{''.join(said)}",
    )


def number_in_words(step: TrainingEstimate, name: str, number: int | None) -> str:
    """Return a number that was looked for, or that there is none; of devices what is enough otherwise."""
    if number:
        return f"{number:,}"
    otherwise = step.fewest_otherwise if name == "fewest_devices" else None
    return "none" if otherwise is None else f"none as it is run; {otherwise[1]:,} with {otherwise[0]}"


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
        "plan": step.settings,
        "defaults": list(step.defaults),
        "parameters": step.parameters,
        "trainable_parameters": step.trainable_parameters,
        "stage": step.stage.number,
        "moments": moments,
        **step.phase_fields,
        "peak_at": max(device.moments, key=device.moments.__getitem__),
        "allocated_bytes": step.allocated_bytes,
        "device_bytes": device.total_bytes,
        "low_bytes": device.low_bytes,
        "high_bytes": device.high_bytes,
        "capacity_bytes": device.capacity_bytes,
        "host_bytes": step.host_bytes,
        "beside_the_step": [one.fields for one in step.beside_the_step],
        "not_counted": [one._asdict() for one in step.not_counted],
        "fits": step.fits,
        "verdict": step.verdict,
        "cause": step.cause,
        "assumed": list(step.assumed),
        "lines": [{"pool": pool.name, **line.fields} for pool in pools for line in pool.lines],
    }


COMMAND = Command(add, answer)
