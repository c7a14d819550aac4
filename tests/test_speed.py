"""Budgets of CPU time: what loads at start-up, what an answer costs, what an estimate and a sweep cost.

Everything is CPU time, not wall time: other work on the machine (pytest's second worker) makes a program
wait, and waiting is not counted. It still slows what runs beside it, so a figure is a ratio of medians of
interleaved pairs, this program and a yardstick in turn; and as a median of few pairs may lie on the wrong
side of a limit by chance, more pairs are taken before a test fails, never after it passed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial
from statistics import median

import pytest

from memcalc.cli.command import serve_fields
from memcalc.errors import BadInputError
from memcalc.files.sources import catalogue, load_model
from memcalc.ledger.tensor import Tensor
from memcalc.serving.engines import ENGINES
from memcalc.serving.estimate import plan

BARE = ("-c", "pass")
USUAL = ("-c", "import argparse, dataclasses, json")
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


def at_most(limit, measured):
    """Hold (tested, yardstick) against the limit; if the medians of few samples exceed it, take more."""
    samples = []
    for more in (7, 14, 28):
        samples += [measured() for _ in range(more)]
        tested, yardstick = (median(column) for column in zip(*samples, strict=True))
        if tested <= limit * yardstick:
            return
    pytest.fail(f"{tested / yardstick:.3g} x the yardstick, allowed {limit}")


def costs_at_most(limit, root, arguments, yardstick):
    cpu_seconds(root, arguments)  # the first run may compile
    at_most(limit, lambda: (cpu_seconds(root, arguments), cpu_seconds(root, yardstick)))


def test_import_loads_nothing_heavy(root):
    said = subprocess.run(
        [sys.executable, "-c", "import sys, memcalc; memcalc.plan; print(*sys.modules)"],
        capture_output=True,
        check=True,
        cwd=root,
        text=True,
    )
    assert not HEAVY & set(said.stdout.split())


def test_import_costs_little(root):
    costs_at_most(1.6, root, ("-c", "import memcalc"), BARE)


@pytest.mark.slow
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_at_the_shell(root, name, form):
    costs_at_most(2.5 if name == "train" else 2, root, ("-m", "memcalc", *ANSWERS[name], *form), USUAL)


TENSORS = 1310  # took a millisecond on the machine on which the limits were set


def a_millisecond():
    """Work as memcalc does it, and as much of it as there was time for in a millisecond.

    Beside it limits in milliseconds hold on another machine, and while a neighbour slows this one down.
    """
    found = {}
    for index in range(TENSORS):
        tensor = Tensor("weight", (index, 8), "matrix")
        found[tensor.name, tensor.shape] = tensor.copies * tensor.each
    return found


def milliseconds_of(work):
    """CPU time of some work, and of a millisecond of the machine on which the limits were set."""
    return seconds_of(work), seconds_of(a_millisecond)


def seconds_of(work):
    start = time.process_time()
    work()
    return time.process_time() - start


# the only models of the catalogue that an engine may refuse, by what the refusal says
FP8 = "given 'fp8"
REFUSED = {"sglang": "a model whose layers see all tokens", "vllm-ascend": FP8, "mindie": FP8}


def is_answered(name, engine):
    try:
        plan(name, context=8192, on="2x h20-96g", engine_name=engine)
    except BadInputError as refusal:
        if REFUSED.get(engine, "nothing") not in str(refusal):
            raise
        return False
    return True


def estimate(name, engine):
    """Everything that --json says, the largest context and batch too."""
    serve_fields(plan(name, context=8192, on="2x h20-96g", engine_name=engine))


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_full_estimate(request, engine):
    """Each model in less than 3 ms: all in turn with one yardstick; alone what seems slow, or --full."""
    found = {name: partial(estimate, name, engine) for name in catalogue() if is_answered(name, engine)}
    assert found
    rounds = []
    for _ in range(5):
        yardstick = min(seconds_of(a_millisecond) for _ in range(3))
        rounds.append({name: seconds_of(work) / yardstick for name, work in found.items()})
    for name, work in found.items():
        if request.config.getoption("full") or median(taken[name] for taken in rounds) > 2:
            at_most(3, partial(milliseconds_of, work))


@pytest.mark.parametrize("name", ["Qwen/Qwen3-32B", "deepseek-ai/DeepSeek-V3"])
def test_a_sweep_of_a_million_points(name):
    numpy = pytest.importorskip("numpy")
    model, contexts = load_model(name), numpy.arange(1, 10**6 + 1)

    def sweep():
        return sum(tensor.count for tensor in model.cache(8, contexts))

    held = sweep()
    assert held[-1] == sum(tensor.count for tensor in model.cache(8, 10**6))
    assert held.shape == contexts.shape
    at_most(100, lambda: milliseconds_of(sweep))
