"""Pages that are painted early: one style sheet with all rules, and scripts that nobody waits for."""

from __future__ import annotations

import importlib.util
import sys

import pytest

HEAD = """<html><head>
<link href="{0}_static/styles/theme.css?digest=1" rel="stylesheet" />
<link rel="stylesheet" type="text/css" href="{0}_static/own.css?v=2" />
<link rel="preload" as="script" href="{0}_static/late.js" />
<link rel="icon" href="{0}_static/icon.svg" />
<script src="{0}_static/documentation_options.js?v=3"></script>
<script data-of="tabs" src="{0}_static/first.js"></script>
<script>OPTIONS.page = "here";</script>
<script defer src="{0}_static/second.js"></script>
</head><body><script src="{0}_static/form.js"></script></body></html>
"""


@pytest.fixture(scope="module")
def paint(root):
    spec = importlib.util.spec_from_file_location("paint", root / "tools" / "paint.py")
    found = sys.modules["paint"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture
def site(tmp_path):
    for name, text in {
        "index.html": HEAD.format(""),
        "deep/page.html": HEAD.format("../"),
        "leads.html": "<p>no head</p>",
        "_static/styles/theme.css": '@import "../basic.css";b{background:url(../icons.woff)}',
        "_static/basic.css": "a{background:url(file.png)}",
        "_static/own.css": "i{background:url(data:image/png;base64,AA)}",
        "_static/documentation_options.js": "const OPTIONS = {};",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_one_sheet_has_the_rules_of_all_in_their_order(paint, site):
    paint.hasten(site)
    (sheet,) = site.rglob("*.css")
    assert sheet.read_text(encoding="utf-8") == (
        "a{background:url(file.png)}b{background:url(icons.woff)}\ni{background:url(data:image/png;base64,AA)}"
    )
    for name, up in (("index.html", ""), ("deep/page.html", "../")):
        page = (site / name).read_text(encoding="utf-8")
        assert page.count('rel="stylesheet"') == 1
        assert f'<link rel="stylesheet" href="{up}_static/site.css?v=' in page
        assert f'<link rel="icon" href="{up}_static/icon.svg" />' in page


def test_scripts_of_the_head_keep_their_order_and_are_not_waited_for(paint, site):
    paint.hasten(site)
    head, _, body = (site / "deep/page.html").read_text(encoding="utf-8").partition("</head>")
    scripts = [line for line in head.splitlines() if line.startswith("<script")]
    assert scripts == [
        "<script>const OPTIONS = {};</script>",
        '<script defer data-of="tabs" src="../_static/first.js"></script>',
        '<script>OPTIONS.page = "here";</script>',
        '<script defer src="../_static/second.js"></script>',
    ]
    assert "preload" not in head
    assert '<script src="../_static/form.js"></script>' in body
    assert (site / "leads.html").read_text(encoding="utf-8") == "<p>no head</p>"


def test_pages_with_other_sheets_are_refused(paint, site):
    path = site / "index.html"
    path.write_text(path.read_text(encoding="utf-8").replace("own.css", "other.css"), encoding="utf-8")
    with pytest.raises(ValueError, match="the same on every page, given 2 lists"):
        paint.hasten(site)
