"""``memcalc compare``: plans side by side, what differs in them, and why their numbers do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from memcalc.cli.command import Command, parser_of
from memcalc.cli.plans import KINDS, answered, is_help, read
from memcalc.errors import BadInputError, MemcalcError
from memcalc.show.comparison import compare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.cli.parser import Parser
    from memcalc.files.source import Source
    from memcalc.ledger.model import Model
    from memcalc.show.comparison import Comparison, Contrast, Side

__all__ = ["COMMAND", "fields"]

BETWEEN = "--"
EXAMPLE = (
    "`memcalc compare serve Qwen/Qwen3-32B --context 32k -- serve Qwen/Qwen3-32B --context 32k --kv fp8`"
)


def add(parser: Parser) -> None:
    """Add the options; those of the plans are their own."""
    plan = f"{' or '.join(KINDS)}, and what that command takes; two or more, parted by --"
    parser.add_argument("plan", metavar="PLAN -- PLAN ...", nargs="?", help=plan)


def reads(words: list[str]) -> tuple[int, str]:
    """Answer what was typed.

    Raises:
        BadInputError: there is one plan alone.
        MemcalcError: a plan could not be answered; the line says which.

    """
    plans = list(parted(words))
    if is_help(words):
        return 0, parser_of("compare").format_help().rstrip()
    if len(plans) < 2:
        raise BadInputError(
            "plans", f"two or more, parted by {BETWEEN}", len(plans), f"write for example {EXAMPLE}"
        )
    as_json = any("--json" in plan for plan in plans)
    statuses, answers = zip(*(answer_of(number, plan) for number, plan in enumerate(plans, 1)), strict=True)
    found = compare(*answers)
    return max(statuses), json.dumps(fields(found)) if as_json else str(found)


def parted(words: list[str]) -> Iterator[list[str]]:
    """Yield the words of each plan."""
    plan: list[str] = []
    for word in [*words, BETWEEN]:
        if word != BETWEEN:
            plan.append(word)
        elif plan:
            yield plan
            plan = []


def answer_of(number: int, words: list[str]) -> tuple[int, object]:
    """Return the exit status of a plan, and its answer.

    Raises:
        MemcalcError: it could not be answered; the line begins with its number.

    """
    if words == ["--json"]:
        raise BadInputError(f"plan {number}", "a plan", "--json alone", "write --json behind a plan")
    try:
        plan = read("compare", words)
        status, found = answered(plan)
        if plan.kind == "model":
            found = model_of(found, plan.given.engine)
    except MemcalcError as error:
        raise MemcalcError(f"plan {number}: {error}") from None
    return status, found


def model_of(found: Source, engine: str | None) -> Model:
    """Return a model: its cache is compared as the architecture needs it.

    Raises:
        BadInputError: an engine's cache is asked for.

    """
    if engine is not None:
        remedy = "compare plans of `serve`, which have an engine's cache"
        raise BadInputError("--engine", "none: models are compared by their architecture", engine, remedy)
    return found.model


def fields(found: Comparison) -> dict[str, object]:
    """Return a comparison as JSON shows it.

    Parameters
    ----------
    found : Comparison
        What was compared.

    Returns
    -------
    dict
        The names and numbers of the answer; sizes are whole bytes.

    """
    return {
        "schema": 1,
        "plans": [side_fields(side) for side in found.sides],
        "options": [
            {"name": name, "values": list(values), "asked": [name in side.asked for side in found.sides]}
            for name, values in found.options.items()
        ],
        "components": list(map(contrast_fields, found.differences)),
        "devices": list(map(contrast_fields, found.devices)),
        "limits": list(map(contrast_fields, found.limits)),
        "moments": list(found.moments),
        "remarks": list(found.remarks),
        "answer_text": found.last_line,
    }


def contrast_fields(one: Contrast) -> dict[str, object]:
    """Return a row: its number in each plan, the differences from the first, and their causes."""
    return {
        "name": one.name,
        "values": list(one.sizes),
        "differences": [size - one.sizes[0] for size in one.sizes],
        "causes": [list(why) for why in one.causes],
    }


def side_fields(side: Side) -> dict[str, object]:
    """Return a plan: what it holds, and whether that fits."""
    from memcalc.serving.search import limited

    pool = side.deciding
    return {
        "command": side.kind,
        "model": side.model,
        "title": side.title,
        "defaults": list(side.explanation.defaults),
        "components": side.rows,
        "at": side.moment or None,
        "total": side.total,
        "unit": side.unit,
        "low_bytes": pool and int(pool.low_bytes),
        "high_bytes": pool and int(pool.high_bytes),
        "capacity_bytes": pool and pool.capacity_bytes,
        "verdict": side.verdict,
        "cause": side.cause,
        "max_context": limited(side.max_context),
        "max_batch": limited(side.max_batch),
    }


COMMAND = Command(add, reads=reads)
