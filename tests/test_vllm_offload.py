"""vLLM's offload: what leaves a device, and how much more of the host's memory takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from memcalc.errors import MemcalcError
from memcalc.serving import serve

if TYPE_CHECKING:
    from memcalc.ledger.budget import Line
    from memcalc.serving import ServingEstimate

GIB = 2**30
QWEN = "Qwen/Qwen3-32B"
NEW = {"engine": "vllm", "engine_version": "0.28"}


def asked(**options: int) -> dict[str, object]:
    """A plan with these options of the engine."""
    return {"context": 4096, "engine_options": options, **NEW}


def host_line(served: ServingEstimate, name: str) -> Line:
    """A line of the host."""
    assert served.host is not None
    (line,) = [line for line in served.host.lines if line.name.startswith(name)]
    return line


def test_a_cache_in_the_host_takes_what_was_measured() -> None:
    """413,390,602,240 bytes for 200 GiB, on one node whatever its ranks: vllm#53042."""
    for tp in (1, 4):
        served = serve(QWEN, tp=tp, **asked(kv_offloading_size=200))  # type: ignore[arg-type]
        line = host_line(served, "offloaded KV cache")
        assert (line.low, line.bytes, line.high) == (200 * GIB, 413_390_602_240, 400 * GIB)
        bare = serve(QWEN, tp=tp, **asked())  # type: ignore[arg-type]
        assert bare.host is None
        assert served.device.total_bytes == bare.device.total_bytes


def test_weights_leave_the_device() -> None:
    """20 GiB of each, at least; the host holds about 1.9 times as much for every rank (vllm#56410)."""
    served, bare = (serve(QWEN, tp=2, **asked(cpu_offload_gb=number)) for number in (20, 0))  # type: ignore[arg-type]
    assert bare.device.components["weights"] - served.device.components["weights"] == 20 * GIB
    line = host_line(served, "offloaded weights")
    assert (line.low, line.bytes, line.high) == (40 * GIB, 40 * GIB * 19 // 10, 80 * GIB)
    (off,) = [line for line in served.device.lines if line.name == "offloaded to the host"]
    assert off.low is not None
    assert 0 < -20 * GIB - off.low <= 2 * 25_600 * 5120 * 2  # gate and up are one parameter


def test_no_more_leaves_than_there_is() -> None:
    """Embedding and head stay."""
    served = serve("Qwen/Qwen3-0.6B", **asked(cpu_offload_gb=100))  # type: ignore[arg-type]
    (off,) = [line for line in served.device.lines if line.name == "offloaded to the host"]
    assert off.bytes == off.low == -2 * (596_049_920 - 151_936 * 1024 - 1024)


def test_it_makes_a_large_model_fit() -> None:
    """Qwen3-32B on a card of 48 GiB, with memory in the host that is large enough, or is not."""
    plan = {**asked(cpu_offload_gb=24), "context": 4096}
    assert serve(QWEN, on="rtx-a6000", **asked()).fits is False  # type: ignore[arg-type]
    assert serve(QWEN, on="rtx-a6000 + 64GiB host", **plan).fits  # type: ignore[arg-type]
    small = serve(QWEN, on="rtx-a6000 + 32GiB host", **plan)  # type: ignore[arg-type]
    assert small.fits is False
    assert small.max_context == 0
    unknown = serve(QWEN, on="rtx-a6000", **plan)  # type: ignore[arg-type]
    assert unknown.fits is True
    assert unknown.max_context is not None
    assert unknown.search.fits(1, unknown.max_context)
    assert not unknown.search.fits(1, unknown.max_context + 16)


def test_a_sweep_is_its_plans() -> None:
    contexts = np.array([1000, 70_000])
    plan = asked(cpu_offload_gb=10, kv_offloading_size=30)
    swept = serve(QWEN, **{**plan, "context": contexts})  # type: ignore[arg-type]
    for at, context in enumerate(contexts):
        one = serve(QWEN, **{**plan, "context": int(context)})  # type: ignore[arg-type]
        assert one.device.total_bytes == swept.device.total_bytes[at]
        assert one.host is not None
        assert swept.host is not None
        assert one.host.total_bytes == np.broadcast_to(swept.host.total_bytes, contexts.shape)[at]


def test_what_is_refused() -> None:
    with pytest.raises(MemcalcError, match="--engine-option cpu_offload_gb"):
        serve(QWEN, **asked(cpu_offload_gb=-1))  # type: ignore[arg-type]
    with pytest.raises(MemcalcError, match="or newer with kv_offloading_size"):
        serve(QWEN, **{**asked(kv_offloading_size=8), "engine_version": "0.10"})  # type: ignore[arg-type]
