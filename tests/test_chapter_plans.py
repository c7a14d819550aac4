"""The link of each plan of a chapter, asked at the command line, gives the figure that the chapter prints."""

from __future__ import annotations

import json
import shlex
from contextlib import chdir
from functools import reduce
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

import memcalc
from memcalc.__main__ import main
from memcalc.files.api import model as load_model


@pytest.fixture(scope="module")
def tools(root):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root / "tools")
        import chapter_plans
        import pages
    return SimpleNamespace(chapter_plans=chapter_plans, pages=pages)


def answer(command, capsys):
    assert main([*shlex.split(command), "--json"]) == 0, command
    return json.loads(capsys.readouterr().out)


def at(value, path):
    return reduce(lambda inside, name: inside[int(name) if isinstance(inside, list) else name], path, value)


def outputs(root, chapter, place):
    """All that a chapter has printed from a cell on: no helper of the tool that made the links is asked."""
    cells = nbformat.read(root / "notebooks" / f"{chapter}.ipynb", as_version=4).cells[place:]
    found = [output for cell in cells for output in cell.get("outputs", [])]
    return "\n".join(
        str(text) for one in found for text in (one.get("text"), *one.get("data", {}).values()) if text
    )


@pytest.mark.slow
def test_each_link_gives_the_figure_that_its_chapter_prints(tools, root, capsys, request):
    """The last one of each chapter here, which a chapter comes to; all of them with --full."""
    full = request.config.getoption("full")
    chapters = tools.chapter_plans.plans()
    assert len(chapters) >= 15
    with chdir(root / "notebooks"):
        for chapter, cells in chapters.items():
            for place, plans in cells.items() if full else [(max(cells), cells[max(cells)][-1:])]:
                said = outputs(root, chapter, place)
                for plan in plans:
                    number = at(answer(plan.command, capsys), plan.path)
                    forms = {f"{number:,}"} | {f"{number / unit:,.2f}" for unit in (2**20, 2**30, 10**9)}
                    assert plan.printed in forms, (chapter, plan, number)
                    assert plan.printed in said, (chapter, plan)


def test_serving_and_training_chapters_have_links(tools, root):
    """All but those in which nothing is asked of a machine or a step."""
    chapters = [path.stem for path in tools.chapter_plans.chapters()]
    without = {name for name in chapters if name not in tools.chapter_plans.plans()}
    assert without == {"transformer_in_shapes", "forty_lines", "ask_yourself"}


def test_chapters_are_executed_once_for_the_same_program(tools, tmp_path, monkeypatch):
    """What was kept is read back as it was; another program executes them again."""
    one, executed = tools.chapter_plans, []
    plans = {3: [one.Plan("serve x --on '2x y'", ("lines", "0", "bytes"), "1.00")]}
    monkeypatch.setattr(one, "KEPT", tmp_path / "build" / "plans.json")
    monkeypatch.setattr(one, "chapters", lambda: [Path("napkin.ipynb")])
    monkeypatch.setattr(one, "plans_of", lambda path: executed.append(path.stem) or plans)
    ask = one.plans.__wrapped__
    assert ask() == ask() == {"napkin": plans}
    assert executed == ["napkin"]
    monkeypatch.setattr(one, "fingerprint", lambda *_: "of another program")
    assert ask() == {"napkin": plans}
    assert executed == ["napkin"] * 2


def in_share(found):
    """What lies in the engine's share of the first pool at its fullest moment."""
    lines = [line for line in found["lines"] if line["pool"] == "gpu" and not line["outside"]]
    return max(
        sum(one["bytes"] for one in lines if moment in one["moments"] or one["component"] == "runtime")
        for moment in found["pools"][0]["moments"]
    )


