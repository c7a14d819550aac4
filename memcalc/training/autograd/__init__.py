"""What autograd keeps of a forward pass: one program of operations for each implementation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.ledger.registry import Registry

if TYPE_CHECKING:
    from memcalc.training.autograd.base import Implementation

__all__ = ["IMPLEMENTATIONS"]

IMPLEMENTATIONS: Registry[Implementation] = Registry(
    "--implementation",
    {"transformers": "transformers:TRANSFORMERS", "megatron": "megatron:MEGATRON"},
    package=__name__,
    remedy="what is kept depends on the code that runs",
)
