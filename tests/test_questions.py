"""The page of questions: each stands in the table, which links to it, and is derived at the end."""

from __future__ import annotations

import json
import re

import pytest


@pytest.fixture(scope="module")
def cells(root):
    return json.loads((root / "notebooks" / "questions.ipynb").read_text(encoding="utf-8"))["cells"]


@pytest.fixture(scope="module")
def text(cells):
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def test_the_table_has_every_question_with_its_topic(text):
    listed = re.findall(
        r'^\| (\d+) \| <a href="#question-(\d+)">(.+?)</a> \| (.+?) \| (.+?) \|$', text, re.MULTILINE
    )
    asked = re.findall(
        r'^<span id="question-(\d+)"></span>\n\n## (\d+)\. (.+)\n\n'
        r"\*\*Topic 主题\*\* (.+) · \*\*Difficulty 难度\*\* (.+)$",
        text,
        re.MULTILINE,
    )
    assert len(asked) == len(listed) > 30
    for number, (row, question) in enumerate(zip(listed, asked, strict=True), 1):
        assert row[:2] == question[:2] == (str(number),) * 2
        assert question[2].startswith(re.sub("</?code>", "`", row[2]))
        assert row[3:] == question[3:]
    assert text.count('<details class="answer">') == len(asked) + 1  # and the prediction's


def test_every_question_is_derived_under_its_name(cells):
    derived = {}
    for cell in (cell for cell in cells if cell["cell_type"] == "code"):
        name = cell["source"][0].removeprefix("# ").strip()
        shown = cell["metadata"]["mystnb"]
        assert shown == {"code_prompt_show": name, "code_prompt_hide": name}
        assert cell["metadata"]["tags"] == ["derivation", "hide-cell"]
        number = re.match(r"Question (\d+), ", name)
        if number:
            derived.setdefault(int(number[1]), []).append("".join(cell["source"]))
    assert list(derived) == list(range(1, len(derived) + 1))
    assert all("\nassert " in "\n".join(sources) for sources in derived.values())
    assert len(derived) > 30
