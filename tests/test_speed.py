"""Budgets of CPU time: what loads at start-up, what an answer costs, what an estimate and a sweep cost."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from itertools import product
from statistics import median
from time import process_time

import numpy as np
import pytest

from memcalc.cli.serve import fields as serve_fields
from memcalc.errors import BadInputError, UnknownNameError
from memcalc.files.api import model as load_model
from memcalc.files.catalogue import catalogue
from memcalc.formula import derive, lift, symbols
from memcalc.serving import serve
from memcalc.serving.engines import ENGINES
from memcalc.training.api import train
from tests.yardstick import a_millisecond, at_most, milliseconds_of, seconds_of

BARE = ("-c", "pass")
USUAL = ("-c", "import argparse, dataclasses, json, typing")  # what any typed program for the shell loads
HEAVY = {"sympy", "numpy", "pandas", "matplotlib", "huggingface_hub"}

DEEPSEEK = ["deepseek-ai/DeepSeek-V3", "--context", "8192", "--max-context", "--max-batch"]
ANSWERS = {
    "model": ["model", "Qwen/Qwen3-32B"],
    "serve": ["serve", "Qwen/Qwen3-32B", "--context", "8192", "--on", "2x rtx-a6000"],
    "serve everything": ["serve", *DEEPSEEK, "--on", "16x h20-96g", "--tp", "16", "--engine", "vllm"],
    "serve a mix": ["serve", "deepseek-ai/DeepSeek-R1", "--context", "8192", "--weights", "Q4_K_M"],
    "train": ["train", "Qwen/Qwen3-32B", "--seq", "4096"],
}

pytestmark = pytest.mark.skipif(not hasattr(os, "wait4"), reason="CPU time of a child needs POSIX")


def cpu_seconds(root, arguments):
    """CPU time of a whole process in an empty environment."""
    with subprocess.Popen([sys.executable, *arguments], env={}, cwd=root, stdout=subprocess.DEVNULL) as child:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return usage.ru_utime + usage.ru_stime


def costs_at_most(limit, root, arguments, yardstick):
    cpu_seconds(root, arguments)  # the first run may compile
    at_most(limit, lambda: (cpu_seconds(root, arguments), cpu_seconds(root, yardstick)))


def test_import_loads_nothing_heavy(root):
    said = subprocess.run(
        [sys.executable, "-c", "import sys, memcalc; memcalc.serve; print(*sys.modules)"],
        capture_output=True,
        check=True,
        cwd=root,
        text=True,
    )
    assert not HEAVY & set(said.stdout.split())


# what a plan of a dense model on no machine has no use for
NOT_FOR_A_PLAIN_PLAN = (
    *("ledger.parts.experts", "ledger.parts.latent", "ledger.parts.mamba", "ledger.parts.recurrent"),
    *("serving", "training.beside.evaluation", "training.methods", "training.remedies"),
    *("training.autograd.by_type", "training.gathering", "training.together", "training.trainers"),
)


def test_a_plain_plan_loads_nothing_that_it_has_no_use_for(root):
    asked = f"from memcalc.__main__ import main; main({ANSWERS['train']})"
    said = subprocess.run(
        [sys.executable, "-c", f"import sys; {asked}; print(*sys.modules, file=sys.stderr)"],
        capture_output=True,
        check=True,
        cwd=root,
        text=True,
    )
    loaded = set(said.stderr.split())
    assert "memcalc.training.estimate" in loaded
    assert not loaded & {f"memcalc.{name}" for name in NOT_FOR_A_PLAIN_PLAN}


def test_import_costs_little(root):
    costs_at_most(1.6, root, ("-c", "import memcalc"), BARE)


@pytest.mark.slow
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_at_the_shell(root, name, form):
    costs_at_most(2, root, ("-m", "memcalc", *ANSWERS[name], *form), USUAL)


# the only models of the catalogue that an engine may refuse, by what the refusal says
FP8 = "given 'fp8"
CHUNKS = "a model without chunked attention"
SHARED = "a model whose layers have a cache of their own"
HEADS = "a divisor of the model's"  # SmolLM2 has 9 heads, and 15
GROUPS, PAGES = "groups of heads that share its inputs", "layers whose tokens take the same bytes"
REFUSED = {
    "vllm": (GROUPS, HEADS),
    "sglang": (GROUPS, HEADS, SHARED),
    "ktransformers": (GROUPS, HEADS, SHARED),
    "vllm-ascend": (FP8, GROUPS, HEADS, PAGES, CHUNKS, "keys of which whole blocks"),
    "mindie": (FP8, GROUPS, HEADS, PAGES, CHUNKS, "without recurrent states", "the window of some layers"),
    "llama.cpp": ("its names in GGUF are not known", "a method that llama.cpp's converter unpacks"),
}
ON = {"vllm-ascend": "2x ascend-910b-64g", "mindie": "2x ascend-910b-64g"}


def is_answered(name, engine):
    try:
        serve(name, context=8192, on=ON.get(engine, "2x h20-96g"), engine=engine)
    except (BadInputError, UnknownNameError) as refusal:
        if not any(words in str(refusal) for words in REFUSED.get(engine, ())):
            raise
        return False
    return True


def estimate(name, engine):
    """Everything that --json says of a plan, the largest context and batch too."""
    serve_fields(serve(name, context=8192, on=ON.get(engine, "2x h20-96g"), engine=engine))


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_full_estimate(request, engine):
    """Each model in less than 3 ms: all in turn with one yardstick; alone what seems slow, or --full."""
    found = {name: partial(estimate, name, engine) for name in catalogue() if is_answered(name, engine)}
    assert found
    rounds = []
    for _ in range(3):
        yardstick = min(seconds_of(a_millisecond, process_time) for _ in range(3))
        rounds.append({name: seconds_of(work, process_time) / yardstick for name, work in found.items()})
    for name, work in found.items():
        if request.config.getoption("full") or median(taken[name] for taken in rounds) > 2:
            at_most(3, partial(milliseconds_of, work))


@pytest.mark.parametrize("name", ["Qwen/Qwen3-32B", "deepseek-ai/DeepSeek-V3"])
def test_a_sweep_of_a_million_points(name):
    model, contexts = load_model(name), np.arange(1, 10**6 + 1)

    def sweep():
        return sum(tensor.count for tensor in model.cache(8, contexts))

    held = sweep()
    assert held[-1] == sum(tensor.count for tensor in model.cache(8, 10**6))
    assert held.shape == contexts.shape
    at_most(100, lambda: milliseconds_of(sweep))


SWEPT = [
    ("Qwen/Qwen3-32B", "vllm"),
    ("deepseek-ai/DeepSeek-V3.2", "vllm"),
    ("openai/gpt-oss-120b", "transformers"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("points", "limit"), [(10**6, 100), (10**7, 1200)])
@pytest.mark.parametrize(("name", "engine"), SWEPT)
def test_serving_plans_at_many_points(name, engine, points, limit):
    """One plan, on one stage or on five that differ, at as many contexts and batches."""
    contexts, batches = np.arange(1, points + 1), 1 + np.arange(points) % 64
    served = serve(name, context=contexts, batch=batches, engine=engine, on="8x h20-96g")
    assert served.device.total_bytes.shape == (points,)
    at_most(limit, lambda: milliseconds_of(lambda: served.device.total_bytes), rounds=(3, 6, 12))


def test_a_formula_at_a_million_points():
    lifted = lift(load_model("Qwen/Qwen3-32B"))
    cache = derive(lifted.model.cache(*symbols("batch context")))
    grid = {"batch": np.arange(1, 1001)[:, None], "context": 64 * np.arange(1, 1001)[None, :]}
    assert cache.sweep(**grid, **lifted.numbers).size == 10**6
    at_most(100, lambda: milliseconds_of(lambda: cache.sweep(**grid, **lifted.numbers)))


@pytest.mark.slow
@pytest.mark.parametrize(("points", "limit"), [(10**6, 500), (10**7, 1500)])
def test_training_plans_at_many_points(points, limit):
    """Twelve plans, and as many batches and sequences of each as make up the points."""
    number = np.arange(points // 12 + 1)
    numbers = {"seq": 128 + 8 * number % 2**20, "micro_batch": 1 + number % 16}
    ways = list(product(("none", "selective", "full"), (0, 1, 2, 3)))

    def swept():
        plans = (
            train("meta-llama/Meta-Llama-3.1-8B", **numbers, recompute=recompute, shard=shard, world=8)
            for recompute, shard in ways
        )
        return sum(plan.allocated_bytes.size for plan in plans)

    assert swept() >= points
    at_most(limit, lambda: milliseconds_of(swept), rounds=(3, 6, 12))
