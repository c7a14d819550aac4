"""How a model is stored: the format of each tensor, as a checkpoint or one of llama.cpp's files has it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError, UnknownNameError, unknown_name
from memcalc.ledger.formats import FORMATS, Format, as_matrix, format_named, uniform_rule, weight_only_rule

if TYPE_CHECKING:
    from memcalc.files.gguf.presets import Preset
    from memcalc.files.quantization import Scheme
    from memcalc.files.safetensors import Header
    from memcalc.ledger.formats import Rule
    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.tensor import Tensor

__all__ = [
    "StoredModel",
    "as_bitsandbytes",
    "as_checkpoint",
    "as_converted",
    "as_file",
    "as_preset",
    "checked_format",
    "is_preset",
    "mtp_as_stored",
]


class StoredModel:
    """A model and how its checkpoint stores it; `unmatched` names no module in the list of exceptions.

    `own` says that the source itself states the format, and not only its dtype. `preset` names a mix of
    formats: then the model is as llama.cpp's files hold it.
    """

    def __init__(
        self,
        model: Model,
        rule: Rule,
        form: Format,
        activation: Format,
        *,
        unmatched: tuple[str, ...] = (),
        own: bool = False,
        preset: str = "",
    ) -> None:
        self.model, self.rule, self.format, self.activation = model, rule, form, activation
        self.unmatched, self.own, self.preset = unmatched, own, preset

    @property
    def is_gguf(self) -> bool:
        """Whether this is how llama.cpp stores it."""
        return self.preset != ""

    @property
    def name(self) -> str:
        """The format in a word, or the preset."""
        return self.preset or self.format.id


# what a loader quantises by bitsandbytes: every linear layer but the head
BITSANDBYTES = ("nf4", "nf4-dq", "fp4", "fp4-dq", "int8")
GATES = ("shared_expert_gate.weight", "weights_proj.weight")  # linear layers, though they choose
LINEAR_ROUTERS = ("mixtral", "qwen3_moe", "qwen3_next")  # a linear layer before transformers 5
STACKED = ("gpt_oss",)  # experts in one array in every version


def as_bitsandbytes(stored: StoredModel, *, stacked: bool) -> StoredModel:
    """Return a model as transformers loads it in a format of bitsandbytes: linear layers alone are quantised.

    From version 5 on the experts of a layer are one array (`stacked`) and no linear layers, and neither is
    the router: both stay in 16 bits. What a checkpoint stores itself stays as it is.

    Source: huggingface/transformers, integrations/bitsandbytes.py (replace_with_bnb_linear) and the experts
    of models/qwen3_moe, mixtral, deepseek_v3, glm4_moe, gpt_oss, 5.23; bitsandbytes-foundation/bitsandbytes
    #1849, 2026.
    """
    if stored.own or stored.format.id not in BITSANDBYTES:
        return stored
    kinds, model = {"matrix", "shared"}, stored.model
    stacked = stacked or model.model_type in STACKED
    if not stacked:
        kinds |= {"expert", "router"} if model.model_type in LINEAR_ROUTERS else {"expert"}
    form = replace(stored.format, kinds=frozenset(kinds))
    if stacked and model.has_experts:
        form = replace(
            form, assumed="experts and router in 16 bits: bitsandbytes quantises linear layers alone"
        )
    rule = partial(gates_or, form, weight_only_rule(form, stored.activation))
    return StoredModel(model, rule, form, stored.activation)


def gates_or(form: Format, usual: Rule, tensor: Tensor) -> Format:
    """Return the format of a gate that names none of its own, else the usual one."""
    return form if tensor.name.endswith(GATES) and not tensor.format else usual(tensor)


def is_preset(weights: str) -> bool:
    """Say whether a format is one of llama.cpp's presets, and none of our own formats.

    >>> is_preset("Q4_K_M"), is_preset("nf4"), is_preset("BF16"), is_preset("F16")
    (True, False, False, False)
    """
    if plain_name(weights).lower() in FORMATS:
        return False
    from memcalc.files.gguf.presets import find_preset

    return find_preset(weights) is not None


def checked_format(weights: str | None) -> str | None:
    """Return what names a format or a preset, or nothing; refuse any other name.

    Raises
    ------
    UnknownNameError
        It is neither.

    """
    if weights is None or is_preset(weights):
        return weights
    try:
        format_named(plain_name(weights))
    except UnknownNameError as error:
        from memcalc.files.gguf.presets import PRESETS

        known, every = [*FORMATS, *PRESETS], f"{error.expected}, or one of llama.cpp's, as in Q4_K_M"
        raise unknown_name(error.field, known, weights, every, error.remedy) from None
    return weights


def plain_name(weights: str) -> str:
    """Return a checkpoint's name of numbers that llama.cpp calls otherwise; any other name as it is.

    >>> plain_name("F16"), plain_name("q4_k_m")
    ('fp16', 'q4_k_m')
    """
    return {"f16": "fp16", "f32": "fp32"}.get(weights.lower(), weights)


def check_linear(model: Model, own: Scheme) -> None:
    """Refuse tools that quantise linear layers where it depends on a version which layers are linear.

    The experts of a layer are one array from transformers 5 on, and some routers are no linear layers then.
    """
    entries = (*own.excluded, *(name for name, _ in own.others))
    check_tiles(model, own)
    linear = own.method in ("eetq", "fbgemm_fp8", "bitnet", "torchao") and model.has_experts
    routed = own.method == "auto-round" and model.model_type in LINEAR_ROUTERS
    if linear or (routed and not any("gate" in entry.split(".")[-1] for entry in entries)):
        expected = (
            "a model without experts" if linear else "an entry of extra_config for the routers, mlp.gate"
        )
        remedy = (
            "what of it is quantised depends on the tool's version: its .safetensors headers alone say it"
        )
        raise BadInputError("quantization_config.quant_method", expected, own.method, remedy)


def check_tiles(model: Model, own: Scheme) -> None:
    """Refuse matrices that torchao pads, or passes over, when it packs them in four bits.

    Tiles of 8 rows and 1,024 columns are filled with zeros; what has no whole groups is not quantised.
    Source: pytorch/ao, torchao/quantization/quantize_/workflows/int4/int4_tile_packed_to_4d_tensor.py, 0.18.
    """
    if own.method != "torchao" or own.format.bits != 4:
        return
    for tensor in model.weights():
        if tensor.kind in own.format.kinds and len(tensor.shape) > 1:
            rows, columns = as_matrix(tensor)
            if rows % 8 or columns % 1024:
                expected = "matrices of a multiple of 8 rows and of 1,024 columns"
                given = f"{rows:,} x {columns:,} in {tensor.name}"
                remedy = "others are padded: its .safetensors headers alone say it, or add --weights"
                raise BadInputError("quantization_config.quant_type", expected, given, remedy)


def mtp_as_stored(layers: tuple[Layer, ...], rest: Format) -> tuple[Layer, ...]:
    """Return a checkpoint's layers for multi-token prediction: what joins the two streams is not quantised.

    Without being named: header of deepseek-ai/DeepSeek-V3 in https://github.com/simpx/model-inspect, README,
    2025; engines load it so, too (vllm-project/vllm, model_executor/models/deepseek_mtp.py, 2026-11).
    """
    joining = (("eh_proj.weight", rest.id),)
    return tuple(replace(layer, formats=layer.formats + joining) for layer in layers)


def activation_of(dtype: str, weights: str | None) -> str:
    """Return the format of activations: a plain one that is named is what everything is loaded in.

    What is quantised runs in 16 bits, though the checkpoint that it was made of may have had 32.

    >>> [activation_of("fp32", weights) for weights in (None, "fp32", "bf16", "nf4")]
    ['fp32', 'fp32', 'bf16', 'bf16']
    >>> activation_of("bf16", "fp32"), activation_of("fp16", "nf4")
    ('fp32', 'fp16')
    """
    if weights is None:
        return dtype
    named = plain_name(weights)
    if named in ("bf16", "fp16", "fp32"):
        return named
    return "bf16" if dtype == "fp32" else dtype


def as_checkpoint(model: Model, dtype: str, weights: str | None, own: Scheme | None) -> StoredModel:
    """Return a model in a format, or as its own quantization_config says.

    Parameters
    ----------
    model : Model
        The model, no tensor of which has a format yet.
    dtype : str
        The format of what is not quantised.
    weights : str, optional
        The format of the matrices, default the dtype.
    own : Scheme, optional
        What the model's quantization_config says, where it decides.

    """
    activation = format_named(activation_of(dtype, weights if own is None else None))
    unmatched: tuple[str, ...] = ()
    outside: dict[str, str] = {}
    form = format_named(dtype if weights is None else plain_name(weights))
    if own is not None and own.method == "deepseek-v4":
        from memcalc.files.deepseek_formats import as_published

        return StoredModel(*as_published(model, activation, own), own.format, activation, own=True)
    if own is not None:
        form = own.format
        check_linear(model, own)
        if own.others:
            from memcalc.files.mixed import with_own_formats

            model, outside, unmatched = with_own_formats(model, own, activation)
        elif own.excluded:
            from memcalc.files.quantization import exclude_modules

            model, unmatched = exclude_modules(model, own, activation)
    rule = uniform_rule(form) if form.is_plain and form.kinds else weight_only_rule(form, activation)
    if outside:
        from memcalc.files.mixed import of_name

        rule = partial(of_name, outside, rule)
    return StoredModel(model, rule, form, activation, unmatched=unmatched, own=own is not None)


def as_preset(model: Model, dtype: str, weights: str) -> StoredModel:
    """Return a model as llama.cpp stores it with a preset such as Q4_K_M."""
    from memcalc.files.gguf.presets import preset_named

    return in_preset(model, format_named(dtype), preset_named(weights))


def as_converted(model: Model, dtype: str, own: Scheme | None) -> StoredModel:
    """Return a model as llama.cpp's converter stores a checkpoint: in 16 bits, quantised or not.

    Source: ggml-org/llama.cpp, conversion/base.py (dequant_model) and kimi_k3.py, 2026-11.
    """
    from memcalc.files.gguf.names import architecture
    from memcalc.files.gguf.presets import converter_preset

    activation, method = format_named(dtype), None if own is None else own.method
    if own is not None and own.layout.startswith("mxfp4"):  # Kimi-K3's is repacked, no other is understood
        method = "mxfp4" if architecture(model).id == "kimi-k3" else own.layout
    return in_preset(model, activation, converter_preset(method, activation))


def in_preset(model: Model, activation: Format, preset: Preset) -> StoredModel:
    """Return a model as a preset stores it.

    Raises
    ------
    BadInputError
        Hy4's output is wanted in 16 bits: a field that is not read says whether its converter keeps 32.

    """
    if model.model_type == "hy_v4" and preset.base in ("bf16", "fp16"):
        expected = "a preset that packs the output, which a converter may keep in fp32"
        raise BadInputError("--weights", expected, preset.id, "choose Q8_0 or another")
    from memcalc.files.gguf.presets import with_preset

    return StoredModel(*with_preset(model, preset), activation, activation, preset=preset.id)


def as_file(model: Model, dtype: str, header: Header, file_type: int | None) -> StoredModel:
    """Return a model in the types that the tensors of a GGUF file have.

    Raises
    ------
    BadInputError
        The file lacks a tensor of the model.

    """
    from memcalc.files.gguf.compare import with_file_formats
    from memcalc.files.gguf.presets import FILE_TYPES

    activation = format_named(dtype)
    preset = FILE_TYPES.get(-1 if file_type is None else file_type, "preset of the file")
    named = f"{preset}, as the file has it"
    return StoredModel(*with_file_formats(model, header), activation, activation, own=True, preset=named)
