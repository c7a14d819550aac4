"""LoRA's adapters as PEFT 0.21 runs them: beside a linear layer, or folded into the matrices of experts.

Read in peft/tuners/lora/layer.py (Linear, ParamWrapper), bnb.py and dora.py; held against autograd in
tests/test_saved.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.training.autograd.tape import AUTOCAST, CACHED, MatrixStorage

if TYPE_CHECKING:
    from memcalc.training.autograd.base import Adapter, MicroBatch
    from memcalc.training.autograd.tape import Tape, Value

__all__ = ["Factors", "beside", "embed", "fold", "fold_router"]


def beside(
    tape: Tape,
    micro: MicroBatch,
    name: str,
    ends: tuple[Value, Value],
    *,
    region: str | None,
    cut: str | None,
    by: str | None,
) -> Value:
    """Multiply by the two low-rank matrices of an adapter, and add what comes out to the layer's output.

    PEFT's adapter copies the input to its own numbers, each adapter for itself, drops some of them, and adds
    its output in them. For a matrix that is quantised (peft/tuners/lora/bnb.py) it copies that one's output
    first, and narrows its own before it adds, unless autocast is on: then it copies no input. bitsandbytes'
    MatMul4Bit keeps nothing of the input, and makes the matrix's numbers again to run backwards. Beside
    AWQ an adapter is the same but for the copy (awq.py), beside GPTQ as at any linear layer (gptq.py).
    """
    (x, out), adapter = ends, micro.adapters[name.rpartition(".")[2]]
    width, columns = adapter.element_bytes, out.shape[-1]
    if by == "bitsandbytes":
        out = tape.record("clone", (out,), tape.like(out, f"{name} output, copied"), aliased=True)
    packed = by in ("bitsandbytes", "awq")
    copied = AUTOCAST if width != 2 else ("x",) if packed and x.element_bytes != 2 else ()
    stored = MatrixStorage(copied if micro.autocast else ())
    own = x if packed and micro.autocast else tape.cast(x, width, f"{name} input for its adapter")
    dropped = tape.dropout(own, micro.adapter_dropout, f"{name} input after dropout")
    first, last = (None, cut) if region != "hidden" else (cut, None)  # which one is cut with its matrix
    if adapter.dora:
        passing = weight_norm(tape, micro, name, (x, out), adapter)
        factor = magnitude_by_norm(tape, name, columns, width)
    down = tape.linear(
        f"{name}.lora_A", dropped, adapter.lora_rank, trained=True, region="hidden", cut=first, stored=stored
    )
    tape.refer(dropped)  # so does who calls the first one
    up = tape.linear(f"{name}.lora_B", down, columns, trained=True, region=region, cut=last, stored=stored)
    if adapter.dora:
        for held in x, own, out:  # by its callers
            tape.refer(held)
        again = dropped is not own
        base = multiplied_again(tape, name, dropped, out, narrow=bool(stored.copied)) if again else out
        up = magnified(tape, name, factor, base, up)
        for held in passing:
            tape.refer(held)
    else:
        up = scaled(tape, name, up)
    if packed and not micro.autocast:
        up = tape.cast(up, out.element_bytes, f"{name}.lora_B as wide as the output")
    result = tape.cast(tape.add(out, up, f"{name} with its adapter"), out.element_bytes, f"{name} result")
    for held in () if adapter.dora else (x, own):  # PEFT's forward, and who calls it, until it returns
        tape.refer(held)
    return result


def scaled(tape: Tape, name: str, up: Value) -> Value:
    """Multiply an adapter's output by a number."""
    return tape.record("scale", (up,), tape.like(up, f"{name}.lora_B scaled"))


def weight_norm(
    tape: Tape, micro: MicroBatch, name: str, ends: tuple[Value, Value], adapter: Adapter
) -> list[Value]:
    """Compute the norm of each row of matrix and adapter; return what lives until DoRA's forward returns.

    The adapter's product is made of an identity matrix, as large as the input is wide, squared; no graph is
    kept of it beyond.
    """
    inner, columns = (end.shape[-1] for end in ends)
    rank, width, _ = adapter
    low = 2 if micro.autocast else width

    def held(what: str, numbers: int, size: int) -> Value:
        value = tape.value(f"{name}: {what}", (numbers,), size, grad=False, region="weight")
        return tape.hold(value, grad=True)

    whole = inner * columns
    if low != width:
        wide, copies = held("identity", inner**2, width), held("autocast's", rank * (inner + columns), low)
    lasting = [held("identity", inner**2, low), held("identity x lora_A", inner * rank, low)]
    if low != width:
        narrow = held("product in 16 bits", whole, low)
        tape.refer(wide)
    lasting.append(held("product", whole, width))
    if low != width:
        tape.refer(narrow)
    lasting += [held("matrix, copied", whole, width)] if width != micro.element_bytes else []
    times = held("product, scaled", whole, width)
    held("matrix and product", whole, width)
    for value in (times, *([copies] if low != width else [])):
        tape.refer(value)
    return lasting


def multiplied_again(tape: Tape, name: str, x: Value, out: Value, *, narrow: bool) -> Value:
    """Multiply what dropout left by a copy of the matrix, which is kept for the gradient of the input."""
    x = tape.cast(x, 2, f"{name} input in 16 bits") if narrow else x
    width, columns = x.element_bytes, out.shape[-1]
    matrix = tape.value(f"{name}, copied", (x.shape[-1], columns), width, grad=False, region="weight")
    base = tape.value(f"{name} output after dropout", out.shape, width, grad=x.grad, region=out.region)
    return tape.record("multiply", (x,), base, (matrix,))


