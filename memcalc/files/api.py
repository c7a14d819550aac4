"""``memcalc.model``: what a source describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.files.sources import source as find_source

if TYPE_CHECKING:
    from memcalc.files.source import Source
    from memcalc.ledger.model import Model

__all__ = ["model"]


def model(source: str | Source) -> Model:
    """Return the model that a source describes.

    Parameters
    ----------
    source : str or Source
        A catalogue name, a config.json or its folder, a safetensors file or index, a GGUF file, Megatron-LM's
        arguments, or a repository of the Hub.

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
    return find_source(source).model
