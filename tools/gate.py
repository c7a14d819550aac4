"""The gate: every check of this repository, in order, each with its time.

`python tools/gate.py` runs them all, `python tools/gate.py lint` or `oracles` one group.
A check that fails does not hide the next; what failed is named in the last line, and the exit status is 1.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTEST = ["-m", "pytest", "-q"]
TWO_WORKERS = ["-n", "2"]
ELSEWHERE = ["--ignore=tests/browser", "--ignore=tests/oracles"]
SPELLED = ["memcalc", "book", "tools", "tests", "_ext", "README.md", "CHANGELOG.md", "CONTRIBUTING.md"]

Check = tuple[str, list[str]]

LINT: list[Check] = [
    ("lint: ruff", ["-m", "ruff", "check", "--quiet", "."]),
    ("lint: format", ["-m", "ruff", "format", "--quiet", "--check", "."]),
    ("lint: types", ["-m", "mypy"]),
    ("lint: spelling", ["-m", "codespell_lib", "--toml", "pyproject.toml", *SPELLED]),
]
TEST: list[Check] = [
    *LINT,
    ("generated files", ["tools/generate.py", "--check"]),
    ("unit tests and doctests", [*PYTEST, *TWO_WORKERS, *ELSEWHERE, "memcalc", "tests"]),
    ("notebooks", ["tools/notebooks.py", "--check"]),
    ("book", ["tools/book.py"]),
    ("browser", ["tools/browser.py"]),
    ("pages in the browser", [*PYTEST, *TWO_WORKERS, "tests/browser"]),
]
# torch and transformers warn about themselves: here a warning is no error.
ORACLES: list[Check] = [("oracles", [*PYTEST, "-W", "default", "--durations=5", "tests/oracles"])]
GROUPS = {"lint": LINT, "test": TEST, "oracles": ORACLES}


def passes(name: str, arguments: list[str]) -> bool:
    """Whether one check passes; its output goes straight to the terminal."""
    print(f"== {name}", flush=True)
    start = time.monotonic()
    status = subprocess.run([sys.executable, *arguments], cwd=ROOT, check=False).returncode
    last = name == TEST[-1][0] or name == ORACLES[-1][0]
    if not last or status:  # a run that passed closes with pytest's own summary
        print(f"   {time.monotonic() - start:.1f} s{' FAILED' if status else ''}", flush=True)
    return status == 0


def main(group: str = "test") -> int:
    """Run a group of checks."""
    failed = [name for name, arguments in GROUPS[group] if not passes(name, arguments)]
    if failed:
        print(f"== failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
