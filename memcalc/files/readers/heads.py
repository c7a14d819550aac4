"""Classes without a head over the vocabulary: embedding models, and classifiers such as rerankers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.ledger.parts import Embedding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memcalc.ledger.model import Model

__all__ = ["headless", "with_head_of"]

LABELS = 2  # of transformers' PretrainedConfig, where a config says nothing


def headless(model: Model) -> Model:
    """Return a model without its head.

    Parameters
    ----------
    model : Model
        A model that predicts tokens, or has no head already.

    """
    outside = tuple(pair for pair in model.outside if pair[0] != "lm_head")
    return replace(model, outside=outside, headless=True)


def with_head_of(model: Model, named: str, fields: Mapping[str, object]) -> Model:
    """Return a model with the head that its class in transformers has.

    Parameters
    ----------
    model : Model
        The model as its type is read: with a head over the vocabulary.
    named : str
        The class, as ``architectures`` has it.
    fields : mapping of str to object
        The config.json: its labels are read.

    """
    if named.endswith("ForSequenceClassification"):
        bare = headless(model)
        width = dict(bare.outside)["model.embed_tokens"].width  # type: ignore[attr-defined]
        score = Embedding(labels_of(fields), width, "head")
        return replace(bare, outside=(*bare.outside, ("score", score)))
    bare_class = named.endswith("Model") and not named.endswith("RewardModel")
    return headless(model) if bare_class else model


def labels_of(fields: Mapping[str, object]) -> int:
    """Return how many classes there are.

    Raises:
        BadInputError: num_labels is no whole number >= 1.

    """
    names, number = fields.get("id2label"), fields.get("num_labels", LABELS)
    if isinstance(names, dict) and names:
        return len(names)
    if type(number) is not int or number < 1:
        raise BadInputError("num_labels", "a whole number >= 1", number, "correct config.json")
    return number
