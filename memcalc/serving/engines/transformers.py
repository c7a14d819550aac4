"""Hugging Face transformers: an exact cache, a prefill peak, logits; what changed from version to version.

Sources: the cache is held against transformers' own tensors (tests/oracles). The prefill peak is the count
that closes on Qwen2.5's published table. cuBLAS's workspace, the allocator's rounding and AutoGPTQ's buffer
follow from the sources of PyTorch and AutoGPTQ; what published rows show on top of all that is a range, set
by the record's calibration rows (book/record/observations.json) and tested by the others.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from memcalc.data.constants import TRANSFORMERS_AUTOAWQ, TRANSFORMERS_CUDA_CONTEXT, TRANSFORMERS_UNEXPLAINED
from memcalc.data.units import MIB
from memcalc.errors import BadInputError
from memcalc.ledger.budget import Line
from memcalc.ledger.formats import array_bytes, tensor_bytes
from memcalc.ledger.parts.kinds import is_gqa, is_mla, is_mlp, is_moe
from memcalc.ledger.tensor import ceil_div, least
from memcalc.serving.engines.base import (
    ALWAYS,
    WHILE_SERVING,
    Engine,
    activation_width,
    cuda_evidence,
    last_logits,
    measured_line,
    refuse_cut_blocks,
    refuse_uneven,
)
from memcalc.serving.engines.sparse_cache import is_sparse
from memcalc.serving.parallelism import ServingParallelism

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from memcalc.files.machines import Device
    from memcalc.files.storage import StoredModel
    from memcalc.ledger.formats import Rule
    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.parts import MoE, Part
    from memcalc.ledger.tensor import Tensor
    from memcalc.serving.engines.base import RankContext

__all__ = ["Transformers"]

QWEN25 = "QwenLM/Qwen3@a912d23 docs/source/benchmark/speed_benchmark.rst (A100, transformers 4.46), 2024-11"
HELD = "huggingface/transformers v5.23, models/gemma3n/modeling_gemma3n.py, modeling_gemma4.py, 2026-11"
GROUPED = (
    "huggingface/transformers, integrations/moe.py (grouped_mm_experts_forward), 5.23; PyTorch counts up to "
    "0.3 % more on fake tensors of two models, 2026-12"
)
UNMEASURED = "the same count of inputs, outputs and products, for which no table was found"
WORKSPACE_OLD, WORKSPACE = (2 * 4096 + 8 * 16) * 2**10, 8 * 4096 * 2**10
CUBLAS = (
    "pytorch/pytorch aten/src/ATen/cuda/CublasHandlePool.cpp: :4096:2:16:8, from capability 9.0 on :4096:8"
)
CUBLAS_ON_BLACKWELL = "pytorch/pytorch#175344 (2026-02): :4096:8 on Blackwell, too"
ALLOCATOR = "pytorch/pytorch c10/cuda/CUDACachingAllocator.cpp, should_split, 2026-11"
EXLLAMA = "AutoGPTQ/AutoGPTQ auto_gptq/modeling/_utils.py, autogptq_post_init: temp_dq, 2024"
OLD_ROTARY = "huggingface/transformers v4.38 models/qwen2/modeling_qwen2.py, Qwen2RotaryEmbedding, 2024-02"
OLD_LOGITS = "huggingface/transformers v4.38: logits of every token, then .float(), 2024-02"


STORED_HEADS = (
    "QwenLM/Qwen3 docs/source/getting_started/speed_benchmark.md (FP8: 0.6B, 1.7B, 4B; transformers 4.51.3), "
    "2025-05; QwenLM/Qwen3@a912d23 docs/source/benchmark/speed_benchmark.rst (Qwen2.5 AWQ: 0.5B, 1.5B, 3B, "
    "at load; 4.46.0), 2024-11"
)
TIES_EQUALS = "huggingface/transformers v5.23, modeling_utils.py, tie_weights: equal values are tied, 2026-11"


WIDE = "huggingface/transformers v5.24, models/*/modeling_*.py, _keep_in_fp32_modules_strict, 2026-11"
# the same in 5.23: what a class has in fp32 beyond what its makers' files have, by the ends of names
KEPT_WIDE: Mapping[str, tuple[str, ...]] = {
    "hy_v4": ("indexer.weights_proj.weight", "indexer.k_norm.weight", "indexer.k_norm.bias", "lm_head.weight")
}
NARROW_STATES = frozenset({"minimax"})  # not cast up, as those of other classes are
WIDE_ROUTERS = frozenset(
    {"deepseek_v2", "deepseek_v3", "deepseek_v32", "glm4_moe", "glm_moe_dsa", "kimi_k2", "kimi_k25"}
)
# the first release whose classes cache latents, and not keys and values of all heads (without an indexer, and
# with one): huggingface/transformers#47761, and modeling_deepseek_v3.py and modeling_deepseek_v32.py of the
# wheels of 4.51.3, 5.0.0, 5.14.1 and 5.15.0, 5.17.0 and 5.18.0, 2026-12
LATENTS_SINCE = {False: (5, 15), True: (5, 18)}


class StoredHead(NamedTuple):
    """The files of a family that store the head of a tied model beside its embedding, and when it is held."""

    model_type: str
    format: str
    moments: tuple[str, ...]


QWEN3_FP8 = StoredHead("qwen3", "fp8-block128", ALWAYS)
QWEN25_AWQ = StoredHead("qwen2", "awq-", ("load",))


class Behaviour(NamedTuple):
    """What a version does that others do not.

    `prompt_logits`: the head reads every token of the prompt. `rotary_tables`: each layer holds its own table
    of cosines and sines. `copies_cache`: the cache of a step lies in memory together with the one before it.
    `own_blocks`: of 2 shares, how many of the weights come from blocks of their own and not from one that the
    loader takes in advance, of plain checkpoints and of quantised ones (huggingface/transformers,
    caching_allocator_warmup). `exllama`: the kernel for 4-bit GPTQ dequantises into a buffer. `autoawq`: up
    to an eighth of the prompt's cache was measured on top of it, for which no cause is known. `chunks`:
    generate() has prefill_chunk_size (huggingface/transformers, generation/configuration_utils.py: 4.51.3,
    not 4.46.3). `stacked`: the experts of a layer are one array. `stored_heads`: families whose tied models
    have a second head in their files, and in memory. `ties_equals`: it is tied again where its numbers are
    the embedding's. `wide_routers`: types whose routers lie in 32 bits, whatever the file has.
    """

    prompt_logits: bool = False
    rotary_tables: bool = False
    copies_cache: bool = False
    own_blocks: tuple[int, int] = (0, 0)
    exllama: bool = False
    autoawq: bool = False
    chunks: bool = True
    stacked: bool = False
    stored_heads: tuple[StoredHead, ...] = ()
    ties_equals: bool = False
    wide_routers: frozenset[str] = frozenset()


class Transformers(Engine):
    """The cache grows with the tokens, to the element; nothing is reserved in advance."""

    id = "transformers"
    head_by_embedding = True
    smaller_weights = ("bf16", "int8", "nf4")
    title = "transformers"
    version = "5.24"
    versions: Mapping[str, str] = {
        "4.38": "4.38",
        "4.46": "4.46",
        "4.51": "4.51",
        "5.24": "5.24",
        "5": "5.23",
    }
    behaviours: ClassVar[Mapping[str, Behaviour]] = {
        "4.38": Behaviour(
            prompt_logits=True,
            rotary_tables=True,
            copies_cache=True,
            own_blocks=(2, 2),
            exllama=True,
            chunks=False,
        ),
        "4.46": Behaviour(own_blocks=(2, 2), exllama=True, chunks=False, stored_heads=(QWEN25_AWQ,)),
        "4.51": Behaviour(own_blocks=(0, 1), autoawq=True, stored_heads=(QWEN25_AWQ, QWEN3_FP8)),
        "5.23": Behaviour(autoawq=True, stacked=True, stored_heads=(QWEN25_AWQ, QWEN3_FP8), ties_equals=True),
        "5.24": Behaviour(
            autoawq=True,
            stacked=True,
            stored_heads=(QWEN25_AWQ, QWEN3_FP8),
            ties_equals=True,
            wide_routers=WIDE_ROUTERS,
        ),
    }
    note = (
        "several devices without --tp: equal shares of the layers in order, as device_map is assumed to "
        "place them; it balances bytes, and may place a few layers otherwise"
    )

    defaults: Mapping[str, int] = {"language_model_only": False}

    @property
    def behaviour(self) -> Behaviour:
        """What this version does."""
        return self.behaviours[self.version]

    @property
    def takes_chunks(self) -> bool:
        """Whether a prompt may pass in several parts: older versions have no option for it."""
        return self.behaviour.chunks

    @property
    def copies_cache(self) -> bool:
        """Whether a step's new cache lies together with the old one: tuples, before 4.42's class."""
        return self.behaviour.copies_cache

    def default_parallelism(self, devices: int) -> ServingParallelism:
        """Spread the layers over the devices, as ``device_map="auto"`` does."""
        return ServingParallelism(pp=devices)

    def check(self, model: Model, parallelism: ServingParallelism, rule: Rule) -> None:
        """Refuse ranks that its tensor-parallel plan cannot cut.

        Raises:
            BadInputError: it cannot, or the plan of this model's class cuts experts alone.

        """
        if parallelism.tp > 1 and model.period > 1:
            remedy = "its class cuts experts alone; leave --tp out"
            raise BadInputError("--tp", f"1 for {model.model_type}", parallelism.tp, remedy)
        if any(getattr(part, "idle_experts", 0) for layer in model.groups for _, part in layer.parts):
            remedy = "its class makes matrices for experts that compute nothing: name another engine"
            raise BadInputError(f"--engine {self.id}", "experts that compute", model.model_type, remedy)
        refuse_uneven(model, parallelism, self.id, replicates=False)
        refuse_cut_blocks(model, parallelism, rule, self.id)

    def shares(self, model: Model, rule: Rule, free: Sequence[int]) -> tuple[int, ...]:
        """Fill the devices in order, as ``device_map="auto"`` does."""
        from memcalc.serving.cards import by_balance

        sizes = {layer: layer_bytes(model, layer, rule) for layer in dict.fromkeys(model.layers)}
        outside = list(replace(model, layers=()).weights())
        before = sum(
            tensor_bytes(one, rule(one)) for one in outside if one.kind in ("embedding", "positions")
        )
        after = sum(tensor_bytes(one, rule(one)) for one in outside) - before
        return by_balance(before, [sizes[layer] for layer in model.layers], after, free)

    def check_sweep(self, given: Mapping[str, object]) -> None:
        """Refuse versions in which the logits of the prompt or the layers are the larger, point by point."""
        if self.behaviour.prompt_logits:
            remedy = (
                "ask for single plans: which of logits and layers is the larger differs from point to point"
            )
            raise BadInputError("--engine-version", "4.46 or newer in a sweep", self.release, remedy)

    def loaded(self, stored: StoredModel) -> StoredModel:
        """Return a model as it is quantised while it is loaded."""
        from memcalc.files.storage import as_bitsandbytes

        return as_bitsandbytes(stored, stacked=self.behaviour.stacked)

    def loads_vision(self, options: Mapping[str, int]) -> bool:
        """Load it with the model's own class; that of its text model has none."""
        return not options["language_model_only"]

    def prepare(self, model: Model) -> Model:
        """Return the model as its class keeps keys and values: of some, more than attention needs."""
        parts = [part for layer in model.groups for _, part in layer.parts]
        if any(is_mla(part) for part in parts) and not self.since(*LATENTS_SINCE[is_sparse(model)]):
            model = model.map_layers(as_expanded)
        return model.map_layers(as_kept) if any(hasattr(part, "in_transformers") for part in parts) else model

    def kept(self, context: int, window: int | None) -> int:
        """Keep window - 1 tokens: the current one is added while it is attended to.

        Of a window of one token the class keeps all of them: its slice begins at minus nothing.
        """
        return context if window is None or window == 1 else least(context, window - 1)

    def cache(self, stage: Model, batch: int, tokens: int, options: Mapping[str, int]) -> Iterator[Tensor]:
        """Yield the cache, in which some classes have the states of linear attention in the model's dtype."""
        own = stage.model_type in NARROW_STATES
        for tensor in super().cache(stage, batch, tokens, options):
            yield tensor._replace(format=None) if own and tensor.kind == "state" else tensor

    def constant_lines(self, rank: RankContext) -> Iterator[Line]:
        """Yield the runtime, and what is held on top of the weights."""
        yield runtime(rank)
        yield workspace(rank, before_2026=self.version.startswith("4."))
        yield cache_rounding(rank, self)
        yield from dequantisation_buffer(rank, certain=self.behaviour.exllama)
        yield from weight_rounding(rank, self.behaviour.own_blocks)
        yield from stored_head(rank, self.behaviour)
        if rank.stage.model_type in self.behaviour.wide_routers:
            yield from wider(rank, ("mlp.gate.weight",))
        if self.version.startswith("5") and rank.stage.model_type in KEPT_WIDE:
            yield from wider(rank, KEPT_WIDE[rank.stage.model_type])
        if rank.stage.period > 1:
            from memcalc.serving.engines.transformers_eager import kept_wide

            yield from kept_wide(rank)
        if self.behaviour.rotary_tables:
            yield from rotary_tables(rank)

    def growing_lines(self, rank: RankContext, batch: int, prompt: int) -> Iterator[Line]:
        """Yield the temporaries of a prefill pass, and the logits: of the last token, or of all."""
        tokens = rank.tokens_a_pass(batch, prompt)
        if rank.stage.via:
            yield from without_parts(rank, tokens, batch)
            return
        layers = widest_layer(rank, tokens, grouped=self.behaviour.stacked)
        if rank.stage.period > 1:
            from memcalc.serving.engines.transformers_eager import eager_attention, kept_by_slices

            yield from eager_attention(rank, batch, prompt)
            yield from kept_by_slices(rank, batch, prompt)
        logits = prompt_logits(rank, batch * prompt) if self.behaviour.prompt_logits else None
        if logits is not None and logits.bytes > layers.bytes:
            yield logits  # the layers are done when the head begins: the larger of the two counts
            return
        if self.behaviour.autoawq and any(name.startswith("awq") for name in rank.formats):
            yield unexplained_with_autoawq(rank, rank.stage.cache(batch, prompt, self.kept))
        yield layers
        yield from beside_the_stream(rank, tokens)
        yield cosines_and_sines(rank, tokens)
        if rank.stage.logits_width is not None:
            yield last_logits(rank, batch)


