"""What a training step holds whatever the batch: parameters, gradients, a master copy and two moments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from memcalc.data.units import amount
from memcalc.errors import BadInputError, at_least_one, known_name
from memcalc.ledger.budget import Line, PoolBudget
from memcalc.ledger.tensor import ceil_div
from memcalc.show.card import Card
from memcalc.show.shown import Shown
from memcalc.training.precision import GRADIENTS, PRECISIONS, gradients_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.data.units import Amount
    from memcalc.ledger.model import Model
    from memcalc.training.precision import Precision

__all__ = ["State", "States", "states"]

OPTIMIZER, GRADIENT, WEIGHT = 1, 2, 3  # from which ZeRO stage on a state is sharded
STEP = ("the step",)  # when all of them are there


class State(NamedTuple):
    """One number kept for every parameter, and the ZeRO stage from which ranks share it."""

    component: str
    name: str
    bytes_per_parameter: int
    sharded_from: int


@dataclass(frozen=True, repr=False)
class States(Shown):
    """All numbers kept for every parameter, on one of `world` ranks.

    The arithmetic asks nothing of its numbers: with symbols it yields ZeRO's formulas.

    >>> states(7_500_000_000, regime="bf16-mixed", shard=1, world=64)
    7,500,000,000 parameters, 16 bytes each: states of AdamW
      fullest of 64 rank(s), ZeRO stage 1, at the step
        weights         13.97 GiB
        master           0.44 GiB
        gradients       13.97 GiB
        optimizer        0.87 GiB
        total           29.25 GiB
    """

    parameters: int
    kept: tuple[State, ...]
    gradients: str
    shard: int
    world: int
    source: str

    @property
    def card(self) -> Card:
        """What the shell and Jupyter show of it; of symbols and arrays no bytes."""
        sizes = [self.bytes_of(state) for state in self.kept]
        if any(type(size) is not int for size in sizes):
            return Card(f"{self.bytes_per_parameter} bytes a parameter, ZeRO stage {self.shard}")
        lines = tuple(
            Line(
                *(one.component, one.name, size),
                formula=self.formula_of(one),
                moments=STEP,
                source=self.source,
            )
            for one, size in zip(self.kept, sizes, strict=True)
        )
        title = f"{self.parameters:,} parameters, {self.bytes_per_parameter} bytes each: states of AdamW"
        heading = f"fullest of {self.world:,} rank(s), ZeRO stage {self.shard}"
        rank = PoolBudget(
            "gpu", self.world, capacity_bytes=None, usable_bytes=None, lines=lines, moment_names=STEP
        )
        return Card(title, pools=((heading, rank),))

    def is_shared(self, state: State) -> bool:
        """Return whether the ranks divide a state among them."""
        return 0 < state.sharded_from <= self.shard

    def bytes_of(self, state: State) -> int:
        """Return the bytes of one state on the fullest rank: a share is rounded up to whole numbers."""
        share = ceil_div(self.parameters, self.world) if self.is_shared(state) else self.parameters
        return state.bytes_per_parameter * share

    def formula_of(self, state: State) -> str:
        """Return how the bytes of one state follow, with this plan's numbers."""
        whole = f"{self.parameters:,}"
        share = f"ceil({whole} / {self.world:,})" if self.is_shared(state) else whole
        return f"{state.bytes_per_parameter} B x {share}"

    @property
    def components(self) -> dict[str, Amount]:
        """Bytes by component; they add up to `total_bytes`."""
        found: dict[str, int] = {}
        for state in self.kept:
            found[state.component] = found.get(state.component, 0) + self.bytes_of(state)
        return {name: amount(size) for name, size in found.items()}

    @property
    def bytes_per_parameter(self) -> int:
        """What one parameter costs without sharding: 16, 18 or 20 are the same list with other lines."""
        return sum(state.bytes_per_parameter for state in self.kept)

    @property
    def total_bytes(self) -> Amount:
        """All of them."""
        return amount(sum(self.components.values()))


def kept(precision: Precision, gradients: tuple[int, ...]) -> Iterator[State]:
    """Yield the numbers that AdamW training keeps for a parameter, in the order of `COMPONENTS`."""
    yield State("weights", "parameter", precision.weight, WEIGHT)
    if precision.master is not None:
        yield State("master", "fp32 master copy", precision.master, OPTIMIZER)
    for width in gradients:
        yield State("gradients", f"{8 * width}-bit gradient", width, GRADIENT)
    for moment in "first moment", "second moment":
        yield State("optimizer", moment, precision.moment, OPTIMIZER)


def states(
    model: Model | int,
    *,
    regime: str = "bf16-mixed",
    gradients: str | None = None,
    shard: int = 0,
    world: int = 1,
) -> States:
    """Return the states of AdamW training for a model, or for a plain count of parameters.

    Parameters
    ----------
    model : Model or int
        The model, or how many parameters it has; a symbol gives ZeRO's formulas.
    regime : {'pure-bf16', 'bf16-mixed', 'amp', 'fp32'}, default 'bf16-mixed'
        Numbers of weights, gradients and master copy.
    gradients : {'bf16', 'fp32', 'bf16+fp32'}, default the regime's
        Numbers of the gradients; of two kinds one is communicated in 16 bits, one accumulates in 32.
    shard : {0, 1, 2, 3}, default 0
        ZeRO's stage: 1 shares the optimizer's numbers and the master copy, 2 the gradients as well, 3
        everything.
    world : int, default 1
        Ranks that share.

    Returns
    -------
    States
        The numbers kept for each parameter, and their bytes on one rank.

    Raises
    ------
    UnknownNameError
        No regime or gradient has this name.
    BadInputError
        The stage or the world cannot be, or the regime keeps no such gradient.

    Notes
    -----
    Source of the formulas: Rajbhandari et al. 2019, arXiv:1910.02054.

    Examples
    --------
    >>> [states(1, gradients=width).bytes_per_parameter for width in ("bf16", "fp32", "bf16+fp32")]
    [16, 18, 20]

    """
    if regime not in PRECISIONS:
        regime = known_name("--regime", PRECISIONS, regime)
    precision = PRECISIONS[regime]
    own = gradients_of(precision)
    named = own if gradients is None else gradients
    if named not in GRADIENTS:
        named = known_name("--gradients", GRADIENTS, named)
    if precision.master is None and named != own:
        remedy = "PyTorch keeps gradients in the parameter's dtype; use bf16-mixed for others"
        raise BadInputError("--gradients", f"{own} with {regime}", named, remedy)
    if type(shard) is bool or shard not in range(4):
        raise BadInputError("--shard", "a ZeRO stage: 0, 1, 2 or 3", shard, "0 shares nothing")
    if isinstance(model, str):
        expected, remedy = (
            "a model, or a number of parameters",
            f"write memcalc.states(memcalc.model({model!r}))",
        )
        raise BadInputError("model", expected, model, remedy)
    parameters = model.parameters if hasattr(model, "parameters") else model
    for name, value in (("world", world), ("parameters", parameters)):
        if value is None or isinstance(
            value, int | float | str | bytes | list | dict | tuple
        ):  # no symbol, no array
            at_least_one(name, value)
    lists = tuple(kept(precision, GRADIENTS[named]))
    return States(parameters, lists, named, shard, world, precision.source)
