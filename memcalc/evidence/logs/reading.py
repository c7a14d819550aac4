"""A log, line by line: memory figures in bytes, and lines that are no memory of a device."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from memcalc.evidence.logs.smi import PRINTED_BY_SMI, Smi
from memcalc.evidence.logs.wordings import COUNTS, NUMBER, SCOPES, UNIT, UNITS, wordings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.evidence.logs.wordings import Row, Wording

__all__ = ["Ignored", "Reading", "Told", "plain", "read"]

# colours and other commands to a terminal, titles of its window, and what else prints nothing
ANSI = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|\x1b[@-Z\\-_]"
    r"|[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f]"
)
MESSAGE = (
    "log",
    "message",
    "MESSAGE",
    "textPayload",
)  # of Docker, of collectors of logs, of journald, of Google
REQUEST = 2_000  # characters that a line about requests has at most: a longer one may hold a log in a line
# what servers print of each request, which is most of a log and says nothing of a plan's memory
TRAFFIC = (
    " tokens/s",
    "(token/s)",
    " HTTP/1.",
    "Received request ",
    "slot update_slots:",
    "slot print_timing:",
)
# from here on a line holds what somebody asked or was answered, which may be a log
QUOTED = re.compile(
    r"(?:Received request |Generated response |(?:Receive|Finish): obj="
    r"|\b(?:request|prompt|messages)['\"]?: ?[\[{]*['\"]|\bprompt=['\"]).*"
)
QUOTES = ("request", "prompt", "messages", "Generated response ", ": obj=")
AMOUNT = re.compile(r"\d\s?(?:[KMGT]i?B)\b")
LONGEST = 20_000  # characters: what is longer is data, no line for people
BAR = re.compile(
    r"(?<=it/s\]|s/it\]|.B/s\])[ \t]*(?=[^\s\]])"
)  # between a progress bar and a line written behind it
SHOWN = 80  # characters of such a line
LARGEST = 2**50  # bytes: more is a number below zero as PyTorch prints it on Windows, and no memory
BREAKDOWN = re.compile(r"\|\s+- [^|]+\|")
OF_THE_PROCESSOR = ("AMX", "BLAS")  # llama.cpp's names for buffers in the host's memory, beside CPU_...
UNKNOWN = "no line that is known of a device's memory"


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
    text = plain(log)
    told: list[Told] = []
    ignored: list[Ignored] = []
    smi = Smi()
    parts = ((part, rows) for line, rows in candidates(text) for part in BAR.split(line))
    for line, rows in parts:
        if len(line) > LONGEST:
            ignored.append(Ignored(f"{line[:SHOWN]}...", f"longer than {LONGEST:,} characters: data"))
            continue
        why = next((row.wording.why for row in rows if row.wording.why and row.pattern.search(line)), "")
        found = [] if why else [*of_smi(smi, line), *figures(line, rows, told)]
        told += found
        if not found and (why or AMOUNT.search(line)):
            ignored.append(Ignored(line, why or UNKNOWN))
    return Reading(tuple(named_devices(told)), tuple(ignored))


def plain(log: str) -> str:
    r"""Return a log as it was printed: without colours, JSON that keeps a line, and requests.

    >>> plain('\x1b[36mone\x1b[0m\r\n{"log":"msg=\\"two\\"\\n","stream":"stderr"}')
    'one\nmsg="two"'
    """
    lines = log.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    told = (line for line in lines if len(line) > REQUEST or not any(mark in line for mark in TRAFFIC))
    return "\n".join(unquoted(bare(out_of_json(bare(line)) if "{" in line else line)) for line in told)


def unquoted(text: str) -> str:
    """Return lines without what they quote of a request, or of its answer.

    >>> unquoted('INFO request: "Model loading took 99.0 GiB"')
    'INFO '
    """
    return QUOTED.sub("", text) if any(mark in text for mark in QUOTES) else text


def bare(line: str) -> str:
    """Return a line without what prints nothing."""
    return line if line.isprintable() else ANSI.sub("", line)


def out_of_json(line: str) -> str:
    """Return what a program printed, of the JSON in which a line of it is kept, or the line if it is none."""
    if not line.rstrip().endswith("}"):
        return line
    try:
        fields = json.loads(line[line.index("{") :])
    except (ValueError, RecursionError):
        return line
    printed = next((fields[name] for name in MESSAGE if isinstance(fields.get(name), str)), line)
    return str(printed).removesuffix("\n").replace("\r\n", "\n").replace("\r", "\n")


def candidates(text: str) -> Iterator[tuple[str, list[Row]]]:
    """Yield the lines that can say something of memory, in their order, and the wordings each may have.

    The whole text is searched for one needle after the other, which is as fast as a search can be; only lines
    that hold one are looked at. Where nvidia-smi printed something all lines are: each means what those above
    it say.
    """
    starts: dict[int, list[Row]] = {}
    for row in (row for kind in wordings() for row in kind):
        for needle in row.needles:
            at = text.find(needle)
            while at >= 0:
                rows = starts.setdefault(text.rfind("\n", 0, at) + 1, [])
                if not (rows and rows[-1] is row):
                    rows.append(row)
                end = text.find("\n", at)
                at = -1 if end < 0 else text.find(needle, end)
    for amount in AMOUNT.finditer(text):
        starts.setdefault(text.rfind("\n", 0, amount.start()) + 1, [])
    if any(printed in text for printed in PRINTED_BY_SMI):
        at = 0
        while at >= 0:
            starts.setdefault(at, [])
            at = text.find("\n", at) + 1 or -1
    for start in sorted(starts):
        end = text.find("\n", start)
        line = text[start : len(text) if end < 0 else end]
        yield line, starts[start]


def figures(line: str, rows: list[Row], before: list[Told]) -> Iterator[Told]:
    """Yield the figures of a line: of each wording, where no other has been found in the same place."""
    taken: list[tuple[int, int]] = []
    for row in rows:
        if row.wording.why:
            continue
        for found in row.pattern.finditer(line):
            if any(found.start() < end and start < found.end() for start, end in taken):
                continue
            taken.append(found.span())
            told = [*of_wording(row.wording, found, line)]
            for one in of_each_device(told[0], line[found.end() :]) if row.wording.listed else told:
                if one.is_count or one.amount < LARGEST:
                    yield named_as_before(one, before)


def of_smi(smi: Smi, line: str) -> Iterator[Told]:
    """Yield what nvidia-smi, or npu-smi of Ascend, says in a line."""
    for quantity, mib, scope, printed in smi.read(line):
        engine = "npu-smi" if scope.startswith("NPU") else "nvidia-smi"
        yield Told(line, quantity, printed, mib * UNITS["MiB"], scope, engine)


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
        if wording.binary:
            units = [re.sub(r"^([KMGT])B$", r"\1iB", unit) for unit in units]
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


LISTED = re.compile(rf" ({NUMBER})({UNIT})")


def of_each_device(first: Told, behind: str) -> Iterator[Told]:
    """Yield the first figure of a list, and those behind it.

    >>> first = Told("", "free", "23.3 GiB", 25018183680, "device", "ollama")
    >>> [one.printed for one in of_each_device(first, ' 11.4 GiB]" memory.gpu_overhead="0 B"')]
    ['23.3 GiB', '11.4 GiB']
    """
    yield first
    at = 0
    while found := LISTED.match(behind, at):
        amount = round(Decimal(found[1].replace(",", "")) * UNITS[found[2].strip()])
        yield first._replace(printed=found[0].strip(), amount=amount)
        at = found.end()


def as_printed(found: re.Match[str], name: str) -> str:
    """Return a figure and the unit behind it, as the line has them."""
    unit = re.match(r"\s?(?:[kKMGT]i?B\b|bytes\b|%)", found.string[found.end(name) :])
    return found[name] + (unit[0] if unit else "")


def place(name: str) -> str:
    """Return a device's own name, or host for the processor's memory."""
    if name.upper().startswith(("CPU", "HOST")) or name.endswith("_Host") or name in OF_THE_PROCESSOR:
        return "host"
    return f"GPU {name}" if name.isdigit() else name.removesuffix("_Mapped")


def named_as_before(one: Told, before: list[Told]) -> Told:
    """Return a figure under the name that the lines above give it.

    llama.cpp's sum is of what stands above it: an indexer has its own. In its table of devices the host's row
    does not say whether the memory is held or will be: the devices' rows do.
    """
    if one.engine != "llama.cpp" or not before:
        return one
    last = before[-1]
    if one.scope == "all" and one.quantity == "kv_pool" and last.quantity == "kv_indexer":
        return one._replace(quantity="kv_indexer")
    if one.quantity == "projected" and one.scope == "host" and last.quantity == "in_use":
        return one._replace(quantity="in_use") if BREAKDOWN.search(last.text) else one
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
