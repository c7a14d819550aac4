"""Names of models as people type them: letters' case, owner and separators do not matter, all else does."""

from __future__ import annotations

import contextlib
import io
import json
import random
from types import SimpleNamespace

import pytest

from memcalc.__main__ import main
from memcalc.errors import BadInputError, MemcalcError, UnknownNameError
from memcalc.files.catalogue import aliases, catalogue, containing, key, names_by_key
from memcalc.files.machines import devices, machine, servers
from memcalc.files.sources import source

TYPED = {
    "Qwen3 32B": "Qwen/Qwen3-32B",
    "qwen3:32b": "Qwen/Qwen3-32B",
    "qwen3_32b": "Qwen/Qwen3-32B",
    "QWEN/qwen3 32b": "Qwen/Qwen3-32B",
    "deepseek r1": "deepseek-ai/DeepSeek-R1",
    "gpt-oss:20b": "openai/gpt-oss-20b",
    "openai gpt oss 20b": "openai/gpt-oss-20b",
    "Qwen3.6 27b": "Qwen/Qwen3.6-27B",
    "qwen3-6 27b": "Qwen/Qwen3.6-27B",
    "phi4": "microsoft/phi-4",
    "https://huggingface.co/Qwen/Qwen3-32B/tree/main": "Qwen/Qwen3-32B",
    "hf.co/qwen/qwen3-32b": "Qwen/Qwen3-32B",
}
TAKEN = {  # an alias or a relative, and which
    "llama 3.1 8b": "meta-llama/Meta-Llama-3.1-8B",
    "llama 3.1 8b instruct": "meta-llama/Meta-Llama-3.1-8B",
    "gemma3:27b": "google/gemma-3-27b-it",
}


@pytest.mark.parametrize("text", TYPED)
def test_a_name_is_known_however_it_is_spelled(text):
    found = source(text)
    assert (found.name, found.defaults) == (TYPED[text], ())


@pytest.mark.parametrize("text", TAKEN)
def test_what_is_taken_for_another_name_is_said(text):
    found = source(text)
    assert found.name == TAKEN[text]
    assert [one.partition(" (")[0] for one in found.defaults] == [f"{text} is taken as {TAKEN[text]}"]


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("mixtral", "did you mean Mixtral-8x7B-v0.1 or Mixtral-8x22B-v0.1?"),
        ("qwen 32b", "did you mean Qwen3-32B or Qwen3-32B-FP8 or Qwen2.5-32B-Instruct or Qwen3-VL-32B-Inst"),
        ("deepseek 70b", "did you mean DeepSeek-R1-Distill-Llama-70B?"),
        ("glm4.5", "did you mean GLM-4.5-Air?"),
        ("llama3.3", "did you mean Llama-3.3-70B-Instruct?"),
        ("Qwen3 32B AWQ", "did you mean Qwen/Qwen3-32B with --weights awq-int4-g128?"),
        ("qwen2-57b", "did you mean "),  # Qwen2.5-7B, with a point that was left out, is another model
        ("./qwen3-32b", "did you mean "),  # a path
        ("qwen332b", ""),
    ],
)
def test_what_is_not_unique_or_not_exact_is_refused_with_names_that_have_all_its_words(text, offered):
    with pytest.raises(UnknownNameError) as refusal:
        source(text)
    assert refusal.value.remedy.startswith(offered)


@pytest.mark.parametrize(
    ("text", "name"),
    [("mixtral 8x7b", "mistralai/Mixtral-8x7B-v0.1"), ("olmo 2 7b", "allenai/OLMo-2-1124-7B")],
)
def test_a_single_name_with_all_words_is_offered_in_a_short_line(text, name):
    with pytest.raises(UnknownNameError) as refusal:
        source(text)
    short = name.partition("/")[2]
    assert str(refusal.value) == f"SOURCE: expected {name}, given '{text}'; did you mean {short}?"


@pytest.mark.parametrize("text", ["", " ", "\t\n"])
def test_an_empty_name_is_none(text):
    with pytest.raises(BadInputError, match=r"SOURCE: expected .* given nothing"):
        source(text)


@pytest.mark.parametrize("text", ["-", "--", "_", ":", "- _"])
def test_separators_alone_name_no_model(text):
    with pytest.raises(UnknownNameError):
        source(text)


def test_every_name_of_the_catalogue_is_its_own():
    for name in catalogue():
        assert names_by_key()[key(name)] == (name,)
        assert names_by_key()[key(name.partition("/")[2])] == (name,)


# ---- the page knows the same names, and says the same of what it does not ----

TRIED = """console.log(JSON.stringify(TEXTS.map(text => ({
    model: memcalcNames.model(text), words: memcalcNames.containing(text),
    machine: memcalcNames.machine(text)}))));"""
REFUSED = """const {serve, train} = MEMCALC_OPTIONS.commands;
const option = flag => [...serve.common, ...train.common].find(one => one.flag === flag);
console.log(JSON.stringify(TEXTS.map(([source, numbers, on]) =>
    memcalcNames.refusal(source, numbers.map(([flag, text]) => [option(flag), text]), on))));"""


