"""Drawn questions, 25 of each template: each answer once more by plain arithmetic, from its text alone."""

from __future__ import annotations

import ast
import math
from importlib import import_module

import pytest

from memcalc.interview.bank import bank
from memcalc.interview.question import question
from memcalc.interview.template import TOPICS
from tests.plain_arithmetic import asked

DRAWN = 25
MODULES = [import_module(f"tests.plain_arithmetic.{topic}") for topic in TOPICS]
ANSWERS = {name: answer for module in MODULES for name, answer in module.ANSWERS.items()}
TOLD = ("explain", "mistakes")  # answered in words, or by what others have published: read, not computed


def test_it_knows_nothing_of_memcalc(root):
    for path in (root / "tests" / "plain_arithmetic").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert all(name.split(".")[0] != "memcalc" for name in names), path


def test_every_question_is_answered():
    assert {one.id for one in bank().values() if one.kind not in TOLD} == ANSWERS.keys()


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_by_plain_arithmetic(request, name):
    """All 25 with --full, five in the gate."""
    template = bank()[name]
    for seed in range(DRAWN if request.config.getoption("full") else 5):
        drawn = question(template, seed)
        found = ANSWERS[name](asked(drawn.text, list(drawn.choices)))
        if template.kind in ("number", "estimate"):
            assert is_rounded(drawn.answer, found), (seed, drawn.text, drawn.answer, found)
        elif template.kind == "choice":
            assert drawn.choices["ABCDEFGHIJ".index(drawn.answer)] == found, (seed, drawn.text)
        else:
            assert list(drawn.answer) == found, (seed, drawn.text, drawn.choices)


def is_rounded(given, exact):
    """Whether a number is the exact one, or that with four significant digits."""
    if float(given) == float(exact):
        return True
    last = 10 ** (math.floor(math.log10(abs(exact))) - 3)
    return abs(given - exact) <= max(last, 1e-9) * 0.51
