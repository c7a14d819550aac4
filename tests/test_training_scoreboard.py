"""Training predicted beside training measured: errors that must not grow, ranges that must hold."""

from __future__ import annotations

from collections import Counter
from math import ceil, floor
from statistics import median

import pytest

from memcalc.data.constants import (
    MEGATRON_WORKSPACE,
    TRAINING_COMMUNICATORS,
    TRAINING_CUDA_CONTEXT,
    TRAINING_EXPANDABLE_PERCENT,
    TRAINING_RESERVE_PERCENT,
    TRAINING_VARYING_PERCENT,
)
from memcalc.errors import BadInputError
from memcalc.evidence.predict_training import training_estimate
from memcalc.evidence.score import Score, by_family, family, predict, scoreboard
from memcalc.evidence.training import trained_models, training_observations
from memcalc.ledger.tensor import count
from memcalc.training.autograd.transformers import TRANSFORMERS
from memcalc.training.overheads import segments_of
from tests.ratchet import Limit

MIB = 2**20
ROWS = training_observations()


@pytest.fixture(scope="module")
def everything():
    """Every row of the record: with its prediction, or refused."""
    return scoreboard(ROWS)


@pytest.fixture(scope="module")
def test_rows(everything):
    """Scores of rows that set no constant."""
    return [score for score in everything[0] if score.row.role == "test"]


LIMITS = {
    # as wide as the output of one layer, which reentrant checkpoints may hold
    ("fms full", "allocated"): Limit(21, 0.0013, 0.0023, 20, 0.061),
    ("fms full", "device"): Limit(20, 2.1, 7.4, 20, 16),
    # three under FSDP, whose hooks hold gradients of inputs
    ("fms qlora", "allocated"): Limit(6, 0.02, 0.23, 6, 0.51),
    ("fms qlora", "device"): Limit(5, 4.3, 6.3, 5, 24),
    ("megatron dense", "allocated"): Limit(48, 0.45, 3.4, 44, 3.3),
    ("megatron dense", "allocated_after_step"): Limit(1, 5.4, 5.4, 0, 0.18),  # the run that set no constant
    ("megatron local", "allocated"): Limit(3, 1.2, 1.4, 0, 1.4),
    ("megatron local", "allocated_after_step"): Limit(3, 4.4, 7.3, 1, 6.0),
    ("megatron mla", "allocated"): Limit(2, 0.87, 1.2, 2, 5.0),
    ("megatron moe", "allocated"): Limit(10, 1.6, 4.0, 3, 2.1),
    ("megatron moe", "allocated_after_step"): Limit(9, 0.54, 2.9, 8, 4.9),
    ("megatron moe mla", "allocated"): Limit(1, 6.0, 6.0, 0, 0.072),
    ("megatron moe mla", "allocated_after_step"): Limit(1, 4.0, 4.0, 0, 0.65),
    ("b200 dense", "allocated"): Limit(18, 0.076, 0.14, 16, 0.14),
    ("b200 moe mla", "allocated"): Limit(3, 0.39, 0.62, 0, 0.14),
    ("peft", "allocated_after_step"): Limit(1, 5.0, 5.0, 0, 0.49),
    ("peft", "device"): Limit(3, 5.6, 6.3, 3, 25),
    ("qwen readme", "device"): Limit(27, 6.0, 16, 24, 19),  # its own code, read as Qwen2's
    ("ms-swift varying", "reserved"): Limit(22, 3.9, 25, 19, 28),
    ("ms-swift zero", "device"): Limit(1, 6.3, 6.3, 1, 31),
    ("torchtune varying", "reserved"): Limit(1, 19, 19, 1, 41),
    ("torchtitan", "reserved"): Limit(3, 0.96, 1.1, 3, 23),
    ("torchtune", "allocated"): Limit(2, 11, 19, 0, 0.068),  # the second is compiled, and in chunks
    ("litgpt lora", "allocated"): Limit(5, 4.5, 14, 0, 0.28),
    ("playbook", "states"): Limit(5, 0.0055, 0.041, 0, 0),
    ("zero table", "states"): Limit(5, 0.02, 0.89, 5, 0),  # printed to two digits
}


