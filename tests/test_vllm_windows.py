"""What each release of vLLM keeps in layers with windows: never less than it does, and never less of more."""

from __future__ import annotations

import pytest

from memcalc import serve
from memcalc.errors import BadInputError, MemcalcError
from memcalc.files.catalogue import catalogue
from memcalc.files.sources import source
from memcalc.serving.engines.ascend import VLLMAscend
from memcalc.serving.engines.vllm import VLLM

GIB = 2**30
WINDOWED = [name for name in catalogue() if source(name).model.windows]
UNIFIED = "disable_hybrid_kv_cache_manager"


def cache_bytes(model, context, release, engine="vllm", **asked):
    """Return the bytes of the cache of a plan."""
    served = serve(model, context=context, engine=engine, engine_version=release, **asked)
    return served.device.components["kv_cache"]


@pytest.mark.parametrize(
    ("model", "context", "batch", "release", "expected"),
    [
        ("google/gemma-3-27b-it", 100_000, 1, "V0", 62 * 2 * 16 * 128 * 2 * 100_000),
        ("google/gemma-3-27b-it", 32_768, 1, "0.8.5", 62 * 2 * 16 * 128 * 2 * 32_768),
        ("google/gemma-3-12b-it", 32_768, 1, "0.9.0.1", 48 * 2 * 8 * 256 * 2 * 32_768),
        ("google/gemma-2-27b-it", 8192, 4, "0.8", 46 * 2 * 16 * 128 * 2 * 8192 * 4),
    ],
)
def test_before_groups_of_layers_all_keep_all_tokens(model, context, batch, release, expected):
    """vllm-project/vllm#14097: regarded as full attention alone; #17996 is first in 0.9.1."""
    assert cache_bytes(model, context, release, batch=batch) == expected
    small = {"engine_options": {"max_num_batched_tokens": 2048}}
    assert cache_bytes(model, context, "0.9.1", batch=batch, **small) < expected


@pytest.mark.parametrize("release", ["0.9.1", "0.11", "0.20", "0.33"])
def test_the_flag_takes_the_groups_away(release):
    """config/vllm.py, disable_hybrid_kv_cache_manager, and what it does to layers of one kind: nothing."""
    asked = {"engine_options": {UNIFIED: True}}
    whole = 62 * 2 * 16 * 128 * 2 * 32_768
    assert cache_bytes("google/gemma-3-27b-it", 32_768, release, **asked) == whole
    plain = "mistralai/Mistral-7B-v0.1", 32_768, release
    assert cache_bytes(*plain, **asked) == cache_bytes(*plain)


def test_offloading_the_cache_needs_the_flag_before_0_21():
    """kv_connector/factory.py: its connector has no groups before, and the server does not start without."""
    asked = {"on": "1x h100 + 1TiB host", "engine_options": {"kv_offloading_size": 16}}
    model = "openai/gpt-oss-20b", 65_536
    flagged = {**asked, "engine_options": {"kv_offloading_size": 16, UNIFIED: True}}
    assert cache_bytes(*model, "0.20", **asked) == cache_bytes(*model, "0.20", **flagged)
    assert cache_bytes(*model, "0.21", **asked) < cache_bytes(*model, "0.20", **asked)
    with pytest.raises(BadInputError, match=r"kv_offloading_size: expected none before 0.21"):
        serve("Qwen/Qwen3.6-27B", context=8192, engine="vllm", engine_version="0.20", **asked)
    line = serve(model[0], context=8192, engine="vllm", engine_version="0.20", **asked).launch_line
    assert "--disable-hybrid-kv-cache-manager" in line


def test_gemma_2_is_capped_at_its_window_before_0_6_5():
    """vllm-project/vllm#10584."""
    with pytest.raises(BadInputError, match=r"--context: expected at most 4096, the window"):
        cache_bytes("google/gemma-2-9b-it", 8192, "0.6.4")
    assert cache_bytes("google/gemma-2-9b-it", 4096, "0.6.4") == 42 * 2 * 8 * 256 * 2 * 4096
    assert cache_bytes("google/gemma-2-9b-it", 8192, "0.6.5") == 42 * 2 * 8 * 256 * 2 * 8192
    served = serve("google/gemma-2-9b-it", context=4096, engine="vllm", engine_version="0.6.4")
    assert served.plan.model.max_context == 4096


def test_npus_have_windows_since_0_14():
    """vllm-ascend, worker/model_runner_v1.py: even where all layers have one."""
    for model in ("google/gemma-3-27b-it", "mistralai/Mistral-7B-v0.1"):
        old, new = (cache_bytes(model, 32_768, release, "vllm-ascend") for release in ("0.13", "0.14"))
        assert new < old
    assert old == 32 * 2 * 8 * 128 * 2 * 32_768


def test_mindie_is_refused_where_its_windows_would_matter():
    with pytest.raises(BadInputError, match=r"--context: expected at most 1024, the window"):
        serve("google/gemma-3-27b-it", context=1025, engine="mindie")
    assert serve("google/gemma-3-27b-it", context=1024, engine="mindie")


@pytest.mark.slow
@pytest.mark.parametrize("engine", [VLLM, VLLMAscend])
@pytest.mark.parametrize("model", WINDOWED)
def test_more_tokens_never_take_less_and_what_fits_has_room_in_the_pool(request, model, engine):
    """Where all layers keep all tokens, the pool that it prints has as many as fit.

    Of every third release, the newest among them; with --full of each.
    """
    step = -1 if request.config.getoption("full") else -3
    machine = "2x h100-80g" if engine is VLLM else "1x ascend-910b-64g"
    answered = 0
    for release in list(engine.versions)[::step]:
        before = 0
        for context in (1024, 4096, 8192, 32_768, 40_000, 131_072):
            try:
                served = serve(model, context=context, engine=engine.id, engine_version=release, on=machine)
            except MemcalcError:
                continue
            answered += 1
            held = served.device.components["kv_cache"]
            assert held >= before, (release, context)
            before = held
            if served.fits:
                assert served.kv_pool.concurrency >= 1, (release, context)
            if "all_tokens" in served.plan.engine_options:
                assert served.fits == (served.kv_pool.tokens >= context) or served.plan.beyond_limit
    refused = engine is VLLMAscend and "gemma-4" in model.lower()  # pages of two sizes, or another format
    assert (answered == 0) == refused
