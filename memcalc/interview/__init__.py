"""Interview questions about memory: a bank of templates that the ledger answers.

>>> from memcalc.interview import ask, check
>>> asked = ask("kv-bytes-a-token", seed=1)
>>> check(f"{asked.answer / 2**10} KiB").right
True
"""

from __future__ import annotations

from memcalc.data.lazy import lazy_names

TYPE_CHECKING = False  # typing takes longer to load than everything here; type checkers know the name
if TYPE_CHECKING:
    from memcalc.interview.bank import bank, find
    from memcalc.interview.question import question
    from memcalc.interview.session import ask, check, hint, score

__all__ = ["ask", "bank", "check", "find", "hint", "question", "score"]

__getattr__, _ = lazy_names(
    __name__,
    {"bank": ("bank", "find"), "question": ("question",), "session": ("ask", "check", "hint", "score")},
)
