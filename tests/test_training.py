"""Training steps: what autograd on fake tensors said to the byte, and what a plan refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from inspect import signature
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from memcalc.__main__ import main
from memcalc.cli.train import fields
from memcalc.errors import BadInputError, MemcalcError
from memcalc.files.api import model as load_model
from memcalc.files.catalogue import record
from memcalc.files.source import Source
from memcalc.options import options_of
from memcalc.serving.search import largest
from memcalc.training.api import train
from memcalc.training.checks import CHECKS
from memcalc.training.layers import stream_shape
from memcalc.training.options import TrainingOptions
from memcalc.training.parallelism import TrainingParallelism
from memcalc.training.plan import plan_fields, resolve
from memcalc.training.stage import kept_by
from memcalc.training.zero import states

LLAMA = "meta-llama/Meta-Llama-3.1-8B"  # the shapes of Llama-3-8B
SMALL = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 176,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 307,
    "tie_word_embeddings": False,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "torch_dtype": "bfloat16",
}


@pytest.fixture(name="small")
def a_small_config(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    return str(tmp_path)


def total(plan, moment):
    return sum(plan.at(moment).values())


def saved(plan):
    """What the forward pass leaves behind: all but what lives throughout."""
    end = plan.at("forward_end")
    return end["activations"] + end["logits"]


# transformers 5.23 on torch 2.13, FakeTensorMode, one sequence of 4,096 tokens, bf16, flash attention
@pytest.mark.parametrize(
    ("model", "recompute", "kept", "peak"),
    [
        (LLAMA, "none", 28_562_211_600, 48_825_394_440),
        (LLAMA, "full", 3_311_484_944, 32_154_599_944),
        ("Qwen/Qwen3-32B", "full", 5_343_625_232, None),
    ],
)
def test_a_whole_step_as_autograd_counts_it(model, recompute, kept, peak):
    plan = train(model, seq=4096, regime="pure-bf16", optimizer="sgd", recompute=recompute)
    assert saved(plan) == kept
    if peak is not None:
        assert plan.allocated_bytes == peak


# the same small model, traced allocation by allocation: two layers of 64, 101 tokens, vocabulary of 307
TRACED = [
    ({}, {"forward_end": 1_020_776, "loss": 1_268_016, "backward": 1_038_376, "backward_end": 540_104}),
    ({"recompute": "full"}, {"forward_end": 473_712, "loss": 720_952, "recompute": 809_088}),
    ({"attention": "eager"}, {"forward_end": 1_533_000, "loss": 1_780_240}),
    ({"micro_batch": 2}, {"forward_end": 1_771_400, "loss": 2_265_896}),
    ({"regime": "fp32"}, {"forward_end": 1_782_056, "loss": 2_029_296}),
    ({"optimizer": "adamw", "optimizer_step": "foreach"}, {"forward_end": 1_547_880, "step": 1_317_824}),
    ({"optimizer": "adamw", "optimizer_step": "for-loop"}, {"step": 1_132_992}),
    ({"optimizer": "adamw", "optimizer_step": "fused"}, {"step": 1_054_272}),
]


@pytest.mark.parametrize(("options", "expected"), TRACED)
def test_moments_as_traced(small, options, expected):
    plan = train(small, **{"seq": 101, "regime": "pure-bf16", "optimizer": "sgd", **options})
    assert {moment: total(plan, moment) for moment in expected} == expected


def test_components_add_up_and_the_largest_moment_is_the_answer(small):
    for options, _ in TRACED:
        plan = train(small, **{"seq": 101, "regime": "pure-bf16", "optimizer": "sgd", **options})
        device = plan.device
        assert {moment: total(plan, moment) for moment in plan.moments} == device.moments
        assert plan.allocated_bytes == max(device.moments.values())


@pytest.mark.parametrize(("shard", "world"), list(product((0, 1, 2, 3), (1, 8, 64, 7))))
def test_states_of_a_plan_are_those_of_zero(shard, world):
    plan = train(LLAMA, seq=128, shard=shard, world=world, optimizer_step="fused")
    step = plan.at("step")
    if shard == 0 and world > 1:
        step["gradients"] //= 2  # DDP buckets
    step["weights"] -= 512  # the buffers of RoPE
    expected = states(8_030_261_248, shard=shard, world=world).components
    assert {name: step[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("options", "bytes_a_parameter"),
    [
        ({"regime": "bf16-mixed"}, 16),
        ({"regime": "bf16-mixed", "gradients": "fp32"}, 18),
        ({"regime": "bf16-mixed", "gradients": "bf16+fp32"}, 20),
        ({"regime": "pure-bf16"}, 8),
        ({"regime": "fp32"}, 16),
        ({"regime": "amp"}, 16),
    ],
)
def test_bytes_a_parameter_are_one_ledger(options, bytes_a_parameter):
    """16, 18 and 20 are the same list with other lines."""
    plan = train(LLAMA, seq=16, optimizer_step="fused", **options)
    step = plan.at("step")
    kept = sum(step.get(name, 0) for name in ("weights", "master", "gradients", "optimizer"))
    assert kept - 512 == bytes_a_parameter * plan.parameters


def test_lines_of_the_framework(small):
    """foreach's copy, gradients that stay, logits that are held: each is a line, and exactly so large."""
    usual = {"seq": 101, "regime": "pure-bf16"}
    parameters = train(small, **usual).parameters
    foreach, fused = (train(small, **usual, optimizer_step=step) for step in ("foreach", "fused"))
    assert total(foreach, "step") - total(fused, "step") == 2 * parameters
    keeping = train(small, **usual, keep_gradients=True)
    assert total(keeping, "forward_end") - total(foreach, "forward_end") == 2 * parameters
    holding = train(small, **usual, hold_logits=True)
    assert total(holding, "loss") - total(foreach, "loss") == 2 * 101 * 307


PLANS = st.fixed_dictionaries(
    {
        "seq": st.integers(1, 600),
        "micro_batch": st.integers(1, 4),
        "recompute": st.sampled_from(("none", "selective", "full")),
        "regime": st.sampled_from(("pure-bf16", "bf16-mixed", "amp", "fp32")),
    }
)


@settings(max_examples=60)
@given(usual=PLANS, world=st.integers(1, 40), shard=st.sampled_from((0, 1, 2, 3, "fsdp")))
def test_ranks_hold_together_at_least_the_whole(usual, world, shard):
    alone = train(LLAMA, **usual).at("step")
    one = train(LLAMA, **usual, world=world, shard=shard).at("step")
    for name in ("weights", "optimizer", "gradients"):
        assert world * one[name] >= alone[name]
        assert one[name] > 0


def test_a_sweep_is_the_plans_at_its_points():
    seq, batch = np.array([1, 17, 512, 4096, 131072]), np.array([1, 3, 1, 2, 8])
    for recompute, attention, tied in product(
        ("none", "selective", "full"), ("flash", "eager"), ("Qwen/Qwen3-0.6B", LLAMA)
    ):
        options = {"recompute": recompute, "attention": attention, "regime": "pure-bf16"}
        swept = train(tied, seq=seq, micro_batch=batch, **options).allocated_bytes
        alone = [
            train(tied, seq=int(s), micro_batch=int(b), **options).allocated_bytes
            for s, b in zip(seq, batch, strict=True)
        ]
        assert swept.tolist() == alone


