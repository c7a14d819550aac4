"""How engines, PyTorch and llama.cpp word a memory figure: the rows of `memcalc/data/log_wordings.json`.

A row is a regular expression in which `{quantity}` is a figure and `{quantity:u}` one with its unit. Figures
of one quantity in a row are added up (keys and values: `{kv_pool_1}`, `{kv_pool_2}`). Units are the engine's:
vLLM and SGLang print "GB" for 2^30 bytes; Metal's limit and SGLang's host cache are in powers of ten.

A line is searched for a row only if it holds one of the row's `needles`, plain text that every match must
hold: a log of 100 MB is mostly requests, which hold none. `needle` states it where a wording shows none.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import NamedTuple

from memcalc.data import open_text

__all__ = ["COUNTS", "SCOPES", "TOOLS", "UNITS", "Wording", "needles", "wordings"]

UNITS = {
    "B": 1,
    "bytes": 1,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
}
# of what a quantity is a figure, unless its row says otherwise
SCOPES = {
    "weights": "rank",
    "consumed": "rank",
    "load_peak": "rank",
    "state": "rank",
    "kv_pool": "rank",
    "kv_needed": "rank",
    "kv_indexer": "rank",
    "kv_k": "rank",
    "kv_v": "rank",
    "kv_blocks_gpu": "rank",
    "kv_blocks_cpu": "host",
    "kv_pool_host": "host",
    "kv_tokens": "all",
    "kv_tokens_window": "all",
    "state_slots": "all",
    "max_tokens": "all",
    "block_tokens": "all",
    "concurrency": "all",
    "utilization": "all",
    "estimate": "all",
    "non_torch": "rank",
    "activation": "rank",
    "graphs": "rank",
    "graphs_estimated": "rank",
    "compute_buffer": "rank",
    "output_buffer": "rank",
    "projected": "device",
    "total": "device",
    "budget": "device",
    "free": "device",
    "in_use": "device",
    "in_use_process": "device",
    "oom_requested": "device",
    "oom_capacity": "device",
    "oom_allocated": "device",
    "oom_reserved": "device",
    "oom_reserved_unallocated": "device",
    "oom_private_pools": "device",
}
COUNTS = {
    "kv_blocks_gpu", "kv_blocks_cpu", "kv_tokens", "kv_tokens_window", "concurrency", "utilization",
    "state_slots", "max_tokens", "block_tokens",
}  # fmt: skip
TOOLS = ("nvidia-smi", "rocm-smi", "npu-smi")  # no engines: they tell of cards, whoever fills them
NUMBER = r"-?\d+(?:,\d{3})*(?:\.\d+)?"
UNIT = r"\s?(?:[kKMGT]i?B|B|bytes)\b"
PLACE = re.compile(r"\{(\w+)(:u)?\}")


class Wording(NamedTuple):
    """How a figure is said: by whom, in which unit, and of what (`scope`); or `why` it is none.

    `binary` says that a printed MB or GB is a power of two, `needle` is plain text that every match holds.
    A figure that is `listed` is the first of several, one of each device, with spaces between.
    """

    engine: str
    text: str
    unit: str = "GiB"
    scope: str = ""
    why: str = ""
    binary: bool = False
    needle: str = ""
    listed: bool = False


class Row(NamedTuple):
    """A wording, its compiled pattern, and the plain texts of which a line must hold one."""

    wording: Wording
    pattern: re.Pattern[str]
    needles: tuple[str, ...]


def pattern(text: str) -> re.Pattern[str]:
    """Return a wording as a regular expression, its figures as named groups."""

    def group(place: re.Match[str]) -> str:
        name, with_unit = place.groups()
        unit = rf"(?P<{name}_unit>{UNIT})" if with_unit else ""
        return rf"(?P<{name}>{NUMBER}){unit}"

    return re.compile(PLACE.sub(group, text))


# what a pattern is made of, as far as needles care; a quantified piece may be missing, so it is no text
PIECE = re.compile(
    r"(?P<quantified>(?:\\.|\[[^\]]*\]|.)(?:[?*]|\{0))|(?P<place>\{\w+(?::u)?\})"
    r"|(?P<class>\\[a-zA-Z]|\[[^\]]*\]|[.^$+])|\\(?P<escaped>.)|(?P<plain>.)"
)
GROUP = re.compile(r"\((?:[^()\\\[]|\\.|\[[^\]]*\])*\)(?:[?*+])?")


def needles(text: str) -> tuple[str, ...]:
    r"""Return, for each alternative of a wording, its longest plain text.

    >>> needles(r"(?:Model loading|Loading) took {weights} Gi?B")
    (' took ',)
    >>> needles(r"file size\s*=|[Cc]heckpoint size")
    ('file size', 'heckpoint size')
    """
    bare, count = text, 1
    while count:
        bare, count = GROUP.subn("\0", bare)
    alternatives = [[""]]
    for piece in PIECE.finditer(bare):
        if piece["plain"] == "|":
            alternatives.append([""])
        elif (plain := piece["escaped"] or piece["plain"]) and plain != "\0":
            alternatives[-1][-1] += plain
        else:
            alternatives[-1].append("")
    return tuple(max(texts, key=len) for texts in alternatives)


def compiled(row: Wording) -> Row:
    """Return a wording ready to search with."""
    return Row(row, pattern(row.text), (row.needle,) if row.needle else needles(row.text))


@cache
def wordings() -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Return the rows that are no figure, which are looked for first, and the others, compiled."""
    with open_text("log_wordings.json") as file:
        record = json.load(file)
    rows = [Wording(engine, **row) for engine, kind in record.items() for row in kind["rows"]]
    made = [compiled(row) for row in rows]
    traps, table = (
        tuple(row for row in made if bool(row.wording.why) is is_trap) for is_trap in (True, False)
    )
    return traps, table
