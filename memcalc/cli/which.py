"""``memcalc which``: the machines that hold a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.cli.command import Answer, Command, add_source
from memcalc.cli.options import add_options, options_from
from memcalc.serving.holding import machines_for
from memcalc.serving.search import limited
from memcalc.serving.which_options import WhichOptions

if TYPE_CHECKING:
    import argparse

    from memcalc.cli.parser import Parser
    from memcalc.serving.holding import Machines

__all__ = ["COMMAND", "fields"]


def add(parser: Parser) -> None:
    """Add the options: those of ``memcalc serve`` without the machine."""
    add_source(parser)
    add_options(parser, WhichOptions)


def answer(given: argparse.Namespace) -> Answer:
    """Answer."""
    found = machines_for(given.source, options_from(given, WhichOptions))
    return Answer(0, lambda: fields(found), lambda: str(found))


def fields(found: Machines) -> dict[str, object]:
    """Return the machines as JSON shows them.

    Parameters
    ----------
    found : Machines
        What was found.

    Returns
    -------
    dict
        The names and numbers of the answer; sizes are whole bytes.

    """
    return {
        "schema": 1,
        "model": found.plan.model.name,
        "engine": found.plan.engine.id,
        "defaults": list(found.plan.defaults),
        "machines": [{**one._asdict(), "max_context": limited(one.max_context)} for one in found.machines],
    }


COMMAND = Command(add, answer)
