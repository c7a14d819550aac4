"""The calculator on the Home page says what the command line says, to the byte."""

from __future__ import annotations

import contextlib
import io
import json
import random
import shlex

import pytest

from memcalc.__main__ import main
from memcalc.files.catalogue import catalogue
from memcalc.files.machines import devices
from memcalc.ledger.formats import COMMON_FORMATS, KV_FORMATS
from memcalc.serving import serve
from memcalc.serving.engines import ENGINES, engine

pytestmark = pytest.mark.xdist_group("calculator")  # pages of this module are loaded once
HOME = "book/index.html"
OFFERED = [name for name in ENGINES if engine(name).reads_checkpoints and not engine(name).offloads]
COMPONENTS = {"weights", "kv_cache", "state", "activations", "logits", "runtime"}
ASK = """async asked => {
    const form = document.getElementById('calculator');
    if (asked.model) {
        form.elements.model.value = asked.model;
        form.elements.model.dispatchEvent(new Event('change'));
    }
    await MEMCALC.load(form.elements.model.value);  // after it the page fills in the model's own formats
    await new Promise(done => setTimeout(done));
    for (const [name, value] of Object.entries(asked)) form.elements[name].value = value;
    form.dispatchEvent(new Event('input'));
    const bounded = number => Number(number) >= MEMCALC.limit ? null : Number(number);  // as --json has it
    const rows = form.querySelectorAll('tbody tr');
    const room = form.querySelector('.room').dataset;
    return {
        problem: form.querySelector('.problem').textContent,
        hidden: form.querySelector('.result').hidden,
        fits: form.querySelector('.verdict').dataset.fits === 'true',
        verdict: form.querySelector('.verdict').dataset.verdict,
        remedies: [...form.querySelectorAll('.remedies code')].map(code => code.textContent),
        bytes: Object.fromEntries([...rows].map(row => [row.className, Number(row.dataset.bytes)])),
        max_context: bounded(room.maxContext), max_batch: bounded(room.maxBatch),
    };
}"""


def plans(count):
    """Plans of all sizes: contexts and batches are drawn evenly on a scale of doublings."""
    draw = random.Random(20261124)
    for _ in range(count):
        yield {
            "model": draw.choice(catalogue()),
            "weights": draw.choice(list(COMMON_FORMATS)),
            "kv": draw.choice(list(KV_FORMATS)),
            "context": str(round(2 ** draw.uniform(0, 20))),
            "batch": str(round(2 ** draw.uniform(0, 8))),
            "device": draw.choice(list(devices())),
            "count": str(draw.choice((1, 2, 4, 8))),
            "engine": draw.choice(OFFERED),
        }


def command_line(asked):
    """What `memcalc serve --json` answers: its exit status, its object, its error."""
    options = ["--context", asked["context"], "--batch", asked["batch"], "--weights", asked["weights"]]
    options += [
        "--kv",
        asked["kv"],
        "--engine",
        asked["engine"],
        "--on",
        f"{asked['count']}x {asked['device']}",
    ]
    said, complained = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
        status = main(["serve", asked["model"], *options, "--json"])
    return status, json.loads(said.getvalue() or "null"), complained.getvalue()


def test_equals_the_command_line(visit):
    page = visit(HOME)
    answered = 0
    for asked in plans(280):
        shown = page.evaluate(ASK, asked)
        if "ask at a shell: memcalc serve" in shown["problem"]:  # what follows no formula the page has not
            assert shown["hidden"]
            continue
        status, expected, complaint = command_line(asked)
        if status == 2:
            assert shown["hidden"], asked
            if "does not run on" in shown["problem"]:
                continue
            reason = shown["problem"].partition("expected ")[2].partition(", given")[0]
            assert reason, asked
            assert f"expected {reason}, given" in complaint, asked
            continue
        answered += 1
        assert shown["problem"] == "", asked
        pool = expected["pools"][0]
        found = {name: size for name, size in shown["bytes"].items() if name in COMPONENTS}
        assert found == pool["components"], asked
        for name, key in (("total", "total_bytes"), ("low", "low_bytes"), ("high", "high_bytes")):
            assert shown["bytes"][name] == pool[key], (asked, name)
        assert shown["bytes"]["capacity"] == pool["capacity_bytes"], asked
        assert shown["fits"] == expected["fits"], asked
        assert shown["verdict"] == expected["verdict"], asked
        for remedy in shown["remedies"]:
            assert main([*shlex.split(remedy)[1:], "--check", "--json"]) == 0, remedy
        assert shown["max_context"] == expected["max_context"], asked
        assert shown["max_batch"] == expected["max_batch"], asked
    assert answered >= 90
    assert page.noise == []


def test_every_model_is_answered_in_the_format_that_it_is_stored_in(visit):
    page = visit(HOME)
    for name in catalogue():
        asked = {"model": name, "count": "8", "device": "h20-96g", "engine": "transformers"}
        shown = page.evaluate(ASK, asked)
        stored = page.locator("#calculator select[name=weights]").input_value()
        assert stored == serve(name, context=1).plan.weights
        assert shown["bytes"]["weights"] > 0 or shown["problem"], name
    assert page.noise == []


@pytest.fixture(scope="module")
def home(visit_once):
    """The calculator for tests that set all fields that they look at."""
    return visit_once(HOME)


@pytest.mark.parametrize("value", ["", "0", "-1", "1.5", "1e3", "many", "9007199254740993"])
@pytest.mark.parametrize("field", ["context", "batch"])
def test_says_what_is_wrong(home, field, value):
    shown = home.evaluate(ASK, {"context": "8192", "batch": "1", field: value})
    assert shown["hidden"]
    assert "whole number" in shown["problem"]


def test_refuses_what_is_not_exact(home):
    shown = home.evaluate(ASK, {"context": "1000000000", "batch": "1000000"})
    assert shown["hidden"]
    assert "2^53" in shown["problem"]


def test_models_are_found_by_words_of_their_names(visit):
    page = visit(HOME)
    find, model = page.locator("#calculator input[name=find]"), page.locator("#calculator select[name=model]")
    find.fill("QWEN3 0.6b")
    assert model.locator("option").all_inner_texts() == ["Qwen/Qwen3-0.6B"]
    page.wait_for_function(
        "document.querySelector('#calculator .command').textContent.includes('Qwen3-0.6B')"
    )
    find.fill("no such model")
    assert model.locator("option").count() == len(catalogue())
    assert not find.evaluate("field => field.checkValidity()")
    find.fill("")
    assert model.input_value() == "Qwen/Qwen3-0.6B"
    assert page.noise == []


def test_a_page_loads_the_numbers_of_the_models_that_were_chosen(visit):
    """From their files, with the network off: not those of all."""
    page = visit(HOME)
    page.evaluate(ASK, {"model": "microsoft/phi-4"})
    assert page.evaluate("Object.keys(MEMCALC.models)") == ["Qwen/Qwen3-32B", "microsoft/phi-4"]
    assert page.evaluate("Object.keys(MEMCALC.files)") == catalogue()


def test_begins_with_an_answer(visit):
    page = visit(HOME)
    page.wait_for_selector("#calculator .verdict:not(:empty)")
    assert page.locator("#calculator .verdict").inner_text().startswith("Fits")
    assert "memcalc serve Qwen/Qwen3-32B" in page.locator("#calculator .command").inner_text()
