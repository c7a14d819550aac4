"""Names of models as people type them: letters' case, owner and separators do not matter, all else does."""

from __future__ import annotations

import pytest

from memcalc.errors import UnknownNameError
from memcalc.files.catalogue import catalogue, key, names_by_key
from memcalc.files.sources import source

TYPED = {
    "Qwen3 32B": "Qwen/Qwen3-32B",
    "qwen3:32b": "Qwen/Qwen3-32B",
    "qwen3_32b": "Qwen/Qwen3-32B",
    "QWEN/qwen3 32b": "Qwen/Qwen3-32B",
    "deepseek r1": "deepseek-ai/DeepSeek-R1",
    "gpt-oss:20b": "openai/gpt-oss-20b",
    "openai gpt oss 20b": "openai/gpt-oss-20b",
    "Qwen3.6 27b": "Qwen/Qwen3.6-27B",
    "qwen3-6 27b": "Qwen/Qwen3.6-27B",
    "phi4": "microsoft/phi-4",
}
TAKEN = {  # an alias or a relative, and which
    "llama 3.1 8b": "meta-llama/Meta-Llama-3.1-8B",
    "llama 3.1 8b instruct": "meta-llama/Meta-Llama-3.1-8B",
    "gemma3:27b": "google/gemma-3-27b-it",
}


@pytest.mark.parametrize("text", TYPED)
def test_a_name_is_known_however_it_is_spelled(text):
    found = source(text)
    assert (found.name, found.defaults) == (TYPED[text], ())


@pytest.mark.parametrize("text", TAKEN)
def test_what_is_taken_for_another_name_is_said(text):
    found = source(text)
    assert found.name == TAKEN[text]
    assert [one.partition(" (")[0] for one in found.defaults] == [f"{text} is taken as {TAKEN[text]}"]


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("mixtral", "did you mean Mixtral-8x7B-v0.1 or Mixtral-8x22B-v0.1?"),
        ("qwen 32b", "did you mean Qwen3-32B or Qwen3-32B-FP8 or Qwen2.5-32B-Instruct or Qwen3-VL-32B-Inst"),
        ("deepseek 70b", "did you mean DeepSeek-R1-Distill-Llama-70B?"),
        ("Qwen3 32B AWQ", "did you mean Qwen/Qwen3-32B with --weights awq-int4-g128?"),
        ("qwen2-57b", "did you mean "),  # Qwen2.5-7B, with a point that was left out, is another model
        ("./qwen3-32b", "did you mean "),  # a path
        ("qwen332b", ""),
    ],
)
def test_what_is_not_unique_or_not_exact_is_refused_with_names_that_have_all_its_words(text, offered):
    with pytest.raises(UnknownNameError) as refusal:
        source(text)
    assert refusal.value.remedy.startswith(offered)


def test_every_name_of_the_catalogue_is_its_own():
    for name in catalogue():
        assert names_by_key()[key(name)] == (name,)
        assert names_by_key()[key(name.partition("/")[2])] == (name,)
