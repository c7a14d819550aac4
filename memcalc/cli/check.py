"""``memcalc check``: a start-up log, each memory figure beside the ledger's."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from memcalc.cli.command import Answer, Command
from memcalc.errors import NOTHING, BadInputError
from memcalc.evidence.logs.compare import check

if TYPE_CHECKING:
    import argparse

    from memcalc.cli.parser import Parser
    from memcalc.evidence.logs.compare import Checked, Compared

__all__ = ["COMMAND", "fields"]

LOG = "a file with what the engine, PyTorch or nvidia-smi printed, or - for standard input"
MODEL = "the model, where the log does not name one that the catalogue knows"
ON = 'the machine, where the log does not print its size, as in "2x rtx-3090"'
RECORD = "the figures as rows of the record of measurements, with ? for what the log does not tell"


def add(parser: Parser) -> None:
    """Add the options."""
    parser.add_argument("log", metavar="LOG", nargs="?", default=NOTHING, help=LOG)
    parser.add_argument("--model", metavar="SOURCE", help=MODEL)
    parser.add_argument("--on", metavar="MACHINE", help=ON)
    parser.add_argument("--record", action="store_true", help=RECORD)


def answer(given: argparse.Namespace) -> Answer:
    """Answer: 0, whatever the log says; what could not be told stands in the answer.

    Raises:
        BadInputError: No log is named, or no row of the record can be made of it.

    """
    if given.log is NOTHING:
        raise BadInputError("LOG", LOG, NOTHING, "write for example `memcalc check server.log`")
    log = sys.stdin.buffer.read() if given.log == "-" else given.log
    checked = check(log, model=given.model, on=given.on)
    if not given.record:
        return Answer(0, lambda: fields(checked), lambda: str(checked))
    from memcalc.evidence.logs.rows import rows

    recorded = rows(checked, on=given.on)
    return Answer(
        0,
        lambda: {**fields(checked), "record": recorded},
        lambda: json.dumps(recorded, indent=1, ensure_ascii=False),
    )


def fields(checked: Checked) -> dict[str, object]:
    """Return a log beside the ledger as JSON shows it.

    Parameters
    ----------
    checked : Checked
        What was read.

    Returns
    -------
    dict
        The names and numbers of the answer; sizes are whole bytes.

    """
    plan = checked.plan
    return {
        "schema": 1,
        "engine": plan.engine,
        "version": plan.version,
        "model": checked.model,
        "plan": plan.options,
        "not_compared": checked.unsaid or None,
        "lines": [line_fields(one) for one in checked.lines],
        "ignored": [{"text": one.text, "why": one.why} for one in checked.ignored],
    }


def line_fields(one: Compared) -> dict[str, object]:
    """Return a figure as JSON shows it."""
    told = one.told
    return {
        "text": told.text,
        "quantity": told.quantity,
        "printed": told.printed,
        "count" if told.is_count else "bytes": told.amount,
        "scope": told.scope,
        "ledger_bytes": one.ledger,
        "difference": one.difference,
        "cause": one.cause or None,
    }


COMMAND = Command(add, answer)
