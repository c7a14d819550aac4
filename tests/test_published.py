"""Types that transformers does not have: parameters, names and sizes of their published checkpoints."""

from __future__ import annotations

import json
import re

import pytest

from memcalc.data import open_text
from memcalc.errors import BadInputError
from memcalc.files.readers import PUBLISHED, READERS, read
from memcalc.files.tensor_names import header
from memcalc.ledger.formats import FORMATS, tensor_bytes
from tests.test_linear_attention import M1

QWEN_NAMES = {
    "transformer.wte.weight",
    "transformer.h.*.ln_1.weight",
    "transformer.h.*.ln_2.weight",
    "transformer.h.*.attn.c_attn.weight",
    "transformer.h.*.attn.c_attn.bias",
    "transformer.h.*.attn.c_proj.weight",
    "transformer.h.*.mlp.w1.weight",
    "transformer.h.*.mlp.w2.weight",
    "transformer.h.*.mlp.c_proj.weight",
    "transformer.ln_f.weight",
    "lm_head.weight",
}
QWEN = {"model_type": "qwen", "kv_channels": 128, "no_bias": True, "tie_word_embeddings": False}
# model: its config, bytes of its 16-bit weights, names of its tensors where they were seen; source, 2026-11
CASES = {
    # model.safetensors.index.json: https://github.com/mapengAdam/qianwen-72B, commit 3334bfe
    "Qwen/Qwen-72B": (
        QWEN
        | {"hidden_size": 8192, "intermediate_size": 49152, "num_attention_heads": 64, "vocab_size": 152064}
        | {"num_hidden_layers": 80},
        144_575_840_256,
        QWEN_NAMES,
    ),
    # model.safetensors.index.json: https://github.com/MiniMax-AI/MiniMax-M1, commit 2abb4f4, 2025-06
    "MiniMaxAI/MiniMax-M1-80k": (M1, 912_210_767_872, set()),
}


@pytest.mark.parametrize("name", CASES)
def test_the_bytes_of_a_published_checkpoint(name: str) -> None:
    """All tensors together, to the byte."""
    fields, size, _ = CASES[name]
    model = read(fields, name)
    held = (tensor_bytes(tensor, FORMATS[tensor.format or "bf16"]) for tensor in model.weights())
    assert sum(held) == size


@pytest.mark.parametrize("name", CASES)
def test_the_names_of_a_published_checkpoint(name: str) -> None:
    """Layers and experts together, those of the file and no others."""
    fields, _, names = CASES[name]
    starred = {re.sub(r"\.\d+\.", ".*.", tensor) for tensor in header(read(fields, name))}
    assert starred == (names or starred)


def test_every_published_type_has_a_case_and_a_source() -> None:
    """None of them is a type of transformers, whose classes would be the truth."""
    with open_text("published_classes.jsonl") as file:
        classes = [json.loads(line) for line in file]
    assert {one["model_type"] for one in classes} == set(PUBLISHED)
    assert all(one["source"].startswith("https://") and one["date"] for one in classes)
    assert {fields["model_type"] for fields, _, _ in CASES.values()} == set(PUBLISHED)
    with open_text("transformers_types.json") as file:
        assert not {*READERS, *json.load(file)["types"]} & set(PUBLISHED)


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("Qwen/Qwen-72B", "no_bias", False),
        ("Qwen/Qwen-72B", "kv_channels", 64),
        ("Qwen/Qwen-72B", "intermediate_size", 49151),
        ("Qwen/Qwen-72B", "use_cache_quantization", True),
    ],
)
def test_what_is_not_understood_is_refused(name: str, field: str, value: object) -> None:
    """By the name of the field."""
    with pytest.raises(BadInputError, match=field):
        read({**CASES[name][0], field: value})
