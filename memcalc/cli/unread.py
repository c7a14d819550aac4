"""What stands in a config.json and no reader read: every answer about the model names it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memcalc.ledger.model import Model

__all__ = ["unread_fields"]


def unread_fields(model: Model) -> dict[str, object]:
    """Return the fields that were not read, as JSON shows them; most models have none, and show nothing."""
    return {"not_read": list(model.not_read)} if model.not_read else {}
