"""The command line: a word finds a command, a command answers for programs and for people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from memcalc.errors import NOTHING, BadInputError, Faults, UnknownNameError, choices
from memcalc.ledger.registry import Registry

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from memcalc.cli.parser import Parser
    from memcalc.files.compare import Check
    from memcalc.files.source import Source
    from memcalc.ledger.model import Model
    from memcalc.show.remedy import Remedy

__all__ = [
    "CHECK",
    "COMMANDS",
    "SUMMARIES",
    "Answer",
    "Command",
    "add_source",
    "config_fields",
    "header_fields",
    "header_text",
    "parse",
    "parser_of",
    "remedy_fields",
]

SOURCE = (
    "a catalogue name, a config.json or its folder, a safetensors file or index, a GGUF file, "
    "Megatron-LM's arguments, or a Hub repository"
)
CHECK = "exit status 1 unless it fits"
EXAMPLE = '`memcalc serve Qwen/Qwen3-32B --context 32k --on "2x rtx-a6000"`, or see `memcalc --help`'
SUMMARIES = {
    "model": "parameters and cache of a model",
    "serve": "does it fit, and what fills the memory?",
    "train": "what does a training step hold?",
    "which": "which machines hold it?",
    "check": "is it what the engine's log says?",
    "explain": "where does each number come from?",
    "compare": "in what do plans differ, and why?",
    "measure": "does a step really hold what is predicted?",
    "ask": "can you answer? interview questions about memory",
    "list": "what is known: models, machines, formats, engines",
}


class Answer:
    """An answer: its exit status, and how it is written for programs and for people."""

    def __init__(self, status: int, fields: Callable[[], object], text: Callable[[], str]) -> None:
        self.status, self.fields, self.text = status, fields, text


class Command:
    """One command: how its options are added to a parser, and how it answers.

    One that is asked about other commands reads its words itself: what it is given as `reads`.
    """

    def __init__(
        self,
        add: Callable[[Parser], None],
        answer: Callable[[argparse.Namespace], Answer] | None = None,
        reads: Callable[[list[str]], tuple[int, str]] | None = None,
    ) -> None:
        self.add, self.answer, self.reads = add, answer, reads


COMMANDS: Registry[Command] = Registry(
    "command",
    {name: f"{name}:COMMAND" for name in SUMMARIES},
    package="memcalc.cli",
    remedy="see `memcalc --help`",
)


def parse(arguments: list[str]) -> tuple[int, str]:
    """Answer a command.

    Parameters
    ----------
    arguments : list of str
        What stands behind ``memcalc`` at the shell.

    Returns
    -------
    tuple of (int, str)
        The exit status (0 answered, 1 does not fit with --check), and the text of the answer.

    Raises
    ------
    MemcalcError
        It could not be answered.

    """
    name, *rest = arguments or [""]
    if name in ("--version", "version", "-V", "-v"):
        from memcalc import __version__

        return 0, f"memcalc {__version__}"
    if name in ("--help", "-h", "help"):
        if not rest:
            return 0, overview()
        name, rest = rest[0], ["--help"]
    if not name:
        raise BadInputError("command", choices(COMMANDS), NOTHING, f"write for example {EXAMPLE}")
    command = command_named(name)
    if command.reads is not None and rest[:1] not in (["--help"], ["-h"]):
        return command.reads(rest)
    parser, faults = parser_of(name), Faults()
    given = parser.read(rest, faults)
    if given.help or command.answer is None:
        return 0, parser.format_help().rstrip()
    answer = faults.of(command.answer, given)
    faults.refuse()
    return answer.status, json.dumps(answer.fields()) if given.json else answer.text()


def command_named(name: str) -> Command:
    """Return a command.

    Raises
    ------
    UnknownNameError
        There is none of this name; a model in its place is asked about.

    """
    try:
        return COMMANDS[name]
    except UnknownNameError as error:
        from memcalc.files.catalogue import canonical_name

        model = canonical_name(name)
        if model is None:
            raise
        remedy = f"did you mean `memcalc model {name}`, or `memcalc serve {name} --context 32k`?"
        raise UnknownNameError("command", error.expected, name, remedy) from None


def parser_of(name: str) -> Parser:
    """Return the parser of a command."""
    from memcalc.cli.parser import Parser

    parser = Parser(prog=f"memcalc {name}", description=SUMMARIES[name], allow_abbrev=False, add_help=False)
    parser.add_argument("-h", "--help", action="store_true", help="show this help")
    COMMANDS[name].add(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object, whole bytes")
    return parser


def add_source(parser: Parser) -> None:
    """Add the model that a command is about."""
    parser.add_argument("source", metavar="SOURCE", nargs="?", default=NOTHING, help=SOURCE)


def config_fields(model: Model) -> dict[str, object]:
    """Return what an answer says of the config: fields that were not read, sizes that it did not state."""
    named = {"not_read": list(model.not_read), "class_defaults": list(model.class_defaults)}
    return {name: found for name, found in named.items() if found}


def remedy_fields(remedies: tuple[Remedy, ...]) -> dict[str, object]:
    """Return what fits instead as JSON shows it: plans of their own, and no part of an estimate."""
    return {"remedies": [one._asdict() for one in remedies]}


def compared(source: Source) -> Check | None:
    """Compare the header of a source with the ledger; most sources have none, and load nothing for it."""
    if source.header is None or source.built is not None:  # names of other libraries are not compared
        return None
    from memcalc.files.compare import check

    return check(source)


def header_fields(source: Source) -> dict[str, object]:
    """Return the header's own figures, and in what the ledger differs from it."""
    found = compared(source)
    if found is None:
        return {"header": None, "differences": []}
    return {"header": found.fields, "differences": [one._asdict() for one in found.differences]}


def header_text(source: Source) -> list[str]:
    """Return the same in words: one line, or none."""
    found = compared(source)
    return [] if found is None else [f"  {found.text}"]


def overview() -> str:
    """Return what ``memcalc --help`` shows."""
    rows = [f"  {name:<8} {text}" for name, text in SUMMARIES.items()]
    return "\n".join(
        [
            "usage: memcalc COMMAND ... [--json]",
            "",
            "How much memory a language model needs, derived from the list of its tensors.",
            "",
            *rows,
            "",
            "Tokens may be counted as 32k (x 1,024) and 8_192; capitals do not matter in names.",
            "`memcalc COMMAND --help` lists a command's options; `memcalc --version` shows the version.",
        ]
    )
