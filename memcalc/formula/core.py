"""Formulas: lift a model to letters, derive its formula from its tensors, prove it, print it.

No formula is typed beside the code that computes it: the same tensors are summed with letters in the place of
numbers. SymPy adds and proves; it does not arrange, because its order is alphabetical and not a textbook's.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass, fields, replace
from functools import cache, reduce
from numbers import Integral
from typing import TYPE_CHECKING, Any, NamedTuple

import sympy

from memcalc.errors import BadInputError, ProofError
from memcalc.ledger.formats import tensor_bytes
from memcalc.ledger.model import Layer, Model
from memcalc.ledger.tensor import ceil_div, least
from memcalc.ledger.vocabulary import WORDS, word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from memcalc.ledger.formats import Rule
    from memcalc.ledger.parts import Part
    from memcalc.ledger.tensor import Tensor

__all__ = [
    "JAVASCRIPT",
    "Formula",
    "Lifted",
    "Proof",
    "derive",
    "derive_bytes",
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

    >>> from memcalc.files.sources import load_model
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
        single = {name: letter(name, n) for name, n in found.items() if type(n) is int}
        several = {
            name: tuple(letter(name, n) for n in each) for name, each in found.items() if type(each) is tuple
        }
        return replace(part, **single, **several)

    def named(parts: Sequence[tuple[str, Part]]) -> tuple[tuple[str, Part], ...]:
        return tuple((name, lifted(part)) for name, part in parts)

    def times(group: Layer) -> sympy.Symbol:
        name = counted(group, model.groups)
        while name in numbers:  # two kinds of layers that happen to be equally many are still two quantities
            name += PRIME
        return letter(name, group.times)

    outside = named(model.outside)
    layers = tuple(Layer(named(group.parts), times(group), group.formats) for group in model.groups)
    return Lifted(Model(model.name, model.model_type, layers, outside, model.tied), numbers)


def counted(layer: Layer, groups: Sequence[Layer]) -> str:
    """Return the word for how many layers are like this one: that of the part that sets them apart."""
    others = [part for group in groups if group is not layer for _, part in group.parts]
    own = [part for _, part in layer.parts if part not in others]
    if len(groups) == 1 or not own:
        return "depth"
    if getattr(own[0], "window", None) is not None:
        return "window_depth"
    return next((part.counted for part in own if part.counted != "depth"), "depth")


@dataclass(frozen=True)
class Formula:
    """An expression in the vocabulary's symbols that a notebook shows as a textbook prints it.

    >>> h, a, d = symbols("width heads head_dim")
    >>> Formula(2 * a * d * h).latex
    '2had'
    """

    expression: Any

    def __post_init__(self) -> None:
        """Refuse letters that are not the vocabulary's.

        Raises:
            BadInputError: a symbol was made elsewhere, so that it is another one of the same name.

        """
        for item in self.expression.free_symbols:
            if item != symbol(item.name):
                raise BadInputError(
                    "formula", "symbols of the vocabulary", item, f'use symbol("{item.name}")'
                )

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
        return int(evaluate(self.expression, self.whole(numbers)))

    def given(self, numbers: Mapping[str, Any]) -> dict[sympy.Symbol, Any]:
        """Return the number of each of the formula's symbols."""
        unknown = [name for name in numbers if name.rstrip(PRIME) not in WORDS]
        if unknown:
            raise BadInputError(
                "formula", "words of the vocabulary", unknown, "see `memcalc.ledger.vocabulary`"
            )
        missing = [item.name for item in self.symbols if item.name not in numbers]
        if missing:
            expected = f"a number for {', '.join(missing)}"
            raise BadInputError("formula", expected, list(numbers), "say how large each quantity is")
        return {item: numbers[item.name] for item in self.symbols}

    def whole(self, numbers: Mapping[str, Any]) -> dict[sympy.Symbol, int]:
        """Return the number of each of the formula's symbols; each is whole, and 1 or more."""
        given = self.given(numbers)
        for item, number in given.items():
            if isinstance(number, bool) or not isinstance(number, Integral) or int(number) < 1:
                raise BadInputError(item.name, "a whole number >= 1", number, "a formula counts things")
        return {item: int(number) for item, number in given.items()}

    def substituted(self, **numbers: int) -> Shown:
        """Return the formula, the numbers put in, and the result, side by side."""
        put_in = to_latex(self.expression, self.whole(numbers))
        return Shown((self.latex, put_in, thin(self.value(**numbers))))

    def sweep(self, **arrays: Any) -> Any:
        """Return the values for whole arrays of numbers, as 64-bit integers.

        >>> import numpy
        >>> Formula(2 * symbol("depth")).sweep(depth=numpy.array([32, 64]))
        array([ 64, 128])

        Raises:
            BadInputError: an array is not of whole numbers >= 1, or a step would not fit into 64 bits.

        """
        import numpy as np

        columns = {item: np.asarray(array) for item, array in self.given(arrays).items()}
        for item, column in columns.items():
            if column.dtype.kind not in "iu" or column.size == 0 or column.min() < 1:
                given = f"{column.size} of {column.dtype}"
                raise BadInputError(item.name, "an array of whole numbers >= 1", given, "cast it to int64")
        ranges = {item: held((int(column.min()), int(column.max()))) for item, column in columns.items()}
        worked_out(self.expression, ranges.__getitem__, RANGES)  # refuses what would not fit
        return evaluate(self.expression, {item: column.astype("int64") for item, column in columns.items()})

    def __mul__(self, factor: object) -> Formula:
        """Return a multiple, for example two bytes for each number."""
        return Formula(plain(factor) * self.expression)

    __rmul__ = __mul__

    def __add__(self, other: object) -> Formula:
        return Formula(self.expression + plain(other))

    __radd__ = __add__

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex}$"

    def __repr__(self) -> str:
        return self.latex


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
        first, *rest = self.sides
        lines = [f"& {first}", *(f"&= {side}" for side in rest)]
        lines[-1] += self.conditions
        return "$\\displaystyle \\begin{aligned} " + r" \\ ".join(lines) + " \\end{aligned}$"

    def __repr__(self) -> str:
        """Return the LaTeX."""
        return self.latex


