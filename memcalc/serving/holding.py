"""Which machines hold a plan: every device and server of the record, as few of each as are enough."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from memcalc.data.units import gib
from memcalc.errors import RefusalError
from memcalc.files.machines import devices, machine, servers
from memcalc.serving.options import ServingOptions
from memcalc.serving.plan import resolve
from memcalc.serving.search import LIMIT, search_of
from memcalc.show.card import VERDICTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from memcalc.data.units import Amount
    from memcalc.files.source import Source
    from memcalc.serving.plan import ServingPlan

__all__ = ["Holding", "Machines", "machines_for"]

COUNTS = (1, 2, 4, 8)
SHOWN = 9  # rows at a prompt


class Holding(NamedTuple):
    """So many machines of an id hold a plan: what the fullest device holds, and the longest context.

    Where memory sets no limit `max_context` is the end of the search, 2^40 or more, and null in JSON.
    """

    id: str
    count: int  # type: ignore[assignment]  # the word of every machine, and no tuple's
    verdict: str
    total_bytes: Amount
    capacity_bytes: Amount
    max_context: int


class Machines:
    """The machines that hold a plan, the smallest first; `plan` is the same without a machine."""

    def __init__(self, plan: ServingPlan, machines: tuple[Holding, ...]) -> None:
        self.plan, self.machines = plan, machines

    @property
    def lines(self) -> Iterator[str]:
        """The lines of the answer."""
        plan = self.plan
        asked = f"{plan.batch:,} x {plan.context:,} tokens, weights {plan.weights}"
        yield f"{plan.model.name}: {asked}, {plan.engine.id} {plan.engine.release}"
        yield f"  assumed: {', '.join(plan.defaults)}"
        if not self.machines:
            yield f"  none: {plan.beyond_limit or f'not even {COUNTS[-1]} of any machine hold it'}"
            return
        width = max(len(one.id) for one in self.machines) + 4
        yield f"  {'machine':<{width}} {'a device holds':>14} {'of':>12} {'tokens left':>13}  verdict"
        for one in self.machines:
            left = "any" if one.max_context >= LIMIT else f"{one.max_context - plan.context:,}"
            sizes = f"{gib(one.total_bytes):>14} {gib(one.capacity_bytes):>12}"
            yield f"  {f'{one.count}x {one.id}':<{width}} {sizes} {left:>13}  {VERDICTS[one.verdict]}"

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def __repr__(self) -> str:
        rows = list(self.lines)
        more = len(rows) - SHOWN - 2
        return "\n".join([*rows[: SHOWN + 2], f"  ... and {more} more: print it"] if more > 1 else rows)


def machines_for(source: str | PathLike[str] | Source, options: Any) -> Machines:
    """Return the machines that hold what `WhichOptions` ask for; host memory is taken as large enough."""
    asked = ServingOptions(**vars(options))
    alone = resolve(source, asked)
    found = alone.source
    weights = alone.parallelism.world * max(one.weight_bytes for one in search_of(alone).stages)
    holding: list[tuple[int, Holding]] = []  # beside the memory of all devices
    for name in () if alone.beyond_limit else (*devices(), *servers()):
        for count in COUNTS:
            where = machine(f"{count}x {name}")
            memory = where.count * where.device.capacity_bytes
            one = held(found, asked, name, count) if memory >= weights else None
            if one is not None:
                holding.append((memory, one))
                break
    return Machines(alone, tuple(one for _, one in sorted(holding)))


def held(found: Source, asked: ServingOptions, name: str, count: int) -> Holding | None:
    """Return what so many of a machine hold; None where that is refused, or too much for them."""
    try:
        plan = resolve(found, replace(asked, on=f"{count}x {name}"))
        search = search_of(plan)
    except RefusalError:
        return None
    if plan.machine is None or search.judged == "does_not_fit":
        return None
    capacity = plan.machine.device.capacity_bytes
    return Holding(name, count, search.judged, search.total_bytes, capacity, search.max_context())
