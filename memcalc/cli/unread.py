"""What a model's config.json says and no reader reads stands in the answer, whatever was asked of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from memcalc.ledger.model import Model

    Answer = tuple[int, Callable[[], dict[str, object]], Callable[[], str]]

__all__ = ["naming_unread"]


def naming_unread(model: Model, answer: Answer) -> Answer:
    """Return an answer that also names the fields that were not read; most models have none."""
    if not model.not_read:
        return answer
    status, fields, text = answer
    named = list(model.not_read)
    return status, lambda: fields() | {"not_read": named}, lambda: f"{text()}\n  not read: {', '.join(named)}"
