"""Drawings of matrices: how one is quantised, how ranks cut a layer's, what an adapter adds to one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.ledger.formats import format_named
from memcalc.ledger.tensor import ceil_div, product
from memcalc.show.drawings.models import dimensions
from memcalc.show.drawings.pen import LINE, WIDTH, Sheet, width_of

if TYPE_CHECKING:
    from memcalc.ledger.formats import Format
    from memcalc.ledger.model import Model
    from memcalc.ledger.tensor import Tensor
    from memcalc.show.pictures import Picture

__all__ = ["adapter", "cut", "quantised"]

TINTS = (1, 0.65, 0.4, 0.25)


def quantised(name: str, rows: int, columns: int) -> Picture:
    """Draw a matrix as its format stores it: blocks of codes, and what comes with each block.

    Parameters
    ----------
    name : str
        A format, as `memcalc.serve` takes it.
    rows, columns : int
        The outputs and the inputs of the matrix.

    """
    form = format_named(name)
    pieces = [(piece.name, ceil_div(piece.bits, 8)) for piece in form.pieces(rows, columns)]
    whole, plain = form.bytes(rows, columns), 2 * rows * columns
    bits = 8 * whole / (rows * columns)
    said = ", ".join(f"{piece} {size:,} bytes" for piece, size in pieces)
    sheet = Sheet(f"A matrix of {rows:,} × {columns:,} in {name}: {said}; {bits:.3f} bits a number.")
    sheet.heading(name, f"{rows:,} × {columns:,}, {bits:.3f} bits a number")
    if not form.is_plain:
        corner(sheet, form, rows, columns)
    tints = (*TINTS[: len(pieces)], 0.1)
    for (piece, size), tint in zip([*pieces, ("in 16 bits", plain)], tints, strict=True):
        sheet.y += LINE
        sheet.text(1, sheet.y - 5, piece)
        sheet.text(WIDTH - 1, sheet.y - 5, f"{size:,} bytes", anchor="end")
        sheet.rect(1, sheet.y, max(0.5, (WIDTH - 2) * size / plain), 10, "weights", tint=tint)
        sheet.y += 14
    return sheet.picture()


def corner(sheet: Sheet, form: Format, rows: int, columns: int) -> None:
    """Draw the first blocks of a matrix, and say how many there are."""
    down, across = form.rows_per_scale or rows, form.columns_per_scale or columns
    shown, count = min(3, ceil_div(columns, across)), form.blocks(rows, columns)
    high = 22 if down == 1 else 44
    pitch = (WIDTH - 22) / shown
    for row in range(3 if down == 1 else min(2, ceil_div(rows, down))):
        for place in range(shown):
            x, y = 1 + pitch * place, sheet.y + 4 + (high + 5) * row
            words = f"{down:,} × {across:,}" if width_of(f"{down:,} × {across:,}") < pitch - 24 else ""
            sheet.box(x, y, pitch - 18, high, [words] if words else [], colour="weights")
            if form.scale_bits:
                sheet.rect(x + pitch - 15, y + high / 2 - 5, 10, 10)
        sheet.text(WIDTH - 1, sheet.y + 8 + high / 2 + (high + 5) * row, "…", anchor="end")
    sheet.y += 4 + (high + 5) * (3 if down == 1 else min(2, ceil_div(rows, down)))
    beside = [f"{form.scale_bits} bits of scale"] if form.scale_bits else []
    beside += [f"{form.zero_bits} of zero point"] if form.zero_bits else []
    said = f"the square beside each: {' and '.join(beside)}"
    if form.block_bytes:
        said = f"each takes {form.block_bytes} bytes, its scales among them"
    sheet.note(f"{count:,} blocks of {form.bits}-bit codes; {said}.")
    sheet.y += 4


def cut(model: Model, ranks: int) -> Picture:
    """Draw the matrices of a layer to scale, and the part of each that one tensor-parallel rank holds.

    Parameters
    ----------
    model : Model
        What `memcalc.model` returned; its first layer is drawn.
    ranks : int
        Tensor-parallel ranks.

    """
    layer = model.groups[0]
    found = [one for one in layer.weights() if len(one.shape) == 2 and one.active_experts is None]
    said = "; ".join(
        f"{name_of(one)} {dimensions(one)} to {dimensions(one.on_rank(tp=ranks))}" for one in found
    )
    sheet = Sheet(f"A layer of {model.name} on {ranks} tensor-parallel ranks: {said}.")
    sheet.heading(model.name.rpartition("/")[2], f"one layer, {ranks} ranks")
    gap = max(6.0, *(width_of(name_of(one)) - 20 for one in found)) if found else 6.0
    scale = (WIDTH - 2 - gap * (len(found) - 1)) / sum(product(one.shape[1]) for one in found)
    tallest = max(product(one.shape[0]) for one in found) * scale
    sheet.y += 4
    x = 1.0
    for one in found:
        high, wide = (product(size) * scale for size in one.shape)
        sheet.box(x, sheet.y + tallest - high, wide, high, colour="weights", tint=0.15)
        mine = [product(size) * scale for size in one.on_rank(tp=ranks).shape]
        sheet.rect(x, sheet.y + tallest - high, mine[1], mine[0], "weights")
        sheet.text(x + wide / 2, sheet.y + tallest + 14, name_of(one), anchor="middle")
        x += wide + gap
    sheet.y += tallest + 22
    for one in found:
        sheet.y += LINE
        sheet.text(1, sheet.y - 5, name_of(one), bold=True)
        axis = {0: "outputs", 1: "inputs", None: "nothing"}[one.shard_axis]
        sheet.text(44, sheet.y - 5, f"{dimensions(one)} → {dimensions(one.on_rank(tp=ranks))}")
        sheet.text(WIDTH - 1, sheet.y - 5, axis, anchor="end", faint=True)
    sheet.note("Filled: what the first rank holds. At the right: what is cut.")
    return sheet.picture()


def name_of(tensor: Tensor) -> str:
    """Return the short name of a matrix: q, gate, down."""
    return tensor.name.removesuffix(".weight").rpartition(".")[2].removesuffix("_proj")


def adapter(model: Model, rank: int) -> Picture:
    """Draw a frozen matrix, the first layer's first, and the two thin ones of a LoRA adapter, to scale.

    Parameters
    ----------
    model : Model
        What `memcalc.model` returned.
    rank : int
        Rank of the adapter.

    """
    frozen = next(one for one in model.groups[0].weights() if len(one.shape) == 2)
    rows, columns = (product(size) for size in frozen.shape)
    added = rank * (rows + columns)
    share = 100 * added / (rows * columns)
    name = name_of(frozen)
    words = f"{rows * columns:,} frozen numbers, {added:,} trained ones, {share:.2f} %"
    size = f"{rows:,} × {columns:,}"
    sheet = Sheet(f"{name}_proj of {model.name}, {size}, with an adapter of rank {rank}: {words}.")
    sheet.heading(f"LoRA of rank {rank}", f"{name}_proj of {model.name.rpartition('/')[2]}")
    scale = 170 / max(rows, columns)
    high, wide, thin = rows * scale, columns * scale, max(1.5, rank * scale)
    top = sheet.y + 6
    sheet.box(1, top, wide, high, [f"{rows:,} × {columns:,}", "frozen"], colour="weights")
    x = wide + 40
    sheet.plus(wide + 20, top + high / 2)
    sheet.rect(x, top, thin, high, "optimizer")
    sheet.text(x + 8, top + 14, f"lora_B: {rows:,} × {rank}")
    sheet.rect(x + 8, top + high / 2, min(wide, WIDTH - x - 10), thin, "optimizer")
    sheet.text(x + 8, top + high / 2 + 20, f"lora_A: {rank} × {columns:,}")
    sheet.text(x + 8, top + high / 2 + 36, "trained")
    sheet.y = top + high + 4
    for said, count in (("frozen", rows * columns), ("trained", added)):
        sheet.y += LINE
        sheet.text(1, sheet.y - 5, f"{said}: {count:,} numbers")
        sheet.text(WIDTH - 1, sheet.y - 5, f"{2 * count:,} bytes in 16 bits", anchor="end")
    sheet.note(f"{share:.2f} % of the numbers get a gradient and optimizer states.")
    return sheet.picture()
