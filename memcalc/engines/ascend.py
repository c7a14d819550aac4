"""Engines of Huawei's NPUs: vLLM's rules on NPUs, and MindIE; what CUDA measured is assumed here.

A "64 GB" NPU shows 60.97 GiB to torch_npu (vllm-project/vllm-ascend#5020). Ranks must divide heads and
experts: 24 NPUs of three servers cannot share 128 heads, 32 of four can (hiascend.com model zoo: DeepSeek-R1
on four servers).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.engines.vllm import VLLM

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MindIE", "VLLMAscend"]


class VLLMAscend(VLLM):
    """vLLM with the plugin for NPUs: blocks, pool and trial pass are vLLM's."""

    id = "vllm-ascend"
    note = f"vLLM's rules, whose measured parts are assumed on NPUs; {VLLM.note}"


class MindIE(VLLM):
    """MindIE: its cache is a pool of blocks too (128 tokens); how much else it takes is not published."""

    id = "mindie"
    version = "0.11"
    versions = ()
    note = "blocks of 128 tokens; everything beside weights and cache is assumed to be as vLLM's"
    defaults: Mapping[str, int] = {**VLLM.defaults, "block_size": 128}
