"""Adapters as people use them, against steps of torch and PEFT: tests/recorded/adapters.json, to the byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memcalc.errors import BadInputError, MemcalcError
from memcalc.files.source import Source
from memcalc.training.api import train
from tests.test_saved import measured, name_of, planned

RECORDED = json.loads((Path(__file__).parent / "recorded" / "adapters.json").read_text(encoding="utf-8"))
LLAMA_8B, TIED, SPARSE = "meta-llama/Meta-Llama-3.1-8B", "Qwen/Qwen3-0.6B", "Qwen/Qwen3-30B-A3B"


def differences(step, plan):
    """Bytes of the plan less those of the trace, moment by moment."""
    recomputed = plan.plan.options.recompute == "full"
    names = {"backward": "recompute" if recomputed else "backward"}
    return {
        at: sum(plan.at(names.get(at, at)).values()) - size
        for at, size in measured(step).items()
        if at in plan.moments or at in names
    }


@pytest.mark.parametrize("step", [*RECORDED["ends"], *RECORDED["dora"]], ids=name_of)
def test_every_moment_of_a_step_equals_the_trace(step, tmp_path):
    found = differences(step, planned(step, tmp_path))
    assert {"forward_end", "loss"} < found.keys()
    assert set(found.values()) == {0}


@pytest.mark.parametrize("step", RECORDED["base"], ids=lambda step: f"{name_of(step)} {step['base']}")
def test_what_a_step_adds_beside_a_quantised_base_equals_the_trace(step, tmp_path):
    """bitsandbytes' own layers on fake tensors: plain, widened, with experts made of codes."""
    words = {"upcast": "upcast" in step["base"], "quantize_experts": "experts" in step["base"]}
    plan, sizes = planned(step, tmp_path, quantize_base="nf4", **words), measured(step)
    assert {"forward_end", "loss", "backward"} <= sizes.keys()
    for moment, size in sizes.items():
        name = "recompute" if moment == "backward" and plan.plan.options.recompute == "full" else moment
        parts = plan.at(name)
        assert sum(parts.values()) - parts["weights"] == size, moment


def test_the_record_is_many():
    assert {name: len(RECORDED[name]) for name in ("ends", "dora", "base")} == {
        "ends": 57,
        "dora": 46,
        "base": 56,
    }


@pytest.mark.parametrize("name", [LLAMA_8B, TIED])
def test_a_copy_trains_and_the_module_stays(name):
    """PEFT's modules_to_save: two bytes more for each number of a copy, and no original less."""
    without = train(name, seq=128, lora_rank=8)
    table = without.model.logits_width * dict(without.model.outside)["model.embed_tokens"].width
    for parts in ("embed_tokens",), ("lm_head",), ("embed_tokens", "lm_head"):
        beside = train(name, seq=128, lora_rank=8, trainable=parts)
        assert beside.trainable_parameters - without.trainable_parameters == len(parts) * table
        assert beside.parameters - without.parameters == len(parts) * table
        for what, width in (("weights", 2), ("gradients", 2), ("optimizer", 4)):
            assert beside.at("step")[what] - without.at("step")[what] == len(parts) * width * table


def test_adapters_of_embedding_and_head_have_their_own_arrays():
    """PEFT: (rank, vocabulary) and (width, rank) of the embedding, (rank, width) and (vocabulary, rank)."""
    without = train(TIED, seq=128, lora_rank=8, lora_targets=("q_proj",))
    for name in "embed_tokens", "lm_head":
        adapted = train(TIED, seq=128, lora_rank=8, lora_targets=("q_proj", name))
        assert adapted.trainable_parameters - without.trainable_parameters == 8 * (151_936 + 1024)


def test_it_is_said_that_a_tied_head_is_tied_no_more():
    for more in {"trainable": ("lm_head",)}, {"lora_targets": ("lm_head",)}:
        said = {name: train(name, seq=128, lora_rank=8, **more).assumed for name in (TIED, LLAMA_8B)}
        assert [any("tied no more" in one for one in assumed) for assumed in said.values()] == [True, False]
    assert not any("tied no more" in one for one in train(TIED, seq=128, lora_rank=8).assumed)


