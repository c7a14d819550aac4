"""Positions that are learned: a table beside the embedding, in GPT's models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from memcalc.ledger.parts.plain import Part
from memcalc.ledger.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LearnedPositions"]


@dataclass(frozen=True)
class LearnedPositions(Part):
    """A learned vector for each position of a sequence, added to the embedding; every rank holds all of it.

    Source: Radford et al. 2019 (GPT-2); not cut: NVIDIA/Megatron-LM,
    megatron/core/models/common/embeddings/language_model_embedding.py, 2026-08.

    >>> [tensor.count for tensor in LearnedPositions(positions=2048, width=12288).weights()]
    [25165824]
    """

    positions: int
    width: int

    def weights(self) -> Iterator[Tensor]:
        """Yield the table."""
        yield Tensor("weight", (self.positions, self.width), "embedding")
