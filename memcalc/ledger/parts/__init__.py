"""The parts that models are made of: frozen dataclasses that yield their tensors."""

from __future__ import annotations

from memcalc.ledger.lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memcalc.ledger.parts.attention import GQA as GQA, MLA as MLA, Indexer as Indexer
    from memcalc.ledger.parts.feedforward import MLP as MLP, MoE as MoE
    from memcalc.ledger.parts.plain import (
        Embedding as Embedding,
        Linear as Linear,
        Norm as Norm,
        Part as Part,
    )
    from memcalc.ledger.parts.positions import PositionTable as PositionTable
    from memcalc.ledger.parts.recurrent import DeltaNet as DeltaNet
    from memcalc.ledger.parts.vision import Patches as Patches

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "attention": ("GQA", "Indexer", "MLA"),
        "feedforward": ("MLP", "MoE"),
        "plain": ("Embedding", "Linear", "Norm", "Part"),
        "positions": ("PositionTable",),
        "recurrent": ("DeltaNet",),
        "vision": ("Patches",),
    },
)
