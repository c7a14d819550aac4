"""What one device of a pipeline stage holds under a plan: its weights, its cache, what the engine adds."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from memcalc.files.machines import SYSTEM
from memcalc.ledger.budget import Line, PoolBudget
from memcalc.ledger.formats import FORMATS, Format, format_named, tensor_bytes
from memcalc.ledger.tensor import ceil_div
from memcalc.serving.engines.base import ALWAYS, WHILE_SERVING, RankContext, activation_width
from memcalc.serving.parallelism import stages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from memcalc.files.machines import Device
    from memcalc.ledger.model import Model
    from memcalc.ledger.tensor import Tensor
    from memcalc.serving.draft import Draft
    from memcalc.serving.plan import ServingPlan

    CacheLines = Callable[[ServingPlan, Iterable[Tensor], tuple[str, ...]], Iterable[Line]]

__all__ = [
    "LoadedStage",
    "allocated_cache_bytes",
    "cache_bytes",
    "cache_format",
    "cache_tensors",
    "component_of",
    "device_budget",
    "distinct_stages",
    "growing_lines",
    "host_budget",
    "host_cache",
    "host_lines",
    "loaded_stages",
    "pass_lines",
    "placed_stages",
    "pool_bytes",
    "summed_cache",
    "whole_cache_bytes",
]


INDEX_KEYS = "index_keys"


class LoadedStage(NamedTuple):
    """One device of a stage: its weights, and what the engine needs however many tokens it holds."""

    rank: RankContext
    weights: tuple[Line, ...]
    constant: tuple[Line, ...]

    @property
    def stage(self) -> Model:
        """The layers of the stage."""
        return self.rank.stage

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights on one device."""
        return sum(line.bytes for line in self.weights)

    @property
    def summed(self) -> LoadedStage:
        """The same with all weights as one line: a search adds them up a hundred times."""
        low, high = (
            sum(getattr(line, end) for line in self.weights) for end in ("least_bytes", "most_bytes")
        )
        size = self.weight_bytes
        whole = Line(component="weights", name="all", bytes=size, moments=ALWAYS, low=low, high=high)
        return self._replace(weights=(whole,))


def loaded_stages(plan: ServingPlan) -> tuple[LoadedStage, ...]:
    """Return every stage that differs from the others, with what one of its devices always holds."""
    found: list[LoadedStage] = []
    for stage, device in distinct_stages(plan):
        rank = rank_context(plan, stage, device)
        constant = [*constant_lines(plan, rank), *system_lines(plan)]
        if plan.shares_memory:  # what lies in the host's memory lies here, beside the engine's share
            held = [*weight_lines(plan, stage, "host"), *draft_weights(plan, rank, "host")]
            held += [] if found else added_host_lines(plan)
            constant += (line._replace(outside=True) for line in held)
        weights = (*weight_lines(plan, stage), *offloaded(plan, rank))
        found.append(LoadedStage(rank, weights, tuple(constant)))
    return tuple(found)


def offloaded(plan: ServingPlan, rank: RankContext) -> Iterator[Line]:
    """Yield what leaves one device for the host, as vLLM counts it: by its size, and not by name."""
    if plan.engine_options.get("cpu_offload_gb"):
        from memcalc.serving.host_offload import offloaded_line

        yield offloaded_line(rank)


def constant_lines(plan: ServingPlan, rank: RankContext) -> Iterator[Line]:
    """Yield what one device holds on top of the weights, however many tokens there are."""
    yield from plan.engine.constant_lines(rank)
    if rank.stage.vision and plan.counts_vision:
        from memcalc.serving.vision import vision_lines

        yield from vision_lines(plan.engine, rank)
    yield from draft_weights(plan, rank)
    yield from lora_slots(plan, rank)


def lora_slots(plan: ServingPlan, rank: RankContext) -> Iterator[Line]:
    """Yield the slots for LoRA adapters on one device."""
    if plan.options.lora_slots is not None and plan.lora_rank is not None:
        from memcalc.serving.lora import lora_lines

        yield from lora_lines(plan.engine, rank, plan.options.lora_slots, plan.lora_rank)


def placed_stages(plan: ServingPlan) -> Iterator[tuple[Model, Device | None]]:
    """Yield every stage with the device that holds it: unequal devices hold what the engine gives each."""
    model, machine = plan.model, plan.machine
    if machine is None or not plan.layers_by_device:
        device = None if machine is None else machine.device
        yield from ((stage, device) for stage in stages(model, plan.parallelism))
        return
    depth, first = len(model.layers), 0
    joined = model.tied and plan.engine.head_by_embedding
    for device, places in zip(machine.each, plan.layers_by_device, strict=True):
        if places:
            last = min(first + places, depth)
            stage = model.stage(first, last)
            outside = stage.outside
            if joined:
                outside = model.outside if first == 0 else ()
            elif first + places == depth:  # the output is on a device of its own
                outside = model.stage(0, 0).outside if first == 0 else ()
            yield replace(stage, outside=outside), device
            first += places


