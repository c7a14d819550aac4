"""Compressed attention: which engines are understood with it, and how its waiting tokens are kept.

Its cache has entries that stand for several tokens, made by a compressor that remembers the tokens before the
next entry. Engines lay that out in ways of their own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.ledger.formats import Format

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.files.readers.deepseek_v4 import CompressedAttention
    from memcalc.ledger.model import Layer, Model

__all__ = ["BYTES", "POOLED", "compressed_parts", "is_compressed", "keeping", "refuse_compressed"]


# whole blocks of an engine's pool, whatever lies in them
POOLED, BYTES = "blocks of the pool", Format("bytes", 8)


def is_compressed(model: Model) -> bool:
    """Say whether a model's attention is of the kind that has entries for several tokens."""
    return any(hasattr(part, "compress_rate") for layer in model.groups for _, part in layer.parts)


def refuse_compressed(model: Model, engine: str) -> None:
    """Refuse a cache whose entries stand for several tokens, and indexers that select blocks.

    Raises:
        BadInputError: the model has one.

    """
    parts = (part for layer in model.groups for _, part in layer.parts)
    if is_compressed(model) or any(hasattr(part, "selects_blocks") for part in parts):
        expected = "a cache that keeps tokens, and no entries made of several or chosen by blocks"
        remedy = f"how {engine} lays them out is not understood yet; transformers answers"
        raise BadInputError(f"--engine {engine}", expected, f"{model.model_type}: {model.name}", remedy)


def keeping(model: Model, waiting: str) -> Model:
    """Return the model with the tokens that have no entry yet kept in a way of `CompressedAttention`."""

    def kept(layer: Layer, _key: object) -> Layer:
        parts = ((name, part, hasattr(part, "waiting")) for name, part in layer.parts)
        changed = ((name, replace(part, waiting=waiting) if mine else part) for name, part, mine in parts)
        return replace(layer, parts=tuple(changed))

    return model.map_layers(kept)


def compressed_parts(model: Model) -> Iterator[tuple[CompressedAttention, int]]:
    """Yield the parts of compressed attention, and how many layers have each."""
    for layer in model.groups:
        for _, part in layer.parts:
            if hasattr(part, "compress_rate"):
                yield part, layer.times  # type: ignore[misc]  # it is one
