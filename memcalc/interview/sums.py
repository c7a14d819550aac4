"""Sums as templates write them: evaluated exactly, printed in words and in numbers, and counted.

A sum is one or more steps, ``name = expression``, separated by semicolons or lines; the last gives the
answer. Expressions have ``+ - * / // **``, brackets, numbers, names, and the functions ``ceil``, ``floor``,
``min`` and ``max``. Every value is a whole number or an exact fraction.
"""

from __future__ import annotations

import ast
import operator
from fractions import Fraction
from functools import cache
from math import ceil, floor
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Number", "Step", "evaluate", "names", "numeral", "operations", "printed", "significant", "steps"]

Number = int | Fraction


SUM, PRODUCT, POWER, ATOM = range(4)  # how tightly an expression holds together
DECIMALS = 6  # significant digits of a value on the way that is no whole number
EXACT = 8  # so many stand there if they say it exactly: who multiplies on gets the next line


class Operation(NamedTuple):
    """An operation: how it is computed, its sign, and how tightly it binds."""

    compute: Callable[[Number, Number], Number]
    sign: str
    binds: int


OPERATIONS: dict[type, Operation] = {
    ast.Add: Operation(operator.add, " + ", SUM),
    ast.Sub: Operation(operator.sub, " − ", SUM),
    ast.Mult: Operation(operator.mul, " × ", PRODUCT),
    ast.Div: Operation(Fraction, " ÷ ", PRODUCT),
    ast.FloorDiv: Operation(operator.floordiv, " ÷ ", ATOM),
    ast.Pow: Operation(operator.pow, "^", POWER),
}
FUNCTIONS: dict[str, Callable[..., Number]] = {"ceil": ceil, "floor": floor, "min": min, "max": max}
BRACKETS = {"ceil": "⌈{}⌉", "floor": "⌊{}⌋"}


class Step(NamedTuple):
    """A step of a sum: the name of its value, and the expression."""

    name: str
    expression: ast.expr


@cache
def steps(text: str) -> tuple[Step, ...]:
    """Read a sum.

    Parameters
    ----------
    text : str
        ``name = expression``, once or several times.

    Raises
    ------
    ValueError
        It is no sum of this kind.

    Examples
    --------
    >>> [step.name for step in steps("token = 2 * depth * 128; cache = token * context")]
    ['token', 'cache']

    """
    found = []
    for line in filter(None, (part.strip() for part in text.replace("\n", ";").split(";"))):
        name, _, expression = line.partition("=")
        found.append(Step(name.strip(), ast.parse(expression.strip(), mode="eval").body))
    for step in found:
        for node in ast.walk(step.expression):
            check(node)
    return tuple(found)


def check(node: ast.AST) -> None:
    """Refuse what no sum has: a template is data, and nothing in it may run."""
    allowed = (ast.BinOp, ast.operator, ast.Name, ast.Load, ast.Call, ast.Constant)
    is_known = not isinstance(node, ast.Call) or (
        isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS and not node.keywords
    )
    if not isinstance(node, allowed) or not is_known:
        raise ValueError(f"a sum has no {ast.unparse(node)}")


def evaluate(expression: ast.expr, known: Mapping[str, Number]) -> Number:
    """Return the exact value of an expression, a whole number wherever it is one.

    >>> evaluate(steps("gib = 3 * size / 2**30")[0].expression, {"size": 2**29})
    Fraction(3, 2)
    """
    match expression:
        case ast.Constant(value=float() as number):
            found: Number = Fraction(str(number))
        case ast.Constant(value=int() as number):
            found = number
        case ast.Name(id=name):
            found = known[name]
        case ast.BinOp(left=left, op=op, right=right):
            found = OPERATIONS[type(op)].compute(evaluate(left, known), evaluate(right, known))
        case ast.Call(func=ast.Name(id=name), args=given):
            found = FUNCTIONS[name](*(evaluate(one, known) for one in given))
        case _:
            raise ValueError(f"a sum has no {ast.unparse(expression)}")
    return int(found) if found == int(found) else Fraction(found)


