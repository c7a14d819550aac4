"""What others measured: each row with its hardware, its version, its moment, its source and its date."""

from __future__ import annotations

import json
from typing import NamedTuple

from memcalc.data import open_text

__all__ = ["Observation", "observations"]


class Observation(NamedTuple):
    """One measured figure.

    `what` is the quantity, `printed` how the source writes it, `value_bytes` the same in bytes (or `value`
    where tokens were counted). `role` tells rows that set a constant of memcalc (``calibration``) from rows
    that only test it (``test``): no row is both. `prompt` and `context` are tokens; `moment` is when it was
    taken.
    """

    id: str
    model: str
    engine: str
    version: str
    hardware: str
    what: str
    printed: str
    moment: str
    role: str
    source: str
    date: str
    value_bytes: int | None = None
    value: int | None = None
    prompt: int | None = None
    context: int | None = None
    tp: int = 1
    visible_gib: float | None = None
    utilization: float | None = None
    note: str = ""


def observations(**wanted: object) -> tuple[Observation, ...]:
    """Return the rows whose fields are as wanted, in the record's order.

    >>> [row.value_bytes // 2**20 for row in observations(model="Qwen/Qwen3-32B", engine="transformers")]
    [64583, 66632, 70728]

    Raises:
        TypeError: a row lacks its source, its date or another field that every row has.
        AttributeError: no field has this name.

    """
    with open_text("observations.json") as file:
        rows = [Observation(**row) for row in json.load(file)]
    return tuple(row for row in rows if all(getattr(row, name) == value for name, value in wanted.items()))
