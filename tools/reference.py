"""The reference of the command line, as Markdown, from what parsers offer and options declare."""

from __future__ import annotations

import json
import re
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from memcalc.cli.command import SUMMARIES, parser_of
from memcalc.cli.options import argument, explained
from memcalc.cli.schema import OPTIONS, schema
from memcalc.options import options_of
from memcalc.show.tables import table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from memcalc.options import Option

IN_PYTHON = {
    "model": "memcalc.model(source)",
    "serve": "memcalc.serve(source, context=...)",
    "train": "memcalc.train(source, seq=...)",
    "which": "memcalc.which(source, context=...)",
    "check": "memcalc.check(log)",
    "explain": "memcalc.explain(answer)",
    "compare": "memcalc.compare(answer, ...)",
    "ask": "memcalc.ask(id, seed=...)",
    "measure": "memcalc.evidence.measure.measurement.measure(answer)",
}


class Row(NamedTuple):
    """One argument of a command as the reference shows it; what it has not is empty."""

    group: str
    flag: str
    value: str
    keyword: str
    meaning: str
    unit: str
    default: str

    @property
    def cells(self) -> dict[str, object]:
        """The row of a table; of several values that may stand in a choice each is code of its own."""
        values = " ".join(f"`{one}`" for one in self.value.split("|") if one)
        flag = f"`{self.flag}`" if self.flag else ""
        return {
            "argument": f"{flag} {values}".strip(),
            "in Python": f"`{self.keyword}`" if self.keyword else "",
            "meaning": with_code(self.meaning),
            "unit": self.unit,
            "default": with_code(self.default),
        }


def with_code(text: str) -> str:
    """Return a text with what is typed at a shell as code, or typography would change its dashes and quotes.

    >>> with_code('as --tp, or "2x t4"; see `memcalc --help`')
    'as `--tp`, or `2x t4`; see `memcalc --help`'
    """
    return re.sub(
        r"""(`[^`]*`)|(--[\w-]+)|"([^"]*)\"""", lambda found: found[1] or f"`{found[2] or found[3]}`", text
    )


def columns(found: list[Row]) -> Iterator[dict[str, object]]:
    """Yield the rows of a table without the columns that are empty in all of them."""
    used = {name for row in found for name, cell in row.cells.items() if cell}
    for row in found:
        yield {name: cell for name, cell in row.cells.items() if name in used}


def command_line() -> str:
    """Return the reference of every command."""
    return "\n".join(map(section, SUMMARIES))


def schema_text(command: str) -> str:
    """Return the JSON Schema of a command's answer as it is published."""
    return json.dumps(schema(command), indent=1, ensure_ascii=False) + "\n"


def section(command: str) -> str:
    """Return the reference of one command: a table for each group of its arguments."""
    schema = f'<a href="../_static/schema/{command}.json">JSON Schema</a>'
    summary = SUMMARIES[command][:1].upper() + SUMMARIES[command][1:]
    stop = "" if summary.endswith("?") else "."
    same = f"In Python: `{IN_PYTHON[command]}`. " if command in IN_PYTHON else ""
    parts = [
        f"### memcalc {command}",
        f"{summary}{stop} {same}With `--json` the answer keeps to this {schema}.",
    ]
    for group, found in groupby(rows(command), key=lambda row: row.group):
        parts += [f"**{group[:1].upper()}{group[1:]}**" if group else "", repr(table(columns(list(found))))]
    return "\n\n".join(part for part in parts if part) + "\n"


def rows(command: str) -> Iterator[Row]:
    """Yield the arguments of a command in the order of its help, those of a group together."""
    declared = {one.name: one for one in options_of(OPTIONS[command])} if command in OPTIONS else {}
    for action in parser_of(command).offered:
        option = declared.get(action.dest)
        yield of_action(action, command) if option is None else of_option(option)


def of_option(option: Option) -> Row:
    """Return the row of an option that a dataclass declares."""
    flag, how = argument(option)
    value = str(how.get("metavar", ""))
    default = option.shown_default
    return Row(option.group, flag, value, option.name, explained(option), option.unit, default)


def of_action(action: argparse.Action, command: str) -> Row:
    """Return the row of what the command alone has: its source, and how it answers."""
    value = str(action.metavar or "")
    if not action.option_strings:
        keyword = action.dest if command in IN_PYTHON else ""
        return Row("", "", value, keyword, action.help or "", "", "required")
    return Row("answer", action.option_strings[-1], value, "", action.help or "", "", "")