def test_a_sweep_says_what_it_cannot():
    """A stage, or a yes, for each point."""
    swept = {"seq": np.array([128, 4096]), "world": 2, "pp": 2, "on": "2x h100-80g"}
    plan = train(LLAMA, **swept)
    for asked in (lambda: plan.at("loss"), lambda: plan.fits):
        with pytest.raises(MemcalcError, match=r"^--(rank|on): expected .* sweep"):
            asked()
    first = train(LLAMA, **swept, rank="first")
    assert list(sum(first.at("step").values())) == [
        total(train(LLAMA, **{**swept, "seq": seq}, rank="first"), "step") for seq in (128, 4096)
    ]


def test_shapes_are_assumed_to_be_constant():
    """What the allocator reserves beyond what is held was measured on runs whose lengths do not vary."""
    (said,) = train("Qwen/Qwen2.5-72B", seq=128).assumed
    assert said.startswith("constant shapes")
    assert "assumed: constant shapes" in str(train("Qwen/Qwen2.5-72B", seq=128))


VARYING = "segments of varying lengths"
LORA = {"seq": 8192, "lora_rank": 8, "regime": "pure-bf16"}


def test_varying_lengths_are_reserved_and_no_verdict_counts_them():
    """What is held is as before; what comes on top is given back, and never needs more than there is."""
    packed, varying = (
        train(LLAMA, **LORA, lengths=lengths, on="1x a100-40g") for lengths in ("packed", "varying")
    )
    assert varying.allocated_bytes == packed.allocated_bytes
    assert (varying.verdict, varying.fits) == (packed.verdict, packed.fits)
    lines = {line.name: line for line in varying.device.lines}
    assert {line.name for line in packed.device.lines} == lines.keys() - {VARYING}
    assert varying.device.total_bytes == packed.device.total_bytes + lines[VARYING].bytes
    assert varying.device.total_bytes <= varying.device.capacity_bytes
    (said,) = varying.assumed
    assert "the verdict leaves them out" in said


def test_a_plan_that_fits_with_varying_lengths_fits_at_their_longest():
    """The most that surely fits is that of packed sequences, though more is reserved."""
    found = [
        train(LLAMA, **LORA, lengths=lengths, on="1x a100-80g").max_seq for lengths in ("packed", "varying")
    ]
    assert found[0] == found[1] > 8192
    fitting = train(LLAMA, **{**LORA, "seq": found[0]}, lengths="varying", on="1x a100-80g")
    assert fitting.verdict == "fits"
    assert fitting.device.high_bytes > fitting.device.capacity_bytes - 2**30


def test_segments_that_expand_hold_less():
    """What varying lengths leave behind is less; of constant ones only the lower end is."""
    ends = {}
    for allocator in ("default", "expandable"):
        for lengths in ("packed", "varying"):
            device = train(LLAMA, **LORA, lengths=lengths, allocator=allocator).device
            ends[allocator, lengths] = device.low_bytes, device.total_bytes, device.high_bytes
    assert ends["default", "packed"][1:] == ends["expandable", "packed"][1:]
    assert ends["default", "packed"][0] >= ends["expandable", "packed"][0]
    for less, more in zip(ends["expandable", "varying"], ends["default", "varying"], strict=True):
        assert less < more


def test_segments_of_varying_lengths_follow_from_what_passes():
    """The sum of the lines as they stand: most of what passes are the logits."""
    from memcalc.data.constants import TRAINING_VARYING_PERCENT

    device = train(LLAMA, **LORA, lengths="varying").device
    of = {line.name: line for line in device.lines}
    once = [line for line in device.lines if line.moments]
    always = sum(line.bytes for line in once if set(line.moments) == set(device.moment_names))
    kept = sum(
        line.bytes for line in once if line.component == "activations" and "forward_end" in line.moments
    )
    high = of["allocator reserve"].high + of[VARYING].high + max(device.moments.values())
    passing = (high - always - kept) * 100 / TRAINING_VARYING_PERCENT.high
    logits = sum(line.bytes for line in once if line.component == "logits")
    assert logits < passing < 1.5 * logits


