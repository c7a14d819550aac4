"""Which estimate is asked for: of one model's step, or of several models in phases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.training.estimate import estimate as estimate_step

if TYPE_CHECKING:
    from os import PathLike

    from memcalc.files.source import Source
    from memcalc.training.estimate import TrainingEstimate
    from memcalc.training.options import TrainingOptions

__all__ = ["estimate"]


def estimate(source: str | PathLike[str] | Source, options: TrainingOptions) -> TrainingEstimate:
    """Return the estimate of a training step, or with a `method` of all of its phases.

    Parameters
    ----------
    source : str, path or Source
        The model.
    options : TrainingOptions
        What is asked for.

    Raises
    ------
    BadInputError
        A number that cannot be, or a plan that the implementation cannot run.
    UnknownNameError
        A name without a record.

    """
    if options.method == "sft":
        return estimate_step(source, options)
    from memcalc.training.methods.estimate import estimate as estimate_phases

    return estimate_phases(source, options)
