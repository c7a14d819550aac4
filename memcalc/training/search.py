"""What is the most that fits: the longest sequence, the largest micro-batch, the fewest devices.

Each is looked for among plans like any other: with the largest that fits, the upper end of every range is
within what there is, and with the next one it is not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from memcalc.errors import RefusalError
from memcalc.options import options_of
from memcalc.serving.search import largest
from memcalc.show.remedy import machine_text, typed

if TYPE_CHECKING:
    from collections.abc import Callable

    from memcalc.training.plan import TrainingPlan

__all__ = ["fewest_devices", "fewest_otherwise", "max_batch", "max_seq"]

FAR = 2**31  # tokens or sequences: beyond any machine
MANY = 2**14  # devices


def max_seq(plan: TrainingPlan, ask: Callable[[dict[str, Any]], Any]) -> int:
    """Return the longest sequence with which a step surely fits; 0 where not even the shortest does.

    Parameters
    ----------
    plan : TrainingPlan
        What is asked about; ranks that share a sequence divide each length that is tried.
    ask : callable
        Returns the estimate with some options in another way.

    """
    unit = plan.parallelism.cp * (plan.parallelism.tp if plan.options.sequence_parallel else 1)
    start = max(1, plan.options.seq // unit)
    return unit * largest(lambda number: fits(ask, seq=unit * number), FAR // unit, start)


def max_batch(plan: TrainingPlan, ask: Callable[[dict[str, Any]], Any]) -> int:
    """Return the largest micro-batch with which a step surely fits; 0 where not even one sequence does."""
    start = plan.options.micro_batch
    return largest(lambda number: fits(ask, micro_batch=number), FAR, start)


def fewest_devices(plan: TrainingPlan, ask: Callable[[dict[str, Any]], Any]) -> int | None:
    """Return the fewest devices of the machine's kind, all used, with which a step surely fits.

    They share as the plan says. None where no number does, and of unequal devices.
    """
    machine, ranks = plan.machine, plan.parallelism
    if machine is None or machine.cards or plan.options.on is None:
        return None
    on, unit = plan.options.on, ranks.tp * ranks.pp * ranks.cp

    def lacks(number: int) -> bool:
        text = machine_text(on, machine.device.id, unit * number)
        return not fits(ask, on=text, world=unit * number)

    few = largest(lacks, MANY // unit)
    return None if few == MANY // unit else unit * (few + 1)


def fewest_otherwise(plan: TrainingPlan, ask: Callable[[dict[str, Any]], Any]) -> tuple[str, int] | None:
    """Return how a step is run where no number of devices is enough, as it is typed, and how many are then.

    None where a number is enough as it is, or nothing of it is.
    """
    if fewest_devices(plan, ask):
        return None
    shared, again = {"shard": 3}, {"recompute": "full", "recompute_modules": None}
    for options in (shared, again, {**shared, **again}):
        try:
            found = ask(options).fewest_devices
        except RefusalError:
            continue
        if found:
            asked: Any = replace(plan.asked, **options)
            changed = (one for one in options_of(asked.__class__) if options.get(one.name) is not None)
            return " ".join(word for one in changed for word in typed(one, getattr(asked, one.name))), found
    return None


def fits(ask: Callable[[dict[str, Any]], Any], **changes: Any) -> bool:
    """Say whether a step surely fits with some options in another way."""
    try:
        verdict: str | None = ask(changes).verdict
    except RefusalError:
        return False
    return verdict == "fits"
