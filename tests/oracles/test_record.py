"""What is recorded in tests/recorded is what the oracles say now."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def recorder():
    """tools/record_oracles.py"""
    spec = importlib.util.spec_from_file_location("recorder", ROOT / "tools" / "record_oracles.py")
    recorder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recorder)
    return recorder


@pytest.fixture(scope="module")
def fresh(recorder):
    """What `make record` would write."""
    return recorder.recordings()


def recorded_and_said(name, fresh):
    recorded = json.loads((ROOT / "tests" / "recorded" / name).read_text(encoding="utf-8"))
    return recorded, json.loads(json.dumps(fresh))


@pytest.mark.parametrize("name", ["catalogue", "models", "random", "rope"])
def test_the_record_is_what_the_oracles_say(fresh, name):
    """The versions of torch and transformers as well; the day and the Python may be others."""
    recorded, said = recorded_and_said(f"{name}.json", fresh[f"{name}.json"])
    for side in recorded, said:
        for field in "date", "python":
            assert side["versions"].pop(field)
        side["versions"]["torch"] = side["versions"]["torch"].partition("+")[0]  # CPU and CUDA builds agree
    assert recorded == said, "run `make record` and look at the difference"


def test_the_record_is_what_llama_cpp_says(recorder, llama):
    """Compute buffers too, of which the record makes a range: how they are laid out may depend on the CPU."""
    recorded, said = recorded_and_said("llama_cpp.json", recorder.llama_recording())
    for side in recorded, said:
        assert side["versions"].pop("date")
    assert recorded == said, "run `make record` and look at the difference"


def test_nothing_else_is_recorded(fresh):
    assert {path.name for path in (ROOT / "tests" / "recorded").glob("*.json")} == {
        *fresh,
        "llama_cpp.json",
        "defaults.json",  # test_defaults.py: all of it takes minutes
        "training.json",  # test_train.py: all of it takes minutes
        "saved.json",  # record_saved.py: the same tracing, of other steps
    }
