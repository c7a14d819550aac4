"""Sweeps of serving: every figure at each point is that of a single plan, and memory does not grow."""

from __future__ import annotations

import tracemalloc
from functools import cache

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, reject, settings, strategies as st

from memcalc.errors import BadInputError, MemcalcError
from memcalc.ledger.formats import GGUF_KV_FORMATS, KV_FORMATS
from memcalc.serving import serve
from memcalc.serving.engines import ENGINES

MODELS = [
    *("Qwen/Qwen3-32B", "Qwen/Qwen3-30B-A3B", "deepseek-ai/DeepSeek-V3.2", "openai/gpt-oss-120b"),
    *("google/gemma-3-27b-it", "Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4"),
]
MACHINES = {
    "llama.cpp": "2x h20-96g + 512GiB host",
    "ktransformers": "1x h20-96g + 1024GiB host",
    "vllm-ascend": "8x ascend-910b-64g",
    "mindie": "8x ascend-910b-64g",
}
# the only models that an engine may refuse here, by what the refusal says
FP8, WINDOW = "given 'fp8-block128'", "the window of some layers"
REFUSED = {"vllm-ascend": (FP8,), "mindie": (FP8, WINDOW)}
CONTEXTS = np.array([1, 15, 16, 17, 127, 128, 129, 1023, 4096, 32_768, 131_072])
BATCHES = np.array([[1], [3], [64]])
FIGURES = ("total_bytes", "low_bytes", "high_bytes", "share_bytes", "free_bytes", "room_bytes", "fits")


@cache
def single(model, engine, context, batch, options=()):
    return serve(model, context=context, batch=batch, engine=engine, **machine_of(engine), **dict(options))


def machine_of(engine):
    return {"on": MACHINES.get(engine, "8x h20-96g")}


def swept(model, engine, context, batch, **options):
    """A sweep, or a skip where the engine refuses the model."""
    asked = {"engine": engine, **machine_of(engine), **options}
    try:
        serve(model, context=131_072, batch=64, **asked)
    except MemcalcError as refusal:
        if not any(words in str(refusal) for words in REFUSED.get(engine, ())):
            raise
        pytest.skip(f"refused: {refusal}")
    return serve(model, context=context, batch=batch, **asked)


def hold(sweep, plans):
    """Each figure of a sweep against those of single plans, in the order of the points."""
    for pool in ("device", "host") if sweep.host is not None else ("device",):
        found, wanted = getattr(sweep, pool), [getattr(plan, pool) for plan in plans]
        for figure in FIGURES:
            expected = [getattr(one, figure) for one in wanted]
            assert np.ravel(getattr(found, figure)).tolist() == expected, (pool, figure)
        for name, sizes in found.components.items():
            assert sizes.ravel().tolist() == [one.components.get(name, 0) for one in wanted], (pool, name)
        assert {name for one in wanted for name in one.components} <= set(found.components)
        for name, sizes in found.moments.items():
            assert sizes.ravel().tolist() == [one.moments[name] for one in wanted], (pool, name)
    assert np.ravel(sweep.fits).tolist() == [plan.fits for plan in plans]
    assert sweep.cache_bytes.ravel().tolist() == [plan.cache_bytes for plan in plans]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("model", MODELS)
def test_a_sweep_is_the_single_plans_at_its_points(model, engine):
    sweep = swept(model, engine, CONTEXTS, BATCHES)
    points = [(int(context), int(batch)) for batch in BATCHES.ravel() for context in CONTEXTS]
    hold(sweep, [single(model, engine, *point) for point in points])
    assert sweep.device.total_bytes.dtype == np.int64
    assert sweep.device.total_bytes.shape == (3, 11)


POINTS = st.lists(st.tuples(st.integers(1, 200_000), st.integers(1, 64)), min_size=1, max_size=4)


