"""Queries, keys and values by heads, as the classes of transformers 5.23 make them of the stream."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from memcalc.training.autograd.matrices import matrix
from memcalc.training.autograd.norms import norm
from memcalc.training.autograd.rotation import rope_tables, rotate

if TYPE_CHECKING:
    from collections.abc import Callable

    from memcalc.ledger.parts import GQA
    from memcalc.training.autograd.base import MicroBatch
    from memcalc.training.autograd.tape import Tape, Value

    Shapes = dict[str, tuple[int, ...]]
    Cut = Callable[[Tape, GQA, Value, Shapes], dict[str, Value]]

__all__ = ["head_norm", "one_by_one", "projected"]


def at_once(tape: Tape, part: GQA, together: Value, shapes: Shapes) -> dict[str, Value]:
    """Return three views whose gradients are joined."""
    del part
    return dict(zip(shapes, tape.split(together, shapes), strict=True))


def apart(tape: Tape, part: GQA, together: Value, shapes: Shapes) -> dict[str, Value]:
    """Return three views, each with a gradient as large as the whole."""
    del part
    return {name: tape.slice(together, shape, name) for name, shape in shapes.items()}


def picked(tape: Tape, part: GQA, together: Value, shapes: Shapes) -> dict[str, Value]:
    """Return a view of the queries, and one key and one value that are picked by a list of one index."""
    del part
    found = {"q": tape.slice(together, shapes["q"], "q")}
    return found | {name: by_index(tape, together, shapes[name], name) for name in ("k", "v")}


def by_index(tape: Tape, together: Value, shape: tuple[int, ...], name: str) -> Value:
    """Return a copy of what a list of one index names: the index is kept.

    Backwards its gradient is written into a copy of zeros (routing.py says for which tensors torch makes it).
    """
    out = tape.value(name, shape, together.element_bytes, grad=together.grad, region=together.region)
    index = tape.value(f"index of {name}", (1,), 8, grad=False, region="whole")
    return tape.record("index", (together,), out, (index,), beside=together.bytes)


def spread(tape: Tape, part: GQA, together: Value, shapes: Shapes) -> dict[str, Value]:
    """Return copies: of the queries, and of keys and values for all queries that share them.

    Where all share one, views serve.
    """
    single = part.kv_heads == 1
    found = {"q": tape.slice(together, shapes["q"], "q")}
    if not single:
        found["q"] = tape.contiguous(found["q"], "queries, copied")
    one = {name: by_index(tape, together, shapes[name], name) for name in ("k", "v")}
    for name, x in one.items():
        every = tape.value(f"{name} of all heads", shapes["q"], x.element_bytes, grad=x.grad, region=x.region)
        if single:
            every.of = x
        found[name] = tape.record("repeat", (x,), every)
    return found


CUTS: dict[str, Cut] = {"at once": at_once, "apart": apart, "picked": picked, "spread": spread}


def one_by_one(tape: Tape, micro: MicroBatch, part: GQA, x: Value) -> dict[str, Value]:
    """Return queries first, normalised and rotated, then keys, then values, which are normalised, too.

    Keys and values may be made by one matrix.
    """
    kind = f"RoPE, window {part.window}"
    tables = rope_tables(tape, micro, part.head_dim, kind)

    def made(name: str, number: int) -> Value:
        flat = matrix(
            tape,
            micro,
            f"self_attn.{name}_proj",
            x,
            number * part.head_dim,
            bias=part.qkv_bias,
            region="inner",
            cut="inner",
        )
        flat.shape = (*x.shape[:-1], number, part.head_dim)
        return flat

    def turned(name: str, flat: Value) -> Value:
        return rotate(tape, micro, head_norm(tape, micro, part, name, flat), tables, name)

    queries = turned("q", made("q", part.heads))
    if part.borrows:
        keys, values = tape.handed[kind]
        return {"q": queries, "k": keys, "v": values}
    flat = made("k", part.kv_heads)
    values = flat if part.keys_are_values else made("v", part.kv_heads)
    keys = turned("k", flat)
    values = norm(tape, micro, "self_attn.v_norm", values, scaled=False)
    tape.handed[kind] = keys, values
    return {"q": queries, "k": keys, "v": values}


def projected(tape: Tape, micro: MicroBatch, part: GQA, x: Value) -> dict[str, Value]:
    """Return queries, keys and values by heads: by three matrices or one, with norms that are not late."""
    numbers = {"q": part.heads, "k": part.kv_heads, "v": part.kv_heads}
    shapes = {name: (*x.shape[:-1], number, part.head_dim) for name, number in numbers.items()}
    outer = partial(matrix, tape, micro, x=x, bias=part.qkv_bias, region="inner", cut="inner")
    if "qkv" in micro.architecture.fused:
        together = outer("self_attn.qkv_proj", columns=sum(numbers.values()) * part.head_dim)
        return CUTS[micro.architecture.cut](tape, part, together, shapes)
    heads: dict[str, Value] = {}
    for name, number in numbers.items():
        twice = 2 if name == "q" and part.gated else 1
        flat = outer(f"self_attn.{name}_proj", columns=twice * number * part.head_dim)
        words = micro.architecture
        if twice == 2:
            flat, gate = tape.split(flat, {"q": shapes[name], "gate": shapes[name]})
            heads["gate"] = tape.record("copy", (gate,), tape.like(gate, "gate in a row"), aliased=True)
            heads["gate"].shape = (*x.shape[:-1], number * part.head_dim)
        if name == "q" and words.scaled_queries == "number":
            flat = tape.record("scale", (flat,), tape.like(flat, "q, scaled"))
        if words.clamped_heads:
            flat = clamped(tape, flat, name)
        flat.shape = shapes[name]  # a view: the same storage
        early = part.qk_norm and name != "v" and not (words.late_norms or words.rotated_first)
        heads[name] = head_norm(tape, micro, part, name, flat) if early else flat
    return heads


def clamped(tape: Tape, x: Value, name: str) -> Value:
    """Clamp in place: a copy of what it was is kept, and two masks say what passes backwards."""
    before, after = tape.like(x, f"{name} before it is clamped"), tape.like(x, f"{name}, clamped")
    after.of = x.storage
    return tape.record("clamp in place", (x,), after, (before,), beside=2 * (x.bytes // x.element_bytes))


def head_norm(tape: Tape, micro: MicroBatch, part: GQA, name: str, x: Value) -> Value:
    """Normalise the heads of queries or keys, each by itself or all together."""
    shape = x.shape
    if part.qk_norm_whole:
        x.shape = (*shape[:-2], shape[-2] * shape[-1])
    out = norm(tape, micro, f"self_attn.{name}_norm", x)
    out.shape = shape
    return out