def magnitude_by_norm(tape: Tape, name: str, columns: int, width: int) -> Value:
    """Divide each row's magnitude by its norm, through which no gradient flows."""
    magnitude = tape.weight(f"{name}.lora_magnitude_vector", (columns,), width, trained=True)
    norm = tape.value(f"{name}: norm of its rows", (columns,), width, grad=False, region="weight")
    return tape.record("divide", (magnitude,), tape.like(magnitude, f"{name}: magnitude / norm"), (norm,))


def magnified(tape: Tape, name: str, factor: Value, out: Value, up: Value) -> Value:
    """Multiply the adapter's output by magnitude / norm, and add (magnitude / norm - 1) of the matrix's."""
    less = tape.record(
        "subtract", (factor,), tape.like(factor, f"{name}: magnitude / norm - 1"), aliased=True
    )
    base = by_rows(tape, f"{name} output, magnified", out, less)
    more = by_rows(tape, f"{name}.lora_B magnified", up, factor)
    return tape.add(base, scaled(tape, name, more), f"{name}: DoRA's")


def by_rows(tape: Tape, name: str, x: Value, factor: Value) -> Value:
    """Multiply by a vector: its gradient is summed while both are as large as the result."""
    wide = tape.like(x, name, max(x.element_bytes, factor.element_bytes), grad=True)
    own = x.bytes if x.grad else wide.bytes
    keeps = (x, *((factor,) if x.grad else ()))
    return tape.record("multiply", (x, factor), wide, keeps, beside=2 * wide.bytes - own)


def embed(tape: Tape, micro: MicroBatch, vocab: int, width: int) -> Value:
    """Look tokens up in the embedding's first low-rank matrix, multiply by the second, add to the stream.

    It has no dropout, and keeps the numbers that were looked up; the first one's gradient is copied into the
    order of its storage. Embedded tokens that are asked for a gradient live as long as the loss.
    """
    adapter, tape.module = micro.adapters["embed_tokens"], "model.embed_tokens"
    tokens, (rank, wide, _) = (micro.batch, micro.seq), adapter
    x = tape.value("embedded tokens", (*tokens, width), micro.element_bytes, grad=micro.embeds_grad)
    found = tape.value("tokens in lora_embedding_A", (*tokens, rank), wide, grad=True)
    table = tape.value("lora_embedding_A, turned", (vocab, rank), wide, grad=True, region="weight")
    tape.record("turn", (), table, (x,) if x.grad else (), weight_bytes=table.bytes if tape.fresh else 0)
    tape.record("embedding", (table,), found)
    stored = MatrixStorage(AUTOCAST if micro.autocast and wide != 2 else ())
    up = tape.linear("model.embed_tokens.lora_embedding_B", found, width, trained=True, stored=stored)
    up = tape.record("scale", (up,), tape.like(up, "embedding's adapter, scaled"))
    if up.element_bytes == x.element_bytes:  # their gradient is a copy of that of the sum
        view = tape.like(x, x.name)
        view.of = x
        x = tape.record("view", (x,), view)
    return tape.cast(tape.add(x, up, "embedded tokens with the adapter"), x.element_bytes, "stream")


class Factors:
    """The two factors of a stack of matrices, in the numbers of these: views of the adapter, or copies."""

    def __init__(self, tape: Tape, name: str, adapter: Adapter, shape: tuple[int, int, int]) -> None:
        experts, rows, columns = shape
        self.name, self.shape, self.narrow = name, shape, adapter.element_bytes != 2
        sizes = {
            "lora_B": experts * rows * adapter.lora_rank,
            "lora_A": experts * adapter.lora_rank * columns,
        }
        self.values = []
        for letter, numbers in sizes.items():
            value = tape.value(f"{name}.{letter}, by experts", (numbers,), 2, grad=True, region="weight")
            size = numbers * adapter.element_bytes
            turned = letter == "lora_B"  # its gradient is copied into the order of the storage
            if self.narrow:
                tape.record("cast", (), value, weight_bytes=size, beside=value.bytes if turned else 0)
            else:
                # that of the other one is the gradient of the factor itself, which stays
                tape.record("turn", (), value, weight_bytes=size, beside=0 if turned else -size)
            self.values.append(value)


def fold(tape: Tape, factors: Factors) -> Value:
    """Add the product of the factors to a stack of matrices: a second one, as large as the first."""
    merged = tape.value(f"{factors.name} with its adapter", factors.shape, 2, grad=True, region="weight")
    keeps = factors.values if factors.narrow else ()
    return tape.record("baddbmm", factors.values, merged, keeps)


def fold_router(tape: Tape, micro: MicroBatch, adapter: Adapter, shape: tuple[int, int]) -> Value:
    """Add the product of the factors to the router's matrix, step by step."""
    rows, columns = shape
    width, rank = adapter.element_bytes, adapter.lora_rank
    copied = micro.autocast and width != 2
    copies = []
    for letter, numbers in (("lora_A", rank * columns), ("lora_B", rows * rank)):
        if copied:
            value = tape.value(f"mlp.gate.{letter} in 16 bits", (numbers,), 2, grad=True, region="weight")
            copies.append(tape.record(CACHED, (), value, weight_bytes=numbers * width))
    own = 0 if copied else rank * (rows + columns) * width
    wide = 2 if copied else width
    product = tape.value("mlp.gate: product of its adapter", shape, wide, grad=True, region="weight")
    tape.record("product", copies, product, copies, weight_bytes=own)
    scaled = tape.record("scale", (product,), tape.like(product, "mlp.gate: product, scaled"))
    stored = 4 if micro.architecture.has_wide_router else 2
    scaled = tape.cast(scaled, stored, "mlp.gate: product, as wide as the matrix")
    merged = tape.like(scaled, "mlp.gate with its adapter")
    return tape.record("add", (scaled,), merged, aliased=True)
