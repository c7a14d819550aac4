"""On paper: `make exam`, a sheet and its key in English and in Chinese; the cheat sheet."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from pypdf import PdfReader

from memcalc.interview.sheet import sheet

ROOT = Path(__file__).resolve().parents[2]


def exam(*words):
    """What the tool did, and the files that it wrote."""
    command = [sys.executable, "tools/exam.py", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    return done, [Path(line.strip()) for line in done.stdout.splitlines() if line.strip().endswith(".pdf")]


def text(file):
    """What a PDF says, without spaces: lines break where there is no room."""
    pages = "".join(page.extract_text() for page in PdfReader(file).pages)
    return re.sub(r"\s", "", unicodedata.normalize("NFKC", pages))


def bare(words):
    return re.sub(r"\s", "", unicodedata.normalize("NFKC", words))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_sheet_and_its_key(language):
    done, (paper, key) = exam("--seed", "3", "--n", "4", "--edition", language)
    assert done.returncode == 0, done.stderr
    questions = sheet(3, 4, language=language)
    on_paper, in_key = text(paper), text(key)
    for one in questions:
        assert bare(one.template.title) in on_paper
        assert bare(one.text) in on_paper
        assert bare(one.text) in in_key
        assert bare(one.derivation[-1]) in in_key
        assert bare(one.derivation[-1]) not in on_paper  # the sheet does not tell
    if language == "zh":
        assert len(re.findall("[\u4e00-\u9fff]", on_paper)) > 50


@pytest.mark.parametrize("language", ["en", pytest.param("zh", marks=pytest.mark.full)])
def test_the_same_seed_is_the_same_sheet_to_the_byte(language):
    written = []
    for _ in range(2):
        _, files = exam("--seed", "5", "--n", "2", "--edition", language)
        written.append([file.read_bytes() for file in files])
    assert len(written[0]) == 2
    assert written[0] == written[1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--n", "9999"], "N: expected at most"),
        (["--n", "0"], "N: expected a whole number"),
        (["--seed", "x"], "SEED: expected a whole number"),
        (["--topic", "cooking"], "TOPIC: expected one of"),
        (["--edition", "fr"], "EDITION: expected one of en, zh"),
    ],
)
def test_bad_words_are_one_line(words, says):
    done, files = exam(*words)
    assert done.returncode == 2
    assert not files
    assert done.stderr.startswith(f"exam: {says}")
    assert done.stderr.count("\n") == 1


def test_the_cheat_sheet_is_one_sheet(visit):
    """Of A4, with all of its rules."""
    paper = PdfReader(io.BytesIO(visit("book/cheat_sheet.html").pdf(format="A4")))
    assert len(paper.pages) == 1
    assert "interleaved" in paper.pages[0].extract_text()
