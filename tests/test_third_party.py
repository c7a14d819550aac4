"""THIRD_PARTY.md leaves nothing out, and names the versions that are installed."""

from __future__ import annotations

import re

import pytest

from memcalc.files.catalogue import catalogue


@pytest.fixture(scope="module")
def notice(root):
    return (root / "THIRD_PARTY.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pins(root):
    lines = (root / "requirements.txt").read_text(encoding="utf-8").splitlines()
    found = (re.match(r"([\w.-]+)==([\w.]+)", line) for line in lines)
    return {one[1].lower().replace("_", "-"): one[2] for one in found if one}


@pytest.mark.parametrize("name", catalogue())
def test_the_license_of_every_model_is_named_or_said_not_to_be_established(notice, name):
    (row,) = (line for line in notice.splitlines() if f"`{name}`" in line)
    _, _, license_of_it, where, _ = row.split("|")
    assert license_of_it.strip()
    assert "https://" in where or "not established" in license_of_it


def test_versions_of_what_the_pages_carry_are_the_pinned_ones(root, notice, pins):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root / "tools")
        import pyodide
    pins = pins | {pyodide.PACKAGE: pyodide.VERSION}
    rows = notice.partition("## What the built pages carry")[2].partition("\n## ")[0].splitlines()
    named = [re.match(r"\| (?:.*, in )?([\w-]+) ([\d.]+) \|", row) for row in rows]
    found = {one[1].lower(): one[2] for one in named if one}
    assert len(found) >= 10
    assert found == {name: pins[name] for name in found}


def test_every_sphinx_package_that_writes_into_the_pages_is_named(notice, pins):
    """Extensions that add scripts or styles; the others only read or translate."""
    silent = r"sphinx-(comments|thebe|jupyterbook-latex|multitoc-numbering|external-toc)|sphinxcontrib-.*"
    writing = [name for name in pins if "sphinx" in name and not re.fullmatch(silent, name)]
    assert len(writing) >= 8
    assert [name for name in writing if name not in notice.lower()] == []


def test_the_site_carries_the_licenses_of_what_it_carries(root):
    """Each as its package has it; the same packages as the notice names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root / "tools")
        import licenses
    texts = {name: text() for name, text in licenses.BUILT.items()}
    notice = texts["THIRD_PARTY.md"].lower()
    assert all(package in notice for package in licenses.PACKAGES)
    assert all(len(text) > 500 for text in texts.values())
    assert "MIT" in texts["LICENSE.txt"]
    assert "9. Accepting Warranty" in texts["mathjax-apache-2.0.txt"]
    assert "PERMISSION & CONDITIONS" in texts["fonts-ofl-1.1.txt"]
    assert texts["fonts-ofl-1.1.txt"].rstrip().endswith("OTHER DEALINGS IN THE FONT SOFTWARE.")
    assert "Incompatible With Secondary Licenses" in texts["pyodide-mpl-2.0.txt"]
    assert "PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2" in texts["cpython-psf.txt"]
    assert texts["emscripten-mit.txt"].startswith("Permission is hereby granted, free of charge")
