"""How numbers are stored: the bytes of a matrix as data, and rules that give each tensor its format."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from memcalc.data import open_text
from memcalc.errors import choices, unknown_name
from memcalc.ledger.registry import Registry
from memcalc.ledger.tensor import Tensor, ceil_div, product

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from fractions import Fraction

    Rule = Callable[[Tensor], "Format"]

__all__ = [
    "COMMON_FORMATS",
    "FORMATS",
    "GGUF_TYPES",
    "KV_FORMATS",
    "Format",
    "format_named",
    "stored_bytes",
    "tensor_bytes",
    "uniform_rule",
    "weight_only_rule",
]


class Piece(NamedTuple):
    """One array that a matrix becomes on disk: its codes, its scales, its zero points, its index."""

    name: str
    bits: int


@dataclass(frozen=True, eq=False)
class Format:
    """Codes of `bits` each, and a scale (and a zero point) for each block of rows x columns.

    `rows_per_scale` and `columns_per_scale` None mean all of the matrix: a scale a row, or one a matrix. With
    `flat`, blocks of `columns_per_scale` numbers run on from one row into the next. `scales_per_scale` scales
    share one of 32 bits (double quantisation). `index_bits` are spent once for every input channel (GPTQ's
    g_idx), `matrix_bits` once for every matrix. A block that the matrix does not fill is stored whole.
    `assumed` is in what checkpoints of this format differ, so that only a header tells. With `block_bytes`, a
    block of `columns_per_scale` numbers of a row is stored as so many bytes, codes and scales together:
    GGUF's way, where `bits` is what the name says and the block alone counts.

    >>> FORMATS["gptq-int4-g128"].bytes(rows=8192, columns=8192)
    34897920
    >>> FORMATS["bf16"].bytes(rows=8192, columns=8192)
    134217728
    """

    id: str
    bits: int
    rows_per_scale: int | None = 1
    columns_per_scale: int | None = None
    scale_bits: int = 0
    zero_bits: int = 0
    index_bits: int = 0
    matrix_bits: int = 0
    scales_per_scale: int | None = None
    flat: bool = False
    block_bytes: int = 0
    kinds: frozenset[str] = frozenset({"matrix", "expert", "shared"})
    note: str = ""
    source: str = ""
    assumed: str = ""

    @cached_property
    def is_plain(self) -> bool:
        """True if every number is stored by itself."""
        extra = self.scale_bits or self.zero_bits or self.index_bits or self.matrix_bits
        return not (extra or self.block_bytes)

    @cached_property
    def has_scales_alone(self) -> bool:
        """True if a matrix is codes and their scales, and nothing else."""
        others = self.zero_bits or self.index_bits or self.matrix_bits or self.scales_per_scale
        return bool(self.scale_bits) and not (others or self.block_bytes)

    @property
    def assumption(self) -> str:
        """What the bytes assume of a checkpoint whose header was not read; nothing for most formats.

        >>> FORMATS["fp8-block128"].assumption
        'scales of 32 bits'
        """
        return self.assumed.format(scale_bits=self.scale_bits)

    @property
    def limit(self) -> Fraction:
        """Bits a number in matrices that grow without end: what is stored once a block remains.

        >>> str(FORMATS["gptq-int4-g128"].limit), str(FORMATS["fp8-block128"].limit)
        ('133/32', '4097/512')
        """
        from fractions import Fraction

        if self.rows_per_scale is None or self.columns_per_scale is None:
            return Fraction(self.bits)
        shared = 0 if self.scales_per_scale is None else Fraction(32, self.scales_per_scale)
        block = self.rows_per_scale * self.columns_per_scale
        if self.block_bytes:
            return Fraction(8 * self.block_bytes, block)
        return self.bits + (self.scale_bits + self.zero_bits + shared) / Fraction(block)

    def blocks(self, rows: int, columns: int) -> int:
        """Return how many blocks of a matrix have a scale of their own."""
        if self.flat:
            return ceil_div(rows * columns, self.columns_per_scale or 1)
        down = 1 if self.rows_per_scale is None else ceil_div(rows, self.rows_per_scale)
        across = 1 if self.columns_per_scale is None else ceil_div(columns, self.columns_per_scale)
        return down * across

    def pieces(self, rows: int, columns: int) -> Iterator[Piece]:
        """Yield the arrays that a matrix of `rows` outputs and `columns` inputs becomes, in bits."""
        if self.block_bytes:
            yield Piece("blocks", 8 * self.block_bytes * self.blocks(rows, columns))
            return
        yield Piece("codes", self.bits * rows * columns)
        if self.scale_bits:
            blocks = self.blocks(rows, columns)
            yield Piece("scales", self.scale_bits * blocks)
            if self.scales_per_scale is not None:
                yield Piece("scales of scales", 32 * ceil_div(blocks, self.scales_per_scale))
        if self.zero_bits:
            yield Piece("zero points", self.zero_bits * self.blocks(rows, columns))
        if self.index_bits:
            yield Piece("group index", self.index_bits * columns)
        if self.matrix_bits:
            yield Piece("once a matrix", self.matrix_bits)

    def bytes(self, rows: int, columns: int) -> int:
        """Return the bytes of a matrix: each array rounded up to whole bytes."""
        if self.is_plain and self.bits % 8 == 0:  # most tensors: nothing to round, nothing to list
            return self.bits // 8 * rows * columns
        if self.block_bytes:
            return self.block_bytes * self.blocks(rows, columns)
        if self.has_scales_alone:  # FP8 and its like, asked for each tensor of a model: no list of two
            scales = self.scale_bits * self.blocks(rows, columns)
            return ceil_div(self.bits * rows * columns, 8) + ceil_div(scales, 8)
        return sum(ceil_div(piece.bits, 8) for piece in self.pieces(rows, columns))


LISTED = "see `memcalc list formats`"
with open_text("formats.json") as _file:
    _RECORDS: dict[str, dict[str, Format]] = {
        group: {record["id"]: Format(source=record.pop("source"), **record) for record in records}
        for group, records in json.load(_file).items()
    }

FORMATS: Registry[Format] = Registry("--weights", _RECORDS["weights"], remedy=LISTED)
COMMON_FORMATS = {name: FORMATS[name] for name in ("bf16", "fp16", "fp32", "fp8-block128", "gptq-int4-g128")}
GGUF_TYPES: Registry[Format] = Registry("--weights", _RECORDS["gguf"], remedy=LISTED)
_OF_TABLES = {
    "int64": Format("int64", 64, kinds=frozenset())
}  # of indices: no weights may be asked for in it
_WIDTHS = {name: FORMATS[name] for name in ("bf16", "fp16", "fp32")}
KV_FORMATS: Registry[Format] = Registry("--kv", {**_WIDTHS, **_RECORDS["kv"]}, remedy=LISTED)
_BLOCKS = ("q8_0", "q5_0", "q5_1", "q4_0", "q4_1", "iq4_nl")  # what llama.cpp's --cache-type-k takes
_IN_BLOCKS = {name: replace(GGUF_TYPES[name.upper()], id=name) for name in _BLOCKS}
_SHORT = {"f16": FORMATS["fp16"], "bf16": FORMATS["bf16"], "f32": FORMATS["fp32"]}
GGUF_KV_FORMATS: Registry[Format] = Registry("--kv", {**_SHORT, **_WIDTHS, **_IN_BLOCKS}, remedy=LISTED)
EVERY_MATRIX = frozenset({"matrix", "expert", "shared", "embedding", "head"})
PATTERNS = "gptq-intB-gG, awq-intB-gG, intB-gG or mlx-Bbit-gG"  # B bits; G numbers share a scale, c: a row
_AWQ = "https://github.com/casper-hansen/AutoAWQ, WQLinear_GEMM qweight, qzeros, scales, 2024"
_AUTO_ROUND = "https://github.com/intel/auto-round, qlinear_torch_zp.py qweight, qzeros, scales, 2026-08"
_MLX = "https://github.com/ml-explore/mlx, mlx.core.quantize (affine), 2026-11"


@cache
def parse_format_name(name: str) -> Format | None:
    """Return the format that a name with bits and a group spells; None if it is none.

    >>> parse_format_name("awq-int4-g128").bytes(rows=8192, columns=8192)
    34865152
    >>> parse_format_name("mlx-4bit-g64").bytes(rows=64, columns=64)
    2304
    """
    found = re.fullmatch(
        r"(gptq-int|awq-int|auto-round-int|int|mlx-)([234568])(?:bit)?-g(c|[1-9][0-9]{0,5})", name
    )
    if found is None or (found[1] == "mlx-") != ("bit-" in name):
        return None
    kind, bits = found[1], int(found[2])
    form = Format(name, bits, 1, None if found[3] == "c" else int(found[3]), scale_bits=16)
    gptq, compressed = FORMATS["gptq-int4-g128"], FORMATS["w8a8"]
    match kind, bits:
        case "gptq-int" | "auto-round-int", 2 | 3 | 4 | 8:
            unordered = replace(gptq, index_bits=0, source=_AUTO_ROUND, assumed="")
            like = gptq if kind == "gptq-int" else unordered
            form = replace(form, zero_bits=bits, index_bits=like.index_bits)
            return replace(form, source=like.source, assumed=like.assumed)
        case "awq-int", 4 | 8:
            return replace(form, zero_bits=bits, source=_AWQ)
        case "int", 4 | 8:
            note = "scales in the model's 16-bit dtype"
            return replace(form, note=note, source=compressed.source, assumed=compressed.assumed)
        case "mlx-", _:
            note = "a 16-bit scale and a 16-bit bias for a group; embedding and head too"
            return replace(form, zero_bits=16, kinds=EVERY_MATRIX, note=note, source=_MLX)
    return None


@cache
def format_named(name: str) -> Format:
    """Return the format of weights that a name means; names may spell bits and group.

    Parameters
    ----------
    name : str
        A name of `FORMATS` or `GGUF_TYPES`, or one such as ``awq-int4-g128``.

    Raises
    ------
    UnknownNameError
        There is no such format.

    Examples
    --------
    >>> format_named("fp8-block128").scale_bits
    32

    """
    for known in (FORMATS, GGUF_TYPES, _OF_TABLES):
        if name in known:
            return known[name]
    if name.lower() in FORMATS:
        return FORMATS[name.lower()]
    found = parse_format_name(name.lower())
    if found is None:
        every = f"{choices(FORMATS)}, or {PATTERNS}"
        raise unknown_name("--weights", [*FORMATS, *GGUF_TYPES], name, every, LISTED)
    return found


def uniform_rule(rest: Format) -> Rule:
    """Return the rule that stores every tensor in one plain format.

    >>> uniform_rule(FORMATS["bf16"])(Tensor("lm_head.weight", (10, 10), "head")).id
    'bf16'
    """
    return partial(own_or, rest)


def own_or(rest: Format, tensor: Tensor) -> Format:
    """Return the format that a tensor names, or the rest's."""
    return format_named(tensor.format) if tensor.format else rest


