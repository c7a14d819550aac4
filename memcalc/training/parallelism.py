"""Which slice of a trained model a rank holds, and how data-parallel ranks share the states."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from memcalc.ledger.tensor import Tensor

__all__ = ["TrainingParallelism"]


class TrainingParallelism(NamedTuple):
    """Ranks of a training run in each direction, and how data-parallel ranks share the states.

    `world` devices are ``tp * pp * cp * dp``; the experts are dealt out over `ep` of the ranks of a stage,
    each cut over `expert_tp`. `shard` is ZeRO's stage, or ``fsdp``.

    >>> parallel = TrainingParallelism(world=64, tp=8, pp=2, cp=2)
    >>> parallel.dp, parallel.states_ranks, TrainingParallelism(world=8, ep=4).expert_states_ranks
    (2, 4, 2)
    """

    world: int = 1
    tp: int = 1
    pp: int = 1
    vpp: int = 1
    cp: int = 1
    ep: int = 1
    expert_tp: int | None = None
    shard: int | str = 0
    sequence_parallel: bool = False
    schedule: str = "1f1b"

    @property
    def dp(self) -> int:
        """Data-parallel ranks: each has sequences of its own."""
        return self.world // (self.tp * self.pp * self.cp)

    @property
    def etp(self) -> int:
        """Ranks that share one expert's matrices."""
        return self.expert_tp or self.tp

    @property
    def zero_stage(self) -> int:
        """ZeRO's stage: FSDP shares as much as stage 3."""
        return 3 if self.shard == "fsdp" else int(self.shard)

    @property
    def shares_optimizer(self) -> bool:
        """Whether ranks share the optimizer's numbers and the master copy."""
        return self.zero_stage >= 1

    @property
    def shares_gradients(self) -> bool:
        """Whether ranks share the gradients, too."""
        return self.zero_stage >= 2

    @property
    def shares_weights(self) -> bool:
        """Whether ranks share the weights, too."""
        return self.zero_stage >= 3

    @property
    def states_ranks(self) -> int:
        """Ranks that hold the same weights outside of the experts: data- and context-parallel ones."""
        return self.dp * self.cp

    @property
    def expert_states_ranks(self) -> int:
        """Ranks that hold the same experts."""
        return self.world // (self.etp * self.ep * self.pp)

    def on_rank(self, tensor: Tensor) -> Tensor:
        """Return the fullest rank's share of a weight before its states are shared out."""
        if tensor.active_experts is None:
            return tensor.on_rank(tp=self.tp)
        return tensor.on_rank(tp=self.etp, ep=self.ep)

    def in_flight(self, stage: int, micro_batches: int) -> int:
        """Return how many chunks of a stage keep their activations at once, at most.

        One forward, one backward: the first stage starts as many micro-batches as there are stages.
        Interleaved: 2(p - 1 - stage) + (v - 1)p + 1 chunks, each of 1/v of the stage's layers. GPipe: all.
        Source: Narayanan et al. 2021, arXiv:2104.04473; Megatron-LM, core/pipeline_parallel/schedules.py.

        >>> TrainingParallelism(world=4, pp=4).in_flight(0, 32)
        4
        >>> TrainingParallelism(world=4, pp=4, vpp=2).in_flight(0, 32)
        11
        """
        if self.schedule == "gpipe":
            return micro_batches
        if self.vpp == 1:
            return min(micro_batches, self.pp - stage)
        return min(micro_batches * self.vpp, 2 * (self.pp - 1 - stage) + (self.vpp - 1) * self.pp + 1)
