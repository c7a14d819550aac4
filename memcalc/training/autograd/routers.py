"""Routers as the classes of transformers 5.23 run them: which experts a token uses, and their weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.training.autograd.matrices import matrix
from memcalc.training.autograd.norms import norm

if TYPE_CHECKING:
    from collections.abc import Callable

    from memcalc.ledger.parts import MoE
    from memcalc.training.autograd.base import MicroBatch
    from memcalc.training.autograd.tape import Tape, Value

    Routed = tuple[Value, Value, Value]
    Router = Callable[[Tape, MicroBatch, MoE, Value], Routed]

__all__ = ["INDEX", "ROUTERS", "indices"]

INDEX = 8  # bytes of an index: torch counts in int64


def indices(tape: Tape, name: str, number: int, width: int = INDEX) -> Value:
    """Return whole numbers, which get no gradient."""
    return tape.value(name, (number,), width, grad=False)


def chosen_of(tape: Tape, micro: MicroBatch, part: MoE) -> Value:
    """Return which experts each token uses."""
    return indices(tape, "chosen experts", micro.batch * micro.seq * part.top_k)


def weights_of(tape: Tape, micro: MicroBatch, part: MoE, chances: Value) -> Value:
    """Return the numbers of the chosen experts among those of all."""
    shape = (micro.batch, micro.seq, part.top_k)
    return tape.value("weights of the experts", shape, chances.element_bytes, grad=chances.grad)


def scores(tape: Tape, micro: MicroBatch, part: MoE, x: Value) -> Value:
    """Return the router's number for each expert: its matrix may have an adapter folded into it."""
    adapter = micro.adapter("mlp.gate")
    if adapter is None:
        trained = micro.trained("mlp.gate")
        return tape.linear("mlp.gate", x, part.experts, trained=trained, bias=part.bias)
    from memcalc.training.autograd.adapters import fold_router

    matrix = fold_router(tape, micro, adapter, (part.experts, part.width))
    logits = tape.value("mlp.gate output", (*x.shape[:-1], part.experts), x.element_bytes, grad=True)
    return tape.record("mlp.gate", (x, matrix), logits, (x, *((matrix,) if x.grad else ())))


def wide_scores(tape: Tape, micro: MicroBatch, part: MoE, x: Value, *, narrowed: bool = False) -> Value:
    """Return them in 32 bits: stream and matrix are copied before they are multiplied.

    `narrowed`: autocast copies both to 16 again, and so is what comes out.
    """
    given = tape.cast(x, 4, "router input in fp32")
    adapter, sizes = micro.adapter("mlp.gate"), (part.experts, part.width)
    if adapter is None:
        trained = micro.trained("mlp.gate")
        width = 4 if micro.architecture.has_wide_router else x.element_bytes
        weight = tape.weight("mlp.gate", sizes, width, trained=trained)
    else:
        from memcalc.training.autograd.adapters import fold_router

        weight = fold_router(tape, micro, adapter, sizes)
    weight = tape.cast(weight, 4, "router in fp32")
    if narrowed:
        given, weight = (
            tape.cast(given, 2, "router input in 16 bits"),
            tape.cast(weight, 2, "router in 16 bits"),
        )
    shape = (*x.shape[:-1], part.experts)
    out = tape.value(
        "router logits", shape, given.element_bytes, grad=given.grad or weight.grad, region=x.region
    )
    keeps = (*((given,) if weight.grad else ()), *((weight,) if given.grad else ()))
    return tape.record("mlp.gate", (given, weight), out, keeps)


def sum_to_one(tape: Tape, weights: Value, *, in_place: bool = True) -> Value:
    """Divide weights by their sum; in place autograd copies what was there before."""
    total = tape.value(
        "sum of the weights", (*weights.shape[:-1], 1), weights.element_bytes, grad=weights.grad
    )
    tape.record("sum", (weights,), total)
    before = tape.like(weights, "weights before they are divided", grad=False) if in_place else weights
    divided = tape.like(weights, "weights that add up to 1")
    return tape.record("divide", (weights, total), divided, (before, total), beside=weights.bytes)


def of_all(tape: Tape, micro: MicroBatch, part: MoE, x: Value) -> Routed:
    """Softmax over all experts in 32 bits, and the largest of it: Qwen's and Mixtral's."""
    logits = scores(tape, micro, part, x)
    wide = tape.cast(logits, 4, "router logits in fp32")
    chances = tape.like(wide, "router probabilities")
    tape.record("softmax", (wide,), chances, (chances,))
    chosen, weights = chosen_of(tape, micro, part), weights_of(tape, micro, part, chances)
    tape.record("top-k", (chances,), weights, (chosen,), beside=chances.bytes)
    if part.normed:
        weights = sum_to_one(tape, weights)
    weights = weights if part.wide else tape.cast(weights, x.element_bytes, "weights in 16 bits")
    return logits, weights, chosen


def by_sigmoid(tape: Tape, micro: MicroBatch, part: MoE, logits: Value) -> tuple[Value, Value]:
    """Sigmoids of all experts; which are the largest is found beside, and no gradient flows through that."""
    chances = tape.like(logits, "router sigmoids")
    tape.record("sigmoid", (logits,), chances, (chances,))
    chosen, weights = chosen_of(tape, micro, part), weights_of(tape, micro, part, chances)
    tape.record("gather", (chances,), weights, (chosen,))
    return weights, chosen


