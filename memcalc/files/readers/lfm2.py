"""LFM2: short convolutions in most layers, attention in the others. Held against transformers 5.23."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.errors import BadInputError
from memcalc.files.readers.common import decoder, gqa, moe, stack
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import MLP, Norm, Part
from memcalc.ledger.tensor import IN, OUT, Tensor, linear

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from memcalc.files.config import Config
    from memcalc.ledger.model import Model
    from memcalc.ledger.parts.plain import Kept

__all__ = ["ShortConvolution", "lfm2", "lfm2_moe"]


@record
class ShortConvolution(Part):
    """A gated convolution over a few tokens: all that it remembers are its last inputs.

    Source: Liquid AI 2025, LFM2, arXiv:2511.23404; names as in transformers' Lfm2ShortConv.

    Parameters
    ----------
    width, conv_kernel : int
        Width of the residual stream, and tokens that the convolution reads.
    bias : bool, default False
        Whether the convolution and the two projections have a bias.

    Examples
    --------
    >>> part = ShortConvolution(width=2048, conv_kernel=3)
    >>> [tensor.stored_shape for tensor in part.cache(1, 8192, lambda context, window: context)]
    [(1, 2048, 3)]

    """

    counted = "state_depth"
    width: int
    conv_kernel: int
    bias: bool = False

    def weights(self) -> Iterator[Tensor]:
        """Yield the projections and the convolution."""
        yield from linear("in_proj", (3, self.width), self.width, bias=self.bias, shard_axis=OUT)
        yield Tensor("conv.weight", (self.width, 1, self.conv_kernel), "conv", shard_axis=0)
        if self.bias:
            yield Tensor("conv.bias", (self.width,), "bias", shard_axis=0)
        yield from linear("out_proj", self.width, self.width, bias=self.bias, shard_axis=IN)

    def cache(self, batch: int, context: int, kept: Kept) -> Iterator[Tensor]:
        """Yield the convolution's inputs, as transformers keeps them."""
        del context, kept
        yield Tensor("conv_state", (batch, self.width, self.conv_kernel), "state", shard_axis=1)


KINDS = ("conv", "full_attention")


def lfm2(config: Config, name: str) -> Model:
    """Read LFM2: the width of the feed-forward part is what is stated, or two thirds of it rounded up."""
    depth, listed = config.size("num_hidden_layers"), config.value("full_attn_idxs")
    config.has("layer_types")
    where = range(depth) if listed is None else config.whole_numbers("full_attn_idxs")
    kinds = config.words("layer_types", KINDS, depth) or [KINDS[index in where] for index in range(depth)]
    mlp = MLP(config.size("hidden_size"), inner_width(config))
    return decoder(config, name, layers(config, kinds, [mlp] * depth))


def lfm2_moe(config: Config, name: str) -> Model:
    """Read LFM2 with experts: the first `num_dense_layers` have none."""
    depth, dense = config.size("num_hidden_layers"), config.count("num_dense_layers")
    kinds = config.words("layer_types", KINDS, depth)
    if kinds is None:
        raise BadInputError("layer_types", "a kind a layer", None, "add the field to config.json")
    sparse = moe(config, "num_experts", score_bias=config.flag("use_expert_bias"))
    mlp = MLP(config.size("hidden_size"), config.size("intermediate_size"))
    mlps: list[Part] = [mlp if index < dense else sparse for index in range(depth)]
    return decoder(config, name, layers(config, kinds, mlps))


def layers(config: Config, kinds: Sequence[str], mlps: Sequence[Part]) -> list[Layer]:
    """Return the layers, each with its feed-forward part."""
    width = config.size("hidden_size")
    heads = config.size("num_attention_heads")
    own = {
        "block_dim": width,
        "conv_dim": width,
        "conv_dim_out": width,
        "num_heads": heads,
        "block_use_swiglu": True,
    }
    for field, value in own.items():  # as published: the class passes all of these over
        config.restates(field, value)
    for field in ("block_use_xavier_init", "conv_use_xavier_init", "use_pos_enc"):
        config.has(field)
    short = ShortConvolution(width, config.size("conv_L_cache"), config.flag("conv_bias"))
    attention, norm = gqa(config, qk_norm=True), Norm(width)

    def layer(kind: tuple[str, Part]) -> Layer:
        first: tuple[str, Part] = ("conv", short) if kind[0] == "conv" else ("self_attn", attention)
        return Layer((first, ("feed_forward", kind[1]), ("operator_norm", norm), ("ffn_norm", norm)))

    return stack(zip(kinds, mlps, strict=True), layer)


def inner_width(config: Config) -> int:
    """Return the width of LFM2's feed-forward part.

    Raises
    ------
    BadInputError
        The factor is no number above 0, or nothing is left of the width.

    """
    inner = config.size("intermediate_size")
    factor = config.value("block_ffn_dim_multiplier")
    config.has("block_multiple_of")
    if not config.flag("block_auto_adjust_ff_dim"):
        return inner
    if inner == 1:
        raise BadInputError(
            "intermediate_size", "at least 2: two thirds are built", inner, "correct config.json"
        )
    inner = 2 * inner // 3
    if factor is None:
        return inner
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 1 <= factor * inner <= 2**53:
        raise BadInputError("block_ffn_dim_multiplier", "a number above 0", factor, "correct config.json")
    each = config.size("block_multiple_of")
    return -(-int(factor * inner) // each) * each
