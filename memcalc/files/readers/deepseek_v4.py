"""DeepSeek-V4: compressed attention, hyper-connections, experts by hash. Held against transformers 5.23."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from memcalc.data.record import record
from memcalc.errors import BadInputError
from memcalc.files.readers.common import PRE_NORMS, decoder, moe, stack
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import Linear, MoE, Norm, Part
from memcalc.ledger.tensor import IN, OUT, Tensor, least, linear, product, share, under

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from memcalc.files.config import Config
    from memcalc.ledger.model import Model
    from memcalc.ledger.parts.plain import Kept

__all__ = ["CompressedAttention", "HashExperts", "HyperConnection", "StreamHead", "deepseek_v4"]

KINDS = ("sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention")
SPARSE, HEAVY = KINDS[1:]
MLPS = ("hash_moe", "moe")


@record
class CompressedAttention(Part):
    """Attention to a window of tokens, and to one entry for every so many tokens before it.

    One vector of a token is both key and value, for all heads. A compressor makes an entry of every
    `compress_rate` tokens; with an indexer (`index_heads`) windows overlap, so that an entry is made of twice
    as many, and the indexer has an entry of its own beside each. The output is projected in groups of heads.
    Source: DeepSeek-V4, technical report, sections 2.3.1 and 2.3.2, 2026; names as in transformers'
    DeepseekV4Attention.

    Parameters
    ----------
    width : int
        Width of the residual stream.
    heads, head_dim : int
        Query heads, and the numbers of one, of a token's vector and of an entry.
    q_rank : int
        Numbers of the queries' latent.
    out_groups, out_rank : int
        Groups of heads that are projected by themselves, and the numbers that each becomes.
    rope_dim : int
        Numbers of a head that are rotated.
    window : int
        Tokens that are kept as they are.
    compress_rate : int, optional
        Tokens for which there is one entry; None where there are none.
    index_heads, index_dim : int, optional
        The indexer's query heads, and the numbers of one and of an entry; None without an indexer.
    waiting : str, default "fixed"
        How the tokens are kept that have no entry yet: ``fixed``, a state in fp32 with room for all of them,
        as in the authors' own code; ``now``, as many as there are, as in transformers; ``most``, as many as
        there have been at any one moment. In transformers layers without a compressor keep keys and values.

    Examples
    --------
    >>> part = CompressedAttention(4096, 64, 512, 1024, 8, 1024, 64, window=128, compress_rate=4,
    ...                            index_heads=64, index_dim=128)
    >>> sum(tensor.count for tensor in part.weights())
    126098624
    >>> [tensor.stored_shape for tensor in part.cache(1, 8192, lambda context, window: window)]
    [(1, 128, 512), (1, 2048, 512), (1, 2048, 128), (1, 2, 8, 1024), (1, 2, 8, 256)]

    """

    counted = "attention_depth"
    width: int
    heads: int
    head_dim: int
    q_rank: int
    out_groups: int
    out_rank: int
    rope_dim: int
    window: int
    compress_rate: int | None = None
    index_heads: int | None = None
    index_dim: int | None = None
    waiting: str = "fixed"

    @property
    def entries(self) -> Iterator[tuple[str, int]]:
        """What is made of every so many tokens: names, and numbers of an entry."""
        if self.compress_rate is not None:
            yield "compressor.entries", self.head_dim
        if self.index_dim is not None:
            yield "compressor.indexer.index_keys", self.index_dim

    @property
    def series(self) -> int:
        """How many vectors of a token an entry may be made of: one for each of the windows it lies in."""
        return 1 if self.index_dim is None else 2

    def in_transformers(self) -> CompressedAttention:
        """Return the part with what waits as transformers keeps it: a plan has room for the most at once."""
        return replace(self, waiting="most")

    def weights(self) -> Iterator[Tensor]:
        """Yield the projections, the norms, the sinks, and the compressor with its indexer."""
        heads = (self.heads, self.head_dim)
        yield from linear("q_a_proj", self.q_rank, self.width)
        yield from under("q_a_norm", Norm(self.q_rank).weights())
        yield from linear("q_b_proj", heads, self.q_rank, shard_axis=OUT)
        yield from linear("kv_proj", self.head_dim, self.width)
        yield from under("kv_norm", Norm(self.head_dim).weights())
        groups = (self.out_groups, self.out_rank)
        yield from linear("o_a_proj", groups, share(product(heads), self.out_groups), shard_axis=OUT)
        yield from linear("o_b_proj", self.width, groups, shard_axis=IN)
        yield Tensor("sinks", (self.heads,), "bias", shard_axis=0, format="fp32")
        for name, size in self.entries:
            yield from self.compressor(name.rpartition(".")[0], size)
        if self.index_heads is not None and self.index_dim is not None:
            index = (self.index_heads, self.index_dim)
            yield from linear("compressor.indexer.q_b_proj", index, self.q_rank)
            scorer = "compressor.indexer.scorer.weights_proj"
            yield from linear(scorer, self.index_heads, self.width, kind="router")

    def compressor(self, name: str, size: int) -> Iterator[Tensor]:
        """Yield what makes entries of so many numbers; checkpoints leave its matrices in 16 bits."""
        wide, rate = self.series * size, self.compress_rate or 0
        for matrix in ("kv_proj", "gate_proj"):
            yield from under(name, linear(matrix, wide, self.width, kind="router"))
        yield Tensor(f"{name}.position_bias", (rate, wide), "bias", format="fp32")
        yield from under(f"{name}.kv_norm", Norm(size).weights())

    def cache(self, batch: int, context: int, kept: Kept) -> Iterator[Tensor]:
        """Yield the window's vectors, the entries so far, and what waits for the next one."""
        tokens = kept(context, self.window)
        twice = self.compress_rate is None and self.waiting != "fixed"
        for name in ("keys", "values") if twice else ("keys",):
            yield Tensor(name, (batch, tokens, self.head_dim), "cache")
        if self.compress_rate is None:
            return
        made = context // self.compress_rate
        for name, size in self.entries:
            yield Tensor(name, (batch, made, size), "cache")
        for name, size in self.entries:
            yield from self.unfinished(name.rpartition(".")[0], size, batch, context)

    def unfinished(self, name: str, size: int, batch: int, context: int) -> Iterator[Tensor]:
        """Yield what is kept of the tokens that have no entry yet, and of those that overlap the next one.

        Of each a vector and a gate of the same size are kept.
        """
        rate, wide = self.compress_rate or 0, self.series * size
        if self.waiting == "fixed":
            state = (batch, 2, self.series * rate, wide)
            yield Tensor(f"{name}.state", state, "state", format="fp32")
            return
        made = context // rate
        tokens = context - made * rate if self.waiting == "now" else least(context, rate - 1)
        for half in ("kv", "gate"):
            yield Tensor(f"{name}.buffer_{half}", (batch, tokens, wide), "state")
            if self.series > 1:
                overlap = (batch, least(made, 1) * rate, size)
                yield Tensor(f"{name}.overlap_{half}", overlap, "state")


