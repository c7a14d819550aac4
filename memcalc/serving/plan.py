"""A plan for serving: what was asked for, with everything that was left open filled in, and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from memcalc.data.units import MIB, Amount
from memcalc.errors import BadInputError, Faults, UnknownNameError, nearest
from memcalc.files.machines import machine
from memcalc.files.sources import source as find_source
from memcalc.files.storage import checked_format
from memcalc.ledger.tensor import least
from memcalc.options import checked, options_of
from memcalc.serving.engines import engine
from memcalc.serving.engines.base import Setting
from memcalc.serving.engines.platforms import lacks_bfloat16, refuse_device, refuse_float16, refuse_format
from memcalc.serving.options import ServingOptions
from memcalc.serving.parallelism import RANKS, ServingParallelism

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from os import PathLike

    from memcalc.files.machines import Device, Machine
    from memcalc.files.source import Source
    from memcalc.files.storage import StoredModel
    from memcalc.ledger.formats import Format, Rule
    from memcalc.ledger.model import Model
    from memcalc.serving.draft import Draft
    from memcalc.serving.engines.base import Engine

__all__ = ["ServingPlan", "default_words", "plan_fields", "resolve"]

MILLION = 10**6
WITH_FIGURES = (
    "NVIDIA",
    "AMD",
    "",
)  # vendors in the record of vLLM, SGLang and KTransformers; "": a size alone


class ServingPlan(NamedTuple):
    """Everything that decides how much memory an inference server needs.

    `model` is as the engine loads it, `rule` gives each weight its format, `kv` are the formats of keys and
    values, `activation` that of activations. `weights` names the format of the weights, `assumed` says what
    it takes for granted, `unmatched` which names of quantization_config match no module. `on` is the text
    that named the machine, `options` are what was asked for, `draft` is what drafts tokens beside the
    model, `lora_rank` the largest rank of an adapter, None without slots for any. `layers_by_device` are the
    layers, and the output behind them, of each of unequal devices that the engine fills by itself; empty
    where all count alike.
    """

    options: ServingOptions
    source: Source
    model: Model
    engine: Engine
    parallelism: ServingParallelism
    on: str | None
    machine: Machine | None
    rule: Rule
    kv: tuple[Format, Format]
    activation: Format
    context: int
    prompt: int | None
    batch: int
    prefill_chunk: int | None
    utilization: float
    engine_options: Mapping[str, int]
    offload: str | None
    weights: str
    assumed: str
    unmatched: tuple[str, ...]
    draft: Draft | None = None
    lora_rank: int | None = None
    layers_by_device: tuple[int, ...] = ()

    def __repr__(self) -> str:
        return f"<plan for {self.source.name}: {self.options!r}>"

    @property
    def most_sequences(self) -> int | None:
        """The sequences that there is room for, whatever the memory; transformers drafts for one alone."""
        return 1 if self.drafts_alone else self.engine.sequences(self.engine_options)

    def in_flight(self, sequences: int, tokens: int) -> int:
        """Return how many of the sequences have a cache at once.

        Those that are embedded have one for a pass: vLLM's holds so many tokens, and one sequence in part.
        """
        if not (self.model.headless and self.engine.id == "vllm"):
            return sequences
        most = self.engine_options["max_num_batched_tokens"] // tokens + 1
        return least(least(sequences, most), self.engine_options["max_num_seqs"])

    @property
    def uses_host(self) -> bool:
        """Whether weights or cache may lie in memory that the host alone has."""
        return self.engine.uses_host(self.engine_options) and not self.shares_memory

    @property
    def counts_vision(self) -> bool:
        """Whether a vision tower that the model has is loaded with it."""
        return self.engine.loads_vision(self.engine_options)

    @property
    def drafts_alone(self) -> bool:
        """Whether the engine drafts for one sequence alone: generation/utils.py of transformers, 2026-11."""
        return self.draft is not None and self.engine.id == "transformers"

    @property
    def share(self) -> tuple[int, int]:
        """Utilization as a fraction of whole numbers."""
        return round(self.utilization * MILLION), MILLION

    @property
    def usable_bytes(self) -> Amount | None:
        """Utilization x capacity of one device, of unequal ones the smallest."""
        return None if self.machine is None else self.usable_of(self.machine.device)

    @property
    def fixed_pool(self) -> int | None:
        """The bytes of the pool for the cache where an option fixes them."""
        return self.engine.fixed_pool(self.engine_options)

    def usable_of(self, device: Device | None) -> Amount:
        """Return utilization x capacity of a device, in whole numbers."""
        above, below = self.share
        return Amount(0 if device is None else device.capacity_bytes * above // below)

    def room_at_start(self, end: str) -> int | None:
        """Return what is free at the start beyond the share that is asked for; below 0 it does not start.

        None where an engine asks for none, or nothing is known of the system's part; `end` is that of ranges.
        """
        held = None if self.machine is None else self.machine.device.held_bytes
        if (
            self.machine is None
            or held is None
            or not asks_at_start(self.engine)
            or self.fixed_pool is not None
        ):
            return None
        taken = dict(zip(("least_bytes", "bytes", "most_bytes"), held, strict=True))[end]
        return self.machine.device.capacity_bytes - taken - (self.usable_bytes or 0)

    @property
    def shares_memory(self) -> bool:
        """Whether the host's memory is the devices', too."""
        return self.machine is not None and self.machine.is_unified

    @property
    def host_bytes(self) -> Amount | None:
        """The size of the host's memory; None where it is not known."""
        return None if self.machine is None else self.machine.host_bytes

    @property
    def defaults(self) -> tuple[str, ...]:
        """What was chosen where an option was left open, in words."""
        return tuple(default_words(self))

    @property
    def beyond_limit(self) -> str | None:
        """Why the context is more than the model knows positions for; None if it is not."""
        limit = self.model.max_context
        tokens = self.engine.sequence_tokens(self.context, self.batch, self.engine_options)
        return None if limit is None or tokens <= limit else f"the model's own limit is {limit:,} tokens"

    def prompt_of(self, context: int) -> int:
        """Return the tokens of the prompt: all of the context if it was left open."""
        return context if self.prompt is None else least(self.prompt, context)