SMALL_LLAMA = {
    "model_type": "llama",
    "vocab_size": 307,
    "hidden_size": 64,
    "intermediate_size": 176,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def test_checkpoints_below_what_is_trained_keep_their_inputs_since_transformers_5():
    """It asks the embedded tokens for a gradient: a small model's trace has a peak of 753,904 B.

    Before, torch.utils.checkpoint lets go of all inputs, as nothing there runs backwards: 700,576 B; whoever
    asks by himself is at the upper end.
    """
    asked = {"seq": 4096, "trainable": ("lm_head",)}
    none = train("Qwen/Qwen3-8B", **asked)
    full, before = (
        train("Qwen/Qwen3-8B", **asked, recompute="full", engine_version=one) for one in (None, "4.57")
    )
    assert none.allocated_bytes == before.allocated_bytes == 31_350_942_216
    norm, tables, positions = 4 * 4096 + 4, 2 * 2 * 128, 8  # of one token
    kept = 4096 * (36 * 2 * 4096 + norm + tables + positions)
    assert full.allocated_bytes == before.allocated_bytes + kept
    small = {"seq": 33, "micro_batch": 2, "recompute": "full", "regime": "pure-bf16"}
    now, then = (
        train(Source("small", SMALL_LLAMA, "here"), trainable=("lm_head",), engine_version=one, **small)
        for one in (None, "4.57")
    )
    (line,) = (one for one in then.device.lines if one.name.startswith("kept by frozen layers"))
    assert (line.low, line.bytes, line.high) == (0, 0, 753_904 - 700_576)
    assert now.allocated_bytes - then.allocated_bytes == 753_904 - 700_576
    assert not any(one.name.startswith("kept by frozen layers") for one in now.device.lines)


def test_layers_that_train_keep_their_inputs():
    """Also where the embedding is frozen; then no line is needed for what frozen layers may keep."""
    step = train("Qwen/Qwen3-8B", seq=4096, trainable=("mlp",), recompute="full")
    assert step.at("forward_end")["activations"] > 36 * 2 * 4096 * 4096
    assert not [line for line in step.device.lines if "frozen layers" in line.name]


@pytest.mark.parametrize(
    "wrong",
    [
        {"seq": np.array([0, 5])},
        {"seq": np.array([1.5])},
        {"seq": np.array([], dtype="int64")},
        {"seq": np.array([2**40]), "micro_batch": np.array([2**40])},
        {"seq": np.array([2**31]), "micro_batch": np.array([2**16])},  # just beyond 2^63 bytes
        {"seq": np.array([1, 2, 3]), "micro_batch": np.array([1, 2])},
    ],
)
def test_a_sweep_that_cannot_be_is_refused(wrong):
    with pytest.raises(MemcalcError, match="expected"):
        _ = train(LLAMA, **wrong).allocated_bytes


EXCHANGED = {"implementation": "megatron", "context_exchange": "a2a"}
QUANTISED = "Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4"
MAMBA = {"source": "ibm-granite/granite-4.0-h-small"}  # its fused kernel multiplies by out_proj itself
PEFT_REFUSES = "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16"
WRONG = [
    ("attention", {"source": "bigscience/bloom", "seq": 512, "attention": "flash"}),
    ("attention", {"source": "tiiuae/falcon-7b", "seq": 512, "attention": "sdpa"}),
    ("attention", {"attention": "flash", "on": "1x t4"}),
    ("state-kernels", {"state_kernels": "fused"}),
    ("state-kernels", MAMBA | {"lora_rank": 8, "quantize_base": "nf4", "state_kernels": "fused"}),
    ("lora-targets", MAMBA | {"lora_rank": 8, "lora_targets": ("out_proj",)}),
    ("lora-targets", MAMBA | {"source": PEFT_REFUSES, "lora_rank": 8, "lora_targets": ("out_proj",)}),
    ("quantize-base", {"source": QUANTISED, "lora_rank": 8, "quantize_base": "nf4"}),
    ("reference", {"reference": "copy"}),
    ("world", {"world": 6, "tp": 4}),
    ("tp", {"world": 3, "tp": 3}),
    ("tp", {"world": 16, "tp": 16}),
    ("pp", {"world": 5, "pp": 5}),
    ("vpp", {"vpp": 2}),
    ("ep", {"world": 2, "ep": 2}),
    ("sequence-parallel", {"sequence_parallel": True}),
    ("seq", {"seq": 4097, "world": 2, "cp": 2}),
    ("seq", {"seq": 0}),
    ("lora-targets", {"lora_rank": 8, "lora_targets": ("q_proj", "z_proj")}),
    ("lora-targets", {"lora_targets": ("q_proj",)}),
    ("adapter-dtype", {"lora_rank": 8, "adapter_dtype": "fp16"}),
    ("recompute-modules", {"recompute": "selective", "recompute_modules": ("core_attention",)}),
    ("recompute-modules", {"recompute_modules": ("mlp",)}),
    ("trainable", {"source": "Qwen/Qwen2-7B-Instruct", "trainable": ("bias",)}),
    ("optimizer", {"optimizer": "adamw-8bit"}),
    ("optimizer", {"optimizer": "adafactor", "regime": "pure-bf16", "shard": 2, "world": 4}),
    ("optimizer", {"optimizer": "gravity"}),
    ("optimizer-step", {"optimizer": "lion", "optimizer_step": "fused", "regime": "fp32"}),
    ("gradients", {"regime": "fp32", "gradients": "bf16"}),
    ("pipeline-layout", {"world": 2, "pp": 2, "pipeline_layout": (16, 15)}),
    ("pipeline-layout", {"world": 2, "pp": 2, "pipeline_layout": "16,16"}),
    ("schedule", {"schedule": "gpipe"}),
    ("schedule", {"schedule": "gpipe", "world": 2, "pp": 2, "vpp": 2}),
    ("expert-tp", {"world": 2, "expert_tp": 2}),
    ("expert-tp", {"world": 2, "expert_tp": 4}),
    ("loss", {"loss": "magic"}),
    ("loss", {"loss": "vocabulary-parallel"}),
    ("implementation", {"implementation": "jax"}),
    ("quantize-base", {"quantize_base": "nf4"}),
    ("quantize-base", {"quantize_base": "int8", "lora_rank": 8, "world": 8, "shard": 3}),
    ("quantize-base", {"quantize_base": "int8", "lora_rank": 8, "world": 8, "shard": "fsdp"}),
    ("offload", {"quantize_base": "nf4", "lora_rank": 8, "world": 8, "shard": 3, "offload": "parameters"}),
    ("trainable", {"trainable": ("nothing_of_this_name",)}),
    ("trainable", {"source": "Qwen/Qwen3-30B-A3B", "trainable": ("gate_proj",)}),
    ("trainable", {"source": "gpt2", "seq": 128, "trainable": ("q_proj",)}),
    ("trainable", {"source": "Qwen/Qwen3-0.6B", "trainable": ("q_proj",), "implementation": "megatron"}),
    ("trainable", {"source": "deepseek-ai/DeepSeek-V3.2", "trainable": ("indexer",)}),
    ("trainable", {"trainable": ("mlp",), "lora_rank": 8}),
    ("dora", {"dora": True}),
    ("trainable", {"trainable": ("lm_head",), "lora_rank": 8, "lora_targets": ("lm_head",)}),
    ("tp", {"trainable": ("lm_head",), "lora_rank": 8, "tp": 2, "world": 2}),
    ("upcast", {"upcast": True, "lora_rank": 8}),
    ("quantize-experts", {"quantize_experts": True, "quantize_base": "nf4", "lora_rank": 8}),
    ("quantize-base", {"source": "Qwen/Qwen3-30B-A3B", "quantize_base": "awq-int4-g128", "lora_rank": 8}),
    ("offload", {"offload": ("parameters",)}),
    ("offload", {"offload": ("weights",)}),
    ("dropout", {"dropout": 1.0}),
    ("dropout", {"source": "Qwen/Qwen3-30B-A3B", "lora_rank": 8, "dropout": 0.1}),
    ("regime", {"source": "Qwen/Qwen3-30B-A3B", "regime": "amp"}),
    ("dropout", {"source": "Qwen/Qwen3-30B-A3B", "lora_rank": 8, "lora_targets": ("gate",), "dropout": 0.1}),
    ("repeat-kv", {"attention": "eager", "repeat_kv": False}),
    ("on", {"world": 8, "on": "4x a100-80g"}),
    ("shard", {"shard": 4}),
    ("shard", {"shard": True}),
    ("sequence-parallel", {"source": "Qwen/Qwen3-30B-A3B", "world": 2, "tp": 2, "sequence_parallel": True}),
    ("experts", {"experts": "grouped_mm"}),
    ("experts", {"experts": "alltoall", "implementation": "megatron"}),
    ("repeat-kv", {"repeat_kv": True, "implementation": "megatron"}),
    ("autocast", {"autocast": True, "implementation": "megatron", "regime": "bf16-mixed"}),
    ("loss", {"loss": ""}),
    ("context-exchange", {"context_exchange": "a2a", "world": 2, "cp": 2}),
    ("context-exchange", {"context_exchange": "a2a", "implementation": "megatron"}),
    ("cp", {"source": "meta-llama/Llama-3.3-70B-Instruct", "world": 16, "cp": 16, **EXCHANGED}),
    ("cp", {"source": "meta-llama/Llama-3.3-70B-Instruct", "world": 16, "tp": 4, "cp": 4, **EXCHANGED}),
    ("gradients", {"lora_rank": 8, "gradients": "bf16+fp32"}),
    ("autocast", {"regime": "amp", "autocast": False}),
    ("autocast", {"regime": "fp32", "autocast": True}),
    ("gradients", {"lora_rank": 8, "adapter_dtype": "bf16", "gradients": "fp32"}),
    (
        "recompute-modules",
        {"implementation": "megatron", "recompute": "selective", "recompute_modules": ("moe",)},
    ),
    ("regime", {"regime": "amp", "implementation": "megatron"}),
    ("engine-version", {"source": "Qwen/Qwen3-8B", "engine_version": "4.45"}),
    ("engine-version", {"engine_version": "4.45", "implementation": "megatron"}),
    ("engine-version", {"engine_version": "4.58"}),
    ("engine-version", {"engine_version": "4.99"}),
    ("attention", {"attention": "eager", "world": 2, "cp": 2}),
    ("attention", {"attention": "eager", "world": 2, "cp": 2, "implementation": "megatron"}),
    ("loss", {"loss": "fused-linear", "regime": "pure-bf16", "seq": np.array([128, 256])}),
    ("vocab-multiple", {"vocab_multiple": 0}),
    ("hold-logits", {"hold_logits": "no"}),
    ("keep-gradients", {"keep_gradients": 1}),
    ("gradient-fusion", {"implementation": "megatron", "gradient_fusion": "no"}),
    ("lora-targets", {"lora_rank": 8, "lora_targets": ["q_proj", 1]}),
    ("trainable", {"trainable": [True]}),
    ("offload", {"offload": [b"optimizer"]}),
    ("pipeline-layout", {"pipeline_layout": [32.0]}),
    ("recompute-modules", {"recompute": "selective", "recompute_modules": ["mlp", None]}),
    ("offload", {"offload": 1}),
    ("compile", {"compile": "yes"}),
    ("repeat-kv", {"repeat_kv": "yes"}),
    ("regime", {"regime": "bf16"}),
    ("world", {"world": np.array([8])}),
    ("accumulate", {"accumulate": np.array([1, 2])}),
    ("seq", {"seq": 4096.0}),
    ("lora-targets", {"lora_rank": 8, "lora_targets": ()}),
    ("sequence-parallel", {"lora_rank": 8, "world": 2, "tp": 2, "sequence_parallel": True}),
    ("pipeline-layout", {"world": 2, "pp": 2, "pipeline_layout": (33, -1)}),
    ("pipeline-layout", {"pipeline_layout": ()}),
    ("ep", {"source": "Qwen/Qwen3-30B-A3B", "world": 3, "ep": 3}),
    ("loss", {"loss": "liger", "regime": "fp32"}),
    ("loss", {"loss": "fused-linear", "hold_logits": True}),
    ("offload", {"offload": ("activations",)}),
    ("context-exchange", {"context_exchange": "ring"}),
    ("optimizer", {"optimizer": "muon", "regime": "pure-bf16", "shard": "fsdp", "world": 2}),
    ("tp", {"source": "Qwen/Qwen3-30B-A3B", "implementation": "megatron", "world": 2, "tp": 2}),
    ("seq", {"source": "openai-community/gpt2", "seq": 1025}),
    ("seq", {"source": "openai-community/gpt2", "seq": np.array([512, 1025])}),
    ("trainable", {"lora_rank": 8, "trainable": ("lm_head",), "shard": 3, "world": 2}),
    ("like", {"lora_rank": 8, "trainable": ("lm_head",), "like": "trl"}),
    ("adapter-dtype", {"lora_rank": 8, "adapter_dtype": "bf16", "shard": 2, "world": 2}),
    (
        "engine-version",
        {
            "source": "Qwen/Qwen3-30B-A3B",
            "lora_rank": 8,
            "quantize_base": "nf4",
            "lora_targets": ("q_proj",),
            "engine_version": "4.55",
        },
    ),
    ("engine-version", {"source": "Qwen/Qwen3-30B-A3B", "lora_rank": 8, "engine_version": "v4.55"}),
    ("load", {"load": "disk"}),
    ("load", {"load": "rank-0"}),
    ("load", {"load": "rank-0", "shard": "fsdp", "world": 2, "lora_rank": 8, "quantize_base": "nf4"}),
    ("load", {"load": "device", "shard": 3, "world": 2}),
    ("load", {"load": "host", "implementation": "megatron"}),
    ("save", {"save": "weights", "engine_version": "4.57"}),
    ("save", {"save": "sharded", "world": 2, "shard": 2}),
    ("evaluate", {"evaluate": "metrics"}),
    ("evaluate", {"evaluate": "loss", "world": 2, "tp": 2}),
    ("eval-batch", {"eval_batch": 4}),
    ("eval-batch", {"evaluate": "loss", "eval_batch": 0}),
    ("eval-accumulation-steps", {"evaluate": "loss", "eval_accumulation_steps": 1}),
    ("loss", {"evaluate": "loss", "loss": "liger"}),
    ("seq", {"source": "deepseek-ai/DeepSeek-V3.2", "seq": np.array([512, 1024])}),
]


@pytest.mark.parametrize(("option", "options"), WRONG)
def test_a_plan_that_cannot_be_is_refused(option, options):
    """One line that begins with the option."""
    with pytest.raises(MemcalcError, match=rf"^--{option}: expected .*; ") as refused:
        train(
            options.get("source", LLAMA),
            **{"seq": 4096, **{name: options[name] for name in options if name != "source"}},
        )
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("cp", "tp"), [(8, 1), (4, 2), (1, 8)])
def test_heads_are_exchanged_where_a_rank_has_a_multiple_of_the_ranks(cp, tp):
    """Llama-3.3-70B has 64 query heads and 8 key heads; with p2p 16 ranks may share a sequence."""
    name, world = "meta-llama/Llama-3.3-70B-Instruct", cp * tp
    asked = {"seq": 4096, "implementation": "megatron", "world": world, "tp": tp}
    exchange = "p2p" if cp == 1 else "a2a"
    assert train(name, cp=cp, context_exchange=exchange, **asked).plan.parallelism.cp == cp
    assert train(name, **asked | {"world": 16 * tp}, cp=16).plan.parallelism.cp == 16


