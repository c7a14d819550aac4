"""Layers that hand values to others, run on one tape as if they were one (`memcalc.training.layers`)."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, reduce
from typing import TYPE_CHECKING, NamedTuple

from memcalc.ledger.tensor import greatest
from memcalc.training.autograd.tape import VECTORS
from memcalc.training.layers import FOR_LAYERS, NOTHING, LayerGroup, recomputed_by, shared_by, stream
from memcalc.training.weights import gathered_bytes, shared_bytes, weight_shards

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memcalc.ledger.model import Layer
    from memcalc.training.autograd.tape import Tape, Value
    from memcalc.training.plan import TrainingPlan

__all__ = ["Together", "forward_together", "run_together"]


class Together(NamedTuple):
    """Layers on one tape: what comes out of the last, what each was given, what the backward pass needs."""

    tape: Tape
    out: Value
    inputs: dict[str, Value]
    kept: list[Value]


def forward_together(plan: TrainingPlan, layers: tuple[Layer, ...], *, grad: bool) -> Together:
    """Run layers forward that hand values to others."""
    micro, full = plan.micro_batch, plan.options.recompute == "full"
    tape = micro.tape()
    x = stream(plan, tape, grad=grad)
    plan.implementation.hand_out(tape, micro, plan.model, x)
    inputs: dict[str, Value] = {}
    for number, layer in enumerate(one for one in layers for _ in range(one.times)):
        tape.enter(f"{number}")
        inputs[tape.layer] = x
        x = plan.implementation.layer(tape, micro, layer, x)
    if full:
        tape.hold_for(held_by_checkpoints(plan, tape, inputs, layers))
    kept = tape.kept(recomputed_together(plan))
    known = {id(value.storage) for value in kept}
    parts = tape.by_layer(inputs) if full else {}
    for name, given in inputs.items() if full else ():
        if id(given.storage) not in known and parts[name].operations:
            kept.append(given.storage)
    return Together(tape, x, inputs, kept)


def held_by_checkpoints(
    plan: TrainingPlan, tape: Tape, inputs: Mapping[str, Value], layers: tuple[Layer, ...]
) -> dict[str, list[Value]]:
    """Return what the checkpoint of each layer refers to: tables, masks, vectors, and what all borrow."""
    named = dict(zip(inputs, (one for one in layers for _ in range(one.times)), strict=True))
    borrow = any(getattr(part, "borrows", False) for layer in layers for _, part in layer.parts)
    lent = (
        [value for name, pair in tape.handed.items() if name != VECTORS for value in pair] if borrow else []
    )
    masks: dict[str, Value] = {}
    for value in lent:  # run again, a layer lends others, which have a graph
        tape.linger(value)
    found: dict[str, list[Value]] = {}
    parts = tape.by_layer(named)
    for name, layer in named.items():
        tables = (value for one in parts[name].operations for value in one.keeps if value.shared)
        for mask, size in plan.implementation.masks(plan.micro_batch, layer).items():
            masks.setdefault(mask, tape.value(mask, (size,), 1, grad=False, region="whole")).shared = True
        own = (masks[mask] for mask in plan.implementation.masks(plan.micro_batch, layer))
        found[name] = [*tables, *own, *tape.handed.get(VECTORS, ()), *lent]
    return found


def run_together(plan: TrainingPlan, layers: tuple[Layer, ...], *, grad: bool) -> tuple[LayerGroup, bool]:
    """Run layers that hand values to others on one tape, as if they were one."""
    full, how = plan.options.recompute == "full", recomputed_together(plan)
    tape, out, inputs, kept = forward_together(plan, layers, grad=grad)
    parts = tape.by_layer(inputs) if full else {}
    there = {id(value): value for value in kept}
    forward = {f"{name}/layer": part.forward_peak(*there.values()) for name, part in parts.items()}
    outside = tuple(one for one in plan.model.outside if one[0] in FOR_LAYERS)
    weights = list(weight_shards(plan, replace(plan.model, layers=layers, outside=outside)))
    whole = [value for value in tape.kept() if id(value) not in there]
    shared = {name: sum(one.bytes for one in values) for name, values in shared_by(plan, tape).items()}
    for layer in layers if full else ():
        shared |= plan.implementation.masks(plan.micro_batch, layer)
    differentiated = tape.differentiates
    passed = tape.backward(how, final=True, forward=forward) if differentiated else NOTHING
    group = LayerGroup(
        kept=sum(value.bytes for value in kept) if differentiated else 0,
        again=reduce(greatest, tape.made_again(how).values(), 0) if full else 0,
        differentiated=differentiated,
        passed=passed,
        last_passed=passed,
        gradients=shared_bytes(plan, weights, "gradient", shared=plan.parallelism.shares_gradients),
        numbers=sum(item.count for item in weights),
        trained_numbers=sum(item.count for item in weights if item.trained),
        gathered=sum(gathered_bytes(plan, item) for item in weights),
        routed=sum(value.bytes for value in (*kept, *whole) if value.region == "routed"),
        shared=shared,
        cast=sum(value.bytes for value in tape.cached(kept)),
        unpacked=sum(value.bytes for value in (*kept, *whole) if value.name.endswith("from its codes")),
    )
    return group, out.grad


def recomputed_together(plan: TrainingPlan) -> Callable[[str], str | None] | None:
    """Return what says which modules run again where all layers are on one tape: each layer by itself."""
    how = recomputed_by(plan)
    if how is None:
        return None

    @cache
    def unit_of(module: str) -> str | None:
        layer, _, name = module.rpartition("/")
        unit = how(name)
        return unit and f"{layer}/{unit}"

    return unit_of
