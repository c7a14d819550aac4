"""Configs with one field changed: what the oracles ask transformers, and the tests memcalc."""

from __future__ import annotations

import copy

WAYS = ("absent", "null")


def changed(fields, place, way):
    """The config with one field absent or null; a place is a path such as text_config.head_dim."""
    found = copy.deepcopy(fields)
    *above, field = place.split(".")
    inside = found
    for name in above:
        inside = inside[name]
    if way == "absent":
        del inside[field]
    else:
        inside[field] = None
    return found
