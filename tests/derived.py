"""Read printed expressions back: what is printed is worked out by other code than that which printed it."""

from __future__ import annotations

import ast
import math
import operator
import re
from fractions import Fraction

SIGNS = {"×": "*", "⌈": "ceil(", "⌉": ")", "⌊": "floor(", "⌋": ")"}
OPERATIONS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
ROUNDED = {"ceil": math.ceil, "floor": math.floor}
LATEX = (
    *((r"{,}", ""), (r"\cdot", "*"), (r"\left(", "("), (r"\right)", ")")),
    *(
        (r"\left\lceil", "ceil("),
        (r"\right\rceil", ")"),
        (r"\left\lfloor", "floor("),
        (r"\right\rfloor", ")"),
    ),
)


def evaluated(text, numbers=None):
    """Return the value of an expression as it is printed, with numbers for the names in it."""
    for sign, plain in SIGNS.items():
        text = text.replace(sign, plain)
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text)
    for name, value in sorted((numbers or {}).items(), key=lambda pair: -len(pair[0])):
        text = re.sub(rf"(?<![\w']){re.escape(name)}(?![\w'])", str(value), text)
    return worked_out(ast.parse(text, mode="eval").body)


def evaluated_latex(text):
    """Return the value of an expression in LaTeX that has numbers alone."""
    for sign, plain in LATEX:
        text = text.replace(sign, plain)
    while r"\frac" in text:  # the last one has none inside
        before, _, after = text.rpartition(r"\frac")
        above, rest = braced(after)
        below, rest = braced(rest)
        text = f"{before}(({above})/({below})){rest}"
    return worked_out(ast.parse(text.strip(), mode="eval").body)


def braced(text):
    """Return what the first brackets of a text hold, and what stands behind them."""
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign == "{") - (sign == "}")
        if not depth:
            return text[1:place], text[place + 1 :]
    raise ValueError(text)


def worked_out(node):
    """Return the value of a node: fractions, so that nothing is rounded but what says so."""
    match node:
        case ast.Constant(value=int(number)):
            return Fraction(number)
        case ast.BinOp():
            return OPERATIONS[type(node.op)](worked_out(node.left), worked_out(node.right))
        case ast.UnaryOp(op=ast.USub()):
            return -worked_out(node.operand)
        case ast.Call(func=ast.Name(id=name), args=[inside]):
            return Fraction(ROUNDED[name](worked_out(inside)))
    raise ValueError(ast.dump(node))


def balanced(latex):
    """Say whether brackets, sides and environments of LaTeX are closed in the order in which they open."""
    pairs = {"}": "{", r"\]": r"\[", r"\right": r"\left"}
    stack = []
    for found in re.findall(
        r"\\begin\{[a-z*]+\}|\\end\{[a-z*]+\}|\\left|\\right|\\\[|\\\]|\\[{}\\]|[{}]", latex
    ):
        if found.startswith(r"\begin"):
            stack.append(found[6:])
        elif found.startswith(r"\end"):
            if not stack or stack.pop() != found[4:]:
                return False
        elif found in (r"\\", r"\{", r"\}"):
            continue
        elif found in pairs.values():
            stack.append(found)
        elif not stack or stack.pop() != pairs[found]:
            return False
    return not stack
