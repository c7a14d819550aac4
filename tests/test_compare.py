"""`memcalc compare`: plans side by side, and why their numbers differ."""

from __future__ import annotations

import json
import shlex

import pytest
from jsonschema import Draft202012Validator

import memcalc
from memcalc.__main__ import main
from memcalc.cli.schema import schema
from memcalc.errors import BadInputError

QWEN, SMALL = "Qwen/Qwen3-32B", "Qwen/Qwen3-0.6B"
SERVE, TRAIN = f"serve {QWEN} --context 32k", f"train {SMALL} --seq 4096"
HYBRID = 'serve deepseek-ai/DeepSeek-R1 --weights Q4_K_M --on "1x rtx-4090 + 512GiB host"'
COMPARED = [
    f"{SERVE} -- {SERVE} --kv fp8 --weights fp8-block128",
    f'{SERVE} --on "2x rtx-a6000" -- {SERVE} --on "2x rtx-a6000" --engine vllm --batch 2',
    f"{SERVE} -- serve {SMALL} --context 32k -- serve {QWEN} --context 8k",
    f"{TRAIN} -- {TRAIN} --lora-rank 8 -- {TRAIN} --recompute full -- {TRAIN} --optimizer sgd",
    f"{SERVE} -- {TRAIN}",
    f"model {QWEN} -- model {SMALL}",
    f"{HYBRID} --context 8k -- {HYBRID} --context 32k",
]


