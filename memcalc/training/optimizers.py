"""What optimizers keep for each weight, and what their step needs besides."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from memcalc.data.record import Record, record
from memcalc.errors import UnknownNameError, choices
from memcalc.ledger.registry import Registry
from memcalc.ledger.tensor import ceil_div

if TYPE_CHECKING:
    from collections.abc import Callable

    State = tuple[str, int]  # its name and its bytes for one weight

__all__ = ["OPTIMIZERS", "STEPS", "Optimizer", "optimizer_named"]

STEPS = ("foreach", "fused", "for-loop")
TORCH = "https://github.com/pytorch/pytorch, v2.13.0, torch/optim/"
TORCHAO = "https://github.com/pytorch/ao, 36027d82 (2026-08), torchao/optim/"
BITSANDBYTES = "https://github.com/bitsandbytes-foundation/bitsandbytes, bitsandbytes/optim/optimizer.py"


@record
class Optimizer(Record):
    """An optimizer: `moments` are kept as wide as the weight that is updated, a number for each of its.

    `of` gives the states where that is not the rule: from a weight's shape and the bytes of one of its
    numbers. `steps` are the ways in which it can step, the default first; `copies` how many gradient-sized
    copies a step with ``foreach`` needs. `loop` gives the bytes that a step with ``for-loop`` needs for one
    array, beside which the result for the array before still lives: from its shape, the bytes of a number,
    and the numbers of the array before. `blockwise` states are those of any list of numbers, so that shares
    of a matrix have states, too; those `in_host` lie in the host's memory; names that begin with ``paged``
    are of unified memory, which lies on either side.
    """

    id: str
    moments: tuple[str, ...]
    steps: tuple[str, ...]
    source: str
    copies: int = 0
    of: Callable[[tuple[int, ...], int], list[State]] | None = None
    loop: Callable[[tuple[int, ...], int, int], int] | None = None
    inside_only: bool = False  # embedding and head are treated as vectors are
    note: str = ""
    blockwise: bool = False
    in_host: bool = False

    @property
    def elementwise(self) -> bool:
        """Whether the states of a slice of a weight are the slice of its states."""
        return self.of is None

    def states(self, shape: tuple[int, ...], width: int, *, inside: bool = True) -> list[State]:
        """Return the states of one weight; `inside` of the layers, or an embedding or head.

        >>> OPTIMIZERS["adafactor"].states((4096, 14336), 2)
        [('row factors', 8192), ('column factors', 28672)]
        """
        if self.of is not None:
            return self.of(shape if inside or not self.inside_only else (prod(shape),), width)
        return [(name, prod(shape) * width) for name in self.moments]


ADAM = ("first moment", "second moment")


def adam(shape: tuple[int, ...], width: int) -> list[State]:
    """Return two numbers for each of the weight's."""
    return [(name, prod(shape) * width) for name in ADAM]


def factors(shape: tuple[int, ...], width: int) -> list[State]:
    """Return a number a row and a number a column of a matrix, and one for each number of a vector."""
    if len(shape) < 2:
        return [("second moment", prod(shape) * width)]
    outer = prod(shape[:-2])
    return [("row factors", outer * shape[-2] * width), ("column factors", outer * shape[-1] * width)]


def factors_fp32(shape: tuple[int, ...], width: int) -> list[State]:
    """Return the same in 32 bits, whatever the weight."""
    del width
    return factors(shape, 4)


def muon(shape: tuple[int, ...], width: int) -> list[State]:
    """Return one momentum for a matrix inside of the model; AdamW serves all other weights."""
    if len(shape) == 2:
        return [("momentum", prod(shape) * width)]
    return adam(shape, width)


# ---- what a step needs beside the states, array by array (measured: tests/test_saved.py) -------------------


def adam_loop(shape: tuple[int, ...], width: int, before: int) -> int:
    """Return two arrays, and one of the array before."""
    return width * (2 * prod(shape) + before)


def factors_loop(shape: tuple[int, ...], width: int, before: int) -> int:
    """Return torch's Adafactor: the update, and means of rows and columns; of a vector two arrays."""
    count = prod(shape)
    beside = count if len(shape) < 2 else sum(size for _, size in factors(shape, 1))
    return width * (count + beside + 1 + before)


