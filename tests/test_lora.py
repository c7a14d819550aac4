"""A layer with adapters keeps what it kept with PEFT's: tests/recorded/training.json, every case."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memcalc.files.source import Source
from memcalc.training.api import train
from memcalc.training.layers import stream_shape

RECORD = Path(__file__).parent / "recorded" / "training.json"
SAVED = json.loads(RECORD.read_text(encoding="utf-8"))["models"]["saved"]
ADAPTED = {name: case for name, case in SAVED.items() if case["run"]["trained"].startswith("lora ")}


def test_the_record_has_adapters_of_all_kinds():
    """Both dtypes, autocast and recomputation, and targets from two matrices to all of them."""
    runs = [case["run"] for case in ADAPTED.values()]
    assert len(runs) == 26
    assert {run["trained"].split()[3] for run in runs} == {"fp32", "bf16"}
    assert {run["autocast"] for run in runs} == {run["recompute"] for run in runs} == {True, False}


def test_fully_sharded_adapters_are_dealt_out_by_rows():
    """A row less or more is all that FSDP's shares differ by: 16 rows over 8 ranks are 2 each."""
    how = {"seq": 128, "lora_rank": 16, "lora_targets": ("q_proj",)}
    alone = train("meta-llama/Meta-Llama-3.1-8B", **how)
    shared = train("meta-llama/Meta-Llama-3.1-8B", **how, world=8, shard="fsdp")
    for what in ("gradients", "optimizer"):
        assert alone.at("step")[what] == 8 * shared.at("step")[what]
    assert shared.at("step")["optimizer"] == 8 * alone.trainable_parameters // 8
    frozen = alone.parameters - alone.trainable_parameters  # 16 bits a number: nothing updates them
    buffers = 512
    assert shared.at("step")["weights"] == buffers + (2 * frozen + 4 * alone.trainable_parameters) // 8


def test_adapters_take_any_optimizer_in_the_default_regime():
    """They have no 32-bit copy: two moments of 8 bits with a scale of 32 bits for every 256 numbers."""
    plan = train("meta-llama/Meta-Llama-3.1-8B", seq=128, lora_rank=16, optimizer="adamw-8bit")
    assert "master" not in plan.at("step")
    assert plan.at("step")["optimizer"] * 256 == plan.trainable_parameters * 2 * (256 + 4)


@pytest.mark.parametrize("name", ADAPTED)
def test_a_layer_with_adapters_keeps_what_peft_kept(name):
    case = ADAPTED[name]
    run = case["run"]
    _, rank, targets, dtype = run["trained"].split()
    plan = train(
        Source(name, case["config"], "recorded"),
        seq=run["sequence"],
        micro_batch=run["batch"],
        regime="pure-bf16" if run["weights"] == "bf16" else "amp",
        attention=run["attention"],
        recompute="full" if run["recompute"] else "none",
        lora_rank=int(rank),
        lora_targets=tuple(targets.split(",")),
        adapter_dtype=dtype,
    ).plan
    tape = plan.micro_batch.tape()
    x = tape.value("x", stream_shape(plan), plan.micro_batch.element_bytes, grad=True)
    plan.implementation.layer(tape, plan.micro_batch, plan.model.layers[0], x)
    kept = tape.kept(plan.recomputed if run["recompute"] else None)
    assert sum(value.bytes for value in kept) == sum(bytes_ for *_, bytes_ in case["layer"])
