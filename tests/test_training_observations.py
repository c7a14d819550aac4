"""The record of training runs: every figure that was read is a row, or is left out with its reason."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from memcalc.evidence.records import GRADES, ROLES, entry
from memcalc.evidence.training import (
    CHECKS,
    MODEL_CHECKS,
    OPTIONS,
    TRAINING_QUANTITIES,
    TRAINING_REASONS,
    TrainedModel,
    TrainingObservation,
    trained_models,
    training_left_out,
    training_observations,
)
from memcalc.files.api import model as load_model
from memcalc.files.catalogue import catalogue
from memcalc.files.machines import machine
from memcalc.training.zero import states

if TYPE_CHECKING:
    from pathlib import Path

RUNS, TABLES = 1119, 406  # figures that were read: of runs, and of tables, formulas and estimates
PUBLISHED = {  # parameters, as the model cards' headers count them
    "meta-llama/Llama-2-70b-hf": 68_976_648_192,
    "meta-llama/Llama-3.2-3B": 3_212_749_824,
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "meta-llama/Meta-Llama-3.1-405B": 405_853_388_800,
    "Qwen-1.8B, as Qwen2": 1_836_828_672,
    "Qwen-7B, as Qwen2": 7_721_324_544,
    "Qwen-14B, as Qwen2": 14_167_290_880,
    "Qwen-72B, as Qwen2": 72_287_920_128,
    "Yi-6B": 6_061_035_520,
    "Yi-34B": 34_388_917_248,
    "Qwen2.5-14B": 14_770_033_664,
}
ROWS = training_observations()
MODELS = trained_models()


def test_every_figure_that_was_read_is_a_row_or_left_out():
    assert len(ROWS) + sum(one.rows for one in training_left_out()) == RUNS + TABLES


def test_every_row_has_its_own_name_and_says_what_it_is():
    assert len({row.id for row in ROWS}) == len(ROWS)
    assert {row.role for row in ROWS} == set(ROLES)
    assert {row.grade for row in ROWS} == set(GRADES)
    assert {row.quantity for row in ROWS} <= set(TRAINING_QUANTITIES)


def test_no_figure_is_both_calibration_and_test():
    """The same reading of the same run must not set a constant under one name and test it under another."""
    roles: dict[tuple[object, ...], set[str]] = {}
    for row in ROWS:
        reading = (row.source, row.model, row.quantity, row.value_bytes, json.dumps(row.plan, sort_keys=True))
        roles.setdefault(reading, set()).add(row.role)
    assert all(len(found) == 1 for found in roles.values())


def test_constants_are_set_by_readings_after_a_step_and_by_few_others():
    """What is left after a step sets the workspaces of Megatron on each device; its peaks test them.

    The others set what the A100's libraries take, what a device adds, what a compiler may save, and what the
    allocator takes where lengths vary.
    """
    calibration = [row for row in ROWS if row.role == "calibration"]
    after = [row for row in calibration if row.quantity == "allocated_after_step"]
    assert {row.family for row in after} == {"megatron dense", "megatron mla", "megatron moe"}
    varying = [row for row in calibration if row.plan.get("lengths") == "varying"]
    assert {row.family for row in varying} == {"ms-swift varying", "torchtune varying"}
    assert len(calibration) - len(after) - len(varying) <= 6
    assert len(calibration) <= len(ROWS) // 3
    others = {row.family for row in calibration if row not in after and row not in varying}
    assert others == {"b200 dense", "fms full", "fms qlora", "torchtune"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_row_can_be_asked_for(row):
    """Its model is known, its options are those of the command, its devices are in the record of machines."""
    assert row.plan.keys() <= OPTIONS
    assert row.model in MODELS or row.model in catalogue()
    assert "seq" in row.plan or row.quantity == "states"
    if "on" in row.plan:
        assert machine(row.plan["on"]).count == row.plan["world"]
    parallel = row.plan.get("tp", 1) * row.plan.get("pp", 1) * row.plan.get("cp", 1)
    assert row.plan["world"] % parallel == 0
    assert (row.plan.get("pp", 1) > 1) == ("rank" in row.plan)


@pytest.mark.parametrize("row", [row for row in ROWS if row.grade == "B"], ids=lambda row: row.id)
def test_what_is_assumed_is_stated(row):
    assert row.note.endswith(".")


def test_every_model_of_the_record_is_used():
    assert set(MODELS) == {row.model for row in ROWS} - set(catalogue())


def test_padded_vocabularies_are_divided_by_the_ranks():
    padded = [row for row in ROWS if row.model in MODELS and MODELS[row.model].fields]
    assert len(padded) == 150
    for row in padded:
        assert MODELS[row.model].fields["vocab_size"] % (64 * row.plan.get("tp", 1)) == 0, row.id


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_config_of_the_record_has_the_published_parameters(name, tmp_path):
    """Those of the record, and those that the catalogue has meanwhile."""
    path: Path = tmp_path / "config.json"
    if name in MODELS:
        path.write_text(json.dumps(MODELS[name].config))
    assert load_model(str(path) if name in MODELS else name).parameters == PUBLISHED[name]


def test_configs_of_the_record_are_those_checked():
    assert {name for name, model in MODELS.items() if model.config} == set(PUBLISHED) - set(catalogue())


@pytest.mark.parametrize("row", training_observations(family="zero table"), ids=lambda row: row.id)
def test_the_states_of_the_zero_paper(row):
    """Figure 1 and section 3.1, to the printed digit."""
    parameters = MODELS[row.model].parameters
    found = states(parameters, regime=row.plan["regime"], shard=row.plan["shard"], world=row.plan["world"])
    assert abs(found.total_bytes - row.value_bytes) <= row.printed_to


def test_the_peak_of_a_step_is_ten_bytes_a_parameter():
    """Weights, gradients, two moments and a copy for foreach, all in bf16; and the library's workspace."""
    parameters = load_model("mistralai/Mistral-7B-v0.1").parameters
    rows = training_observations(family="fms full", model="mistralai/Mistral-7B-v0.1")
    steps = [row for row in rows if row.quantity == "allocated" and row.plan["regime"] == "pure-bf16"]
    assert len(steps) >= 10
    for row in steps:
        assert 0 <= row.value_bytes - 10 * parameters / row.plan["world"] < 2**25


