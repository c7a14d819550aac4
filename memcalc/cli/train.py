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

__all__ = ["COMMAND", "fields"]


def add(parser: Parser) -> None:
    """Add the options."""
    add_source(parser)
    add_options(parser, TrainingOptions)
    parser.add_argument("--check", action="store_true", help=CHECK)


def answer(given: argparse.Namespace) -> Answer:
    """Answer.

    Raises:
        BadInputError: --check has nothing to check against.

    """
    step = estimate(given.source, options_from(given, TrainingOptions))
    if given.check and given.on is None:
        remedy = 'add --on, as in "8x h100-80g"'
        raise BadInputError("--check", "a machine to check against", NOTHING, remedy)
    status = 1 if given.check and step.verdict != "fits" else 0
    return Answer(
        status,
        lambda: fields(step) | remedy_fields(step.remedies) | config_fields(step.model),
        lambda: str(step),
    )


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
        "peak_at": device.fullest,
        "allocated_bytes": step.allocated_bytes,
        "device_bytes": device.total_bytes,
        "low_bytes": device.low_bytes,
        "high_bytes": device.high_bytes,
        "capacity_bytes": device.capacity_bytes,
        "host_bytes": step.host_bytes,
        "fits": step.fits,
        "verdict": step.verdict,
        "cause": step.cause,
        "assumed": list(step.assumed),
        "lines": [{"pool": pool.name, **line.fields} for pool in pools for line in pool.lines],
    }


COMMAND = Command(add, answer)
