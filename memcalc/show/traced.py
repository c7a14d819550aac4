"""Whole numbers that remember how they were made: the fourth reading of the one definition.

The arithmetic never asks what its numbers are. Given numbers that remember, the same code that counts bytes
says how: every sum and every product of named quantities keeps their names beside the number. What does not
keep them (a float, a remainder) goes on as a plain number, so that an expression always has the value of the
number that it belongs to.
"""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING, Any, NamedTuple

from memcalc.ledger.vocabulary import WORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Expression", "Letter", "Names", "Traced", "base_of", "expression_of"]

MOST_TERMS = 400  # of a sum: a longer one goes on as a plain number
ORDER = {name: place for place, name in enumerate(WORDS)}
LAYERS = ("depth", "attention_depth", "window_depth", "state_depth", "dense_depth", "moe_depth")
GATHERED = {name: place for place, name in enumerate((*LAYERS, "batch", "context"))}


class Letter(NamedTuple):
    """A quantity of the vocabulary, and its number here."""

    name: str
    value: int

    @property
    def base(self) -> str:
        """The word of the vocabulary."""
        return base_of(self.name)

    @property
    def place(self) -> tuple[int, str]:
        """Where it stands in a product."""
        return ORDER.get(self.base, -1), self.name


def base_of(name: str) -> str:
    """Return the word of the vocabulary that a name begins with: all of it, unless it counts quantities.

    >>> base_of("width_2"), base_of("head_dim")
    ('width', 'head_dim')
    """
    word, _, number = name.rpartition("_")
    return word if number.isdigit() else name


class Quotient(NamedTuple):
    """A quotient that is no polynomial: rounded up or down, or one that leaves no remainder."""

    above: Expression
    below: Expression
    rounded: str  # up, down, or nothing
    value: int

    @property
    def place(self) -> tuple[int, str]:
        """Where it stands in a product: behind the letters."""
        return len(ORDER), self.above.text("name")


Factor = Letter | Quotient
Product = tuple[Factor, ...]  # in the order in which they are written
Terms = dict[Product, int]  # whole coefficients


class Expression:
    r"""A sum of products of quantities: written with names, with the numbers put in, or in LaTeX.

    >>> names = Names()
    >>> made = 2 * names("kv_heads", 8) * names("head_dim", 128)
    >>> said = expression_of(made)
    >>> said.text("name"), said.text("number"), said.value, said.latex()
    ('2 × kv_heads × head_dim', '2 × 8 × 128', 2048, '2 k d')
    """

    def __init__(self, terms: Terms) -> None:
        self.terms = terms

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(frozenset(self.terms.items()))

    def __add__(self, other: Expression) -> Expression:
        terms = dict(self.terms)
        for product, number in other.terms.items():
            terms[product] = terms.get(product, 0) + number
        return Expression({product: number for product, number in terms.items() if number})

    @property
    def value(self) -> int:
        """Its number, worked out anew."""
        return sum(number * valued(product) for product, number in self.terms.items())

    @property
    def is_plain(self) -> bool:
        """Whether it is a number alone."""
        return not any(self.terms)

    @property
    def size(self) -> int:
        """How many factors it has, those of quotients too: what decides whether it can be read."""
        return sum(
            1 + sum(1 if isinstance(one, Letter) else one.above.size + one.below.size for one in product)
            for product in self.terms
        )

    @property
    def largest(self) -> int:
        """The largest plain number among its factors, those of quotients too."""
        inside = (
            part.largest
            for product in self.terms
            for one in product
            if not isinstance(one, Letter)
            for part in (one.above, one.below)
        )
        return max((*map(abs, self.terms.values()), *inside), default=0)

    @property
    def letters(self) -> dict[str, int]:
        """The quantities in it, with their numbers."""
        found: dict[str, int] = {}
        for product in self.terms:
            for one in product:
                if isinstance(one, Letter):
                    found[one.name] = one.value
                else:
                    found.update(one.above.letters | one.below.letters)
        return found

    def text(self, how: str) -> str:
        """Return it as text: each quantity by its ``name``, or its ``number`` in its place."""
        return written(self.terms, PLAIN[how])

    def latex(self, how: str = "name") -> str:
        """Return it in LaTeX: each quantity as its letter, or its ``number`` in its place."""
        return written(self.terms, LATEX[how])


class Style(NamedTuple):
    """How an expression is written."""

    letter: Callable[[Letter], str]
    number: Callable[[int], str]
    times: str
    minus: str
    brackets: Callable[[str], str]
    quotient: Callable[[str, str, str], str]


