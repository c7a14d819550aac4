"""Mixtures of experts. They remember nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.ledger.parts.feedforward import MLP
from memcalc.ledger.parts.plain import Part
from memcalc.ledger.tensor import Tensor, linear, under

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MoE"]


@record
class MoE(Part):
    """A mixture of experts: a router, routed experts of which a token uses some, and shared experts.

    Source: DeepSeek-V3, arXiv:2412.19437; names as in Qwen3's and DeepSeek's checkpoints.

    Parameters
    ----------
    width : int
        Width of the residual stream.
    expert_width : int
        Inner width of one routed expert.
    experts, top_k : int
        Routed experts of a layer, and how many of them a token uses.
    shared_width : int, optional
        Inner width of all shared experts together; None where there are none.
    score_bias, score_trained : bool, default False
        Whether the router has the correction that DeepSeek-V3 keeps as a buffer, and if it is a parameter.
    bias : bool, default False
        Whether the router and every matrix of the routed experts have a bias, as in gpt-oss.
    shared_gate : bool, default False
        Whether a row says how much of the shared experts is added, as in Qwen3-Next.
    gated : bool, default True
        Whether an expert has three matrices and not two.
    expert_bias : bool, default False
        Whether the matrices of experts have a bias, and the router none.
    normed, wide : bool, default False
        Whether the weights of a token's experts add up to 1, and whether they stay in 32 bits: no weight
        depends on either, but what autograd keeps does.
    latent : int, optional
        Width of the narrower stream that routed experts see (Nemotron 3 Super); None for the stream itself.

    Examples
    --------
    >>> part = MoE(width=4096, expert_width=1536, experts=128, top_k=8)
    >>> sum(tensor.count for tensor in part.weights()), sum(tensor.active for tensor in part.weights())
    (2416443392, 151519232)

    """

    counted = "moe_depth"
    width: int
    expert_width: int
    experts: int
    top_k: int
    shared_width: int | None = None
    score_bias: bool = False
    bias: bool = False
    shared_gate: bool = False
    gated: bool = True
    expert_bias: bool = False
    normed: bool = False
    wide: bool = False
    score_trained: bool = False
    latent: int | None = None

    def weights(self) -> Iterator[Tensor]:
        """Yield the router, every expert, and the shared experts."""
        yield from linear("gate", self.experts, self.width, bias=self.bias, kind="router")
        if self.score_bias:
            corrects = "bias" if self.score_trained else "buffer"
            yield Tensor("gate.e_score_correction_bias", (self.experts,), corrects)
        biased = self.bias or self.expert_bias
        seen = self.width if self.latent is None else self.latent
        expert = MLP(seen, self.expert_width, self.gated, bias=biased, kind="expert")
        for tensor in under("experts.{expert}", expert.weights()):
            yield tensor._replace(experts=self.experts, active_experts=self.top_k)
        if self.shared_width is not None:
            shared = MLP(self.width, self.shared_width, self.gated, bias=self.expert_bias, kind="shared")
            yield from under("shared_experts", shared.weights())
        if self.shared_gate:
            yield from linear("shared_expert_gate", 1, self.width, kind="router")
