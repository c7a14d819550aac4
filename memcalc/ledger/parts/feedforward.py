"""Feed-forward parts: dense, and mixtures of experts. They remember nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from memcalc.ledger.parts.plain import Part
from memcalc.ledger.tensor import IN, OUT, Tensor, linear, under

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MLP", "MoE"]


@dataclass(frozen=True, repr=False)
class MLP(Part):
    """A feed-forward part.

    Source: Shazeer 2020, arXiv:2002.05202; names as in transformers' LlamaMLP.

    Parameters
    ----------
    width : int
        Width of the residual stream.
    ffn_width : int
        Inner width.
    gated : bool, default True
        Whether there are three matrices (SwiGLU) and not two.
    bias : bool, default False
        Whether each matrix has a bias.
    kind : str, default "matrix"
        The kind of its matrices; those of experts have another, so that formats and placement can tell.

    Examples
    --------
    >>> sum(tensor.count for tensor in MLP(width=5120, ffn_width=25600).weights())
    393216000

    """

    counted: ClassVar[str] = "dense_depth"
    width: int
    ffn_width: int
    gated: bool = True
    bias: bool = False
    kind: str = "matrix"

    def weights(self) -> Iterator[Tensor]:
        """Yield gate (if any), up and down."""
        for name in ("gate_proj", "up_proj") if self.gated else ("up_proj",):
            yield from linear(
                name, self.ffn_width, self.width, bias=self.bias, shard_axis=OUT, kind=self.kind
            )
        yield from linear(
            "down_proj", self.width, self.ffn_width, bias=self.bias, shard_axis=IN, kind=self.kind
        )


@dataclass(frozen=True, repr=False)
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
    score_bias : bool, default False
        Whether the router has the correction that DeepSeek-V3 keeps as a buffer, not as a parameter.
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

    Examples
    --------
    >>> part = MoE(width=4096, expert_width=1536, experts=128, top_k=8)
    >>> sum(tensor.count for tensor in part.weights()), sum(tensor.active for tensor in part.weights())
    (2416443392, 151519232)

    """

    counted: ClassVar[str] = "moe_depth"
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

    def weights(self) -> Iterator[Tensor]:
        """Yield the router, every expert, and the shared experts."""
        yield from linear("gate", self.experts, self.width, bias=self.bias, kind="router")
        if self.score_bias:
            yield Tensor("gate.e_score_correction_bias", (self.experts,), "buffer")
        biased = self.bias or self.expert_bias
        expert = MLP(self.width, self.expert_width, self.gated, bias=biased, kind="expert")
        for tensor in under("experts.{expert}", expert.weights()):
            yield tensor._replace(experts=self.experts, active_experts=self.top_k)
        if self.shared_width is not None:
            shared = MLP(self.width, self.shared_width, self.gated, bias=self.expert_bias, kind="shared")
            yield from under("shared_experts", shared.weights())
        if self.shared_gate:
            yield from linear("shared_expert_gate", 1, self.width, kind="router")
