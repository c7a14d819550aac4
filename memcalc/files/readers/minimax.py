"""MiniMax-Text-01 and M1: lightning attention in most layers, attention in the others, experts in all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.errors import BadInputError
from memcalc.files.readers.common import PRE_NORMS, decoder, gqa, moe, stack
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import Norm, Part
from memcalc.ledger.tensor import IN, OUT, Tensor, linear

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from memcalc.files.config import Config
    from memcalc.ledger.model import Model
    from memcalc.ledger.parts.plain import Kept

__all__ = ["LightningAttention", "minimax", "minimax_m1"]


@record
class LightningAttention(Part):
    """Lightning attention: linear attention whose memory is one matrix a head; its decay is a constant.

    MiniMax's own code keeps the matrices in fp32; transformers and vLLM have them in the model's dtype.
    Source: MiniMax-01 2025, arXiv:2501.08313; names as in transformers' MiniMaxLightningAttention.

    Parameters
    ----------
    width, heads, head_dim : int
        Width of the residual stream, heads, and numbers of each.
    decay_block : int, optional
        Tokens of a block, for which transformers tabulates what each of them still weighs at the end of it
        and to the others; its checkpoints hold these tables, other engines compute them.

    Examples
    --------
    >>> part = LightningAttention(width=6144, heads=64, head_dim=128)
    >>> sum(tensor.count for tensor in part.weights())
    251666432
    >>> [tensor.stored_shape for tensor in part.cache(1, 8192, lambda context, window: context)]
    [(1, 64, 128, 128)]

    """

    counted = "state_depth"
    width: int
    heads: int
    head_dim: int
    decay_block: int | None = None

    def weights(self) -> Iterator[Tensor]:
        """Yield queries, keys and values in one matrix, the gate, the output, the norm, and the tables."""
        inner = (self.heads, self.head_dim)
        yield from linear("qkv_proj", (self.heads, 3 * self.head_dim), self.width, shard_axis=OUT)
        yield from linear("output_gate", inner, self.width, shard_axis=OUT)
        yield from linear("out_proj", self.width, inner, shard_axis=IN)
        yield Tensor("norm.weight", (inner,), "norm", shard_axis=0)
        if self.decay_block is not None:
            yield Tensor("slope_rate", (self.heads, 1, 1), "buffer", shard_axis=0)
            for name in ("query_decay", "key_decay"):
                yield Tensor(name, (self.heads, self.decay_block, 1), "buffer", shard_axis=0)
            pairs = (1, self.heads, self.decay_block, self.decay_block)
            yield Tensor("diagonal_decay", pairs, "buffer", shard_axis=1)

    def cache(self, batch: int, context: int, kept: Kept) -> Iterator[Tensor]:
        """Yield the matrix of every head."""
        del context, kept
        state = (batch, self.heads, self.head_dim, self.head_dim)
        yield Tensor("recurrent_state", state, "state", shard_axis=1, format="fp32")


KINDS = ("linear_attention", "full_attention")


def minimax(config: Config, name: str) -> Model:
    """Read MiniMax-Text-01 as transformers has it: every second layer attends, or as it lists."""
    depth = config.size("num_hidden_layers")
    config.restates("sliding_window")  # the class masks by it, and its cache keeps every token all the same
    kinds = config.words("layer_types", KINDS, depth) or [KINDS[(index + 1) % 2] for index in range(depth)]
    config.has("block_size")  # needed only where there are layers with tables
    table = config.size("block_size") if KINDS[0] in kinds else None
    return decoder(config, name, layers(config, kinds, table))


def minimax_m1(config: Config, name: str) -> Model:
    """Read MiniMax-M1: the same shapes, without tables in its files, and with the router in fp32.

    Source: MiniMax-AI/MiniMax-M1, model.safetensors.index.json: 912,210,767,872 bytes, 2 bytes a parameter
    and 2 more for each of the routers'; 2025-06.
    """
    depth = config.size("num_hidden_layers")
    config.restates("sliding_window")
    config.restates("shared_intermediate_size", 0)
    for field in ("rotary_dim", "postnorm", "shared_moe_mode"):  # order and kind of operations
        config.has(field)
    listed = config.whole_numbers("attn_type_list")
    if len(listed) != depth or not {0, 1}.issuperset(listed):
        expected = f"a list of {depth} numbers, 0 for lightning attention and 1 for attention"
        raise BadInputError("attn_type_list", expected, list(listed), "correct config.json")
    wide = (("mlp.gate.weight", "fp32"),)
    return decoder(config, name, layers(config, [KINDS[each] for each in listed], None, wide))


def layers(
    config: Config, kinds: Sequence[str], table: int | None, wide: tuple[tuple[str, str], ...] = ()
) -> list[Layer]:
    """Return the layers: all have the same experts."""
    attention, width = gqa(config, rope_dim=config.optional("rotary_dim")), config.size("hidden_size")
    lightning = LightningAttention(width, attention.heads, attention.head_dim, table)
    sparse = moe(config, "num_local_experts", "intermediate_size")
    norms = tuple((norm, Norm(width)) for norm in PRE_NORMS)

    def layer(kind: str) -> Layer:
        first: Part = attention if kind == "full_attention" else lightning
        return Layer((("self_attn", first), ("mlp", sparse), *norms), formats=wide)

    return stack(kinds, layer)
