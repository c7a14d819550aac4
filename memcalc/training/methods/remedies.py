"""What would make a method fit: what leaves the device between phases first, then what helps any step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memcalc.show.remedy import MOST, Change, Remedy, command_line
from memcalc.training.methods.setup import ENGINES
from memcalc.training.remedies import Tried, remedies as of_a_step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from memcalc.training.methods.setup import Setup
    from memcalc.training.options import TrainingOptions
    from memcalc.training.plan import TrainingPlan

__all__ = ["remedies"]

SHARES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)


def remedies(
    plan: TrainingPlan, setup: Setup, estimate: Callable[[TrainingOptions], Any]
) -> tuple[Remedy, ...]:
    """Return what makes a method fit that does not, three changes at most."""
    tried, found = Tried(plan, estimate), []
    for kind in changes(setup):
        change = next(filter(tried.fits, kind), None)
        if change is not None:
            step = tried(change)
            command = command_line("train", plan.source.name, step.plan.asked)
            found.append(Remedy(change.words, command, step.device.total_bytes))
    if len(found) < MOST:
        found += of_a_step(plan, estimate)
    return tuple(found[:MOST])


def changes(setup: Setup) -> Iterator[Iterable[Change]]:
    """Yield the kinds of changes of the method's own, the gentlest first."""
    if setup.engine in ENGINES and not setup.sleep:
        yield [Change("an engine that sleeps", {"sleep_level": 1})]
    if setup.reference == "copy" and not setup.is_rewarded and setup.method != "orpo":
        yield [Change("log-probs of the reference computed before", {"reference": "precomputed"})]
    rest = ["optimizer"] + (["reference"] if setup.reference == "copy" else [])
    rest += ["reward", "critic"] if setup.method == "ppo" else []
    if setup.is_rewarded and not setup.offloaded:
        both = {"sleep_level": 1} if setup.engine in ENGINES and not setup.sleep else {}
        leaving = {"offload_between": tuple(rest), **both}
        yield [Change(f"{', '.join(rest)} in host memory between phases", leaving)]
    if setup.engine in ENGINES:
        smaller = [share for share in SHARES if share < setup.utilization]
        larger = [share for share in reversed(SHARES) if share > setup.utilization]
        yield [
            Change(f"a share of {share} for the engine", {"rollout_utilization": share})
            for share in (*smaller, *larger)
        ]