def as_expanded(layer: Layer, _key: object) -> Layer:
    """Return a layer whose latent attention caches keys and values of all heads."""
    parts = ((name, replace(part, expanded=True) if is_mla(part) else part) for name, part in layer.parts)
    return replace(layer, parts=tuple(parts))


def as_kept(layer: Layer, _key: object) -> Layer:
    """Return a layer whose parts keep what their classes in transformers keep."""
    kept = ((name, getattr(part, "in_transformers", lambda part=part: part)()) for name, part in layer.parts)
    return replace(layer, parts=tuple(kept))


def layer_bytes(model: Model, layer: Layer, rule: Rule) -> int:
    """Return the bytes of one layer of a model."""
    return sum(tensor_bytes(one, rule(one)) for one in replace(model, layers=(layer,), outside=()).weights())


def runtime(rank: RankContext) -> Line:
    """Return the CUDA context, with what was measured on top of all that is derived."""
    context, rest = TRANSFORMERS_CUDA_CONTEXT, TRANSFORMERS_UNEXPLAINED
    low, typical, high = (a + b for a, b in zip(context[:3], rest[:3], strict=True))
    return measured_line(
        "CUDA context and rounding",
        rest._replace(low=low, typical=typical, high=high, source=f"{context.source}; {rest.source}"),
        formula="context + rounding",
        evidence=cuda_evidence(rank),
    )