@pytest.fixture(scope="module")
def page(root, node):
    """What a script says of texts, with the page's own scripts before it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root / "tools")
        import plan_options
    own = plan_options.script() + (root / "book" / "_static" / "names.js").read_text(encoding="utf-8")
    return SimpleNamespace(
        says=lambda script, texts: node(f"{own}\n{script.replace('TEXTS', json.dumps(texts))}")
    )


def misspelled(names, count, seed):
    """Names as people type them, nearly: separators, cases, letters lost or doubled, words left out."""
    draw = random.Random(seed)
    for _ in range(count):
        text = draw.choice(names)
        if draw.random() < 0.6:
            text = text.rpartition("/")[2]
        for _ in range(draw.choice((0, 0, 1, 1, 2, 3))):
            place = draw.randrange(len(text)) if text else 0
            text = draw.choice(
                (
                    text.replace("-", draw.choice((" ", "_", ":", ".", "")), draw.choice((1, -1))),
                    text[:place] + text[place + 1 :],
                    text[:place] + text[place : place + 1] + text[place:],
                    text.lower(),
                    " ".join(text.split("-")[: draw.randrange(1, 4)]),
                    f"{draw.choice((2, 8, 16))}{draw.choice(('x ', ' ', ' x ', '*'))}{text}",
                    f"NVIDIA {text} 80GB",
                )
            )
        yield text


def in_python(read, text):
    try:
        return read(text)
    except MemcalcError:
        return None


@pytest.mark.slow
def test_the_page_knows_the_names_that_memcalc_knows(page):
    texts = [
        "-",
        "_",
        *misspelled([*catalogue(), *aliases()], 600, 1),
        *TYPED,
        *TAKEN,
        *catalogue(),
        *aliases(),
    ]
    texts = [
        text for text in dict.fromkeys(texts) if "/" not in text or text in (*catalogue(), *TYPED)
    ]  # no Hub
    for text, found in zip(texts, page.says(TRIED, texts), strict=True):
        right = in_python(source, text)
        expected = right and {"name": right.name, "defaults": list(right.defaults)}
        assert found["model"] == expected, text
        assert found["words"] == containing(text), text


def test_the_page_knows_the_machines_that_memcalc_knows(page):
    known = [
        *devices(),
        *servers(),
        *(name for one in devices().values() for name in (*one.aliases, *one.taken_for, one.name)),
    ]
    texts = [
        text for text in dict.fromkeys([*misspelled(known, 800, 2), *known, "RTX 4090", "h100 80g"]) if text
    ]
    answered = 0
    for text, each in zip(texts, page.says(TRIED, texts), strict=True):
        found, right = each["machine"], in_python(machine, text)
        if found is None:  # left to memcalc
            continue
        answered += 1
        if right is None:
            assert "unknown" in found, text
        else:
            named, gib = right.device.id, right.device.capacity_bytes // 2**30
            device = named if named in devices() else f"{gib}GiB"  # of a size alone
            defaults = list(right.defaults)
            assert found == {"count": right.count, "device": device, "named": named, "defaults": defaults}, (
                text
            )
    assert answered > 0.9 * len(texts)


def complaint(words):
    """The line of a shell's standard error."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        main(words)
    return said.getvalue().rstrip("\n")


@pytest.mark.slow
def test_the_page_refuses_in_the_words_of_a_shell(page):
    draw = random.Random(3)
    models = [
        *misspelled(catalogue(), 250, 4),
        "qwen3-8b",
        "qwen3-8b",
        "",
        "nobody",
        "llama",
        "qwen3-32b-default",
    ]
    machines = [
        *misspelled([*devices()], 250, 5),
        "",
        "",
        "rtx-4090",
        "foo",
        "rtx 4099",
        "a100",
        "gtx 1080 ti",
        "gaudy 3",
    ]
    machines += ["rtx 4090 laptop", "4090,3090", "dgx h100", "7900 xtx"]
    numbers = [
        "8192",
        "32k",
        "1M",
        "8_192",
        "32,768",
        "3,2768",
        "0,512",
        "",
        "abc",
        "0",
        "-5",
        "1.5",
        "1e3",
        "8k5",
        "it's",
        "9" * 20,
        "k",
        "_1",
    ]
    asked = [
        (
            draw.choice(models),
            draw.choice(numbers),
            draw.choice(["", "4", "0", "x", "4k"]),
            draw.choice(machines),
        )
        for _ in range(500)
    ]
    given = [(model, [("--context", context), ("--batch", batch)], on) for model, context, batch, on in asked]
    left = 0
    for (model, context, batch, on), found in zip(asked, page.says(REFUSED, given), strict=True):
        if found is None:
            left += 1
            continue
        options = [("--context", context), ("--batch", batch), ("--on", on)]
        words = [word for flag, text in options if text for word in (f"{flag}={text}",)]
        right = complaint(["serve", *([model] if model else []), *words])
        if found or "SOURCE" in right or "--context" in right or "--batch" in right:
            assert found == right, (model, context, batch, on)
    assert left < 0.2 * len(asked)
