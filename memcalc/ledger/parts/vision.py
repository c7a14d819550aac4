"""What stands before the layers of a vision tower: patches of an image, and where they lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from memcalc.ledger.parts.plain import Part
from memcalc.ledger.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Patches", "Positions"]


@dataclass(frozen=True)
class Patches(Part):
    """A convolution that makes one vector of each square patch of an image.

    Source: Dosovitskiy et al. 2020, arXiv:2010.11929; names as in transformers' SiglipVisionEmbeddings.

    >>> [tensor.stored_shape for tensor in Patches(width=1152, channels=3, patch=14).weights()]
    [(1152, 3, 14, 14), (1152,)]
    """

    width: int
    channels: int
    patch: int

    def weights(self) -> Iterator[Tensor]:
        """Yield the kernel and its bias."""
        yield Tensor("weight", (self.width, self.channels, self.patch, self.patch), "conv")
        yield Tensor("bias", (self.width,), "bias")


@dataclass(frozen=True)
class Positions(Part):
    """A learned vector for each place of a grid; a `flat` grid is stored as one list of places.

    >>> [tensor.stored_shape for tensor in Positions(grid_rows=64, grid_columns=64, width=1152).weights()]
    [(64, 64, 1152)]
    """

    grid_rows: int
    grid_columns: int
    width: int
    flat: bool = False

    def weights(self) -> Iterator[Tensor]:
        """Yield the table."""
        grid = (self.grid_rows, self.grid_columns)
        yield Tensor("weight", (grid, self.width) if self.flat else (*grid, self.width), "embedding")