def resolve(source: str | PathLike[str] | Source, options: ServingOptions) -> ServingPlan:
    """Return the plan that options mean for a source.

    Parameters
    ----------
    source : str, path or Source
        What is served.
    options : ServingOptions
        What is asked for.

    Raises
    ------
    BadInputError
        A number that cannot be, or ranks that the engine or the machine cannot have.
    UnknownNameError
        A model, machine, format, engine, version or option without a record.

    """
    faults = Faults()
    asked = checked(options, faults)
    for refuse in CHECKS_OF_OPTIONS:
        faults.of(refuse, asked)
    found = faults.of(lambda: find_source(source).by_way_of(asked.via))
    where = faults.of(lambda: None if asked.on is None else machine(asked.on))
    plan = faults.of(filled_in, found, where, asked, faults)
    for refuse_plan in CHECKS_OF_PLANS:
        faults.of(refuse_plan, plan)
    faults.refuse()
    return cast("ServingPlan", plan)


def filled_in(found: Source, where: Machine | None, options: ServingOptions, faults: Faults) -> ServingPlan:
    """Return the plan with everything that was left open filled in; what is faulty is missing in it."""
    of = faults.of
    named_engine = of(lambda: options.engine and engine(options.engine, options.engine_version))
    weights = of(lambda: checked_format(options.weights))
    chosen = of(chosen_engine, found, options)
    chosen = named_engine if found is faults.MISSING else chosen
    of(refuse_device, chosen, where)
    gguf, narrow = not chosen.reads_checkpoints, chosen.narrows
    stored = of(lambda: chosen.loaded(found.stored(weights, as_gguf=gguf, narrow=narrow)))
    model = of(lambda: stored.model if stored.is_gguf else chosen.prepare(stored.model))
    model = of(lambda: found.model) if stored is faults.MISSING else model
    model = of(lambda: for_task(chosen, model, options.task))
    of(refuse_found, chosen, model, options)
    known = None if where is faults.MISSING else where
    ranks, device = (
        of(chosen_parallelism, chosen, known, options),
        of(lambda: known.device if known else None),
    )
    for refuse in (refuse_copies, refuse_groups_of_experts, refuse_idle):
        of(refuse, chosen, ranks, where)
    rule = of(lambda: stored.rule)
    of(lambda: chosen.check(model, ranks, rule))
    of(lambda: None if options.kv is None else refuse_unknown_cache(chosen, options.kv))
    own = of(lambda: chosen.options(with_chunk(chosen, options), device, ranks))
    own = of(lambda: {**own, **chosen.options_for(model, device, dict(options.engine_options))})
    named = of(lambda: cache_named(found, chosen, chosen.default_cache_format(model, device), options))
    kv = of(lambda: kv_formats(chosen, model, usual_cache(stored), named, own))
    draft = of(lambda: chosen_draft(options, chosen, stored, model, ranks))
    own = of(lambda: chosen.laid_out(model, kv, ranks, own, drafted_by_itself(draft)))
    offload = of(lambda: offload_rule(chosen, options.offload, gguf=stored.is_gguf))
    setting = of(lambda: Setting(model, device, ranks, own, options.draft))
    return ServingPlan(
        options=options,
        source=found,
        model=of(lambda: chosen.place_weights(model, own, offload)),
        engine=chosen,
        parallelism=ranks,
        on=of(lambda: options.on),
        machine=where,
        rule=rule,
        kv=kv,
        activation=of(lambda: stored.activation),
        context=of(lambda: options.context),
        prompt=of(lambda: options.prompt),
        batch=of(lambda: options.batch),
        prefill_chunk=of(lambda: options.prefill_chunk),
        utilization=of(lambda: share_taken(chosen, setting, options.utilization)),
        engine_options=own,
        offload=offload,
        weights=of(lambda: stored.name),
        assumed=of(assumption, found, stored),
        unmatched=of(lambda: stored.unmatched),
        draft=draft,
        lora_rank=of(lambda: chosen_lora_rank(options, chosen, model)),
        layers_by_device=of(lambda: shares_of(chosen, model, stored.rule, ranks, where)),
    )


