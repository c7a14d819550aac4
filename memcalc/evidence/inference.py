"""What others measured: each row with its hardware, its version, its moment, its source and its date.

What was read and is not used is counted too, with the reason.
"""

from __future__ import annotations

import json
import re
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

from memcalc.evidence.record import need, open_record

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GRADES", "REASONS", "ROLES", "LeftOut", "Observation", "left_out", "observations"]


ROLES = ("calibration", "test")
GRADES = ("A", "B")
REASONS = {  # why a published figure is no row of the record
    "no engine": "memcalc does not model the engine yet",
    "no reader": "memcalc does not read the model yet, or its config was not at hand",
    "GGUF": "sizes of GGUF files are not compared yet",
    "own mix": "a GGUF file whose maker chose the types of its tensors, and does not list them",
    "other law": "an older version, whose cache follows another law",
    "ended early": "the answer was shorter than stated, and nobody says how short",
    "not stated": "not enough is stated to predict it",
    "contradiction": "the figures of the run do not add up",
    "refused": "the server refused to start: nothing was taken that could be predicted",
    "derived": "a difference or a ratio of figures that are themselves rows, or left out",
    "again": "the same figure again",
}
# vLLM's (to 0.8) and SGLang's GB are GiB, and Qwen's columns say GB and mean GiB
UNITS = (("GiB", 2**30), ("MiB", 2**20), ("GB", 10**9))


class Observation(NamedTuple):
    """One measured figure.

    `what` is the quantity, `printed` how the source writes it, `value_bytes` the same in bytes (or `value`
    where tokens were counted). `moment` is when it was taken; a ``peak`` is the largest of all moments.
    `prompt` and `context` are tokens, `block_size` those of a block, `visible_gib` what the engine saw;
    `tokens` are those that share a measured size. `on` is the machine as ``--on`` has it, where the record of
    machines holds it. `shape` is the catalogue model that has the shapes of `model`, if that is not one
    itself, and `weights` the format of its matrices, if the record does not say it. `seqs`, `batched_tokens`
    and `eager` are the server's options, where they are not its defaults; `options` (KEY=VALUE, spaces
    between them) and `offload` are those of engines that have others.

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
    shape: str | None = None
    weights: str | None = None
    kv: str | None = None
    on: str | None = None
    tokens: int | None = None
    seqs: int | None = None
    batched_tokens: int | None = None
    eager: bool | None = None
    prompt: int | None = None
    context: int | None = None
    tp: int = 1
    pp: int = 1
    ep: int = 1
    dp: int = 1
    block_size: int | None = None
    visible_gib: float | None = None
    utilization: float | None = None
    options: str = ""
    offload: str | None = None
    note: str = ""

    @property
    def printed_to(self) -> int:
        """Half a unit of the last printed digit, in bytes; what is quoted in full is exact to a byte.

        >>> observations(id="qwen2.5-7b-bf16-6144")[0].printed_to  # 0.005 GiB
        5368710
        """
        found = re.match(r"[-+0-9.,]+", self.printed.replace(",", ""))
        unit = next((size for name, size in UNITS if name in self.printed), 1)
        decimals = len(found[0].partition(".")[2]) if found else 0
        return ceil(unit / 10**decimals / 2) // (self.tokens or 1)


def observations(**wanted: object) -> tuple[Observation, ...]:
    """Return the rows whose fields are as wanted, in the record's order.

    >>> [row.value_bytes // 2**20 for row in observations(model="Qwen/Qwen3-32B", engine="transformers")]
    [64583, 66632, 70728]

    Raises:
        TypeError: a row lacks its source, its date or another field that every row has.
        AttributeError: no field has this name.

    """
    with open_record("observations.json") as file:
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
    need(f"{row.id}: a row of the record", stated)
    return row


class LeftOut(NamedTuple):
    """Published figures that are no rows of the record: where they stand, what, how many, and why."""

    source: str
    what: str
    rows: int
    reason: str


def left_out() -> tuple[LeftOut, ...]:
    """Return what was read and is not used.

    >>> {one.reason for one in left_out()} == set(REASONS)
    True

    Raises:
        TypeError: an entry lacks its source, what it is, how many figures it counts, or a known reason.

    """
    with open_record("left_out.json") as file:
        return tuple(without(fields, REASONS) for fields in json.load(file))


def without(fields: Mapping[str, Any], reasons: Mapping[str, str]) -> LeftOut:
    """Return an entry of what is left out, if it says all that a reader must know, for one of the reasons.

    Raises:
        TypeError: it does not.

    """
    found = LeftOut(**fields)
    stated = {
        "source": found.source.startswith("https://"),
        "what": found.what != "",
        "rows": type(found.rows) is int and found.rows > 0,
        "reason": found.reason in reasons,
    }
    need(f"{found.source}: what is left out", stated)
    return found
