"""The backward pass of a stage: the points at which a rank may hold most, and gradients that wait."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

from memcalc.ledger.tensor import greatest, share
from memcalc.training.plan import EMBEDDING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memcalc.training.layers import Ends
    from memcalc.training.plan import TrainingPlan
    from memcalc.training.stage import StageTensors

__all__ = ["SCALARS", "BackwardPoint", "backward_points", "fullest_point", "largest"]

SCALARS = 8  # the loss and the weight of its mean, or the loss and its gradient: two numbers of 32 bits


class BackwardPoint(NamedTuple):
    """A point in the backward pass, and what it adds to what lives throughout.

    `left_behind` are gradients of the inputs of layers that ran, where hooks hold them.
    """

    name: str
    gradients: int
    activations: int
    logits: int
    temporaries: int
    left_behind: int = 0

    @property
    def total(self) -> int:
        """Bytes that the backward pass adds to what lives throughout."""
        return self.gradients + self.activations + self.logits + self.temporaries + self.left_behind


def backward_points(plan: TrainingPlan, stage: StageTensors) -> Iterator[BackwardPoint]:
    """Yield the points of the backward pass at which a rank may hold most."""
    fresh, full = plan.fresh_gradients, plan.options.recompute == "full"
    on_device = 0 if "activations" in plan.options.offload else 1
    activations = on_device * stage.layers_kept + stage.shared_kept + (SCALARS if stage.is_last else 0)
    held, gradients = held_logits(plan, stage), 0
    groups = [group for group in stage.groups[stage.in_flight[-1]] if group.differentiated]
    goes = 0 if plan.holds_inputs else on_device  # of a layer's checkpoint, once it ran backwards
    ran = 0
    if stage.ends is not None:
        kept, passed, own = stage.ends.kept, stage.ends.passed, stage.ends.gradients
        wide = head_input(plan, stage, stage.ends)
        yield BackwardPoint("head", 0, activations + kept, wide + held, passed.peak)
        gradients = own if fresh else waiting_gradient(plan, stage)
    elif not groups:  # a stage may have no layers, beside the embedding
        yield BackwardPoint("stage without layers", 0, activations, held, stage.stream)
    for index, group in reversed(list(enumerate(groups))):
        before = {name for one in groups[:index] for name in one.shared}
        for step in sorted({0, group.times - 1}):
            done = gradients + (step * group.gradients if fresh else 0)
            fetched = 0 if on_device else group.kept  # the checkpoint of the layer that runs again
            left = activations - step * (goes * group.kept + group.handed) + fetched + group.again
            last = step == group.times - 1 and not before.intersection(group.shared) and not full
            peak = (group.last_passed if last else group.passed).peak
            behind = (ran + step) * stage.stream if plan.holds_inputs else 0
            yield BackwardPoint("layer", done, left, held, stage.stream + peak - group.again, behind)
        ran += group.times
        gradients = gradients + (group.times * group.gradients if fresh else 0)
        freed = sum(size for name, size in group.shared.items() if name not in before)
        gone = group.times * (goes * group.kept + group.handed)
        activations = activations - gone - (freed if index else 0)


def fullest_point(plan: TrainingPlan, stage: StageTensors) -> BackwardPoint:
    """Return the point of the backward pass at which a rank holds most."""
    found = list(backward_points(plan, stage))
    if all(isinstance(one.total, int) for one in found):
        return max(found, key=lambda one: one.total)
    return BackwardPoint("of each", 0, 0, 0, largest(one.total for one in found))  # in a sweep they differ


def largest(sizes: Iterable[int]) -> int:
    """Return the largest of some sizes, element by element where they are arrays."""
    return reduce(greatest, sizes)


def held_logits(plan: TrainingPlan, stage: StageTensors) -> int:
    """Return the bytes of the logits that the caller does not let go.

    Under autocast accelerate hands on a copy in 32 bits.
    """
    if not plan.options.hold_logits or not stage.is_last:
        return 0
    copied = False
    if plan.micro_batch.autocast and plan.options.like is not None:
        from memcalc.training.trainers import trainers

        copied = bool(trainers()[plan.options.like].widens_outputs)
    return stage.logits * (4 if plan.loss.made_wide or copied else plan.micro_batch.low_bytes)


def head_input(plan: TrainingPlan, stage: StageTensors, ends: Ends) -> int:
    """Return the bytes that lie ready when the head runs backwards: the logits' gradient, and what waits."""
    loss = plan.loss
    if loss.fused:
        return ends.result + head_gradient(plan, stage)
    kept = loss.kept * stage.logits
    if not loss.backward:  # the gradient lies where the logits were
        return kept
    return kept - share(kept, loss.chunks) + share(ends.result, loss.chunks)


def head_gradient(plan: TrainingPlan, stage: StageTensors) -> int:
    """Return the bytes of the head's gradient as a fused loss makes it: as wide as the logits."""
    head = EMBEDDING if plan.tied else "lm_head"
    return (
        sum(one.count for one in stage.trained if one.name.startswith(f"{head}."))
        * plan.micro_batch.low_bytes
    )


def embedding_gradient(plan: TrainingPlan, stage: StageTensors) -> int:
    """Return the bytes of the embedding's gradient as autograd makes it, if it is trained.

    Where gradients lie in a buffer of the implementation's own, it is as wide as the weight, and added.
    """
    if not plan.trains_embedding:
        return 0
    items = [one for one in stage.trained if one.name.startswith(f"{EMBEDDING}.")]
    if plan.implementation.gradients is None:
        return sum(one.gradient for one in items)
    return sum(one.count for one in items) * plan.micro_batch.element_bytes


def tied_here(plan: TrainingPlan, stage: StageTensors) -> bool:
    """Say whether embedding and head are one weight of this stage: pipelines keep one at either end."""
    return plan.tied and stage.number == 0 and stage.is_last


def waiting_gradient(plan: TrainingPlan, stage: StageTensors) -> int:
    """Return the bytes of a tied head's gradient, which is added only when the embedding's has come, too."""
    return embedding_gradient(plan, stage) if tied_here(plan, stage) else 0