class Proof(Shown):
    """An equation that SymPy has proved."""


LINE = 56  # characters of a formula that fit beside each other on a page


def printed_length(latex: str) -> int:
    r"""Return about how many characters are printed: a command is one.

    >>> printed_length(r"4 \cdot 1{,}024 = 4{,}096")
    13
    """
    return len(re.sub(r"\\[A-Za-z]+|\\ ", "x", latex).translate(str.maketrans("", "", " {}_^")))


def plain(thing: object) -> Any:
    """Return the SymPy expression of a formula, or of what can be one."""
    return thing.expression if isinstance(thing, Formula) else sympy.sympify(thing, strict=True)


def formula(expression: object) -> Formula:
    """Return an expression as a formula."""
    return Formula(plain(expression))


def derive(tensors: Iterable[Tensor], of: Callable[[Tensor], int] = lambda tensor: tensor.count) -> Formula:
    """Sum the tensors; equal layers stand in one bracket. Buffers are no parameters and stay out.

    `of` says what is summed: the count of numbers unless said otherwise, such as the active ones.

    >>> from memcalc.ledger.parts import MLP
    >>> derive(MLP(*symbols("width ffn_width")).weights())
    3hf
    """
    counted = [tensor for tensor in tensors if tensor.kind != "buffer"]
    groups: dict[Any, Any] = {}
    for tensor in counted:
        groups[tensor.layers] = groups.get(tensor.layers, 0) + settled(of(tensor._replace(layers=1)))
    remembered = all(tensor.kind == "cache" for tensor in counted)
    equal: dict[Any, Any] = {}
    for times, one in groups.items():
        shown = sympy.factor_terms(one) if remembered else one  # all of a cache is so much a token
        equal[shown] = equal.get(shown, 0) + times
    return Formula(sympy.Add(*(times * one for one, times in equal.items())))


