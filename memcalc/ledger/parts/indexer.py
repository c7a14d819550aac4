"""The indexer of sparse attention, which remembers one small key a token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.ledger.parts.plain import Norm, Part
from memcalc.ledger.tensor import Tensor, linear, under

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.ledger.parts.plain import Kept

__all__ = ["Indexer"]


@record
class Indexer(Part):
    """The indexer of sparse attention, which selects tokens: heads of its own, and one small key a token.

    It stands beside MLA and takes the queries' latent. Attention then reads the latents of the selected
    tokens, but keeps those of all: the indexer adds to the cache and saves nothing of it. Engines hold it
    whole on every tensor-parallel rank. The matrix that weighs its heads counts as a router: it, too, decides
    what is read, and checkpoints leave it in 16 bits. vLLM keeps the key in FP8 with a scale, 132 bytes for
    128 numbers; here it is a cache tensor like any other.
    Source: deepseek-ai/DeepSeek-V3.2-Exp; names as in transformers' DeepseekV32Indexer; not cut and in part
    not quantised: vllm-project/vllm, model_executor/models/deepseek_v2.py, class Indexer, 2026-11.

    Parameters
    ----------
    width : int
        Width of the residual stream.
    q_rank : int
        Numbers of the queries' latent, which it shares with MLA.
    index_heads : int
        Its query heads.
    index_dim : int
        Numbers of one of its heads, and of its key of a token.

    Examples
    --------
    >>> part = Indexer(width=7168, q_rank=1536, index_heads=64, index_dim=128)
    >>> sum(tensor.count for tensor in part.weights())
    13959424
    >>> sum(tensor.count for tensor in part.cache(1, 1, lambda context, window: context))
    128

    """

    counted = "attention_depth"
    width: int
    q_rank: int
    index_heads: int
    index_dim: int

    def weights(self) -> Iterator[Tensor]:
        """Yield the projections of queries and key, the key's norm, and what weighs the heads."""
        yield from linear("wq_b", (self.index_heads, self.index_dim), self.q_rank)
        yield from linear("wk", self.index_dim, self.width)
        yield from under("k_norm", Norm(self.index_dim, bias=True).weights())
        yield from linear("weights_proj", self.index_heads, self.width, kind="router")

    def cache(self, batch: int, context: int, kept: Kept) -> Iterator[Tensor]:
        """Yield the key of every token."""
        yield Tensor("index_keys", (batch, kept(context, None), self.index_dim), "cache")
