"""Formulas as JavaScript functions, exact up to 2^53 and refusing beyond."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.formula.arithmetic import Arithmetic, work_out
from memcalc.formula.expression import PRIME, expression_of, letters_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["JAVASCRIPT", "to_javascript"]

JAVASCRIPT = Path(__file__).with_name("exact.js").read_text(encoding="utf-8")
RESERVED = (
    "exact counts plus times least floor_div ceil_div divided "  # the functions of exact.js
    "arguments await break case catch class const continue debugger default delete do else enum eval export "
    "extends false finally for function if implements import in instanceof interface let new null package "
    "private protected public return static super switch this throw true try typeof undefined var void while "
    "with yield Infinity Math NaN Number RangeError"
)


def call(function: str) -> Callable[..., str]:
    """Return what writes a call of a JavaScript function."""
    return lambda *items: f"{function}({', '.join(items)})"


def literal(number: int) -> str:
    """Return a number in JavaScript, unless it would be rounded there."""
    if abs(number) >= 2**53:
        raise BadInputError("formula", "numbers below 2^53", number, "JavaScript rounds it")
    return str(number)


CALLS = Arithmetic(number=literal, **{name: call(name) for name in Arithmetic._fields[1:]})


def to_javascript(name: str, expression: object, arguments: Sequence[str] | None = None) -> str:
    """Return a JavaScript function of whole numbers that throws a RangeError where it would not be exact.

    Parameters
    ----------
    name : str
        The function's name.
    expression : Formula or sympy.Expr
        What it returns.
    arguments : sequence of str, optional
        Its parameters in order; by default the formula's own symbols.

    Returns
    -------
    str
        The function; it calls those in `JAVASCRIPT`.

    Examples
    --------
    >>> from memcalc.formula import symbol
    >>> print(to_javascript("cache", 2 * symbol("batch") * symbol("context")))
    function cache(batch, context) { counts(batch, context); return times(2, batch, context); }

    """
    tree = expression_of(expression)
    own = [item.name for item in letters_of(tree)]
    arguments = own if arguments is None else arguments
    if not set(own) <= set(arguments):
        raise BadInputError("arguments", f"all of {', '.join(own)}", list(arguments), "name every symbol")
    if name in {*map(identifier, arguments), *RESERVED.split()}:
        raise BadInputError("name", "a name of its own", name, "JavaScript takes it for something else")
    listed = ", ".join(map(identifier, arguments))
    body = work_out(tree, lambda item: identifier(item.name), CALLS)
    return f"function {name}({listed}) {{ counts({listed}); return {body}; }}"


def identifier(name: str) -> str:
    """Return a symbol's name as JavaScript allows it."""
    if name in RESERVED.split():
        raise BadInputError("arguments", "names that JavaScript leaves free", name, "rename the quantity")
    return name.replace(PRIME, "_prime")
