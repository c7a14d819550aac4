"""The engine's own command for a plan, with every option that the plan takes for granted.

Where the weights lie is not known of a config.json alone, nor of a GGUF file that is not there: `path/to/...`
stands for them.

Sources, read 2026-11: vllm-project/vllm, docs/cli/serve.md and engine/arg_utils.py of 0.6.0 to 0.33.0;
sgl-project/sglang, docs/advanced_features/server_arguments.md and server_args.py; ggml-org/llama.cpp,
tools/server/README.md; kvcache-ai/ktransformers, doc/en/Kimi-K2-Thinking.md and kt-kernel/README.md;
huggingface/transformers, modeling_utils.py.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.serving.engines.base import Setting
from memcalc.serving.engines.platforms import lacks_bfloat16
from memcalc.serving.engines.sparse_cache import is_sparse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from memcalc.serving.draft import Draft
    from memcalc.serving.parallelism import ServingParallelism
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
API_SERVER = "vllm.entrypoints.openai.api_server"  # what `vllm serve` starts, in older releases, too
VLLM_FLAGS = {
    "block_size": "--block-size",
    "max_num_seqs": "--max-num-seqs",
    "max_num_batched_tokens": "--max-num-batched-tokens",
    "enforce_eager": "--enforce-eager",
    "max_cudagraph_capture_size": "--max-cudagraph-capture-size",
    "language_model_only": "--language-model-only",
    "cpu_offload_gb": "--cpu-offload-gb",
    "kv_offloading_size": "--kv-offloading-size",
    "disable_hybrid_kv_cache_manager": "--disable-hybrid-kv-cache-manager",
    "kv_cache_memory": "--kv-cache-memory-bytes",
}
PLAIN_FP8 = {  # the backends of sparse attention that read it
    "vllm": ("--attention-backend", "FLASHINFER_MLA_SPARSE"),
    "sglang": ("--dsa-prefill-backend", "trtllm", "--dsa-decode-backend", "trtllm"),
}
# the first release of an engine that has a flag, or knows a name: what is older is refused
LAST_V0 = (0, 10)  # of vLLM: "V0" is no number
SINCE_OF_VLLM: Mapping[str, tuple[int, ...]] = {
    "--cpu-offload-gb": (0, 6),
    "--no-enable-prefix-caching": (0, 7),
    "--enable-expert-parallel": (0, 7, 3),
    "--speculative-config": (0, 8, 5),
    "--data-parallel-size": (0, 8, 5),
    "--disable-hybrid-kv-cache-manager": (0, 9, 1),
    "--no-async-scheduling": (0, 10),
    "--runner": (0, 10, 1),
    "--mamba-ssm-cache-dtype": (0, 10, 1),
    "--decode-context-parallel-size": (0, 10, 2),
    "--kv-cache-memory-bytes": (0, 10, 2),
    "--max-cudagraph-capture-size": (0, 11, 1),
    "--cudagraph-capture-sizes": (0, 11, 1),
    "--kv-offloading-size": (0, 11, 1),
    "--attention-backend": (0, 13),
    "--language-model-only": (0, 17),
}
SINCE: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "vllm": SINCE_OF_VLLM,
    "vllm-ascend": SINCE_OF_VLLM,
    "sglang": {
        "--ep-size": (0, 4, 4),
        "--speculative-algorithm": (0, 4, 4),
        "--pp-size": (0, 4, 7),
        "--swa-full-tokens-ratio": (0, 4, 10),
        "--enable-lora": (0, 4, 10),
        "STANDALONE": (0, 5, 2),
        "--max-mamba-cache-size": (0, 5, 2),
        "--mamba-ssm-dtype": (0, 5, 2),
        "--mamba-full-memory-ratio": (0, 5, 4),
        "--language-only": (0, 5, 7),
        "--dsa-prefill-backend": (0, 5, 13),
        "--cuda-graph-max-bs-decode": (0, 5, 14),
        "--dcp-size": (0, 5, 15),
    },
}
EP_BY_SIZE = (0, 5)  # SGLang: before it --ep-size alone spread no experts (PR #8658)
MTP = (0, 11)  # vLLM: before it those of DeepSeek and GLM were called deepseek_mtp (PR #25232)
TP_PLAN = (4, 47)  # transformers: PR #34184
GRAPHS = "--cuda-graph-max-bs-decode"  # without the last word in releases before it, and in sglang-kt
SGLANG_FLAGS = {
    "chunked_prefill_size": "--chunked-prefill-size",
    "cuda_graph_max_bs": GRAPHS,
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
        remedy = (
            "its service takes no options: write maxSeqLen, worldSize and the weights' folder into its "
            "conf/config.json"
        )
        raise BadInputError("--engine-command", "an engine that has a command", plan.engine.id, remedy)
    words = list(LINES[plan.engine.id](plan))
    for flag in words:
        if is_newer(plan, flag):
            first = ".".join(map(str, SINCE[plan.engine.id][flag]))
            expected = f"{plan.engine.title} {first} or newer, which has {flag}"
            remedy = "leave that option out, or ask for a newer --engine-version"
            raise BadInputError("--engine-command", expected, plan.engine.release, remedy)
    return join(words)


def is_newer(plan: ServingPlan, flag: str) -> bool:
    """Say whether a flag came after the release that is asked about."""
    since = SINCE.get(plan.engine.id, {}).get(flag)
    if since is None:
        return False
    return not plan.engine.since(*since) if plan.engine.numbers else since > LAST_V0


def loaded_from(plan: ServingPlan) -> str:
    """Return what an engine loads: a repository by its name, or the folder of weights on the disk.

    Of a config.json without weights a placeholder for the folder that has both.
    """
    source = plan.source
    if source.is_gguf:  # beside it an engine wants its makers' config.json and tokenizer
        return f"path/to/{last_of(source.name).removesuffix('.gguf')}"
    if not source.found.endswith((".json", ".safetensors")):
        return source.name
    folder, file = os.path.split(source.found)
    if source.header is not None:
        return folder or "."
    name = last_of(folder) if file == "config.json" else file.removesuffix(".json")
    return f"path/to/{name if name.strip('.') else 'model'}"


def gguf_file(plan: ServingPlan, weights: str) -> str:
    """Return the GGUF file of a model: the source's own, or a placeholder that says which one is meant.

    `--hf-repo` wants a repository that holds GGUF files, and the makers' does not.
    """
    if plan.source.is_gguf:
        return plan.source.name
    return placeholder(loaded_from(plan), weights)


def placeholder(name: str, weights: str) -> str:
    """Return a GGUF file's name for a model and the formats of its weights, one word for a shell.

    >>> placeholder("openai/gpt-oss-20b", "BF16, experts MXFP4")
    'path/to/gpt-oss-20b-BF16-experts-MXFP4.gguf'
    """
    return f"path/to/{last_of(name)}-{'-'.join(weights.replace(',', ' ').split())}.gguf"


def last_of(path: str) -> str:
    """Return the last name of a path, or of a repository.

    >>> last_of("Qwen/Qwen3-32B"), last_of("models/mine/")
    ('Qwen3-32B', 'mine')
    """
    return os.path.split(path.rstrip("/"))[1]


def own_options(plan: ServingPlan, flags: Mapping[str, str]) -> Iterator[str]:
    """Yield the engine's own options; what is off, or left to the engine, is not said.

    Nor is what a release did not yet let anybody choose, unless it was asked for.
    """
    asked = dict(plan.options.engine_options)
    for name, flag in flags.items():
        value = plan.engine_options.get(name)
        if is_newer(plan, flag) and name not in asked:
            continue
        if value is True:
            yield flag
        elif value is not None and (value > 0 or (value == 0 and name in COUNTED_FROM_0)):
            yield from (flag, f"{value:g}" if isinstance(value, float) else str(value))


def cache_type(plan: ServingPlan, fp8: str) -> tuple[str, str]:
    """Return the cache's format where one was named: else the engine takes its own, or the source's."""
    named = None if plan.options.kv == "bf16" and without_bfloat16(plan) else plan.options.kv
    how = fp8 if named == "fp8" else DTYPES.get(named or "", named)
    return "--kv-cache-dtype", how or "auto"


def without_bfloat16(plan: ServingPlan) -> bool:
    """Say whether a plan's devices have no bfloat16."""
    return plan.machine is not None and lacks_bfloat16(plan.machine.device)


