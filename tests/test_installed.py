"""The package without the repository around it: it answers, and says that it has no record."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

import memcalc


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Run Python where nothing but a copy of the package can be found: `alone("-m", "memcalc")`."""
    folder = tmp_path_factory.mktemp("installed")
    shutil.copytree(
        memcalc.__path__[0], folder / "memcalc", ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
    )
    variables = {**os.environ, "PYTHONPATH": str(folder)}

    def run(*arguments):
        return subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env=variables,
        )

    where = run("-c", "import memcalc; print(memcalc.__file__)").stdout
    assert where.startswith(str(folder)), "the copy must be what is imported"
    return run


def test_an_installed_package_answers(alone):
    done = alone("-m", "memcalc", "model", "Qwen/Qwen3-32B", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["parameters"] == 32_762_123_264


READS = {  # what reads the record, and which file of it
    "observations": "observations.json",
    "left_out": "left_out.json",
    "training_observations": "training_observations.json",
    "trained_models": "training_observations.json",
    "training_left_out": "training_left_out.json",
    "checkpoints": "checkpoints.json",
    "claims": "notes.json",
    "notes_text": "notes.txt",
}
ASK = f"""
from memcalc import evidence
for name in {list(READS)}:
    try:
        getattr(evidence, name)()
    except ValueError as error:
        print(error)
"""


def test_it_says_in_a_line_that_the_record_is_not_there(alone):
    done = alone("-c", ASK)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == len(READS)
    for line, file in zip(lines, READS.values(), strict=True):
        assert line.startswith(f"book/record/{file}: expected a checkout of the repository, which holds")
        assert line.endswith("an installed package answers without it, but has no evidence")


def test_every_public_name_of_evidence_loads_without_the_record(alone):
    """Only what reads the record is refused."""
    program = "import memcalc.evidence as e; print(all(getattr(e, name) for name in dir(e)), len(dir(e)))"
    done = alone("-c", program)
    assert done.stderr == ""
    assert done.stdout.split()[0] == "True"
    assert int(done.stdout.split()[1]) > 20
