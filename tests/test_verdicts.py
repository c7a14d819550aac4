"""Three verdicts, the largest load and its limits: one search over one predicate, on every engine."""

from __future__ import annotations

import json
import random
import shlex

import pytest

from memcalc.__main__ import main
from memcalc.errors import MemcalcError
from memcalc.files.catalogue import catalogue
from memcalc.files.machines import devices
from memcalc.ledger.budget import Line, PoolBudget
from memcalc.serving import serve
from memcalc.serving.engines import ENGINES, engine
from memcalc.serving.search import LIMIT
from memcalc.training import train

PRESETS = ("Q8_0", "Q4_K_M", "Q2_K")
SEED = 20261130


def drawn(number):
    """Plans of all sizes that are answered: every engine, pipeline stages, hosts, both ends of memory."""
    draw, models, found = random.Random(SEED), catalogue(), 0
    while found < number:
        name = draw.choice(list(ENGINES))
        one = engine(name)
        count, device = draw.choice((1, 1, 2, 3, 4, 8)), draw.choice(list(devices()))
        host = f" + {draw.choice((16, 64, 512, 2048))}GiB host" if one.offloads else ""
        other = f" + 1x {draw.choice(list(devices()))}" if draw.random() < 0.2 else ""
        asked = {
            "context": round(2 ** draw.uniform(0, 19)),
            "batch": round(2 ** draw.uniform(0, 8)),
            "engine": name,
            "on": f"{count}x {device}{other}{host}",
            "weights": draw.choice(
                PRESETS if not one.reads_checkpoints else (None, "bf16", "fp8", "gptq-int4-g128")
            ),
        }
        if draw.random() < 0.3:
            asked["prompt"] = round(2 ** draw.uniform(0, 19))
        if draw.random() < 0.3:
            asked["pp"] = count
        elif draw.random() < 0.2:
            asked |= draw.choice(
                ({"tp": count, "dcp": count}, {"tp": 1, "dp": count, "ep": count}, {"draft": "mtp"})
            )
        if name == "llama.cpp" and draw.random() < 0.5:
            asked["engine_options"] = draw.choice(
                ({"n_seq_max": 4}, {"server": True}, {"n_gpu_layers": 10}, {"swa_full": True})
            )
        try:
            served = serve(draw.choice(models), **asked)
            assert isinstance(served.fits, bool)
        except MemcalcError:
            continue
        found += 1
        yield asked, served


def hold(asked, served):
    """The largest load is the last that fits, and the verdict is that of the plan's own."""
    search, plan = served.search, served.plan
    context, batch = served.max_context, served.max_batch
    assert served.fits == search.fits(plan.batch, plan.context), asked
    if context:
        assert search.fits(plan.batch, context), asked
    if batch:
        assert search.fits(batch, plan.context), asked
    assert context == LIMIT or not search.fits(plan.batch, context + 1), asked
    assert batch == LIMIT or not search.fits(batch + 1, plan.context), asked
    if plan.context <= context and plan.engine.shorter_profile_above is None:
        assert served.fits, asked
    most = search.at("most_bytes").fits(plan.batch, plan.context)
    assert served.fits or not most, asked
    limit = served.model.max_context
    tokens = plan.engine.sequence_tokens(plan.context, plan.batch, plan.engine_options)
    expected = "fits" if most else "may_not_fit" if served.fits else "does_not_fit"
    assert served.verdict == ("does_not_fit" if limit and tokens > limit else expected), asked
    assert (served.cause is None) == (served.verdict == "fits"), asked


def again(asked, served, **changed):
    """The same plan with another load, asked anew; None where it is refused."""
    options = {**asked, **changed}
    if "prompt" in options:
        options["prompt"] = min(options["prompt"], options["context"])
    try:
        return serve(served.plan.source, **options).fits
    except MemcalcError:
        return None


def test_the_largest_load_is_the_last_that_fits():
    for asked, served in drawn(150):
        hold(asked, served)


