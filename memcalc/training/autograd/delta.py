"""Gated DeltaNet as transformers 5.23 runs it: chunk by chunk in PyTorch, or by fused kernels.

Under autocast the rule has 32 bits but for its products of matrices, whose factors are copied to 16.

Read in transformers/models/qwen3_5/modeling_qwen3_5.py (torch_chunk_gated_delta_rule) and
qwen3_next/modeling_qwen3_next.py, which has fewer matrices before it, held against autograd;
the kernels that run where they are installed in flash-linear-attention (bc3b101d, 2026-08,
fla/ops/gated_delta_rule/chunk.py) and causal-conv1d (0d2252d, 2026-03): what their functions save.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from memcalc.ledger.tensor import ceil_div
from memcalc.training.autograd.convolution import convolved_in_steps
from memcalc.training.autograd.matrices import matrix
from memcalc.training.autograd.norms import normalised

if TYPE_CHECKING:
    from memcalc.ledger.parts import DeltaNet
    from memcalc.training.autograd.base import MicroBatch
    from memcalc.training.autograd.tape import Tape, Value

__all__ = [
    "CHUNK",
    "Given",
    "convolved_at_once",
    "copied",
    "exponential",
    "gated_delta",
    "less",
    "let_go",
    "of_shape",
    "product",
    "rates_of_decay",
    "sum_of_squares",
]

CHUNK = 64  # tokens of a chunk, in PyTorch and in the kernels


class Given(NamedTuple):
    """What the rule is given: queries, keys and values by heads, the logarithms of decays, and the rates."""

    queries: Value
    keys: Value
    values: Value
    decays: Value
    rates: Value


class Streams(NamedTuple):
    """What the stream is projected to: what is convolved, the gate, rates and decays as they come."""

    mixed: Value
    gate: Value
    rates: Value
    decays: Value
    held: tuple[Value, ...] = ()  # by code that runs, to the end
    briefly: tuple[Value, ...] = ()  # until all is convolved


def gated_delta(tape: Tape, micro: MicroBatch, part: DeltaNet, x: Value) -> Value:
    """Project, convolve, apply the rule, normalise, gate, project back."""
    heads, inner = part.linear_value_heads, part.linear_value_heads * part.linear_value_dim
    streams = (interleaved if "qkvz" in micro.architecture.fused else apart)(tape, micro, part, x)
    mixed, gate, raw_rates, raw_decays, *_ = streams
    if fused := micro.state_kernels == "fused":
        convolved = convolved_at_once(tape, micro, part, mixed, "linear_attn.conv1d")
    else:
        convolved = convolved_in_steps(tape, micro, "linear_attn.conv1d", mixed, part.conv_kernel)
    for one in (mixed, *streams.briefly):
        tape.refer(one)
    tokens = x.shape[:-1]
    of_keys = (*tokens, part.linear_key_heads, part.linear_key_dim)
    of_values = (*tokens, heads, part.linear_value_dim)
    queries, keys, values = tape.split(convolved, {"queries": of_keys, "keys": of_keys, "values": of_values})
    rates = tape.like(raw_rates, "rates")
    tape.record("sigmoid", (raw_rates,), rates, (rates,))
    given = Given(queries, keys, values, decays_of(tape, micro, raw_decays), rates)
    answer = (by_kernel if fused else by_chunks)(tape, micro, part, given)
    held = gate, raw_rates, raw_decays, convolved, given.decays, rates, *streams.held
    if gate.of is not None and heads > part.linear_key_heads:  # a view that has no heads in a row
        gate = tape.contiguous(gate, "gate in a row")
    out = gated_norm(tape, micro, answer, gate)
    out.shape = (*tokens, inner)
    result = matrix(tape, micro, "linear_attn.out_proj", out, part.width, region="hidden", cut="inner")
    for one in held:
        tape.refer(one)
    return result


def apart(tape: Tape, micro: MicroBatch, part: DeltaNet, x: Value) -> Streams:
    """Project by four matrices."""
    outer = partial(matrix, tape, micro, x=x, region="inner", cut="inner")
    heads, inner = part.linear_value_heads, part.linear_value_heads * part.linear_value_dim
    mixed = outer("linear_attn.in_proj_qkv", columns=part.streams)
    gate = outer("linear_attn.in_proj_z", columns=inner)
    rates, decays = (outer(f"linear_attn.in_proj_{name}", columns=heads) for name in "ba")
    return Streams(mixed, gate, rates, decays)


def interleaved(tape: Tape, micro: MicroBatch, part: DeltaNet, x: Value) -> Streams:
    """Project by two matrices, whose outputs lie key head by key head.

    What a key head and its value heads have is cut out; where several of both have to lie in a row it is
    copied, and queries, keys and values are joined in any case.
    """
    outer = partial(matrix, tape, micro, x=x, region="inner", cut="inner")
    groups, heads, width = part.linear_key_heads, part.linear_value_heads, part.linear_value_dim
    together = outer("linear_attn.in_proj_qkvz", columns=part.streams + heads * width)
    both = outer("linear_attn.in_proj_ba", columns=2 * heads)
    tokens = x.shape[:-1]
    of_keys, of_values = (*tokens, groups, part.linear_key_dim), (*tokens, heads, width)
    four = tape.split(together, {"queries": of_keys, "keys": of_keys, "values": of_values, "gate": of_values})
    two = tape.split(both, {"raw rates": (*tokens, heads), "raw decays": (*tokens, heads)})
    queries, keys, values, gate = four
    if groups not in (1, heads):
        values, gate = (tape.contiguous(one, f"{one.name} in a row") for one in (values, gate))
        two = [tape.contiguous(one, f"{one.name} in a row") for one in two]
    if groups > 1:
        queries, keys = (tape.contiguous(one, f"{one.name} in a row") for one in (queries, keys))
        if groups == heads:
            values = tape.contiguous(values, "values in a row")
    shape, size = (*tokens, part.streams), together.element_bytes
    mixed = tape.value("queries, keys, values", shape, size, grad=together.grad, region="inner")
    tape.record("join", (queries, keys, values), mixed, aliased=True)
    rates, decays = two
    held, briefly = (together, both), (queries, keys, values)
    return Streams(mixed, gate, rates, decays, held, briefly)


def convolved_at_once(tape: Tape, micro: MicroBatch, part: DeltaNet, x: Value, name: str) -> Value:
    """Convolve and activate in one kernel, which keeps what it is given."""
    trained = micro.trained(name)
    out = tape.like(x, "convolved and activated", grad=x.grad or trained)
    size = x.shape[-1] * part.conv_kernel * micro.element_bytes if trained else 0
    return tape.record("convolve", (x,), out, (x,), weight_bytes=size)


def decays_of(tape: Tape, micro: MicroBatch, x: Value) -> Value:
    """Return the logarithms of decays, in 32 bits: - exp(A) x softplus(x + a shift)."""
    heads, size = x.shape[-1], micro.element_bytes
    rate = rates_of_decay(tape, micro, "linear_attn.A_log", heads)
    rate = tape.record("negate", (rate,), tape.like(rate, "- exp(A)"))
    wide, trained = tape.cast(x, 4, "decays in fp32"), micro.trained("linear_attn.dt_bias")
    shifted = tape.like(wide, "decays, shifted", grad=wide.grad or trained)
    tape.record("add", (wide,), shifted, aliased=True, weight_bytes=heads * size if trained else 0)
    soft = tape.like(shifted, "softplus of the decays")
    tape.record("softplus", (shifted,), soft, (shifted,))
    return tape.multiply(soft, rate, "logarithms of decays")


def rates_of_decay(tape: Tape, micro: MicroBatch, name: str, heads: int) -> Value:
    """Return exp(A) of each head, in 32 bits."""
    rate = tape.weight(name, (heads,), micro.element_bytes, trained=micro.trained(name))
    return exponential(tape, tape.cast(rate, 4, "A in fp32"), "exp(A)")


def gated_norm(tape: Tape, micro: MicroBatch, x: Value, gate: Value) -> Value:
    """Normalise each head, and multiply by the activated gate in 32 bits.

    Under autocast weights of 32 bits are wider than what they are multiplied with.
    """
    name, trained = "linear_attn.norm", micro.trained("linear_attn.norm")
    if micro.copies_matrices:
        normal = tape.cast(normalised(tape, name, x, by_power=False), x.element_bytes, f"{name} normalised")
        weight = tape.weight(name, x.shape[-1:], micro.element_bytes, trained=trained)
        normal = tape.multiply(normal, weight, f"{name} output in fp32")
    else:
        normal = tape.rms_norm(name, x, trained=trained)
    gate.shape = normal.shape
    active = tape.apply("silu", tape.cast(gate, 4, "gate in fp32"), "activated gate")
    return tape.cast(tape.multiply(normal, active, "gated"), x.element_bytes, "gated, as wide as the stream")


# ---- steps that several use --------------------------------------------------------------------------------


def exponential(tape: Tape, x: Value, name: str) -> Value:
    """Return the exponential of each number, which its derivative needs."""
    out = tape.like(x, name)
    return tape.record("exp", (x,), out, (out,))


def product(
    tape: Tape, micro: MicroBatch, factors: tuple[Value, Value], shape: tuple[int, ...], name: str
) -> Value:
    """Multiply matrices, head by head: each factor is kept if the other one gets a gradient.

    Autocast copies both to 16 bits, the second one first, and each time anew: what it copies is no weight.
    """
    width = 2 if micro.autocast else 4
    b, a = (tape.cast(one, width, f"{one.name}, in 16 bits") for one in reversed(factors))
    out = tape.value(name, shape, width, grad=a.grad or b.grad, region="inner")
    return tape.record("product", (a, b), out, (*((b,) if a.grad else ()), *((a,) if b.grad else ())))


def to_wide(tape: Tape, x: Value, shape: tuple[int, ...], name: str) -> Value:
    """Copy to 32 bits, head by head; what has as many is seen so."""
    out = copied(tape, x, shape, name)
    if x.element_bytes == out.element_bytes:
        out.of = x.storage
    return out


def copied(tape: Tape, x: Value, shape: tuple[int, ...], name: str) -> Value:
    """Copy to 32 bits, head by head, what has as many, too: its tokens lie in another order."""
    out = tape.value(name, shape, 4, grad=x.grad, region="inner")
    return tape.record("copy", (x,), out, aliased=x.element_bytes == out.element_bytes)


def unit(tape: Tape, x: Value, name: str) -> Value:
    """Divide each head by the root of its squares' sum."""
    more = sum_of_squares(tape, x, name)
    root = tape.like(more, f"{name} 1/root")
    tape.record("rsqrt", (more,), root, (root,), beside=2 * root.bytes)
    return tape.multiply(x, root, f"{name} of length 1")