def weight_rounding(rank: RankContext, own_blocks: tuple[int, int]) -> Iterator[Line]:
    """Yield what the allocator holds beyond the weights, where they come from blocks of their own."""
    share = own_blocks[any(not form.is_plain for form in rank.formats.values())]
    if share:
        beyond = rounding_bytes(rank)
        yield Line(
            component="weights",
            name="allocator rounding",
            bytes=beyond * share // 2,
            formula="blocks of 2 MiB steps, less the arrays in them",
            moments=ALWAYS,
            evidence="assumed",
            source=ALLOCATOR,
            low=beyond if share == 2 else 0,
            high=beyond,
        )


def stored_head(rank: RankContext, behaviour: Behaviour) -> Iterator[Line]:
    """Yield the second head of a tied model, where the published files of its family have one.

    Where the header of a file was read, it says so. vLLM and SGLang skip it, and use the embedding.
    """
    stage = rank.stage
    if not stage.tied or stage.logits_width is None or rank.head_stored is False:
        return
    for family in behaviour.stored_heads:
        stored = any(form.startswith(family.format) for form in rank.formats)
        if stage.model_type == family.model_type and stored:
            embedding = next(tensor for tensor in stage.weights() if tensor.kind == "embedding")
            mine = rank.parallelism.on_rank(embedding)
            size, both = mine.count * rank.element_bytes, family.moments == ALWAYS
            open_end = behaviour.ties_equals and both
            yield Line(
                component="weights",
                name="lm_head.weight, stored beside the embedding",
                count=mine.count,
                bytes=size,
                formula=f"{mine.count} x {rank.element_bytes} B",
                moments=family.moments,
                evidence="assumed" if open_end else "measured",
                source=f"{STORED_HEADS}; {TIES_EQUALS}" if open_end else STORED_HEADS,
                low=0 if open_end else size,
                high=size,
            )


