"""`--via transformers` where it cannot answer: what it does is held in tests/oracles/test_via.py."""

from __future__ import annotations

import json
import sys

import pytest

import memcalc
from memcalc.__main__ import main
from memcalc.errors import MemcalcError

UNKNOWN = {"model_type": "not_known_yet", "hidden_size": 64}


@pytest.fixture
def config(tmp_path):
    """A config.json of a type without a reader."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(UNKNOWN))
    return path


@pytest.mark.parametrize("command", [["model"], ["serve", "--context", "64"]])
def test_without_the_library_it_says_what_to_install(config, command, capsys, monkeypatch) -> None:
    for name in ("torch", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
    name, *rest = command
    assert main([name, str(config), *rest, "--via", "transformers"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("memcalc: error: --via transformers: expected torch and transformers 5")
    assert "pip install 'llm-memcalc[transformers]'" in said


def test_train_has_no_such_way(config, capsys) -> None:
    assert main(["train", str(config), "--seq", "64", "--via", "transformers"]) == 2
    assert "--via" in capsys.readouterr().err


def test_another_way_is_refused(config) -> None:
    with pytest.raises(MemcalcError, match=r"--via: expected .*transformers"):
        memcalc.model(config, via="vllm")
    with pytest.raises(MemcalcError, match=r"--via: expected .*transformers"):
        memcalc.serve(config, context=64, via="vllm")
    assert main(["model", str(config), "--via", "vllm"]) == 2


def test_what_has_a_reader_needs_no_library(capsys) -> None:
    assert main(["model", "Qwen/Qwen3-0.6B", "--via", "transformers", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parameters"] == 596_049_920
    assert found["defaults"] == ["--via transformers is not needed: a reader knows qwen3"]
