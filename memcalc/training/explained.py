"""A training step whose numbers know their names, and its tensors: weights, and what a layer keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.show.named import group_names, named_model, named_ranks
from memcalc.show.steps import Section, Step, Sum
from memcalc.show.traced import expression_of
from memcalc.training.layer_runs import LayerRuns
from memcalc.training.layers import LayerGroup, forward_of
from memcalc.training.together import forward_together

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.ledger.model import Layer
    from memcalc.show.traced import Names
    from memcalc.training.plan import TrainingPlan
    from memcalc.training.stage import StageTensors

__all__ = ["NamedRuns", "named_plan", "tensor_sections"]


def named_plan(plan: TrainingPlan, names: Names) -> TrainingPlan:
    """Return a plan with named numbers: of its model, its micro-batch and its ranks."""
    micro = plan.micro_batch
    adapters = {
        name: one._replace(lora_rank=names("lora_rank", one.lora_rank)) for name, one in plan.adapters.items()
    }
    batch, seq = names("batch", micro.batch), names("context", micro.seq)
    words = micro.architecture
    if words.rows:
        words = replace(
            words, rows=names("positions", words.rows), rotated=names("rope_dim", words.rotated or 0)
        )
    return replace(
        plan,
        model=named_model(plan.model, names),
        adapters=adapters,
        micro_batch=replace(micro, batch=batch, seq=seq, adapters=adapters, architecture=words),
        parallelism=named_ranks(plan.parallelism, names),
    )


class NamedRuns(LayerRuns):
    """Layers in groups that are counted in named numbers."""

    def __init__(self, plan: TrainingPlan, names: Names) -> None:
        super().__init__(plan)
        self.names = names
        groups = plan.model.groups
        self.words = {one.parts: word for one, word in zip(groups, group_names(groups), strict=True)}

    def groups(self, layers: tuple[Layer, ...], *, grad: bool) -> tuple[list[LayerGroup], bool]:
        """Return layers as groups of equal ones, each with a named number of them."""
        words = {id(layer.parts): self.words.get(layer.parts, "depth") for layer in layers}
        found, grad_after = super().groups(layers, grad=grad)
        different = set(words.values())
        word = different.pop() if len(different) == 1 else "depth"
        named = [one if one.times == 1 else one._replace(times=self.names(word, one.times)) for one in found]
        return named, grad_after


def tensor_sections(plan: TrainingPlan, stage: StageTensors) -> Iterator[Section]:
    """Yield the weights of a rank one by one, and what a layer of each kind keeps."""
    weights = tuple(
        Step("weights", one.name, one.count, expression_of(one.count), evidence="exact")
        for one in stage.shards
    )
    held = sum(one.value for one in weights)
    yield Section(
        "numbers of the weights on a rank, before their states are shared out",
        weights,
        (Sum("numbers", (("weights", int(held)),), int(held)),),
        unit="numbers",
    )
    if plan.micro_batch.architecture.together:
        yield kept_together(plan, stage)
        return
    kinds: dict[int, Layer] = {}
    for chunk in stage.chunks:
        for layer in chunk.layers:
            kinds.setdefault(id(layer.parts), layer)
    for number, layer in enumerate(kinds.values(), 1):
        grad = stage.number > 0 or plan.input_grad
        tape, _, _, kept = forward_of(plan, layer, grad=grad)
        if not tape.differentiates:
            continue
        steps = tuple(
            Step("activations", value.name, value.bytes, expression_of(value.bytes)) for value in kept
        )
        of_several = f", kind {number} of {len(kinds)}" if len(kinds) > 1 else ""
        size = int(sum(step.value for step in steps))
        yield Section(
            f"what one layer keeps of the forward pass{of_several}",
            steps,
            (Sum("a layer", (("activations", size),), size),),
        )


def kept_together(plan: TrainingPlan, stage: StageTensors) -> Section:
    """Return what all layers keep, where some use what others made."""
    (chunk,) = stage.chunks
    sizes: dict[str, list[int]] = {}
    for value in forward_together(plan, chunk.layers, grad=plan.input_grad).kept:
        sizes.setdefault(value.name, []).append(value.bytes)
    steps = tuple(
        Step("activations", name, sum(each), expression_of(sum(each))) for name, each in sizes.items()
    )
    size = int(sum(step.value for step in steps))
    return Section(
        "what all layers keep of the forward pass",
        steps,
        (Sum("all layers", (("activations", size),), size),),
    )
