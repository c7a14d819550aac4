"""The refusal of a type that no reader knows: what is near it, and what answers all the same."""

from __future__ import annotations

import json
import re
from collections import Counter
from math import log
from typing import TYPE_CHECKING

from memcalc.data import open_text
from memcalc.errors import UnknownNameError, meant

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

__all__ = ["nearest_by_fields", "refusal"]

LONGEST = 40  # characters of a type that are shown: the line has 300 at most
OTHERWISE = "or its .safetensors or .gguf alone (weights), or --via transformers"
INSIDE = ("text_config", "thinker_config", "llm_config", "language_config")  # where a text model may stand
ALIKE = 0.3  # below it two classes share the fields that every class has
MISSING = 0.3  # what a field weighs that a class knows and the config does not state: files leave much out
ROTATION = {"rope_theta", "rope_scaling", "rope_parameters"}  # releases call the same by one or the other
SAME_WORD, PART_OF_WORD = 0.2, 0.15  # what the name of a type adds


def refusal(fields: Mapping[str, object], known: Collection[str]) -> UnknownNameError:
    """Return the error for a config of an unknown type, in a line of at most 300 characters.

    >>> print(refusal({"model_type": "new", "text_config": {"model_type": "llama"}}, ["llama"]))
    model_type: expected a type that has a reader, given 'new'; give its text_config (llama) as a \
config.json of its own, or its .safetensors or .gguf alone (weights), or --via transformers
    """
    model_type = fields.get("model_type")
    by_fields = nearest_by_fields(fields, known)
    near = f"{by_fields} by its fields" if by_fields else ", ".join(meant(model_type, known))
    words = [f"nearest: {near}; "] if near else []
    for place in INSIDE:
        text = fields.get(place)
        inside = text.get("model_type") if isinstance(text, dict) else None
        if isinstance(inside, str) and inside in known:
            words.append(f"give its {place} ({inside}) as a config.json of its own, {OTHERWISE}")
            break
    else:
        words.append(f"give {OTHERWISE.removeprefix('or ')}")
    given = model_type[:LONGEST] if isinstance(model_type, str) else model_type
    return UnknownNameError("model_type", "a type that has a reader", given, "".join(words))


def nearest_by_fields(fields: Mapping[str, object], known: Collection[str]) -> str:
    """Return the known type whose class declares the fields most like a config's; empty if none is.

    A field weighs the more, the fewer classes declare it; the first word of a type's name counts a little.

    >>> nearest_by_fields({"model_type": "new", "num_experts": 8, "attn_config": {}}, ["llama"])
    ''
    """
    text = next((one for name in INSIDE if isinstance(one := fields.get(name), dict) and one), fields)
    model_type = str(fields.get("model_type"))
    classes = [(name, its) for name, its in declared() if name in known and "text_config" not in its]
    times = Counter(field for _, its in classes for field in its)
    weight = {field: log((len(classes) + 1) / (often + 0.5)) for field, often in times.items()}

    def weigh(some: Collection[str]) -> float:
        return sum(weight.get(field, 0.0) for field in some)

    own, found, most = set(text) - ROTATION, "", ALIKE
    order = {name: place for place, name in enumerate(known)}  # of equal ones the first: the plainer reader
    for name, its in sorted(classes, key=lambda one: order[one[0]]):
        both = weigh(own & its)
        whole = both + weigh(own - its) + MISSING * weigh(its - own)
        score = (both / whole if whole else 0.0) + likeness(name, model_type)
        if both > 0 and score > most + 1e-9:
            found, most = name, score
    return found


def declared() -> Iterator[tuple[str, set[str]]]:
    """Yield each type with the fields that its class declares, without those that every class has."""
    common = set(ROTATION)
    for source in ("config_classes.jsonl", "published_classes.jsonl"):
        with open_text(source) as file:
            for line in file:
                record = json.loads(line)
                common |= set(record.get("of_all_classes", ()))
                if "model_type" in record:
                    yield record["model_type"], {*record["defaults"], *record["aliases"]} - common


def likeness(one: str, other: str) -> float:
    """Return what two names of types add: their first words are the same, or one holds the other.

    >>> likeness("llama", "mllama"), likeness("bailing_hybrid", "bailing_moe"), likeness("glm4", "gpt2")
    (0.15, 0.2, 0.0)
    """
    first, second = (re.match("[a-z]*", name.lower())[0] for name in (one, other))  # type: ignore[index]
    if first == second:
        return SAME_WORD
    short, long = sorted((first, second), key=len)
    return PART_OF_WORD if len(short) > 3 and short in long else 0.0