@pytest.mark.parametrize(
    ("name", "layers", "sides"),
    [
        ("tiiuae/falcon-7b", 32, ((4544, 4672), (4544, 4544), (4544, 18_176), (18_176, 4544))),
        ("bigscience/bloom", 70, ((14_336, 43_008), (14_336, 14_336), (14_336, 57_344), (57_344, 14_336))),
    ],
)
def test_queries_keys_and_values_that_are_one_matrix_have_one_adapter(name, layers, sides):
    """As PEFT trains them: 16,318,464 numbers of rank 8 for Falcon-7B, all linear layers."""
    step = train(name, seq=128, lora_rank=8)
    assert step.trainable_parameters == layers * 8 * sum(map(sum, sides))
    assert name != "tiiuae/falcon-7b" or step.trainable_parameters == 16_318_464


def test_all_linear_has_neither():
    assert not {"lm_head", "embed_tokens"} & train(TIED, seq=128, lora_rank=8).plan.adapters.keys()


def test_dora_has_a_magnitude_for_each_row():
    lora, dora = (train(LLAMA_8B, seq=128, lora_rank=8, dora=which) for which in (False, True))
    rows = 32 * (4096 + 2 * 1024 + 4096 + 2 * 14336 + 4096)
    assert dora.trainable_parameters - lora.trainable_parameters == rows


def test_the_identity_of_dora_is_the_fullest_of_a_layer():
    """14,336 numbers squared in 32 bits are 784 MiB, beside copies of down_proj: no token is among them."""
    fields = {"seq": 16, "lora_rank": 8, "lora_targets": ("down_proj",), "recompute": "full"}
    lora, dora = (train(LLAMA_8B, **fields, autocast=False, dora=which) for which in (False, True))
    beside = [
        sum(one.at("recompute")[part] for part in ("activations", "temporaries")) for one in (lora, dora)
    ]
    assert 0 < beside[1] - beside[0] - 4 * 14_336**2 - 4 * 4 * 4096 * 14_336 < 2**20


def test_experts_of_codes_fit_where_axolotl_trained_them():
    """17 to 24 GiB reserved: axolotl-ai-cloud/axolotl#3787, 2026-07. In 16 bits weights alone have 55.7."""
    attention = ("q_proj", "k_proj", "v_proj", "o_proj")
    asked = {"seq": 2048, "lora_rank": 8, "lora_targets": attention, "quantize_base": "nf4"}
    step = train(SPARSE, **asked, quantize_experts=True)
    assert 17 < step.allocated_bytes / 2**30 < 24
    layers, experts = step.model.depth, 3 * 128 * 2048 * 768
    codes = layers * (
        experts // 2 + experts // 64 * 4 + 2 * 64
    )  # two arrays a layer, a table of 64 bytes each
    whole = train(SPARSE, **asked)
    assert whole.at("step")["weights"] - step.at("step")["weights"] == layers * 2 * experts - codes
    assert not any("stay in 16 bits" in said for said in step.assumed)


