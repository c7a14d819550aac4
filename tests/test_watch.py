"""What `make watch` compares: an unknown type's tensors with those that readers make of the same fields."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from memcalc.files.readers import READERS

RANDOM = json.loads((Path(__file__).parent / "recorded" / "random.json").read_text(encoding="utf-8"))[
    "models"
]


@pytest.fixture(scope="module")
def watch(root):
    """tools/watch.py"""
    spec = importlib.util.spec_from_file_location("watch", root / "tools" / "watch.py")
    found = importlib.util.module_from_spec(spec)
    sys.modules["watch"] = found  # its records look for themselves there
    spec.loader.exec_module(found)
    return found


def asked(watch, name, *, without=()):
    """The nearest type to what transformers was recorded to say of a small config."""
    fields, said = RANDOM[name]["config"], RANDOM[name]["figures"]["in_short"]
    return watch.nearest(fields, said, [kind for kind in READERS if kind not in without])


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt_oss", "deepseek_v3", "mamba2", "glm4"])
def test_a_type_is_like_itself(watch, kind):
    found = asked(watch, f"{kind} 0")
    assert (found.percent, found.more, found.less) == (100, 0, 0)


@pytest.mark.parametrize(
    ("name", "like", "more"),
    [("glm4 0", "glm", 2), ("gemma3_text 0", "gemma2", 2), ("glm_moe_dsa 0", "deepseek_v32", 0)],
)
def test_an_unknown_type_is_like_its_relative(watch, name, like, more):
    """GLM-4 has two norms a layer more than GLM, Gemma 3 those of queries and keys."""
    found = asked(watch, name, without=(name.partition(" ")[0], "gemma3"))
    assert (found.name, found.more) == (like, more)


def test_nothing_is_like_an_empty_list(watch):
    assert watch.nearest({"model_type": "new"}, {}, known=["kimi_k25"]) is None


def test_vllms_registry_is_read_without_running_it(watch):
    source = "import nothing_here\n_MULTIMODAL_MODELS = {'NewForConditionalGeneration': ('new', 'New')}\n"
    assert watch.registered(source + "_EMBEDDING_MODELS = {'Bert': ('bert', 'Bert')}") == [
        "NewForConditionalGeneration"
    ]
    names = ["LlamaForCausalLM", "Gemma3ForConditionalGeneration", "Lama2ForCausalLM", "NewForCausalLM"]
    listed = {"new": "nearest llama: 90 % alike, 1 more, 0 less"}
    assert dict(watch.of_vllm(names, listed)) == {
        "Lama2ForCausalLM": "nearest by name llama",
        "NewForCausalLM": f"new of transformers, {listed['new']}",
    }


def test_it_fails_if_it_could_not_ask(watch, monkeypatch, capsys):
    monkeypatch.setattr(watch, "find_spec", lambda _: None)
    assert watch.main() == 1
    assert "could not ask" in capsys.readouterr().err
