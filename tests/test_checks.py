"""The page on how the book checks itself: its counts are those of the records, and none is typed."""

from __future__ import annotations

import re

import pytest

from memcalc.evidence import observations, training_observations
from memcalc.files.catalogue import catalogue
from memcalc.files.readers import PUBLISHED, READERS


@pytest.fixture(scope="module")
def checks(root):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root / "tools")
        import checks

        yield checks


def rows(text):
    """The rows of a table, each as its cells."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]


def number(cell):
    return int(cell.replace(",", ""))


def test_the_page_types_no_count(root):
    """But in code; what stands in tables is included."""
    text = re.sub(
        r"```.*?```|`[^`]*`", "", (root / "book" / "checks.md").read_text(encoding="utf-8"), flags=re.DOTALL
    )
    assert re.findall(r"\d[\d,.]*(?!\.)\b", re.sub(r"^\d\. ", "", text, flags=re.MULTILINE)) == []


def test_exact_counts_are_those_of_the_records(checks):
    counted = {what: number(count) for what, count, _ in rows(checks.exact())}
    assert counted["models of the catalogue"] == len(catalogue())
    assert counted["model types that memcalc can read"] == len({*READERS, *PUBLISHED})
    assert min(counted.values()) > 0


def test_every_row_sets_a_constant_or_tests(checks):
    """Rows that test and are not predicted are refused for a reason, which the scoreboard's tests list."""
    found = {name: cells for name, *cells in rows(checks.measured())}
    for name, record in {"serving": observations(), "training": training_observations()}.items():
        total, _, setting, testing = map(number, found[name][:4])
        inside, ranged = map(number, found[name][4].split(" of "))
        assert total == len(record)
        assert 0 < inside <= ranged <= testing <= total - setting


def test_tests_are_counted_as_pytest_finds_them(checks, tmp_path):
    (tmp_path / "test_a.py").write_text(
        "def test_one(): ...\nclass TestX:\n    def test_two(self): ...\ndef no(): ...\n"
    )
    (tmp_path / "b.py").write_text("def test_three(): ...\n")
    assert checks.tests(tmp_path) == 2
    assert all(number(count) > 0 for _, count, _ in rows(checks.gate()))
