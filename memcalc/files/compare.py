"""What a checkpoint of a model holds, array by array, and in what a header that was read differs from it.

The ledger lists matrices. A quantised checkpoint stores several arrays for each: codes, scales, zero points,
under the names, shapes and dtypes of the tool that wrote it. A tool whose names no public source confirms has
no entry in `TOOLS`: its arrays are then left uncompared, and that is said.
"""

from __future__ import annotations

import re
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import BadInputError
from memcalc.files.safetensors import BITS
from memcalc.files.tensor_names import as_found, family_name, listed, stored_shape
from memcalc.ledger.formats import Format, format_named, uniform_rule, weight_only_rule
from memcalc.ledger.tensor import ceil_div

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from memcalc.files.quantization import Scheme
    from memcalc.files.safetensors import Header, Stored
    from memcalc.files.source import Source
    from memcalc.files.tensor_names import Listed
    from memcalc.ledger.model import Model

__all__ = ["Array", "Check", "Difference", "check"]

DTYPES = {"bf16": "BF16", "fp16": "F16", "fp32": "F32"}
# Floats by their width: which of the two of 16 bits a tool writes depends on the model that it was given.
FLOATS = {32: ("F32",), 16: ("BF16", "F16"), 8: ("F8_E8M0",)}
BUFFER = (
    "F32",
    "BF16",
    "F16",
)  # the router's bias: F32 in published files, the model's dtype if written again


class Array(NamedTuple):
    """One array that a checkpoint should hold; any of `dtypes` will do, the first is what the ledger counts.

    `shape` is None where it cannot be derived; an `optional` array may be left out.
    """

    shape: tuple[int, ...] | None
    dtypes: tuple[str, ...]
    optional: bool = False

    def bytes(self, found: Stored | None) -> int:
        """Return the bytes of the array; what is left open, the header decides.

        >>> Array((2, 3), ("BF16", "F16")).bytes(None)
        12
        """
        if self.shape is None:
            return 0 if found is None else found.bytes
        dtype = found.dtype if found is not None and found.dtype in self.dtypes else self.dtypes[0]
        return prod(self.shape) * BITS[dtype] // 8

    def difference(self, found: Stored) -> str | None:
        """Name in what a stored tensor differs: "shape", "dtype", or nothing.

        One number may have the shape () or (1,).
        """
        if self.shape is not None and (found.shape or (1,)) != (self.shape or (1,)):
            return "shape"
        return None if found.dtype in self.dtypes else "dtype"

    @property
    def fields(self) -> dict[str, object]:
        """The array as a difference shows it."""
        shape = None if self.shape is None else list(self.shape)
        return {"dtype": " or ".join(self.dtypes), "shape": shape}


Packed = dict[str, Array]  # what stands behind the module's name -> array


