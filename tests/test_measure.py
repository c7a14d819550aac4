"""`memcalc measure train`: what is refused, shown and recorded; the step itself is an oracle."""

from __future__ import annotations

import importlib.util
import json

import pytest
from jsonschema import Draft202012Validator

from memcalc.__main__ import main
from memcalc.cli.measure import fields
from memcalc.cli.schema import schema
from memcalc.data.units import amount
from memcalc.errors import BadInputError
from memcalc.evidence.measure import measurement
from memcalc.evidence.measure.measurement import Measurement, Moment, by_moment, measure
from memcalc.evidence.measure.plan import run_fields
from memcalc.evidence.measure.row import rows
from memcalc.evidence.training import CHECKS, observation
from memcalc.training.asked import estimate
from memcalc.training.options import TrainingOptions

SMALL = "Qwen/Qwen3-0.6B"
USUAL = {"seq": 256, "regime": "amp"}


def planned(**options):
    return estimate(SMALL, TrainingOptions(**{**USUAL, **options}))


@pytest.fixture
def found():
    """A step as a GPU would have taken it."""
    step = planned(lora_rank=8, lora_targets=("q_proj", "v_proj"))
    moments = tuple(
        Moment(at, amount(10**9 + number), amount(10**9)) for number, at in enumerate(step.moments)
    )
    versions = {"torch": "2.13.0", "transformers": "5.23.0", "peft": "0.21.2"}
    return Measurement(step, "NVIDIA H200", versions, 3, "2026-12-01", moments, amount(2 * 10**9))


def test_without_torch_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["measure", "train", SMALL, "--seq", "64", "--regime", "amp"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("memcalc: error: measure: expected torch, transformers, peft, given 'no torch, ")
    assert "pip install 'llm-memcalc[measure]'" in said


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"regime": "bf16-mixed"}, "--regime"),
        ({"world": 2}, "--world"),
        ({"world": 2, "shard": 3}, "--world"),
        ({"accumulate": 2}, "--accumulate"),
        (
            {"recompute": "selective", "implementation": "megatron", "regime": "bf16-mixed"},
            "--implementation",
        ),
        ({"optimizer": "lion"}, "--optimizer"),
        ({"loss": "liger"}, "--loss"),
        ({"trainable": ("self_attn",)}, "--trainable"),
        ({"lora_rank": 8, "quantize_base": "nf4"}, "--quantize-base"),
        ({"offload": ("optimizer",)}, "--offload"),
        ({"compile": True}, "--compile"),
        ({"engine_version": "4.49"}, "--engine-version"),
        ({"method": "dpo"}, "--method"),
        ({"dropout": 0.1}, "--dropout"),
    ],
)
def test_what_one_device_does_not_take_is_refused_by_name(options, flag):
    with pytest.raises(BadInputError, match=f"^{flag}: expected .*to measure one device"):
        run_fields(planned(**options))


def test_what_the_model_drops_is_the_configs():
    """The model is built from the config: another dropout beside it would not be what runs."""
    asked = {"seq": 64, "regime": "pure-bf16", "attention": "eager"}
    for share in (None, 0.1):
        run_fields(estimate("openai-community/gpt2", TrainingOptions(**asked, dropout=share)))
    with pytest.raises(BadInputError, match=r"--dropout: expected 0.1, as the config has it"):
        run_fields(estimate("openai-community/gpt2", TrainingOptions(**asked, dropout=0)))
    assert run_fields(planned(dropout=0)) == run_fields(planned())


def test_a_plan_becomes_a_run():
    usual = {"batch": 1, "sequence": 256, "keep_gradients": False, "hold_logits": False}
    usual |= {"experts": "grouped_mm", "attention": "flash"}
    assert run_fields(planned()) == usual | {
        "weights": "fp32",
        "autocast": True,
        "recompute": False,
        "optimizer": "adamw fused",
        "trained": "all",
    }
    lora = planned(regime=None, lora_rank=4, lora_targets=("q_proj",), dropout=0.1, attention="sdpa")
    assert run_fields(lora) == usual | {
        "weights": "bf16",
        "autocast": True,
        "recompute": True,
        "attention": "repeated",
        "optimizer": "adamw fused",
        "trained": "lora 4 q_proj fp32 dropout=0.1",
    }


