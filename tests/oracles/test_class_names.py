"""Weights are named as in their class: each word of a parameter's name trains what it trains there."""

from __future__ import annotations

import ask
import pytest
from small import DRAWN, small_config

from memcalc.errors import RefusalError
from memcalc.files.source import Source
from memcalc.training import train

# what a text model's training does not count: towers, what joins them, and weights that no gradient reaches
BESIDE = ("vision", "visual", "audio", "multi_modal", "projector", "merger", "connector", "image_", "extend")
NO_WORDS = {"model", "weight", "bias"}
BUFFERS = {"gemma4_text", "gemma4", "gemma4_unified", "gemma4_unified_text", "apertus"}  # parameters here


def words(name):
    """The words between the dots of a parameter's name."""
    return {word for word in name.split(".") if not word.isdigit()} - NO_WORDS


def trained(source, word, **options):
    """How many numbers a word trains; None if it is refused."""
    try:
        step = train(source, seq=16, trainable=(word,), **options)
    except RefusalError as error:
        assert error.field == "--trainable"  # noqa: PT017 (what is refused is the word)
        return None
    unreached = step.plan.micro_batch.architecture.unreached
    return None if unreached else step.trainable_parameters


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", [f"{kind} {seed}" for kind in DRAWN for seed in (0, 1)])
def test_words_of_a_class_train_what_they_train_there(name):
    """As in ``for name, weight in model.named_parameters(): weight.requires_grad = word in name``."""
    kind, seed = name.rsplit(" ", 1)
    fields = small_config(kind, int(seed))
    source = Source(name, fields, "drawn")
    options = {"experts": "batched_mm"} if source.model.has_experts else {}
    try:
        train(source, seq=16, **options)
    except RefusalError as error:
        pytest.skip(str(error))
    sizes = {
        one: weight.numel()
        for one, weight in ask.on_meta(fields).named_parameters()
        if not any(part in one for part in BESIDE)
    }
    asked = sorted(set().union(*map(words, sizes)))
    said = {word: trained(source, word, **options) for word in asked}
    there = {word: sum(size for one, size in sizes.items() if word in one) for word in asked}
    answered = {word for word in asked if said[word] is not None}
    assert {word: said[word] for word in answered} == {word: there[word] for word in answered}
