"""Files that are written by the program, not by hand, before each build of the book (tools/book.py).

To add one: a function that returns the file's text, and a line in BUILT.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import about
import calculator
import chapter_plans
import cheat_sheet
import checks
import cited
import glossary
import house
import licenses
import mock_interviews
import pages
import plan_options
import quiz
import reference
import what_fits

from memcalc.cli.command import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

BUILT: Mapping[str, Callable[[], str]] = {
    "static/what_fills_a_device.svg": pages.picture,
    **{f"static/licenses/{name}": text for name, text in licenses.BUILT.items()},
    **{f"static/schema/{name}.json": partial(reference.schema_text, name) for name in COMMANDS},
    "cited_counted.md": cited.counted,
    "cited_others.md": cited.others,
    "cited_papers.md": cited.cited_papers,
    "cited_threads.md": cited.threads,
    "changes.md": about.changes,
    "chapter_plans.json": chapter_plans.lines,
    "cheat_sheet.md": cheat_sheet.sheet,
    "checks_exact.md": checks.exact,
    "checks_gate.md": checks.gate,
    "checks_measured.md": checks.measured,
    "citation.md": about.citation,
    "notices.md": about.notices,
    "static/plan-options.js": plan_options.script,
    "command_line.md": reference.command_line,
    "examples.md": pages.examples,
    "glossary.md": glossary.listed,
    "how_it_is_built.svg": house.svg,
    "deployments.md": pages.deployments,
    "engines.md": pages.engines,
    "engines_not_modelled.md": pages.engines_not_modelled,
    "engines_today.md": pages.engines_today,
    "machines.md": pages.machines,
    "mock_interviews.md": mock_interviews.page,
    "models.md": pages.models,
    "quiz_index.md": quiz.index,
    "static/quiz-questions.js": quiz.script,
    "symbols.md": pages.symbols,
    "types.md": pages.types,
}
"""Below _build/generated: `static/` is served with the pages, the rest may be included by them."""
PAGES: Mapping[str, Callable[[], str]] = what_fits.PAGES
"""Pages as a whole, below `fits/`: the table of contents lists them."""
SERVED: Mapping[str, Callable[[], str]] = calculator.files()
"""Served with the pages, and looked at by none while they are built."""


def write(generators: Mapping[str, Callable[[], str]], folder: Path) -> None:
    """Write each file."""
    for path, text in generators.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text(), encoding="utf-8", newline="\n")


def write_served(path: str, folder: Path) -> None:
    """Write one of the files that are served with the pages."""
    write({path: SERVED[path]}, folder)
