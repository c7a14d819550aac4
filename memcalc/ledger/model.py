"""A model is a tuple of layers, and what stands before and after them."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from itertools import repeat
from math import lcm
from typing import TYPE_CHECKING, Any

from memcalc.data.record import Record, record
from memcalc.data.units import gb, gib
from memcalc.errors import BadInputError, not_read_rows
from memcalc.ledger.parts.plain import Part
from memcalc.ledger.tensor import Tensor, ceil_div, count, least, under

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    from memcalc.ledger.parts.plain import Kept

    Named = tuple[tuple[str, Part], ...]
    Formats = tuple[tuple[str, str], ...]

__all__ = ["Layer", "Model", "cache_growth", "everything", "summary"]

# how the names begin of what stands before the layers; the last makes AltUp's streams
BEFORE = ("model.embed_", "model.per_layer_", "model.altup_projections")


def everything(context: int, window: int | None) -> int:
    """Keep what the architecture needs: the tokens that a window can still see, or all of them.

    >>> everything(8192, None), everything(8192, 4096)
    (8192, 4096)
    """
    return context if window is None else least(context, window)


@record
class Layer(Record):
    """Parts under the names the checkpoint gives them; `times` equal layers where that is a symbol.

    `formats` are tensors of the layer that a checkpoint stores in another format than their kind, `pools`
    those that lie in other memory than the devices', and the caches of parts that do.
    """

    parts: Named
    times: int = 1
    formats: tuple[tuple[str, str], ...] = ()
    pools: tuple[tuple[str, str], ...] = ()

    def weights(self) -> Iterator[Tensor]:
        """Yield the weights of one such layer."""
        return iter(self._weights)

    @cached_property
    def _weights(self) -> tuple[Tensor, ...]:
        plain = (tensor for name, part in self.parts for tensor in under(name, part.weights()))
        if not self.formats and not self.pools:
            return tuple(plain)
        forms, pools = dict(self.formats), dict(self.pools)
        own = ((one, forms.get(one.name, one.format), pools.get(one.name, one.pool)) for one in plain)
        return tuple(Tensor(*one[:-2], form, pool) for one, form, pool in own)

    def repeated(self, times: int) -> Layer:
        """Return so many equal layers, whose weights are listed once for all."""
        again = replace(self, times=times)
        vars(again).update(_weights=self._weights, remembering=self.remembering)
        return again

    def cache(self, batch: int, context: int, kept: Kept) -> Iterator[Tensor]:
        """Yield what one such layer remembers."""
        for name, part in self.remembering:
            yield from under(name, part.cache(batch, context, kept))

    @cached_property
    def remembering(self) -> Named:
        """The parts that have a cache at all."""
        own = (pair for pair in self.parts if type(pair[1]).cache is not Part.cache)
        return tuple((name, part) for name, part in own if not getattr(part, "borrows", False))


@record
class Model(Record):
    """Layers, the parts before and after them, and what else the checkpoint carries.

    `outside` holds embedding, final norm and head; a `tied` head is the embedding and is not listed twice.
    `max_context` is the model's own limit in tokens; `rotary_positions` are the rows of its RoPE's tables.
    `mtp` holds the layers for multi-token prediction that a checkpoint stores and most engines do not load,
    `vision` those of the vision tower: neither is part of `weights`.
    `not_read` names fields of its config.json, with their values, that were not read and are not known to be
    harmless; `class_defaults` sizes that it does not state, with the values of its class in transformers.
    `headless` models give no logits of the vocabulary; `text_type` is the type of a nested text model.
    `via` says which library listed the tensors where no reader knows the type; `cache_unknown` why it could
    not tell the cache, which nobody may count then. `state_dtype` is what its config asks of states.
    """

    name: str
    model_type: str
    layers: tuple[Layer, ...]
    outside: Named = ()
    tied: bool = False
    max_context: int | None = None
    rotary_positions: int | None = None
    mtp: tuple[Layer, ...] = ()
    vision: tuple[Layer, ...] = ()
    outside_pools: tuple[tuple[str, str], ...] = ()
    not_read: tuple[str, ...] = ()
    class_defaults: tuple[str, ...] = ()
    headless: bool = False
    via: str = ""
    cache_unknown: str = ""
    text_type: str = ""
    state_dtype: str = ""

    @property
    def depth(self) -> int:
        """Number of layers."""
        return sum(layer.times for layer in self.layers)

    @property
    def has_experts(self) -> bool:
        """Whether a layer sends tokens to experts."""
        return any(hasattr(part, "experts") for layer in self.groups for _, part in layer.parts)

    @cached_property
    def windows(self) -> frozenset[int]:
        """The windows of its layers, in tokens."""
        found = (getattr(part, "window", None) for layer in self.groups for _, part in layer.parts)
        return frozenset(window for window in found if window is not None)

    @cached_property
    def period(self) -> int:
        """The tokens after which a cache has grown by a whole number of entries in every layer."""
        found = (getattr(part, "compress_rate", None) for layer in self.groups for _, part in layer.parts)
        return lcm(*(rate for rate in found if type(rate) is int))

    @cached_property
    def groups(self) -> tuple[Layer, ...]:
        """Equal layers once, with how many there are: what counting and formulas walk."""
        shared: dict[int, tuple[Layer, int]] = {}
        for layer in self.layers:  # equal layers are one object nearly everywhere: few are left to compare
            _, times = shared.get(id(layer), (layer, 0))
            shared[id(layer)] = layer, times + layer.times
        found: dict[tuple[Named, Formats, Formats], tuple[Layer, int]] = {}
        for layer, times in shared.values():
            alike = layer.parts, layer.formats, layer.pools
            found[alike] = layer, found.get(alike, (layer, 0))[1] + times
        return tuple(layer.repeated(times) for layer, times in found.values())

    def weights(self) -> Iterator[Tensor]:
        """Yield every weight, equal layers together (``{layer}`` stands in the name)."""
        return iter(self._weights)

    @cached_property
    def _weights(self) -> tuple[Tensor, ...]:
        pools = dict(self.outside_pools)
        outside = (
            tensor._replace(pool=pools.get(name, tensor.pool))
            for name, part in self.outside
            for tensor in under(name, part.weights())
        )
        inside = (
            tensor._replace(name=f"model.layers.{{layer}}.{tensor.name}", layers=layer.times)
            for layer in self.groups
            for tensor in layer.weights()
        )
        return (*outside, *inside)

    def each_weight(self) -> Iterator[Tensor]:
        """Yield every weight under its own name; `files.tensor_names` says how a checkpoint spells it."""
        for name, part in self.outside:
            yield from under(name, part.weights())
        for index, layer in enumerate(self.layers):
            for tensor in under(f"model.layers.{index}", layer.weights()):
                if tensor.active_experts is None:
                    yield tensor
                else:
                    for expert in range(tensor.experts):
                        name = tensor.name.replace("{expert}", str(expert))
                        yield tensor._replace(name=name, experts=1, active_experts=None)

    def cache(self, batch: int, context: int, kept: Kept = everything) -> Iterator[Tensor]:
        """Yield what is cached of sequences, equal layers together.

        Parameters
        ----------
        batch : int
            Sequences.
        context : int
            Tokens of each.
        kept : callable, default `everything`
            How many of them a layer keeps, by tokens and window: the engine's rule.

        """
        if self.cache_unknown:
            expected, remedy = "one that is understood", "`memcalc model` answers"
            raise BadInputError("cache", expected, self.cache_unknown, remedy)
        for layer in self.groups:
            pools = dict(layer.pools)
            for name, part in layer.remembering:  # not by way of Layer.cache: plans ask this a hundred times
                for tensor in part.cache(batch, context, kept):
                    full = f"model.layers.{{layer}}.{name}.{tensor.name}"
                    pool = pools.get(name, tensor.pool)
                    yield Tensor(full, *tensor[1:4], layer.times, *tensor[5:8], pool)  # half of _replace

    @property
    def logits_width(self) -> int | None:
        """Numbers that the head gives for one token; None for a pipeline stage without a head."""
        parts = dict(self.outside)
        if self.headless or "model.norm" not in parts:  # the final norm stands before the head, tied or not
            return None
        head = parts.get("lm_head", parts.get("model.embed_tokens"))
        return None if head is None else head.vocab  # type: ignore[attr-defined]

    @property
    def parameters(self) -> int:
        """Trainable numbers, tied ones once, buffers and multi-token prediction left out."""
        return count(tensor for tensor in self.weights() if tensor.kind != "buffer")

    @property
    def active_parameters(self) -> int:
        """Parameters that one token uses, the input embedding included."""
        return sum(tensor.active for tensor in self.weights() if tensor.kind != "buffer")

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the input embedding."""
        return count(tensor for tensor in self.weights() if tensor.kind == "embedding")

    @property
    def buffer_values(self) -> int:
        """Numbers of the checkpoint's buffers, those of the vision tower too, which are no parameters."""
        both = (*self.weights(), *self.vision_weights())
        return count(tensor for tensor in both if tensor.kind == "buffer")

    @property
    def mtp_parameters(self) -> int:
        """Numbers of the layers for multi-token prediction, router bias included, embedding and head not."""
        return sum(count(layer.weights()) for layer in self.mtp)

    def vision_weights(self) -> Iterator[Tensor]:
        """Yield the weights of the vision tower and of its projection, equal layers together."""
        for layer in self.vision:
            for tensor in layer.weights():
                yield Tensor(*tensor[:4], layer.times, *tensor[5:])

    @cached_property
    def vision_parameters(self) -> int:
        """Parameters of the vision tower and of its projection."""
        return count(tensor for tensor in self.vision_weights() if tensor.kind != "buffer")

    def map_layers(
        self, change: Callable[[Layer, Any], Layer], keys: Iterable[Hashable] | None = None
    ) -> Model:
        """Return the model with every layer changed, those for multi-token prediction too.

        Equal layers are one object nearly everywhere, so that counting need not compare them: those that are
        one, and have the same key, are changed once and stay one.

        Parameters
        ----------
        change : callable
            Takes a layer and its key, and returns the new layer.
        keys : iterable, optional
            What else the change depends on, one for each layer; default None for each.

        Returns
        -------
        Model
            The model with the new layers; all else is as it was.

        Examples
        --------
        >>> from memcalc.ledger.parts import Norm
        >>> model = Model("small", "llama", (Layer((("norm", Norm(8)),)),) * 4)
        >>> mixed = model.map_layers(
        ...     lambda layer, form: replace(layer, formats=(("norm.weight", form),)),
        ...     keys=("fp32", "bf16", "bf16", "fp32"))
        >>> [layer.times for layer in mixed.groups]
        [2, 2]

        """
        depth, every = len(self.layers), (*self.layers, *self.mtp)
        given = repeat(None, len(every)) if keys is None else keys
        alike = [(id(layer), key) for layer, key in zip(every, given, strict=True)]
        made = {pair: change(layer, pair[1]) for pair, layer in dict(zip(alike, every, strict=True)).items()}
        layers = tuple(made[pair] for pair in alike)
        return replace(self, layers=layers[:depth], mtp=layers[depth:])

    def stage(self, first: int, last: int) -> Model:
        """Return the model of a pipeline stage: layers first..last-1, embedding and head at the ends.

        The vision tower stands before the first layer: what it sees takes the place of embeddings.
        """
        end = len(self.layers)
        for layer in {id(one): one for one in self.layers[first:last]}.values() if first else ():
            if any(getattr(part, "again", False) for _, part in layer.parts):
                expected = "1 for a model whose layers share a block"
                remedy = "it would have to lie on each stage"
                raise BadInputError("--pp", expected, f"a stage from layer {first} on", remedy)
        keep = {"model.embed_tokens": first == 0 or (self.tied and last == end), "model.norm": last == end}
        here = {True: first == 0, False: last == end}
        outside = tuple(pair for pair in self.outside if keep.get(pair[0], here[pair[0].startswith(BEFORE)]))
        vision = self.vision if first == 0 else ()
        return replace(self, layers=self.layers[first:last], outside=outside, vision=vision)

    def __repr__(self) -> str:
        return "\n".join(summary(self, cache_growth(self)))

    def _repr_html_(self) -> str:
        from html import escape

        first, *rows = summary(self, cache_growth(self))
        cells = "".join(f"<div style='white-space:pre-wrap'>{escape(row.strip())}</div>" for row in rows)
        return f'<div class="memcalc"><strong>{escape(first)}</strong>{cells}</div>'


