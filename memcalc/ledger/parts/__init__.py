"""The parts that models are made of: frozen dataclasses that yield their tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.ledger.parts.attention import GQA, MLA, Indexer
from memcalc.ledger.parts.feedforward import MLP, MoE
from memcalc.ledger.parts.plain import Embedding, Linear, Norm, Part

if TYPE_CHECKING:
    from memcalc.ledger.parts.positions import LearnedPositions
    from memcalc.ledger.parts.recurrent import DeltaNet
    from memcalc.ledger.parts.vision import Patches, Positions

__all__ = [
    "GQA",
    "MLA",
    "MLP",
    "DeltaNet",
    "Embedding",
    "Indexer",
    "LearnedPositions",
    "Linear",
    "MoE",
    "Norm",
    "Part",
    "Patches",
    "Positions",
]

_LATER = {  # few models have them
    "DeltaNet": "recurrent",
    "LearnedPositions": "positions",
    "Patches": "vision",
    "Positions": "vision",
}


def __getattr__(name: str) -> object:
    """Load a part that few models have when it is first asked for: each module costs an answer its time."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
