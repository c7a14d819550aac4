"""Kimi delta attention as transformers 5.23 runs it: chunk by chunk in PyTorch, or by fused kernels.

Each number of a key decays by itself: between two tokens of a chunk there is a share for each, and PyTorch
makes an array of all of them before it sums. Read in transformers/models/kimi_linear/modeling_kimi_linear.py
(chunk_kimi_delta_attention), held against autograd; the kernel that runs where it is installed in
flash-linear-attention (bc3b101d, 2026-08, fla/ops/kda/chunk.py, chunk_bwd.py): what its function saves.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from memcalc.ledger.tensor import ceil_div
from memcalc.training.autograd.convolution import convolved_in_steps
from memcalc.training.autograd.delta import (
    CHUNK,
    Given,
    convolved_at_once,
    copied,
    exponential,
    less,
    let_go,
    of_shape,
    product,
    rates_of_decay,
    sum_of_squares,
)
from memcalc.training.autograd.matrices import matrix
from memcalc.training.autograd.norms import normalised

if TYPE_CHECKING:
    from memcalc.ledger.parts import KimiDelta
    from memcalc.training.autograd.base import MicroBatch
    from memcalc.training.autograd.tape import Tape, Value

__all__ = ["kimi_delta"]


class Chunks(NamedTuple):
    """What the scan over chunks reads, of all chunks together, and where it writes."""

    queries: Value
    keys: Value
    values: Value
    read: Value
    total: Value
    pairs: Value
    mask: Value
    state: Value
    answer: Value


def kimi_delta(tape: Tape, micro: MicroBatch, part: KimiDelta, x: Value) -> Value:
    """Project, convolve, apply the rule, normalise, gate, project back."""
    outer = partial(matrix, tape, micro, region="inner", cut="inner")
    heads, inner = part.linear_key_heads, part.linear_key_heads * part.linear_key_dim
    three = [outer(f"self_attn.{letter}_proj", x, inner) for letter in "qkv"]
    grad = any(one.grad for one in three)
    shape = (*x.shape[:-1], part.streams)
    mixed = tape.value("queries, keys, values", shape, three[0].element_bytes, grad=grad, region="inner")
    tape.record("join", three, mixed, aliased=True)
    fused, name = micro.state_kernels == "fused", "self_attn.conv1d"
    if fused:
        convolved = convolved_at_once(tape, micro, part, mixed, name)
    else:
        convolved = convolved_in_steps(tape, micro, name, mixed, part.conv_kernel)
    of_heads = (*x.shape[:-1], heads, part.linear_key_dim)
    queries, keys, values = tape.split(convolved, dict.fromkeys(("queries", "keys", "values"), of_heads))
    decays = decays_of(tape, micro, part, x)
    raw = outer("self_attn.b_proj", x, heads)
    rates = tape.like(raw, "rates")
    tape.record("sigmoid", (raw,), rates, (rates,))
    given = Given(queries, keys, values, decays, rates)
    answer = (by_kernel if fused else by_chunks)(tape, micro, given)
    gate = outer(
        "self_attn.g_b_proj", matrix(tape, micro, "self_attn.g_a_proj", x, part.linear_key_dim), inner
    )
    gate.shape = of_heads
    out = gated_norm(tape, micro, answer, gate)
    out.shape = (*x.shape[:-1], inner)
    result = matrix(tape, micro, "self_attn.o_proj", out, part.width, region="hidden", cut="inner")
    for one in (convolved, decays, rates, answer, gate):
        tape.refer(one)
    return result


def decays_of(tape: Tape, micro: MicroBatch, part: KimiDelta, x: Value) -> Value:
    """Return the logarithms of decays, in 32 bits: - exp(A) x log(1 + exp(x + a shift)), by single steps.

    A large number is taken as it is: a truth value of each says which.
    """
    inner = part.linear_key_heads * part.linear_key_dim
    low = matrix(tape, micro, "self_attn.f_a_proj", x, part.linear_key_dim)
    raw = matrix(tape, micro, "self_attn.f_b_proj", low, inner, region="inner", cut="inner")
    raw.shape = (*x.shape[:-1], part.linear_key_heads, part.linear_key_dim)
    wide, trained = tape.cast(raw, 4, "decays in fp32"), micro.trained("self_attn.dt_bias")
    shifted = tape.like(wide, "decays, shifted", grad=wide.grad or trained)
    own = inner * micro.element_bytes if trained else 0
    tape.record("add", (wide,), shifted, aliased=True, weight_bytes=own)
    rate = rates_of_decay(tape, micro, "self_attn.A_log", part.linear_key_heads)
    large = tape.value("which decays are large", shifted.shape, 1, grad=False, region="inner")
    risen = exponential(tape, shifted, "exp(decays)")
    more = tape.record("add", (risen,), tape.like(risen, "1 + exp(decays)"), aliased=True)
    bent = tape.record("log", (more,), tape.like(more, "log(1 + exp(decays))"), (more,))
    soft = tape.record("choose", (shifted, bent), tape.like(bent, "softplus of the decays"), (large,))
    negative = tape.record("negate", (rate,), tape.like(rate, "- exp(A)"))
    result = tape.multiply(soft, negative, "logarithms of decays")
    for one in (raw, shifted, soft):
        tape.refer(one)
    return result


def gated_norm(tape: Tape, micro: MicroBatch, x: Value, gate: Value) -> Value:
    """Normalise each head, and multiply by weight and by the sigmoid of the gate, all in 32 bits."""
    name = "self_attn.o_norm"
    normal = normalised(tape, name, x, by_power=False)
    weight = tape.weight(name, x.shape[-1:], micro.element_bytes, trained=micro.trained(name))
    normal = tape.multiply(normal, tape.cast(weight, 4, f"{name} in fp32"), f"{name} output in fp32")
    wide = tape.cast(gate, 4, "gate in fp32")
    bent = tape.like(wide, "sigmoid of the gate")
    tape.record("sigmoid", (wide,), bent, (bent,))
    return tape.cast(tape.multiply(normal, bent, "gated"), x.element_bytes, "gated, as wide as the stream")


# ---- chunks in PyTorch -------------------------------------------------------------------------------------


def by_chunks(tape: Tape, micro: MicroBatch, given: Given) -> Value:
    """Apply the rule as chunk_kimi_delta_attention does: within all chunks at once, then chunk by chunk.

    Its local names hold what they name until it returns.
    """
    batch, seq, heads, width = given.values.shape
    number = ceil_div(seq, CHUNK)
    longer = number * CHUNK
    by_heads = [
        copied(tape, one, (batch, heads, seq, *one.shape[3:]), f"{one.name} in fp32")
        for one in (given.queries, given.keys, given.values, given.rates, given.decays)
    ]
    lengths = [unit(tape, one, one.name) for one in by_heads[:2]]
    padded = [
        tape.record("pad", (one,), of_shape(tape, one, (*one.shape[:2], longer, *one.shape[3:])))
        for one in (*lengths, *by_heads[2:])
    ]
    queries, keys, values, rates, decays = padded
    queries = tape.record("scale", (queries,), tape.like(queries, "queries, scaled"))
    held: list[Value] = []
    chunks = within_chunks(tape, micro, Given(queries, keys, values, decays, rates), number, held)
    answer = scan(tape, micro, chunks, number, held)
    if longer > seq:
        answer = tape.slice(answer, (batch, heads, seq, width), "answers, cut")
    rows = tape.value(
        "answers in a row", given.values.shape, answer.element_bytes, grad=answer.grad, region="inner"
    )
    tape.record("copy", (answer,), rows, aliased=True)
    out = tape.cast(rows, micro.low_bytes, "answers")
    for one in held:
        tape.refer(one)
    return out


def unit(tape: Tape, x: Value, name: str) -> Value:
    """Divide each head by the root of its squares' sum, which is no product: it keeps both."""
    more = sum_of_squares(tape, x, name)
    root = tape.like(more, f"{name} root")
    tape.record("sqrt", (more,), root, (root,), beside=root.bytes)
    out = tape.like(x, f"{name} of length 1")
    # the gradient of the root is made of three arrays as large as x before it is summed
    return tape.record("divide", (x, root), out, (x, root), beside=3 * x.bytes - root.bytes)


