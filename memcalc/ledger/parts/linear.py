"""A matrix that stands by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.ledger.parts.plain import Part
from memcalc.ledger.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Linear"]


@record
class Linear(Part):
    """One matrix, such as a projection into the stream.

    Parameters
    ----------
    rows, columns : int
        Its outputs and inputs.
    bias : bool, default False
        Whether its outputs have a bias.
    cut : bool, default False
        Whether tensor-parallel ranks share its rows; else every rank holds all of it.

    Examples
    --------
    >>> [tensor.stored_shape for tensor in Linear(rows=7168, columns=14336).weights()]
    [(7168, 14336)]

    """

    rows: int
    columns: int
    bias: bool = False
    cut: bool = False

    def weights(self) -> Iterator[Tensor]:
        """Yield the matrix, and its bias if it has one."""
        shard_axis = 0 if self.cut else None
        yield Tensor("weight", (self.rows, self.columns), shard_axis=shard_axis)
        if self.bias:
            yield Tensor("bias", (self.rows,), "bias", shard_axis)
