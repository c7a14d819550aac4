"""What the page answers at once is what the command line says: figures, cause, remedies."""

from __future__ import annotations

import json
from functools import cache

import pytest

from memcalc.errors import MemcalcError
from memcalc.files.catalogue import catalogue
from memcalc.serving import serve
from memcalc.serving.search import limited

# What a page loads of a model is made once.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("instant")]
# sparse attention, whose cache has the engine's own format; stored in 32 bits; in a format of its own; hybrid
SOME = ("zai-org/GLM-5.1-FP8", "allenai/OLMo-2-1124-7B", "EleutherAI/gpt-j-6B", "openai/gpt-oss-20b")
STEP = 89  # one model in so many beside them
DEVICES = (
    ("rtx-4090", 1),
    ("24GiB", 2),
    ("gh200-144g", 8),
    ("h100-80g", 1),
    ("ascend-910b-64g", 2),
    ("gb10", 1),
)
LOADS = ((2048, 1), (8192, 64))
ASK = """
const bounded = number => number >= MEMCALC.limit ? null : number;
console.log(JSON.stringify(asked.map(plan => {
    try {
        const found = MEMCALC.answer(plan);
        return [found.total, found.low, found.high, found.share, found.usable, found.components,
            found.verdict, found.cause, bounded(found.maxContext), bounded(found.maxBatch), found.weights,
            found.verdict === "fits" ? {found: [], whole: true} : MEMCALC.remedies(plan)];
    } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        return null;
    }
})));
"""


@pytest.fixture(scope="module")
def calculator(root):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root / "tools")
        import calculator
    return calculator


@pytest.fixture(scope="module")
def instantly(root, node, calculator):
    """What the page's formulas say of plans of one model; None where they say nothing."""
    own = [
        (root / "book" / "_static" / f"{name}.js").read_text(encoding="utf-8")
        for name in ("verdict", "calculator")
    ]
    before = "\n".join([calculator.shared(), 'const document = {currentScript: {src: "file:///"}};', *own])

    written = cache(calculator.of_model)

    def ask(name, plans):
        return node(f"{before}\n{written(name)}\nconst asked = {json.dumps(plans)};\n{ASK}")

    return ask


def plans(name, offered, **named):
    """Every engine and machine, at the engine's own formats if none is named."""
    return [
        {"model": name, "engine": by, "device": device, "count": count, "context": context, "batch": batch}
        | {"named": device, "weights": "", "kv": ""}
        | named
        for by in offered
        for device, count in DEVICES
        for context, batch in LOADS
    ]


def right(plan):
    """What memcalc says of the same."""
    served = serve(
        plan["model"],
        context=plan["context"],
        batch=plan["batch"],
        engine=plan["engine"],
        on=f"{plan['count']}x {plan['device']}",
        weights=plan["weights"] or None,
        kv=plan["kv"] or None,
    )
    device = served.device
    share, _ = device.held("bytes")
    remedies = [[one.words, one.total_bytes] for one in served.remedies]
    figures = [device.total_bytes, device.low_bytes, device.high_bytes, share, device.usable_bytes]
    largest = [limited(served.max_context), limited(served.max_batch)]
    named = [served.plan.weights]
    return [*figures, device.components, served.verdict, served.cause, *largest, *named], remedies


def asked_models(full):
    return catalogue() if full else dict.fromkeys([*SOME, *catalogue()[::STEP]])


def check(instantly, name, asked):
    """The number of plans that were answered at once, each as memcalc says."""
    answered = 0
    for plan, shown in zip(asked, instantly(name, asked), strict=True):
        if shown is None:  # memcalc itself answers it
            continue
        answered += 1
        try:
            expected, remedies = right(plan)
        except MemcalcError as refusal:
            pytest.fail(f"{plan} is refused: {refusal}")
        *figures, instead = shown
        assert figures == expected, plan
        offered = [[one["words"], one["total_bytes"]] for one in instead["found"]]
        assert offered == (remedies if instead["whole"] else remedies[: len(offered)]), plan
    return answered


def test_every_model_at_its_own_formats(request, instantly, calculator):
    models = asked_models(request.config.getoption("full"))
    answered = [check(instantly, name, plans(name, calculator.OFFERED)) for name in models]
    assert sum(map(bool, answered)) > 0.8 * len(models)


@pytest.mark.parametrize("name", ["Qwen/Qwen3-0.6B", "google/gemma-3-4b-it"])
def test_no_engine_answers_where_memcalc_refuses_it(instantly, calculator, monkeypatch, name):
    """Old cards, Macs by twos, TPUs; Gemma-3 in 16 bits on a T4; MindIE beyond a window."""
    machines = (("p40", 1), ("t4", 1), ("v100-32g", 1), ("m4-max-64g", 1), ("m4-max-64g", 2), ("tpu-v6e", 1))
    machines += (("mi300x", 1), ("gaudi3", 1), ("b200", 1), ("rtx-5090", 2))
    monkeypatch.setitem(globals(), "DEVICES", (*machines, ("ascend-910b-64g", 1)))
    asked = plans(name, calculator.OFFERED)
    assert check(instantly, name, asked) > 10
    shown = {
        (one["engine"], one["device"])
        for one, said in zip(asked, instantly(name, asked), strict=True)
        if said
    }
    assert (("vllm", "t4") in shown) is ("gemma" not in name)
    assert (("mindie", "ascend-910b-64g") in shown) is ("gemma" not in name)
    assert ("transformers", "m4-max-64g") in shown
    assert not shown & {("vllm", "p40"), ("vllm", "m4-max-64g"), ("sglang", "v100-32g")}


NAMED = [("bf16", "fp8"), ("fp32", "bf16"), ("fp8", ""), ("", "fp8"), ("nf4", "fp32")]


@pytest.mark.parametrize(("weights", "kv"), NAMED)
def test_formats_that_are_named(request, instantly, calculator, weights, kv):
    """Of two models here, the other two for each next pair; of four with --full."""
    named = {"weights": weights, "kv": kv}
    models = SOME if request.config.getoption("full") else SOME[NAMED.index((weights, kv)) % 2 :: 2]
    answered = [check(instantly, name, plans(name, calculator.OFFERED, **named)) for name in models]
    assert sum(answered) > 5


def test_sparse_attention_has_the_cache_of_its_engine(instantly):
    """vLLM keeps DeepSeek's own layout where no format is named, which is less than 16 bits take."""
    (plan,) = (
        one for one in plans(SOME[0], ["vllm"]) if one["device"] == "gh200-144g" and one["batch"] == 64
    )
    (own, wide) = instantly(SOME[0], [plan, plan | {"kv": "bf16"}])
    assert own[5]["kv_cache"] < wide[5]["kv_cache"]
    assert check(instantly, SOME[0], [plan, plan | {"kv": "bf16"}]) == 2
