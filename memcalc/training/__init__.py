"""A plan for training, and the memory that one step needs."""

from __future__ import annotations

from memcalc.ledger.lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memcalc.training.autograd import implementation as implementation
    from memcalc.training.autograd.base import Adapter as Adapter, Setting as Setting
    from memcalc.training.autograd.tape import Tape as Tape
    from memcalc.training.optimizers import OPTIMIZERS as OPTIMIZERS
    from memcalc.training.plan import train as train
    from memcalc.training.precision import GRADIENTS as GRADIENTS, REGIMES as REGIMES, states as states
    from memcalc.training.stage import Training as Training

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "autograd": ("implementation",),
        "autograd.base": ("Adapter", "Setting"),
        "autograd.tape": ("Tape",),
        "optimizers": ("OPTIMIZERS",),
        "plan": ("train",),
        "precision": ("GRADIENTS", "REGIMES", "states"),
        "stage": ("Training",),
    },
)
