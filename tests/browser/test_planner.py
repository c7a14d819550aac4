"""The calculator's page: what its form shows is what the command line says, to the byte."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
import time
from urllib.parse import quote

import pytest

from memcalc.__main__ import main
from memcalc.files.catalogue import record

pytestmark = pytest.mark.xdist_group("planner")  # Python starts once for the tests of this module
PAGE = "book/calculator.html"
WAIT = 60_000  # milliseconds
FOUND = """form => ({
    verdict: form.querySelector('.verdict').dataset.verdict,
    totals: [...form.querySelectorAll('tr.total td:nth-of-type(2)')]
        .map(cell => Number(cell.textContent.replaceAll(',', ''))),
    rows: [...form.querySelectorAll('.pool table')].map(table => Object.fromEntries(
        [...table.querySelectorAll('tr[data-bytes]')]
            .map(row => [row.className, Number(row.dataset.bytes)]))),
    command: form.querySelector('.command').textContent,
    lines: form.querySelectorAll('.lines li').length,
})"""
SERVED = [
    "serve Qwen/Qwen3-32B --context 32k --on '2x rtx-a6000' --engine vllm",
    "serve qwen3-8b --context 8192 --batch 4 --on '1x 24GiB'",
    "serve openai/gpt-oss-20b --context 16k --on '1x rtx-4090' --engine sglang",
    "serve DeepSeek-R1 --context 8k --weights q4_k_m --on '48GiB + 512GiB host' --engine ktransformers",
    "serve Qwen/Qwen3.5-27B --context 131072 --weights Q4_K_M --engine llama.cpp --engine-option rs_seq=2",
    "serve Qwen/Qwen3-235B-A22B --context 4096 --on '8x h20-96g' --engine vllm --tp 4 --pp 2",
]
TRAINED = [
    "train meta-llama/Meta-Llama-3.1-8B --seq 4096 --on '8x h100-80g' --world 8 --shard fsdp",
    "train Qwen/Qwen3-0.6B --seq 2k --lora-rank 16 --recompute full --quantize-base nf4-dq",
]


@pytest.fixture(scope="module")
def page(visit_once):
    opened = visit_once(PAGE)
    opened.set_default_timeout(WAIT)
    opened.wait_for_selector("#planner .result:not([hidden])")
    opened.click("#planner button.run")
    opened.wait_for_selector("#planner .result[data-instant=false]")
    return opened


def asked(page, command):
    """What the page shows of a command that a link brings: memcalc's answer, once it stands there."""
    page.evaluate("document.querySelector('#planner .result').dataset.instant = 'old'")
    page.evaluate(f"location.hash = {quote(f'memcalc {command}', safe='')!r}")
    words, end = sorted(shlex.split(command)), time.monotonic() + WAIT / 1000
    while time.monotonic() < end:
        page.wait_for_selector("#planner .result[data-instant=false]:not([hidden])")
        found = page.eval_on_selector("#planner", FOUND)
        if sorted(shlex.split(found["command"])[1:]) == words:
            return found
        page.wait_for_timeout(50)  # an older answer that came meanwhile
    raise AssertionError(command)