def sum_of_squares(tape: Tape, x: Value, name: str) -> Value:
    """Return the sum of each head's squares, and a little, so that it has a root to divide by."""
    squares = tape.like(x, f"{name} squares")
    tape.record("multiply", (x, x), squares, (x,))
    total = tape.value(f"{name} sum of squares", (*x.shape[:-1], 1), 4, grad=x.grad, region="inner")
    tape.record("sum", (squares,), total, aliased=True)  # each square's gradient is a view of the sum's
    return tape.record("add", (total,), tape.like(total, f"{name} sum and a little"), aliased=True)


def less(tape: Tape, a: Value, b: Value, shape: tuple[int, ...], name: str) -> Value:
    """Subtract: of b the gradient is negated before it is summed to its shape."""
    width = max(a.element_bytes, b.element_bytes)
    out = tape.value(name, shape, width, grad=a.grad or b.grad, region="inner")
    return tape.record("subtract", (a, b), out, beside=out.bytes if b.bytes < out.bytes else 0)


# ---- chunks in PyTorch -------------------------------------------------------------------------------------


class Chunks(NamedTuple):
    """What the scan over chunks reads, of all chunks together, and where it writes."""

    queries: Value
    keys: Value
    within: Value
    values: Value
    read: Value
    decays: Value
    state: Value
    answer: Value


