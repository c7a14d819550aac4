"""What a cell shows of an answer: a few lines of text, a bar in HTML, the same figures in both."""

from __future__ import annotations

import pickle
import re
from html import escape

import numpy as np
import pytest
import sympy

import memcalc
from memcalc.__main__ import main
from memcalc.data.units import Amount, gib
from memcalc.files.source import Source
from memcalc.ledger.budget import COMPONENTS
from memcalc.show.card import VERDICTS
from memcalc.show.colours import COLOURS, LABELS, VERDICT_COLOURS

ANSWERS = {
    "one device": lambda: memcalc.serve("Qwen/Qwen3-32B", context=8192),
    "on a machine": lambda: memcalc.serve("Qwen/Qwen3-32B", context=8192, on="2x rtx-a6000", engine="vllm"),
    "with a host": lambda: memcalc.serve(
        "deepseek-ai/DeepSeek-R1", context=8192, weights="q4_k_m", on="1x rtx-4090 + 512GiB host"
    ),
    "a vision tower": lambda: memcalc.serve("google/gemma-3-27b-it", context=8, on="1x h100-80g"),
    "assumptions": lambda: memcalc.serve(
        "Qwen/Qwen3-32B", context=8192, weights="gptq-int4-g128", on="1x rtx-4090", engine="vllm"
    ),
    "one step": lambda: memcalc.train("Qwen/Qwen3-8B", seq=4096),
    "pipeline": lambda: memcalc.train(
        "Qwen/Qwen3-8B", seq=4096, pp=4, world=8, shard=1, implementation="megatron", on="8x h100-80g"
    ),
    "offloaded": lambda: memcalc.train(
        "Qwen/Qwen3-30B-A3B",
        seq=4096,
        shard=3,
        world=8,
        recompute="full",
        offload=("optimizer", "parameters"),
        on="8x h100-80g + 512GiB host",
    ),
    "a swept load": lambda: memcalc.serve("Qwen/Qwen3-32B", context=np.array([8192, 16384])),
    "a swept step": lambda: memcalc.train("Qwen/Qwen3-8B", seq=np.array([8192, 16384])),
    "a model": lambda: memcalc.model("deepseek-ai/DeepSeek-V3"),
    "states": lambda: memcalc.states(memcalc.model("Qwen/Qwen3-8B"), shard=1, world=8),
    "states in letters": lambda: memcalc.states(sympy.Symbol("parameters"), world=sympy.Symbol("world")),
}
WITHOUT_A_DEVICE = ("a swept load", "a swept step", "a model", "states", "states in letters")
WITHOUT_LINES = tuple(name for name in WITHOUT_A_DEVICE if name != "states")


@pytest.mark.parametrize("name", ANSWERS)
def test_a_prompt_shows_at_most_twelve_lines(name):
    text = repr(ANSWERS[name]())
    assert len(text) < 1500
    assert text.count("\n") < 12


@pytest.mark.parametrize("name", [name for name in ANSWERS if name not in WITHOUT_A_DEVICE])
def test_text_and_html_show_the_same_figures(name):
    answer = ANSWERS[name]()
    device, page = answer.device, answer._repr_html_()
    for size in (*device.components.values(), device.total_bytes, device.low_bytes, device.high_bytes):
        assert gib(size) in repr(answer), size
        assert gib(size) in str(answer), size
        assert gib(size) in page, size
    assert all(line.name.partition("<")[0] in page for line in device.lines[:3])


@pytest.mark.parametrize("name", [name for name in ANSWERS if name not in WITHOUT_LINES])
def test_what_follows_from_shapes_is_shown_with_its_formula(name):
    """A folded table promises a formula of exact lines; what was measured may have none."""
    answer = ANSWERS[name]()
    card = answer.card
    assert re.search(
        r"<summary>\d+ lines with their evidence, exact ones with their formula<", answer._repr_html_()
    )
    exact = [line for _, pool in card.pools for line in pool.lines if line.evidence == "exact"]
    assert [f"{line.component}: {line.name}" for line in exact if not line.formula] == []


def test_states_stand_in_the_order_of_every_bar():
    """A bar of states and the card below it show the same colours in the same order."""
    held = memcalc.states(8, gradients="bf16+fp32")
    assert list(held.components) == sorted(held.components, key=COMPONENTS.index)


def test_formulas_of_states_are_their_bytes():
    """Six hundred parameters and one on four ranks: what is shared out is rounded up."""
    ((_, rank),) = memcalc.states(601, shard=1, world=4).card.pools
    shown = {line.name: (line.formula, line.bytes) for line in rank.lines}
    assert shown["parameter"] == ("2 B x 601", 1202)
    assert shown["first moment"] == ("4 B x ceil(601 / 4)", 604)


