"""Attention: what it stores, and what it remembers of each token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from memcalc.ledger.parts.plain import Norm, Part
from memcalc.ledger.tensor import IN, OUT, Tensor, linear, under

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.ledger.parts.plain import Kept

__all__ = ["GQA", "MLA", "Indexer"]


@dataclass(frozen=True, repr=False)
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
    qk_norm_bias : bool, default False
        Whether the norms of `qk_norm` are LayerNorms.

    Examples
    --------
    >>> part = GQA(width=5120, heads=64, kv_heads=8, head_dim=128)
    >>> sum(tensor.count for tensor in part.weights())
    94371840
    >>> sum(tensor.count for tensor in part.cache(1, 1, lambda context, window: context))
    2048

    """

    counted: ClassVar[str] = "attention_depth"
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

    def weights(self) -> Iterator[Tensor]:
        """Yield four matrices, and the biases, norms and sinks that the variant has."""
        q, kv = (self.heads, self.head_dim), (self.kv_heads, self.head_dim)
        asked = (self.heads, 2 * self.head_dim) if self.gated else q
        yield from linear("q_proj", asked, self.width, bias=self.qkv_bias, shard_axis=OUT)
        yield from linear("k_proj", kv, self.width, bias=self.qkv_bias, shard_axis=OUT)
        yield from linear("v_proj", kv, self.width, bias=self.qkv_bias, shard_axis=OUT)
        yield from linear("o_proj", self.width, q, bias=self.out_bias, shard_axis=IN)
        if self.qk_norm:
            yield from under("q_norm", Norm(self.head_dim, self.qk_norm_bias).weights())
            yield from under("k_norm", Norm(self.head_dim, self.qk_norm_bias).weights())
        if self.sinks:
            yield Tensor("sinks", (self.heads,), "bias", shard_axis=0)

    def cache(self, batch: int, context: int, kept: Kept) -> Iterator[Tensor]:
        """Yield one key and one value a token and KV head."""
        tokens = kept(context, self.window)
        for name in "keys", "values":
            yield Tensor(name, (batch, self.kv_heads, tokens, self.head_dim), "cache", shard_axis=1)


@dataclass(frozen=True, repr=False)
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

    counted: ClassVar[str] = "attention_depth"
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


@dataclass(frozen=True, repr=False)
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

    counted: ClassVar[str] = "attention_depth"
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
