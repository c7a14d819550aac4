"""What is recorded in tests/recorded is what the oracles say now."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def fresh():
    """What `make record` would write."""
    spec = importlib.util.spec_from_file_location("recorder", ROOT / "tools" / "record_oracles.py")
    recorder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recorder)
    return recorder.recordings()


@pytest.mark.parametrize("name", ["catalogue", "models", "random", "rope"])
def test_the_record_is_what_the_oracles_say(fresh, name):
    """The versions of torch and transformers as well; the day and the Python may be others."""
    recorded = json.loads((ROOT / "tests" / "recorded" / f"{name}.json").read_text(encoding="utf-8"))
    said = json.loads(json.dumps(fresh[f"{name}.json"]))
    for side in recorded, said:
        for field in "date", "python":
            assert side["versions"].pop(field)
        side["versions"]["torch"] = side["versions"]["torch"].partition("+")[0]  # CPU and CUDA builds agree
    assert recorded == said, "run `make record` and look at the difference"


def test_nothing_else_is_recorded(fresh):
    assert {path.name for path in (ROOT / "tests" / "recorded").glob("*.json")} == set(fresh)
