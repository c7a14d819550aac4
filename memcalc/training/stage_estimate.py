"""What the ranks of one pipeline stage hold, on a device and in the host's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from memcalc.data.units import Amount, amount
from memcalc.training.backward import largest
from memcalc.training.overheads import VARYING

if TYPE_CHECKING:
    from memcalc.ledger.budget import PoolBudget
    from memcalc.training.stage import StageTensors

__all__ = ["StageEstimate"]


class StageEstimate(NamedTuple):
    """What the ranks of one pipeline stage hold: their tensors, and the budgets of device and host.

    `host` is one rank's part of the host's memory, None where nothing lies there.
    """

    number: int
    tensors: StageTensors
    device: PoolBudget
    host: PoolBudget | None

    @property
    def allocated_bytes(self) -> Amount:
        """The largest moment."""
        return amount(largest(self.device.moments.values()))

    def components(self, moment: str) -> dict[str, Amount]:
        """Return the bytes of each component at a moment."""
        return self.device.components_at(moment)

    def room(self, end: str) -> int | None:
        """Return what is left of the device, without what the allocator gives back when it needs room."""
        lines = self.device.lines
        return self.device.holding(tuple(line for line in lines if line.name != VARYING)).room(end)
