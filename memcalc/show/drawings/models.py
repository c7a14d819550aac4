"""Drawings of a model: its layers with their shapes, its attention and what that caches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from memcalc.data.units import gib
from memcalc.ledger.model import everything
from memcalc.ledger.tensor import product
from memcalc.show.drawings.pen import LINE, WIDTH, Sheet, width_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.parts.plain import Part
    from memcalc.ledger.tensor import Tensor
    from memcalc.show.pictures import Picture

__all__ = ["attention", "dimensions", "experts", "keeps", "transformer"]

BOX, GAP, INSET = 38, 6, 18
ACROSS = 32  # query heads in a row: more would be dust on a phone


class Matrix(NamedTuple):
    """A box of the drawing: what it is called, and its shape."""

    name: str
    shape: str

    @property
    def least(self) -> float:
        """Units that its words need."""
        return max(width_of(self.name, bold=True), width_of(self.shape)) + 12


def transformer(model: Model) -> Picture:
    """Draw a model from its tokens to its logits: each matrix with its shape, and what is cached of a token.

    Parameters
    ----------
    model : Model
        What `memcalc.model` returned.

    """
    groups = ", ".join(f"{layer.times} x ({said(layer)})" for layer in model.groups)
    sheet = Sheet(f"{model.name}, {model.parameters:,} parameters: {groups}.")
    sheet.heading(model.name.rpartition("/")[2], f"{model.parameters:,} parameters")
    ends = dict(model.outside)
    after = [name for name in ends if not name.startswith("model.embed")]
    flow(sheet, [box for name in ends if name not in after for box in matrices(name, ends[name])])
    for layer in model.groups:
        down(sheet)
        frame_of(sheet, layer)
    down(sheet)
    last = [box for name in after for box in matrices(name, ends[name])]
    if model.tied:
        last.append(Matrix("lm_head", "the embedding again"))
    flow(sheet, last)
    sheet.note(
        "Shapes are outputs × inputs, as a checkpoint stores them; the line at the left is the "
        "residual stream."
    )
    sheet.legend(["weights", *remembered(model)])
    return sheet.picture()


def remembered(model: Model) -> list[str]:
    """Return the components that a model's tokens and sequences leave."""
    kinds = {tensor.kind for tensor in model.cache(1, 1)}
    return [name for kind, name in (("cache", "kv_cache"), ("state", "state")) if kind in kinds]


def said(layer: Layer) -> str:
    """Return a layer's matrices in words."""
    boxes = [box for name, part in layer.parts for box in matrices(name, part)]
    return ", ".join(f"{box.name} {box.shape}" for box in boxes)


def dimensions(tensor: Tensor) -> str:
    """Return a shape as people write it."""
    return " × ".join(f"{product(axis):,}" for axis in tensor.shape)


def matrices(name: str, part: Part) -> Iterator[Matrix]:
    """Yield what a part stores and is not a vector; of a norm its one vector."""
    found = list(part.weights())
    for tensor in found:
        short = tensor.name.removesuffix(".weight").replace("experts.{expert}.", "").replace("_with_mqa", "")
        if tensor.experts != 1:
            yield Matrix(f"{tensor.experts} × {short}", dimensions(tensor))
        elif len(tensor.shape) > 1:
            short = name.rpartition(".")[2] if short == "weight" else short
            yield Matrix(short.replace("shared_experts.", "shared "), dimensions(tensor))
        elif len(found) == 1:
            yield Matrix(name.rpartition(".")[2], dimensions(tensor))


def flow(sheet: Sheet, boxes: Iterable[Matrix], inset: float = 0) -> None:
    """Draw boxes in rows, as many in one as fit, each row as wide as the sheet."""
    room = WIDTH - 2 - 2 * inset
    rows: list[list[Matrix]] = []
    for box in boxes:
        if rows and sum(one.least + GAP for one in (*rows[-1], box)) - GAP <= room:
            rows[-1].append(box)
        else:
            rows.append([box])
    for row in rows:
        spare = (room - sum(one.least for one in row) - GAP * (len(row) - 1)) / len(row)
        x = 1 + inset
        for one in row:
            sheet.box(x, sheet.y, one.least + spare, BOX, one, colour="weights")
            x += one.least + spare + GAP
        sheet.y += BOX + GAP
    sheet.y -= GAP if rows else 0