def derive_bytes(tensors: Iterable[Tensor], rule: Rule) -> Formula:
    """Sum the tensors' bytes, each in the format that the rule gives it.

    >>> from memcalc.ledger.formats import FORMATS, plain
    >>> from memcalc.ledger.parts import MLP
    >>> derive_bytes(MLP(*symbols("width ffn_width")).weights(), plain(FORMATS["bf16"]))
    6hf
    """
    return derive(tensors, of=lambda tensor: tensor_bytes(tensor, rule(tensor)))


def settled(expression: Any) -> Any:
    """Return the expression factored inside its roundings: SymPy then sees what is whole anyway."""
    return sympy.sympify(expression).replace(
        sympy.ceiling, lambda inside: sympy.ceiling(sympy.factor_terms(inside))
    )


def prove(left: object, right: object, **where: object) -> Proof:
    """Return the equation, after SymPy has shown that the two sides differ by zero.

    `where` replaces quantities on both sides before, all at once, as in ``kv_heads=symbol("heads")``.

    >>> h, f = symbols("width ffn_width")
    >>> prove(h * (2 * f + f), 3 * h * f)
    3hf = 3hf

    Raises:
        ProofError: they are not equal.

    """
    put_in = {symbol(name): plain(value) for name, value in where.items()}
    one, other = (plain(side).subs(put_in, simultaneous=True) for side in (left, right))
    difference = sympy.expand(one - other)
    if difference != 0:
        raise ProofError(f"{to_latex(one)} is not {to_latex(other)}: they differ by {to_latex(difference)}")
    conditions = [f"{letter(symbol(name))} = {to_latex(plain(value))}" for name, value in where.items()]
    suffix = rf" \quad ({', '.join(conditions)})" if conditions else ""
    return Proof((to_latex(left), to_latex(right)), suffix)


# How a formula is worked out: one walk over the expression, and three kinds of arithmetic to walk it with.


class Arithmetic(NamedTuple):
    """The few operations that memcalc's formulas are made of."""

    number: Callable[[int], Any]
    plus: Callable[..., Any]
    times: Callable[..., Any]
    least: Callable[..., Any]
    ceil_div: Callable[[Any, Any], Any]
    floor_div: Callable[[Any, Any], Any]
    divided: Callable[[Any, Any], Any]


def worked_out(expression: Any, letters: Callable[[sympy.Symbol], Any], do: Arithmetic) -> Any:
    """Return what an arithmetic makes of an expression, each letter replaced by what stands for it.

    Raises:
        BadInputError: the expression has a kind of node that none of memcalc's formulas has.

    """

    def of(item: Any) -> Any:
        return worked_out(item, letters, do)

    def all_of(items: Iterable[Any]) -> Iterable[Any]:
        return map(of, sorted(items, key=place))

    match expression:
        case sympy.Symbol():
            return letters(expression)
        case sympy.Integer():
            return do.number(int(expression))
        case sympy.ceiling():
            return do.ceil_div(*map(of, over_one_line(expression.args[0])))
        case sympy.floor():
            return do.floor_div(*map(of, over_one_line(expression.args[0])))
        case sympy.Min():
            return do.least(*all_of(expression.args))
    above, below = over_one_line(expression)
    if below != 1:
        return do.divided(of(above), of(below))
    match expression:
        case sympy.Add():
            return do.plus(*all_of(expression.args))
        case sympy.Mul():
            return do.times(*all_of(expression.args))
        case sympy.Pow(exp=sympy.Integer()):
            return do.times(*[of(expression.base)] * int(expression.exp))
    raise unknown(expression)


def over_one_line(expression: Any) -> tuple[Any, Any]:
    """Return what stands above and below one line; below is 1 where nothing is divided."""
    if not has_quotient(expression):
        return expression, sympy.S.One
    above, below = expression.as_numer_denom()
    return above, below


