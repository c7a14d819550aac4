"""What a log tells of its plan: engine, version, model, parallelism, context, formats, share, options."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from memcalc.evidence.logs.command import CACHE, DTYPES, ENGINE_OPTIONS, command_options, without_commands
from memcalc.evidence.logs.wordings import TOOLS, needles
from memcalc.files.catalogue import canonical_name, nearest_names
from memcalc.ledger.formats import GGUF_KV_FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.evidence.logs.reading import Reading

__all__ = ["Plan", "plan_of", "unknown_model"]

SIGNS = {  # signs of an engine that builds upon another: looked for before the wording is asked
    "ktransformers": r"\[KT\]|ktransformers|kt_cpuinfer=(?!None)|kt_method=(?!None)|--kt-",
    "ollama": r"\bollama\b",
    "vllm-ascend": r"vllm[-_]ascend|NPU graph memory|npu_worker|npu_model_runner",
}
VERSIONS = {
    "vllm": r"(?:vLLM API server version|LLM engine \(|vllm==|vLLM version:?|[█▄▀] +version) ?v?(\d[\w.+]*)",
    "vllm-ascend": r"(?:vllm[-_]ascend(?:==| version:?)) ?v?(\d[\w.]*)",
    "sglang": r"(?:sglang(?:\[all\])?==|SGLang version:?|sglang-)\s*v?(\d[\w.]*\d)",
    "ktransformers": r"(?:ktransformers|kt-kernel)(?:==|\s+version:?)\s*v?(\d[\w.]*)",
    "llama.cpp": r"\bbuild(?: info)?[:=] ?(b?\d+)\b|^version: (\d+) \(",
    "ollama": r"(?:ollama version is|\(version) (\d[\w.]*)",
    "nvidia-smi": r"NVIDIA-SMI (\d[\d.]*)",
}
MODEL = (
    r"engine \([^)]*\) with config: model=['\"]([^'\"]+)",
    r"'model': '([^']+)'",
    r"model_path=['\"]([^'\"]+)",
    r"[█▄▀]\s+model\s+(\S+)",
    r"Starting to load model (\S+?)\.\.\.",
    r"(?:--model(?:[-_]path)?|vllm serve)[ =]['\"]?(?!-)([^\s'\"]+)",
    r'file_type=\S+ name="([^"]+)"',
    r"general\.name\s+(?:str\s+)?= +([^\n]+)",
    r"loaded meta data .* from (\S+\.gguf)",
)
NUMBERS = {  # option of a plan -> how logs spell it
    "tp": r"(?:tensor_parallel_size|tp_size|tensor-parallel-size)['\"]?[=: ]+(\d+)",
    "pp": r"(?:pipeline_parallel_size|pp_size|pipeline-parallel-size)['\"]?[=: ]+(\d+)",
    "dp": r"(?:data_parallel_size|dp_size|data-parallel-size)['\"]?[=: ]+(\d+)",
    "ep": r"\bep_size=(\d+)",
    "context": (
        r"(?:max_seq_len|max[ _-]model[ _-]len|context_len(?:gth)?|n_ctx|KvSize|--ctx-size)['\"]?"
        r"\s*[=: ]+([1-9]\d*)(?!\w|\.\d)"
    ),
}
CONTEXT = r"Maximum concurrency for ([\d,]+) tokens per request"  # where no line of options tells it
ENGINE_NUMBERS = {  # the same of engine options, by engine
    "vllm": {
        "max_num_seqs": r"max[_-]num[_-]seqs(?:['\"]?[=: ]+| to )(\d+)",
        "max_num_batched_tokens": r"max[_-]num[_-]batched[_-]tokens(?:['\"]?[=: ]+| to )(\d+)",
        "block_size": r"'block_size': (\d+)|--block-size[= ](\d+)",
        "kv_cache_memory": r"'kv_cache_memory(?:_bytes)?': (\d+)|--kv-cache-memory(?:-bytes)? (\d+)",
        "cpu_offload_gb": r"cpu[_-]offload[_-]gb['\"]?[=: ]+([1-9]\d*)",
    },
    "sglang": {
        "chunked_prefill_size": r"chunked_prefill_size=(\d+)",
        "cuda_graph_max_bs": r"cuda_graph_max_bs=(\d+)",
    },
    "ktransformers": {"gpu_experts": r"kt[_-]num[_-]gpu[_-]experts[=: ]+(\d+)"},
    "llama.cpp": {
        "n_ubatch": r"\bn_ubatch\s*= (\d+)",
        "n_batch": r"\bn_batch\s*= (\d+)",
        "n_seq_max": r"\bn_seq_max\s*= (\d+)|\bParallel:(\d+)|--parallel (\d+)",
    },
}
FLAGS = {
    "vllm": {"enforce_eager": r"enforce_eager['\"]?[=: ]+True|--enforce-eager"},
    "sglang": {"disable_cuda_graph": r"disable_cuda_graph=True"},
    "llama.cpp": {"kv_unified": r"\bkv_unified\s*= true", "swa_full": r"using full-size SWA cache"},
}
START = {"vllm": r"vLLM API server version", "sglang": r"server_args=ServerArgs\("}  # once a start
LIKE = {"vllm-ascend": "vllm", "ktransformers": "sglang", "ollama": "llama.cpp"}  # whose words an engine has
SHARE = (
    r"(?:gpu[_-]memory[_-]utilization|mem[_-]fraction[_-]static)['\"]?[=: (]+(0?\.\d+|1(?:\.0+)?)(?![\w.])"
)
ATTENTION_DP = r"(?<!\w)dp_size=(\d+)[^\n]*enable_dp_attention=True"
DTYPE_NAME = f"({'|'.join(DTYPES)})"
DTYPE = (  # of the weights, and not of a cache
    rf"\bdtype['\"]?[=:] ?['\"]?(?:torch\.)?{DTYPE_NAME}\b(?!, #tokens)"
    rf"|asting torch\.\w+ to torch\.{DTYPE_NAME}\b"
)
KV = r"kv_cache_dtype['\"]?[=: ]+['\"]?(\w+)"
GGUF_KV = r"\bK \((\w+)\): +[\d.]+ MiB, V \((\w+)\)"
GGUF_KV_TYPE = r"KvCacheType:(\w+)"
GGUF_FORMAT = r"\b(?:file[ _]type|ftype)\s*= ?(?:all |mostly )?(?!unknown)(\w+)(?: - (Small|Medium|Large))?"
LAYERS = r"offloaded (\d+)/(\d+) layers to GPU"
QUANTIZATION = r"quantization['\"]?[=: ]+['\"]?([\w-]+)"
# what a plan of memcalc cannot state from a log alone: the ledger's figures would be those of another plan
BEYOND = {
    r"speculative_config['\"]?[=: ]+(?!None)\S|--speculative|speculative_algorithm=(?!None)\S": (
        "tokens are drafted"
    ),
    r"enable_lora['\"]?[=: ]+True|--enable-lora|lora_paths=(?!None|\[\])\S": "adapters are loaded",
    r"buffer type overridden to|--n-cpu-moe|--override-tensor": "tensors are placed by hand",
}
# a pool of a size that was asked for, which is not what is left: memcalc has no such option
CAPPED = r"max_total_tokens=\d|'num_gpu_blocks_override': \d|--(?:num-gpu-blocks-override|max-total-tokens)\b"


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
    quantization : str or None
        What the engine calls the weights' quantisation, where it names one.
    dtype : str or None
        In what the engine keeps the weights that are not quantised, where it names it.
    beyond : str
        Why these options are not the whole plan, or empty.
    capped : bool
        Whether an option limits the pool's tokens or blocks.

    """

    engine: str | None
    version: str | None
    model: str | None
    known: bool
    options: dict[str, Any]
    quantization: str | None = None
    dtype: str | None = None
    beyond: str = ""
    capped: bool = False


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
    version = first(VERSIONS[engine], log) if engine in VERSIONS else None
    names = models(log)
    known = canonical_name(names[0]) if names else None
    beyond = [
        *several(log, reading, engine),
        *(why for pattern, why in BEYOND.items() if first(pattern, log)),
    ]
    if len(names) > 1:
        beyond.append(f"it names several models, {names[0]} and {names[1]}: cut it to one start")
    quantization, dtype = first(QUANTIZATION, log), first(DTYPE, log)
    command = command_options(log, LIKE.get(engine or "", engine or ""))
    asked = quantization[1] if quantization else command.pop("quantization", None)
    stored = DTYPES[dtype[dtype.lastindex or 0]] if dtype else command.pop("dtype", None)
    return Plan(
        engine,
        version[version.lastindex or 0] if version else None,
        known or next(iter(names), None),
        known is not None,
        options(log, engine, command),
        None if asked in ("None", "auto") else asked,
        stored,
        beyond[0] if beyond else "",
        first(CAPPED, log) is not None,
    )


