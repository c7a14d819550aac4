"""When the releases appeared whose behaviour is modelled, and engines that are not modelled."""

from __future__ import annotations

import json
from typing import NamedTuple

from memcalc.data import open_text

__all__ = ["Release", "Unmodelled", "not_modelled", "releases"]


class Release(NamedTuple):
    """A release from which on an engine's behaviour is modelled, or the newest that is."""

    version: str
    date: str
    source: str


class Unmodelled(NamedTuple):
    """An engine without a model of its own, and the nearest that has one."""

    id: str
    name: str
    version: str
    date: str
    nearest: str
    note: str


def releases() -> dict[str, tuple[Release, ...]]:
    """Return the releases of each engine, the newest last.

    >>> releases()["sglang"][-1][:2]
    ('0.5.23', '2026-10-30')
    """
    found: dict[str, tuple[Release, ...]] = {}
    with open_text("engines.json") as file:
        for record in json.load(file)["releases"]:
            name = record.pop("engine")
            found[name] = (*found.get(name, ()), Release(**record))
    return found


def not_modelled() -> tuple[Unmodelled, ...]:
    """Return the engines without a model of their own.

    >>> {one.id: one.nearest for one in not_modelled()}["ollama"]
    'llama.cpp'
    """
    with open_text("engines.json") as file:
        return tuple(Unmodelled(**record) for record in json.load(file)["not_modelled"])
