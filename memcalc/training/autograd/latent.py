"""Latent attention as transformers 5.23 runs it: keys and values of all heads are made of the latent.

Read in transformers/models/deepseek_v3/modeling_deepseek_v3.py and integrations/flash_attention.py; where an
indexer chooses tokens: indexed.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.ledger.tensor import ceil_div
from memcalc.training.autograd.attention import by_products, is_one
from memcalc.training.autograd.matrices import matrix
from memcalc.training.autograd.norms import norm
from memcalc.training.autograd.rotation import rope_tables, rotate

if TYPE_CHECKING:
    from memcalc.ledger.parts import MLA, Indexer
    from memcalc.training.autograd.base import MicroBatch
    from memcalc.training.autograd.tape import Tape, Value

__all__ = ["latent_attention"]


def latent_attention(
    tape: Tape, micro: MicroBatch, part: MLA, x: Value, *, indexer: Indexer | None = None
) -> Value:
    """Project down and up, rotate a part of each query and one key for all heads, attend, project back."""
    if micro.architecture.rope == "none":
        return unrotated(tape, micro, part, x)
    tables = rope_tables(tape, micro, part.rope_dim)
    own, queries = asked(tape, micro, part, x)
    shape = queries.shape[:-1]
    passes, turns = tape.split(
        queries, {"q, passes": (*shape, part.nope_dim), "q, turns": (*shape, part.rope_dim)}
    )
    down, latent, key = compressed(tape, micro, part, x)
    turned = rotate(tape, micro, turns, tables, "q")
    key = rotate(tape, micro, key, tables, "k")
    joined = tape.record("join", (passes, turned), tape.like(queries, "q joined"), aliased=True)
    keys, values = expanded(tape, micro, part, latent, key)
    held: list[Value] = []
    if micro.architecture.index_rope:
        from memcalc.training.autograd.indexed import masked

        held = masked(tape, micro, indexer, (x, own), part.rope_dim)
        held += [own, queries, turned, down, latent, key, joined, keys, values]
    out = attend(tape, micro, part, (joined, keys, values))
    for value in held:
        tape.refer(value)
    return back(tape, micro, part, out)


def unrotated(tape: Tape, micro: MicroBatch, part: MLA, x: Value) -> Value:
    """The same where nothing turns (Kimi Linear): queries are attended with as their matrix gives them."""
    _, queries = asked(tape, micro, part, x)
    _, latent, key = compressed(tape, micro, part, x)
    keys, values = expanded(tape, micro, part, latent, key)
    return back(tape, micro, part, attend(tape, micro, part, (queries, keys, values)))


def compressed(tape: Tape, micro: MicroBatch, part: MLA, x: Value) -> tuple[Value, Value, Value]:
    """Return what the stream is projected down to: all of it, the latent, and one key for all heads."""
    name, columns = "self_attn.kv_a_proj_with_mqa", part.kv_rank + part.rope_dim
    down = matrix(tape, micro, name, x, columns, bias=part.bias, region="hidden")
    shape = x.shape[:-1]
    latent, key = tape.split(down, {"latent": (*shape, part.kv_rank), "key": (*shape, 1, part.rope_dim)})
    if part.latent_norms:
        latent = norm(tape, micro, "self_attn.kv_a_layernorm", latent)
    return down, latent, key


def back(tape: Tape, micro: MicroBatch, part: MLA, out: Value) -> Value:
    """Project what attention answers back to the stream."""
    biased = part.bias or part.out_bias
    return matrix(tape, micro, "self_attn.o_proj", out, part.width, bias=biased, region="hidden", cut="inner")


def asked(tape: Tape, micro: MicroBatch, part: MLA, x: Value) -> tuple[Value, Value]:
    """Return what queries are made of, the stream or a latent of their own, and those of all heads."""
    columns, name = part.heads * (part.nope_dim + part.rope_dim), "self_attn.q_proj"
    if part.q_rank is not None:
        x = matrix(tape, micro, "self_attn.q_a_proj", x, part.q_rank, bias=part.bias, region="hidden")
        if part.latent_norms:
            x = norm(tape, micro, "self_attn.q_a_layernorm", x)
        name = "self_attn.q_b_proj"
    found = matrix(tape, micro, name, x, columns, region="inner", cut="inner")
    found.shape = (*x.shape[:-1], part.heads, part.nope_dim + part.rope_dim)
    return x, found


def expanded(tape: Tape, micro: MicroBatch, part: MLA, latent: Value, key: Value) -> tuple[Value, Value]:
    """Return keys and values of all heads: keys are copied, piece by piece, into an array of their own."""
    columns = part.heads * (part.nope_dim + part.value_dim)
    both = matrix(tape, micro, "self_attn.kv_b_proj", latent, columns, region="inner", cut="inner")
    shape = (*latent.shape[:-1], part.heads)
    nope, values = tape.split(both, {"k, passes": (*shape, part.nope_dim), "v": (*shape, part.value_dim)})
    every = tape.value(
        "key of all heads", (*shape, part.rope_dim), key.element_bytes, grad=key.grad, region="inner"
    )
    every.of = key.storage
    tape.record("repeat", (key,), every)
    width = part.nope_dim + part.rope_dim
    keys = tape.value(
        "keys", (*shape, width), nope.element_bytes, grad=nope.grad or every.grad, region="inner"
    )
    half = tape.like(keys, "keys, in part", grad=nope.grad)
    half.of = keys
    tape.record("copy in", (nope,), half, beside=keys.bytes)
    tape.record("copy in", (half, every), keys)
    return keys, values


def attend(tape: Tape, micro: MicroBatch, part: MLA, inputs: tuple[Value, Value, Value]) -> Value:
    """Attend: flash kernels want values as wide as queries, which are padded, and the output cut."""
    tape.module = "core_attn"
    q, k, v = inputs
    batch, seq, heads = q.shape[:3]
    grad = q.grad or k.grad or v.grad
    out = tape.value("attention output", v.shape, q.element_bytes, grad=grad, region="inner")
    if micro.attention == "eager":
        if not is_one(batch) and not is_one(heads):  # no view has them sequence by sequence
            inputs = q, k, tape.contiguous(v, "values, copied")
        by_products(tape, micro, inputs, out, square=(batch, heads, seq, seq))
    elif micro.architecture.index_rope:
        attend_masked(tape, micro, inputs, out)
    else:
        rows = tape.value("log-sum-exp", (batch, seq, heads), 4, grad=False, region="inner")
        flash = micro.attention == "flash"
        state = (
            [tape.value("state of the random numbers", (24,), 1, grad=False, region="whole")] if flash else []
        )
        padded = flash and part.value_dim != q.shape[-1]
        if padded:
            v = tape.record("pad", (v,), tape.like(q, "values, padded", grad=v.grad))
        made = tape.value(
            "attention output by heads", (*v.shape,), q.element_bytes, grad=grad, region="inner"
        )
        tape.record("attention", (q, k, v), made, [q, k, v, made, rows, *state])
        if padded:
            made = tape.slice(made, out.shape, "attention output, cut")
        if micro.architecture.rope == "none" and not padded:
            out.of = made  # queries lie token by token, and so does the output
        tape.record("copy", (made,), out, aliased=True)
    tape.module = "self_attn"
    out.shape = (batch, seq, heads * part.value_dim)
    return out


def attend_masked(tape: Tape, micro: MicroBatch, inputs: tuple[Value, Value, Value], out: Value) -> None:
    """Attend by torch's memory-efficient kernel, which takes a mask: it keeps that, too.

    Its log-sum-exp has rows of a multiple of 32, and its random numbers have a seed and an offset.
    """
    from memcalc.training.autograd.indexed import bias_of

    batch, seq, heads = inputs[0].shape[:3]
    q, k, v = (tape.cast(one, micro.low_bytes, f"{one.name}, narrow") for one in inputs)
    bias = bias_of(tape, micro, q.element_bytes)
    sums = (batch, heads, 32 * ceil_div(seq, 32))
    rows = tape.value("log-sum-exp", sums, 4, grad=False, region="inner")
    state = tape.value("seed and offset", (2,), 8, grad=False, region="whole")
    tape.record("attention", (q, k, v), out, [q, k, v, bias, out, rows, state])