def several(log: str, reading: Reading, engine: str | None) -> Iterator[str]:
    """Yield why a log is no log of one run: lines of other engines, starts with other options."""
    own = {LIKE.get(engine or "", engine), engine, "pytorch", *TOOLS}
    others = list(dict.fromkeys(told.engine for told in reading.told if told.engine not in own))
    if others:
        yield f"it has lines of {engine} and of {others[0]}: cut it to one of them"
    pattern = START.get(LIKE.get(engine or "", engine or ""), "")
    at = [found.start() for found in re.finditer(pattern, log)] if pattern and first(pattern, log) else []
    starts = [log[begin:end] for begin, end in pairwise([*at, len(log)])]
    plans = [{"model": models(start)[:1], **dict(plain_options(start))} for start in starts]
    for one, next_one in pairwise(plans):
        differing = [
            name for name in one if one[name] and next_one.get(name, one[name]) not in ([], one[name])
        ]
        if differing:
            differ = " and ".join(differing)
            yield f"it has {len(starts)} starts, which differ in {differ}: cut it to one start"
            return


def first(pattern: str, log: str) -> re.Match[str] | None:
    """Return where a pattern is first found: only a log that holds its plain text is searched."""
    texts = needles(pattern)
    return re.search(pattern, log, re.MULTILINE) if any(text in log for text in texts) else None