def for_task(chosen: Engine, model: Model, asked: str | None) -> Model:
    """Return the model as it is loaded for a task: without its head where embeddings are asked for.

    Source: vllm-project/vllm, model_executor/models/adapters.py (the head is deleted), 2026-11; transformers,
    AutoModel.

    Raises:
        BadInputError: the model has no head to generate with, or the engine is not understood.

    """
    if asked == "generate" and model.headless:
        remedy = "its class has no head: write --task embed"
        raise BadInputError("--task", "embed", asked, remedy)
    if asked != "embed" and not model.headless:
        return model
    if chosen.id not in ("vllm", "transformers"):
        remedy = f"what {chosen.id} loads and keeps for embeddings is not understood yet: vllm, transformers"
        raise BadInputError("--task", "generate", "embed", remedy)
    from memcalc.files.readers.heads import headless

    return headless(model)


def refuse_found(chosen: Engine, model: Model, options: ServingOptions) -> None:
    """Refuse what asks for the parts of a model of which another library listed the tensors alone.

    Raises:
        BadInputError: an engine that looks at parts, ranks that cut them, or a cache that is not understood.

    """
    if not model.via:
        return
    if model.cache_unknown:
        remedy = "`memcalc model` answers the rest"
        raise BadInputError("cache", "one that is understood", model.cache_unknown, remedy)
    if chosen.id != "transformers":
        remedy = (
            f"{chosen.id} goes by the parts of a model, and of a {model.model_type} its tensors are known"
        )
        raise BadInputError("--engine", "transformers with --via", chosen.id, remedy)
    for name, what in (("tp", "tensor parallelism"), ("ep", "expert parallelism")):
        if (getattr(options, name) or 1) > 1:
            remedy = f"which tensors {what} cuts is not known: use --pp, or one device"
            raise BadInputError(f"--{name}", "1 with --via", getattr(options, name), remedy)
    if options.lora_slots is not None or options.draft is not None:
        which = "--draft" if options.lora_slots is None else "--lora-slots"
        raise BadInputError(
            which, "nothing with --via", "it", "it goes by the parts of a model: leave it out"
        )


