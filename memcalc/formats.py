"""How numbers are stored: the bytes of a matrix as data, and rules that give each tensor its format."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import BadInputError, UnknownNameError
from memcalc.tensor import Tensor, ceil_div, product

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable, Iterator

    from memcalc.model import Model

    Rule = Callable[[Tensor], "Format"]

__all__ = [
    "FORMATS",
    "KV_FORMATS",
    "Format",
    "Piece",
    "format_named",
    "plain",
    "quantised",
    "stored_bytes",
    "tensor_bytes",
    "zero_biases",
]


class Piece(NamedTuple):
    """One array that a matrix becomes on disk: its codes, its scales, its zero points, its index."""

    name: str
    bits: int


@dataclass(frozen=True)
class Format:
    """Codes of `bits` each; per block of rows x columns a scale (and a zero point) beside them.

    `columns_per_scale` None means that no scale is stored. `index_bits` are spent once for every input
    channel (GPTQ's g_idx). A block that the matrix does not fill is stored whole.

    >>> FORMATS["gptq-int4-g128"].bytes(rows=8192, columns=8192)
    34897920
    >>> FORMATS["bf16"].bytes(rows=8192, columns=8192)
    134217728
    """

    id: str
    bits: int
    rows_per_scale: int = 1
    columns_per_scale: int | None = None
    scale_bits: int = 0
    zero_bits: int = 0
    index_bits: int = 0
    note: str = ""
    source: str = ""

    @property
    def is_plain(self) -> bool:
        """True if every number is stored by itself."""
        return self.columns_per_scale is None

    def pieces(self, rows: int, columns: int) -> Iterator[Piece]:
        """Yield the arrays that a matrix of `rows` outputs and `columns` inputs becomes, in bits."""
        yield Piece("codes", self.bits * rows * columns)
        if self.columns_per_scale is not None:
            blocks = ceil_div(rows, self.rows_per_scale) * ceil_div(columns, self.columns_per_scale)
            yield Piece("scales", self.scale_bits * blocks)
            if self.zero_bits:
                yield Piece("zero points", self.zero_bits * blocks)
        if self.index_bits:
            yield Piece("group index", self.index_bits * columns)

    def bytes(self, rows: int, columns: int) -> int:
        """Return the bytes of a matrix: each array rounded up to whole bytes."""
        if self.is_plain:
            return ceil_div(self.bits * rows * columns, 8)
        return sum(ceil_div(piece.bits, 8) for piece in self.pieces(rows, columns))


_SAFETENSORS = "https://github.com/huggingface/safetensors (dtype widths), 2026-11"
_DEEPSEEK = "arXiv:2412.19437, section 3.3: one scale a 128 x 128 block, 2024-12"
_OCP = (
    "Open Compute Project, OCP Microscaling Formats (MX) v1.0, section 5: an E8M0 scale for 32 codes, 2023-09"
)
_COMPRESSED = (
    "https://github.com/vllm-project/compressed-tensors, pack-quantized: weight_packed, weight_scale, 2026-11"
)
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
        ),
        Format(
            "int4-g32",
            4,
            columns_per_scale=32,
            scale_bits=16,
            note="4-bit codes; per 32 inputs a 16-bit scale; embedding, head, norms 16-bit",
            source=_COMPRESSED,
        ),
        Format(
            "mxfp4",
            4,
            columns_per_scale=32,
            scale_bits=8,
            note="e2m1 codes; per 32 inputs an 8-bit scale (a power of two); embedding, head, norms 16-bit",
            source=_OCP,
        ),
    )
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


def format_named(name: str, field: str = "--weights", known: dict[str, Format] = FORMATS) -> Format:
    """Return the record of a format.

    >>> format_named("fp8-block128").scale_bits
    32

    Raises:
        UnknownNameError: no record has this name.

    """
    if name not in known:
        raise UnknownNameError(field, f"one of {', '.join(known)}", name, "see `memcalc list formats`")
    return known[name]


QUANTISED_KINDS = frozenset({"matrix", "expert", "shared"})


def plain(rest: Format) -> Rule:
    """Return the rule that stores every tensor in one plain format.

    >>> plain(FORMATS["bf16"])(Tensor("lm_head.weight", (10, 10), "head")).id
    'bf16'
    """
    return lambda tensor: FORMATS[tensor.format] if tensor.format else rest


def quantised(matrices: Format, rest: Format, left_out: Iterable[str] = ()) -> Rule:
    """Return the rule of quantised checkpoints: linear layers in `matrices`, all else in `rest`.

    Embedding, head, router, norms and biases keep the 16-bit format: what calculators forget. So does what
    the checkpoint's own list leaves out (see `pattern`).

    >>> rule = quantised(FORMATS["gptq-int4-g128"], FORMATS["bf16"])
    >>> rule(Tensor("q_proj.weight", (10, 10))).id, rule(Tensor("lm_head.weight", (10, 10), "head")).id
    ('gptq-int4-g128', 'bf16')
    """
    patterns = [pattern(entry) for entry in left_out]

    def rule(tensor: Tensor) -> Format:
        if tensor.format:
            return FORMATS[tensor.format]
        quantisable = tensor.kind in QUANTISED_KINDS and len(tensor.shape) > 1
        return matrices if quantisable and not any(one.match(tensor.name) for one in patterns) else rest

    return rule


def pattern(entry: str) -> re.Pattern[str]:
    """Return what an entry of a list of modules to leave matches: a name, or ``re:`` and a pattern.

    >>> bool(pattern("model.layers.*.self_attn").match("model.layers.{layer}.self_attn.q_proj.weight"))
    True

    Raises:
        BadInputError: the entry is for a single layer, or is no pattern.

    """
    import re

    if re.search(r"layers\\?\.\d", entry):
        remedy = "equal layers are counted together; say --weights with a known format"
        raise BadInputError("quantization_config", "entries that hold for all layers", entry, remedy)
    try:
        if entry.startswith("re:"):
            return re.compile(entry.removeprefix("re:"))
        return re.compile(re.escape(entry).replace(r"\*", "[^.]+") + r"(\.|$)")
    except re.error:
        remedy = "correct config.json"
        raise BadInputError("quantization_config", "names, or re: and a pattern", entry, remedy) from None


def tensor_bytes(tensor: Tensor, stored_as: Format) -> int:
    """Return the bytes of all equal arrays of a tensor.

    >>> tensor_bytes(Tensor("lm_head.weight", (151936, 5120), "head"), FORMATS["bf16"])
    1555824640
    """
    *rows, columns = map(product, tensor.shape)
    return tensor.copies * stored_as.bytes(prod(rows), columns)


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