def sixteen_bits(plan: ServingPlan) -> str:
    """Return the dtype of activations: on cards without bfloat16 the other one of 16 bits."""
    form = plan.activation.id
    return "half" if form == "bf16" and without_bfloat16(plan) else DTYPES[form]


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
    if named is None or plan.source.states(named) or named in DTYPES or plan.offload == "gguf":
        return None
    if named not in known:
        expected = f"weights as the source has them, or one of {', '.join(known)}"
        remedy = f"{plan.engine.id} loads such weights from a checkpoint that has them: ask about that one"
        raise BadInputError("--engine-command", expected, named, remedy)
    return known[named]


def vllm(plan: ServingPlan) -> Iterator[str]:
    """Yield vLLM's command."""
    ranks, quantised = plan.parallelism, made(plan, MADE_BY_VLLM)
    asked = dict(plan.options.engine_options)
    serve: tuple[str, ...] = ("vllm", "serve")
    if plan.engine.numbers and not plan.engine.since(0, 6):
        serve = ("python", "-m", API_SERVER, "--model")
    yield from (*serve, loaded_from(plan), "--dtype", sixteen_bits(plan))
    if plan.model.headless:
        yield from ("--task", "embed") if is_newer(plan, "--runner") else ("--runner", "pooling")
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
    listed = asked.get("cudagraph_capture_sizes")
    yield from (
        ("--cudagraph-capture-sizes", *str(listed).strip("[()]").replace(",", " ").split()) if listed else ()
    )
    if "prefix_caching" in plan.engine_options:
        on = plan.engine_options["prefix_caching"]
        yield "--enable-prefix-caching" if on else "--no-enable-prefix-caching"
    if not plan.engine_options.get("async_scheduling", True):
        yield "--no-async-scheduling"
    state = asked.get("mamba_ssm_cache_dtype")
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
    mtp = "mtp" if plan.engine.since(*MTP) else "deepseek_mtp"
    how = {"method": mtp} if asked == "mtp" else {"method": "draft_model", "model": asked}
    tokens = None if plan.draft is None else plan.draft.tokens
    return json.dumps(how | {"num_speculative_tokens": 1 if tokens is None else tokens})


