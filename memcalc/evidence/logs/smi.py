"""What nvidia-smi prints: its table, ``-q``, ``--query-gpu`` as CSV, ``dmon`` and ``pmon``.

A figure there means what the lines above it say, so the reader remembers them: a card's name stands above its
memory in the table, a section's above its figures in ``-q``, the columns' above the rows elsewhere. BAR1 is a
window of addresses and is passed over; so is memory that confidential computing keeps apart. npu-smi of
Ascend prints a table of the same kind: its MB are MiB, its last two figures the memory of a chip, which
PyTorch counts by the physical number where there is one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PRINTED_BY_SMI", "Figure", "Smi"]

# what only nvidia-smi and npu-smi print
PRINTED_BY_SMI = (
    "Memory-Usage", "MiB /", "MiB/", "MiB |", "FB Memory Usage",
    "memory.total [MiB]", "memory.used [MiB]", "memory.free [MiB]", "# gpu",
    "used_gpu_memory [MiB]", "used_memory [MiB]",
)  # fmt: skip
WIDEST = 400  # characters: the table has 91, and a prefix
STATES = r"(?:On|Off|N/A|WDDM|TCC|MCDM|Enabled|Disabled)"
CARD = re.compile(rf"\|\s+(\d+)\s+\S.*\s{STATES}\s*\|")
USED = re.compile(r"\|\s*(\d+)\s?MiB\s*/\s*(\d+)\s?MiB\s*\|")
SLICE = re.compile(r"\|\s*(\d+)\s+\d+\s+\d+\s+(\d+)\s*\|\s*(\d+)\s?MiB\s*/\s*(\d+)\s?MiB")
PROCESS = re.compile(r"\|\s+(\d+)\s.*\s(\d+)\s?MiB\s*\|\s*$")
NPU = re.compile(r"\|\s*(\d+)\s+\S[^|]*\|\s*(?:OK|Warning|Alarm|Critical|UNKNOWN)\s*\|")
CHIP = re.compile(
    r"\|\s*(\d+)(?:\s+(\d+))?\s*\|\s*[0-9A-F]{4}:\w\w:\w\w\.\d\s*\|[^|]*\s(\d+)\s*/\s*(\d+)\s*\|"
)
HELD = re.compile(r"\|\s*(\d+)\s+(\d+)\s*\|\s*\d+\s*\|[^|]*\|\s*(\d+)\s*\|\s*$")
HEADING = re.compile(r"\bGPU [0-9A-F]{4,8}:[0-9A-F]{2}:[0-9A-F]{2}\.\d\s*$")
SECTION = re.compile(r"^.*?\b((?:FB|BAR1|Conf Compute Protected) Memory Usage|Processes)\s*(?::.*)?$")
FIELD = re.compile(r"\b(Total|Used|Free|Used GPU Memory)\s*:\s*(\d+) MiB\s*$")
FB = {"Total": "total", "Used": "in_use", "Free": "free"}
QUERY = {"memory.total": "total", "memory.used": "in_use", "memory.free": "free"}
OF_PROCESSES = dict.fromkeys(("used_gpu_memory", "used_memory"), "in_use_process")  # of a device not named
COLUMN = re.compile(r"memory\.(?:total|used|free) \[MiB\]|used_(?:gpu_)?memory \[MiB\]")
COLUMNS = re.compile(r"[\w.]+(?: \[[^\]]+\])?(?:, ?[\w.]+(?: \[[^\]]+\])?)*\s*$")
COMPOSE = re.compile(r"^[\w.-]+ +\| ")  # the name that docker compose prints before a line
WATCHED = re.compile(r"# gpu\s.*\bfb\b")


class Figure(NamedTuple):
    """A figure in MiB: what it is, of whom, and as it was printed."""

    quantity: str
    mib: int
    scope: str
    printed: str


class Smi:
    """A reader of nvidia-smi's lines, in their order.

    >>> smi = Smi()
    >>> list(smi.read("|   0  NVIDIA GeForce RTX 4090        Off |   00000000:4E:00.0 Off |"))
    []
    >>> [figure[:3] for figure in smi.read("| 30%   29C    P8   22W /  450W |     507MiB /  24564MiB |")]
    [('in_use', 507, 'GPU 0'), ('total', 24564, 'GPU 0')]
    """

    def __init__(self) -> None:
        """Begin before anything was printed."""
        self.card = ""  # the table's card whose memory has not been read yet
        self.npu = ""  # npu-smi's card whose chip stands in the next line
        self.chips: dict[tuple[str, str], str] = {}  # npu-smi's card and chip -> the name of the device
        self.section = ""  # of -q
        self.cards = 0  # of -q
        self.columns: list[str] = []  # of CSV, dmon, pmon
        self.before = 0  # characters that another program prints before the columns and each row
        self.rows = 0

    def read(self, line: str) -> Iterator[Figure]:
        """Yield what a line says of memory."""
        if len(line) > WIDEST:
            return
        line = COMPOSE.sub("", line)
        if "MiB" not in line and not self.columns and "|" not in line and "GPU" not in line:
            if "Memory Usage" in line or "Processes" in line or "fb" in line:
                self.remember(line)
            return
        self.remember(line)
        if "|" in line[self.before :]:
            yield from self.table(line)
        elif self.columns:
            yield from self.row(line[self.before :])
        elif self.section:
            yield from self.field(line)

    def remember(self, line: str) -> None:
        """Take down what a line says of those that follow."""
        if HEADING.search(line):
            self.cards, self.section, self.columns = self.cards + 1, "", []
        elif section := SECTION.match(line):
            self.section = section[1]
        elif COLUMN.search(line):
            self.before = first_column(line)
            names = line[self.before :].split(",")
            self.columns, self.rows = [name.strip().partition(" [")[0] for name in names], 0
        elif WATCHED.search(line):
            self.before = 0
            self.columns, self.rows = line.partition("# ")[2].split(), 0

    def table(self, line: str) -> Iterator[Figure]:
        """Yield the figures of a line of the table."""
        if found := SLICE.search(line):
            self.card = ""
            yield from pair(f"GPU {found[1]} MIG {found[2]}", *found.group(3, 4))
        elif named := CARD.search(line):
            self.card = f"GPU {named[1]}"
        elif used := USED.search(line):
            if self.card:
                yield from pair(self.card, *used.groups())
            self.card = ""
        elif process := PROCESS.search(line):
            yield Figure("in_use_process", int(process[2]), f"GPU {process[1]}", f"{process[2]}MiB")
        else:
            yield from self.ascend(line)

    def ascend(self, line: str) -> Iterator[Figure]:
        """Yield the figures of a line of npu-smi's table."""
        if chip := CHIP.search(line):
            name = f"NPU {chip[2] or self.npu}"
            self.chips[self.npu, chip[1]] = name
            yield Figure("in_use", int(chip[3]), name, chip[3])
            yield Figure("total", int(chip[4]), name, chip[4])
        elif card := NPU.search(line):
            self.npu = card[1]
        elif (held := HELD.search(line)) and held.group(1, 2) in self.chips:
            yield Figure("in_use_process", int(held[3]), self.chips[held[1], held[2]], held[3])

    def field(self, line: str) -> Iterator[Figure]:
        """Yield the figure of a line of -q."""
        found = FIELD.search(line)
        if not found or not self.cards:
            return
        scope, printed = f"GPU {self.cards - 1}", f"{found[2]} MiB"
        if found[1] == "Used GPU Memory":
            yield Figure("in_use_process", int(found[2]), scope, printed)
        elif self.section.startswith("FB"):
            yield Figure(FB[found[1]], int(found[2]), scope, printed)

    def row(self, line: str) -> Iterator[Figure]:
        """Yield the figures of a row below columns, which end where a line has others."""
        watched = self.columns[0] == "gpu"
        if line.lstrip().startswith("#") or COLUMN.search(line):
            return
        cells = line.split() if watched else [cell.strip() for cell in line.split(",")]
        if len(cells) < len(self.columns):
            self.columns = []
            return
        named = dict(zip(self.columns, cells[-len(self.columns) :] if watched else cells, strict=False))
        index = named.get("gpu" if watched else "index", str(self.rows)).rpartition(" ")[2]
        wanted = {"fb": "in_use_process" if "pid" in named else "in_use"} if watched else QUERY
        self.rows += 1
        for column, quantity in {**wanted, **OF_PROCESSES}.items():
            number = re.fullmatch(r"(\d+)(?: MiB)?", named.get(column, ""))
            if number and index.isdigit():
                scope = "device" if column in OF_PROCESSES else f"GPU {index}"
                yield Figure(quantity, int(number[1]), scope, number[0])


def first_column(line: str) -> int:
    """Return where the first column of CSV begins, behind what another program prints before it.

    >>> first_column("Jun 05 09:22:24 host smi[7]: index, memory.used [MiB]")
    29
    """
    found = COLUMNS.search(line)
    return found.start() if found else 0


def pair(scope: str, used: str, total: str) -> Iterator[Figure]:
    """Yield what is in use, and what there is."""
    yield Figure("in_use", int(used), scope, f"{used}MiB")
    yield Figure("total", int(total), scope, f"{total}MiB")
