"""The formulas that answer at once say what the command line says, to the byte."""

from __future__ import annotations

import contextlib
import io
import json
import random

import pytest

from memcalc.__main__ import main
from memcalc.files.catalogue import catalogue
from memcalc.files.machines import devices
from memcalc.ledger.formats import KV_FORMATS
from memcalc.serving import serve
from memcalc.serving.engines import ENGINES, engine

pytestmark = pytest.mark.xdist_group("calculator")  # pages of this module are loaded once
FORMATS = ["bf16", "fp16", "fp32", "fp8", "awq-int4-g128", "int8", "nf4", "w8a8"]
HOME = "book/index.html"
OFFERED = [name for name in ENGINES if engine(name).reads_checkpoints and not engine(name).offloads]
ASK = """async asked => {
    await MEMCALC.load(asked.model);
    const plan = {weights: '', kv: '', named: asked.device, ...asked};  // '': the engine's own
    const bounded = number => number >= MEMCALC.limit ? null : number;  // as --json has it
    try {
        const found = MEMCALC.answer(plan);
        return {...found, maxContext: bounded(found.maxContext), maxBatch: bounded(found.maxBatch),
            remedies: found.verdict === 'fits' ? [] : MEMCALC.remedies(plan).found};
    } catch (error) {
        if (error instanceof RangeError) return null;
        throw error;
    }
}"""


def plans(count):
    """Plans of all sizes: contexts and batches are drawn evenly on a scale of doublings."""
    draw = random.Random(20261124)
    for _ in range(count):
        yield {
            "model": draw.choice(catalogue()),
            "weights": draw.choice(FORMATS),
            "kv": draw.choice(list(KV_FORMATS)),
            "context": round(2 ** draw.uniform(0, 20)),
            "batch": round(2 ** draw.uniform(0, 8)),
            "device": draw.choice(list(devices())),
            "count": draw.choice((1, 2, 4, 8)),
            "engine": draw.choice(OFFERED),
        }


def words(asked):
    """What stands behind `memcalc` for a plan."""
    options = {name: asked[name] for name in ("context", "batch", "weights", "kv", "engine")}
    options["on"] = f"{asked['count']}x {asked['device']}"
    return ["serve", asked["model"], *(f"--{name}={value}" for name, value in options.items())]


def command_line(asked):
    """What `memcalc serve --json` answers: its exit status, its object."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
        status = main([*words(asked), "--json"])
    return status, json.loads(said.getvalue() or "null")


def test_equals_the_command_line(home, request):
    answered, count = 0, 280 if request.config.getoption("full") else 80
    for asked in plans(count):
        shown, (status, expected) = home.evaluate(ASK, asked), command_line(asked)
        if shown is None:  # what follows no formula that the page has
            continue
        answered += 1
        assert status == 0, asked
        (pool,) = expected["pools"]
        assert shown["components"] == pool["components"], asked
        assert shown["moments"] == pool["moments"], asked
        for name, key in (("total", "total_bytes"), ("low", "low_bytes"), ("high", "high_bytes")):
            assert shown[name] == pool[key], (asked, name)
        assert shown["capacity"] == pool["capacity_bytes"], asked
        assert shown["usable"] == pool["usable_bytes"], asked
        assert shown["verdict"] == expected["verdict"], asked
        for remedy in shown["remedies"]:
            changed = asked | remedy["changed"]
            assert main([*words(changed), "--check", "--json"]) == 0, remedy
            assert command_line(changed)[1]["pools"][0]["total_bytes"] == remedy["total_bytes"], remedy
        assert shown["maxContext"] == expected["max_context"], asked
        assert shown["maxBatch"] == expected["max_batch"], asked
    assert answered >= 0.2 * count  # of the formats that are drawn the page answers some at once
    assert home.noise == []


def test_every_model_is_answered_in_the_format_that_it_is_stored_in(home):
    plan = {"context": 8192, "batch": 1, "count": 8, "device": "h20-96g", "engine": "transformers"}
    answered = 0
    for name in catalogue():
        shown = home.evaluate(ASK, {"model": name, **plan})
        if shown is not None:
            answered += 1
            assert shown["weights"] == serve(name, context=1).plan.weights
            assert shown["components"]["weights"] > 0
    assert answered > 0.8 * len(catalogue())
    assert home.noise == []


@pytest.fixture(scope="module")
def home(visit_once):
    """The page whose formulas are asked."""
    return visit_once(HOME)


def test_refuses_what_is_not_exact(home):
    plan = {"model": "Qwen/Qwen3-32B", "count": 1, "device": "h20-96g", "engine": "transformers"}
    assert home.evaluate(ASK, {**plan, "context": 10**9, "batch": 10**6}) is None


def test_a_page_loads_the_numbers_of_the_models_that_were_chosen(visit):
    """From their files, with the network off: not those of all."""
    page = visit(HOME)
    page.evaluate("MEMCALC.load('microsoft/phi-4')")
    page.wait_for_function("() => Object.keys(MEMCALC.models).length == 2")
    assert page.evaluate("Object.keys(MEMCALC.models)") == ["Qwen/Qwen3-32B", "microsoft/phi-4"]
    assert page.evaluate("Object.keys(MEMCALC.files)") == catalogue()
