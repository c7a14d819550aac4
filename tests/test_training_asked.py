"""What newcomers ask of a training step: words of other tools, old cards, remedies that run as printed."""

from __future__ import annotations

import re
import shlex

import pytest

from memcalc.__main__ import main
from memcalc.errors import BadInputError, MemcalcError, UnknownNameError
from memcalc.training.api import train

SMALL, LLAMA = "Qwen/Qwen3-0.6B", "meta-llama/Meta-Llama-3.1-8B"


def asked(capsys, words):
    """The exit status of a command, its answer, and its one line of refusal."""
    status = main(["train", *shlex.split(words)])
    said = capsys.readouterr()
    assert said.err.count("\n") == (1 if status == 2 else 0)
    return status, said.out, said.err


@pytest.mark.parametrize(
    ("device", "options", "refused"),
    [
        ("tpu-v5e", {"lora_rank": 8, "quantize_base": "nf4"}, "--quantize-base"),
        ("ascend-910b-64g", {"lora_rank": 8, "quantize_base": "int8"}, "--quantize-base"),
        ("v100-32g", {"lora_rank": 8, "quantize_base": "int8"}, "--quantize-base"),
        ("v100-32g", {"lora_rank": 8, "quantize_base": "nf4"}, None),
        ("t4", {"lora_rank": 8, "quantize_base": "int8"}, None),
        ("mi300x", {"lora_rank": 8, "quantize_base": "nf4"}, None),
        ("tpu-v6e", {"regime": "pure-bf16", "optimizer": "adamw-8bit"}, "--optimizer"),
        ("tpu-v6e", {"regime": "pure-bf16"}, None),
        ("t4", {"attention": "flash"}, "--attention"),
        ("m4-max-128g", {"attention": "flash"}, "--attention"),
        ("v100-32g", {"implementation": "megatron"}, "--attention"),
        ("v100-32g", {"implementation": "megatron", "attention": "eager"}, None),
        ("mi300x", {"attention": "flash"}, None),
    ],
    ids=str,
)
def test_kernels_that_a_device_does_not_have_are_refused(device, options, refused):
    plan = {"seq": 128, **options, "on": f"1x {device}"}
    if refused is None:
        assert train(SMALL, **plan).verdict == "fits"
    else:
        with pytest.raises(MemcalcError, match=rf"^{refused}: expected .* {device}.*, given"):
            train(SMALL, **plan)


@pytest.mark.parametrize(("device", "kernel"), [("t4", "sdpa"), ("m4-max-128g", "sdpa"), ("l4", "flash")])
def test_attention_is_one_that_runs_on_the_device(device, kernel):
    """The default, that of a trainer as well: FlashAttention wants Ampere or newer."""
    for like in (None, "axolotl"):
        found = train(SMALL, seq=128, on=f"1x {device}", like=like).settings["attention"]
        assert found == (kernel if like is None or kernel == "sdpa" else "flash")


def test_a_release_that_nobody_has_read_is_refused():
    for release in ("9.9", "5.24", "6.0"):
        with pytest.raises(
            MemcalcError, match=r"^--engine-version: expected 5\.23 or older, the newest release"
        ):
            train(SMALL, seq=128, engine_version=release)
    assert train(SMALL, seq=128, engine_version="5.23").settings["engine_version"] == "5.23"


@pytest.mark.parametrize(("stages", "layout"), [(5, "7,7,6,6,6"), (3, "11,11,10"), (6, "6,6,5,5,5,5")])
def test_the_layout_of_the_example_runs(stages, layout, capsys):
    words = f"{LLAMA} --seq 128 --world {stages} --pp {stages}"
    status, _, refusal = asked(capsys, words)
    assert (status, refusal.strip()[-len(layout) - 1 :]) == (2, f" {layout}")
    assert asked(capsys, f"{words} --pipeline-layout {layout}")[0] == 0


def test_every_linear_layer_and_another_are_named_one_by_one(capsys):
    words = f"{SMALL} --seq 128 --lora-rank 8 --lora-targets"
    status, _, refusal = asked(capsys, f"{words} all-linear,lm_head")
    assert status == 2
    named = refusal.rpartition("with others write ")[2].strip()
    assert named.endswith(",lm_head")
    assert asked(capsys, f"{words} {named}")[0] == 0