STATES = {
    "vllm": (
        {},
        {"prefix_caching": False, "max_num_seqs": 64},
        {"max_num_seqs": 16},
        {"kv_cache_memory": "9GiB"},
    ),
    "sglang": ({}, {"max_mamba_cache_size": 30}, {"mamba_full_memory_ratio": 0.2}),
    "ktransformers": ({}, {"max_mamba_cache_size": 300}),
    "llama.cpp": ({}, {"rs_seq": 2}),
    "transformers": ({},),
}


def test_so_it_is_where_layers_keep_states():
    """Blocks, slots, and what an engine wants before it starts: the largest load is the last that fits."""
    draw, answered = random.Random(SEED), 0
    for number in range(60):
        name = list(STATES)[number % len(STATES)]
        asked = {
            "context": round(2 ** draw.uniform(0, 17)),
            "batch": round(2 ** draw.uniform(0, 7)),
            "engine": name,
            "on": f"{draw.choice((1, 2, 4))}x {draw.choice(('rtx-4090', 'l40s-ecc', 'h100-80g', 'b200'))}",
            "weights": "Q4_K_M" if name == "llama.cpp" else draw.choice((None, "fp8")),
            "engine_options": draw.choice(STATES[name]),
        }
        try:
            served = serve(draw.choice(("Qwen/Qwen3.5-27B", "Qwen/Qwen3.5-35B-A3B")), **asked)
        except MemcalcError:
            continue
        answered += 1
        hold(asked, served)
        for load in ("context", "batch"):
            most = getattr(served, f"max_{load}")
            if 0 < most < LIMIT:
                assert again(asked, served, **{load: most}) is True, asked
                assert again(asked, served, **{load: most + 1}) in (False, None), asked
    assert answered > 30


@pytest.mark.slow
def test_the_same_of_many_plans(request):
    """And a plan that is asked anew with the largest load agrees, wherever the engine takes it."""
    answered, plans = 0, 2000 if request.config.getoption("full") else 200
    for asked, served in drawn(plans):
        hold(asked, served)
        if 0 < served.max_context < LIMIT:
            answered += 1
            assert again(asked, served, context=served.max_context) is True, asked
            assert again(asked, served, context=served.max_context + 1) in (False, None), asked
        if 0 < served.max_batch < LIMIT:
            assert again(asked, served, batch=served.max_batch) is True, asked
            assert again(asked, served, batch=served.max_batch + 1) in (False, None), asked
    assert answered > 0.4 * plans


def answer(capsys, *words):
    """The exit status with --check, and the JSON."""
    status = main([*words, "--check", "--json"])
    return status, json.loads(capsys.readouterr().out)


QWEN = ("serve", "Qwen/Qwen3-32B", "--engine", "vllm", "--engine-version", "0.11")


@pytest.mark.parametrize(
    ("words", "fits", "verdict", "cause"),
    [
        (("--context", "8192", "--on", "1x h200-141g"), True, "fits", None),
        (("--context", "most", "--on", "1x h100-80g"), True, "may_not_fit", "range at its upper end"),
        (("--context", "40960", "--on", "1x h100-80g"), False, "does_not_fit", "a device lacks"),
        (("--context", "8192", "--on", "1x rtx-4090"), False, "does_not_fit", "the weights alone take"),
        (("--context", "40961", "--on", "1x h200-141g"), True, "does_not_fit", "limit is 40,960 tokens"),
    ],
)
def test_three_verdicts(capsys, words, fits, verdict, cause):
    """--check is content with the first alone; the model's own limit counts, however much memory there is."""
    most = serve("Qwen/Qwen3-32B", engine="vllm", engine_version="0.11", context=1, on=words[-1]).max_context
    words = [str(most) if word == "most" else word for word in words]
    found, said = answer(capsys, *QWEN, *words)
    assert (found, said["fits"], said["verdict"]) == (verdict != "fits", fits, verdict)
    assert cause in said["cause"] if cause else said["cause"] is None
    assert main([*QWEN, *words]) == 0
    text = capsys.readouterr().out
    assert f"  {verdict.replace('_', ' ')}{': ' + said['cause'] if cause else ''}\n" in text