def wider(rank: RankContext, endings: tuple[str, ...]) -> Iterator[Line]:
    """Yield what tensors with such names take in 32 bits beyond the file's numbers."""
    for whole in rank.stage.weights():
        stored = rank.rule(whole).bits // 8
        beyond = 4 - stored
        if whole.name.endswith(endings) and beyond > 0:
            mine = rank.parallelism.on_rank(whole)
            yield Line(
                component="weights",
                name=f"{whole.name.partition('{layer}.')[2] or whole.name}, in 32 bits",
                count=mine.count,
                bytes=mine.count * beyond,
                formula=f"{mine.count} x (4 - {stored}) B",
                moments=ALWAYS,
                source=WIDE,
            )


def cache_rounding(rank: RankContext, engine: Transformers) -> Line:
    """Return how much the allocator can hold beyond a cache that is written anew at each step."""
    tensors = sum(tensor.layers for tensor in rank.stage.cache(1, 1, engine.kept))
    return Line(
        component="kv_cache",
        name="allocator rounding of the cache",
        bytes=0,
        formula=f"{tensors} tensors x 0 to 1 MiB",
        moments=WHILE_SERVING,
        evidence="assumed",
        source=ALLOCATOR,
        low=0,
        high=tensors * MIB,
    )


def prompt_logits(rank: RankContext, tokens: int) -> Line | None:
    """Return the logits of every token of the prompt; None on a stage without a head."""
    vocab, element = rank.stage.logits_width, rank.element_bytes
    if vocab is None:
        return None
    width = next(part.width for name, part in rank.stage.outside if name == "model.norm")  # type: ignore[attr-defined]
    return Line(
        component="logits",
        name="logits of every token of the prompt",
        count=tokens * vocab,
        bytes=tokens * (vocab * (element + 4) + width * element),
        formula=f"{tokens} tokens x ({vocab} x ({element} + 4) B + {width} x {element} B)",
        moments=("prefill",),
        source=OLD_LOGITS,
    )