@record
class HyperConnection(Part):
    """What mixes several residual streams into one before a part, and its output into all of them after it.

    Source: Xie et al. 2026, manifold-constrained hyper-connections, as cited in DeepSeek-V4's report.

    >>> [tensor.stored_shape for tensor in HyperConnection(4096, streams=4).weights()]
    [(24, 16384), (24,), (3,)]
    """

    width: int
    streams: int

    def weights(self) -> Iterator[Tensor]:
        """Yield the projection of all streams, its shift, and the scales of its three pieces, in fp32."""
        mixed = (2 + self.streams) * self.streams
        yield Tensor("fn", (mixed, self.streams * self.width), "router", format="fp32")
        yield Tensor("base", (mixed,), "bias", format="fp32")
        yield Tensor("scale", (3,), "bias", format="fp32")


@record
class StreamHead(Part):
    """What makes one stream of several, before the final norm.

    >>> [tensor.stored_shape for tensor in StreamHead(4096, streams=4).weights()]
    [(4, 16384), (4,), (1,)]
    """

    width: int
    streams: int

    def weights(self) -> Iterator[Tensor]:
        """Yield the projection of all streams, its shift, and its scale, in fp32."""
        yield Tensor("hc_fn", (self.streams, self.streams * self.width), "router", format="fp32")
        yield Tensor("hc_base", (self.streams,), "bias", format="fp32")
        yield Tensor("hc_scale", (1,), "bias", format="fp32")


@record
class HashExperts(MoE):
    """A mixture of experts whose tokens are sent by a table: for each of the vocabulary the experts it uses.

    >>> part = HashExperts(8, 4, experts=4, top_k=2, vocab=10)
    >>> [tensor.stored_shape for tensor in part.weights() if tensor.kind == "buffer"]
    [(10, 2)]
    """

    vocab: int = 1

    def weights(self) -> Iterator[Tensor]:
        """Yield the mixture's weights and the table, which is a buffer."""
        yield from super().weights()
        yield Tensor("gate.tid2eid", (self.vocab, self.top_k), "buffer", format="int64")


def deepseek_v4(config: Config, name: str) -> Model:
    """Read DeepSeek-V4: three kinds of attention, the first layers' experts by hash, several streams."""
    config.restates("mlp_bias", False)  # noqa: FBT003 (the shared expert alone would have one)
    config.restates("num_key_value_heads", 1)
    config.restates("n_shared_experts", 1)
    for field in (
        "attention_bias",
        "index_topk",
        "hc_sinkhorn_iters",
        "partial_rotary_factor",
        "expert_dtype",
    ):
        config.has(field)  # read by the class, and no tensor depends on it
    depth, width, streams = (config.size(field) for field in ("num_hidden_layers", "hidden_size", "hc_mult"))
    kinds, ahead = kinds_of_layers(config, depth)
    sparse = moe(
        config, "n_routed_experts", shared_width=config.size("moe_intermediate_size"), score_bias=True
    )
    settings = {**vars(sparse), "score_bias": False, "vocab": config.size("vocab_size")}
    by_hash = HashExperts(**settings)

    def layer(kind: tuple[str, str]) -> Layer:
        mlp = by_hash if kind[1] == "hash_moe" else sparse
        connections = ((f"{each}_hc", HyperConnection(width, streams)) for each in ("attn", "ffn"))
        norms = ((norm, Norm(width)) for norm in PRE_NORMS)
        return Layer((("self_attn", attention(config, kind[0])), ("mlp", mlp), *norms, *connections))

    layers = stack(zip(kinds, mlp_kinds(config, depth), strict=True), layer)
    head = StreamHead(width, streams)
    joining: Any = [(f"{each}_proj", Linear(width, width)) for each in "eh"]
    joining += [(norm, Norm(width)) for norm in ("enorm", "hnorm", "norm")]
    joining += [("hc_head", head)]
    mtp = stack(ahead, lambda kind: Layer((*layer((kind, "moe")).parts, *joining)))
    model = decoder(config, name, layers, tuple(mtp))
    return replace(model, outside=(*model.outside, ("model.hc_head", head)))


