"""What a page names is there: files of this repository, and names of the package."""

from __future__ import annotations

import json
import re
from importlib import import_module

import pytest

PATH = re.compile(r"(?<![\w/.-])(?:memcalc|tests|tools|book|notebooks|_ext)/[\w./*<>-]*[\w/>]")
DOTTED = re.compile(r"(?<![\w/.`-])`?(memcalc(?:\.\w+)+)")
NAME_IN = re.compile(r"`((?:memcalc|tools)/[\w/]+\.py)` \(`(\w+)`")


def prose(path):
    """The text of a page, without the code that its kernel runs."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = json.loads(text)["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def pages(root):
    """Every page of the book, and what stands beside it."""
    found = [*root.glob("notebooks/*.ipynb"), *root.glob("book/*.md"), *root.glob("*.md")]
    return {str(path.relative_to(root)): prose(path) for path in sorted(found) if path.name != "CHANGELOG.md"}


def paths(text):
    """The paths that a page names, links to other sites aside; ``<name>`` stands for any name."""
    inside = re.sub(r"\(?https?://[^\s)]*", "", text)
    return {re.sub(r"<\w+>", "*", path) for path in PATH.findall(inside)}


def exists(name):
    """Whether a dotted name can be imported, or reached from what can; modules go first."""
    module, *rest = name.split(".")
    found = import_module(module)
    for part in rest:
        try:
            found = import_module(f"{found.__name__}.{part}")
        except (ImportError, AttributeError):
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
    return True


def test_paths_that_pages_name_exist(root):
    missing = {
        (page, path)
        for page, text in pages(root).items()
        for path in paths(text)
        if not (any(root.glob(path)) or path.startswith("book/_static"))
    }
    assert missing == set()


def test_functions_stand_in_the_files_that_pages_say(root):
    named = {pair for text in pages(root).values() for pair in NAME_IN.findall(text)}
    assert len(named) > 1
    for path, name in named:
        assert re.search(rf"\b(?:def|class) {name}\b|^{name}\b", (root / path).read_text(), re.MULTILINE), (
            path,
            name,
        )


def test_dotted_names_that_pages_name_exist(root):
    named = {(page, name) for page, text in pages(root).items() for name in DOTTED.findall(text)}
    assert len({name for _, name in named}) > 5
    assert {(page, name) for page, name in named if not exists(name)} == set()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "see `memcalc/ledger/tensor.py`, and `memcalc/serving/engines/`.",
            {"memcalc/ledger/tensor.py", "memcalc/serving/engines/"},
        ),
        ("https://github.com/x/memcalc/gone.py", set()),
        ("`memcalc/training/autograd/<name>.py`", {"memcalc/training/autograd/*.py"}),
    ],
)
def test_what_counts_as_a_path(text, found):
    assert paths(text) == found


def test_a_name_that_is_gone_is_noticed():
    assert exists("memcalc.serve")
    assert exists("memcalc.training.zero.states")
    assert not exists("memcalc.plan")
    assert not exists("memcalc.ledger.step.Training")
