"""What the host's memory holds beside the arrays that are moved there."""

from __future__ import annotations

from math import prod

import pytest

from memcalc.training import train
from memcalc.training.host import kept_beside, power_of_two, sub_groups

GIB, MIB = 2**30, 2**20
QWEN = "Qwen/Qwen2.5-32B-Instruct"
SMALL = "Qwen/Qwen2.5-0.5B"
OFFLOADED = {"seq": 2048, "recompute": "full", "shard": 3, "offload": ("optimizer", "parameters")}
ROUNDED = "pinned arrays, rounded up to powers of two"
LEFT = "blocks of the loaded partitions, kept when they moved into one buffer"
# a layer of Qwen2.5-32B: gate, up and down, q and o, k and v, the three biases, two norms
LAYER = [*[(27648, 5120)] * 3, *[(5120, 5120)] * 2, *[(1024, 5120)] * 2, (5120,), (1024,), (1024,)]
LAYER += [(5120,)] * 2
PARAMETERS = [(152064, 5120), *LAYER * 64, (5120,), (152064, 5120)]


def host_lines(step):
    return {line.name: line for line in step.host.lines}


@pytest.mark.parametrize(
    ("size", "block"), [(0, 0), (1, 1), (3, 4), (GIB, GIB), (GIB + 1, 2 * GIB), (20 * GIB + 1, 32 * GIB)]
)
def test_a_pinned_array_lies_in_a_block_of_a_power_of_two(size, block):
    assert power_of_two(size) == block


def test_a_run_that_was_killed_does_not_fit():
    """LlamaFactory#6755, 2025-01: Qwen2.5-32B, ZeRO-3 on one GPU, both moved to 744 GB of host memory."""
    step = train(QWEN, **OFFLOADED, on="1x h100-80g + 744GiB host")
    assert step.verdict == "does_not_fit"
    assert step.cause.startswith("the host's memory lacks")
    states = 20 * step.parameters
    assert step.host.low_bytes < 744 * GIB < step.host_bytes
    assert states < step.host.low_bytes


def test_a_run_that_took_900_gb_fits():
    """GAIR-NLP/LIMO#10, 2025-03: the same model on eight A800, approximately 900 GB."""
    step = train(QWEN, **OFFLOADED, world=8, on="8x a100-80g + 1000GiB host")
    assert step.verdict == "fits"
    assert abs(step.host_bytes - 900 * 10**9) < 0.12 * 900 * 10**9


