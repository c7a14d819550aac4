"""The engine's own command for a plan, with every option that the plan takes for granted.

Sources, read 2026-11: vllm-project/vllm, docs/cli/serve.md and engine/arg_utils.py; sgl-project/sglang,
docs/advanced_features/server_arguments.md and server_args.py; ggml-org/llama.cpp, tools/server/README.md;
kvcache-ai/ktransformers, doc/en/Kimi-K2-Thinking.md; huggingface/transformers, modeling_utils.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.serving.engines.base import Setting
from memcalc.serving.engines.sparse_cache import is_sparse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from memcalc.serving.plan import ServingPlan

__all__ = ["launch_line"]

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
# formats that an engine makes of a checkpoint in 16 bits as it loads, by its own names
MADE_BY_VLLM = {"fp8": "fp8", "fp8-channel": "fp8", "nf4": "bitsandbytes"}
MADE_BY_SGLANG = {"fp8": "fp8", "fp8-channel": "w8a8_fp8", "w8a8": "w8a8_int8"}
MADE_BY_TRANSFORMERS = {
    "nf4": 'BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")',
    "nf4-dq": (
        'BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)'
    ),
    "int8": "BitsAndBytesConfig(load_in_8bit=True)",
}
COUNTED_FROM_0 = ("gpu_experts", "n_gpu_layers")  # of other options 0 means off
VLLM_FLAGS = {
    "block_size": "--block-size",
    "max_num_seqs": "--max-num-seqs",
    "max_num_batched_tokens": "--max-num-batched-tokens",
    "enforce_eager": "--enforce-eager",
    "max_cudagraph_capture_size": "--max-cudagraph-capture-size",
    "language_model_only": "--language-model-only",
    "cpu_offload_gb": "--cpu-offload-gb",
    "kv_offloading_size": "--kv-offloading-size",
    "kv_cache_memory": "--kv-cache-memory-bytes",
}
PLAIN_FP8 = {  # the backends of sparse attention that read it
    "vllm": ("--attention-backend", "FLASHINFER_MLA_SPARSE"),
    "sglang": ("--dsa-prefill-backend", "trtllm", "--dsa-decode-backend", "trtllm"),
}
SGLANG_FLAGS = {
    "chunked_prefill_size": "--chunked-prefill-size",
    "cuda_graph_max_bs": "--cuda-graph-max-bs",
    "disable_cuda_graph": "--disable-cuda-graph",
    "swa_full_tokens_ratio": "--swa-full-tokens-ratio",
    "max_mamba_cache_size": "--max-mamba-cache-size",
    "mamba_full_memory_ratio": "--mamba-full-memory-ratio",
    "language_only": "--language-only",
    "gpu_experts": "--kt-num-gpu-experts",
    "sockets": "--kt-threadpool-count",
}
LLAMA_FLAGS = {
    "n_ubatch": "--ubatch-size",
    "n_batch": "--batch-size",
    "n_gpu_layers": "--n-gpu-layers",
    "n_cpu_moe": "--n-cpu-moe",
    "swa_full": "--swa-full",
}


def launch_line(plan: ServingPlan) -> str:
    """Return the command that starts a plan's engine, quoted for a shell.

    Raises
    ------
    BadInputError
        The engine has no such command, or does not make these weights of the source.

    Examples
    --------
    >>> from memcalc.serving import serve
    >>> served = serve("Qwen/Qwen3-32B", context=8192, utilization=0.9, on="2x rtx-a6000", engine="vllm")
    >>> launch_line(served.plan).partition(" --block-size")[0]
    'vllm serve Qwen/Qwen3-32B --dtype bfloat16 --max-model-len 8192 --gpu-memory-utilization 0.9 \
--tensor-parallel-size 2'

    """
    from shlex import join

    if plan.engine.id not in LINES:
        remedy = "its service reads conf/config.json: see the plan"
        raise BadInputError("--engine-command", "an engine that has a command", plan.engine.id, remedy)
    return join(LINES[plan.engine.id](plan))


def own_options(plan: ServingPlan, flags: Mapping[str, str]) -> Iterator[str]:
    """Yield the engine's own options; what is off, or left to the engine, is not said."""
    for name, flag in flags.items():
        value = plan.engine_options.get(name)
        if value is True:
            yield flag
        elif value is not None and (value > 0 or (value == 0 and name in COUNTED_FROM_0)):
            yield from (flag, f"{value:g}" if isinstance(value, float) else str(value))