def share_taken(chosen: Engine, setting: Setting, asked: float | None) -> float:
    """Return the engine's share of a device: its own, or what it makes of the one that is asked for.

    Of unified memory its own is no larger than what the system leaves free, with which it starts.
    """
    if asked is not None:
        return chosen.asked_share(asked, setting)
    own, device = chosen.default_share(setting), setting.device
    return min(own, share_free(device)) if device is not None and asks_at_start(chosen) else own


def asks_at_start(chosen: Engine) -> bool:
    """Whether an engine starts only where its share of the whole device is free."""
    return chosen.reserves and not chosen.shares_free


def share_free(device: Device) -> float:
    """Return the share of a device that the system leaves free at the start, in whole percent."""
    return 1.0 if device.free_mib is None else 100 * device.free_mib[0] * MIB // device.capacity_bytes / 100


def shares_of(
    chosen: Engine, model: Model, rule: Rule, ranks: ServingParallelism, where: Machine | None
) -> tuple[int, ...]:
    """Return the layers of each of unequal devices, if the engine shares them out by itself."""
    if where is None or not where.cards or ranks != ServingParallelism(pp=where.count):
        return ()
    if where.count > len(model.layers):
        return ()  # more stages than layers: refused where stages are made
    return chosen.shares(model, rule, [device.capacity_bytes for device in where.each]) or ()


def cache_named(found: Source, chosen: Engine, usual: str | None, options: ServingOptions) -> str | None:
    """Return the cache's format as it was named, as the source states it, or as the engine has it."""
    if options.kv is not None:
        return options.kv
    return stated_cache(found, chosen) or usual


def stated_cache(found: Source, chosen: Engine) -> str | None:
    """Return the cache's format that the source states; an engine without it does not ask."""
    return found.cache_format if "fp8" in chosen.cache_formats else None


def assumption(found: Source, stored: StoredModel) -> str:
    """Return what the bytes of the weights take for granted; nothing where a header was read."""
    return "" if stored.own and found.header is not None else stored.format.assumption


def plan_fields(plan: ServingPlan) -> dict[str, object]:
    """Return a plan as JSON shows it."""
    return {
        "weights": plan.weights,
        "assumed": plan.assumed,
        "unmatched": list(plan.unmatched),
        "parameters_not_counted": 0 if plan.counts_vision else plan.model.vision_parameters,
        "kv": "/".join(dict.fromkeys(form.id for form in plan.kv)),
        "activations": plan.activation.id,
        "source": plan.source.found,
        "via": plan.options.via,
        "on": plan.on,
        "engine": plan.engine.id,
        "engine_version": plan.engine.release,
        "engine_options": dict(plan.engine_options),
        "context": plan.context,
        "task": "embed" if plan.model.headless else "generate",
        "prompt": plan.prompt_of(plan.context),
        "batch": plan.batch,
        "prefill_chunk": plan.prefill_chunk,
        **{name: getattr(plan.parallelism, name) for name in RANKS},
        "utilization": plan.utilization,
        "offload": plan.offload,
        "draft": plan.options.draft,
        "draft_tokens": plan.options.draft_tokens if plan.draft is None else plan.draft.tokens,
        "draft_weights": None if plan.draft is None else plan.draft.weights or plan.weights,
        "lora_slots": plan.options.lora_slots,
        "lora_rank": plan.options.lora_rank if plan.lora_rank is None else plan.lora_rank,
        "draft_parameters": None if plan.draft is None else plan.draft.model.parameters,
    }


# ---- what is chosen where an option was left open ----


