"""``memcalc.model``: what a source describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import UnknownNameError
from memcalc.files.sources import source as find_source

if TYPE_CHECKING:
    from os import PathLike

    from memcalc.files.source import Source
    from memcalc.ledger.model import Model

__all__ = ["check_via", "model"]


def model(source: str | PathLike[str] | Source, *, via: str | None = None) -> Model:
    """Return the model that a source describes.

    Parameters
    ----------
    source : str, path or Source
        A catalogue name, a config.json or its folder, a safetensors file or index, a GGUF file, Megatron-LM's
        arguments, or a repository of the Hub.
    via : str, optional
        "transformers": build what has no reader with that library, on its meta device.

    Returns
    -------
    Model
        Its parts, layer by layer: parameters, tensors and cache follow from them.

    Raises
    ------
    BadInputError
        A file cannot be read, or a field of the config is not understood.
    UnknownNameError
        Nothing of this name is known, or no reader knows the model's type.

    Examples
    --------
    >>> model("Qwen/Qwen3-32B").parameters
    32762123264
    >>> model("Qwen/Qwen3-32B")
    Qwen/Qwen3-32B (qwen3, 64 layers)
      parameters         32,762,123,264
      active a token     32,762,123,264
      cache a token      262,144 B (16-bit)
      as 16-bit weights  61.02 GiB = 65.52 GB

    """
    check_via(via)
    return find_source(source).by_way_of(via).model


def check_via(via: str | None) -> None:
    """Refuse another way than the one there is.

    Raises:
        UnknownNameError: it is another.

    """
    if via not in (None, "transformers"):
        raise UnknownNameError("--via", "transformers", via, "leave it out, or write --via transformers")
