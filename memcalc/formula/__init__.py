"""Closed formulas, derived from the tensors: lifted, proved, printed and evaluated."""

from __future__ import annotations

from memcalc.data.lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memcalc.formula.arithmetic import *
    from memcalc.formula.core import *
    from memcalc.formula.expression import *
    from memcalc.formula.javascript import *
    from memcalc.formula.latex import *
    from memcalc.formula.lifting import *

__getattr__, __dir__ = lazy_names(
    __name__, ["expression", "core", "lifting", "latex", "arithmetic", "javascript"]
)