def default_words(plan: ServingPlan) -> Iterator[str]:
    """Yield what a plan takes for granted, the most important first.

    >>> from memcalc.serving import serve
    >>> list(default_words(serve("Qwen/Qwen3-32B", context=8192).plan))[:2]
    ['transformers 5.24', 'share 0.9']
    """
    asked, engine = plan.options, plan.engine
    yield from plan.source.defaults
    declared = options_of(ServingOptions)
    left_open = {option.name for option in declared if getattr(asked, option.name) is option.default}
    if {"engine", "engine_version"} & left_open:
        yield f"{engine.title} {engine.release}"
    if "utilization" in left_open:
        yield engine.share_words(plan.utilization, setting_of(plan))
    yield from machine_words(plan)
    chunk = () if "prefill_chunk" in left_open else (engine.chunk_option,)
    yield from engine.default_words(plan.engine_options, {*dict(asked.engine_options), *chunk})
    if "batch" in left_open:
        yield "batch 1"
    if "prompt" in left_open:
        yield "all of the context is prompt"
    if "prefill_chunk" in left_open and engine.chunk_option is None:
        yield "the prompt in one pass"
    if "weights" in left_open:
        yield f"weights {plan.weights} ({weights_reason(plan)})"
    if "kv" in left_open:
        yield f"KV cache {'/'.join(dict.fromkeys(form.id for form in plan.kv))} ({cache_reason(plan)})"
    if plan.machine is not None and not {"tp", "pp", "dp", "ep"} - left_open:
        ranks = ((name, getattr(plan.parallelism, name)) for name in RANKS)
        yield " ".join(f"{name} {number}" for name, number in ranks if number > 1) or "one device"
    if plan.offload is not None and "offload" in left_open:
        yield f"offload {plan.offload}"
    yield from added_words(plan, left_open)


def machine_words(plan: ServingPlan) -> Iterator[str]:
    """Yield what is taken for granted of the machine."""
    if plan.machine is None:
        return
    yield from plan.machine.defaults
    if plan.machine.host_bytes is not None and not plan.uses_host:
        yield f"the host's memory is not used, as {plan.engine.id} does not by itself"
    device, engine = plan.machine.device, plan.engine
    if plan.layers_by_device:
        each = zip(plan.machine.each, plan.layers_by_device, strict=True)
        places = ", ".join(f"{number} on {one.id}" for one, number in each)
        yield f"layers and output by device, in the order named, all of its memory free: {places}"
    elif plan.machine.cards:
        yield f"unequal devices: each counts as the smallest, {device.id}"
    if engine.figures_of_gpus and device.vendor not in WITH_FIGURES:
        yield f"figures of {engine.title} on {device.vendor}'s devices as on CUDA's: none were measured"
    if engine.figures_of_gpus and plan.activation.id == "bf16" and lacks_bfloat16(device):
        yield f"float16, as {device.id} has no bfloat16: as many bytes"
    own = engine.default_share(setting_of(plan))
    if plan.options.utilization is None and own > plan.utilization and device.free_mib is not None:
        least, _, most = (Amount(free * MIB) for free in device.free_mib)
        asked = Amount(int(own * device.capacity_bytes))
        yield (
            f"{engine.title}'s own share, {own:g}, starts only where {asked} are free, and {least} to {most} "
            f"are: {plan.utilization:g} is taken"
        )


def setting_of(plan: ServingPlan) -> Setting:
    """Return what an engine's own share may depend on."""
    device = None if plan.machine is None else plan.machine.device
    return Setting(plan.model, device, plan.parallelism, plan.engine_options, plan.options.draft)


def added_words(plan: ServingPlan, left_open: set[str]) -> Iterator[str]:
    """Yield what a draft and slots for adapters take for granted."""
    if plan.draft is not None and plan.draft.tokens is not None and "draft_tokens" in left_open:
        yield f"drafted tokens {plan.draft.tokens}"
    if plan.lora_rank is not None and "lora_rank" in left_open:
        yield f"LoRA rank {plan.lora_rank}, all linear layers"


def weights_reason(plan: ServingPlan) -> str:
    """Return why the weights have their format where none was named."""
    source = plan.source
    if source.is_gguf:
        return "the file's own"
    if plan.engine.reads_gguf and not plan.engine.reads_checkpoints:
        return "what its converter makes"
    if source.scheme is not None:
        return "as the source states"
    if plan.engine.narrows and source.dtype == "fp32":
        return f"{plan.engine.title} loads the fp32 of the source in 16 bits"
    stated = any(source.stated(name) is not None for name in ("dtype", "torch_dtype"))
    return "no quantisation stated" if stated else "neither quantisation nor dtype stated"


