"""A forward pass without gradients: one layer at a time, and the logits at its end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from memcalc.training.autograd.dropout import NOTHING
from memcalc.training.layers import stream

if TYPE_CHECKING:
    from memcalc.ledger.model import Layer
    from memcalc.training.autograd.base import MicroBatch
    from memcalc.training.autograd.tape import Tape, Value
    from memcalc.training.plan import TrainingPlan

__all__ = ["ForwardPass", "forward_pass"]

TURNED = 6  # the product with the cosines, the other half, its product, each in twice as many bytes


class ForwardPass(NamedTuple):
    """What a forward pass under torch.no_grad holds beside the weights: at most, and the logits it returns.

    `copies` are those of weights that autocast makes; `open` are bytes that may come on top: under autocast
    queries and keys are turned in 32 bits.
    """

    peak: int
    logits: int
    copies: int
    open: int


def forward_pass(
    plan: TrainingPlan, sequences: int, tokens: int | None = None, *, adapted: bool = False
) -> ForwardPass:
    """Return what a forward pass of so many sequences holds; the head is given their last `tokens`.

    The embedded tokens live until the last norm has run. Autocast keeps its copies of weights until the pass
    ends; then accelerate makes the logits 32 bits wide.
    """
    micro = replace(NOTHING.of(plan.micro_batch), batch=sequences, head_tokens=tokens, adapter_dropout=0.0)
    micro = replace(micro, adapters=plan.adapters if adapted else {})
    alone = replace(plan, micro_batch=micro)
    one = stream(alone, micro.tape(), grad=True).bytes
    if micro.architecture.together:
        runs, streams = [run_together(alone, micro)], one
        copies = runs[0].copies
    else:
        kinds = {id(layer.parts): layer for layer in plan.model.layers}
        by_kind = {key: run_layer(alone, micro, layer) for key, layer in kinds.items()}
        runs, streams = [*by_kind.values()], one * (1 if plan.model.depth == 1 else 2)
        copies = sum(by_kind[id(layer.parts)].copies * layer.times for layer in plan.model.layers)
    shared = max(run.tables for run in runs) + 8 * micro.seq  # cosines, sines, positions
    layers = max(copies - run.copies + run.peak for run in runs) + streams + shared
    norm, head, logits = ends_of(alone, micro)
    wide = logits * 2 if micro.autocast else logits
    converted = logits + wide if micro.autocast else logits
    peak = max(layers, copies + streams + shared + norm, copies + one + head, converted)
    turned = sum(TURNED * run.turned for run in runs if micro.autocast)
    return ForwardPass(peak, wide, copies, turned)


class LayerRun(NamedTuple):
    """One layer: the most that it holds beside its input, autocast's copies of its weights, RoPE's tables.

    `turned` are the bytes of queries and keys after RoPE.
    """

    peak: int
    copies: int
    tables: int
    turned: int


def run_layer(plan: TrainingPlan, micro: MicroBatch, layer: Layer) -> LayerRun:
    """Run a layer without gradients."""
    tape = micro.tape()
    x = stream(plan, tape, grad=True)
    plan.implementation.layer(tape, micro, layer, x)
    return found_on(tape, x, [tape])


def run_together(plan: TrainingPlan, micro: MicroBatch) -> LayerRun:
    """Run all layers without gradients, where they use what others made: it lives until the last has run."""
    tape = micro.tape()
    x = given = stream(plan, tape, grad=True)
    plan.implementation.hand_out(tape, micro, plan.model, x)
    for number, layer in enumerate(one for one in plan.model.layers for _ in range(one.times)):
        tape.enter(f"{number}")
        x = plan.implementation.layer(tape, micro, layer, x)
    for value in (one for values in tape.handed.values() for one in values):
        tape.refer(value)
    return found_on(tape, given, [*tape.by_layer(f"{number}" for number in range(plan.model.depth)).values()])


def found_on(tape: Tape, given: Value, layers: list[Tape]) -> LayerRun:
    """Return what ran on a tape; of queries and keys those of the layer that has most are turned at once."""
    return LayerRun(
        tape.forward_peak(given, keeping=False),
        sum(value.bytes for value in tape.cached(())),
        sum(value.bytes for values in tape.shared.values() for value in values),
        max(sum(one.output.bytes for one in part.operations if one.name == "rope") for part in layers),
    )


def ends_of(plan: TrainingPlan, micro: MicroBatch) -> tuple[int, int, int]:
    """Return the most that the norm holds beside its input, the head beside its own, and the logits."""
    norm, tape = micro.tape(), micro.tape()
    x = stream(plan, norm, grad=True)
    plan.implementation.ends(norm, replace(micro, fused_head=True), plan.model, x)
    given = stream(plan, tape, grad=True)
    logits = plan.implementation.ends(tape, micro, plan.model, given)
    before = len(norm.operations)
    last = tape.operations[before - 1].output if before else given
    head = tape.since(before).forward_peak(last.storage, keeping=False)
    return norm.forward_peak(x, keeping=False), head, logits.bytes
