"""How an answer looks: text, tables and figures."""

from __future__ import annotations

from memcalc.data.lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memcalc.show.colours import CAPACITY as CAPACITY, COLOURS as COLOURS, LABELS as LABELS
    from memcalc.show.figure import INK as INK, bars as bars, lines as lines, new as new, picture as picture
    from memcalc.show.sentences import sentence as sentence
    from memcalc.show.tables import table as table

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "colours": ("CAPACITY", "COLOURS", "LABELS"),
        "figure": ("INK", "bars", "lines", "new", "picture"),
        "sentences": ("sentence",),
        "tables": ("table",),
    },
)