def test_every_family_has_a_limit(test_rows):
    assert by_family(test_rows).keys() == LIMITS.keys()


@pytest.mark.parametrize("name", LIMITS, ids=" ".join)
def test_a_familys_error_does_not_grow(test_rows, name):
    LIMITS[name].hold(by_family(test_rows)[name])


KINDS = {  # whatever the family: which rows, and their limit
    "one GPU, HF transformers": (
        lambda row: (
            row.plan["world"] == 1
            and row.family in ("fms full", "fms qlora", "fms moe qlora", "torchtune")
            and row.quantity == "allocated"
            and not row.plan.get("compile")
        ),
        Limit(13, 0.0023, 0.34, 12, 0.08),  # the worst is 0.41 % too low, but inside its range
    ),
    "FSDP2, everything recomputed": (
        lambda row: (
            row.plan.get("shard") == "fsdp"
            and row.plan.get("recompute") == "full"
            and row.quantity in ("allocated", "reserved")
            and "lora_rank" not in row.plan
        ),
        Limit(15, 0.0013, 0.94, 14, 4.6),
    ),
    "context parallel": (
        lambda row: (
            row.plan.get("cp", 1) > 1
            and row.quantity in ("allocated", "reserved")
            and "GB200" not in row.hardware
        ),
        Limit(14, 0.18, 0.89, 14, 5),
    ),
    # sequences of 1,024 tokens leave little beside workspaces, which are half as large in tests that do not
    # ask for reproducible results: no option says so yet
    "context parallel, GB200": (
        lambda row: row.plan.get("cp", 1) > 1 and row.quantity == "allocated" and "GB200" in row.hardware,
        Limit(7, 3.4, 3.7, 7, 6.9),
    ),
    "context parallel, B200": (
        lambda row: row.plan.get("cp", 1) > 1 and row.family.startswith("b200"),
        Limit(6, 0.028, 0.051, 6, 0.071),
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_kinds_of_runs(test_rows, name):
    wanted, limit = KINDS[name]
    limit.hold([score for score in test_rows if wanted(score.row)])


def test_ranges_of_whole_devices_hold_what_was_measured(test_rows):
    """What the allocator keeps and what lies beside it are measured, so that only a range can be said."""
    held = [score for score in test_rows if score.row.quantity in ("reserved", "device")]
    assert len(held) == 82
    assert {score.row.id for score in held if not score.inside} == BEYOND


BEYOND = {  # what their ranges do not hold, and nothing known explains
    "ms-swift-mistral-lora-8192",  # no other row of that table has as much beside what is derived
    "ms-swift-14b-nf4",  # bitsandbytes 0.41
    "ms-swift-72b-nf4",
    "qwen-1.8b-lora-2048",
    "qwen-1.8b-lora-4096",
    "qwen-72b-lora-256",
}


def test_ranges_of_whole_devices_are_narrow(test_rows):
    """At most a third of what was measured; more where lengths vary."""
    held = [score for score in test_rows if score.row.quantity in ("reserved", "device")]
    assert max(score.width for score in held if score.row.plan.get("lengths") != "varying") <= 0.33
    assert max(score.width for score in held) <= 0.58


def test_zeros_figure_1_is_as_printed(test_rows):
    held = [score for score in test_rows if score.row.id.startswith("zero-figure-1")]
    assert [score.row.plan["shard"] for score in held] == [0, 1, 2, 3]
    assert all(score.inside for score in held)


REFUSED = {  # what memcalc does not know yet: the field that it names, what is given, and how many rows
    ("--pp", ""): 1,  # 8 stages of 126 layers, and nobody says how many each has
    ("--engine-version", "4.48"): 8,  # experts that are layers of their own, one after the other
}


def test_every_row_is_predicted_or_refused_for_a_known_reason(everything):
    held, refused = everything
    assert len(held) + len(refused) == len(ROWS)
    found = Counter(
        (one.reason.partition(":")[0], one.reason.partition("given '")[2].partition("'")[0])
        for one in refused
    )
    assert found == REFUSED


KNOWN_TO_BE_FAR = {  # more than 8 per cent, with what is known of the cause
    "torchtune-llama-3.2-3b-packed-compile-chunkedce-actckpt",  # less than foreach's copy would take
    "litgpt-lora-llama-3.2-1b",  # litgpt has a head of its own where the model's is tied
    # without Transformer Engine: 128 MiB beside what is derived, the most of all runs on A100
    "megatron-a100-gpt3_mcore_tp1_pp1_dist_optimizer_overlap_grad_reduce_param_gather-after",
    # the device's memory of the model's own code
    *(f"qwen-1.8b-lora-{length}" for length in (256, 512, 1024, 2048, 4096)),
    *(f"qwen-72b-lora-{length}" for length in (256, 512, 1024, 2048)),
}


def test_what_is_far_off_is_known(test_rows):
    constant = [score for score in test_rows if score.row.plan.get("lengths") != "varying"]
    assert {score.row.id for score in constant if abs(score.error) > 0.08} == KNOWN_TO_BE_FAR


def workspace(score: Score) -> float:
    """MiB that a row has beside everything that is derived."""
    lines = training_estimate(score.row).device.lines
    (usual,) = (line.bytes for line in lines if line.name == "library workspaces")
    return (score.off + usual) / MIB


@pytest.mark.parametrize("generation", MEGATRON_WORKSPACE)
def test_workspaces_of_megatron_are_what_the_calibration_rows_say(everything, generation):
    """The smallest, the median and the largest reading after a step, by CUDA's generation."""
    cards = {8: "A100", 9: "H100", 10: "GB200"}
    beside = sorted(
        workspace(score)
        for score in everything[0]
        if score.row.role == "calibration"
        and score.row.quantity == "allocated_after_step"
        and score.row.family in ("megatron dense", "megatron mla")
        and score.row.hardware.endswith(f" {cards[generation]}")
    )
    assert len(beside) >= 10
    found = floor(beside[0]), round(median(beside)), ceil(beside[-1])
    assert found == tuple(size // MIB for size in MEGATRON_WORKSPACE[generation][:3])


def test_the_two_other_calibration_rows_of_megatron_lie_in_its_workspaces(everything):
    others = [
        score
        for score in everything[0]
        if score.row.role == "calibration" and score.row.family in ("megatron moe", "b200 dense")
    ]
    assert len(others) == 2
    for score in others:
        (generation,) = (9,) if "H100" in score.row.hardware else (10,)
        low, _, high = (size / MIB for size in MEGATRON_WORKSPACE[generation][:3])
        assert low <= workspace(score) <= high


def test_the_workspace_of_transformers_is_what_the_calibration_row_says(everything):
    """Two of cuBLAS, to half a MiB."""
    (score,) = (
        score
        for score in everything[0]
        if score.row.role == "calibration"
        and (score.row.family, score.row.quantity) == ("fms full", "allocated")
    )
    assert abs(workspace(score) - TRANSFORMERS.workspace("8.0").typical / MIB) < 0.5


def test_the_per_cents_of_the_allocator_are_set_by_three_rows(everything):
    """One lies as far above the sum of what is held for a while, one below; one is bound by its device."""
    setting = [
        score for score in everything[0] if score.row.role == "calibration" and score.row.quantity == "device"
    ]
    off = [100 * score.off / score.predicted.bytes for score in setting]
    assert [score.row.plan["world"] for score in setting] == [1, 2, 2]
    assert floor(off[1]) == TRAINING_RESERVE_PERCENT.high
    assert beside_everything(setting[2]) == TRAINING_RESERVE_PERCENT.low
    assert all(score.inside for score in setting)


def beside_everything(score: Score) -> int:
    """What the allocator took beyond what is held for a while and always, in per cent of that."""
    everything = segments_of(training_estimate(score.row).device).everything
    taken = score.measured - TRAINING_CUDA_CONTEXT.typical - TRAINING_COMMUNICATORS.typical
    return floor(100 * (taken - everything) / everything)


def test_segments_of_varying_lengths_are_as_rows_of_two_models_say(everything):
    """What segments that passing bytes need are as a share of these: the least, the median, the most."""
    least, most = [], []
    for score in everything[0]:
        if score.row.role == "calibration" and score.row.family == "ms-swift varying":
            held = segments_of(training_estimate(score.row).device)
            beside = score.measured - held.always - held.kept
            least.append(100 * beside / held.passing)
            most.append(100 * (beside - held.constant) / held.passing)
    assert len(least) == 33
    found = floor(min(least)), round(median(least)), ceil(max(most))
    assert found == TRAINING_VARYING_PERCENT[:3]


def test_segments_that_expand_are_as_one_run_says(everything):
    (score,) = (score for score in everything[0] if score.row.id == "torchtune-1185-expandable")
    held = segments_of(training_estimate(score.row).device)
    beside = score.measured - held.always - held.kept - held.constant
    assert ceil(100 * beside / held.passing) == TRAINING_EXPANDABLE_PERCENT.high


def test_what_is_kept_for_the_backward_pass_is_part_of_the_peak():
    """No row of the record has read it yet: the function is held against the moment."""
    (row,) = training_observations(id="torchtune-llama-3.2-3b-packed")
    kept = predict(row._replace(quantity="activations"))
    at = training_estimate(row).at("forward_end")
    assert kept.bytes == at["activations"] + at["logits"]


def test_after_the_step_nothing_of_the_step_is_left():
    """Weights, gradients and two moments; the copies that a step makes are gone."""
    (row,) = training_observations(id="fms-full-none-mistral-7b-v0.1-1gpu-8-peak")
    plan = training_estimate(row)
    assert count(plan.model.weights()) == plan.parameters
    copies = predict(row).bytes - predict(row._replace(quantity="allocated_after_step")).bytes
    assert copies == 2 * plan.parameters


def test_reserved_is_the_device_without_context_and_communicators():
    (row,) = training_observations(id="fms-full-none-mistral-7b-v0.1-2gpu-2-device")
    whole, taken = predict(row), predict(row._replace(quantity="reserved"))
    for end, beside in zip(
        (whole.low - taken.low, whole.bytes - taken.bytes, whole.high - taken.high),
        zip(TRAINING_CUDA_CONTEXT[:3], TRAINING_COMMUNICATORS[:3], strict=True),
        strict=True,
    ):
        assert end == sum(beside)


def test_states_of_another_optimizer_or_a_step_without_dimensions_are_refused():
    (row,) = training_observations(id="zero-figure-1-stage-1")
    assert trained_models()[row.model].parameters
    with pytest.raises(BadInputError, match="optimizer"):
        predict(row._replace(plan={**row.plan, "optimizer": "lion"}))
    with pytest.raises(BadInputError, match="dimensions"):
        predict(row._replace(quantity="allocated", plan={**row.plan, "seq": 1}))
    assert len(scoreboard([row._replace(quantity="allocated")])[1]) == 1


def test_nine_tenths_are_never_beyond_the_worst(everything):
    for name, held in by_family(everything[0]).items():
        found = family(*name, held)
        assert found.median_error <= found.p90_error <= abs(found.worst.error) * (1 + 1e-12)


# Families whose ranges hold less than nine tenths of what their sources say. May shrink, never grow.
NO_RANGE_TO_TRUST = {
    ("megatron dense", "allocated_after_step"),
    ("megatron local", "allocated"),
    ("megatron local", "allocated_after_step"),
    ("megatron moe", "allocated"),
    ("megatron moe", "allocated_after_step"),
    ("megatron moe mla", "allocated"),
    ("megatron moe mla", "allocated_after_step"),
    ("b200 dense", "allocated"),
    ("b200 moe mla", "allocated"),
    ("peft", "allocated_after_step"),
    ("torchtune", "allocated"),
    ("litgpt lora", "allocated"),
    ("ms-swift varying", "reserved"),
    ("qwen readme", "device"),
}


def test_ranges_hold_nine_tenths_of_what_sources_say(test_rows):
    """Each source counts once; other families are called "not predicted" on the page."""
    held = by_family(test_rows)
    assert {name for name, rows in held.items() if not family(*name, rows).is_predicted} == NO_RANGE_TO_TRUST
