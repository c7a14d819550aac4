"""Engines of Huawei's NPUs: vLLM's rules on NPUs, and MindIE; what CUDA measured is assumed here.

A "64 GB" NPU shows 60.97 GiB to torch_npu (vllm-project/vllm-ascend#1987). Ranks must divide heads and
experts: 24 NPUs of three servers cannot share 128 heads, 32 of four can (hiascend.com model zoo: DeepSeek-R1
on four servers).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from memcalc.errors import BadInputError
from memcalc.ledger.formats import KV_FORMATS
from memcalc.serving.engines.vllm import LARGE, V0_11, VLLM, Behaviour

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memcalc.files.machines import Device
    from memcalc.ledger.formats import Format, Rule
    from memcalc.ledger.model import Model
    from memcalc.ledger.tensor import Tensor
    from memcalc.serving.parallelism import ServingParallelism

__all__ = ["MindIE", "VLLMAscend"]

BLOCK = 128  # tokens of a block of the cache on an NPU


class OnNPUs(VLLM):
    """vLLM's rules on NPUs: blocks of 128 tokens, no weights in FP8, and caches as the model has them."""

    defaults: Mapping[str, int] = {
        "block_size": BLOCK,
        **LARGE,
        "enforce_eager": False,
        "language_model_only": False,
    }
    cache_formats: Mapping[str, Format] = KV_FORMATS
    smaller_caches: tuple[str, ...] = ()
    smaller_weights: tuple[str, ...] = ("w8a8",)

    def default_cache_format(self, model: Model, device: Device | None) -> str | None:
        """Store the cache of sparse attention in 16 bits too."""
        return None

    def cache_layout(self, model: Model, form: Format, options: Mapping[str, int]) -> Format:
        """Have no layout of DeepSeek's: its kernels are CUDA's."""
        return form

    def cache_format(self, tensor: Tensor, layout: Format) -> Format:
        """Store every tensor of a cache alike, the indexer's keys too."""
        return layout

    def check(self, model: Model, parallelism: ServingParallelism, rule: Rule) -> None:
        """Refuse what vLLM refuses, and weights in FP8.

        Source: https://github.com/vllm-project/vllm-ascend/issues/1526, 2026-05.
        """
        super().check(model, parallelism, rule)
        for tensor in model.weights():
            form = rule(tensor)
            if form.id.startswith("fp8"):
                remedy = "the checkpoint is converted first: add --weights bf16 or w8a8"
                raise BadInputError("--weights", f"a format that {self.id} serves", form.id, remedy)


class VLLMAscend(OnNPUs):
    """vLLM with the plugin for NPUs: pool and trial pass are vLLM's.

    Source: vllm-project/vllm-ascend, vllm_ascend/platform.py (check_and_update_config), 2026-11.
    """

    id = "vllm-ascend"
    title = "vLLM Ascend"
    note = f"blocks of {BLOCK} tokens; the other rules are vLLM's, whose measured parts are assumed on NPUs"


class MindIE(OnNPUs):
    """MindIE: its cache is a pool of blocks too; how much else it takes is not published.

    Source: gitee.com/ascend/ModelZoo-PyTorch, MindIE/LLM/DeepSeek/DeepSeek-R1/README.md (cacheBlockSize).
    """

    id = "mindie"
    title = "MindIE"
    version = "as vLLM 0.11"
    versions: Mapping[str, str] = {}
    behaviours: ClassVar[Mapping[str, Behaviour]] = {version: V0_11}
    note = f"blocks of {BLOCK} tokens; everything but weights and cache is assumed to be as vLLM's"
