"""What formulas are made of: the vocabulary's letters, and the order in which textbooks write them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import sympy

from memcalc.errors import BadInputError
from memcalc.ledger.vocabulary import WORDS, word

if TYPE_CHECKING:
    from memcalc.ledger.vocabulary import Quantity

__all__ = ["symbol", "symbols"]

PRIME = "'"  # a second quantity of the same name, in a model that has two
ORDER = {name: position for position, name in enumerate(WORDS)}
LETTER, ROUNDING, BRACKET = 1, 2, 3  # the kinds of factors, in the order of a product


@cache
def symbol(name: str) -> sympy.Symbol:
    """Return the symbol of a quantity, a whole number of 1 or more; LookupError if there is no such word.

    >>> symbol("kv_heads")
    kv_heads
    """
    word(name.rstrip(PRIME))
    return sympy.Symbol(name, integer=True, positive=True)


def symbols(names: str) -> tuple[sympy.Symbol, ...]:
    """Return the symbols of several quantities, as `sympy.symbols` does.

    >>> symbols("depth width")
    (depth, width)
    """
    return tuple(symbol(name) for name in names.split())


def quantity(item: sympy.Symbol) -> Quantity:
    """Return the word of the vocabulary that a symbol stands for."""
    return word(item.name.rstrip(PRIME))


def expression_of(thing: object) -> Any:
    """Return the SymPy expression of a formula, or of what can be one."""
    return sympy.sympify(getattr(thing, "expression", thing), strict=True)


def letters_of(expression: Any) -> list[sympy.Symbol]:
    """Return the symbols of an expression, in the vocabulary's order."""
    return sorted(expression.free_symbols, key=factor_order)


def as_fraction(expression: Any) -> tuple[Any, Any]:
    """Return numerator and denominator; the latter is 1 where nothing is divided."""
    return expression.as_numer_denom() if has_division(expression) else (expression, sympy.S.One)


def has_division(expression: Any) -> bool:
    """Return whether something is divided, outside of roundings."""
    match expression:
        case sympy.Rational():
            return not expression.is_Integer
        case sympy.Pow():
            return bool(expression.exp.is_negative) or has_division(expression.base)
        case sympy.Add() | sympy.Mul():
            return any(map(has_division, expression.args))
    return False


def unsupported(expression: Any) -> BadInputError:
    """Return the error for a kind of node that none of memcalc's formulas has."""
    expected = "sums, products, whole powers, quotients, minima and roundings of whole numbers"
    return BadInputError("formula", expected, expression, "derive it from tensors")


def factor_order(item: Any) -> tuple[int, int, list[int], Any]:
    """Return where a factor stands in a product: numbers, letters, roundings, brackets."""
    if item.is_Number:
        return 0, 0, [], ()
    kind = BRACKET if item.is_Add else LETTER if has_letters_only(item) else ROUNDING
    return kind, degree(item) if kind == BRACKET else 0, positions(item), sympy.default_sort_key(item)


def term_order(term: Any) -> tuple[int, bool, list[int], Any]:
    """Return where a term stands in a sum: the highest degree first, roundings after letters."""
    return -degree(term), not has_letters_only(term), positions(term), sympy.default_sort_key(term)


def has_letters_only(item: Any) -> bool:
    """Return whether neither a rounding nor a minimum is in it."""
    return not item.has(sympy.ceiling, sympy.floor, sympy.Min)


def positions(item: Any) -> list[int]:
    """Return where the letters of an expression stand in the vocabulary."""
    return sorted(ORDER[one.name.rstrip(PRIME)] for one in item.free_symbols)


def degree(term: Any) -> int:
    """Return how many factors a term has at most; a rounding counts as one, a bracket as its highest term."""
    match term:
        case sympy.Mul():
            return sum(map(degree, term.args))
        case sympy.Pow():
            return degree(term.base) * int(term.exp) if term.exp.is_Integer else 1
        case sympy.Add():
            return max(map(degree, term.args))
    return 0 if term.is_Number else 1
