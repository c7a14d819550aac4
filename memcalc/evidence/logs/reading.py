"""A log, line by line: memory figures in bytes, and lines that are no memory of a device."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from memcalc.evidence.logs.wordings import COUNTS, SCOPES, UNITS, wordings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.evidence.logs.wordings import Wording

__all__ = ["Ignored", "Reading", "Told", "read"]

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
AMOUNT = re.compile(r"\d\s?(?:[KMGT]i?B)\b")
CARD = re.compile(r"^\|\s+(\d+)\s+\S.*\s(?:On|Off|N/A)\s*\|")
USED = re.compile(r"\|\s*(\d+)MiB\s*/\s*(\d+)MiB\s*\|")
SLICE = re.compile(r"^\|\s*(\d+)\s+\d+\s+\d+\s+(\d+)\s*\|\s*(\d+)MiB\s*/\s*(\d+)MiB")
PROCESS = re.compile(r"^\|\s+(\d+)\s.*\s(\d+)MiB\s*\|\s*$")


class Told(NamedTuple):
    """A figure of a log.

    `text` is the whole line, `printed` the figure as it stands there; `amount` are whole bytes, or a number
    of blocks, tokens, slots or requests, or a ratio. `scope` says of what: rank, device, host, all, or a
    device by its own name. `engine` is whose wording it is.
    """

    text: str
    quantity: str
    printed: str
    amount: float
    scope: str
    engine: str

    @property
    def is_count(self) -> bool:
        """Whether it is no memory."""
        return self.quantity in COUNTS


class Ignored(NamedTuple):
    """A line with figures that are no memory of a device, and why."""

    text: str
    why: str


class Reading(NamedTuple):
    """What a log says: figures, and lines that were passed over."""

    told: tuple[Told, ...]
    ignored: tuple[Ignored, ...]


def read(log: str) -> Reading:
    """Read a log.

    Parameters
    ----------
    log : str
        The text as it was printed; prefixes and a terminal's colours do not matter.

    Returns
    -------
    Reading
        Every figure that is understood, in the order of the log, and lines that only look like one.

    Examples
    --------
    >>> reading = read("INFO [gpu_worker.py:480] Available KV cache memory: 5.0 GiB")
    >>> [(told.quantity, told.amount, told.scope) for told in reading.told]
    [('kv_pool', 5368709120, 'rank')]

    """
    told: list[Told] = []
    ignored: list[Ignored] = []
    of_smi = Smi()
    for raw in log.splitlines():
        line = ANSI.sub("", raw).rstrip("\r\n")
        why = trap(line)
        found = [] if why else [*of_smi.read(line), *figures(line, told)]
        told += found
        if not found and (why or AMOUNT.search(line)):
            ignored.append(Ignored(line, why or "no line that is known of a device's memory"))
    return Reading(tuple(named_devices(told)), tuple(ignored))


def trap(line: str) -> str:
    """Return why a line is no figure of memory, or nothing."""
    traps, _ = wordings()
    return next((wording.why for wording, pattern in traps if pattern.search(line)), "")


def figures(line: str, before: list[Told]) -> Iterator[Told]:
    """Yield the figures of a line: of each wording, where no other has been found in the same place."""
    taken: list[tuple[int, int]] = []
    _, table = wordings()
    for wording, pattern in table:
        found = pattern.search(line)
        if found is None or any(found.start() < end and start < found.end() for start, end in taken):
            continue
        taken.append(found.span())
        for one in of_wording(wording, found, line):
            yield indexer(one, before)


def of_wording(wording: Wording, found: re.Match[str], line: str) -> Iterator[Told]:
    """Yield the figures of one wording; parts of one quantity are added up."""
    groups = {name: text for name, text in found.groupdict().items() if text is not None}
    scope = place(groups.pop("scope", "")) or wording.scope
    parts: dict[str, list[str]] = {}
    for name in groups:
        if not name.endswith("_unit"):
            parts.setdefault(re.sub(r"_\d$", "", name), []).append(name)
    for quantity, names in parts.items():
        units = [groups.get(f"{name}_unit", wording.unit).strip() for name in names]
        numbers = [Decimal(groups[name].replace(",", "")) for name in names]
        if quantity in COUNTS:
            amount: float = float(numbers[0]) if numbers[0] % 1 else int(numbers[0])
        else:
            total = sum(
                (number * UNITS[unit] for number, unit in zip(numbers, units, strict=True)), Decimal(0)
            )
            amount = round(total)
        printed = " + ".join(as_printed(found, name) for name in names)
        where = scope or SCOPES[quantity]
        yield Told(line, quantity, printed, amount, where, wording.engine)


def as_printed(found: re.Match[str], name: str) -> str:
    """Return a figure and the unit behind it, as the line has them."""
    unit = re.match(r"\s?(?:[KMGT]i?B\b|%)", found.string[found.end(name) :])
    return found[name] + (unit[0] if unit else "")


def place(name: str) -> str:
    """Return a device's own name, or host for the processor's memory."""
    if name.upper().startswith(("CPU", "HOST")) or name.endswith("_Host"):
        return "host"
    return name.removesuffix("_Mapped")


def indexer(one: Told, before: list[Told]) -> Told:
    """Return llama.cpp's sum under the name of what it is the sum of: an indexer has its own."""
    if one.engine == "llama.cpp" and one.scope == "all" and before and before[-1].quantity == "kv_indexer":
        return one._replace(quantity="kv_indexer") if one.quantity == "kv_pool" else one
    return one


def named_devices(told: list[Told]) -> list[Told]:
    """Return the figures with "device" replaced by its name, where llama.cpp has named one device alone."""
    names = {one.scope for one in told if one.quantity == "projected"} - {"device", "host"}
    if len(names) != 1:
        return told
    (name,) = names
    return [
        one._replace(scope=name) if one.engine == "llama.cpp" and one.scope == "device" else one
        for one in told
    ]


class Smi:
    """nvidia-smi's table: a card's figures stand below its name, those of a slice beside it."""

    def __init__(self) -> None:
        """Begin before the table."""
        self.card = ""

    def read(self, line: str) -> Iterator[Told]:
        """Yield what a line of the table says of memory: BAR1, an address window, is none."""
        found = SLICE.search(line)
        if found:
            yield from self.pair(line, f"GPU {found[1]} MIG {found[2]}", *found.group(3, 4))
            self.card = ""
            return
        named = CARD.search(line)
        if named:
            self.card = f"GPU {named[1]}"
            return
        used = USED.search(line)
        if used and self.card:
            yield from self.pair(line, self.card, *used.groups())
            self.card = ""
            return
        process = PROCESS.search(line)
        if process:
            amount = int(process[2]) * UNITS["MiB"]
            printed = f"{process[2]}MiB"
            yield Told(line, "in_use_process", printed, amount, f"GPU {process[1]}", "nvidia-smi")

    def pair(self, line: str, scope: str, used: str, total: str) -> Iterator[Told]:
        """Yield what is in use, and what there is."""
        for quantity, number in (("in_use", used), ("total", total)):
            amount = int(number) * UNITS["MiB"]
            yield Told(line, quantity, f"{number}MiB", amount, scope, "nvidia-smi")