def test_a_space_before_a_comma_begins_another_word(capsys):
    assert asked(capsys, f"{SMALL} --seq 128 --lora-rank 8 --lora-targets q_proj ,v_proj")[0] == 2


@pytest.mark.parametrize("typed", ["q_proj,v_proj", "q_proj, v_proj", "'q_proj, v_proj'"])
def test_a_list_may_have_spaces(typed, capsys):
    status, answer, _ = asked(capsys, f"{SMALL} --seq 128 --lora-rank 8 --lora-targets {typed} --regime amp")
    assert status == 0
    assert ": 1,146,880 of " in answer  # 28 layers x 8 x (1,024 + 2,048 + 1,024 + 1,024)


@pytest.mark.parametrize(
    ("model", "theirs", "ours"),
    [
        ("EleutherAI/pythia-1.4b", "query_key_value", "qkv_proj"),
        ("EleutherAI/pythia-1.4b", "dense_h_to_4h", "up_proj"),
        ("microsoft/phi-2", "fc1", "up_proj"),
        ("facebook/opt-1.3b", "fc2", "down_proj"),
        ("bigcode/starcoder2-7b", "c_fc", "up_proj"),
    ],
)
def test_names_of_a_class_are_understood(model, theirs, ours):
    own = train(model, seq=128, lora_rank=8, lora_targets=(theirs,))
    assert list(own.plan.adapters) == [ours]
    assert (
        own.trainable_parameters
        == train(model, seq=128, lora_rank=8, lora_targets=(ours,)).trainable_parameters
    )


@pytest.mark.parametrize(
    ("model", "word", "numbers"),
    [
        # 24 layers x (2,048 x 6,144 + 6,144 + 2,048 x 2,048 + 2,048 + 2 x 2,048 of post_attention_layernorm)
        ("EleutherAI/pythia-1.4b", "attention", 402_948_096),
        ("EleutherAI/pythia-1.4b", "query_key_value", 24 * (2048 * 6144 + 6144)),
        ("EleutherAI/pythia-1.4b", "embed_in", 50_304 * 2048),
        ("EleutherAI/pythia-1.4b", "self_attn", 24 * (2048 * 8192 + 8192)),
        ("Qwen/Qwen3-30B-A3B", "up_proj", 48 * 128 * 2 * 768 * 2048),  # a part of gate_up_proj's name
        ("Qwen/Qwen3-30B-A3B", "gate_up_proj", 48 * 128 * 2 * 768 * 2048),
        ("Qwen/Qwen3-30B-A3B", "mlp.gate.", 48 * 128 * 2048),
        ("Qwen/Qwen3-0.6B", "layer", 28 * (15_730_944)),  # of embedding and last norm no name has it
    ],
)
def test_weights_are_named_as_in_their_class(model, word, numbers):
    assert train(model, seq=128, trainable=(word,)).trainable_parameters == numbers


def test_experts_one_by_one_are_named_as_in_files_before_transformers_5():
    asked = {"seq": 128, "trainable": ("gate_proj",)}
    with pytest.raises(MemcalcError, match=r"experts\.gate_up_proj, which is one array"):
        train("Qwen/Qwen3-30B-A3B", **asked)
    step = train("Qwen/Qwen3-30B-A3B", **asked, engine_version="4.57")
    assert step.trainable_parameters == 48 * 128 * 768 * 2048


def test_a_rank_that_a_matrix_does_not_have_is_said():
    """PEFT takes any. 1,024 is the smaller side of Llama-3.1-8B's keys and values."""
    (said,) = (one for one in train(LLAMA, seq=128, lora_rank=1025).assumed if one.startswith("adapters of"))
    assert said == "adapters of rank 1,025 where a matrix has a lower one: k_proj (1,024), v_proj (1,024)"
    assert not any(one.startswith("adapters of") for one in train(LLAMA, seq=128, lora_rank=1024).assumed)


def test_a_small_lack_is_no_zero():
    """The first sequence that may not fit lacks less than a hundredth of a GiB."""
    most = train(SMALL, seq=128, on="1x rtx-4090", recompute="full").max_seq
    cause = train(SMALL, seq=most + 1, on="1x rtx-4090", recompute="full").cause
    assert re.match(r"a device lacks [\d.]+ (MiB|B), with every measured range", cause)
    assert "0.00" not in cause


