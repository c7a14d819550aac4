"""Measured numbers, each at home once: what no shape decides, as a range with its source and its date."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Measured"]


class Measured(NamedTuple):
    """A measured number: its lower end, what is typical, its upper end, and who measured it when."""

    low: int
    typical: int
    high: int
    source: str
    date: str
