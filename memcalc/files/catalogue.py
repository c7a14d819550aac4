"""The catalogue: models whose config.json comes with memcalc, each with its source and its date."""

from __future__ import annotations

import json
import os
from functools import cache

from memcalc.data import folder, open_text
from memcalc.files.source import Source

__all__ = ["canonical_name", "catalogue", "names_by_key", "nearest_names", "record", "relatives"]

RECORD_FIELDS = {"id", "config", "source", "date"}
SEPARATORS = r"[\s_:.-]+"  # what people put between the words of a name; a point between digits is one, too
WORDS = r"[\s_:/-]+"  # what divides the words that are looked for in names
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
    meant = (
        name
        for alias, name in aliases().items()
        if wanted and wanted in (alias.lower(), alias.lower().partition("/")[2])
    )
    return next(meant, None)


@cache
def aliases() -> dict[str, str]:
    """Return other names of catalogue models, and what each is taken as."""
    with open_text("aliases.json") as file:
        found: dict[str, str] = json.load(file)
    return found


def key(text: str) -> str:
    """Return a name without case and separators, but for one between digits: Qwen2.5-7B is no Qwen2-57B.

    >>> key("Qwen3 32B"), key("qwen3:32b"), key("gpt-oss:20b"), key("Qwen/Qwen2.5-7B")
    ('qwen3-32b', 'qwen3-32b', 'gptoss20b', 'qwen/qwen2-5-7b')
    """
    import re

    digits = re.sub(rf"(?<=[0-9]){SEPARATORS}(?=[0-9])", "!", text.strip().lower())
    return re.sub(SEPARATORS, "", digits).replace("!", "-")


@cache
def names_by_key() -> dict[str, tuple[str, ...]]:
    """Return the catalogue names that a key may mean: a name's with and without its owner, an alias's.

    >>> names_by_key()["qwen3-32b"], names_by_key()["llama3-1-8b"]
    (('Qwen/Qwen3-32B',), ('meta-llama/Meta-Llama-3.1-8B',))
    """
    found: dict[str, dict[str, None]] = {}
    for name, meant in {**aliases(), **{name: name for name in listed()}}.items():
        for part in (name, name.partition("/")[2], name.replace("/", " ")):
            if part:  # an alias may have no owner
                found.setdefault(key(part), {})[meant] = None
    return {one: tuple(sorted(names)) for one, names in found.items()}


def family_name(text: str) -> str:
    """Return a name without its owner, and without the words for a base, a tuned or a converted model.

    >>> family_name("meta-llama/Meta-Llama-3.1-8B"), family_name("llama 3.1:8B Instruct")
    ('llama-3.1-8b', 'llama-3.1-8b')
    """
    return "-".join(family_words(text))


def family_words(text: str) -> list[str]:
    """Return the words of the same."""
    name = text.lower().rpartition("/")[2]
    words = name.replace("_", " ").replace(":", " ").replace("-", " ").split()
    return [word for word in words if word not in VARIANTS]


def relatives(text: str) -> list[str]:
    """Return the catalogue names of the family that a text names, of its owner if it names one.

    Base models and tuned ones have the same shapes.

    >>> relatives("Llama-3.1-8B-Instruct"), relatives("someone/Llama-3.1-8B-Instruct")
    (['meta-llama/Meta-Llama-3.1-8B'], [])
    """
    owner, family = text.lower().rpartition("/")[0], key(family_name(text))
    same = (name for name in catalogue() if key(family_name(name)) == family)
    return [name for name in same if owner in ("", name.lower().partition("/")[0])]


def nearest_names(text: str) -> str:
    """Return a question that offers the catalogue names most like a text; empty if none is.

    >>> nearest_names("Qwen/Qwen3-32")
    'did you mean Qwen/Qwen3-32B or Qwen/Qwen3-32B-FP8 or Qwen/Qwen3-VL-32B-Instruct?'
    >>> nearest_names("qwen coder")
    'did you mean Qwen2.5-Coder-7B-Instruct or Qwen2.5-Coder-32B-Instruct or Qwen3-Coder-480B-A35B-Instruct?'
    >>> nearest_names("Qwen3-32B-AWQ"), nearest_names("mistral-7b")
    ('did you mean Qwen/Qwen3-32B with --weights awq-int4-g128?', \
'did you mean Mistral-7B-v0.1 or Mistral-7B-v0.3?')
    >>> nearest_names("gemma-3-9b")
    'did you mean gemma-2-9b-it?'
    """
    found = in_format("-".join(text.replace(":", " ").split()))
    if found:
        return f"did you mean {found}?"
    wanted = family_name(text) or "/"
    begun = sorted((name for name in catalogue() if family_name(name).startswith(wanted)), key=len)
    every = containing(text) or begun or of_its_size(wanted) or alike(wanted, catalogue())
    offered = every[:MOST_OFFERED]
    if "/" not in text:
        offered = [name.partition("/")[2] for name in offered]
    while len(offered) > 1 and len(" or ".join(offered)) > LONGEST_OFFER:
        offered.pop()  # what to do if none is meant stands behind it, and is not cut
    return f"did you mean {' or '.join(offered)}?" if offered else ""


def containing(text: str) -> list[str]:
    """Return the catalogue names that contain all words of a text, the shortest that begin so first.

    A word that begins with a digit does not stand in the middle of a number: 2b is no part of 32B. Between
    a word's letters and its number names may have a hyphen.

    >>> containing("mixtral"), containing("llama 3.1 8b"), containing("glm4.5")
    (['mistralai/Mixtral-8x7B-v0.1', 'mistralai/Mixtral-8x22B-v0.1'], ['meta-llama/Meta-Llama-3.1-8B'], \
['zai-org/GLM-4.5-Air'])
    """
    import re

    words = list(filter(None, re.split(WORDS, text.lower())))
    apart = [re.sub("(?<=[a-z])(?=[0-9])", "-?", re.escape(word)) for word in words]
    patterns = [("(?<![0-9.])" if word[0].isdigit() else "") + word for word in apart]
    short = {name: name.partition("/")[2].lower() for name in listed() if words}
    for names in (short, {name: name.lower() for name in short}):  # an owner's name counts if it has to
        found = [name for name, low in names.items() if all(re.search(one, low) for one in patterns)]
        if found:
            return sorted(found, key=lambda name: (not short[name].startswith(words[0]), len(name)))
    return []


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
        found = next(iter([*names_by_key().get(key(name), ()), *relatives(name)]), None)
        if found:
            form = end.lower() if end.lower() in FORMATS else next(iter(meant(end, (), "--weights")), "")
            if form and not form.startswith("leave"):
                return f"{found} with --weights {form}"
    return ""
