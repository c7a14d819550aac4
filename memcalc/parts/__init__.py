"""The parts that models are made of: frozen dataclasses that yield their tensors."""

from __future__ import annotations

from memcalc.parts.attention import GQA, MLA, Indexer
from memcalc.parts.feedforward import MLP, MoE
from memcalc.parts.plain import Embedding, Linear, Norm, Part
from memcalc.parts.vision import Patches, Positions

__all__ = [
    "GQA",
    "MLA",
    "MLP",
    "Embedding",
    "Indexer",
    "Linear",
    "MoE",
    "Norm",
    "Part",
    "Patches",
    "Positions",
]
