"""`memcalc compare`: plans side by side, and why their numbers differ."""

from __future__ import annotations

import json
import re
import shlex

import pytest
from jsonschema import Draft202012Validator

import memcalc
from memcalc.__main__ import main
from memcalc.cli.schema import schema
from memcalc.errors import BadInputError
from memcalc.files.catalogue import record

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
    stored = "stored as: bf16 -> fp8-block128"
    assert causes(found, "weights") == ["weights: bf16 -> fp8-block128", stored]
    made = ["kv: bf16 -> fp8", "stored as: bf16 -> fp8", "bytes_per_element: 2 -> 1"]
    assert causes(found, "kv_cache") == made
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
    assert any(one.startswith("only in plan 2: CUDA graphs ") for one in why)
    assert any(one.startswith("only in plan 1: CUDA context and rounding ") for one in why)


def test_causes_name_the_moment(ask):
    found = ask(f"{TRAIN} -- {TRAIN} --optimizer-step foreach --loss liger --recompute full")
    moments = [plan["at"] for plan in found["plans"]]
    assert moments[0] != moments[1]
    said = f"plan 1 is fullest at {moments[0]}, plan 2 at {moments[1]} (no option alone does that)"
    assert found["moments"] == [said]
    assert causes(found, "activations") == [f"at {moments[1]} plan 1 holds none, too"]
    there = memcalc.train(SMALL, seq=4096).at(moments[1])
    assert causes(found, "temporaries")[0] == f"at {moments[1]} plan 1 holds {there['temporaries']:,d}"


def test_serving_and_training_are_told_apart(ask):
    found = ask(COMPARED[4])
    assert causes(found, "optimizer") == ["`serve` has none; only `train` has it"]
    assert causes(found, "kv_cache") == ["`train` has none; only `serve` has it"]
    again = ask(f"{SERVE} -- {TRAIN} --loss liger --recompute full")
    step = memcalc.train(SMALL, seq=4096, loss="liger", recompute="full")
    assert again["plans"][1]["at"] == step.device.fullest == "step"
    most = max(step.moments, key=lambda moment: step.at(moment).get("logits", 0))
    held = step.at(most)["logits"]
    assert causes(again, "logits") == [f"`train` holds none at step, {held:,d} at {most}"]
    assert causes(found, "weights")[-1] == "only in plan 2: buffers 512"


LLAMA, MIXED = "meta-llama/Meta-Llama-3.1-8B", "Qwen/Qwen3-30B-A3B"
VLLM = f'serve {QWEN} --context 32k --engine vllm --on "2x h100-80g"'
CPP = f"serve {QWEN} --context 8k --engine llama.cpp"
KT = "serve deepseek-ai/DeepSeek-R1 --context 8k --weights Q4_K_M --engine ktransformers"
KT = f'{KT} --on "1x rtx-4090-48g + 512GiB host"'
STEP = f"train {LLAMA} --seq 4k"
MEGATRON = f"{STEP} --implementation megatron --world 16 --tp 2 --pp 4"
ONE_CHANGED = [
    (SERVE, "--batch 4", "batch"),
    (SERVE, "--prompt 1k", "prompt"),
    (SERVE, "--prefill-chunk 1024", "prefill_chunk"),
    (SERVE, "--weights nf4", "weights"),
    (SERVE, "--kv fp32", "kv"),
    (SERVE, "--task embed", "task"),
    (SERVE, "--engine sglang", "engine"),
    (SERVE, '--on "2x rtx-a6000"', "on"),
    (VLLM, "--utilization 0.8", "utilization"),
    (VLLM, "--engine-version 0.11", "engine_version"),
    (VLLM, "--pp 2", "pp"),
    (VLLM, "--draft Qwen/Qwen3-0.6B", "draft"),
    (VLLM, "--lora-slots 4", "lora_slots"),
    (VLLM, "--engine-option enforce_eager=true", "engine_option enforce_eager"),
    (VLLM, "--engine-option max_num_seqs=64", "engine_option max_num_seqs"),
    (VLLM, "--engine-option cpu_offload_gb=8", "engine_option cpu_offload_gb"),
    (CPP, "--weights q4_k_m", "weights"),
    (CPP, "--kv q8_0/q4_0", "kv"),
    (CPP, "--engine-option n_gpu_layers=20", "engine_option n_gpu_layers"),
    (KT, "--engine-option gpu_experts=2", "engine_option gpu_experts"),
    (KT, "--batch 4", "batch"),
    (STEP, "--recompute full", "recompute"),
    (STEP, "--micro-batch 2", "micro_batch"),
    (STEP, "--lora-rank 16", "lora_rank"),
    (STEP, "--optimizer sgd", "optimizer"),
    (STEP, "--optimizer-step foreach", "optimizer_step"),
    (STEP, "--regime pure-bf16", "regime"),
    (STEP, "--loss liger", "loss"),
    (STEP, "--attention eager", "attention"),
    (STEP, "--gradients fp32", "gradients"),
    (f"{STEP} --lora-rank 16", "--quantize-base nf4", "quantize_base"),
    (f"{STEP} --lora-rank 16", "--dropout 0.1", "dropout"),
    (f"{STEP} --world 8", "--shard 3", "shard"),
    (f"{STEP} --world 8 --shard 3", "--offload optimizer", "offload"),
    (MEGATRON, "--sequence-parallel", "sequence_parallel"),
    (MEGATRON, "--recompute full", "recompute"),
    (f"train {MIXED} --seq 4k", "--recompute full", "recompute"),
]


