"""Sweeps: exact at every point, in memory that does not grow with them, and block by block with Dask."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import dask.array as da
import numpy as np
import pytest

from memcalc.errors import BadInputError
from memcalc.files.api import model as load_model
from memcalc.formula import derive, formula, lift, symbols
from memcalc.ledger import sweep
from memcalc.ledger.tensor import ceil_div, count, greatest, least
from memcalc.serving import serve
from memcalc.training.api import train

LLAMA = "meta-llama/Meta-Llama-3.1-8B"
B, T = symbols("batch context")
h, f = symbols("width ffn_width")


@pytest.fixture(scope="module")
def cache():
    """The cache of a model with windows, and the numbers in it."""
    lifted = lift(load_model("google/gemma-3-27b-it"))
    return derive(lifted.model.cache(B, T)), lifted.numbers


def peak(work):
    """The bytes that some work held at once, beyond its result."""
    tracemalloc.start()
    result = work()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most - result.nbytes


def plans(points, **options):
    """The work that finds the peak memory of one plan at many points."""
    numbers = {"seq": 128 + 8 * (np.arange(points) % 10**5), "micro_batch": 1 + np.arange(points) % 16}
    return lambda: train(LLAMA, **numbers, **options).allocated_bytes


def values(expression, **numbers):
    """The work that finds the values of a formula."""
    return lambda: formula(expression).sweep(**numbers)


# Slices.


@pytest.mark.parametrize(
    "shapes", [((50,), (50,)), ((5, 1), (1, 10)), ((), (50,)), ((5, 10), (10,)), ((1,), ())]
)
def test_slices_are_the_whole(cache, monkeypatch, shapes):
    expression, numbers = cache
    batch, context = (
        1 + 97 * np.arange(np.prod(shape, dtype=int)).reshape(shape) * step
        for shape, step in zip(shapes, (1, 13), strict=True)
    )
    whole = expression.sweep(batch=batch, context=context, **numbers)
    monkeypatch.setattr(sweep, "SLICE", 7)
    assert np.array_equal(expression.sweep(batch=batch, context=context, **numbers), whole)
    assert whole.shape == np.broadcast_shapes(*shapes)
    assert whole.dtype == np.int64
    for x, y, found in zip(*(one.flat for one in np.broadcast_arrays(batch, context, whole)), strict=True):
        assert expression.value(batch=int(x), context=int(y), **numbers) == found


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "uint64", ">i4"])
def test_slices_are_worked_out_in_64_bits(monkeypatch, dtype):
    monkeypatch.setattr(sweep, "SLICE", 7)
    numbers = np.arange(100, 127).astype(dtype)[::-2]
    assert formula(h**3 * f).sweep(width=numbers, ffn_width=numbers).tolist() == [
        int(n) ** 4 for n in numbers
    ]


def test_slices_of_plans_are_the_plans(monkeypatch):
    whole = plans(100)()
    monkeypatch.setattr(sweep, "SLICE", 7)
    assert plans(100)().tolist() == whole.tolist()


@pytest.mark.parametrize(
    "work",
    [
        plans,
        lambda points: plans(points, recompute="full", world=2, cp=2),
        lambda points: values(12 * h**2 * f + ceil_div(h, f), width=1 + np.arange(points), ffn_width=3),
        lambda points: values(
            h * f, width=np.arange(1, 11)[:, None], ffn_width=1 + np.arange(points // 10)[None, :]
        ),
    ],
    ids=["plan", "plan of shared sequences", "formula", "formula on a grid"],
)
def test_memory_does_not_grow_with_the_points(work):
    """Beyond the result: ten times the points need no more, where one array of them has 8 MB."""
    work(100)()  # what is loaded once does not count
    few, many = peak(work(10**5)), peak(work(10**6))
    assert many - few < 2**19


# Blocks.


def test_dask_is_loaded_by_whoever_brings_it(root):
    program = (
        "import sys, numpy as np, memcalc; from memcalc.formula import formula, symbol;"
        "formula(symbol('width')).sweep(width=np.arange(1, 5));"
        "memcalc.train('Qwen/Qwen3-0.6B', seq=np.arange(1, 5)).allocated_bytes; print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root
    )
    assert "numpy" in done.stdout.split()
    assert "dask" not in done.stdout.split()


def test_a_formula_by_blocks(cache):
    expression, numbers = cache
    batch, context = np.arange(1, 41)[:, None], 64 * np.arange(1, 51)[None, :]
    expected = expression.sweep(batch=batch, context=context, **numbers)
    lazy = expression.sweep(
        batch=da.from_array(batch, chunks=(16, 1)), context=da.from_array(context, chunks=(1, 20)), **numbers
    )
    assert isinstance(lazy, da.Array)
    assert lazy.dtype == np.int64
    assert lazy.numblocks == (3, 3)
    assert np.array_equal(lazy.compute(), expected)
    mixed = expression.sweep(batch=batch, context=da.from_array(context, chunks=(1, 20)), **numbers)
    assert np.array_equal(mixed.compute(), expected)


def test_blocks_are_worked_out_by_two_workers(cache):
    """Formulas and plans travel to other processes."""
    expression, numbers = cache
    context = np.arange(1, 1001)
    lazy = expression.sweep(batch=8, context=da.from_array(context, chunks=500), **numbers)
    plan = train(LLAMA, seq=da.from_array(context, chunks=500), micro_batch=2)
    found = da.compute(lazy, plan.allocated_bytes, scheduler="processes", num_workers=2)
    assert np.array_equal(found[0], expression.sweep(batch=8, context=context, **numbers))
    assert np.array_equal(found[1], train(LLAMA, seq=context, micro_batch=2).allocated_bytes)


def test_a_block_is_refused_when_it_is_computed():
    lazy = formula(h * f).sweep(width=da.from_array(np.array([2**40, 0]), chunks=1), ffn_width=2**20)
    assert lazy[0].compute() == 2**60
    with pytest.raises(BadInputError, match=r"width: expected an array of whole numbers >= 1"):
        lazy.compute()
    with pytest.raises(BadInputError, match="2\\^63"):
        formula(h * f).sweep(width=da.from_array(np.array([2**40]), chunks=1), ffn_width=2**23).compute()


@pytest.mark.parametrize("operation", [least, greatest, ceil_div])
def test_tensor_arithmetic_stays_lazy(operation):
    numbers = np.arange(1, 30)
    lazy = da.from_array(numbers, chunks=10)
    for a, b in ((lazy, 7), (7, lazy), (lazy, lazy[::-1]), (lazy, numbers[::-1])):
        found = operation(a, b)
        assert isinstance(found, da.Array)
        alone = operation(*(x.compute() if isinstance(x, da.Array) else x for x in (a, b)))
        assert np.array_equal(found.compute(), alone)


def test_the_cache_of_a_model_by_blocks():
    model, contexts = load_model("google/gemma-3-27b-it"), np.arange(1, 5000, 7)
    lazy = count(model.cache(8, da.from_array(contexts, chunks=100)))
    assert isinstance(lazy, da.Array)
    assert np.array_equal(lazy.compute(), count(model.cache(8, contexts)))


@pytest.mark.parametrize(
    "options", [{}, {"recompute": "full", "world": 8, "shard": 3}, {"world": 2, "cp": 2}]
)
def test_a_training_plan_by_blocks(options):
    seq, batch = 128 * np.arange(1, 101), 1 + np.arange(100) % 16
    swept = train(LLAMA, seq=seq, micro_batch=batch, **options)
    lazy = train(
        LLAMA, seq=da.from_array(seq, chunks=30), micro_batch=da.from_array(batch, chunks=45), **options
    )
    assert isinstance(lazy.allocated_bytes, da.Array)
    assert np.array_equal(lazy.allocated_bytes.compute(), swept.allocated_bytes)
    components = lazy.at("loss")
    assert {name: size.compute().tolist() for name, size in components.items()} == {
        name: size.tolist() for name, size in swept.at("loss").items()
    }


@pytest.mark.parametrize("engine", ["transformers", "vllm", "llama.cpp"])
def test_a_serving_plan_by_blocks(engine):
    context, batch = 128 * np.arange(1, 41), np.arange(1, 5)[:, None]
    whole = serve("Qwen/Qwen3-0.6B", context=context, batch=batch, engine=engine, on="1x h100-80g")
    lazy = serve(
        "Qwen/Qwen3-0.6B",
        context=da.from_array(context, chunks=15),
        batch=batch,
        engine=engine,
        on="1x h100-80g",
    )
    assert isinstance(lazy.device.total_bytes, da.Array)
    assert np.array_equal(lazy.device.total_bytes.compute(), whole.device.total_bytes)
    assert np.array_equal(lazy.device.fits.compute(), whole.device.fits)
