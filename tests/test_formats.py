"""Formats to the byte, under assumptions that are printed."""

from __future__ import annotations

import pytest

from memcalc.files.quantization import zero_biases
from memcalc.files.readers import read
from memcalc.files.sources import source
from memcalc.ledger.formats import FORMATS, format_named, stored_bytes, uniform_rule, weight_only_rule
from memcalc.ledger.tensor import Tensor
from memcalc.serving import serve

BF16 = FORMATS["bf16"]


def test_gptq_72b_with_the_padded_mlp() -> None:
    """The 29,696-wide checkpoint: codes, scales, zeros and index, and a 16-bit embedding and head."""
    assert serve("Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4", context=1).weights_file_bytes == 41_620_750_336


def test_gptq_72b_with_autogptqs_zero_biases() -> None:
    """A zero bias on every quantised layer that has none of its own adds 12,124,160 bytes."""
    model = read(source("Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4").fields)
    rule = weight_only_rule(FORMATS["gptq-int4-g128"], FORMATS["fp16"])
    biases = stored_bytes(zero_biases(model, rule), uniform_rule(FORMATS["fp16"]))
    assert stored_bytes(model.weights(), rule) + biases == 41_632_874_496


def test_gptq_72b_without_padding() -> None:
    """The same format on the model's own width."""
    assert serve("Qwen/Qwen2.5-72B", context=1, weights="gptq-int4-g128").weights_file_bytes == 41_489_965_056


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("deepseek-ai/DeepSeek-V3", 673_150_552_416),
        ("Qwen/Qwen3-32B-FP8", 34_322_434_048),
        ("Qwen/Qwen3-235B-A22B-FP8", 236_416_915_456),
        ("Qwen/Qwen3-32B", 65_524_246_528),
        ("openai/gpt-oss-120b", 65_248_815_744),  # its own list leaves all but the experts in 16 bits
        ("moonshotai/Kimi-K2.5", 594_205_259_776),  # likewise, and said inside text_config
    ],
)
def test_a_source_states_its_own_format(name: str, expected: int) -> None:
    """Without --weights, the source's quantization_config decides; the record knows the scales' width."""
    assert serve(name, context=1).weights_file_bytes == expected


def test_a_list_of_exceptions_is_the_checkpoints_own() -> None:
    """Where another format is asked for, the list of the published one says nothing."""
    model = read(source("openai/gpt-oss-120b").fields)
    everything = stored_bytes(model.weights(), weight_only_rule(format_named("int4-g32"), BF16))
    assert serve("openai/gpt-oss-120b", context=1, weights="int4-g32").weights_file_bytes == everything


def test_entries_in_a_familys_own_words_are_understood() -> None:
    """gpt-oss calls its router what the ledger calls a gate."""
    assert serve("openai/gpt-oss-120b", context=1).plan.unmatched == ()
    assert serve("moonshotai/Kimi-K2.5", context=1).plan.unmatched == ()


def test_a_tensor_of_a_single_number_is_stored_as_one():
    """Apertus learns numbers of its activation, which have no axis."""
    scalar = Tensor("mlp.act_fn.alpha_p", (), "bias")
    assert stored_bytes([scalar], uniform_rule(FORMATS["bf16"])) == 2
