"""A Chromium for the tests: one that is installed, else Debian's package, else Playwright's own download.

`python tools/browser.py` makes sure that there is one, and prints its path; if none works, it says so in one
line and fails. The tests take the path from `installed()`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
APPLICATION = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
DOWNLOADS = Path(__file__).resolve().parents[1] / "_build" / "browsers"
DOWNLOAD_SECONDS = 60
# Run in a page: whether some font has Chinese letters.
CHINESE = """() => {
    const drawn = [...'中文'].map(letter => {
        const canvas = Object.assign(document.createElement('canvas'), {width: 40, height: 40});
        const pen = canvas.getContext('2d');
        pen.font = '32px sans-serif';
        pen.fillText(letter, 2, 34);
        return canvas.toDataURL();
    });
    return drawn[0] !== drawn[1];  // what no font has is the same box
}"""


def works(path: str) -> bool:
    """Whether a browser starts at all: a wrapper without its package does not."""
    page = [path, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "about:blank"]
    try:
        done = subprocess.run(page, capture_output=True, timeout=180, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and b"<html" in done.stdout


def candidates() -> list[str]:
    """Browsers on this machine, and what an earlier run downloaded."""
    named = [shutil.which(name) for name in NAMES]
    downloaded = [
        *DOWNLOADS.rglob("chrome"),
        *DOWNLOADS.rglob("chrome-headless-shell"),
        *DOWNLOADS.rglob("Chromium"),
    ]
    files = [str(path) for path in [Path(APPLICATION), *downloaded] if path.is_file()]
    return [name for name in named if name] + files


def installed() -> str | None:
    """The path of a browser that works, if there is one."""
    return next((path for path in candidates() if works(path)), None)


def quietly(command: list[str], seconds: int, **variables: str) -> bool:
    """Whether a command succeeds in that time; after it, the command and all that it started are ended."""
    environment = os.environ | variables
    nothing = subprocess.DEVNULL
    running = subprocess.Popen(
        command, env=environment, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True
    )
    try:
        return running.wait(timeout=seconds) == 0
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGTERM)
        running.wait()
        return False


def debian_package(name: str = "chromium") -> None:
    """Install a package of Debian's, where that is allowed without asking."""
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if not shutil.which("apt-get") or (root and not (shutil.which("sudo") and quietly([*root, "true"], 10))):
        return
    print(f"   installing the package {name}", flush=True)
    apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=120"]
    quietly([*apt, "update"], 120)
    quietly([*apt, "install", "--yes", "--no-install-recommends", name], 300)


def download() -> None:
    """Playwright's own browser, within a minute."""
    print(f"   downloading a browser (at most {DOWNLOAD_SECONDS} s)", flush=True)
    command = [sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"]
    quietly(command, DOWNLOAD_SECONDS, PLAYWRIGHT_BROWSERS_PATH=str(DOWNLOADS))


def main() -> int:
    """Make sure that there is a browser."""
    path = installed()
    for way in (debian_package, download):
        if path is None:
            way()
            path = installed()
    if path is None:
        print(
            "missing: a browser; no Chromium or Chrome works here, and neither the package chromium nor "
            "Playwright's download could be had; install Chromium",
            file=sys.stderr,
        )
        return 1
    print(f"   {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
