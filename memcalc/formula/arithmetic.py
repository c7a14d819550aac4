"""How a formula is worked out: one walk over the expression, and a few operations to walk it with."""

from __future__ import annotations

import operator
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import sympy

from memcalc.errors import BadInputError
from memcalc.formula.expression import as_fraction, factor_order, unsupported
from memcalc.ledger.tensor import ceil_div, least

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Range = tuple[int, int]  # the least and the largest that a step of a sweep can come to

__all__ = ["evaluate"]


class Arithmetic(NamedTuple):
    """The operations that memcalc's formulas are made of."""

    number: Callable[[int], Any]
    plus: Callable[..., Any]
    times: Callable[..., Any]
    least: Callable[..., Any]
    ceil_div: Callable[[Any, Any], Any]
    floor_div: Callable[[Any, Any], Any]
    divided: Callable[[Any, Any], Any]


def work_out(expression: Any, letters: Callable[[sympy.Symbol], Any], do: Arithmetic) -> Any:
    """Return what an arithmetic makes of an expression, each letter replaced by what stands for it."""

    def of(item: Any) -> Any:
        return work_out(item, letters, do)

    def all_of(items: Iterable[Any]) -> Iterable[Any]:
        return map(of, sorted(items, key=factor_order))

    match expression:
        case sympy.Symbol():
            return letters(expression)
        case sympy.Integer():
            return do.number(int(expression))
        case sympy.ceiling():
            return do.ceil_div(*map(of, as_fraction(expression.args[0])))
        case sympy.floor():
            return do.floor_div(*map(of, as_fraction(expression.args[0])))
        case sympy.Min():
            return do.least(*all_of(expression.args))
    above, below = as_fraction(expression)
    if below != 1:
        return do.divided(of(above), of(below))
    match expression:
        case sympy.Add():
            return do.plus(*all_of(expression.args))
        case sympy.Mul():
            return do.times(*all_of(expression.args))
        case sympy.Pow(exp=sympy.Integer()):
            return do.times(*[of(expression.base)] * int(expression.exp))
    raise unsupported(expression)


def folded(operation: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Return an operation on two numbers as one on several."""
    return lambda *items: reduce(operation, items)


def quotient(above: Any, below: Any) -> Any:
    """Return above / below, and refuse a remainder."""
    whole, remainder = divmod(above, below)
    if remainder.any() if hasattr(remainder, "any") else remainder:
        raise BadInputError("formula", "a whole number", f"{above} / {below}", "make the quotient whole")
    return whole


NUMBERS = Arithmetic(
    number=int,
    plus=folded(operator.add),
    times=folded(operator.mul),
    least=folded(least),
    ceil_div=ceil_div,
    floor_div=operator.floordiv,
    divided=quotient,
)


def evaluate(expression: Any, numbers: Mapping[sympy.Symbol, Any]) -> Any:
    """Return the value of an expression, exact: no float is made on the way.

    Parameters
    ----------
    expression : sympy.Expr
        An expression in the vocabulary's symbols.
    numbers : mapping of Symbol to int or array
        A whole number, or an array of them, for each symbol.

    """
    return work_out(expression, numbers.__getitem__, NUMBERS)


def within_64_bits(numbers: Iterable[int]) -> Range:
    """Return the range of some numbers; what a 64-bit integer cannot hold is refused, as NumPy would not."""
    low, high = min(found := list(numbers)), max(found)
    if low < -(2**63) or high >= 2**63:
        remedy = "use smaller numbers, or `value` for one point"
        raise BadInputError("sweep", "numbers below 2^63 at every step", f"up to {max(-low, high)}", remedy)
    return low, high


def ranged(operation: Callable[[int, int], int]) -> Callable[..., Range]:
    """Return the operation on ranges: its extremes are taken at their ends."""
    return folded(lambda one, other: within_64_bits(operation(x, y) for x in one for y in other))


RANGES = Arithmetic(
    number=lambda number: within_64_bits((number, number)),
    plus=ranged(operator.add),
    times=ranged(operator.mul),
    least=ranged(min),
    ceil_div=ranged(ceil_div),
    floor_div=ranged(operator.floordiv),
    divided=ranged(operator.floordiv),
)