def by_chunks(tape: Tape, micro: MicroBatch, part: DeltaNet, given: Given) -> Value:
    """Apply the rule as torch_chunk_gated_delta_rule does: within all chunks at once, then chunk by chunk.

    Its local names hold what they name until it returns.
    """
    batch, seq, heads, width = given.values.shape
    number = ceil_div(seq, CHUNK)
    longer = number * CHUNK
    found = made_wide(tape, part, given)
    held: list[Value] = []
    padded = []
    for some in (found.queries, found.keys, found.values), (found.rates, found.decays):
        padded += [
            tape.record("pad", (one,), of_shape(tape, one, (*one.shape[:2], longer, *one.shape[3:])))
            for one in some
        ]
        for one in some:  # some are padded before a name is given anew
            tape.refer(one)
    queries, keys, values, rates, decays = padded
    chunks = within_chunks(tape, micro, Given(queries, keys, values, decays, rates), number, held)
    answer = scan(tape, micro, chunks, number, held)
    if number > 1:  # solved arrays lie column by column, and so do the answers
        answer = tape.record("copy", (answer,), tape.like(answer, "answers in a row"), aliased=True)
    if longer > seq:
        answer = tape.slice(answer, (batch, heads, seq, width), "answers, cut")
    out = tape.value("answers", (batch, seq, heads, width), micro.low_bytes, grad=answer.grad, region="inner")
    tape.record("copy", (answer,), out, aliased=micro.low_bytes == answer.element_bytes)
    for one in held:
        tape.refer(one)
    return out