def test_partitions_leave_their_blocks():
    """zero.Init pins each parameter's partition, and torch keeps the block of one that is gone."""
    for world in (1, 8):
        step = train(QWEN, **OFFLOADED, world=world)
        blocks = [1 << (-(-2 * prod(shape) // world) - 1).bit_length() for shape in PARAMETERS]
        assert host_lines(step)[LEFT].bytes == sum(blocks)


def test_what_zero_3_pins_is_rounded_array_by_array():
    """A buffer of parameters a group, one of gradients, and sub-groups of 32-bit gradients."""
    step = train(QWEN, **OFFLOADED)
    matrices = [prod(shape) for shape in PARAMETERS if len(shape) == 2]
    vectors = [prod(shape) for shape in PARAMETERS if len(shape) == 1]
    arrays = [2 * sum(matrices), 2 * sum(vectors), 2 * (sum(matrices) + sum(vectors))]
    filled = 0
    for number, size in enumerate(matrices):
        filled += size
        if filled >= 10**9 or number == len(matrices) - 1:
            arrays.append(4 * filled)
            filled = 0
    arrays.append(4 * sum(vectors))
    more = sum((1 << (size - 1).bit_length()) - size for size in arrays)
    line = host_lines(step)[ROUNDED]
    assert abs(line.bytes - more) < 0.1 * more  # the order within a layer decides where a sub-group ends
    assert (line.low, line.high) == (0, line.bytes)


def test_a_sub_group_ends_with_the_parameter_that_fills_it():
    assert list(sub_groups([999_999_999, 2, 5])) == [1_000_000_001, 5]
    assert list(sub_groups([3])) == [3]


def test_frozen_parameters_keep_their_partitions_and_leave_none():
    step = train(SMALL, **OFFLOADED, lora_rank=8)
    lines = host_lines(step)
    adapters = sum(one.count for one in step.stage.tensors.trained)
    assert lines[LEFT].bytes < 8 * adapters
    assert lines[ROUNDED].bytes > 10**8  # of the frozen ones


def test_zero_2_has_a_copy_in_16_bits():
    """DeepSpeed#7693, 2025-11: 4 B of master copy, 2 of copies, 4 of gradients, 8 of moments a number."""
    step = train(SMALL, seq=2048, world=2, shard=2, offload=("optimizer",))
    lines, share = host_lines(step), step.parameters // 2
    assert lines["16-bit copies on their way to the device"].bytes == 2 * share
    buffer = 2 * 151_936 * 896  # for the gradient of the largest weight, there and on the device
    kept = sum(line.bytes for line in step.host.lines if line.evidence == "exact") + 2 * share
    assert kept == 18 * share + buffer
    on_device = {line.name: line.bytes for line in step.device.lines}
    assert on_device["buffer of gradients on their way to the host"] == buffer
    unexplained = lines["beside the step on the host, unexplained"]
    assert (unexplained.low, unexplained.bytes, unexplained.high) == (0, 0, 8 * share)


@pytest.mark.parametrize("more", [{"shard": 1}, {"shard": 2, "offload": ()}, {"shard": 3}, {"shard": "fsdp"}])
def test_only_stages_1_and_2_have_a_buffer_of_gradients_and_only_to_the_host(more):
    asked = {"seq": 2048, "world": 2, "offload": ("optimizer",), **more}
    found = [line.name for line in train(SMALL, **asked).device.lines]
    assert ("buffer of gradients on their way to the host" in found) == (more == {"shard": 1})


def test_fsdp_pins_each_row_share_twice():
    """The parameter's and its gradient's: torch.distributed.fsdp pins both where parameters are moved."""
    step = train(SMALL, seq=2048, world=2, shard="fsdp", offload=("optimizer", "parameters"))
    small = [(151936, 896), *24 * [*[(4864, 896)] * 2, (896, 4864), (896, 896), (896, 896)], (896,)]
    small += 24 * [*[(128, 896)] * 2, (896,), (128,), (128,), (896,), (896,)]
    sizes = [4 * -(-shape[0] // 2) * prod(shape[1:]) for shape in small]
    assert host_lines(step)[ROUNDED].bytes == 2 * sum((1 << (size - 1).bit_length()) - size for size in sizes)


def test_a_process_and_the_system_take_their_part():
    step = train(SMALL, **OFFLOADED, world=8, on="8x h100-80g + 744GiB host")
    lines = host_lines(step)
    assert lines["process of the rank"].low < lines["process of the rank"].bytes < 4.1e9
    rest = 8 * (step.host.high_bytes - lines["operating system, shared"].high)
    assert lines["operating system, shared"].high == -(-kept_beside(rest) // 8)
    assert "operating system, shared" not in {line.name for line in step.device.lines}


def test_nothing_in_the_host_says_nothing_of_it():
    assert train(SMALL, seq=2048, on="1x h100-80g + 1GiB host").host is None


def test_what_kubernetes_keeps_is_its_published_rule():
    """150 GiB: 9.8577 GiB, hatemosphere/gke-node-allocatable-memory-calculator."""
    assert round(kept_beside(150 * GIB - round(9.8577 * GIB)) / GIB, 4) == 9.8577
    assert kept_beside(GIB + GIB // 2 - 100 * MIB) == 100 * MIB + GIB // 2


def test_a_larger_host_needs_no_more():
    """What is kept of a machine is the machine's: the range of what a step needs does not depend on it."""
    rooms = (None, "64GiB", "512GiB", "2048GiB")
    machines = ["1x h100-80g" + (f" + {room} host" if room else "") for room in rooms]
    found = {train(SMALL, **OFFLOADED, on=machine).host.high_bytes for machine in machines}
    assert len(found) == 1


@pytest.mark.parametrize("shard", [2, 3])
def test_a_machine_that_leaves_what_is_needed_is_large_enough(shard):
    """The upper end is that of the smallest such machine, and Kubernetes keeps less of each byte beyond."""
    asked = {**OFFLOADED, "world": 2, "shard": shard, "offload": ("optimizer",)}
    needed = train(SMALL, **asked, on="2x h100-80g").host.high_bytes * 2
    above, below = (-(-needed // GIB), needed // GIB)
    said = [train(SMALL, **asked, on=f"2x h100-80g + {size}GiB host").verdict for size in (above, below)]
    assert said == ["fits", "may_not_fit"]


def test_the_host_has_room_only_if_its_upper_end_has():
    """The same verdicts as for a device: fits, may not fit, does not fit."""
    step = train(SMALL, **OFFLOADED)
    below = step.host_bytes // GIB
    said = [
        train(SMALL, **OFFLOADED, on=f"1x h100-80g + {size}GiB host").verdict
        for size in (below, below + 1, 2 * below)
    ]
    assert said == ["does_not_fit", "may_not_fit", "fits"]