def unexplained_with_autoawq(rank: RankContext, cache: Iterable[Tensor]) -> Line:
    """Return what was measured on top of the prompt's cache with AutoAWQ."""
    held, share = sum(tensor.count for tensor in cache) * rank.element_bytes, TRANSFORMERS_AUTOAWQ
    return Line(
        component="kv_cache",
        name="unexplained with AutoAWQ",
        bytes=0,
        formula=f"0 to {share.high / 10} % of {held} B",
        moments=WHILE_SERVING,
        evidence=cuda_evidence(rank),
        source=f"{share.source}, {share.date}",
        low=0,
        high=ceil_div(held * share.high, 1000),
    )


def widest_layer(rank: RankContext, tokens: int, *, grouped: bool) -> Line:
    """Return the widest part of a pass: its inputs, outputs and products.

    `grouped`: experts that lie in one array are multiplied in one kernel, with every token once for each of
    its experts. The embedding's output is one of the four copies of the stream; it stays on the first device,
    so that the others hold three.
    """
    every = (
        (part, pass_width(part, width, rank.parallelism, grouped=grouped))
        for part, width in rank.widths.items()
    )
    widest, width = max(every, key=lambda item: item[1])
    names = [name for name, _ in rank.stage.outside]
    if rank.parallelism.pp > 1 and ("model.embed_tokens" not in names or "model.norm" in names):
        width -= widest.width  # type: ignore[attr-defined]
    evidence, source = ("measured", QWEN25) if is_mlp(widest) else ("assumed", UNMEASURED)
    if grouped and is_moe(widest):
        source = GROUPED
    return Line(
        component="activations",
        name="widest part of a prefill pass",
        count=tokens * width,
        bytes=width * rank.element_bytes * tokens,
        formula=f"{tokens} tokens x {width} numbers ({type(widest).__name__})",
        moments=("prefill",),
        evidence=evidence,
        source=source,
    )