@pytest.mark.parametrize(("plan", "change", "option"), ONE_CHANGED, ids=lambda one: one[-40:])
def test_one_option_is_the_cause_of_all(ask, plan, change, option):
    """Of each number that differs: by itself, or because it makes another moment the fullest."""
    found = ask(f"{plan} -- {plan} {change}")
    differing = [row for kind in ("components", "devices", "limits") for row in found[kind]]
    differing = [row for row in differing if row["differences"][1]]
    plans = found["plans"]
    assert differing or plans[0]["verdict"] != plans[1]["verdict"] or option == "on"
    moved = any(f"({option}: " in moment for moment in found["moments"])
    for row in differing:
        first, *others = row["causes"][1]
        if first.startswith("at "):
            assert moved or row["name"].startswith("host "), row
            assert others or first.endswith(", too"), row
            first = others[0] if others else f"{option}: "
        assert first.startswith(f"{option}: "), row


TWO_CHANGED = [
    (SERVE, "--batch 4", "--kv fp32"),
    (SERVE, "--batch 4", "--context 8k"),
    (VLLM, "--pp 2", "--kv fp8"),
    (VLLM, "--engine-option max_num_seqs=64", "--engine-option max_num_batched_tokens=4096"),
    (CPP, "--weights q4_k_m", "--context 32k"),
    (STEP, "--world 8", "--shard 3"),
    (STEP, "--recompute full", "--micro-batch 2"),
    (MEGATRON, "--tp 4", "--pp 2"),
]
PART = re.compile(r"(?:: | other |^)([+-][\d,]+)(?: only)?(?: from .* and .* together)?$")


@pytest.mark.parametrize(("plan", "one", "other"), TWO_CHANGED, ids=lambda one: one[-40:])
def test_parts_of_two_options_add_up(ask, plan, one, other):
    """What each makes alone, measured on plans of its own, and what only both make together."""
    both, *alone = (ask(f"{plan} -- {plan} {change}") for change in (f"{one} {other}", one, other))
    for row in both["components"]:
        size, why = row["differences"][1], row["causes"][1]
        parts = [int(found[1].replace(",", "")) for found in map(PART.search, why) if found]
        if not parts or why[0].startswith("at "):
            continue
        assert sum(parts) == size, row
        made = [found for each in alone for found in each["components"] if found["name"] == row["name"]]
        effects = [found["differences"][1] for found in made]
        if all(each["plans"][1]["at"] == both["plans"][1]["at"] for each in alone):
            named = [part for text, part in zip(why, parts, strict=False) if "together" not in text]
            assert sorted(named) == sorted(effect for effect in effects if effect), row


def test_an_engine_comes_with_its_version_and_its_options(ask):
    """A release of vLLM is none of SGLang's: neither is asked for with the other."""
    plan = f"serve {QWEN} --context 8k --engine"
    options = "--engine-option max_num_seqs=64"
    found = ask(f"{plan} vllm --engine-version 0.11 {options} -- {plan} sglang --engine-version 0.4.8")
    for row in found["components"]:
        if row["differences"][1]:
            assert row["causes"][1][0] == "engine: vllm 0.11 -> sglang 0.4.8", row
    two = ask(f"{plan} vllm {options} -- {plan} sglang --kv fp8")
    assert causes(two, "kv_cache")[0] == "kv: bf16 -> fp8"
    assert causes(two, "runtime")[0] == "engine: vllm -> sglang"


def test_what_cancels_out_is_said(ask):
    """Twice the sequences at half the width of a number."""
    found = ask(f"{VLLM} -- {VLLM} --kv fp8 --batch 2")
    assert [row["differences"] for row in found["components"] if row["name"] == "kv_cache"] == [[0, 0]]
    why = causes(found, "kv_cache")
    assert [text.split(" alone")[0] for text in why[:2]] == ["batch: 1 -> 2", "kv: bf16 -> fp8"]
    assert why[2].endswith(" from batch and kv together")


def test_what_cannot_be_had_alone_is_no_cause_alone(ask):
    """Quantised weights want adapters: alone they are refused, and nothing is guessed of them."""
    found = ask(f"{STEP} -- {STEP} --lora-rank 16 --quantize-base nf4")
    first, second, *_ = causes(found, "weights")
    assert first.startswith("lora_rank: none -> 16 alone: +")
    assert second.startswith("the other -")
    assert second.endswith(" from lora_rank and quantize_base together")