def test_states_show_themselves():
    states = memcalc.states(memcalc.model("Qwen/Qwen3-8B"), gradients="fp32", shard=1, world=8)
    text, page = repr(states), states._repr_html_()
    for size in (*states.components.values(), states.total_bytes):
        assert gib(size) in text
        assert gib(size) in page
    assert "18 bytes each" in text
    assert " to " not in text  # nothing of it was measured
    assert "bytes a parameter" in repr(ANSWERS["states in letters"]())


def test_the_shell_prints_what_a_cell_prints(capsys):
    """The same object, the same lines."""
    assert main(["serve", "Qwen/Qwen3-32B", "--context", "8192", "--on", "2x rtx-a6000"]) == 0
    served = memcalc.serve("Qwen/Qwen3-32B", context=8192, on="2x rtx-a6000")
    assert capsys.readouterr().out == f"{served}\n"
    assert repr(served) == str(served)  # short enough to be shown whole
    assert main(["model", "Qwen/Qwen3-32B"]) == 0
    assert capsys.readouterr().out == f"{memcalc.model('Qwen/Qwen3-32B')}\n"


def test_the_bar_is_filled_to_the_capacity():
    """Its segments are the components and what is free; together they are as wide as the bar."""
    served = memcalc.serve("Qwen/Qwen3-32B", context=8192, on="1x rtx-pro-6000-blackwell")
    bar = re.search(r'role="img" aria-label="([^"]*)"[^>]*>(.*?)</div>', served._repr_html_())
    assert bar is not None
    widths = [float(width) for width in re.findall(r"width:([\d.]+)%", bar[2])]
    assert len(widths) == len(served.device.components) + 1
    assert sum(widths) == pytest.approx(100, abs=0.01)
    assert widths[0] == pytest.approx(
        100 * served.device.components["weights"] / served.device.capacity_bytes, abs=0.001
    )
    assert "weights 61.02 GiB" in bar[1]  # the bar says in words what it shows


def test_a_limit_within_the_bar_has_a_mark():
    """What may be used, and what there is where more is asked for."""
    for on, limits in (("1x rtx-pro-6000-blackwell", ("usable",)), ("1x rtx-a6000", ("usable", "capacity"))):
        served = memcalc.serve("Qwen/Qwen3-32B", context=8192, on=on)
        device = served.device
        whole = max(device.total_bytes, device.capacity_bytes)
        marks = re.findall(
            r'title="(usable|capacity): [^"]*" style="[^"]*left:([\d.]+)%"', served._repr_html_()
        )
        assert tuple(name for name, _ in marks) == limits
        for name, place in marks:
            limit = {"usable": device.usable_bytes, "capacity": device.capacity_bytes}[name]
            assert float(place) == pytest.approx(100 * limit / whole, abs=0.001)


def test_no_figure_needs_its_colour():
    """Components stand in the order of the bar, each with its share of the total."""
    served = memcalc.serve("Qwen/Qwen3-32B", context=8192)
    page, device = served._repr_html_(), served.device
    shares = re.findall(r">(\d+) %<", page)
    assert shares == [f"{100 * size / device.total_bytes:.0f}" for size in device.components.values()]
    places = [page.index(f"</span>{LABELS.get(name, name)}<") for name in device.components]
    assert places == sorted(places)


def test_every_component_has_its_colour():
    from memcalc.ledger.budget import COMPONENTS

    assert set(COMPONENTS) <= set(COLOURS)
    assert len(set(COLOURS.values())) == len(COLOURS)


def test_names_from_files_cannot_become_markup():
    fields = {**memcalc.source("Qwen/Qwen3-32B").fields}
    model = memcalc.read(fields, "<script>alert(1)</script>")
    assert "<script>" not in model._repr_html_()
    served = memcalc.serve(Source("<img src=x>", fields, "here"), context=8)
    assert "<img" not in served._repr_html_()


def test_amounts_are_whole_numbers_that_show_themselves():
    served = memcalc.serve("Qwen/Qwen3-32B", context=8192, on="2x rtx-a6000")
    assert isinstance(served.device.total_bytes, Amount)
    assert isinstance(served.device.components["weights"], Amount)
    assert repr(served.cache_bytes) == "2.00 GiB"
    assert served.cache_bytes == 2**31
    assert f"{served.cache_bytes:,}" == "2,147,483,648"
    assert served.cache_bytes.gib == 2.0