def test_what_lies_beside_the_step_changes_no_run():
    beside = planned(load="device", save="weights", evaluate="loss", eval_batch=2)
    assert run_fields(beside) == run_fields(planned())


def test_marks_of_a_step_are_the_moments_of_a_plan():
    names = ("forward_end", "loss", "backward", "backward_end", "step")
    order = ("forward", "loss backward", "head backward", "layers backward", "backward", "step")
    marks = {name: {"held": number, "peak": 10 * number} for number, name in enumerate(order, 1)}
    expected = {"forward_end": 1, "loss": 20, "backward": 40, "backward_end": 50, "step": 60}
    assert by_moment(marks, names) == expected
    capped = {**marks, "capped backward": {"held": 0, "peak": 15}, "loss backward": {"held": 0, "peak": 45}}
    assert by_moment(capped, names) == expected | {"loss": 15, "backward": 45}
    frozen = {name: at for name, at in marks.items() if name != "layers backward"}
    assert by_moment(frozen, names) == {"forward_end": 1, "loss": 20, "backward": 50, "step": 60}


def test_its_rows_are_those_of_the_record(found):
    """Each loads once its source is filled in, and not before."""
    allocated, reserved = rows(found)
    assert allocated["value_bytes"] == 10**9 + 4
    assert reserved["value_bytes"] == 2 * 10**9
    assert allocated["source"] == "?"
    assert not CHECKS["source"](observation(**allocated))
    for row in (allocated, reserved):
        loaded = observation(**{**row, "source": "https://example.org/log"})
        assert all(check(loaded) for check in CHECKS.values())
        assert loaded.plan["lora_targets"] == ("q_proj", "v_proj")
        assert "seed 3" in loaded.note
        assert loaded.printed_to == 1


def test_what_was_measured_is_shown_and_written(found, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(measurement, "measure", lambda step, seed: found)
    path = tmp_path / "rows.json"
    words = ["measure", "train", SMALL, "--seq", "256", "--regime", "amp", "--write", str(path)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "one step on NVIDIA H200" in said
    assert "torch 2.13.0, transformers 5.23.0, peft 0.21.2; seed 3, 2026-12-01" in said
    assert json.loads(path.read_text(encoding="utf-8")) == rows(found)
    assert main([*words[:-1], str(tmp_path / "no" / "rows.json")]) == 2
    assert "--write: expected a file that can be written" in capsys.readouterr().err


def test_its_json_keeps_to_its_schema(found):
    said = json.loads(json.dumps(fields(found)))
    assert not list(Draft202012Validator(schema("measure")).iter_errors(said))
    assert [one["difference"] for one in said["moments"]] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["measure"], "plan: expected a command: train"),
        (["measure", "serve", SMALL], "given 'serve'; write for example `memcalc measure train Qwen"),
        (["measure", SMALL], f"write for example `memcalc measure train {SMALL} --seq 1024"),
        *(
            (
                ["measure", "train", SMALL, "--seq", "64", "--on", "h100-80g", flag],
                f"{flag}: expected one step",
            )
            for flag in ("--check", "--max-seq", "--max-batch", "--fewest-devices")
        ),
        (["measure", "train", SMALL, "--seq", "64", "--seed", "x"], "--seed: expected a whole number"),
        (
            ["measure", "train", SMALL, "--seq", "64", "--seed", "9" * 5000],
            "--seed: expected a whole number from 0",
        ),
        (
            ["measure", "train", SMALL, "--seq", "64", "--seed", str(2**64)],
            "to 18446744073709551615 (2^64 - 1)",
        ),
        (["measure", "train", SMALL], "--seq"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(words, error, capsys):
    assert main(words) == 2
    said = capsys.readouterr().err
    assert error in said
    assert said.count("\n") == 1


def test_its_help_has_the_options_of_the_plan_and_its_own(capsys):
    assert main(["measure", "train", "--help"]) == 0
    said = capsys.readouterr().out
    assert {"--seq", "--write", "--seed", "--lora-rank"} <= set(said.split())
    assert not {"--check", "--max-seq", "--max-batch", "--fewest-devices"} & set(said.split())


def test_nothing_is_measured_of_what_was_not_predicted():
    with pytest.raises(BadInputError, match="--world"):
        measure(planned(world=2))
