"""What each quantiser writes for a matrix: several arrays, with the names, shapes and dtypes of its tool.

The ledger lists matrices; a quantised checkpoint has codes, scales and zero points for each. A tool whose
names no public source confirms has no entry in `QUANTIZERS`: its arrays are then left uncompared, and that is
said.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Literal, NamedTuple

from memcalc.files.safetensors import BITS
from memcalc.ledger.registry import Registry
from memcalc.ledger.tensor import ceil_div

if TYPE_CHECKING:
    from collections.abc import Callable

    from memcalc.files.safetensors import TensorInfo
    from memcalc.ledger.formats import Format

__all__ = ["QUANTIZERS", "Array", "Arrays", "Quantizer", "arrays_of"]

# Floats by their width: which of the two of 16 bits a tool writes depends on the model that it was given.
FLOATS = {32: ("F32",), 16: ("BF16", "F16"), 8: ("F8_E8M0",)}


class Array(NamedTuple):
    """One array that a checkpoint should hold; any of `dtypes` will do, the first is what the ledger counts.

    `shape` is None where it cannot be derived; an `optional` array may be left out.
    """

    shape: tuple[int, ...] | None
    dtypes: tuple[str, ...]
    optional: bool = False

    def bytes(self, found: TensorInfo | None) -> int:
        """Return the bytes of the array; what is left open, the header decides.

        >>> Array((2, 3), ("BF16", "F16")).bytes(None)
        12
        """
        if self.shape is None:
            return 0 if found is None else found.bytes
        dtype = found.dtype if found is not None and found.dtype in self.dtypes else self.dtypes[0]
        return prod(self.shape) * BITS[dtype] // 8

    def difference(self, found: TensorInfo) -> str | None:
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


Arrays = dict[str, Array]  # what stands behind the module's name -> array


def gptq_arrays(form: Format, rows: int, columns: int, _endings: set[str]) -> Arrays:
    """Return GPTQ's arrays; older tools add a bias to every module, zeros if the model has none.

    Source: https://github.com/AutoGPTQ/AutoGPTQ, auto_gptq/nn_modules/qlinear/qlinear_cuda.py, 2024.
    """
    groups = form.blocks(1, columns)
    return {
        ".qweight": Array((columns // 32 * form.bits, rows), ("I32",)),
        ".qzeros": Array((groups, rows // 32 * form.bits), ("I32",)),
        ".scales": Array((groups, rows), FLOATS[16]),
        ".g_idx": Array((columns,), ("I32",)),
        ".bias": Array((rows,), FLOATS[16], optional=True),
    }


def awq_arrays(form: Format, rows: int, columns: int, _endings: set[str]) -> Arrays:
    """Return AWQ's arrays.

    Source: https://github.com/casper-hansen/AutoAWQ, awq/modules/linear/gemm.py, 2024.
    """
    groups = form.blocks(1, columns)
    return {
        ".qweight": Array((columns, rows * form.bits // 32), ("I32",)),
        ".qzeros": Array((groups, rows * form.bits // 32), ("I32",)),
        ".scales": Array((groups, rows), FLOATS[16]),
    }


def auto_round_arrays(form: Format, rows: int, columns: int, endings: set[str]) -> Arrays:
    """Return AutoRound's arrays: GPTQ's without its index; packed as AWQ's, which lie the other way.

    Source: https://github.com/intel/auto-round, auto_round_extension/torch/qlinear_torch_zp.py, 2026-08.
    """
    found = gptq_arrays(form, rows, columns, endings)
    return {ending: array for ending, array in found.items() if ending != ".g_idx"}


def eetq_arrays(_form: Format, rows: int, columns: int, _endings: set[str]) -> Arrays:
    """Return EETQ's arrays; the matrix lies the other way.

    Source: https://github.com/huggingface/transformers, integrations/eetq.py (EetqLinear), 5.23.
    """
    return {".weight": Array((columns, rows), ("I8",)), ".weight_scales": Array((rows,), ("F16",))}


def fbgemm_arrays(_form: Format, rows: int, columns: int, _endings: set[str]) -> Arrays:
    """Return FBGEMM's arrays of FP8.

    Source: https://github.com/huggingface/transformers, integrations/fbgemm_fp8.py (FbgemmFp8Linear), 5.23.
    """
    return {
        ".weight": Array((rows, columns), ("F8_E4M3",)),
        ".weight_scale": Array((rows, 1), FLOATS[32]),
        ".input_scale_ub": Array((), FLOATS[32], optional=True),
    }


def bitnet_arrays(_form: Format, rows: int, columns: int, _endings: set[str]) -> Arrays:
    """Return BitNet's arrays: four rows in one of bytes.

    Source: https://github.com/huggingface/transformers, integrations/bitnet.py (BitLinear), 5.23.
    """
    return {".weight": Array((ceil_div(rows, 4), columns), ("U8",)), ".weight_scale": Array((), FLOATS[16])}


def fp8_arrays(form: Format, rows: int, columns: int, endings: set[str]) -> Arrays:
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


def bitsandbytes_arrays(form: Format, rows: int, columns: int, _endings: set[str]) -> Arrays:
    """Return the arrays of NF4, FP4 and LLM.int8; the last one of the former is a text of some dozen bytes.

    Source: https://github.com/bitsandbytes-foundation/bitsandbytes, nn/modules.py (_save_to_state_dict),
    functional.py (QuantState.as_dict), backends/default/ops.py (shapes), 2026.
    """
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


def pack_quantized_arrays(form: Format, rows: int, columns: int, _endings: set[str]) -> Arrays:
    """Return the arrays of compressed-tensors' integers, packed into words of 32 bits.

    Source: https://github.com/vllm-project/compressed-tensors, compressors/pack_quantized/base.py, 2026.
    """
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


def naive_quantized_arrays(form: Format, rows: int, columns: int, _endings: set[str]) -> Arrays:
    """Return the arrays of compressed-tensors' numbers of 8 bits.

    Source: https://github.com/vllm-project/compressed-tensors, compressors/naive_quantized/base.py, 2026.
    """
    codes = "I8" if form.id == "w8a8" else "F8_E4M3"
    return {
        ".weight": Array((rows, columns), (codes,)),
        ".weight_scale": scales_of(form, rows, columns),
        ".input_scale": Array((), FLOATS[32] + FLOATS[16], optional=True),
    }


def mxfp4_arrays(form: Format, rows: int, columns: int, _endings: set[str]) -> Arrays:
    """Return gpt-oss's arrays, two codes a byte; the experts of a layer are stacked before these axes.

    Source: https://github.com/huggingface/transformers, integrations/mxfp4.py, 5.23; shapes as in
    https://github.com/pytorch/torchtitan, models/gpt_oss/state_dict_adapter.py, 2026.
    """
    blocks = form.blocks(1, columns)
    per_block = columns * form.bits // 8 // blocks
    return {"_blocks": Array((rows, blocks, per_block), ("U8",)), "_scales": Array((rows, blocks), ("U8",))}


def modelopt_arrays(form: Format, rows: int, columns: int, _endings: set[str]) -> Arrays:
    """Return the arrays of NVIDIA's FP8 and NVFP4; without calibrated activations there is no input_scale.

    Source: https://github.com/NVIDIA/TensorRT-Model-Optimizer, torch/export/unified_export_hf.py, 2026.
    """
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


def mlx_arrays(form: Format, rows: int, columns: int, _endings: set[str]) -> Arrays:
    """Return MLX's arrays: affine ones have biases, floats have scales of 8 bits alone.

    Source: https://github.com/ml-explore/mlx, python/mlx/nn/layers/quantized.py, 2026.
    """
    group = Array((rows, form.blocks(1, columns)), FLOATS[16] if form.zero_bits else ("U8",))
    found = {".weight": Array((rows, columns * form.bits // 32), ("U32",)), ".scales": group}
    return {**found, ".biases": group} if form.zero_bits else found


class Quantizer(NamedTuple):
    """What a tool writes: the arrays of a matrix, and how the experts of a layer lie.

    `experts` is "single" where each has arrays of its own, "stacked" where those of a layer lie in one and
    nothing else is quantised, "renamed" where they have names that are not known here.
    """

    arrays: Callable[[Format, int, int, set[str]], Arrays]
    experts: Literal["single", "stacked", "renamed"] = "single"


# a quantization_config's method, with the layout of compressed-tensors -> what its tool writes
QUANTIZERS: Registry[Quantizer] = Registry(
    "quantization_config",
    {
        "gptq": Quantizer(gptq_arrays),
        "awq": Quantizer(awq_arrays),
        "fp8": Quantizer(fp8_arrays),
        "bitsandbytes": Quantizer(bitsandbytes_arrays),
        "compressed-tensors pack-quantized": Quantizer(pack_quantized_arrays),
        "compressed-tensors float-quantized": Quantizer(naive_quantized_arrays),
        "compressed-tensors int-quantized": Quantizer(naive_quantized_arrays),
        "compressed-tensors naive-quantized": Quantizer(naive_quantized_arrays),
        "mxfp4": Quantizer(mxfp4_arrays, experts="stacked"),
        "modelopt": Quantizer(modelopt_arrays),
        "mlx": Quantizer(mlx_arrays, experts="renamed"),
        "auto-round": Quantizer(auto_round_arrays),
        "eetq": Quantizer(eetq_arrays),
        "fbgemm_fp8": Quantizer(fbgemm_arrays),
        "bitnet": Quantizer(bitnet_arrays),
    },
)


def arrays_of(
    quantizer: str, form: Format, shape: tuple[int, ...], endings: set[str], *, is_expert: bool
) -> Arrays | None:
    """Return the arrays of a quantised matrix, or of a layer's experts in one; None if they are not known.

    Parameters
    ----------
    quantizer : str
        Its key in `QUANTIZERS`.
    form : Format
        The format of the matrix.
    shape : tuple of int
        Outputs and inputs, behind the axis along which experts are stacked.
    endings : set of str
        How names in the header end: tools call the same scale by several names.
    is_expert : bool
        Whether it belongs to a routed expert.

    """
    if quantizer not in QUANTIZERS:
        return None
    write, experts = QUANTIZERS[quantizer]
    *stacked, rows, columns = shape
    if (experts == "stacked") != bool(stacked) or (experts == "renamed" and is_expert):
        return None
    return {
        ending: array._replace(shape=array.shape and (*stacked, *array.shape))
        for ending, array in write(form, rows, columns, endings).items()
    }
