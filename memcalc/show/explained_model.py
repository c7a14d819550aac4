"""A model derived: its parameters tensor by tensor, and what is cached of a token and of a sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.ledger.model import cache_growth
from memcalc.show.explanation import Explanation
from memcalc.show.named import named_model
from memcalc.show.steps import Section, Step, Sum
from memcalc.show.traced import Names, expression_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from memcalc.files.header_alone import Group, StoredWeights
    from memcalc.ledger.model import Model
    from memcalc.ledger.tensor import Tensor

__all__ = ["explained_header", "explained_model"]

FAR = 2**40  # beyond every window
CACHE_SAID = {
    "bytes_per_token": "added by a token once every window is full",
    "bytes_per_token_in_window": "added by a token while every window still grows",
    "state_bytes_per_sequence": "states of a sequence",
}


def explained_model(
    model: Model,
    growth: Callable[[Model], dict[str, int]] = cache_growth,
    *,
    defaults: Sequence[str] = (),
    facts: Sequence[str] = (),
) -> Explanation:
    """Return where a model's numbers come from.

    Parameters
    ----------
    model : Model
        What was read.
    growth : callable, default `cache_growth`
        Gives what is cached of a token and of a sequence, by the architecture or by an engine's rules.
    defaults, facts : sequence of str, optional
        What was chosen, and what else is said above.

    """
    names = Names()
    named = named_model(model, names)
    return Explanation(
        "model",
        f"{model.name} ({model.model_type}, {model.depth} layers)",
        [section for section in sections(model, named, growth, names) if section.steps],
        model=model.name,
        defaults=defaults,
        facts=(*facts, *unknown(model)),
        answer=model.parameters,
        said="{} parameters",
    )


def unknown(model: Model) -> Iterator[str]:
    """Yield why the cache is not known, where it is not."""
    if model.cache_unknown:
        yield f"cache a token: unknown, because {model.cache_unknown}"


def sections(
    model: Model, named: Model, growth: Callable[[Model], dict[str, int]], names: Names
) -> Iterator[Section]:
    """Yield the parameters, those that a token uses, the cache, and what the parameters leave out."""
    weights = [(one, also) for one, also in zip(model.weights(), named.weights(), strict=True)]
    own = [pair for pair in weights if pair[0].kind != "buffer"]
    yield counted("parameters", "parameters", steps_of(own, "count"))
    if model.active_parameters != model.parameters:
        yield counted("parameters that a token uses", "active", steps_of(own, "active"))
    yield from cache_sections(model, named, growth, names)
    mtp = [pair for one, also in zip(model.mtp, named.mtp, strict=True) for pair in pairs(one, also)]
    yield counted("layers for multi-token prediction, not counted above", "mtp", steps_of(mtp, "count"))
    vision = zip(model.vision_weights(), named.vision_weights(), strict=True)
    tower = [pair for pair in vision if pair[0].kind != "buffer"]
    yield counted("vision tower, not counted above", "vision", steps_of(tower, "count"))
    both = (*weights, *zip(model.vision_weights(), named.vision_weights(), strict=True))
    buffers = [pair for pair in both if pair[0].kind == "buffer"]
    yield counted("buffers, which are no parameters", "buffers", steps_of(buffers, "count"))


def cache_sections(
    model: Model, named: Model, growth: Callable[[Model], dict[str, int]], names: Names
) -> Iterator[Section]:
    """Yield what a token adds, tensor by tensor where that is the architecture's, and the states."""
    sizes, said = growth(model), growth(named)
    if not sizes:
        return
    steps = tuple(token_steps(named, names)) if growth is cache_growth and model.period == 1 else ()
    far, (first, *others) = sum(step.value for step in steps), CACHE_SAID
    if steps and far == sizes[first]:
        total = Sum("a token", tuple((step.name, step.value) for step in steps), far)
        yield Section("cache: what a token adds once every window is full, 16-bit", steps, (total,))
        others = [name for name in others if sizes[name] not in (0, far)]
    else:
        others = [first, *others]
    found = (Step(CACHE_SAID[name], "cache", sizes[name], expression_of(said[name])) for name in others)
    yield Section("cache of all layers, 16-bit", tuple(found))


def token_steps(named: Model, names: Names) -> Iterator[Step]:
    """Yield what one more token adds to each tensor of the cache."""
    before, after = (named.cache(1, tokens) for tokens in (FAR, FAR + 1))
    for one, more in zip(before, after, strict=True):
        numbers = more.count - one.count
        if one.kind == "cache" and numbers:
            size = numbers * names("bytes_per_element", 8 if one.format == "int64" else 2)
            yield Step("kv_cache", one.name, int(size), expression_of(size))


def pairs(one: object, also: object) -> Iterable[tuple[Tensor, Tensor]]:
    """Return the weights of a layer, and the same with named numbers."""
    return zip(one.weights(), also.weights(), strict=True)  # type: ignore[attr-defined]


def steps_of(found: Iterable[tuple[Tensor, Tensor]], what: str) -> tuple[Step, ...]:
    """Return a step for each tensor: how many numbers it has, or a token uses."""
    return tuple(
        Step(one.kind, one.name, getattr(one, what), expression_of(getattr(also, what)))
        for one, also in found
    )


def counted(heading: str, name: str, steps: tuple[Step, ...]) -> Section:
    """Return a section of numbers, and their sum by the kinds of tensors."""
    by_kind: dict[str, int] = {}
    for step in steps:
        by_kind[step.component] = by_kind.get(step.component, 0) + step.value
    total = Sum(name, tuple(by_kind.items()), sum(by_kind.values()))
    return Section(heading, steps, (total,), unit="numbers")


def explained_header(stored: StoredWeights, defaults: Sequence[str] = ()) -> Explanation:
    """Return where the bytes of a header alone come from: no reader knows what its tensors mean."""
    steps = tuple(
        Step("weights", one.name, int(one.bytes), words=of_group(one), source="the header")
        for one in stored.groups
    )
    size, tensors = stored.bytes, len(stored.header.tensors)
    known = size is not None
    total = (Sum("file", (("weights", int(size)),), int(size)),) if size is not None else ()
    return Explanation(
        "model",
        f"{stored.name} ({stored.architecture or 'no config.json'}, by its header alone)",
        [Section("tensors of the file", steps, total)] if known else [],
        model=stored.name,
        defaults=defaults,
        facts=() if known else ("the index does not state sizes",),
        answer=tensors if size is None else int(size),
        said="{} bytes of tensors" if known else "{} tensors",
    )


def of_group(one: Group) -> str:
    """Return a group of equal tensors in words: how many, of what shape and type."""
    if one.info is None:
        return f"{one.times:,} tensors"
    shape = " x ".join(f"{size:,}" for size in one.info.shape) or "1"
    return f"{one.times:,} x ({shape}) as {one.info.dtype}"
