"""Attention of heads as transformers 5.23 runs it: projections, norms of heads, rotation, kernel or products.

Read in transformers/models/llama/modeling_llama.py and those of the types in by_type.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.training.autograd.heads import head_norm, one_by_one, projected
from memcalc.training.autograd.matrices import matrix
from memcalc.training.autograd.norms import softcapped
from memcalc.training.autograd.rotation import both_woven, looked_up, rope_tables, rotate

if TYPE_CHECKING:
    from memcalc.ledger.parts import GQA
    from memcalc.training.autograd.architecture import Architecture
    from memcalc.training.autograd.base import MicroBatch
    from memcalc.training.autograd.tape import Tape, Value

__all__ = ["attend", "attention", "by_products", "is_one", "is_still"]


JOINED = ("joined", "two", "turned in part")


def is_one(number: int) -> bool:
    """Say whether there is one sequence, or one head; in a sweep the number says it itself."""
    return number == 1 if type(number) is int else number.is_one()  # type: ignore[attr-defined]


def attend(tape: Tape, micro: MicroBatch, part: GQA, inputs: tuple[Value, Value, Value]) -> Value:
    """Attention itself: one kernel that keeps its inputs, its output and a number a row; or step by step."""
    tape.module = "core_attn"
    q, k, v = inputs
    if micro.repeat_kv and part.kv_heads != part.heads:
        shape = (*q.shape[:-1], part.head_dim)
        repeated = []
        for x, name in ((k, "keys"), (v, "values")):
            many = tape.value(f"{name} of all heads", shape, x.element_bytes, grad=x.grad, region="inner")
            if part.kv_heads == 1:  # a view serves as many; its gradient is as large, all the same
                many.of = x.storage
            repeated.append(tape.record("repeat", (x,), many))
        k, v = repeated
    width = (
        2 if micro.quantised and micro.attention == "flash" else micro.low_bytes
    )  # bitsandbytes' may be wider
    q, k, v = (
        tape.cast(x, width, f"{name} in 16 bits") for x, name in ((q, "queries"), (k, "keys"), (v, "values"))
    )
    grad = q.grad or k.grad or v.grad
    batch, seq, heads = q.shape[0], q.shape[1], part.heads
    out = tape.value(
        "attention output", (batch, seq, heads, part.head_dim), q.element_bytes, grad=grad, region="inner"
    )
    if micro.attention == "eager":
        lent = {id(one) for pair in tape.handed.values() for one in pair}  # others use them as they are
        viewed = {id(one) for one in (q, k, v) if one.of is not None or id(one) in lent}
        if viewed and not is_one(batch) and not is_one(heads):  # no view has them sequence by sequence
            q, k, v = (
                tape.contiguous(x, f"{name}, copied") if id(x) in viewed else x
                for x, name in ((q, "queries"), (k, "keys"), (v, "values"))
            )
        by_products(tape, micro, (q, k, v), out, square=(batch, heads, seq, seq))
    else:
        rows = tape.value("log-sum-exp", (batch, seq, heads), 4, grad=False, region="inner")
        keeps = [q, k, v, out, rows]
        if micro.attention == "flash":
            keeps.append(tape.value("state of the random numbers", (24,), 1, grad=False, region="whole"))
        tape.record("attention", (q, k, v), out, keeps)
        words = micro.architecture
        if words.rope in JOINED and not words.keys_first and not is_one(part.heads):
            # queries that were joined lie head by head, and so does the output
            out = tape.record("copy", (out,), tape.like(out, "attention output by tokens"), aliased=True)
    tape.module = "self_attn"
    return out


def by_products(
    tape: Tape,
    micro: MicroBatch,
    inputs: tuple[Value, Value, Value],
    out: Value,
    *,
    square: tuple[int, int, int, int],
) -> None:
    """Attend step by step: all scores, their softmax in fp32, weights as wide as the stream, dropout."""
    q, k, v = inputs
    words = micro.architecture
    if words.wide_products:
        q, k = tape.cast(q, 4, "queries in fp32"), tape.cast(k, 4, "keys in fp32")
        if micro.autocast:  # which copies what a product is given to 16
            q, k = tape.cast(q, 2, "queries in 16 bits again"), tape.cast(k, 2, "keys in 16 bits again")
    scores = tape.value("scores", square, q.element_bytes, grad=q.grad or k.grad, region="inner")
    keeps = [*((k,) if q.grad else ()), *((q,) if k.grad else ())]
    tape.record("scores", (q, k), scores, keeps, beside=scores.bytes)
    if words.softcap:
        scores = softcapped(tape, scores)
    if words.sinks:
        weights = with_sinks(tape, micro, scores)
    else:
        narrow = words.narrow_softmax and not micro.autocast
        wide = tape.like(scores, "softmax", scores.element_bytes if narrow else 4)
        # its gradient is as wide before it is narrowed
        tape.record("softmax", (scores,), wide, (wide,), beside=wide.bytes - scores.bytes)
        weights = tape.cast(wide, v.element_bytes, "attention weights")
    if micro.dropout:
        mask = tape.value("attention dropout mask", square, 1, grad=False, region="inner")
        dropped = tape.like(weights, "attention weights after dropout")
        weights = tape.record("dropout", (weights,), dropped, (mask,))
    keeps = [*((v,) if weights.grad else ()), *((weights,) if v.grad else ())]
    out.grad = weights.grad or v.grad  # sinks may be trained alone
    tape.record("weigh", (weights, v), out, keeps)


def with_sinks(tape: Tape, micro: MicroBatch, scores: Value) -> Value:
    """Join a logit of each head to the scores, subtract the largest, take the softmax, and leave it out."""
    batch, heads, seq, _ = scores.shape
    sinks = tape.weight(
        "self_attn.sinks", (heads,), scores.element_bytes, trained=micro.trained("self_attn.sinks")
    )
    every = tape.value(
        "sinks of all rows", (batch, heads, seq, 1), scores.element_bytes, grad=sinks.grad, region="inner"
    )
    every.of = sinks
    tape.record("repeat", (sinks,), every)
    joined = (batch, heads, seq, seq + 1)
    grad = scores.grad or every.grad
    both = tape.value("scores and sinks", joined, scores.element_bytes, grad=grad, region="inner")
    tape.record("join", (scores, every), both, aliased=True)
    most = tape.value(
        "largest score", (batch, heads, seq, 1), scores.element_bytes, grad=grad, region="inner"
    )
    places = tape.value("where the largest is", (batch, heads, seq, 1), 8, grad=False, region="inner")
    tape.record("max", (both,), most, (places,))
    negative = tape.record("negate", (most,), tape.like(most, "- largest score"), beside=both.bytes)
    less = tape.record("add", (both, negative), tape.like(both, "scores less the largest"), aliased=True)
    chances = tape.like(both, "softmax")
    tape.record("softmax", (less,), chances, (chances,))
    return tape.slice(chances, scores.shape, "attention weights")


def attention(tape: Tape, micro: MicroBatch, part: GQA, x: Value) -> Value:
    """Project, normalise heads where the model does, rotate, attend, project back."""
    if micro.architecture.queries_first:
        return answered(tape, micro, part, x, one_by_one(tape, micro, part, x))
    return all_at_once(tape, micro, part, x)


def all_at_once(tape: Tape, micro: MicroBatch, part: GQA, x: Value) -> Value:
    """Do it step by step, each for queries, keys and values."""
    words = micro.architecture
    heads = projected(tape, micro, part, x)
    if part.qk_norm and words.late_norms:
        for name in "q", "k":
            heads[name] = head_norm(tape, micro, part, name, heads[name])
    held = turned(tape, micro, part, heads)
    if part.qk_norm and words.rotated_first:
        for name in "q", "k":
            heads[name] = head_norm(tape, micro, part, name, heads[name])
    if words.scaled_queries == "by position":
        q = heads["q"]
        scale = tape.value(
            "scale of each query", (1, micro.seq, 1, 1), q.element_bytes, grad=False, region="whole"
        )
        heads["q"] = tape.record("scale", (q,), tape.like(q, "q, scaled"), (scale,))
    out = answered(tape, micro, part, x, heads)
    for value in held:
        tape.refer(value)
    return out


def is_still(words: Architecture, part: GQA) -> bool:
    """Say whether a layer is not rotated where others are."""
    return part.rope_dim == 0 if words.turns_by_layer else part.window is None and words.unrotated


def turned(tape: Tape, micro: MicroBatch, part: GQA, heads: dict[str, Value]) -> list[Value]:
    """Rotate queries and keys, if the layer does; return what lives until attention returns."""
    words = micro.architecture
    width = words.rotated or part.rope_dim or part.head_dim
    grad = heads["q"].grad or heads["k"].grad
    held = looked_up(tape, micro, width, grad=grad) if words.rows else []
    if words.rope == "none" or is_still(words, part):
        return held
    kind = f"RoPE, window {part.window}" if words.tables_by_kind else "RoPE"
    if words.rope == "both woven":
        tables = rope_tables(tape, micro, width, kind)
        heads["q"], heads["k"] = both_woven(tape, micro, (heads["q"], heads["k"]), tables)
        return held
    before, named = [heads["q"], heads["k"]], bool(held) or words.named_parts
    for name in ("k", "q") if words.keys_first else ("q", "k"):
        tables = rope_tables(tape, micro, width, kind, name)
        given = heads[name]
        heads[name] = rotate(tape, micro, given, tables, name)
        if named and given.grad:  # so do what is given, and what turned, the first of what is joined
            held += (given.storage, tape.operations[-1].inputs[0])
    for name in ("q", "k") if words.wide_tables else ():
        heads[name] = tape.cast(heads[name], micro.low_bytes, f"{name} rotated")
    for value in before:
        tape.refer(value)
    return held


def answered(tape: Tape, micro: MicroBatch, part: GQA, x: Value, heads: dict[str, Value]) -> Value:
    """Attend, and project back."""
    given = heads["q"], heads["k"], heads["v"]
    out = attend(tape, micro, part, given)
    out.shape = (x.shape[0], x.shape[1], part.heads * part.head_dim)
    if part.gated:
        bent = tape.like(heads["gate"], "sigmoid of the gate")
        tape.record("sigmoid", (heads["gate"],), bent, (bent,))
        out = tape.multiply(out, bent, "attention output, gated")
    name = "self_attn.o_proj"
    result = matrix(tape, micro, name, out, part.width, bias=part.out_bias, region="hidden", cut="inner")
    for value in given:  # what kernels narrow is held until attention returns
        if value.element_bytes > micro.low_bytes:
            tape.refer(value)
    return result
