"""What a quantised checkpoint trains as: in its own format beneath adapters, or read as 16-bit numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import RefusalError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.files.quantization import Scheme
    from memcalc.files.source import Source
    from memcalc.ledger.model import Layer

__all__ = ["BASES", "held_as_stored", "own_base", "read_as_numbers"]

# Methods whose matrices stay as they are stored while adapters train, and which are never trained themselves.
# Source: transformers 5.23 trainer_utils.py (validate_quantization_for_training), quantizers/ (is_trainable)
HELD = ("gptq", "awq", "bitsandbytes")
BASES = ("nf4", "nf4-dq", "fp4", "fp4-dq", "int8", "gptq-int4-g128", "awq-int4-g128")


def method_of(source: Source) -> str | None:
    """Return how a source's weights are quantised, as its config says; None where it says nothing.

    >>> from memcalc.files.sources import source
    >>> method_of(source("Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4")), method_of(source("Qwen/Qwen3-0.6B"))
    ('gptq', None)
    """
    stated = source.stated("quantization_config")
    if not stated:
        return None
    return str(stated.get("quant_method", "?")) if isinstance(stated, dict) else "?"


def held_as_stored(source: Source) -> str | None:
    """Return the method whose matrices stay as they are stored; None where there is none."""
    method = method_of(source)
    return method if method in HELD else None


def own_base(source: Source) -> str | None:
    """Return the format of a source's matrices, if adapters are modelled on all of them in that format.

    >>> from memcalc.files.sources import source
    >>> own_base(source("Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4")), own_base(source("Qwen/Qwen3-32B-FP8"))
    ('gptq-int4-g128', None)
    """
    if held_as_stored(source) is None:
        return None
    try:
        scheme = source.scheme
    except RefusalError:
        return None
    if scheme is None or scheme.format.id not in BASES or not quantises_layers_alone(source, scheme):
        return None
    return scheme.format.id


def quantises_layers_alone(source: Source, scheme: Scheme) -> bool:
    """Say whether a scheme quantises all linear layers in one format, and nothing else."""
    from memcalc.ledger.formats import format_named

    if scheme.others or scheme.format.kinds != format_named(scheme.format.id).kinds:
        return False
    if not scheme.excluded:
        return True
    from memcalc.files.quantization import exclude_modules

    try:
        changed, _ = exclude_modules(source.model, scheme, format_named(source.dtype))
    except RefusalError:
        return False
    layers = zip(changed.layers, source.model.layers, strict=True)
    return not any(stores_apart(layer, before, scheme.format.kinds) for layer, before in layers)


def stores_apart(layer: Layer, before: Layer, kinds: frozenset[str]) -> bool:
    """Say whether a layer stores some tensor of these kinds in a format of its own that it had not before."""
    own = {name for name, _ in layer.formats} - {name for name, _ in before.formats}
    return any(tensor.name in own and tensor.kind in kinds for tensor in layer.weights())


def read_as_numbers(source: Source, base: str | None) -> Iterator[str]:
    """Yield what is assumed of a source whose weights are quantised, and trained as numbers of the regime."""
    method = method_of(source)
    if source.is_gguf:
        method = "GGUF"
    elif method is None:
        from memcalc.files.source import quantised_by_name

        named = quantised_by_name(source.name)
        method = None if named is None else f"({named}, by its name)"
    if method is None or method in HELD:
        return
    then = "before they train" if base is None else f"before they become {base}"
    yield f"the checkpoint's {method} weights are read as numbers of the regime {then}"
