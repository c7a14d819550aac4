"""Where a model comes from: the catalogue, a config.json, or a folder that holds one."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from memcalc.config import load
from memcalc.data import folder, open_text
from memcalc.errors import BadInputError, UnknownNameError
from memcalc.readers import read

if TYPE_CHECKING:
    from memcalc.model import Model
    from memcalc.quantization import Scheme

__all__ = ["Source", "catalogue", "load_model", "source"]

RECORD_FIELDS = {"id", "config", "source", "date"}
OPTIONAL_FIELDS = {"aliases", "note", "scale_bits"}


class Source(NamedTuple):
    """A model's name and config.json, where it was found, and what its record says of its storage."""

    name: str
    fields: dict[str, object]
    found: str
    scale_bits: int | None = None

    def stated(self, field: str) -> object:
        """Return a field, or the text model's where a model that sees says it there."""
        text = self.fields.get("text_config")
        inside = text.get(field) if isinstance(text, dict) else None
        own = self.fields.get(field)
        return inside if own is None else own

    @property
    def dtype(self) -> str:
        """The 16- or 32-bit format of activations and of everything that is not quantised.

        Raises:
            BadInputError: it is another one, or `dtype` and `torch_dtype` contradict each other.

        """
        names = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
        stated = [value for name in ("dtype", "torch_dtype") if (value := self.stated(name)) is not None]
        if not stated:
            return "bf16"
        value = stated[0]
        if not isinstance(value, str) or value not in names:
            expected = f"one of {', '.join(names)}"
            raise BadInputError("torch_dtype", expected, value, "correct the field in config.json")
        if stated[-1] != value:
            raise BadInputError("torch_dtype", f"{value}, as dtype says", stated[-1], "remove one of the two")
        return names[value]

    @property
    def stored_as(self) -> str:
        """The format that the source itself states: its quantization_config, else its dtype.

        Raises:
            BadInputError: the quantization_config is not understood, or says more than the format does.

        """
        found = self.scheme
        return self.dtype if found is None else found.format.id

    @property
    def scheme(self) -> Scheme | None:
        """What the source's quantization_config says; None where it has none.

        Raises:
            BadInputError: it is not understood.

        """
        stated = self.stated("quantization_config") or self.stated("quantization")
        if stated is None:
            return None
        from memcalc.quantization import scheme

        found = scheme(stated)
        if self.scale_bits is None:
            return found
        return found._replace(format=replace(found.format, scale_bits=self.scale_bits))


def catalogue() -> list[str]:
    """Return the names of all catalogue models.

    >>> "Qwen/Qwen3-32B" in catalogue()
    True
    """
    names = sorted(os.listdir(folder("models")))  # noqa: PTH208
    return [name.removesuffix(".json").replace("__", "/") for name in names if name.endswith(".json")]


def record(name: str) -> Source:
    """Return a catalogue model's record.

    Raises:
        TypeError: the record lacks its source or date, or has a field that nobody reads.

    """
    with open_text("models", name.replace("/", "__") + ".json") as file:
        fields = json.load(file)
    if not RECORD_FIELDS <= set(fields) <= (RECORD_FIELDS | OPTIONAL_FIELDS):
        needed, given = ", ".join(sorted(RECORD_FIELDS)), ", ".join(sorted(fields))
        raise TypeError(f"{name}: a record has {needed}; this one has {given}")
    return Source(
        fields["id"], fields["config"], f"{fields['source']}, {fields['date']}", fields.get("scale_bits")
    )


def named(text: str) -> str | None:
    """Return the catalogue name that `text` means: whole, without its owner, or an alias."""
    names = catalogue()
    wanted = text.lower()
    for name in names:
        if wanted in (name.lower(), name.partition("/")[2].lower()):
            return name
    with open_text("aliases.json") as file:
        aliases: dict[str, str] = json.load(file)
    return next((name for alias, name in aliases.items() if alias.lower() == wanted), None)


def source(text: str) -> Source:
    """Return the source that `text` names: a catalogue name, a config.json, or its folder.

    >>> source("Qwen/Qwen3-32B").stored_as
    'bf16'

    Raises:
        BadInputError: a file that cannot be read as a config.json.
        UnknownNameError: neither a catalogue name nor a path.

    """
    name = named(text)
    if name is not None:
        return record(name)
    path = os.path.join(text, "config.json") if os.path.isdir(text) else text  # noqa: PTH112, PTH118
    if path != text and not os.path.exists(path):  # noqa: PTH110
        raise BadInputError("SOURCE", "a folder that holds a config.json", text, "download the model's")
    if not os.path.exists(path) and not text.endswith(".json"):  # noqa: PTH110
        known = "a catalogue name, or the path of a config.json"
        raise UnknownNameError(
            "SOURCE", known, text, "see `memcalc list models`, or download its config.json"
        )
    fields = load(path)
    beside = os.path.join(os.path.dirname(path), "hf_quant_config.json")  # noqa: PTH118, PTH120
    if "quantization_config" not in fields and os.path.exists(beside):  # noqa: PTH110
        fields["quantization_config"] = load(beside).get("quantization")  # NVIDIA's checkpoints say it there
    return Source(path, fields, path)


def load_model(text: str) -> Model:
    """Return the model that a source describes.

    >>> load_model("Qwen/Qwen3-32B").parameters
    32762123264
    """
    found = source(text)
    return read(found.fields, found.name)
