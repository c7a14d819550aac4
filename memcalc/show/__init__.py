"""How an answer looks: text, tables and figures."""

from __future__ import annotations

from memcalc.ledger.lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memcalc.show.figure import (
        COLOURS as COLOURS,
        INK as INK,
        LABELS as LABELS,
        bars as bars,
        lines as lines,
        new as new,
        picture as picture,
    )
    from memcalc.show.tables import table as table

__getattr__, __dir__ = lazy_names(
    __name__,
    {"figure": ("COLOURS", "INK", "LABELS", "bars", "lines", "new", "picture"), "tables": ("table",)},
)
