"""Headers of safetensors files: which tensors a checkpoint holds, without reading any of its numbers.

A file is eight bytes (a length, little endian), as many bytes of JSON, and the numbers. Source of the format:
https://github.com/huggingface/safetensors (README and safetensors/src/tensor.rs of 0.8), 2026-11.
"""

from __future__ import annotations

import os
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from memcalc.errors import LARGEST, BadInputError
from memcalc.files.json_file import WithoutCollection, load, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["BITS", "Header", "TensorInfo", "find_weights_file", "merge_shards", "read", "tensor_info"]

LONGEST = 100_000_000  # bytes of JSON: the format allows no more
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
BITS = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}
SCALES = ("weight_scale_inv", "weight_scale")  # what tools call the scales of weights
SCALE_BITS = frozenset({8, 16, 32})
MOST_AXES = 8  # of a tensor: an expert's convolution over pictures and time would have six
WHOLE = frozenset({int})  # a set is asked faster than each value of a million
AGAIN = "download the file again; it is cut or damaged"


class TensorInfo(NamedTuple):
    """One tensor as a header states it, and the bytes of its numbers."""

    dtype: str
    shape: tuple[int, ...]
    bytes: int


class Header(NamedTuple):
    """All tensors of a checkpoint; None for one of which only the name is known.

    `files` counts the headers that were read: 0 where an index lay alone. `total_size` is what an index says.
    `kind` is the format of the files: "safetensors", or "gguf" (see `memcalc.files.gguf.header`).
    """

    tensors: Mapping[str, TensorInfo | None]
    files: int
    total_size: int | None = None
    kind: str = "safetensors"

    @property
    def bytes(self) -> int | None:
        """Bytes of all tensors; None if neither headers nor the index say.

        >>> Header({"lm_head.weight": TensorInfo("BF16", (10, 8), 160)}, files=1).bytes
        160
        """
        if not self.files:
            return self.total_size
        return sum(tensor.bytes for tensor in self.tensors.values() if tensor is not None)

    @property
    def scale_bits(self) -> int | None:
        """The width of the weights' scales; None if there are none, or several.

        >>> Header({"q_proj.weight_scale_inv": TensorInfo("BF16", (1, 1), 2)}, files=1).scale_bits
        16
        """
        widths = {
            BITS[tensor.dtype]
            for name, tensor in self.tensors.items()
            if tensor is not None and name.endswith(SCALES)
        }
        return widths.pop() if len(widths) == 1 and widths <= SCALE_BITS else None


def tensor_info(where: str, name: str, dtype: object, shape: Any, offsets: Any) -> TensorInfo:
    """Return a tensor whose dtype, shape and place in the file agree.

    >>> tensor_info("a.safetensors", "norm.weight", "F32", [8], [0, 32])
    TensorInfo(dtype='F32', shape=(8,), bytes=32)

    Raises
    ------
    BadInputError
        An unknown dtype, a shape or a place that cannot be, or the two do not fit.

    """
    field = f"{where}: {name}"
    if type(dtype) is not str or dtype not in BITS:
        remedy = "this dtype is not understood, so nothing is counted"
        raise BadInputError(field, f"a dtype among {', '.join(BITS)}", dtype, remedy)
    if not are_sizes(shape) or len(shape) > MOST_AXES:
        raise BadInputError(field, f"a shape of at most {MOST_AXES} whole numbers >= 0", shape, AGAIN)
    if not are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise BadInputError(field, "data_offsets: begin and end", offsets, AGAIN)
    size, rest = divmod(prod(shape) * BITS[dtype], 8)
    if rest or offsets[1] - offsets[0] != size:
        given = f"{offsets[1] - offsets[0]} for {dtype} {list(shape)}"
        raise BadInputError(field, f"data_offsets {size} bytes apart", given, AGAIN)
    return TensorInfo(dtype, tuple(shape), size)


def are_sizes(value: Any) -> bool:
    """Say whether a value is a list of whole numbers from 0 to 2^53.

    >>> are_sizes([2, 0]), are_sizes([True]), are_sizes("ab"), are_sizes([10**400])
    (True, False, False, False)
    """
    if type(value) is not list or not WHOLE.issuperset(map(type, value)):
        return False
    return not value or (min(value) >= 0 and max(value) <= LARGEST)


def read(path: str) -> Header:
    """Return the header of a `.safetensors` file, or of all shards that an index names.

    Raises
    ------
    BadInputError
        A file is missing, cut, damaged, or not of this format; an index and its shards differ.

    """
    return indexed(path) if path.endswith(".json") else Header(file_tensors(path), files=1)


def file_tensors(path: str) -> dict[str, TensorInfo | None]:
    """Return the tensors of one file, all its bytes accounted for.

    Raises
    ------
    BadInputError
        The file is missing, cut, damaged, or not of this format.

    """
    where = os.path.basename(path)
    text, size = header_text(path)
    with WithoutCollection():
        fields = parsed(where, text)
        fields.pop("__metadata__", None)
        tensors: dict[str, TensorInfo | None] = {}
        for name, entry in fields.items():
            if type(entry) is not dict or entry.keys() != {"dtype", "shape", "data_offsets"}:
                raise BadInputError(f"{where}: {name}", "dtype, shape and data_offsets", entry, AGAIN)
            tensors[name] = tensor_info(where, name, entry["dtype"], entry["shape"], entry["data_offsets"])
        end = laid_out(where, [entry["data_offsets"] for entry in fields.values()])
    if not tensors:
        raise BadInputError(where, "tensors in its header", "none", AGAIN)
    right = 8 + len(text) + end
    if size != right:
        raise BadInputError(where, f"the {right} bytes that its header says", f"{size} bytes", AGAIN)
    return tensors


