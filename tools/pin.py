"""The pins: every package of both environments at one version, with the hash of each of its files.

`python tools/pin.py` writes requirements.txt and requirements-oracles.txt from the lists of what is asked for
(requirements.in, requirements-oracles.in). What is pinned already stays where it is, unless it is named:
`python tools/pin.py --upgrade-package numpy`. The pins hold for every system and for Python 3.11 and later.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TORCH = "requirements-torch.txt"
# torch, and what its builds for Linux and CUDA bring: it is installed as the machine has it, without hashes
OWN_BUILD = re.compile(r"(torch|triton|cuda-[\w-]+|nvidia-[\w-]+)==")
SETTINGS = {"index-url": "UV_DEFAULT_INDEX", "cert": "SSL_CERT_FILE"}


def pip_settings() -> dict[str, str]:
    """Return what pip is told of indexes and certificates here, in uv's words."""
    found: dict[str, str] = {}
    for name, variable in SETTINGS.items():
        for place in (":env:", "global"):
            ask = [sys.executable, "-m", "pip", "config", "get", f"{place}.{name}"]
            done = subprocess.run(ask, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                found.setdefault(variable, done.stdout.strip())
    return found


def pin(asked: list[str], written: str, upgrades: list[str]) -> None:
    """Write one list of pins."""
    options = ["--universal", "--python-version=3.11", "--generate-hashes", "--quiet", *upgrades]
    command = ["--custom-compile-command", "make pins", "--output-file", written]
    run = [sys.executable, "-m", "uv", "pip", "compile", *asked, *options, *command]
    subprocess.run(run, cwd=ROOT, env=os.environ | pip_settings(), stdout=subprocess.DEVNULL, check=True)
    path = ROOT / written
    blocks = re.split(r"\n(?=[A-Za-z])", path.read_text(encoding="utf-8").rstrip("\n"))
    kept = [block for block in blocks if not OWN_BUILD.match(block)]
    path.write_text("\n".join(kept) + "\n", encoding="utf-8", newline="\n")
    print(f"   {written}: {len(kept) - 1} packages")


def main(upgrades: list[str]) -> int:
    """Write both lists."""
    pin(["requirements.in"], "requirements.txt", upgrades)
    pin(["requirements-oracles.in", TORCH], "requirements-oracles.txt", upgrades)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
