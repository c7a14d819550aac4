"""Measured constants, written out by hand: a number that is changed here by mistake is seen."""

from __future__ import annotations

import pytest

from memcalc.ledger import constants
from memcalc.training.autograd import IMPLEMENTATIONS

MIB = 1_048_576

# ---- training: lower end, typical, upper end, how the source begins ----------------------------------------

TRAINING = {
    "TRAINING_CUDA_CONTEXT": (300_000_000, 500_000_000, 1_000_000_000, "pytorch/pytorch#107667"),
    "TRAINING_COMMUNICATORS": (500_000_000, 800_000_000, 1_600_000_000, "NVIDIA/nccl#964"),
    "TRAINING_RESERVE_PERCENT": (-8, 0, 8, "https://github.com/foundation-model-stack/fms-acceleration"),
    "TRAINING_FUSED_AWAY_PERCENT": (0, 0, 31, "https://github.com/meta-pytorch/torchtune"),
    "ZERO_BUCKETS": (0, 0, 4, "https://github.com/deepspeedai/DeepSpeed, runtime/zero/stage_1_and_2.py"),
}
MEGATRON = {
    8: (71_303_168, 84_934_656, 100_663_296),
    9: (100_663_296, 111_149_056, 143_654_912),
    10: (50_331_648, 101_711_872, 132_120_576),
}


@pytest.mark.parametrize("name", TRAINING)
def test_a_measured_constant_of_training_is_what_was_measured(name):
    low, typical, high, source = TRAINING[name]
    found = getattr(constants, name)
    assert found[:3] == (low, typical, high)
    assert found.source.startswith(source)
    assert found.date.startswith("20")


@pytest.mark.parametrize("generation", MEGATRON)
def test_workspaces_of_megatron_are_those_of_its_tests(generation):
    found = constants.MEGATRON_WORKSPACE[generation]
    assert found[:3] == MEGATRON[generation]
    assert found[3:] == ("NVIDIA/Megatron-LM d98e8a64, functional tests", "2026-08-22")


def test_every_generation_of_megatrons_workspaces_is_pinned():
    assert set(constants.MEGATRON_WORKSPACE) == set(MEGATRON)


def test_constants_that_sources_state():
    """A bucket of DeepSpeed has 5e8 numbers; the workspaces as cuBLAS and Transformer Engine size them."""
    assert constants.ZERO_BUCKET_NUMBERS == 500_000_000
    assert constants.TRAINING_CUBLAS_WORKSPACE == 8_519_680
    assert constants.TRAINING_CUBLAS_WORKSPACE_HOPPER == 32 * MIB
    assert constants.TRANSFORMER_ENGINE_WORKSPACE == 4 * MIB
    assert constants.TRANSFORMER_ENGINE_WORKSPACE_HOPPER == 32 * MIB
    assert constants.TRANSFORMER_ENGINE_STREAMS == 4


def test_workspaces_of_transformers_are_one_two_or_four_of_cublas():
    """Where no device is named nothing is counted, and four of the smaller ones are the upper end."""
    workspace = IMPLEMENTATIONS["transformers"].workspace
    assert workspace("8.0")[:3] == (8_519_680, 17_039_360, 34_078_720)
    assert workspace("9.0")[:3] == (33_554_432, 67_108_864, 134_217_728)
    assert workspace(None)[:3] == (0, 0, 34_078_720)


def test_workspaces_of_megatron_on_a_device_that_is_not_named_span_all_of_them():
    workspace = IMPLEMENTATIONS["megatron"].workspace
    assert workspace(None)[:3] == (48 * MIB, 97 * MIB, 137 * MIB)
    assert workspace("7.0")[:3] == workspace(None)[:3]