def down(sheet: Sheet) -> None:
    """Draw an arrow to what comes next."""
    sheet.line([(WIDTH / 2, sheet.y), (WIDTH / 2, sheet.y + 16)], arrow=True)
    sheet.y += 18


def frame_of(sheet: Sheet, layer: Layer) -> None:
    """Draw a frame with the parts of a layer in their order, and what they cache."""
    top = sheet.y
    sheet.y += LINE + 4
    sheet.text(1 + INSET, sheet.y - 6, f"{layer.times} layers like this one", bold=True)
    left = {name.partition(".")[0]: tensors for name, tensors in leavings(layer).items()}
    norms = [(name, part) for name, part in layer.parts if is_norm(part)]
    others = [(name, part) for name, part in layer.parts if not is_norm(part)]
    stream, start = 1 + INSET / 2, top
    for place, (name, part) in enumerate(others):
        if place < len(norms):
            thin(sheet, *norms[place])
        boxes = list(matrices(name, part))
        if name in left:  # what is remembered is made before the last matrix, which reads it
            flow(sheet, boxes[:-1], INSET)
            kept(sheet, left[name])
            sheet.y += GAP
            boxes = boxes[-1:]
        flow(sheet, boxes, INSET)
        end = sheet.y - BOX / 2
        sheet.line([(stream, start), (stream, end - 5)])
        sheet.plus(stream, end)
        sheet.line([(1 + INSET, end), (stream + 5, end)])
        start = end + 5
        sheet.y += 8
    for name, part in norms[len(others) :]:
        thin(sheet, name, part)
    sheet.line([(stream, start), (stream, sheet.y)])
    sheet.frame(1, top, WIDTH - 2, sheet.y - top)


def is_norm(part: Part) -> bool:
    """Whether a part is vectors alone."""
    return all(len(tensor.shape) == 1 for tensor in part.weights())


def thin(sheet: Sheet, name: str, part: Part) -> None:
    """Draw a norm: a low box with its width."""
    size = ", ".join(dimensions(tensor) for tensor in part.weights())
    sheet.box(1 + INSET, sheet.y, WIDTH - 2 - 2 * INSET, 20, [f"{name}  {size}"], colour="weights", tint=0.1)
    sheet.y += 20 + GAP


def leavings(layer: Layer) -> dict[str, list[Tensor]]:
    """Return what a token leaves in a layer, by the part that leaves it."""
    found: dict[str, list[Tensor]] = {}
    for tensor in layer.cache(1, 1, everything):
        found.setdefault(tensor.name.partition(".")[0], []).append(tensor)
    return found


def kept(sheet: Sheet, tensors: list[Tensor]) -> None:
    """Draw what a part keeps: keys and values of each token, or a state of the sequence."""
    for kind, colour, of in (("cache", "kv_cache", "a token"), ("state", "state", "a sequence")):
        some = [tensor for tensor in tensors if tensor.kind == kind]
        if not some:
            continue
        sheet.y += GAP
        names = " + ".join(tensor.name.partition(".")[2].replace("_", " ") for tensor in some)
        numbers = " + ".join(f"{tensor.each:,}" for tensor in some)
        words = [f"keeps {names}", f"{numbers} numbers {of}"]
        sheet.box(1 + INSET, sheet.y, WIDTH - 2 - 2 * INSET, BOX, words, colour=colour)
        sheet.y += BOX


def attention(models: Mapping[str, Model]) -> Picture:
    """Draw the heads of queries, and under them the keys and values that they share and cache.

    Parameters
    ----------
    models : mapping
        A model for each kind of attention, by the name of the kind; its first layer is drawn.

    """
    rows = [Heads.of(kind, model) for kind, model in models.items()]
    most = max(row.bytes for row in rows)
    sheet = Sheet(
        "Heads of queries, and what they share. "
        + "; ".join(f"{row.kind}, {row.model}: {row.words}, {row.bytes:,} bytes" for row in rows)
        + ". Bytes are of a token in a layer, at 16 bits."
    )
    for row in rows:
        sheet.heading(row.kind, row.model)
        heads_of(sheet, row)
        sheet.text(1, sheet.y + 12, row.words)
        sheet.y += LINE + 2
        wide = (WIDTH - 96) * row.bytes / most
        sheet.rect(1, sheet.y, wide, 12, "kv_cache")
        sheet.text(1 + wide + 6, sheet.y + 10, f"{row.bytes:,} bytes")
        sheet.y += 24
    sheet.note(
        "Grey: heads of queries. Framed: what they share. Bar: bytes that one token leaves in one layer, "
        "16 bits each."
    )
    return sheet.picture()