def printed(expression: ast.expr, show: Callable[[str], str]) -> str:
    """Print an expression as textbooks do.

    Parameters
    ----------
    expression : ast.expr
        From a step.
    show : callable
        What is written for a name: words, or its number.

    Examples
    --------
    >>> printed(steps("left = ceil((a + 2) / b) * 0.9")[0].expression, str.upper)
    '⌈(A + 2) ÷ B⌉ × 0.9'

    """
    return held(expression, show)[0]


def held(expression: ast.expr, show: Callable[[str], str]) -> tuple[str, int]:
    """Print an expression, and say how tightly it binds."""
    match expression:
        case ast.Constant(value=number):
            return numeral(Fraction(str(number))), ATOM
        case ast.Name(id=name):
            words = show(name)
            return words, ATOM
        case ast.BinOp(left=left, op=op, right=right):
            operation = OPERATIONS[type(op)]
            if isinstance(op, ast.FloorDiv):
                both = side(left, show, PRODUCT), side(right, show, POWER)
                return f"⌊{' ÷ '.join(both)}⌋", ATOM
            if isinstance(op, ast.Pow):
                return f"{side(left, show, ATOM)}^{side(right, show, ATOM)}", POWER
            tighter = operation.binds + isinstance(op, ast.Sub | ast.Div)
            first, second = side(left, show, operation.binds), side(right, show, tighter)
            return f"{first}{operation.sign}{second}", operation.binds
        case ast.Call(func=ast.Name(id=name), args=given):
            inside = ", ".join(printed(one, show) for one in given)
            return BRACKETS.get(name, name + "({})").format(inside), ATOM
        case _:
            raise ValueError(f"a sum has no {ast.unparse(expression)}")


def side(expression: ast.expr, show: Callable[[str], str], least: int) -> str:
    """Print one side of an operation, in brackets where it would come apart."""
    text, binds = held(expression, show)
    return text if binds >= least else f"({text})"


def names(expression: ast.expr) -> set[str]:
    """Return the names of quantities in an expression."""
    found = {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)}
    return found - FUNCTIONS.keys()


def operations(expression: ast.expr) -> int:
    """Count the operations of an expression: a power of two is a number that one knows.

    >>> operations(steps("size = ceil(2 * a / 2**30)")[0].expression)
    3
    """
    counted = (ast.BinOp, ast.Call)
    found = [node for node in ast.walk(expression) if isinstance(node, counted)]
    return sum(not is_power_of_two(node) for node in found)


def is_power_of_two(node: ast.AST) -> bool:
    """Whether a node is a power such as 2**30."""
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)


def numeral(number: Number) -> str:
    """Write a number with thousands commas; of a fraction six significant digits, or all if they are few.

    >>> numeral(262144), numeral(Fraction(1, 3)), numeral(Fraction(45, 10)), numeral(Fraction(65, 64))
    ('262,144', '0.333333', '4.5', '1.015625')
    """
    if number == int(number):
        return f"{int(number):,}"
    for decimals in range(1, EXACT):
        if (number * 10**decimals).denominator == 1 and abs(number) < 10 ** (EXACT - decimals):
            return f"{float(number):,.{decimals}f}"
    whole = len(str(abs(int(number)))) if not -1 < number < 1 else 0
    return f"{float(number):,.{max(DECIMALS - whole, 1)}f}".rstrip("0").rstrip(".")


def significant(number: Number) -> int:
    """Count the significant digits of a number as it is written: 8,192 has four, 0.9 and 4,000 have one.

    >>> significant(8192), significant(4000), significant(Fraction(9, 10))
    (4, 1, 1)
    """
    return len(numeral(number).replace(",", "").replace(".", "").strip("0")) or 1
