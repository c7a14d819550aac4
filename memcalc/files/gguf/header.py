"""Headers of GGUF files: what a model is, and which tensors it holds, without reading any of its numbers.

Four letters, a version, two counts, key-values, tensor infos, and the numbers from the next multiple of the
alignment on; everything little endian. Source of the format: https://github.com/ggml-org/ggml, docs/gguf.md,
and ggml/src/gguf.cpp of llama.cpp v0.5.0, 2026-11.
"""

from __future__ import annotations

import os
import re
import struct
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import BadInputError
from memcalc.files.safetensors import Header, TensorInfo, merge_shards
from memcalc.ledger.formats import FORMATS, GGUF_TYPES, Format

if TYPE_CHECKING:
    from io import BufferedReader

__all__ = ["DTYPES", "GGUF", "TYPES", "Listing", "format_of", "read"]

MAGIC, VERSIONS = b"GGUF", (2, 3)
AGAIN = "download the file again; it is cut or damaged"
# number of a type in a file (enum ggml_type in ggml/include/ggml.h) -> its name
TYPES = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    6: "Q5_0",
    7: "Q5_1",
    8: "Q8_0",
    10: "Q2_K",
    11: "Q3_K",
    12: "Q4_K",
    13: "Q5_K",
    14: "Q6_K",
    16: "IQ2_XXS",
    17: "IQ2_XS",
    18: "IQ3_XXS",
    19: "IQ1_S",
    20: "IQ4_NL",
    21: "IQ3_S",
    22: "IQ2_S",
    23: "IQ4_XS",
    29: "IQ1_M",
    30: "BF16",
    34: "TQ1_0",
    35: "TQ2_0",
    39: "MXFP4",
    40: "NVFP4",
    41: "Q1_0",
    42: "Q2_0",
}
_BETWEEN = "llama.cpp keeps it between products only, in no file"
_NUMBERS = "llama.cpp multiplies no weight of this type"
_REMOVED = "llama.cpp has removed it: quantise the model again"
# the other numbers: what they are called, and why no weight has them (the same list; ggml-common.h on Q8_K)
NO_WEIGHTS = {
    4: ("Q4_2", _REMOVED),
    5: ("Q4_3", _REMOVED),
    9: ("Q8_1", _BETWEEN),
    15: ("Q8_K", _BETWEEN),
    24: ("I8", _NUMBERS),
    25: ("I16", _NUMBERS),
    26: ("I32", _NUMBERS),
    27: ("I64", _NUMBERS),
    28: ("F64", _NUMBERS),
    31: ("Q4_0_4_4", _REMOVED),
    32: ("Q4_0_4_8", _REMOVED),
    33: ("Q4_0_8_8", _REMOVED),
    36: ("IQ4_NL_4_4", _REMOVED),
    37: ("IQ4_NL_4_8", _REMOVED),
    38: ("IQ4_NL_8_8", _REMOVED),
}
DTYPES = {"F32": "fp32", "F16": "fp16", "BF16": "bf16"}  # those that have another name among our formats
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
TEXT, ARRAY = 8, 9
LENGTH = struct.Struct("<Q")
CHUNK = 2**20  # bytes that are read at once
LONGEST_TEXT = 2**26  # bytes: a licence or a chat template is shorter; a damaged length is not believed
LONGEST_LIST = 10_000  # numbers of a list that are kept: one a layer, not one a token
LONGEST_ARRAY = 10_000_000  # values of an array: no vocabulary comes near, and a damaged length ends soon
MOST_AXES = 4


class Listing(NamedTuple):
    """An array among the key-values: how long it is, and its numbers if they are few."""

    count: int  # type: ignore[assignment]  # the word every reader expects, and no tuple's
    numbers: tuple[float, ...] | None = None


class GGUF(NamedTuple):
    """Key-values and tensors of a file, or of all files into which a model was cut."""

    values: dict[str, object]
    header: Header