@settings(max_examples=40, deadline=None)
@given(
    model=st.sampled_from(("Qwen/Qwen3-32B", "openai/gpt-oss-120b", "deepseek-ai/DeepSeek-V3")),
    engine=st.sampled_from(("transformers", "vllm", "llama.cpp", "ktransformers")),
    ranks=st.sampled_from(((), (("pp", 4), ("tp", 2)), (("tp", 4), ("dp", 2)))),
    points=POINTS,
)
def test_any_points_on_any_ranks(model, engine, ranks, points):
    """Stages differ, data-parallel ranks share sequences, and no two points need have the same fullest."""
    ranks = ranks if engine in ("transformers", "vllm") else ()
    contexts, batches = np.array(points).T
    try:
        plans = [single(model, engine, *point, ranks) for point in points]
    except MemcalcError:
        reject()
    asked = {"engine": engine, **machine_of(engine), **dict(ranks)}
    hold(serve(model, context=contexts, batch=batches, **asked), plans)


@pytest.mark.parametrize("kv", KV_FORMATS)
def test_every_format_of_a_cache(kv):
    hold(
        swept("Qwen/Qwen3-32B", "vllm", CONTEXTS, 3, kv=kv),
        [single("Qwen/Qwen3-32B", "vllm", int(context), 3, (("kv", kv),)) for context in CONTEXTS],
    )


@pytest.mark.parametrize("kv", [*GGUF_KV_FORMATS, "q8_0/q4_0"])
def test_every_format_of_llama_cpps_cache(kv):
    hold(
        swept("Qwen/Qwen3-32B", "llama.cpp", CONTEXTS, 3, kv=kv),
        [single("Qwen/Qwen3-32B", "llama.cpp", int(context), 3, (("kv", kv),)) for context in CONTEXTS],
    )


@pytest.mark.parametrize(
    ("engine", "options"),
    [
        ("transformers", {"prompt": 1}),
        ("transformers", {"prefill_chunk": 64}),
        ("vllm", {"engine_version": "0.24", "prompt": 1}),
        ("vllm", {"engine_version": "V0", "engine_options": (("max_num_batched_tokens", 4096),)}),
        ("vllm", {"engine_options": (("block_size", 128), ("enforce_eager", True))}),
        ("sglang", {"utilization": 0.7}),
        ("llama.cpp", {"engine_options": (("swa_full", False), ("kv_unified", True))}),
        ("llama.cpp", {"engine_options": (("n_gpu_layers", 10),), "pp": 1, "tp": 1}),
        ("ktransformers", {"weights": "Q4_K_M", "offload": "fp8", "engine_version": "0.2"}),
        ("ktransformers", {"weights": "Q4_K_M", "engine_options": (("gpu_experts", 2),)}),
    ],
    ids=str,
)
def test_the_options_of_a_plan_hold_in_a_sweep(engine, options):
    one = {"engine": engine, "on": MACHINES.get(engine, "8x h20-96g").replace("2x", "1x"), **options}
    found = serve("Qwen/Qwen3-30B-A3B", context=CONTEXTS, batch=3, **one)
    hold(found, [serve("Qwen/Qwen3-30B-A3B", context=int(context), batch=3, **one) for context in CONTEXTS])


def test_a_sweep_of_one_model_needs_no_machine_and_no_grid():
    """Without a machine there is no verdict; a batch alone may vary."""
    sweep = serve("Qwen/Qwen3-32B", context=4096, batch=np.array([1, 2, 3]))
    assert sweep.fits is sweep.device.fits is sweep.device.free_bytes is None
    grown = np.diff(sweep.device.components["kv_cache"]).tolist()
    assert grown == [262_144 * 4096] * 2


