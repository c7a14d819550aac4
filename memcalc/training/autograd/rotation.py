"""Rotation of queries and keys as the classes of transformers compute it, operation by operation."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memcalc.training.autograd.base import MicroBatch
    from memcalc.training.autograd.tape import Tape, Value

__all__ = ["OWN_TABLES", "both_woven", "halves", "in_pairs", "looked_up", "rope_tables", "rotate"]


IN_PART = ("joined", "turned in part")  # what does not turn is cut away, and joined again
TURNED = ("woven", "turned", "turned in part")  # each even number against the odd one behind
OWN_TABLES = TURNED  # each layer makes tables of those that are handed to it


def rope_tables(tape: Tape, micro: MicroBatch, width: int, kind: str = "RoPE", name: str = "") -> list[Value]:
    """Return the cosines and sines, for all layers of a kind and all sequences together.

    They are as wide as the stream, or have 32 bits; of a complex number there is one table. `name` says what
    they rotate, where queries and keys have tables of their own.
    """
    words = micro.architecture
    if words.rope in OWN_TABLES:  # no derivative needs those handed in, but checkpoints hold them
        own = micro.low_bytes if words.keys_first else micro.element_bytes  # GPT-J's are as wide as its heads
        shape, size = (1, micro.seq, width), 4 if words.rope == "woven" else own
        made = partial(tape.value, shape=shape, element_bytes=size, grad=False, region="whole")
        of = f" of {name}" if words.keys_first else ""
        return [tape.mark(f"{what}{of}, each twice", made) for what in ("cosines", "sines")]
    element_bytes = 4 if words.wide_tables else micro.element_bytes
    width = width // 2 if words.rope == "two" else width
    names, size = (("turns",), 8) if words.rope == "complex" else (("cosines", "sines"), element_bytes)
    sequences = micro.batch if words.tables_by_sequence else 1
    shape = (sequences, micro.seq, width // 2 if words.rope == "complex" else width)
    return tape.share(
        kind, lambda: [tape.value(f"RoPE {name}", shape, size, grad=False, region="whole") for name in names]
    )


def looked_up(tape: Tape, micro: MicroBatch, width: int, *, grad: bool) -> list[Value]:
    """Return what a layer makes to look sines and cosines up: all rows, ids, and those that it finds.

    It lives until attention returns, and is made again if a gradient flows through queries or keys.
    """
    sizes = {"all sines and cosines": (micro.architecture.rows, 4), "ids of positions": (micro.seq, 8)}
    sizes["sines and cosines"] = micro.seq, micro.element_bytes
    return [
        tape.hold(tape.value(what, (rows, width), size, grad=False, region="whole"), grad=grad)
        for what, (rows, size) in sizes.items()
    ]


def rotate(tape: Tape, micro: MicroBatch, x: Value, tables: list[Value], name: str) -> Value:
    """Rotate heads in the way of the architecture."""
    how = micro.architecture.rope
    if how in IN_PART:
        return joined(tape, micro, x, tables, name)
    if how == "pairs":
        return in_pairs(tape, micro, x, tables, name)
    if how == "two":
        return in_two(tape, x, tables, name)
    if how in TURNED:
        return woven(tape, micro, x, tables, name)
    if how == "complex":
        return as_complex(tape, x, tables, name)
    return halves(tape, micro, x, tables, name)


def halves(tape: Tape, micro: MicroBatch, x: Value, tables: list[Value], name: str) -> Value:
    """Rotate one half of a head against the other, in its own numbers or the tables', whichever are wider."""
    del micro
    turned = tape.like(x, f"{name} after RoPE", max(x.element_bytes, tables[0].element_bytes))
    products = [
        tape.hold(tape.like(turned, f"{name} x {what}", grad=False), grad=x.grad) for what in ("cos", "sin")
    ]
    tape.record("rope", (x,), turned, tables, beside=turned.bytes + x.bytes)
    for value in products:
        tape.refer(value)
    return turned


def joined(tape: Tape, micro: MicroBatch, x: Value, tables: list[Value], name: str) -> Value:
    """Cut out what turns, rotate it, and join it with what passes, even if nothing does."""
    rotated = tables[0].shape[-1]
    turns = tape.slice(x, (*x.shape[:-1], rotated), f"{name}, what turns")
    passes = tape.slice(x, (*x.shape[:-1], x.shape[-1] - rotated), f"{name}, what passes")
    turn = woven if micro.architecture.rope in TURNED else halves
    turned = turn(tape, micro, turns, tables, name)
    whole = tape.like(x, f"{name} joined", max(turned.element_bytes, x.element_bytes))
    return tape.record("join", (turned, passes), whole, aliased=True)


