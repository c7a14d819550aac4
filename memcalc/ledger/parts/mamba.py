"""Mamba-2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.ledger.parts.plain import Norm, Part
from memcalc.ledger.tensor import IN, OUT, Tensor, linear, product, under

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.ledger.parts.plain import Kept

__all__ = ["Mamba2"]


@record
class Mamba2(Part):
    """Mamba-2, whose memory is a matrix a head, in fp32, and the last inputs of a short convolution.

    Source: Dao and Gu 2024, arXiv:2405.21060; names as in transformers' Mamba2Mixer.

    Parameters
    ----------
    width, conv_kernel : int
        Width of the residual stream, and tokens that the convolution reads.
    ssm_heads, ssm_head_dim, ssm_state, ssm_groups : int
        Heads, numbers of each, of the state for each of these, and groups of heads that share its inputs.
    conv_bias, in_bias, out_bias, normed : bool
        Whether the convolution and the two projections have a bias, and whether the output has a norm.

    Examples
    --------
    >>> part = Mamba2(4096, conv_kernel=4, ssm_heads=128, ssm_head_dim=64, ssm_state=128, ssm_groups=8)
    >>> sum(tensor.count for tensor in part.weights())
    109635968
    >>> [tensor.stored_shape for tensor in part.cache(1, 8192, lambda context, window: context)]
    [(1, 10240, 4), (1, 128, 64, 128)]

    """

    counted = "state_depth"
    width: int
    conv_kernel: int
    ssm_heads: int
    ssm_head_dim: int
    ssm_state: int
    ssm_groups: int
    conv_bias: bool = True
    in_bias: bool = False
    out_bias: bool = False
    normed: bool = True

    @property
    def streams(self) -> int:
        """Numbers of a token that pass the convolution."""
        return self.ssm_heads * self.ssm_head_dim + 2 * self.ssm_groups * self.ssm_state

    def weights(self) -> Iterator[Tensor]:
        """Yield the projections, the convolution, what a head has of its own, and the norm."""
        inner, heads = (self.ssm_heads, self.ssm_head_dim), self.ssm_heads
        projected = product(inner) + self.streams + heads
        yield from linear("in_proj", projected, self.width, bias=self.in_bias, shard_axis=OUT)
        yield Tensor("conv1d.weight", (self.streams, 1, self.conv_kernel), "conv", shard_axis=0)
        if self.conv_bias:
            yield Tensor("conv1d.bias", (self.streams,), "bias", shard_axis=0)
        for name in "dt_bias", "A_log", "D":
            yield Tensor(name, (heads,), "bias", shard_axis=0)
        if self.normed:
            yield from under("norm", Norm(product(inner)).weights())
        yield from linear("out_proj", self.width, inner, bias=self.out_bias, shard_axis=IN)

    def cache(self, batch: int, context: int, kept: Kept) -> Iterator[Tensor]:
        """Yield the convolution's inputs, as transformers keeps them, and the state of every head."""
        del context, kept
        yield Tensor("conv_state", (batch, self.streams, self.conv_kernel), "state", shard_axis=1)
        state = (batch, self.ssm_heads, self.ssm_head_dim, self.ssm_state)
        yield Tensor("recurrent_state", state, "state", shard_axis=1, format="fp32")