def of_shape(tape: Tape, x: Value, shape: tuple[int, ...]) -> Value:
    """Make a storage of 32-bit numbers of another shape."""
    return tape.value(f"{x.name}, padded", shape, 4, grad=x.grad, region="inner")


def made_wide(tape: Tape, part: DeltaNet, given: Given) -> Given:
    """Return all of it in 32 bits, head by head; queries and keys repeated, of length 1, queries scaled."""
    batch, seq, heads, _ = given.values.shape
    queries, keys = given.queries, given.keys
    if part.linear_key_heads != heads:
        shape = (batch, seq, heads, part.linear_key_dim)
        queries, keys = (
            tape.record(
                "repeat",
                (one,),
                tape.value(
                    f"{one.name} of all heads", shape, one.element_bytes, grad=one.grad, region="inner"
                ),
            )
            for one in (queries, keys)
        )
    by_heads = [
        to_wide(tape, one, (batch, heads, seq, *one.shape[3:]), f"{one.name} in fp32")
        for one in (queries, keys, given.values, given.rates, given.decays)
    ]
    for one in (queries, keys):
        tape.refer(one)
    queries, keys = unit(tape, by_heads[0], "queries"), unit(tape, by_heads[1], "keys")
    queries = tape.record("scale", (queries,), tape.like(queries, "queries, scaled"))
    return Given(queries, keys, by_heads[2], by_heads[4], by_heads[3])


