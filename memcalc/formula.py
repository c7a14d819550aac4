"""Formulas: lift a model to letters, derive its formula from its tensors, prove it, print it.

No formula is typed beside the code that computes it: the same tensors are summed with letters in the place of
numbers. SymPy adds and proves; it does not arrange, because its order is alphabetical and not a textbook's.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, fields, replace
from functools import cache, reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import sympy

from memcalc.errors import BadInputError, ProofError
from memcalc.model import Layer, Model
from memcalc.tensor import ceil_div, least
from memcalc.vocabulary import WORDS, word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from memcalc.parts import Part
    from memcalc.tensor import Tensor

__all__ = [
    "JAVASCRIPT",
    "Formula",
    "Lifted",
    "Proof",
    "derive",
    "formula",
    "lift",
    "prove",
    "symbol",
    "symbols",
    "to_javascript",
    "to_latex",
]

ORDER = {name: position for position, name in enumerate(WORDS)}
PRIME = "'"  # a second quantity of the same name, in a model that has two


@cache
def symbol(name: str) -> sympy.Symbol:
    """Return the symbol of a quantity: a whole number of 1 or more.

    >>> symbol("kv_heads")
    kv_heads

    Raises:
        LookupError: the vocabulary has no such word.

    """
    word(name.rstrip(PRIME))
    return sympy.Symbol(name, integer=True, positive=True)


def symbols(names: str) -> tuple[sympy.Symbol, ...]:
    """Return the symbols of several quantities.

    >>> symbols("depth width")
    (depth, width)
    """
    return tuple(symbol(name) for name in names.split())


class Lifted(NamedTuple):
    """A model with letters in the place of numbers, and the numbers."""

    model: Model
    numbers: dict[str, int]


def lift(model: Model) -> Lifted:
    """Replace each number of a model's parts by the symbol of its field, and remember the numbers.

    Equal layers become one layer, counted by a symbol: ``depth`` where all layers are equal, otherwise the
    word of the part that tells them apart. Two numbers of one name in one model get a prime.

    >>> from memcalc.sources import load_model
    >>> lifted = lift(load_model("Qwen/Qwen3-32B"))
    >>> derive(lifted.model.weights()).value(**lifted.numbers)
    32762123264
    """
    numbers: dict[str, int] = {}

    def letter(name: str, number: int) -> sympy.Symbol:
        while numbers.setdefault(name, number) != number:
            name += PRIME
        return symbol(name)

    def lifted(part: Any) -> Any:
        found = {item.name: getattr(part, item.name) for item in fields(part)}
        return replace(part, **{name: letter(name, n) for name, n in found.items() if type(n) is int})

    def named(parts: Sequence[tuple[str, Part]]) -> tuple[tuple[str, Part], ...]:
        return tuple((name, lifted(part)) for name, part in parts)

    outside = named(model.outside)
    layers = tuple(
        Layer(named(group.parts), letter(counted(group, model.groups), group.times)) for group in model.groups
    )
    return Lifted(Model(model.name, model.model_type, layers, outside, model.tied), numbers)


def counted(layer: Layer, groups: Sequence[Layer]) -> str:
    """Return the word for how many layers are like this one."""
    others = [part for group in groups if group is not layer for _, part in group.parts]
    own = [part.counted for _, part in layer.parts if part not in others]
    return next((name for name in own if len(groups) > 1 and name != "depth"), "depth")


@dataclass(frozen=True)
class Formula:
    """An expression in the vocabulary's symbols that a notebook shows as a textbook prints it.

    >>> h, a, d = symbols("width heads head_dim")
    >>> Formula(2 * a * d * h).latex
    '2had'
    """

    expression: Any

    @property
    def latex(self) -> str:
        """The formula in LaTeX."""
        return to_latex(self.expression)

    @property
    def symbols(self) -> list[sympy.Symbol]:
        """Its symbols, in the vocabulary's order."""
        return sorted(self.expression.free_symbols, key=place)

    def legend(self) -> list[dict[str, object]]:
        """Return a row for each symbol: its letter, its name, what it means."""
        return [
            {
                "letter": f"${letter(item)}$",
                "name": item.name,
                "meaning": word(item.name.rstrip(PRIME)).meaning,
            }
            for item in self.symbols
        ]

    def value(self, **numbers: int) -> int:
        """Return the exact number; numbers of other quantities than this formula's are left alone.

        Raises:
            BadInputError: a symbol has no number, a number is not whole, a name is no quantity.

        """
        return int(evaluate(self.expression, self.given(numbers)))

    def given(self, numbers: Mapping[str, Any]) -> dict[sympy.Symbol, Any]:
        """Return the number of each of the formula's symbols."""
        for name in numbers:
            word(name.rstrip(PRIME))
        missing = [item.name for item in self.symbols if item.name not in numbers]
        if missing:
            expected = f"a number for {', '.join(missing)}"
            raise BadInputError("formula", expected, list(numbers), "say how large each quantity is")
        return {item: numbers[item.name] for item in self.symbols}

    def substituted(self, **numbers: int) -> Shown:
        """Return the formula, the numbers put in, and the result, side by side."""
        put_in = to_latex(self.expression, self.given(numbers))
        return Shown(f"{self.latex} = {put_in} = {thin(self.value(**numbers))}")

    def sweep(self, **arrays: Any) -> Any:
        """Return the values for whole arrays of numbers, as 64-bit integers.

        >>> import numpy
        >>> Formula(2 * symbol("depth")).sweep(depth=numpy.array([32, 64]))
        array([ 64, 128])

        Raises:
            BadInputError: an array is not of whole numbers, or a result would not fit into 64 bits.

        """
        import numpy as np

        columns = {item: np.asarray(array) for item, array in self.given(arrays).items()}
        for item, column in columns.items():
            if column.dtype.kind not in "iu":
                raise BadInputError(item.name, "whole numbers", column.dtype, "cast them to int64")
        corner = {item: int(column.max()) for item, column in columns.items()}
        if evaluate(self.expression, corner) >= 2**63:
            largest = {item.name: number for item, number in corner.items()}
            raise BadInputError("sweep", "results below 2^63", largest, "use smaller numbers, or `value`")
        return evaluate(self.expression, {item: column.astype("int64") for item, column in columns.items()})

    def __mul__(self, factor: object) -> Formula:
        """Return a multiple, for example two bytes for each number."""
        return Formula(plain(factor) * self.expression)

    __rmul__ = __mul__

    def __add__(self, other: object) -> Formula:
        return Formula(self.expression + plain(other))

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex}$"

    def __repr__(self) -> str:
        return self.latex