def cache_reason(plan: ServingPlan) -> str:
    """Return why the cache has its format where none was named."""
    if stated_cache(plan.source, plan.engine):
        return "as the source states"
    return "as the activations" if plan.kv[0].id == plan.activation.id else "the engine's own"


def chosen_engine(found: Source, options: ServingOptions) -> Engine:
    """Return the engine that was named; else transformers, and llama.cpp for GGUF.

    Raises:
        BadInputError: the weights are GGUF, and the engine does not read it.

    """
    gguf = found.uses_gguf(options.weights)
    chosen = engine(options.engine or ("llama.cpp" if gguf else "transformers"), options.engine_version)
    if gguf and not chosen.reads_gguf:
        given = f"{chosen.id} for {options.weights or found.found}"
        remedy = "GGUF is llama.cpp's: write --engine llama.cpp, or another --weights"
        raise BadInputError("--engine", "one that reads GGUF", given, remedy)
    return chosen


def chosen_parallelism(chosen: Engine, where: Machine | None, options: ServingOptions) -> ServingParallelism:
    """Return the ranks that were asked for; else as the engine uses the machine's devices."""
    asked = {name: ranks for name in RANKS if (ranks := getattr(options, name)) is not None}
    alone = where is not None and not {"tp", "pp", "dp"} & set(asked)
    usual = chosen.default_parallelism(where.count) if alone and where is not None else ServingParallelism()
    return usual._replace(**asked, spreads_experts=chosen.spreads_experts)


def refuse_groups_of_experts(_chosen: Engine, ranks: ServingParallelism, _where: Machine | None) -> None:
    """Refuse ranks of experts that do not divide the ranks.

    Raises:
        BadInputError: they do not.

    """
    if ranks.tp * ranks.dp % ranks.ep:
        given = f"{ranks.ep} for tp {ranks.tp} x dp {ranks.dp}"
        raise BadInputError("--ep", "a divisor of tp x dp", given, "experts are split over those ranks")


def refuse_idle(chosen: Engine, ranks: ServingParallelism, where: Machine | None) -> None:
    """Refuse more ranks than the machine has devices, or fewer.

    Raises:
        BadInputError: they are not as many.

    """
    if where is not None and ranks.world != where.count:
        given, remedy = f"{ranks.world} ranks on {where.count} devices", "change --on or the ranks"
        if chosen.copies_attention and ranks.tp * ranks.pp == where.count:
            remedy = f"copies of attention within the tp ranks are --attention-dp {ranks.dp}"
        raise BadInputError("--tp x --pp x --dp", "as many ranks as devices", given, remedy)


def refuse_unknown_cache(chosen: Engine, named: str) -> None:
    """Refuse a format of the cache that the engine does not know, or of keys, or of values.

    Raises:
        UnknownNameError: it does not.

    """
    for name in named.split("/", 1):
        chosen.cache_formats[name]


def refuse_copies(chosen: Engine, ranks: ServingParallelism, _where: Machine | None) -> None:
    """Refuse copies of attention with engines that have none, or that do not divide the ranks."""
    copies = ranks.attention_dp
    if copies > 1 and not chosen.copies_attention:
        remedy = "it is SGLang's data-parallel attention; --dp is for copies of the model"
        raise BadInputError("--attention-dp", f"1 for {chosen.id}", copies, remedy)
    if ranks.tp % copies:
        raise BadInputError("--attention-dp", f"a divisor of tp {ranks.tp}", copies, "change one of the two")


def kv_formats(
    chosen: Engine, model: Model, usual: str, named: str | None, own: Mapping[str, int]
) -> tuple[Format, Format]:
    """Return the formats of keys and values: one for both, "K/V", or the usual one."""
    keys, _, values = (usual if named is None else named).partition("/")
    known = chosen.cache_formats
    first, second = (chosen.cache_layout(model, known[name], own) for name in (keys, values or keys))
    return first, second


