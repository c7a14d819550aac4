"""What autograd keeps of a forward pass: one program of operations for each implementation."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from memcalc.errors import UnknownNameError

if TYPE_CHECKING:
    from memcalc.training.autograd.base import Implementation

__all__ = ["IMPLEMENTATIONS", "implementation"]

IMPLEMENTATIONS = ("transformers", "megatron")


def implementation(name: str) -> Implementation:
    """Return an implementation by its name.

    >>> implementation("transformers").id
    'transformers'

    Raises:
        UnknownNameError: no implementation has this name.

    """
    if name not in IMPLEMENTATIONS:
        known = f"one of {', '.join(IMPLEMENTATIONS)}"
        raise UnknownNameError("--implementation", known, name, "what is kept depends on the code that runs")
    found: Implementation = import_module(f"memcalc.training.autograd.{name}").IMPLEMENTATION
    return found
