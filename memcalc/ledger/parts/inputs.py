"""What stands before the layers, beside the embedding: learned positions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.ledger.parts.plain import Part
from memcalc.ledger.tensor import Axis, Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PositionTable"]


@record
class PositionTable(Part):
    """A learned vector for each position, added to what stands there.

    It is no part of the vocabulary: every tensor-parallel rank holds all of it, and no rule pads it.
    Source: Radford et al. 2019 (GPT-2); Dosovitskiy et al. 2020, arXiv:2010.11929; not cut:
    NVIDIA/Megatron-LM, megatron/core/models/common/embeddings/language_model_embedding.py, 2026-08.

    Parameters
    ----------
    positions : tuple of int or of (int, int)
        Positions along each stored axis: ``(1024,)`` of a decoder, ``(rows, columns)`` of the patches of an
        image, ``((rows, columns),)`` where these are stored as one list.
    width : int
        Numbers of one vector.

    Examples
    --------
    >>> [tensor.stored_shape for tensor in PositionTable((1024,), width=768).weights()]
    [(1024, 768)]
    >>> [tensor.stored_shape for tensor in PositionTable(((64, 64),), width=1152).weights()]
    [(4096, 1152)]

    """

    positions: tuple[Axis, ...]
    width: int

    def weights(self) -> Iterator[Tensor]:
        """Yield the table."""
        yield Tensor("weight", (*self.positions, self.width), "positions")
