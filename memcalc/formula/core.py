"""Formulas: derived from tensors, proved, evaluated.

No formula is typed again that code computes: the same tensors are summed, with letters in the place of
numbers. SymPy adds and proves; it does not arrange, because its order is alphabetical and not a textbook's.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

import sympy

from memcalc.errors import BadInputError, ProofError
from memcalc.formula.arithmetic import NUMBERS, RANGES, evaluate, within_64_bits, work_out
from memcalc.formula.expression import PRIME, expression_of, letters_of, quantity, symbol
from memcalc.formula.latex import Proof, Shown, in_groups, letter, to_latex
from memcalc.ledger.formats import tensor_bytes
from memcalc.ledger.sweep import sweep
from memcalc.ledger.vocabulary import WORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from memcalc.ledger.formats import Rule
    from memcalc.ledger.tensor import Tensor

__all__ = ["Formula", "derive", "derive_bytes", "formula", "prove"]


@dataclass(frozen=True)
class Formula:
    """An expression in the vocabulary's symbols that a notebook shows as a textbook prints it.

    Formulas add up, and are multiplied by numbers and symbols.

    >>> from memcalc.formula import symbols
    >>> h, a, d = symbols("width heads head_dim")
    >>> Formula(2 * a * d * h).latex
    '2had'
    """

    expression: Any

    def __post_init__(self) -> None:
        """Refuse a symbol that was made elsewhere: it is another one of the same name."""
        for item in self.expression.free_symbols:
            if item != symbol(item.name):
                remedy = f'use symbol("{item.name}")'
                raise BadInputError("formula", "symbols of the vocabulary", item, remedy)

    @property
    def latex(self) -> str:
        """The formula in LaTeX."""
        return to_latex(self.expression)

    @property
    def symbols(self) -> list[sympy.Symbol]:
        """Its symbols, in the vocabulary's order."""
        return letters_of(self.expression)

    def legend(self) -> list[dict[str, object]]:
        """Return a row for each symbol: its letter, its name, what it means."""
        return [
            {"letter": f"${letter(item)}$", "name": item.name, "meaning": quantity(item).meaning}
            for item in self.symbols
        ]

    def value(self, **numbers: int) -> int:
        """Return the exact number.

        Parameters
        ----------
        **numbers : int
            A whole number >= 1 for each symbol by its name; quantities of other formulas are left alone.

        """
        return int(evaluate(self.expression, self._whole(numbers)))

    def substituted(self, **numbers: int) -> Shown:
        """Return the formula, the numbers put in, and the result, side by side."""
        put_in = to_latex(self.expression, self._whole(numbers))
        return Shown((self.latex, put_in, in_groups(self.value(**numbers))))

    def sweep(self, **arrays: Any) -> Any:
        """Return the values for whole arrays of numbers, as 64-bit integers.

        Parameters
        ----------
        **arrays : array or int
            Whole numbers >= 1 for each symbol by its name; they broadcast. With a Dask array among them the
            result is one, too, worked out block by block when it is computed.

        Examples
        --------
        >>> import numpy
        >>> from memcalc.formula import symbol
        >>> Formula(2 * symbol("depth")).sweep(depth=numpy.array([32, 64]))
        array([ 64, 128])

        """

        def prepare(ranges: Mapping[str, tuple[int, int]]) -> Callable[[Mapping[str, Any]], Any]:
            ends = {name: within_64_bits(pair) for name, pair in ranges.items()}
            work_out(self.expression, lambda item: ends[item.name], RANGES)  # refuses what would not fit
            return lambda at: work_out(self.expression, lambda item: at[item.name], NUMBERS)

        return sweep(prepare, {item.name: array for item, array in self._given(arrays).items()})

    def _given(self, numbers: Mapping[str, Any]) -> dict[sympy.Symbol, Any]:
        """Return the number of each of the formula's symbols."""
        unknown = [name for name in numbers if name.rstrip(PRIME) not in WORDS]
        if unknown:
            remedy = "see memcalc/data/vocabulary.json"
            raise BadInputError("formula", "words of the vocabulary", unknown, remedy)
        missing = [item.name for item in self.symbols if item.name not in numbers]
        if missing:
            expected = f"a number for {', '.join(missing)}"
            raise BadInputError("formula", expected, list(numbers), "give a number for each quantity")
        return {item: numbers[item.name] for item in self.symbols}

    def _whole(self, numbers: Mapping[str, Any]) -> dict[sympy.Symbol, int]:
        """Return the number of each of the formula's symbols; each is whole, and 1 or more."""
        given = self._given(numbers)
        for item, number in given.items():
            if isinstance(number, bool) or not isinstance(number, Integral) or int(number) < 1:
                raise BadInputError(item.name, "a whole number >= 1", number, "a formula counts things")
        return {item: int(number) for item, number in given.items()}

    def __mul__(self, factor: object) -> Formula:
        return Formula(expression_of(factor) * self.expression)

    def __add__(self, other: object) -> Formula:
        return Formula(self.expression + expression_of(other))

    __rmul__, __radd__ = __mul__, __add__

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex}$"

    def __repr__(self) -> str:
        return self.latex


