"""A plan for inference becomes a budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import BadInputError, UnknownNameError, at_least_one
from memcalc.files.sources import source
from memcalc.ledger.budget import Budget, Line, PoolBudget
from memcalc.ledger.formats import FORMATS, Format, format_named, tensor_bytes
from memcalc.ledger.machine import machine
from memcalc.ledger.parallel import Split, stages
from memcalc.ledger.search import LIMIT, largest
from memcalc.serving.engines import engine
from memcalc.serving.engines.base import Step, pass_width

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from memcalc.files.source import Source
    from memcalc.ledger.formats import Rule
    from memcalc.ledger.machine import Machine
    from memcalc.ledger.model import Model
    from memcalc.ledger.tensor import Tensor
    from memcalc.serving.engines.base import Engine

__all__ = ["KVPool", "Serving", "plan"]

MILLION = 10**6


class KVPool(NamedTuple):
    """What an engine takes for the cache in advance on one device, and its range where parts are measured.

    `tokens` are those of one sequence in whole blocks, the model's own limit aside.
    """

    bytes: int
    low_bytes: int
    high_bytes: int
    tokens: int
    low_tokens: int
    high_tokens: int


class Loaded(NamedTuple):
    """One stage, its weights on one device, and what the engine needs beside them whatever is asked."""

    stage: Model
    weights: tuple[Line, ...]
    beside: tuple[Line, ...]

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights on one device."""
        return sum(line.bytes for line in self.weights)


