"""What an engine adds, keeps and rounds: one module an engine, loaded when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from memcalc.errors import UnknownNameError

if TYPE_CHECKING:
    from memcalc.serving.engines.base import Engine

__all__ = ["ENGINES", "engine"]

ENGINES = {
    "transformers": ("transformers", "Transformers"),
    "vllm": ("vllm", "VLLM"),
    "sglang": ("sglang", "SGLang"),
    "ktransformers": ("ktransformers", "KTransformers"),
    "vllm-ascend": ("ascend", "VLLMAscend"),
    "mindie": ("ascend", "MindIE"),
    "llama.cpp": ("llama_cpp", "LlamaCpp"),
}


def engine(name: str, version: str | None = None) -> Engine:
    """Return the engine of this name, with the laws of a version.

    >>> engine("transformers").kept(8192, 4096)
    4095
    >>> engine("transformers", "4.46.0").version
    '4.46'

    Raises:
        UnknownNameError: no engine has this name, or no law is known for the version.

    """
    if name not in ENGINES:
        raise UnknownNameError("--engine", f"one of {', '.join(ENGINES)}", name, "see `memcalc list engines`")
    module, kind = ENGINES[name]
    found: Engine = getattr(import_module(f"memcalc.serving.engines.{module}"), kind)(version)
    return found