def attention(config: Config, kind: str) -> CompressedAttention:
    """Return the attention of a kind of layer.

    Raises
    ------
    BadInputError
        Groups do not divide the heads' numbers.

    """
    heads, head_dim, groups = (
        config.size(field) for field in ("num_attention_heads", "head_dim", "o_groups")
    )
    if heads * head_dim % groups:
        given = f"{groups} for {heads} heads of {head_dim}"
        raise BadInputError("o_groups", "a divisor of all heads' numbers", given, "correct config.json")
    rates = compress_rates(config)
    indexed = [config.size(field) for field in ("index_n_heads", "index_head_dim")]
    return CompressedAttention(
        config.size("hidden_size"),
        heads,
        head_dim,
        config.size("q_lora_rank"),
        groups,
        config.size("o_lora_rank"),
        rotary_dim(config, head_dim),
        config.size("sliding_window"),
        rates.get(kind),
        *(indexed if kind == SPARSE else ()),
    )


def rotary_dim(config: Config, head_dim: int) -> int:
    """Return how many numbers of a head are rotated: a share of it, or as stated, or an eighth.

    Raises
    ------
    BadInputError
        The share is none.

    """
    share = config.value("partial_rotary_factor")
    stated = config.optional("qk_rope_head_dim")
    if share is None:
        return stated or head_dim // 8
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        expected = "a number above 0 and at most 1"
        raise BadInputError("partial_rotary_factor", expected, share, "correct config.json")
    return int(head_dim * share)


def compress_rates(config: Config) -> dict[str, int]:
    """Return how many tokens an entry stands for, by kind of layer.

    Raises
    ------
    BadInputError
        It is no whole number above 0.

    """
    stated: dict[str, Any] = config.mapping("compress_rates") if config.has("compress_rates") else {}
    stated = {SPARSE: 4, HEAVY: 128} if not stated else dict(stated)
    for kind, field in ((SPARSE, "compress_rate_csa"), (HEAVY, "compress_rate_hca")):
        if config.has(field):
            stated[kind] = config.size(field)
    for kind, rate in stated.items():
        if kind not in KINDS[1:] or type(rate) is not int or rate < 1:
            expected = f"whole numbers for {SPARSE} and {HEAVY}"
            raise BadInputError("compress_rates", expected, {kind: rate}, "correct config.json")
    if len(stated) < 2:
        raise BadInputError("compress_rates", f"both {SPARSE} and {HEAVY}", stated, "correct config.json")
    return stated


def kinds_of_layers(config: Config, depth: int) -> tuple[Sequence[str], Sequence[str]]:
    """Return the kind of each layer, and of those for multi-token prediction, whose rates stand behind.

    Raises
    ------
    BadInputError
        There are fewer rates than layers, or one that no kind of layer has.

    """
    by_rate = dict(zip((0, 4, 128), KINDS, strict=True))
    ratios = config.whole_numbers("compress_ratios")
    for ratio in ratios:
        if ratio not in by_rate:
            remedy = "this kind of layer is not understood, so nothing is counted"
            raise BadInputError("compress_ratios", "only 0, 4 and 128", ratio, remedy)
    if ratios and len(ratios) < depth:
        given = f"{len(ratios)} for {depth} layers"
        raise BadInputError("compress_ratios", "one a layer", given, "correct config.json")
    found = [by_rate[ratio] for ratio in ratios]
    ahead = config.count("num_nextn_predict_layers") if config.has("num_nextn_predict_layers") else 0
    after = [*found[depth:], *(KINDS[0],) * ahead][:ahead]
    usual = [HEAVY if index < 2 or index % 2 == 0 else SPARSE for index in range(depth)]
    return config.words("layer_types", KINDS, depth) or found[:depth] or usual, after


def mlp_kinds(config: Config, depth: int) -> Sequence[str]:
    """Return which layers send tokens to experts by a table: as listed, or the first `num_hash_layers`."""
    first = config.count("num_hash_layers") if config.has("num_hash_layers") else 3
    return config.words("mlp_layer_types", MLPS, depth) or [MLPS[index >= first] for index in range(depth)]
