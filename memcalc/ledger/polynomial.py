"""Sizes as polynomials in batch and sequence: a plan is made once, and evaluated for a million points.

A size is a sum of products of batch and sequence with whole coefficients; the largest of several sizes is
not one polynomial, so that all are kept that could be the largest somewhere. Nothing here is rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from memcalc.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
        """Add a number or a size."""
        found = tuple(summed(a, b) for b in polynomials(other) for a in self.most)
        one_of_them = len(self.most) == 1 or len(found) == len(self.most)
        return Size(found if one_of_them else pruned(found))  # what is added to all changes no order

    __radd__ = __add__

    def __sub__(self, other: Any) -> Size:
        """Take away a number, or a size that is one polynomial."""
        return self + other * -1

    def __rsub__(self, other: Any) -> Size:
        """Take this size, if it is one polynomial, away from a number."""
        return self * -1 + other

    def __mul__(self, other: Any) -> Size:
        """Multiply; by a negative number only what is one polynomial.

        Raises:
            TypeError: the largest of several sizes would become the smallest.

        """
        if len(self.most) > 1 and not (type(other) is int and other >= 0):
            raise TypeError(other)
        return Size(tuple(multiplied(a, b) for a in self.most for b in polynomials(other)))

    __rmul__ = __mul__

    def shared(self, ranks: int) -> Size:
        """Divide what ranks divide.

        Raises:
            BadInputError: a coefficient is no multiple of the ranks.

        """
        if any(number % ranks for one in self.most for _, number in one):
            remedy = "ask for single plans, which round up"
            raise BadInputError("--tp", "ranks that divide every width in a sweep", ranks, remedy)
        return Size(tuple(tuple((powers, number // ranks) for powers, number in one) for one in self.most))

    def greatest(self, other: Any) -> Size:
        """Return the larger of two sizes."""
        return Size(pruned((*self.most, *polynomials(other))))

    def is_one(self) -> Size:
        """Return 1 where there is one sequence, and else 0; of the batch alone.

        Raises:
            TypeError: this is not the batch.

        """
        if self != Size.of(BATCH):
            raise TypeError(self)
        return Size.of(SINGLE)


def polynomials(number: Any) -> tuple[Polynomial, ...]:
    """Return the polynomials of a size, or a number as one."""
    return number.most if isinstance(number, Size) else ((((ONE, number),) if number else ()),)


def summed(a: Polynomial, b: Polynomial) -> Polynomial:
    """Add two polynomials."""
    found = dict(a)
    for powers, number in b:
        found[powers] = found.get(powers, 0) + number
    return tuple(sorted((powers, number) for powers, number in found.items() if number))


def multiplied(a: Polynomial, b: Polynomial) -> Polynomial:
    """Multiply two polynomials."""
    found: dict[Powers, int] = {}
    for (i, j, k), one in a:
        for (m, n, o), other in b:
            powers = i + m, j + n, k + o
            found[powers] = found.get(powers, 0) + one * other
    return tuple(sorted((powers, number) for powers, number in found.items() if number))


def pruned(given: Iterable[Polynomial]) -> tuple[Polynomial, ...]:
    """Leave out what can never be the largest: each of its coefficients is at most another one's."""
    kept: list[Polynomial] = []
    for one in dict.fromkeys(given):
        if any(at_most(one, other) for other in kept):
            continue
        kept = [other for other in kept if not at_most(other, one)]
        kept.append(one)
    return tuple(kept)


def at_most(a: Polynomial, b: Polynomial) -> bool:
    """Whether a is at most b wherever batch and sequence are at least 0."""
    larger = dict(b)
    for powers, number in a:
        if number > larger.pop(powers, 0):
            return False
    return all(number >= 0 for number in larger.values())


@dataclass(frozen=True, eq=False)
class Points:
    """The batches and sequences of a sweep, as arrays of 64-bit integers that fit each other."""

    batch: Any
    seq: Any

    def value(self, size: Any) -> Any:
        """Return the bytes at every point, as an array of 64-bit integers.

        Raises:
            BadInputError: a step would not fit into 64 bits.

        """
        import numpy as np

        largest = {"batch": int(self.batch.max()), "seq": int(self.seq.max())}
        products: dict[Powers, Any] = {}
        found = None
        for one in self.possible(polynomials(size)):
            bound = sum(
                abs(number) * largest["batch"] ** i * largest["seq"] ** j for (i, j, _), number in one
            )
            if bound >= LIMIT:
                raise BadInputError("--seq", "sizes below 2^63 bytes", largest, "sweep smaller numbers")
            total = np.zeros(np.broadcast(self.batch, self.seq).shape, dtype="int64")
            for powers, number in one:
                if powers not in products:
                    i, j, k = powers
                    products[powers] = self.batch**i * self.seq**j * (self.batch == 1) ** k
                total += number * products[powers]
            found = total if found is None else np.maximum(found, total)
        return found

    def possible(self, given: tuple[Polynomial, ...]) -> tuple[Polynomial, ...]:
        """Leave out what is nowhere the largest among these points, as far as their bounds tell."""
        bounds = [(int(array.min()), int(array.max())) for array in (self.batch, self.seq)]
        kept: list[Polynomial] = []
        for one in given:
            if not any(least_difference(other, one, *bounds) >= 0 for other in kept):
                kept = [other for other in kept if least_difference(one, other, *bounds) < 0]
                kept.append(one)
        return tuple(kept)


def least_difference(a: Polynomial, b: Polynomial, batch: tuple[int, int], seq: tuple[int, int]) -> int:
    """Return a lower bound of a - b: what is added at its least, what is taken away at its most."""
    least = 0
    for (i, j, k), number in summed(a, multiplied(b, ((ONE, -1),))):
        end = number < 0
        product = batch[end] ** i * seq[end] ** j
        least += number * (product if not k else product if end else 0)
    return least


def points(numbers: Mapping[str, Any]) -> Points | None:
    """Return the points of a sweep, or None where both numbers are single ones.

    Raises:
        BadInputError: an array is not of whole numbers >= 1, or they do not fit each other.

    """
    if not any(type(value).__module__ == "numpy" for value in numbers.values()):
        return None
    import numpy as np

    arrays = {name: np.asarray(value) for name, value in numbers.items()}
    for name, array in arrays.items():
        if array.dtype.kind not in "iu" or array.size == 0 or array.min() < 1:
            given = f"{array.size} of {array.dtype}"
            raise BadInputError(f"--{name}", "an array of whole numbers >= 1", given, "cast it to int64")
    try:
        np.broadcast(*arrays.values())
    except ValueError:
        given = ", ".join(str(array.shape) for array in arrays.values())
        raise BadInputError("--seq", "arrays of one shape", given, "one element for each point") from None
    return Points(arrays["micro-batch"].astype("int64"), arrays["seq"].astype("int64"))