@dataclass(frozen=True, eq=False)
class Serving:
    """Everything that decides how much memory an inference server needs.

    >>> serving = plan("Qwen/Qwen3-32B", context=8192)
    >>> serving.cache_bytes, serving.weights_file_bytes
    (2147483648, 65524246528)
    """

    model: Model
    engine: Engine
    split: Split
    machine: Machine | None
    rule: Rule
    kv: tuple[Format, Format]
    activation: Format
    batch: int
    context: int
    prompt: int | None
    chunk: int | None
    utilization: float
    options: Mapping[str, int]
    offload: str | None
    named: Mapping[str, object]
    source: Source

    @property
    def weights_file_bytes(self) -> int:
        """Tensor bytes of the checkpoint: parameters in their formats; no MTP, no zero biases of AutoGPTQ.

        Of a GGUF file all tensors, which llama.cpp loads: a router's correction too.
        """
        whole = self.engine.reads_gguf
        tensors = (tensor for tensor in self.model.weights() if whole or tensor.kind != "buffer")
        return sum(tensor_bytes(tensor, self.rule(tensor)) for tensor in tensors)

    @property
    def file_beside(self) -> dict[str, int]:
        """Tensor bytes that the checkpoint has beside the text model and that engines do not load.

        Layers for multi-token prediction without their copies of embedding and head, the vision tower in
        16 bits, buffers such as a router's bias in 32.
        """
        mtp = (tensor for layer in self.model.mtp for tensor in layer.weights())
        return {
            "mtp": sum(tensor_bytes(tensor, self.rule(tensor)) for tensor in mtp),
            "vision": self.model.vision_parameters * self.activation.bits // 8,
            "buffers": 0 if self.engine.reads_gguf else 4 * self.model.buffer_values,
        }

    @property
    def cache_bytes(self) -> int:
        """The architecture's cache of the whole batch at this context, all devices together.

        Where all sequences share the context, the tokens count once, and states once a sequence.
        """
        cache = self.model.cache(self.batch, self.context)
        if not self.engine.shares_context:
            return sum(map(self.cached, cache))
        tokens = self.model.cache(1, self.context)
        shared = (tensor for tensor in tokens if tensor.kind == "cache")
        return sum(map(self.cached, (*shared, *(tensor for tensor in cache if tensor.kind == "state"))))

    def cached(self, tensor: Tensor) -> int:
        """Return the bytes of a cache tensor."""
        return tensor_bytes(tensor, self.cache_format(tensor))

    def cache_format(self, tensor: Tensor) -> Format:
        """Return how a cache tensor is stored: keys and values may have formats of their own.

        States have the architecture's, or 16 bits.
        """
        if tensor.kind == "state":
            return format_named(tensor.format) if tensor.format else FORMATS["bf16"]
        return self.kv[tensor.name.endswith("values")]

    @property
    def share(self) -> tuple[int, int]:
        """Utilization as a fraction of whole numbers."""
        return round(self.utilization * MILLION), MILLION

    @property
    def usable_bytes(self) -> int | None:
        """Utilization x capacity of one device, in whole numbers."""
        above, below = self.share
        return None if self.machine is None else self.machine.device.capacity_bytes * above // below

    def weight_lines(self, stage: Model, pool: str = "gpu") -> Iterator[Line]:
        """Yield the weights of one device of a stage, or those in the host's memory, which nobody cuts."""
        for whole in stage.weights():
            for place in self.engine.places(stage, whole, self.rule, self.options, self.offload):
                if place.pool == pool:
                    tensor = self.split.on_rank(place.tensor) if pool == "gpu" else place.tensor
                    shape = " x ".join(map(str, tensor.stored_shape))
                    formula = f"{tensor.copies} x ({shape}) as {place.form.id}"
                    size = tensor_bytes(tensor, place.form)
                    yield Line(
                        component="weights",
                        name=whole.name,
                        count=tensor.count,
                        bytes=size,
                        formula=formula,
                        moments=self.engine.moments,
                    )

    def growing_lines(self, stage: Model, batch: int, context: int, *, named: bool = True) -> Iterator[Line]:
        """Yield what grows with the sequences on one device: the cache, and what the engine adds.

        The cache is a line for each tensor, or (not `named`) one line: that a plan fits needs no more.
        """
        mine = self.split.sequences(batch)
        taken_at_once = self.prompt is None or self.engine.shares_context
        prompt = context if taken_at_once else self.prompt_of(context)
        lines = self.cache_lines if named else self.cache_line
        if taken_at_once:
            yield from lines(stage, mine, context, ("prefill", "decode"))
        else:
            yield from lines(stage, mine, prompt, ("prefill",))
            yield from lines(stage, mine, context, ("decode",))
        if self.engine.copies_cache():
            for line in lines(stage, mine, context, ("decode",)):
                yield replace(line, name=f"{line.name}, of the step before")
        yield from self.engine.growing_lines(self.step(stage), mine, prompt)

    def step(self, stage: Model) -> Step:
        """Return what the engine is told of one device."""
        found = self._steps.get(id(stage))
        if found is None:
            device, element = self.machine and self.machine.device, self.activation.bits // 8
            forms = {form.id: form for form in map(self.rule, stage.weights())}
            parts = dict.fromkeys(part for layer in stage.groups for _, part in layer.parts)
            widths = {part: pass_width(part, self.split) for part in parts}
            told = (device, self.chunk, element, self.options, self.share, forms, widths)
            found = Step(stage, self.split, self.rule, *told)
            self._steps[id(stage)] = found
        return found

    @cached_property
    def _steps(self) -> dict[int, Step]:
        """What was told already: a search asks for the same device a hundred times."""
        return {}

    def cache_tensors(self, stage: Model, batch: int, tokens: int) -> Iterator[Tensor]:
        """Yield the cache of one device for `batch` sequences of `tokens`, as the engine rounds them."""
        cache = self.engine.cache(stage, batch, tokens, self.options)
        return map(self.split.on_rank, (tensor for tensor in cache if tensor.pool == "gpu"))

    def host_cache(self, batch: int, tokens: int) -> list[Tensor]:
        """Return the cache of the layers that lie in the host's memory."""
        if not any(layer.pools for layer in self.model.groups):
            return []
        cache = self.engine.cache(self.model, batch, tokens, self.options)
        return [tensor for tensor in cache if tensor.pool == "host"]

    def cache_lines(self, stage: Model, batch: int, tokens: int, moments: tuple[str, ...]) -> Iterator[Line]:
        """Yield a line for each tensor of the cache."""
        yield from self.lines_of(self.cache_tensors(stage, batch, tokens), moments)

    def lines_of(self, cache: Iterable[Tensor], moments: tuple[str, ...]) -> Iterator[Line]:
        """Yield a line for each of some tensors of the cache."""
        for tensor in cache:
            shape = " x ".join(map(str, tensor.stored_shape))
            formula = f"{tensor.layers} x ({shape}) as {self.cache_format(tensor).id}"
            component = "state" if tensor.kind == "state" else "kv_cache"
            yield Line(
                component=component,
                name=tensor.name,
                count=tensor.count,
                bytes=self.cached(tensor),
                formula=formula,
                moments=moments,
            )

    def cache_line(self, stage: Model, batch: int, tokens: int, moments: tuple[str, ...]) -> Iterator[Line]:
        """Yield the whole cache as one line."""
        size = sum(map(self.cached, self.cache_tensors(stage, batch, tokens)))
        yield Line(component="kv_cache", name="all", bytes=size, moments=moments)

    def prompt_of(self, context: int) -> int:
        """Return the tokens of the prompt: all of the context if nobody says."""
        return context if self.prompt is None else min(self.prompt, context)

    @cached_property
    def loaded(self) -> tuple[Loaded, ...]:
        """Every stage that differs from the others, with what one of its devices always holds."""
        return tuple(
            Loaded(
                stage, tuple(self.weight_lines(stage)), tuple(self.engine.constant_lines(self.step(stage)))
            )
            for stage in dict.fromkeys(stages(self.model, self.split.pp))
        )

    @cached_property
    def budget(self) -> Budget:
        """The budget of the fullest device."""
        pools = [
            self.pool((*weights, *beside, *self.growing_lines(stage, self.batch, self.context)))
            for stage, weights, beside in self.loaded
        ]
        fullest = max(pools, key=lambda pool: pool.total_bytes)
        return Budget((fullest,) if self.host is None else (fullest, self.host))

    @cached_property
    def host(self) -> PoolBudget | None:
        """The budget of the host's memory, which all devices share; None with engines that do not use it."""
        if not self.engine.offloads:
            return None
        cache = self.host_cache(self.batch, self.context)
        lines = (
            *self.weight_lines(self.model, "host"),
            *self.lines_of(cache, ("prefill", "decode")),
            *self.engine.host_lines(self.model),
        )
        size = None if self.machine is None else self.machine.host_bytes
        return PoolBudget("host", 1, size, size, lines, self.engine.moments)

    def pool(self, lines: tuple[Line, ...]) -> PoolBudget:
        """Return the budget of one device that holds these lines."""
        devices = self.split.world if self.machine is None else self.machine.count
        capacity = None if self.machine is None else self.machine.device.capacity_bytes
        return PoolBudget("gpu", devices, capacity, self.usable_bytes, lines, self.engine.moments)

    @cached_property
    def _summed(self) -> tuple[Loaded, ...]:
        """The loaded stages with all weights as one line."""
        return tuple(
            one._replace(
                weights=(
                    Line(
                        component="weights", name="all", bytes=one.weight_bytes, moments=self.engine.moments
                    ),
                )
            )
            for one in self.loaded
        )

    def room(self, one: Loaded, batch: int, context: int) -> int:
        """Return the bytes that are left on one device of a stage: below 0 if it is not large enough."""
        lines = (*one.weights, *one.beside, *self.growing_lines(one.stage, batch, context, named=False))
        return self.pool(lines).room_bytes or 0

    def fits(self, batch: int, context: int) -> bool:
        """Say whether devices and host are large enough for `batch` sequences of `context` tokens."""
        return self.host_room(batch, context) >= 0 and all(
            self.room(one, batch, context) >= 0 for one in self._summed
        )

    def host_room(self, batch: int, context: int) -> int:
        """Return the bytes that are left in the host's memory; 0 where nobody said how large it is."""
        if self.host is None or self.host.room_bytes is None:
            return 0
        here, there = (
            sum(map(self.cached, self.host_cache(*asked)))
            for asked in ((self.batch, self.context), (batch, context))
        )
        return self.host.room_bytes + here - there

    def host_rooms(self, room: Callable[[int], int]) -> list[Callable[[int], int]]:
        """Return the host's room as one that bounds, if its layers remember anything."""
        return [room] if self.host_cache(1, 1) else []

    @property
    def host_holds(self) -> bool:
        """Whether the host's memory is large enough, as far as anybody said how large it is."""
        return self.host is None or self.host.fits is not False

    @cached_property
    def kv_pool(self) -> KVPool | None:
        """What is left for the cache, which an engine with a pool takes in advance; None with others.

        Of several stages the one with the least counts. Source of the law, utilization x visible =
        weights + activation peak + non-torch + pool: vLLM's log.
        """
        if self.machine is None or not self.engine.reserves:
            return None
        ends = ("bytes", "most_bytes", "least_bytes")  # the most of all else leaves the least
        sizes, tokens = zip(*map(self.reserved, ends), strict=True)
        return KVPool(*sizes, *tokens)

    @cached_property
    def _beside_cache(self) -> tuple[tuple[Model, list[Line]], ...]:
        """Each stage with what lives beside the cache on one of its devices, at the fullest moment."""
        held = (
            (stage, self.pool((*weights, *beside, *self.growing_lines(stage, 1, 1))))
            for stage, weights, beside in self._summed
        )
        return tuple(
            (stage, [line for line in pool.at_fullest if line.component != "kv_cache"])
            for stage, pool in held
        )

    def reserved(self, end: str) -> tuple[int, int]:
        """Return the bytes and the tokens of the smallest pool, with all else at one end of its range."""
        usable, block = self.usable_bytes or 0, self.engine.held_tokens(1, self.options)
        sizes = [
            (max(0, usable - sum(getattr(line, end) for line in lines if not line.outside)), stage)
            for stage, lines in self._beside_cache
        ]
        return min(size for size, _ in sizes), block * most(partial(self.unused, *pair) for pair in sizes)

    def unused(self, size: int, stage: Model, blocks: int) -> int:
        """Return what one sequence of so many blocks leaves of a pool of this size."""
        tokens = blocks * self.engine.held_tokens(1, self.options)
        return size - sum(map(self.cached, self.cache_tensors(stage, 1, tokens)))

    @cached_property
    def max_context(self) -> int | None:
        """The longest context that fits with this batch, bounded by memory alone.

        Within a block of the engine's more tokens take no more memory: blocks are searched.
        """
        if self.machine is None:
            return None
        if not self.host_holds:
            return 0
        block = self.engine.held_tokens(1, self.options)
        rooms = [partial(self.room_of_blocks, one, block) for one in self._summed]
        host = self.host_rooms(lambda number: self.host_room(self.batch, number * block))
        return min(most([*rooms, *host]) * block, LIMIT)

    def room_of_blocks(self, one: Loaded, block: int, number: int) -> int:
        """Return the bytes that a context of so many blocks leaves on one device of a stage."""
        return self.room(one, self.batch, number * block)

    @cached_property
    def max_batch(self) -> int | None:
        """The most sequences that fit at this context, bounded by memory alone."""
        if self.machine is None:
            return None
        if not self.host_holds:
            return 0
        limit = self.engine.most_sequences
        if limit is not None:
            return largest(lambda number: self.fits(number, self.context), limit, start=limit)
        rooms = [partial(self.room, one, context=self.context) for one in self._summed]
        return most([*rooms, *self.host_rooms(lambda number: self.host_room(number, self.context))])


