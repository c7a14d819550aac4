"""Where a model comes from: the catalogue, a config.json, a folder, safetensors, GGUF, the Hub."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from memcalc.data import folder, open_text
from memcalc.errors import BadInputError, UnknownNameError
from memcalc.files.config import load
from memcalc.files.source import Source

if TYPE_CHECKING:
    from memcalc.ledger.model import Model

__all__ = ["catalogue", "load_model", "source"]

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
    """Return the source that `text` names.

    A folder with a config.json, whose model.safetensors or index is read too; a catalogue name; a
    config.json; one of these two files, beside a config.json; a GGUF file; or else a repository of the Hub. A
    folder comes first, as in transformers.

    >>> source("Qwen/Qwen3-32B").stored_as
    'bf16'

    Raises:
        BadInputError: a file that cannot be read, or a repository that cannot be reached.
        UnknownNameError: neither a catalogue name nor a path nor the name of a repository.

    """
    name = None if os.path.exists(os.path.join(text, "config.json")) else named(text)
    if name is not None:
        return record(name)
    if os.path.isdir(text):
        from memcalc.files.safetensors import beside

        return on_disk(text, text, beside(text, os.listdir(text)))
    if text.endswith((".safetensors", ".safetensors.index.json")):
        return on_disk(text, os.path.dirname(text), whole(text))
    if text.endswith(".gguf"):
        return from_gguf(text)
    if os.path.exists(text) or text.endswith(".json"):
        return Source(text, described(text), text)
    if is_repository(text):
        from memcalc.files.hub import repository

        return repository(text)
    known = "a catalogue name, a path, or owner/name of a Hub repository"
    raise UnknownNameError("SOURCE", known, text, "see `memcalc list models`, or download its config.json")


def on_disk(text: str, folder: str, weights: str | None) -> Source:
    """Return the source whose config.json lies in a folder, and whose header is read from a file beside it.

    Raises:
        BadInputError: there is no config.json, or one of the two files cannot be read.

    """
    path = os.path.join(folder, "config.json")
    if not os.path.exists(path):
        expected = "a folder that holds a config.json" if text == folder else "a config.json beside it"
        raise BadInputError("SOURCE", expected, text, "download the model's")
    fields = described(path)
    if weights is None:
        return Source(path, fields, path)
    from memcalc.files.safetensors import read as read_header

    return Source(path, fields, weights, header=read_header(weights))


def from_gguf(path: str) -> Source:
    """Return the source that a GGUF file is: its key-values say what a config.json says.

    Raises:
        BadInputError: the file cannot be read, or its architecture is unknown.

    """
    from memcalc.files.gguf.config import config_fields
    from memcalc.files.gguf.header import read as read_gguf

    values, header = read_gguf(path)
    stated = values.get("general.file_type")
    return Source(
        path,
        config_fields(values, header.tensors),
        path,
        header=header,
        file_type=stated if type(stated) is int else None,
    )


def described(path: str) -> dict[str, object]:
    """Return the fields of a config.json, with the quantisation that NVIDIA states in a file beside it."""
    fields = load(path)
    beside = os.path.join(os.path.dirname(path), "hf_quant_config.json")
    if "quantization_config" not in fields and os.path.exists(beside):
        stated = load(beside, "hf_quant_config.json").get("quantization")
        if not stated:
            remedy = "correct the file, or remove it"
            raise BadInputError("hf_quant_config.json: quantization", "an object", stated, remedy)
        fields["quantization_config"] = stated
    return fields


def whole(path: str) -> str:
    """Return the path of a whole checkpoint.

    Raises:
        BadInputError: it is one shard of several.

    """
    import re

    name = os.path.basename(path)
    shard = re.search(r"-(\d+)-of-(\d+)\.safetensors$", name)
    if shard is not None and int(shard[2]) > 1:
        remedy = "give the index, model.safetensors.index.json"
        raise BadInputError("SOURCE", "a whole checkpoint", f"{name}, one shard of {int(shard[2])}", remedy)
    return path


def is_repository(text: str) -> bool:
    """Say whether a text may be a repository of the Hub: owner/name.

    >>> is_repository("Qwen/Qwen3-4B"), is_repository("models/"), is_repository("a/b/c")
    (True, False, False)
    """
    import re

    return re.fullmatch(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", text, re.ASCII) is not None


def load_model(text: str) -> Model:
    """Return the model that a source describes.

    >>> load_model("Qwen/Qwen3-32B").parameters
    32762123264
    """
    return source(text).model
