"""Loading and saving for real: pages of files, arrays of one's own, and what FSDP's first rank gathers.

`tests/recorded/beside.json` has what evaluation holds and saving copies; ranks take a quarter of a minute to
start: the gate leaves them to --full.
"""

from __future__ import annotations

import beside
import pytest
import ranks
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

from memcalc.training.api import train

MIB = 2**20
SIZES = {
    "vocab_size": 8192,
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "tie_word_embeddings": False,
}
OTHERS = 120 * MIB  # modules that are imported, what the allocator of the C library keeps


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A dense model and a mixture, saved in bf16."""
    found = {}
    for name, made in (
        ("dense", lambda: LlamaForCausalLM(LlamaConfig(**SIZES))),
        (
            "mixture",
            lambda: Qwen3MoeForCausalLM(
                Qwen3MoeConfig(**SIZES, num_experts=8, num_experts_per_tok=2, moe_intermediate_size=1408)
            ),
        ),
    ):
        found[name] = str(tmp_path_factory.mktemp(name))
        made().to(torch.bfloat16).save_pretrained(found[name])
    return found


def in_host(folder, **asked):
    """What memcalc says of one rank's own memory while it loads, without the program."""
    step = train(folder, seq=32, **asked)
    held = [one for one in step.beside_the_step if (one.at, one.where) == ("load", "host")]
    return sum(line.bytes for one in held for line in one.lines if line.component != "runtime")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dtype", "asked"),
    [
        ("dense", "bfloat16", {"regime": "pure-bf16"}),
        pytest.param("dense", "float32", {"regime": "amp"}, marks=pytest.mark.full),
        ("mixture", "bfloat16", {"regime": "pure-bf16"}),
    ],
    ids=["as in the file", "widened", "experts in one array"],
)
def test_what_is_no_page_of_a_file_is_a_rank_s_own(folders, name, dtype, asked):
    said, own = in_host(folders[name], **asked), beside.loaded(folders[name], dtype)
    assert said <= own < said + OTHERS


@pytest.mark.full
def test_fsdp_s_first_rank_gathers_weights_and_states(folders):
    """To the byte, and the other ranks get nothing."""
    step = train(folders["dense"], seq=32, world=2, shard="fsdp")
    (first, other) = ranks.ask(2, beside.gathered, folders["dense"])
    assert other == (0, 0)
    assert first == (4 * step.parameters, 8 * step.parameters)
    saved = [one for one in step.beside_the_step if (one.at, one.where) == ("save", "host")]
    assert saved[0].components["optimizer"] == first[1]
    alone = train(folders["dense"], seq=32, world=2, shard="fsdp", save="weights").beside_the_step[-1]
    assert alone.components["weights"] == first[0]