def said(command):
    """The command line's JSON."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main([*shlex.split(command), "--json"]) == 0
    return json.loads(out.getvalue())


@pytest.mark.parametrize("command", SERVED)
def test_serving_is_shown_as_the_command_line_says(page, command):
    found, right = asked(page, command), said(command)
    assert sorted(shlex.split(found["command"])[1:]) == sorted(shlex.split(command))
    assert found["verdict"] == (right["verdict"] or "none")
    assert found["totals"] == [pool["total_bytes"] for pool in right["pools"]]
    assert found["rows"] == [pool["components"] for pool in right["pools"]]
    assert found["lines"] > 3
    assert page.noise == []


@pytest.mark.parametrize("command", TRAINED)
def test_training_is_shown_as_the_command_line_says(page, command):
    found, right = asked(page, command), said(command)
    peak = next(one for one in right["moments"] if one["at"] == right["peak_at"])
    assert found["verdict"] == (right["verdict"] or "none")
    assert found["totals"] == [right["allocated_bytes"]]
    assert found["rows"] == [peak["components"]]
    assert page.noise == []


def test_the_formulas_say_at_once_what_memcalc_says_later(page):
    command = "serve Qwen/Qwen3-8B --context 16k --batch 8 --on '2x h100-80g' --engine vllm"
    later = asked(page, command)
    page.reload()
    page.wait_for_selector("#planner .result[data-instant=true]:not([hidden])")
    early = page.eval_on_selector("#planner", FOUND)
    assert {**early, "lines": 0} == {**later, "lines": 0}
    page.click("#planner button.run")
    page.wait_for_selector("#planner .result[data-instant=false]")


def test_a_config_of_ones_own_is_text(page):
    fields = record("Qwen/Qwen3-0.6B").fields | {
        "num_hidden_layers": 30,
        "_name_or_path": "<img src=x onerror=alert(1)>",
    }
    asked(page, "serve Qwen/Qwen3-8B --context 8192")
    page.evaluate("document.querySelector('#planner .ours').open = true")
    page.evaluate("document.querySelector('#planner .result').dataset.instant = 'old'")
    page.fill("#planner [name=own]", json.dumps(fields))
    page.wait_for_selector("#planner .result[data-instant=false]:not([hidden])")
    assert "config.json" in page.inner_text("#planner .command")
    assert page.locator("#planner img").count() == 0
    page.fill("#planner [name=own]", '{"model_type": "nobody-knows"}')
    problem = page.locator("#planner .problem:not(:empty)")
    problem.wait_for()
    assert problem.inner_text().startswith("memcalc: error: model_type: expected")
    assert page.noise == []


def test_what_the_form_has_no_field_for_is_refused(page):
    page.evaluate("location.hash = encodeURIComponent('memcalc serve x --context 8 --no-such-option')")
    problem = page.locator("#planner .problem:not(:empty)")
    problem.wait_for()
    assert "--no-such-option" in problem.inner_text()
    assert page.locator("#planner .result").is_hidden()


def test_a_remedy_is_one_click(page):
    asked(page, "serve Qwen/Qwen3-32B --context 8192 --on '1x rtx-4090' --engine vllm")
    page.evaluate("document.querySelector('#planner .result').dataset.instant = 'old'")
    page.locator("#planner .remedies button").first.click()
    page.wait_for_selector("#planner .result[data-instant=false]:not([hidden])")
    assert page.eval_on_selector("#planner", FOUND)["verdict"] == "fits"


def test_a_number_is_explained(page):
    command = "serve Qwen/Qwen3-32B --context 8192 --on '1x rtx-pro-6000-blackwell'"
    asked(page, command)
    page.click("#planner button[value=explain]")
    page.locator("#planner .said", has_text="69,614,711,808").wait_for()


def test_a_log_is_checked(page):
    page.fill(
        "#log [name=log]",
        "INFO Starting to load model Qwen/Qwen3-8B...\nINFO Model loading took 15.2683 GiB and 4.1 seconds",
    )
    page.click("#log button.run")
    page.locator("#log .result", has_text="16,391,974,912").wait_for()
    page.fill("#log [name=log]", "<b>nothing</b>")
    page.click("#log button.run")
    page.locator("#log :is(.problem:not(:empty), .result:not([hidden]))").first.wait_for()
    assert page.locator("#log .result b").count() == 0


def test_every_example_of_the_chapters_is_answered(page, request):
    """One click each; a few of them in the gate."""
    links = page.eval_on_selector_all(
        ".examples li a:first-child", "found => found.map(one => one.textContent)"
    )
    assert len(links) > 25
    for command in links if request.config.getoption("full") else links[::6]:
        assert asked(page, command)["totals"], command


def test_by_keyboard(page):
    page.focus("#planner [name='serve.context']")
    asked(page, "serve Qwen/Qwen3-8B --context 8192")
    page.focus("#planner [name='serve.context']")
    page.evaluate("document.querySelector('#planner .result').dataset.instant = 'old'")
    page.keyboard.press("Control+A")
    page.keyboard.type("4k")
    page.keyboard.press("Enter")
    page.wait_for_selector("#planner .result[data-instant=false]:not([hidden])")
    assert "--context 4k" in page.inner_text("#planner .command")


def test_the_small_calculator_leads_to_the_full_one(visit):
    home = visit("book/index.html")
    home.locator("#calculator .result:not([hidden])").wait_for()
    home.fill("#calculator [name=context]", "4096")
    words = shlex.split(home.inner_text("#calculator .command"))
    home.click("#calculator .full")
    home.locator("#planner .result[data-instant=true]:not([hidden])").wait_for()
    assert sorted(shlex.split(home.inner_text("#planner .command"))) == sorted(words)


def test_formulas_answer_at_once(page):
    """From what is typed to what is shown, without memcalc's own answer."""
    asked(page, "serve Qwen/Qwen3-8B --context 8192 --on '1x h100-80g' --engine vllm")
    took = page.evaluate(TYPED)
    assert took < 50