def corrected(tape: Tape, micro: MicroBatch, part: MoE, x: Value) -> Routed:
    """DeepSeek-V3's: in 32 bits, divided by their sum if the config says so, scaled."""
    logits = wide_scores(tape, micro, part, x, narrowed=micro.autocast)
    weights, chosen = by_sigmoid(tape, micro, part, logits)
    if micro.architecture.normed:
        weights = sum_to_one(tape, weights)
    return logits, tape.record("scale", (weights,), tape.like(weights, "weights, scaled")), chosen


def narrow_sigmoid(tape: Tape, micro: MicroBatch, part: MoE, x: Value) -> Routed:
    """MiniMax-M2's: the matrix multiplies in the stream's numbers, and the rest has 32 bits."""
    logits = scores(tape, micro, part, x)
    wide = tape.cast(logits, 4, "router logits in fp32")
    weights, chosen = by_sigmoid(tape, micro, part, wide)
    return logits, sum_to_one(tape, weights), chosen


def of_chosen(tape: Tape, micro: MicroBatch, part: MoE, x: Value) -> Routed:
    """Softmax over the chosen experts: Granite's in 32 bits, gpt-oss's in the stream's numbers."""
    logits = scores(tape, micro, part, x)
    if micro.architecture.wide_softmax:
        logits = tape.cast(logits, 4, "router logits in fp32")
    chosen, best = chosen_of(tape, micro, part), weights_of(tape, micro, part, logits)
    tape.record("top-k", (logits,), best, (chosen,))
    weights = tape.like(best, "softmax of the chosen")
    tape.record("softmax", (best,), weights, (weights,))
    return logits, tape.cast(weights, x.element_bytes, "weights in 16 bits"), chosen


def clamped_sum(tape: Tape, micro: MicroBatch, part: MoE, x: Value) -> Routed:
    """ERNIE 4.5's: softmax over all in 32 bits, gathered, divided by a sum that is not too small."""
    logits = wide_scores(tape, micro, part, x)
    chances = tape.like(logits, "router probabilities")
    tape.record("softmax", (logits,), chances, (chances,))
    chosen, weights = chosen_of(tape, micro, part), weights_of(tape, micro, part, chances)
    tape.record("gather", (chances,), weights, (chosen,))
    total = tape.value("sum of the weights", (*weights.shape[:-1], 1), 4, grad=weights.grad)
    tape.record("sum", (weights,), total)
    least = tape.record("clamp", (total,), tape.like(total, "sum, clamped"), (total,))
    divided = tape.like(weights, "weights that add up to 1")
    tape.record("divide", (weights, least), divided, (weights, least), beside=weights.bytes)
    return logits, tape.cast(divided, x.element_bytes, "weights in 16 bits"), chosen


def scaled_softmax(tape: Tape, micro: MicroBatch, part: MoE, x: Value) -> Routed:
    """DeepSeek-V2's: softmax over all in 32 bits, the largest of it, scaled."""
    logits = wide_scores(tape, micro, part, x, narrowed=micro.autocast)
    wide = tape.cast(logits, 4, "router logits in fp32")
    chances = tape.like(wide, "router probabilities")
    tape.record("softmax", (wide,), chances, (chances,))
    chosen, weights = chosen_of(tape, micro, part), weights_of(tape, micro, part, chances)
    tape.record("top-k", (chances,), weights, (chosen,))
    return logits, tape.record("scale", (weights,), tape.like(weights, "weights, scaled")), chosen


def scaled_experts(tape: Tape, micro: MicroBatch, part: MoE, x: Value) -> Routed:
    """Gemma 4's: what it reads is normalised and scaled, and each expert's weight is scaled by its own."""
    normal = norm(tape, micro, "router.norm", x, scaled=False)
    scaled = tape.scale(normal, "router input, scaled", trained=micro.trained("router.scale"))
    scaled = tape.record("scale", (scaled,), tape.like(scaled, "router input, divided"))
    logits = matrix(tape, micro, f"{tape.module}.gate", scaled, part.experts)
    wide = tape.cast(logits, 4, "router logits in fp32")
    chances = tape.like(wide, "router probabilities")
    tape.record("softmax", (wide,), chances, (chances,))
    chosen, weights = chosen_of(tape, micro, part), weights_of(tape, micro, part, chances)
    tape.record("top-k", (chances,), weights, (chosen,), beside=chances.bytes)
    weights = sum_to_one(tape, weights)
    trained = micro.trained("router.per_expert_scale")
    each = tape.like(weights, "scale of each chosen expert", x.element_bytes, grad=trained)
    tape.record("take scales", (), each, (chosen,), weight_bytes=part.experts * x.element_bytes)
    return chances, tape.multiply(weights, each, "weights, scaled"), chosen


ROUTERS: dict[str, Router] = {
    "softmax": of_all,
    "corrected": corrected,
    "sigmoid": narrow_sigmoid,
    "chosen": of_chosen,
    "clamped sum": clamped_sum,
    "scaled softmax": scaled_softmax,
    "scaled experts": scaled_experts,
}
