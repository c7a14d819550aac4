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


@dataclass(frozen=True)
class GQA(Part):
    """Grouped-query attention: `heads` queries share `kv_heads` keys and values.

    Multi-head attention is ``kv_heads == heads``, multi-query attention ``kv_heads == 1``. `window` is the
    sliding window in tokens, or None. `qk_norm` puts an RMSNorm on every head of the queries and keys.
    `sinks` adds a logit a query head to which attention may go instead of a token. `rope_dim` is how many
    numbers of a head are rotated, None for all of them and 0 for none; with `qk_norm_bias` the norms of the
    heads are LayerNorms. `gated` puts as many numbers behind the queries' as
    there are outputs, through which the output passes (Qwen3-Next): they lie in the queries' matrix.
    Source: Ainslie et al. 2023, arXiv:2305.13245; names as in transformers' LlamaAttention and
    GptOssAttention.

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
        yield from linear("q_proj", asked, self.width, bias=self.qkv_bias, split=OUT)
        yield from linear("k_proj", kv, self.width, bias=self.qkv_bias, split=OUT)
        yield from linear("v_proj", kv, self.width, bias=self.qkv_bias, split=OUT)
        yield from linear("o_proj", self.width, q, bias=self.out_bias, split=IN)
        if self.qk_norm:
            yield from under("q_norm", Norm(self.head_dim, self.qk_norm_bias).weights())
            yield from under("k_norm", Norm(self.head_dim, self.qk_norm_bias).weights())
        if self.sinks:
            yield Tensor("sinks", (self.heads,), "bias", split=0)

    def cache(self, batch: int, context: int, kept: Kept) -> Iterator[Tensor]:
        """Yield one key and one value a token and KV head."""
        tokens = kept(context, self.window)
        for name in "keys", "values":
            yield Tensor(name, (batch, self.kv_heads, tokens, self.head_dim), "cache", split=1)


@dataclass(frozen=True)
class MLA(Part):
    """Multi-head latent attention: one latent and one rotated key a token, for all heads together.

    `q_rank` is None where the queries have no low-rank form. No axis of the cache can be cut by heads, so
    every tensor-parallel rank holds all of it. `absorbed` stores the up-projection in two, keys turned: what
    llama.cpp's files do, so that queries can be put into the latent's room. `expanded` keeps keys and values
    of all heads instead of the latent: what its older files did. `latent_norms` normalise the two latents.
    Source: DeepSeek-V2, arXiv:2405.04434; names as in transformers' DeepseekV3Attention.

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
            yield from linear("q_proj", q, self.width, split=OUT)
        else:
            yield from linear("q_a_proj", self.q_rank, self.width, bias=self.bias)
            if self.latent_norms:
                yield from under("q_a_layernorm", Norm(self.q_rank).weights())
            yield from linear("q_b_proj", q, self.q_rank, split=OUT)
        yield from linear("kv_a_proj_with_mqa", self.kv_rank + self.rope_dim, self.width, bias=self.bias)
        if self.latent_norms:
            yield from under("kv_a_layernorm", Norm(self.kv_rank).weights())
        if self.absorbed:
            yield Tensor("k_b_proj.weight", (self.heads, self.kv_rank, self.nope_dim), split=0)
            yield Tensor("v_b_proj.weight", (self.heads, self.value_dim, self.kv_rank), split=0)
        else:
            up = (self.heads, self.nope_dim + self.value_dim)
            yield from linear("kv_b_proj", up, self.kv_rank, split=OUT)
        biased = self.bias or self.out_bias
        yield from linear("o_proj", self.width, (self.heads, self.value_dim), bias=biased, split=IN)

    def cache(self, batch: int, context: int, kept: Kept) -> Iterator[Tensor]:
        """Yield the latent and the rotated key of every token, or keys and values of all heads."""
        tokens = kept(context, None)
        if self.expanded:
            key_dim = self.nope_dim + self.rope_dim
            yield Tensor("keys", (batch, self.heads, tokens, key_dim), "cache", split=1)
            yield Tensor("values", (batch, self.heads, tokens, self.value_dim), "cache", split=1)
            return
        yield Tensor("latent", (batch, tokens, self.kv_rank), "cache")
        yield Tensor("rotated_key", (batch, tokens, self.rope_dim), "cache")


@dataclass(frozen=True)
class Indexer(Part):
    """What picks the tokens that sparse attention looks at: heads of its own, and one small key a token.

    It stands beside MLA and takes the queries' latent (`q_rank` numbers). Attention then reads the latents of
    the chosen tokens, but keeps those of all: the indexer adds to the cache and saves nothing of it. Engines
    hold it whole on every tensor-parallel rank. The matrix that weighs its heads counts as a router: it, too,
    decides what is looked at, and checkpoints leave it in 16 bits. vLLM keeps the key in FP8 with a scale,
    132 bytes for 128 numbers; here it is a cache tensor like any other.
    Source: deepseek-ai/DeepSeek-V3.2-Exp; names as in transformers' DeepseekV32Indexer; not cut and in part
    not quantised: vllm-project/vllm, model_executor/models/deepseek_v2.py, class Indexer, 2026-11.

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