def test_without_a_machine_there_is_no_verdict(capsys):
    assert main([*QWEN, "--context", "99999", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [said[key] for key in ("fits", "verdict", "cause", "max_context", "max_batch")] == [None] * 5


def test_the_limit_is_that_of_one_sequence():
    """llama.cpp's context is that of all sequences: eight of 32,768 tokens are no more than Qwen3 knows."""
    asked = {
        "context": 262_144,
        "engine": "llama.cpp",
        "weights": "Q4_K_M",
        "on": "1x h200-141g + 64GiB host",
    }
    assert serve("Qwen/Qwen3-32B", batch=8, **asked).verdict == "fits"
    assert serve("Qwen/Qwen3-32B", batch=1, **asked).verdict == "does_not_fit"


def test_every_stage_is_asked():
    """The stage that holds most need not be the one that lacks something."""
    served = serve(
        "meta-llama/Meta-Llama-3.1-8B",
        context=128,
        batch=22_140,
        engine="sglang",
        pp=3,
        on="3x h20-141g",
        utilization=0.9,
    )
    assert served.fits == (served.max_batch >= 22_140) == (served.max_context >= 128)


def test_every_moment_is_asked():
    """Here most is held while a prompt is read, and most of the share after it."""
    lines = (
        Line(component="weights", name="a", bytes=50, moments=("prefill", "decode")),
        Line(component="activations", name="b", bytes=40, moments=("prefill",), outside=True),
        Line(component="kv_cache", name="c", bytes=10, moments=("prefill",)),
        Line(component="kv_cache", name="c", bytes=35, moments=("decode",), high=60),
        Line(component="runtime", name="d", bytes=1),
    )
    pool = PoolBudget(
        "gpu", 1, capacity_bytes=110, usable_bytes=80, lines=lines, moment_names=("prefill", "decode")
    )
    assert (pool.fullest, pool.total_bytes, pool.share_bytes) == ("prefill", 101, 86)
    assert (pool.room_bytes, pool.fits) == (-6, False)
    assert (pool.low_bytes, pool.high_bytes, pool.held("most_bytes")) == (101, 111, (111, 111))


def test_no_more_sequences_than_llama_cpp_has_room_for():
    served = serve(
        "Qwen/Qwen2.5-0.5B", context=1, engine="llama.cpp", on="2x rtx-4090", engine_options={"n_seq_max": 4}
    )
    assert served.max_batch == 4


# ---- what would fit ----


def told(capsys, command):
    """What a remedy's command says when it is run."""
    program, *words = shlex.split(command)
    assert program == "memcalc"
    assert main([*words, "--check", "--json"]) == 0, command
    return json.loads(capsys.readouterr().out)


def hold_remedies(capsys, served):
    assert len(served.remedies) <= 3
    for remedy in served.remedies:
        said = told(capsys, remedy.command)
        assert said["verdict"] == "fits", remedy
        devices_of = [pool["total_bytes"] for pool in said["pools"] if pool["name"] != "host"]
        assert max(devices_of) == remedy.total_bytes, remedy
        assert remedy.line in str(served)


NOT_FITTING = {
    "a smaller cache": ({"context": 40_960, "batch": 8, "on": "1x h200-141g"}, "the KV cache in fp8"),
    "smaller weights": ({"context": 8192, "on": "1x rtx-a6000"}, "weights in fp8"),
    "more devices": ({"context": 40_960, "on": "1x h100-80g"}, "2x h100-80g"),
    "fewer sequences": ({"context": 8192, "batch": 64, "on": "1x h200-141g"}, "a batch of "),
    "a shorter context": ({"context": 20_000, "prompt": 19_000, "on": "1x h100-80g"}, "a context"),
    "the model's own limit": ({"context": 50_000, "on": "1x h200-141g"}, "a context of 40,960 tokens"),
    "both": (
        {"context": 50_000, "on": "2x rtx-4090"},
        "a context of 40,960 tokens and weights in awq-int4-g128",
    ),
    "fewer tokens of smaller weights": (
        {"context": 40_960, "on": "1x rtx-4090"},
        "weights in awq-int4-g128 and a context of",
    ),
}


@pytest.mark.parametrize("name", NOT_FITTING)
def test_what_does_not_fit_is_answered_with_what_does(capsys, name):
    asked, words = NOT_FITTING[name]
    served = serve("Qwen/Qwen3-32B", engine="vllm", engine_version="0.11", **asked)
    assert served.verdict != "fits"
    assert any(one.words.startswith(words) for one in served.remedies), served.remedies
    hold_remedies(capsys, served)


def test_layers_and_experts_go_to_the_host(capsys):
    """The fewest that are enough; a host whose size was not said is made as large as it must be."""
    asked = {"context": 32_768, "engine": "llama.cpp", "on": "1x rtx-4090"}
    moe = serve("openai/gpt-oss-120b", **asked)
    experts = next(one for one in moe.remedies if one.words.startswith("the experts of "))
    assert "GiB of host memory" in experts.words
    hold_remedies(capsys, moe)
    dense = serve("Qwen/Qwen3-32B", weights="Q8_0", **asked | {"on": "1x rtx-4090 + 64GiB host"})
    layers = next(one for one in dense.remedies if "layers on the CPU" in one.words)
    hold_remedies(capsys, dense)
    kept = 65 - int(layers.words.split()[0])
    more = serve(
        "Qwen/Qwen3-32B",
        weights="Q8_0",
        engine_options={"n_gpu_layers": kept + 1},
        **asked | {"on": "1x rtx-4090 + 64GiB host"},
    )
    assert more.verdict != "fits"


def test_weights_are_offloaded_by_vllm(capsys):
    served = serve("Qwen/Qwen3-32B", context=8192, engine="vllm", engine_version="0.33", on="1x rtx-4090")
    assert any("of each device's weights in the host's memory" in one.words for one in served.remedies)
    hold_remedies(capsys, served)


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_has_an_answer(capsys, name):
    """Of a machine that is too small by far, with a host that is."""
    one = engine(name)
    on = "1x ascend-910b-64g" if name in ("vllm-ascend", "mindie") else "1x rtx-4090"
    served = serve(
        "Qwen/Qwen3-235B-A22B", context=8192, engine=name, on=on + (" + 32GiB host" if one.offloads else "")
    )
    assert served.verdict == "does_not_fit"
    assert served.remedies
    hold_remedies(capsys, served)


def test_what_fits_needs_no_remedy():
    served = serve("Qwen/Qwen3-32B", context=8192, on="1x h200-141g")
    assert (served.verdict, served.remedies) == ("fits", ())
    assert serve("Qwen/Qwen3-32B", context=8192).remedies == ()


@pytest.mark.slow
def test_every_remedy_of_many_plans_fits(request, capsys):
    found, plans = 0, 400 if request.config.getoption("full") else 50
    for _, served in drawn(plans):
        if served.verdict != "fits":
            found += bool(served.remedies)
            hold_remedies(capsys, served)
    assert found > 0.375 * plans


# ---- a training step ----

LLAMA = ("meta-llama/Meta-Llama-3.1-8B", "--seq", "4096")
QLORA = ("--lora-rank", "16", "--recompute", "full", "--quantize-base", "nf4", "--on", "1x rtx-4090")
QLORA += ("--autocast", "no")


@pytest.mark.parametrize(
    ("words", "fits", "verdict", "cause"),
    [
        ((*LLAMA, *QLORA), True, "fits", None),
        ((*LLAMA, "--micro-batch", "2", *QLORA), True, "may_not_fit", "range at its upper end"),
        ((*LLAMA, "--on", "1x rtx-4090"), False, "does_not_fit", "a device lacks"),
        (
            (*LLAMA, "--recompute", "full", "--offload", "optimizer", "--on", "1x h100-80g + 8GiB host"),
            False,
            "does_not_fit",
            "the host's memory lacks",
        ),
    ],
    ids=["fits", "may not", "does not", "host"],
)
def test_three_verdicts_of_a_step(capsys, words, fits, verdict, cause):
    """The upper end counts the allocator's reserve."""
    found, said = answer(capsys, "train", *words)
    assert (found, said["fits"], said["verdict"]) == (verdict != "fits", fits, verdict)
    assert cause in said["cause"] if cause else said["cause"] is None
    assert (said["high_bytes"] <= said["capacity_bytes"]) or verdict != "fits"
    assert main(["train", *words]) == 0
    assert (
        f"  {verdict.replace('_', ' ')}{': ' + said['cause'] if cause else ''}\n" in capsys.readouterr().out
    )


def test_a_step_without_a_machine_has_no_verdict(capsys):
    assert main(["train", *LLAMA, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [said[key] for key in ("fits", "verdict", "cause", "remedies")] == [None, None, None, []]
    assert main(["train", *LLAMA, "--check"]) == 2
    assert "add --on" in capsys.readouterr().err


STEPS = {
    "recomputation": (
        {"micro_batch": 2, "lora_rank": 16, "recompute": "none", "on": "1x h100-80g"},
        "full recomputation",
    ),
    "a smaller batch": (
        {
            "micro_batch": 4,
            "lora_rank": 16,
            "recompute": "full",
            "quantize_base": "nf4",
            "autocast": False,
            "on": "1x rtx-4090",
        },
        "a micro-batch of 1",
    ),
    "adapters": ({"on": "1x rtx-4090"}, "LoRA adapters of rank 16 on base weights in NF4"),
    "devices": ({"on": "1x h100-80g", "recompute": "full"}, "4x h100-80g with ZeRO stage 1"),
    "sharding": ({"on": "8x h100-80g", "world": 8, "recompute": "full"}, "ZeRO stage 1"),
    "an optimizer": (
        {"regime": "pure-bf16", "recompute": "full", "on": "1x 60GiB", "optimizer_step": "fused"},
        "AdamW in 8 bits",
    ),
    "megatron": (
        {"implementation": "megatron", "tp": 2, "world": 2, "on": "2x h100-80g"},
        "4x h100-80g with ZeRO stage",
    ),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_that_does_not_fit_is_answered_with_what_does(capsys, name):
    asked, words = STEPS[name]
    step = train(LLAMA[0], seq=4096, **asked)
    assert step.verdict != "fits"
    assert any(one.words.startswith(words) for one in step.remedies), step.remedies
    assert len(step.remedies) <= 3
    for remedy in step.remedies:
        said = told(capsys, remedy.command)
        assert (said["verdict"], said["device_bytes"]) == ("fits", remedy.total_bytes), remedy
        assert remedy.line in str(step)


def test_a_stage_without_attention_holds_any_number_of_tokens():
    """Of seven stages of a hybrid one has recurrent layers alone: it divides by no token's bytes."""
    served = serve(
        "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
        context=35_679,
        batch=74,
        weights="fp8",
        on="7x l4",
        pp=7,
        engine="sglang",
    )
    assert 0 < served.kv_pool.tokens < LIMIT


MAMBA2 = {  # sizes of state-spaces/mamba2-2.7b, Apache 2.0
    "model_type": "mamba2",
    "head_dim": 64,
    "hidden_size": 2560,
    "n_groups": 1,
    "num_heads": 80,
    "num_hidden_layers": 64,
    "state_size": 128,
    "tie_word_embeddings": True,
    "vocab_size": 50288,
}


@pytest.mark.parametrize(
    ("words", "unbounded"),
    [
        ("Qwen/Qwen3-8B --context 8192 --task embed --engine vllm --on h200", ["max_batch"]),
        ("config.json --context 4096 --engine sglang --on h100-80g", ["max_context", "tokens"]),
        ("mistralai/Mistral-7B-v0.1 --context 4096 --engine vllm --on h100-80g", ["max_context"]),
    ],
)
def test_json_has_null_where_memory_sets_no_limit(words, unbounded, capsys, tmp_path, monkeypatch):
    """And Python a number that compares: the end of the search."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(MAMBA2))
    assert main(["serve", *words.split(), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    pool = said["pools"][0]["kv_pool"] or {}
    largest = {"max_context": said["max_context"], "max_batch": said["max_batch"], "tokens": pool["tokens"]}
    assert [name for name, number in largest.items() if number is None] == unbounded
    assert all(number < LIMIT for number in largest.values() if number is not None)


def test_which_has_null_there_too(capsys):
    command = ["which", "mistralai/Mistral-7B-v0.1", "--context", "4096", "--engine", "vllm", "--json"]
    assert main(command) == 0
    rows = json.loads(capsys.readouterr().out)["machines"]
    assert None in {one["max_context"] for one in rows}
    assert all(one["max_context"] is None or one["max_context"] < LIMIT for one in rows)
