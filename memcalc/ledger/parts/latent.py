"""Latent attention, which remembers one vector a token for all heads together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.ledger.parts.plain import Norm, Part
from memcalc.ledger.tensor import IN, OUT, Tensor, linear, under

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.ledger.parts.plain import Kept

__all__ = ["MLA"]


@record
class MLA(Part):
    """Multi-head latent attention: one latent and one rotated key a token, for all heads together.

    No axis of the cache can be cut by heads, so every tensor-parallel rank holds all of it.
    Source: DeepSeek-V2, arXiv:2405.04434; names as in transformers' DeepseekV3Attention.

    Parameters
    ----------
    width : int
        Width of the residual stream.
    heads : int
        Query heads; after the up-projection there are as many of keys and values.
    kv_rank : int
        Numbers of the key/value latent of a token.
    nope_dim, rope_dim : int
        Numbers of a query or key head that are not rotated, and that are.
    value_dim : int
        Numbers of a value head.
    q_rank : int, optional
        Numbers of the queries' latent; None where queries have no low-rank form.
    bias : bool, default False
        Whether down-projections and output have a bias.
    absorbed : bool, default False
        Whether the up-projection is stored in two, keys transposed, as in llama.cpp's files, so that queries
        can be projected into the latent space.
    expanded : bool, default False
        Whether keys and values of all heads are cached instead of the latent, as with llama.cpp's older
        files.
    latent_norms : bool, default True
        Whether the two latents have an RMSNorm.
    out_bias : bool, default False
        Whether the output alone has a bias.

    Examples
    --------
    >>> part = MLA(width=7168, heads=128, kv_rank=512, nope_dim=128, rope_dim=64, value_dim=128, q_rank=1536)
    >>> sum(tensor.count for tensor in part.cache(1, 1, lambda context, window: context))
    576

    """

    counted = "attention_depth"
    width: int
    heads: int
    kv_rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int
    q_rank: int | None = None
    bias: bool = False
    absorbed: bool = False
    expanded: bool = False
    latent_norms: bool = True
    out_bias: bool = False

    def weights(self) -> Iterator[Tensor]:
        """Yield the down- and up-projections of queries and of the key/value latent, and the output."""
        q = (self.heads, self.nope_dim + self.rope_dim)
        if self.q_rank is None:
            yield from linear("q_proj", q, self.width, shard_axis=OUT)
        else:
            yield from linear("q_a_proj", self.q_rank, self.width, bias=self.bias)
            if self.latent_norms:
                yield from under("q_a_layernorm", Norm(self.q_rank).weights())
            yield from linear("q_b_proj", q, self.q_rank, shard_axis=OUT)
        yield from linear("kv_a_proj_with_mqa", self.kv_rank + self.rope_dim, self.width, bias=self.bias)
        if self.latent_norms:
            yield from under("kv_a_layernorm", Norm(self.kv_rank).weights())
        if self.absorbed:
            yield Tensor("k_b_proj.weight", (self.heads, self.kv_rank, self.nope_dim), shard_axis=0)
            yield Tensor("v_b_proj.weight", (self.heads, self.value_dim, self.kv_rank), shard_axis=0)
        else:
            up = (self.heads, self.nope_dim + self.value_dim)
            yield from linear("kv_b_proj", up, self.kv_rank, shard_axis=OUT)
        biased = self.bias or self.out_bias
        yield from linear("o_proj", self.width, (self.heads, self.value_dim), bias=biased, shard_axis=IN)

    def cache(self, batch: int, context: int, kept: Kept) -> Iterator[Tensor]:
        """Yield the latent and the rotated key of every token, or keys and values of all heads."""
        tokens = kept(context, None)
        if self.expanded:
            key_dim = self.nope_dim + self.rope_dim
            yield Tensor("keys", (batch, self.heads, tokens, key_dim), "cache", shard_axis=1)
            yield Tensor("values", (batch, self.heads, tokens, self.value_dim), "cache", shard_axis=1)
            return
        yield Tensor("latent", (batch, tokens, self.kv_rank), "cache")
        yield Tensor("rotated_key", (batch, tokens, self.rope_dim), "cache")
