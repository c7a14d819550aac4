"""Serving."""

from __future__ import annotations

__all__ = ["ANSWERS"]

ANSWERS = {
    "kv-bytes-a-token": lambda q: (
        2
        * q.before("layers")
        * q.before("key/value heads")
        * q.before("numbers wide")
        * q.after("kept in")
        // 8
    ),
    "does-yarn-cost": lambda q: "It stays as it is",
}
