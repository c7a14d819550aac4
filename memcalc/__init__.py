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
    from memcalc.engines import engine
    from memcalc.errors import BadInputError, MemcalcError, UnknownNameError
    from memcalc.formats import FORMATS
    from memcalc.machine import devices
    from memcalc.readers import read
    from memcalc.regimes import states
    from memcalc.serving import plan
    from memcalc.solve import largest
    from memcalc.sources import catalogue, load_model, source
    from memcalc.training import train

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
    "FORMATS": "formats",
    "BadInputError": "errors",
    "MemcalcError": "errors",
    "UnknownNameError": "errors",
    "catalogue": "sources",
    "devices": "machine",
    "engine": "engines",
    "largest": "solve",
    "load_model": "sources",
    "plan": "serving",
    "read": "readers",
    "source": "sources",
    "states": "regimes",
    "train": "training",
}


def __getattr__(name: str) -> object:
    """Load a public name when it is first asked for: `import memcalc` itself costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'memcalc' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"memcalc.{_HOMES[name]}"), name)
