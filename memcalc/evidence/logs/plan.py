"""What a log tells of its plan: engine, version, model, parallelism, context, format, share, machine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from memcalc.files.catalogue import canonical_name

if TYPE_CHECKING:
    from memcalc.evidence.logs.reading import Reading

__all__ = ["Plan", "plan_of"]

SIGNS = {  # signs of an engine that builds upon another: looked for before the wording is asked
    "ktransformers": r"\[KT\]|ktransformers|kt_cpuinfer=(?!None)|--kt-",
    "ollama": r"\bollama\b",
    "vllm-ascend": r"vllm[-_]ascend|NPU graph memory|\bnpu_worker\b",
}
VERSIONS = {
    "vllm": r"(?:vLLM API server version|LLM engine \(|vllm==|vLLM version:?) ?v?(\d[\w.+]*)",
    "vllm-ascend": r"(?:vllm[-_]ascend(?:==| version:?)) ?v?(\d[\w.]*)",
    "sglang": r"(?:sglang(?:\[all\])?==|SGLang version:?|sglang-)\s*v?(\d[\w.]*\d)",
    "ktransformers": r"(?:ktransformers|kt-kernel)(?:==|\s+version:?)\s*v?(\d[\w.]*)",
    "llama.cpp": r"\bbuild(?: info)?[:=] ?(b?\d+)\b",
    "ollama": r"(?:ollama version is|\(version) (\d[\w.]*)",
    "nvidia-smi": r"NVIDIA-SMI (\d[\d.]*)",
}
MODEL = (
    r"engine \([^)]*\) with config: model=['\"]([^'\"]+)",
    r"'model': '([^']+)'",
    r"model_path=['\"]([^'\"]+)",
    r"Starting to load model (\S+?)\.\.\.",
    r"(?:--model(?:[-_]path)?|vllm serve)[ =]['\"]?([^\s'\"]+)",
    r"general\.name\s+str\s+= ([^\n]+)",
)
NUMBERS = {  # option of a plan -> how logs spell it
    "tp": r"(?:tensor_parallel_size|tp_size|tensor-parallel-size|'tensor_parallel_size')['\"]?[=: ]+(\d+)",
    "pp": r"(?:pipeline_parallel_size|pp_size|pipeline-parallel-size)['\"]?[=: ]+(\d+)",
    "dp": r"(?:data_parallel_size|dp_size|data-parallel-size)['\"]?[=: ]+(\d+)",
    "context": r"(?:max_seq_len|max[ _-]model[ _-]len|context_len(?:gth)?|n_ctx)['\"]?\s*[=: ]+(\d+)",
}
SHARE = r"(?:gpu[_-]memory[_-]utilization|mem[_-]fraction[_-]static)['\"]?[=: (]+(0\.\d+)"
CACHE = {"fp8": "fp8", "fp8_e4m3": "fp8", "fp8_e5m2": "fp8", "bfloat16": "bf16", "float16": "fp16"}
KV = r"kv_cache_dtype['\"]?[=: ]+['\"]?(\w+)"
EAGER = r"enforce_eager['\"]?[=: ]+True|--enforce-eager"


@dataclass(frozen=True)
class Plan:
    """What a log tells of how it was run; what it does not tell is None.

    Attributes
    ----------
    engine, version : str or None
        Whose log it is.
    model : str or None
        The model, as a catalogue name where it is one, else as the log names it.
    known : bool
        Whether the catalogue has the model.
    options : dict
        Options of `memcalc serve` under their own names.

    """

    engine: str | None
    version: str | None
    model: str | None
    known: bool
    options: dict[str, Any]


def plan_of(log: str, reading: Reading) -> Plan:
    """Return what a log tells of its plan.

    Parameters
    ----------
    log : str
        Its text.
    reading : Reading
        Its figures, by whose wording the engine is known.

    Examples
    --------
    >>> from memcalc.evidence.logs.reading import read
    >>> log = "Initializing a V1 LLM engine (v0.11.0) with config: model='Qwen/Qwen3-32B', max_seq_len=32768"
    >>> plan = plan_of(log, read(log))
    >>> plan.engine, plan.version, plan.model, plan.options
    ('vllm', '0.11.0', 'Qwen/Qwen3-32B', {'context': 32768})

    """
    engine = engine_of(log, reading)
    version = re.search(VERSIONS[engine], log) if engine in VERSIONS else None
    said = next((found[1] for pattern in MODEL if (found := re.search(pattern, log))), None)
    name = (
        None if said is None else canonical_name(said) or canonical_name(said.rstrip("/").rpartition("/")[2])
    )
    options: dict[str, Any] = {
        option: int(found[1]) for option, pattern in NUMBERS.items() if (found := re.search(pattern, log))
    }
    share, kv = re.search(SHARE, log), re.search(KV, log)
    if share:
        options["utilization"] = float(share[1])
    if kv and kv[1] in CACHE:
        options["kv"] = CACHE[kv[1]]
    if re.search(EAGER, log):
        options["engine_options"] = {"enforce_eager": True}
    return Plan(engine, version[1] if version else None, name or said, name is not None, options)


def engine_of(log: str, reading: Reading) -> str | None:
    """Return whose log it is: by its own name, else by most of its wordings."""
    wordings = [told.engine for told in reading.told]
    for engine, sign in SIGNS.items():
        if re.search(sign, log):
            return engine
    first = [name for name in ("sglang", "vllm", "llama.cpp", "ollama") if name in wordings]
    if "vllm" in first and "Loading model weights took" in log and "Available KV cache memory" in log:
        return (
            "vllm-ascend"  # the one engine that joins the older wording of weights to the newer of the pool
        )
    if first:
        return max(first, key=wordings.count)
    if re.search(VERSIONS["vllm"], log):
        return "vllm"
    if re.search(r"ServerArgs\(|sglang\.", log):
        return "sglang"
    return wordings[0] if wordings else None