def distinct_stages(plan: ServingPlan) -> list[tuple[Model, Device | None]]:
    """Return the stages that differ from each other."""
    found: list[tuple[Model, Device | None]] = []
    for one in placed_stages(plan):  # not by hashes, which look at every layer
        if one not in found:
            found.append(one)
    return found


def system_lines(plan: ServingPlan) -> Iterator[Line]:
    """Yield what the system holds of unified memory at the start, where that was measured.

    An engine whose share is one of what is free has to spare less of it.
    """
    device = None if plan.machine is None else plan.machine.device
    whole = None if device is None else device.held_bytes
    if device is None or whole is None:
        return
    above, below = plan.share if plan.engine.shares_free else (0, 1)
    inside = [size * above // below for size in whole]
    for sizes, outside in ((inside, False), ([a - b for a, b in zip(whole, inside, strict=True)], True)):
        low, typical, high = sizes
        if high:
            yield Line(
                component="runtime",
                name=SYSTEM,
                bytes=typical,
                formula="what a framework sees, less what is free at the start",
                evidence="measured",
                source=f"{device.source}, {device.date}",
                low=low,
                high=high,
                outside=outside,
            )


def rank_context(plan: ServingPlan, stage: Model, device: Device | None = None) -> RankContext:
    """Return one device of a stage as the engine sees it; where none is named, the machine's."""
    header, machine = plan.source.header, plan.machine
    groups = stage.groups or plan.model.groups  # a device may hold the output alone
    parts = dict.fromkeys(part for layer in groups for _, part in layer.parts)
    return RankContext(
        stage=stage,
        parallelism=plan.parallelism,
        rule=plan.rule,
        device=machine.device if device is None and machine is not None else device,
        prefill_chunk=plan.prefill_chunk,
        element_bytes=plan.activation.bits // 8,
        options=plan.engine_options,
        share=plan.share,
        formats={form.id: form for form in map(plan.rule, stage.weights())},
        widths={part: activation_width(part, plan.parallelism) for part in parts},
        head_stored=None if header is None else "lm_head.weight" in header.tensors,
    )


def weight_lines(plan: ServingPlan, stage: Model, pool: str = "gpu") -> Iterator[Line]:
    """Yield the weights of one device of a stage, or those in the host's memory, which ranks do not share."""
    on_rank = plan.parallelism.on_rank
    for whole in stage.weights():
        placements = plan.engine.placements(stage, whole, plan.rule, plan.engine_options, plan.offload)
        for held_in, placed, form in placements:
            if held_in == pool:
                tensor = on_rank(placed) if pool == "gpu" else placed
                copies, shape = tensor.copies, tensor.stored_shape
                yield Line(
                    component="weights",
                    name=whole.name,
                    count=copies * prod(shape),
                    bytes=tensor_bytes(tensor, form),
                    formula=f"{copies} x ({' x '.join(map(str, shape))}) as {form.id}",
                    moments=plan.engine.moments,
                )


def cache_format(plan: ServingPlan, tensor: Tensor) -> Format:
    """Return how a cache tensor is stored: keys and values may have formats of their own.

    States have the architecture's, or 16 bits; the cache of a draft may have one of its own.
    """
    if tensor.kind == "state":
        return format_named(tensor.format) if tensor.format else FORMATS["bf16"]
    if tensor.format:
        return format_named(tensor.format)
    return plan.engine.cache_format(tensor, plan.kv[tensor.name.endswith("values")])


def draft_on(plan: ServingPlan, rank: RankContext) -> Draft | None:
    """Return what a device has of the draft; None if nothing."""
    return None if plan.draft is None else plan.draft.beside(rank.stage)


def draft_weights(plan: ServingPlan, rank: RankContext, pool: str = "gpu") -> Iterator[Line]:
    """Yield the weights of a draft on one device, or in the host's memory."""
    draft = draft_on(plan, rank)
    if draft is not None:
        from memcalc.serving.draft import draft_lines

        yield from draft_lines(draft, plan.engine, rank, pool)


def draft_tensors(plan: ServingPlan, draft: Draft, batch: int, tokens: int) -> Iterator[Tensor]:
    """Yield the cache of a draft, or of a part of it, on one device."""
    from memcalc.serving.draft import draft_cache

    held = shared_cache(plan, draft.model, batch, tokens)
    if plan.engine.id == "sglang":  # its ranks hold the draft's cache whole: sglang#39799
        held = plan.engine.cache(draft.model, batch, tokens, plan.engine_options)
    yield from draft_cache(draft, held, plan.parallelism)


def drafts_lines(draft: Draft, lines: Iterable[Line]) -> Iterator[Line]:
    """Yield the lines of a draft's cache under names of their own."""
    for line in lines:
        yield line._replace(name=f"draft KV cache: {line.name}", outside=not draft.in_share)


def pool_bytes(plan: ServingPlan, rank: RankContext, tokens: int) -> int:
    """Return what one sequence of so many tokens takes of an engine's pool on one device."""
    held = cache_bytes(plan, cache_tensors(plan, rank.stage, 1, tokens))
    draft = draft_on(plan, rank)
    if draft is None:
        return held
    from memcalc.serving.draft import draft_pool_bytes

    own = cache_bytes(plan, draft_tensors(plan, draft, 1, tokens))
    return held + draft_pool_bytes(draft, rank.stage, held, own)


def cache_bytes(plan: ServingPlan, cache: Iterable[Tensor]) -> int:
    """Return the bytes of some tensors of a cache."""
    return sum(tensor_bytes(tensor, cache_format(plan, tensor)) for tensor in cache)


def cache_tensors(plan: ServingPlan, stage: Model, batch: int, tokens: int) -> Iterator[Tensor]:
    """Yield the cache of one device for `batch` sequences of `tokens`, as the engine rounds them."""
    cache = shared_cache(plan, stage, batch, tokens)
    mine = (tensor for tensor in cache if plan.shares_memory or tensor.pool == "gpu")
    return map(plan.parallelism.on_rank, mine)


def shared_cache(plan: ServingPlan, stage: Model, batch: int, tokens: int) -> Iterator[Tensor]:
    """Yield the cache of a stage, whose tokens ranks share under decode context parallelism.

    The indexer's keys are whole on every rank: sgl-project/sglang#31821, vllm-project/vllm#57431.
    """
    dcp, options = plan.parallelism.dcp, plan.engine_options
    mine = plan.engine.cache(stage, batch, ceil_div(tokens, dcp), options)
    if dcp == 1:
        yield from mine
        return
    yield from (tensor for tensor in mine if not tensor.name.endswith(INDEX_KEYS))
    whole = plan.engine.cache(stage, batch, tokens, options)
    yield from (tensor for tensor in whole if tensor.name.endswith(INDEX_KEYS))


def whole_cache_bytes(plan: ServingPlan, batch: int, context: int) -> int:
    """Return the architecture's cache, all devices together.

    Where all sequences share the context, the tokens count once, and states once a sequence.
    """
    cache = plan.model.cache(batch, context)
    if not plan.engine.shares_context:
        return cache_bytes(plan, cache)
    tokens = (tensor for tensor in plan.model.cache(1, context) if tensor.kind == "cache")
    return cache_bytes(plan, (*tokens, *(tensor for tensor in cache if tensor.kind == "state")))


def allocated_cache_bytes(plan: ServingPlan, options: Mapping[str, int]) -> int:
    """Return what the engine takes for keys and values under these options, all devices together."""
    cache = plan.engine.cache(plan.model, plan.batch, plan.context, options)
    return cache_bytes(plan, (tensor for tensor in cache if tensor.kind == "cache"))


def host_cache(plan: ServingPlan, batch: int, tokens: int) -> list[Tensor]:
    """Return the cache of the layers that lie in the host's memory."""
    if not any(layer.pools for layer in plan.model.groups):
        return []
    cache = plan.engine.cache(plan.model, batch, tokens, plan.engine_options)
    return [tensor for tensor in cache if tensor.pool == "host"]


def growing_lines(
    plan: ServingPlan, rank: RankContext, batch: int, context: int, lines: CacheLines | None = None
) -> Iterator[Line]:
    """Yield what grows with the sequences on one device: the cache, and what the engine adds.

    `lines` makes lines of a cache: `cache_lines`, the default, one of each tensor, `summed_cache` one of each
    component, which says as well whether a plan fits.
    """
    mine = plan.in_flight(plan.parallelism.sequences(batch), context)
    at_once = plan.prompt is None or plan.engine.shares_context
    prompt = context if at_once else plan.prompt_of(context)
    lines = cache_lines if lines is None else lines
    draft = draft_on(plan, rank)
    held = (WHILE_SERVING, context), (("prefill",), prompt), (("decode",), context)
    for moments, tokens in held[:1] if at_once else held[1:]:
        yield from lines(plan, cache_tensors(plan, rank.stage, mine, tokens), moments)
        if draft is not None:
            yield from drafts_lines(draft, lines(plan, draft_tensors(plan, draft, mine, tokens), moments))
    if plan.engine.copies_cache:
        for line in lines(plan, cache_tensors(plan, rank.stage, mine, context), ("decode",)):
            yield line._replace(name=f"{line.name}, of the step before")
    yield from pass_lines(plan, rank, mine, prompt)
    yield from plan.engine.profile_lines(rank, context)


def pass_lines(plan: ServingPlan, rank: RankContext, batch: int, prompt: int) -> Iterator[Line]:
    """Yield what passes need on one device on top of the cache, and those of a draft."""
    yield from plan.engine.growing_lines(rank, batch, prompt)
    if plan.draft is not None and rank.stage.logits_width is not None:
        from memcalc.serving.draft import draft_growing_lines

        yield from draft_growing_lines(plan.draft, plan.engine, rank, batch)


def cache_lines(plan: ServingPlan, cache: Iterable[Tensor], moments: tuple[str, ...]) -> Iterator[Line]:
    """Yield a line for each tensor of a cache."""
    for tensor in cache:
        form, shape = cache_format(plan, tensor), " x ".join(map(str, tensor.stored_shape))
        yield Line(
            component=component_of(tensor),
            name=tensor.name,
            count=tensor.count,
            bytes=tensor_bytes(tensor, form),
            formula=f"{tensor.layers} x ({shape}) as {form.id}",
            moments=moments,
        )


def summed_cache(plan: ServingPlan, cache: Iterable[Tensor], moments: tuple[str, ...]) -> Iterator[Line]:
    """Yield a cache as one line, and the states in it as another."""
    sizes: dict[str, int] = {}
    for tensor in cache:
        component, size = component_of(tensor), tensor_bytes(tensor, cache_format(plan, tensor))
        sizes[component] = sizes.get(component, 0) + size
    for component, size in sizes.items():
        yield Line(component=component, name="all", bytes=size, moments=moments)


def component_of(tensor: Tensor) -> str:
    """Return the component that a tensor of a cache belongs to."""
    return "state" if tensor.kind == "state" else "kv_cache"


def device_budget(plan: ServingPlan, lines: Iterable[Line], device: Device | None = None) -> PoolBudget:
    """Return the budget of one device that holds these lines; where none is named, of the machine's.

    Unequal devices are pools of their own: gpu, gpu1, ... in the order in which the machine names them.
    """
    name, devices = "gpu", plan.parallelism.world
    if plan.machine is not None:
        device, devices = device or plan.machine.device, plan.machine.count
        if plan.layers_by_device:
            kinds = plan.machine.kinds
            name, devices = f"gpu{list(kinds).index(device) or ''}", kinds[device]
    return PoolBudget(
        name,
        devices,
        capacity_bytes=None if device is None else device.capacity_bytes,
        usable_bytes=None if device is None else plan.usable_of(device),
        lines=tuple(lines),
        moment_names=plan.engine.moments,
    )


def host_budget(plan: ServingPlan, lines: Iterable[Line]) -> PoolBudget:
    """Return the budget of the host's memory that holds these lines."""
    return PoolBudget(
        "host",
        1,
        capacity_bytes=plan.host_bytes,
        usable_bytes=plan.host_bytes,
        lines=tuple(lines),
        moment_names=plan.engine.moments,
    )


def host_lines(plan: ServingPlan, cache: Iterable[Tensor]) -> Iterator[Line]:
    """Yield what lies in the host's memory, with the part of the cache that does."""
    yield from weight_lines(plan, plan.model, "host")
    yield from draft_weights(plan, rank_context(plan, plan.model), "host")
    yield from cache_lines(plan, cache, WHILE_SERVING)
    yield from added_host_lines(plan)


def added_host_lines(plan: ServingPlan) -> Iterator[Line]:
    """Yield what the engine needs in the host's memory on top of weights and cache."""
    yield from plan.engine.host_lines(plan.model, plan.engine_options)
    if "cpu_offload_gb" in plan.engine_options and plan.engine.uses_host(plan.engine_options):
        from memcalc.serving.host_offload import host_offload_lines

        ranks = (rank_context(plan, stage) for stage in stages(plan.model, plan.parallelism))
        yield from host_offload_lines(ranks, plan.engine_options)