def formula(expression: object) -> Formula:
    """Return a SymPy expression or a number as a formula."""
    return Formula(expression_of(expression))


def derive(tensors: Iterable[Tensor], of: Callable[[Tensor], int] = lambda tensor: tensor.count) -> Formula:
    """Sum the tensors; equal layers stand in one bracket. Buffers are no parameters and stay out.

    Parameters
    ----------
    tensors : iterable of Tensor
        What `Model.weights` or `Model.cache` yields, with symbols in it.
    of : callable
        What is summed of each tensor: its count of numbers unless said otherwise, such as the active ones.

    Examples
    --------
    >>> from memcalc.formula import symbols
    >>> from memcalc.ledger.parts import MLP
    >>> derive(MLP(*symbols("width ffn_width")).weights())
    3hf

    """
    counted = [tensor for tensor in tensors if tensor.kind != "buffer"]
    groups: dict[Any, Any] = {}
    for tensor in counted:
        groups[tensor.layers] = groups.get(tensor.layers, 0) + settled(of(tensor._replace(layers=1)))
    is_cache = all(tensor.kind == "cache" for tensor in counted)
    equal: dict[Any, Any] = {}
    for times, one in groups.items():
        shown = sympy.factor_terms(one) if is_cache else one  # all of a cache is so much a token
        equal[shown] = equal.get(shown, 0) + times
    return Formula(sympy.Add(*(times * one for one, times in equal.items())))


def derive_bytes(tensors: Iterable[Tensor], rule: Rule) -> Formula:
    """Sum the tensors' bytes, as `derive` sums their counts.

    Parameters
    ----------
    tensors : iterable of Tensor
        With symbols in their shapes.
    rule : callable
        The format of each tensor.

    Examples
    --------
    >>> from memcalc.formula import symbols
    >>> from memcalc.ledger.formats import FORMATS, uniform_rule
    >>> from memcalc.ledger.parts import MLP
    >>> derive_bytes(MLP(*symbols("width ffn_width")).weights(), uniform_rule(FORMATS["bf16"]))
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

    Parameters
    ----------
    left, right : Formula or sympy.Expr
        The two sides.
    **where : Formula or sympy.Expr
        Quantities that are replaced on both sides before, all at once: ``kv_heads=symbol("heads")``.

    Raises
    ------
    ProofError
        They are not equal.

    Examples
    --------
    >>> from memcalc.formula import symbols
    >>> h, f = symbols("width ffn_width")
    >>> prove(h * (2 * f + f), 3 * h * f)
    3hf = 3hf

    """
    put_in = {symbol(name): expression_of(value) for name, value in where.items()}
    one, other = (expression_of(side).subs(put_in, simultaneous=True) for side in (left, right))
    difference = sympy.expand(one - other)
    if difference != 0:
        raise ProofError(f"{to_latex(one)} is not {to_latex(other)}: they differ by {to_latex(difference)}")
    conditions = [f"{letter(item)} = {to_latex(value)}" for item, value in put_in.items()]
    suffix = rf" \quad ({', '.join(conditions)})" if conditions else ""
    return Proof((to_latex(left), to_latex(right)), suffix)