@pytest.fixture
def ask(capsys):
    """The JSON of a comparison, which keeps to its schema."""

    def ask(words):
        assert main(["compare", *shlex.split(words), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert not list(Draft202012Validator(schema("compare")).iter_errors(found))
        return found

    return ask


def causes(found, name, plan=2):
    """Why a component of a plan differs."""
    (one,) = [row for row in found["components"] if row["name"] == name]
    return one["causes"][plan - 1]


@pytest.mark.parametrize("words", COMPARED)
def test_the_numbers_are_those_of_the_plans(ask, words, capsys):
    """Components add up to the total; what differs has a cause, and nothing else has one."""
    found = ask(words)
    plans = [shlex.split(plan) for plan in words.split(" -- ")]
    assert [plan["command"] for plan in found["plans"]] == [plan[0] for plan in plans]
    for side, plan in zip(found["plans"], plans, strict=True):
        assert main([*plan, "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        if plan[0] == "model":
            assert side["total"] == answer["parameters"]
            continue
        held = [size for name, size in side["components"].items() if not name.startswith("host ")]
        assert sum(held) == side["total"]
        expected = answer["pools"][0]["total_bytes"] if plan[0] == "serve" else answer["device_bytes"]
        assert side["total"] == expected
        assert side["max_context"] == answer.get("max_context")
    for row in found["components"]:
        assert row["differences"] == [size - row["values"][0] for size in row["values"]]
        assert [bool(why) for why in row["causes"]] == [bool(size) for size in row["differences"]], row[
            "name"
        ]


@pytest.mark.parametrize("words", COMPARED)
def test_the_text_says_the_same(ask, words, capsys):
    found = ask(words)
    assert main(["compare", *shlex.split(words)]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[-1] == found["answer_text"]
    for row in found["components"]:
        for size in row["differences"]:
            assert not size or f"{size:+,}" in text
    for number in range(2, len(found["plans"]) + 1):
        assert f"plan {number} " in found["answer_text"]
    assert all(f"{plan['total']:,}" in found["answer_text"] for plan in found["plans"][1:])


def test_causes_name_the_format(ask):
    found = ask(COMPARED[0])
    assert causes(found, "weights") == ["stored as: bf16 -> bf16, fp8-block128"]
    assert causes(found, "kv_cache") == ["stored as: bf16 -> fp8", "bytes_per_element: 2 -> 1"]
    assert {row["name"]: row["values"] for row in found["options"]}["kv"] == ["bf16", "fp8"]
    assert {row["name"]: row["asked"] for row in found["options"]}["kv"] == [False, True]


def test_causes_name_the_quantity(ask):
    found = ask(COMPARED[2])
    assert causes(found, "kv_cache", 3) == ["context: 32,768 -> 8,192"]
    assert "depth: 64 -> 28" in causes(found, "weights", 2)
    assert causes(found, "weights", 3) == []


def test_causes_name_lines_of_their_own(ask):
    """Two engines: another share, and what each keeps beside the weights."""
    why = causes(ask(COMPARED[1]), "runtime")
    assert any(one.startswith("only here: CUDA graphs ") for one in why)
    assert any(one.startswith("only in plan 1: CUDA context and rounding ") for one in why)


def test_causes_name_the_moment(ask):
    found = ask(f"{TRAIN} -- {TRAIN} --optimizer-step fused --loss liger --recompute full")
    moments = [plan["at"] for plan in found["plans"]]
    assert moments[0] != moments[1]
    assert f"fullest at: {moments[0]} -> {moments[1]}" in causes(found, "activations")


def test_serving_and_training_are_told_apart(ask):
    found = ask(COMPARED[4])
    assert causes(found, "optimizer") == ["only `train` has it"]
    assert causes(found, "kv_cache") == ["only `serve` has it"]
    assert any("only those that both have" in one for one in found["remarks"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "two or more, parted by --"),
        (SERVE, "two or more, parted by --"),
        (f"{SERVE} -- serve {QWEN}", "plan 2: --context"),
        (f"serve nothing-of-this-name --context 8k -- {SERVE}", "plan 1: "),
        (f"{SERVE} -- {QWEN}", "plan 2: plan: expected a command first"),
        (f"{SERVE} -- model {QWEN}", "plan 2: expected a plan of serve or train"),
        (f"{SERVE} -- --json", "plan 2: "),
        (f"model {QWEN} -- model {SMALL} --engine vllm", "plan 2: --engine"),
        (f"{SERVE} -- which {QWEN} --context 8k", "plan 2: plan: expected a command first"),
        (f"{SERVE} -- {TRAIN} --micro-batch 0", "plan 2: --micro-batch"),
    ],
)
def test_a_refusal_says_which_plan(words, said, capsys):
    assert main(["compare", *shlex.split(words)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("memcalc: error: ")
    assert err.count("\n") == 1
    assert said in err


def test_the_exit_status_is_that_of_a_plan_that_is_checked(capsys):
    fits, does_not = (f'{SERVE} --check --on "{on}"' for on in ("2x h100-80g", "1x rtx-4090"))
    assert main(["compare", *shlex.split(f"{fits} -- {does_not}")]) == 1
    assert "does not fit" in capsys.readouterr().out
    assert main(["compare", *shlex.split(f"{fits} -- {fits}")]) == 0
    assert "as much as plan 1" in capsys.readouterr().out


def test_python_says_the_same(ask):
    plans = [memcalc.serve(QWEN, context="32k"), memcalc.serve(SMALL, context="32k")]
    found = memcalc.compare(*plans, memcalc.serve(QWEN, context="8k"))
    assert found.last_line == ask(COMPARED[2])["answer_text"]
    assert repr(found).count("\n") < 12
    page = found._repr_html_()
    assert found.last_line in page
    assert page.count("<details>") == page.count("</details>") == 1


def test_what_is_no_answer_is_refused():
    one = memcalc.serve(QWEN, context=8192)
    with pytest.raises(BadInputError, match="two plans or more"):
        memcalc.compare(one)
    with pytest.raises(BadInputError, match=r"memcalc\.serve"):
        memcalc.compare(one, "Qwen/Qwen3-32B")
    with pytest.raises(BadInputError, match="plan 2"):
        memcalc.compare(one, memcalc.model(QWEN))


def test_models_side_by_side(ask):
    found = ask(COMPARED[5])
    assert causes(found, "embedding parameters") == ["width: 5,120 -> 1,024"]
    assert causes(found, "bytes per token") == ["depth: 64 -> 28"]
    assert found["plans"][0]["unit"] == "parameters"
