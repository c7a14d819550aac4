"""Hybrids."""

from __future__ import annotations

__all__ = ["ANSWERS"]

ANSWERS = {}
