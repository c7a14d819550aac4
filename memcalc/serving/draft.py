"""Speculative decoding: what drafts tokens beside the model, its weights, its cache, what is copied for it.

A draft is the model's own layers for multi-token prediction, or a model by itself. Sources, read 2026-11:

- vLLM: v1/spec_decode/llm_base_proposer.py (the embedding is the model's own where there is one pipeline
  stage, the head is; heads of DeepSeek's layers since vllm-project/vllm#34385), v1/worker/gpu_model_runner.py
  (the draft stands on the last stage, its layers share the pool; `_dummy_sampler_run`), #24322 (models as
  drafts in V1).
- SGLang: sgl-project/sglang#23862 (weights and cache of the draft lie in the share), #36452 (embedding and
  head are shared once the pool is sized), model_executor/pool_configurator.py (cells of the pool).
- llama.cpp: tools/server/server-context.cpp (a context of its own with as many cells, f16 unless
  --cache-type-k-draft says otherwise), common/common.h (n_max), #28630 (the prediction layer alone has
  cells).
- transformers: generation/candidate_generator.py (the assistant has a DynamicCache of its own).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import BadInputError, RefusalError
from memcalc.files.sources import source as find_source
from memcalc.files.storage import mtp_as_stored
from memcalc.ledger.budget import Line
from memcalc.ledger.formats import tensor_bytes
from memcalc.ledger.parts import Embedding
from memcalc.ledger.tensor import ceil_div
from memcalc.serving.engines.base import WHILE_SERVING, activation_width
from memcalc.serving.parallelism import stages

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memcalc.files.storage import StoredModel
    from memcalc.ledger.formats import Format, Rule
    from memcalc.ledger.model import Model
    from memcalc.ledger.tensor import Tensor
    from memcalc.serving.engines.base import Engine, RankContext
    from memcalc.serving.options import ServingOptions
    from memcalc.serving.parallelism import ServingParallelism

__all__ = ["Draft", "draft_cache", "draft_growing_lines", "draft_lines", "draft_pool_bytes", "drafted"]

MTP = "mtp"
# what an engine lets draft, and how many tokens in a step if nothing is said
ENGINES: dict[str, dict[str, int | None]] = {
    "vllm": {MTP: None, "model": None},
    "sglang": {MTP: 3, "model": 3},
    "llama.cpp": {MTP: 3, "model": None},
    "transformers": {"model": 20},
}
SPREAD = ("transformers", "llama.cpp")  # whose draft models are spread over devices as the model is
HEADS = ("eagle", "medusa", "dflash", "hydra")  # drafts that are no models by themselves, by name or class
REMEDIES = {
    "transformers": "it loads no layers for multi-token prediction: name a draft model, or another engine"
}


class Draft(NamedTuple):
    """What drafts: its tensors and their formats; of the model's own prediction layers those that are copied.

    `asked` is what was asked for, ``mtp`` or a source; `tokens` how many are drafted in a step, None where
    nothing says it. `in_share` says whether the engine's share holds it, `cache_format` what its cache is
    stored as where that is not the model's format. `shares` are the stages of the model, each with the part
    of the draft on its device; without them the draft stands where the head is.
    """

    asked: str
    engine: str
    model: Model
    rule: Rule
    weights: str
    activation: Format
    tokens: int | None
    in_share: bool
    cache_format: str | None
    shares: tuple[tuple[Model, Model], ...] = ()

    @property
    def is_mtp(self) -> bool:
        """Whether the model's own layers draft."""
        return self.asked == MTP

    def beside(self, stage: Model) -> Draft | None:
        """Return the part of it on the fullest device that holds a stage; None if there is none."""
        if not self.shares:
            return self if stage.logits_width is not None else None
        found = [share for one, share in self.shares if one == stage]
        whole = not found  # what all devices hold together
        return self if whole else self._replace(model=max(found, key=lambda part: part.parameters))

    def on_rank(self, rank: RankContext) -> RankContext:
        """Return the device that holds a stage of the model as the draft on it sees it."""
        parts = dict.fromkeys(part for layer in self.model.groups for _, part in layer.parts)
        return rank._replace(
            stage=self.model,
            rule=self.rule,
            element_bytes=self.activation.bits // 8,
            formats={form.id: form for form in map(self.rule, self.model.weights())},
            widths={part: activation_width(part, rank.parallelism) for part in parts},
        )