def beside_the_stream(rank: RankContext, tokens: int) -> Iterator[Line]:
    """Yield what some models hold of every token through a whole pass, on the device of the first layer.

    Gemma 3n and 4 make the short vectors of all layers before the first one. AltUp holds its streams three
    times: those that were made, those that the layer was given, and those that it predicts.
    """
    outside = dict(rank.stage.outside)
    inputs: Any = outside.get("model.per_layer_model_projection")
    made = [part for name, part in outside.items() if name.startswith("model.altup_projections")]
    found = []
    if inputs is not None:
        found.append(("inputs of each layer", inputs.rows, f"{inputs.rows} numbers"))
    if made:  # one stream more than matrices, and one of them is the stream that all models have
        width, number = made[0].columns, 3 * (len(made) + 1) - 1  # type: ignore[attr-defined]
        found.append(("AltUp's streams", number * width, f"{number} streams x {width} numbers"))
    for name, width, words in found:
        yield Line(
            component="activations",
            name=name,
            count=tokens * width,
            bytes=tokens * width * rank.element_bytes,
            formula=f"{tokens} tokens x {words}",
            moments=("prefill",),
            evidence="assumed",
            source=HELD,
        )


def pass_width(part: Part, width: int, parallelism: ServingParallelism, *, grouped: bool) -> int:
    """Return the numbers that a token needs in a part: of some classes every expert is given every token."""
    if not is_moe(part):
        return width
    if hasattr(part, "run_for_every_token"):
        return activation_width(replace(part, top_k=part.experts), parallelism)
    return grouped_width(part, parallelism) if grouped else width


def grouped_widths(part: MoE, parallelism: ServingParallelism) -> tuple[int, int]:
    """Return the numbers that a token needs inside its experts, and behind them, by grouped matrices.

    Inside: for each of its experts the token itself with gate and up in one array, the activation and the
    product. Behind: the token, what comes out, that with its weight, and that in the order of the tokens.
    Four copies of the stream and the router's scores come on top.
    """
    seen = part.width if part.latent is None else part.latent
    inner, made = ceil_div(part.expert_width, parallelism.expert_tp), 2 if part.gated else 1
    biased = 1 if part.bias or part.expert_bias else 0
    always = 4 * part.width + part.experts
    inside = part.top_k * (seen + (2 * made + made * biased) * inner)
    return always + inside, always + part.top_k * (4 + biased) * seen


def grouped_width(part: MoE, parallelism: ServingParallelism) -> int:
    """Return the larger of the two, or what shared experts need, which run after that."""
    shared = 0 if part.shared_width is None else 3 * ceil_div(part.shared_width, parallelism.tp)
    return max(*grouped_widths(part, parallelism), 4 * part.width + shared + part.experts)


def without_parts(rank: RankContext, tokens: int, batch: int) -> Iterator[Line]:
    """Yield what a pass may need where tensors are known and parts are not, and the logits of last tokens.

    Four copies of the stream, and the widest matrix's outputs three times, as of a gated part: no
    table shows it, so it may be none, or twice that.
    """
    matrices = [one for one in rank.stage.weights() if one.kind in ("matrix", "expert", "shared")]
    stream = next((part.width for _, part in rank.stage.outside if hasattr(part, "width")), 0)
    outputs = [one.stored_shape[0] * (one.active_experts or 1) for one in matrices]
    width = 4 * stream + 3 * max(outputs, default=0)
    size = width * rank.element_bytes * tokens
    yield Line(
        component="activations",
        name="a prefill pass, by its widest matrix",
        count=tokens * width,
        bytes=size,
        formula=f"{tokens} tokens x {width} numbers",
        moments=("prefill",),
        evidence="assumed",
        source=UNMEASURED,
        low=0,
        high=2 * size,
    )
    if rank.stage.logits_width is not None:
        yield last_logits(rank, batch)