def has_quotient(expression: Any) -> bool:
    """Return whether something is divided, outside of roundings."""
    match expression:
        case sympy.Rational():
            return not expression.is_Integer
        case sympy.Pow():
            return bool(expression.exp.is_negative) or has_quotient(expression.base)
        case sympy.Add() | sympy.Mul():
            return any(map(has_quotient, expression.args))
    return False


def unknown(expression: Any) -> BadInputError:
    """Return the error for a kind of node that none of memcalc's formulas has."""
    expected = "sums, products, whole powers, quotients, minima and roundings of whole numbers"
    return BadInputError("formula", expected, expression, "derive it from tensors")


def quotient(above: Any, below: Any) -> Any:
    """Return above / below, which leaves no rest.

    Raises:
        BadInputError: it does leave one.

    """
    whole, rest = divmod(above, below)
    if rest.any() if hasattr(rest, "any") else rest:
        raise BadInputError("formula", "a whole number", f"{above} / {below}", "make the quotient whole")
    return whole


NUMBERS = Arithmetic(
    number=int,
    plus=lambda *items: reduce(operator.add, items),
    times=lambda *items: reduce(operator.mul, items),
    least=lambda *items: reduce(least, items),
    ceil_div=ceil_div,
    floor_div=operator.floordiv,
    divided=quotient,
)


def evaluate(expression: Any, numbers: Mapping[sympy.Symbol, Any]) -> Any:
    """Return the value of an expression for whole numbers or arrays, exact: no float is made on the way."""
    return worked_out(expression, numbers.__getitem__, NUMBERS)


Range = tuple[int, int]  # the least and the largest that a step of a sweep can come to


def held(numbers: Iterable[int]) -> Range:
    """Return the range of some numbers.

    Raises:
        BadInputError: a 64-bit integer does not hold them; NumPy would go on with wrong ones.

    """
    low, high = min(found := list(numbers)), max(found)
    if low < -(2**63) or high >= 2**63:
        remedy = "use smaller numbers, or `value` for one point"
        raise BadInputError("sweep", "numbers below 2^63 at every step", f"up to {max(-low, high)}", remedy)
    return low, high


def ranged(operation: Callable[[int, int], int]) -> Callable[..., Range]:
    """Return the operation on ranges: its extremes are taken at their ends."""

    def on_ranges(*items: Range) -> Range:
        return reduce(lambda one, other: held(operation(x, y) for x in one for y in other), items)

    return on_ranges


RANGES = Arithmetic(
    number=lambda number: held((number, number)),
    plus=ranged(operator.add),
    times=ranged(operator.mul),
    least=ranged(min),
    ceil_div=ranged(ceil_div),
    floor_div=ranged(operator.floordiv),
    divided=ranged(operator.floordiv),
)

JAVASCRIPT = """\
// Whole numbers below 2^53 are exact in JavaScript; anything beyond is refused, on every step.
function exact(number) {
  if (!Number.isSafeInteger(number)) throw new RangeError("more than 2^53: not exact here");
  return number;
}
function counts(...numbers) {
  if (numbers.some((number) => exact(number) < 1)) throw new RangeError("less than 1");
}
function plus(...numbers) { return numbers.reduce((sum, number) => exact(sum + exact(number)), 0); }
function times(...numbers) { return numbers.reduce((product, number) => exact(product * exact(number)), 1); }
function least(...numbers) { return Math.min(...numbers.map(exact)); }
function floor_div(above, below) {
  if (exact(above) < 0 || exact(below) < 1) throw new RangeError("rounded are quotients of counts");
  return (above - above % below) / below;
}
function ceil_div(above, below) { return floor_div(above, below) + (above % below ? 1 : 0); }
function divided(above, below) {
  if (above % below) throw new RangeError("the quotient is no whole number");
  return floor_div(above, below);
}
"""
RESERVED = (
    "exact counts plus times least floor_div ceil_div divided "  # the functions above
    "arguments await break case catch class const continue debugger default delete do else enum eval export "
    "extends false finally for function if implements import in instanceof interface let new null package "
    "private protected public return static super switch this throw true try typeof undefined var void while "
    "with yield Infinity Math NaN Number RangeError"
)


