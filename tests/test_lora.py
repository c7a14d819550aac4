"""A layer with adapters keeps what it kept with PEFT's: tests/recorded/training.json, every case."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memcalc.sources import Source
from memcalc.training import train

RECORD = Path(__file__).parent / "recorded" / "training.json"
SAVED = json.loads(RECORD.read_text(encoding="utf-8"))["models"]["saved"]
ADAPTED = {name: case for name, case in SAVED.items() if case["run"]["trained"].startswith("lora ")}


def test_the_record_has_adapters_of_all_kinds():
    """Both dtypes, autocast and recomputation, and targets from two matrices to all of them."""
    runs = [case["run"] for case in ADAPTED.values()]
    assert len(runs) == 26
    assert {run["trained"].split()[3] for run in runs} == {"fp32", "bf16"}
    assert {run["autocast"] for run in runs} == {run["recompute"] for run in runs} == {True, False}


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
        lora_targets=targets,
        adapter_dtype=dtype,
    )
    tape = plan.tape()
    x = tape.value("x", plan.stream_shape, plan.setting.element_bytes, grad=True)
    plan.implementation.layer(tape, plan.asked, plan.model.layers[0], x)
    kept = tape.kept(plan.recomputed if run["recompute"] else None)
    assert sum(value.bytes for value in kept) == sum(bytes_ for *_, bytes_ in case["layer"])
