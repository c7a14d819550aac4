"""The record of training is what torch says now: a part of it, for all of it takes minutes (`make record`).

tests/test_recorded_training.py holds memcalc against the whole record.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import train
import train_cases as cases
import train_ranks
import train_states
from train import Run

from memcalc.files.catalogue import record
from memcalc.training.adapters import FOLDED_BY_PEFT

RECORD = json.loads(
    (Path(__file__).resolve().parents[1] / "recorded" / "training.json").read_text(encoding="utf-8")
)
SAID = RECORD["models"]
SAVED = {cases.name_of(*case): case for case in cases.saved_runs()}
# One run in six, and each family as it is; the order of the runs mixes what is trained, how, and in what.
ADAPTED = {cases.name_of(*case): case for number, case in enumerate(cases.adapted_steps()) if number % 4 == 3}
QUICK = [name for number, name in enumerate(SAVED) if number % 6 == 0 or name in cases.FAMILIES]


def plain(value):
    """What JSON makes of it."""
    return json.loads(json.dumps(value))


def test_the_versions_are_those_of_the_record():
    """CPU and CUDA builds agree."""
    recorded = {name: said.partition("+")[0] for name, said in RECORD["versions"].items()}
    assert {name: said.partition("+")[0] for name, said in cases.VERSIONS.items()}.items() <= recorded.items()


def test_everything_asked_is_recorded():
    """No more and no less."""
    assert set(SAID["saved"]) == set(SAVED)
    assert set(SAID["steps"]) == {f"{family} {seed}" for family in cases.DRAWN for seed in cases.SEEDS}
    published = {f"{name}, {kind}" for name in cases.PUBLISHED for kind in cases.PUBLISHED_RUNS}
    assert set(SAID["published"]) == published
    assert set(SAID["adapted"]) == {cases.name_of(*case) for case in cases.adapted_steps()}


@pytest.mark.parametrize("name", QUICK)
def test_autograd_keeps_what_is_recorded(name):
    """Module, shape, dtype, bytes."""
    assert plain(cases.saved(*SAVED[name])) == SAID["saved"][name]


@pytest.mark.parametrize("family", cases.DRAWN)
@pytest.mark.parametrize("seed", [0, pytest.param(3, marks=pytest.mark.full)])
def test_a_drawn_step_is_what_is_recorded(family, seed):
    """Every moment, at the depth that is cheapest."""
    fields, run = cases.drawn_config(family, seed), cases.drawn_run(family, seed)
    said = SAID["steps"][f"{family} {seed}"]
    assert plain([fields, run.__dict__]) == [said["config"], said["run"]]
    assert plain(train.moments(cases.with_depth(fields, 2), run)) == said["2"]


@pytest.mark.parametrize("name", ADAPTED)
def test_a_step_of_some_weights_is_what_is_recorded(name):
    """Adapters, or parts of the model alone."""
    family, run = ADAPTED[name]
    fields, said = cases.FAMILIES[family], SAID["adapted"][name]
    assert plain([fields, run.__dict__]) == [said["config"], said["run"]]
    assert plain(train.moments(cases.with_depth(fields, 2), run)) == said["2"]


@pytest.mark.parametrize("kind", ["plain", "recomputed"])
@pytest.mark.parametrize("name", ["Llama-3-8B", "Qwen3-0.6B"])
def test_full_depth_follows_from_two_layers_and_three(name, kind):
    """What one more layer adds is added as often as there are layers more: the record ran all of them."""
    fields = record(cases.PUBLISHED[name]).fields
    run, said = cases.PUBLISHED_RUNS[kind], SAID["published"][f"{name}, {kind}"]["moments"]
    two, three = (train.moments(cases.with_depth(fields, depth), run) for depth in (2, 3))
    more = fields["num_hidden_layers"] - 2
    assert list(said) == list(two) == list(three)
    for moment in said:
        for full, less, least in zip(said[moment], three[moment], two[moment], strict=True):
            assert full == least + more * (less - least), moment


@pytest.mark.parametrize(
    ("autocast", "kept", "peak"),
    [(True, 1_783_955_480, 23_654_769_256), (False, 2_420_703_256, 26_202_153_576)],
)
def test_adapters_of_an_8b_model_with_and_without_autocast(autocast, kept, peak):
    """The figures of tests/test_lora.py, less ids and AdamW's counters."""
    fields = record(cases.PUBLISHED["Llama-3-8B"]).fields
    lora = {"trained": "lora 16 all-linear fp32", "optimizer": "adamw fused"}
    run = Run(batch=2, sequence=4096, autocast=autocast, **lora)
    assert sum(held for *_, held in train.saved(cases.with_depth(fields, 3), run)["layer"]) == kept
    most = max(most for _, most in train.moments(cases.with_depth(fields, 4), run).values())
    assert most - 8 * 2 * 4096 - 4 * 2 * 7 * 4 == peak


