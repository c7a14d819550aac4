"""``memcalc.train``: the options of ``memcalc train`` as keyword arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.options import takes_options
from memcalc.training.asked import estimate
from memcalc.training.options import TrainingOptions

if TYPE_CHECKING:
    from os import PathLike

    from memcalc.files.source import Source
    from memcalc.training.estimate import TrainingEstimate

__all__ = ["train"]


@takes_options(TrainingOptions)
def train(source: str | PathLike[str] | Source, options: TrainingOptions) -> TrainingEstimate:  # noqa: D417  # {options}
    """Return how much memory one training step needs, moment by moment.

    Sizes are those of a steady state: the optimizer's states exist while the forward pass runs. What is left
    open has a default, which `memcalc.training.plan_fields` shows. `seq` and `micro_batch` may be arrays of
    whole numbers that broadcast: then `allocated_bytes` and `at` give arrays.

    Parameters
    ----------
    source : str, path or Source
        A catalogue name, a config.json or its folder, a safetensors file or index, a GGUF file, Megatron-LM's
        arguments, or a repository of the Hub.
    {options}

    Returns
    -------
    TrainingEstimate
        The budget of the fullest `device` at each moment of the step, that of the `host`, the peak in
        `allocated_bytes`, whether it `fits`, and the `plan` with everything that was left open filled in.

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
