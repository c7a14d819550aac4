"""Dense feed-forward parts. They remember nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.ledger.parts.plain import Part
from memcalc.ledger.tensor import IN, OUT, linear

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.ledger.tensor import Tensor

__all__ = ["MLP"]


@record
class MLP(Part):
    """A feed-forward part.

    Source: Shazeer 2020, arXiv:2002.05202; names as in transformers' LlamaMLP.

    Parameters
    ----------
    width : int
        Width of the residual stream.
    ffn_width : int
        Inner width.
    gated : bool, default True
        Whether there are three matrices (SwiGLU) and not two.
    bias : bool, default False
        Whether each matrix has a bias.
    kind : str, default "matrix"
        The kind of its matrices; those of experts have another, so that formats and placement can tell.

    Examples
    --------
    >>> sum(tensor.count for tensor in MLP(width=5120, ffn_width=25600).weights())
    393216000

    """

    counted = "dense_depth"
    width: int
    ffn_width: int
    gated: bool = True
    bias: bool = False
    kind: str = "matrix"

    def weights(self) -> Iterator[Tensor]:
        """Yield gate (if any), up and down."""
        for name in ("gate_proj", "up_proj") if self.gated else ("up_proj",):
            yield from linear(
                name, self.ffn_width, self.width, bias=self.bias, shard_axis=OUT, kind=self.kind
            )
        yield from linear(
            "down_proj", self.width, self.ffn_width, bias=self.bias, shard_axis=IN, kind=self.kind
        )
