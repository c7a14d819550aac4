"""What an engine adds, keeps and rounds: one module an engine, loaded when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from memcalc.ledger.registry import Registry

if TYPE_CHECKING:
    from memcalc.serving.engines.base import Engine

__all__ = ["ENGINES", "EngineName", "engine"]

EngineName = Literal["transformers", "vllm", "sglang", "ktransformers", "vllm-ascend", "mindie", "llama.cpp"]

ENGINES: Registry[type[Engine]] = Registry(
    "--engine",
    {
        "transformers": "transformers:Transformers",
        "vllm": "vllm:VLLM",
        "sglang": "sglang:SGLang",
        "ktransformers": "ktransformers:ktransformers",
        "vllm-ascend": "ascend:VLLMAscend",
        "mindie": "ascend:MindIE",
        "llama.cpp": "llama_cpp:LlamaCpp",
    },
    package=__name__,
    remedy="see `memcalc list engines`",
)


def engine(name: str, version: str | None = None) -> Engine:
    """Return an engine, with the behaviour of a version.

    Parameters
    ----------
    name : str
        Its name, as ``memcalc list engines`` shows it.
    version : str, optional
        Its version, default the engine's own default.

    Raises
    ------
    UnknownNameError
        No engine has this name, or it is not known how the version behaves.

    Examples
    --------
    >>> engine("transformers").kept(8192, 4096)
    4095
    >>> engine("transformers", "4.46.0").version
    '4.46'

    """
    return ENGINES[name](version)