def test_preparation_for_k_bits_costs_what_was_measured():
    """Ministral-8B, one sequence of 4,096: 63,082 to 81,076 MB, bitsandbytes#1569, 2025-05: 17.2 GiB more.

    Rank and checkpoints are not stated: without checkpoints the step grows by 16.5 GiB, 3.2 of them weights.
    """
    fields = {"model_type": "mistral", "hidden_size": 4096, "intermediate_size": 12_288, "head_dim": 128}
    fields |= {"num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8}
    fields |= {"vocab_size": 131_072, "tie_word_embeddings": False}
    asked = {"seq": 4096, "lora_rank": 16, "quantize_base": "nf4-dq", "recompute": "none"}
    plain, wide = (train(Source("m", fields, "here"), **asked, upcast=upcast) for upcast in (False, True))
    tables = 2 * 131_072 * 4096 + (2 * 36 + 1) * 4096
    assert wide.at("step")["weights"] - plain.at("step")["weights"] == 2 * tables
    assert 0.9 * 17_994 < (wide.allocated_bytes - plain.allocated_bytes) / 2**20 < 17_994


@pytest.mark.parametrize(("batch", "peak", "off"), [(4, 20_669_338_112, 0.003), (8, 37_002_646_016, 0.010)])
def test_a_baseline_that_widens_holds_what_was_measured(batch, peak, off):
    """Mistral-7B in NF4, rank 16 on attention, A100: fms-acceleration, a100_80gb.csv, 2025-02.

    Its plugin prepares the model for k bits; without that the first row would be 27 % below.
    """
    attention = ("q_proj", "k_proj", "v_proj", "o_proj")
    asked = {"seq": 4096, "micro_batch": batch, "lora_rank": 16, "lora_targets": attention, "dropout": 0.1}
    step = train("mistralai/Mistral-7B-v0.1", **asked, quantize_base="nf4-dq", upcast=True)
    assert abs(step.allocated_bytes / peak - 1) < off


@pytest.mark.parametrize(("base", "kept"), [("gptq-int4-g128", 1), ("awq-int4-g128", 0)])
def test_kernels_keep_the_matrices_that_they_make_of_codes(base, kept):
    """GPTQ's multiply by numbers in 16 bits, which autograd keeps; the range has those that keep codes."""
    asked = {"seq": 128, "lora_rank": 8, "recompute": "none", "lora_targets": ("q_proj",)}
    fours, plain = train(LLAMA_8B, **asked, quantize_base=base), train(LLAMA_8B, **asked)
    matrices = sum(one.count for one in plain.model.weights() if one.kind == "matrix")
    unasked = 4096 * (4096 + 2 * 1024)  # q, k and v of the first layer: no gradient flows on from there
    more = fours.at("forward_end")["activations"] - plain.at("forward_end")["activations"]
    assert more == kept * 2 * (matrices - unasked)
    lines = [one for one in fours.device.lines if one.name.startswith("matrices made of codes")]
    assert [-one.least_bytes for one in lines] == ([more] if kept else [])


def test_codes_scales_and_zeros_of_published_formats():
    """4 bits a number; 128 numbers have a scale of 16 and a zero of 4; a column of GPTQ an index of 32."""
    asked = {"seq": 128, "lora_rank": 8}
    plain = train(LLAMA_8B, **asked)
    matrices = [one for one in plain.model.weights() if one.kind == "matrix"]
    for base, index in ("gptq-int4-g128", 4), ("awq-int4-g128", 0):
        fours = train(LLAMA_8B, **asked, quantize_base=base)
        less = plain.at("step")["weights"] - fours.at("step")["weights"]
        numbers = sum(one.count for one in matrices)
        columns = 32 * (6 * 4096 + 14_336)
        assert less == 2 * numbers - numbers // 2 - numbers * 20 // (8 * 128) - index * columns


REFUSED = [
    (LLAMA_8B, {"trainable": ("self_attn",)}, "embed_tokens or lm_head with --lora-rank, given 'self_attn'"),
    (LLAMA_8B, {"trainable": ("lm_head",), "lora_targets": ("lm_head",)}, "name it once"),
    (LLAMA_8B, {"trainable": ("lm_head",), "tp": 2, "world": 2}, "--tp: expected 1"),
    (LLAMA_8B, {"lora_targets": ("embed_tokens",), "dora": True}, "--dora: expected no embed_tokens"),
    (LLAMA_8B, {"dora": True, "quantize_base": "nf4"}, "--dora: expected no --quantize-base"),
    (LLAMA_8B, {"dora": True, "tp": 2, "world": 2}, "--dora: expected --tp 1"),
    (LLAMA_8B, {"dora": True, "lora_rank": None}, "--dora: expected --lora-rank as well"),
    (SPARSE, {"dora": True}, "PEFT has no DoRA for these"),
    (
        LLAMA_8B,
        {"quantize_experts": True, "quantize_base": "nf4"},
        "--quantize-experts: expected a model with",
    ),
    (SPARSE, {"quantize_experts": True, "quantize_base": "nf4"}, "--lora-targets without experts"),
    (LLAMA_8B, {"upcast": True}, "--upcast: expected --quantize-base as well"),
    (SPARSE, {"upcast": True, "quantize_base": "nf4"}, "--upcast: expected a model without experts"),
    (LLAMA_8B, {"upcast": True, "quantize_base": "gptq-int4-g128"}, "--upcast: expected bitsandbytes"),
    (SPARSE, {"quantize_base": "awq-int4-g128"}, "--quantize-base: expected a model without experts"),
    (LLAMA_8B, {"quantize_base": "gptq-int4-g128", "world": 2, "shard": "fsdp"}, "4 bits of bitsandbytes"),
    (LLAMA_8B, {"implementation": "megatron"}, "adapters"),
]


@pytest.mark.parametrize(("source", "options", "words"), REFUSED)
def test_what_is_not_modelled_is_refused_in_one_line(source, options, words):
    with pytest.raises(BadInputError) as caught:
        train(source, **{"seq": 128, "lora_rank": 8, **options})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


EXPERTS = (
    "Qwen/Qwen3-30B-A3B",
    "mistralai/Mixtral-8x7B-v0.1",
    "deepseek-ai/DeepSeek-V2-Lite",
    "openai/gpt-oss-20b",
)


@pytest.mark.parametrize("more", [{}, {"world": 8, "shard": 3}, {"quantize_base": "int8"}], ids=str)
@pytest.mark.parametrize("name", EXPERTS)
def test_advice_to_quantise_experts_is_answered_as_it_is_printed(name, more):
    """With the targets that it needs, where adapters have experts; no advice where it would be refused."""
    asked = {"seq": 512, "lora_rank": 8, "quantize_base": "nf4", **more}
    before = train(name, **asked)
    (said,) = (one for one in before.assumed if one.startswith("experts and router stay in 16 bits"))
    advice = said.partition("; --quantize-experts")[2]
    assert bool(advice) == (not more)
    if advice:
        targets = advice.partition(" with --lora-targets ")[2].partition(" ")[0]
        named = {"lora_targets": tuple(targets.split(","))} if targets else {}
        after = train(name, **asked, quantize_experts=True, **named)
        assert after.device.total_bytes < before.device.total_bytes / 2


def test_a_remedy_quantises_experts():
    """With adapters of all else, since an expert made of codes has none."""
    for asked in ({}, {"lora_rank": 16}, {"lora_rank": 16, "quantize_base": "nf4"}):
        remedies = train(EXPERTS[0], seq=2048, **asked, on="1x rtx-5090").remedies
        commands = [one.command for one in remedies if "--quantize-experts" in one.command]
        assert len(commands) == 1
        assert "--lora-targets q_proj,k_proj,v_proj,o_proj" in commands[0]


def test_a_copy_is_of_the_module_that_is_named_alone():
    """PEFT compares the ends of names: Gemma 4's embeddings of each layer are another module."""
    name = "google/gemma-4-E2B"
    without, beside = (train(name, seq=128, lora_rank=8, trainable=part) for part in ((), ("embed_tokens",)))
    assert beside.trainable_parameters - without.trainable_parameters == 262_144 * 1_536
    whole = train(name, seq=128, trainable=("embed_tokens",))
    assert whole.trainable_parameters == 262_144 * (1_536 + 35 * 256)
    for part in "embed_tokens_per_layer", "embed":
        with pytest.raises(
            MemcalcError, match=r"^--trainable: expected embed_tokens or lm_head with --lora-rank"
        ):
            train(name, seq=128, lora_rank=8, trainable=(part,))
