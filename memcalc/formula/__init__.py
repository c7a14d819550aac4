"""Closed formulas, derived from the tensors: lifted, proved, printed and evaluated."""

from __future__ import annotations

from memcalc.ledger.lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memcalc.formula.core import (
        Formula as Formula,
        Lifted as Lifted,
        Proof as Proof,
        derive as derive,
        derive_bytes as derive_bytes,
        evaluate as evaluate,
        formula as formula,
        lift as lift,
        prove as prove,
        symbol as symbol,
        symbols as symbols,
        to_javascript as to_javascript,
        to_latex as to_latex,
    )

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "core": (
            "Formula",
            "Lifted",
            "Proof",
            "derive",
            "derive_bytes",
            "evaluate",
            "formula",
            "lift",
            "prove",
            "symbol",
            "symbols",
            "to_javascript",
            "to_latex",
        )
    },
)
