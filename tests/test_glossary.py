"""The glossary: each word has one Chinese, one sentence, and a chapter that uses it."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest
import yaml


@pytest.fixture(scope="module")
def glossary(root):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root / "tools")
        import glossary

        yield glossary


@pytest.fixture(scope="module")
def chapters(root):
    """Every page of the table of contents."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    return {chapter["file"] for part in toc["parts"] for chapter in part["chapters"]}


def said(path):
    """What a chapter says, its code and outputs left out."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    cells = json.loads(text)["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def test_every_word_stands_in_the_chapter_that_explains_it(glossary, chapters):
    missing = []
    for one in glossary.words():
        assert one.chapter in chapters, one
        text = said(glossary.source(one.chapter))
        spelled = one.spelled or (one.word,)
        if not any(re.search(rf"(?<!\w){re.escape(word)}", text, re.IGNORECASE) for word in spelled):
            missing.append((one.word, one.chapter))
    assert missing == []


def test_one_word_one_chinese_term(glossary):
    """A process rank is no 秩; 重计算 is no 检查点."""
    words = glossary.words()
    chinese = {one.word: one.chinese for one in words}
    assert len(chinese) == len(words) > 80
    assert [term for term, count in Counter(chinese.values()).items() if count > 1] == []
    assert chinese["rank (a process)"] == "rank（进程）"
    assert chinese["rank (of a matrix)"] == "秩"
    assert chinese["recomputation, activation checkpointing"] == "重计算"
    assert chinese["checkpoint"] == "检查点"
    assert chinese["logits"] == "logits"


def test_a_sentence_each(glossary):
    for one in glossary.words():
        assert one.meaning, one
        assert not one.meaning.endswith("."), one
