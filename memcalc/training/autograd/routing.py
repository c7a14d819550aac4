"""A mixture of experts as transformers 5.23 runs it: the router, and three ways to multiply by experts.

Read in transformers/models/qwen3_moe/modeling_qwen3_moe.py, models/mixtral/modeling_mixtral.py and
integrations/moe.py; held against autograd in tests/test_saved.py.

The gradient of what an index picked is written into zeros. On fake tensors, against which programs are held,
torch copies the zeros first, and so `beside` has a copy; a device has none (torch 2.13,
torch/csrc/autograd/FunctionsManual.cpp, index_backward; tests/oracles/test_measure.py).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError, UnknownNameError, choices, nearest
from memcalc.ledger.parts import MLP
from memcalc.ledger.tensor import share
from memcalc.training.autograd.feedforward import activate, mlp
from memcalc.training.autograd.matrices import matrix
from memcalc.training.autograd.norms import norm
from memcalc.training.autograd.routers import ROUTERS, indices

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memcalc.ledger.parts import MoE
    from memcalc.training.autograd.adapters import Factors
    from memcalc.training.autograd.base import MicroBatch
    from memcalc.training.autograd.tape import Tape, Value

__all__ = ["EXPERTS", "mixture", "mixture_aside"]

EXPERTS = ("grouped_mm", "batched_mm")  # the first is what transformers chooses
IN_ORDER, LAST_BIAS = "experts in order", "bias of each row"


def folded_experts(tape: Tape, micro: MicroBatch, part: MoE) -> dict[str, Factors]:
    """Return the factors of the experts' matrices that have adapters; those of the last one come first."""
    if not any(name.startswith("experts.") for name in micro.adapters):
        return {}
    from memcalc.training.autograd.adapters import Factors

    shapes = {"down_proj": (part.width, part.expert_width), "gate_proj": (2 * part.expert_width, part.width)}
    keys = {"down_proj": "experts.down_proj", "gate_proj": "experts.gate_up_proj"}
    return {
        name: Factors(tape, name, micro.adapters[key], (part.experts, *shapes[name]))
        for name, key in keys.items()
        if key in micro.adapters
    }


def matrices(micro: MicroBatch, part: MoE, x: Value, columns: int) -> int:
    """Bytes of one matrix of every expert that a rank holds, or of its part of each."""
    ranks, each = micro.routed_share
    return share(part.experts, ranks) * share(x.shape[-1] * columns, each) * x.element_bytes


