"""A layer with adapters keeps what it kept with PEFT's: tests/recorded/training.json, every case."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memcalc.errors import BadInputError
from memcalc.files.catalogue import record
from memcalc.files.source import Source
from memcalc.training.api import train
from memcalc.training.layer_runs import LayerRuns
from memcalc.training.layers import stream_shape

RECORD = Path(__file__).parent / "recorded" / "training.json"
SAVED = json.loads(RECORD.read_text(encoding="utf-8"))["models"]["saved"]
ADAPTED = {name: case for name, case in SAVED.items() if case["run"]["trained"].startswith("lora ")}


def test_the_record_has_adapters_of_all_kinds():
    """Both dtypes, autocast and recomputation, and targets from two matrices to all of them."""
    runs = [case["run"] for case in ADAPTED.values()]
    assert len(runs) == 42
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
        autocast=run["autocast"],
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


LLAMA_8B = "meta-llama/Meta-Llama-3.1-8B"
TRAINER = {"seq": 4096, "micro_batch": 2, "lora_rank": 16, "recompute": "none", "optimizer_step": "fused"}


@pytest.mark.parametrize(
    ("autocast", "kept", "peak"),
    [
        # torch 2.13, transformers 5.23, PEFT 0.21.2 on fake tensors: tests/oracles/test_train.py asks again
        (True, 1_783_955_480, 23_654_769_256),
        (False, 2_420_703_256, 26_202_153_576),
    ],
)
def test_autocast_keeps_the_copies_of_adapters_in_16_bits(autocast, kept, peak):
    """One layer of Llama-3.1-8B, and a step of four: 2 x 4,096 tokens, rank 16, every linear layer."""
    fields = {**record(LLAMA_8B).fields, "num_hidden_layers": 4}
    step = train(Source("four layers", fields, "here"), **TRAINER, autocast=autocast)
    layer, _ = LayerRuns(step.plan).run(step.plan.model.layers[0], grad=True)
    assert layer.kept == kept
    assert step.allocated_bytes == peak


def test_adapters_are_trained_under_autocast_unless_it_is_said_otherwise():
    """As HF Trainer does with bf16=True; not in 32 bits, and not by Megatron."""
    asked = {"seq": 128, "lora_rank": 8}
    assert train(LLAMA_8B, **asked).plan.micro_batch.autocast
    assert "autocast" in train(LLAMA_8B, **asked).plan.defaults
    assert not train(LLAMA_8B, **asked, autocast=False).plan.micro_batch.autocast
    assert not train(LLAMA_8B, **asked, regime="fp32").plan.micro_batch.autocast
    assert not train(LLAMA_8B, seq=128).plan.micro_batch.autocast
    assert train(LLAMA_8B, seq=128, regime="amp").plan.micro_batch.autocast
    for other in ({"world": 2, "shard": 2}, {"like": "deepspeed"}):  # DeepSpeed runs the model without
        assert not train(LLAMA_8B, **asked, **other).plan.micro_batch.autocast
        assert train(LLAMA_8B, **asked, **other, regime="amp").plan.micro_batch.autocast
    assert train(LLAMA_8B, **asked, world=2, shard="fsdp").plan.micro_batch.autocast
    for wrong in ({"regime": "amp", "autocast": False}, {"regime": "fp32", "autocast": True}):
        with pytest.raises(BadInputError, match="--autocast"):
            train(LLAMA_8B, seq=128, **wrong)


SMALL_LLAMA = {
    "model_type": "llama",
    "vocab_size": 97,
    "hidden_size": 64,
    "intermediate_size": 176,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


@pytest.mark.parametrize(
    ("dtype", "flows", "more", "noise"),
    [
        # what PEFT 0.21.2 keeps more with lora_dropout=0.05, on a CPU: its noise is as wide as the input
        ("fp32", True, 33_792, 4),
        ("bf16", True, 25_344, 2),
        ("fp32", False, 0, 0),
        ("bf16", False, 8_448, 0),
    ],
)
def test_dropout_beside_adapters_is_their_own(dtype, flows, more, noise):
    """Each adapter has an input of its own, and where a gradient flows a mask: a byte a number on GPUs."""
    kept = []
    for share in (0, 0.05):
        plan = train(
            Source("small", SMALL_LLAMA, "here"),
            seq=33,
            micro_batch=2,
            regime="pure-bf16",
            lora_rank=4,
            lora_targets=("q_proj", "v_proj"),
            adapter_dtype=dtype,
            dropout=share,
            recompute="none",
        ).plan
        layer, _ = LayerRuns(plan).run(plan.model.layers[0], grad=flows)
        kept.append(layer.kept)
    numbers = 2 * 33 * 64
    of_masks = 2 * numbers * (1 if flows else 0)
    assert kept[1] - kept[0] == more - 2 * numbers * noise + of_masks


def test_dropout_beside_adapters_is_never_ignored():
    asked = {"seq": 2048, "lora_rank": 8, "attention": "eager", "recompute": "none"}
    without, with_it = (train("Qwen/Qwen3-0.6B", **asked, dropout=share) for share in (0, 0.05))
    assert with_it.allocated_bytes > without.allocated_bytes
    assert without.plan.micro_batch.dropout == with_it.plan.micro_batch.dropout == 0  # not of attention


@pytest.mark.parametrize(
    ("name", "numbers"),
    # PEFT 0.21.2 on the class itself, "all-linear" of rank 8 (tests/oracles/test_train.py asks again)
    [("Qwen/Qwen3-30B-A3B", 498_253_824), ("mistralai/Mixtral-8x7B-v0.1", 179_832_832)],
)
def test_all_linear_is_experts_and_router_too(name, numbers):
    assert train(name, seq=128, lora_rank=8).trainable_parameters == numbers
    attention = train(name, seq=128, lora_rank=8, lora_targets=("q_proj", "k_proj", "v_proj", "o_proj"))
    assert attention.trainable_parameters < numbers / 20


def test_experts_first_two_matrices_have_one_adapter():
    with pytest.raises(BadInputError, match="gate_proj and up_proj together"):
        train("Qwen/Qwen3-30B-A3B", seq=128, lora_rank=8, lora_targets=("gate_proj",))
    both = train("mistralai/Mixtral-8x7B-v0.1", seq=128, lora_rank=8, lora_targets=("w1", "w3"))
    assert {name: one.lora_rank for name, one in both.plan.adapters.items()} == {"experts.gate_up_proj": 16}


@pytest.mark.parametrize(
    ("name", "linear", "gibibytes"),
    [
        # transformers 5.23, replace_with_bnb_linear on the class itself: numbers that become Linear4bit
        ("Qwen/Qwen3-30B-A3B", 905_969_664, 55.66),
        ("mistralai/Mixtral-8x7B-v0.1", 1_342_177_280, 85.19),
    ],
)
def test_experts_are_no_linear_layers_for_bitsandbytes(name, linear, gibibytes):
    attention = ("q_proj", "k_proj", "v_proj", "o_proj")
    step = train(name, seq=128, lora_rank=8, lora_targets=attention, quantize_base="nf4", recompute="full")
    adapters = 4 * step.trainable_parameters
    held = step.at("step")["weights"] - adapters
    assert held / 2**30 == pytest.approx(gibibytes, abs=0.005)
    frozen = step.model.parameters
    matrices = 4 * step.model.depth
    assert held - 512 == 2 * (frozen - linear) + linear * 9 // 16 + 64 * matrices
    assert any("experts and router stay in 16 bits" in said for said in step.assumed)
