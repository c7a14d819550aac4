"""llama.cpp: GGUF weights, one cache for all sequences together, compute buffers as measured.

Everything is taken when a context is made: --context is its n_ctx, the cells of all sequences. Held against
the library itself, v0.5.0, in tests/oracles and tests/recorded/llama_cpp.json. Source of the cache's rules:
ggml-org/llama.cpp, src/llama-context.cpp, llama-kv-cache.cpp, llama-kv-cache-iswa.cpp, 2026-11.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.data.constants import LLAMA_CPP_CUDA_CONTEXT
from memcalc.data.units import MIB
from memcalc.errors import BadInputError
from memcalc.ledger.budget import Line
from memcalc.ledger.formats import GGUF_KV_FORMATS
from memcalc.ledger.parts.kinds import is_mla
from memcalc.ledger.tensor import ceil_div, greatest, least
from memcalc.serving.engines.base import (
    ALWAYS,
    WHILE_SERVING,
    Engine,
    Placement,
    cuda_evidence,
    measured_line,
)
from memcalc.serving.engines.platforms import APPLE, GPUS, HUAWEI
from memcalc.serving.parallelism import ServingParallelism

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from memcalc.files.machines import Device
    from memcalc.ledger.formats import Format, Rule
    from memcalc.ledger.model import Model
    from memcalc.ledger.parts.plain import Kept
    from memcalc.ledger.tensor import Tensor
    from memcalc.serving.engines.base import RankContext

__all__ = ["LlamaCpp"]

ALL = -1  # layers on the devices, and the output
CELLS = 256  # every cache is rounded up to a multiple of it
# types with states that cannot be rolled back: rs_seq is taken as 0, with a warning; as the library itself
# answers, llm_arch_supports_rs_rollback of v0.5.0, 2026-11 (Qwen3.5, Nemotron-H, LFM2 and others can)
NO_ROLLBACK = frozenset(
    {
        *(
            "falcon_h1",
            "falcon_mamba",
            "granitemoehybrid",
            "jamba",
            "kimi_linear",
            "mamba",
            "mamba2",
            "minimax",
        ),
        *("minimax_m1", "qwen3_next"),
    }
)
SLOTS = {"n_seq_max": 4, "kv_unified": True}  # llama-server's own, unless -np is given
PROMPT_CACHE = 8192 * MIB  # --cache-ram
SERVER = "ggml-org/llama.cpp tools/server/server.cpp (n_parallel below 0), common/common.h, v0.5.0, 2026-11"
# logits, and the stream that they are made of, are held at once: all there is in these logs of CUDA devices
BUFFERS = (
    "withcatai/node-llama-cpp#560 (Qwen3-1.7B), SciSharp/LLamaSharp#1099 (Qwen2.5-3B): 300.75 MiB on CUDA, "
    "2025 and 2026; upper end: contexts on a CPU, v0.5.0, tests/recorded/llama_cpp.json, 2026-11"
)


class LlamaCpp(Engine):
    """The cache of n_ctx cells is shared by the sequences; layers with a window have one of their own.

    Defaults are those of llama-cli, and of llama-server -np 1: the library's own differ (swa_full is true).
    """

    id = "llama.cpp"
    title = "llama.cpp"
    version = "0.5.0"
    versions: Mapping[str, str] = {"0.5": "0.5.0"}
    platforms: tuple[str, ...] | None = (*GPUS, APPLE, HUAWEI)
    note = (
        "--context is n_ctx, all sequences together; --weights one of its presets; --kv f16 (default), q8_0, "
        "... or K/V; layers in equal shares on several devices (its own shares follow the free memory). "
        "As llama-cli and llama-server -np 1 run it: one sequence, or as many as --batch; server=true is "
        "llama-server without -np: 4 slots with one cache (kv_unified), and up to 8,192 MiB of earlier "
        "prompts in the host's memory. Options as in its API: n_seq_max (0: as many as --batch), kv_unified "
        "(false), swa_full (false), n_ubatch (512), n_batch (2048), rs_seq (0: states kept to roll a "
        "sequence back), n_gpu_layers (all: the last layers and the output, which counts as one, lie on the "
        "device), n_cpu_moe (0: of how many layers the experts do not), mmproj (false: the vision tower is a "
        "file of its own), mmproj_mib (0: MiB that llama-server prints of it, where no config describes it). "
        '--offload experts, or REGEX=CPU (several with "," between) as --override-tensor has it, by the '
        'names in GGUF: "ffn_.*_exps=CPU". The embedding stays in the host\'s memory. With flash attention, '
        "its default where the device has it"
    )
    reads_gguf = True
    reads_checkpoints = False
    chunk_option = "n_ubatch"
    shares_context = True
    smaller_caches = ("q8_0", "q4_0")
    smaller_weights = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
    most_sequences = 256  # LLAMA_MAX_SEQ
    cache_formats: Mapping[str, Format] = GGUF_KV_FORMATS
    defaults: Mapping[str, int] = {
        "server": False,
        "n_seq_max": 0,
        "kv_unified": False,
        "swa_full": False,
        "rs_seq": 0,
        "n_ubatch": 512,
        "n_batch": 2048,
        "n_gpu_layers": ALL,
        "n_cpu_moe": 0,
        "mmproj": False,
        "mmproj_mib": 0,
    }
    offloads = ("layers", "experts")
    overrides = True

    def options(
        self, given: Mapping[str, object], device: Device | None, ranks: ServingParallelism
    ) -> dict[str, int]:
        """Return the options with their defaults: llama-server takes slots of its own if none are asked for.

        >>> LlamaCpp().options({"server": True}, None, ServingParallelism())["n_seq_max"]
        4
        """
        found = super().options(given, device, ranks)
        if found["server"] and not found["n_seq_max"]:
            found |= SLOTS
        return found

    def laid_out(
        self,
        model: Model,
        kv: tuple[Format, Format],
        ranks: ServingParallelism,
        options: Mapping[str, int],
        drafted: tuple[int, int] = (0, 0),
    ) -> Mapping[str, int]:
        """Return the options with a state to roll back to for each token that the model's own layers draft.

        Source: ggml-org/llama.cpp, common/common.h (need_n_rs_seq), 7e4c0a9, read 2026-11.
        """
        tokens, _ = drafted
        return {**options, "rs_seq": options["rs_seq"] or tokens}

    def default_words(self, options: Mapping[str, int], given: Collection[str]) -> Iterator[str]:
        """Yield its options in words: which of its programs is meant first."""
        if "server" not in given and not options["n_seq_max"]:
            yield "as many sequences as --batch"
        elif options["server"] and "n_seq_max" not in given:
            yield f"llama-server's own {SLOTS['n_seq_max']} slots in one cache"
        yield from super().default_words(options, {*given, "server", *SLOTS, "rs_seq", "mmproj_mib"})

    def place_weights(self, model: Model, options: Mapping[str, int], offload: str | None) -> Model:
        """Put the first layers into the host's memory, or experts of the first, or what expressions name.

        Source: ggml-org/llama.cpp, src/llama-model.cpp (load_tensors: i_gpu_start, dev_input),
        src/llama-model-loader.cpp (create_tensor: overrides hold for every tensor) and common/arg.cpp
        (--n-cpu-moe, --override-tensor), v0.5.0, 2026-11.

        Raises:
            BadInputError: an expression is none, or it, or an option, names nothing that the model has.

        """
        depth = len(model.layers)
        first = depth + 1 - on_devices(depth, options)
        experts = depth if offload == "experts" else options["n_cpu_moe"]
        expressions = overridden(offload)
        if not (first or experts or expressions):
            return model
        if offload == "experts":
            refuse_without_experts(model, "--offload", offload)
        elif experts:
            refuse_without_experts(model, "--engine-option n_cpu_moe", experts)
        names = list(names_of(model))
        for one in expressions:
            if not any(named(model, name, (one,)) for name in names):
                remedy = "names are GGUF's, as in blk.0.ffn_up_exps.weight"
                raise BadInputError("--offload", "an expression that names a tensor", one.pattern, remedy)
        layers = []
        for index, layer in enumerate(model.layers):
            host = (
                tensor.name
                for tensor in layer.weights()
                if index < first
                or (index < experts and tensor.active_experts is not None)
                or named(model, f"model.layers.{index}.{tensor.name}", expressions)
            )
            caches = (name for name, _ in layer.remembering if index < first)
            layers.append(replace(layer, pools=tuple((name, "host") for name in (*host, *caches))))
        outside = tuple(
            (name, "host")
            for name, part in model.outside
            if any(named(model, f"{name}.{tensor.name}", expressions) for tensor in part.weights())
        )
        return replace(model, layers=tuple(layers), outside_pools=outside)

    def placements(
        self, model: Model, tensor: Tensor, rule: Rule, options: Mapping[str, int], offload: str | None
    ) -> Iterator[Placement]:
        """Yield the host's embedding, and where all else lies; a tied head is a copy where the output is.

        The model may be a stage: the copy lies on the device that has the output.
        """
        inside = tensor.name.startswith("model.layers.")
        none = not inside and not on_devices(len(model.layers), options)
        form, pool = rule(tensor), "host" if none else tensor.pool
        if tensor.kind == "embedding":
            yield Placement("host", tensor, form)
            if model.tied and pool == "gpu" and model.logits_width is not None:
                yield Placement("gpu", tensor, form)
        else:
            yield Placement(pool, tensor, form)

    def prepare(self, model: Model) -> Model:
        """Return the model as today's GGUF files hold it."""
        from memcalc.files.gguf.model import gguf_model

        return gguf_model(super().prepare(model))

    def default_parallelism(self, devices: int) -> ServingParallelism:
        """Spread the layers over the devices: --split-mode layer."""
        return ServingParallelism(pp=devices)

    def shares(self, model: Model, rule: Rule, free: Sequence[int]) -> tuple[int, ...]:
        """Share the layers out by the free memory, as --split-mode layer does."""
        from memcalc.serving.cards import by_free_memory

        return by_free_memory(len(model.layers), free)

    def check(self, model: Model, parallelism: ServingParallelism, rule: Rule) -> None:
        """Refuse ranks that cut matrices: --split-mode row is not understood."""
        for name in ("tp", "ep", "dp"):
            ranks = getattr(parallelism, name)
            if ranks > 1:
                remedy = "llama.cpp spreads layers over devices, as --pp says"
                raise BadInputError(f"--{name}", "1", ranks, remedy)

    def default_cache_format(self, model: Model, device: Device | None) -> str:
        """Store keys and values in f16, whatever the activations are (common/common.h, cache_type_k)."""
        return "f16"

    def check_cache_formats(self, model: Model, keys: Format, values: Format) -> None:
        """Refuse what llama.cpp refuses: rows that are no whole blocks, and two formats for one latent."""
        latent = any(is_mla(part) and not part.expanded for layer in model.groups for _, part in layer.parts)
        if latent and keys != values:
            remedy = "keys and values are one latent: name one format"
            raise BadInputError("--kv", f"{keys.id} for both", f"{keys.id}/{values.id}", remedy)
        for tensor in model.cache(1, 1):
            form = values if tensor.name.endswith("values") else keys
            row = tensor.stored_shape[-1]
            if tensor.kind == "cache" and form.block_bytes and row % (form.columns_per_scale or 1):
                expected = f"a format whose blocks of {form.columns_per_scale} fill a head"
                raise BadInputError("--kv", expected, f"{form.id} for {row} numbers", "choose f16 or bf16")

    def loads_vision(self, options: Mapping[str, int]) -> bool:
        """Load it where the file that holds it is named."""
        return bool(options["mmproj"])

    def kept(self, context: int, window: int | None) -> int:
        """Keep a window and the tokens of a pass, unless swa_full is asked for.

        >>> LlamaCpp().kept(8192, None), LlamaCpp().kept(8192, 1024)
        (8192, 1536)
        """
        return self.window_rule(self.defaults)(context, window)

    def allocated_tokens(self, tokens: int, options: Mapping[str, int]) -> int:
        """Round up to whole blocks of cells."""
        return padded(tokens)

    def window_rule(self, options: Mapping[str, int]) -> Kept:
        """Keep a window of each sequence that shares a cache, the tokens of a pass, and round up."""
        if options["swa_full"]:
            return lambda context, _window: context
        sharing = options["n_seq_max"] if options["kv_unified"] else 1

        def kept(context: int, window: int | None) -> int:
            if window is None:
                return context
            return padded(least(context, window * sharing + tokens_a_pass(context, options)))

        return kept

    def cache(self, stage: Model, batch: int, tokens: int, options: Mapping[str, int]) -> Iterator[Tensor]:
        """Yield one cache for each stream of sequences, and a state for each sequence, in fp32.

        With rs_seq as many states more, to which a sequence can be rolled back. A convolution keeps the
        inputs before the current one: a token less than it sees.
        """
        sequences = greatest(batch, options["n_seq_max"])
        shared = bool(options["kv_unified"])
        cells = padded(tokens) if shared else padded(padded(tokens) // sequences)
        asked = {**options, "n_seq_max": sequences, "n_ubatch": tokens_a_pass(tokens, options)}
        again = 0 if stage.model_type in NO_ROLLBACK else options["rs_seq"]
        for tensor in stage.cache(1 if shared else sequences, cells, self.window_rule(asked)):
            if tensor.kind == "cache":
                yield tensor
                continue
            shape = (sequences * (1 + again), *tensor.shape[1:])
            if tensor.name.endswith("conv_state"):
                shape = (*shape[:-1], tensor.stored_shape[-1] - 1)
            yield tensor._replace(shape=shape, format="fp32")

    def constant_lines(self, rank: RankContext) -> Iterator[Line]:
        """Yield the runtime: what a device holds beside model, cache and buffers.

        Raises:
            BadInputError: several devices share the layers that are left beside the host's.

        """
        stage, devices = rank.stage, rank.parallelism.pp
        if devices > 1 and (stage.outside_pools or any(layer.pools for layer in stage.layers)):
            remedy = "which device takes which of the others is not understood; name one device"
            raise BadInputError("--pp", "1 with layers in host memory", devices, remedy)
        if rank.options["mmproj_mib"] and "model.embed_tokens" in dict(stage.outside):
            yield Line(
                component="weights",
                name="vision tower, as it was printed",
                bytes=rank.options["mmproj_mib"] * 2**20,
                formula=f"{rank.options['mmproj_mib']} MiB",
                moments=ALWAYS,
                source="--engine-option mmproj_mib",
            )
        yield measured_line(
            "CUDA context",
            LLAMA_CPP_CUDA_CONTEXT,
            formula="what its breakdown on exit cannot account for",
            evidence=cuda_evidence(rank),
        )

    def sequences(self, options: Mapping[str, int]) -> int | None:
        """Return the sequences that were asked for, or all that it can tell apart."""
        return options["n_seq_max"] or self.most_sequences

    def ways_to_host(
        self, model: Model
    ) -> Iterator[tuple[int, Callable[[int], tuple[str, Mapping[str, int]]]]]:
        """Yield the experts of the first layers, and the first layers as a whole."""
        depth = model.depth
        if model.has_experts:
            yield depth, lambda layers: (f"the experts of {layers} layers on the CPU", {"n_cpu_moe": layers})
        yield depth, lambda layers: (f"{layers} layers on the CPU", {"n_gpu_layers": depth + 1 - layers})

    def sequence_tokens(self, context: int, batch: int, options: Mapping[str, int]) -> int:
        """Return all tokens where sequences share a cache, else the share of one."""
        return context if options["kv_unified"] else context // max(batch, options["n_seq_max"])

    def other_setup(
        self, options: Mapping[str, int], batch: int
    ) -> tuple[str, str, Mapping[str, int]] | None:
        """Return which of its programs is meant, and the other one: of the slots none may be asked for.

        >>> LlamaCpp().other_setup(LlamaCpp.defaults, 1)[0]
        'one sequence, swa_full=false, as llama-cli and llama-server -np 1 run it'
        """
        alone = f"llama-cli and llama-server -np {batch}"
        windows = "" if options["swa_full"] else ", swa_full=false"
        if options["server"] and all(options[name] == value for name, value in SLOTS.items()):
            taken = f"{SLOTS['n_seq_max']} slots in one cache{windows}, as llama-server runs it"
            return taken, alone, {**options, **{name: self.defaults[name] for name in SLOTS}}
        if not options["server"] and not options["n_seq_max"] and batch <= SLOTS["n_seq_max"]:
            many = "one sequence" if batch == 1 else f"{batch} sequences"
            slots = f"server=true, llama-server's own {SLOTS['n_seq_max']} slots"
            return f"{many}{windows}, as {alone} run it", slots, {**options, "server": True, **SLOTS}
        return None

    def host_lines(self, model: Model, options: Mapping[str, int]) -> Iterator[Line]:
        """Yield llama-server's cache of earlier prompts: empty at first, and no larger than its limit."""
        if options["server"]:
            yield Line(
                component="kv_cache",
                name="prompt cache of llama-server",
                bytes=0,
                formula="0 to 8,192 MiB: --cache-ram",
                moments=ALWAYS,
                evidence="assumed",
                source=SERVER,
                low=0,
                high=PROMPT_CACHE,
            )

    def growing_lines(self, rank: RankContext, batch: int, prompt: int) -> Iterator[Line]:
        """Yield the compute buffers: the least is derived, what comes on top lies in a measured range."""
        tokens, (low, high) = tokens_a_pass(prompt, rank.options), compute_buffers(rank, prompt)
        yield Line(
            component="activations",
            name="compute buffers",
            bytes=low,
            formula=f"4 x {tokens} tokens x (vocabulary + width) B, at least",
            moments=WHILE_SERVING,
            evidence="measured" if rank.parallelism.pp == 1 else "assumed",
            source=BUFFERS,
            low=low,
            high=high,
        )


def compute_buffers(rank: RankContext, context: int) -> tuple[int, int]:
    """Return the ends between which a compute buffer lies.

    Logits of a pass in fp32, 4 n_ubatch V bytes, and the stream that they are made of, 4 n_ubatch h, are
    held at once: that is the least, and on CUDA all there is where the vocabulary is large. A CPU's buffer
    holds a second stream. The upper end adds what the widest part needs without reuse, in fp32, and a mask of
    16 bits a cell; where an indexer looks at every cell, its scores in fp32 too, with the mask and without.
    It holds every published model of the record, not every small one that can be drawn.
    """
    tokens, vocab = tokens_a_pass(context, rank.options), rank.stage.logits_width or 0
    stream = max(getattr(part, "width", 0) for part in rank.widths if part.counted != "depth")  # of no norm
    low = 4 * tokens * (vocab + stream)
    a_cell = 2 + (2 * 4 if any(hasattr(part, "index_heads") for part in rank.widths) else 0)
    beyond = 4 * tokens * (stream + max(rank.widths.values())) + a_cell * tokens * padded(context)
    return low, low + beyond


def on_devices(depth: int, options: Mapping[str, int]) -> int:
    """Return how many of the layers and the output, counted from the end, lie on devices.

    >>> on_devices(64, {"n_gpu_layers": ALL}), on_devices(64, {"n_gpu_layers": 20})
    (65, 20)
    """
    asked = options["n_gpu_layers"]
    return depth + 1 if asked == ALL else least(asked, depth + 1)


def overridden(offload: str | None) -> tuple[re.Pattern[str], ...]:
    """Return the expressions of --override-tensor, as in ``exps=CPU`` or ``exps=CPU,^output=CPU``.

    >>> [expression.pattern for expression in overridden("ffn_.*_exps=CPU,^output=CPU")]
    ['ffn_.*_exps', '^output']

    Raises:
        BadInputError: one is no regular expression, or another pool than the host's stands behind it.

    """
    from memcalc.files.patterns import PATTERN, quick_pattern

    found = []
    for one in offload.split(",") if offload is not None and "=" in offload else ():
        text, _, pool = one.partition("=")  # as llama.cpp cuts: no expression has "," or "="
        expression = quick_pattern(text)
        if not text or pool != "CPU" or expression is None:
            remedy = "write for example ffn_.*_exps=CPU"
            raise BadInputError("--offload", f"{PATTERN}, before =CPU", one, remedy)
        found.append(expression)
    return tuple(found)


def named(model: Model, name: str, expressions: tuple[re.Pattern[str], ...]) -> bool:
    """Say whether an expression names a tensor, by its name in GGUF."""
    from memcalc.files.gguf.names import gguf_name

    return bool(expressions) and any(one.search(gguf_name(model, name)) for one in expressions)


def names_of(model: Model) -> Iterator[str]:
    """Yield the canonical name of every tensor, with the number of its layer."""
    for part, item in model.outside:
        yield from (f"{part}.{tensor.name}" for tensor in item.weights())
    for index, layer in enumerate(model.layers):
        yield from (f"model.layers.{index}.{tensor.name}" for tensor in layer.weights())


def refuse_without_experts(model: Model, field: str, given: object) -> None:
    """Refuse to move experts of a model that has none."""
    if not any(tensor.active_experts is not None for tensor in model.weights()):
        raise BadInputError(field, "a model with experts", given, "leave it out")


def padded(cells: int) -> int:
    """Round up to whole blocks of cells.

    >>> padded(1000), padded(1024)
    (1024, 1024)
    """
    return ceil_div(cells, CELLS) * CELLS


def tokens_a_pass(context: int, options: Mapping[str, int]) -> int:
    """Return the tokens of one pass: n_ubatch, and no more than n_batch or the context that was asked for.

    >>> [tokens_a_pass(context, {"n_ubatch": 512, "n_batch": 2048}) for context in (32768, 256)]
    [512, 256]
    """
    return least(least(options["n_ubatch"], options["n_batch"]), context)
