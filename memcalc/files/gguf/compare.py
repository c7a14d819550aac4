"""A GGUF file against the ledger: which type each tensor has, and in what the file differs from the model."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import BadInputError
from memcalc.files.gguf.header import format_of
from memcalc.files.gguf.model import gguf_model
from memcalc.files.gguf.names import gguf_name
from memcalc.files.gguf.presets import TypedModel, rule_of_layers
from memcalc.files.tensor_names import joined

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from memcalc.files.safetensors import Header, TensorInfo
    from memcalc.ledger.formats import Format
    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.tensor import Tensor

__all__ = ["Compared", "compared", "is_old", "with_file_formats"]

# What converters add and no config lists: tables of frequencies for Llama 3.1 and Phi-3.
TABLES = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
# What stands beside a matrix in NVFP4: what its own scales, and its inputs, are multiplied with. One number,
# or one an expert, in fp32. Source: https://github.com/ggml-org/llama.cpp/pull/23563, 2026-05.
SCALES = (".scale", ".input_scale")


STACKED = ("altup_proj.", "altup_unembd_proj.")  # matrices of several streams in one array
BY_GROUPS = "ssm_norm.weight"  # Mamba-2's norm is a matrix with a row for each group


class Compared(NamedTuple):
    """A tensor's name, what the ledger expects of it and what the file has; None for what is not there."""

    name: str
    expected: tuple[int, ...] | None
    found: TensorInfo | None


def is_old(header: Header) -> bool:
    """Say whether a file holds MLA's up-projection in one, as files before 2025-04 do.

    Source: https://github.com/ggml-org/llama.cpp/pull/12801.
    """
    return "blk.0.attn_kv_b.weight" in header.tensors and "blk.0.attn_k_b.weight" not in header.tensors


def with_file_formats(model: Model, header: Header) -> TypedModel:
    """Return a model in the types that a file's tensors have.

    Raises
    ------
    BadInputError
        The file lacks a tensor of the model.

    """
    held = gguf_model(model, old=is_old(header))

    def formats(index: int, layer: Layer) -> tuple[tuple[str, str], ...]:
        names = (tensor.name for tensor in layer.weights())
        return tuple((name, found_format(held, header, f"model.layers.{index}.{name}").id) for name in names)

    typed = held.map_layers(
        lambda layer, found: replace(layer, formats=found),
        (formats(index, layer) for index, layer in enumerate((*held.layers, *held.mtp))),
    )
    names = (f"{part}.{tensor.name}" for part, item in held.outside for tensor in item.weights())
    return TypedModel(typed, rule_of_layers({name: found_format(held, header, name) for name in names}))


def found_format(model: Model, header: Header, name: str) -> Format:
    """Return the format that a tensor has in a file."""
    spelled = gguf_name(model, name)
    found = header.tensors.get(spelled)
    if found is None:
        remedy = "the file is not whole, or of another kind: `memcalc model` lists what differs"
        raise BadInputError(spelled, "a tensor of the file", None, remedy)
    return format_of(found.dtype)


def compared(model: Model, header: Header) -> Iterator[Compared]:
    """Yield every tensor of the ledger and of the file."""
    held = gguf_model(model, old=is_old(header))
    expected = shapes(held)
    for name in set(copies(held)) & set(header.tensors):
        expected[name] = expected["token_embd.weight"]
    for name, shape in expected.items():
        found = header.tensors.get(name)
        same = found is not None and name.endswith(BY_GROUPS) and prod(found.shape) == prod(shape)
        yield Compared(name, found.shape if found is not None and same else shape, found)
    for name, found in header.tensors.items():
        if name in TABLES and found is not None:
            yield Compared(name, found.shape, found)
        elif name not in expected:
            yield Compared(name, scales_beside(name, expected), found)


def copies(model: Model) -> Iterator[str]:
    """Yield where a layer for multi-token prediction may have the embedding and the head once more."""
    for index in range(len(model.layers), len(model.layers) + len(model.mtp)):
        yield from (f"blk.{index}.nextn.{name}.weight" for name in ("embed_tokens", "shared_head_head"))


def scales_beside(name: str, expected: Mapping[str, tuple[int, ...]]) -> tuple[int, ...] | None:
    """Return the shape of NVFP4's scales beside a matrix; None if the name is none of theirs.

    >>> shapes = {"output.weight": (8, 4), "blk.0.ffn_up_exps.weight": (3, 8, 4)}
    >>> scales_beside("output.scale", shapes), scales_beside("blk.0.ffn_up_exps.input_scale", shapes)
    ((1,), (3,))
    >>> scales_beside("rope.scale", shapes) is None
    True
    """
    for ending in SCALES:
        matrix = expected.get(f"{name.removesuffix(ending)}.weight", ()) if name.endswith(ending) else ()
        if len(matrix) > 1:
            return matrix[:-2] or (1,)
    return None


def shapes(model: Model) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every tensor of a file, outputs first, axes of one left out."""
    found: dict[str, tuple[int, ...]] = {}

    def add(name: str, tensor: Tensor) -> None:
        stacked = (tensor.experts,) if tensor.active_experts is not None else ()
        shape = (*stacked, *tensor.stored_shape)
        spelled = gguf_name(model, name)
        if spelled in found and spelled.startswith(STACKED):
            before = found[spelled]
            found[spelled] = (before[0] + 1 if len(before) > len(shape) else 2, *shape)
        else:
            found[spelled] = joined(found[spelled], shape, len(stacked)) if spelled in found else shape

    for part, item in model.outside:
        for tensor in item.weights():
            add(f"{part}.{tensor.name}", tensor)
    for index, layer in enumerate((*model.layers, *model.mtp)):
        for tensor in layer.weights():
            add(f"model.layers.{index}.{tensor.name}", tensor)
    return {name: tuple(size for size in shape if size > 1) or (1,) for name, shape in found.items()}