def models(log: str) -> list[str]:
    """Return what a log calls its models: in the first wording that names one of the catalogue, if any."""
    unknown: list[str] = []
    for pattern in MODEL:
        said = re.findall(pattern, log) if first(pattern, log) else []
        names = list(dict.fromkeys(plain_name(name.strip()) for name in said))
        if any(canonical_name(name) for name in names):
            return names
        unknown = unknown or names
    return unknown


def plain_name(said: str) -> str:
    """Return a model's name without its folder, its cache's, or its file's; as the catalogue has it.

    >>> plain_name("~/.cache/huggingface/hub/models--Qwen--Qwen3-32B/snapshots/9216db57/")
    'Qwen/Qwen3-32B'
    >>> plain_name("/models/Qwen3-32B-Q4_K_M-00001-of-00002.gguf"), plain_name("Qwen3 32B")
    ('Qwen/Qwen3-32B', 'Qwen/Qwen3-32B')
    >>> plain_name("meta-llama/Llama-3.1-8B-Instruct"), plain_name("/data/my-model")
    ('meta-llama/Llama-3.1-8B-Instruct', '/data/my-model')
    """
    cached = re.search(r"models--([^/]+?)--([^/]+)/snapshots", said)
    name = f"{cached[1]}/{cached[2]}" if cached else said
    last = name.rstrip("/").rpartition("/")[2]
    file = re.sub(r"(?:[-.](?:UD-)?(?:I?Q\d\w*|F16|BF16|MXFP4\w*))?(?:-\d{5}-of-\d{5})?\.gguf$", "", last)
    tried = (name, last, file, last.replace(" ", "-"))
    return next((found for one in tried if (found := canonical_name(one))), name)


