"""What a training step holds whatever the batch: parameters, gradients, a master copy and two moments."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import BadInputError, UnknownNameError, at_least_one
from memcalc.ledger.tensor import ceil_div

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.ledger.model import Model

__all__ = ["GRADIENTS", "REGIMES", "Regime", "State", "States", "states"]

EVERYTHING, OPTIMIZER, GRADIENT, WEIGHT = 0, 1, 2, 3  # from which ZeRO stage on a state is sharded
ZERO = "Rajbhandari et al. 2020, arXiv:1910.02054, section 3.1 and figure 1"
PYTORCH = "torch.optim.AdamW 2.13: moments take the parameter's dtype"


class Regime(NamedTuple):
    """Bytes of one parameter in each of its forms; `master` is None where no copy is kept."""

    id: str
    weight: int
    gradient: int
    master: int | None
    moment: int
    source: str


REGIMES: dict[str, Regime] = {
    regime.id: regime
    for regime in (
        Regime("pure-bf16", weight=2, gradient=2, master=None, moment=2, source=PYTORCH),
        Regime("bf16-mixed", weight=2, gradient=2, master=4, moment=4, source=ZERO),
        Regime("amp", weight=4, gradient=4, master=None, moment=4, source=PYTORCH),
        Regime("fp32", weight=4, gradient=4, master=None, moment=4, source=PYTORCH),
    )
}
GRADIENTS = {"bf16": (2,), "fp32": (4,), "bf16+fp32": (2, 4)}


class State(NamedTuple):
    """One number kept for every parameter, and the ZeRO stage from which ranks share it."""

    component: str
    name: str
    bytes_per_parameter: int
    sharded_from: int


class States(NamedTuple):
    """All numbers kept for every parameter, on one of `world` ranks.

    The arithmetic asks nothing of its numbers: with symbols it yields ZeRO's formulas.

    >>> seven_and_a_half = states(7_500_000_000, regime="bf16-mixed", shard=1, world=64)
    >>> seven_and_a_half.total_bytes
    31406250000
    """

    parameters: int
    kept: tuple[State, ...]
    gradients: str
    shard: int
    world: int
    source: str

    def bytes_of(self, state: State) -> int:
        """Return the bytes of one state on the fullest rank: a share is rounded up to whole numbers."""
        shared = 0 < state.sharded_from <= self.shard
        return state.bytes_per_parameter * (
            ceil_div(self.parameters, self.world) if shared else self.parameters
        )

    @property
    def components(self) -> dict[str, int]:
        """Bytes by component; they add up to `total_bytes`."""
        found: dict[str, int] = {}
        for state in self.kept:
            found[state.component] = found.get(state.component, 0) + self.bytes_of(state)
        return found

    @property
    def bytes_per_parameter(self) -> int:
        """What one parameter costs without sharding: 16, 18 or 20 are the same list with other lines."""
        return sum(state.bytes_per_parameter for state in self.kept)

    @property
    def total_bytes(self) -> int:
        """All of them."""
        return sum(self.components.values())


def kept(regime: Regime, gradients: tuple[int, ...]) -> Iterator[State]:
    """Yield the numbers that AdamW training keeps for a parameter."""
    yield State("weights", "parameter", regime.weight, WEIGHT)
    for width in gradients:
        yield State("gradients", f"{8 * width}-bit gradient", width, GRADIENT)
    if regime.master is not None:
        yield State("master", "fp32 master copy", regime.master, OPTIMIZER)
    for moment in "first moment", "second moment":
        yield State("optimizer", moment, regime.moment, OPTIMIZER)


def states(
    model: Model | int,
    *,
    regime: str = "bf16-mixed",
    gradients: str | None = None,
    shard: int = 0,
    world: int = 1,
) -> States:
    """Return the states of AdamW training for a model, or for a plain count of parameters.

    `shard` is the ZeRO stage: 1 shares the optimizer's numbers and the master copy, 2 the gradients as
    well, 3 everything. `gradients` are kept as bf16, fp32, or bf16+fp32 (a 16-bit one to communicate and a
    32-bit one to accumulate).
    Source of the formulas: Rajbhandari et al. 2020, arXiv:1910.02054.

    >>> [states(1, gradients=width).bytes_per_parameter for width in ("bf16", "fp32", "bf16+fp32")]
    [16, 18, 20]

    Raises:
        UnknownNameError: no regime or gradient has this name.
        BadInputError: the stage or the world cannot be, or the regime keeps no such gradient.

    """
    if regime not in REGIMES:
        known = f"one of {', '.join(REGIMES)}"
        raise UnknownNameError("--regime", known, regime, "see the chapter on training states")
    chosen = REGIMES[regime]
    own = next(name for name, widths in GRADIENTS.items() if widths == (chosen.gradient,))
    named = own if gradients is None else gradients
    if named not in GRADIENTS:
        raise UnknownNameError("--gradients", f"one of {', '.join(GRADIENTS)}", named, "leave it out")
    if chosen.master is None and named != own:
        remedy = "PyTorch keeps gradients in the parameter's dtype; use bf16-mixed for others"
        raise BadInputError("--gradients", f"{own} with {regime}", named, remedy)
    if shard not in range(4):
        raise BadInputError("--shard", "a ZeRO stage: 0, 1, 2 or 3", shard, "0 shares nothing")
    parameters = model.parameters if hasattr(model, "parameters") else model
    for name, value in (("world", world), ("parameters", parameters)):
        if isinstance(value, int | float | str):  # a symbol or an array is not asked
            at_least_one(name, value)
    return States(parameters, tuple(kept(chosen, GRADIENTS[named])), named, shard, world, chosen.source)
