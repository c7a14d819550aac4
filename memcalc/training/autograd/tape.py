"""What autograd keeps, found as autograd finds it: by running the operations on shapes.

An implementation (transformers, Megatron) is a program of operations. Each operation knows what its
derivative needs: a product needs the other factor, a matrix its input, a square its argument. What is needed
is kept until the operation has run backwards, a storage once however often it is needed. Frozen weights,
adapters and recomputation then need no rules of their own.

Bytes are those of one rank. They may be whole numbers, SymPy symbols (the derivation) or NumPy arrays (a
sweep).
"""

from __future__ import annotations

from math import prod
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from memcalc.ledger.tensor import greatest, share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Recomputed = Callable[[str], str | None]

__all__ = ["CACHED", "VECTORS", "BackwardPass", "MatrixStorage", "Operation", "Tape", "Value"]


class Value:
    """A storage that an operation made, and whether a gradient flows through it.

    `region` says which ranks share it: ``inner`` lies between a matrix cut by its outputs and one cut by its
    inputs, ``hidden`` outside of them (sequence parallelism shares it), ``logits`` is as wide as the
    vocabulary, ``routed`` holds the tokens that were sent to experts, ``expert`` lies between the matrices of
    an expert that ranks share, ``whole`` is on every rank. A value that is `shared` by all layers is counted
    once, beside them; whoever keeps a part `of` another keeps the whole. A `leaf` is a weight: it is there
    anyway, and its gradient stays.
    """

    __slots__ = (
        "bytes",
        "element_bytes",
        "grad",
        "leaf",
        "module",
        "name",
        "of",
        "region",
        "shape",
        "shared",
    )

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        element_bytes: int,
        *,
        grad: bool,
        region: str,
        size: int,
        module: str,
    ) -> None:
        self.name, self.shape, self.element_bytes = name, shape, element_bytes
        self.grad, self.region, self.bytes, self.module = grad, region, size, module
        self.shared = self.leaf = False
        self.of: Value | None = None

    @property
    def storage(self) -> Value:
        """What is kept when this is."""
        return self if self.of is None else self.of


class Operation(NamedTuple):
    """One step of the forward pass, with what its derivative keeps and makes.

    `inputs` are those that get a gradient; that of those in `aliased` is the output's gradient itself, as for
    a sum. `weight_bytes` is the gradient of a weight, which stays; `beside` are the bytes that the
    derivative needs beside its results while it is computed, `late` those that it holds in all after: results
    that are narrowed, beside what they were. It `asks` for what autograd saved, if only for a weight: that
    runs a unit again which is recomputed.
    """

    name: str
    module: str
    inputs: tuple[Value, ...]
    output: Value
    keeps: tuple[Value, ...]
    aliased: tuple[Value, ...]
    weight_bytes: int
    beside: int
    parts: tuple[Value, ...] = ()  # further outputs: their gradients are used up as well
    late: int = 0
    asks: bool = False


class BackwardPass(NamedTuple):
    """What running backwards does to memory, from just before (the output's gradient exists) to just after.

    `peak` is the most above the level at the start, `change` the level at the end: gradients that were made,
    less what was kept.
    """

    peak: int
    change: int


class MatrixStorage(NamedTuple):
    """How a matrix is stored, where that is not as wide as what it is multiplied with.

    `copied`: autocast copies these arguments of the function, which have 32 bits, to 16, in this order.
    `packed`: it is quantised, and a copy of it lives while its input gets a gradient. `unpacked`: the copy is
    that of the forward pass, and kept. `turned`: the code multiplies by its transpose, whose copy autocast
    does not hold (it holds those of parameters alone: torch 2.13, aten/src/ATen/autocast_mode.cpp).
    """

    copied: tuple[str, ...] = ()
    packed: bool = False
    unpacked: bool = False
    turned: bool = False


AS_WIDE = MatrixStorage()
CACHED = "autocast"  # the operation that copies a weight: the copy lives until autocast ends
VECTORS = "vectors"  # what gives each layer numbers of each token, among what is handed to layers
HOLD = "hold"  # code refers to what no derivative needs
AUTOCAST = ("bias", "weight", "x")  # arguments of a function are copied from the last to the first


