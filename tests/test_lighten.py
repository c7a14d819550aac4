"""A rule of style leaves the site if no page can meet it, and only then."""

from __future__ import annotations

import importlib.util
import sys

import pytest
import tinycss2


@pytest.fixture(scope="module")
def lighten(root):
    spec = importlib.util.spec_from_file_location("lighten", root / "tools" / "lighten.py")
    found = sys.modules["lighten"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture
def left(lighten, tmp_path):
    """What is left of a style sheet beside one page and its script."""
    (tmp_path / "page.html").write_text(
        '<p class="lead wide" id="top"><script src="app.js"></script><script>let fold = "folded";</script>',
        encoding="utf-8",
    )
    (tmp_path / "app.js").write_text("element.classList.add('open')", encoding="utf-8")
    site = lighten.Site.at(tmp_path)
    return lambda text: "".join(lighten.used(tinycss2.parse_stylesheet(text), site)).strip()


@pytest.mark.parametrize(
    "rule",
    [
        *("p{margin:0}", ".lead{margin:0}", "p.lead.wide>a:hover{margin:0}", "#top{margin:0}"),
        *(
            ".open{margin:0}",
            ".folded{margin:0}",
            ".lead:not(.absent){margin:0}",
            ".bs-tooltip-end{margin:0}",
        ),
        *("@media print{.lead{margin:0}}", "@keyframes turn{to{rotate:1turn}}", "/*! by somebody */"),
        *("[data-mode=absent]{margin:0}", ".lead:is(.absent,p){margin:0}"),
    ],
)
def test_a_rule_that_a_page_may_meet_stays(left, rule):
    assert left(rule) == rule


@pytest.mark.parametrize(
    "rule",
    [".absent{margin:0}", ".lead .absent{margin:0}", "#absent{margin:0}", "@media print{.absent{margin:0}}"],
)
def test_a_rule_that_none_can_meet_goes(left, rule):
    assert left(rule) == ""


def test_of_several_selectors_those_stay_that_a_page_may_meet(left):
    assert left(".absent,.lead,p.absent{margin:0}") == ".lead{margin:0}"
