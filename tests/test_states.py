"""States of a training step: sixteen bytes, and why others say eighteen or twenty."""

from __future__ import annotations

from types import ModuleType

import pytest

import memcalc
from memcalc.errors import MemcalcError
from memcalc.training.zero import states

BILLION = 10**9


@pytest.mark.parametrize(("shard", "printed"), [(0, "120.0"), (1, "31.4"), (2, "16.6"), (3, "1.9")])
def test_zeros_figure_1(shard: int, printed: str) -> None:
    """7.5B parameters on 64 ranks: 120, 31.4, 16.6 and 1.9 GB (decimal), as the paper prints them."""
    assert printed == f"{states(75 * BILLION // 10, shard=shard, world=64).total_bytes / BILLION:.1f}"


@pytest.mark.parametrize(
    ("regime", "gradients", "expected"),
    [
        ("bf16-mixed", "bf16", 16),
        ("bf16-mixed", "fp32", 18),
        ("bf16-mixed", "bf16+fp32", 20),
        ("pure-bf16", None, 8),
        ("amp", None, 16),
        ("fp32", None, 16),
    ],
)
def test_bytes_a_parameter(regime: str, gradients: str | None, expected: int) -> None:
    """The same list with other lines."""
    assert expected == states(1, regime=regime, gradients=gradients).bytes_per_parameter


def test_shares_are_never_smaller_than_the_whole() -> None:
    """What the ranks hold together is at least what one rank would hold alone."""
    for world in range(1, 40):
        for shard in range(4):
            held = states(1001, shard=shard, world=world)
            assert held.total_bytes * world >= 16 * 1001
            assert sum(held.components.values()) == held.total_bytes


@pytest.mark.parametrize(
    "wrong",
    [
        {"regime": "fp4"},
        {"gradients": "int8"},
        {"regime": "pure-bf16", "gradients": "fp32"},
        {"shard": 4},
        {"shard": -1},
        {"world": 0},
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    """A refusal names the option."""
    with pytest.raises(MemcalcError, match="expected"):
        states(1, **wrong)  # type: ignore[arg-type]


def test_a_public_name_is_no_module_however_much_is_loaded() -> None:
    """A module called as one of the package's names would take its place as soon as it is loaded."""
    for name in memcalc.__all__:
        getattr(memcalc, name)
    assert [name for name in memcalc.__all__ if isinstance(getattr(memcalc, name), ModuleType)] == []