def factors_fp32_loop(shape: tuple[int, ...], width: int, before: int) -> int:
    """Return transformers' Adafactor: two arrays in 32 bits, four where weight and gradient have 16."""
    beside = 0 if len(shape) < 2 else sum(size for _, size in factors(shape, 1))
    return 4 * ((2 if width == 4 else 4) * prod(shape) + max(before, beside) + 1)


def muon_loop(shape: tuple[int, ...], width: int, before: int) -> int:
    """Return Newton and Schulz's iteration in 16 bits: update, two copies, two squares of the short side."""
    if len(shape) != 2:
        return adam_loop(shape, width, before)
    return width * prod(shape) + 2 * (2 * prod(shape) + 2 * min(shape) ** 2)


def nothing(shape: tuple[int, ...], width: int, before: int) -> int:
    """Return nothing: the weight is updated in place."""
    del shape, width, before
    return 0


SMALL, BLOCK = 4096, 256  # bitsandbytes: min_8bit_size, and the numbers that share a scale


def eight_bits(names: tuple[str, ...], shape: tuple[int, ...]) -> list[State]:
    """Return states of a byte with a scale a block of 256; below 4,096 numbers they stay in 32 bits."""
    count = prod(shape)
    if count < SMALL:
        return [(name, 4 * count) for name in names]
    return [(f"{name}, 8 bits and scales", count + 4 * ceil_div(count, BLOCK)) for name in names]


def adam_8bit(shape: tuple[int, ...], width: int) -> list[State]:
    """Return Adam's two moments in 8 bits."""
    del width
    return eight_bits(ADAM, shape)


def lion_8bit(shape: tuple[int, ...], width: int) -> list[State]:
    """Return Lion's momentum in 8 bits."""
    del width
    return eight_bits(("momentum",), shape)


PAGED = 100_000  # numbers of an array from which on bitsandbytes pages its states
FOUR_BITS = 128  # torchao: numbers that share a scale of a state in 4 bits


def paged(shape: tuple[int, ...], states: list[State]) -> list[State]:
    """Return the same states, the large ones in unified memory."""
    return [(f"paged {name}" if prod(shape) >= PAGED else name, size) for name, size in states]


def paged_adam(shape: tuple[int, ...], width: int) -> list[State]:
    """Return Adam's two moments in 32 bits, whatever the weight."""
    del width
    return paged(shape, adam(shape, 4))


def paged_adam_8bit(shape: tuple[int, ...], width: int) -> list[State]:
    """Return the two moments in 8 bits; their scales stay on the device."""
    count = prod(shape)
    if count < SMALL:
        return adam_8bit(shape, width)
    scales = [(f"scales of the {name}", 4 * ceil_div(count, BLOCK)) for name in ADAM]
    return [*paged(shape, [(name, count) for name in ADAM]), *scales]