def options(log: str, engine: str | None, command: dict[str, Any]) -> dict[str, Any]:
    """Return the options of `memcalc serve` that a log tells, else those of the command in it."""
    words = LIKE.get(engine or "", engine or "")
    asked = {name: value for name, value in command.items() if name not in ("dtype", "quantization")}
    own = {name: asked.pop(name) for name in list(asked) if name in ENGINE_OPTIONS}
    if first(LAYERS, log):  # how many there are is known once they are loaded
        own.pop("n_gpu_layers", None)
    printed = without_commands(log, words)  # what is in force, whatever was asked for
    found = dict(printed_options(log, words)) | asked | dict(printed_options(printed, words))
    if "context" not in found and (said := first(CONTEXT, log)):
        found["context"] = int(said[1].replace(",", ""))
    own = dict(engine_options(log, engine or "", words)) | own
    if own := own | dict(engine_options(printed, engine or "", words)):
        found["engine_options"] = own
    return found


def printed_options(log: str, words: str) -> Iterator[tuple[str, Any]]:
    """Yield the options that an engine prints."""
    yield from plain_options(log)
    if (attention := first(ATTENTION_DP, log)) and int(attention[1]) > 1:
        yield "attention_dp", int(attention[1])
        yield "dp", 1  # the same ranks, shared out otherwise
    if words == "llama.cpp":
        yield from gguf_formats(log)
    elif (kv := first(KV, log)) and kv[1] in CACHE:
        yield "kv", CACHE[kv[1]]


def plain_options(log: str) -> Iterator[tuple[str, float]]:
    """Yield the options that every engine has."""
    for option, pattern in NUMBERS.items():
        if found := first(pattern, log):
            yield option, int(found[1])
    if share := first(SHARE, log):
        yield "utilization", float(share[1])


def engine_options(log: str, engine: str, words: str) -> Iterator[tuple[str, int]]:
    """Yield the options of its engine that a log tells, those of the engine that it builds upon first."""
    for option, pattern in {**ENGINE_NUMBERS.get(words, {}), **ENGINE_NUMBERS.get(engine, {})}.items():
        if found := first(pattern, log):
            yield option, int(next(filter(None, found.groups())))
    for option, pattern in FLAGS.get(words, {}).items():
        if first(pattern, log):
            yield option, True
    if (layers := first(LAYERS, log)) and layers[1] != layers[2]:
        yield "n_gpu_layers", int(layers[1])


def gguf_formats(log: str) -> Iterator[tuple[str, str]]:
    """Yield the formats of weights and cache as llama.cpp prints them."""
    if form := first(GGUF_FORMAT, log):
        yield "weights", form[1] + (f"_{form[2][0]}" if form[2] else "")
    if kv := first(GGUF_KV, log):
        keys, values = (one if one in GGUF_KV_FORMATS else "" for one in kv.groups())
        if keys and values:
            yield "kv", keys if keys == values else f"{keys}/{values}"
    elif (kind := first(GGUF_KV_TYPE, log)) and kind[1] in GGUF_KV_FORMATS:
        yield "kv", kind[1]


def engine_of(log: str, reading: Reading) -> str | None:
    """Return whose log it is: by its own name, else by most of its wordings."""
    wordings = [told.engine for told in reading.told]
    signed = next((engine for engine, sign in SIGNS.items() if first(sign, log)), None)
    if signed:
        return signed
    present = [name for name in ("sglang", "vllm", "llama.cpp", "ollama") if name in wordings]
    if "vllm" in present and "Loading model weights took" in log and "Available KV cache memory" in log:
        return (
            "vllm-ascend"  # the one engine that joins the older wording of weights to the newer of the pool
        )
    if present == ["llama.cpp", "ollama"]:
        return "ollama"  # which runs llama.cpp
    if present:
        return max(present, key=wordings.count)
    named = {"vllm": VERSIONS["vllm"], "sglang": r"ServerArgs\(|sglang\."}
    return next((name for name, sign in named.items() if first(sign, log)), wordings[0] if wordings else None)


def unknown_model(plan: Plan) -> str:
    """Return why a log's model is not in the catalogue, and what may be meant."""
    if plan.model is None:
        return "the log names no model: add --model"
    told = f"the log names {plan.model}, which is not in the catalogue: add --model"
    asked = nearest_names(plain_name(plan.model))
    return f"{told} ({asked})" if asked else told