def by_table(tape: Tape, x: Value, table: Value, name: str) -> Value:
    """Multiply by cosines or sines."""
    x = tape.promote(x, max(x.element_bytes, table.element_bytes))
    return tape.record("multiply", (x,), tape.like(x, name), (table,))


def in_pairs(tape: Tape, micro: MicroBatch, x: Value, tables: list[Value], name: str) -> Value:
    """Rotate each even number against the odd one behind it: four products, a difference and a sum."""
    del micro
    cosines, sines = tables
    half = (*x.shape[:-1], x.shape[-1] // 2)
    even, odd = tape.slice(x, half, f"{name}, even"), tape.slice(x, half, f"{name}, odd")
    first, second = by_table(tape, even, cosines, "even x cos"), by_table(tape, odd, sines, "odd x sin")
    negative = tape.record("negate", (second,), tape.like(second, "- odd x sin"))
    low = tape.add(first, negative, f"{name}, first half")
    third, fourth = by_table(tape, odd, cosines, "odd x cos"), by_table(tape, even, sines, "even x sin")
    high = tape.add(third, fourth, f"{name}, second half")
    return tape.record("join", (low, high), tape.like(x, f"{name} after RoPE"), aliased=True)


def in_two(tape: Tape, x: Value, tables: list[Value], name: str) -> Value:
    """Rotate two halves that are cut apart: four products, a difference and a sum (gpt-oss)."""
    cosines, sines = tables
    half = (*x.shape[:-1], x.shape[-1] // 2)
    first, second = tape.split(x, {f"{name}, first half": half, f"{name}, second half": half})
    one, two = by_table(tape, first, cosines, "first x cos"), by_table(tape, second, sines, "second x sin")
    negative = tape.record("negate", (two,), tape.like(two, "- second x sin"))
    low = tape.add(one, negative, f"{name}, first half turned")
    three, four = by_table(tape, second, cosines, "second x cos"), by_table(tape, first, sines, "first x sin")
    high = tape.add(three, four, f"{name}, second half turned")
    return tape.record("join", (low, high), tape.like(x, f"{name} after RoPE"), aliased=True)


def woven(tape: Tape, micro: MicroBatch, x: Value, tables: list[Value], name: str) -> Value:
    """Rotate each even number against the odd one behind it: in 32 bits, or in the stream's numbers."""
    cosines, sines = tables
    wide = micro.architecture.rope == "woven"
    width = 4 if wide else x.element_bytes
    first = by_table(tape, tape.cast(x, width, f"{name} in fp32"), cosines, f"{name} x cos")
    half = (*x.shape[:-1], x.shape[-1] // 2)
    even, odd = tape.slice(x, half, f"{name}, even"), tape.slice(x, half, f"{name}, odd")
    negative = tape.record("negate", (odd,), tape.like(odd, f"{name}, - odd"))
    turned = tape.record("stack", (negative, even), tape.like(x, f"{name}, turned"), aliased=True)
    second = by_table(tape, tape.cast(turned, width, f"{name}, turned, in fp32"), sines, f"{name} x sin")
    turned = tape.add(first, second, f"{name} after RoPE")
    return tape.cast(turned, x.element_bytes, f"{name} rotated") if wide else turned


def both_woven(
    tape: Tape, micro: MicroBatch, heads: tuple[Value, Value], tables: list[Value]
) -> tuple[Value, Value]:
    """Rotate queries and keys as `woven`, but each step is taken for both, and all in 32 bits (Cohere)."""
    wide = [tape.cast(x, 4, f"{name} in fp32") for x, name in zip(heads, "qk", strict=True)]
    turned = [woven(tape, micro, x, tables, name) for x, name in zip(wide, "qk", strict=True)]
    q, k = (tape.cast(x, micro.low_bytes, f"{name}, narrowed") for x, name in zip(turned, "qk", strict=True))
    for held in (*heads, *wide):  # by code that runs, until both are returned
        tape.refer(held)
    return q, k


def as_complex(tape: Tape, x: Value, tables: list[Value], name: str) -> Value:
    """Rotate pairs as complex numbers of 32 bits each, and narrow them again."""
    wide = tape.cast(x, 4, f"{name} in fp32")
    turned = tape.record("multiply", (wide,), tape.like(wide, f"{name} turned"), tables)
    return tape.cast(turned, x.element_bytes, f"{name} after RoPE")