def adam_4bit(shape: tuple[int, ...], width: int) -> list[State]:
    """Return two moments in 4 bits, a scale a block and a table of 16 numbers each.

    Below 4,096 numbers, and where blocks of 128 are not full, they stay as wide as the weight.
    """
    count = prod(shape)
    if count < SMALL or count % FOUR_BITS:
        return adam(shape, width)
    return [(f"{name}, 4 bits and scales", count // 2 + 4 * (count // FOUR_BITS) + 64) for name in ADAM]


def adam_in_host(shape: tuple[int, ...], width: int) -> list[State]:
    """Return what lies in the host's memory: a copy of the weight, its gradient, two moments."""
    return [
        ("copy of the weight", prod(shape) * width),
        ("gradient", prod(shape) * width),
        *adam(shape, width),
    ]


KNOWN = (
    Optimizer(
        "adamw",
        ADAM,
        ("fused", "foreach", "for-loop"),
        f"{TORCH}adamw.py",
        copies=1,
        loop=adam_loop,
        note="fused by default, as transformers 5 with torch 2.8 and DeepSpeed have it",
    ),
    Optimizer("sgd", (), STEPS, f"{TORCH}sgd.py", loop=nothing, note="without momentum it keeps nothing"),
    Optimizer("sgd-momentum", ("momentum",), STEPS, f"{TORCH}sgd.py", loop=nothing),
    Optimizer("lion", ("momentum",), ("for-loop",), "Chen et al. 2023, arXiv:2302.06675", loop=adam_loop),
    Optimizer(
        "adafactor",
        (),
        ("for-loop", "foreach"),
        f"{TORCH}_adafactor.py",
        copies=1,
        of=factors,
        loop=factors_loop,
        note="torch's: factors as wide as the weight",
    ),
    Optimizer(
        "adafactor-transformers",
        (),
        ("for-loop",),
        "https://github.com/huggingface/transformers, v5.23, src/transformers/optimization.py",
        of=factors_fp32,
        loop=factors_fp32_loop,
        note="transformers': factors in 32 bits, without a first moment",
    ),
    Optimizer(
        "muon",
        (),
        ("for-loop",),
        f"{TORCH}_muon.py",
        of=muon,
        inside_only=True,
        loop=muon_loop,
        note="AdamW for all but matrices",
    ),
    Optimizer("adamw-8bit", (), ("fused",), BITSANDBYTES, of=adam_8bit, blockwise=True),
    Optimizer("lion-8bit", (), ("fused",), BITSANDBYTES, of=lion_8bit, blockwise=True),
    Optimizer(
        "paged-adamw",
        (),
        ("fused",),
        BITSANDBYTES,
        of=paged_adam,
        blockwise=True,
        note="bitsandbytes': moments in 32 bits, of large weights in unified memory",
    ),
    Optimizer(
        "paged-adamw-8bit",
        (),
        ("fused",),
        BITSANDBYTES,
        of=paged_adam_8bit,
        blockwise=True,
        note="moments of large weights in unified memory",
    ),
    Optimizer(
        "adamw-4bit",
        (),
        ("fused",),
        f"{TORCHAO}subclass_4bit.py, adam.py",
        of=adam_4bit,
        blockwise=True,
        note="torchao's: blocks of 128 numbers",
    ),
    Optimizer(
        "adamw-in-host",
        (),
        ("fused",),
        f"{TORCHAO}cpu_offload.py",
        of=adam_in_host,
        in_host=True,
        note="torchao's CPUOffloadOptimizer: copies of weights and gradients, and moments",
    ),
)
OPTIMIZERS: Registry[Optimizer] = Registry(
    "--optimizer", {one.id: one for one in KNOWN}, remedy="states of others are not modelled"
)

PROJECTED = "its moments are those of gradients projected to a rank, and no option says that rank"
# what is in no state of these: the first word of a name that fits says why there is no record of it
REFUSED = {
    "galore": PROJECTED,
    "apollo": PROJECTED,
    "fira": PROJECTED,
    "lomo": "it updates a weight as soon as its gradient is there: no moment of a step has all of them",
    "adam-mini": "its second moment has a number a block, and blocks differ from model to model",
    "badam": "it trains a block of layers at a time, and changes it: name one in --trainable with adamw",
    "lisa": "it trains some layers at a time, and changes them: name them in --trainable with adamw",
    "schedule-free": "whether its averaged weights are kept apart depends on the version",
    "soap": "its preconditioners depend on which sides of a matrix are short enough",
    "shampoo": "its preconditioners depend on which sides of a matrix are short enough",
    "came": "its confidence has factors of its own, which are not modelled; adafactor is the nearest",
}


def optimizer_named(name: str) -> Optimizer:
    """Return an optimizer by its name.

    Raises
    ------
    UnknownNameError
        There is no record of it; of some it says why.

    """
    plain = str(name).lower().replace("_", "-")
    for word, reason in REFUSED.items():
        if word in plain:
            raise UnknownNameError("--optimizer", choices(OPTIMIZERS), name, reason)
    if "_" in str(name) and plain in OPTIMIZERS:  # as others spell it
        raise UnknownNameError("--optimizer", choices(OPTIMIZERS), name, f"did you mean {plain}?")
    return OPTIMIZERS[name]
