"""How numbers are stored: the bytes of a matrix as data, and rules that give each tensor its format."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache, cached_property
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import UnknownNameError
from memcalc.ledger.tensor import Tensor, ceil_div, product

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from fractions import Fraction

    from memcalc.ledger.model import Model

    Rule = Callable[[Tensor], "Format"]

__all__ = [
    "FORMATS",
    "GGUF_KV_FORMATS",
    "GGUF_TYPES",
    "KV_FORMATS",
    "MORE_FORMATS",
    "Format",
    "Piece",
    "array_bytes",
    "format_named",
    "plain",
    "quantised",
    "stored_bytes",
    "tensor_bytes",
    "tensor_pieces",
    "zero_biases",
]


class Piece(NamedTuple):
    """One array that a matrix becomes on disk: its codes, its scales, its zero points, its index."""

    name: str
    bits: int


@dataclass(frozen=True)
class Format:
    """Codes of `bits` each; per block of rows x columns a scale (and a zero point) beside them.

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
        beside = self.scale_bits or self.zero_bits or self.index_bits or self.matrix_bits
        return not (beside or self.block_bytes)

    @property
    def assumption(self) -> str:
        """What the bytes assume of a checkpoint whose header nobody has read; nothing for most formats.

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
        below = 1 if self.rows_per_scale is None else ceil_div(rows, self.rows_per_scale)
        beside = 1 if self.columns_per_scale is None else ceil_div(columns, self.columns_per_scale)
        return below * beside

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
        if self.is_plain:  # most tensors: no need to list their one array
            return ceil_div(self.bits * rows * columns, 8)
        return sum(ceil_div(piece.bits, 8) for piece in self.pieces(rows, columns))


_SAFETENSORS = "https://github.com/huggingface/safetensors (dtype widths), 2026-11"
_DEEPSEEK = "arXiv:2412.19437, section 3.3: one scale a 128 x 128 block, 2024-12"
_SCALE = "scales of {scale_bits} bits"
_NO_BIASES = "no zero biases, which older tools add to every module"
_GPTQ = "https://github.com/AutoGPTQ/AutoGPTQ, QuantLinear buffers qweight, scales, qzeros, g_idx, 2024"

FORMATS: dict[str, Format] = {
    record.id: record
    for record in (
        Format("bf16", 16, source=_SAFETENSORS),
        Format("fp16", 16, source=_SAFETENSORS),
        Format("fp32", 32, source=_SAFETENSORS),
        Format(
            "fp8-block128",
            8,
            rows_per_scale=128,
            columns_per_scale=128,
            scale_bits=32,
            note="e4m3 codes and one fp32 scale for 128 x 128 of them; embedding, head, norms, router 16-bit",
            source=_DEEPSEEK,
            assumed=_SCALE,
        ),
        Format(
            "gptq-int4-g128",
            4,
            columns_per_scale=128,
            scale_bits=16,
            zero_bits=4,
            index_bits=32,
            note="4-bit codes; per 128 inputs a 16-bit scale and a 4-bit zero; embedding, head, norms 16-bit",
            source=_GPTQ,
            assumed=_NO_BIASES,
        ),
    )
}
_COMPRESSED = "https://github.com/vllm-project/compressed-tensors, compressors and QuantizationArgs, 2026-11"
_BITSANDBYTES = "https://github.com/bitsandbytes-foundation/bitsandbytes, functional.py quantize_4bit, 0.50.2"
_SCALE_16 = "scales in the model's 16-bit dtype"
EVERY_MATRIX = frozenset({"matrix", "expert", "shared", "embedding", "head"})
MORE_FORMATS: dict[str, Format] = {
    record.id: record
    for record in (
        Format(
            "fp8",
            8,
            None,
            None,
            32,
            note="e4m3 codes and one fp32 scale a matrix",
            source=_COMPRESSED,
            assumed=_SCALE,
        ),
        Format(
            "fp8-channel",
            8,
            1,
            None,
            16,
            note=f"e4m3 codes, a scale a row; {_SCALE_16}",
            source=_COMPRESSED,
            assumed=_SCALE,
        ),
        Format(
            "w8a8",
            8,
            1,
            None,
            16,
            note=f"int8 codes, a scale a row; {_SCALE_16}",
            source=_COMPRESSED,
            assumed=_SCALE,
        ),
        Format(
            "int8", 8, 1, None, 32, note="LLM.int8: int8 codes, an fp32 scale a row", source=_BITSANDBYTES
        ),
        Format(
            "nf4",
            4,
            columns_per_scale=64,
            scale_bits=32,
            matrix_bits=16 * 32,
            flat=True,
            note="4-bit codes, an fp32 absmax for 64 of them; a table of 16 fp32 codes a matrix",
            source=_BITSANDBYTES,
        ),
        Format(
            "nf4-dq",
            4,
            columns_per_scale=64,
            scale_bits=8,
            matrix_bits=(16 + 256) * 32,
            scales_per_scale=256,
            flat=True,
            note="as nf4, its absmax in 8 bits and an fp32 for 256 of those; two tables a matrix",
            source=_BITSANDBYTES,
        ),
        Format(
            "mxfp4",
            4,
            columns_per_scale=32,
            scale_bits=8,
            note="e2m1 codes, a power of two in 8 bits for 32 of them",
            source="https://github.com/openai/gpt-oss, README: MXFP4 on the experts; OCP MX v1.0, 2023-09",
        ),
        Format(
            "nvfp4",
            4,
            columns_per_scale=16,
            scale_bits=8,
            matrix_bits=2 * 32,
            note="e2m1 codes, an fp8 scale for 16 of them; weight_scale_2 and input_scale in fp32 a matrix",
            source="https://github.com/NVIDIA/TensorRT-Model-Optimizer, export of NVFP4, 2026-11",
        ),
    )
}
MORE_FORMATS["fp4"] = replace(MORE_FORMATS["nf4"], id="fp4")
MORE_FORMATS["fp4-dq"] = replace(MORE_FORMATS["nf4-dq"], id="fp4-dq")
FAMILIES = "gptq-intB-gG, awq-intB-gG, intB-gG or mlx-Bbit-gG"  # B bits; G numbers share a scale, c: a row
_AWQ = "https://github.com/casper-hansen/AutoAWQ, WQLinear_GEMM qweight, qzeros, scales, 2024"
_MLX = "https://github.com/ml-explore/mlx, mlx.core.quantize (affine), 2026-11"


@cache
def of_family(name: str) -> Format | None:
    """Return the format that a name with bits and a group spells; None if it is none.

    >>> of_family("awq-int4-g128").bytes(rows=8192, columns=8192)
    34865152
    >>> of_family("mlx-4bit-g64").bytes(rows=64, columns=64)
    2304
    """
    found = re.fullmatch(r"(gptq-int|awq-int|int|mlx-)([234568])(?:bit)?-g(c|[1-9][0-9]{0,5})", name)
    if found is None or (found[1] == "mlx-") != ("bit-" in name):
        return None
    kind, bits = found[1], int(found[2])
    form = Format(name, bits, 1, None if found[3] == "c" else int(found[3]), scale_bits=16)
    match kind, bits:
        case "gptq-int", 2 | 3 | 4 | 8:
            return replace(form, zero_bits=bits, index_bits=32, source=_GPTQ, assumed=_NO_BIASES)
        case "awq-int", 4 | 8:
            return replace(form, zero_bits=bits, source=_AWQ)
        case "int", 4 | 8:
            return replace(form, note=_SCALE_16, source=_COMPRESSED, assumed=_SCALE)
        case "mlx-", _:
            note = "a 16-bit scale and a 16-bit bias for a group; embedding and head too"
            return replace(form, zero_bits=16, kinds=EVERY_MATRIX, note=note, source=_MLX)
    return None


_GGML = "https://github.com/ggml-org/llama.cpp, ggml/src/ggml-common.h (block_q4_K, ...), v0.5.0, 2026-11"
# GGUF's blocks: a type's name, the bits in it, numbers of a row in a block, bytes of the block. The last two
# are ternary: TQ1_0 packs five numbers of three values into a byte, 1.69 bits each; its name rounds down.
_BLOCKS = (
    ("Q8_0", 8, 32, 34),
    ("Q5_0", 5, 32, 22),
    ("Q5_1", 5, 32, 24),
    ("Q4_0", 4, 32, 18),
    ("Q4_1", 4, 32, 20),
    ("IQ4_NL", 4, 32, 18),
    ("MXFP4", 4, 32, 17),
    ("NVFP4", 4, 64, 36),
    ("Q2_0", 2, 64, 18),
    ("Q1_0", 1, 128, 18),
    ("Q2_K", 2, 256, 84),
    ("Q3_K", 3, 256, 110),
    ("Q4_K", 4, 256, 144),
    ("Q5_K", 5, 256, 176),
    ("Q6_K", 6, 256, 210),
    ("IQ4_XS", 4, 256, 136),
    ("IQ3_S", 3, 256, 110),
    ("IQ3_XXS", 3, 256, 98),
    ("IQ2_S", 2, 256, 82),
    ("IQ2_XS", 2, 256, 74),
    ("IQ2_XXS", 2, 256, 66),
    ("IQ1_S", 1, 256, 50),
    ("IQ1_M", 1, 256, 56),
    ("TQ2_0", 2, 256, 66),
    ("TQ1_0", 1, 256, 54),
)
GGUF_TYPES: dict[str, Format] = {
    name: Format(
        name,
        bits,
        columns_per_scale=numbers,
        block_bytes=size,
        note=f"{size} bytes for {numbers} numbers of a row, codes and scales together",
        source=_GGML,
    )
    for name, bits, numbers, size in _BLOCKS
}

KV_FORMATS: dict[str, Format] = {
    record.id: record
    for record in (
        FORMATS["bf16"],
        FORMATS["fp16"],
        FORMATS["fp32"],
        Format("fp8", 8, note="one byte a number; a scale a layer is not counted", source=_SAFETENSORS),
    )
}
# llama.cpp's words for what a cache may be stored as (--cache-type-k)
GGUF_KV_FORMATS: dict[str, Format] = {
    "f16": FORMATS["fp16"],
    "bf16": FORMATS["bf16"],
    "f32": FORMATS["fp32"],
    "fp16": FORMATS["fp16"],
    "fp32": FORMATS["fp32"],
    **{
        name: replace(GGUF_TYPES[name.upper()], id=name)
        for name in ("q8_0", "q5_0", "q5_1", "q4_0", "q4_1", "iq4_nl")
    },
}


def format_named(name: str, field: str = "--weights", known: Mapping[str, Format] = FORMATS) -> Format:
    """Return the record of a format; those of weights may be named by bits and group.

    >>> format_named("fp8-block128").scale_bits
    32

    Raises:
        UnknownNameError: no record has this name.

    """
    weights = known is FORMATS
    found = known.get(name)
    if weights and found is None:
        found = MORE_FORMATS.get(name) or GGUF_TYPES.get(name) or of_family(name)
    if found is None:
        expected = f"one of {', '.join([*known, *(MORE_FORMATS if weights else ())])}"
        expected += f", or {FAMILIES}" if weights else ""
        raise UnknownNameError(field, expected, name, "see `memcalc list formats`")
    return found


def plain(rest: Format) -> Rule:
    """Return the rule that stores every tensor in one plain format.

    >>> plain(FORMATS["bf16"])(Tensor("lm_head.weight", (10, 10), "head")).id
    'bf16'
    """
    return lambda tensor: format_named(tensor.format) if tensor.format else rest


def quantised(matrices: Format, rest: Format) -> Rule:
    """Return the rule of quantised checkpoints: linear layers in `matrices`, all else in `rest`.

    Embedding, head, router, norms and biases keep the 16-bit format: what calculators forget.

    >>> rule = quantised(FORMATS["gptq-int4-g128"], FORMATS["bf16"])
    >>> rule(Tensor("q_proj.weight", (10, 10))).id, rule(Tensor("lm_head.weight", (10, 10), "head")).id
    ('gptq-int4-g128', 'bf16')
    """

    def rule(tensor: Tensor) -> Format:
        if tensor.format:
            return format_named(tensor.format)
        return matrices if tensor.kind in matrices.kinds and len(tensor.shape) > 1 else rest

    return rule


def tensor_bytes(tensor: Tensor, stored_as: Format) -> int:
    """Return the bytes of all equal arrays of a tensor.

    >>> tensor_bytes(Tensor("lm_head.weight", (151936, 5120), "head"), FORMATS["bf16"])
    1555824640
    """
    *rows, columns = map(product, tensor.shape)
    return tensor.copies * stored_as.bytes(prod(rows), columns)


def array_bytes(tensor: Tensor, stored_as: Format) -> list[int]:
    """Return the bytes of each array that one of the equal tensors becomes.

    >>> array_bytes(Tensor("q_proj.weight", (8192, 8192)), FORMATS["gptq-int4-g128"])
    [33554432, 1048576, 262144, 32768]
    """
    *rows, columns = map(product, tensor.shape)
    if stored_as.is_plain:  # most tensors are one array
        return [stored_as.bytes(prod(rows), columns)]
    return [ceil_div(piece.bits, 8) for piece in stored_as.pieces(prod(rows), columns)]


def tensor_pieces(tensor: Tensor, stored_as: Format) -> Iterator[tuple[str, int]]:
    """Yield name and bytes of each array that a tensor becomes, all equal ones together.

    >>> dict(tensor_pieces(Tensor("q_proj.weight", (8192, 5120)), MORE_FORMATS["mxfp4"]))
    {'codes': 20971520, 'scales': 1310720}
    """
    *rows, columns = map(product, tensor.shape)
    for piece in stored_as.pieces(prod(rows), columns):
        yield piece.name, tensor.copies * ceil_div(piece.bits, 8)


def stored_bytes(tensors: Iterable[Tensor], rule: Rule) -> int:
    """Return the bytes of the parameters in a checkpoint; buffers are not parameters and stay out.

    >>> stored_bytes([Tensor("a", (4, 4)), Tensor("b", (4,), "buffer")], plain(FORMATS["bf16"]))
    32
    """
    return sum(tensor_bytes(tensor, rule(tensor)) for tensor in tensors if tensor.kind != "buffer")


def zero_biases(model: Model, rule: Rule) -> Iterator[Tensor]:
    """Yield the zero biases that AutoGPTQ stores for every quantised linear layer that has none of its own.

    Source: AutoGPTQ packed every layer with ``bias=True`` before https://github.com/AutoGPTQ/AutoGPTQ/pull/602
    (2024-03), which no release had by 2024-10 (https://github.com/microsoft/Olive/pull/1445).
    """
    weights = list(model.weights())
    names = {tensor.name for tensor in weights}
    for tensor in weights:
        name = tensor.name.removesuffix("weight") + "bias"
        if not rule(tensor).is_plain and name not in names:
            yield tensor._replace(name=name, shape=tensor.shape[:1], kind="bias", split=None)
