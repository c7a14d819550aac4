"""The layers of a plan in groups of equal ones: each kind is run once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.ledger.tensor import greatest
from memcalc.training.layers import LayerGroup, run_layer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memcalc.ledger.model import Layer
    from memcalc.training.plan import TrainingPlan

__all__ = ["LayerRuns", "tables_bytes"]


class LayerRuns:
    """The layers of a plan, each kind run once however many there are, and on however many stages."""

    def __init__(self, plan: TrainingPlan) -> None:
        self.plan = plan
        self._done: dict[tuple[object, bool], tuple[LayerGroup, bool]] = {}

    def groups(self, layers: tuple[Layer, ...], *, grad: bool) -> tuple[list[LayerGroup], bool]:
        """Return layers as groups of equal ones, and whether a gradient flows out of the last."""
        if self.plan.micro_batch.architecture.together:
            group, grad = self.run_together(layers, grad=grad)
            return [group], grad
        found: list[tuple[tuple[int, bool, int], LayerGroup]] = []
        for one, handed in self.with_handed(layers):
            key = id(one.parts), grad, handed
            if found and found[-1][0] == key:
                found[-1] = key, found[-1][1]._replace(times=found[-1][1].times + one.times)
                continue
            group, grad_after = self.run(one, grad=grad)
            group = group._replace(handed=handed)
            if grad_after != grad and one.times > 1:
                found.append((key, group))
                more, _ = self.run(one, grad=grad_after)
                more = more._replace(times=one.times - 1, handed=handed)
                found.append(((id(one.parts), grad_after, handed), more))
            else:
                found.append((key, group._replace(times=one.times)))
            grad = grad_after
        return [group for _, group in found], grad

    def with_handed(self, layers: tuple[Layer, ...]) -> Iterator[tuple[Layer, int]]:
        """Yield layers with the bytes that the checkpoint of each holds of the one before it."""
        full, before = self.plan.options.recompute == "full", 0
        for layer in layers:
            own = self.plan.implementation.handed_on(self.plan.micro_batch, layer) if full else 0
            if own == before or layer.times == 1:
                yield layer, before
            else:
                yield replace(layer, times=1), before
                yield replace(layer, times=layer.times - 1), own
            before = own

    def run(self, layer: Layer, *, grad: bool) -> tuple[LayerGroup, bool]:
        """Run one layer, and say whether a gradient flows out of it."""
        key = id(layer.parts), grad
        if key not in self._done:
            self._done[key] = run_layer(self.plan, layer, grad=grad)
        return self._done[key]

    def run_together(self, layers: tuple[Layer, ...], *, grad: bool) -> tuple[LayerGroup, bool]:
        """Run layers that use what others made, and say whether a gradient flows out of the last."""
        key = tuple(id(one.parts) for one in layers), grad
        if key not in self._done:
            from memcalc.training.together import run_together

            self._done[key] = run_together(self.plan, layers, grad=grad)
        return self._done[key]


def tables_bytes(groups: Iterable[LayerGroup]) -> int:
    """Return the bytes of what layers keep of what all share, as cosines and sines: each kind once."""
    found: dict[str, int] = {}
    for group in groups:
        for name, size in group.shared.items():
            found[name] = greatest(found.get(name, 0), size)
    return sum(found.values())
