"""``memcalc.serve``: the options of ``memcalc serve`` as keyword arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memcalc.ledger.sweep import is_array
from memcalc.options import takes_options
from memcalc.serving.estimate import estimate
from memcalc.serving.options import ServingOptions
from memcalc.serving.which_options import WhichOptions

if TYPE_CHECKING:
    from os import PathLike

    from memcalc.files.source import Source
    from memcalc.serving.estimate import ServingEstimate
    from memcalc.serving.holding import Machines

__all__ = ["serve", "which"]


@takes_options(ServingOptions)
def serve(source: str | PathLike[str] | Source, options: ServingOptions) -> ServingEstimate:  # noqa: D417  # {options}
    """Return the memory that serving a model needs.

    `context` and `batch` may be arrays of whole numbers that broadcast: then totals, components, moments,
    ends of ranges and verdicts are arrays, too, and equal those of single plans point by point.

    Parameters
    ----------
    source : str, path or Source
        A catalogue name, a config.json or its folder, a safetensors file or index, a GGUF file, Megatron-LM's
        arguments, or a repository of the Hub.
    {options}

    Returns
    -------
    ServingEstimate
        The budgets of the fullest `device` and of the `host`, whether the plan `fits`, the largest context
        and batch that do, and the `plan` with everything that was left open filled in.

    Raises
    ------
    BadInputError
        A number that cannot be, or ranks that the engine or the machine cannot have.
    UnknownNameError
        A model, machine, format, engine, version or option without a record.

    Examples
    --------
    >>> served = serve("Qwen/Qwen3-32B", context=8192, on="2x rtx-a6000")
    >>> served.fits, served.cache_bytes, served.weights_file_bytes
    (True, 2.00 GiB, 61.02 GiB)
    >>> served.device.components["kv_cache"]
    1.00 GiB

    A sweep of contexts and batches:

    >>> import numpy
    >>> contexts, batches = numpy.array([8192, 32768]), numpy.array([[1], [8]])
    >>> served = serve("Qwen/Qwen3-32B", context=contexts, batch=batches, on="2x rtx-a6000")
    >>> served.fits.tolist()
    [[True, True], [False, False]]

    """
    if is_array(options.context) or is_array(options.batch):
        from memcalc.serving.sweep import swept_estimate

        return swept_estimate(source, options)
    return estimate(source, options)


@takes_options(WhichOptions)
def which(source: str | PathLike[str] | Source, options: Any) -> Machines:  # noqa: D417  # {options}
    """Return the machines that hold a model: 1, 2, 4 or 8 of each device and server of the record.

    Parameters
    ----------
    source : str, path or Source
        What is served, as in `serve`.
    {options}

    Returns
    -------
    Machines
        Its `machines` are as few of each as are enough, the smallest memory first: `id`, `count`, `verdict`
        (``fits`` or ``may_not_fit``), what the fullest device holds and has, and the longest context.
        Host memory is taken as large enough.

    Raises
    ------
    BadInputError
        A number that cannot be.
    UnknownNameError
        A model, format, engine, version or option without a record.

    Examples
    --------
    >>> found = which("Qwen/Qwen3-32B", context=8192)
    >>> [(one.count, one.id) for one in found.machines if one.id in ("rtx-4090", "h200-141g")]
    [(4, 'rtx-4090'), (1, 'h200-141g')]

    """
    from memcalc.serving.holding import machines_for

    return machines_for(source, options)
