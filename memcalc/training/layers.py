"""Layers run forward and backward on shapes: what one keeps, makes again and needs while it runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from memcalc.ledger.tensor import greatest
from memcalc.training.autograd.base import everything_trained
from memcalc.training.autograd.tape import BackwardPass
from memcalc.training.plan import EMBEDDING
from memcalc.training.weights import gathered_bytes, shared_bytes, weight_shards

if TYPE_CHECKING:
    from collections.abc import Callable

    from memcalc.ledger.model import Layer, Model
    from memcalc.training.autograd.tape import Tape, Value
    from memcalc.training.plan import TrainingPlan

__all__ = [
    "EMBED_NORM",
    "FOR_LAYERS",
    "NOTHING",
    "Ends",
    "LayerGroup",
    "forward_of",
    "is_normed",
    "last_normal",
    "recomputed_by",
    "run_ends",
    "run_layer",
    "stream",
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
    """Norm and head: what they keep, their backward pass, the gradient of their result, and their own.

    `ran` is the most that lives while they run forward, up to the logits, where layers have it, too; `cast`
    are the bytes that autocast copied of weights, and holds though no derivative needs them.
    """

    kept: int
    passed: BackwardPass
    result: int
    gradients: int
    ran: int = 0
    cast: int = 0


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


def shared_by(plan: TrainingPlan, tape: Tape) -> dict[str, list[Value]]:
    """Return what a layer keeps of what all share, by name: its checkpoint keeps all of it."""
    if not tape.differentiates:
        return {}
    if recomputed_by(plan) is not None:
        return tape.shared
    asked = {id(value) for one in tape.operations for value in one.keeps}
    found = {name: [one for one in values if id(one) in asked] for name, values in tape.shared.items()}
    return {name: values for name, values in found.items() if values}


def run_layer(plan: TrainingPlan, layer: Layer, *, grad: bool) -> tuple[LayerGroup, bool]:
    """Run one layer forward and backward on shapes."""
    full, how = plan.options.recompute == "full", recomputed_by(plan)
    tape, x, out, kept = forward_of(plan, layer, grad=grad)
    there = {id(value) for value in kept}
    whole = [value for value in tape.kept() if id(value) not in there]
    differentiated = tape.differentiates
    forward = tape.forward_peak(x) if full else 0
    by_unit = {"layer": forward}
    alone = replace(plan.model, layers=(replace(layer, times=1),), outside=())
    weights = list(weight_shards(plan, alone))
    shared = {name: sum(one.bytes for one in values) for name, values in shared_by(plan, tape).items()}
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
        ran=ran(plan, layer, tape, x),
    )
    return group, out.grad


def ran(plan: TrainingPlan, layer: Layer, tape: Tape, x: Value) -> int:
    """Return the most that a layer has beside its input while it runs forward for the first time.

    What frozen parts of it have meanwhile stands on no tape: it runs once more, as if all were trained.
    """
    if plan.options.recompute == "full" or not plan.micro_batch.architecture.index_rope:
        return 0
    everything = replace(plan.micro_batch, trained=everything_trained)
    whole = everything.tape()
    plan.implementation.layer(whole, everything, layer, stream(plan, whole, grad=True))
    return greatest(tape.forward_peak(x, again=False), whole.forward_peak(keeping=False))


def last_normal(plan: TrainingPlan, model: Model) -> Value:
    """Return what the last norm gives: a LayerNorm's result has 32 bits under autocast."""
    micro = replace(plan.micro_batch, fused_head=True)  # then it is the last that runs
    tape = micro.tape()
    return plan.implementation.ends(tape, micro, model, stream(plan, tape, grad=True))


def run_ends(plan: TrainingPlan, model: Model, *, grad: bool) -> Ends:
    """Run norm and head forward and backward on shapes."""
    tape = plan.micro_batch.tape()
    x = stream(plan, tape, grad=grad)
    logits = plan.implementation.ends(tape, plan.micro_batch, model, x)
    if not tape.differentiates:
        return Ends(0, NOTHING, logits.bytes, 0)
    passed = tape.backward()
    first = (*BEFORE_LAYERS, *(() if model.tied else (EMBEDDING,)))  # they run backwards last
    outside = tuple(one for one in model.outside if one[0] not in first)
    weights = weight_shards(plan, replace(model, layers=(), outside=outside))
    gradients = shared_bytes(plan, weights, "gradient", shared=plan.parallelism.shares_gradients)
    ran = tape.forward_peak(x) if plan.micro_batch.architecture.index_rope else 0
    cast = sum(value.bytes for value in tape.cached(tape.kept()))
    return Ends(tape.kept_bytes(), passed, logits.bytes, gradients, ran, cast)