def weight_only_rule(matrices: Format, rest: Format) -> Rule:
    """Return the rule of quantised checkpoints: linear layers in one format, all else in another.

    Parameters
    ----------
    matrices : Format
        Of the kinds of tensors that it is for; of linear layers, for most formats.
    rest : Format
        Of embedding, head, router, norms and biases.

    Examples
    --------
    >>> rule = weight_only_rule(FORMATS["gptq-int4-g128"], FORMATS["bf16"])
    >>> rule(Tensor("q_proj.weight", (10, 10))).id, rule(Tensor("lm_head.weight", (10, 10), "head")).id
    ('gptq-int4-g128', 'bf16')

    """
    return partial(own_or_of_kind, matrices, rest)


def own_or_of_kind(matrices: Format, rest: Format, tensor: Tensor) -> Format:
    """Return the format that a tensor names, or that of its kind."""
    return own_or(matrices if tensor.kind in matrices.kinds and len(tensor.shape) > 1 else rest, tensor)


def as_matrix(tensor: Tensor) -> tuple[int, int]:
    """Return the rows and the columns of one of the equal arrays; all axes but the last are rows."""
    if len(tensor.shape) == 2:  # most tensors
        return product(tensor.shape[0]), product(tensor.shape[1])
    *rows, columns = map(product, tensor.shape or (1,))  # a number by itself has no axis
    return prod(rows), columns


