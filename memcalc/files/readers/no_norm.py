"""What stands at the end of the layers where nothing does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from memcalc.ledger.parts.plain import Part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.ledger.tensor import Tensor

__all__ = ["NoNorm"]


@dataclass(frozen=True, repr=False)
class NoNorm(Part):
    """The end of the layers where the final norm has no weights, or there is none."""

    def weights(self) -> Iterator[Tensor]:
        """Yield nothing."""
        yield from ()
