"""What stands at the end of the layers where nothing does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.ledger.parts.plain import Part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.ledger.tensor import Tensor

__all__ = ["NoNorm"]


@record
class NoNorm(Part):
    """The end of the layers where the final norm has no weights, or there is none."""

    def weights(self) -> Iterator[Tensor]:
        """Yield nothing."""
        yield from ()
