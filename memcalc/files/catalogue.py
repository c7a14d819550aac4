"""The catalogue: models whose config.json comes with memcalc, each with its source and its date."""

from __future__ import annotations

import json
import os
from functools import cache

from memcalc.data import folder, open_text
from memcalc.files.source import Source

__all__ = ["canonical_name", "catalogue", "nearest_names", "record", "relatives"]

RECORD_FIELDS = {"id", "config", "source", "date"}
VARIANTS = {"base", "pt", "instruct", "it", "chat", "hf", "meta"}  # words of names that change no shape
MOST_OFFERED = 8  # names that a question offers at most
LONGEST_OFFER = 100  # characters that they take at most
OPTIONAL_FIELDS = {"aliases", "note", "scale_bits"}


def catalogue() -> list[str]:
    """Return the names of all catalogue models.

    >>> "Qwen/Qwen3-32B" in catalogue()
    True
    """
    return list(listed())


@cache
def listed() -> tuple[str, ...]:
    """Return the same, of which the folder is asked once a process."""
    names = sorted(os.listdir(folder("models")))
    return tuple(name.removesuffix(".json").replace("__", "/") for name in names if name.endswith(".json"))


def record(name: str) -> Source:
    """Return a catalogue model's record.

    Raises
    ------
    TypeError
        The record lacks its source or date, or has a field that nothing reads.

    """
    with open_text("models", name.replace("/", "__") + ".json") as file:
        text = file.read()
    fields = json.loads(text)
    if not RECORD_FIELDS <= set(fields) <= (RECORD_FIELDS | OPTIONAL_FIELDS):
        needed, given = ", ".join(sorted(RECORD_FIELDS)), ", ".join(sorted(fields))
        raise TypeError(f"{name}: a record has {needed}; this one has {given}")
    found = f"{fields['source']}, {fields['date']}"
    said = Source(fields["id"], fields["config"], found, scale_bits=fields.get("scale_bits"))
    said.recorded = text
    return said


def canonical_name(text: str) -> str | None:
    """Return the catalogue name that a text means: whole, without its owner, or an alias; None if none.

    >>> canonical_name("qwen3-32b"), canonical_name("DeepSeek-R1-0528"), canonical_name("Qwen/Qwen3-32")
    ('Qwen/Qwen3-32B', 'deepseek-ai/DeepSeek-R1', None)
    """
    wanted, names = text.lower(), listed()
    if text in names:  # the usual case
        return text
    same = [name for name in names if name.lower() == wanted]
    same = same or [name for name in names if name.partition("/")[2].lower() == wanted]
    if len(same) == 1:
        return same[0]
    with open_text("aliases.json") as file:
        aliases: dict[str, str] = json.load(file)
    meant = (
        name for alias, name in aliases.items() if wanted in (alias.lower(), alias.lower().partition("/")[2])
    )
    return next(meant, None)


def family_name(text: str) -> str:
    """Return a name without its owner, and without the words for a base, a tuned or a converted model.

    >>> family_name("meta-llama/Meta-Llama-3.1-8B"), family_name("Llama-3.1-8B-Instruct")
    ('llama-3.1-8b', 'llama-3.1-8b')
    """
    words = text.lower().rpartition("/")[2].replace("_", "-").split("-")
    return "-".join(word for word in words if word not in VARIANTS)


def relatives(text: str) -> list[str]:
    """Return the catalogue names of the family that a text names, of its owner if it names one.

    Base models and tuned ones have the same shapes.

    >>> relatives("Llama-3.1-8B-Instruct"), relatives("someone/Llama-3.1-8B-Instruct")
    (['meta-llama/Meta-Llama-3.1-8B'], [])
    """
    owner, family = text.lower().rpartition("/")[0], family_name(text)
    same = (name for name in catalogue() if family_name(name) == family)
    return [name for name in same if owner in ("", name.lower().partition("/")[0])]


def nearest_names(text: str) -> str:
    """Return a question that offers the catalogue names most like a text; empty if none is.

    >>> nearest_names("Qwen/Qwen3-32")
    'did you mean Qwen/Qwen3-32B or Qwen/Qwen3-32B-FP8?'
    >>> nearest_names("Qwen3-32B-AWQ"), nearest_names("mistral-7b")
    ('did you mean Qwen/Qwen3-32B with --weights awq-int4-g128?', \
'did you mean Mistral-7B-v0.1 or Mistral-7B-v0.3?')
    >>> nearest_names("gemma-3-9b")
    'did you mean gemma-2-9b-it?'
    """
    whole = text.replace(":", "-")  # ollama's tags
    found = canonical_name(whole) or in_format(whole)
    wanted = family_name(whole) or "/"
    begun = sorted((name for name in catalogue() if family_name(name).startswith(wanted)), key=len)
    if found:
        return f"did you mean {found}?"
    offered = (begun or of_its_size(wanted) or alike(wanted, catalogue()))[:MOST_OFFERED]
    if "/" not in whole:
        offered = [name.partition("/")[2] for name in offered]
    while len(offered) > 1 and len(" or ".join(offered)) > LONGEST_OFFER:
        offered.pop()  # what to do if none is meant stands behind it, and is not cut
    return f"did you mean {' or '.join(offered)}?" if offered else ""


def of_its_size(family: str) -> list[str]:
    """Return the catalogue names most like a family's, of the size that it names; none if it names none.

    >>> of_its_size("gemma-9b"), of_its_size("gemma")
    (['google/gemma-2-9b-it'], [])
    """
    sizes = {word for word in family.split("-") if word[:1].isdigit() and word.endswith("b")}
    names = [name for name in catalogue() if sizes <= {*family_name(name).split("-")}]
    return alike(family, names) if sizes else []


def alike(family: str, names: list[str]) -> list[str]:
    """Return the catalogue names whose families are most like one."""
    from memcalc.errors import meant

    families: dict[str, str] = {}
    for name in names:
        families.setdefault(family_name(name), name)
    return [families[one] for one in meant(family, families)]


def in_format(text: str) -> str:
    """Return a catalogue name and the format that the end of a text names; empty if it names none.

    >>> in_format("unsloth/Qwen3-32B-bnb-4bit")
    'Qwen/Qwen3-32B with --weights nf4'
    """
    from memcalc.errors import meant
    from memcalc.ledger.formats import FORMATS

    words = text.rpartition("/")[2].split("-")
    for number in range(len(words) - 1, 0, -1):
        name, end = "-".join(words[:number]), "-".join(words[number:])
        found = canonical_name(name) or next(iter(relatives(name)), None)
        if found:
            form = end.lower() if end.lower() in FORMATS else next(iter(meant(end, (), "--weights")), "")
            if form:
                return f"{found} with --weights {form}"
    return ""
