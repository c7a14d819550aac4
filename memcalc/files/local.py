"""Models on this machine's disk: a config.json and the weights beside it, or a GGUF file."""

from __future__ import annotations

import os
import re

from memcalc.errors import BadInputError
from memcalc.files.json_file import load
from memcalc.files.source import Source

__all__ = ["from_folder", "from_gguf", "read_config", "reject_single_shard"]


def from_folder(text: str, folder: str, weights: str | None) -> Source:
    """Return the source whose config.json lies in a folder, or whose weights do alone.

    Parameters
    ----------
    text : str
        What was given: the folder, or a file of weights in it.
    folder : str
        The folder.
    weights : str, optional
        The safetensors file or index whose header is read.

    Raises
    ------
    BadInputError
        There is neither a config.json nor weights, or one of the two cannot be read.

    """
    path = os.path.join(folder, "config.json")
    described = os.path.exists(path)
    if not (described or weights):
        remedy = "download the model's, or its weights: their header says how large they are"
        raise BadInputError("SOURCE", "a folder that holds a config.json or weights", text, remedy)
    fields = read_config(path) if described else {}
    if weights is None:
        return Source(path, fields, path)
    from memcalc.files.safetensors import read

    return Source(path if described else text, fields, weights, header=read(weights))


def from_gguf(path: str) -> Source:
    """Return the source that a GGUF file is: its key-values say what a config.json says.

    Raises
    ------
    BadInputError
        The file cannot be read.

    """
    from memcalc.files.gguf.config import READERS, config_fields
    from memcalc.files.gguf.header import read

    values, header = read(path)
    if values.get("general.architecture") not in READERS:
        unread = Source(path, {}, path, header=header)
        unread.values = values
        return unread
    fields, keys = config_fields(values, header.tensors)
    stated = values.get("general.file_type")
    file_type = stated if type(stated) is int else None
    return Source(path, fields, path, header=header, file_type=file_type, keys=keys)


def read_config(path: str) -> dict[str, object]:
    """Return the fields of a config.json, with the quantisation that a file beside it states.

    NVIDIA's tools write hf_quant_config.json, AutoGPTQ quantize_config.json, AutoAWQ quant_config.json.
    """
    fields = load(path)
    for name, read in BESIDE.items():
        beside = os.path.join(os.path.dirname(path), name)
        if "quantization_config" not in fields and os.path.exists(beside):
            fields["quantization_config"] = read(load(beside, name))
    return fields


def of_modelopt(stated: dict[str, object]) -> object:
    """Return what NVIDIA's file says."""
    found = stated.get("quantization")
    if not found:
        remedy = "correct the file, or remove it"
        raise BadInputError("hf_quant_config.json: quantization", "an object", found, remedy)
    return found


def of_autogptq(stated: dict[str, object]) -> object:
    """Return what AutoGPTQ's file says, as a config.json does."""
    return {"quant_method": "gptq", **stated}


def of_autoawq(stated: dict[str, object]) -> object:
    """Return what AutoAWQ's file says, as a config.json does."""
    names = {"w_bit": "bits", "q_group_size": "group_size"}
    return {"quant_method": "awq", **{names.get(name, name): value for name, value in stated.items()}}


BESIDE = {
    "hf_quant_config.json": of_modelopt,
    "quantize_config.json": of_autogptq,
    "quant_config.json": of_autoawq,
}


def reject_single_shard(path: str) -> None:
    """Refuse a file that is one shard of a checkpoint's several."""
    name = os.path.basename(path)
    shard = re.search(r"-(\d{1,9})-of-(\d{1,9})\.safetensors$", name)
    if shard is not None and int(shard[2]) > 1:
        remedy = "give the index, model.safetensors.index.json"
        raise BadInputError("SOURCE", "a whole checkpoint", f"{name}, one shard of {int(shard[2])}", remedy)