class Shown(NamedTuple):
    """Something that a notebook shows as mathematics."""

    latex: str

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex}$"

    def __repr__(self) -> str:
        """Return the LaTeX."""
        return self.latex


class Proof(Shown):
    """An equation that SymPy has proved."""


def plain(thing: object) -> Any:
    """Return the SymPy expression of a formula, or of what can be one."""
    return thing.expression if isinstance(thing, Formula) else sympy.sympify(thing)


def formula(expression: object) -> Formula:
    """Return an expression as a formula."""
    return Formula(plain(expression))


def derive(tensors: Iterable[Tensor], of: Callable[[Tensor], int] = lambda tensor: tensor.count) -> Formula:
    """Sum the tensors; equal layers stand in one bracket.

    `of` says what is summed: the count of numbers unless said otherwise (active ones, or bytes).

    >>> from memcalc.parts import MLP
    >>> derive(MLP(*symbols("width ffn_width")).weights())
    3hf
    """
    groups: dict[Any, Any] = {}
    for tensor in tensors:
        one = of(tensor._replace(layers=1))
        groups[tensor.layers] = groups.get(tensor.layers, 0) + one
    equal: dict[Any, Any] = {}
    for times, one in groups.items():
        equal[one] = equal.get(one, 0) + times
    return Formula(sympy.Add(*(times * one for one, times in equal.items())))


def prove(left: object, right: object, **where: object) -> Proof:
    """Return the equation, after SymPy has shown that the two sides differ by zero.

    `where` replaces quantities on the left before, as in ``kv_heads=symbol("heads")``.

    >>> h, f = symbols("width ffn_width")
    >>> prove(h * (2 * f + f), 3 * h * f)
    3hf = 3hf

    Raises:
        ProofError: they are not equal.

    """
    one, other = plain(left), plain(right)
    for name, value in where.items():
        one = one.subs(symbol(name), plain(value))
    difference = sympy.expand(one - other)
    if difference != 0:
        raise ProofError(f"{to_latex(one)} is not {to_latex(other)}: they differ by {to_latex(difference)}")
    conditions = [f"{letter(symbol(name))} = {to_latex(plain(value))}" for name, value in where.items()]
    suffix = rf" \quad ({', '.join(conditions)})" if conditions else ""
    return Proof(f"{to_latex(plain(left))} = {to_latex(other)}{suffix}")


