"""The command with which an engine was started, where a log holds it: its options, those of one letter too.

Sources: vllm/engine/arg_utils.py of vLLM, python/sglang/srt/server_args.py of SGLang, common/arg.cpp of
llama.cpp, 2026-11. vLLM's numbers may end in a letter: 32k is 32,000, 32K is 32,768.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from memcalc.ledger.formats import GGUF_KV_FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["CACHE", "DTYPES", "ENGINE_OPTIONS", "command_options", "number"]

CACHE = {"fp8": "fp8", "fp8_e4m3": "fp8", "fp8_e5m2": "fp8", "bfloat16": "bf16", "float16": "fp16"}
DTYPES = {"bfloat16": "bf16", "float16": "fp16", "half": "fp16", "float32": "fp32", "float": "fp32"}
COMMANDS = {  # how a line shows that it holds a command of an engine, and plain text that it must hold
    "vllm": r"\bvllm serve\b|\bvllm\.entrypoints\.(?=\S+ +[-\\])|\bvllm/vllm-openai\S*",
    "sglang": r"\bsglang\.launch_server\b|\bsglang serve\b",
    "llama.cpp": (
        r"\b(?:llama-(?:server|cli|bench|completion)|ollama_llama_server)(?:\.exe)?[\"']? (?=.*[-\\^])"
        r"|\bllama\.cpp:(?:server|full)\S* "
    ),
}
WORDS = {
    "vllm": ("vllm serve", "vllm.entrypoints.", "vllm/vllm-openai"),
    "sglang": ("sglang.launch_server", "sglang serve"),
    "llama.cpp": ("llama-", "llama_server", "llama.cpp:"),
}
NAMES = {  # an engine's option -> memcalc's
    "vllm": {
        "max-model-len": "context",
        "tensor-parallel-size": "tp",
        "tp": "tp",
        "pipeline-parallel-size": "pp",
        "pp": "pp",
        "data-parallel-size": "dp",
        "dp": "dp",
        "gpu-memory-utilization": "utilization",
        "kv-cache-dtype": "kv",
        "dtype": "dtype",
        "quantization": "quantization",
        "q": "quantization",
        "max-num-seqs": "max_num_seqs",
        "max-num-batched-tokens": "max_num_batched_tokens",
        "block-size": "block_size",
        "kv-cache-memory-bytes": "kv_cache_memory",
        "kv-cache-memory": "kv_cache_memory",
        "cpu-offload-gb": "cpu_offload_gb",
        "enforce-eager": "enforce_eager",
    },
    "sglang": {
        "context-length": "context",
        "tp": "tp",
        "tp-size": "tp",
        "tensor-parallel-size": "tp",
        "pp": "pp",
        "pp-size": "pp",
        "pipeline-parallel-size": "pp",
        "dp": "dp",
        "dp-size": "dp",
        "data-parallel-size": "dp",
        "ep": "ep",
        "ep-size": "ep",
        "expert-parallel-size": "ep",
        "mem-fraction-static": "utilization",
        "kv-cache-dtype": "kv",
        "dtype": "dtype",
        "quantization": "quantization",
        "chunked-prefill-size": "chunked_prefill_size",
        "cuda-graph-max-bs": "cuda_graph_max_bs",
        "disable-cuda-graph": "disable_cuda_graph",
        "enable-dp-attention": "attention_dp",
    },
    "llama.cpp": {
        "c": "context",
        "ctx-size": "context",
        "ngl": "n_gpu_layers",
        "gpu-layers": "n_gpu_layers",
        "n-gpu-layers": "n_gpu_layers",
        "ctk": "keys",
        "cache-type-k": "keys",
        "ctv": "values",
        "cache-type-v": "values",
        "np": "n_seq_max",
        "parallel": "n_seq_max",
        "ub": "n_ubatch",
        "ubatch-size": "n_ubatch",
        "b": "n_batch",
        "batch-size": "n_batch",
        "kvu": "kv_unified",
        "kv-unified": "kv_unified",
        "swa-full": "swa_full",
    },
}
PLAIN = ("context", "tp", "pp", "dp", "ep")
SWITCHES = ("enforce_eager", "disable_cuda_graph", "kv_unified", "swa_full", "attention_dp")
ENGINE_OPTIONS = frozenset(
    name for names in NAMES.values() for name in names.values() if name == name.lower() and "_" in name
) - {"attention_dp"}
OPTION = re.compile(r"(?<!\S)(--?)([A-Za-z][\w-]*)(?:[= ]+([\"']?)((?![-|&;>\\])[^\s\"']+|-\d+)\3)?")
DECIMAL = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
BINARY = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def number(said: str) -> int | None:
    """Return a whole number above zero, as people may write it for vLLM, or None.

    >>> number("32k"), number("32K"), number("25.6k"), number("4,096"), number("auto"), number("1.5K")
    (32000, 32768, 25600, 4096, None, None)
    """
    found = re.fullmatch(r"(\d+)(?:\.(\d+))?([kKmMgGtT]?)", said.replace(",", ""))
    if found is None:
        return None
    whole, part, letter = found[1], found[2] or "", found[3]
    if part and letter not in DECIMAL:
        return None
    size = int(whole + part) * (DECIMAL | BINARY).get(letter, 1)
    return size // 10 ** len(part) or None


def command_options(log: str, engine: str) -> dict[str, Any]:
    r"""Return what a command says: options under memcalc's names, `dtype` and `quantization` as they stand.

    Parameters
    ----------
    log : str
        The text.
    engine : str
        Whose words they are: vllm, sglang or llama.cpp; of any other there is none.

    Examples
    --------
    >>> command_options("vllm serve m --max-model-len 32k -tp 2 \\\n  --gpu-memory-utilization .95", "vllm")
    {'context': 32000, 'tp': 2, 'utilization': 0.95}
    >>> command_options("llama-server -m a.gguf -c 8192 -ctk q8_0 -ctv q8_0 -ngl 20 -np 2", "llama.cpp")
    {'context': 8192, 'n_gpu_layers': 20, 'n_seq_max': 2, 'kv': 'q8_0'}

    """
    names = NAMES.get(engine, {})
    said: dict[str, str] = {}
    for line in commands(log, engine):
        for _, name, _, value in OPTION.findall(line):
            if name in names or (name := name.replace("_", "-").lower()) in names:
                said.setdefault(names[name], value)
    found = {name: one for name, value in said.items() if (one := value_of(name, value, engine)) is not None}
    if keys := found.pop("keys", None):
        values = found.pop("values", "f16")
        found["kv"] = keys if keys == values else f"{keys}/{values}"
    elif values := found.pop("values", None):
        found["kv"] = f"f16/{values}"
    if found.pop("attention_dp", None) and found.get("dp", 1) > 1:
        found |= {"attention_dp": found["dp"], "dp": 1}
    return found


def commands(log: str, engine: str) -> Iterator[str]:
    """Yield the commands of an engine, each with the lines on which it goes on."""
    for begin, end in spans(log, engine):
        yield re.sub(r"[\\^]\n", " ", log[begin:end])


def without_commands(log: str, engine: str) -> str:
    """Return a log without the commands of an engine."""
    parts, at = [], 0
    for begin, end in spans(log, engine):
        parts.append(log[at:begin])
        at = max(at, end)
    return "".join((*parts, log[at:]))


def spans(log: str, engine: str) -> Iterator[tuple[int, int]]:
    """Yield where each command of an engine begins and ends."""
    pattern = COMMANDS.get(engine)
    if pattern is None or not any(word in log for word in WORDS[engine]):
        return
    for found in re.finditer(pattern, log, re.MULTILINE):
        end = log.find("\n", found.end())
        while end > 0 and log[end - 1] in "\\^":
            end = log.find("\n", end + 1)
        yield found.start(), len(log) if end < 0 else end


def value_of(name: str, said: str, engine: str) -> Any:
    """Return the value of an option, or None where it says none."""
    if name in SWITCHES:
        return True
    if name == "quantization":
        return said or None
    return READ.get(name, number if engine == "vllm" else digits)(said) or None


def digits(said: str) -> int | None:
    """Return a plain whole number."""
    return int(said) if said.isascii() and said.isdigit() else None


def share(said: str) -> float | None:
    """Return a share of a card."""
    return float(said) if re.fullmatch(r"0?\.\d+|1(?:\.0*)?", said) else None


def of_gguf(said: str) -> str | None:
    """Return a format of llama.cpp's cache."""
    return said if said in GGUF_KV_FORMATS else None


READ: dict[str, Callable[[str], Any]] = {
    "utilization": share,
    "kv": CACHE.get,
    "keys": of_gguf,
    "values": of_gguf,
    "dtype": DTYPES.get,
}