def by_expert(
    tape: Tape,
    micro: MicroBatch,
    part: MoE,
    folded: Mapping[str, Factors],
    *,
    name: str,
    x: Value,
    columns: int,
    beside: Value,
    region: str,
) -> Value:
    """Multiply each row by the matrix of its expert: all experts in one product, rows sorted by expert."""
    if name in folded:
        return by_folded(tape, folded[name], x, columns=columns, beside=beside, region=region)
    trained = micro.trained(f"{tape.module}.experts.{{expert}}.{name}")
    shape = (*x.shape[:-1], columns)
    out = tape.value(f"{name} output", shape, x.element_bytes, grad=x.grad or trained, region=region)
    size = matrices(micro, part, x, columns) if trained else 0
    number = micro.batch * micro.seq * part.top_k
    ids = tape.mark(IN_ORDER, lambda key: indices(tape, key, number))
    rows = bias_of_rows(tape, micro, part, out, ids=ids, name=name)
    keeps = [*((x,) if trained else ()), beside]
    if micro.quantised_experts:  # numbers made of codes are no weight: they are kept for the rows' gradient
        stack = (matrices(micro, part, x, columns) // x.element_bytes,)
        keeps.append(
            tape.value(f"{name}, from its codes", stack, x.element_bytes, grad=False, region="weight")
        )
    tape.record("grouped product", (x,), out, keeps, weight_bytes=size)
    return with_bias(tape, out, rows)


def bias_of_rows(
    tape: Tape, micro: MicroBatch, part: MoE, out: Value, *, ids: Value, name: str
) -> Value | None:
    """Copy to each row, before its product, the bias of its expert, if there are any.

    Code that runs holds on to these copies until the next product's are made, or all is done.
    """
    if not (part.bias or part.expert_bias):
        return None
    trained = micro.trained(f"{tape.module}.experts.{{expert}}.{name}")
    rows = tape.like(out, f"{name} bias of each row", grad=trained)
    size = share(part.experts, micro.routed_share[0]) * out.shape[-1] * out.element_bytes
    if trained:
        tape.record("take bias", (), rows, (ids,), weight_bytes=size, beside=size)
    else:
        tape.hold(rows, grad=out.grad)
    if LAST_BIAS in tape.marks:
        tape.refer(tape.marks[LAST_BIAS])
    tape.marks[LAST_BIAS] = rows
    return rows


def with_bias(tape: Tape, out: Value, rows: Value | None, *, viewed: bool = False) -> Value:
    """Add it in place; into a view, the gradient is copied for what is viewed and for what is added."""
    if rows is None:
        return out
    added = tape.like(out, f"{out.name} with bias", grad=out.grad or rows.grad)
    added.of = out.storage
    beside = out.bytes if viewed and not (out.grad and rows.grad) else 0
    return tape.record("add in place", (out, rows), added, aliased=not viewed, beside=beside)


def by_folded(tape: Tape, factors: Factors, x: Value, *, columns: int, beside: Value, region: str) -> Value:
    """The same by matrices with an adapter folded into them: they are kept for the gradient of the rows."""
    from memcalc.training.autograd.adapters import fold

    matrix = fold(tape, factors)
    shape = (*x.shape[:-1], columns)
    out = tape.value(f"{factors.name} output", shape, x.element_bytes, grad=True, region=region)
    return tape.record("grouped product", (x, matrix), out, (x, beside, *((matrix,) if x.grad else ())))


def copied(
    tape: Tape, micro: MicroBatch, part: MoE, *, name: str, x: Value, columns: int, beside: Value, region: str
) -> Value:
    """Multiply each row by a copy of the matrix of its expert."""
    trained = micro.trained(f"{tape.module}.experts.{{expert}}.{name}")
    shape = (*x.shape, columns)
    weight = tape.value(f"{name} of each row", shape, x.element_bytes, grad=trained, region="expert")
    size = matrices(micro, part, x, columns)
    tape.record("copy matrices", (), weight, (beside,), weight_bytes=size, beside=size)
    shape = (*x.shape[:-1], columns)
    out = tape.value(f"{name} output", shape, x.element_bytes, grad=x.grad or trained, region=region)
    rows = bias_of_rows(tape, micro, part, out, ids=beside, name=name)
    keeps = (*((x,) if trained else ()), *((weight,) if x.grad else ()))
    return with_bias(tape, tape.record("batched product", (x, weight), out, keeps), rows, viewed=True)


def refuse(micro: MicroBatch) -> None:
    """Refuse numbers, or a way to multiply, whose operations are not modelled.

    Raises
    ------
    BadInputError
        They are not those of Qwen3-MoE or Mixtral in 16 bits.
    UnknownNameError
        This way to multiply is not modelled.

    """
    how = micro.experts or EXPERTS[0]
    if how not in EXPERTS:
        depends = "what `eager` keeps depends on which experts the tokens choose"
        remedy = depends if how == "eager" else nearest(how, EXPERTS, "--experts") or "name one of these"
        raise UnknownNameError("--experts", choices(EXPERTS), how, remedy)
    if micro.element_bytes != 2:
        raise BadInputError(
            "--regime", "16-bit weights with experts", "32-bit ones", "torch groups products in bf16 only"
        )


def mixture(tape: Tape, micro: MicroBatch, part: MoE, x: Value) -> Value:
    """Send each token to its experts, and add up what they answer.

    `grouped_mm` keeps for each token 2h + 4E + k(4h + 8f + 2) + 32k bytes and 4E once (16-bit numbers,
    weights of experts in 16 bits): the proof stands in tests/test_saved.py.

    Raises
    ------
    BadInputError
        The part or the numbers are not those whose operations are listed.
    UnknownNameError
        This way to multiply is not modelled.

    """
    refuse(micro)
    first = shared(tape, micro, part, x) if micro.architecture.shared_first else None
    result = routed(tape, micro, part, x)
    beside = first or shared(tape, micro, part, x)
    if beside is None:
        return result
    if part.shared_gate:
        gate = matrix(tape, micro, "mlp.shared_expert_gate", x, 1, region="hidden")
        bent = tape.like(gate, "gate of the shared expert")
        tape.record("sigmoid", (gate,), bent, (bent,))
        beside = tape.multiply(beside, bent, "shared expert, gated")
    return tape.add(result, beside, "experts and shared experts")


def shared(tape: Tape, micro: MicroBatch, part: MoE, x: Value) -> Value | None:
    """Run the shared experts, if there are some."""
    if part.shared_width is None:
        return None
    dense = MLP(part.width, part.shared_width, part.gated, bias=part.expert_bias)
    return mlp(tape, micro, dense, x, under="mlp.shared_experts")


def routed(tape: Tape, micro: MicroBatch, part: MoE, x: Value) -> Value:
    """Send each token to its experts, and add up what they answer; they may see a narrower stream."""
    found = ROUTERS[micro.architecture.router](tape, micro, part, x)
    if part.latent is None:
        return answered(tape, micro, part, x, found)
    latent = matrix(tape, micro, "mlp.fc1_latent_proj", x, part.latent, region="hidden")
    narrow = replace(part, width=part.latent, latent=None)
    answer = answered(tape, micro, narrow, latent, found)
    return matrix(tape, micro, "mlp.fc2_latent_proj", answer, part.width, region="hidden")


def mixture_aside(tape: Tape, micro: MicroBatch, part: MoE, x: Value, before: str) -> Value:
    """Send tokens to experts that get them normalised, and the router does not."""
    refuse(micro)
    found = ROUTERS[micro.architecture.router](tape, micro, part, x)
    inside = norm(tape, micro, before, x)
    result = answered(tape, micro, part, inside, found)
    tape.refer(inside)
    return result


def answered(tape: Tape, micro: MicroBatch, part: MoE, x: Value, found: tuple[Value, Value, Value]) -> Value:
    """Add up what the chosen experts answer: what the router found says which, and how much each counts."""
    logits, weights, chosen = found
    grouped = (micro.experts or EXPERTS[0]) == "grouped_mm"
    held = [logits, weights]  # by code that runs, whatever derivatives need
    folded = folded_experts(tape, micro, part)
    rows = (x.shape[0], x.shape[1], part.top_k)
    number = micro.batch * micro.seq * part.top_k
    taken = tape.value("inputs of the experts", (*rows[:-1], part.top_k * part.width), 2, grad=x.grad)
    taken.shape = (*rows, part.width)
    held.append(taken)
    offsets = indices(tape, "where each expert's rows end", part.experts, 4)
    if grouped:
        order = tape.mark(IN_ORDER, lambda key: indices(tape, key, number))
        sizes = (("the same in 32 bits", number, 4), ("rows of each expert", part.experts, 4))
        beside = (order, *(indices(tape, *one) for one in sizes))
        held += [tape.hold(one, grad=x.grad) for one in beside]
        tape.record("take rows", (x,), taken, (indices(tape, "token of each row", number),), beside=x.bytes)
        order = indices(tape, "order of the rows", number)
        in_order = tape.like(weights, "weights in the order of the rows")
        weights = tape.record("take weights", (weights,), in_order, (order,), beside=weights.bytes)
    else:
        tape.record("repeat rows", (x,), taken)
    weights.shape = (*rows, 1)
    multiply = partial(by_expert, tape, micro, part, folded, beside=offsets)
    multiply = multiply if grouped else partial(copied, tape, micro, part, beside=chosen)
    answers = feed_forward(tape, micro, part, taken, multiply)
    weighed = tape.multiply(answers, weights, "weighed answers")
    if grouped:
        back = tape.hold(indices(tape, "order of the tokens", number), grad=weighed.grad)
        tape.hold(indices(tape, "numbers from 0 on", number), grad=weighed.grad)
        weighed = tape.record(
            "put back", (weighed,), tape.like(weighed, "answers in order"), (back,), beside=weighed.bytes
        )
    held += [tape.marks[LAST_BIAS]] if LAST_BIAS in tape.marks else []
    summed = tape.value("sum of the answers", x.shape, weighed.element_bytes, grad=weighed.grad)
    tape.record("sum", (weighed,), summed, aliased=part.top_k == 1)
    result = tape.cast(summed, x.element_bytes, "result of the experts")
    for one in (*held, weighed, summed):
        tape.refer(one)
    return result


def feed_forward(
    tape: Tape, micro: MicroBatch, part: MoE, taken: Value, multiply: Callable[..., Value]
) -> Value:
    """Multiply rows by gate and up in one product, and what becomes of them by down."""
    if not part.gated:
        up = multiply(name="up_proj", x=taken, columns=part.expert_width, region="expert")
        return multiply(
            name="down_proj", x=activate(tape, micro, up, "activated"), columns=part.width, region="hidden"
        )
    both = multiply(name="gate_proj", x=taken, columns=2 * part.expert_width, region="expert")
    half = (*taken.shape[:-1], part.expert_width)
    if micro.architecture.clamped_gate:
        product = clamped(tape, both, half)
    else:
        gate, up = tape.split(both, {"gate of the experts": half, "up of the experts": half})
        product = tape.multiply(activate(tape, micro, gate, "activated gate"), up, "activated gate x up")
    return multiply(name="down_proj", x=product, columns=part.width, region="hidden")


def clamped(tape: Tape, both: Value, half: tuple[int, ...]) -> Value:
    """Multiply (up + 1) by gate x sigmoid(a gate), both clamped: gpt-oss, whose gates and ups alternate."""
    gate, up = (tape.slice(both, half, name) for name in ("gate of the experts", "up of the experts"))
    gate = tape.record("clamp", (gate,), tape.like(gate, "gate, clamped"), (gate,))
    up = tape.record("clamp", (up,), tape.like(up, "up, clamped"), (up,))
    scaled = tape.record("scale", (gate,), tape.like(gate, "gate, scaled"))
    bent = tape.like(gate, "sigmoid of the gate")
    tape.record("sigmoid", (scaled,), bent, (bent,))
    glu = tape.multiply(gate, bent, "gate x its sigmoid")
    more = tape.record("add", (up,), tape.like(up, "up + 1"), aliased=True)
    product = tape.multiply(more, glu, "(up + 1) x gate")
    tape.refer(up)
    return product
