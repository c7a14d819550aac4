"""Files of llama.cpp: their header, the names in it, and the types that its presets choose."""

from __future__ import annotations

from memcalc.data.lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memcalc.files.gguf.model import gguf_model as gguf_model
    from memcalc.files.gguf.names import ARCHITECTURES as ARCHITECTURES, gguf_name as gguf_name
    from memcalc.files.gguf.presets import (
        PRESETS as PRESETS,
        Preset as Preset,
        find_preset as find_preset,
        uses_more_bits as uses_more_bits,
        with_preset as with_preset,
    )

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "model": ("gguf_model",),
        "names": ("ARCHITECTURES", "gguf_name"),
        "presets": ("PRESETS", "Preset", "find_preset", "uses_more_bits", "with_preset"),
    },
)