def plain_quotient(above: str, below: str, rounded: str) -> str:
    """Write a quotient as text; roundings have their brackets."""
    left, right = {"up": ("⌈", "⌉"), "down": ("⌊", "⌋"), "": ("(", ")")}[rounded]
    return f"{left}{above} / {below}{right}"


def latex_quotient(above: str, below: str, rounded: str) -> str:
    """Write a quotient in LaTeX."""
    inside = rf"\frac{{{above}}}{{{below}}}"
    if not rounded:
        return inside
    side = {"up": "ceil", "down": "floor"}[rounded]
    return rf"\left\l{side} {inside} \right\r{side}"


def grouped(number: int) -> str:
    """Write a number in groups of three: 69,614,711,808."""
    return f"{number:,}"


def latex_number(number: int) -> str:
    """Write a number in groups of three for LaTeX, where a comma alone would be followed by a space."""
    return grouped(number).replace(",", "{,}")


def latex_letter(letter: Letter) -> str:
    """Return the vocabulary's letter, with the number of the name below it."""
    base, number = WORDS[letter.base].latex, letter.name[len(letter.base) + 1 :]
    return f"{{{base}}}_{{({number})}}" if number else base


PLAIN = {
    "name": Style(lambda one: one.name, grouped, " × ", " - ", "({})".format, plain_quotient),
    "number": Style(lambda one: grouped(one.value), grouped, " × ", " - ", "({})".format, plain_quotient),
}
IN_LATEX = r"\left({}\right)".format
LATEX = {
    "name": Style(latex_letter, latex_number, " ", " - ", IN_LATEX, latex_quotient),
    "number": Style(
        lambda one: latex_number(one.value), latex_number, r" \cdot ", " - ", IN_LATEX, latex_quotient
    ),
}


def valued(product: Product) -> int:
    """Return the value of a product."""
    found = 1
    for one in product:
        found *= one.value
    return found