def crossed(tape: Tape, a: Value, b: Value, shape: tuple[int, ...], name: str) -> Value:
    """Multiply each token's numbers by those of each other: gradients are as large as all, then summed."""
    out = tape.value(name, shape, 4, grad=a.grad or b.grad, region="inner")
    keeps = (*((a,) if b.grad else ()), *((b,) if a.grad else ()))
    both = a.grad and b.grad  # the first is summed while the second is as large as all of it
    beside = 2 * out.bytes - b.bytes if both else out.bytes
    return tape.record("cross", (a, b), out, keeps, beside=beside)


def what_is_left(tape: Tape, crossing: Value, pairs: Value, mask: Value, name: str) -> Value:
    """Return what each token has of each other: products by the share that is left, summed, masked."""
    left = tape.multiply(crossing, pairs, f"{name}, what is left")
    total = tape.value(name, crossing.shape[:-1], 4, grad=left.grad, region="inner")
    tape.record("sum", (left,), total, aliased=True)  # a view is as large as all of it
    return tape.record("mask", (total,), tape.like(total, f"{name}, masked"), (mask,))


def within_chunks(tape: Tape, micro: MicroBatch, given: Given, number: int, held: list[Value]) -> Chunks:
    """Solve within all chunks at once, row by row: what each token writes, and what it reads of the state."""
    queries, keys, values, decays, rates = given
    batch, heads, _, size = keys.shape
    square = (batch, heads, number, CHUNK, CHUNK)
    rated_values, rated_keys = (
        tape.multiply(values, rates, "values x rates"),
        tape.multiply(keys, rates, "keys x rates"),
    )
    total = tape.like(decays, "sums of decays")
    tape.record("cumulate", (decays,), total, beside=2 * total.bytes)
    masks = [
        tape.value(f"mask of a chunk, {what} the diagonal", (CHUNK, CHUNK), 1, grad=False, region="whole")
        for what in ("with", "above", "again above")
    ]
    for one in masks[:2]:
        tape.hold(one, grad=values.grad)
    pairs = less(tape, total, total, (*square, size), "decays between tokens")
    pairs = tape.record("mask", (pairs,), tape.like(pairs, "decays between tokens, masked"), (masks[1],))
    pairs = exponential(tape, pairs, "shares that are left between tokens")
    crossing = crossed(tape, rated_keys, keys, pairs.shape, "keys x keys, number by number")
    system = what_is_left(tape, crossing, pairs, masks[0], "keys x keys")
    system = tape.record("negate", (system,), tape.like(system, "system"))
    system = by_rows(tape, system, number)
    system = tape.record("add", (system,), tape.like(system, "inverse of the system"), aliased=True)
    new = product(tape, micro, (system, rated_values), values.shape, "new values of chunks")
    tape.refer(values)  # its name has another value from here on
    decayed = tape.multiply(rated_keys, exponential(tape, total, "shares that are left"), "keys, decayed")
    read = product(tape, micro, (system, decayed), keys.shape, "what is read of the state")
    width, make = new.element_bytes, partial(tape.value, grad=False, region="inner")
    state = tape.hold(make("state", (batch, heads, size, size), width), grad=new.grad)
    answer = tape.hold(make("answers by chunks", new.shape, width), grad=new.grad)
    tape.hold(masks[2], grad=new.grad)
    tape.refer(masks[0])
    held += [
        queries,
        keys,
        rates,
        total,
        rated_values,
        rated_keys,
        pairs,
        system,
        new,
        read,
        answer,
        *masks[1:],
    ]
    return Chunks(queries, keys, new, read, total, pairs, masks[2], state, answer)


