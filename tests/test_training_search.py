"""The most that fits: there the upper end of every range is within what there is, with the next it is not."""

from __future__ import annotations

import json
import random

import pytest

from memcalc.__main__ import main
from memcalc.training import train

MODELS = ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-8B", "meta-llama/Meta-Llama-3.1-8B", "Qwen/Qwen3-30B-A3B")
KINDS = (
    {},
    {"recompute": "full"},
    {"regime": "pure-bf16", "recompute": "full", "loss": "liger"},
    {"lora_rank": 16},
    {"lora_rank": 8, "quantize_base": "nf4"},
    {"lora_rank": 8, "recompute": "none"},
    {"world": 8, "shard": 3, "recompute": "full"},
    {"world": 8, "shard": "fsdp"},
    {"world": 8, "shard": 2, "lora_rank": 16},
    {"world": 8, "cp": 2, "shard": 3, "recompute": "full"},
    {"engine_version": "4.45", "recompute": "full", "lora_rank": 16},
)


def drawn(seed):
    """A model, a plan and a machine: any of them may be too small."""
    draw = random.Random(seed)
    kind = draw.choice(KINDS)
    card = draw.choice(("rtx-4090", "rtx-a6000", "h100-80g", "h200-141g"))
    name = draw.choice(MODELS[2:3] if "engine_version" in kind else MODELS)
    batch, seq = draw.randint(1, 4), 2 * draw.randint(64, 4096)
    return name, {**kind, "seq": seq, "micro_batch": batch, "on": f"{kind.get('world', 1)}x {card}"}


def surely_fits(name, asked):
    """Whether every device, and the host, has room with each range at its upper end."""
    step = train(name, **asked)
    within = step.device.high_bytes <= step.device.capacity_bytes
    assert (step.verdict == "fits") == (step.lacking("most_bytes") is None)
    return step.verdict == "fits" and within


@pytest.mark.parametrize("what", [("max_seq", "seq"), ("max_batch", "micro_batch")], ids=str)
@pytest.mark.parametrize("seed", range(12))
def test_the_most_fits_and_the_next_does_not(seed, what):
    (asks, option), (name, asked) = what, drawn(seed)
    most = getattr(train(name, **asked), asks)
    step = asked.get("cp", 1) if option == "seq" else 1
    assert most % step == 0
    assert most == 0 or surely_fits(name, {**asked, option: most})
    assert not surely_fits(name, {**asked, option: most + step})


def test_some_draws_fit_and_some_do_not():
    found = [train(*[drawn(seed)[0]], **drawn(seed)[1]).max_seq for seed in range(12)]
    assert min(found) == 0 < max(found)


@pytest.mark.parametrize("shard", [2, 3, "fsdp"])
def test_the_fewest_devices_hold_it_and_one_less_does_not(shard):
    asked = {"seq": 2048, "shard": shard, "recompute": "full"}
    fewest = train("Qwen/Qwen3-8B", **asked, on="1x h100-80g").fewest_devices
    for number, verdict in ((fewest, True), (fewest - 1, False)):
        plan = {**asked, "world": number, "on": f"{number}x h100-80g"}
        assert surely_fits("Qwen/Qwen3-8B", plan) == verdict
    assert train("Qwen/Qwen3-32B", seq=2048, on="1x rtx-4090").fewest_devices is None  # nothing is shared
    assert train("Qwen/Qwen3-8B", seq=2048).fewest_devices is None


@pytest.mark.parametrize(
    ("asked", "otherwise"),
    [
        ({}, "--shard 3 --recompute full"),
        ({"shard": 3}, "--recompute full"),
        ({"recompute": "full"}, "--shard 3"),
    ],
    ids=str,
)
def test_where_no_number_of_devices_is_enough_another_way_is_said(asked, otherwise, capsys):
    """What is printed for it holds: so many devices, one less is not enough."""
    name, seq, card = "meta-llama/Meta-Llama-3.1-8B", 4096, "rtx-4090"
    step = train(name, seq=seq, **asked, on=f"1x {card}")
    assert step.fewest_devices is None
    words, fewest = step.fewest_otherwise
    assert words == otherwise
    for number, verdict in ((fewest, True), (fewest - 1, False)):
        plan = {"seq": seq, "shard": 3, "recompute": "full", "world": number, "on": f"{number}x {card}"}
        assert surely_fits(name, plan) == verdict
    options = [word for option, value in asked.items() for word in (f"--{option}", str(value))]
    main(["train", name, "--seq", str(seq), *options, "--on", f"1x {card}", "--fewest-devices"])
    assert capsys.readouterr().out.endswith(f"none as it is run; {fewest} with {otherwise}\n")
    assert train("Qwen/Qwen3-0.6B", seq=128, shard=3, on=f"1x {card}").fewest_otherwise is None


def told(capsys, *words):
    status = main(["train", "Qwen/Qwen3-8B", "--lora-rank", "16", *words])
    return status, capsys.readouterr()


def test_the_command_says_what_was_asked_for(capsys):
    on = ("--on", "1x rtx-a6000")
    status, said = told(capsys, "--max-seq", "--max-batch", *on, "--json")
    found = json.loads(said.out)
    assert status == 0
    assert (
        found["plan"]["seq"]
        == found["max_seq"]
        == train("Qwen/Qwen3-8B", seq=1, lora_rank=16, on=on[1]).max_seq
    )
    assert found["verdict"] == "fits"
    assert found["max_batch"] == 1
    assert "fewest_devices" not in found
    status, said = told(capsys, "--seq", "64k", "--max-seq", *on, "--check")
    assert status == 1  # the plan that was asked about
    assert f"in tokens: {found['max_seq']:,}\n" in said.out
    status, said = told(capsys, "--max-seq")
    assert status == 2
    assert "add --on" in said.err


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("dpo", {"quantize_base": "nf4"}),
        ("orpo", {}),
        ("grpo", {"completion_tokens": 256, "micro_batch": 8}),
        ("ppo", {}),
    ],
)
def test_the_most_is_that_of_the_method(method, options):
    """Phases with several models: what fits without them is no answer."""
    asked = {"seq": 1024, "method": method, "lora_rank": 16, "on": "1x rtx-4090", **options}
    step = train("Qwen/Qwen2.5-1.5B-Instruct", **asked)
    for most, option in ((step.max_seq, "seq"), (step.max_batch, "micro_batch")):
        again = [train("Qwen/Qwen2.5-1.5B-Instruct", **{**asked, option: most + more}) for more in (0, 1)]
        assert [one.verdict == "fits" for one in again] == [True, False]
