"""Weights are named as in their class: each word of a parameter's name trains what it trains there."""

from __future__ import annotations

import ask
import pytest
from small import DRAWN, small_config

from memcalc.errors import RefusalError
from memcalc.files.source import Source
from memcalc.training import train

# what a text model's training does not count: towers, and what joins them
BESIDE = ("vision", "visual", "audio", "multi_modal", "projector", "merger", "connector", "image_", "extend")
NO_WORDS = {"model", "weight", "bias"}
# words that are refused: biases alone, and the root of a text model that files do not have
REFUSED = ("_bias", "language_model")


def words(name):
    """The words between the dots of a parameter's name."""
    return {word for word in name.split(".") if not word.isdigit()} - NO_WORDS


def trained(source, word, **options):
    """How many numbers a word trains; None if it is refused."""
    try:
        return train(source, seq=16, trainable=(word,), **options).trainable_parameters
    except RefusalError as error:
        assert error.field == "--trainable"  # noqa: PT017 (what is refused is the word)
        return None


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", [f"{kind} {seed}" for kind in DRAWN for seed in (0, 1)])
def test_words_of_a_class_train_what_they_train_there(name):
    """As in ``for name, weight in model.named_parameters(): weight.requires_grad = word in name``.

    Numbers that no gradient reaches, as those of an indexer, have no states, and are none that train.
    """
    kind, seed = name.rsplit(" ", 1)
    fields = small_config(kind, int(seed))
    source = Source(name, fields, "drawn")
    options = {"experts": "batched_mm"} if source.model.has_experts else {}
    unreached = train(source, seq=16, **options).plan.micro_batch.architecture.unreached
    sizes = {
        one: weight.numel()
        for one, weight in ask.on_meta(fields).named_parameters()
        if not any(part in one for part in BESIDE)
    }
    reached = {one: n for one, n in sizes.items() if not any(f".{end}." in one for end in unreached)}
    asked = set().union(*map(words, sizes))
    there = {word: sum(size for one, size in reached.items() if word in one) for word in asked}
    said = {word: trained(source, word, **options) for word in asked}
    answered = {word: numbers for word, numbers in said.items() if numbers is not None}
    assert answered == {word: there[word] for word in answered}
    assert all(word.endswith(REFUSED) or not there[word] for word in asked - answered.keys())
