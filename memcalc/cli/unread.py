"""What stands in a config.json and no reader read: every answer about the model names it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memcalc.cli.command import Answer

if TYPE_CHECKING:
    from memcalc.ledger.model import Model

__all__ = ["naming_unread"]


def naming_unread(model: Model, answer: Answer) -> Answer:
    """Return an answer that names the fields that were not read as well; most models have none.

    Parameters
    ----------
    model : Model
        The model that the answer is about.
    answer : Answer
        What is answered otherwise: an object with named fields.

    Returns
    -------
    Answer
        The same with ``not_read`` in the object and a line more in the text.

    """
    if not model.not_read:
        return answer
    names = list(model.not_read)

    def fields() -> object:
        found: Any = answer.fields()
        return found | {"not_read": names}

    return Answer(answer.status, fields, lambda: f"{answer.text()}\n  not read: {', '.join(names)}")