def cache_growth(
    model: Model, kept: Kept = everything, states: Iterable[Tensor] | None = None
) -> dict[str, int]:
    """Return the bytes that a token adds once every window is full, and before; those of a sequence's states.

    Tokens and convolutions have 16 bits. Where an entry stands for several tokens it is the mean of a period,
    rounded up to whole bytes. `kept` is the rule for windows, by default the architecture's; `states` is the
    cache of one sequence as an engine allocates it. Of an unknown cache nothing is said.
    """
    if model.cache_unknown:
        return {}
    far, period = 2**40, model.period  # beyond every window

    def growth(context: int, rule: Kept) -> int:
        ends = (model.cache(1, tokens, rule) for tokens in (context, context + period))
        before, after = (
            sum((8 if one.format == "int64" else 2) * one.count for one in end if one.kind == "cache")
            for end in ends
        )
        return ceil_div(after - before, period)

    of_a_sequence = model.cache(1, 1) if states is None else states
    return {
        "bytes_per_token": growth(far, kept),
        "bytes_per_token_in_window": growth(0, lambda context, _window: context),
        "state_bytes_per_sequence": sum(
            tensor.count * (4 if tensor.format == "fp32" else 2)
            for tensor in of_a_sequence
            if tensor.kind == "state"
        ),
    }


def summary(model: Model, growth: dict[str, int]) -> list[str]:
    """Return the lines that say what a model is; with letters in place of numbers, its name alone."""
    title = f"{model.name} ({model.model_type}, {model.depth} layers)"
    if type(model.parameters) is not int:
        return [title]
    far, near, state = growth.values() or (0, 0, 0)
    cache = f"unknown, because {model.cache_unknown}" if model.cache_unknown else f"{far:,} B (16-bit)"
    vision = model.vision_parameters
    window = "" if far == near else f", {near:,} B while every window still grows"
    rows = {
        "parameters": f"{model.parameters:,}",
        "active a token": f"{model.active_parameters:,}",
        "vision tower": f"{vision:,} parameters (not included above)" if vision else "",
        "cache a token": f"{cache}{window}",
        "state a sequence": f"{state:,} B" if state else "",
        "as 16-bit weights": f"{gib(2 * model.parameters)} = {gb(2 * model.parameters)}",
        **not_read_rows(model.not_read, mark=":"),
        "class defaults": ", ".join(model.class_defaults),
    }
    return [title, *(f"  {name:<18} {text}" for name, text in rows.items() if text)]
