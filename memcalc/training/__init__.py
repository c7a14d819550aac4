"""Training: options become a plan, a plan an estimate of the memory that one step needs."""

from __future__ import annotations

from memcalc.data.lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memcalc.training.api import train as train
    from memcalc.training.autograd import IMPLEMENTATIONS as IMPLEMENTATIONS
    from memcalc.training.autograd.base import Adapter as Adapter, MicroBatch as MicroBatch
    from memcalc.training.autograd.tape import Tape as Tape
    from memcalc.training.estimate import TrainingEstimate as TrainingEstimate
    from memcalc.training.optimizers import OPTIMIZERS as OPTIMIZERS
    from memcalc.training.options import (
        TrainingOptions as TrainingOptions,
        training_options as training_options,
    )
    from memcalc.training.parallelism import TrainingParallelism as TrainingParallelism
    from memcalc.training.plan import TrainingPlan as TrainingPlan, plan_fields as plan_fields
    from memcalc.training.precision import GRADIENTS as GRADIENTS, PRECISIONS as PRECISIONS
    from memcalc.training.zero import states as states

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "api": ("train",),
        "autograd": ("IMPLEMENTATIONS",),
        "autograd.base": ("Adapter", "MicroBatch"),
        "autograd.tape": ("Tape",),
        "estimate": ("TrainingEstimate",),
        "optimizers": ("OPTIMIZERS",),
        "options": ("TrainingOptions", "training_options"),
        "parallelism": ("TrainingParallelism",),
        "plan": ("TrainingPlan", "plan_fields"),
        "precision": ("GRADIENTS", "PRECISIONS"),
        "zero": ("states",),
    },
)
