"""``memcalc explain``: where each number of an answer comes from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from memcalc.cli.command import Command
from memcalc.cli.plans import KINDS, answered, is_help, read
from memcalc.errors import BadInputError, Described

if TYPE_CHECKING:
    import argparse

    from memcalc.cli.parser import Parser
    from memcalc.show.explanation import Explanation
    from memcalc.show.steps import Section, Step

__all__ = ["COMMAND", "fields"]

SWITCHES = {
    "--markdown": "as Markdown: tables and formulas, as GitHub and Jupyter show them",
    "--latex": "as LaTeX: aligned equations, which MathJax shows, too",
}


def add(parser: Parser) -> None:
    """Add the options; those of the command that is explained are its own."""
    plan = f"{' or '.join(KINDS)}, and what that command takes: `memcalc explain serve --help` lists it"
    parser.add_argument("plan", metavar="COMMAND ...", nargs="?", help=plan)
    for flag, text in SWITCHES.items():
        parser.add_argument(flag, action="store_true", help=text)


def reads(words: list[str]) -> tuple[int, str]:
    """Answer what was typed: the exit status of the command that is explained, and the text.

    Raises:
        BadInputError: two ways to write it are asked for.

    """
    plan = read("explain", words, SWITCHES)
    if is_help(words):
        plan.parser.prog = f"memcalc explain {plan.kind}"
        return 0, plan.parser.format_help().rstrip()
    given = plan.given
    ways = [name for name in ("markdown", "latex", "json") if getattr(given, name)]
    if len(ways) > 1:
        remedy = "choose one: --json has the LaTeX of each line, too"
        beside = Described(f"--{ways[1]} beside it")
        plan.faults.found.append(BadInputError(f"--{ways[0]}", "it alone", beside, remedy))
    status, result = answered(plan)
    said: Explanation = of_source(result, given) if plan.kind == "model" else result.explanation
    if given.json:
        return status, json.dumps(fields(said))
    return status, getattr(said, ways[0]) if ways else str(said)


def of_source(found: Any, given: argparse.Namespace) -> Explanation:
    """Return the explanation of a model, or of a header alone."""
    from memcalc.ledger.model import cache_growth
    from memcalc.show.explained_model import explained_header, explained_model

    if found.is_unread:
        from memcalc.cli.weights import answer_of_header
        from memcalc.files.header_alone import stored_weights

        answer_of_header(found, given.engine)  # refuses an engine, as `memcalc model` does
        return explained_header(stored_weights(found), found.defaults)
    if given.engine is None:
        return explained_model(found.model, cache_growth, defaults=found.defaults)
    from memcalc.cli.model import growth_with

    facts = [f"the cache is counted as {given.engine} allocates it"]
    return explained_model(
        found.model, lambda model: growth_with(model, given.engine), defaults=found.defaults, facts=facts
    )


def fields(said: Explanation) -> dict[str, object]:
    """Return an explanation as JSON shows it.

    Parameters
    ----------
    said : Explanation
        What was explained.

    Returns
    -------
    dict
        The names and numbers of the answer; sizes are whole bytes.

    """
    symbols = [
        {"name": name, "latex": latex, "value": value, "meaning": meaning}
        for (name, value, meaning), latex in zip(said.legend, said.letters, strict=True)
    ]
    return {
        "schema": 1,
        "of": said.kind,
        "model": said.model,
        "title": said.title,
        "defaults": list(said.defaults),
        "facts": list(said.facts),
        "symbols": symbols,
        "sections": [section_fields(section) for section in said.sections],
        "conclusion": list(said.conclusion),
        "answer": said.answer,
        "answer_text": said.last_line,
    }


def section_fields(section: Section) -> dict[str, object]:
    """Return a section: its lines, and what they add up to."""
    return {
        "heading": section.heading,
        "pool": section.pool or None,
        "unit": section.unit,
        "lines": [step_fields(step) for step in section.steps],
        "sums": [
            {
                "name": total.name,
                "parts": [{"name": name, "value": int(size)} for name, size in total.parts],
                "value": int(total.value),
                "note": total.note,
            }
            for total in section.sums
        ],
    }


def step_fields(step: Step) -> dict[str, object]:
    """Return a line: its formula with names, with numbers and in LaTeX; null where there is none."""
    said = step.expression if step.is_derived else None
    return {
        "component": step.component,
        "name": step.name,
        "formula": said and said.text("name"),
        "numbers": said and said.text("number"),
        "latex": said and said.latex(),
        "words": step.words,
        "value": int(step.value),
        "moments": list(step.moments),
        "evidence": step.evidence,
        "source": step.source,
        "low": step.low,
        "high": step.high,
        "outside": step.outside,
    }


COMMAND = Command(add, reads=reads)