class Cursor:
    """A file that is read from front to back, and is never shorter than what is asked of it.

    It is read by the mebibyte: a vocabulary has some hundred thousand texts, a damaged file more.
    """

    def __init__(self, file: BufferedReader, where: str) -> None:
        """Begin at the front."""
        self.file, self.where = file, where
        self.size = os.fstat(file.fileno()).st_size
        self.begin, self.at, self.buffer = 0, 0, b""  # the buffer's place in the file; the next byte in it

    @property
    def place(self) -> int:
        """Where the next byte stands in the file."""
        return self.begin + self.at

    def need(self, length: int) -> None:
        """Have so many bytes in the buffer."""
        if self.at + length <= len(self.buffer):
            return
        if length <= self.size - self.place:
            self.begin, self.at = self.place, 0
            self.file.seek(self.begin)
            self.buffer = self.file.read(max(length, CHUNK))
        if self.at + length > len(self.buffer):
            raise BadInputError(self.where, "a whole header", f"{self.size} bytes in all", AGAIN)

    def take(self, length: int) -> bytes:
        """Return the next bytes, if there are so many."""
        self.need(length)
        found = self.buffer[self.at : self.at + length]
        self.at += length
        return found

    def skip(self, length: int) -> None:
        """Leave out the next bytes; what is read behind the end of the file is refused."""
        self.at += length

    def number(self, code: str) -> int | float:
        """Return the next number."""
        value: int | float = struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]
        return value

    def whole(self, code: str) -> int:
        """Return the next whole number."""
        return int(self.number(code))

    def text(self) -> str:
        """Return the next text."""
        length = self.whole("Q")
        if LONGEST_TEXT < length <= self.size - self.place:
            raise BadInputError(self.where, f"texts of at most {LONGEST_TEXT} bytes", length, AGAIN)
        found = self.take(length)
        try:
            return found.decode()
        except UnicodeDecodeError:
            raise BadInputError(self.where, "names in UTF-8", "other bytes", AGAIN) from None

    def value(self) -> object:
        """Return the next value behind its type; of a text array only the length."""
        kind = self.whole("I")
        if kind in NUMBERS:
            return self.number(NUMBERS[kind])
        if kind == TEXT:
            return self.text()
        if kind != ARRAY:
            raise BadInputError(self.where, "types of values from 0 to 12", kind, AGAIN)
        inner, count = self.whole("I"), self.whole("Q")
        if count > LONGEST_ARRAY:
            raise BadInputError(self.where, f"arrays of at most {LONGEST_ARRAY} values", count, AGAIN)
        if inner == TEXT:
            self.skip_texts(count)
            return Listing(count)
        if inner not in NUMBERS:
            raise BadInputError(self.where, "arrays of numbers or texts", f"type {inner}", AGAIN)
        size = struct.calcsize(f"<{NUMBERS[inner]}")
        if count > LONGEST_LIST:
            self.skip(count * size)
            return Listing(count)
        return Listing(count, struct.unpack(f"<{count}{NUMBERS[inner]}", self.take(count * size)))

    def skip_texts(self, count: int) -> None:
        """Leave out so many texts: only their lengths are read, from the buffer and not one by one."""
        length_at = LENGTH.unpack_from
        while count:
            self.need(LENGTH.size)
            buffer, at, last = self.buffer, self.at, len(self.buffer) - LENGTH.size
            while count and at <= last:
                at += LENGTH.size + length_at(buffer, at)[0]
                count -= 1
            self.at = at


def format_of(dtype: str) -> Format:
    """Return the format of a type's name in GGUF.

    >>> format_of("F16").id, format_of("Q4_K").id
    ('fp16', 'Q4_K')
    """
    return FORMATS[DTYPES[dtype]] if dtype in DTYPES else GGUF_TYPES[dtype]


def read(path: str) -> GGUF:
    """Return what a `.gguf` file says, with the other files if the model was cut into several.

    Raises
    ------
    BadInputError
        A file is missing, cut, damaged, not of this format, or of types that are not known.

    """
    name = os.path.basename(path)
    cut = re.search(r"-(\d{5})-of-(\d{5})\.gguf$", name)
    if cut is None:
        values, tensors = one_file(path)
        return GGUF(values, Header(tensors, 1, kind="gguf"))
    shards = {}
    first: dict[str, object] = {}
    for number in range(1, int(cut[2]) + 1):
        shard = f"{name[: cut.start()]}-{number:05}-of-{cut[2]}.gguf"
        beside = os.path.join(os.path.dirname(path), shard)
        if not os.path.isfile(beside):
            raise BadInputError(
                "SOURCE", f"all {int(cut[2])} files in one folder", f"no {shard}", "download the rest"
            )
        values, shards[shard] = one_file(beside)
        first = first or values
    header = merge_shards(shards, None)
    stated = first.get("split.tensors.count", len(header.tensors))
    if stated != len(header.tensors):
        given = f"{len(header.tensors)} in {len(shards)} files"
        raise BadInputError(name, f"{stated} tensors", given, "the files do not belong together")
    return GGUF(first, header._replace(kind="gguf"))