def copies_of_sglang(ranks: ServingParallelism) -> Iterator[str]:
    """Yield the words for tensor and data parallelism.

    Copies of the model have ranks of their own. Copies of attention, and those which share the experts, lie
    within the tensor-parallel ranks.
    Source: sgl-project/sglang, docs/advanced_features/server_arguments.md and dp_dpa_smg_guide.md, 2026-11.

    Raises:
        BadInputError: there are copies of both kinds; a server has one number for them.

    """
    if ranks.dp > 1 and ranks.attention_dp > 1:
        given = f"--dp {ranks.dp} with --attention-dp {ranks.attention_dp}"
        remedy = "ask about one copy of the model, and start a server for each"
        raise BadInputError("--engine-command", "copies of the model or of attention", given, remedy)
    shared = ranks.ep > ranks.tp  # experts of all copies
    copies, inside = max(ranks.dp, ranks.attention_dp), shared or ranks.attention_dp > 1
    yield from ("--tp-size", str(ranks.tp * ranks.dp if shared else ranks.tp))
    yield from ("--pp-size", str(ranks.pp)) if ranks.pp > 1 else ()
    yield from ("--dp-size", str(copies)) if copies > 1 else ()
    yield from ("--enable-dp-attention",) if copies > 1 and inside else ()


def sglang(plan: ServingPlan) -> Iterator[str]:
    """Yield SGLang's command."""
    ranks, quantised = plan.parallelism, made(plan, MADE_BY_SGLANG)
    graphs = "--cuda-graph-max-bs" if plan.engine.id != "sglang" or is_newer(plan, GRAPHS) else GRAPHS
    yield from ("python", "-m", "sglang.launch_server", "--model-path", loaded_from(plan))
    yield from ("--dtype", sixteen_bits(plan))
    yield from ("--quantization", quantised) if quantised else ()
    device = None if plan.machine is None else plan.machine.device
    scaled = plan.engine.asked_share(1, Setting(plan.model, device, ranks, plan.engine_options))
    yield from ("--context-length", str(plan.context))
    yield from ("--mem-fraction-static", f"{plan.utilization / scaled:g}")
    yield from copies_of_sglang(ranks)
    yield from ("--ep-size", str(ranks.ep)) if ranks.ep > 1 else ()
    yield from ("--enable-ep-moe",) if ranks.ep > 1 and not plan.engine.since(*EP_BY_SIZE) else ()
    yield from ("--dcp-size", str(ranks.dcp)) if ranks.dcp > 1 else ()
    yield from own_options(plan, {**SGLANG_FLAGS, "cuda_graph_max_bs": graphs})
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
        method = "LLAMAFILE" if plan.offload == "gguf" else "NATIVE"
        yield from ("--kt-weight-path", experts_from(plan), "--kt-method", method)
        return
    refuse_unsaid(plan)
    yield from ("python", "ktransformers/server/main.py", "--model_path", loaded_from(plan))
    weights = experts_from(plan)
    if weights == plan.source.name and not plan.source.is_gguf:
        weights = f"path/to/{last_of(weights)}"  # a folder: the option takes no name of a repository
    yield from ("--gguf_path", weights, "--cache_lens", str(plan.context))