# How a formula is worked out and printed: each walks the expression once, with the same few kinds of nodes.


def divided(expression: Any) -> tuple[Any, Any]:
    """Return what stands above and below the line; below is 1 where nothing is divided."""
    terms = expression.args if expression.is_Add else (expression,)
    whole = all(sympy.fraction(term)[1] == 1 for term in terms)
    return (expression, sympy.S.One) if whole else sympy.fraction(sympy.together(expression))


def evaluate(expression: Any, numbers: Mapping[sympy.Symbol, Any]) -> Any:
    """Return the value of an expression, exact: no float is made on the way.

    Raises:
        BadInputError: a quotient outside of a rounding is not whole.

    """

    def of(item: Any) -> Any:
        return evaluate(item, numbers)

    match expression:
        case sympy.Symbol():
            return numbers[expression]
        case sympy.Integer():
            return int(expression)
        case sympy.ceiling() | sympy.floor():
            above, below = (of(part) for part in divided(expression.args[0]))
            return ceil_div(above, below) if isinstance(expression, sympy.ceiling) else above // below
        case sympy.Min():
            return reduce(least, map(of, expression.args))
    above, below = divided(expression)
    if below != 1:
        quotient, rest = divmod(of(above), of(below))
        if _any(rest):
            raise BadInputError("formula", "a whole number", to_latex(expression), "make the quotient whole")
        return quotient
    match expression:
        case sympy.Add():
            return reduce(operator.add, map(of, expression.args))
        case sympy.Mul():
            return reduce(operator.mul, map(of, expression.args))
        case sympy.Pow():
            return of(expression.base) ** int(expression.exp)
    raise unknown(expression)


def _any(rest: Any) -> bool:
    return bool(rest.any()) if hasattr(rest, "any") else bool(rest)


def unknown(expression: Any) -> TypeError:
    """Return the error for a kind of node that none of memcalc's formulas has."""
    kind = type(expression).__name__
    return TypeError(f"formulas are made of +, x, /, powers, min and roundings; this one has {kind}")


JAVASCRIPT = """\
// Whole numbers up to 2^53 are exact in JavaScript; anything beyond is refused.
function exact(number) {
  if (!Number.isSafeInteger(number)) throw new RangeError("more than 2^53: not exact here");
  return number;
}
function plus(...numbers) { return numbers.reduce((sum, number) => exact(sum + exact(number)), 0); }
function times(...numbers) { return numbers.reduce((product, number) => exact(product * exact(number)), 1); }
function least(...numbers) { return Math.min(...numbers.map(exact)); }
function floor_div(above, below) { return (exact(above) - above % exact(below)) / below; }
function ceil_div(above, below) { return floor_div(above, below) + (above % below ? 1 : 0); }
function divided(above, below) {
  if (above % below) throw new RangeError("the quotient is no whole number");
  return floor_div(above, below);
}
"""


def to_javascript(name: str, expression: object, arguments: Sequence[str] | None = None) -> str:
    """Return a JavaScript function of whole numbers; it needs the functions in `JAVASCRIPT`.

    It is exact up to 2^53, and throws a RangeError beyond.

    >>> print(to_javascript("cache", 2 * symbol("batch") * symbol("context")))
    function cache(batch, context) { return times(2, batch, context); }

    Raises:
        BadInputError: the expression has a symbol that is no argument.

    """
    tree = plain(expression)
    found = [item.name for item in Formula(tree).symbols]
    arguments = found if arguments is None else arguments
    if not set(found) <= set(arguments):
        raise BadInputError("arguments", f"all of {', '.join(found)}", list(arguments), "name every symbol")
    listed = ", ".join(map(identifier, arguments))
    return f"function {name}({listed}) {{ return {javascript(tree)}; }}"


def identifier(name: str) -> str:
    """Return a symbol's name as JavaScript allows it."""
    return name.replace(PRIME, "_prime")