def by_rows(tape: Tape, system: Value, number: int) -> Value:
    """Solve triangular systems in place: a row after the other is copied, with all rows before it.

    All copies are kept: i numbers and i x i, for i from 1 on. Backward, each row copies the whole gradient.
    """
    numbers = sum(row + row * row for row in range(1, CHUNK))
    batch, heads = system.shape[:2]
    copies = tape.value(
        "rows, and those before each", (batch, heads, number, numbers), 4, grad=False, region="inner"
    )
    solved = tape.like(system, "system, solved")
    solved.of = system.storage
    return tape.record("solve by rows", (system,), solved, (copies,), beside=4 * system.bytes)


def scan(tape: Tape, micro: MicroBatch, chunks: Chunks, number: int, held: list[Value]) -> Value:
    """Go through the chunks: each reads the state, and writes it.

    The state behind the last one nobody reads: what it is made of is less than what the chunk had before.
    """
    state, answer = chunks.state, chunks.answer
    batch, heads, size, _ = whole = state.shape
    rows, square = (batch, heads, CHUNK, size), (batch, heads, CHUNK, CHUNK)
    named: list[Value] = []
    for index in range(number):
        former = named
        queries, keys, values, total = (
            tape.slice(one, rows, f"{one.name}, a chunk")
            for one in (chunks.queries, chunks.keys, chunks.values, chunks.total)
        )
        asked = tape.multiply(queries, exponential(tape, total, "shares from the start"), "queries, decayed")
        before = product(tape, micro, (asked, state), rows, "read of the state")
        crossing = crossed(tape, queries, keys, (*square, size), "queries x keys, number by number")
        pairs = tape.slice(chunks.pairs, crossing.shape, "shares within one chunk")
        within = what_is_left(tape, crossing, pairs, chunks.mask, "queries x keys")
        reads = tape.slice(chunks.read, rows, "reads of a chunk")
        known = product(tape, micro, (reads, state), rows, "what the state knows")
        new = less(tape, values, known, rows, "new values")
        now = product(tape, micro, (within, new), rows, "read of the chunk")
        both = tape.add(before, now, "answers of a chunk")
        with_it = tape.like(answer, "answers so far", grad=answer.grad or both.grad)
        with_it.of = answer.storage
        tape.record("copy in", (answer, both), with_it, beside=values.bytes if answer.grad else answer.bytes)
        answer = with_it
        named = [before, within, known, new]
        for one in former:
            let_go(tape, one)
        if index + 1 < number:
            last = tape.slice(total, (batch, heads, size), "decays of a chunk")
            left = tape.multiply(state, exponential(tape, last, "shares of a chunk"), "state, decayed")
            ends = tape.slice(total, (batch, heads, 1, size), "decays of its end")
            rest = exponential(tape, less(tape, ends, total, rows, "decays to the end"), "shares to the end")
            written = tape.multiply(keys, rest, "keys, decayed to the end")
            old = state
            state = tape.add(
                left, product(tape, micro, (written, new), whole, "what is written"), "state after it"
            )
            let_go(tape, old)
    held += named
    return answer


