"""Parts that remember a state of fixed size instead of every token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.ledger.parts.plain import Norm, Part
from memcalc.ledger.tensor import IN, OUT, Tensor, linear, under

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.ledger.parts.plain import Kept

__all__ = ["DeltaNet", "KimiDelta"]


@record
class DeltaNet(Part):
    """Gated DeltaNet: linear attention whose memory is one matrix for each value head, in fp32.

    Queries, keys and values pass a short convolution, whose last inputs are kept too.
    Source: Yang et al. 2024, arXiv:2412.06464; names as in transformers' Qwen3NextGatedDeltaNet, whose
    in_proj_qkvz and in_proj_ba are in_proj_qkv with in_proj_z, and in_proj_b with in_proj_a, here.

    Parameters
    ----------
    width : int
        Width of the residual stream.
    linear_key_heads, linear_value_heads : int
        Key heads, of which there are as many of queries, and value heads.
    linear_key_dim, linear_value_dim : int
        Numbers of a key head and of a value head: rows and columns of a head's state.
    conv_kernel : int
        Tokens that the convolution reads.

    Examples
    --------
    >>> part = DeltaNet(2048, linear_key_heads=16, linear_value_heads=32, linear_key_dim=128,
    ...                 linear_value_dim=128, conv_kernel=4)
    >>> sum(tensor.count for tensor in part.weights())
    33718464
    >>> [tensor.stored_shape for tensor in part.cache(1, 8192, lambda context, window: context)]
    [(1, 8192, 4), (1, 32, 128, 128)]

    """

    counted = "state_depth"
    width: int
    linear_key_heads: int
    linear_value_heads: int
    linear_key_dim: int
    linear_value_dim: int
    conv_kernel: int

    @property
    def streams(self) -> int:
        """Numbers of a token that pass the convolution: queries, keys and values."""
        keys = self.linear_key_heads * self.linear_key_dim
        return 2 * keys + self.linear_value_heads * self.linear_value_dim

    def weights(self) -> Iterator[Tensor]:
        """Yield the projections, the convolution, what decays, the norm, and the output."""
        values = (self.linear_value_heads, self.linear_value_dim)
        yield from linear("in_proj_qkv", self.streams, self.width, shard_axis=OUT)
        yield from linear("in_proj_z", values, self.width, shard_axis=OUT)
        yield from linear("in_proj_b", self.linear_value_heads, self.width, shard_axis=OUT)
        yield from linear("in_proj_a", self.linear_value_heads, self.width, shard_axis=OUT)
        yield Tensor("conv1d.weight", (self.streams, 1, self.conv_kernel), "conv", shard_axis=0)
        yield Tensor("dt_bias", (self.linear_value_heads,), "bias", shard_axis=0)
        yield Tensor("A_log", (self.linear_value_heads,), "bias", shard_axis=0)
        yield from under("norm", Norm(self.linear_value_dim).weights())
        yield from linear("out_proj", self.width, values, shard_axis=IN)

    def cache(self, batch: int, context: int, kept: Kept) -> Iterator[Tensor]:
        """Yield the convolution's inputs, as transformers keeps them, and the state of every value head."""
        del context, kept
        yield Tensor("conv_state", (batch, self.streams, self.conv_kernel), "state", shard_axis=1)
        state = (batch, self.linear_value_heads, self.linear_key_dim, self.linear_value_dim)
        yield Tensor("recurrent_state", state, "state", shard_axis=1, format="fp32")


@record
class KimiDelta(DeltaNet):
    """Kimi delta attention: as many key heads as value heads, decays of single numbers, gates of low rank.

    Source: Kimi Linear 2025, arXiv:2510.26692; names as in Moonshot's checkpoints.
    """

    def weights(self) -> Iterator[Tensor]:
        """Yield a projection and a convolution each for queries, keys and values, gates, and the output."""
        heads, size = (self.linear_key_heads, self.linear_key_dim), self.linear_key_dim
        for letter in "qkv":
            yield from linear(f"{letter}_proj", heads, self.width, shard_axis=OUT)
            yield Tensor(f"{letter}_conv1d.weight", (heads, 1, self.conv_kernel), "conv", shard_axis=0)
        yield Tensor("A_log", (1, 1, self.linear_key_heads, 1), "bias", shard_axis=2)
        yield Tensor("dt_bias", (heads,), "bias", shard_axis=0)
        for gate in "fg":
            yield from linear(f"{gate}_a_proj", size, self.width)
            yield from linear(f"{gate}_b_proj", heads, size, shard_axis=OUT)
        yield from linear("b_proj", self.linear_key_heads, self.width, shard_axis=OUT)
        yield from under("o_norm", Norm(size).weights())
        yield from linear("o_proj", self.width, heads, shard_axis=IN)