class Heads(NamedTuple):
    """The attention of a model's first layer: its query heads, what they share, and the bytes it leaves."""

    kind: str
    model: str
    queries: int
    shared: int
    words: str
    bytes: int

    @classmethod
    def of(cls, kind: str, model: Model) -> Heads:
        """Read off a model's first layer."""
        layer = model.groups[0]
        tensors = [tensor for tensor in layer.cache(1, 1, everything) if tensor.kind == "cache"]
        part: Any = next(part for _, part in layer.parts if hasattr(part, "heads"))
        size, queries = sum(2 * tensor.each for tensor in tensors), part.heads
        name = model.name.rpartition("/")[2]
        if hasattr(part, "kv_heads"):
            shared = part.kv_heads
            plural = "head" if shared == 1 else "heads"
            words = f"{queries} query heads, {shared} KV {plural} of {part.head_dim}"
        else:
            widths = " + ".join(f"{tensor.each}" for tensor in tensors)
            shared, words = 1, f"{queries} query heads, one latent vector of {widths}"
        return cls(kind, name, queries, shared, words, size)


def heads_of(sheet: Sheet, row: Heads) -> None:
    """Draw a square for each query head, and under those that share a KV head that head."""
    group = row.queries // row.shared
    in_a_row = min(row.queries, ACROSS if group > ACROSS else ACROSS // group * group)
    pitch = (WIDTH - 2) / in_a_row
    size = min(pitch - 3, 14)
    for first in range(0, row.queries, in_a_row):
        here = min(in_a_row, row.queries - first)
        for place in range(here):
            sheet.rect(1 + pitch * place, sheet.y, pitch - 3, size, tint=0.4)
        sheet.y += size + 3
        if group <= ACROSS:
            for place in range(0, here, group):
                sheet.box(1 + pitch * place, sheet.y, pitch * group - 3, 12, colour="kv_cache", tint=0.35)
            sheet.y += 18
    if group > ACROSS:
        sheet.box(1, sheet.y, WIDTH - 5, 12, colour="kv_cache", tint=0.35)
        sheet.y += 18


class Leaves(NamedTuple):
    """What a layer caches: how it is called, and how it is coloured."""

    words: str
    colour: str
    tint: float


FULL, WINDOW = Leaves("every token", "kv_cache", 1), Leaves("the last tokens", "kv_cache", 0.45)
STATE, NOTHING = Leaves("a state", "state", 1), Leaves("nothing", "free", 1)


def left_by(layer: Layer) -> Leaves:
    """Return what a layer caches."""
    kinds = {tensor.kind for tensor in layer.cache(1, 1, everything)}
    if "state" in kinds:
        return STATE
    if "cache" not in kinds:
        return NOTHING
    windows = [getattr(part, "window", None) for _, part in layer.remembering]
    return FULL if None in windows else WINDOW


def bytes_left(model: Model, context: int) -> dict[Leaves, int]:
    """Return the bytes that a sequence leaves, by kind of layer; what has no width of its own has 16 bits."""
    found: dict[Leaves, int] = {}
    widths = {"fp32": 4, "int64": 8}
    for layer in model.groups:
        kind = left_by(layer)
        tensors = layer.cache(1, context, everything)
        size = sum(widths.get(one.format or "", 2) * one.count for one in tensors)
        found[kind] = found.get(kind, 0) + layer.times * size
    return {kind: found[kind] for kind in (FULL, WINDOW, STATE, NOTHING) if kind in found}


def keeps(model: Model, contexts: Sequence[int]) -> Picture:
    """Draw the layers of a model by what they cache, and what that comes to.

    Parameters
    ----------
    model : Model
        What `memcalc.model` returned.
    contexts : sequence of int
        Tokens of one sequence.

    """
    sizes = {context: bytes_left(model, context) for context in contexts}
    kinds = [left_by(layer) for layer in model.layers]
    counts = {kind: kinds.count(kind) for kind in sizes[contexts[0]]}
    layers = ", ".join(f"{count} layers keep {kind.words}" for kind, count in counts.items())
    said = ", ".join(f"{gib(sum(size.values()))} at {context:,} tokens" for context, size in sizes.items())
    sheet = Sheet(f"What {model.name} keeps of one sequence: {layers}; {said}.")
    sheet.heading(model.name.rpartition("/")[2], f"{model.depth} layers")
    across, pitch = 24, (WIDTH - 2) / 24
    for number, kind in enumerate(kinds):
        x, y = 1 + pitch * (number % across), sheet.y + 2 + pitch * (number // across)
        sheet.rect(x, y, pitch - 3, pitch - 3, kind.colour, tint=kind.tint)
    sheet.y += pitch * -(-len(model.layers) // across) + 4
    for kind, count in counts.items():
        sheet.rect(1, sheet.y + 3, 10, 10, kind.colour, tint=kind.tint)
        sheet.text(15, sheet.y + 12, f"{count} layers keep {kind.words}")
        sheet.y += LINE
    most = max(sum(size.values()) for size in sizes.values())
    sheet.y += 4
    for context, size in sizes.items():
        sheet.y += LINE
        sheet.text(1, sheet.y - 5, f"{context:,} tokens")
        sheet.text(WIDTH - 1, sheet.y - 5, gib(sum(size.values())), anchor="end")
        x = 1.0
        for kind, part in size.items():
            wide = (WIDTH - 2) * part / most
            if wide >= 0.2:
                sheet.rect(x, sheet.y, wide, 12, kind.colour, tint=kind.tint)
            x += wide
        sheet.y += 18
    return sheet.picture()


def experts(model: Model) -> Picture:
    """Draw the experts of a layer, those that one token uses among them.

    Parameters
    ----------
    model : Model
        What `memcalc.model` returned, with a layer of experts.

    """
    layer = next(one for one in model.groups if any(hasattr(part, "experts") for _, part in one.parts))
    part: Any = next(part for _, part in layer.parts if hasattr(part, "experts"))
    tensors = list(part.weights())
    shared = sum(tensor.count for tensor in tensors if tensor.kind == "shared")
    each = sum(tensor.each for tensor in tensors if tensor.kind == "expert")
    words = f"{part.experts} experts of {each:,} parameters, {part.top_k} for each token"
    words += f", and {shared:,} shared by all" if shared else ""
    sheet = Sheet(
        f"A layer of {model.name}: {words}. "
        f"The model has {model.parameters:,} parameters; a token uses {model.active_parameters:,}."
    )
    sheet.heading(model.name.rpartition("/")[2], f"{layer.times} layers like this one")
    middle = WIDTH / 2
    sheet.box(middle - 60, sheet.y + 4, 120, 24, [f"router: {part.experts} scores"], colour="weights")
    sheet.line([(middle, sheet.y + 28), (middle, sheet.y + 44)], arrow=True)
    sheet.y += 48
    across = min(ACROSS, part.experts)
    pitch = (WIDTH - 2) / across
    stride = round(0.618 * part.experts) | 1  # scattered, and the same on every run
    chosen = {(number + 1) * stride % part.experts for number in range(part.top_k)}
    for number in range(part.experts):
        x, y = 1 + pitch * (number % across), sheet.y + min(pitch, 22) * (number // across)
        sheet.rect(x, y, pitch - 3, min(pitch, 22) - 3, "weights", tint=1 if number in chosen else 0.25)
    sheet.y += min(pitch, 22) * -(-part.experts // across) + 2
    if shared:
        sheet.box(1, sheet.y, WIDTH - 5, 22, [f"shared: {shared:,} parameters"], colour="weights", tint=0.4)
        sheet.y += 26
    sheet.note(
        f"{part.experts} experts of {each:,} parameters each; a token uses the {part.top_k} that are filled."
    )
    sheet.y += 4
    for said, count in (("in memory", model.parameters), ("used by a token", model.active_parameters)):
        sheet.y += LINE
        sheet.text(1, sheet.y - 5, said)
        sheet.text(WIDTH - 1, sheet.y - 5, f"{count:,} parameters", anchor="end")
        sheet.rect(1, sheet.y, (WIDTH - 2) * count / model.parameters, 12, "weights")
        sheet.y += 18
    return sheet.picture()
