"""RoPE scaling costs nothing in transformers; vLLM tabulates sines and cosines, and the table grows."""

from __future__ import annotations

import ask
import pytest
import torch
from small import FIRST

from memcalc.files.catalogue import record
from memcalc.files.readers import read

MIB = 2**20
# What a run beyond the model's length leaves beside the buffers: a third list, and one number.
AFTER_A_RUN = {"longrope": {"long_inv_freq": 64 * 4}, "dynamic": {"max_seq_len_cached": 8}}


# Vision-language models have their text model's rotation; Gemma 3 has two of them: a test of its own.
# GPT-2 has none: its positions are learned. Later families share the rotation of these, or have none.
ONE_ROTATION = [kind for kind in FIRST if kind not in {"gemma3", "gemma3_text", "kimi_k25", "gpt2"}]
TAKEN = [
    (model_type, kind)
    for model_type in ONE_ROTATION
    for kind in ask.ROPE_TYPES
    if model_type != "phi3" or kind in {"default", "longrope"}  # its configuration refuses the others
]


@pytest.mark.sampled(5)
@pytest.mark.parametrize(("model_type", "kind"), TAKEN)
def test_buffers_are_two_lists_of_frequencies(model_type, kind):
    """Heads 128 wide have 64 frequencies in fp32, kept twice: 512 B a model, whatever the kind of scaling."""
    model = ask.rotary_model(model_type, kind)
    assert ask.rotary_buffers(model) == {"inv_freq": 64 * 4, "original_inv_freq": 64 * 4}
    held = ask.run(model, 1, 100)
    assert sum(ask.rotary_buffers(model).values()) == 512
    assert ask.rotary_attributes(model) == AFTER_A_RUN.get(kind, {})
    assert ask.bytes_held(held) == ask.bytes_held(ask.run(ask.rotary_model(model_type, "default"), 1, 100))


def test_half_a_head_has_half_as_many_frequencies():
    """GLM-4.5 rotates 64 numbers of 128, and memcalc reads the same."""
    fields = record("zai-org/GLM-4.5-Air").fields
    rotary = ask.on_meta(fields).model.rotary_emb
    [part] = {part for layer in read(fields).layers for name, part in layer.parts if name == "self_attn"}
    assert rotary.inv_freq.numel() == part.rope_dim // 2 == 32


def test_gemma_3_rotates_each_kind_of_layer_in_its_own_way():
    """Two lists for layers with a window, two for those without; memcalc counts two tables."""
    fields = record("google/gemma-3-27b-it").fields
    rotary = ask.on_meta(fields).model.language_model.rotary_emb
    lists = {name: item.numel() for name, item in rotary.named_buffers()}
    assert lists == {
        f"{kind}_attention_{which}": 64
        for kind in ("sliding", "full")
        for which in ("inv_freq", "original_inv_freq")
    }
    limit = ask.config_of(fields).text_config.max_position_embeddings  # the class's own: the file states none
    assert read(fields).rotary_positions == limit + 8 * limit


def test_the_kinds_are_all_that_transformers_knows():
    assert set(ask.SCALING) == set(ask.ROPE_TYPES)


def test_narrower_heads_have_fewer_frequencies():
    """DeepSeek-V3 rotates 64 numbers of a head."""
    model = ask.rotary_model("deepseek_v3", "yarn", head_dim=64)
    assert sum(ask.rotary_buffers(model).values()) == 2 * 32 * 4


def table(positions, rotary_dim, dtype=torch.bfloat16):
    """vLLM's `cos_sin_cache` as its class describes it: a row of cosines and sines for every position.

    vLLM does not install where these tests run. This is its published arithmetic, said again with torch:
    vllm-project/vllm, vllm/model_executor/layers/rotary_embedding/base.py (`_compute_cos_sin_cache`, rows of
    rotary_dim numbers in the model's dtype) and yarn_scaling_rope.py (original length x factor rows), read
    2026-11 at 04458da and 0cd5784.
    """
    frequencies = torch.arange(0, rotary_dim, 2, dtype=torch.float, device="meta")
    angles = torch.outer(torch.arange(positions, dtype=torch.float, device="meta"), frequencies)
    return torch.cat((angles.cos(), angles.sin()), dim=-1).to(dtype)


@pytest.mark.parametrize(
    ("fields", "positions", "size"),
    [
        ({"max_position_embeddings": 32_768, "rope_scaling": None}, 32_768, 8 * MIB),
        (
            {
                "max_position_embeddings": 131_072,
                "rope_scaling": {
                    "rope_type": "yarn",
                    "factor": 4.0,
                    "original_max_position_embeddings": 32_768,
                },
            },
            131_072,
            32 * MIB,
        ),
    ],
)
def test_the_table_of_vllm_grows_with_the_positions(fields, positions, size):
    """Qwen3-32B: 32,768 positions x 128 x 2 B are 8 MiB, with YaRN x 4 it is 32 MiB, once for all layers."""
    model = read(record("Qwen/Qwen3-32B").fields | fields)
    rows = table(positions, 128)
    assert rows.numel() * rows.element_size() == size
    assert model.rotary_positions == rows.shape[0]