def cache_type(plan: ServingPlan, fp8: str) -> tuple[str, str]:
    """Return the cache's format where one was named: else the engine takes its own, or the source's."""
    named = plan.options.kv
    how = fp8 if named == "fp8" else DTYPES.get(named or "", named)
    return "--kv-cache-dtype", how or "auto"


def backend(plan: ServingPlan) -> tuple[str, ...]:
    """Return how the backend is named that reads plain fp8, where it was asked for."""
    asked = dict(plan.options.engine_options).get("plain_fp8") is True
    return PLAIN_FP8.get(plan.engine.id, ()) if asked and is_sparse(plan.model) else ()


def made(plan: ServingPlan, known: Mapping[str, str]) -> str | None:
    """Return how the engine is told to make these weights; None where the source has them.

    Raises:
        BadInputError: it does not make them.

    """
    named = plan.options.weights
    if named is None or plan.source.states(named) or named in DTYPES:
        return None
    if named not in known:
        expected = f"weights as the source has them, or one of {', '.join(known)}"
        remedy = f"{plan.engine.id} loads such weights from a checkpoint that has them: ask about that one"
        raise BadInputError("--engine-command", expected, named, remedy)
    return known[named]


def vllm(plan: ServingPlan) -> Iterator[str]:
    """Yield vLLM's command."""
    ranks, quantised = plan.parallelism, made(plan, MADE_BY_VLLM)
    yield from ("vllm", "serve", plan.source.name, "--dtype", DTYPES[plan.activation.id])
    yield from ("--runner", "pooling") if plan.model.headless else ()
    yield from ("--quantization", quantised) if quantised else ()
    yield from ("--max-model-len", str(plan.context), "--gpu-memory-utilization", f"{plan.utilization:g}")
    yield from ("--tensor-parallel-size", str(ranks.tp))
    for flag, number in (
        ("--pipeline-parallel-size", ranks.pp),
        ("--data-parallel-size", ranks.dp),
        ("--decode-context-parallel-size", ranks.dcp),
    ):
        yield from (flag, str(number)) if number > 1 else ()
    if ranks.ep > 1:
        yield "--enable-expert-parallel"
    yield from own_options(plan, VLLM_FLAGS)
    listed = dict(plan.options.engine_options).get("cudagraph_capture_sizes")
    yield from (
        ("--cudagraph-capture-sizes", *str(listed).strip("[()]").replace(",", " ").split()) if listed else ()
    )
    if "prefix_caching" in plan.engine_options:
        on = plan.engine_options["prefix_caching"]
        yield "--enable-prefix-caching" if on else "--no-enable-prefix-caching"
    if not plan.engine_options.get("async_scheduling", True):
        yield "--no-async-scheduling"
    state = dict(plan.options.engine_options).get("mamba_ssm_cache_dtype")
    yield from () if state is None else ("--mamba-ssm-cache-dtype", str(state))
    yield from (*cache_type(plan, "fp8"), *backend(plan))
    if plan.options.lora_slots is not None:
        slots, rank = str(plan.options.lora_slots), str(plan.lora_rank)
        yield from ("--enable-lora", "--max-loras", slots, "--max-lora-rank", rank)
    if plan.draft is not None:
        yield from ("--speculative-config", drafting(plan))


def drafting(plan: ServingPlan) -> str:
    """Return vLLM's words for a draft."""
    import json

    asked = plan.options.draft
    how = {"method": "mtp"} if asked == "mtp" else {"method": "draft_model", "model": asked}
    tokens = None if plan.draft is None else plan.draft.tokens
    return json.dumps(how | {"num_speculative_tokens": 1 if tokens is None else tokens})


