"""Drawings: their numbers are the ledger's, nothing overlaps, and each says in words what it shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from hashlib import sha256
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import memcalc
from memcalc.data.units import gib
from memcalc.show import drawings
from memcalc.show.colours import CAPACITY, COLOURS, VERDICT_COLOURS
from memcalc.show.drawings import pen

ANCHORS = {"start": 0, "middle": 0.5, "end": 1}
LLAMA = "meta-llama/Llama-3.1-8B"
WORDS = ("4,096 × 4,096", "Qwen3-Next-80B-A3B", "kv_a_proj", "512 + 64 numbers a token", "backward")
KINDS = {
    "MHA": "meta-llama/Llama-2-7b-hf",
    "GQA": "Qwen/Qwen3-8B",
    "MQA": "tiiuae/falcon-7b",
    "MLA": "deepseek-ai/DeepSeek-V3",
}


@cache
def step(**options):
    return memcalc.train(LLAMA, seq=4096, **options)


def shared(**options):
    return step(world=8, **options)


@cache
def sharded():
    return {"DDP": shared(), "ZeRO 1": shared(shard=1), "ZeRO 3": shared(shard=3)}


@cache
def split():
    megatron = {"implementation": "megatron"}
    return {
        "TP 8": shared(tp=8, **megatron),
        "TP 8 + SP": shared(tp=8, sequence_parallel=True, **megatron),
        "PP 8": shared(pp=8, accumulate=16, **megatron),
        "TP 2, PP 2": shared(tp=2, pp=2, accumulate=4, **megatron),
    }


DRAWN = {
    "a transformer": lambda: drawings.transformer(memcalc.model("Qwen/Qwen3-8B")),
    "tied, with experts and a latent": lambda: drawings.transformer(memcalc.model("deepseek-ai/DeepSeek-V3")),
    "states": lambda: drawings.transformer(memcalc.model("Qwen/Qwen3-Next-80B-A3B-Instruct")),
    "attention": lambda: drawings.attention({kind: memcalc.model(name) for kind, name in KINDS.items()}),
    "a step": lambda: drawings.step(step()),
    "a step on a machine": lambda: drawings.step(shared(shard=3, on="8x h100-80g")),
    "sharded": lambda: drawings.sharing(step(), sharded()),
    "split": lambda: drawings.sharing(step(implementation="megatron"), split()),
}


@cache
def drawn(name):
    """A drawing of the list, and its parsed SVG."""
    picture = DRAWN[name]()
    return picture, ET.fromstring(picture.svg)


def each(root, tag):
    return list(root.iter(f"{{http://www.w3.org/2000/svg}}{tag}"))


def texts(name):
    return [one.text for one in each(drawn(name)[1], "text")]


def place_of(text):
    """The box that words may take: left, top, right, bottom."""
    size = float(text.get("font-size", pen.SMALL))
    width = pen.width_of(text.text, size, bold=text.get("font-weight") == "bold")
    left = float(text.get("x")) - ANCHORS[text.get("text-anchor", "start")] * width
    base = float(text.get("y"))
    return left, base - 0.75 * size, left + width, base + 0.2 * size


@pytest.mark.parametrize("name", DRAWN)
def test_nothing_overlaps_or_leaves_the_sheet(name):
    root = drawn(name)[1]
    _, _, width, height = map(float, root.get("viewBox").split())
    found = [(one.text, place_of(one)) for one in each(root, "text")]
    for words, (left, top, right, bottom) in found:
        assert left >= 0, words
        assert top >= 0, words
        assert right <= width, words
        assert bottom <= height, words
    for (one, a), (other, b) in combinations(found, 2):
        apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        assert apart, f"{one!r} over {other!r}"


@pytest.mark.parametrize("name", DRAWN)
def test_words_stay_in_their_box(name):
    for group in each(drawn(name)[1], "g"):
        rect = group[0]
        x, y, width, height = (float(rect.get(key)) for key in ("x", "y", "width", "height"))
        for text in group[1:]:
            left, top, right, bottom = place_of(text)
            assert x <= left, text.text
            assert right <= x + width, text.text
            assert y <= top, text.text
            assert bottom <= y + height, text.text


@pytest.mark.parametrize("name", DRAWN)
def test_letters_are_readable_on_a_phone(name):
    """342 of a phone's 390 pixels are the page's."""
    root = drawn(name)[1]
    scale = 342 / float(root.get("viewBox").split()[2])
    assert all(float(one.get("font-size", pen.SMALL)) * scale >= 11 for one in each(root, "text"))


@pytest.mark.parametrize("name", DRAWN)
def test_it_says_in_words_what_it_shows(name):
    picture, root = drawn(name)
    (title,) = each(root, "title")
    assert root[0] is title
    assert root.get("role") == "img"
    assert title.text == picture.alt
    assert repr(picture) == f"Figure: {picture.alt}"
    assert len(picture.alt) > 40


@pytest.mark.parametrize("name", DRAWN)
def test_colours_are_those_of_components(name):
    """Ink is the page's: nothing is black or white but words on a colour."""
    root = drawn(name)[1]
    used = {one.get(kind) for one in root.iter() for kind in ("fill", "stroke")} - {None}
    assert used <= {"none", "currentColor", CAPACITY, *COLOURS.values()}
    assert "style" not in drawn(name)[0].svg


