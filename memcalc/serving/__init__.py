"""A plan for inference, and the memory that it needs."""

from __future__ import annotations

from memcalc.ledger.lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memcalc.serving.allocator import (
        MIB as MIB,
        Allocator as Allocator,
        segment as segment,
        unused_bytes as unused_bytes,
    )
    from memcalc.serving.engines import ENGINES as ENGINES, engine as engine
    from memcalc.serving.estimate import KVPool as KVPool, Serving as Serving, plan as plan

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "allocator": ("Allocator", "MIB", "segment", "unused_bytes"),
        "engines": ("ENGINES", "engine"),
        "estimate": ("KVPool", "Serving", "plan"),
    },
)
