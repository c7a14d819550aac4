"""A dense model's prefill holds what torch counted: tests/recorded, by tools/record_oracles.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import memcalc
from memcalc.ledger.parts.kinds import is_mlp
from memcalc.serving import ServingParallelism, activation_width

FILE = Path(__file__).parent / "recorded" / "forward.json"
RECORD = json.loads(FILE.read_text(encoding="utf-8"))["models"]
IDS_AND_POSITIONS = 8 + 8  # bytes a token: two whole numbers of 64 bits, which no plan counts
DENSE = [name for name in RECORD if is_mlp(dict(memcalc.model(name).layers[0].parts)["mlp"])]


def of_the_pass(name, moment):
    """Numbers that a token needs at a moment, beside its cache, ids, positions, cosines and sines."""
    said, model = RECORD[name], memcalc.model(name)
    held = said[moment] - said["weights"] - 2 * sum(one.count for one in model.cache(1, said["tokens"]))
    head = dict(model.layers[0].parts)["self_attn"].head_dim
    return (held / said["tokens"] - IDS_AND_POSITIONS) / 2 - 2 * head


@pytest.mark.parametrize("name", DENSE)
def test_the_peak_is_the_widest_step_of_the_feed_forward_part(name):
    part = dict(memcalc.model(name).layers[0].parts)["mlp"]
    assert of_the_pass(name, "peak") == activation_width(part, ServingParallelism())
    assert RECORD[name]["peak"] == RECORD[name]["feed-forward"] > RECORD[name]["attention"]


def test_models_of_several_families_were_asked():
    assert len(DENSE) == len(RECORD) - 2 == 8
    assert len({memcalc.model(name).model_type for name in RECORD}) == 5


EXPERTS = [name for name in RECORD if name not in DENSE]


@pytest.mark.parametrize("name", EXPERTS)
def test_experts_in_one_array_hold_each_token_once_for_each_of_them(name):
    """transformers 5 multiplies them in one kernel; what the router leaves besides is not counted."""
    served = memcalc.serve(name, context=RECORD[name]["tokens"])
    (line,) = (one for one in served.device.lines if one.name == "widest part of a prefill pass")
    width = line.count // RECORD[name]["tokens"]
    assert 0 < of_the_pass(name, "peak") - width < width * 0.003
    older = memcalc.serve(name, context=1024, engine_version="4.51")
    (loop,) = (one for one in older.device.lines if one.name == "widest part of a prefill pass")
    assert loop.count // 1024 < width
