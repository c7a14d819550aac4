"""What others measured: each row with its hardware, its version, its moment, its source and its date."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from memcalc.data import open_text

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GRADES", "ROLES", "Observation", "observations"]


ROLES = ("calibration", "test")
GRADES = ("A", "B")


class Observation(NamedTuple):
    """One measured figure.

    `what` is the quantity, `printed` how the source writes it, `value_bytes` the same in bytes (or `value`
    where tokens were counted). `moment` is when it was taken; a ``peak`` is the largest of all moments.
    `prompt` and `context` are tokens, `block_size` those of a block, `visible_gib` what the engine saw.

    `role` tells rows that set a constant of memcalc (``calibration``) from rows that only test it
    (``test``): no row is both. `grade` A is printed by the program or its makers, with the run described;
    B is inferred in part: from a thread, or from other printed figures.
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
    grade: str
    source: str
    date: str
    value_bytes: int | None = None
    value: int | None = None
    prompt: int | None = None
    context: int | None = None
    tp: int = 1
    block_size: int | None = None
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
        rows = [observation(row) for row in json.load(file)]
    return tuple(row for row in rows if all(getattr(row, name) == value for name, value in wanted.items()))


def observation(fields: Mapping[str, Any]) -> Observation:
    """Return a row of the record, if it says where it comes from and what it is for.

    Raises:
        TypeError: it does not.

    """
    row = Observation(**fields)
    stated = {
        "source": row.source.startswith("https://"),
        "date": row.date != "",
        "role": row.role in ROLES,
        "grade": row.grade in GRADES,
        "value_bytes or value": (row.value_bytes is None) != (row.value is None),
    }
    for name, good in stated.items():
        if not good:
            raise TypeError(f"{row.id}: a row of the record needs its {name}")
    return row
