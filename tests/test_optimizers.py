"""Optimizers that keep their states in fewer bits, in unified memory or in the host's; others by name."""

from __future__ import annotations

import pytest

from memcalc.errors import UnknownNameError
from memcalc.training.api import train
from memcalc.training.optimizers import OPTIMIZERS, REFUSED

SMALLEST = "Qwen/Qwen2.5-0.5B"


def size(name, shape, width=2):
    return sum(each for _, each in OPTIMIZERS[name].states(shape, width))


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        # torchao, subclass_4bit.py: codes, an fp32 scale for 128 of them, a table of 16 numbers; twice
        ("adamw-4bit", (4096, 4096), 2 * (4096 * 4096 // 2 + 4 * 4096 * 4096 // 128 + 64)),
        ("adamw-4bit", (4096,), 2 * (2048 + 4 * 32 + 64)),
        ("adamw-4bit", (4095,), 2 * 2 * 4095),  # fewer than 4,096
        ("adamw-4bit", (64, 65), 2 * 2 * 64 * 65),  # no whole number of blocks
        # bitsandbytes, optimizer.py: a byte a number, an fp32 scale for 256 of them
        ("paged-adamw-8bit", (4096, 4096), 2 * (4096 * 4096 + 4 * 4096 * 4096 // 256)),
        ("paged-adamw-8bit", (4096,), 2 * (4096 + 4 * 16)),
        ("paged-adamw-8bit", (4095,), 2 * 4 * 4095),
        ("paged-adamw", (4096, 4096), 8 * 4096 * 4096),  # 32 bits, whatever the weight
        # torchao, cpu_offload.py: a copy, its gradient, two moments, as wide as the weight
        ("adamw-in-host", (4096, 4096), 4 * 2 * 4096 * 4096),
    ],
)
def test_states_are_those_of_the_source(name, shape, expected):
    assert size(name, shape) == expected


@pytest.mark.parametrize("name", ["paged-adamw", "paged-adamw-8bit"])
def test_states_are_paged_from_100_000_numbers_on(name):
    for shape, paged in (((99_999,), False), ((100_000,), True)):
        assert any(each.startswith("paged ") for each, _ in OPTIMIZERS[name].states(shape, 2)) is paged


def paged(step):
    return {one.name: one for one in step.device.lines}["paged states"]


def test_paged_states_lie_outside_of_the_allocator():
    given = {"seq": 512, "regime": "pure-bf16"}
    step, usual = (train(SMALLEST, optimizer=name, **given) for name in ("paged-adamw-8bit", "adamw-8bit"))
    line = paged(step)
    assert (line.component, line.moments, line.low) == ("runtime", (), 0)
    assert step.at("step")["optimizer"] + line.bytes == usual.at("step")["optimizer"]
    large = [one for one in step.stage.tensors.trained if one.count // one.arrays >= 100_000]
    assert line.bytes == 2 * sum(one.count for one in large)


def test_paged_states_move_to_the_host_where_the_device_is_full():
    given = {"seq": 512, "regime": "pure-bf16", "optimizer": "paged-adamw", "recompute": "full"}
    whole = paged(train(SMALLEST, **given)).bytes
    step = train(SMALLEST, on="1x 6GiB", **given)
    (there,) = (one for one in step.host.lines if one.name == "paged states")
    assert 0 < there.bytes == whole - paged(step).bytes
    assert there.high == whole
    assert step.fits
    assert not train(SMALLEST, on="1x 6GiB", **{**given, "optimizer": "adamw", "regime": "fp32"}).fits


def test_states_in_the_host_leave_the_device():
    step = train(SMALLEST, seq=512, regime="pure-bf16", optimizer="adamw-in-host")
    assert "optimizer" not in step.at("step")
    states = [line.bytes for line in step.host.lines if line.component == "optimizer"]
    assert sum(states) == 8 * step.parameters


def test_blocks_are_those_of_a_ranks_rows():
    """Under FSDP each rank has states for its own rows; adapters among them."""
    given = {"seq": 512, "world": 2, "shard": "fsdp", "lora_rank": 64, "optimizer": "adamw-8bit"}
    step = train("meta-llama/Meta-Llama-3.1-8B", **given)
    one = {one.name: one for one in step.stage.tensors.shards}
    rows = one["model.layers.{layer}.mlp.down_proj.lora_B.weight"]
    numbers = 4096 // 2 * 64
    assert rows.moments == 32 * 2 * (numbers + 4 * numbers // 256)


@pytest.mark.parametrize("world", [2, 4, 8])
@pytest.mark.parametrize("more", [{}, {"lora_rank": 16}], ids=["full", "adapters"])
def test_one_weight_in_turn_is_a_rank_s_share_of_it(world, more):
    """Under FSDP an optimizer's arrays are as large as the rank's rows, whatever their width."""
    given = {"seq": 512, "regime": "pure-bf16", "optimizer": "lion", **more}

    def in_turn(**sharding):
        lines = train("Qwen/Qwen2.5-1.5B", **given, **sharding).device.lines
        return [line.bytes for line in lines if line.name == "for-loop: arrays of one weight"]

    (alone,) = in_turn()
    assert in_turn(world=world, shard="fsdp") == [alone / world]


@pytest.mark.parametrize(
    "name", ["galore-adamw-8bit", "galore", "apollo_adamw", "adalomo", "lomo", "adam-mini", "soap"]
)
def test_others_are_refused_with_a_reason_of_their_own(name):
    with pytest.raises(UnknownNameError, match=r"^--optimizer: expected one of") as refused:
        train(SMALLEST, seq=512, optimizer=name)
    assert any(reason in str(refused.value) for reason in REFUSED.values())


def test_other_tools_spelling_of_a_name_leads_to_ours():
    with pytest.raises(UnknownNameError, match=r"did you mean paged-adamw-8bit\?"):
        train(SMALLEST, seq=512, optimizer="paged_adamw_8bit")


def test_experts_without_a_gate_are_two_arrays():
    """Nemotron 3 Nano's first matrix of an expert is no half of another one, as where experts have a gate."""
    step = train("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", seq=512, regime="pure-bf16")
    shards = {one.name.rpartition("experts.{expert}.")[2]: one for one in step.stage.tensors.shards}
    found = {
        name: (one.shape, one.arrays)
        for name, one in shards.items()
        if name in ("up_proj.weight", "down_proj.weight")
    }
    assert found == {"up_proj.weight": ((128, 1856, 2688), 23), "down_proj.weight": ((128, 2688, 1856), 23)}