def call(function: str) -> Callable[..., str]:
    """Return what writes a call of a JavaScript function."""
    return lambda *items: f"{function}({', '.join(items)})"


def safe(number: int) -> str:
    """Return a number in JavaScript.

    Raises:
        BadInputError: JavaScript would round it.

    """
    if abs(number) >= 2**53:
        raise BadInputError("formula", "numbers below 2^53", number, "JavaScript rounds it")
    return str(number)


CALLS = Arithmetic(number=safe, **{name: call(name) for name in Arithmetic._fields[1:]})


def to_javascript(name: str, expression: object, arguments: Sequence[str] | None = None) -> str:
    """Return a JavaScript function of whole numbers; it needs the functions in `JAVASCRIPT`.

    It is exact up to 2^53, and throws a RangeError beyond.

    >>> print(to_javascript("cache", 2 * symbol("batch") * symbol("context")))
    function cache(batch, context) { counts(batch, context); return times(2, batch, context); }

    Raises:
        BadInputError: a symbol is no argument, or JavaScript would take a name for something else.

    """
    tree = plain(expression)
    found = [item.name for item in Formula(tree).symbols]
    arguments = found if arguments is None else arguments
    if not set(found) <= set(arguments):
        raise BadInputError("arguments", f"all of {', '.join(found)}", list(arguments), "name every symbol")
    if name in {*map(identifier, arguments), *RESERVED.split()}:
        raise BadInputError("name", "a name of its own", name, "JavaScript takes it for something else")
    listed = ", ".join(map(identifier, arguments))
    body = worked_out(tree, lambda item: identifier(item.name), CALLS)
    return f"function {name}({listed}) {{ counts({listed}); return {body}; }}"


def identifier(name: str) -> str:
    """Return a symbol's name as JavaScript allows it.

    Raises:
        BadInputError: JavaScript takes the name for something else.

    """
    if name in RESERVED.split():
        raise BadInputError("arguments", "names that JavaScript leaves free", name, "rename the quantity")
    return name.replace(PRIME, "_prime")


# LaTeX: sums from the highest degree down, products in the vocabulary's order.


LETTER, ROUNDING, BRACKET = 1, 2, 3


def place(item: Any) -> tuple[int, int, list[int], Any]:
    """Return where a factor stands in a product: numbers, letters, roundings, brackets."""
    if item.is_Number:
        return 0, 0, [], ()
    kind = BRACKET if item.is_Add else LETTER if has_letters_only(item) else ROUNDING
    return kind, degree(item) if kind == BRACKET else 0, ranks(item), sympy.default_sort_key(item)


def term_place(term: Any) -> tuple[int, bool, list[int], Any]:
    """Return where a term stands in a sum: the highest degree first, roundings after letters."""
    return -degree(term), not has_letters_only(term), ranks(term), sympy.default_sort_key(term)


def has_letters_only(item: Any) -> bool:
    """Return whether neither a rounding nor a minimum is in it."""
    return not item.has(sympy.ceiling, sympy.floor, sympy.Min)


def ranks(item: Any) -> list[int]:
    """Return where the letters of an expression stand in the vocabulary."""
    return sorted(ORDER[one.name.rstrip(PRIME)] for one in item.free_symbols)


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

    def quotient_of(item: Any) -> str:
        above, below = over_one_line(item)
        return of(above) if below == 1 else rf"\frac{{{of(above)}}}{{{of(below)}}}"

    match expression:
        case sympy.Symbol():
            return thin(numbers[expression]) if expression in numbers else letter(expression)
        case sympy.Integer():
            return thin(int(expression))
        case sympy.ceiling():
            return rf"\left\lceil {quotient_of(expression.args[0])} \right\rceil"
        case sympy.floor():
            return rf"\left\lfloor {quotient_of(expression.args[0])} \right\rfloor"
        case sympy.Min():
            return rf"\min({', '.join(map(of, sorted(expression.args, key=place)))})"
        case sympy.Add():
            terms = sorted(expression.args, key=term_place)
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