def within_chunks(tape: Tape, micro: MicroBatch, given: Given, number: int, held: list[Value]) -> Chunks:
    """Solve within all chunks at once: what each token writes, reads, and sees of its own chunk."""
    queries, keys, values, decays, rates = given
    batch, heads = values.shape[:2]
    square = (batch, heads, number, CHUNK, CHUNK)
    rated = tape.multiply(values, rates, "values x rates"), tape.multiply(keys, rates, "keys x rates")
    rated_keys, rated_values = (in_chunks(tape, one, number) for one in reversed(rated))
    mask = tape.value("mask of a chunk", (CHUNK, CHUNK), 1, grad=False, region="whole")
    tape.hold(mask, grad=values.grad)
    total = tape.like(decays, "sums of decays")
    tape.record("cumulate", (decays,), total, beside=2 * total.bytes)
    pairs = less(tape, total, total, square, "decays between tokens")
    pairs = tape.record("mask", (pairs,), tape.like(pairs, "decays between tokens, masked"), (mask,))
    pairs = exponential(tape, pairs, "shares that are left between tokens")
    system = tape.multiply(product(tape, micro, (rated_keys, keys), square, "keys x keys"), pairs, "system")
    within = tape.multiply(
        product(tape, micro, (queries, keys), square, "queries x keys"), pairs, "within a chunk"
    )
    decayed = tape.multiply(rated_keys, exponential(tape, total, "shares that are left"), "keys, decayed")
    new, read = (solved(tape, system, one) for one in (rated_values, decayed))
    held += [values, rates, decays, *rated, mask, total, pairs, system, within, decayed, new, read]
    whole = (batch, heads, keys.shape[-1], values.shape[-1])
    state = tape.value("state", whole, 4, grad=False, region="inner")
    answer = tape.like(new, "answers by chunks", grad=False)
    for one in (state, answer):
        tape.hold(one, grad=new.grad)
    queries = tape.multiply(queries, exponential(tape, total, "shares for queries"), "queries, decayed")
    if number == 1:
        keys, left = without_a_reader(tape, keys, total)
    else:
        last = tape.slice(total, (batch, heads, number, 1), "decays of chunks")
        rest = exponential(
            tape, less(tape, last, total, total.shape, "decays to the end"), "shares to the end"
        )
        keys = tape.multiply(keys, rest, "keys, decayed to the end")
        left = exponential(
            tape, tape.slice(total, (batch, heads, number), "decay of each"), "shares of chunks"
        )
    held += [queries, keys, left]
    return Chunks(queries, keys, within, new, read, left, state, answer)


def without_a_reader(tape: Tape, keys: Value, total: Value) -> tuple[Value, Value]:
    """Decay keys to the end of the one chunk: nothing reads the state behind it, and no gradient flows."""
    rest = tape.hold(tape.like(total, "shares to the end", grad=False), grad=keys.grad)
    decayed = tape.hold(tape.like(keys, "keys, decayed to the end", grad=False), grad=keys.grad)
    for one in (rest, keys):
        tape.refer(one)
    shape = total.shape[:2]
    left = tape.value("share of the chunk", shape, 4, grad=False, region="inner")
    return decayed, tape.hold(left, grad=keys.grad)


def in_chunks(tape: Tape, x: Value, number: int) -> Value:
    """See tokens as chunks: a view, whose gradient comes column by column and is copied."""
    if number == 1:
        return x
    view = tape.like(x, f"{x.name}, by chunks")
    view.of = x.storage
    return tape.record("view", (x,), view)


def solved(tape: Tape, system: Value, x: Value) -> Value:
    """Solve triangular systems: their derivative needs the system and the solution."""
    out = tape.like(x, f"{x.name}, solved", grad=system.grad or x.grad)
    return tape.record("solve", (system, x), out, (system, out), beside=system.bytes)


