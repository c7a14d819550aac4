"""The tests themselves: none ends before it asserts, none asserts what cannot be false."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

FILES = sorted(Path(__file__).parent.rglob("test_*.py"))


def scenarios(tree):
    """The functions of a file that pytest runs as tests; a fixture may have such a name too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            fixture = any("fixture" in ast.unparse(one) for one in node.decorator_list)
            yield from () if fixture else (node,)


def own(node):
    """What stands in a function, without what stands in functions inside it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.Lambda):
            yield child
            yield from own(child)


def faults(tree):
    """A line for each test that may pass without having held anything."""
    for test in scenarios(tree):
        for node in own(test):
            if isinstance(node, ast.Return):
                yield f"{test.name}: returns; parametrise the case away, or pytest.skip with a reason"
            if isinstance(node, ast.Assert) and isinstance(node.test, ast.Constant | ast.Tuple | ast.List):
                yield f"{test.name}: asserts a constant"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_test_can_pass_without_holding_anything(path):
    assert list(faults(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("def test_x():\n    if y:\n        return\n    assert y", 1),
        ("def test_x():\n    for y in z:\n        assert y\n        return", 1),
        ("def test_x():\n    assert True", 1),
        ("def test_x():\n    assert (y, 'a message')", 1),
        ("def test_x():\n    def y():\n        return 1\n    assert y() == 1", 0),
        ("@pytest.fixture\ndef test_rows():\n    return 1", 0),
        ("def helper():\n    return 1", 0),
    ],
)
def test_such_a_test_is_found(source, count):
    assert len(list(faults(ast.parse(source)))) == count


@pytest.mark.xdist_group("one-worker")
@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process: nothing is shared out")
def test_a_group_goes_to_one_worker(request):
    """pytest-xdist knows a group by the end of a test's name; one that drops it loads each page twice."""
    assert request.node.nodeid.endswith("@one-worker")