@pytest.mark.parametrize(
    ("name", "numbers"), [("Qwen/Qwen3-30B-A3B", 498_253_824), ("mistralai/Mixtral-8x7B-v0.1", 179_832_832)]
)
def test_peft_adapts_experts_and_router(name, numbers):
    """The figures of tests/test_lora.py."""
    assert train_states.lora_parameters(record(name).fields, 8, "all-linear")["parameters"] == numbers


def test_peft_folds_adapters_into_the_experts_of_these_types():
    """Types whose names of experts and router PEFT takes for stacked arrays."""
    from peft.utils import transformers_weight_conversion as conversion

    patterns = conversion._MODEL_TO_CONVERSION_PATTERN
    folded = {name for name, kind in patterns.items() if kind in conversion._MOE_TARGET_MODULE_MAPPING}
    assert {name for name in folded if name.islower()} == FOLDED_BY_PEFT


@pytest.mark.parametrize("name", train_states.OPTIMIZERS)
@pytest.mark.parametrize("dtype", train.DTYPES)
def test_optimizers_hold_what_is_recorded(name, dtype):
    """State by state, for every shape; where they lie, and which are one for all."""
    assert plain(cases.optimizer(name, dtype)) == SAID["optimizers"][f"{name}, {dtype}"]


def test_two_ranks_hold_what_is_recorded():
    """DDP, ZeRO-1, FSDP2 and tensor parallel; four ranks stand in the record alone."""
    said = {
        f"{way}, 2 ranks": {str(rank): held for rank, held in enumerate(by_rank)}
        for way, by_rank in train_ranks.by_way(2).items()
    }
    assert plain(said) == {name: held for name, held in SAID["ranks"].items() if name.endswith("2 ranks")}


@pytest.mark.parametrize(
    "run", [Run(batch=2, weights="fp32"), Run(batch=2, trained="lora 8 all-linear fp32")]
)
def test_what_accelerate_does_to_the_outputs_raises_no_peak(monkeypatch, run):
    """Trainer's logits are made 32 bits wide: 10 bytes each until the loss is returned, and backward 12.

    accelerate 1.15, Accelerator.prepare_model; who keeps the output keeps 4 bytes a logit.
    """
    from accelerate.utils import convert_outputs_to_fp32

    run, build = replace(run, sequence=257, autocast=True, recompute=True), train.build

    def prepared(fields, run):
        model = build(fields, run)
        model.forward = convert_outputs_to_fp32(torch.autocast("cpu", dtype=torch.bfloat16)(model.forward))
        return model

    plain, kept = train.moments(cases.FAMILIES["llama"], run), replace(run, hold_logits=True)
    monkeypatch.setattr(train, "build", prepared)
    wide, held = (train.moments(cases.FAMILIES["llama"], one) for one in (run, kept))
    assert max(peak for _, peak in wide.values()) == max(peak for _, peak in plain.values())
    logits = run.batch * run.sequence * cases.FAMILIES["llama"]["vocab_size"]
    assert held["backward"][0] - wide["backward"][0] == 4 * logits


@pytest.mark.full
def test_fsdp_1_holds_what_reentrant_checkpoints_leave_behind():
    """With each layer that ran backwards its input stays, and a gradient as wide comes; else inputs go."""
    said = train_ranks.by_way(2, train_ranks.CHECKPOINTS)
    layers = range(train_ranks.DEPTH)
    assert said["reentrant"] == [pytest.approx([float(number) for number in layers], abs=0.02)] * 2
    assert all(held[-1] < held[0] for held in said["others"])


@pytest.mark.parametrize("targets", train_states.TARGETS)
def test_peft_trains_what_is_recorded(targets):
    """The count for Llama-3-8B."""
    fields = record(cases.ADAPTED["Llama-3-8B"]).fields
    assert train_states.lora_parameters(fields, 8, targets) == SAID["lora"][f"Llama-3-8B, rank 8, {targets}"]


def test_a_ledger_counts_each_storage_once_and_forgets_it():
    """Views are no new bytes; what is deleted is given back, and the peak remains."""
    with train.Ledger() as ledger:
        first = torch.zeros(100)
        view = first.view(10, 10)[2:]
        assert ledger.held == 400
        second = first + 1
        assert ledger.held == 800
        del first
        assert ledger.held == 800  # the view keeps it
        del view, second
        assert (ledger.held, ledger.peak) == (0, 800)


def test_what_nobody_can_train_is_refused():
    """A tied head has no parameters of its own."""
    with pytest.raises(ValueError, match="no such parameters"):
        train.build(cases.FAMILIES["qwen3"], Run(trained="head"))