def test_each_of_unequal_devices_is_shown(ask):
    plan = 'serve Qwen/Qwen3-14B --engine llama.cpp --on "b200 + rtx-3060-12g" --context'
    found = ask(f"{plan} 32k -- {plan} 8k")
    served = [
        memcalc.serve("Qwen/Qwen3-14B", context=tokens, engine="llama.cpp", on="b200 + rtx-3060-12g")
        for tokens in (32_768, 8192)
    ]
    assert [row["name"] for row in found["devices"]] == ["total on b200", "total on rtx-3060-12g"]
    for place, row in enumerate(found["devices"]):
        assert row["values"] == [one.devices[place].total_bytes for one in served]
        less = (
            served[1].devices[place].components["kv_cache"] - served[0].devices[place].components["kv_cache"]
        )
        assert row["causes"][1] == ["context: 32,768 -> 8,192", f"kv_cache {int(less):+,d}"]
    other = ask(f"{plan} 8k -- {plan.replace('b200', 'rtx-4090')} 8k")
    assert {row["name"]: row["causes"][1] for row in other["devices"]}["total on b200"] == [
        "only plan 1 has it"
    ]


def test_own_configs_differ_in_a_quantity(ask, tmp_path):
    """Two configs, a field changed: its quantity is the cause."""
    fields = record(SMALL).fields
    for name, heads in (("one", 8), ("other", 4)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({**fields, "num_key_value_heads": heads}))
    one, other = (str(tmp_path / name) for name in ("one", "other"))
    found = ask(f"serve {one} --context 8k -- serve {other} --context 8k")
    assert [why[1:] for why in (causes(found, "weights"), causes(found, "kv_cache"))] == [
        ["kv_heads: 8 -> 4"]
    ] * 2
    assert causes(found, "weights")[0].startswith("model: ")
    assert causes(ask(f"model {one} -- model {other}"), "parameters") == ["kv_heads: 8 -> 4"]


def test_a_model_is_what_is_counted_and_no_more(ask):
    """Prediction layers and towers are no parameters, and no cause of them."""
    found = ask(f"model {QWEN} -- model deepseek-ai/DeepSeek-V3")
    for name in ("parameters", "active parameters"):
        assert not any("eh_proj" in why or "rows" in why for why in causes(found, name))
    window = ask(f"model google/gemma-3-27b-it -- model {QWEN}")
    assert causes(window, "bytes per token in window") == ["cache: 507,904 -> 262,144 (kv_heads: 16 -> 8)"]


def test_an_option_that_follows_was_not_asked_for(ask):
    found = ask(f"{VLLM} -- {VLLM} --engine-option max_num_seqs=64")
    asked = {row["name"]: row["asked"] for row in found["options"]}
    assert asked["engine_option max_num_seqs"] == [False, True]
    assert asked["engine_option max_cudagraph_capture_size"] == [False, False]


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


ONE_LARGE = f'serve {QWEN} --context 32k --on "1x h100-80g" --engine vllm'


def test_the_last_line_says_of_how_many_devices_it_speaks(ask):
    found = ask(f"{ONE_LARGE} -- {ONE_LARGE.replace('1x h100-80g', '2x rtx-a6000')}")
    one, two = (plan["total"] for plan in found["plans"])
    assert found["answer_text"] == (
        f"plan 2 holds {two:,} bytes on its fullest device, {one - two:,} bytes less than plan 1; "
        f"all devices together: plan 1 {one:,} bytes on 1, plan 2 at most {2 * two:,} bytes on 2"
    )
    alike = ask(f"{ONE_LARGE} -- {ONE_LARGE} --kv fp8")["answer_text"]
    assert "device" not in alike
    both = ask(f"{VLLM} -- {VLLM} --kv fp8")["answer_text"]
    assert " on its fullest device, " in both
    assert "together" not in both


def test_unequal_devices_are_compared_by_name(ask):
    """An equal plan's device corresponds to that of its name; which one the components are of is said."""
    plan = "serve Qwen/Qwen3-14B --context 32k --on"
    found = ask(f'{plan} "2x rtx-a6000" -- {plan} "1x rtx-a6000 + 1x rtx-4090"')
    rows = {row["name"]: row for row in found["devices"]}
    equal = memcalc.serve("Qwen/Qwen3-14B", context=32_768, on="2x rtx-a6000")
    large, small = memcalc.serve("Qwen/Qwen3-14B", context=32_768, on="1x rtx-a6000 + 1x rtx-4090").devices
    assert rows["total on rtx-a6000"]["values"] == [equal.device.total_bytes, large.total_bytes]
    assert rows["total on rtx-4090"]["values"] == [0, small.total_bytes]
    (shown,) = found["moments"]
    assert shown == (
        "plan 1 is shown at prefill on rtx-a6000, plan 2 at prefill on rtx-4090: "
        "of unequal devices the one with the least room"
    )
    difference = equal.device.total_bytes - small.total_bytes
    assert found["answer_text"] == (
        f"plan 2 holds {small.total_bytes:,d} bytes on rtx-4090, "
        f"{difference:,d} bytes less than plan 1 on rtx-a6000"
    )
