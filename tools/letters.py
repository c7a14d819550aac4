"""Whole numbers with letters in them, as JavaScript: sums of products, minima and roundings.

memcalc's arithmetic never asks what its numbers are. SymPy's symbols are arranged at every step, for
a reader; these only add up coefficients, for a browser, and a step takes a few microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from memcalc.errors import BadInputError

__all__ = ["Letters", "javascript_of", "letter"]

EXACT = 2**53  # JavaScript rounds whole numbers from here on
Terms = dict[tuple[str, ...], int]  # factors in order -> how often: () is the number without letters


@dataclass(frozen=True)
class Letters:
    """A sum of products of letters with whole numbers.

    A factor is a letter, or a call of a function in memcalc/formula/exact.js.

    >>> from memcalc.ledger.tensor import least
    >>> batch, context = letter("batch"), letter("context")
    >>> print(4 * batch * context + 2 * (batch + 1) - 2)
    plus(times(2, batch), times(4, batch, context))
    >>> print(least(context, 4096) * batch, -(-context // 16))
    times(batch, least(4096, context)) ceil_div(context, 16)
    """

    terms: tuple[tuple[tuple[str, ...], int], ...]

    def __str__(self) -> str:
        products = [_product(factors, number) for factors, number in self.terms]
        return products[0] if len(products) == 1 else f"plus({', '.join(products)})"

    def __add__(self, other: Any) -> Any:
        found = dict(self.terms)
        for factors, number in _terms(other):
            found[factors] = found.get(factors, 0) + number
        return _collected(found)

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, int):  # their order stays
            return Letters(tuple((factors, number * other) for factors, number in self.terms)) if other else 0
        found: Terms = {}
        for factors, number in self.terms:
            for more, times in _terms(other):
                both = tuple(sorted((*factors, *more)))
                found[both] = found.get(both, 0) + number * times
        return _collected(found)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Any:
        return self * -1

    def __sub__(self, other: Any) -> Any:
        return self + other * -1

    def __rsub__(self, other: Any) -> Any:
        return self * -1 + other

    def __floordiv__(self, other: int) -> Any:
        if type(other) is not int or other < 1:
            raise TypeError(other)
        if all(number % other == 0 for _, number in self.terms):
            return Letters(tuple((factors, number // other) for factors, number in self.terms))
        if all(number < 0 for factors, number in self.terms if factors):  # -(-a // b) is a / b rounded up
            return -_call("ceil_div", str(-self), str(other))
        return _call("floor_div", str(self), str(other))

    def __mod__(self, other: int) -> int:
        if any(number % other for _, number in self.terms):
            raise TypeError(self)  # it depends on the letters
        return 0

    def least(self, other: Any) -> Any:
        """Return the smaller of two numbers: one of them where that is sure, letters being 1 or more."""
        for one, than in ((self, other), (other, self)):
            if all(number >= 0 and is_count(factors) for factors, number in _terms(than - one)):
                return one
        return _call("least", *sorted((str(self), str(other))))

    def greatest(self, other: Any) -> Any:
        """Return the larger of two numbers: both without the smaller one."""
        return self + other - self.least(other)


def is_count(factors: tuple[str, ...]) -> bool:
    """Say whether a product is certainly not negative: the smaller of two numbers may be."""
    return not any(factor.startswith("least(") for factor in factors)


def letter(name: str) -> Any:
    """Return a letter, a whole number of 1 or more."""
    return Letters((((name,), 1),))


def javascript_of(number: Any) -> str:
    """Return a number, with letters or without, as JavaScript; one that JavaScript rounds is refused.

    >>> javascript_of(4096), javascript_of(2 * letter("batch"))
    ('4096', 'times(2, batch)')
    """
    if any(abs(times) >= EXACT for _, times in _terms(number)):
        raise BadInputError("formula", "numbers below 2^53", str(number), "JavaScript rounds it")
    return str(number if isinstance(number, Letters) else int(number))


def _call(function: str, *arguments: str) -> Any:
    return letter(f"{function}({', '.join(arguments)})")


def _product(factors: tuple[str, ...], number: int) -> str:
    parts = [*([] if number == 1 and factors else [str(number)]), *factors]
    return parts[0] if len(parts) == 1 else f"times({', '.join(parts)})"


def _terms(number: Any) -> Any:
    if isinstance(number, Letters):
        return number.terms
    if not isinstance(number, int):
        raise TypeError(number)  # a float would not be exact
    return (((), int(number)),) if number else ()


def _collected(found: Terms) -> Any:
    """Return a sum, as a plain number where no letter is left."""
    terms = tuple(sorted(item for item in found.items() if item[1]))
    if not terms or terms[-1][0] == ():
        return terms[0][1] if terms else 0
    return Letters(terms)
