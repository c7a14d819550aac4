"""Attention of heads: what it stores, and the keys and values that it remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.ledger.parts.plain import Norm, Part
from memcalc.ledger.tensor import IN, OUT, Tensor, linear, product, under

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.ledger.parts.plain import Kept

__all__ = ["GQA"]


@record
class GQA(Part):
    """Grouped-query attention: `heads` queries share `kv_heads` keys and values.

    Multi-head attention is ``kv_heads == heads``, multi-query attention ``kv_heads == 1``.
    Source: Ainslie et al. 2023, arXiv:2305.13245; names as in transformers' LlamaAttention and
    GptOssAttention.

    Parameters
    ----------
    width : int
        Width of the residual stream.
    heads, kv_heads : int
        Query heads, and the key/value heads that they share.
    head_dim : int
        Numbers of one head.
    window : int, optional
        The sliding window in tokens; None where every token is kept.
    qkv_bias, out_bias : bool, default False
        Whether queries, keys and values, and the output, have a bias.
    qk_norm : bool, default False
        Whether every head of queries and keys has an RMSNorm.
    sinks : bool, default False
        Whether each query head has a logit to which attention may go instead of a token (gpt-oss).
    rope_dim : int, optional
        Numbers of a head that are rotated: None for all of them, 0 for none.
    gated : bool, default False
        Whether the output passes a gate (Qwen3-Next): as many numbers, which lie in the queries' matrix.
    qk_norm_bias, qk_norm_whole : bool, default False
        Whether the norms of `qk_norm` are LayerNorms, and whether each spans all heads at once (OLMo 2).
    keys_are_values : bool, default False
        Whether keys and values come from one matrix (Gemma 4): both are cached.
    borrows : bool, default False
        Whether keys and values are those of an earlier layer: none are made here, and none are cached.

    Examples
    --------
    >>> part = GQA(width=5120, heads=64, kv_heads=8, head_dim=128)
    >>> sum(tensor.count for tensor in part.weights())
    94371840
    >>> sum(tensor.count for tensor in part.cache(1, 1, lambda context, window: context))
    2048

    """

    counted = "attention_depth"
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    window: int | None = None
    qkv_bias: bool = False
    out_bias: bool = False
    qk_norm: bool = False
    sinks: bool = False
    rope_dim: int | None = None
    gated: bool = False
    qk_norm_bias: bool = False
    qk_norm_whole: bool = False
    keys_are_values: bool = False
    borrows: bool = False

    def weights(self) -> Iterator[Tensor]:
        """Yield four matrices, and the biases, norms and sinks that the variant has."""
        q, kv = (self.heads, self.head_dim), (self.kv_heads, self.head_dim)
        asked = (self.heads, 2 * self.head_dim) if self.gated else q
        yield from linear("q_proj", asked, self.width, bias=self.qkv_bias, shard_axis=OUT)
        own = () if self.borrows else ("k_proj",) if self.keys_are_values else ("k_proj", "v_proj")
        for name in own:
            yield from linear(name, kv, self.width, bias=self.qkv_bias, shard_axis=OUT)
        yield from linear("o_proj", self.width, q, bias=self.out_bias, shard_axis=IN)
        normed = (("q_norm", q), ("k_norm", kv))[: 1 if self.borrows else 2]
        for name, all_heads in normed if self.qk_norm else ():
            scaled = product(all_heads) if self.qk_norm_whole else self.head_dim
            yield from under(name, Norm(scaled, self.qk_norm_bias).weights())
        if self.sinks:
            yield Tensor("sinks", (self.heads,), "bias", shard_axis=0)

    def cache(self, batch: int, context: int, kept: Kept) -> Iterator[Tensor]:
        """Yield one key and one value a token and KV head."""
        tokens = kept(context, self.window)
        for name in () if self.borrows else ("keys", "values"):
            yield Tensor(name, (batch, self.kv_heads, tokens, self.head_dim), "cache", shard_axis=1)