def most(rooms: Iterable[Callable[[int], int]]) -> int:
    """Return the largest number that leaves room everywhere; 0 if 1 leaves none.

    >>> most([lambda context: 8 * 2**30 - 262144 * context, lambda context: 2**33 - context])
    32768
    """
    found: int | None = None
    for room in rooms:
        if found is None or (found and room(found) < 0):
            found = most_in(room)
    return found or 0


def most_in(room: Callable[[int], int], far: int = 2**20) -> int:
    """Return the largest number that leaves room; the search starts where the slope beyond windows ends."""
    there = room(far)
    slope = there - room(2 * far)
    even = far * far if there >= 0 else 1  # windows in all layers: more tokens take no more memory
    start = far + there * far // slope if slope else even
    return largest(lambda number: room(number) >= 0, start=start)


def kv_formats(text: str | None, otherwise: str, known: Mapping[str, Format]) -> tuple[Format, Format]:
    """Return the formats of keys and values from "K/V", "both" or nothing."""
    keys, _, values = (otherwise if text is None else text).partition("/")
    return known[keys], known[values or keys]


def plan(
    text: str | Source,
    *,
    context: int,
    prompt: int | None = None,
    batch: int = 1,
    weights: str | None = None,
    kv: str | None = None,
    on: str | None = None,
    tp: int | None = None,
    pp: int | None = None,
    ep: int | None = None,
    dp: int | None = None,
    engine_name: str | None = None,
    engine_version: str | None = None,
    engine_options: Mapping[str, str] | None = None,
    prefill_chunk: int | None = None,
    utilization: float = 0.9,
    offload: str | None = None,
) -> Serving:
    """Return the plan for serving a model, with everything that was left open filled in.

    The engine is transformers if nobody says; of a GGUF file, or a mix of llama.cpp's, llama.cpp.

    Raises:
        BadInputError: a number that cannot be, or ranks that the engine or the machine cannot have.
        UnknownNameError: a model, machine, format, engine or version without a record.

    """
    numbers = {"context": context, "batch": batch, "prompt": prompt, "prefill-chunk": prefill_chunk}
    numbers |= {"tp": tp, "pp": pp, "ep": ep, "dp": dp}
    for name, value in numbers.items():
        if value is not None or name in ("context", "batch"):
            at_least_one(name, value)
    if prompt is not None and prompt > context:
        raise BadInputError(
            "--prompt", f"at most --context {context}", prompt, "the context holds prompt and answer"
        )
    if not is_share(utilization):
        raise BadInputError(
            "--utilization", "a share above 0 and at most 1", utilization, "0.9 is vLLM's default"
        )
    found = source(text) if isinstance(text, str) else text
    is_gguf = found.uses_gguf(weights)
    chosen = engine(engine_name or ("llama.cpp" if is_gguf else "transformers"), engine_version)
    if is_gguf and not chosen.reads_gguf:
        given, remedy = weights or found.found, "GGUF is llama.cpp's: say --engine llama.cpp, or leave it out"
        raise BadInputError("--engine", "one that reads GGUF", f"{chosen.id} for {given}", remedy)
    stored = found.stored(weights, as_gguf=not chosen.reads_checkpoints)
    rule, activation = stored.rule, stored.activation
    model = stored.model if stored.is_gguf else chosen.held(stored.model)
    where = None if on is None else machine(on)
    stated = {"tp": tp, "pp": pp, "ep": ep, "dp": dp}
    ranks = chosen_split(chosen, where, {name: value for name, value in stated.items() if value is not None})
    if kv is None:
        refuse_stated_cache(found.fields)
    chosen.check(model, ranks, rule)
    named_options = with_chunk(chosen, prefill_chunk, engine_options or {})
    options = chosen.options(named_options, where and where.device, context)
    offload = offload_rule(chosen, where, offload, gguf=stored.is_gguf)
    model = chosen.spread(model, options, offload)
    sequences, limit = max(batch, options.get("n_seq_max", 1)), chosen.most_sequences
    if limit is not None and sequences > limit:
        field, remedy = "--batch", f"{chosen.id} has no room for more"
        if batch <= limit:
            field = "--engine-option n_seq_max"
        raise BadInputError(field, f"at most {limit} sequences", sequences, remedy)
    if "n_seq_max" in (engine_options or {}) and batch > options["n_seq_max"]:
        remedy = "it is the sequences that there is room for; leave one of them out"
        raise BadInputError("--batch", f"at most n_seq_max, {options['n_seq_max']}", batch, remedy)
    cache = kv_formats(kv, "bf16" if activation.id == "fp32" else activation.id, chosen.cache_formats)
    chosen.check_cache(model, *cache)
    return Serving(
        model,
        chosen,
        ranks,
        where,
        rule,
        cache,
        activation,
        batch,
        context,
        prompt,
        prefill_chunk,
        utilization,
        options,
        offload,
        {
            "weights": stored.name,
            "assumed": "" if stored.own and found.header is not None else stored.format.assumption,
            "unmatched": list(stored.unmatched),
            "parameters_not_counted": model.vision_parameters,
            "kv": "/".join(dict.fromkeys(item.id for item in cache)),
            "activations": activation.id,
            "source": found.found,
        },
        found,
    )


