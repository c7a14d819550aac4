"""Files of llama.cpp: their header, the names in it, and the types that its presets choose."""

from __future__ import annotations

from memcalc.ledger.lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memcalc.files.gguf.names import ARCHITECTURES as ARCHITECTURES, gguf_name as gguf_name
    from memcalc.files.gguf.presets import (
        MIXES as MIXES,
        Facts as Facts,
        Mix as Mix,
        Place as Place,
        has_more as has_more,
        mixed as mixed,
    )

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "names": ("ARCHITECTURES", "gguf_name"),
        "presets": ("Facts", "MIXES", "Mix", "Place", "has_more", "mixed"),
    },
)
