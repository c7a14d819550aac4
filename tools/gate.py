"""The gate: every check of this repository, each with its time.

`python tools/gate.py` runs those of `make test`; `lint`, `fast` and `oracles` are the other groups. With
`--full` a group leaves nothing to a sample, and the unit tests run under coverage.

A group is a row of stages. The lanes of a stage run side by side, for what keeps one core busy; the checks of
a lane one after another. A check that fails does not hide the next; what failed is named in the last line,
and the exit status is 1.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
WORKERS = str(max(2, min(4, os.cpu_count() or 2)))
# A group is what shares something dear: a page that is loaded, a model that is built, a wheel. (xdist)
PYTEST = ["-m", "pytest", "-q", "-n", WORKERS, "--dist", "loadgroup"]
# What measures time has the machine to itself: a second worker slows it, and coverage does.
SPEED = "tests/test_speed.py"
UNITS = [*PYTEST, "-p", "_hypothesis_pytestplugin", "--ignore=tests/browser", "--ignore=tests/oracles"]
UNITS += [f"--ignore={SPEED}"]
ALONE = ["-m", "pytest", "-q"]
CODE = ["memcalc", "tests"]
SPELLED = ["memcalc", "book", "tools", "tests", "_ext", ".github"]
SPELLED += ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]


class Check(NamedTuple):
    """What is run, by this Python."""

    name: str
    command: list[str]


Lane = list[Check]
Stage = list[Lane]

LINT: Lane = [
    Check("lint: ruff", ["-m", "ruff", "check", "--quiet", "."]),
    Check("lint: format", ["-m", "ruff", "format", "--quiet", "--check", "."]),
    Check("lint: types", ["-m", "mypy"]),
    Check("lint: spelling", ["-m", "codespell_lib", "--toml", "pyproject.toml", *SPELLED]),
    Check("lint: architecture", ["tools/architecture.py"]),
]
BOOK: Lane = [Check("book", ["tools/book.py"]), Check("browser", ["tools/browser.py"])]
SITE: Stage = [[Check("the book as one PDF", ["tools/pdf.py"]), Check("Lighthouse", ["tools/lighthouse.py"])]]
COVERED: Stage = [
    [
        Check("coverage: begin anew", ["-m", "coverage", "erase"]),
        Check("unit tests and doctests, under coverage", ["-m", "coverage", "run", *UNITS, "--full", *CODE]),
        Check("coverage: together", ["-m", "coverage", "combine", "--quiet"]),
        Check("coverage", ["-m", "coverage", "report"]),
        Check("speed", [*ALONE, "--full", SPEED]),
    ]
]
# torch and transformers warn about themselves: here a warning is no error.
ORACLES = [*PYTEST, "-W", "default", "--durations=5", "tests/oracles"]


def groups(full: list[str]) -> dict[str, list[Stage]]:
    """Return the stages of each group."""
    units: Stage = [[Check("unit tests and doctests", [*UNITS, *CODE]), Check("speed", [*ALONE, SPEED])]]
    return {
        "lint": [[LINT]],
        "fast": [[[Check("unit tests but for the slow ones", [*UNITS, "-m", "not slow", *CODE])]]],
        "test": [
            [LINT, BOOK],
            COVERED if full else units,
            [[Check("notebooks", ["tools/notebooks.py", "--check"])]],
            *([SITE] if full else []),
            [[Check("pages in the browser", [*PYTEST, *full, "tests/browser"])]],
        ],
        "oracles": [[[Check("oracles", [*ORACLES, *full])]]],
    }


def run(command: list[str], *, piped: bool) -> tuple[str, bool, str]:
    """Return what a command said if that is piped, whether it failed, and how long it and its children took.

    The time on the CPU is the honest one: on a busy machine the other is mostly waiting.
    """
    start = time.monotonic()
    pipe = subprocess.PIPE if piped else None
    child = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, stdout=pipe, stderr=pipe and subprocess.STDOUT
    )
    said = child.stdout.read().decode(errors="replace") if child.stdout else ""
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    times = f"{time.monotonic() - start:.1f} s ({usage.ru_utime + usage.ru_stime:.0f} s of CPU)"
    return said, child.returncode != 0, times


class Gate:
    """Runs checks and remembers those that failed."""

    def __init__(self, last: str) -> None:
        """Begin; a run that passed closes with pytest's own summary, so the last check's time is left out."""
        self.last, self.failed = last, list[str]()
        self.printing = threading.Lock()

    def stage(self, lanes: Stage) -> None:
        """Run lanes side by side; what a lone one says goes straight to the terminal."""
        with ThreadPoolExecutor(len(lanes)) as pool:
            list(pool.map(lambda lane: self.lane(lane, alone=len(lanes) == 1), lanes))

    def lane(self, checks: Lane, *, alone: bool) -> None:
        """Run checks one after another."""
        for check in checks:
            if alone:
                print(f"== {check.name}", flush=True)
            said, failed, times = run(check.command, piped=not alone)
            with self.printing:
                if not alone:
                    print(f"== {check.name}\n{said}", end="")
                if failed:
                    self.failed.append(check.name)
                if failed or check.name != self.last:
                    print(f"   {times}{' FAILED' if failed else ''}", flush=True)


def main(group: str = "test", *full: str) -> int:
    """Run a group of checks."""
    stages = groups(list(full))[group]
    gate = Gate(last=stages[-1][-1][-1].name)
    for lanes in stages:
        gate.stage(lanes)
    if gate.failed:
        print(f"== failed: {', '.join(gate.failed)}", file=sys.stderr)
    return 1 if gate.failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