def is_repeated(shape: tuple[int, ...], many: tuple[int, ...]) -> bool:
    """Say whether a factor of fewer axes, or of one number a row, is repeated to the shape of the other."""
    one = type(shape[-1]) is int and shape[-1] == 1 and shape[-1] is not many[-1]
    return one or len(shape) < len(many)


class Gradient:
    """A gradient's storage, and how many wait for it."""

    __slots__ = ("bytes", "waiting")

    def __init__(self, size: int) -> None:
        self.bytes, self.waiting = size, 1


class Tape:
    """Operations in the order of the forward pass.

    `cut` gives the ranks that share each region. `fresh`: gradients of weights are made in the backward pass
    and stay; otherwise they live already, and what is made is added to them and freed.

    >>> tape = Tape()
    >>> x = tape.value("x", (1, 4096, 5120), 2, grad=True)
    >>> up = tape.linear("up_proj", x, 25600, trained=True)
    >>> _ = tape.linear("down_proj", tape.apply("silu", up, "silu(up)"), 5120, trained=False)
    >>> [(kept.name, kept.bytes) for kept in tape.kept()]
    [('x', 41943040), ('up_proj output', 209715200)]
    """

    def __init__(self, cut: Mapping[str, int] | None = None, *, fresh: bool = True) -> None:
        self.cut, self.fresh = cut or {}, fresh
        self.operations: list[Operation] = []
        self.module, self.region, self.layer = "", "hidden", ""
        self.referred: dict[int, int] = {}  # until which operation code holds a value
        self.marks: dict[str, Value] = {}  # values that several operations of a layer ask for
        self.shared: dict[str, list[Value]] = {}  # what all layers share, as cosines and sines
        self.handed: dict[str, tuple[Value, ...]] = {}  # what layers are given beside the stream
        self.lingering: dict[int, Value] = {}  # what code holds once it was made again

    def value(
        self, name: str, shape: tuple[int, ...], element_bytes: int, *, grad: bool, region: str | None = None
    ) -> Value:
        """Make a storage, in the region where the tape is unless another one is named."""
        where = self.region if region is None else region
        size = prod(shape) * element_bytes
        if where in self.cut:
            size = share(size, self.cut[where])
        return Value(name, shape, element_bytes, grad=grad, region=where, size=size, module=self.place)

    @property
    def place(self) -> str:
        """The module that runs, with the layer in front where several are on one tape."""
        return f"{self.layer}/{self.module}" if self.layer and self.module else self.module

    @property
    def differentiates(self) -> bool:
        """Whether something runs backwards: not all of it is held by code alone."""
        return any(one.name != HOLD for one in self.operations)

    def enter(self, layer: str) -> None:
        """Begin a further layer on the same tape."""
        self.layer, self.marks = layer, {}

    def weight(self, name: str, shape: tuple[int, ...], element_bytes: int, *, trained: bool) -> Value:
        """Return a weight as a value: its gradient is what operations make of it."""
        found = self.value(name, shape, element_bytes, grad=trained, region="weight")
        found.leaf = True
        return found

    def mark(self, name: str, value: Callable[[str], Value]) -> Value:
        """Return what several operations of a layer ask for under a name, made once."""
        if name not in self.marks:
            self.marks[name] = value(name)
        return self.marks[name]

    def share(self, name: str, values: Callable[[], list[Value]]) -> list[Value]:
        """Return what all layers share under a name, made once."""
        if name not in self.shared:
            self.shared[name] = values()
            for one in self.shared[name]:
                one.shared = True
        return self.shared[name]

    def like(
        self, x: Value, name: str, element_bytes: int | None = None, *, grad: bool | None = None
    ) -> Value:
        """Make a storage of the shape of another."""
        width = x.element_bytes if element_bytes is None else element_bytes
        return self.value(name, x.shape, width, grad=x.grad if grad is None else grad, region=x.region)

    def record(
        self,
        name: str,
        inputs: Iterable[Value],
        output: Value,
        keeps: Iterable[Value] = (),
        *,
        aliased: bool | tuple[Value, ...] = False,
        weight_bytes: int = 0,
        beside: int = 0,
        parts: tuple[Value, ...] = (),
        late: int = 0,
    ) -> Value:
        """Add an operation; one whose result needs no gradient leaves no trace."""
        if output.grad:
            if not self.fresh:
                weight_bytes, beside = 0, beside + weight_bytes
            flowing = tuple(x for x in inputs if x.grad)
            same = flowing if aliased is True else aliased or ()
            saved = [value.storage for value in keeps]
            kept, asks = tuple(value for value in saved if not value.leaf), bool(saved)
            self.operations.append(
                Operation(
                    name, self.place, flowing, output, kept, same, weight_bytes, beside, parts, late, asks
                )
            )
        return output

    def cached(self, kept: Iterable[Value]) -> list[Value]:
        """Return autocast's copies of weights, but for those that are kept anyway."""
        made = [one.output for one in self.operations if one.name == CACHED]
        known = {id(value) for value in kept}
        return [value for value in made if id(value) not in known]

    # ---- operations, each with the rule of its derivative (PyTorch's derivatives.yaml) -------------------

    def split(self, x: Value, shapes: Mapping[str, tuple[int, ...]]) -> list[Value]:
        """Return parts of a storage: views, whose gradients are joined to that of the whole."""
        found = [
            self.value(name, shape, x.element_bytes, grad=x.grad, region=x.region)
            for name, shape in shapes.items()
        ]
        for part in found:
            part.of = x.storage
        self.record("split", (x,), found[0], parts=tuple(found[1:]))
        return found

    def slice(self, x: Value, shape: tuple[int, ...], name: str) -> Value:
        """Return a part of a storage: a view, whose gradient is as large as the whole, and zero elsewhere."""
        part = self.value(name, shape, x.element_bytes, grad=x.grad, region=x.region)
        part.of = x.storage
        return self.record("slice", (x,), part)

    def cast(self, x: Value, element_bytes: int, name: str) -> Value:
        """Copy to another width; where it has that width already, nothing happens."""
        if x.element_bytes == element_bytes:
            return x
        return self.record("cast", (x,), self.like(x, name, element_bytes))

    def contiguous(self, x: Value, name: str) -> Value:
        """Copy into the order of the shape: the gradient is that of the copy."""
        return self.record("copy", (x,), self.like(x, name), aliased=True)

    def promote(self, x: Value, element_bytes: int) -> Value:
        """Read a storage as wider numbers: nothing is made, but its gradient is copied back to its own."""
        if x.element_bytes == element_bytes:
            return x
        wide = self.like(x, f"{x.name}, wider", element_bytes)
        wide.of = x.storage
        return self.record("promote", (x,), wide)

    def last_tokens(self, x: Value, number: int) -> Value:
        """Take the last tokens of each sequence: of several sequences a matrix needs them in a copy."""
        batch, _, width = x.shape
        out = self.value(f"{x.name}, last tokens", (batch, number, width), x.element_bytes, grad=x.grad)
        if batch == 1:
            out.of = x.storage
        return self.record("last tokens", (x,), out)

    def add(self, a: Value, b: Value, name: str) -> Value:
        """Add: both get the gradient of the sum itself, and nothing is kept."""
        wider = max(a.element_bytes, b.element_bytes)
        a, b = self.promote(a, wider), self.promote(b, wider)
        return self.record("add", (a, b), self.like(a, name, grad=a.grad or b.grad), aliased=True)

    def multiply(self, a: Value, b: Value, name: str) -> Value:
        """Multiply: each factor is kept if the other one gets a gradient; b may have one number a row."""
        out = self.like(a, name, max(a.element_bytes, b.element_bytes), grad=a.grad or b.grad)
        keeps = (*((a,) if b.grad else ()), *((b,) if a.grad else ()))
        flowing = [x for x in (a, b) if x.grad]
        whole = out.bytes * len(flowing)  # each is as large as the result, before it is summed or narrowed
        results = sum(x.bytes for x in flowing)
        late, level = 0, whole
        for x in flowing:
            if is_repeated(x.shape, out.shape):
                made = prod(x.shape) * out.element_bytes
            else:
                made = x.bytes if x.element_bytes < out.element_bytes else 0
            if type(made) is not int or made:  # beside what it is made of, and that takes its place
                late, level = greatest(late, level + made), level + made - out.bytes
        return self.record("multiply", (a, b), out, keeps, beside=whole - results, late=late)

    def scale(self, x: Value, name: str, *, trained: bool) -> Value:
        """Multiply by a weight with one number a column: x is kept if the weight is trained."""
        out = self.like(x, name, grad=x.grad or trained)
        if not trained:
            weight = self.weight(f"{name}'s weight", x.shape[-1:], x.element_bytes, trained=False)
            return self.record("scale", (x,), out, (weight,))
        size = x.shape[-1] * x.element_bytes
        return self.record("scale", (x,), out, (x,), weight_bytes=size, beside=x.bytes)

    def apply(self, function: str, x: Value, name: str) -> Value:
        """Apply a function whose derivative needs its argument (silu, gelu)."""
        return self.record(function, (x,), self.like(x, name), (x,))

    def linear(
        self,
        name: str,
        x: Value,
        columns: int,
        *,
        trained: bool,
        bias: bool = False,
        region: str | None = None,
        cut: str | None = None,
        stored: MatrixStorage = AS_WIDE,
    ) -> Value:
        """Multiply by a matrix: x is kept if the matrix is trained.

        `region` is that of the output, `cut` the region whose ranks share the matrix. A copy of the matrix
        in 16 bits is kept for the gradient of x.
        """
        ranks = self.cut.get(cut or "", 1)
        mine, shifts = share(x.shape[-1] * columns, ranks), share(columns, ranks) if bias else 0
        # the gradient is as wide as the matrix: where x alone is copied that has 16 bits already
        numbers = (4 if "weight" in stored.copied else 2) if stored.copied else x.element_bytes
        copied = {"bias": (f"{name}.bias", shifts), "weight": (name, mine)}
        copies: dict[str, Value] = {}
        for argument in stored.copied:
            if argument == "x":
                x = self.cast(x, 2, f"{name} input in 16 bits")
            else:
                what, size = copied[argument]
                copy = self.value(f"{what} in 16 bits", (size,), 2, grad=trained, region="weight")
                step = "copy" if stored.turned else CACHED
                copies[argument] = self.record(step, (), copy, weight_bytes=size * numbers)
        out = self.value(
            f"{name} output", (*x.shape[:-1], columns), x.element_bytes, grad=x.grad or trained, region=region
        )
        keeps = [*((x,) if trained else ()), *((copies["weight"],) if copies and x.grad else ())]
        if x.grad and not stored.packed:
            keeps.append(self.weight(name, (mine,), x.element_bytes, trained=trained))
        if stored.unpacked and x.grad:
            keeps.append(
                self.value(f"{name}, from its codes", (mine,), x.element_bytes, grad=False, region="weight")
            )
        gradient = (mine + shifts) * numbers if trained and not copies else 0
        beside = mine * x.element_bytes if stored.packed and x.grad else 0
        last = shifts * numbers if gradient and bias else 0  # a bias's gradient follows the others
        late = gradient + (x.bytes if x.grad else 0) if gradient and bias else 0
        factors = (x, *copies.values())
        return self.record(name, factors, out, keeps, weight_bytes=gradient, beside=beside - last, late=late)

    def rms_norm(self, name: str, x: Value, *, trained: bool, fused: bool = False) -> Value:
        """Normalise as LlamaRMSNorm does: in fp32, step by step, or (`fused`) in one kernel.

        Step by step the fp32 copy of the input is kept for the square and for the product, the inverse root
        for its own derivative and the product, the normalised numbers for the weight.
        """
        statistic = (*x.shape[:-1], 1)
        rstd = self.value(f"{name} 1/root", statistic, 4, grad=x.grad, region=x.region)
        if fused:
            out = self.like(x, f"{name} output", grad=x.grad or trained)
            size = x.shape[-1] * x.element_bytes if trained else 0
            return self.record(name, (x,), out, (x, rstd), weight_bytes=size)
        wide = self.cast(x, 4, f"{name} input in fp32")
        square = self.like(wide, f"{name} square")
        self.record("square", (wide,), square, (wide,), beside=2 * wide.bytes)
        mean = self.like(rstd, f"{name} mean square")
        self.record("mean", (square,), mean)
        self.record("rsqrt", (mean,), rstd, (rstd,), beside=2 * rstd.bytes)
        product = self.multiply(wide, rstd, f"{name} normalised in fp32")
        normal = self.cast(product, x.element_bytes, f"{name} normalised")
        if wide is x:  # no cast: the product itself is what the weight meets
            normal.name = f"{name} normalised"
        out = self.scale(normal, f"{name} output", trained=trained)
        for value in mean, product:  # its forward holds both by a name
            self.refer(value)
        return out

    def layer_norm(
        self, name: str, x: Value, *, trained: bool, wide: bool = False, stored: int | None = None
    ) -> Value:
        """Normalise as torch's LayerNorm does, in one kernel: x, mean and inverse root are kept.

        The statistics have 32 bits, as the kernel for GPUs has them; that for CPUs keeps them as wide as x.
        `wide`: autocast copies all that it is given to 32 bits. `stored` are the bytes of a number of the
        weights, where they may be narrower than x.
        """
        statistic = (*x.shape[:-1], 1)
        numbers = x.element_bytes if stored is None else stored
        size = 2 * x.shape[-1] * numbers if trained else 0
        beside = 0
        keeps = [
            self.value(f"{name} {what}", statistic, 4, grad=False, region=x.region)
            for what in ("mean", "1/root")
        ]
        if wide:
            x = self.cast(x, 4, f"{name} input in fp32")
        if wide and numbers < 4:
            both = (2, x.shape[-1])
            keeps.append(self.value(f"{name}'s weights in fp32", both, 4, grad=False, region="weight"))
            beside = size * (4 // numbers - 1)  # their gradients have 32 bits before they are narrowed
        out = self.like(x, f"{name} output", grad=x.grad or trained)
        return self.record(name, (x,), out, (x, *keeps), weight_bytes=size, beside=beside)

    def dropout(self, x: Value, share: float, name: str) -> Value:
        """Drop a share of the numbers: a byte for each says which are left; a share of 0 does nothing."""
        if not share:
            return x
        mask = self.like(x, f"{name} mask", 1, grad=False)
        return self.record("dropout", (x,), self.like(x, name), (mask,))

    # ---- what follows from them --------------------------------------------------------------------------

    def kept(self, recomputed: Recomputed | None = None) -> list[Value]:
        """List the storages kept for the backward pass, each once, in the order in which they were asked for.

        `recomputed` names, for the module of an operation, the unit that is run again before its backward
        pass (None: it is not). Of a unit only what it is given is kept, whatever its operations need.
        """
        found: dict[int, Value] = {}
        for one in self.operations:
            unit = recomputed and recomputed(one.module)
            for value in one.keeps if unit is None else (*(x.storage for x in one.inputs), *one.keeps):
                if unit is None or recomputed(value.module) != unit:  # type: ignore[misc]
                    found[id(value)] = value
        return [value for value in found.values() if not value.shared]

    def kept_bytes(self, recomputed: Recomputed | None = None) -> int:
        """Bytes of all that is kept."""
        return sum(value.bytes for value in self.kept(recomputed))

    def hold(self, value: Value, *, grad: bool) -> Value:
        """Make a storage that no derivative needs: it lives while code refers to it, if gradients flow."""
        if grad:
            held = Operation(HOLD, self.place, (), value, (), aliased=(), weight_bytes=0, beside=0)
            self.operations.append(held)
        return value

    def hold_for(self, held: Mapping[str, Iterable[Value]]) -> None:
        """Keep values until a layer has run backwards, by its name: its checkpoint refers to them.

        Once the first one has, nothing refers any longer to what `linger` named.
        """
        first: dict[str, int] = {}
        for index, one in enumerate(self.operations):
            first.setdefault(one.module.partition("/")[0], index)
        places = [(first[layer], values) for layer, values in held.items() if layer in first]
        for index, values in sorted(places, key=itemgetter(0), reverse=True):
            end = self.value("end of a layer", (), 1, grad=True)
            step = Operation(HOLD, "", (), end, tuple(values), aliased=(), weight_bytes=0, beside=0)
            self.operations.insert(index, step)
            self.referred = {key: at + (at >= index) for key, at in self.referred.items()}

    def linger(self, value: Value) -> None:
        """Note that code holds a value that a layer makes again, and with it what its derivatives need."""
        made = {id(output): one for one in self.operations for output in (one.output, *one.parts)}
        waiting, layer = [value], value.module.partition("/")[0]
        while waiting:
            one = made.get(id(waiting.pop()))
            if one is not None and one.module.partition("/")[0] == layer:
                waiting += one.inputs
                self.lingering |= {id(kept): kept for kept in one.keeps}

    def refer(self, value: Value) -> None:
        """Note that code still holds a value: its storage outlives the operations that used it."""
        self.referred[id(value.storage)] = len(self.operations) - 1

    def by_layer(self, layers: Iterable[str]) -> dict[str, Tape]:
        """Return, for each of these layers, a tape with its operations."""
        found = {layer: Tape(self.cut, fresh=self.fresh) for layer in layers}
        where: dict[int, tuple[Tape, int]] = {}
        for index, one in enumerate(self.operations):
            layer, slash, _ = one.module.partition("/")
            if slash and layer in found:
                where[index] = found[layer], len(found[layer].operations)
                found[layer].operations.append(one)
        for key, index in self.referred.items():
            if index in where:
                tape, own = where[index]
                tape.referred[key] = own
        return found

    def since(self, first: int) -> Tape:
        """Return a tape with the operations from one on."""
        found = Tape(self.cut, fresh=self.fresh)
        found.operations = self.operations[first:]
        return found

    def forward_peak(self, *given: Value, keeping: bool = True, again: bool = True) -> int:
        """Run forward from `given`: the most that lives; `again`, for what is kept, until all is there.

        A result that is not kept lives until it was used for the last time, or code has let go of it: until
        the end, where it waits for what follows, as that of a branch beside another. Without `keeping`
        nothing is (torch.no_grad), but autocast's copies of weights.
        """
        again = again and keeping
        stays = {id(value) for value in (*(self.kept() if keeping else ()), *self.cached(()))}
        keep = (index for index, one in enumerate(self.operations) if one.asks)
        end = max(keep, default=-1) if again else len(self.operations) - 1
        steps = self.operations[: end + 1]
        last = dict(self.referred)
        for index, one in enumerate(self.operations):
            for value in one.inputs:
                last[id(value.storage)] = max(index, last.get(id(value.storage), 0))
        there = {id(value) for value in given}
        going: dict[int, list[Value]] = {}  # what goes again, by the operation after which it does
        level: int = 0
        peak: int = 0
        for index, one in enumerate(steps):
            # what an operation keeps of its own comes with its result; copies of frozen weights were there
            makes = any(id(value) not in there and value.region != "weight" for value in one.keeps)
            made = (*one.keeps, one.output) if makes or not again or index < end else one.keeps
            for value in made:
                key = id(value)
                if key in there or value.shared or value.of is not None:
                    continue
                level = level + value.bytes
                there.add(key)
                if key not in stays:
                    going.setdefault(max(index, last.get(key, index)), []).append(value)
            peak = greatest(peak, level)
            for value in going.pop(index, ()):
                level = level - value.bytes
                there.discard(id(value))
        return peak

    def releases(self, recomputed: Recomputed | None, *, final: bool) -> list[list[Value]]:
        """List, for each operation, what is freed after it has run backwards: it was the first to ask for it.

        What all layers share is freed only by the last one that runs.
        """
        kept = {id(value) for value in self.kept(recomputed)}
        asked: set[int] = set()
        found: list[list[Value]] = []
        for one in self.operations:
            unit = recomputed and recomputed(one.module)
            given = [value.storage for value in one.inputs if id(value.storage) in kept] if unit else []
            new = {id(value): value for value in (*given, *one.keeps) if id(value) not in asked}
            if one.name == HOLD and one.keeps:
                new |= {key: value for key, value in self.lingering.items() if key not in asked}
            elif recomputed:
                new = {key: value for key, value in new.items() if key not in self.lingering}
            asked.update(new)  # in place: with |= the keys would be copied into a new set each time
            found.append([value for value in new.values() if final or not value.shared])
        return found

    def made_again(self, recomputed: Recomputed | None) -> dict[str, int]:
        """Return, for each unit that is run again, the bytes of what its operations need and was not kept."""
        kept = {id(value) for value in self.kept(recomputed)}
        found: dict[str, dict[int, int]] = {}
        for one in self.operations:
            unit = recomputed and recomputed(one.module)
            if unit is None:
                continue
            for value in one.keeps:
                if id(value) not in kept and not value.shared:
                    found.setdefault(unit, {})[id(value)] = value.bytes
        return {unit: sum(sizes.values()) for unit, sizes in found.items()}

    def backward(
        self,
        recomputed: Recomputed | None = None,
        *,
        final: bool = False,
        forward: Mapping[str, int] | None = None,
    ) -> BackwardPass:
        """Run backwards: results are made, then what was used is freed, then gradients that meet are added.

        A unit that is recomputed makes again what its operations need, as soon as one asks for what is not
        there; meanwhile `forward` says how many bytes live at most, by unit (`forward_peak`). `final`:
        nothing runs after it that needs what all layers share.
        """
        again, kept = self.made_again(recomputed), {id(value) for value in self.kept(recomputed)}
        last = self.operations[-1].output
        gradients = {id(last): Gradient(last.bytes)}
        meter = Meter()
        for one, freed in zip(
            reversed(self.operations), reversed(self.releases(recomputed, final=final)), strict=True
        ):
            unit = recomputed and recomputed(one.module)
            if one.asks and unit in again:  # it asks for what is not there: the unit is run again
                meter.take(0, beside=(forward or {}).get(unit, 0))
                meter.take(again.pop(unit))
            given = gradients.pop(id(one.output), None)
            if given is None:  # nothing after it asked for its result
                if one.name == HOLD:
                    meter.level = meter.level - sum(value.bytes for value in freed)
                continue
            same = {id(x) for x in one.aliased}
            made = [given if id(x) in same else Gradient(x.bytes) for x in one.inputs]
            given.waiting += sum(id(x) in same for x in one.inputs)
            results = sum(x.bytes for x in one.inputs if id(x) not in same)
            size = sum(value.bytes for value in freed)
            made_again = () if unit is None else (value for value in freed if id(value) not in kept)
            meter.reach(one.late - sum(value.bytes for value in made_again))  # it is let go at once
            meter.take(one.weight_bytes + results, beside=one.beside)
            meter.give(given)
            for part in one.parts:
                if id(part) in gradients:
                    meter.give(gradients.pop(id(part)))
            meter.level = meter.level - size
            for x, new in zip(one.inputs, made, strict=True):
                gradients[id(x)] = meter.add(gradients.get(id(x)), new, x)
                if x.leaf and not self.fresh:
                    meter.give(gradients.pop(id(x)))
        return BackwardPass(meter.peak, meter.level)


class Meter:
    """What is held above the level at the start, and the most that was."""

    __slots__ = ("level", "peak")

    def __init__(self) -> None:
        self.level: int = 0
        self.peak: int = 0

    def take(self, size: int, *, beside: int = 0) -> None:
        """Hold `size` more bytes, and `beside` for a moment."""
        self.level = self.level + size
        self.peak = greatest(self.peak, self.level + beside)

    def reach(self, beside: int) -> None:
        """Hold `beside` bytes for a moment."""
        self.peak = greatest(self.peak, self.level + beside)

    def give(self, gradient: Gradient) -> None:
        """Let go of a gradient: it is freed when nothing else waits for it."""
        gradient.waiting -= 1
        if not gradient.waiting:
            self.level = self.level - gradient.bytes

    def add(self, old: Gradient | None, new: Gradient, x: Value) -> Gradient:
        """Add a gradient to the one that is there already: their sum is a third.

        So it is on fake tensors, against which programs are held; a device adds in place (torch 2.13,
        torch/csrc/autograd/input_buffer.cpp, can_accumulate_inplace; tests/oracles/test_measure.py).
        """
        if old is None:
            return new
        self.take(x.bytes)
        self.give(old)
        self.give(new)
        return Gradient(x.bytes)
