"""Sizes as polynomials in batch and sequence: a plan is made once, and evaluated for a million points.

A size is a sum of products of batch and sequence with whole coefficients; the largest of several sizes is
not one polynomial, so that all are kept that could be the largest somewhere. Nothing here is rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import mul
from typing import TYPE_CHECKING, Any

from memcalc.errors import BadInputError
from memcalc.ledger.sweep import columns, is_array, is_lazy, sweep
from memcalc.ledger.tensor import greatest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Range = tuple[int, int]  # the least and the largest
    Powers = tuple[int, int, int]  # of batch, of sequence, of "there is one sequence" (0 or 1)
    Polynomial = tuple[tuple[Powers, int], ...]

__all__ = ["Points", "Size", "points"]

LIMIT = 2**63
ONE, BATCH, SEQUENCE, SINGLE = (0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)


@dataclass(frozen=True, slots=True)
class Size:
    """The largest of some polynomials; arithmetic with whole numbers and with other sizes.

    >>> batch, seq = Size.of(BATCH), Size.of(SEQUENCE)
    >>> (2 * batch * seq * 4096 + seq).most
    ((((0, 1, 0), 1), ((1, 1, 0), 8192)),)
    """

    most: tuple[Polynomial, ...]

    @staticmethod
    def of(powers: Powers) -> Size:
        """Return one product of powers."""
        return Size((((powers, 1),),))

    def __add__(self, other: Any) -> Size:
        found = tuple(summed(a, b) for b in polynomials(other) for a in self.most)
        one_of_them = len(self.most) == 1 or len(found) == len(self.most)
        return Size(found if one_of_them else pruned(found))  # what is added to all changes no order

    def __sub__(self, other: Any) -> Size:
        return self + other * -1

    def __rsub__(self, other: Any) -> Size:
        return self * -1 + other

    def __mul__(self, other: Any) -> Size:
        if len(self.most) > 1 and not (type(other) is int and other >= 0):
            raise TypeError(other)  # the largest of several sizes would become the smallest
        return Size(tuple(multiplied(a, b) for a in self.most for b in polynomials(other)))

    __radd__, __rmul__ = __add__, __mul__

    def shared(self, ranks: int) -> Size:
        """Return the part of one of the ranks, if they divide every coefficient."""
        if any(number % ranks for one in self.most for _, number in one):
            remedy = "ask for single plans, which round up"
            raise BadInputError("--tp", "ranks that divide every width in a sweep", ranks, remedy)
        return Size(tuple(tuple((powers, number // ranks) for powers, number in one) for one in self.most))

    def greatest(self, other: Any) -> Size:
        """Return the larger of two sizes."""
        return Size(pruned((*self.most, *polynomials(other))))

    def is_one(self) -> Size:
        """Return 1 where there is one sequence, and else 0; this has to be the batch."""
        if self != Size.of(BATCH):
            raise TypeError(self)
        return Size.of(SINGLE)


def polynomials(number: Any) -> tuple[Polynomial, ...]:
    """Return the polynomials of a size, or a number as one."""
    return number.most if isinstance(number, Size) else ((((ONE, number),) if number else ()),)


def summed(a: Polynomial, b: Polynomial) -> Polynomial:
    """Add two polynomials."""
    return collected((*a, *b))


def multiplied(a: Polynomial, b: Polynomial) -> Polynomial:
    """Multiply two polynomials."""
    return collected(((i + m, j + n, k + o), x * y) for (i, j, k), x in a for (m, n, o), y in b)


def collected(terms: Iterable[tuple[Powers, int]]) -> Polynomial:
    """Return the terms in order, equal powers together."""
    found: dict[Powers, int] = {}
    for powers, number in terms:
        found[powers] = found.get(powers, 0) + number
    return tuple(sorted((powers, number) for powers, number in found.items() if number))


def at_most(a: Polynomial, b: Polynomial) -> bool:
    """Whether a is at most b wherever batch and sequence are at least 0: each of its coefficients is."""
    larger = dict(b)
    for powers, number in a:
        if number > larger.pop(powers, 0):
            return False
    return all(number >= 0 for number in larger.values())


def pruned(
    given: Iterable[Polynomial], is_below: Callable[[Polynomial, Polynomial], bool] = at_most
) -> tuple[Polynomial, ...]:
    """Leave out what is nowhere the largest, because it is below another one."""
    kept: list[Polynomial] = []
    for one in dict.fromkeys(given):
        if not any(is_below(one, other) for other in kept):
            kept = [other for other in kept if not is_below(other, one)]
            kept.append(one)
    return tuple(kept)


@dataclass(frozen=True, eq=False)
class Points:
    """The batches and sequences of a sweep, each sequence shared by `cp` ranks."""

    batch: Any
    seq: Any
    cp: int = 1

    def value(self, size: Any) -> Any:
        """Return the bytes at every point, as an array of 64-bit integers."""

        def prepare(ranges: Mapping[str, Range]) -> Callable[[Mapping[str, Any]], Any]:
            (low, high), batch = ranges["--seq"], ranges["--micro-batch"]
            seq = low // self.cp, high // self.cp
            kept = pruned(polynomials(size), lambda a, b: least_difference(b, a, batch, seq) >= 0)
            if any(largest_step(one, batch[1], seq[1]) >= LIMIT for one in kept):
                largest = {"batch": batch[1], "seq": seq[1]}
                raise BadInputError("--seq", "sizes below 2^63 bytes", largest, "sweep smaller numbers")
            return lambda at: largest_at(kept, at["--micro-batch"], at["--seq"] // self.cp)

        return sweep(prepare, {"--micro-batch": self.batch, "--seq": self.seq})


def largest_step(one: Polynomial, batch: int, seq: int) -> int:
    """Return what no step of a polynomial exceeds, up to a batch and a sequence."""
    return sum(abs(number) * batch**i * seq**j for (i, j, _), number in one)


def least_difference(a: Polynomial, b: Polynomial, batch: Range, seq: Range) -> int:
    """Return a lower bound of a - b: what is added at its least, what is taken away at its most."""
    least = 0
    for (i, j, k), number in summed(a, multiplied(b, ((ONE, -1),))):
        end = number < 0
        least += number * batch[end] ** i * seq[end] ** j if end or not k else 0
    return least


def largest_at(kept: Iterable[Polynomial], batch: Any, seq: Any) -> Any:
    """Return the largest of some polynomials at each point; what they have in common is worked out once."""
    products: dict[Powers, Any] = {ONE: 1}
    totals = []
    for one in kept:
        for i, j, k in {powers for powers, _ in one} - products.keys():
            products[i, j, k] = reduce(mul, [batch] * i + [seq] * j + [batch == 1] * k)
        totals.append(sum(number * products[powers] for powers, number in one))
    return reduce(greatest, totals)


def points(batch: Any, seq: Any, cp: int = 1) -> Points | None:
    """Return the points of a sweep, or None where batch and sequence are single numbers."""
    if not (is_array(batch) or is_array(seq)):
        return None
    if not (is_lazy(batch) or is_lazy(seq)):
        columns({"--micro-batch": batch, "--seq": seq})
    return Points(batch, seq, cp)
