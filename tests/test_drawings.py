"""Drawings: their numbers are the ledger's, nothing overlaps, and each says in words what it shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache, partial
from hashlib import sha256
from itertools import combinations, pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import memcalc
from memcalc import show
from memcalc.data.units import gib
from memcalc.ledger.formats import format_named
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


def dealt():
    """Experts on one device, and dealt out over eight."""
    run = {"seq": 4096, "implementation": "megatron", "experts": "alltoall,grouped"}
    alone, eight = (memcalc.train("Qwen/Qwen3-30B-A3B", **run, world=n, ep=n) for n in (1, 8))
    return alone, {"EP 8": eight}


def ladder():
    on = {"on": "8x h100-80g"}
    return {
        "everything kept": step(**on),
        "recomputed": step(recompute="full", **on),
        "recomputed, ZeRO 3": shared(recompute="full", shard=3, **on),
    }


def piped():
    return step(implementation="megatron", pp=4, world=4, accumulate=8)


@cache
def served(**options):
    return memcalc.serve("Qwen/Qwen3-8B", engine="vllm", on="1x rtx-4090", **options)


@cache
def hybrid():
    moved = {"n_cpu_moe": 60}
    machine = "1x rtx-4090 + 512GiB host"
    return memcalc.serve(
        "deepseek-ai/DeepSeek-R1", context=8192, weights="q4_k_m", on=machine, engine_options=moved
    )


@cache
def on_npus():
    return memcalc.serve(
        "deepseek-ai/DeepSeek-V3",
        context=8192,
        on="16x ascend-910b-64g",
        engine="vllm-ascend",
        weights="w8a8",
    )


def held():
    """Bytes by component of two loads, the second with a name of two lines."""
    names = ("8,192 tokens", "Qwen3-8B\n4,096 tokens")
    return dict(zip(names, (served(context=size).device.components for size in (8192, 4096)), strict=True))


def limits():
    return {"8,192 tokens": served(context=8192).device.capacity_bytes}


HYBRID, CONTEXTS = "Qwen/Qwen3-Next-80B-A3B-Instruct", (1024, 32768, 262144)
QUANTISED = ("gptq-int4-g128", "fp8-block128", "Q4_K", "mxfp4", "bf16")
LENGTHS = {"A": 75, "B": 131, "C": 16}
DRAWN = {
    "a transformer": lambda: drawings.transformer(memcalc.model("Qwen/Qwen3-8B")),
    "tied, with experts and a latent": lambda: drawings.transformer(memcalc.model("deepseek-ai/DeepSeek-V3")),
    "states": lambda: drawings.transformer(memcalc.model("Qwen/Qwen3-Next-80B-A3B-Instruct")),
    "attention": lambda: drawings.attention({kind: memcalc.model(name) for kind, name in KINDS.items()}),
    "a step": lambda: drawings.step(step()),
    "a step on a machine": lambda: drawings.step(shared(shard=3, on="8x h100-80g")),
    "one card": lambda: drawings.one_card(
        step(method="ppo", rollout_engine="vllm", sleep_level=1, regime="pure-bf16", on="1x h200-141g")
    ),
    "sharded": lambda: drawings.sharing(step(), sharded()),
    "split": lambda: drawings.sharing(step(implementation="megatron"), split()),
    "wider shards": lambda: drawings.sharing(step(), {"FSDP": shared(shard="fsdp")}),
    "experts dealt out": lambda: drawings.sharing(*dealt()),
    "rungs": lambda: drawings.rungs(ladder()),
    "a pipeline": lambda: drawings.pipeline(piped()),
    "two kinds of layers": lambda: drawings.keeps(memcalc.model(HYBRID), CONTEXTS),
    "windows": lambda: drawings.keeps(memcalc.model("openai/gpt-oss-20b"), (1024, 131072)),
    "experts": lambda: drawings.experts(memcalc.model("Qwen/Qwen3-30B-A3B")),
    "shared experts": lambda: drawings.experts(memcalc.model("deepseek-ai/DeepSeek-V3")),
    "few experts": lambda: drawings.experts(memcalc.model("mistralai/Mixtral-8x7B-v0.1")),
    **{name: partial(drawings.quantised, name, 12288, 4096) for name in QUANTISED},
    "a cut layer": lambda: drawings.cut(memcalc.model("Qwen/Qwen3-8B"), 8),
    "an adapter": lambda: drawings.adapter(memcalc.model("Qwen/Qwen3-8B"), 16),
    "phases": lambda: drawings.phases(served(context=4096, batch=8), served(context=8192, batch=8)),
    "a card": lambda: drawings.card(served(context=8192)),
    "a small card": lambda: drawings.card(served(context=8192), tallest=96 * 2**30),
    "a full card": lambda: drawings.card(shared(shard=3, on="8x h100-80g")),
    "a host": lambda: drawings.host_and_card(hybrid()),
    "blocks": lambda: drawings.blocks(served(context=8192), LENGTHS),
    "servers": lambda: drawings.server(on_npus()),
    "bars": lambda: show.bars(held(), "Qwen3-8B with two contexts on one card", capacity=limits()),
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
    assert len(picture.alt) > 30


@pytest.mark.parametrize("name", DRAWN)
def test_colours_are_those_of_components(name):
    """Ink is the page's: nothing is black or white but words on a colour."""
    root = drawn(name)[1]
    used = {one.get(kind) for one in root.iter() for kind in ("fill", "stroke")} - {None}
    assert used <= {"none", "currentColor", "#000", CAPACITY, *COLOURS.values()}
    assert {one.tag.rpartition("}")[2] for one in root.iter() if one.get("fill") == "#000"} <= {"text"}
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
    states = ("weights", "master", "optimizer", "workspace")
    always = sum(trained.at("forward_end")[name] for name in states)
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