def offload_rule(chosen: Engine, where: Machine | None, named: str | None, *, gguf: bool) -> str | None:
    """Return the rule that puts weights into the host's memory.

    Raises:
        BadInputError: host memory is named, and the engine does not use it.
        UnknownNameError: the engine has no rule of this name.

    """
    if named is not None and chosen.overrides and named.endswith("=CPU") and named != "=CPU":
        return named
    if named is not None and named not in chosen.offloads:
        known = (
            f"one of {', '.join(chosen.offloads)}" if chosen.offloads else f"none: {chosen.id} has no rules"
        )
        raise UnknownNameError("--offload", known, named, "see `memcalc list engines --json`")
    if where is not None and where.host_bytes is not None and not chosen.offloads:
        remedy = f"{chosen.id} does not use host memory; leave it out"
        raise BadInputError("--on", '"COUNTx ID"', f"{where.host_bytes} B of host memory", remedy)
    return chosen.default_offload(gguf=gguf) if named is None else named


def with_chunk(chosen: Engine, chunk: int | None, given: Mapping[str, str]) -> Mapping[str, str]:
    """Return an engine's options with the tokens of a pass under the name that the engine has for them.

    Raises:
        BadInputError: both are given, and are not the same; or this version takes a prompt in one pass.

    """
    if chunk is not None and not chosen.takes_chunks():
        expected, remedy = "no value", "this version has no prefill_chunk_size; leave it out"
        raise BadInputError("--prefill-chunk", f"{expected} for {chosen.id} {chosen.version}", chunk, remedy)
    name = chosen.chunk_option
    if chunk is None or name is None:
        return given
    if given.get(name, str(chunk)) != str(chunk):
        remedy = f"{chosen.id} has one number for both; leave one out"
        raise BadInputError("--prefill-chunk", f"{name}, {given[name]}", chunk, remedy)
    return {**given, name: str(chunk)}