def test_the_capacity_has_a_colour_of_its_own():
    assert CAPACITY not in {*COLOURS.values(), *VERDICT_COLOURS.values()}
    assert len(set(COLOURS.values())) == len(COLOURS)


def test_words_are_measured_by_the_widest_font():
    """DejaVu Sans, which matplotlib carries."""
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    for bold, weight in ((False, "normal"), (True, "bold")):
        font = FT2Font(
            font_manager.findfont(font_manager.FontProperties(family="DejaVu Sans", weight=weight))
        )
        font.set_size(100, 72)
        for words in (
            "4,096 × 4,096",
            "Qwen3-Next-80B-A3B",
            "kv_a_proj",
            "512 + 64 numbers a token",
            "backward",
        ):
            width = sum(font.load_char(ord(letter)).linearHoriAdvance / 65536 for letter in words)
            assert 1 <= pen.width_of(words, 100, bold=bold) / width < 1.12, words


def hashes():
    return [sha256(drawn(name)[0].svg.encode()).hexdigest() for name in DRAWN]


@pytest.mark.parametrize("seed", ["0", "1"])
def test_the_same_bytes_on_every_run(seed):
    code = "import test_drawings as tests; print(*tests.hashes())"
    environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == hashes()


def numbers(words):
    """The numbers that words have."""
    return re.findall(r"\d[\d,]*(?:\.\d+)?", words)


def test_a_transformer_has_the_shapes_of_the_ledger():
    model = memcalc.model("Qwen/Qwen3-8B")
    said = texts("a transformer")
    assert f"{model.parameters:,} parameters" in said
    for tensor in model.weights():
        shape = " × ".join(f"{size:,}" for size in map(whole, tensor.shape))
        if len(tensor.shape) == 2:
            assert shape in said, tensor.name
    keys, values = model.cache(1, 1)
    assert f"{keys.each:,} + {values.each:,} numbers a token" in said
    assert f"{model.depth} layers like this one" in said
    allowed = {f"{whole(size):,}" for tensor in model.weights() for size in tensor.shape}
    allowed |= {f"{model.parameters:,}", f"{keys.each:,}", str(model.depth), "3", "8"}  # Qwen3-8B
    assert {number for words in said for number in numbers(words)} <= allowed


def whole(axis):
    return axis[0] * axis[1] if isinstance(axis, tuple) else axis


def test_experts_and_states_are_counted():
    said = texts("tied, with experts and a latent")
    assert "256 × gate_proj" in said
    assert "512 + 64 numbers a token" in said
    assert "32,768 + 524,288 numbers a sequence" in texts("states")