TYPED = """async () => {
    const input = document.querySelector("#planner [name='serve.context']"), begin = performance.now();
    const verdict = document.querySelector("#planner .verdict"), before = verdict.textContent;
    input.value = "16k";
    input.dispatchEvent(new Event("input", {bubbles: true}));
    while (verdict.textContent === before) await new Promise((done) => setTimeout(done, 1));
    return performance.now() - begin;
}"""


def verdict(page, command):
    asked(page, command)
    return page.inner_text("#planner .verdict")


def test_the_verdict_names_the_card_that_decides(page):
    said = verdict(page, "serve qwen3-14b --context 8k --on 'h100-80g + rtx-3060-12g'")
    assert "On rtx-3060-12g, which has 11.62 GiB" in said
    assert "10.46 GiB that transformers may use" in said
    said = verdict(page, "serve qwen3-8b --context 32k --on rtx-4090")
    assert "of the 21.59 GiB that transformers may use: a device lacks 1.73 GiB" in said


def shown_problem(page, address):
    page.evaluate(f"location.hash = {address!r}")
    problem = page.locator("#planner .problem:not(:empty)")
    problem.wait_for()
    assert page.locator("#planner .result").is_hidden()
    return problem.inner_text()


def test_a_link_that_is_no_plan_is_refused(page):
    asked(page, "serve Qwen/Qwen3-8B --context 8192")
    assert "config.json" in shown_problem(page, "memcalc%20serve%20config.json%20--context%2016k")
    asked(page, "serve Qwen/Qwen3-8B --context 8192")
    assert "expected one command" in shown_problem(page, "memcalc%20serve%20<img%20src=x>%20--context%205")
    asked(page, "serve Qwen/Qwen3-8B --context 8192")
    assert "extra" in shown_problem(page, "memcalc%20serve%20qwen3-8b%20extra%20--context%208k")
    assert page.noise == []


def test_a_name_that_is_meant_is_one_click(page):
    asked(page, "serve Qwen/Qwen3-8B --context 8192")
    page.fill("#planner [name=source]", "qwen3-8bb")
    meant = page.locator("#planner .meant button")
    meant.first.wait_for()
    page.evaluate("document.querySelector('#planner .result').dataset.instant = 'old'")
    meant.first.click()
    page.wait_for_selector("#planner .result[data-instant=false]:not([hidden])")


def test_a_log_without_a_model_says_so_and_takes_one(page):
    page.fill(
        "#log [name=log]", "INFO [gpu_model_runner.py:1985] Model loading took 15.2683 GiB and 4.1 seconds"
    )
    page.click("#log button.run")
    page.locator("#log .result", has_text="Not compared").wait_for()
    page.fill("#log [name=model]", "Qwen/Qwen3-8B")
    page.click("#log button.run")
    page.locator("#log .result", has_text="16,391,974,912").wait_for()
    page.fill("#log [name=model]", "")