def drafted(
    options: ServingOptions, engine: Engine, model: Model, stored: StoredModel, ranks: ServingParallelism
) -> Draft:
    """Return what drafts for a model.

    Parameters
    ----------
    options : ServingOptions
        What is asked for: its `draft` is ``mtp`` or a source.
    engine : Engine
        What serves the model.
    model : Model
        The model as the engine loads it.
    stored : StoredModel
        How its checkpoint stores it.
    ranks : ServingParallelism
        How it is spread over devices; the draft is spread over as many tensor-parallel ranks.

    Raises
    ------
    BadInputError
        The engine has no such draft, or the model has no layers for it.
    UnknownNameError
        There is no such source.

    """
    asked = str(options.draft)
    kind = MTP if asked == MTP else "model"
    known = ENGINES.get(engine.id, {})
    if kind not in known:
        remedy = REMEDIES.get(engine.id, f"speculative decoding of {engine.id} is not understood yet")
        raise BadInputError("--draft", "an engine that has such drafts", f"{asked} for {engine.id}", remedy)
    if model.headless:
        raise BadInputError(
            "--draft", "a model that generates", "embeddings", "leave it out with --task embed"
        )
    if kind == MTP:
        found = own_layers(engine, model, stored, ranks)
    else:
        found = draft_model(asked, engine, model, ranks)
    own = len(model.mtp) if kind == MTP and engine.id == "vllm" else None  # its n_predict
    tokens = options.draft_tokens or known[kind] or own
    if ranks.pp > 1 and kind != MTP and engine.id in SPREAD:
        parts = zip(stages(model, ranks), stages(found.model, ranks), strict=True)
        found = found._replace(shares=tuple(parts))
    return found._replace(tokens=tokens)


def own_layers(engine: Engine, model: Model, stored: StoredModel, ranks: ServingParallelism) -> Draft:
    """Return the model's own layers for multi-token prediction as a draft, with what is copied for them.

    Raises:
        BadInputError: the model has none.

    """
    if not model.mtp:
        expected = "a model with layers for multi-token prediction"
        raise BadInputError("--draft mtp", expected, model.name, "name a draft model: --draft SOURCE")
    rule, activation = stored.rule, stored.activation
    mtp = model.mtp if engine.reads_gguf else mtp_as_stored(model.mtp, activation)
    embedding = dict(model.outside)["model.embed_tokens"]
    vocab, width = embedding.vocab, embedding.width  # type: ignore[attr-defined]
    embeddings, heads = copied(engine, ranks, len(mtp))
    outside = (
        *((f"embed_tokens.{index}", Embedding(vocab, width)) for index in range(embeddings)),
        *((f"shared_head.{index}", Embedding(vocab, width, "head")) for index in range(heads)),
    )
    own = replace(model, name=f"{model.name} MTP", layers=mtp, outside=outside, mtp=(), vision=())
    in_share = engine.id != "sglang" or engine.since(0, 5, 14)
    cache_format = "fp16" if engine.id == "llama.cpp" else None
    return Draft(MTP, engine.id, own, rule, "", activation, None, in_share, cache_format)


def copied(engine: Engine, ranks: ServingParallelism, layers: int) -> tuple[int, int]:
    """Return how many copies of embedding and head stand beside the prediction layers.

    SGLang gives its copies back once the pool is sized: nothing else can use the room.
    """
    if engine.id == "vllm":
        embedding = ranks.pp > 1 or not engine.since(0, 10)
        return int(embedding), 0 if engine.since(0, 17) else layers
    return (1, 1) if engine.id == "sglang" and engine.since(0, 5, 14) else (0, 0)


def draft_model(asked: str, engine: Engine, model: Model, ranks: ServingParallelism) -> Draft:
    """Return a model by itself as a draft, in its own format.

    Raises:
        BadInputError: this version has no drafts of this kind, or the two vocabularies differ.

    """
    if engine.id == "vllm" and engine.since(0, 8) and not engine.since(0, 15):
        expected = "0.15 or newer, or V0, for a draft model"
        raise BadInputError("--engine-version", expected, engine.release, "or draft with --draft mtp")
    try:
        found = find_source(asked)
    except RefusalError as error:
        raise type(error)("--draft", error.expected, error.given, error.remedy) from None
    classes = f"{found.name} {found.stated('architectures')}".lower()
    for head in HEADS:
        if head in classes:
            remedy = "heads that read the model's own layers are not understood yet: name a model by itself"
            raise BadInputError("--draft", "mtp, or a model by itself", found.name, remedy)
    if found.uses_gguf() and not engine.reads_gguf:
        given = f"{found.found} for {engine.id}"
        raise BadInputError("--draft", "a checkpoint", given, "GGUF is llama.cpp's")
    stored = found.stored(as_gguf=not engine.reads_checkpoints)
    held = stored.model if stored.is_gguf else engine.prepare(stored.model)
    engine.check(held, ranks, stored.rule)
    sizes = [dict(one.outside)["model.embed_tokens"].vocab for one in (model, held)]  # type: ignore[attr-defined]
    if engine.id == "vllm" and sizes[0] != sizes[1]:
        expected, remedy = (
            f"a vocabulary of {sizes[0]}",
            "vllm does not start with another: name another draft",
        )
        raise BadInputError("--draft", expected, f"{sizes[1]} of {held.name}", remedy)
    in_share = engine.id != "sglang" or engine.since(0, 5, 14)
    own_cache = {"llama.cpp": "fp16", "transformers": stored.activation.id}.get(engine.id)
    return Draft(
        asked, engine.id, held, stored.rule, stored.name, stored.activation, None, in_share, own_cache
    )