def rotary_width(rank: RankContext) -> int:
    """Return how many numbers of a head are rotated with the position; 0 if none are."""
    for part in (part for layer in rank.stage.groups for _, part in layer.parts):
        if is_gqa(part):
            return part.rope_dim or part.head_dim
        if is_mla(part):
            return part.rope_dim
    return 0


def cosines_and_sines(rank: RankContext, tokens: int) -> Line:
    """Return the cosines and sines of a pass, which all layers share."""
    width, element = rotary_width(rank), rank.element_bytes
    return Line(
        component="activations",
        name="cosines and sines",
        count=2 * width * tokens,
        bytes=2 * width * element * tokens,
        formula=f"2 x {tokens} tokens x {width} x {element} B",
        moments=("prefill",),
    )


def rotary_tables(rank: RankContext) -> Iterator[Line]:
    """Yield the tables of cosines and sines that each layer holds by itself, for all positions."""
    positions, width, depth = rank.stage.max_context, rotary_width(rank), rank.stage.depth
    if positions is not None:
        number, element = 2 * depth * positions * width, rank.element_bytes
        yield Line(
            component="weights",
            name="rotary tables",
            count=number,
            bytes=number * element,
            formula=f"2 x {depth} layers x {positions} positions x {width} x {element} B",
            moments=ALWAYS,
            source=OLD_ROTARY,
        )


def workspace(rank: RankContext, *, before_2026: bool) -> Line:
    """Return cuBLAS's workspace, which PyTorch takes from its own allocator at the first product.

    On Blackwell it has Hopper's size since PyTorch of 2026-02 alone.
    """
    device, least = rank.device, None
    capability = (device.capability or "") if device is not None else ""
    size, source = WORKSPACE if is_new(device) else WORKSPACE_OLD, CUBLAS
    if is_new(device) and capability and not capability.startswith("9."):
        size, least = (WORKSPACE_OLD, None) if before_2026 else (WORKSPACE, WORKSPACE_OLD)
        source = CUBLAS_ON_BLACKWELL
    return Line(
        component="activations",
        name="cuBLAS workspace",
        bytes=size,
        formula=f"{size // 2**10} KiB",
        moments=WHILE_SERVING,
        evidence="exact" if capability and source == CUBLAS else "assumed",
        source=source,
        low=least,
        high=least and size,
    )


def is_new(device: Device | None) -> bool:
    """Say whether a device is of Hopper's generation or newer; an unknown one counts as new.

    >>> from memcalc.files.machines import devices
    >>> [is_new(devices()[name]) for name in ("a100-80g", "h20-96g", "rtx-pro-6000-blackwell")]
    [False, True, True]
    """
    return device is None or device.capability is None or int(device.capability.partition(".")[0]) >= 9


def dequantisation_buffer(rank: RankContext, *, certain: bool) -> Iterator[Line]:
    """Yield the buffer into which a kernel for 4-bit GPTQ dequantises a matrix: as large as the largest."""
    if any(name.startswith("gptq-int4") for name in rank.formats):
        number = max(
            rank.parallelism.on_rank(tensor).each
            for tensor in rank.stage.weights()
            if rank.rule(tensor).id.startswith("gptq-int4")
        )
        size = 2 * number if certain else 0
        yield Line(
            component="activations",
            name="dequantisation buffer of one matrix",
            count=number,
            bytes=size,
            formula=f"{number} x 2 B",
            moments=ALWAYS,
            evidence="exact" if certain else "assumed",
            source=EXLLAMA,
            low=size,
            high=2 * number,
        )


def rounding_bytes(rank: RankContext) -> int:
    """Return what the allocator holds beyond the weights, in the order of their names in a checkpoint."""
    from memcalc.serving.allocator import unused_bytes

    outside = [tensor for _, part in rank.stage.outside for tensor in part.weights()]
    layers = [(arrays(rank, layer.weights()), layer.times) for layer in rank.stage.groups]
    return unused_bytes(arrays(rank, outside), layers)


def arrays(rank: RankContext, tensors: Iterable[Tensor]) -> list[int]:
    """Return the bytes of every array, experts one by one."""
    sizes: list[int] = []
    for tensor in sorted(tensors, key=lambda tensor: tensor.name):
        mine = rank.parallelism.on_rank(tensor)
        sizes += array_bytes(mine, rank.rule(tensor)) * mine.experts
    return sizes
