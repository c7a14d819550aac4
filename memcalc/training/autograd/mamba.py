"""Mamba-2 as transformers 5.23 runs it: chunk by chunk in PyTorch, or by one fused kernel.

Read in transformers/models/nemotron_h/modeling_nemotron_h.py (NemotronHMamba2Mixer, mamba2_chunk_scan) and
granitemoehybrid, which has the same; held against autograd. The kernel that runs where it is installed is
mamba_split_conv1d_scan_combined of mamba-ssm 2.3.2.post1 (mamba_ssm/ops/triton/ssd_combined.py,
MambaSplitConv1dScanCombinedFn): what its function saves, and what its backward pass makes.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from memcalc.ledger.tensor import ceil_div
from memcalc.training.autograd.convolution import convolved_in_steps
from memcalc.training.autograd.matrices import matrix
from memcalc.training.autograd.norms import normalised

if TYPE_CHECKING:
    from memcalc.ledger.parts import Mamba2
    from memcalc.training.autograd.base import MicroBatch
    from memcalc.training.autograd.tape import Tape, Value

__all__ = ["mamba2"]


class Given(NamedTuple):
    """What the scan is given: inputs, keys (B) and queries (C) by heads or groups, steps, and rates (A)."""

    inputs: Value
    keys: Value
    queries: Value
    steps: Value
    rates: Value


class Chunks(NamedTuple):
    """How many chunks there are, the tokens of each, and of which arrays a product needs a copy.

    Heads lie behind tokens, and products want them before. An array whose sequences, chunks and heads can be
    seen as one axis is not copied: of one chunk of one sequence that is so.
    """

    number: int
    tokens: int
    by_tokens: bool  # arrays whose heads lie behind tokens
    by_heads: bool  # those whose heads lie before all tokens, or all chunks: inputs, and states at all ends
    by_sequences: bool  # states and the first, whose heads lie behind all chunks


def mamba2(tape: Tape, micro: MicroBatch, part: Mamba2, x: Value) -> Value:
    """Project, convolve, scan, gate, normalise, project back."""
    heads, inner, tokens = part.ssm_heads, part.ssm_heads * part.ssm_head_dim, x.shape[:-1]
    columns = inner + part.streams + heads
    projected = matrix(
        tape, micro, "mamba.in_proj", x, columns, bias=part.in_bias, region="inner", cut="inner"
    )
    rates = rates_of(tape, micro, part)
    if micro.state_kernels == "fused":
        return by_kernel(tape, micro, part, projected, rates)
    widths = {"gate": inner, "mixed": part.streams, "steps": heads}
    gate, mixed, raw = tape.split(projected, {name: (*tokens, size) for name, size in widths.items()})
    convolved = convolved_in_steps(tape, micro, "mamba.conv1d", mixed, part.conv_kernel, bias=part.conv_bias)
    of_groups = (*tokens, part.ssm_groups, part.ssm_state)
    shapes = {"inputs": (*tokens, heads, part.ssm_head_dim), "keys": of_groups, "queries": of_groups}
    inputs, keys, queries = tape.split(convolved, shapes)
    given = Given(inputs, keys, queries, steps_of(tape, micro, part, raw), rates)
    answer = by_chunks(tape, micro, given)
    normal = gated_norm(tape, micro, part, answer, gate)
    out = tape.cast(normal, x.element_bytes, "normalised, as wide as the stream")
    result = matrix(
        tape, micro, "mamba.out_proj", out, part.width, bias=part.out_bias, region="hidden", cut="inner"
    )
    for one in (projected, convolved, normal, rates):
        tape.refer(one)
    return result


def rates_of(tape: Tape, micro: MicroBatch, part: Mamba2) -> Value:
    """Return - exp(A) of each head, in 32 bits."""
    trained = micro.trained("mamba.A_log")
    rate = tape.cast(
        tape.weight("mamba.A_log", (part.ssm_heads,), micro.element_bytes, trained=trained), 4, "A in fp32"
    )
    rate = exponential(tape, rate, "exp(A)")
    return tape.record("negate", (rate,), tape.like(rate, "- exp(A)"))


def steps_of(tape: Tape, micro: MicroBatch, part: Mamba2, x: Value) -> Value:
    """Return the steps: shifted, their softplus, not below the least; where a limit was met is found again.

    Autocast takes the softplus in 32 bits.
    """
    trained = micro.trained("mamba.dt_bias")
    shifted = tape.like(x, "steps, shifted", grad=x.grad or trained)
    own = part.ssm_heads * micro.element_bytes if trained else 0
    tape.record("add", (x,), shifted, aliased=True, weight_bytes=own)
    given = tape.cast(shifted, 4, "steps, shifted, in fp32") if micro.autocast else shifted
    soft, size = tape.like(given, "softplus of the steps"), given.element_bytes
    tape.record("softplus", (given,), soft, (given,))
    masks = 2 * (soft.bytes // size) + size  # two truth values of each number, and a zero
    return tape.record("clamp", (soft,), tape.like(soft, "steps"), (soft,), beside=masks)


def gated_norm(tape: Tape, micro: MicroBatch, part: Mamba2, x: Value, gate: Value) -> Value:
    """Multiply by the activated gate and normalise each group of heads, all in 32 bits."""
    active = tape.apply("silu", tape.cast(gate, 4, "gate in fp32"), "activated gate")
    x.shape = whole = gate.shape
    gated = tape.multiply(x, active, "gated")
    gated.shape = (*whole[:-1], part.ssm_groups, whole[-1] // part.ssm_groups)
    normal = normalised(tape, "mamba.norm", gated, by_power=False)
    normal.shape = whole
    trained = micro.trained("mamba.norm")
    weight = tape.weight("mamba.norm", whole[-1:], micro.element_bytes, trained=trained)
    return tape.multiply(normal, tape.promote(weight, 4), "mamba.norm output in fp32")


# ---- steps that several use --------------------------------------------------------------------------------


def exponential(tape: Tape, x: Value, name: str) -> Value:
    """Return the exponential of each number, which its derivative needs."""
    out = tape.like(x, name)
    return tape.record("exp", (x,), out, (out,))


def factors(tape: Tape, micro: MicroBatch, *given: tuple[Value, bool]) -> list[Value]:
    """Return arrays as a product of matrices takes them: in 16 bits under autocast, heads before tokens.

    A copy is made where no view has them so.
    """
    width = 2 if micro.autocast else 4
    narrow = [(tape.cast(one, width, f"{one.name}, in 16 bits"), copied) for one, copied in given]
    return [tape.contiguous(one, f"{one.name}, by heads") if copied else one for one, copied in narrow]


def product(tape: Tape, a: Value, b: Value, shape: tuple[int, ...], name: str) -> Value:
    """Multiply matrices, head by head: each factor is kept if the other one gets a gradient."""
    out = tape.value(name, shape, a.element_bytes, grad=a.grad or b.grad, region="inner")
    return tape.record("product", (a, b), out, (*((b,) if a.grad else ()), *((a,) if b.grad else ())))


def seen(tape: Tape, x: Value, *, copied: bool) -> Value:
    """See a product in the order of tokens again: where that is another one, its gradient is copied."""
    if not copied:
        return x
    view = tape.like(x, f"{x.name}, by tokens")
    view.of = x.storage
    return tape.record("view", (x,), view)


def padded(tape: Tape, x: Value, tokens: int) -> Value:
    """Copy to so many tokens, even where there are as many already."""
    shape = (x.shape[0], tokens, *x.shape[2:])
    longer = tape.value(f"{x.name}, padded", shape, x.element_bytes, grad=x.grad, region="inner")
    return tape.record("pad", (x,), longer)


def between(tape: Tape, x: Value, tokens: int, name: str) -> Value:
    """Return what is left between pairs of tokens, or of chunks: sums without those above the diagonal."""
    shape = (*x.shape, tokens)
    every = tape.value(f"{name}: decays of pairs", shape, 4, grad=x.grad, region="inner")
    every.of = x.storage
    tape.record("repeat", (x,), every)
    masks = [
        tape.value(f"mask of {name}, {what} the diagonal", (tokens, tokens), 1, grad=False, region="whole")
        for what in ("without", "with")
    ]
    masked = tape.record("mask", (every,), tape.like(every, f"{name}: masked"), masks[:1])
    sums = tape.like(masked, f"{name}: sums")
    tape.record("cumulate", (masked,), sums, beside=2 * sums.bytes)
    below = tape.record("mask", (sums,), tape.like(sums, f"{name}: sums, masked"), masks[1:])
    tape.refer(masked)
    return exponential(tape, below, f"shares that are left between {name}")


# ---- chunks in PyTorch -------------------------------------------------------------------------------------


def chunks_of(batch: int, seq: int, tokens: int) -> Chunks:
    """Return how a batch is cut, and what is copied.

    >>> chunks_of(1, 128, 128).by_tokens, chunks_of(1, 256, 128).by_tokens
    (False, True)
    """
    number = ceil_div(seq, tokens)
    return Chunks(number, tokens, batch * number > 1, number > 1, batch > 1)


def by_chunks(tape: Tape, micro: MicroBatch, given: Given) -> Value:
    """Scan as mamba2_chunk_scan does: within all chunks at once, then from chunk to chunk, in 32 bits."""
    batch, seq, heads, width = given.inputs.shape
    cut = chunks_of(batch, seq, micro.architecture.chunk)
    longer = cut.number * cut.tokens
    wide = tape.cast(given.inputs, 4, "inputs in fp32")
    keys, queries = (repeated(tape, one, heads) for one in (given.keys, given.queries))
    passed = past_the_scan(tape, micro, padded(tape, wide, longer))
    times = tape.cast(given.steps, 4, "steps in fp32")
    stepped = tape.multiply(wide, times, "inputs x steps")
    decays = tape.multiply(tape.cast(given.steps, 4, "steps in fp32, again"), given.rates, "decays")
    before = (stepped, decays, keys, queries)
    stepped, decays, keys, queries = (padded(tape, one, longer) for one in before)
    for one in before:
        tape.refer(one)
    decays.shape = (batch, heads, cut.number, cut.tokens)
    total = tape.like(decays, "sums of decays")
    tape.record("cumulate", (decays,), total, beside=2 * total.bytes)
    inside, weights = within_chunks(tape, micro, cut, (stepped, decays, keys, queries))
    outside, held = from_chunk_to_chunk(tape, micro, cut, (stepped, total, keys, queries))
    both = tape.add(inside, outside, "answers of both")
    both.shape = (batch, longer, heads, width)
    answer = tape.add(tape.contiguous(both, "answers by tokens"), passed, "answers")
    if longer > seq:
        answer = tape.slice(answer, (batch, seq, heads, width), "answers, cut")
    for one in (given.steps, stepped, decays, keys, queries, passed, total, inside, outside, weights, *held):
        tape.refer(one)
    return answer


def repeated(tape: Tape, x: Value, heads: int) -> Value:
    """Return keys or queries of every head, in 32 bits: copied even where each has its own."""
    wide = tape.cast(x, 4, f"{x.name} in fp32")
    shape = (*x.shape[:2], heads, x.shape[-1])
    every = tape.value(f"{x.name} of all heads", shape, 4, grad=x.grad, region="inner")
    return tape.record("repeat", (wide,), every, aliased=x.shape[2] == heads)


def past_the_scan(tape: Tape, micro: MicroBatch, x: Value) -> Value:
    """Return the inputs times a number of each head (D), which are added to what the scan answers."""
    trained = micro.trained("mamba.D")
    weight = tape.weight("mamba.D", x.shape[2:3], micro.element_bytes, trained=trained)
    return tape.multiply(x, tape.promote(weight, 4), "inputs x D")


def within_chunks(
    tape: Tape, micro: MicroBatch, cut: Chunks, given: tuple[Value, Value, Value, Value]
) -> tuple[Value, Value]:
    """Answer each token with what it sees of its own chunk; code holds the weights to the end."""
    stepped, decays, keys, queries = given
    batch, longer, heads, width = stepped.shape
    left = between(tape, decays, cut.tokens, "tokens")
    asked, stored = factors(tape, micro, (queries, cut.by_tokens), (keys, cut.by_tokens))
    scores = product(tape, asked, stored, left.shape, "queries x keys")
    weights = tape.multiply(scores, left, "weights of tokens")
    shares, inputs = factors(tape, micro, (weights, False), (stepped, cut.by_heads))
    own = product(tape, shares, inputs, (batch, longer, heads, width), "answers of each chunk")
    return seen(tape, own, copied=cut.by_tokens), weights


def from_chunk_to_chunk(
    tape: Tape, micro: MicroBatch, cut: Chunks, given: tuple[Value, Value, Value, Value]
) -> tuple[Value, tuple[Value, ...]]:
    """Answer each token with the state that the chunks before have left; code holds some of it to the end."""
    stepped, total, keys, queries = given
    batch, longer, heads, width = stepped.shape
    state, number = keys.shape[-1], cut.number
    last = tape.slice(total, (batch, heads, number, 1), "decays of chunks")
    rest = tape.like(total, "decays to the end")
    rest = exponential(tape, tape.record("subtract", (last, total), rest), "shares to the end")
    decayed = tape.multiply(keys, rest, "keys, decayed to the end")
    inputs, written = factors(tape, micro, (stepped, cut.by_heads), (decayed, cut.by_tokens))
    states = product(tape, inputs, written, (batch, number, heads, width, state), "states of chunks")
    states = seen(tape, states, copied=cut.by_heads)
    make, size = partial(tape.value, region="inner"), states.element_bytes
    first = make("state before all", (batch, 1, heads, width, state), size, grad=False)
    tape.hold(first, grad=states.grad)
    shape = (batch, number + 1, heads, width, state)
    joined = make("states and the first", shape, size, grad=states.grad)
    tape.record("join", (states,), joined, aliased=True)
    ends = tape.slice(total, (batch, heads, number), "decay of each chunk")
    more = make("decays from the first on", (batch, heads, number + 1), 4, grad=ends.grad)
    left = between(tape, tape.record("pad", (ends,), more), number + 1, "chunks")
    left, all_of = factors(tape, micro, (left, False), (joined, cut.by_sequences))
    new = product(tape, left, all_of, shape, "states at all ends")
    tape.refer(joined)
    known = tape.slice(seen(tape, new, copied=cut.by_sequences), (batch, number, *shape[2:]), "states before")
    shares = exponential(tape, total, "shares from the start")
    asked, known = factors(tape, micro, (queries, cut.by_tokens), (known, cut.by_heads))
    read = product(tape, asked, known, (batch, longer, heads, width), "read of the states")
    answer = tape.multiply(seen(tape, read, copied=cut.by_tokens), shares, "answers of the states")
    return answer, (decayed, first, new)


# ---- fused kernel ------------------------------------------------------------------------------------------


def by_kernel(tape: Tape, micro: MicroBatch, part: Mamba2, projected: Value, rates: Value) -> Value:
    """Do the rest in one function, the last matrix included, whatever adapters it has.

    It saves what it is given, the answers of the scan, and a root for each group of heads of a token. Its
    backward pass convolves again and makes states anew, in 32 bits and in the stream's numbers.
    """
    batch, seq, _ = projected.shape
    heads, size, inner = part.ssm_heads, micro.low_bytes, part.ssm_heads * part.ssm_head_dim
    chunk = micro.architecture.chunk
    answers = tape.value("answers", (batch, seq, inner), size, grad=False, region="inner")
    roots = tape.value("mamba.norm 1/root", (batch, seq, part.ssm_groups), 4, grad=False, region="inner")
    numbers = {
        "conv1d": part.streams * (part.conv_kernel + part.conv_bias),
        **dict.fromkeys(("dt_bias", "D"), heads),
        "norm": inner,
        "out_proj": part.width * (inner + part.out_bias),
    }
    trained = [name for name in numbers if micro.trained(f"mamba.{name}")]
    own = micro.element_bytes * sum(numbers[name] for name in trained)
    keeps = [projected, answers, rates, roots]
    if micro.copies_matrices:
        copy = (part.width * inner,)
        keeps.append(tape.value("mamba.out_proj in 16 bits", copy, 2, grad=False, region="weight"))
    grad = projected.grad or rates.grad or bool(trained)
    out = tape.value("mamba.out_proj output", (batch, seq, part.width), size, grad=grad, region="hidden")
    tokens, number = batch * seq, ceil_div(seq, chunk)
    states = batch * number * heads * part.ssm_head_dim * part.ssm_state
    again = size * tokens * (4 * inner + 2 * part.streams + heads) + 8 * batch * number * chunk * heads
    again += 4 * batch * number * part.ssm_groups * chunk * chunk + 2 * (4 + size) * states
    return tape.record(
        "split, convolve, scan", (projected, rates), out, keeps, weight_bytes=own, beside=again
    )