def filled_cells(name, component):
    """The filled parts of a component's cells: where each begins below the top of its cell, and how much."""
    found = each(drawn(name)[1], "rect")
    pairs = [
        (cell, part)
        for cell, part in pairwise(found)
        if cell.get("fill") == part.get("fill") == COLOURS[component]
        and cell.get("fill-opacity")
        and not part.get("fill-opacity")
    ]
    return [
        (float(part.get("y")) - float(cell.get("y")), float(part.get("height")) / 20) for cell, part in pairs
    ]


def test_experts_are_dealt_out_and_the_rest_is_not():
    """Counted from the model's tensors: an eighth of the routed experts each, and all of the rest."""
    cells, said = filled_cells("experts dealt out", "weights"), texts("experts dealt out")
    experts, rest = cells[:8], cells[8:]
    assert [part for _, part in experts] == pytest.approx([1 / 8] * 8, abs=1e-3)
    assert [start for start, _ in experts] == pytest.approx([20 / 8 * rank for rank in range(8)], abs=0.02)
    assert rest == [(0, 1)] * 8
    model = memcalc.model("Qwen/Qwen3-30B-A3B")
    routed = 2 * sum(one.count for one in model.weights() if one.active_experts is not None)
    assert {gib(routed // 8), gib(2 * model.parameters - routed)} <= set(said)
    assert "experts" not in texts("sharded")


def test_shards_in_a_wider_format_are_shards():
    """FSDP's weights are in 32 bits: eight slices of what all hold together, not a flat quarter."""
    for name in ("weights", "gradients", "optimizer"):
        starts, sizes = zip(*filled_cells("wider shards", name), strict=True)
        assert starts == pytest.approx([20 / 8 * rank for rank in range(8)], abs=0.02)
        assert set(sizes) == {0.125}
    assert "where FSDP's shards are in a wider format" in " ".join(texts("wider shards"))
    assert "wider format" not in " ".join(texts("sharded"))


def test_passes_have_the_numbers_of_their_micro_batches():
    """Where they are wide enough: each of eight, forward and backward, on each of four stages."""
    numbers = [words for words in texts("a pipeline") if words.isdigit()]
    assert sorted(numbers) == sorted([str(number) for number in range(1, 9)] * 2 * 4)


def test_on_a_machine_the_runtime_counts():
    device = shared(shard=3, on="8x h100-80g").device
    assert gib(device.total_bytes).partition(" ")[0] in texts("a step on a machine")


def test_rungs_are_drawn_to_one_scale():
    said = texts("rungs")
    solid = [one for one in each(drawn("rungs")[1], "polyline") if not one.get("stroke-dasharray")]
    bases = [float(one.get("points").split()[0].partition(",")[2]) for one in solid]
    peaks, scales, last = [], [], 0
    for trained, base in zip(ladder().values(), bases, strict=False):
        peaks.append(trained.device.total_bytes)
        assert any(words.startswith(f"{gib(peaks[-1])} at ") for words in said)
        tops = [
            float(pair.partition(",")[2])
            for one in each(drawn("rungs")[1], "polygon")
            for pair in one.get("points").split()
        ]
        above = [y for y in tops if last < y <= base]
        last = base
        scales.append((base - min(above)) / peaks[-1])
    assert scales == pytest.approx([scales[0]] * len(scales), rel=2e-2)


def test_a_pipeline_has_what_is_in_flight():
    """Counted from the picture: passes forward that have not come back."""
    trained, said = piped(), texts("a pipeline")
    passes = drawings.training.one_forward_one_backward(4, 8)
    for stage, row in enumerate(passes):
        flight = [0]
        for begin, end, forward in row:
            assert end - begin == (1 if forward else 2)
            flight.append(flight[-1] + (1 if forward else -1))
        assert flight[-1] == 0
        wanted = trained.plan.parallelism.in_flight(stage, 8)
        assert max(flight) == wanted
        assert any(words.startswith(f"stage {stage}: {wanted} ") for words in said)
        kept = trained.stages[stage].device.components_at("forward_end")["activations"]
        assert f"keeps {gib(kept)}" in said
    begun = {(True, stage): [one[0] for one in row if one[2]] for stage, row in enumerate(passes)}
    assert all(begun[True, stage + 1][n] > begun[True, stage][n] for stage in range(3) for n in range(8))
    rects = [one for one in each(drawn("a pipeline")[1], "rect") if float(one.get("height")) == 14]
    assert len(rects) == 2 * 4 * 8


def test_layers_keep_what_the_ledger_keeps():
    model = memcalc.model(HYBRID)
    said = texts("two kinds of layers")
    assert {"12 layers keep every token", "36 layers keep a state"} <= set(said)
    for context in CONTEXTS:
        size = sum((4 if one.format == "fp32" else 2) * one.count for one in model.cache(1, context))
        assert gib(size) in said
    assert {"12 layers keep every token", "12 layers keep the last tokens"} <= set(texts("windows"))
    rects = each(drawn("two kinds of layers")[1], "rect")
    cells = [one for one in rects if one.get("height") == one.get("width")]
    assert len(cells) == model.depth + 2  # and two in the key


def test_experts_are_those_of_the_ledger():
    model, said = memcalc.model("Qwen/Qwen3-30B-A3B"), texts("experts")
    assert f"{model.parameters:,} parameters" in said
    assert f"{model.active_parameters:,} parameters" in said
    squares = [one for one in each(drawn("experts")[1], "rect") if one.get("width") == one.get("height")]
    assert len(squares) == 128
    assert sum(not one.get("fill-opacity") for one in squares) == 8
    assert "shared: 44,040,192 parameters" in texts("shared experts")


@pytest.mark.parametrize("name", QUANTISED)
def test_a_format_is_drawn_in_its_pieces(name):
    form = format_named(name)
    whole = form.bytes(12288, 4096)
    said = [words.removesuffix(" bytes") for words in texts(name) if words.endswith(" bytes")]
    sizes = [int(words.replace(",", "")) for words in said]
    assert sum(sizes[:-1]) == whole
    assert sizes[-1] == 2 * 12288 * 4096
    assert f"12,288 × 4,096, {8 * whole / (12288 * 4096):.3f} bits a number" in texts(name)


def test_a_rank_holds_its_part_of_each_matrix():
    said = texts("a cut layer")
    for tensor in memcalc.model("Qwen/Qwen3-8B").groups[0].weights():
        if len(tensor.shape) == 2:
            pair = tensor, tensor.on_rank(tp=8)
            both = [" × ".join(f"{whole(size):,}" for size in one.shape) for one in pair]
            assert " → ".join(both) in said
    assert said.count("inputs") == 2
    assert said.count("outputs") == 5


def test_an_adapter_adds_two_thin_matrices():
    said = texts("an adapter")
    trained = f"trained: {16 * (4096 + 4096):,} numbers"
    assert {"frozen: 16,777,216 numbers", trained, "lora_A: 16 × 4,096"} <= set(said)


def test_phases_are_those_of_the_two_answers():
    before, after = served(context=4096, batch=8).device, served(context=8192, batch=8).device
    said = texts("phases")
    runtime = sum(line.bytes for line in before.lines if line.component == "runtime")
    for pool, moment in ((before, "load"), (before, "prefill"), (before, "decode"), (after, "decode")):
        assert gib(pool.at(moment) + runtime).partition(" ")[0] in said
    assert {"prefill of", "4,096", "token 4,096"} <= set(said)


@pytest.mark.parametrize(("name", "answer"), [("a card", lambda: served(context=8192)), ("a host", hybrid)])
def test_a_pool_is_drawn_with_its_components(name, answer):
    pool = answer().device
    said = " ".join(texts(name)) + drawn(name)[0].alt
    sizes = (*pool.components.values(), pool.capacity_bytes, pool.total_bytes)
    assert all(gib(size) in said for size in sizes)


def test_host_and_card_have_one_scale():
    """Areas: bytes for each unit of area are the same in both."""
    root, answer = drawn("a host")[1], hybrid()
    frames = [one for one in each(root, "rect") if one.get("fill") == "none"]
    areas = [float(one.get("width")) * float(one.get("height")) for one in frames]
    sizes = [answer.host.capacity_bytes, answer.device.capacity_bytes]
    assert areas[0] / areas[1] == pytest.approx(sizes[0] / sizes[1], rel=1e-2)


def test_blocks_are_those_of_the_pool():
    pool, said = served(context=8192).kv_pool, texts("blocks")
    assert f"{pool.tokens // 16:,} blocks of 16 tokens" in said
    assert gib(pool.bytes) in said
    for name, tokens in LENGTHS.items():
        needed = -(-tokens // 16)
        plural = "block" if needed == 1 else "blocks"
        empty = needed * 16 - tokens
        assert f"request {name}: {tokens} tokens, {needed} {plural}, {empty} slots empty" in said
        assert said.count(name) == needed
    assert f"{pool.tokens // 16 - 48:,} more" in " ".join(said)


def test_a_server_has_its_devices():
    answer, said = on_npus(), texts("servers")
    assert [words for words in said if words.isdigit()] == [str(number) for number in range(16)]
    assert {"server 0: 8 × 64 GB", "server 1: 8 × 64 GB"} <= set(said)
    assert f"{gib(answer.device.total_bytes)} of {gib(answer.device.capacity_bytes)} each" in said


def test_devices_that_are_drawn_apart_can_have_one_scale():
    """A device of half the bytes is half as tall, in a drawing of cards and in one of servers."""
    large, small = (served_on(name) for name in ("1x rtx-pro-6000-blackwell", "1x rtx-4090"))
    most = large.device.capacity_bytes
    for draw in (drawings.card, drawings.server):
        tall, low = (grown(draw(one, tallest=most)) for one in (large, small))
        assert low / tall == pytest.approx(small.device.capacity_bytes / most, rel=1e-2), draw
        assert grown(draw(small)) == grown(draw(large)), draw


def served_on(machine):
    return memcalc.serve("Qwen/Qwen3-8B", context=8192, engine="vllm", on=machine)


def grown(picture):
    """How tall the vessel is: the frame of a card, the grey of a small one."""
    found = each(ET.fromstring(picture.svg), "rect")
    framed = [one for one in found if one.get("fill") == "none" and one.get("width") == "120"]
    grey = [one for one in found if one.get("fill-opacity") == "0.16"]
    return float((framed or grey)[0].get("height"))


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


def test_no_module_takes_a_name_away():
    """A module of the package would stand in place of the function of its name, once it is loaded."""
    drawn("a step")
    names = ("bars", "lines", "new", "picture", "sentence", "table")
    assert all(callable(getattr(show, name)) for _ in range(2) for name in names)


def rects(name, **wanted):
    """The rectangles of a drawing with some attributes."""
    wanted = {key.replace("_", "-"): value for key, value in wanted.items()}
    found = each(drawn(name)[1], "rect")
    return [one for one in found if all(one.get(key) == value for key, value in wanted.items())]


def area(one):
    return float(one.get("width")) * float(one.get("height"))


def test_a_step_is_drawn_to_the_scale_of_the_capacity():
    root, device = drawn("a step on a machine")[1], shared(shard=3, on="8x h100-80g").device
    lines = {}
    for one in each(root, "polyline"):  # the second of the capacity is the key's
        lines.setdefault(one.get("stroke"), float(one.get("points").split(",")[1].split()[0]))
    base, limit = lines["currentColor"], lines[CAPACITY]
    tops = [float(pair.split(",")[1]) for one in each(root, "polygon") for pair in one.get("points").split()]
    part = (base - min(tops)) / (base - limit)
    assert part == pytest.approx(device.total_bytes / device.capacity_bytes, rel=5e-3)


def test_a_rank_is_filled_with_its_part():
    boxes = rects("a cut layer", rx="3")
    filled = [one for one in rects("a cut layer", fill=COLOURS["weights"]) if not one.get("rx")]
    assert len(boxes) == len(filled) == 7
    for box, part in zip(boxes, filled, strict=True):
        assert area(part) / area(box) == pytest.approx(1 / 8, rel=0.02)


def test_vessels_are_filled_with_what_is_held():
    """In areas: of a host and its card, of a card alone, of each of sixteen devices."""
    answer = hybrid()
    for frame, pool in zip(rects("a host", fill="none"), (answer.host, answer.device), strict=True):
        left, top, width = (float(frame.get(key)) for key in ("x", "y", "width"))
        inside = [
            one
            for one in rects("a host", fill=COLOURS["weights"])
            if float(one.get("width")) == width and top <= float(one.get("y"))
        ]
        part = area(inside[0]) / area(frame)
        assert left == 1
        assert part == pytest.approx(pool.components["weights"] / pool.capacity_bytes, rel=1e-2)
    (frame,) = rects("a card", fill="none")
    weights = max(rects("a card", fill=COLOURS["weights"]), key=area)
    device = served(context=8192).device
    assert area(weights) / area(frame) == pytest.approx(
        device.components["weights"] / device.capacity_bytes, rel=1e-3
    )
    device = on_npus().device
    tanks, filled = rects("servers", height="72"), rects("servers", fill=COLOURS["weights"])
    filled = [one for one in filled if one.get("width") == tanks[0].get("width")]
    assert len(tanks) == len(filled) == 16
    share = device.components["weights"] / device.capacity_bytes
    assert [area(one) / area(tanks[0]) for one in filled] == pytest.approx([share] * 16, rel=1e-3)


def test_a_card_has_what_an_engine_may_use():
    """What is free of its share, and what lies outside, which is no part of the vessel's filling."""
    device = served(context=8192).device
    free, outside = device.usable_bytes - device.share_bytes, device.capacity_bytes - device.usable_bytes
    outside -= device.total_bytes - device.share_bytes
    said = texts("a card")
    assert said[said.index("free") + 1] == gib(free)
    assert said[said.index("outside the share") + 1] == gib(outside)
    (grey,) = rects("a card", fill_opacity="0.16")
    (frame,) = rects("a card", fill="none")
    assert area(grey) / area(frame) == pytest.approx(free / device.capacity_bytes, rel=1e-2)
    assert "outside the share" not in texts("a full card")  # of training: an allocator may use all
    assert "0.00 GiB" not in said


def test_a_card_beside_a_host_names_its_parts():
    """Some are too thin to be seen in it."""
    said = texts("a host")
    assert all(f"{pen.label(part)} {gib(size)}" in said for part, size in hybrid().device.components.items())