def refuse_stated_cache(fields: Mapping[str, object]) -> None:
    """Refuse a cache format that the source states: it decides nothing until somebody says --kv.

    Raises:
        BadInputError: the config, or its quantization_config, has a kv_cache_scheme.

    """
    stated = fields.get("quantization_config")
    schemes = [
        fields.get("kv_cache_scheme"),
        stated.get("kv_cache_scheme") if isinstance(stated, dict) else None,
    ]
    for scheme in schemes:
        if scheme:
            remedy = "say --kv, for example --kv fp8 or --kv bf16"
            raise BadInputError("kv_cache_scheme", "nothing, or --kv beside it", scheme, remedy)


def is_share(value: object) -> bool:
    """Say whether a value is a number above 0 and at most 1.

    >>> is_share(0.9), is_share(float("nan")), is_share("0.9")
    (True, False, False)
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1


def chosen_split(chosen: Engine, where: Machine | None, stated: Mapping[str, int]) -> Split:
    """Return the ranks: what was said, the engine's way over the machine's devices otherwise.

    Raises:
        BadInputError: the ranks are not as many as the devices.

    """
    if where is None:
        return Split(**stated)
    if not {"tp", "pp", "dp"} & set(stated):
        return replace(chosen.default_split(where.count), **stated)
    split = Split(**stated)
    if split.world != where.count:
        given = f"{split.world} ranks on {where.count} devices"
        raise BadInputError(
            "--tp x --pp x --dp", "as many ranks as devices", given, "change --on or the ranks"
        )
    return split
