"""A matrix in 4 bits on ranks that share it: bitsandbytes under FSDP says what memcalc says, to the byte."""

from __future__ import annotations

from types import SimpleNamespace

import packed_ranks
from packed_ranks import COLUMNS, KINDS, ROWS

from memcalc.ledger.tensor import Tensor
from memcalc.training.weights import quantised_bytes, share_of_codes

WORLD = 2


def test_ranks_share_the_codes_and_each_keeps_all_scales():
    """`tests/test_sharding.py` has the same numbers, where no bitsandbytes is needed."""
    said = packed_ranks.ranks(WORLD)
    for kind in KINDS:
        plan = SimpleNamespace(
            options=SimpleNamespace(quantize_base=kind), parallelism=SimpleNamespace(shard="fsdp")
        )
        codes, scales = quantised_bytes(plan, Tensor("down_proj.weight", (ROWS, COLUMNS)))
        for rank in said:
            assert rank[kind] == (share_of_codes(plan, codes, WORLD), scales)