def test_attention_leaves_the_bytes_of_the_ledger():
    root = drawn("attention")[1]
    said = texts("attention")
    sizes = []
    for name in KINDS.values():
        model = memcalc.model(name)
        sizes.append(sum(2 * one.count for one in model.cache(1, 1)) // model.depth)
        assert f"{sizes[-1]:,} bytes" in said, name
    assert sizes == [16384, 4096, 256, 1152]
    solid = [
        float(one.get("width"))
        for one in each(root, "rect")
        if one.get("fill") == COLOURS["kv_cache"] and not one.get("fill-opacity")
    ]
    assert [width / max(solid) for width in solid] == pytest.approx(
        [size / max(sizes) for size in sizes], abs=1e-4
    )


def test_a_step_is_drawn_to_scale():
    root, trained = drawn("a step")[1], step()
    said = texts("a step")
    peak = trained.allocated_bytes
    for moment in trained.moments:
        assert gib(trained.device.at(moment)).partition(" ")[0] in said, moment
    assert f"most at step: {gib(peak)}" in said
    # the last component of the picture reaches, at each moment, what the ledger adds up to
    *_, top = (one.get("points") for one in each(root, "polygon"))
    points = [tuple(map(float, pair.split(","))) for pair in top.split()]
    upper, lower = points[: len(points) // 2], points[len(points) // 2 :]
    (base,) = {float(one.get("points").split()[0].partition(",")[2]) for one in each(root, "polyline")}
    heights = [base - y for _, y in upper[2:-1]]
    sizes = [sum(trained.at(moment).values()) for moment in trained.moments]
    assert [h / max(heights) for h in heights] == pytest.approx([s / max(sizes) for s in sizes], abs=2e-3)
    assert len(lower) == len(upper)


def test_a_step_begins_with_what_is_always_held():
    trained = step()
    always = sum(trained.at("forward_end")[name] for name in ("weights", "master", "optimizer", "workspace"))
    assert gib(always).partition(" ")[0] in texts("a step")


def test_the_capacity_is_said_where_there_is_one():
    root = drawn("a step on a machine")[1]
    limit = shared(shard=3, on="8x h100-80g").device.capacity_bytes
    assert f"capacity {gib(limit)}" in texts("a step on a machine")
    assert {one.get("stroke") for one in each(root, "polyline")} == {CAPACITY, "currentColor"}
    assert CAPACITY not in drawn("a step")[0].svg


@pytest.mark.parametrize(
    ("name", "steps", "program"), [("sharded", sharded, "transformers"), ("split", split, "megatron")]
)
def test_cells_are_filled_with_what_is_held(name, steps, program):
    """A cell's fill is the device's share of what one device alone holds, at most all of it."""
    root = drawn(name)[1]
    filled = {component: [] for component in drawings.training.SHARED}
    by_colour = {COLOURS[component]: component for component in filled}
    for one in each(root, "rect"):
        if not one.get("fill-opacity"):
            filled[by_colour[one.get("fill")]].append(float(one.get("height")) / 20)

    def most(trained, stage, component):
        return max(stage.device.components_at(moment).get(component, 0) for moment in trained.moments)

    single = step(implementation=program)
    for component, found in filled.items():
        whole = most(single, single.stage, component)
        wanted = [
            min(1, most(trained, stage, component) / whole)
            for trained in steps().values()
            for stage in trained.stages
            for _ in range(8 // trained.plan.parallelism.pp)
        ]
        assert found == pytest.approx([part for part in wanted if part], abs=1e-3), component


def test_slices_make_up_the_whole():
    """Of ZeRO and of stages: each device's slice begins where another's ends."""
    slices = drawings.training.slices
    ranks = [drawings.training.Rank(0, place, {}) for place in range(4)]
    assert slices(ranks, [1, 1, 1, 1]) == [0, 0, 0, 0]
    assert slices(ranks, [0.25] * 4) == [0, 0.25, 0.5, 0.75]
    assert slices(ranks, [0.5] * 4) == [0, 0.5, 0, 0.5]
    staged = [drawings.training.Rank(place // 2, place % 2, {}) for place in range(4)]
    assert slices(staged, [0.5] * 4) == [0, 0, 0.5, 0.5]
    assert slices(staged, [0.25] * 4) == [0, 0.25, 0.5, 0.75]
    assert slices(staged, [0.375, 0.375, 0.125, 0.125]) == [0, 0.375, 0.75, 0.875]
    assert slices(ranks, [0.4] * 4) == pytest.approx([0.6] * 4)  # no slices: something is held by all


def test_a_drawing_takes_no_name_away():
    """A module of the package would stand in place of the function of its name."""
    drawn("a step")
    from memcalc import show

    assert all(callable(getattr(show, name)) for name in ("bars", "lines", "new", "picture", "table"))
