"""Closed formulas, derived from the tensors: lifted, proved, printed and evaluated."""

from __future__ import annotations

from memcalc.ledger.lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memcalc.formula.arithmetic import evaluate as evaluate
    from memcalc.formula.core import (
        Formula as Formula,
        derive as derive,
        derive_bytes as derive_bytes,
        formula as formula,
        prove as prove,
    )
    from memcalc.formula.expression import symbol as symbol, symbols as symbols
    from memcalc.formula.javascript import JAVASCRIPT as JAVASCRIPT, to_javascript as to_javascript
    from memcalc.formula.latex import Proof as Proof, to_latex as to_latex
    from memcalc.formula.lifting import Lifted as Lifted, lift as lift

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "arithmetic": ("evaluate",),
        "core": ("Formula", "derive", "derive_bytes", "formula", "prove"),
        "expression": ("symbol", "symbols"),
        "javascript": ("JAVASCRIPT", "to_javascript"),
        "latex": ("Proof", "to_latex"),
        "lifting": ("Lifted", "lift"),
    },
)