def gptq(form: Format, rows: int, columns: int, endings: set[str]) -> Packed:
    """Return GPTQ's arrays; older tools add a bias to every module, zeros if the model has none.

    Source: https://github.com/AutoGPTQ/AutoGPTQ, auto_gptq/nn_modules/qlinear/qlinear_cuda.py, 2024.
    """
    del endings
    groups = form.blocks(1, columns)
    return {
        ".qweight": Array((columns // 32 * form.bits, rows), ("I32",)),
        ".qzeros": Array((groups, rows // 32 * form.bits), ("I32",)),
        ".scales": Array((groups, rows), FLOATS[16]),
        ".g_idx": Array((columns,), ("I32",)),
        ".bias": Array((rows,), FLOATS[16], optional=True),
    }


def awq(form: Format, rows: int, columns: int, endings: set[str]) -> Packed:
    """Return AWQ's arrays.

    Source: https://github.com/casper-hansen/AutoAWQ, awq/modules/linear/gemm.py, 2024.
    """
    del endings
    groups = form.blocks(1, columns)
    return {
        ".qweight": Array((columns, rows * form.bits // 32), ("I32",)),
        ".qzeros": Array((groups, rows * form.bits // 32), ("I32",)),
        ".scales": Array((groups, rows), FLOATS[16]),
    }


def fp8(form: Format, rows: int, columns: int, endings: set[str]) -> Packed:
    """Return FP8's arrays: a scale a block, or one a matrix, with one for the activations if they are static.

    DeepSeek's names of scales end in _inv; whether others do, the header says.
    Source: https://github.com/simpx/model-inspect, README (header of deepseek-ai/DeepSeek-V3), 2025; vLLM's
    fp8.py and transformers' integrations/finegrained_fp8.py, 2026-11.
    """
    blocks = form.rows_per_scale is not None
    scale = ".weight_scale" if "weight_scale_inv" not in endings and not blocks else ".weight_scale_inv"
    static = ".activation_scale" if "activation_scale" in endings else ".input_scale"
    found = {".weight": Array((rows, columns), ("F8_E4M3",)), scale: scales_of(form, rows, columns)}
    return found | ({static: Array((), ("F32",))} if form.matrix_bits else {})


def scales_of(form: Format, rows: int, columns: int) -> Array:
    """Return the array of scales that lies as the blocks do: (blocks below, blocks beside), or one number."""
    if form.rows_per_scale is None:
        return Array((), FLOATS[form.scale_bits])
    below = ceil_div(rows, form.rows_per_scale)
    beside = 1 if form.columns_per_scale is None else ceil_div(columns, form.columns_per_scale)
    return Array((below, beside), FLOATS[form.scale_bits])


def bitsandbytes(form: Format, rows: int, columns: int, endings: set[str]) -> Packed:
    """Return the arrays of NF4, FP4 and LLM.int8; the last one of the former is a text of some dozen bytes.

    Source: https://github.com/bitsandbytes-foundation/bitsandbytes, nn/modules.py (_save_to_state_dict),
    functional.py (QuantState.as_dict), backends/default/ops.py (shapes), 2026.
    """
    del endings
    if form.bits == 8:
        return {
            ".weight": Array((rows, columns), ("I8",)),
            ".SCB": Array((rows,), ("F32",)),
            ".weight_format": Array((), ("U8",), optional=True),  # releases before 0.43 wrote none
        }
    blocks = form.blocks(rows, columns)
    found = {
        ".weight": Array((ceil_div(rows * columns, 2), 1), ("U8",)),
        ".weight.quant_map": Array((16,), ("F32",)),
        ".weight.absmax": Array((blocks,), ("F32",)),
        f".weight.quant_state.bitsandbytes__{form.id.removesuffix('-dq')}": Array(None, ("U8",)),
    }
    if form.scales_per_scale is None:
        return found
    return found | {
        ".weight.absmax": Array((blocks,), ("U8",)),
        ".weight.nested_absmax": Array((ceil_div(blocks, form.scales_per_scale),), ("F32",)),
        ".weight.nested_quant_map": Array((256,), ("F32",)),
    }


def pack_quantized(form: Format, rows: int, columns: int, endings: set[str]) -> Packed:
    """Return the arrays of compressed-tensors' integers, packed into words of 32 bits.

    Source: https://github.com/vllm-project/compressed-tensors, compressors/pack_quantized/base.py, 2026.
    """
    del endings
    groups = form.blocks(1, columns)
    found = {
        ".weight_packed": Array((rows, ceil_div(columns * form.bits, 32)), ("I32",)),
        ".weight_scale": Array((rows, groups), FLOATS[form.scale_bits]),
        ".weight_shape": Array((2,), ("I64", "I32")),
        ".weight_g_idx": Array((columns,), ("I32",), optional=True),
    }
    if form.zero_bits:
        found[".weight_zero_point"] = Array((ceil_div(rows * form.bits, 32), groups), ("I32",))
    return found


def naive_quantized(form: Format, rows: int, columns: int, endings: set[str]) -> Packed:
    """Return the arrays of compressed-tensors' numbers of 8 bits.

    Source: https://github.com/vllm-project/compressed-tensors, compressors/naive_quantized/base.py, 2026.
    """
    del endings
    codes = "I8" if form.id == "w8a8" else "F8_E4M3"
    return {
        ".weight": Array((rows, columns), (codes,)),
        ".weight_scale": scales_of(form, rows, columns),
        ".input_scale": Array((), FLOATS[32] + FLOATS[16], optional=True),
    }


def mxfp4(form: Format, rows: int, columns: int, endings: set[str]) -> Packed:
    """Return gpt-oss's arrays, two codes a byte; the experts of a layer are stacked before these axes.

    Source: https://github.com/huggingface/transformers, integrations/mxfp4.py, 5.23; shapes as in
    https://github.com/pytorch/torchtitan, models/gpt_oss/state_dict_adapter.py, 2026.
    """
    del endings
    blocks = form.blocks(1, columns)
    per_block = columns * form.bits // 8 // blocks
    return {"_blocks": Array((rows, blocks, per_block), ("U8",)), "_scales": Array((rows, blocks), ("U8",))}


def modelopt(form: Format, rows: int, columns: int, endings: set[str]) -> Packed:
    """Return the arrays of NVIDIA's FP8 and NVFP4; without calibrated activations there is no input_scale.

    Source: https://github.com/NVIDIA/TensorRT-Model-Optimizer, torch/export/unified_export_hf.py, 2026.
    """
    del endings
    number = Array((), ("F32",))
    beside = {".input_scale": number._replace(optional=True)}
    if form.bits == 8:
        return {".weight": Array((rows, columns), ("F8_E4M3",)), ".weight_scale": number, **beside}
    return {
        ".weight": Array((rows, columns // 2), ("U8",)),
        ".weight_scale": Array((rows, form.blocks(1, columns)), ("F8_E4M3",)),
        ".weight_scale_2": number,
        **beside,
    }


def mlx(form: Format, rows: int, columns: int, endings: set[str]) -> Packed:
    """Return MLX's arrays (affine).

    Source: https://github.com/ml-explore/mlx, python/mlx/nn/layers/quantized.py, 2026.
    """
    del endings
    group = Array((rows, form.blocks(1, columns)), FLOATS[16])
    return {".weight": Array((rows, columns * form.bits // 32), ("U32",)), ".scales": group, ".biases": group}


# (method, layout of compressed-tensors) of a quantization_config -> how its tool stores a matrix
TOOLS: dict[tuple[str, str], Callable[[Format, int, int, set[str]], Packed]] = {
    ("gptq", ""): gptq,
    ("awq", ""): awq,
    ("fp8", ""): fp8,
    ("bitsandbytes", ""): bitsandbytes,
    ("compressed-tensors", "pack-quantized"): pack_quantized,
    ("compressed-tensors", "float-quantized"): naive_quantized,
    ("compressed-tensors", "int-quantized"): naive_quantized,
    ("compressed-tensors", "naive-quantized"): naive_quantized,
    ("mxfp4", ""): mxfp4,
    ("modelopt", ""): modelopt,
    ("mlx", ""): mlx,
}


class Difference(NamedTuple):
    """In what a checkpoint differs from the ledger; `count` equal ones of layers and experts are one.

    `kind` is "missing" (from the checkpoint), "unexpected" (in it), "shape", "dtype", "bytes" (an index
    states another sum) or "not compared".
    """

    name: str
    kind: str
    expected: object = None
    found: object = None
    count: int = 1  # type: ignore[assignment]  # the word every reader expects, and no tuple's


class Check(NamedTuple):
    """What comparing a header with the ledger gave. `ledger_bytes` are those of the same tensors, derived."""

    header: Header
    ledger_bytes: int | None
    differences: tuple[Difference, ...]

    @property
    def fields(self) -> dict[str, object]:
        """The header as an answer shows it."""
        return {
            "tensors": len(self.header.tensors),
            "bytes": self.header.bytes,
            "ledger_bytes": self.ledger_bytes,
            "files": self.header.files,
        }

    @property
    def text(self) -> str:
        """One line for people."""
        kinds = ("missing", "unexpected", "shape", "dtype")
        real = [one for one in self.differences if one.kind in kinds]
        rows = [self.equal if not real else differing(real)]
        for one in self.differences:
            if one.kind == "bytes":
                rows.append(f"the index states {one.found:,} bytes instead of {one.expected:,}")
            elif one.kind not in kinds:
                rows.append(f"not compared: {one.name}")
        return "; ".join(rows)

    @property
    def equal(self) -> str:
        """What is said where no tensor differs."""
        what = "tensors" if self.header.files else "names (no shard lies beside the index)"
        size = self.header.bytes
        return f"header: equal, {len(self.header.tensors):,} {what}" + (f", {size:,} bytes" if size else "")


def differing(differences: list[Difference]) -> str:
    """Say in how many tensors a header differs, and show the first three.

    >>> differing([Difference("lm_head.weight", "unexpected")])
    'header differs in 1 tensor(s): unexpected lm_head.weight'
    """
    shown = ", ".join(f"{one.kind} {one.name}" for one in differences[:3])
    more = f", and {len(differences) - 3} more" if len(differences) > 3 else ""
    return f"header differs in {sum(one.count for one in differences):,} tensor(s): {shown}{more}"


class Expected(NamedTuple):
    """The arrays of a checkpoint, and the bytes of the modules whose arrays are not compared."""

    arrays: dict[str, Array]
    uncompared: dict[str, int]


def check(source: Source) -> Check | None:
    """Compare the header of a source with the ledger of its config.json, tensor by tensor; None without one.

    Raises:
        BadInputError: the config.json is not understood.

    """
    header = source.header
    if header is None:
        return None
    if header.kind == "gguf":
        return check_gguf(source.model, header)
    try:
        scheme = source.scheme
    except BadInputError as error:  # the model itself can be answered all the same
        return Check(header, None, (Difference(str(error), "not compared"),))
    expected = expectation(source.model, scheme, format_named(source.dtype), header)
    aside: tuple[Difference, ...] = ()
    if expected.uncompared and scheme is not None:
        name = " ".join(filter(None, ("the arrays of", scheme.method, scheme.layout)))
        aside = (Difference(name, "not compared", count=len(expected.uncompared)),)
    size = sum(array.bytes(header.tensors.get(name)) for name, array in held(expected, header))
    size += sum(expected.uncompared.values())
    found = (*tensors(expected, header), *sizes(expected, header, size))
    return Check(header, size, (*grouped(found), *aside))


def check_gguf(model: Model, header: Header) -> Check:
    """Compare the tensors of a GGUF file with the ledger: names and shapes, in whichever types they are."""
    from memcalc.files.gguf.compare import compared
    from memcalc.files.gguf.header import format_of

    size, found = 0, []
    for name, expected, stored in compared(model, header):
        fields = None if expected is None else {"shape": list(expected)}
        if stored is None:
            found.append(Difference(name, "missing", fields))
        elif expected is None:
            found.append(Difference(name, "unexpected", None, shown(stored)))
        else:
            *rows, columns = expected
            size += format_of(stored.dtype).bytes(prod(rows), columns)
            if tuple(axis for axis in stored.shape if axis > 1) != tuple(
                axis for axis in expected if axis > 1
            ):
                found.append(Difference(name, "shape", fields, shown(stored)))
    return Check(header, size, tuple(grouped(found)))


def expectation(model: Model, scheme: Scheme | None, rest: Format, header: Header) -> Expected:
    """Return what a checkpoint of the model should hold; a part that is not there at all was left out."""
    if scheme is not None:
        model = kept_out(model, scheme, rest)
    rule = uniform_rule(rest) if scheme is None else weight_only_rule(scheme.format, rest)
    everything = {as_found(model, name, header.tensors): one for name, one in listed(model).items()}
    there = {one.part for name, one in everything.items() if one.part == "text" or name in header.tensors}
    endings = {name.rpartition(".")[2] for name in header.tensors}
    expected = Expected({}, {})
    alike: dict[tuple[bool, tuple[int, ...]], Packed | None] = {}
    for name, one in everything.items():
        form = rest if one.part == "vision" else rule(one.tensor)
        if one.part not in there:
            continue
        if form.is_plain:
            dtypes = BUFFER if one.tensor.kind == "buffer" else (DTYPES[form.id],)
            expected.arrays[name] = Array(stored_shape(model, name, one.shape), dtypes)
            continue
        key = one.tensor.active_experts is not None, one.shape
        if key not in alike:
            alike[key] = packed(scheme, form, name, one, endings)
        add(expected, name.removesuffix(".weight"), alike[key], form, one.shape)
    return expected._replace(arrays=expected.arrays | copies(model, rest)) if "mtp" in there else expected


def kept_out(model: Model, scheme: Scheme, rest: Format) -> Model:
    """Return the model, its prediction layers too, with a format at every tensor that stays unquantised.

    What joins the two streams of a prediction layer stays so without being named: header of
    deepseek-ai/DeepSeek-V3 in https://github.com/simpx/model-inspect, README, 2025.
    """
    from memcalc.files.quantization import keep_out

    depth = len(model.layers)
    whole = replace(model, layers=(*model.layers, *model.mtp))
    if scheme.kept_out:
        whole, _ = keep_out(whole, scheme.kept_out, scheme, rest)
    joining = (("eh_proj.weight", rest.id),)
    mtp = tuple(replace(layer, formats=layer.formats + joining) for layer in whole.layers[depth:])
    return replace(whole, layers=whole.layers[:depth], mtp=mtp)


def packed(scheme: Scheme | None, form: Format, name: str, one: Listed, endings: set[str]) -> Packed | None:
    """Return the arrays of a quantised matrix, or of a layer's experts in one; None if no tool is known.

    MLX stacks the experts of a layer under names of its own.
    """
    if scheme is None:
        return None
    tool = TOOLS.get((scheme.method, scheme.layout if scheme.method == "compressed-tensors" else ""))
    *stacked, rows, columns = one.shape
    alone = not stacked and name.endswith(".weight") and tool is not mxfp4
    if tool is None or not (alone or (stacked and tool is mxfp4)):
        return None
    if tool is mlx and one.tensor.active_experts is not None:
        return None
    arrays = tool(form, rows, columns, endings)
    return {
        ending: array._replace(shape=array.shape and (*stacked, *array.shape))
        for ending, array in arrays.items()
    }


def add(expected: Expected, module: str, arrays: Packed | None, form: Format, shape: tuple[int, ...]) -> None:
    """Enter a quantised module: its arrays, or its bytes if they are not compared."""
    if arrays is None:
        *stacked, rows, columns = shape
        expected.uncompared[module] = prod(stacked) * form.bytes(rows, columns)
        return
    for ending, array in arrays.items():
        if array.optional:  # the model's own bias has the same name, and is no option
            expected.arrays.setdefault(module + ending, array)
        else:
            expected.arrays[module + ending] = array


def copies(model: Model, rest: Format) -> dict[str, Array]:
    """Return the copies of embedding and head that prediction layers bring along in some checkpoints.

    Source: deepseek-ai/DeepSeek-V3, README_WEIGHTS.md, 2024-12.
    """
    table = next(dict(model.outside)["model.embed_tokens"].weights()).stored_shape
    depth = len(model.layers)
    names = [
        f"model.layers.{index}.{which}.weight"
        for index in range(depth, depth + len(model.mtp))
        for which in ("embed_tokens", "shared_head.head")
    ]
    return {family_name(model, name): Array(table, (DTYPES[rest.id],), optional=True) for name in names}


def held(expected: Expected, header: Header) -> Iterator[tuple[str, Array]]:
    """Yield the arrays that the ledger counts: all but the options that the checkpoint leaves out."""
    for name, array in expected.arrays.items():
        if not array.optional or name in header.tensors:
            yield name, array


def tensors(expected: Expected, header: Header) -> Iterator[Difference]:
    """Yield in what each tensor differs."""
    for name, array in held(expected, header):
        if name not in header.tensors:
            yield Difference(name, "missing", array.fields)
            continue
        found = header.tensors[name]
        kind = found and array.difference(found)
        if found and kind:
            yield Difference(name, kind, array.fields, shown(found))
    for name, found in header.tensors.items():
        if name not in expected.arrays and not any(module in expected.uncompared for module in above(name)):
            yield Difference(name, "unexpected", None, found and shown(found))


def shown(found: Stored) -> dict[str, object]:
    """Return a stored tensor as a difference shows it."""
    return {"dtype": found.dtype, "shape": list(found.shape)}


def above(name: str) -> Iterator[str]:
    """Yield what may be the module that an array belongs to.

    >>> list(above("q_proj.weight.absmax"))
    ['q_proj.weight', 'q_proj']
    """
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def sizes(expected: Expected, header: Header, ledger: int) -> Iterator[Difference]:
    """Yield where an index states another sum of bytes than its shards, or without them than the ledger."""
    if header.total_size is None:
        return
    underived = not header.files and any(array.shape is None for array in expected.arrays.values())
    right = header.bytes if header.files else ledger
    if header.total_size != right and not underived:
        yield Difference("metadata.total_size", "bytes", right, header.total_size)


def grouped(differences: Iterable[Difference]) -> Iterator[Difference]:
    """Yield equal differences of several layers and experts as one.

    >>> list(grouped([Difference(f"model.layers.{layer}.bias", "missing") for layer in (0, 1)]))
    [Difference(name='model.layers.{layer}.bias', kind='missing', expected=None, found=None, count=2)]
    """
    alike: dict[str, tuple[str, list[Difference]]] = {}
    for one in differences:
        name = re.sub(r"\b(layers|blocks|blk)\.\d+\.", r"\1.{layer}.", one.name)
        name = re.sub(r"\bexperts\.\d+\.", "experts.{expert}.", name)
        alike.setdefault(repr((name, *one[1:])), (name, []))[1].append(one)
    for name, same in alike.values():
        yield same[0] if len(same) == 1 else same[0]._replace(name=name, count=len(same))