def refuse_unsaid(plan: ServingPlan) -> None:
    """Refuse what the server of KTransformers up to 0.4 has no option for: its rules are files.

    Source: kvcache-ai/ktransformers, ktransformers/server/args.py of 0.2 and 0.3, 2025.

    Raises:
        BadInputError: the plan asks for something of that kind.

    """
    options = plan.options
    named = {
        "--batch": plan.batch if plan.batch > 1 else None,
        "--kv": options.kv,
        **{
            f"--{name}": ranks
            for name in ("tp", "ep", "dp")
            if (ranks := getattr(plan.parallelism, name)) > 1
        },
        "--utilization": options.utilization,
        **{f"--engine-option {name}": value for name, value in dict(options.engine_options).items()},
    }
    given = ", ".join(f"{name} {value}" for name, value in named.items() if value is not None)
    if given:
        expected = f"what the command of {plan.engine.title} {plan.engine.release} can say"
        remedy = (
            "its rules stand in a file (--optimize_config_path): leave these out, or ask about 0.5 or newer"
        )
        raise BadInputError("--engine-command", expected, given, remedy)


def experts_from(plan: ServingPlan) -> str:
    """Return the folder of the weights in the host: of GGUF files the source's own, or a placeholder."""
    if plan.source.is_gguf:
        return os.path.split(plan.source.name)[0] or "."
    gguf = plan.source.uses_gguf(plan.options.weights)
    return gguf_file(plan, plan.weights).removesuffix(".gguf") if gguf else loaded_from(plan)


def llama_cpp(plan: ServingPlan) -> Iterator[str]:
    """Yield the command of llama.cpp's server; slots that it chooses itself are not said."""
    options = plan.engine_options
    yield from ("llama-server", "--model", gguf_file(plan, plan.weights))
    yield from ("--ctx-size", str(plan.context))
    slots = options["n_seq_max"] or plan.batch
    if not (options["server"] and "n_seq_max" not in dict(plan.options.engine_options)):
        yield from ("--parallel", str(slots))
        yield "--kv-unified" if options["kv_unified"] else "--no-kv-unified"
    yield from own_options(plan, LLAMA_FLAGS)
    yield from ("--n-gpu-layers", "all") if options["n_gpu_layers"] < 0 else ()
    keys, values = (form.id.replace("fp", "f") for form in plan.kv)
    yield from ("--cache-type-k", keys, "--cache-type-v", values)
    if plan.offload == "experts":
        yield "--cpu-moe"
    elif plan.offload is not None and "=" in plan.offload:
        yield from ("--override-tensor", plan.offload)
    if plan.draft is not None:
        yield from (
            ("--spec-type", "draft-mtp") if plan.draft.is_mtp else ("--model-draft", draft_file(plan.draft))
        )
        if plan.draft.tokens is not None:
            yield from ("--spec-draft-n-max", str(plan.draft.tokens))


def draft_file(draft: Draft) -> str:
    """Return the GGUF file of a draft model: the one that was named, or a placeholder."""
    named = draft.asked
    if named.endswith(".gguf"):
        return named
    return placeholder(named, draft.weights)


def transformers(plan: ServingPlan) -> Iterator[str]:
    """Yield a line of Python that loads the model; ranks that share matrices start by torchrun."""
    quantised, tp = made(plan, MADE_BY_TRANSFORMERS), plan.parallelism.tp
    loader = "AutoModel" if plan.model.headless else "AutoModelForCausalLM"
    names = f"{loader}, BitsAndBytesConfig" if quantised else loader
    dtype = DTYPES[plan.activation.id]
    if tp > 1 and not plan.engine.since(*TP_PLAN):
        expected = f"{plan.engine.title} 4.47 or newer, which cuts matrices"
        remedy = "leave --tp out, or ask for a newer --engine-version"
        raise BadInputError("--engine-command", expected, plan.engine.release, remedy)
    current = plan.engine.since(4, 56)  # before that the keyword is another, and old releases take no name
    words = [repr(loaded_from(plan)), f'dtype="{dtype}"' if current else f"torch_dtype=torch.{dtype}"]
    words += ['tp_plan="auto"' if tp > 1 else 'device_map="auto"']
    words += [f"quantization_config={quantised}"] if quantised else []
    line = "" if current else "import torch; "
    line += f"from transformers import {names}; model = {loader}.from_pretrained({', '.join(words)})"
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
