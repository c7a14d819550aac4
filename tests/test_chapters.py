"""A chapter asks before it answers, and what it shows of its code computes something."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = {path.stem: path for path in sorted(ROOT.glob("notebooks/*.ipynb"))}
TITLE = "## Predict first 先猜一猜"
CHOICE = re.compile(
    r'<details class="choice"><summary><b>(\w)</b> (.+?)</summary>\n\n(.+?)\n\n</details>', re.DOTALL
)
ANSWER = re.compile(
    r'<details class="answer"><summary>The answer 答案</summary>\n\n(.+?)\n\n</details>', re.DOTALL
)
LONGEST = 6  # lines of a cell that stands open
SHORTEST = 60  # letters in which a choice explains itself
FOLDED = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
# Cells that stand open although they are longer: they are the chapter's own point. The list only shrinks.
OPEN = {"forty_lines": 1, "your_model_your_machine": 1}


class Cell(NamedTuple):
    """A cell of a notebook."""

    kind: str
    source: str
    tags: frozenset[str]

    @property
    def lines(self) -> list[str]:
        """Its lines, without empty ones."""
        return [line for line in self.source.splitlines() if line.strip()]

    @property
    def asserts(self) -> bool:
        """Whether it demands something."""
        return any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(self.source)))


def read(path):
    """The cells of a notebook."""
    return [
        Cell(cell["cell_type"], "".join(cell["source"]), frozenset(cell["metadata"].get("tags", [])))
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
    ]


def faults_of_prediction(cells):
    """What is wrong with the question, its choices and its answer."""
    if any("**Answer.**" in cell.source for cell in cells if cell.kind == "markdown"):
        yield "the answer stands open: **Answer.**"
    places = [number for number, cell in enumerate(cells) if cell.source.startswith("## Predict first")]
    if places != [1]:
        yield f"predictions at {places}, not in the second cell alone"
        return
    text = cells[1].source
    if text.partition("\n")[0] != TITLE:
        yield f"its title is not {TITLE}"
    choices = CHOICE.findall(text)
    letters = [letter for letter, _, _ in choices]
    if len(choices) < 3 or letters != list("ABCDEF"[: len(choices)]):
        yield f"choices {letters}"
    yield from (f"{letter} does not explain itself" for letter, _, why in choices if len(why) < SHORTEST)
    answers = ANSWER.findall(text)
    if len(answers) != 1 or text.count("<details") != len(choices) + 1 or not text.endswith("</details>"):
        yield "not one folded answer behind the choices"
        return
    if not re.match(rf"\*\*[{''.join(letters)}]\b", answers[0]):
        yield "the answer names no choice"
    if "**In one line:**" not in answers[0]:
        yield "the answer does not say the chapter in one line"


def faults_of_code(cells, longer=0):
    """What is wrong with the cells of code: long ones that stand open, and demands before the end."""
    code = [cell for cell in cells if cell.kind == "code"]
    long = [cell.lines[0] for cell in code if not cell.tags & FOLDED and len(cell.lines) > LONGEST]
    if len(long) != longer:
        yield f"{len(long)} open cells of more than {LONGEST} lines, {longer} are allowed: {long}"
    tags = ["hide-cell" in cell.tags for cell in cells]
    if tags != sorted(tags) or not tags[-1]:
        yield "folded cells that are not the last ones"
    yield from (
        f"demands before the end: {cell.lines[0]}"
        for cell in code
        if cell.asserts and "hide-cell" not in cell.tags
    )


def faults(name, cells):
    """All of them."""
    return [*faults_of_prediction(cells), *faults_of_code(cells, OPEN.get(name, 0))]


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_chapter_asks_first_and_shows_code_that_computes(name):
    assert faults(name, read(PAGES[name])) == []


def test_lists_name_chapters():
    assert set(PAGES) >= set(OPEN)


def choice(letter, why="Tempting because of what one sees first; but that forgets all that comes after it."):
    return f'<details class="choice"><summary><b>{letter}</b> a number</summary>\n\n{why}\n\n</details>\n'


ANSWERED = (
    '\n<details class="answer"><summary>The answer 答案</summary>\n\n**B.** Yes.\n\n'
    "**In one line:** yes.\n\n</details>"
)
ASKED = f"{TITLE}\n\nHow many?\n\n{choice('A')}{choice('B')}{choice('C')}{ANSWERED}"
GOOD = [
    Cell("markdown", "# A title\n\n> **Question.** How many?", frozenset()),
    Cell("markdown", ASKED, frozenset()),
    Cell("code", "x = 1", frozenset()),
    Cell("code", "assert x == 1", frozenset({"hide-cell"})),
]


def test_a_good_chapter_has_no_faults():
    assert list(faults_of_prediction(GOOD)) == list(faults_of_code(GOOD)) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (TITLE, "## Predict first"),
        (choice("C"), ""),
        (choice("B"), choice("D")),
        (choice("A"), choice("A", "No.")),
        ('class="answer"', 'class="answer" open'),
        ("**B.** Yes.", "Yes."),
        ("**B.** Yes.", "**D.** Yes."),
        ("**In one line:** yes.", "Yes."),
        (ANSWERED, ""),
        ("How many?", "> **Answer.** One.\n\nHow many?"),
    ],
)
def test_each_fault_of_a_prediction_is_noticed(old, new):
    changed = Cell("markdown", ASKED.replace(old, new), frozenset())
    assert changed.source != ASKED
    assert list(faults_of_prediction([GOOD[0], changed, *GOOD[2:]]))


@pytest.mark.parametrize(
    "cells",
    [
        [*GOOD[:2], Cell("code", "x = 1\n" * 7, frozenset()), GOOD[3]],
        [*GOOD[:2], Cell("code", "assert 1", frozenset()), GOOD[3]],
        [*GOOD[:2], GOOD[3], GOOD[2]],
        [*GOOD[:2], GOOD[3], GOOD[2], GOOD[3]],
        GOOD[:3],
    ],
)
def test_each_fault_of_code_is_noticed(cells):
    assert list(faults_of_code(cells))


def test_an_exception_is_one_cell_and_no_more():
    long = Cell("code", "x = 1\n" * 7, frozenset())
    assert list(faults_of_code([GOOD[0], GOOD[1], long, GOOD[3]], longer=1)) == []
    assert list(faults_of_code(GOOD, longer=1))
