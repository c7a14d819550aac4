"""How much memory a language model needs, derived from the list of its tensors.

>>> import memcalc
>>> memcalc.model("Qwen/Qwen3-32B").parameters
32762123264
>>> memcalc.serve("Qwen/Qwen3-32B", context=8192, on="2x rtx-a6000").fits
True
"""

from __future__ import annotations

from memcalc.data.lazy import lazy_names

TYPE_CHECKING = False  # typing takes longer to load than everything here; type checkers know the name
if TYPE_CHECKING:
    from memcalc.errors import BadInputError, MemcalcError, UnknownNameError
    from memcalc.evidence.logs.compare import check
    from memcalc.files.api import model
    from memcalc.files.catalogue import catalogue
    from memcalc.files.machines import devices
    from memcalc.files.readers import read
    from memcalc.files.sources import source
    from memcalc.interview.session import ask
    from memcalc.ledger.formats import FORMATS
    from memcalc.serving.api import serve, which
    from memcalc.serving.engines import engine
    from memcalc.serving.search import largest
    from memcalc.show.comparison import compare
    from memcalc.show.explain import explain
    from memcalc.training.api import train
    from memcalc.training.zero import states

__version__ = "0.1.0"
__all__ = [
    "FORMATS",
    "BadInputError",
    "MemcalcError",
    "UnknownNameError",
    "__version__",
    "ask",
    "catalogue",
    "check",
    "compare",
    "devices",
    "engine",
    "explain",
    "largest",
    "model",
    "read",
    "serve",
    "source",
    "states",
    "train",
    "which",
]

__getattr__, _ = lazy_names(
    __name__,
    {
        "errors": ("BadInputError", "MemcalcError", "UnknownNameError"),
        "files.readers": ("read",),
        "files.catalogue": ("catalogue",),
        "files.api": ("model",),
        "files.sources": ("source",),
        "ledger.formats": ("FORMATS",),
        "files.machines": ("devices",),
        "serving.search": ("largest",),
        "evidence.logs.compare": ("check",),
        "interview.session": ("ask",),
        "serving.api": ("serve", "which"),
        "serving.engines": ("engine",),
        "show.comparison": ("compare",),
        "show.explain": ("explain",),
        "training.api": ("train",),
        "training.zero": ("states",),
    },
)


def __dir__() -> list[str]:
    """List the public names: completion offers them before they are loaded."""
    return sorted(__all__)
