"""How much memory a language model needs, derived from the list of its tensors.

>>> import memcalc
>>> memcalc.load_model("Qwen/Qwen3-32B").parameters
32762123264
>>> memcalc.plan("Qwen/Qwen3-32B", context=8192, on="2x rtx-a6000").budget.fits
True
"""

from __future__ import annotations

from memcalc.ledger.lazy import lazy_names

TYPE_CHECKING = False  # typing takes longer to load than everything here; type checkers know the name
if TYPE_CHECKING:
    from memcalc.errors import BadInputError, MemcalcError, UnknownNameError
    from memcalc.files.catalogue import catalogue
    from memcalc.files.readers import read
    from memcalc.files.sources import load_model, source
    from memcalc.ledger.formats import FORMATS
    from memcalc.ledger.machine import devices
    from memcalc.ledger.search import largest
    from memcalc.serving.engines import engine
    from memcalc.serving.estimate import plan
    from memcalc.training.plan import train
    from memcalc.training.precision import states

__version__ = "0.1.0"
__all__ = [
    "FORMATS",
    "BadInputError",
    "MemcalcError",
    "UnknownNameError",
    "__version__",
    "catalogue",
    "devices",
    "engine",
    "largest",
    "load_model",
    "plan",
    "read",
    "source",
    "states",
    "train",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "errors": ("BadInputError", "MemcalcError", "UnknownNameError"),
        "files.readers": ("read",),
        "files.catalogue": ("catalogue",),
        "files.sources": ("load_model", "source"),
        "ledger.formats": ("FORMATS",),
        "ledger.machine": ("devices",),
        "ledger.search": ("largest",),
        "serving.engines": ("engine",),
        "serving.estimate": ("plan",),
        "training.plan": ("train",),
        "training.precision": ("states",),
    },
)
