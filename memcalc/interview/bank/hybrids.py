"""Questions about hybrids."""

from __future__ import annotations

__all__ = ["TEMPLATES"]

TEMPLATES = ()
