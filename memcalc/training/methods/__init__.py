"""Preferences and rewards: several models, and an engine, on one device, phase after phase."""

from __future__ import annotations

__all__: list[str] = []
