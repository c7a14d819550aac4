"""Steps of small models of every type with a program, against what torch held: to the byte."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from memcalc.errors import BadInputError, UnknownNameError
from memcalc.files.source import Source
from memcalc.files.sources import source
from memcalc.ledger.parts.kinds import keeps_state
from memcalc.ledger.tensor import product
from memcalc.training.api import train
from memcalc.training.autograd.architecture import LLAMA
from memcalc.training.autograd.base import everything_trained
from memcalc.training.autograd.by_type import ARCHITECTURES
from memcalc.training.autograd.stand_in import through_products
from memcalc.training.layers import forward_of
from memcalc.training.methods.forward import run_together
from tests.program_plans import differences, planned

RECORDED = json.loads((Path(__file__).parent / "recorded" / "programs.json").read_text(encoding="utf-8"))
RECORD = RECORDED["steps"]
PUBLISHED = {f"{step['name']}, {step['kind']}": step for step in RECORDED["published"]}
LAST = {f"{step['name']}, {step['kind']}": step for step in RECORDED["states last"]}
ALONE = {f"{said['name']} {said['seed']}": said for said in RECORDED["without a graph"]}
FURTHER = {
    f"{number}: {step['name']} {step['seed']}": step for number, step in enumerate(RECORDED["further"])
}
CASES = {f"{name} {step['seed']}, {step['kind']}": step for name, steps in RECORD.items() for step in steps}


def test_every_type_has_three_configs_and_four_runs_of_each():
    assert all(len(steps) == 12 for steps in RECORD.values())
    types = {name.split()[0] for name in RECORD}
    held = {ARCHITECTURES.get(name) or ARCHITECTURES[f"{name}_text"] for name in types}
    assert {*ARCHITECTURES.values()} == {*held, LLAMA}


@pytest.mark.parametrize("name", CASES)
def test_a_step_is_exact(name):
    """Forward pass, loss, backward pass and step: adapters, recomputation, kernels and products."""
    step = CASES[name]
    plan = planned(step["config"], step["run"])
    assert set(differences(plan, step["moments"]).values()) == {0}


@pytest.mark.parametrize("name", FURTHER)
def test_a_step_that_was_once_counted_wrongly_is_exact(name):
    """Other configs, lengths and ranks of these types."""
    step = FURTHER[name]
    assert set(differences(planned(step["config"], step["run"]), step["moments"]).values()) == {0}


def test_matrices_that_peft_takes_for_stacked_arrays_may_not_be_named():
    """A DeepSeek-V2 without experts: refused in one line, which says what may be."""
    config = next(step["config"] for step in RECORDED["further"] if step["name"] == "deepseek_v2")
    for targets in ("gate_proj", "gate_proj,up_proj", "down_proj"):
        with pytest.raises(UnknownNameError) as refused:
            planned(config, {"trained": f"lora 4 {targets} fp32"})
        said = str(refused.value)
        assert "expected all-linear, or some of q_a_proj, q_b_proj" in said
        assert said.count("--lora-targets") == 1
        assert "experts" not in said


def test_the_handbook_says_how_many_are_exact():
    book = (Path(__file__).parents[1] / "notebooks" / "handbook_saved.ipynb").read_text(encoding="utf-8")
    assert "twelve steps of small models, and all of these steps are equal to the byte" in book


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_step_of_a_published_shape_is_exact(name):
    """Four layers of it: all weights; and adapters under autocast, whose norms and powers have 32 bits."""
    step = PUBLISHED[name]
    assert set(differences(planned(step["config"], step["run"]), step["moments"]).values()) == {0}


@pytest.mark.parametrize(
    ("name", "fields"),
    [("falcon", {"alibi": True}), ("opt", {"word_embed_proj_dim": 24}), ("stablelm", {"qk_layernorm": True})],
)
def test_what_no_program_has_keeps_its_range(name, fields):
    """ALiBi beside rotation, tokens that are narrower than the stream, a norm for each head."""
    step = RECORD[name][0]
    found = [planned(step["config"] | more, {}).plan.micro_batch.architecture.listed for more in ({}, fields)]
    assert found == [True, False]


def test_norms_that_give_a_wider_stream_are_refused():
    """OPT with norms behind its branches: under autocast all layers but the first are given 32 bits."""
    step = RECORD["opt"][0]
    config = step["config"] | {"do_layer_norm_before": False}
    for run in {}, {"weights": "fp32", "autocast": True}:
        assert planned(config, run).plan.micro_batch.architecture.listed
    with pytest.raises(BadInputError, match="--autocast: expected no, or 32-bit weights"):
        planned(config, {"autocast": True})


@pytest.mark.parametrize("cut", [{"pp": 5}, {"cp": 5}, {"shard": 3}, {"shard": "fsdp"}])
def test_layers_that_use_what_others_made_have_a_range_where_they_are_parted(cut):
    asked = {"seq": 640, "regime": "pure-bf16", "recompute": "full", "world": 5}
    parted = train("google/gemma-4-E2B", **asked, **cut)
    assert not parted.plan.micro_batch.architecture.listed
    assert any("is listed on one rank alone" in one for one in parted.assumed)
    alone = train("google/gemma-4-E2B", **asked)
    assert alone.plan.micro_batch.architecture.listed
    assert not any("one rank alone" in one for one in alone.assumed)


def test_vectors_of_layers_are_fullest_before_the_first_layer():
    """Without gradients: those of tokens, those of the stream, and two of these in 32 bits."""
    plan = train("google/gemma-4-E2B", seq=512, regime="pure-bf16").plan
    numbers = 512 * 35 * 256
    peak = run_together(plan, replace(plan.micro_batch, trained=everything_trained)).peak
    assert 12 * numbers < peak < 12.1 * numbers


def test_an_adapter_beside_a_matrix_outside_of_layers_is_counted():
    """PEFT takes every linear layer but the head: what gives each layer its vectors, too."""
    eight, sixteen = (train("google/gemma-4-E2B", seq=64, lora_rank=rank) for rank in (8, 16))
    inside = sum(
        sum(map(product, one.shape)) * layer.times
        for layer in eight.model.groups
        for one in layer.weights()
        if one.kind == "matrix"
    )
    assert sixteen.parameters - eight.parameters == 8 * (inside + 1536 + 35 * 256)


def test_a_class_without_a_kernel_takes_products_unless_one_is_named():
    asked = {"seq": 512, "regime": "pure-bf16"}
    found = [train(name, **asked).plan.options.attention for name in ("bigscience/bloom", "microsoft/phi-2")]
    assert found == ["eager", "flash"]


# the same run of the first drawn gpt-oss, and four layers of gpt-oss-20b; traced as the record is
BIASED = (
    ({}, {"batch": 2, "sequence": 40, "trained": "lora 8 all-linear fp32"}, 926_076),
    (
        {"num_hidden_layers": 4},
        {"batch": 2, "sequence": 512, "trained": "lora 16 all-linear fp32"},
        9_403_103_624,
    ),
    (
        {"num_hidden_layers": 4},
        {"batch": 2, "sequence": 512, "trained": "lora 16 all-linear fp32", "autocast": True},
        9_377_552_776,
    ),
)


@pytest.mark.parametrize(("layers", "run", "peak"), BIASED)
def test_copies_of_the_experts_biases_live_while_a_layer_runs_again(layers, run, peak):
    """gpt-oss with adapters: no gradient asks for the copies, and code holds them."""
    config = {**source("openai/gpt-oss-20b").fields, **layers} if layers else RECORD["gpt_oss"][0]["config"]
    config = {name: value for name, value in config.items() if name != "quantization_config"}
    if layers:
        config["layer_types"] = config["layer_types"][:4]
    plan = planned(config, {"attention": "eager", "recompute": True, "optimizer": "none", **run})
    assert sum(plan.at("recompute").values()) == peak


UNLISTED = Source("Jamba, as its class has it", {"model_type": "jamba"}, "transformers 5.23")
WHOLE = {"regime": "pure-bf16", "recompute": "none"}
CATALOGUE = (
    *("Qwen/Qwen3-8B", "meta-llama/Llama-3.2-1B", "Qwen/Qwen3-30B-A3B", "mistralai/Mixtral-8x7B-v0.1"),
    *("google/gemma-3-27b-it", "google/gemma-2-2b-it", "microsoft/phi-4", "deepseek-ai/DeepSeek-V3"),
    *("deepseek-ai/DeepSeek-V2-Lite", "zai-org/GLM-4.5-Air", "MiniMaxAI/MiniMax-M2.5", "openai/gpt-oss-20b"),
    *("microsoft/phi-2", "facebook/opt-1.3b", "tiiuae/falcon-7b", "tiiuae/falcon-40b"),
    *("Qwen/Qwen3-VL-4B-Instruct", "Qwen/Qwen3-VL-30B-A3B-Instruct", "google/gemma-4-26B-A4B"),
    *("CohereForAI/c4ai-command-r-v01", "Qwen/Qwen3.5-27B"),
    *("Qwen/Qwen3.5-35B-A3B", "Qwen/Qwen3-Next-80B-A3B-Instruct"),
    *("nvidia/Nemotron-H-56B-Base-8K", "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16"),
    *("ibm-granite/granite-4.0-h-small", "moonshotai/Kimi-Linear-48B-A3B-Instruct"),
    *("baidu/ERNIE-4.5-21B-A3B-PT", "allenai/OLMo-2-1124-7B", "openai-community/gpt2"),
)


@pytest.mark.parametrize("name", CATALOGUE)
def test_layers_keep_0_6_to_2_2_times_the_numbers_of_their_products(name):
    """What the range of types without a program is made of."""
    seq = 512
    plan = train(name, seq=seq, regime="pure-bf16", autocast=False, recompute="none")
    for layer in plan.model.groups:
        kept = sum(value.bytes for value in forward_of(plan.plan, layer, grad=True)[3])
        # no gate; ReLU shares its result; a kernel of states keeps little
        least = 0.6 if plan.model.model_type in ("opt", "falcon", "granitemoehybrid") else 1
        assert least < kept / (2 * seq * through_products(layer)) < 2.2


def test_a_type_without_a_program_has_exact_states_and_a_range():
    step = train(UNLISTED, seq=4096, recompute="none", regime="pure-bf16")
    assert step.at("step")["weights"] >= 2 * step.parameters
    assert any("activations are a range" in one for one in step.assumed)
    line = next(one for one in step.device.lines if one.name == "operations that are not listed")
    assert line.least_bytes < 0 < line.most_bytes
    assert line.evidence == "assumed"
    recomputed = train(UNLISTED, seq=4096, recompute="full", regime="pure-bf16")
    assert recomputed.at("loss")["activations"] < step.at("loss")["activations"]


def test_a_state_takes_as_much_as_its_kernels_or_up_to_what_torch_does():
    """Left open, the range holds both; each that is named has none."""
    name, options = "Qwen/Qwen3.5-27B", {"seq": 1024, "regime": "pure-bf16", "recompute": "none"}
    found, fused, torch = (train(name, state_kernels=how, **options) for how in (None, "fused", "torch"))
    ranges = [
        [line for line in one.device.lines if line.name.startswith("layers that keep a state")]
        for one in (found, fused, torch)
    ]
    assert [len(lines) for lines in ranges] == [3, 0, 0]  # what is held at two times, and beyond it
    more = torch.at("forward_end")["activations"] - fused.at("forward_end")["activations"]
    assert found.at("forward_end")["activations"] == fused.at("forward_end")["activations"]
    assert ranges[0][0].most_bytes == more > 0
    part = next(part for name, part in found.model.layers[0].parts if name == "linear_attn")
    tokens, values = 1024, part.linear_value_heads * part.linear_value_dim
    keys = part.linear_key_heads * part.linear_key_dim
    kept = [
        value
        for value in forward_of(fused.plan, found.model.layers[0], grad=True)[3]
        if value.module == "linear_attn"
    ]
    saved = {value.name: value.bytes for value in kept}
    assert saved["rows of inverses"] == 2 * tokens * part.linear_value_heads * 64
    assert saved["values in a row"] == 2 * tokens * values
    assert saved["queries of length 1"] == saved["keys of length 1"] == 2 * tokens * keys


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("moonshotai/Kimi-Linear-48B-A3B-Instruct", {"seq": 4096}),
        ("Qwen/Qwen3.5-27B", {"seq": 1024, "regime": "pure-bf16", "recompute": "none"}),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", {"seq": 2048, "lora_rank": 8, "recompute": "full"}),
        ("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", {"seq": 2048}),  # their fullest points differ
        ("Qwen/Qwen3.5-27B", {"seq": 2048, "lora_rank": 8, "recompute": "full", "lengths": "varying"}),
        ("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", {"seq": 64, "lora_rank": 4, "recompute": "full"}),
    ],
)
def test_an_open_range_is_that_of_both_programs_to_the_byte(name, options):
    """With all that the allocator keeps of either one beyond what is held at once."""
    found, fused, torch = (
        train(name, state_kernels=how, **options).device for how in (None, "fused", "torch")
    )
    assert found.low_bytes == fused.low_bytes
    assert found.high_bytes == torch.high_bytes > fused.high_bytes


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("moonshotai/Kimi-Linear-48B-A3B-Instruct", {"seq": 4096, "lora_rank": 8, "on": "1x h200"}),
        ("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", {"seq": 16}),
        ("Qwen/Qwen3.5-27B", {"seq": 16}),
    ],
)
def test_an_open_range_holds_the_upper_end_of_both_programs(name, options):
    """Where little lies between the two, the larger end of each part may come from the other one."""
    found, fused, torch = (
        train(name, state_kernels=how, **options).device for how in (None, "fused", "torch")
    )
    highest = max(torch.high_bytes, fused.high_bytes)
    assert highest <= found.high_bytes < 1.001 * highest


def test_kernels_keep_what_their_functions_save():
    """Two sequences, whose last chunks are not full: what a layer keeps, and what runs backwards."""
    batch, seq, chunks = 2, 1000, 16
    plan = train("Qwen/Qwen3.5-27B", seq=seq, micro_batch=batch, state_kernels="fused", **WHOLE).plan
    tape, _, _, kept = forward_of(plan, plan.model.layers[0], grad=True)
    part = dict(plan.model.layers[0].parts)["linear_attn"]
    tokens, heads, groups = batch * seq, part.linear_value_heads, part.linear_key_heads
    keys, values = part.linear_key_dim, part.linear_value_dim
    of_heads, of_values = tokens * heads, tokens * heads * values
    convolved = [("linear_attn.in_proj_qkv output", 2 * tokens * part.streams)]
    rates = [("rates", 2 * of_heads), ("exp(A)", 4 * heads), ("- exp(A)", 4 * heads)]
    rates += [("decays, shifted", 4 * of_heads), ("softplus of the decays", 4 * of_heads)]
    rule = [(f"{name} of length 1", 2 * tokens * groups * keys) for name in ("queries", "keys")]
    rule += [("1/root", 4 * tokens * groups)] * 2
    rule += [("values in a row", 2 * of_values), ("sums of decays", 4 * of_heads)]
    rule += [("rows of inverses", 2 * of_heads * 64)]
    norm = [("linear_attn.norm input in fp32", 4 * of_values), ("linear_attn.norm 1/root", 4 * of_heads)]
    norm += [("linear_attn.norm normalised", 2 * of_values), ("linear_attn.norm output", 2 * of_values)]
    norm += [("gate in fp32", 4 * of_values), ("activated gate", 4 * of_values)]
    norm += [("gated, as wide as the stream", 2 * of_values)]
    saved = [(value.name, value.bytes) for value in kept if value.module == "linear_attn"]
    assert sorted(saved) == sorted(convolved + rates + rule + norm)
    made = next(one.beside for one in tape.operations if one.name == "gated delta rule")
    states = batch * chunks * heads * keys * values
    assert made == 2 * (of_heads * (2 * keys + 4 * values) + 2 * states)


@pytest.mark.parametrize("name", LAST)
def test_a_step_whose_last_layers_keep_a_state_is_exact(name):
    """There the backward pass holds most while such a layer runs: with one key head, and with several.

    Under autocast the scan's products have copies in 16 bits, of one chunk and of several.
    """
    step = LAST[name]
    assert set(differences(planned(step["config"], step["run"]), step["moments"]).values()) == {0}


@pytest.mark.parametrize("kernels", ["torch", "fused"])
@pytest.mark.parametrize("name", [name for name in LAST if name.endswith(("bits", "weights"))])
def test_a_layer_with_a_state_leaves_the_gradients_of_its_weights(name, kernels):
    """A gradient reaches each of them: backward, all that was kept has gone, and they are there."""
    plan = planned(LAST[name]["config"], LAST[name]["run"]).plan
    plan = replace(plan, micro_batch=replace(plan.micro_batch, state_kernels=kernels))
    layer = next(one for one in plan.model.groups if any(map(keeps_state, dict(one.parts).values())))
    tape, _, _, kept = forward_of(plan, layer, grad=True)
    own = sum(one.count for one in layer.weights()) * plan.micro_batch.element_bytes
    assert tape.backward().change == own - sum(value.bytes for value in kept)


@pytest.mark.parametrize("name", ALONE)
def test_a_layer_with_a_state_takes_forward_what_is_recorded(name):
    """Where no gradient flows it takes what its operations make and its names hold, to the byte."""
    said = ALONE[name]
    plan = planned(said["config"], said["run"]).plan
    layer = next(one for one in plan.model.layers if any(map(keeps_state, dict(one.parts).values())))
    tape, x, *_ = forward_of(plan, layer, grad=True)
    assert tape.forward_peak(x, keeping=False) == said["bytes"]


def test_kimi_keeps_in_its_kernel_what_its_function_saves():
    """flash-linear-attention bc3b101d, fla/ops/kda/chunk.py, ChunkKDAFunction: its save_for_backward."""
    tokens = 1000
    plan = train("moonshotai/Kimi-Linear-48B-A3B-Instruct", seq=tokens, state_kernels="fused", **WHOLE).plan
    tape, _, _, kept = forward_of(plan, plan.model.layers[0], grad=True)
    part = dict(plan.model.layers[0].parts)["self_attn"]
    heads, width = part.linear_key_heads, part.linear_key_dim
    saved = {id(value): (value.name, value.bytes) for value in kept}
    rule = next(one for one in tape.operations if one.name == "Kimi delta rule")
    numbers = tokens * heads * width
    assert [saved[id(value)] for value in rule.keeps] == [
        ("queries of length 1", 2 * numbers),
        ("1/root", 4 * tokens * heads),
        ("keys of length 1", 2 * numbers),
        ("1/root", 4 * tokens * heads),
        ("values in a row", 2 * numbers),
        ("logarithms of decays", 4 * numbers),
        ("sums of decays", 4 * numbers),
        ("rates", 2 * tokens * heads),
        ("rows of inverses", 2 * tokens * heads * 64),
        ("rows of queries x keys", 2 * tokens * heads * 64),
    ]
    states, made = 16 * heads * width * width, tokens * heads
    assert rule.beside == 2 * (3 * numbers + 2 * states) + 4 * (5 * numbers + 128 * made)


@pytest.mark.parametrize("fields", [{"linear_num_heads": 1}, {"hidden_act": "gelu"}])
def test_kimi_of_other_kinds_keeps_a_range(fields):
    """One head is not copied where several are; and no other activation is read."""
    source = Source("Kimi", RECORD["kimi_linear"][0]["config"] | fields, "tests/recorded/programs.json")
    assert not train(source, seq=64, regime="pure-bf16").plan.micro_batch.architecture.listed


def test_mamba_keeps_in_its_kernel_what_it_is_given_the_answers_and_a_root_a_group():
    """mamba-ssm 2.3.2.post1, ssd_combined.py, MambaSplitConv1dScanCombinedFn: its save_for_backward."""
    name, tokens = "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", 1024
    step = train(name, seq=tokens, regime="pure-bf16", recompute="none")
    layer = next(layer for layer in step.model.layers if layer.parts[0][0] == "mamba")
    part = layer.parts[0][1]
    saved = {
        one.name: one.bytes for one in forward_of(step.plan, layer, grad=True)[3] if one.module == "mamba"
    }
    inner = part.ssm_heads * part.ssm_head_dim
    assert saved == {
        "mamba.in_proj output": 2 * tokens * (inner + part.streams + part.ssm_heads),
        "answers": 2 * tokens * inner,
        "- exp(A)": 4 * part.ssm_heads,
        "exp(A)": 4 * part.ssm_heads,
        "mamba.norm 1/root": 4 * tokens * part.ssm_groups,
    }


def test_a_quantised_base_is_run_by_torch_where_the_kernel_reads_matrices():
    """Its states have one way to be computed, and no range."""
    step = train("ibm-granite/granite-4.0-h-small", seq=1024, lora_rank=8, quantize_base="nf4")
    assert step.plan.micro_batch.state_kernels == "torch"
    assert not any(line.name.startswith("layers that keep a state") for line in step.device.lines)


@pytest.mark.parametrize("fields", [{"mamba_num_heads": 1, "n_groups": 1}, {"mamba_hidden_act": "gelu"}])
def test_mixers_of_other_kinds_keep_a_range(fields):
    """One head is not copied where several are; and no other activation is read."""
    source = Source("a mixer", RECORD["nemotron_h"][0]["config"] | fields, "tests/recorded/programs.json")
    assert not train(source, seq=64, regime="pure-bf16").plan.micro_batch.architecture.listed


def test_only_layers_with_a_state_have_kernels_for_it():
    for name in "Qwen/Qwen3-8B", UNLISTED:
        with pytest.raises(BadInputError, match="--state-kernels"):
            train(name, seq=512, state_kernels="torch")


@pytest.mark.parametrize("name", ["Qwen/Qwen3.5-27B", "deepseek-ai/DeepSeek-V3.2"])
def test_a_sweep_counts_neither_chunks_nor_chosen_tokens(name):
    """A sweep has one figure a point, and what is not counted needs a range: single plans have one."""
    with pytest.raises(BadInputError, match="ask for each point by itself"):
        train(name, seq=np.array([512, 1024]))
    for seq in 512, 1024:
        assert train(name, seq=seq).allocated_bytes


def test_towers_are_left_out_and_said_to_be():
    step = train("google/gemma-3-12b-it", seq=512)
    assert any("towers" in one and "421,290,864" in one for one in step.assumed)
