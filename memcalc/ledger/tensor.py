"""A tensor: a name, a shape, a kind. The arithmetic never asks what its numbers are.

Whole numbers give exact counts, SymPy symbols formulas, arrays of NumPy or Dask sweeps. Annotations say
``int``; `least`, `greatest`, `share` and `ceil_div` are the only functions that look at the kind of number.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["IN", "OUT", "Tensor", "ceil_div", "count", "greatest", "least", "linear"]

Axis = int | tuple[int, int]  # (pieces, size): stored as one axis, cut between pieces only
OUT, IN = 0, 1  # which axis of an (out, in) matrix tensor-parallel ranks share


def least(a: int, b: int) -> int:
    """Return the smaller of two whole numbers, symbols or arrays.

    >>> least(4096, 131072)
    4096
    """
    return min(a, b) if type(a) is type(b) is int else _extreme(a, b, min, ("least", "Min", "minimum"))


def greatest(a: int, b: int) -> int:
    """Return the larger of two whole numbers, symbols, arrays or polynomials.

    >>> greatest(4096, 131072)
    131072
    """
    return max(a, b) if type(a) is type(b) is int else _extreme(a, b, max, ("greatest", "Max", "maximum"))


def _extreme(a: Any, b: Any, builtin: Any, names: tuple[str, str, str]) -> Any:
    """Return one of two numbers: by its own method, by SymPy, or by NumPy, which leaves Dask's to Dask."""
    method, symbolic, ufunc = names
    for one, other in ((a, b), (b, a)):
        if hasattr(one, method):
            return getattr(one, method)(other)
    if is_symbolic(a, b):
        import sympy

        return getattr(sympy, symbolic)(a, b)
    if hasattr(a, "__array_ufunc__") or hasattr(b, "__array_ufunc__"):
        import numpy as np

        return getattr(np, ufunc)(a, b)
    return builtin(a, b)


def is_symbolic(*numbers: object) -> bool:
    """Return whether a SymPy expression is among the numbers."""
    return any(hasattr(number, "free_symbols") for number in numbers)


def share(a: int, ranks: int) -> int:
    """Return the fullest rank's part of what ranks divide: rounded up, but a plain quotient of symbols.

    Formulas in papers divide activations without rounding, and so do their symbols here; plans hold
    that what is divided divides, or round up where an implementation does.

    >>> share(10, 4)
    3
    """
    if not type(a) is type(ranks) is int:
        if hasattr(a, "shared"):
            return a.shared(ranks)
        if is_symbolic(a, ranks):
            return a / ranks  # type: ignore[return-value]  # of symbols it is no float
    return -(-a // ranks)


def ceil_div(a: int, b: int) -> int:
    """Return a / b rounded up, without a float anywhere.

    >>> ceil_div(4, 8), ceil_div(9, 8)
    (1, 2)
    """
    if not type(a) is type(b) is int and is_symbolic(a, b):  # whole numbers are by far the most
        from sympy import ceiling

        return ceiling(a / b)
    return -(-a // b)


def product(axis: Axis) -> int:
    """Return the elements of an axis; pieces are multiplied out.

    >>> product(5120), product((8, 128))
    (5120, 1024)
    """
    return axis[0] * axis[1] if isinstance(axis, tuple) else axis


class Tensor(NamedTuple):
    """Equal arrays, one for each ``{layer}`` and ``{expert}`` in the name.

    `shard_axis` is the axis that tensor-parallel ranks share (None: every rank holds all of it). An axis may
    be a pair (pieces, size): a rank that asks for half a KV head gets the whole of it, which is what engines
    call replication of KV heads. `active_experts` is how many of the `experts` one token uses. `format` is
    set only where the architecture fixes it, `pool` is the memory that holds it.

    >>> values = Tensor("v_proj.weight", ((8, 128), 5120), shard_axis=0, layers=64)
    >>> values.count, values.on_rank(tp=16).count == values.on_rank(tp=8).count
    (335544320, True)
    """

    name: str
    shape: tuple[Axis, ...]
    kind: str = "matrix"
    shard_axis: int | None = None
    layers: int = 1
    experts: int = 1
    active_experts: int | None = None
    format: str | None = None
    pool: str = "gpu"

    @property
    def each(self) -> int:
        """Elements of one of the equal arrays."""
        return prod(map(product, self.shape))

    @property
    def copies(self) -> int:
        """How many equal arrays there are."""
        return self.layers * self.experts

    @property
    def count(self) -> int:  # type: ignore[override]  # the word every reader expects, and no tuple's
        """Elements of all of them."""
        return self.copies * self.each

    @property
    def active(self) -> int:
        """Elements that one token uses."""
        return (
            self.layers * (self.experts if self.active_experts is None else self.active_experts) * self.each
        )

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape as a checkpoint writes it: pieces multiplied out."""
        return tuple(map(product, self.shape))

    def on_rank(self, tp: int = 1, ep: int = 1) -> Tensor:
        """Return the fullest rank's share.

        Parameters
        ----------
        tp : int, default 1
            Ranks that share the pieces of the sharded axis, each a whole number of them.
        ep : int, default 1
            Ranks that share the experts, each a whole number of them.

        """
        experts = self.experts if self.active_experts is None else ceil_div(self.experts, ep)
        if self.shard_axis is None:
            return self if experts is self.experts else self._replace(experts=experts)
        axis = self.shape[self.shard_axis]
        mine: Axis = (ceil_div(axis[0], tp), axis[1]) if isinstance(axis, tuple) else ceil_div(axis, tp)
        shape = (*self.shape[: self.shard_axis], mine, *self.shape[self.shard_axis + 1 :])
        return Tensor(self.name, shape, *self[2:5], experts, *self[6:])


def linear(
    name: str,
    out: Axis,
    inp: Axis,
    *,
    bias: bool = False,
    shard_axis: int | None = None,
    kind: str = "matrix",
) -> Iterator[Tensor]:
    """Yield the (out, in) matrix of a linear layer, and its bias if it has one.

    >>> [tensor.name for tensor in linear("q_proj", 8192, 5120, bias=True)]
    ['q_proj.weight', 'q_proj.bias']
    """
    yield Tensor(f"{name}.weight", (out, inp), kind, shard_axis)
    if bias:
        yield Tensor(f"{name}.bias", (out,), "bias", 0 if shard_axis == OUT else None)


def under(prefix: str, tensors: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield the tensors with `prefix` before their names."""
    for tensor in tensors:
        yield Tensor(f"{prefix}.{tensor.name}", *tensor[1:])  # half the time of _replace


def count(tensors: Iterable[Tensor]) -> int:
    """Return the elements of all tensors together."""
    return sum(tensor.count for tensor in tensors)