def one_file(path: str) -> tuple[dict[str, object], dict[str, TensorInfo | None]]:
    """Return key-values and tensors of one file, all its bytes accounted for.

    Raises
    ------
    BadInputError
        The file is missing, cut, damaged, or not of this format.

    """
    where = os.path.basename(path)
    if os.path.exists(path) and not os.path.isfile(path):
        remedy = "save it as a file: its size is part of the check"
        raise BadInputError("SOURCE", "a GGUF file", f"{path} (no regular file)", remedy)
    try:
        with open(path, "rb") as file:
            return parsed(Cursor(file, where))
    except OSError as error:
        given = f"{path} ({error.strerror or 'unreadable'})"
        raise BadInputError("SOURCE", "a readable file", given, "check the path") from None


def parsed(cursor: Cursor) -> tuple[dict[str, object], dict[str, TensorInfo | None]]:
    """Return key-values and tensors."""
    where = cursor.where
    if cursor.size < len(MAGIC) or cursor.take(len(MAGIC)) != MAGIC:
        raise BadInputError(where, "a file that begins with GGUF", "another one", AGAIN)
    version = cursor.whole("I")
    if version not in VERSIONS:
        remedy = "convert it again; other versions and byte orders are not understood"
        raise BadInputError(where, "version 2 or 3 of GGUF", version, remedy)
    tensor_count, value_count = cursor.whole("Q"), cursor.whole("Q")
    values: dict[str, object] = {}
    for _ in range(value_count):
        key = cursor.text()
        if key in values:
            raise BadInputError(f"{where}: {key}", "each key once", "the key twice", AGAIN)
        values[key] = cursor.value()
    tensors: dict[str, TensorInfo | None] = {}
    places: list[tuple[int, int, str]] = []
    for _ in range(tensor_count):
        name = cursor.text()
        if name in tensors:
            raise BadInputError(f"{where}: {name}", "each tensor once", "the name twice", AGAIN)
        tensors[name] = stored = tensor(cursor, name)
        places.append((cursor.whole("Q"), stored.bytes, name))
    alignment = values.get("general.alignment", 32)
    if type(alignment) is not int or alignment < 1:
        raise BadInputError(where, "general.alignment: a whole number >= 1", alignment, AGAIN)
    behind = -(-cursor.place // alignment) * alignment + laid_out(where, places, alignment)
    if cursor.size < behind:
        raise BadInputError(where, f"the {behind} bytes that its header says", f"{cursor.size} bytes", AGAIN)
    return values, tensors


def tensor(cursor: Cursor, name: str) -> TensorInfo:
    """Return the next tensor: its axes stand in the file with the rows' numbers first.

    Raises
    ------
    BadInputError
        Too many axes, an unknown type, or rows that are no whole blocks.

    """
    field = f"{cursor.where}: {name}"
    axes = cursor.whole("I")
    if axes > MOST_AXES:
        raise BadInputError(field, f"at most {MOST_AXES} axes", axes, AGAIN)
    shape = tuple(reversed([cursor.whole("Q") for _ in range(axes)]))
    number = cursor.whole("I")
    if number not in TYPES:
        name, remedy = NO_WEIGHTS.get(
            number, ("unknown", "this type is not understood, so nothing is counted")
        )
        given = f"type {number} ({name})"
        raise BadInputError(field, f"a type among {', '.join(TYPES.values())}", given, remedy)
    form = format_of(TYPES[number])
    row = shape[-1] if shape else 1
    if form.block_bytes and row % (form.columns_per_scale or 1):
        expected = f"rows of whole blocks of {form.columns_per_scale}"
        raise BadInputError(field, expected, row, AGAIN)
    return TensorInfo(TYPES[number], shape, form.bytes(prod(shape[:-1]), row))


def laid_out(where: str, places: list[tuple[int, int, str]], alignment: int) -> int:
    """Return where the last tensor ends, counted from the first."""
    end = 0
    for begin, size, name in sorted(places):
        expected = -(-end // alignment) * alignment
        if begin != expected:
            raise BadInputError(f"{where}: {name}", f"to begin at byte {expected}", begin, AGAIN)
        end = begin + size
    return end
