"""Formulas in LaTeX: sums from the highest degree down, products in the vocabulary's order."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import sympy

from memcalc.formula.expression import (
    PRIME,
    as_fraction,
    expression_of,
    factor_order,
    quantity,
    term_order,
    unsupported,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Proof", "Shown", "to_latex"]

LINE = 56  # characters of a formula that fit on one line of a page


class Shown(NamedTuple):
    """Equal expressions that a notebook shows as mathematics: side by side, or below each other if long."""

    sides: tuple[str, ...]
    conditions: str = ""

    @property
    def latex(self) -> str:
        """All sides on one line."""
        return " = ".join(self.sides) + self.conditions

    def _repr_latex_(self) -> str:
        if printed_length(self.latex) <= LINE:
            return f"$\\displaystyle {self.latex}$"
        first, *others = self.sides
        lines = [f"& {first}", *(f"&= {side}" for side in others)]
        lines[-1] += self.conditions
        return "$\\displaystyle \\begin{aligned} " + r" \\ ".join(lines) + " \\end{aligned}$"

    def __repr__(self) -> str:
        """Return the LaTeX."""
        return self.latex


class Proof(Shown):
    """An equation that SymPy has proved."""


def printed_length(latex: str) -> int:
    r"""Return about how many characters are printed: a command is one.

    >>> printed_length(r"4 \cdot 1{,}024 = 4{,}096")
    13
    """
    return len(re.sub(r"\\[A-Za-z]+|\\ ", "x", latex).translate(str.maketrans("", "", " {}_^")))


def letter(item: sympy.Symbol) -> str:
    """Return a symbol's LaTeX."""
    return quantity(item).latex + PRIME * item.name.count(PRIME)


def in_groups(number: int) -> str:
    """Return a whole number in LaTeX, in groups of three.

    >>> in_groups(262144)
    '262{,}144'
    """
    return f"{number:,}".replace(",", "{,}")


def to_latex(expression: object, numbers: Mapping[sympy.Symbol, Any] | None = None) -> str:
    r"""Return an expression in LaTeX as a textbook writes it.

    Parameters
    ----------
    expression : Formula or sympy.Expr
        What is printed.
    numbers : mapping of Symbol to int, optional
        Numbers in the place of letters.

    Examples
    --------
    >>> from memcalc.formula import symbols
    >>> L, h, f = symbols("depth width ffn_width")
    >>> print(to_latex(L * (3 * h * f + 2 * h) + h))
    L(3hf + 2h) + h

    """
    return printed(expression_of(expression), numbers or {})


def printed(expression: Any, numbers: Mapping[sympy.Symbol, Any]) -> str:
    """Return a node's LaTeX."""

    def of(item: Any) -> str:
        return printed(item, numbers)

    def fraction(above: Any, below: Any) -> str:
        return of(above) if below == 1 else rf"\frac{{{of(above)}}}{{{of(below)}}}"

    match expression:
        case sympy.Symbol():
            return in_groups(numbers[expression]) if expression in numbers else letter(expression)
        case sympy.Integer():
            return in_groups(int(expression))
        case sympy.ceiling():
            return rf"\left\lceil {fraction(*as_fraction(expression.args[0]))} \right\rceil"
        case sympy.floor():
            return rf"\left\lfloor {fraction(*as_fraction(expression.args[0]))} \right\rfloor"
        case sympy.Min():
            return rf"\min({', '.join(map(of, sorted(expression.args, key=factor_order)))})"
        case sympy.Add():
            return " + ".join(map(of, sorted(expression.args, key=term_order))).replace("+ -", "- ")
    above, below = sympy.fraction(expression)
    if below != 1:
        return fraction(above, below)
    match expression:
        case sympy.Mul():
            return product(expression, numbers)
        case sympy.Pow():
            return f"{bracketed(expression.base, numbers)}^{{{expression.exp}}}".replace("^{2}", "^2")
    raise unsupported(expression)


def product(expression: Any, numbers: Mapping[sympy.Symbol, Any]) -> str:
    """Return a product's LaTeX: juxtaposed letters, or numbers with dots between them."""
    factors = sorted(expression.args, key=factor_order)
    sign = "-" if factors[0] == -1 else ""
    texts = [bracketed(factor, numbers) for factor in factors if factor != -1]
    return sign + (r" \cdot ".join(texts) if numbers else juxtaposed(texts))


def juxtaposed(texts: Sequence[str]) -> str:
    r"""Return factors side by side; a space ends a command that a letter would become part of.

    >>> juxtaposed(["2", r"\beta", "h"]), juxtaposed(["2", "h", r"\beta"])
    ('2\\beta h', '2h\\beta')
    """
    return re.sub(r"(\\[A-Za-z]+)\x00(?=[A-Za-z])", r"\1 ", "\x00".join(texts)).replace("\x00", "")


def bracketed(factor: Any, numbers: Mapping[sympy.Symbol, Any]) -> str:
    """Return a factor's LaTeX, a sum in brackets."""
    text = printed(factor, numbers)
    return f"({text})" if factor.is_Add else text
