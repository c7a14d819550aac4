"""SGLang: weights and pool share a fraction of what was free at the start; the rest is left for the passes.

pool = fraction x (visible - runtime) - weights. Source: sgl-project/sglang, model_executor/model_runner.py,
profile_max_num_token, and since 0.5.19 mem_cache/kv_cache_configurator.py, read 2026-11. The pool holds one
token more than it gives out. Which fraction, see sglang_share.

Windows: gpt-oss has a pool for its full layers and one for the others, with a ratio of the first one's tokens
(HybridSWAPoolConfigurator: tokens = bytes / (full + ratio x windowed)). Models that are known here keep all
tokens in every layer: SGLang switches the second pool off for Gemma 2 and 3
(arg_groups/model_overrides/gemma2_gemma3.py), and takes no notice of the windows of the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from memcalc.data.constants import (
    SGLANG_GRAPHS,
    SGLANG_LOADING,
    SGLANG_LOADING_AMD,
    SGLANG_NON_TORCH,
    SGLANG_NON_TORCH_ON_RANKS,
    SGLANG_REQUESTS,
)
from memcalc.errors import BadInputError
from memcalc.ledger.budget import Line
from memcalc.ledger.formats import tensor_bytes
from memcalc.ledger.parts.kinds import is_gqa
from memcalc.ledger.tensor import ceil_div, least
from memcalc.serving.engines.base import (
    WHILE_SERVING,
    Engine,
    cuda_evidence,
    last_logits,
    measured_line,
    refuse_copied_formats,
    refuse_cut_blocks,
    refuse_uneven,
)
from memcalc.serving.engines.mxfp4 import Kernel, expert_padding
from memcalc.serving.engines.platforms import GPUS
from memcalc.serving.engines.sglang_share import (
    NEWEST,
    NO_CARD,
    RELEASES,
    Asked,
    Release,
    aiter_factor,
    memory_of,
    own_share,
    uses_aiter,
)
from memcalc.serving.engines.shared import (
    absorbed_copies,
    inner_width,
    rotary_table,
    shares_experts,
    weight_rounding,
)
from memcalc.serving.engines.sparse_cache import (
    FP8_DS_MLA,
    INDEX_KEYS,
    is_sparse,
    refuse_dense,
    stored_as,
    with_layouts,
)
from memcalc.serving.engines.states import (
    has_states,
    refuse_cut_states,
    refuse_unserved,
    state_bits,
    without_tables,
)
from memcalc.serving.parallelism import ServingParallelism, with_copied_groups

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from memcalc.data.constants import Measured
    from memcalc.files.machines import Device
    from memcalc.ledger.formats import Format, Rule
    from memcalc.ledger.model import Model
    from memcalc.ledger.tensor import Tensor
    from memcalc.serving.engines.base import RankContext, Setting

__all__ = ["SGLang"]

UNMEASURED = "the count of vLLM's passes, for which no figure of SGLang was found"

# models whose windows get a pool of their own, of those that have a reader (configs/model_config.py,
# is_hybrid_swa_model, read 2026-11); all others keep every token in every layer
TWO_POOLS = (
    "gpt_oss",
    "gemma4",
    "gemma4_text",
    "gemma4_unified",
    "laguna",
    "llama4",
    "mimo_v2_flash",
    "step3p5",
    "step3p7",
)
TWO_POOLS_SINCE = (0, 5, 20)  # all but gpt_oss, whose releases were read one by one
MILLION = 10**6
# models whose class cuts attention among fewer ranks than the rest (layers/dp_attention.py), since 0.5.9 the
# embedding, too
COPYING = (
    "deepseek_v2",
    "deepseek_v3",
    "deepseek_v32",
    "glm4_moe",
    "glm_moe_dsa",
    "gpt_oss",
    "kimi_k2",
    "kimi_k25",
    "qwen2",
    "qwen3",
    "qwen3_moe",
)
COPYING_SINCE = tuple(RELEASES)[tuple(RELEASES).index("0.5.9") :]
SGLANG_KERNEL = Kernel("FlashInfer as SGLang calls it", 128, 256)
SLOTS, RATIO, STATE_DTYPE = "max_mamba_cache_size", "mamba_full_memory_ratio", "mamba_ssm_dtype"
# models of which sgl-project/sglang, srt/models, has no class that was read, 2026-11
UNSERVED = frozenset(
    {"bailing_hybrid", "lfm3", "minimax", "minimax_m1", "olmo_hybrid", "recurrent_gemma", "zamba", "zamba2"}
    | {"minimax_m3", "minimax_m3_vl", "minimax_m3_vl_text"}
    | {"PanguEmbedded", "PanguProMoE", "hunyuan", "doge", "mistral_large4", "phi4_multimodal"}
    | {"step3_text"}  # the class of Step-3 wants its tower
)
SLOTS_A_REQUEST = 3  # of a state: its own, and two for prefixes, while its radix cache is on
INDEXERS_APART = "0.5.3"  # the first with sparse attention: its pool was sized without the indexers' keys


class SGLang(Engine):
    """Tokens one by one in a pool; KV heads are replicated where ranks exceed them."""

    id = "sglang"
    title = "SGLang"
    version = NEWEST
    versions: Mapping[str, str] = {"0.4": "0.4.10", "0.5": NEWEST, **{name: name for name in RELEASES}}
    behaviours: ClassVar[Mapping[str, Release]] = RELEASES
    reserves = True
    platforms: tuple[str, ...] | None = GPUS
    figures_of_gpus = True
    shares_free = True
    copies_attention = True
    note = (
        "--utilization is its mem-fraction-static; options: chunked_prefill_size and cuda_graph_max_bs "
        "(by the card's memory and the ranks), disable_cuda_graph (false), swa_full_tokens_ratio (0.8: "
        "tokens of gpt-oss's windowed layers for one of the others), "
        "plain_fp8 (true on AMD, and on Blackwell without data-parallel attention; else sparse "
        "attention's fp8 cache is fp8_ds_mla; true with the backend trtllm), language_only (false: a vision "
        "tower is loaded); of models with states: mamba_full_memory_ratio (0.9: their part of the pool "
        "against the tokens'), or max_mamba_cache_size (slots, 3 a request), mamba_ssm_dtype (float32)"
    )
    least_capability = (7, 5)
    defaults: Mapping[str, int] = {
        "chunked_prefill_size": 8192,
        "cuda_graph_max_bs": 256,
        "disable_cuda_graph": False,
        "swa_full_tokens_ratio": 0.8,  # type: ignore[dict-item]  # the one share among whole numbers
        "plain_fp8": False,
        "language_only": False,
        SLOTS: 0,
        RATIO: 0,
        STATE_DTYPE: 0,
    }
    chunk_option = "chunked_prefill_size"
    narrows = True  # configs/model_config.py, _get_and_verify_dtype, 2026-11
    smaller_caches = ("fp8",)
    smaller_weights: tuple[str, ...] = ("bf16", "fp8", "awq-int4-g128")
    cache_formats: Mapping[str, Format] = with_layouts(FP8_DS_MLA)
    counted: Mapping[str, str] = {
        "chunked_prefill_size": "tokens a pass",
        "cuda_graph_max_bs": "sequences in CUDA graphs",
    }

    @property
    def rules(self) -> Release:
        """What this release takes where nobody says."""
        return self.behaviours[self.version]

    def defaults_on(self, device: Device | None, ranks: ServingParallelism) -> Mapping[str, int]:
        """Return the sizes of passes and graphs: they depend on the card's memory and the ranks."""
        card = self.rules.card(NO_CARD if device is None else memory_of(device))
        graphs = card.graphs if ranks.tp < 4 else card.graphs_of_four
        plain = device is not None and self.reads_plain_fp8(device, ranks)
        sizes = {"chunked_prefill_size": card.chunk, "cuda_graph_max_bs": graphs}
        return {**self.defaults, **sizes, "plain_fp8": plain}

    def reads_plain_fp8(self, device: Device, ranks: ServingParallelism) -> bool:
        """Say whether the backend of sparse attention that it takes by itself reads plain fp8.

        That of AMD does, and trtllm, which Blackwell has where attention is not data-parallel.
        Source: sgl-project/sglang, calculate_mla_kv_cache_dim, and its page of attention backends (#20326,
        2026-03); trtllm reads fp8 since #18389, 2026-02.
        """
        alone = ranks.dp * ranks.attention_dp == 1
        return device.vendor == "AMD" or (alone and is_blackwell(device) and self.since(0, 5, 9))

    def default_share(self, setting: Setting) -> float:
        """Return what is left beside passes and graphs."""
        return own_share(Asked(self.rules, *setting))[0]

    def asked_share(self, share: float, setting: Setting) -> float:
        """Return the share as it is asked for; with AMD's attention kernels the engine scales it, too."""
        return share * aiter_factor(Asked(self.rules, *setting))

    def share_words(self, share: float, setting: Setting) -> str:
        """Return its own share with what it is computed from."""
        return f"share {share:.3g} = {own_share(Asked(self.rules, *setting))[1]}"

    def default_words(self, options: Mapping[str, int], given: Collection[str]) -> Iterator[str]:
        """Yield its options in words, but for what few models have."""
        if RATIO in options and not {SLOTS, RATIO} & set(given):
            yield f"{RATIO} {options[RATIO]:g}"
        rest = {"swa_full_tokens_ratio", "plain_fp8", SLOTS, RATIO, STATE_DTYPE}
        yield from super().default_words(options, {*given, *rest})

    def default_parallelism(self, devices: int) -> ServingParallelism:
        """Cut every matrix over all devices."""
        return ServingParallelism(tp=devices)

    def check(self, model: Model, parallelism: ServingParallelism, rule: Rule) -> None:
        """Refuse ranks that do not divide, and windows of models whose pools are not known.

        Raises:
            BadInputError: the ranks are not possible, or it is not known what the engine does with windows.

        """
        refuse_uneven(model, parallelism, self.id, replicates=True)
        refuse_cut_blocks(model, parallelism, rule, self.id, padded=frozenset({"mxfp4"}))
        refuse_copied_formats(model, parallelism, rule, self.title)
        if parallelism.attention_dp > 1:
            self.refuse_uncopied(model)
        self.refuse_unknown_pools(model)

    def refuse_unknown_pools(self, model: Model) -> None:
        """Refuse windows and shared caches of which it is not known how many cells they get.

        Raises:
            BadInputError: This is such a model, or the release is too old.

        """
        if any(getattr(part, "borrows", False) for layer in model.groups for _, part in layer.parts):
            remedy = "which of its cells they get is not known; --engine transformers answers"
            expected = "a model whose layers have a cache of their own"
            raise BadInputError(
                f"--engine {self.id}", expected, f"{model.model_type}, some share one", remedy
            )
        newer = model.windows and model.model_type in TWO_POOLS and model.model_type != "gpt_oss"
        if newer and not self.since(*TWO_POOLS_SINCE):
            remedy = f"how older ones keep windows of {model.model_type} was not read: name a later one"
            raise BadInputError("--engine-version", "0.5.20 or newer", self.release, remedy)

    def refuse_uncopied(self, model: Model) -> None:
        """Refuse copies of attention in models and releases for which it is not known what they copy.

        Raises:
            BadInputError: this is such a one.

        """
        if model.model_type not in COPYING:
            remedy = "it is not known to cut attention otherwise than the rest"
            expected = f"a model of type {', '.join(COPYING)}"
            raise BadInputError("--attention-dp", expected, model.model_type, remedy)
        if self.version not in COPYING_SINCE:
            remedy = "older ones keep the embedding whole: name a later one"
            raise BadInputError("--engine-version", "0.5.9 or newer", self.release, remedy)

    def options(
        self, given: Mapping[str, object], device: Device | None, ranks: ServingParallelism
    ) -> dict[str, int]:
        """Return the options; what concerns states stands in them where it was said."""
        own: dict[str, int] = {}
        if RATIO in given:
            own[RATIO] = ratio_of(given[RATIO])
        if STATE_DTYPE in given:
            own[STATE_DTYPE] = state_bits(STATE_DTYPE, given[STATE_DTYPE])
        plain = {key: value for key, value in given.items() if key not in own}
        found = super().options(plain, device, ranks)
        for name in {SLOTS, RATIO, STATE_DTYPE} - given.keys():
            del found[name]
        return {**found, **own}

    def laid_out(
        self,
        model: Model,
        kv: tuple[Format, Format],
        ranks: ServingParallelism,
        options: Mapping[str, int],
        drafted: tuple[int, int] = (0, 0),
    ) -> Mapping[str, int]:
        """Return the options with the share of states in the pool, for a model that has some.

        Source: sgl-project/sglang, server_args.py, mamba_full_memory_ratio: 0.2 at first, 0.9 since 2025-10.

        Raises:
            BadInputError: this release has no pool for states, or the ranks do not divide them.

        """
        if not has_states(model):
            return options
        if not self.since(0, 5, 3):
            expected, remedy = "0.5.3 or newer for a model with states", "name a later one"
            raise BadInputError("--engine-version", expected, self.release, remedy)
        refuse_cut_states(with_copied_groups(model, ranks.tp), ranks.attention_tp, self.id)
        usual = 0.9 if self.since(0, 5, 4) else 0.2
        return {RATIO: usual, **options}  # type: ignore[dict-item]

    def prepare(self, model: Model) -> Model:
        """Return a model as it is loaded; refuse one whose states no file of its own shows."""
        refuse_unserved(model, UNSERVED, self.title)
        return without_tables(super().prepare(model))

    def split(self, size: int, slot: int, options: Mapping[str, int]) -> tuple[int, int] | None:
        """Return the bytes of a pool that are left for tokens, and the requests that states have slots for.

        States are as large as the ratio says against the tokens' part, or as many as are asked for, and one
        more, which the pool is charged for since it has a configurator of its own (0.5.19).
        Source: sgl-project/sglang, mem_cache/kv_cache_configurator.py (_handle_max_mamba_cache,
        resolve_max_num_reqs), before model_executor/model_runner_kv_cache_mixin.py, read 2026-11.
        """
        if RATIO not in options:
            return None
        spare = 1 if self.id == "sglang" and self.since(0, 5, 19) else 0
        slots = options.get(SLOTS)
        if slots is None:
            parts = round(options[RATIO] * MILLION)
            slots = max(0, size * parts // (MILLION + parts) // slot - spare)
        return size - (slots + spare) * slot, slots // SLOTS_A_REQUEST

    def sequences(self, options: Mapping[str, int]) -> int | None:
        """Return the requests that there are slots for, where their number is asked for."""
        return options[SLOTS] // SLOTS_A_REQUEST if RATIO in options and SLOTS in options else None

    def default_cache_format(self, model: Model, device: Device | None) -> str | None:
        """Store the cache of sparse attention in fp8 on Blackwell and later.

        Source: sgl-project/sglang, server_args.py (KV cache dtype for DeepSeek DSA), 2026-11.
        """
        return "fp8" if device is not None and is_blackwell(device) and is_sparse(model) else None

    def cache_layout(self, model: Model, form: Format, options: Mapping[str, int]) -> Format:
        """Take fp8 of sparse attention for DeepSeek's layout; the backend trtllm alone has plain fp8.

        Source: sgl-project/sglang, calculate_mla_kv_cache_dim, 2026-11.
        """
        deepseeks = form.id == "fp8" and not options["plain_fp8"] and is_sparse(model)
        return FP8_DS_MLA if deepseeks else form

    def cache_format(self, tensor: Tensor, layout: Format) -> Format:
        """Return how a tensor of a cache is stored: sparse attention has layouts of its own."""
        return stored_as(tensor, layout)

    def check_cache_formats(self, model: Model, keys: Format, values: Format) -> None:
        """Refuse a layout of sparse attention for another model."""
        refuse_dense(model, keys, values, self.id)

    def cache(self, stage: Model, batch: int, tokens: int, options: Mapping[str, int]) -> Iterator[Tensor]:
        """Yield the pool's cells; with two pools the first is as large as the second one needs it to be.

        Before sgl-project/sglang#11309 the keys of indexers were not in them.
        """
        has_pool = self.rules.windows if stage.model_type == "gpt_oss" else stage.model_type in TWO_POOLS
        if has_pool and stage.windows:
            ratio = round(options["swa_full_tokens_ratio"] * MILLION)
            needed = ceil_div(least(tokens, max(stage.windows)) * MILLION, ratio)
            first = tokens + needed - least(tokens, needed)  # the larger one, as the page can write it
            yield from stage.cache(
                batch, tokens, lambda _, window: first if window is None else first * ratio // MILLION
            )
            return
        for tensor in super().cache(stage, batch, tokens, options):
            if tensor.kind == "state":
                yield in_slots(tensor, batch, options)
            elif not (self.release.startswith(INDEXERS_APART) and tensor.name.endswith(INDEX_KEYS)):
                yield tensor

    def loads_vision(self, options: Mapping[str, int]) -> bool:
        """Load it, unless encoders are served apart."""
        return not options["language_only"]

    def kept(self, context: int, window: int | None) -> int:
        """Keep everything."""
        return context

    def constant_lines(self, rank: RankContext) -> Iterator[Line]:
        """Yield what is loaded besides the weights, and the runtime."""
        yield from rotary_table(rank)
        yield from absorbed_copies(rank)
        yield from expert_padding(rank, self.usual_kernel(rank.device))
        yield weight_rounding(rank)
        yield from self.runtime_lines(rank)

    def usual_kernel(self, device: Device | None) -> Kernel | None:
        """Return how it lays out MXFP4 experts on Blackwell since 0.5.17; else as vLLM does.

        Source: sgl-project/sglang, layers/quantization/mxfp4.py and layers/moe/fused_moe_triton/layer.py.
        """
        capability = "" if device is None else str(device.capability).partition(".")[0]
        return SGLANG_KERNEL if capability in ("10", "12") and self.since(0, 5, 17) else None

    def runtime_lines(self, rank: RankContext) -> Iterator[Line]:
        """Yield the runtime in its two shares, its tables, the workspace of attention, and the graphs."""
        yield from non_torch(rank)
        amd = rank.device is not None and rank.device.vendor == "AMD"
        yield measured_line(
            "loading workspaces",
            SGLANG_LOADING_AMD if amd else SGLANG_LOADING,
            formula="workspaces",
            evidence="measured" if amd else cuda_evidence(rank),
        )
        yield from request_table(rank)
        yield from attention_workspace(rank, self.rules)
        if not rank.options["disable_cuda_graph"]:
            yield measured_line(
                "CUDA graphs",
                SGLANG_GRAPHS,
                formula="captured graphs",
                evidence=cuda_evidence(rank),
                outside=True,
            )

    def growing_lines(self, rank: RankContext, batch: int, prompt: int) -> Iterator[Line]:
        """Yield a pass's temporaries and the last tokens' logits, on top of the share."""
        width, element = inner_width(rank), rank.element_bytes
        chunk = rank.options["chunked_prefill_size"] // rank.parallelism.attention_dp
        tokens = least(batch * prompt, chunk)
        yield Line(
            component="activations",
            name="widest part of a prefill pass",
            count=tokens * width,
            bytes=width * element * tokens,
            formula=f"{tokens} tokens x {width} numbers x {element} B",
            moments=("prefill",),
            evidence="assumed",
            source=UNMEASURED,
            outside=True,
        )
        if rank.stage.logits_width is not None:
            yield last_logits(rank, batch, outside=True)
        if self.release.startswith(INDEXERS_APART):
            yield from index_keys(rank, batch, prompt)


def is_blackwell(device: Device) -> bool:
    """Say whether a device is of Blackwell's generation, or newer."""
    return device.capability is not None and int(device.capability.partition(".")[0]) >= 10


def in_slots(tensor: Tensor, batch: int, options: Mapping[str, int]) -> Tensor:
    """Return a state as the pool holds it: in slots, of which one is for padding.

    A convolution keeps the inputs before the current one; the other state has 32 bits unless it is said.
    Source: sgl-project/sglang, configs/mamba_utils.py and mem_cache/memory_pool.py (MambaPool), 2026-11.
    """
    shape = (options.get(SLOTS, SLOTS_A_REQUEST * batch) + 1, *tensor.shape[1:])
    if tensor.format != "fp32":
        return tensor._replace(shape=(*shape[:-1], tensor.stored_shape[-1] - 1))
    return tensor._replace(shape=shape, format="bf16" if options.get(STATE_DTYPE) == 16 else "fp32")


def ratio_of(value: object) -> int:
    """Return how large the states' part of the pool is against the tokens'.

    Raises:
        BadInputError: it is no number above 0.

    """
    if type(value) not in (int, float) or not 1 / MILLION <= value <= 1000:  # type: ignore[operator]
        expected = "a number from 0.000001 to 1000"
        raise BadInputError(f"--engine-option {RATIO}", expected, value, "correct the value")
    return value  # type: ignore[return-value]


def non_torch(rank: RankContext) -> Iterator[Line]:
    """Yield what lies outside PyTorch's allocator: the pool is a share of what it leaves free."""
    several = rank.parallelism.tp * rank.parallelism.pp > 1 or shares_experts(rank)
    whole = SGLANG_NON_TORCH_ON_RANKS if several else SGLANG_NON_TORCH
    above, below = rank.share
    inside = [size * above // below for size in whole[:3]]
    rest = [size - taken for size, taken in zip(whole[:3], inside, strict=True)]
    for name, sizes, outside in (("in the share", inside, False), ("on top of it", rest, True)):
        low, typical, high = sizes
        yield measured_line(
            f"outside PyTorch's allocator, {name}",
            whole._replace(low=low, typical=typical, high=high),
            formula="context + communicators",
            evidence=cuda_evidence(rank),
            outside=outside,
        )


def attention_workspace(rank: RankContext, rules: Release) -> Iterator[Line]:
    """Yield what AMD's attention kernels keep: for each request and head a partial sum of each 256 positions.

    Source: sgl-project/sglang, layers/attention/aiter_backend.py (workspace_buffer), and the 51.75 GiB of
    sgl-project/sglang#18263 for 3,261 requests of Qwen3-30B-A3B.
    """
    heads = dict.fromkeys(part for layer in rank.stage.groups for _, part in layer.parts if is_gqa(part))
    if not heads or not uses_aiter(Asked(rules, rank.stage, rank.device, rank.parallelism, {})):
        return
    # of two kinds of attention, the whole text's: its width is SGLang's head_dim, a window's its swa_head_dim
    part = min(heads, key=lambda one: one.window is not None)
    rows = request_rows(rank)
    mine, pieces = (
        ceil_div(part.heads, rank.parallelism.attention_tp),
        ceil_div(rank.stage.max_context or 0, 256),
    )
    low, typical, high = (number * mine * pieces * (part.head_dim * 4 + 8) for number in rows[:3])
    yield measured_line(
        "workspace of AITER attention",
        rows._replace(low=low, typical=typical, high=high),
        formula=f"{rows.low} to {rows.high} requests x {mine} heads x {pieces} pieces "
        f"x ({part.head_dim} x 4 + 8) B",
        evidence="assumed",
        outside=True,
    )


def index_keys(rank: RankContext, batch: int, tokens: int) -> Iterator[Line]:
    """Yield the indexers' keys of sequences where the share does not count them."""
    for tensor in rank.stage.cache(batch, tokens):
        if tensor.name.endswith(INDEX_KEYS):
            form = stored_as(tensor, FP8_DS_MLA)
            yield Line(
                component="kv_cache",
                name=f"{tensor.name}, beside the pool",
                count=tensor.count,
                bytes=tensor_bytes(tensor, form),
                formula=f"{tensor.layers} x {tokens} tokens as {form.id}",
                moments=WHILE_SERVING,
                source="sgl-project/sglang#11309: 54.52 GiB for 1,462,784 tokens, 2025-10",
                outside=True,
            )


def request_rows(rank: RankContext) -> Measured:
    """Return how many requests have tables: 512 for each context that the pool holds, but 2,048 to 4,096.

    Source: sgl-project/sglang, mem_cache/kv_cache_configurator.py, resolve_max_num_reqs, 2026-11. A pool is
    no larger than the share with a byte for each number of a token.
    """
    context, rows = rank.stage.max_context, SGLANG_REQUESTS
    if rank.device is None or context is None:
        return rows
    above, below = rank.share
    numbers = sum(rank.parallelism.on_rank(tensor).count for tensor in rank.stage.cache(1, 1))
    tokens = rank.device.capacity_bytes * above // below // max(1, numbers)
    return rows._replace(high=max(rows.low, min(rows.high, tokens * 512 // context)))


def request_table(rank: RankContext) -> Iterator[Line]:
    """Yield the table that says where each token of each request lies, on top of the share."""
    context, rows = rank.stage.max_context, request_rows(rank)
    if context is not None:
        low, typical, high = (number * (context + 4) * 4 for number in rows[:3])
        yield measured_line(
            "request-to-token table",
            rows._replace(low=low, typical=typical, high=high),
            formula=f"{rows.low} to {rows.high} requests x ({context} + 4) positions x 4 B",
            evidence="assumed",
            outside=True,
        )