def draft_lines(draft: Draft, engine: Engine, rank: RankContext, pool: str = "gpu") -> Iterator[Line]:
    """Yield the weights of the draft on one device, or in the host's memory, with what comes with them."""
    own = draft.on_rank(rank)
    for whole in draft.model.weights():
        for held_in, placed, form in engine.placements(draft.model, whole, draft.rule, engine.defaults, None):
            if held_in != pool:
                continue
            tensor = rank.parallelism.on_rank(placed) if pool == "gpu" else placed
            shape = " x ".join(map(str, tensor.stored_shape))
            lent = draft.engine == "sglang" and draft.is_mtp and whole.kind in ("embedding", "head")
            until = ", given back once the pool is sized" if lent else ""
            yield Line(
                component="weights",
                name=f"draft weights: {whole.name}",
                count=tensor.count,
                bytes=tensor_bytes(tensor, form),
                formula=f"{tensor.copies} x ({shape}) as {form.id}{until}",
                moments=engine.moments,
                outside=not draft.in_share,
            )
    if pool == "gpu" and draft.engine in ("vllm", "sglang"):
        from memcalc.serving.engines.shared import absorbed_copies, rotary_table, weight_rounding

        same = {line.bytes for line in rotary_table(rank)}  # equal tables are one array: no second one
        tables = (line for line in rotary_table(own) if line.bytes not in same)
        for line in (*absorbed_copies(own), weight_rounding(own), *tables):
            yield line._replace(name=f"draft weights: {line.name}", outside=not draft.in_share)


def draft_cache(draft: Draft, cache: Iterable[Tensor], ranks: ServingParallelism) -> Iterator[Tensor]:
    """Yield what the draft remembers on one device, of its cache as the engine rounds it."""
    for tensor in cache:
        mine = ranks.on_rank(tensor)
        own = draft.cache_format if tensor.kind == "cache" else None
        yield mine if own is None else mine._replace(format=own)


def draft_pool_bytes(draft: Draft, stage: Model, cache: int, own: int) -> int:
    """Return what the draft takes of a pool beside `cache` bytes of the model's; its cache is `own` bytes.

    SGLang widens each cell by the draft's share of the layers, whatever the draft's own cells are.
    """
    if not draft.in_share:
        return 0
    return cache * draft.model.depth // stage.depth if draft.engine == "sglang" else own


def draft_growing_lines(draft: Draft, engine: Engine, rank: RankContext, batch: int) -> Iterator[Line]:
    """Yield what drafted tokens add to a pass, and the draft's own buffers."""
    vocab, element = rank.stage.logits_width or 0, rank.element_bytes
    if draft.engine == "vllm":
        yield drafted_in_trial(engine, rank)
    elif draft.engine == "llama.cpp":
        yield compute_buffer(draft, rank)
    elif draft.tokens is not None:
        yield Line(
            component="logits",
            name="logits of the drafted tokens",
            count=batch * draft.tokens * vocab,
            bytes=draft.tokens * vocab * (element + 4) * batch,
            formula=f"{batch} x {draft.tokens} x {vocab} x ({element} + 4) B: with their fp32 copy",
            moments=("decode",),
            evidence="assumed",
            source="each drafted token is verified by its logits",
            outside=draft.engine == "sglang",
        )


def drafted_in_trial(engine: Engine, rank: RankContext) -> Line:
    """Return the logits of one drafted token a sequence, which vLLM's profile run makes once or twice.

    From 0.29 on a rank samples from its own part of the vocabulary; whether it verifies so was not read.
    """
    vocab, element, ranks = rank.stage.logits_width or 0, rank.element_bytes, rank.parallelism
    sequences = rank.options["max_num_seqs"]
    mine = ceil_div(vocab, ranks.tp) if engine.since(0, 29) else vocab
    return Line(
        component="activations",
        name="drafted tokens in the profile run",
        count=sequences * mine,
        bytes=sequences * mine * element,
        formula=f"{sequences} sequences x {mine} logits of a drafted token x {element} B; 0 to 2 x {vocab}",
        moments=WHILE_SERVING,
        evidence="assumed",
        source="vllm-project/vllm v1/worker/gpu_model_runner.py, _dummy_sampler_run, 2026-11",
        low=0,
        high=2 * sequences * vocab * element,
    )


def compute_buffer(draft: Draft, rank: RankContext) -> Line:
    """Return the compute buffer of llama.cpp's second context: of few outputs, or of as many as tokens."""
    own, vocab = draft.on_rank(rank), rank.stage.logits_width or 0
    tokens, stream = (
        min(rank.options["n_ubatch"], rank.options["n_batch"]),
        max(getattr(part, "width", 0) for part in own.widths),
    )
    size = 4 * tokens * (vocab + 2 * stream)
    return Line(
        component="activations",
        name="draft compute buffers",
        bytes=size,
        formula=f"4 x {tokens} tokens x (0 to {vocab} + 2 x {stream} + widest part) B",
        moments=WHILE_SERVING,
        evidence="assumed",
        source="as the model's own; ggml-org/llama.cpp common/speculative.cpp, 2026-11",
        low=4 * tokens * 2 * stream,
        high=size + 4 * tokens * max(own.widths.values()),
    )