def laid_out(where: str, places: list[list[int]]) -> int:
    """Return where the last tensor ends."""
    end = 0
    for begin, behind in sorted(places):
        if begin != end:
            raise BadInputError(where, f"a tensor that begins at byte {end}", begin, AGAIN)
        end = behind
    return end


def header_text(path: str) -> tuple[bytes, int]:
    """Return the JSON of a file's header, and the file's size.

    Raises
    ------
    BadInputError
        The file is missing, or shorter than its header.

    """
    where = os.path.basename(path)
    if not os.path.isfile(path):
        found = f"{path} (no regular file)" if os.path.exists(path) else f"no file at {path}"
        raise BadInputError("SOURCE", "a safetensors file", found, "check the path")
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            text = file.read(length) if length <= LONGEST else b""
    except OSError as error:
        given = f"{path} ({error.strerror or 'unreadable'})"
        raise BadInputError("SOURCE", "a readable file", given, "check the path") from None
    if size < 8:
        raise BadInputError(where, "8 bytes of length and a header", f"{size} bytes", AGAIN)
    if length > LONGEST:
        remedy = "this is no safetensors file, or a damaged one"
        raise BadInputError(where, f"a header of at most {LONGEST} bytes", length, remedy)
    if len(text) < length:
        raise BadInputError(where, f"a header of {length} bytes", f"{size} bytes in all", AGAIN)
    return text, size


def parsed(where: str, text: bytes) -> dict[str, Any]:
    """Return the JSON object of a header."""
    try:
        fields = parse(text.decode())
    except BadInputError as twice:
        raise BadInputError(f"{where}: {twice.field}", twice.expected, twice.given, AGAIN) from None
    except ValueError:
        raise BadInputError(where, "a header in JSON", "other bytes", AGAIN) from None
    if not isinstance(fields, dict):
        raise BadInputError(where, "a header that is a JSON object", type(fields).__name__, AGAIN)
    return fields


def indexed(path: str) -> Header:
    """Return the tensors of all shards that an index names, or their names if its folder has no shard.

    Raises
    ------
    BadInputError
        No index; a shard is missing beside another, or lacks a tensor of the index.

    """
    where, folder = os.path.basename(path), os.path.dirname(path)
    fields = load(path, where)
    shards = fields.get("weight_map")
    if not isinstance(shards, dict) or not shards:
        expected = "a weight_map of tensors to files"
        raise BadInputError(where, expected, shards, "give the checkpoint's index")
    for shard in shards.values():
        if not isinstance(shard, str) or os.path.basename(shard) != shard or not shard:
            raise BadInputError(where, "names of files in its folder", shard, "correct weight_map")
    names = sorted(set(shards.values()))
    there = [name for name in names if os.path.exists(os.path.join(folder, name))]
    size = total_size(where, fields.get("metadata"))
    if not there:
        return Header(dict.fromkeys(shards), 0, size)
    for name in names:
        if name not in there:
            given = f"{len(there)} of {len(names)}; {name} is missing"
            raise BadInputError(where, "all shards in its folder, or none", given, "download the rest")
    header = merge_shards({name: file_tensors(os.path.join(folder, name)) for name in names}, size)
    for tensor in shards:
        if tensor not in header.tensors:
            given = f"no such tensor in {shards[tensor]}"
            raise BadInputError(f"{where}: {tensor}", "a tensor of a shard", given, "download both again")
    return header


def total_size(where: str, metadata: object) -> int | None:
    """Return the bytes that an index states; some write them as a float.

    >>> total_size("an index", {"total_size": 16.0})
    16
    """
    size = metadata.get("total_size") if isinstance(metadata, dict) else None
    if size is None:
        return None
    if isinstance(size, bool) or not isinstance(size, int | float) or not size >= 0 or size != size // 1:
        raise BadInputError(f"{where}: total_size", "a whole number of bytes", size, "correct the index")
    return int(size)


def merge_shards(shards: Mapping[str, Mapping[str, TensorInfo | None]], size: int | None) -> Header:
    """Return the tensors of several files as one checkpoint's.

    Raises
    ------
    BadInputError
        Two files hold a tensor of the same name, and which one counts is not known.

    """
    tensors: dict[str, TensorInfo | None] = {}
    for shard, own in shards.items():
        for name in own.keys() & tensors.keys():
            raise BadInputError(
                shard, f"{name} in one file", "the same name in another", "remove one of them"
            )
        tensors.update(own)
    return Header(tensors, len(shards), size)


def find_weights_file(folder: str, files: Iterable[str]) -> str | None:
    """Return the path of the file or index that describes a folder's checkpoint; None if there is none.

    As in transformers, model.safetensors comes before an index.

    Raises
    ------
    BadInputError
        Several files and no index that says which belong together, or another name.

    """
    names = sorted(name for name in files if name.endswith((".safetensors", ".safetensors.index.json")))
    for name in (SINGLE, INDEX):
        if name in names:
            return os.path.join(folder, name)
    if len(names) > 1:
        given = f"{len(names)} .safetensors files without one"
        raise BadInputError("SOURCE", f"a {INDEX}", given, "download it, or give config.json alone")
    if names:
        remedy = "name that file itself, or config.json alone"
        raise BadInputError("SOURCE", f"a folder with {SINGLE} or {INDEX}", names[0], remedy)
    return None
