"""Plans of other commands: ``memcalc explain`` and ``memcalc compare`` are asked about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from memcalc.cli.command import SUMMARIES, parser_of
from memcalc.cli.options import options_from
from memcalc.errors import NOTHING, BadInputError, Faults, UnknownNameError

if TYPE_CHECKING:
    import argparse

    from memcalc.cli.parser import Parser
    from memcalc.files.source import Source
    from memcalc.serving.estimate import ServingEstimate
    from memcalc.training.estimate import TrainingEstimate

__all__ = ["KINDS", "Read", "answered", "is_help", "of_a_command", "read"]

KINDS = ("model", "serve", "train")
HELP = ("-h", "--help")
LAUNCH = "it is no number: ask `memcalc serve` itself"


class Read(NamedTuple):
    """A plan as it was typed: the command, its parser, what it was given, and what is wrong with that."""

    kind: str
    parser: Parser
    given: argparse.Namespace
    faults: Faults


def is_help(words: list[str]) -> bool:
    """Say whether help is asked for."""
    return any(word in HELP for word in words)


def read(asking: str, words: list[str], switches: dict[str, str] | None = None) -> Read:
    """Return a plan as it was typed.

    Parameters
    ----------
    asking : str
        The command that asks about it.
    words : list of str
        The command and its words.
    switches : dict of str to str, optional
        Switches of the command that asks, which may stand among them, with their help.

    Raises
    ------
    BadInputError
        No command is named.
    UnknownNameError
        It is another, or none.

    """
    kind, rest = of_a_command(asking, words, KINDS, "serve Qwen/Qwen3-32B --context 32k")
    parser, faults = parser_of(kind), Faults()
    for flag, text in (switches or {}).items():
        parser.add_argument(flag, action="store_true", help=text)
    return Read(kind, parser, parser.read(rest, faults), faults)


def of_a_command(
    asking: str, words: list[str], kinds: tuple[str, ...], example: str
) -> tuple[str, list[str]]:
    """Return the command that is asked about, and its words.

    Raises:
        BadInputError: no command is named.
        UnknownNameError: it is another, or none.

    """
    named = [word for word in words if not word.startswith("-")]
    if not named:
        remedy = f"write for example `memcalc {asking} {example}`"
        raise BadInputError("plan", f"a command: {' or '.join(kinds)}", NOTHING, remedy)
    kind = named[0]
    if kind not in kinds:
        first, _, *options = example.split(" ")
        # another command stands where this one should; else the command was forgotten, before a model
        likely = example if kind in SUMMARIES else " ".join([first, kind, *options])
        remedy = f"write for example `memcalc {asking} {likely}`"
        raise UnknownNameError("plan", f"a command first: {' or '.join(kinds)}", kind, remedy)
    rest = list(words)
    rest.remove(kind)
    return kind, rest


def answered(plan: Read) -> tuple[int, Any]:
    """Return the exit status of a plan and its estimate; of a model the source that it was found in.

    Raises:
        MemcalcError: it could not be answered.

    """
    answer = {"model": found, "serve": served, "train": trained}[plan.kind]
    result = plan.faults.of(answer, plan.given)
    plan.faults.refuse()
    verdict = getattr(result, "verdict", None)
    return 1 if getattr(plan.given, "check", False) and verdict != "fits" else 0, result


def found(given: argparse.Namespace) -> Source:
    """Return the source of a model, read."""
    from memcalc.files.api import check_via
    from memcalc.files.sources import source

    check_via(given.via)
    return source(given.source).by_way_of(given.via)


def served(given: argparse.Namespace) -> ServingEstimate:
    """Return the estimate of a plan for serving."""
    from memcalc.serving.estimate import estimate
    from memcalc.serving.options import ServingOptions

    if given.engine_command:
        raise BadInputError("--engine-command", "numbers", "the engine's own command", LAUNCH)
    result = estimate(given.source, options_from(given, ServingOptions))
    refuse_unchecked(given, "2x rtx-a6000")
    return result


def trained(given: argparse.Namespace) -> TrainingEstimate:
    """Return the estimate of a training step."""
    from memcalc.training.asked import estimate
    from memcalc.training.options import TrainingOptions

    result = estimate(given.source, options_from(given, TrainingOptions))
    refuse_unchecked(given, "8x h100-80g")
    return result


def refuse_unchecked(given: argparse.Namespace, example: str) -> None:
    """Refuse a check without a machine.

    Raises:
        BadInputError: there is nothing to check against.

    """
    if given.check and given.on is None:
        raise BadInputError("--check", "a machine to check against", NOTHING, f'add --on, as in "{example}"')