def javascript(expression: Any) -> str:
    """Return an expression in JavaScript."""

    def call(function: str, *items: Any) -> str:
        return f"{function}({', '.join(map(javascript, items))})"

    match expression:
        case sympy.Symbol():
            return identifier(expression.name)
        case sympy.Integer():
            if abs(expression) >= 2**53:
                raise BadInputError("formula", "numbers below 2^53", int(expression), "JavaScript rounds it")
            return str(expression)
        case sympy.ceiling():
            return call("ceil_div", *divided(expression.args[0]))
        case sympy.floor():
            return call("floor_div", *divided(expression.args[0]))
        case sympy.Min():
            return call("least", *sorted(expression.args, key=place))
    above, below = divided(expression)
    if below != 1:
        return call("divided", above, below)
    match expression:
        case sympy.Add():
            return call("plus", *sorted(expression.args, key=place))
        case sympy.Mul():
            return call("times", *sorted(expression.args, key=place))
        case sympy.Pow():
            return call("times", *[expression.base] * int(expression.exp))
    raise unknown(expression)


# LaTeX: sums from the highest degree down, products in the vocabulary's order.


def place(item: Any) -> tuple[int, list[int], str]:
    """Return where a factor stands in a product, and a term among others of its degree."""
    if item.is_Number:
        return 0, [], ""
    found = sorted(ORDER[one.name.rstrip(PRIME)] for one in item.free_symbols)
    bracket = 2 if item.is_Add else 1
    return bracket, found, str(item)


def degree(term: Any) -> int:
    """Return how many factors a term has at most, a rounding or a bracket as the highest in it."""
    match term:
        case sympy.Mul():
            return sum(degree(item) for item in term.args)
        case sympy.Pow():
            return degree(term.base) * int(term.exp) if term.exp.is_Integer else 1
        case sympy.Add():
            return max(degree(item) for item in term.args)
    return 0 if term.is_Number else 1


def letter(item: sympy.Symbol) -> str:
    """Return a symbol's LaTeX."""
    name = item.name.rstrip(PRIME)
    return word(name).latex + PRIME * (len(item.name) - len(name))


def thin(number: int) -> str:
    """Return a whole number in LaTeX, in groups of three.

    >>> thin(262144)
    '262{,}144'
    """
    return f"{number:,}".replace(",", "{,}")


def to_latex(expression: object, numbers: Mapping[sympy.Symbol, Any] | None = None) -> str:
    r"""Return an expression in LaTeX as a textbook writes it; with `numbers`, these in the place of letters.

    >>> L, h, f = symbols("depth width ffn_width")
    >>> print(to_latex(L * (3 * h * f + 2 * h) + h))
    L(3hf + 2h) + h
    """
    return printed(plain(expression), {} if numbers is None else numbers)


def printed(expression: Any, numbers: Mapping[sympy.Symbol, Any]) -> str:
    """Return a node's LaTeX."""

    def of(item: Any) -> str:
        return printed(item, numbers)

    match expression:
        case sympy.Symbol():
            return thin(numbers[expression]) if expression in numbers else letter(expression)
        case sympy.Integer():
            return thin(int(expression))
        case sympy.ceiling():
            return rf"\left\lceil {of(expression.args[0])} \right\rceil"
        case sympy.floor():
            return rf"\left\lfloor {of(expression.args[0])} \right\rfloor"
        case sympy.Min():
            return rf"\min({', '.join(map(of, sorted(expression.args, key=place)))})"
        case sympy.Add():
            terms = sorted(expression.args, key=lambda term: (-degree(term), place(term)))
            text = " + ".join(map(of, terms))
            return text.replace("+ -", "- ")
    above, below = sympy.fraction(expression)
    if below != 1:
        return rf"\frac{{{of(above)}}}{{{of(below)}}}"
    match expression:
        case sympy.Mul():
            return product(expression, numbers)
        case sympy.Pow():
            return f"{bracketed(expression.base, numbers)}^{{{expression.exp}}}".replace("^{2}", "^2")
    raise unknown(expression)


def product(expression: Any, numbers: Mapping[sympy.Symbol, Any]) -> str:
    """Return a product's LaTeX: juxtaposed letters, or numbers with dots between them."""
    factors = sorted(expression.args, key=place)
    sign = "-" if factors[0] == -1 else ""
    texts = [bracketed(factor, numbers) for factor in factors if factor != -1]
    return sign + (r" \cdot ".join(texts) if numbers else "".join(texts))


def bracketed(factor: Any, numbers: Mapping[sympy.Symbol, Any]) -> str:
    """Return a factor's LaTeX, a sum in brackets."""
    text = printed(factor, numbers)
    return f"({text})" if factor.is_Add else text