def test_a_host_of_unknown_size_leaves_only_the_devices_no():
    """However large the host is, a device that is too small stays so."""
    asked = {"engine": "ktransformers", "engine_version": "0.2", "on": "1x rtx-4090", "weights": "Q4_K_M"}
    contexts = np.array([4096, 10**9])
    plans = [serve("Qwen/Qwen3-32B", context=int(context), **asked) for context in contexts]
    sweep = serve("Qwen/Qwen3-32B", context=contexts, **asked)
    assert sweep.fits.tolist() == [plan.fits for plan in plans] == [True, False]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"context": np.array([0, 5])}, "--context: expected an array of whole numbers >= 1"),
        ({"batch": np.array([1.5])}, "--batch: expected an array of whole numbers >= 1"),
        ({"context": np.array([], dtype="int64")}, "--context: expected an array of whole numbers >= 1"),
        ({"context": np.arange(1, 4), "batch": np.arange(1, 3)}, "arrays of one shape"),
        ({"context": np.array([8, 64]), "prompt": 9}, "--prompt: expected at most --context 8"),
        ({"context": np.arange(8, 10), "engine_version": "4.38"}, "--engine-version: expected 4.46 or newer"),
        (
            {"context": np.arange(8, 10), "engine": "vllm", "engine_version": "0.6.4"},
            "--engine-version: expected 0.8 or newer in a sweep, or the option max_num_batched_tokens",
        ),
        (
            {"batch": np.arange(1, 9), "engine": "llama.cpp", "engine_options": {"n_seq_max": 4}},
            "--batch: expected at most n_seq_max, 4",
        ),
        ({"batch": np.arange(1, 999), "engine": "llama.cpp"}, "--batch: expected at most 256 sequences"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_sweep_cannot_do_is_refused_by_name(asked, says):
    with pytest.raises(BadInputError) as refused:
        serve("Qwen/Qwen3-32B", **{"context": 4096, **asked})
    assert says in str(refused.value)


@pytest.mark.parametrize("figure", ["max_context", "max_batch"])
def test_the_largest_is_a_question_to_single_plans(figure):
    sweep = serve("Qwen/Qwen3-32B", context=CONTEXTS, on="1x h100-80g")
    with pytest.raises(BadInputError, match="ask for single plans"):
        getattr(sweep, figure)


def test_sizes_beyond_64_bits_are_refused_and_those_below_are_exact():
    """2^18 B a token in 16 bits: 2^45 tokens are 2^63 B, a token less in fp8 is half of it."""
    most = 2**45 - 2**22
    below = serve("Qwen/Qwen3-32B", context=np.array([most]), kv="fp8", engine="vllm").device
    assert below.total_bytes.tolist() == [
        serve("Qwen/Qwen3-32B", context=most, kv="fp8", engine="vllm").device.total_bytes
    ]
    beyond = serve("Qwen/Qwen3-32B", context=np.array([1, 2**45]), on="1x h100-80g")
    for figure in ("total_bytes", "components", "moments", "fits"):
        with pytest.raises(BadInputError, match=r"below 2\^63 bytes"):
            getattr(beyond.device, figure)
    with pytest.raises(BadInputError, match=r"below 2\^63 bytes"):
        _ = beyond.cache_bytes


def test_memory_does_not_grow_with_the_points():
    """Beyond the arrays themselves a sweep of sixteen times the points takes no more."""
    beyond = []
    for number in (2**17, 2**21):
        contexts = np.arange(1, number + 1)
        sweep = serve("Qwen/Qwen3-32B", context=contexts, batch=7, on="2x rtx-a6000")
        tracemalloc.start()
        found = sweep.device.high_bytes
        beyond.append(tracemalloc.get_traced_memory()[1] - found.nbytes)
        tracemalloc.stop()
    assert beyond[1] < 1.5 * beyond[0]


def test_dask_arrays_are_worked_out_block_by_block():
    contexts, batches = da.arange(1, 1001, chunks=100), da.from_array(BATCHES, chunks=2)
    sweep = serve("openai/gpt-oss-120b", context=contexts, batch=batches, engine="vllm", on="8x h20-96g")
    known = serve(
        "openai/gpt-oss-120b", context=np.arange(1, 1001), batch=BATCHES, engine="vllm", on="8x h20-96g"
    )
    assert isinstance(sweep.device.total_bytes, da.Array)
    assert (sweep.device.total_bytes.compute() == known.device.total_bytes).all()
    assert (sweep.fits.compute() == known.fits).all()


def test_a_sweep_says_how_many_points_it_has():
    sweep = serve("Qwen/Qwen3-32B", context=CONTEXTS, batch=BATCHES, on="2x rtx-a6000")
    title = "Qwen/Qwen3-32B: a sweep of 3 x 11 points, weights bf16, transformers 5.24"
    assert repr(sweep).splitlines()[0] == title
    assert title in sweep._repr_html_()
