"""Attention of heads as transformers 5.23 runs it: projections, norms of heads, rotation, kernel or products.

Read in transformers/models/llama/modeling_llama.py and those of the types in architectures.py.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from memcalc.training.autograd.matrices import matrix
from memcalc.training.autograd.norms import norm, softcapped
from memcalc.training.autograd.rotation import rope_tables, rotate

if TYPE_CHECKING:
    from memcalc.ledger.parts import GQA
    from memcalc.training.autograd.base import MicroBatch
    from memcalc.training.autograd.tape import Tape, Value

__all__ = ["attend", "attention", "by_products"]


JOINED = ("joined", "two", "turned in part")


def is_one(number: int) -> bool:
    """Say whether there is one sequence, or one head; in a sweep the number says it itself."""
    return number == 1 if type(number) is int else number.is_one()  # type: ignore[attr-defined]


def attend(tape: Tape, micro: MicroBatch, part: GQA, inputs: tuple[Value, Value, Value]) -> Value:
    """Attention itself: one kernel that keeps its inputs, its output and a number a row; or step by step."""
    tape.module = "core_attn"
    q, k, v = inputs
    # one head serves as many without a copy; products of several sequences copy it
    views = part.kv_heads == 1 and (micro.attention != "eager" or is_one(micro.batch))
    if micro.repeat_kv and part.kv_heads != part.heads and not views:
        shape = (*q.shape[:-1], part.head_dim)
        repeated = []
        for x, name in ((k, "keys"), (v, "values")):
            many = tape.value(f"{name} of all heads", shape, x.element_bytes, grad=x.grad, region="inner")
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
        if (
            v.of is not None and not is_one(batch) and not is_one(heads)
        ):  # no view has them sequence by sequence
            v = tape.record("copy", (v,), tape.like(v, "values, copied"), aliased=True)
        by_products(tape, micro, (q, k, v), out, square=(batch, heads, seq, seq))
    else:
        rows = tape.value("log-sum-exp", (batch, seq, heads), 4, grad=False, region="inner")
        keeps = [q, k, v, out, rows]
        if micro.attention == "flash":
            keeps.append(tape.value("state of the random numbers", (24,), 1, grad=False, region="whole"))
        tape.record("attention", (q, k, v), out, keeps)
        if micro.architecture.rope in JOINED and not is_one(part.heads):
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
    scores = tape.value("scores", square, q.element_bytes, grad=q.grad or k.grad, region="inner")
    keeps = [*((k,) if q.grad else ()), *((q,) if k.grad else ())]
    tape.record("scores", (q, k), scores, keeps, beside=scores.bytes)
    if micro.architecture.softcap:
        scores = softcapped(tape, scores)
    if micro.architecture.sinks:
        weights = with_sinks(tape, micro, scores)
    else:
        wide = tape.like(scores, "softmax in fp32", 4)
        late = wide.bytes + scores.bytes if scores.element_bytes < 4 else 0  # the gradient is narrowed
        tape.record("softmax", (scores,), wide, (wide,), beside=wide.bytes - scores.bytes, late=late)
        weights = tape.cast(wide, q.element_bytes, "attention weights")
    if micro.dropout:
        mask = tape.value("attention dropout mask", square, 1, grad=False, region="inner")
        dropped = tape.like(weights, "attention weights after dropout")
        weights = tape.record("dropout", (weights,), dropped, (mask,))
    keeps = [*((v,) if weights.grad else ()), *((weights,) if v.grad else ())]
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
    heads = projected(tape, micro, part, x)
    if part.qk_norm and micro.architecture.late_norms:
        for name in "q", "k":
            heads[name] = head_norm(tape, micro, part, name, heads[name])
    if not (part.window is None and micro.architecture.unrotated):
        kind = f"RoPE, window {part.window}" if micro.architecture.tables_by_kind else "RoPE"
        tables = rope_tables(tape, micro, part.rope_dim or part.head_dim, kind)
        for name in "q", "k":
            heads[name] = rotate(tape, micro, heads[name], tables, name)
    if part.qk_norm and micro.architecture.rotated_first:
        for name in "q", "k":
            heads[name] = head_norm(tape, micro, part, name, heads[name])
    if micro.architecture.scaled_queries:
        scale = tape.value(
            "scale of each query", (1, micro.seq, 1, 1), micro.low_bytes, grad=False, region="whole"
        )
        q = heads["q"]
        heads["q"] = tape.record("scale", (q,), tape.like(q, "q, scaled"), (scale,))
    out = attend(tape, micro, part, (heads["q"], heads["k"], heads["v"]))
    out.shape = (x.shape[0], x.shape[1], part.heads * part.head_dim)
    name = "self_attn.o_proj"
    return matrix(tape, micro, name, out, part.width, bias=part.out_bias, region="hidden", cut="inner")


def projected(tape: Tape, micro: MicroBatch, part: GQA, x: Value) -> dict[str, Value]:
    """Return queries, keys and values by heads: by three matrices or one, with norms that are not late."""
    numbers = {"q": part.heads, "k": part.kv_heads, "v": part.kv_heads}
    shapes = {name: (*x.shape[:-1], number, part.head_dim) for name, number in numbers.items()}
    outer = partial(matrix, tape, micro, x=x, bias=part.qkv_bias, region="inner", cut="inner")
    if "qkv" in micro.architecture.fused:
        together = outer("self_attn.qkv_proj", columns=sum(numbers.values()) * part.head_dim)
        if micro.architecture.cut_at_once:
            return dict(zip(shapes, tape.split(together, shapes), strict=True))
        return {name: tape.slice(together, shape, name) for name, shape in shapes.items()}
    heads: dict[str, Value] = {}
    for name, number in numbers.items():
        flat = outer(f"self_attn.{name}_proj", columns=number * part.head_dim)
        flat.shape = shapes[name]  # a view: the same storage
        words = micro.architecture
        early = part.qk_norm and name != "v" and not (words.late_norms or words.rotated_first)
        heads[name] = head_norm(tape, micro, part, name, flat) if early else flat
    return heads


def head_norm(tape: Tape, micro: MicroBatch, part: GQA, name: str, x: Value) -> Value:
    """Normalise the heads of queries or keys, each by itself or all together."""
    shape = x.shape
    if part.qk_norm_whole:
        x.shape = (*shape[:-2], shape[-2] * shape[-1])
    out = norm(tape, micro, f"self_attn.{name}_norm", x)
    out.shape = shape
    return out
