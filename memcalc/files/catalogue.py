"""The catalogue: models whose config.json comes with memcalc, each with its source and its date."""

from __future__ import annotations

import json
import os

from memcalc.data import folder, open_text
from memcalc.files.source import Source

__all__ = ["canonical_name", "catalogue", "nearest_names", "record"]

RECORD_FIELDS = {"id", "config", "source", "date"}
OPTIONAL_FIELDS = {"aliases", "note", "scale_bits"}


def catalogue() -> list[str]:
    """Return the names of all catalogue models.

    >>> "Qwen/Qwen3-32B" in catalogue()
    True
    """
    names = sorted(os.listdir(folder("models")))
    return [name.removesuffix(".json").replace("__", "/") for name in names if name.endswith(".json")]


def record(name: str) -> Source:
    """Return a catalogue model's record.

    Raises
    ------
    TypeError
        The record lacks its source or date, or has a field that nothing reads.

    """
    with open_text("models", name.replace("/", "__") + ".json") as file:
        fields = json.load(file)
    if not RECORD_FIELDS <= set(fields) <= (RECORD_FIELDS | OPTIONAL_FIELDS):
        needed, given = ", ".join(sorted(RECORD_FIELDS)), ", ".join(sorted(fields))
        raise TypeError(f"{name}: a record has {needed}; this one has {given}")
    found = f"{fields['source']}, {fields['date']}"
    return Source(fields["id"], fields["config"], found, scale_bits=fields.get("scale_bits"))


def canonical_name(text: str) -> str | None:
    """Return the catalogue name that a text means: whole, without its owner, or an alias; None if none.

    >>> canonical_name("qwen3-32b"), canonical_name("Qwen/Qwen3-32")
    ('Qwen/Qwen3-32B', None)
    """
    wanted = text.lower()
    for name in catalogue():
        if wanted in (name.lower(), name.partition("/")[2].lower()):
            return name
    with open_text("aliases.json") as file:
        aliases: dict[str, str] = json.load(file)
    return next((name for alias, name in aliases.items() if alias.lower() == wanted), None)


def nearest_names(text: str) -> str:
    """Return a question that offers the catalogue names most like a text; empty if none is.

    >>> nearest_names("Qwen/Qwen3-32")
    'did you mean Qwen/Qwen3-32B or Qwen/Qwen3-8B or Qwen/Qwen3-32B-FP8?'
    """
    from memcalc.errors import nearest

    names = catalogue()
    return nearest(text, names if "/" in text else (name.partition("/")[2] for name in names))
