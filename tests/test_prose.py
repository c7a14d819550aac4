"""No figure in the prose of a page can go stale, and no page denies what memcalc has."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("book/*.md")])


@pytest.fixture(scope="module")
def prose():
    """The tool; it asks those beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "tools")
        import prose

        yield prose


@pytest.fixture
def page(tmp_path):
    """`page(text, code, output)` writes a notebook of two cells."""

    def write(text, code="", output=""):
        ran = {"cell_type": "code", "source": [code], "outputs": [{"data": {"text/plain": [output]}}]}
        path = tmp_path / "page.ipynb"
        path.write_text(
            json.dumps({"cells": [{"cell_type": "markdown", "source": [text]}, ran]}), encoding="utf-8"
        )
        return path

    return write


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_figure_of_a_page_comes_out_of_it(prose, path):
    assert list(prose.stale(path)) == []


@pytest.mark.parametrize("path", [*PAGES, *sorted(ROOT.glob("*.md"))], ids=lambda path: path.stem)
def test_no_page_denies_what_there_is(prose, path):
    assert list(prose.denials(path)) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It takes 61.02 GiB, or 65,524,246,528 bytes.", ["61.02 GiB", "65,524,246,528 bytes"]),
        ("About 41.6 × 10⁹ of them, 3.4 % in 8 cards.", ["41.6 × 10⁹", "3.4 %", "8 cards"]),
        ("| 0.29 GB; 0.67 | [a page](https://example.org/x) |", ["0.29 GB", "0.67"]),
        ("Qwen3-32B and a 7B model in vLLM 0.11, `transformers` 4.46.0 or 5.23, on an A100 80 GB.", []),
        ("In 16 bits, 64 layers deep, read 2026-11 ([#15340](https://example.org)).", []),
        ("“105–115 GB”, $2 \\cdot 8{,}192$, `1,024`, [on 96 GB](page.ipynb)", []),
        ("- **A** about 1,000 tokens", []),
        ("<details><summary><b>A</b> about 1,000 tokens</summary>\n\nNo: 2,000 tokens.", ["2,000 tokens"]),
    ],
)
def test_what_counts_as_a_figure(prose, text, found):
    assert [f"{figure.text} {figure.unit}".strip() for _, figure in prose.figures(text)] == found


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (("It holds 12,345 tokens.", "", "12,345 tokens"), []),
        (("It holds 12,345 tokens.", "", "12,346 tokens"), ["12,345 tokens"]),
        (("It is 61.0 GiB.", "", "61.02"), []),
        (("It is 61.1 GiB.", "", "61.02"), ["61.1 GiB"]),
        (("It is 65.52 GB.", "", "65,524,246,528"), []),
        (("It is 65.53 GB.", "", "65,524,246,528"), ["65.53 GB"]),
        (("That is 46 %.", "assert round(share, 2) == 0.46", ""), []),
        (("With 98,765 tokens.", "served = serve(context=98_765)", ""), []),
        (("A block of 7,168 KiB.", "assert size == 7 * 1024", ""), []),
        (("The makers say 97.53 GB ([source](https://example.org)).", "", ""), []),
        (("The makers say 97.53 GB ([source](https://example.org)). We say 97.54.", "", ""), ["97.54"]),
        (("A driver prints 97,887 MiB of this card.", "", ""), []),  # in the record of machines
    ],
)
def test_where_a_figure_may_come_from(prose, page, told, found):
    assert [words for words, _ in prose.stale(page(*told))] == found


def test_nearly_every_wrong_figure_is_noticed(prose):
    """Figures of three digits and more, changed by some per cent; shorter ones are met by chance."""
    tried = noticed = 0
    for path in PAGES:
        numbers = prose.computed(path)
        for _, figure in prose.figures(prose.prose(path)):
            decimals = len(figure.text.partition(".")[2])
            other = figure._replace(text=f"{1.07 * figure.value:,.{decimals}f}")
            if len(figure.text) > 3:
                tried += 1
                noticed += not (numbers.hold(other) or prose.is_recorded(other))
    assert tried > 1000
    assert noticed > 0.85 * tried


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("`memcalc` has no engine for KTransformers yet.", ["KTransformers"]),
        ("No engine for these NPUs is modelled.", ["NPUs"]),
        ("Engines such as llama.cpp have rules, which are not in memcalc yet.", ["llama.cpp"]),
        ("Its format, MXFP4, is not modelled.", ["MXFP4"]),
        ("memcalc does not know Qwen3-32B.", ["Qwen3-32B"]),
        ("There is an option, `--prefill-chunk`, that this book does not have.", ["--prefill-chunk"]),
        ("memcalc does not know W4A8.", []),
        ("memcalc refuses TP 3 for Qwen3-32B, as vLLM does.", []),
        ("memcalc has an engine for KTransformers.", []),
    ],
)
def test_what_counts_as_a_denial(prose, page, text, names):
    assert [name for name, _ in prose.denials(page(text))] == names


VERSIONED = {
    "vllm": "vLLM",
    "sglang": "SGLang",
    "vllm-ascend": "(?:vllm|vLLM)[- ][aA]scend",
    "ktransformers": "KTransformers",
    "llama.cpp": r"llama\.cpp",
}


def plans(path):
    """The words by which a notebook's code asks for an engine: in a call of `serve`, or in a dict for one."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        for node in ast.walk(ast.parse("".join(cell["source"]))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("serve"):
                yield {word.arg: word.value for word in node.keywords if word.arg}
            elif isinstance(node, ast.Dict) and all(
                isinstance(key, ast.Constant) for key in node.keys if key
            ):
                yield {key.value: value for key, value in zip(node.keys, node.values, strict=True) if key}


NOTEBOOKS = [path for path in PAGES if path.suffix == ".ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_page_names_the_version_of_an_engine(prose, path):
    """In the plan, and in its words."""
    for words in plans(path):
        name = getattr(words.get("engine"), "value", None)
        if name in VERSIONED:
            assert "engine_version" in words, name
            assert re.search(rf"{VERSIONED[name]}`?(?:'s)? v?\d", prose.prose(path)), name
