"""Training of models whose indexers choose which tokens attention sees: what the record does not show."""

from __future__ import annotations

import pytest

from memcalc.errors import BadInputError
from memcalc.training.api import train

SPARSE, SHARED = "deepseek-ai/DeepSeek-V3.2", "zai-org/GLM-5.2"
PURE = {"regime": "pure-bf16"}
POINT = "fullest point of the forward pass, beyond its end"


def line_of(step, name):
    """The bytes of a line of the device."""
    return sum(line.bytes for line in step.device.lines if line.name == name)


def test_scores_of_all_pairs_are_the_fullest_point_of_the_forward_pass():
    """While the last indexer scales them: two arrays of 32 bits for each head, beside what layers keep."""
    at = {}
    for seq in 8192, 16_384:
        step = train(SPARSE, seq=seq, **PURE)
        kept = sum(step.at("forward_end").values()) - sum(step.at("backward_end").values())
        at[seq] = line_of(step, POINT), kept
    more = at[16_384][0] - 4 * at[8192][0]
    assert (
        at[16_384][0] > 2 * 4 * 64 * 16_384**2 * 0.7
    )  # less the logits, and what the last layer keeps after
    assert 0 < more < 0.15 * at[16_384][0]  # logits grow with the tokens, scores with their square


def test_layers_that_run_again_hold_the_scores_in_the_backward_pass():
    step = train(SPARSE, seq=16_384, recompute="full", **PURE)
    assert line_of(step, POINT) == 0
    at = step.at("recompute")
    assert at["temporaries"] + at["activations"] > 2 * 4 * 64 * 16_384**2


def test_each_layer_keeps_its_mask_in_numbers():
    """Both models keep one of 16 bits for each pair of tokens, whoever chose them."""
    for name in SPARSE, SHARED:
        for seq, width in ((1024, 1024), (1023, 1024), (1025, 1032)):
            step = train(name, seq=seq, **PURE)
            assert min(group.kept for group in step.stage.tensors.groups[0]) > 2 * seq * width
        kept = [train(name, seq=seq, **PURE).stage.tensors.layers_kept for seq in (1024, 2048, 3072)]
        assert kept[2] - 2 * kept[1] + kept[0] == step.model.depth * 2 * 2 * 1024**2


def test_no_gradient_reaches_an_indexer_but_zero_holds_its_states():
    numbers = 61 * (64 * 128 * 1536 + 128 * 7168 + 2 * 128 + 64 * 7168)
    plain, zero = (
        train(SPARSE, seq=512, regime="bf16-mixed", shard=shard, world=2).stage.tensors for shard in (0, 2)
    )
    trained = [sum(one.count for one in found.trained) for found in (plain, zero)]
    assert trained[1] - trained[0] == numbers
    shards = train(SPARSE, seq=512, lora_rank=8, **PURE).stage.tensors.shards
    indexers = [one for one in shards if "indexer" in one.name]
    assert not any(one.trained for one in indexers)
    assert len({one.name for one in indexers if "lora_" in one.name}) == 6


def test_the_classes_have_no_flash_kernel():
    with pytest.raises(BadInputError, match=r"^--attention: expected sdpa or eager, given 'flash'"):
        train(SHARED, seq=512, attention="flash", **PURE)
    assert train(SHARED, seq=512, **PURE).plan.options.attention == "sdpa"
