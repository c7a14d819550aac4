"""What lies in the host's memory: each part of --offload, alone and beside others."""

from __future__ import annotations

import pytest

from memcalc.training.api import train
from memcalc.training.backward import backward_points

PLAN = {"seq": 4096, "regime": "pure-bf16", "recompute": "full", "world": 8, "shard": "fsdp"}
STREAM = 2 * 4096 * 1024  # of Qwen3-0.6B: what one checkpoint keeps
DEPTH = 28


@pytest.mark.parametrize("beside", [(), ("optimizer",), ("parameters",), ("optimizer", "parameters")])
def test_checkpoints_leave_the_device_whatever_leaves_beside_them(beside: tuple[str, ...]) -> None:
    """At the loss the device holds the checkpoints of all layers less, and nothing else changes."""
    without = train("Qwen/Qwen3-0.6B", **PLAN, offload=beside)  # type: ignore[arg-type]
    moved = train("Qwen/Qwen3-0.6B", **PLAN, offload=(*beside, "activations"))  # type: ignore[arg-type]
    before, after = without.at("loss"), moved.at("loss")
    assert before["activations"] - after["activations"] == DEPTH * STREAM
    assert {name: size for name, size in before.items() if name != "activations"} == {
        name: size for name, size in after.items() if name != "activations"
    }


def test_one_checkpoint_waits_on_the_device_while_layers_run_backwards() -> None:
    """That of the layer itself, fetched back; without offload the first to run backwards finds all there."""
    kept, moved = (
        [one.activations for one in backward_points(plan.plan, plan.stage.tensors) if one.name == "layer"]
        for plan in (
            train("Qwen/Qwen3-0.6B", **PLAN),  # type: ignore[arg-type]
            train("Qwen/Qwen3-0.6B", **PLAN, offload=("activations",)),  # type: ignore[arg-type]
        )
    )
    assert max(kept) - min(kept) == (DEPTH - 1) * STREAM
    assert set(moved) == {min(kept)}
