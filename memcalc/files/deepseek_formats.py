"""How DeepSeek-V4's checkpoints store it: experts apart, scales of 8 bits, a few numbers of 32.

Matrices of attention and shared experts are F8_E4M3 with an F8_E8M0 scale for 128 x 128 of them, experts of
4 bits have one for 32 numbers; compressors, routers, norms and embeddings are BF16, hyper-connections, sinks,
and the biases of positions and routers F32.
Source: header of deepseek-ai/DeepSeek-V4-Flash-0731, in https://github.com/Svyable/deepseek-v4-flash-wasted,
tools/make_v8_head_surface.py, 2026-08; vllm-project/vllm, models/deepseek_v4 (quant_config and dtypes of each
layer), 2026-11. Held by sizes: 148.66 GiB of files (vllm-project/vllm#40802, 2026-04), and 913.09 GB with
experts in NVFP4 (vllm-project/recipes#779, 2026-08).
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from memcalc.errors import BadInputError
from memcalc.files.quantization import ASIDE, FIELD, MIXED, Scheme
from memcalc.ledger.formats import FORMATS, Format, format_named

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memcalc.ledger.formats import Rule
    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.tensor import Tensor

__all__ = ["METHOD", "TYPES", "as_published", "published_scheme"]

METHOD = "deepseek-v4"
TYPES = ("deepseek_v4", "deepseek_ref")
EXPERTS = {"fp4": "mxfp4", "fp8": "fp8-block128", None: "fp8-block128"}
IN_32_BITS = "e_score_correction_bias"  # the others are so whatever the scheme: files/readers/deepseek_v4.py
KNOWN = {
    "quant_method", "activation_scheme", "fmt", "scale_fmt", "weight_block_size", "expert_dtype",
    "quant_algo", "quantized_layers", "moe_quant_algo", "ignore", "producer", "config_groups",
    "kv_cache_quant_algo",     "kv_cache_scheme", "group_size",
}  # fmt: skip
LISTED = re.compile(r"layers\.\d+\.ffn\.experts")


def published_scheme(stated: object, expert_dtype: object) -> Scheme | None:
    """Return what a quantization_config of DeepSeek-V4 says; None where it is not in the makers' own form.

    `expert_dtype` stands beside it in the makers' files.

    >>> published_scheme({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp4").others
    (('experts', 'mxfp4'), ('mtp experts', 'mxfp4'))

    Raises
    ------
    BadInputError
        A field says more than is understood.

    """
    if not isinstance(stated, dict) or stated.get("quant_method") != "fp8":
        return None
    for field, value in stated.items():
        if field not in KNOWN and value:
            raise BadInputError(
                f"{FIELD}.{field}", "nothing", value, f"it may change what is stored; {ASIDE}"
            )
    must = {"weight_block_size": [128, 128], "activation_scheme": "dynamic", "scale_fmt": "ue8m0"}
    for field, expected in must.items():
        if stated.get(field, expected) != expected:
            raise BadInputError(f"{FIELD}.{field}", str(expected), stated[field], ASIDE)
    asked: Any = stated.get("expert_dtype", expert_dtype)
    if asked not in EXPERTS:
        raise BadInputError("expert_dtype", "fp4 or fp8", asked, ASIDE)
    experts = ahead = EXPERTS[asked]
    if stated.get("quant_algo") is not None:
        experts = by_modules(stated)
    form = replace(FORMATS["fp8-block128"], scale_bits=8)
    if experts != form.id:
        form = replace(form, id="mixed")
    return Scheme(form, (), METHOD, others=(("experts", experts), ("mtp experts", ahead)))


def by_modules(stated: Mapping[str, Any]) -> str:
    """Return the format of the experts that NVIDIA's tool has quantised, and nothing else.

    Raises
    ------
    BadInputError
        It has quantised other modules, or in another format.

    """
    listed = stated.get("quantized_layers")
    plain = stated["quant_algo"] == MIXED and stated.get("moe_quant_algo") == "NVFP4" and listed
    alike = {"group_size": 16, "quant_algo": "NVFP4"}
    if not plain or not isinstance(listed, dict):
        expected = "MIXED_PRECISION with experts in NVFP4"
        raise BadInputError(f"{FIELD}.quant_algo", expected, stated["quant_algo"], ASIDE)
    for name, value in listed.items():
        if value != alike or LISTED.fullmatch(name) is None:
            expected = "the experts of layers, in NVFP4"
            raise BadInputError(f"{FIELD}.quantized_layers.{name}", expected, value, ASIDE)
    return "nvfp4"


def as_published(model: Model, rest: Format, own: Scheme) -> tuple[Model, Rule]:
    """Return a model and its formats in its makers' checkpoints; `rest` is that of what is not quantised."""
    forms = dict(own.others)
    fp8 = replace(own.format, id="fp8-block128")

    def ahead(layer: Layer) -> Layer:
        mine = ((one.name, forms["mtp experts"]) for one in layer.weights() if one.kind == "expert")
        return replace(layer, formats=tuple(mine)) if forms["mtp experts"] == "mxfp4" else layer

    changed = {layer: ahead(layer) for layer in dict.fromkeys(model.mtp)}
    experts = fp8 if forms["experts"] == fp8.id else format_named(forms["experts"])
    whole = replace(model, mtp=tuple(changed[layer] for layer in model.mtp))
    return whole, partial(format_of, fp8, experts, rest)


def format_of(fp8: Format, experts: Format, rest: Format, tensor: Tensor) -> Format:
    """Return the format of a tensor in such a checkpoint."""
    if tensor.format:
        return format_named(tensor.format)
    if tensor.kind == "expert":
        return experts
    if tensor.kind in fp8.kinds and len(tensor.shape) > 1:
        return fp8
    return FORMATS["fp32"] if tensor.name.endswith(IN_32_BITS) else rest
