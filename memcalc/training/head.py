"""A head that is its embedding, by itself: adapters and copies belong to one of the two."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.ledger.parts import Embedding

if TYPE_CHECKING:
    from memcalc.ledger.model import Model

__all__ = ["HEAD", "with_head_apart"]

HEAD = "lm_head"


def with_head_apart(model: Model) -> Model:
    """Return a model whose tied head is a part of its own: PEFT wraps or copies it without the embedding."""
    if not model.tied:
        return model
    table = dict(model.outside)["model.embed_tokens"]
    head = Embedding(table.vocab, table.width, "head")  # type: ignore[attr-defined]
    return replace(model, outside=(*model.outside, (HEAD, head)), tied=False)
