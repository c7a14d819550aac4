"""Layers run forward and backward on shapes: what one keeps, makes again and needs while it runs."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, reduce
from typing import TYPE_CHECKING, NamedTuple

from memcalc.ledger.tensor import greatest
from memcalc.training.autograd.tape import VECTORS, BackwardPass
from memcalc.training.plan import EMBEDDING
from memcalc.training.weights import gathered_bytes, shared_bytes, weight_shards

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from memcalc.ledger.model import Layer, Model
    from memcalc.training.autograd.tape import Tape, Value
    from memcalc.training.plan import TrainingPlan

__all__ = [
    "Ends",
    "LayerGroup",
    "LayerRuns",
    "forward_of",
    "forward_together",
    "is_normed",
    "run_ends",
    "stream_bytes",
    "stream_shape",
]

NOTHING = BackwardPass(0, 0)
EMBED_NORM = "model.embed_norm"
FOR_LAYERS = (
    "model.embed_tokens_per_layer",
    "model.per_layer_model_projection",
    "model.per_layer_projection_norm",
)
BEFORE_LAYERS = ("model.embed_positions", EMBED_NORM, *FOR_LAYERS)


class LayerGroup(NamedTuple):
    """Equal layers that follow each other: what one of them keeps and does, and how many there are.

    `again` is of what is kept when it is recomputed, `last_passed` the backward pass where it is the last
    one to run backwards, `routed` of what is kept or made again the tokens that were sent to experts.
    `numbers` and `trained_numbers` are those of its weights, whole, `gathered` their bytes as ranks gather
    them. Without `differentiated` no gradient flows through. `shared` are the bytes of what layers share, by
    name, as cosines and sines, `cast` those of weights that autocast copied, and holds until the forward pass
    ends though no derivative needs them, or not yet, `unpacked` those of matrices made of codes that are kept
    or made again. `ran` is the most that it has beside its input while it runs forward, what it keeps
    included, where that may be more than the loss needs: 0 elsewhere, and where layers run again. `handed`
    are the bytes beside the stream that its checkpoint holds of the layer before it.
    """

    kept: int
    again: int
    differentiated: bool
    passed: BackwardPass
    last_passed: BackwardPass
    gradients: int
    numbers: int
    trained_numbers: int
    gathered: int
    routed: int
    shared: dict[str, int]
    cast: int
    unpacked: int
    ran: int = 0
    handed: int = 0
    times: int = 1


class Ends(NamedTuple):
    """Norm and head: what they keep, their backward pass, the gradient of their result, and their own."""

    kept: int
    passed: BackwardPass
    result: int
    gradients: int


def stream_shape(plan: TrainingPlan) -> tuple[int, int, int]:
    """Return the sequences, tokens and width of the residual stream."""
    width = dict(plan.model.outside)[EMBEDDING].width  # type: ignore[attr-defined]
    return plan.micro_batch.batch, plan.micro_batch.seq, width


def is_normed(plan: TrainingPlan) -> bool:
    """Say whether the embedded tokens are normalised before the first layer."""
    return any(name == EMBED_NORM for name, _ in plan.model.outside)


def stream_width(plan: TrainingPlan) -> int:
    """Return the bytes of a number of the stream: as a norm's result it has 32 bits under autocast."""
    micro = plan.micro_batch
    return 4 if micro.autocast and is_normed(plan) else micro.element_bytes


def stream(plan: TrainingPlan, tape: Tape, *, grad: bool) -> Value:
    """Make the residual stream on a tape."""
    return tape.value("x", stream_shape(plan), stream_width(plan), grad=grad)


def stream_bytes(plan: TrainingPlan) -> int:
    """Return the bytes of the residual stream of one micro-batch on one rank."""
    return stream(plan, plan.micro_batch.tape(), grad=True).bytes


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
            self._done[key] = run_together(self.plan, layers, grad=grad)
        return self._done[key]

    @property
    def rope_bytes(self) -> int:
        """Bytes of what all layers share, as cosines and sines: those of each kind of layer, once."""
        found: dict[str, int] = {}
        if self.plan.micro_batch.architecture.together:
            return sum(self.run_together(self.plan.model.layers, grad=True)[0].shared.values())
        for layer in self.plan.model.groups:
            for name, size in self.run(layer, grad=True)[0].shared.items():
                found[name] = greatest(found.get(name, 0), size)
        return sum(found.values())


