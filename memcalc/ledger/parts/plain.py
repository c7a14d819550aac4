"""Norms and embeddings, and what every part has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.data.record import Record, record
from memcalc.ledger.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Kept = Callable[[int, int | None], int]

__all__ = ["Embedding", "Norm", "Part"]


class Part(Record):
    """What a model is made of. A part without a cache remembers nothing of the tokens it has seen."""

    counted = "depth"  # the word for "layers that have this part"

    def weights(self) -> Iterator[Tensor]:
        """Yield what a checkpoint stores for this part, under the names of transformers' state dict."""
        raise TypeError(type(self).__name__)

    def cache(self, batch: int, context: int, kept: Kept) -> Iterator[Tensor]:
        """Yield what the part remembers; ``kept(context, window)`` is the engine's rule for windows."""
        del batch, context, kept
        yield from ()


@record
class Norm(Part):
    """A norm: one weight for each number that it scales.

    Parameters
    ----------
    width : int
        Numbers that it scales.
    bias : bool, default False
        Whether it is a LayerNorm, which also shifts, and not an RMSNorm.

    Examples
    --------
    >>> [tensor.count for tensor in Norm(width=5120).weights()]
    [5120]

    """

    width: int
    bias: bool = False

    def weights(self) -> Iterator[Tensor]:
        """Yield the scale, and the shift of a LayerNorm."""
        yield Tensor("weight", (self.width,), "norm")
        if self.bias:
            yield Tensor("bias", (self.width,), "bias")


@record
class Embedding(Part):
    """A table of one row for each token of the vocabulary.

    Parameters
    ----------
    vocab : int
        Tokens of the vocabulary, padding included.
    width : int
        Width of the residual stream.
    kind : str, default "embedding"
        "head" where it is the output matrix.
    bias : bool, default False
        Whether each row has one, as in some heads.

    Examples
    --------
    >>> [tensor.count for tensor in Embedding(vocab=151936, width=5120).weights()]
    [777912320]

    """

    vocab: int
    width: int
    kind: str = "embedding"
    bias: bool = False

    def weights(self) -> Iterator[Tensor]:
        """Yield the table, cut between ranks along the vocabulary."""
        yield Tensor("weight", (self.vocab, self.width), self.kind, shard_axis=0)
        if self.bias:
            yield Tensor("bias", (self.vocab,), "bias", shard_axis=0)
