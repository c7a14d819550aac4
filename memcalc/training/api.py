"""`memcalc.train`: the options of a training step as keywords."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.options import takes_options
from memcalc.training.estimate import estimate
from memcalc.training.options import TrainingOptions

if TYPE_CHECKING:
    from memcalc.files.source import Source
    from memcalc.training.estimate import TrainingEstimate

__all__ = ["train"]


@takes_options(TrainingOptions)
def train(source: str | Source, options: TrainingOptions) -> TrainingEstimate:  # noqa: D417  # {options}
    """Return how much memory one training step needs, moment by moment.

    Sizes are those of a steady state: the optimizer's states exist while the forward pass runs. What is left
    open has a default, which `memcalc.training.plan_fields` shows.

    Parameters
    ----------
    source : str or Source
        The model: a catalogue name, a config.json, its folder, Megatron's arguments, a Hub repository.
    {options}

    Returns
    -------
    TrainingEstimate
        What each device holds at each moment of the step, and what lies beside it.

    Raises
    ------
    BadInputError
        A number that cannot be, or a plan that the implementation cannot run.
    UnknownNameError
        A name without a record.

    Examples
    --------
    >>> step = train("meta-llama/Meta-Llama-3.1-8B", seq=4096, regime="pure-bf16", optimizer="sgd")
    >>> step.allocated_bytes, step.device.fullest
    (45.47 GiB, 'loss')

    """
    return estimate(source, options)
