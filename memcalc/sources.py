"""Where a model comes from: the catalogue, a config.json, or a folder that holds one."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from memcalc.config import load
from memcalc.data import folder, open_text
from memcalc.errors import BadInputError, UnknownNameError
from memcalc.formats import FORMATS, format_named
from memcalc.readers import read

if TYPE_CHECKING:
    from memcalc.formats import Format
    from memcalc.model import Model

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
        return self.fields.get(field, inside)

    @property
    def dtype(self) -> str:
        """The 16- or 32-bit format of activations and of everything that is not quantised."""
        names = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
        value = self.stated("torch_dtype") or self.stated("dtype")
        if value is None:
            return "bf16"
        if value not in names:
            raise BadInputError("torch_dtype", f"one of {', '.join(names)}", value, "say --weights and --kv")
        return names[str(value)]

    @property
    def quantization(self) -> dict[str, Any]:
        """The source's quantization_config; an empty one if it has none, or none that is an object."""
        found = self.stated("quantization_config")
        return found if isinstance(found, dict) else {}

    @property
    def stored_as(self) -> str:
        """The format that the source itself states: its quantization_config, else its dtype.

        Raises:
            BadInputError: the quantization_config is not understood.

        """
        if self.stated("quantization_config") is None:
            return self.dtype
        name = method_format(self.quantization)
        if name not in FORMATS:
            known = "gptq-int4-g128, fp8-block128, int4-g32 or mxfp4"
            raise BadInputError("quantization_config", known, name, "say --weights with a known format")
        return name

    def left_out(self, name: str) -> tuple[str, ...]:
        """Return what the source's own list leaves in 16 bits, if `name` is the format that it states."""
        if name != method_format(self.quantization):
            return ()
        lists = {"mxfp4": "modules_to_not_convert", "int4-g32": "ignore"}
        found = self.quantization.get(lists.get(name, ""))
        return tuple(map(str, found)) if isinstance(found, list) else ()


def method_format(stated: dict[str, Any]) -> str:
    """Return the name of the format of a quantization_config, or its method if it is not understood.

    >>> method_format({"quant_method": "gptq", "bits": 4, "group_size": 128})
    'gptq-int4-g128'
    """
    method = stated.get("quant_method")
    if method == "gptq":
        return f"gptq-int{stated.get('bits')}-g{stated.get('group_size')}"
    if method == "fp8" and stated.get("weight_block_size") == [128, 128]:
        return "fp8-block128"
    if method == "mxfp4":
        return "mxfp4"
    if method == "compressed-tensors" and stated.get("format") == "pack-quantized":
        match list(stated.get("config_groups", {}).values()):
            case [{"targets": ["Linear"], "weights": {"type": "int", "strategy": "group", **how}}]:
                zeros = "" if how.get("symmetric") else "-asymmetric"
                return f"int{how.get('num_bits')}-g{how.get('group_size')}{zeros}"
    return f"quant_method {method}"


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
    if not os.path.exists(path) and not text.endswith(".json"):  # noqa: PTH110
        known = "a catalogue name, or the path of a config.json"
        raise UnknownNameError(
            "SOURCE", known, text, "see `memcalc list models`, or download its config.json"
        )
    return Source(path, load(path), path)


def load_model(text: str) -> Model:
    """Return the model that a source describes.

    >>> load_model("Qwen/Qwen3-32B").parameters
    32762123264
    """
    found = source(text)
    return read(found.fields, found.name)


def scaled(found: Source, name: str, field: str = "--weights") -> Format:
    """Return a format, with the width of scales that the checkpoint's record states."""
    chosen = format_named(name, field)
    if found.scale_bits is None or name != found.stored_as or chosen.is_plain:
        return chosen
    return replace(chosen, scale_bits=found.scale_bits)