def sglang(plan: ServingPlan) -> Iterator[str]:
    """Yield SGLang's command; its data-parallel copies of attention lie within the tensor-parallel ranks."""
    ranks, quantised = plan.parallelism, made(plan, MADE_BY_SGLANG)
    copies = ranks.dp * ranks.attention_dp
    yield from ("python", "-m", "sglang.launch_server", "--model-path", plan.source.name)
    yield from ("--dtype", DTYPES[plan.activation.id])
    yield from ("--quantization", quantised) if quantised else ()
    device = None if plan.machine is None else plan.machine.device
    scaled = plan.engine.asked_share(1, Setting(plan.model, device, ranks, plan.engine_options))
    yield from ("--context-length", str(plan.context))
    yield from ("--mem-fraction-static", f"{plan.utilization / scaled:g}")
    yield from ("--tp-size", str(ranks.tp * ranks.dp))
    yield from ("--pp-size", str(ranks.pp)) if ranks.pp > 1 else ()
    yield from ("--dp-size", str(copies), "--enable-dp-attention") if copies > 1 else ()
    yield from ("--ep-size", str(ranks.ep)) if ranks.ep > 1 else ()
    yield from ("--dcp-size", str(ranks.dcp)) if ranks.dcp > 1 else ()
    yield from own_options(plan, SGLANG_FLAGS)
    state = dict(plan.options.engine_options).get("mamba_ssm_dtype")
    yield from () if state is None else ("--mamba-ssm-dtype", str(state))
    yield from (*cache_type(plan, "fp8_e4m3"), *backend(plan))
    if plan.options.lora_slots is not None:
        slots, rank = str(plan.options.lora_slots), str(plan.lora_rank)
        yield from ("--enable-lora", "--max-loras-per-batch", slots, "--max-lora-rank", rank)
    if plan.draft is not None:
        steps = plan.draft.tokens or 1
        yield from ("--speculative-algorithm", "NEXTN" if plan.options.draft == "mtp" else "STANDALONE")
        if plan.options.draft != "mtp":
            yield from ("--speculative-draft-model-path", str(plan.options.draft))
        yield from ("--speculative-num-steps", str(steps), "--speculative-eagle-topk", "1")
        yield from ("--speculative-num-draft-tokens", str(steps + 1))


def ktransformers(plan: ServingPlan) -> Iterator[str]:
    """Yield the command of KTransformers: SGLang's since 0.5, before that its own server's."""
    if "chunked_prefill_size" in plan.engine_options:
        yield from sglang(plan)
        method = "LLAMAFILE" if plan.source.uses_gguf(plan.options.weights) else "NATIVE"
        yield from ("--kt-weight-path", plan.source.name, "--kt-method", method)
        return
    yield from ("python", "ktransformers/server/main.py", "--model_path", plan.source.name)
    yield from ("--gguf_path", plan.source.name, "--cache_lens", str(plan.context))


def llama_cpp(plan: ServingPlan) -> Iterator[str]:
    """Yield the command of llama.cpp's server; slots that it chooses itself are not said."""
    options, name = plan.engine_options, plan.source.name
    local = plan.source.is_gguf or "/" not in name or name.startswith((".", "/"))
    preset = "" if plan.options.weights is None else f":{plan.options.weights}"
    yield from ("llama-server", *(("--model", name) if local else ("--hf-repo", f"{name}{preset}")))
    yield from ("--ctx-size", str(plan.context))
    slots = options["n_seq_max"] or plan.batch
    if not (options["server"] and "n_seq_max" not in dict(plan.options.engine_options)):
        yield from ("--parallel", str(slots))
        yield "--kv-unified" if options["kv_unified"] else "--no-kv-unified"
    yield from own_options(plan, LLAMA_FLAGS)
    named = [form.id.replace("fp", "f") for form in plan.kv]
    keys, values = ("f16", "f16") if plan.options.kv is None else named
    yield from ("--cache-type-k", keys, "--cache-type-v", values)
    if plan.offload == "experts":
        yield "--cpu-moe"
    elif plan.offload is not None and "=" in plan.offload:
        yield from ("--override-tensor", plan.offload)
    if plan.draft is not None:
        yield from ("--spec-type", "draft-mtp") if plan.draft.is_mtp else ("--model-draft", plan.draft.asked)
        if plan.draft.tokens is not None:
            yield from ("--spec-draft-n-max", str(plan.draft.tokens))


def transformers(plan: ServingPlan) -> Iterator[str]:
    """Yield a line of Python that loads the model; ranks that share matrices start by torchrun."""
    quantised, tp = made(plan, MADE_BY_TRANSFORMERS), plan.parallelism.tp
    loader = "AutoModel" if plan.model.headless else "AutoModelForCausalLM"
    names = f"{loader}, BitsAndBytesConfig" if quantised else loader
    words = [repr(plan.source.name), f'dtype="{DTYPES[plan.activation.id]}"']
    words += ['tp_plan="auto"' if tp > 1 else 'device_map="auto"']
    words += [f"quantization_config={quantised}"] if quantised else []
    line = f"from transformers import {names}; model = {loader}.from_pretrained({', '.join(words)})"
    if tp > 1:
        yield from ("torchrun", "--nproc-per-node", str(tp), "--no-python")
    yield from ("python", "-c", line)


LINES: Mapping[str, Callable[[ServingPlan], Iterator[str]]] = {
    "transformers": transformers,
    "vllm": vllm,
    "vllm-ascend": vllm,
    "sglang": sglang,
    "ktransformers": ktransformers,
    "llama.cpp": llama_cpp,
}
