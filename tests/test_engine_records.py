"""Releases that are modelled, engines that are not, and devices that an engine does not run on."""

from __future__ import annotations

import pytest

from memcalc.cli.list import engines
from memcalc.data.words import right_words
from memcalc.errors import MemcalcError
from memcalc.serving import serve
from memcalc.serving.engines import ENGINES, engine
from memcalc.serving.engines.records import not_modelled, releases

QWEN = "Qwen/Qwen3-8B"


@pytest.mark.parametrize("name", [name for name in ENGINES if name != "mindie"])
def test_the_newest_release_is_the_one_that_is_meant(name):
    *_, newest = releases()[name]
    assert f"{engine(name).release}.".startswith(f"{newest.version}.")


@pytest.mark.parametrize("name", ENGINES)
def test_every_release_is_modelled_and_has_a_source(name):
    for release in releases()[name]:
        assert release.source
        assert release.date
        if name != "mindie":  # which has one law for all of them
            assert engine(name, release.version).release == release.version


def test_releases_are_in_order():
    for rows in releases().values():
        assert [row.date for row in rows] == sorted(row.date for row in rows)


@pytest.mark.parametrize("one", not_modelled(), ids=lambda one: one.id)
def test_an_engine_that_is_not_modelled_is_answered_with_the_nearest(one):
    assert one.id not in ENGINES
    assert one.nearest in ENGINES
    assert right_words("--engine", one.id)[0].startswith(one.nearest)
    with pytest.raises(MemcalcError, match=f"--engine.*did you mean {one.nearest}"):
        engine(one.id)


def test_the_list_has_both():
    rows = {row["id"]: row for row in engines()}
    assert rows["sglang"]["modelled"] is True
    assert (rows["sglang"]["version"], rows["sglang"]["date"]) == ("0.5.23", "2026-10-30")
    assert rows["ollama"]["modelled"] is False
    assert rows["ollama"]["nearest"] == "llama.cpp"


@pytest.mark.parametrize("name", ["vllm-ascend", "mindie"])
@pytest.mark.parametrize("on", ["1x h100-80g", "2x mi300x", "1x gaudi2"])
def test_engines_of_npus_are_refused_on_other_devices(name, on):
    says = f"--on: expected one of Huawei's NPUs, on which alone {name} runs, given .*; write --engine"
    with pytest.raises(MemcalcError, match=says):
        serve(QWEN, context=8, engine=name, on=on)


@pytest.mark.parametrize("name", ["vllm", "sglang", "ktransformers"])
def test_engines_of_gpus_are_refused_on_npus(name):
    with pytest.raises(MemcalcError, match=f"figures of {name} are CUDA's, given 'ascend-910b-64g'; write"):
        serve(QWEN, context=8, engine=name, on="1x ascend-910b-64g")


@pytest.mark.parametrize("name", ENGINES)
def test_a_size_is_no_device_of_any_kind(name):
    weights = "Q4_K_M" if name == "llama.cpp" else "bf16"
    assert serve(QWEN, context=8, weights=weights, engine=name, on="1x 64GiB").fits is not False