HOST = "Qwen/Qwen3-4B --seq 4096 --world 8 --shard 3 --offload optimizer,parameters --recompute full"
SHARE = "Qwen/Qwen3-8B --seq 2048 --method grpo --lora-rank 16 --rollout-engine vllm --rollout-utilization"


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        (f"{HOST} --on '8x rtx-4090 + 64GiB host'", "128 GiB of host memory"),
        (f"{SHARE} 0.1 --on '1x h200-141g'", "a share of 0.2 for the engine"),
        (f"{SHARE} 0.9 --on '1x h100-80g'", "a share of 0.6 for the engine"),
    ],
)
def test_what_is_too_small_is_made_larger(words, changed, capsys):
    """The host, or an engine's share: each remedy fits as it is printed, one of each kind."""
    _, answer, _ = asked(capsys, words)
    found = re.findall(r"fits with (.*), [\d.]+ GiB a device: memcalc train (.*)", answer)
    assert found[0][0] == changed
    assert len({one.partition(" of ")[0] for one, _ in found}) == len(found)
    for _, command in found:
        assert asked(capsys, f"{command} --check")[0] == 0


def test_where_nothing_fits_what_was_tried_is_said(capsys):
    _, answer, _ = asked(capsys, "meta-llama/Meta-Llama-3.1-405B --seq 4096 --on '1x rtx-3060-12g'")
    assert "nothing that memcalc tries makes it fit: recomputation, smaller micro-batches, up to 64" in answer


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("--finetuning_type lora", "for lora say --lora-rank"),
        ("--double_quantization True", "did you mean --quantize-base nf4-dq?"),
        ("--enable_activation_checkpointing True", "did you mean --recompute full?"),
        ("--enable_activation_offloading True", "did you mean --offload activations?"),
        ("--lengths padded", "did you mean packed?"),
        ("--optimizer_in_bwd True", "is not modelled"),
        ("--stage sft", "did you mean --shard or --method?"),
        ("--optim paged_adamw_32bit", "did you mean paged-adamw?"),
        ("--offload nvme --world 8 --shard 3", "what lies on disks is not modelled"),
        ("--trainable layers.31", "single layers are not told apart; name parts of all, as in self_attn"),
        ("--method rlhf", "did you mean ppo?"),
        ("--freeze_trainable_layers 2", "did you mean --trainable?"),
    ],
)
def test_words_of_other_trainers_lead_to_ours(words, advice, capsys):
    status, _, refusal = asked(capsys, f"{SMALL} --seq 128 {words}")
    assert status == 2
    assert advice in refusal


def test_a_sequence_beyond_the_models_own_limit_is_said():
    """Rotation has no rows that end, so nothing is refused; of learnt positions there are no more."""
    words = "beyond the model's own limit of 40,960 tokens"
    at, beyond = (train("Qwen/Qwen3-8B", seq=seq).assumed for seq in (40_960, 40_961))
    assert not any(words in one for one in at)
    assert any(words in one for one in beyond)


@pytest.mark.parametrize("method", ["dpo", "ppo", "grpo"])
def test_a_sequence_of_no_tokens_is_no_sweep(method):
    with pytest.raises(BadInputError) as refused:
        train("Qwen/Qwen3-8B", seq=0, method=method)
    assert [one.field for one in (refused.value, *refused.value.others)] == ["--seq"]


@pytest.mark.parametrize("word", ["*", "layers.*", "self_attn.*"])
def test_a_pattern_is_no_part_of_a_name(word):
    with pytest.raises(UnknownNameError, match="parts of names of weights"):
        train("Qwen/Qwen3-8B", seq=512, trainable=(word,))


def test_the_limit_is_that_of_serving():
    """Gemma-3 has two tables of rotations, which do not add up to a limit."""
    assumed = train("google/gemma-3-27b-it", seq=200_000).assumed
    assert any("limit of 131,072 tokens" in one for one in assumed)


def test_a_single_layer_cannot_be_named_by_its_number():
    """OPT has matrices whose names end in a number: fc1, fc2."""
    with pytest.raises(UnknownNameError, match="single layers are not told apart"):
        train("facebook/opt-1.3b", seq=512, trainable=("1",))
    with pytest.raises(UnknownNameError) as refused:
        train("Qwen/Qwen3-8B", seq=512, trainable=("fc1",))
    assert "single layers" not in str(refused.value)