def forward_of(plan: TrainingPlan, layer: Layer, *, grad: bool) -> tuple[Tape, Value, Value, list[Value]]:
    """Run one layer forward: the tape, what goes in, what comes out, and what the backward pass needs."""
    how = recomputed_by(plan)
    tape = plan.micro_batch.tape()
    x = stream(plan, tape, grad=grad)
    out = plan.implementation.layer(tape, plan.micro_batch, layer, x)
    kept = tape.kept(how)
    if plan.options.recompute == "full" and not any(value is x for value in kept):
        kept.append(x)  # a checkpoint keeps its input, whether or not that gets a gradient
    return tape, x, out, kept


def recomputed_by(plan: TrainingPlan) -> Callable[[str], str | None] | None:
    """Return what says which modules run again, None where none do."""
    return plan.recomputed if plan.options.recompute == "full" or plan.recompute_modules else None


def run_layer(plan: TrainingPlan, layer: Layer, *, grad: bool) -> tuple[LayerGroup, bool]:
    """Run one layer forward and backward on shapes."""
    full, how = plan.options.recompute == "full", recomputed_by(plan)
    tape, x, out, kept = forward_of(plan, layer, grad=grad)
    there = {id(value) for value in kept}
    whole = [value for value in tape.kept() if id(value) not in there]
    differentiated = bool(tape.operations)
    scored = bool(plan.micro_batch.architecture.index_rope)
    forward = tape.forward_peak(x) if full or scored else 0
    by_unit = {"layer": forward}
    alone = replace(plan.model, layers=(replace(layer, times=1),), outside=())
    weights = list(weight_shards(plan, alone))
    shared = {name: sum(one.bytes for one in values) for name, values in tape.shared.items()}
    group = LayerGroup(
        kept=sum(value.bytes for value in kept) if differentiated else 0,
        again=sum(value.bytes for value in whole) if full else 0,
        differentiated=differentiated,
        passed=tape.backward(how, forward=by_unit) if differentiated else NOTHING,
        last_passed=tape.backward(how, final=True, forward=by_unit) if differentiated else NOTHING,
        gradients=shared_bytes(plan, weights, "gradient", shared=plan.parallelism.shares_gradients),
        numbers=sum(item.count for item in weights),
        trained_numbers=sum(item.count for item in weights if item.trained),
        gathered=sum(gathered_bytes(plan, item) for item in weights),
        routed=sum(value.bytes for value in (*kept, *whole) if value.region == "routed"),
        shared=shared | (plan.implementation.masks(plan.micro_batch, layer) if full else {}),
        cast=sum(value.bytes for value in tape.cached(kept)),
        unpacked=sum(value.bytes for value in (*kept, *whole) if value.name.endswith("from its codes")),
        ran=0 if full else forward,
    )
    return group, out.grad


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
    shared = {name: sum(one.bytes for one in values) for name, values in tape.shared.items()}
    for layer in layers if full else ():
        shared |= plan.implementation.masks(plan.micro_batch, layer)
    differentiated = bool(tape.operations)
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


def run_ends(plan: TrainingPlan, model: Model, *, grad: bool) -> Ends:
    """Run norm and head forward and backward on shapes."""
    tape = plan.micro_batch.tape()
    x = stream(plan, tape, grad=grad)
    logits = plan.implementation.ends(tape, plan.micro_batch, model, x)
    if not tape.operations:
        return Ends(0, NOTHING, logits.bytes, 0)
    passed = tape.backward()
    first = (*BEFORE_LAYERS, *(() if model.tied else (EMBEDDING,)))  # they run backwards last
    outside = tuple(one for one in model.outside if one[0] not in first)
    weights = weight_shards(plan, replace(model, layers=(), outside=outside))
    gradients = shared_bytes(plan, weights, "gradient", shared=plan.parallelism.shares_gradients)
    return Ends(tape.kept_bytes(), passed, logits.bytes, gradients)
