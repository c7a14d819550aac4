"""What the quiz has before Python is there: every question with the numbers of one seed, and the index.

Written as a script, because a page that was opened from a file may load nothing else; the index is a table
that needs no script, so that the site's search finds each question in both languages.
"""

from __future__ import annotations

import json
import re
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from memcalc.interview.bank import bank
from memcalc.interview.language import LANGUAGES, chinese
from memcalc.interview.question import question
from memcalc.interview.template import DIFFICULTIES, TOPICS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memcalc.interview.template import Template

ROOT = Path(__file__).resolve().parents[1]
WRITTEN = '// Written by tools/quiz.py from the bank of questions.\n"use strict";\n'
SEED = 1  # whose numbers stand in the page
KNOWN = ("topic", "difficulty", "kind", "by_hand")  # of each question from the beginning
ASKED = ("question", "kind", "unit", "tolerance", "choices", "subject")  # all but what answers it
CHINESE = {
    "serving": "推理", "training": "训练", "hybrids": "混合架构", "units": "单位",
    "easy": "易", "medium": "中", "hard": "难",
    "not answered": "未答", "right": "答对", "missed": "答错",
}  # fmt: skip
COLUMNS = ("Question 题目", "Topic 主题", "Difficulty 难度")


def script() -> str:
    """Return every question as a script of the page."""
    known = {"seed": SEED, "questions": {one.id: entry(one) for one in bank().values()}}
    return f"{WRITTEN}const MEMCALC_QUESTIONS = {json.dumps(known, ensure_ascii=False)};\n"


def entry(template: Template) -> dict[str, object]:
    """Return a question as the page knows it from the beginning."""
    return {
        **{name: template.fields()[name] for name in KNOWN},
        "title": dict(zip(LANGUAGES, titles(template), strict=True)),
        "chapter": dict(zip(("address", "title"), chapter(template.chapter), strict=True)),
        "drawn": {language: drawn(template, language) for language in LANGUAGES},
    }


def drawn(template: Template, language: str) -> dict[str, object]:
    """Return a question with the numbers of the seed, without its answer."""
    found = question(template, SEED, language).fields()
    return {name: found[name] for name in ASKED}


def titles(template: Template) -> tuple[str, str]:
    """Return the title in English and in Chinese."""
    return template.title, str(chinese()["titles"][template.id])


@cache
def chapter(name: str) -> tuple[str, str]:
    """Return the address of a page, as seen from the quiz, and its title.

    >>> chapter("bytes")[0]
    '../notebooks/bytes.html'
    """
    notebook = ROOT / "notebooks" / f"{name}.ipynb"
    if notebook.is_file():
        text = "".join(json.loads(notebook.read_text(encoding="utf-8"))["cells"][0]["source"])
        address = f"../notebooks/{name}.html"
    else:
        text = (ROOT / "book" / f"{name}.md").read_text(encoding="utf-8")
        address = f"{name}.html"
    found = re.search("^# (.+)$", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"{name}: the page has no title")
    return address, found[1]


def index() -> str:
    """Return the table of all questions, as it stands without a script, in Markdown."""
    rows = "\n".join(map(row, bank().values()))
    head = "".join(f'<th scope="col">{one}</th>' for one in COLUMNS)
    return (
        f'```{{raw}} html\n<form id="quiz-index" aria-label="Index of questions">\n{filters()}\n'
        f'<table class="table">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n'
        "</form>\n```\n"
    )


def filters() -> str:
    """Return what narrows the index; a script shows it."""
    narrowed = (
        select("topic", "Topic 主题", TOPICS)
        + select("difficulty", "Difficulty 难度", DIFFICULTIES)
        + select("mark", "So far 成绩", ("not answered", "right", "missed"))
    )
    return f'<div class="fields" hidden>{narrowed}<output></output></div>'


def select(name: str, label: str, values: Iterable[str]) -> str:
    """Return a choice of one value, or of all."""
    options = "".join(f'<option value="{one}">{both(one)}</option>' for one in values)
    every = '<option value="">all 全部</option>'
    return f'<label>{label} <select name="{name}">{every}{options}</select></label>'


def both(word: str) -> str:
    """Return a word in both languages.

    >>> both("easy")
    'easy 易'
    """
    return f"{word} {CHINESE[word]}"


def row(template: Template) -> str:
    """Return a question's row of the index."""
    english, other = map(escape, titles(template))
    pen = '<span class="pen">with a pen 笔算</span>' if template.by_hand else ""
    return (
        f'<tr data-id="{template.id}" data-topic="{template.topic}" data-difficulty="{template.difficulty}">'
        f'<td><a href="#{template.id}/{SEED}">{english}</a> <span lang="zh">{other}</span>'
        f'{pen}<span class="so-far"></span></td>'
        f"<td>{both(template.topic)}</td><td>{both(template.difficulty)}</td></tr>"
    )