def test_sums_and_multiples_of_amounts_are_amounts_and_quotients_are_counts():
    size = Amount(2**31)
    for found, whole in (
        (size + size, 2**32),
        (sum([size, size]), 2**32),
        (2**33 - size, 3 * 2**31),
        (size - 2**33, -3 * 2**31),
        (3 * size, 3 * 2**31),
        (size * 3, 3 * 2**31),
        (-size, -(2**31)),
        (abs(-size), 2**31),
    ):
        assert (type(found), found) == (Amount, whole)
    assert (type(size // 2), type(size // size), type(size / 2)) == (int, int, float)
    assert (str(-size), str(Amount(-(2**29))), str(Amount(-52_428_800))) == (
        "-2.00 GiB",
        "-0.50 GiB",
        "-0.05 GiB",
    )


def test_what_others_measured_is_in_amounts_too():
    from memcalc.evidence import checkpoints, observations, predict, training_observations

    (row,) = observations(id="qwen3-32b-bf16-6144")
    assert repr(row.value_bytes - predict(row).bytes) == "0.01 GiB"
    assert repr(training_observations(family="fms full")[0].value_bytes) == "67.46 GiB"
    assert repr(checkpoints("openai/gpt-oss-20b")[0].bytes) == "12.82 GiB"
    pool = memcalc.serve("Qwen/Qwen3-32B", context=8192, engine="vllm", on="1x h100-80g").kv_pool
    assert isinstance(pool.low_bytes, Amount)


def test_completion_offers_the_public_names():
    assert dir(memcalc) == sorted(memcalc.__all__)
    assert {"model", "serve", "train", "states", "__version__"} <= set(dir(memcalc))
    for name in dir(memcalc):
        assert getattr(memcalc, name) is not None


STORED = {
    "plain": lambda: memcalc.serve("Qwen/Qwen3-32B", context=8192, on="2x rtx-a6000", engine="vllm"),
    "4 bits": lambda: memcalc.serve("Qwen/Qwen3-30B-A3B", context=8192, weights="nf4"),
    "its own format": lambda: memcalc.serve("openai/gpt-oss-20b", context=8192, engine="sglang"),
    "a preset": lambda: memcalc.serve(
        "Qwen/Qwen3-32B", context=8192, weights="Q4_K_M", on="1x rtx-4090 + 64GiB host"
    ),
    "a step": lambda: memcalc.train("Qwen/Qwen3-8B", seq=4096, on="1x rtx-4090", trainable=("lm_head",)),
    "adapters": lambda: memcalc.train("Qwen/Qwen3-8B", seq=4096, lora_rank=8, quantize_base="nf4"),
    "machines": lambda: memcalc.which("Qwen/Qwen3-8B", context=4096),
    "a model": lambda: memcalc.model("Qwen/Qwen3-8B"),
}


@pytest.mark.parametrize("name", STORED)
def test_an_answer_can_be_stored(name):
    """With what it has computed already, and without."""
    answer = STORED[name]()
    stored, shown = pickle.dumps(answer), str(answer)
    for one in (stored, pickle.dumps(answer)):
        assert str(pickle.loads(one)) == shown


def test_parts_of_an_answer_show_themselves_in_a_line():
    served = memcalc.serve("Qwen/Qwen3-32B", context=8192, on="2x rtx-a6000", engine="vllm")
    assert repr(served.engine) == f"<vLLM {served.engine.release}>"
    total, capacity = served.device.total_bytes, gib(served.device.capacity_bytes)
    assert repr(served.device) == f"<2 x gpu: {total} of {capacity}, at prefill>"
    assert repr(served.plan.source).startswith("<Qwen/Qwen3-32B, from ")
    asked = "context=8192, on='2x rtx-a6000', engine='vllm'"
    assert repr(served.plan) == f"<plan for Qwen/Qwen3-32B: ServingOptions({asked})>"
    assert repr(memcalc.train("Qwen/Qwen3-8B", seq=4096).plan).endswith(": TrainingOptions(seq=4096)>")


@pytest.mark.parametrize(
    ("context", "verdict"), [(8192, "fits"), (None, "may_not_fit"), (40_960, "does_not_fit")]
)
def test_a_verdict_has_its_words_and_its_colour(context, verdict):
    """And what would fit its command, as text has it."""
    asked = {"engine": "vllm", "engine_version": "0.11", "on": "1x h100-80g"}
    context = context or memcalc.serve("Qwen/Qwen3-32B", context=1, **asked).max_context
    served = memcalc.serve("Qwen/Qwen3-32B", context=context, **asked)
    assert served.verdict == verdict
    page = served._repr_html_()
    assert f"solid {VERDICT_COLOURS[verdict]}" in page
    assert f"<strong>{VERDICTS[verdict]}" in page
    assert bool(served.remedies) == (verdict != "fits")
    assert all(escape(one.command) in page for one in served.remedies)
