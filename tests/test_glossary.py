"""The glossary: each word has one Chinese, one sentence, and a chapter that uses it."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict

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


def test_a_link_to_a_word_names_one_that_there_is(glossary, chapters):
    """In chapters and pages: glossary.md#kv-cache."""
    anchors = [one.anchor for one in glossary.words()]
    assert len(set(anchors)) == len(anchors)
    linked = {
        (chapter, word)
        for chapter in chapters
        for word in re.findall(r"glossary\.md#([^)\s]*)", said(glossary.source(chapter)))
    }
    assert linked
    assert {(chapter, word) for chapter, word in linked if word not in anchors} == set()


ABBREVIATION = re.compile(r"(?<![\w.-])[A-Z][A-Z0-9]*[A-Z][A-Za-z0-9]*(?![\w])")
CODE = re.compile(r"```.*?```|\$\$.*?\$\$|\$[^$\n]*\$|`[^`]*`|\]\([^)]*\)|<[^>]+>|“[^”]*”", re.DOTALL)
# What a reader of this book knows, or what names one thing alone: a program, a maker, a model, a device.
NAMES = {
    *("API", "CPU", "CUDA", "FSDP2", "GELU", "GPU", "HF", "HTML", "JSON", "KV", "PDF", "README", "SiLU"),
    *("KB", "MB", "TB", "KiB", "MiB", "TiB"),
    *(
        "BLOOM",
        "DDP",
        "E2B",
        "E4B",
        "GB200",
        "GLM",
        "GPT",
        "IBM",
        "KTransformers",
        "LMCache",
        "MLX",
        "NVIDIA",
        "PRO",
    ),
    *("RTX", "SGLang", "SwiGLU", "TRL"),
}


def test_an_abbreviation_of_several_chapters_is_explained(glossary, chapters):
    words = " ".join(" ".join((one.word, *one.spelled)) for one in glossary.words())
    explained = {word.rstrip("s") for word in (*ABBREVIATION.findall(words), *NAMES)}
    used = defaultdict(set)
    for chapter in chapters:
        if chapter.startswith("notebooks/"):
            for word in ABBREVIATION.findall(CODE.sub(" ", said(glossary.source(chapter)))):
                used[word.rstrip("s")].add(chapter)
    assert {word: found for word, found in used.items() if len(found) > 1 and word not in explained} == {}