def written(terms: Terms, how: Style) -> str:
    """Write a sum; what all its products have in common stands before a bracket."""
    if len(terms) > 1:
        common, content = shared(terms)
        inner = {without(product, common): number // content for product, number in terms.items()}
        if common or content > 1:
            return how.times.join([*factors(common, content, how), how.brackets(written_sum(inner, how))])
        return written_sum(inner, how)
    for product, number in terms.items():
        return how.times.join(factors(product, number, how))
    return how.number(0)


def written_sum(terms: Terms, how: Style) -> str:
    """Write the products of a sum one after the other, those that are taken away behind."""
    text = ""
    for some in gathered(terms):
        if len(some) > 1:
            text += f" + {written(some, how)}" if text else written(some, how)
            continue
        ((product, number),) = some.items()
        one = how.times.join(factors(product, abs(number), how))
        sign = how.minus if number < 0 else " + "
        text += sign + one if text else f"{how.minus.strip() if number < 0 else ''}{one}"
    return text


def gathered(terms: Terms) -> list[Terms]:
    """Return the products of a sum, those together that have layers or tokens in common; the rest alone.

    >>> names = Names()
    >>> a, b, layers = names("heads", 4), names("ffn_width", 8), names("depth", 3)
    >>> expression_of(a + layers * a + layers * b).text("name")
    'depth × (heads + ffn_width) + heads'
    """
    left, found = dict(terms), []
    letters = (one for product in terms for one in product if isinstance(one, Letter))
    for one in sorted(dict.fromkeys(letters), key=lambda letter: GATHERED.get(letter.base, len(GATHERED))):
        some = {product: number for product, number in left.items() if one in product and number > 0}
        if one.base in GATHERED and 1 < len(some) < len(terms):
            found.append(some)
            left = {product: number for product, number in left.items() if product not in some}
    alone = [{product: number} for product, number in sorted(left.items(), key=lambda term: term[1] < 0)]
    return [*found, *alone]


def factors(product: Product, number: int, how: Style) -> list[str]:
    """Write the factors of a product, its coefficient first unless that is 1."""
    first = [] if number == 1 and product else [how.number(number)]
    return [*first, *(factor(one, how) for one in product)]


def factor(one: Factor, how: Style) -> str:
    """Write a letter or a quotient."""
    if isinstance(one, Letter):
        return how.letter(one)
    return how.quotient(bracketed(one.above, how), bracketed(one.below, how), one.rounded)


def bracketed(part: Expression, how: Style) -> str:
    """Write the parts of a quotient; LaTeX needs no brackets in a fraction, and text does for all but one."""
    text = written(part.terms, how)
    is_fraction = how.quotient is latex_quotient
    alone = (
        len(part.terms) == 1
        and sum(len(product) + (number != 1) for product, number in part.terms.items()) <= 1
    )
    return text if alone or is_fraction else how.brackets(text)


def shared(terms: Terms) -> tuple[Product, int]:
    """Return the factors that all products have, and the largest number that divides all coefficients."""
    products = iter(terms)
    common = list(next(products))
    for product in products:
        left, kept = list(product), []
        for one in common:
            if one in left:
                left.remove(one)
                kept.append(one)
        common = kept
    content = gcd(*terms.values())
    return tuple(common), content


def without(product: Product, common: Product) -> Product:
    """Return a product without some of its factors."""
    left = list(product)
    for one in common:
        left.remove(one)
    return tuple(left)


class Traced(int):
    """A whole number and the expression that it is the value of.

    Everything that Python does with whole numbers it does with the number; sums, products and quotients of
    such numbers remember their expression.
    """

    expression: Expression

    def __add__(self, other: Any) -> Any:
        return combined(self, other, 1)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return combined(self, other, -1)

    def __rsub__(self, other: Any) -> Any:
        return combined(-self, other, 1)

    def __neg__(self) -> Any:
        return made({product: -number for product, number in self.expression.terms.items()}, -int(self))

    def __mul__(self, other: Any) -> Any:
        if not isinstance(other, int):
            return int(self) * other if isinstance(other, float) else NotImplemented
        terms: Terms = {}
        for a, m in self.expression.terms.items():
            for b, n in expression_of(other).terms.items():
                product = tuple(sorted((*a, *b), key=lambda one: one.place))
                terms[product] = terms.get(product, 0) + m * n
        return made(terms, int(self) * int(other))

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        return divided(self, other) if isinstance(other, int) else int(self) // other

    def __rfloordiv__(self, other: Any) -> Any:
        return divided(other, self) if isinstance(other, int) else other // int(self)

    def is_one(self) -> int:
        """Return 1 where it is 1, and else 0: what sizes of a sweep answer, too."""
        return int(int(self) == 1)


def made(terms: Terms, value: int) -> int:
    """Return a number with its expression; 0, a plain number and a sum too long to keep are plain."""
    terms = {product: number for product, number in terms.items() if number}
    if not value or not any(terms) or len(terms) > MOST_TERMS:
        return value
    found = Traced(value)
    found.expression = Expression(terms)
    return found


def expression_of(number: int) -> Expression:
    """Return the expression of a number: of a plain one the number itself."""
    return number.expression if isinstance(number, Traced) else Expression({(): int(number)})


def combined(one: Traced, other: Any, sign: int) -> Any:
    """Add two numbers, or take the second away."""
    if not isinstance(other, int):
        return int(one) + sign * other if isinstance(other, float) else NotImplemented
    added = {product: sign * number for product, number in expression_of(other).terms.items()}
    return made((one.expression + Expression(added)).terms, int(one) + sign * int(other))


def divided(above: int, below: int) -> int:
    """Divide and round down; of a negative number that is, with the sign turned, rounding up."""
    value = int(above) // int(below)
    if int(above) < 0:  # as in -(-a // b), which is how whole numbers are rounded up
        return -quotient(-above, below, -value, "up")
    return quotient(above, below, value, "down")


def quotient(above: int, below: int, value: int, rounded: str) -> int:
    """Return a quotient as a polynomial where it is one, else as a factor of its own."""
    upper, lower = expression_of(above), expression_of(below)
    if len(lower.terms) == 1:
        ((product, number),) = lower.terms.items()
        common, content = shared(upper.terms)
        if all(common.count(one) >= product.count(one) for one in product) and content % number == 0:
            return made({without(a, product): n // number for a, n in upper.terms.items()}, value)
        shortened = gcd(content, number)
        both = [one for one in product if one in common] if len(set(product)) == len(product) else []
        upper = Expression({without(a, tuple(both)): n // shortened for a, n in upper.terms.items()})
        lower = Expression({without(product, tuple(both)): number // shortened})
    if int(above) % int(below) == 0:
        rounded = ""
    return made({(Quotient(upper, lower, rounded, value),): 1}, value)


class Names:
    """The quantities of one explanation: a second number of one name is another quantity.

    >>> names = Names()
    >>> [expression_of(names("width", size)).text("name") for size in (8, 16, 8)]
    ['width', 'width_2', 'width']
    """

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def __call__(self, name: str, value: int) -> int:
        """Return a number that remembers its name; 0 is nothing to remember."""
        known, named = 1, name
        while self.numbers.setdefault(named, value) != value:
            known += 1
            named = f"{name}_{known}"
        return made({(Letter(named, value),): 1}, value)


def letters_in(found: Mapping[str, int]) -> list[str]:
    """Return names in the vocabulary's order."""
    return sorted(found, key=lambda name: Letter(name, 0).place)