def usual_cache(stored: StoredModel) -> str:
    """Return the format of keys and values as they are computed; llama.cpp's own are of 16 bits."""
    return "bf16" if stored.is_gguf and stored.activation.id == "fp32" else stored.activation.id


def chosen_draft(
    options: ServingOptions, chosen: Engine, stored: StoredModel, model: Model, ranks: ServingParallelism
) -> Draft | None:
    """Return what drafts tokens beside the model; None where nothing does."""
    if options.draft is None:
        return None
    from memcalc.serving.draft import drafted

    return drafted(options, chosen, model, stored, ranks)


def drafted_by_itself(draft: Draft | None) -> tuple[int, int]:
    """Return the tokens that a model's own layers draft in a step, and how many layers these are."""
    own = draft is not None and draft.is_mtp and draft.tokens is not None
    return (draft.tokens or 0, draft.model.depth) if draft is not None and own else (0, 0)


def chosen_lora_rank(options: ServingOptions, chosen: Engine, model: Model) -> int | None:
    """Return the largest rank of an adapter; None without slots for any."""
    if options.lora_slots is None:
        return None
    from memcalc.serving.lora import DEFAULT_RANK, check_lora

    rank = DEFAULT_RANK if options.lora_rank is None else options.lora_rank
    check_lora(chosen, model, rank)
    return rank


def with_chunk(chosen: Engine, options: ServingOptions) -> Mapping[str, object]:
    """Return an engine's options with the tokens of a pass under the name that the engine has for them.

    Raises:
        BadInputError: both are given, and are not the same; or this version takes a prompt in one pass.

    """
    given, chunk, name = dict(options.engine_options), options.prefill_chunk, chosen.chunk_option
    if chunk is not None and not chosen.takes_chunks:
        expected, remedy = (
            "no value",
            "this version takes a prompt in one pass: remove it, or name a later version",
        )
        raise BadInputError("--prefill-chunk", f"{expected} for {chosen.id} {chosen.version}", chunk, remedy)
    if chunk is None or name is None:
        return given
    if given.get(name, chunk) != chunk:
        remedy = f"{chosen.id} has one number for both: say it once"
        raise BadInputError("--prefill-chunk", f"{name}, {given[name]}", chunk, remedy)
    return {**given, name: chunk}


def offload_rule(chosen: Engine, named: str | None, *, gguf: bool) -> str | None:
    """Return the rule that puts weights into the host's memory.

    Raises:
        UnknownNameError: the engine has no rule of this name.

    """
    if named is not None and chosen.overrides and named.endswith("=CPU") and named != "=CPU":
        return named
    if named is not None and named not in chosen.offloads:
        known = ", ".join(chosen.offloads)
        expected = f"one of {known}" if known else f"no --offload: {chosen.id} has no rules for it"
        remedy = nearest(named, chosen.offloads, "--offload") if known else "leave it out"
        remedy = remedy or "see `memcalc list engines --json`"
        raise UnknownNameError("--offload", expected, named, remedy)
    return chosen.default_offload(gguf=gguf) if named is None else named


# ---- checks ----


def prompt_within_context(options: ServingOptions) -> None:
    """Refuse a prompt that is longer than the context."""
    prompt, context = options.prompt, options.context
    if prompt is not None and prompt > context:
        remedy = "the context holds prompt and answer"
        raise BadInputError("--prompt", f"at most --context {context}", prompt, remedy)


def utilization_is_a_share(options: ServingOptions) -> None:
    """Refuse what is no share of a device; not a number fails the comparison, too."""
    share = options.utilization
    if share is not None and not 1 / MILLION <= share <= 1:
        raise BadInputError("--utilization", "a share from 0.000001 to 1", share, "as in 0.9")


