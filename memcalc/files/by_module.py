"""Formats that a quantization_config gives module by module: MLX's mixes, NVIDIA's mixed precision."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from memcalc.errors import BadInputError, UnknownNameError
from memcalc.ledger.formats import format_named

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["own_formats"]

ASIDE = "add --weights to leave it aside"
PLAIN = ""  # stands for the format of what is not quantised
# NVIDIA/TensorRT-Model-Optimizer, export of unified checkpoints (quant_algo by layer), 2026-11
ALGORITHMS = {"FP8": "fp8-static", "NVFP4": "nvfp4", "W4A16_NVFP4": "nvfp4a16"}


def own_formats(method: str, stated: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield the modules to which a quantization_config gives a format of their own, with its name.

    Parameters
    ----------
    method : str
        The method of the quantization_config.
    stated : mapping
        The quantization_config.

    Raises
    ------
    BadInputError
        A module's entry is not understood.

    """
    if method == "mlx":
        for name, value in stated.items():
            if isinstance(value, dict) or (value is False and "." in name):
                yield name.replace(".switch_mlp.", ".experts.{expert}."), of_mlx(name, value)
        return
    if method in ("gptq", "auto-round"):
        yield from of_gptq(stated) if method == "gptq" else of_auto_round(stated)
        return
    listed = stated.get("quantized_layers")
    if not isinstance(listed, dict) or not listed:
        raise BadInputError("quantization_config.quantized_layers", "an object of modules", listed, ASIDE)
    found: dict[str, str] = {}
    for name, value in listed.items():
        algorithm = value.get("quant_algo") if isinstance(value, dict) else value
        form = ALGORITHMS.get(algorithm) if isinstance(algorithm, str) else None
        if form is None or (isinstance(value, dict) and value.get("group_size", 16) != 16):
            expected = f"one of {', '.join(ALGORITHMS)}, in groups of 16"
            raise BadInputError(f"quantization_config.quantized_layers.{name}", expected, value, ASIDE)
        entry = re.sub(r"(^|\.)experts\.\d+\.", r"\1experts.{expert}.", name)
        if found.setdefault(entry, form) != form:
            raise BadInputError(
                f"quantization_config.quantized_layers.{name}", f"{found[entry]} for all experts", form, ASIDE
            )
    yield from found.items()


def of_gptq(stated: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield what GPTQModel's `dynamic` says: which modules stay as they are, or have other bits.

    Source: ModelCloud/GPTQModel, quantization/config.py (dynamic_get: the first that matches), 2026-11.

    Raises:
        BadInputError: which of several expressions comes first matters, or one tells experts apart.

    """
    dynamic = stated["dynamic"]
    keys = dynamic if isinstance(dynamic, dict) else {}
    if not keys or (len(keys) > 1 and not all(key.startswith("-:") for key in keys)):
        expected = "modules that stay as they are, -:, or one other format"
        raise BadInputError("quantization_config.dynamic", expected, dynamic, ASIDE)
    for key, value in keys.items():
        expression = key.removeprefix("-:").removeprefix("+:")
        if "expert" in expression and re.search(r"\d", expression.replace("\\d", "0")):
            raise BadInputError("quantization_config.dynamic", "all experts alike", key, ASIDE)
        if key.startswith("-:"):
            yield f"re:{expression}", PLAIN
            continue
        own = {**{name: stated.get(name) for name in ("bits", "group_size")}, **value}
        form = f"gptq-int{own['bits']}-g{'c' if own['group_size'] == -1 else own['group_size']}"
        try:
            yield f"re:{expression}", format_named(form).id
        except UnknownNameError:
            expected = "bits and group_size that are known"
            raise BadInputError("quantization_config.dynamic", expected, value, ASIDE) from None


def of_auto_round(stated: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield what AutoRound's `extra_config` says: modules with other bits, 16 of them as they are.

    Source: intel/auto-round, export/export_to_autoround/export.py (extra_config), 2026-08.

    Raises:
        BadInputError: an entry says more than bits and groups.

    """
    field = "quantization_config.extra_config"
    entries = stated["extra_config"]
    for name, value in entries.items() if isinstance(entries, dict) else [("*", entries)]:
        own = value if isinstance(value, dict) else {"bits": value}
        bits, group = own.get("bits", stated.get("bits")), own.get("group_size", stated.get("group_size"))
        form = (
            ""
            if type(bits) is int and bits >= 16
            else f"auto-round-int{bits}-g{'c' if group == -1 else group}"
        )
        plain = own.get("act_bits") in (None, 16) and own.get("data_type") in (None, "int", "float", "fp")
        try:
            known = not form or (plain and format_named(form).id == form)
        except UnknownNameError:
            known = False
        if not known:
            raise BadInputError(f"{field}.{name}", "bits and group_size that are known", value, ASIDE)
        expression = re.search(r"[\\*+?()\[\]|^$]", name) is not None
        yield (f"re:{name if name.startswith('.*') else f'.*{name}'}" if expression else name), form


def of_mlx(name: str, value: Any) -> str:
    """Return the format that MLX gives a module: bits and group of its own, or none."""
    if value is False:
        return PLAIN
    bits, group = value.get("bits"), value.get("group_size")
    form = f"mlx-{bits}bit-g{group}"
    try:
        known = format_named(form)
    except UnknownNameError:
        known = None
    if (
        known is None
        or value.get("mode", "affine") != "affine"
        or set(value) - {"bits", "group_size", "mode"}
    ):
        raise BadInputError(
            f"quantization_config.{name}", "bits and group_size of affine quantisation", value, ASIDE
        )
    return form
