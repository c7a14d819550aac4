"""Quantised checkpoints that are trained: in their own format beneath adapters, or refused."""

from __future__ import annotations

import pytest

from memcalc.errors import BadInputError, MemcalcError
from memcalc.files.catalogue import record
from memcalc.files.source import Source
from memcalc.files.sources import source
from memcalc.training.api import train

LLAMA, GPTQ, FP8 = "meta-llama/Llama-3.2-1B", "Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4", "Qwen/Qwen3-32B-FP8"
NF4 = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
STATED = {
    "gptq-int4-g128": {"quant_method": "gptq", "bits": 4, "group_size": 128},
    "awq-int4-g128": {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True},
    "nf4": NF4,
    "nf4-dq": {**NF4, "bnb_4bit_use_double_quant": True, "llm_int8_skip_modules": ["lm_head"]},
    "int8": {"quant_method": "bitsandbytes", "load_in_8bit": True},
}
NOT_MODELLED = (
    {**STATED["gptq-int4-g128"], "bits": 8},
    {**STATED["gptq-int4-g128"], "group_size": 32},
    {**STATED["gptq-int4-g128"], "lm_head": True},
    {**STATED["awq-int4-g128"], "modules_to_not_convert": ["model.layers.0.mlp"]},
    {**NF4, "llm_int8_skip_modules": ["q_proj"]},
    {"quant_method": "awq", "bits": "four"},
)
ADAPTERS = {"seq": 512, "lora_rank": 16}


def stored(stated, name="quantised"):
    """A small Llama whose files say how they are quantised."""
    return Source(name, {**source(LLAMA).fields, "quantization_config": stated}, "a test")


@pytest.mark.parametrize("base", STATED)
def test_adapters_stand_on_the_checkpoint_as_it_is_stored(base):
    """Never on numbers of 16 bits that its files do not hold, and the answer says so."""
    own, named = train(stored(STATED[base]), **ADAPTERS), train(LLAMA, **ADAPTERS, quantize_base=base)
    assert own.device.total_bytes == named.device.total_bytes < train(LLAMA, **ADAPTERS).device.total_bytes
    assert f"quantize base {base}" in own.defaults
    assert own.settings["quantize_base"] == base
    assert not any("read as numbers" in one for one in own.assumed)


@pytest.mark.parametrize("stated", NOT_MODELLED, ids=str)
def test_a_format_that_is_not_modelled_is_refused(stated):
    """By the field of the files, with what to ask for instead; naming a base does not change the files."""
    for base in (None, "nf4"):
        with pytest.raises(BadInputError, match=r"^quantization_config: expected .*--quantize-base nf4$"):
            train(stored(stated), **ADAPTERS, quantize_base=base)


def test_quantised_matrices_are_not_trained():
    with pytest.raises(BadInputError, match=r"^--lora-rank: expected adapters .* name the model before it"):
        train(GPTQ, seq=512)
    with pytest.raises(BadInputError, match=r"^--quantize-base: expected gptq-int4-g128, given 'nf4'"):
        train(GPTQ, **ADAPTERS, quantize_base="nf4")


def test_what_is_read_as_numbers_is_said():
    """FP8 and others become numbers of 16 bits first, and are then quantised again where that is asked."""
    for method, of in (
        ("fp8", FP8),
        ("mxfp4", "openai/gpt-oss-20b"),
        ("(AWQ", stored(None, "own/Llama-AWQ")),
    ):
        said = [one for one in train(of, **ADAPTERS).assumed if "read as numbers of the regime" in one]
        assert len(said) == 1
        assert method in said[0]
        assert said[0].endswith("before they train")
    again = train(FP8, **ADAPTERS, quantize_base="nf4").assumed
    assert any(one.endswith("before they become nf4") for one in again)


def test_models_beside_the_policy_have_formats_of_their_own():
    """A reward model is held as its files are, whatever the policy is; a critic trains as the policy does."""
    asked = {"seq": 512, "method": "ppo", "lora_rank": 8}

    def weights(step, of):
        return next(line.bytes for line in step.device.lines if line.name == f"{of}: weights")

    small = train(LLAMA, **asked, reward_model=LLAMA)
    assert weights(train(GPTQ, **asked, reward_model=LLAMA), "reward model") == weights(small, "reward model")
    judged = train(LLAMA, seq=512, method="grpo", reward_model=GPTQ)
    policy = train(GPTQ, seq=512, lora_rank=8)
    adapters = 4 * policy.trainable_parameters
    head = 2 * 8192 * (152_064 - 1)  # one row is left of it
    held = sum(line.bytes for line in policy.device.lines if line.component == "weights")
    assert weights(judged, "reward model") == held - adapters - head
    with pytest.raises(BadInputError, match=r"^--lora-rank: expected adapters"):
        train(LLAMA, seq=512, method="ppo", critic=GPTQ)


@pytest.mark.parametrize("stated", [{"quant_method": "foo"}, "nf4", ["nf4"], {}, {"bits": 4}])
@pytest.mark.parametrize("adapters", [{}, {"lora_rank": 8}])
def test_a_format_that_is_not_known_is_refused(stated, adapters):
    """As serving does: its weights were taken for numbers of the regime."""
    fields = record("Qwen/Qwen3-0.6B").fields | {"quantization_config": stated}
    with pytest.raises(MemcalcError, match=r"^quantization_config.*; correct it, or remove it to train"):
        train(Source("stored in another way", fields, "made up"), seq=64, **adapters)
