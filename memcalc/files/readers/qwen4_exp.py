"""Qwen4-Exp: Gated DeltaNet, attention with an indexer of blocks, several residual streams and no norms."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.errors import BadInputError
from memcalc.files.readers.common import decoder, stack
from memcalc.files.readers.qwen3_next import gated_attention, shared_experts
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import DeltaNet, Norm, Part
from memcalc.ledger.tensor import Tensor, linear, under

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.files.config import Config
    from memcalc.ledger.model import Model
    from memcalc.ledger.parts.plain import Kept

__all__ = ["BlockIndexer", "GatedStreams", "qwen4_exp_text"]

KINDS = ("linear_attention", "indexed_attention", "full_attention")
INDEXER = ("n_heads", "kv_heads", "head_dim", "budget", "compress_ratio")


@record
class BlockIndexer(Part):
    """An indexer that selects blocks of tokens by the mean of their keys: it keeps a small key of each token.

    Names as in transformers' Qwen4ExpTextQSAIndexer. There the `first` of them keeps three positions of each
    token as well, for all (`held`).

    >>> part = BlockIndexer(2048, index_heads=16, index_dim=128)
    >>> [tensor.stored_shape for tensor in part.weights()]
    [(2176, 2048), (128,), (128,)]
    """

    counted = "attention_depth"
    selects_blocks = True  # by which engines tell it from an indexer of tokens
    width: int
    index_heads: int
    index_dim: int
    first: bool = False
    held: bool = False

    def in_transformers(self) -> BlockIndexer:
        """Return the part with what transformers keeps beside its keys."""
        return replace(self, held=self.first)

    def weights(self) -> Iterator[Tensor]:
        """Yield the projection of its queries and its one key, and their norms."""
        yield from linear("index_qk_proj", (self.index_heads + 1, self.index_dim), self.width)
        for name in ("q_layernorm", "k_layernorm"):
            yield from under(name, Norm(self.index_dim).weights())

    def cache(self, batch: int, context: int, kept: Kept) -> Iterator[Tensor]:
        """Yield the key of every token, and positions where they are held."""
        tokens = kept(context, None)
        yield Tensor("index_keys", (batch, tokens, self.index_dim), "cache")
        if self.held:
            yield Tensor("index_positions", (3, batch, tokens), "cache", format="int64")


@record
class GatedStreams(Part):
    """What mixes several residual streams before a part by a low rank, and says how its output is added.

    Names as in transformers' Qwen4ExpTextGatedResidual.

    Parameters
    ----------
    width, streams : int
        Width of a stream, and how many there are.
    latent : int
        Rank of the mixture.
    adds : bool, default True
        Whether something is added to the streams: not where they become one at the end.

    Examples
    --------
    >>> [tensor.stored_shape for tensor in GatedStreams(2048, streams=4, latent=320).weights()]
    [(8192,), (320, 8192), (8192, 320), (4, 8192)]

    """

    width: int
    streams: int
    latent: int
    adds: bool = True

    def weights(self) -> Iterator[Tensor]:
        """Yield the norm of all streams, the mixture's two matrices, and what weighs the output."""
        wide = self.streams * self.width
        yield from under("hc_norm", Norm(wide).weights())
        yield from linear("input_mix_weight_down", self.latent, wide)
        yield from linear("input_mix_weight_up", wide, self.latent)
        if self.adds:
            yield from linear("block_inject_weight", self.streams, wide, kind="router")


def qwen4_exp_text(config: Config, name: str) -> Model:
    """Read Qwen4-Exp's text model.

    Raises
    ------
    BadInputError
        It looks n-grams up, or does not say what its indexers are.

    """
    for field in ("ple_embed_dim", "ple_conv_kernel_size", "ngram_size", "heads_per_ngram", "seed"):
        config.has(field)  # of tables of n-grams, which are refused
    for field in ("ngram_vocab_size_base", "make_ngram_vocab_size_divisible_by", "split_ngram_parts"):
        config.has(field)
    if config.whole_numbers("ple_layer_ids"):
        given, remedy = config.value("ple_layer_ids"), "tables of n-grams are not understood yet"
        raise BadInputError("ple_layer_ids", "none", given, remedy)
    config.has("output_gate_type")  # an activation
    depth, width = config.size("num_hidden_layers"), config.size("hidden_size")
    rank, streams = config.size("hc_lowrank"), config.size("hc_count")
    sparse, mixed = shared_experts(config), GatedStreams(width, streams, rank)
    delta = DeltaNet(
        width,
        config.size("linear_num_key_heads"),
        config.size("linear_num_value_heads"),
        config.size("linear_key_head_dim"),
        config.size("linear_value_head_dim"),
        config.size("linear_conv_kernel_dim"),
    )

    def layer(kind: tuple[str, bool]) -> Layer:
        if kind[0] == "linear_attention":
            first: list[tuple[str, Part]] = [("linear_attn", delta)]
        else:
            own = replace(indexer(config, width), first=kind[1])
            first = [("self_attn", gated_attention(config)), ("self_attn.indexer", own)]
        beside = ((f"{each}_hyper_connection", mixed) for each in ("attn", "mlp"))
        return Layer((*first, ("mlp", sparse), *beside))

    config.has("full_attention_interval")
    step = config.size("full_attention_interval") if config.has("full_attention_interval") else 4
    kinds = config.words("layer_types", KINDS, depth) or [
        KINDS[(index + 1) % step == 0] for index in range(depth)
    ]
    same = ["indexed_attention" if kind == "full_attention" else kind for kind in kinds]
    attending = [index for index, kind in enumerate(same) if kind != "linear_attention"]
    model = decoder(
        config, name, stack(((kind, [index] == attending[:1]) for index, kind in enumerate(same)), layer)
    )
    outside = dict(model.outside) | {"model.norm": replace(mixed, adds=False)}  # what stands before the head
    return replace(model, outside=tuple(outside.items()))


def indexer(config: Config, width: int) -> BlockIndexer:
    """Return the indexer of a layer of attention; how many blocks it selects changes no memory.

    Raises
    ------
    BadInputError
        Its heads are narrower than what is rotated of a head of attention.

    """
    for field in INDEXER[3:]:
        config.size(f"indexer_{field}")
    config.restates("indexer_kv_heads", 1)
    found, attention = config.size("indexer_head_dim"), gated_attention(config)
    rotated = attention.rope_dim or attention.head_dim
    if rotated > found:
        expected = f"at least the {rotated} rotated numbers of a head"
        raise BadInputError("indexer_head_dim", expected, found, "correct config.json")
    return BlockIndexer(width, config.size("indexer_n_heads"), found)
