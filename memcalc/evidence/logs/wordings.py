"""How engines, PyTorch and llama.cpp word a memory figure: one row of a table each.

A row is a regular expression with `{quantity}` where a figure stands; `{quantity:u}` is a figure with its unit.
Figures of one quantity in a row are added up (keys and values: `{kv_pool_1}`, `{kv_pool_2}`). Units are the
engine's: vLLM and SGLang print "GB" for 2^30 bytes, llama.cpp's Metal and SGLang's host cache "MB" and "GB" for
powers of ten. Each wording is from a public log; `tests/logs` holds one of each.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

__all__ = ["COUNTS", "SCOPES", "UNITS", "Wording", "wordings"]

UNITS = {
    "B": 1,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
}
# of what a quantity is a figure, unless its row says otherwise
SCOPES = {
    "weights": "rank",
    "state": "rank",
    "kv_pool": "rank",
    "kv_needed": "rank",
    "kv_indexer": "rank",
    "kv_k": "rank",
    "kv_v": "rank",
    "kv_blocks_gpu": "rank",
    "kv_blocks_cpu": "host",
    "kv_pool_host": "host",
    "kv_tokens": "all",
    "kv_tokens_window": "all",
    "state_slots": "all",
    "max_tokens": "all",
    "block_tokens": "all",
    "concurrency": "all",
    "utilization": "all",
    "estimate": "all",
    "non_torch": "rank",
    "activation": "rank",
    "graphs": "rank",
    "graphs_estimated": "rank",
    "compute_buffer": "rank",
    "output_buffer": "rank",
    "projected": "device",
    "total": "device",
    "budget": "device",
    "free": "device",
    "in_use": "device",
    "in_use_process": "device",
    "oom_requested": "device",
    "oom_capacity": "device",
    "oom_allocated": "device",
    "oom_reserved": "device",
    "oom_reserved_unallocated": "device",
}
COUNTS = {
    "kv_blocks_gpu", "kv_blocks_cpu", "kv_tokens", "kv_tokens_window", "concurrency", "utilization",
    "state_slots", "max_tokens", "block_tokens",
}  # fmt: skip
NUMBER = r"-?\d+(?:,\d{3})*(?:\.\d+)?"
UNIT = r"\s?(?:[KMGT]i?B|B)"
PLACE = re.compile(r"\{(\w+)(:u)?\}")


class Wording(NamedTuple):
    """One way to say a figure: by whom, how, in which unit, and of what (`scope`); or `why` it is no figure."""

    engine: str
    text: str
    unit: str = "GiB"
    scope: str = ""
    why: str = ""


# what looks like memory and is none of a device's: whole lines, looked for first
TRAPS = (
    Wording("vllm", r"CUDA graphs can take additional", why="a warning, nothing was measured"),
    Wording("vllm", r"Loading (?:weights|safetensors checkpoint shards|pt checkpoint|model)\b.*(?:seconds|Completed|it/s|s/it)",
            why="a time or a progress bar"),
    Wording("vllm", r"padding layers, may waste at most", why="a ratio"),
    Wording("vllm", r"Padding mamba page size by", why="a ratio"),
    Wording("vllm", r"Profiling CUDA graph memory:", why="numbers of graphs"),
    Wording("vllm", r"Registering \d+ cuda graph addresses", why="addresses"),
    Wording("vllm", r"Overriding num_gpu_blocks=", why="the trial cache of the graphs' profile, or an override"),
    Wording("vllm", r"[Cc]heckpoint size", why="files on disk, and the host's memory"),
    Wording("vllm", r"Time spent downloading|Downloading", why="files on disk"),
    Wording("llama.cpp", r"CPU_Mapped model buffer size", why="the whole file mapped, also what devices hold"),
    Wording("llama.cpp", r"file size\s*=", why="a file on disk"),
    Wording("llama.cpp", r"will leave .* of free device memory", why="what would be left"),
    Wording("llama.cpp", r"memory (?:use|breakdown).*\[MiB\]", why="a heading"),
    Wording("sglang", r"Capturing (?:batches|num tokens)", why="a progress bar"),
    Wording("sglang", r"Unsupported element_size", why="bytes of a record"),
    Wording("nvidia-smi", r"NVIDIA-SMI .*Driver Version", why="versions"),
)  # fmt: skip

VLLM = (
    Wording("vllm", r"(?:Model loading|Loading model weights|Loading drafter model) took {weights} Gi?B"),
    Wording("vllm", r"# (?:GPU|cuda|npu|NPU) blocks: {kv_blocks_gpu}(?:, # CPU blocks: {kv_blocks_cpu})?"),
    Wording("vllm", r"after num_gpu_blocks is: {kv_blocks_gpu}"),
    Wording("vllm", r"can use total_gpu_memory \({total}\s?GiB\) x gpu_memory_utilization \([\d.]+\) = {budget}\s?GiB"),
    Wording("vllm", r"model weights take {weights}\s?GiB; non_torch_memory takes {non_torch}\s?GiB; "
                    r"PyTorch activation peak memory takes {activation}\s?GiB; "
                    r"the rest of the memory reserved for KV Cache is {kv_pool}\s?GiB"),
    Wording("vllm", r"total_gpu_memory={total}\s?GiB initial_memory_usage={in_use}\s?GiB "
                    r"peak_torch_memory=[\d.]+\s?GiB(?: memory_usage_post_profile=[\d.]+\s?GiB)? "
                    r"non_torch_memory={non_torch}\s?GiB kv_cache_size={kv_pool}\s?GiB gpu_memory_utilization={utilization}"),
    Wording("vllm", r"Available KV cache memory: {kv_pool}\s?GiB"),
    Wording("vllm", r"GPU KV cache size: {kv_tokens} tokens"),
    Wording("vllm", r"Maximum concurrency for [\d,]+ tokens per request: {concurrency}x"),
    Wording("vllm", r"Estimated (?:CUDA|NPU|ACL) ?graph memory: {graphs_estimated}\s?GiB"),
    Wording("vllm", r"current --gpu-memory-utilization={utilization} is equivalent"),
    Wording("vllm", r"(?:CUDA|NPU) graph pool memory: {graphs}\s?GiB \(actual\), {graphs_estimated}\s?GiB \(estimated\)"),
    Wording("vllm", r"Graph capturing finished in [\d.]+ secs?, took {graphs}\s?GiB"),
    Wording("vllm", r"Free memory on device(?: \S+)? \({free}/{total}\s?GiB\) on startup"),
    Wording("vllm", r"Desired GPU memory utilization is \({utilization}, {budget}\s?GiB\)"),
    Wording("vllm", r"Actual usage: {weights}\s?GiB for weights?(?: and [\w -]+)?, {activation}\s?GiB for peak activation, "
                    r"{non_torch}\s?GiB for non-torch memory(?:, and {graphs}\s?GiB for (?:CUDA|NPU)\s?[Gg]raph memory)?"),
    Wording("vllm", r"Initial free memory:? {free}\s?GiB, reserved {kv_pool}\s?GiB memory for KV [Cc]ache"),
    Wording("vllm", r"\({kv_needed}\s?GiB KV cache is needed, which is larger than the available KV cache memory "
                    r"\({kv_pool}\s?GiB\)"),
    Wording("vllm", r"estimated maximum model length is {max_tokens}"),
    Wording("vllm", r"Setting attention block size to {block_tokens} tokens"),
    Wording("vllm", r"max_num_seqs \(\d+\) exceeds available Mamba cache blocks \({state_slots}\)"),
    Wording("vllm", r"Resized workspace from .*: [\d.]+ MB -> {activation} MB", unit="MiB"),
)  # fmt: skip

SGLANG = (
    Wording("sglang", r"Init torch distributed ends\..*mem usage={non_torch}\s?GB"),
    Wording("sglang", r"Load weight begin\. avail mem={free}\s?GB"),
    Wording("sglang", r"Load weight end\..*avail mem={free}\s?GB, mem usage={weights}\s?GB"),
    Wording("sglang", r"KV Cache is allocated\..*#tokens: {kv_tokens}, K size: {kv_pool_1}\s?GB, V size: {kv_pool_2}\s?GB"),
    Wording("sglang", r"KV Cache is allocated\..*#tokens: {kv_tokens}, KV size: {kv_pool}\s?GB"),
    Wording("sglang", r"Mamba Cache is allocated\..*max_mamba_cache_size: {state_slots}, "
                      r"conv_state size: {state_1}\s?GB, ssm_state size: {state_2}\s?GB"),
    Wording("sglang", r"full_layer_tokens={kv_tokens}, swa_layer_tokens={kv_tokens_window}"),
    Wording("sglang", r"SWAKVPool mem usage: {kv_pool}\s?GB"),
    Wording("sglang", r"Memory pool end\. avail mem={free}\s?GB"),
    Wording("sglang", r"Capture \w+ graph begin\..*avail mem={free}\s?GB"),
    Wording("sglang", r"Capture \w+ graph end\..*mem usage={graphs}\s?GB\.? avail mem={free}\s?GB"),
    Wording("sglang", r"max_total_num_tokens={kv_tokens},.*available_gpu_mem={free}\s?GB"),
    Wording("sglang", r"max_total_num_tokens={kv_tokens},"),
    Wording("sglang", r"Allocating {kv_pool_host} GB host memory for hierarchical KV cache", unit="GB"),
)  # fmt: skip

OUT_OF_MEMORY = (
    Wording("pytorch", r"Tried to allocate {oom_requested:u}(?:\. GPU \d+ has a total capacity of {oom_capacity:u} "
                       r"of which {free:u} is free)?"),
    Wording("pytorch", r"\((?:GPU|NPU|XPU|HIP) \d+; {oom_capacity:u} total capacity; {oom_allocated:u} already allocated;"),
    Wording("pytorch", r"; {free:u} free(?=;)"),
    Wording("pytorch", r"; {oom_reserved:u} reserved in total by PyTorch"),
    Wording("pytorch", r"(?:this process|Process \d+) has {in_use:u} memory in use"),
    Wording("pytorch", r"Of the allocated memory {oom_allocated:u} is allocated by PyTorch"),
    Wording("pytorch", r"and {oom_reserved_unallocated:u} is reserved by PyTorch but unallocated"),
)  # fmt: skip

DEVICE = r"(?P<scope>[A-Za-z]+\d*(?:_[A-Za-z]+)?)"
LLAMA_CPP = (
    Wording("llama.cpp", rf"{DEVICE} KV buffer size\s*=\s*{{kv_indexer}} MiB \(indexer", unit="MiB"),
    Wording("llama.cpp", rf"{DEVICE} KV buffer size\s*=\s*{{kv_pool}} MiB", unit="MiB"),
    Wording("llama.cpp", rf"{DEVICE} RS buffer size\s*=\s*{{state}} MiB", unit="MiB"),
    Wording("llama.cpp", rf"{DEVICE}\s+compute buffer size(?: of)?\s*=?\s*{{compute_buffer}} MiB", unit="MiB"),
    Wording("llama.cpp", rf"{DEVICE}\s+output buffer size\s*=\s*{{output_buffer}} MiB", unit="MiB"),
    Wording("llama.cpp", rf"{DEVICE} (?:model )?buffer size\s*=\s*{{weights}} MiB", unit="MiB"),
    Wording("llama.cpp", r"llama_memory_recurrent: size\s*=\s*{state} MiB", "MiB", "all"),
    Wording("llama.cpp", r"(?:KV self size|llama_kv_cache\w*: size)\s*=\s*{kv_pool} MiB", "MiB", "all"),
    Wording("llama.cpp", r"^\s*K \(\w+\):\s*{kv_k} MiB", "MiB", "all"),
    Wording("llama.cpp", r"^\s*V \(\w+\):\s*{kv_v} MiB", "MiB", "all"),
    Wording("llama.cpp", r"ggml_metal_init: recommendedMaxWorkingSetSize\s*=\s*{total} MB", "MB", "device"),
    Wording("llama.cpp", r"recommendedMaxWorkingSetSize\s*=\s*{total} MB", "MB", "Metal"),
    Wording("llama.cpp", rf"\|\s+- {DEVICE} \([^|]*\)\s*\|\s*{{total}} = {{free}} \+ \(\s*{{projected}} =", "MiB"),
    Wording("llama.cpp", r"\|\s+- (?P<scope>Host)\s*\|\s*{projected} =", "MiB"),
    Wording("llama.cpp", rf"params_fit_impl:\s+- {DEVICE} \([^)]*\)?[^:]*:\s*{{total}} total,\s*{{projected}} used", "MiB"),
    Wording("llama.cpp", r"projected to use {projected} MiB of device memory vs\. {free} MiB of free", "MiB", "device"),
)  # fmt: skip

OLLAMA = (
    Wording("ollama", r'msg="model weights" (?:device|buffer)=(?P<scope>\S+) size="{weights:u}"'),
    Wording("ollama", r'msg="kv cache" (?:device|buffer)=(?P<scope>\S+) size="{kv_pool:u}"'),
    Wording("ollama", r'msg="compute graph" (?:device|buffer|backend)=(?P<scope>\S+)(?: buffer_type=\S+)? size="{compute_buffer:u}"'),
    Wording("ollama", r'msg="system memory" total="{total:u}" free="{free:u}"', scope="host"),
    Wording("ollama", r'msg="gpu memory".* available="[^"]*" free="{free:u}"', scope="device"),
    Wording("ollama", r'msg="inference compute".* total="{total:u}" available="{free:u}"', scope="device"),
    Wording("ollama", r'msg="total memory" size="{estimate:u}"', scope="all"),
    Wording("ollama", r'memory\.available="\[{free:u}[^"]*\]"', scope="device"),
    Wording("ollama", r'memory\.required\.full="{estimate:u}"'),
    Wording("ollama", r'memory\.required\.partial="{estimate:u}"'),
    Wording("ollama", r'memory\.required\.allocations="\[{estimate:u}[^"]*\]"', scope="device"),
    Wording("ollama", r'memory\.required\.kv="{kv_pool:u}"', scope="all"),
    Wording("ollama", r'memory\.weights\.total="{weights:u}"', scope="all"),
    Wording("ollama", r'memory\.graph\.full="{compute_buffer:u}"', scope="all"),
)  # fmt: skip

TABLE = (*VLLM, *SGLANG, *OUT_OF_MEMORY, *LLAMA_CPP, *OLLAMA)


def pattern(text: str) -> re.Pattern[str]:
    """Return a wording as a regular expression, its figures as named groups."""

    def group(place: re.Match[str]) -> str:
        name, with_unit = place.groups()
        unit = rf"(?P<{name}_unit>{UNIT})" if with_unit else ""
        return rf"(?P<{name}>{NUMBER}){unit}"

    return re.compile(PLACE.sub(group, text))


@cache
def wordings() -> tuple[tuple[tuple[Wording, re.Pattern[str]], ...], tuple[tuple[Wording, re.Pattern[str]], ...]]:
    """Return the traps and the wordings, compiled when they are first asked for."""
    traps, table = (tuple((one, pattern(one.text)) for one in rows) for rows in (TRAPS, TABLE))
    return traps, table
