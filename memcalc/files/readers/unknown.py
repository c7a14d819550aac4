"""The refusal of a type that no reader knows: what is near it, and what answers all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import UnknownNameError, meant

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["refusal"]

LONGEST = 40  # characters of a type that are shown: the line has 300 at most
OTHERWISE = "or its .safetensors or .gguf alone (weights), or --via transformers"


def refusal(fields: Mapping[str, object], known: Collection[str]) -> UnknownNameError:
    """Return the error for a config of an unknown type, in a line of at most 300 characters.

    >>> print(refusal({"model_type": "new", "text_config": {"model_type": "llama"}}, ["llama"]))
    model_type: expected a type that has a reader, given 'new'; give its text_config (llama) as a \
config.json of its own, or its .safetensors or .gguf alone (weights), or --via transformers
    """
    model_type = fields.get("model_type")
    near = ", ".join(meant(model_type, known))
    words = [f"nearest: {near}; "] if near else []
    text = fields.get("text_config")
    inside = text.get("model_type") if isinstance(text, dict) else None
    if isinstance(inside, str) and inside in known:
        words.append(f"give its text_config ({inside}) as a config.json of its own, {OTHERWISE}")
    else:
        words.append(f"give {OTHERWISE.removeprefix('or ')}")
    given = model_type[:LONGEST] if isinstance(model_type, str) else model_type
    return UnknownNameError("model_type", "a type that has a reader", given, "".join(words))
