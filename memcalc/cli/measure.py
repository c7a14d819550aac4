"""``memcalc measure``: a training step really taken, beside what is predicted of it."""

from __future__ import annotations

import json
from argparse import SUPPRESS
from typing import TYPE_CHECKING

from memcalc.cli.command import Command, parser_of
from memcalc.cli.options import options_from
from memcalc.cli.plans import is_help, of_a_command
from memcalc.cli.train import OF_A_VERDICT
from memcalc.errors import BadInputError, Described, Faults

if TYPE_CHECKING:
    from memcalc.cli.parser import Parser
    from memcalc.evidence.measure.measurement import Measurement

__all__ = ["COMMAND", "fields"]

KINDS = ("train",)
EXAMPLE = "train Qwen/Qwen3-0.6B --seq 1024 --regime amp"
WRITE = "write the rows of the record of training runs (JSON) into a file; ? is what you fill in"
SEED = "the number from which the random weights and tokens are drawn"
LARGEST_SEED = 2**64 - 1  # that torch.manual_seed takes


def add(parser: Parser) -> None:
    """Add the options; those of `memcalc train` are its own."""
    plan = "train, and what that command takes: `memcalc train --help` lists it"
    parser.add_argument("plan", metavar="train ...", nargs="?", help=plan)
    add_own(parser)


def add_own(parser: Parser) -> None:
    """Add what measuring has beside a plan."""
    parser.add_argument("--seed", metavar="N", default="0", help=f"{SEED} (default: 0)")
    parser.add_argument("--write", metavar="FILE", help=WRITE)


def reads(words: list[str]) -> tuple[int, str]:
    """Take the step that was typed, and return what came of it.

    Raises:
        BadInputError: it cannot be taken here.

    """
    _, rest = of_a_command("measure", words, KINDS, EXAMPLE)
    parser, faults = parser_of("train"), Faults()
    add_own(parser)
    parser.prog = "memcalc measure train"
    for one in parser.offered:
        if one.dest in OF_A_VERDICT:
            one.help = SUPPRESS
    given = parser.read(rest, faults)
    if is_help(words):
        return 0, parser.format_help().rstrip()
    for name in OF_A_VERDICT:
        faults.of(refuse_verdict, name, getattr(given, name))
    from memcalc.evidence.measure.measurement import measure
    from memcalc.training.asked import estimate
    from memcalc.training.options import TrainingOptions

    step = faults.of(lambda: estimate(given.source, options_from(given, TrainingOptions)))
    seed = faults.of(seed_of, given.seed)
    faults.refuse()
    found = measure(step, seed)
    if given.write is not None:
        write(found, given.write)
    return 0, json.dumps(fields(found)) if given.json else str(found)


def refuse_verdict(name: str, given: object) -> None:
    """Refuse to look for what fits: what is measured is one step.

    Raises:
        BadInputError: that was asked for.

    """
    if given:
        remedy = "it is predicted, not measured: ask `memcalc train`, and leave it out here"
        raise BadInputError(f"--{name.replace('_', '-')}", "one step to measure", Described("it"), remedy)


def seed_of(text: str) -> int:
    """Return a seed.

    Raises:
        BadInputError: it is no whole number, or more than torch takes.

    """
    if not text.isdecimal() or len(text) > len(str(LARGEST_SEED)) or int(text) > LARGEST_SEED:
        expected = f"a whole number from 0 to {LARGEST_SEED} (2^64 - 1)"
        raise BadInputError("--seed", expected, text, "write for example --seed 1")
    return int(text)


def write(found: Measurement, path: str) -> None:
    """Write the rows of a measurement into a file.

    Raises:
        BadInputError: the file cannot be written, or nothing was measured.

    """
    from memcalc.evidence.measure.row import rows

    text = json.dumps(rows(found), indent=1, ensure_ascii=False) + "\n"
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise BadInputError("--write", "a file that can be written", path, str(error.strerror)) from None


def fields(found: Measurement) -> dict[str, object]:
    """Return a measurement as JSON shows it.

    Parameters
    ----------
    found : Measurement
        A step that was taken.

    Returns
    -------
    dict
        The names and numbers of the answer; sizes are whole bytes.

    """
    return {
        "schema": 1,
        "model": found.step.model.name,
        "plan": found.step.settings,
        "defaults": list(found.step.defaults),
        "device": found.device,
        "fake": found.is_fake,
        "versions": dict(found.versions),
        "seed": found.seed,
        "date": found.date,
        "moments": [{**one._asdict(), "difference": one.difference} for one in found.moments],
        "allocated_bytes": found.allocated_bytes,
        "reserved_bytes": found.reserved_bytes,
    }


COMMAND = Command(add, reads=reads)