def tensor_bytes(tensor: Tensor, stored_as: Format) -> int:
    """Return the bytes of all equal arrays of a tensor.

    >>> tensor_bytes(Tensor("lm_head.weight", (151936, 5120), "head"), FORMATS["bf16"])
    1555824640
    """
    return tensor.copies * stored_as.bytes(*as_matrix(tensor))


def array_bytes(tensor: Tensor, stored_as: Format) -> list[int]:
    """Return the bytes of each array that one of the equal tensors becomes.

    >>> array_bytes(Tensor("q_proj.weight", (8192, 8192)), FORMATS["gptq-int4-g128"])
    [33554432, 1048576, 262144, 32768]
    """
    if stored_as.is_plain:  # most tensors are one array
        return [stored_as.bytes(*as_matrix(tensor))]
    return [ceil_div(piece.bits, 8) for piece in stored_as.pieces(*as_matrix(tensor))]


def tensor_pieces(tensor: Tensor, stored_as: Format) -> Iterator[tuple[str, int]]:
    """Yield name and bytes of each array that a tensor becomes, all equal ones together.

    >>> dict(tensor_pieces(Tensor("q_proj.weight", (8192, 5120)), FORMATS["mxfp4"]))
    {'codes': 20971520, 'scales': 1310720}
    """
    for piece in stored_as.pieces(*as_matrix(tensor)):
        yield piece.name, tensor.copies * ceil_div(piece.bits, 8)


def stored_bytes(tensors: Iterable[Tensor], rule: Rule) -> int:
    """Return the bytes of the parameters in a checkpoint; buffers are not parameters and stay out.

    >>> stored_bytes([Tensor("a", (4, 4)), Tensor("b", (4,), "buffer")], uniform_rule(FORMATS["bf16"]))
    32
    """
    return sum(tensor_bytes(tensor, rule(tensor)) for tensor in tensors if tensor.kind != "buffer")
