"""Engines of Huawei's NPUs: vLLM's rules on NPUs, and MindIE; what CUDA measured is assumed here.

A "64 GB" NPU shows 60.97 GiB to torch_npu (vllm-project/vllm-ascend#1987). Ranks must divide heads and
experts: 24 NPUs of three servers cannot share 128 heads, 32 of four can (hiascend.com model zoo: DeepSeek-R1
on four servers).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from memcalc.errors import BadInputError
from memcalc.serving.engines.vllm import V0_11, VLLM, Behaviour

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memcalc.ledger.formats import Rule
    from memcalc.ledger.model import Model
    from memcalc.serving.parallelism import ServingParallelism

__all__ = ["MindIE", "VLLMAscend"]

BLOCK = 128  # tokens of a block of the cache on an NPU


def refuse_fp8(model: Model, rule: Rule, engine: str) -> None:
    """Refuse weights in FP8: NPUs of the A2 and A3 generations do not serve them.

    Source: https://github.com/vllm-project/vllm-ascend/issues/1526, 2026-05.
    """
    for tensor in model.weights():
        form = rule(tensor)
        if form.id.startswith("fp8"):
            remedy = "the checkpoint is converted first: add --weights bf16 or w8a8"
            raise BadInputError("--weights", f"a format that {engine} serves", form.id, remedy)


class VLLMAscend(VLLM):
    """vLLM with the plugin for NPUs: pool and trial pass are vLLM's, a block has 128 tokens.

    Source: vllm-project/vllm-ascend, vllm_ascend/platform.py (check_and_update_config), 2026-11.
    """

    id = "vllm-ascend"
    title = "vLLM Ascend"
    note = f"blocks of {BLOCK} tokens; the other rules are vLLM's, whose measured parts are assumed on NPUs"
    defaults: Mapping[str, int] = {**VLLM.defaults, "block_size": BLOCK}

    def check(self, model: Model, parallelism: ServingParallelism, rule: Rule) -> None:
        """Refuse what vLLM refuses, and weights in FP8."""
        super().check(model, parallelism, rule)
        refuse_fp8(model, rule, self.id)


class MindIE(VLLM):
    """MindIE: its cache is a pool of blocks too (128 tokens); how much else it takes is not published.

    Source: gitee.com/ascend/ModelZoo-PyTorch, MindIE/LLM/DeepSeek/DeepSeek-R1/README.md (cacheBlockSize).
    """

    id = "mindie"
    title = "MindIE"
    version = "as vLLM 0.11"
    versions: Mapping[str, str] = {}
    behaviours: ClassVar[Mapping[str, Behaviour]] = {version: V0_11}
    note = f"blocks of {BLOCK} tokens; everything but weights and cache is assumed to be as vLLM's"
    defaults: Mapping[str, int] = {**VLLM.defaults, "block_size": BLOCK}

    def check(self, model: Model, parallelism: ServingParallelism, rule: Rule) -> None:
        """Refuse what vLLM refuses, and weights in FP8."""
        super().check(model, parallelism, rule)
        refuse_fp8(model, rule, self.id)
