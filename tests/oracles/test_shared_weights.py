"""Weights on ranks that share them: bitsandbytes under FSDP, and PEFT on matrices that transformers cuts.

`tests/test_sharding.py` has the same numbers, where none of these is needed. Ranks take a quarter of a minute
to start: the gate leaves them to --full.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import ranks
import sharing_ranks
from sharing_ranks import COLUMNS, KINDS, ROWS
from transformers import LlamaConfig, LlamaForCausalLM

from memcalc.ledger.tensor import Tensor
from memcalc.training.api import train
from memcalc.training.weights import quantised_bytes, share_of_codes

WORLD = 2


@pytest.mark.full
def test_ranks_share_the_codes_and_each_keeps_all_scales():
    """To the byte."""
    said = ranks.ask(WORLD, sharing_ranks.packed)
    for kind in KINDS:
        plan = SimpleNamespace(
            options=SimpleNamespace(quantize_base=kind), parallelism=SimpleNamespace(shard="fsdp")
        )
        codes, scales = quantised_bytes(plan, Tensor("down_proj.weight", (ROWS, COLUMNS)))
        for rank in said:
            assert rank[kind] == (share_of_codes(plan, codes, WORLD), scales)


@pytest.mark.full
def test_adapters_are_cut_with_their_matrices(tmp_path):
    """A of a matrix that is cut by its inputs, B of one that is cut by its outputs; the other is whole."""
    sizes = {
        "hidden_size": 64,
        "intermediate_size": 176,
        "num_hidden_layers": 2,
        "vocab_size": 308,
        "head_dim": 16,
    }
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": False}
    LlamaForCausalLM(LlamaConfig(**sizes, **heads)).save_pretrained(tmp_path)
    step = train(str(tmp_path), seq=32, world=WORLD, tp=WORLD, lora_rank=8)
    held = {one.name: list(one.shape) for one in step.stage.tensors.shards}
    for said in ranks.ask(WORLD, sharing_ranks.adapted, str(tmp_path), 8):
        named = {name.replace("layers.0.", "layers.{layer}."): shape for name, shape in said.items()}
        assert held == {name: shape for name, shape in named.items() if "layers.1." not in name}
