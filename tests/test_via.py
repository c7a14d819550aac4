"""`--via transformers` where it cannot answer: what it does is held in tests/oracles/test_via.py."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest

import memcalc
from memcalc.__main__ import main
from memcalc.errors import MemcalcError
from memcalc.files import Source
from memcalc.files.sources import source

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


def test_it_is_built_once() -> None:
    """Remedies and machines ask for the same source again."""
    found = Source("x", dict(UNKNOWN), "x")
    found.built = memcalc.model("Qwen/Qwen3-0.6B")
    assert found.by_way_of("transformers") is found
    assert found.model is found.built
    known = source("Qwen/Qwen3-0.6B").by_way_of("transformers").by_way_of("transformers")
    assert len(known.defaults) == 1


def test_an_unknown_cache_is_not_counted() -> None:
    """As of compressed attention: the answer has its weights, and a plan for serving is refused."""
    known = memcalc.model("Qwen/Qwen3-0.6B")
    found = Source("x", dict(UNKNOWN), "x")
    found.built = replace(known, via="transformers 5.23.0", cache_unknown="it follows another law")
    assert "cache a token      unknown, because it follows another law" in repr(found.built)
    with pytest.raises(MemcalcError, match="cache: expected one that is understood"):
        memcalc.serve(found, context=64)
    with pytest.raises(MemcalcError, match="cache: expected one that is understood"):
        list(found.built.cache(1, 64))


@pytest.mark.parametrize("options", [{"engine": "vllm"}, {"tp": 2}, {"ep": 2}, {"lora_slots": 2}])
def test_plans_that_go_by_parts_are_refused(options) -> None:
    found = Source("x", dict(UNKNOWN), "x")
    found.built = replace(memcalc.model("Qwen/Qwen3-0.6B"), via="transformers 5.23.0")
    with pytest.raises(MemcalcError, match="with --via"):
        memcalc.serve(found, context=64, **options)
    assert memcalc.serve(found, context=64).weights_file_bytes == 2 * 596_049_920