def test_rows_of_the_home_page_are_what_their_links_give(tools, capsys):
    rows = tools.pages.deployments().splitlines()[2:]
    assert len(rows) == len(tools.pages.DEPLOYMENTS)
    for row, one in zip(rows, tools.pages.DEPLOYMENTS, strict=True):
        found = answer(tools.pages.command_of(one), capsys)
        device = found["pools"][0]
        shown = [cell.strip() for cell in row.strip("|").split("|")]
        usable, fits = device["usable_bytes"] / 2**30, found["verdict"] == "fits"
        share = in_share(found)
        host = [
            f", host {pool['total_bytes'] / 2**30:.2f}" for pool in found["pools"] if pool["name"] == "host"
        ]
        assert shown[-1] == f"{share / 2**30:.2f} of {usable:.2f}{''.join(host)}", one
        assert share <= device["usable_bytes"] or not fits, one
        limit = load_model(one.model).max_context
        assert shown[-2] == f"{limit:,}", one
        assert shown[-3] == (f"{found['max_context']:,}" if found["fits"] else "does not fit"), one


def test_home_says_of_two_versions_which_card_each_needs(root):
    """DeepSeek-R1 in Q4_K_M: what stands above the table."""
    text = (root / "book" / "index.md").read_text(encoding="utf-8")
    assert "fits on a card of 24 GB; version 0.7.2 keeps weights on the card in more bits" in text
    small, large = (f"1x rtx-4090{more} + 512GiB host" for more in ("", "-48g"))
    told = {
        (version, on): memcalc.serve(
            "deepseek-ai/DeepSeek-R1",
            context=8192,
            weights="q4_k_m",
            on=on,
            engine="ktransformers",
            engine_version=version,
        )
        for version, on in (("0.2", small), ("0.7.2", small), ("0.7.2", large))
    }
    assert [one.fits for one in told.values()] == [True, False, True]
    assert round(told["0.2", small].device.total_bytes / 1e9) == 14
    weights = [one.device.components["weights"] for one in told.values()]
    assert weights[0] < weights[1] == weights[2]


def test_a_line_says_once_what_its_plans_have_in_common(tools):
    plans = [
        tools.chapter_plans.Plan(f"serve Qwen/Qwen3-32B --context {tokens} --on '2x <b>'", ("x",), "1.00")
        for tokens in (8192, 16384)
    ]
    line = tools.chapter_plans.line(plans)
    assert line.count("<code>serve Qwen/Qwen3-32B --on &#x27;2x &lt;b&gt;&#x27;</code>") == 1
    assert "<code>--context 16384</code></a>" in line
    words = "serve%20Qwen%2FQwen3-32B%20--context%208192%20--on%20%272x%20%3Cb%3E%27"
    assert f'href="../book/calculator.html#memcalc%20{words}"' in line
    assert "<summary>Open these 2 plans in the calculator" in line


def test_one_plan_is_a_sentence_with_its_flags_behind_it(tools):
    line = tools.chapter_plans.line([tools.chapter_plans.Plan("serve x --on '2x y'", ("x",), "1.00")])
    assert ">Open this plan in the calculator 算一算</a>" in line
    assert "<code>" not in line
    assert 'title="memcalc serve x --on &#x27;2x y&#x27;"' in line


ASKED = "import memcalc\nasked = [memcalc.train('Qwen/Qwen3-8B', seq=seq) for seq in (1024, 2048)]"
SHOWN = "[f'{one.allocated_bytes.gib:.2f}' for one in asked]"


def test_a_link_stands_where_its_figure_is_printed(tools, tmp_path):
    """A plan that is asked for in one section and shown in the next one is linked in the next one, once."""
    one = nbformat.v4
    shown = [f"{memcalc.train('Qwen/Qwen3-8B', seq=seq).allocated_bytes.gib:.2f}" for seq in (1024, 2048)]
    output = one.new_output("execute_result", {"text/plain": str(shown)}, execution_count=1)
    cells = [
        one.new_code_cell(ASKED),
        one.new_markdown_cell("## The next section"),
        one.new_code_cell(f"{ASKED}\n{SHOWN}", outputs=[output]),
    ]
    path = tmp_path / "some.ipynb"
    nbformat.write(one.new_notebook(cells=cells), path)
    found = tools.chapter_plans.plans_of(path)
    assert {place: [plan.printed for plan in some] for place, some in found.items()} == {2: shown}
