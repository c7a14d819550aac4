"""What stands before the layers of a vision tower: a vector for each patch of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from memcalc.ledger.parts.plain import Part
from memcalc.ledger.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Patches"]


@dataclass(frozen=True, repr=False)
class Patches(Part):
    """A convolution that makes one vector of each square patch of an image.

    Source: Dosovitskiy et al. 2020, arXiv:2010.11929; names as in transformers' SiglipVisionEmbeddings.

    Parameters
    ----------
    width : int
        Width of the vision tower's stream.
    channels : int
        Numbers of one point of the image: its colours.
    patch : int
        Points along one side of a patch.

    Examples
    --------
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