def test_the_head_of_a_tied_model_is_trained_as_its_embedding():
    with pytest.raises(MemcalcError, match="self_attn,embed_tokens, which is the head too"):
        train("Qwen/Qwen3-0.6B", seq=8, trainable=("lm_head",))
    assert train("Qwen/Qwen3-0.6B", seq=8, trainable=("embed_tokens",)).trainable_parameters == 151_936 * 1024


@pytest.mark.parametrize(("named", "same"), [("embed_tokens.weight", ("embed_tokens",)), ("weight", ())])
@pytest.mark.parametrize("recompute", ["none", "full"])
@pytest.mark.parametrize("source", [LLAMA, "Qwen/Qwen3-0.6B"])
def test_a_weight_may_be_named_to_its_end(source, recompute, named, same):
    one, other = (
        train(source, seq=64, regime="pure-bf16", recompute=recompute, trainable=names)
        for names in ((named,), same)
    )
    assert one.trainable_parameters == other.trainable_parameters
    assert [one.at(moment) for moment in one.moments] == [other.at(moment) for moment in other.moments]


def test_every_check_refuses_one_of_these_plans():
    """A check that nothing fails would hold nothing."""
    refusing = set()
    for _, options in WRONG:
        keywords = {"seq": 4096, **options}
        source = keywords.pop("source", LLAMA)
        try:
            plan = resolve(source, TrainingOptions(**keywords))
        except MemcalcError:
            continue
        for check in CHECKS:
            try:
                check(plan)
            except MemcalcError:
                refusing.add(check)
    # of files: tests/test_trained_checkpoints.py, and below
    elsewhere = {"stored_base_is_modelled", "stored_format_is_known", "sides_of_experts_are_grouped"}
    assert {check.__name__ for check in CHECKS if check not in refusing} == elsewhere


