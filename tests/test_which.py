"""Which machines hold a plan: what `memcalc which` says is what `memcalc serve` says of each."""

from __future__ import annotations

import json
import time

import pytest

import memcalc
from memcalc.__main__ import main
from memcalc.errors import BadInputError, MemcalcError
from memcalc.files.machines import devices, servers
from memcalc.serving import serve, which
from memcalc.serving.holding import COUNTS

QWEN = "Qwen/Qwen3-32B"


def verdict(name, count, **asked):
    """What is said of so many of a machine; None where it is refused."""
    try:
        return serve(QWEN, on=f"{count}x {name}", **asked)
    except MemcalcError:
        return None


@pytest.mark.parametrize(
    "asked", [{"context": 32_768, "engine": "vllm"}, {"context": 4096, "tp": 2}], ids=str
)
def test_it_says_of_each_what_serve_says(asked):
    """The fewest that do not fail; of the machines that are not named, no count does."""
    found = {one.id: one for one in which(QWEN, **asked).machines}
    assert found
    for name in (*devices(), *servers()):
        tried = {count: verdict(name, count, **asked) for count in COUNTS}
        holding = {count: one for count, one in tried.items() if one and one.verdict != "does_not_fit"}
        assert (name in found) == bool(holding), name
        if holding:
            one, served = found[name], holding[min(holding)]
            assert one.count == min(holding), name
            assert one.verdict == served.verdict, name
            assert (one.total_bytes, one.max_context) == (served.device.total_bytes, served.max_context), name
            assert one.capacity_bytes == served.device.capacity_bytes, name


def test_the_command(capsys):
    assert main(["which", QWEN, "--context", "32k", "--engine", "vllm", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["model"] == QWEN
    assert said["defaults"][0].startswith("vLLM")
    rows = said["machines"]
    assert set(rows[0]) == {"id", "count", "verdict", "total_bytes", "capacity_bytes", "max_context"}
    sizes = [
        one["count"] * (servers()[one["id"]].devices if one["id"] in servers() else 1) * one["capacity_bytes"]
        for one in rows
    ]
    assert sizes == sorted(sizes)
    assert main(["which", QWEN, "--context", "32k", "--engine", "vllm"]) == 0
    text = capsys.readouterr().out
    for one in rows:
        assert f"{one['count']}x {one['id']}" in text
        assert f"{one['max_context'] - 32_768:,}" in text


def test_beyond_the_models_limit_none_holds_it(capsys):
    assert main(["which", QWEN, "--context", "50000"]) == 0
    assert "none: the model's own limit is 40,960 tokens" in capsys.readouterr().out


def test_what_no_machine_holds(capsys):
    assert main(["which", "moonshotai/Kimi-K2-Instruct", "--context", "8192", "--weights", "fp32"]) == 0
    assert capsys.readouterr().out.count("\n") >= 3


def test_host_memory_is_taken_as_large_enough():
    asked = {"context": 8192, "weights": "Q4_K_M", "engine": "ktransformers", "engine_version": "0.2"}
    found = which("deepseek-ai/DeepSeek-R1", **asked)
    assert any((one.id, one.count) == ("rtx-4090", 1) for one in found.machines)


def test_at_a_prompt_it_is_short():
    found = memcalc.which(QWEN, context=8192)
    assert len(found.machines) > 20
    assert repr(found).count("\n") < 12
    assert repr(found).endswith("more: print it")
    assert str(found).count("\n") > 20


def test_bad_options_are_refused_and_a_machine_is_not_asked_for(capsys):
    with pytest.raises(BadInputError, match="--context"):
        which(QWEN, context=0)
    with pytest.raises(TypeError, match="on"):
        which(QWEN, context=8, on="h200-141g")
    assert main(["which", QWEN, "--context", "8", "--on", "h200-141g"]) == 2
    assert "--on" in capsys.readouterr().err


def test_it_takes_less_than_two_seconds():
    start = time.process_time()
    which("deepseek-ai/DeepSeek-V3", context=8192, engine="vllm")
    assert time.process_time() - start < 2
