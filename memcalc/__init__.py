"""How much memory a language model needs, derived from the list of its tensors.

>>> import memcalc
>>> memcalc.load_model("Qwen/Qwen3-32B").parameters
32762123264
>>> memcalc.plan("Qwen/Qwen3-32B", context=8192, on="2x rtx-a6000").budget.fits
True
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing takes longer to load than everything here; type checkers know the name
if TYPE_CHECKING:
    from memcalc.errors import BadInputError, MemcalcError, UnknownNameError
    from memcalc.files.readers import read
    from memcalc.files.sources import catalogue, load_model, source
    from memcalc.ledger.formats import FORMATS
    from memcalc.ledger.machine import devices
    from memcalc.ledger.search import largest
    from memcalc.serving.engines import engine
    from memcalc.serving.estimate import plan
    from memcalc.training.plan import train
    from memcalc.training.precision import states

__all__ = [
    "FORMATS",
    "BadInputError",
    "MemcalcError",
    "UnknownNameError",
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

_HOMES = {
    "FORMATS": "ledger.formats",
    "BadInputError": "errors",
    "MemcalcError": "errors",
    "UnknownNameError": "errors",
    "catalogue": "files.sources",
    "devices": "ledger.machine",
    "engine": "serving.engines",
    "largest": "ledger.search",
    "load_model": "files.sources",
    "plan": "serving.estimate",
    "read": "files.readers",
    "source": "files.sources",
    "states": "training.precision",
    "train": "training.plan",
}


def __getattr__(name: str) -> object:
    """Load a public name when it is first asked for: `import memcalc` itself costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'memcalc' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"memcalc.{_HOMES[name]}"), name)
