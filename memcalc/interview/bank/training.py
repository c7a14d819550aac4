"""Questions about training."""

from __future__ import annotations

__all__ = ["TEMPLATES"]

TEMPLATES = ()
