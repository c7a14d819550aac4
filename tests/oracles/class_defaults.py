"""What a class of transformers says when its config states nothing: every size at the class's default."""

from __future__ import annotations

import json

import ask
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

TYPES = tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
RUN = (1, 24)
# What a class raises that needs a size for which it has no default, or whose defaults contradict each other.
UNBUILT = (*ask.REFUSALS, AttributeError, AssertionError, RuntimeError, KeyError, ImportError)
# What a class raises whose forward pass looks at numbers, which the meta device has not.
UNRUN = (*UNBUILT, NotImplementedError, IndexError, StopIteration)
UNASKED = UNRUN  # of encoders and decoders of other kinds, which have no words for what is asked


def config(model_type):
    """A config.json that says nothing but its type."""
    return {"model_type": model_type}


def reason(error):
    """What a class raises, in one line."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]


def built(model_type):
    """The class's model, or why it cannot be built, in one line."""
    try:
        return ask.on_meta(config(model_type))
    except UNBUILT as error:
        return reason(error)


def figures(model_type):
    """Counts, names and shapes of a class, and its cache where it runs on the meta device."""
    model = ask.on_meta(config(model_type))
    said = {**ask.counts(model), "tensors": ask.digest(ask.tensors(model))}
    batch, tokens = RUN
    try:
        cached = ask.cache_in_short(ask.run(model, batch, tokens))
    except UNRUN:
        return said
    return {**said, "cache": {f"{batch} x {tokens}": cached}}


def recorded(model_type):
    """What is recorded of a type: its figures, or why there are none, whether memcalc has a reader or not."""
    model = built(model_type)
    if isinstance(model, str):
        return {"unbuilt": model}
    try:
        return {"figures": json.loads(json.dumps(figures(model_type)))}
    except UNASKED as error:
        return {"unasked": reason(error)}