def scan(tape: Tape, micro: MicroBatch, chunks: Chunks, number: int, held: list[Value]) -> Value:
    """Go through the chunks: each reads the state, and writes it; the last one's nobody reads."""
    state, answer = chunks.state, chunks.answer
    batch, heads, keys, values = whole = state.shape
    of_keys, of_values = (batch, heads, CHUNK, keys), (batch, heads, CHUNK, values)
    square = (batch, heads, CHUNK, CHUNK)
    new = before = None
    for index in range(number):
        own, reads = (
            tape.slice(one, shape, f"{one.name}, a chunk")
            for one, shape in ((chunks.values, of_values), (chunks.read, of_keys))
        )
        known = product(tape, micro, (reads, state), of_values, "what the state knows")
        known = tape.promote(known, 4)  # the difference has 32 bits
        minus = tape.like(known, "- what the state knows")
        minus.of = known.storage
        tape.record("negate", (known,), minus)
        former, new = new, tape.like(own, "new values", grad=own.grad or minus.grad)
        tape.record("add", (own, minus), new, aliased=True)
        let_go(tape, former)
        asked = tape.slice(chunks.queries, of_keys, "queries of a chunk")
        former, before = before, product(tape, micro, (asked, state), of_values, "read of the state")
        let_go(tape, former)
        seen = tape.slice(chunks.within, square, "within one chunk")
        now = product(tape, micro, (seen, new), of_values, "read of the chunk")
        both = tape.add(before, now, "answers of a chunk")
        with_it = tape.like(answer, "answers so far", grad=answer.grad or both.grad)
        with_it.of = answer.storage
        beside = own.bytes if answer.grad else answer.bytes
        beside += own.bytes if micro.autocast else 0  # the gradient of what is copied, in 32 bits
        tape.record("copy in", (answer, both), with_it, beside=beside)
        answer = with_it
        if index + 1 < number:
            share = tape.slice(chunks.decays, (batch, heads, 1, 1), "share of a chunk")
            left = tape.multiply(state, share, "state, decayed")
            written = tape.slice(chunks.keys, of_keys, "keys of a chunk")
            former = state
            what = product(tape, micro, (written, new), whole, "what is written")
            state = tape.add(left, what, "state after it")
            let_go(tape, former)
    for one in (last := unread(tape, micro, state)):
        tape.hold(one, grad=answer.grad)
    for one in (*last, state):
        let_go(tape, one)
    held += [one for one in (new, before) if one is not None]
    return answer


def unread(tape: Tape, micro: MicroBatch, state: Value) -> list[Value]:
    """Return what the state behind the last chunk is made of: decayed, written, both, and autocast's copies.

    They go together: a graph that nobody runs backwards holds the copies while code refers to the state.
    """
    make = partial(tape.value, grad=False, region="inner")
    batch, heads, keys, values = whole = state.shape
    found = [make("state, decayed, and state after all", (2, *whole), 4)]
    found.append(make("what is written last", whole, 2 if micro.autocast else 4))
    if micro.autocast:
        copies = (batch, heads, CHUNK, keys + values)
        found.append(make("last keys and new values, in 16 bits", copies, 2))
    return found


def let_go(tape: Tape, x: Value | None) -> None:
    """Note that a name that held a value has another one now."""
    if x is not None:
        tape.refer(x)


# ---- fused kernels -----------------------------------------------------------------------------------------


def by_kernel(tape: Tape, micro: MicroBatch, part: DeltaNet, given: Given) -> Value:
    """Apply the rule as flash-linear-attention does: it keeps what the backward pass makes the rest of again.

    Those are queries and keys of length 1, values, sums of decays, rates and, of each token, the row of the
    inverse of its chunk's system.
    """
    batch, seq, heads, width = given.values.shape
    size, make = micro.low_bytes, partial(tape.value, grad=False, region="inner")
    keeps = []
    for one in (given.queries, given.keys):
        keeps += [make(f"{one.name} of length 1", one.shape, size), make("1/root", (*one.shape[:-1],), 4)]
    keeps += [
        make("values in a row", given.values.shape, size),
        make("sums of decays", given.decays.shape, 4),
    ]
    keeps += [given.rates, make("rows of inverses", (batch, seq, heads, CHUNK), size)]
    out = tape.value("answers", given.values.shape, size, grad=any(one.grad for one in given), region="inner")
    rows, states = batch * seq * heads, batch * ceil_div(seq, CHUNK) * heads * part.linear_key_dim * width
    again = size * (rows * (2 * part.linear_key_dim + 4 * width) + 2 * states)
    return tape.record("gated delta rule", given, out, keeps, beside=again)