def test_fsdp_with_bf16_keeps_fp32_shards():
    """4 + 4 + 8 bytes a parameter and 4 of a copy: not the 10 that 16-bit parameters would take."""
    rows = training_observations(family="fms full", quantity="allocated")
    mixed = [row for row in rows if row.plan["regime"] == "bf16-mixed"]
    assert len(mixed) == 8
    for row in mixed:
        share = load_model(row.model).parameters / row.plan["world"]
        assert 20 <= row.value_bytes / share < 20.01


def test_what_is_left_out_is_counted_once_with_its_reason():
    entries = training_left_out()
    assert len({(one.source, one.what, one.reason) for one in entries}) == len(entries)
    assert {one.reason for one in entries} == set(TRAINING_REASONS)


@pytest.mark.parametrize(
    "broken",
    [
        {"source": "a thread"},
        {"date": ""},
        {"role": "both"},
        {"grade": "C"},
        {"quantity": "memory"},
        {"value_bytes": 1.5},
        {"plan": {}},
        {"plan": {"seq": 1, "sequence": 1}},
    ],
    ids=str,
)
def test_a_row_that_does_not_say_it_does_not_load(broken):
    with pytest.raises(TypeError, match=f"{ROWS[0].id}: .* needs its {next(iter(broken))}"):
        entry(TrainingObservation, {**ROWS[0]._asdict(), **broken}, CHECKS)


@pytest.mark.parametrize(
    "broken", [{"source": ""}, {"date": ""}, {"parameters": 1}, {"fields": None}], ids=str
)
def test_a_model_that_is_not_described_does_not_load(broken):
    model = MODELS["megatron 12x512 v50304"]
    with pytest.raises(TypeError, match="needs its"):
        entry(TrainedModel, {**model._asdict(), **broken}, MODEL_CHECKS)
