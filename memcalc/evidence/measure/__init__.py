"""Steps that really run, and what they hold: on a GPU, or on fake tensors where there is none."""

from __future__ import annotations

__all__: list[str] = []