@pytest.mark.parametrize(("field", "size"), [("moe_intermediate_size", 772), ("hidden_size", 2052)])
def test_experts_whose_rows_torch_cannot_group_are_refused(field, size):
    """torch 2.13 says so, of fake tensors and of real ones (tests/oracles/test_measure.py)."""
    fields = record("Qwen/Qwen3-30B-A3B").fields | {field: size}
    odd = Source("odd experts", fields, "a published config, changed")
    asked = {"seq": 64, "regime": "pure-bf16"}
    refused = (
        rf"^{field}: expected a multiple of 8, of experts' matrices, given {size}; .*--experts batched_mm"
    )
    with pytest.raises(MemcalcError, match=refused):
        train(odd, **asked)
    assert train(odd, experts="batched_mm", **asked).allocated_bytes
    assert train("Qwen/Qwen3-30B-A3B", **asked).allocated_bytes


SMALL_MIXTURE = {
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
SMALL_MIXTURE |= {"intermediate_size": 64, "vocab_size": 128, "head_dim": 16}
TWO_OF_FOUR = {"num_experts": 4, "num_experts_per_tok": 2}


@pytest.mark.parametrize(
    "own",
    [
        {"model_type": "qwen3_moe", "moe_intermediate_size": 32, **TWO_OF_FOUR},
        {"model_type": "flex_olmo", **TWO_OF_FOUR},
        {"model_type": "afmoe", "moe_intermediate_size": 32, "num_dense_layers": 1, **TWO_OF_FOUR},
        {"model_type": "granitemoe", "num_local_experts": 4, "num_experts_per_tok": 2},
        {"model_type": "aria_text", "moe_num_experts": 4, "moe_topk": 2},
    ],
    ids=lambda own: own["model_type"],
)
@pytest.mark.parametrize("regime", ["amp", "fp32"])
def test_experts_in_32_bits_are_refused_where_torch_groups_their_products(own, regime):
    """Whether their operations are listed or not; each of these classes has use_experts_implementation."""
    found = Source("a mixture", SMALL_MIXTURE | own, "made up")
    with pytest.raises(MemcalcError, match=f"^--regime: expected 16-bit .*, given '{regime}'; .*pure-bf16$"):
        train(found, seq=16, regime=regime)
    assert train(found, seq=16, regime="pure-bf16").allocated_bytes


def test_copies_of_experts_in_32_bits_are_not_said_to_be_grouped():
    with pytest.raises(
        MemcalcError, match=r"^--regime: .*what copies of matrices in 32 bits hold is not modelled"
    ):
        train("Qwen/Qwen3-30B-A3B", seq=64, regime="amp", experts="batched_mm")


def test_a_regime_that_a_trainer_chose_is_said_to_be_its_default():
    name, asked = "Qwen/Qwen3-30B-A3B", {"seq": 64, "like": "trl"}
    with pytest.raises(MemcalcError, match=r"given amp, the default of TRL.*; add --regime pure-bf16$"):
        train(name, **asked)
    assert train(name, regime="pure-bf16", **asked).allocated_bytes


@pytest.mark.parametrize(
    ("implementation", "switched_off"),
    [("transformers", "gradient_fusion"), ("megatron", "autocast"), ("megatron", "repeat_kv")],
)
def test_to_switch_off_what_is_not_there_changes_nothing(implementation, switched_off):
    asked = {"seq": 64, "implementation": implementation}
    off = train(LLAMA, **asked, **{switched_off: False})
    assert off.allocated_bytes == train(LLAMA, **asked).allocated_bytes


@pytest.mark.parametrize(
    ("source", "options", "line"),
    [
        (LLAMA, {"vpp": 3}, "--vpp: expected 1 without --pp, given 3; chunks belong to pipeline stages"),
        (
            LLAMA,
            {"upcast": True, "lora_rank": 8},
            "--upcast: expected --quantize-base as well, given nothing; it widens what is not quantised",
        ),
        (
            "Qwen/Qwen3-30B-A3B",
            {"quantize_experts": True, "lora_rank": 8},
            "--quantize-experts: expected --quantize-base nf4 or nf4-dq or fp4 or fp4-dq, given nothing",
        ),
    ],
)
def test_a_refusal_names_nothing_that_was_not_given(source, options, line):
    with pytest.raises(MemcalcError) as refused:
        train(source, seq=64, **options)
    assert str(refused.value).startswith(line)
    assert "--" not in str(refused.value).removeprefix(line).replace("--regime amp", "")


def test_a_plan_that_can_be_passes_every_check():
    assert resolve(LLAMA, TrainingOptions(seq=4096), CHECKS).options.seq == 4096


@pytest.mark.parametrize("option", list(options_of(TrainingOptions)), ids=lambda option: option.name)
def test_every_option_says_what_it_is(option):
    """A line that means something, below a heading; a default in words where its value is None or empty."""
    assert option.meaning
    assert "\n" not in option.meaning
    assert option.group in GROUPS
    assert option.required or option.otherwise or option.default not in (None, ())
    assert option.kind is not int or option.at_least == 1


GROUPS = {
    *("model and data", "precision", "optimizer and loss", "parallelism", "activations", "adapters"),
    *("Megatron-LM", "machine", "preferences and rewards", "loading, evaluation and saving"),
}


def test_options_show_what_was_asked_for():
    asked = TrainingOptions(seq=4096, offload=("optimizer",), compile=True)
    assert repr(asked) == "TrainingOptions(seq=4096, compile=True, offload=('optimizer',))"


def test_the_command_says_the_same_as_python(capsys):
    """Words separated by commas are tuples, yes and no are booleans, and in the JSON lists."""
    words = ["--recompute", "selective", "--recompute-modules", "core_attn,mlp", "--repeat-kv", "yes"]
    more = ["--seq", "128", "--world", "2", "--pp", "2", "--pipeline-layout", "15,17", "--no-gradient-fusion"]
    assert main(["train", LLAMA, *more[:-1], *words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    same = {"recompute": "selective", "recompute_modules": ("core_attn", "mlp"), "repeat_kv": True}
    plan = train(LLAMA, seq=128, world=2, pp=2, pipeline_layout=(15, 17), **same)
    assert said["allocated_bytes"] == plan.allocated_bytes
    assert said["plan"] == json.loads(json.dumps(plan_fields(plan.plan)))
    assert said["plan"]["recompute_modules"] == ["core_attn", "mlp"]
    assert main(["train", LLAMA, *more, "--repeat-kv", "maybe"]) == 2
    assert "--repeat-kv" in capsys.readouterr().err


UNUSED = {  # by a plan for a dense model without a machine: the command pays for none of them
    "memcalc.ledger.formats",
    "memcalc.files.machines",
    "memcalc.training.polynomial",
    "memcalc.training.api",
    "memcalc.training.autograd.gpt2",
    "memcalc.training.autograd.megatron",
    "memcalc.training.autograd.routing",
    "memcalc.training.megatron_arguments",
    "memcalc.training.zero",
}


def test_the_command_loads_nothing_that_its_plan_does_not_use():
    words = f"main(['train', '{LLAMA}', '--seq', '4096', '--json'])"
    program = f"import sys; from memcalc.__main__ import main; {words}; print('\\n', *sys.modules)"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert UNUSED & set(said.stdout.splitlines()[-1].split()) == set()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"recompute": "full", "optimizer_step": "for-loop"},
        {"world": 8, "shard": "fsdp", "on": "8x h100-80g"},
        {"world": 8, "shard": 0, "keep_gradients": True},
        {"world": 4, "pp": 4, "accumulate": 8, "hold_logits": True, "on": "4x a100-80g"},
    ],
)
def test_the_allocator_reserves_the_most_that_each_kind_of_segment_holds(options):
    """Segments of a component serve all its lines, those of a temporary it alone."""
    device = train(LLAMA, seq=4096, regime="pure-bf16", **options).device
    (reserve,) = (line for line in device.lines if line.name == "allocator reserve")
    known = [line for line in device.lines if line.moments]
    lasting = [line for line in known if set(line.moments) == set(device.moment_names)]
    everything = sum(line.bytes for line in lasting)
    for kind in {kind_of(line) for line in known if line not in lasting}:
        everything += max(
            sum(line.bytes for line in known if kind_of(line) == kind and moment in line.moments)
            for moment in device.moment_names
        )
    held = max(device.moments.values())
    ends = [everything * percent // 100 for percent in (88, 100, 108)]
    if device.capacity_bytes is not None:
        beside = sum(line.bytes for line in device.lines if line.component == "runtime") - reserve.bytes
        room = max(device.capacity_bytes - beside, held)
        ends = [held, (held + room) // 2, room] if everything > room else [min(end, room) for end in ends]
    assert [reserve.low, reserve.bytes, reserve.high] == [max(0, end - held) for end in ends]


def kind_of(line):
    """What shares segments with a line."""
    return line.component, line.component == "temporaries" and line.name


def test_a_plan_says_all_that_it_was_left():
    """Under the names of the keywords; of a dense model there is no way to compute experts."""
    keywords = set(signature(train).parameters) - {"source"}
    dense, sparse = (train(name, seq=128, regime="pure-bf16") for name in (LLAMA, "Qwen/Qwen3-30B-A3B"))
    dense, sparse = plan_fields(dense.plan), plan_fields(sparse.plan)
    assert keywords | {"dp", "vocab"} == set(dense)
    assert [dense["experts"], sparse["experts"]] == [None, "grouped_mm"]
    adapted = train(LLAMA, seq=128, lora_rank=8, adapter_dtype="bf16")
    assert [adapted.plan.gradients, train(LLAMA, seq=128, lora_rank=8).plan.gradients] == ["bf16", "fp32"]


SHOWN = [
    {},
    {"on": "1x h100-80g"},
    {"seq": np.array([128, 4096])},
    {"seq": np.array([128, 4096]), "world": 2, "pp": 2},
    {"world": 8, "pp": 2, "shard": "fsdp", "offload": ("optimizer",), "on": "8x h100-80g + 512GiB host"},
]


@pytest.mark.parametrize("options", SHOWN)
def test_an_estimate_shows_itself_in_twelve_lines(options):
    shown = train(LLAMA, **{"seq": 4096, **options})
    assert len(repr(shown)) < 1500
    assert len(repr(shown).splitlines()) <= 12
    assert repr(shown).startswith(f"{LLAMA}: 8,030,261,248 of 8,030,261,248 parameters trained\n")
    assert "<" in shown._repr_html_()


def test_an_estimate_says_whether_it_fits_and_where_it_lies():
    fully = {"seq": 4096, "world": 8, "pp": 2, "shard": "fsdp"}
    said = str(train(LLAMA, **fully, offload=("optimizer",), on="8x h100-80g + 512GiB host"))
    assert "\n  fullest of 8 device(s), pipeline stage 1, " in said
    assert "\n  fits\n  in the host's memory: 79.02 GiB (63.18 GiB to 97.84 GiB) of 512.00 GiB" in said
    assert "\n  does not fit" in str(train(LLAMA, seq=4096, on="1x rtx-4090"))
    assert "fit" not in str(train(LLAMA, seq=4096))


def test_what_is_left_open_is_filled_in():
    """Every value of a plan with one option stated, and those that another implementation changes."""
    filled = {
        **dict.fromkeys(("micro_batch", "accumulate", "world", "tp", "pp", "vpp", "cp", "ep", "dp"), 1),
        **dict.fromkeys(
            ("keep_gradients", "hold_logits", "sequence_parallel", "compile", "repeat_kv"), False
        ),
        **dict.fromkeys(("dora", "quantize_experts", "upcast"), False),
        **dict.fromkeys(("experts", "lora_rank", "adapter_dtype", "quantize_base", "on", "like"), None),
        **dict.fromkeys(("reference", "reward_model", "critic", "completion_tokens"), None),
        **dict.fromkeys(("num_generations", "logprob_batch", "rollout_engine"), None),
        **dict.fromkeys(("rollout_utilization", "rollout_tp", "sleep_level"), None),
        "method": "sft",
        "state_kernels": None,
        "offload_between": (),
        **dict.fromkeys(("trainable", "recompute_modules", "lora_targets", "offload"), ()),
        "seq": 128,
        "engine_version": "5.23",
        "regime": "bf16-mixed",
        "gradients": "bf16",
        "implementation": "transformers",
        "autocast": False,
        "attention": "flash",
        "optimizer": "adamw",
        "optimizer_step": "fused",
        "loss": "plain",
        "shard": 0,
        "expert_tp": 1,
        "schedule": "1f1b",
        "pipeline_layout": (32,),
        "rank": "fullest",
        "recompute": "none",
        "dropout": 0.0,
        "vocab_multiple": 1,
        "vocab": 128_256,
        "gradient_fusion": True,
        "context_exchange": "p2p",
        "lengths": "packed",
        "allocator": "default",
        "load": "host",
        "save": "full",
        **dict.fromkeys(("evaluate", "eval_batch", "eval_accumulation_steps"), None),
    }
    assert plan_fields(train(LLAMA, seq=128).plan) == filled
    changed = {"implementation": "megatron", "gradients": "fp32", "dropout": 0.1, "load": None, "save": None}
    changed |= {"loss": "megatron", "vocab_multiple": 128, "engine_version": None}
    assert plan_fields(train(LLAMA, seq=128, implementation="megatron").plan) == {**filled, **changed}
    eager = plan_fields(train(LLAMA, seq=128, attention="eager").plan)
    assert eager == {**filled, "attention": "eager", "repeat_kv": True}


def test_experts_of_megatron_with_tensor_parallelism_want_sequence_parallelism():
    """MoELayer.forward raises without: Megatron-LM, megatron/core/transformer/moe/moe_layer.py, 2026-11."""
    sparse = {"seq": 128, "world": 2, "tp": 2, "implementation": "megatron"}
    with pytest.raises(MemcalcError, match=r"^--tp: expected --sequence-parallel as well"):
        train("Qwen/Qwen3-30B-A3B", **sparse)
    assert train("Qwen/Qwen3-30B-A3B", **sparse, sequence_parallel=True).allocated_bytes > 0


def test_a_first_stage_holds_as_many_micro_batches_as_there_are_stages():
    layout = TrainingParallelism(world=4, pp=4)
    assert [layout.in_flight(stage, 32) for stage in range(4)] == [4, 3, 2, 1]
    assert TrainingParallelism(world=4, pp=4, schedule="gpipe").in_flight(0, 32) == 32
    assert [TrainingParallelism(world=4, pp=4, vpp=2).in_flight(stage, 32) for stage in (0, 3)] == [11, 5]
    assert TrainingParallelism(world=4, pp=4).in_flight(0, 2) == 2


def test_experts_are_cut_over_ranks_that_exist():
    """Expert parallelism's ranks are those of a stage, whether or not experts are dealt out."""
    sparse = {"seq": 128, "regime": "pure-bf16"}
    for wrong in ({"world": 1, "expert_tp": 2}, {"world": 8, "expert_tp": 7}, {"world": 5, "expert_tp": 5}):
        with pytest.raises(MemcalcError, match=r"^--expert-tp: expected a divisor of "):
            train("Qwen/Qwen3-30B-A3B", **sparse, **wrong)
    whole, cut = (train("Qwen/Qwen3-30B-A3B", **sparse, world=2, **how) for how in ({}, {"expert_tp": 2}))
    experts = sum(one.count for one in whole.model.weights() if one.active_experts is not None)
    assert whole.at("step")["weights"] - cut.at("step")["weights"] == 2 * experts // 2


@pytest.mark.parametrize("experts", ["grouped_mm", "batched_mm"])
def test_a_rank_makes_gradients_of_its_own_experts(experts):
    """And of its part of each; between their two matrices it keeps its part of each row."""
    sparse = {"seq": 128, "regime": "pure-bf16", "experts": experts}

    def layer(**how):
        plan = train("Qwen/Qwen3-30B-A3B", **sparse, **how).plan
        tape, one = plan.micro_batch.tape(), plan.model.layers[0]
        stream = tape.value("x", stream_shape(plan), 2, grad=True)
        plan.implementation.layer(tape, plan.micro_batch, one, stream)
        made = sum(
            op.weight_bytes for op in tape.operations if op.name in ("grouped product", "copy matrices")
        )
        return made, sum(value.bytes for value in tape.kept() if value.region == "expert")

    made, kept = layer()
    assert made == 2 * 3 * 128 * 768 * 2048
    assert kept >= 2 * 4 * 128 * 8 * 768
    assert layer(world=8, ep=8) == (made // 8, kept)
    assert layer(world=4, tp=4) == (made // 4, kept // 4)


def test_two_layers_are_gathered_while_layers_run():
    """The one that runs and the next one, whole and in 16 bits, whatever the ranks."""
    plan = train(LLAMA, seq=128, world=8, shard="fsdp")
    lines = {line.name: line for line in plan.device.lines if line.component == "gathered"}
    layers = sum(one.count for one in plan.model.weights() if "{layer}" in one.name)
    assert lines["two layers, whole"].bytes == 2 * 2 * layers // 32
    assert lines["two layers, whole"].moments == ("backward",)
    unit = max(plan.model.parameters - layers, layers // 32)  # embedding and head, or one layer
    assert lines["gradients of one unit before they are shared out"].bytes == (2 + 4) * unit


def test_the_context_of_the_driver_must_fit_too():
    """The longest sequence whose tensors alone would fill the card does not fit."""

    def plan(seq):
        return train(LLAMA, seq=seq, regime="pure-bf16", optimizer="sgd", on="1x h100-80g")

    capacity = plan(128).device.capacity_bytes
    longest = largest(lambda seq: plan(seq).allocated_bytes <= capacity)
    assert plan(longest).fits is False
    assert plan(longest - 500).fits is True


def test_cublas_has_a_workspace_for_each_of_two_threads():
    """8,519,680 B for the forward pass's and for the backward pass's; 32 MiB each on Hopper."""
    for card, one in (("a100-80g", 8_519_680), ("h100-80g", 32 * 2**20)):
        assert train(LLAMA, seq=128, on=f"1x {card}").at("step")["workspace"] == 2 * one


@pytest.mark.parametrize("offload", [(), ("optimizer",), ("optimizer", "parameters", "activations")])
@pytest.mark.parametrize("on", [None, "8x h100-80g + 512GiB host"])
def test_the_answer_of_the_command_agrees_with_itself(offload, on):
    """Lines add up to components, components to moments; the host holds what all ranks put there."""
    plan = train(LLAMA, seq=4096, world=8, shard="fsdp", recompute="full", offload=offload, on=on)
    said = fields(plan)
    for moment in said["moments"]:
        found = {}
        for line in said["lines"]:
            if line["pool"] == "gpu" and moment["at"] in line["moments"]:
                found[line["component"]] = found.get(line["component"], 0) + line["bytes"]
        assert found == moment["components"]
        assert sum(found.values()) == moment["total_bytes"]
    most = max(said["moments"], key=lambda moment: moment["total_bytes"])
    assert (said["peak_at"], said["allocated_bytes"]) == (most["at"], most["total_bytes"])
    held = [line for line in said["lines"] if line["pool"] == "gpu" and most["at"] in line["moments"]]
    always = (line for line in said["lines"] if (line["pool"], line["component"]) == ("gpu", "runtime"))
    runtime = [*held, *always]
    below, above = (
        sum((line["bytes"] if line[end] is None else line[end]) - line["bytes"] for line in runtime)
        for end in ("low", "high")
    )
    assert said["low_bytes"] == said["device_bytes"] + below < said["device_bytes"]
    assert said["high_bytes"] == said["device_bytes"] + above > said["device_bytes"]
    moved = dict.fromkeys(plan.moments, 0)
    for line in said["lines"]:
        for at in line["moments"] if line["pool"] == "host" else ():
            moved[at] += line["bytes"]
    programs = [one for one in said["lines"] if (one["pool"], one["component"]) == ("host", "runtime")]
    assert len(programs) == (2 if offload else 0)
    assert said["host_bytes"] == 8 * (max(moved.values()) + sum(one["bytes"] for one in programs))
    assert said["fits"] is (None if on is None else True)


def test_several_devices_have_communicators_beside_the_context():
    """0.5 to 1.6 GB, which one device alone does not have."""
    alone, together = (
        {line.name for line in train(LLAMA, seq=128, world=world).device.lines} for world in (1, 8)
    )
    assert together - alone >= {"communicators"}
    (line,) = (one for one in train(LLAMA, seq=128, world=8).device.lines if one.name == "communicators")
    assert (line.low, line.high) == (500 * 10**6, 1600 * 10**6)


def test_buckets_hold_what_ranks_add_up():
    """Eight ranks that share out the experts add up the gradients of everything else."""
    plan = train("Qwen/Qwen3-30B-A3B", seq=128, regime="pure-bf16", world=8, ep=8)
    (buckets,) = [line for line in plan.device.lines if line.name == "DDP buckets"]
    assert buckets.bytes == 2 * sum(one.count for one in plan.model.weights() if one.active_experts is None)


def test_few_micro_batches_leave_interleaved_chunks_all_started():
    """One micro-batch keeps every layer of a stage with two chunks, not the first chunk twice."""
    plan = train(LLAMA, seq=128, world=2, pp=2, vpp=2, pipeline_layout=(8, 8, 10, 6), rank="first")
    tensors = plan.stage.tensors
    assert tensors.in_flight == [0, 1]
    assert tensors.layers_kept == sum(map(kept_by, tensors.groups))


@pytest.mark.parametrize("implementation", ["transformers", "megatron"])
@pytest.mark.parametrize("shard", [0, "fsdp"])
def test_a_stage_may_have_no_layers(implementation, shard):
    """The first and the last of a pipeline may serve the embedding and the head alone."""
    usual = {"seq": 128, "world": 8, "pp": 4, "pipeline_layout": (0, 16, 16, 0)}
    how = {**usual, "implementation": implementation, "shard": shard}
    first, second = (train(LLAMA, **how, rank="fullest").stages[stage] for stage in (0, 1))
    assert [item.name for item in first.tensors.shards] == ["model.embed_tokens.weight"]
    assert 0 < first.allocated_bytes < second.allocated_bytes
    assert first.components("backward")["weights"] == first.components("step")["weights"]


def test_offloaded_states_lie_in_the_host():
    usual = {"seq": 4096, "world": 8, "shard": 2, "on": "8x a100-80g + 512GiB host"}
    staying, moved = train(LLAMA, **usual), train(LLAMA, **usual, offload=("optimizer",))
    device, host = moved.device, moved.host
    states_moved = sum(line.bytes for line in host.lines if line.component in ("master", "optimizer"))
    assert states_moved == sum(staying.at("step")[name] for name in ("master", "optimizer"))
    assert set(device.components) & {"master", "optimizer"} == set()
    assert moved.fits is True
    assert train(LLAMA, **{**usual, "on": "8x a100-80g + 64GiB host"}, offload=("optimizer",)).fits is False


def test_what_no_plan_can_say_widens_the_range():
    """A compiler keeps less of the layers; uneven routing could send everything to one rank."""
    plain = train(LLAMA, seq=4096, regime="pure-bf16").device
    compiled = train(LLAMA, seq=4096, regime="pure-bf16", compile=True)
    device = compiled.device
    assert device.moments == plain.moments
    assert plain.low_bytes - device.low_bytes == compiled.stage.tensors.layers_kept * 31 // 100
    assert device.high_bytes == plain.high_bytes
    sparse = {"seq": 4096, "implementation": "megatron", "world": 8, "shard": 1, "dropout": 0}
    together, dealt = (train("Qwen/Qwen3-30B-A3B", **sparse, ep=ep).device for ep in (1, 8))
    assert not any(line.name == "imbalance of experts" for line in together.lines)
    (line,) = (line for line in dealt.lines if line.name == "imbalance of experts")
    assert line.bytes == 0
    assert line.most_bytes > 0


def test_ranks_share_the_logits_only_if_the_loss_does():
    """Each rank of plain tensor parallelism gathers all logits; a vocabulary-parallel loss keeps its part."""
    whole = train(LLAMA, seq=4096, world=8, tp=8, regime="pure-bf16").at("loss")["logits"]
    part = train(LLAMA, seq=4096, world=8, tp=8, regime="pure-bf16", loss="vocabulary-parallel").at("loss")
    assert whole == 12 * 4096 * 128_256 == 8 * part["logits"]


TOWER = 421_290_864  # parameters of SigLIP and its projector in google/gemma-3-12b-it


@pytest.mark.parametrize(
    ("name", "options", "size", "most"),
    [
        ("google/gemma-3-12b-it", {}, 2 * TOWER, 2 * TOWER),
        ("google/gemma-3-12b-it", {"regime": "amp"}, 4 * TOWER, 4 * TOWER),
        # in 32 bits
        ("google/gemma-3-12b-it", {"shard": "fsdp", "world": 4}, 4 * TOWER // 4, 4 * TOWER // 4),
        ("google/gemma-3-12b-it", {"shard": 1, "world": 4}, 2 * TOWER, 2 * TOWER),
        # AutoModelForCausalLM gives Qwen3_5ForCausalLM, which has no tower
        ("Qwen/Qwen3.5-27B", {}, 0, 2 * load_model("Qwen/Qwen3.5-27B").vision_parameters),
    ],
)
def test_towers_are_loaded_with_the_text_model_and_not_trained(name, options, size, most):
    step = train(name, seq=512, lora_rank=8, **options)
    (line,) = (one for one in step.device.lines if one.name == "towers, not trained")
    assert (line.least_bytes, line.bytes, line.most_bytes) == (0, size, most)
    assert line.moments == step.moments
    assert any("are not trained, and no image" in words for words in step.assumed)


def test_adapters_of_towers_are_counted_though_nothing_trains_them():
    """8,695,296 numbers: what PEFT 0.21.2 adds to the tower of the class that AutoModelForCausalLM gives."""
    asked = {"seq": 256, "lora_rank": 16, "regime": "pure-bf16"}
    (line,) = (
        one for one in train("google/gemma-3-4b-it", **asked).device.lines if "adapters of" in one.name
    )
    projector = 16 * (1152 + 2560)  # a bare array, which other classes have as a linear layer
    assert (line.least_bytes, line.bytes, line.most_bytes) == (0, 4 * 8_695_296, 4 * (8_695_296 + projector))
    named = train("google/gemma-3-4b-it", **asked, lora_targets=("q_proj", "o_proj"))
    (line,) = (one for one in named.device.lines if "adapters of" in one.name)
    one = 4 * 27 * 16 * 2 * 1152
    assert (line.bytes, line.most_bytes) == (one, 2 * one)  # its class calls the other one out_proj


def test_a_text_model_loads_no_towers():
    text = train("google/gemma-3-1b-it", seq=512)
    assert not [one for one in text.device.lines if "towers" in one.name]


@pytest.mark.parametrize(
    ("name", "shares"),
    [
        ("openai-community/gpt2", (0.1, 0.1, 0.1)),  # its class's
        ("facebook/opt-1.3b", (0.0, 0.1, 0.0)),
        ("Qwen/Qwen3-0.6B", (0.0, 0.0, 0.0)),
    ],
)
def test_a_model_drops_what_its_config_or_class_says(name, shares):
    adapted = {} if "gpt2" in name else {"lora_rank": 8}  # whose dropout is another
    for asked in ({}, adapted):
        step = train(name, seq=64, regime="pure-bf16", **asked)
        micro = step.plan.micro_batch
        assert (micro.dropout, micro.hidden_dropout, micro.embedding_dropout) == shares
        assert any("as its config or its class has it" in words for words in step.assumed) == any(shares)
    micro = train(name, seq=64, dropout=0).plan.micro_batch
    assert (micro.dropout, micro.hidden_dropout, micro.embedding_dropout) == (0, 0, 0)


def test_gpt2_keeps_the_masks_of_its_own_dropout():
    """A byte for each weight of attention, and the weight after it; one for each number of a branch."""
    asked = {"seq": 1024, "micro_batch": 2, "regime": "pure-bf16", "attention": "eager"}
    more = train("openai-community/gpt2", **asked).at("loss")["activations"]
    more -= train("openai-community/gpt2", **asked, dropout=0).at("loss")["activations"]
    scores, stream = 2 * 12 * 1024**2, 2 * 1024 * 768
    assert more == 12 * ((1 + 2) * scores + 2 * stream) + stream


OF_ITS_OWN = {
    "model_type": "llama",
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 176,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("attention_dropout", "much"),
        ("attention_dropout", 1),
        ("attention_dropout", True),
        ("hidden_act", "banana"),
    ],
)
def test_what_is_no_share_or_no_activation_is_refused(field, value):
    with pytest.raises(BadInputError) as refusal:
        train(Source("small", {**OF_ITS_OWN, field: value}, "here"), seq=64, attention="eager")
    assert refusal.value.field == field


@pytest.mark.parametrize("name", ["quick_gelu", "gelu_python"])
def test_an_activation_of_several_operations_has_a_range(name):
    step = train(Source("small", {**OF_ITS_OWN, "hidden_act": name}, "here"), seq=64, regime="pure-bf16")
    assert any(line.name == "operations that are not listed" for line in step.device.lines)