# ---- fused kernel ------------------------------------------------------------------------------------------


def by_kernel(tape: Tape, micro: MicroBatch, given: Given) -> Value:
    """Apply the rule as flash-linear-attention does: it keeps what the backward pass makes the rest of again.

    Those are queries and keys of length 1, values, decays and their sums, rates and, of each token, its rows
    of two matrices of its chunk: queries by keys, and the inverse of the system.
    """
    batch, seq, heads, width = given.values.shape
    size, make = micro.low_bytes, partial(tape.value, grad=False, region="inner")
    keeps = []
    for one in (given.queries, given.keys):
        keeps += [make(f"{one.name} of length 1", one.shape, size), make("1/root", (*one.shape[:-1],), 4)]
    keeps += [make("values in a row", given.values.shape, size), given.decays]
    keeps += [make("sums of decays", given.decays.shape, 4), given.rates]
    keeps += [
        make(f"rows of {what}", (batch, seq, heads, CHUNK), size) for what in ("inverses", "queries x keys")
    ]
    out = tape.value("answers", given.values.shape, size, grad=any(one.grad for one in given), region="inner")
    rows, states = batch * seq * heads, batch * ceil_div(seq, CHUNK) * heads * width * width
    again = size * (3 * rows * width + 2 * states) + 4 * rows * (5 * width + 2 * CHUNK)
    return tape.record("Kimi delta rule", given, out, keeps, beside=again)