def sequences_within_engine(plan: ServingPlan) -> None:
    """Refuse more sequences than the engine can tell apart, or than llama.cpp's n_seq_max has room for."""
    chosen, asked = plan.engine, plan.engine_options.get("n_seq_max", 0)
    limit = 1 if plan.drafts_alone else chosen.most_sequences
    if limit is None:
        return
    if asked > limit:
        remedy = f"{chosen.id} has no room for more"
        raise BadInputError("--engine-option n_seq_max", f"at most {limit} sequences", asked, remedy)
    if asked and plan.batch > asked:
        remedy = "it is the sequences that there is room for: --engine-option n_seq_max=N asks for more"
        raise BadInputError("--batch", f"at most n_seq_max, {asked}", plan.batch, remedy)
    if plan.batch > limit:
        remedy = f"{chosen.id} has no room for more"
        raise BadInputError("--batch", f"at most {limit} sequences", plan.batch, remedy)


def draft_has_a_place(plan: ServingPlan) -> None:
    """Refuse a draft model on unequal devices: what each gets of it is not known."""
    if plan.draft is not None and plan.draft.shares and plan.layers_by_device:
        remedy = "which of them holds what of a draft model is not understood: name equal ones, or mtp"
        raise BadInputError("--draft", "equal devices", plan.on, remedy)


def draft_has_pages(plan: ServingPlan) -> None:
    """Refuse drafts beside states in a pool, but a model's own layers beside vLLM's on one stage."""
    pooled = {"page_bytes", "mamba_full_memory_ratio"} & plan.engine_options.keys()
    known = "drafted_tokens" in plan.engine_options and plan.parallelism.pp == 1
    if plan.draft is not None and pooled and not known:
        remedy = f"what drafts take of {plan.engine.title}'s pool of states is not understood yet"
        raise BadInputError("--draft", "a model without recurrent states", plan.model.name, remedy)


def float16_will_do(plan: ServingPlan) -> None:
    """Refuse float16, which old cards need, for models that an engine does not serve in it."""
    refuse_float16(plan.engine, plan.model, plan.machine, plan.activation.bits)


def format_runs_there(plan: ServingPlan) -> None:
    """Refuse formats whose kernels the devices do not have."""
    refuse_format(plan.weights, plan.machine)


def cache_may_leave(plan: ServingPlan) -> None:
    """Refuse a part of the cache in the host's memory with versions of vLLM that have no option for it."""
    if plan.engine_options.get("kv_offloading_size") and not plan.engine.since(0, 11):
        expected, remedy = "0.11 or newer with kv_offloading_size", "leave the option out"
        raise BadInputError("--engine-version", expected, plan.engine.release, remedy)


def tower_is_known(plan: ServingPlan) -> None:
    """Refuse llama.cpp's mmproj where no config tells how large it is."""
    if plan.engine_options.get("mmproj") and not plan.model.vision:
        remedy = "its size is not known: --engine-option mmproj_mib=N, as llama-server prints it"
        expected = "a model whose config describes a vision tower"
        raise BadInputError("--engine-option mmproj", expected, plan.model.name, remedy)


def ranks_share_tokens(plan: ServingPlan) -> None:
    """Refuse decode context parallelism where ranks have no copies of a cache that they could share."""
    if plan.parallelism.dcp > 1:
        from memcalc.serving.context_parallel import check_context_parallel

        check_context_parallel(plan.engine, plan.model, plan.parallelism)


def engine_stores_cache(plan: ServingPlan) -> None:
    """Refuse formats of keys and values that the engine cannot store for this model."""
    plan.engine.check_cache_formats(plan.model, *plan.kv)


def engine_takes_context(plan: ServingPlan) -> None:
    """Refuse a context that the engine does not take, or of which nobody knows how it holds it."""
    plan.engine.check_context(plan.model, plan.context)


CHECKS_OF_OPTIONS: tuple[Callable[[ServingOptions], None], ...] = (
    prompt_within_context,
    utilization_is_a_share,
)
CHECKS_OF_PLANS: tuple[Callable[[ServingPlan], None], ...] = (
    sequences_within_engine,
    engine_stores_cache,
    engine_takes_context,
    ranks_share_tokens,
    tower_is_known,
    cache_may_leave,
    float16_will_do,
    format_runs_there,
    draft_has_a_place,
    draft_has_pages,
)
