"""What vLLM adds, by version, device and ranks, against logs and its source."""

import pytest

from memcalc.data.constants import GIB
from memcalc.serving import serve

GPT_OSS = "openai/gpt-oss-120b"


def weights(served):
    """Return the weights of a device in GiB: the least, the usual, the most."""
    lines = [line for line in served.device.lines if line.component == "weights"]
    return [sum(getattr(line, end) for line in lines) / GIB for end in ("least_bytes", "bytes", "most_bytes")]


def test_mxfp4_on_eight_blackwell_workstation_cards():
    """9.98 GiB a rank in vllm#51590; which kernel gave it was not printed."""
    low, usual, high = weights(serve(GPT_OSS, context=8, engine="vllm", tp=8, on="8x rtx-pro-6000-blackwell"))
    assert low == usual < 9.98 < high


def test_mxfp4_on_b200():
    """A rank's 360 become 512, the hidden 2,880 become 3,072."""
    _, usual, high = weights(serve(GPT_OSS, context=8, engine="vllm", tp=8, on="8x b200"))
    assert usual == pytest.approx(11.35, abs=0.01)
    assert usual == high


def test_mxfp4_whole_on_one_h100():
    """64.38 GiB in vllm#33155 (0.14.1)."""
    low, usual, high = weights(
        serve(GPT_OSS, context=8, engine="vllm", engine_version="0.14.1", on="1x h100-80g")
    )
    assert low < 64.38 < high
    assert usual == pytest.approx(64.38, rel=0.003)


def test_mxfp4_with_whole_experts_is_not_cut():
    """With expert parallelism the inner width stays 2,880: Blackwell's multiple of it is 3,072."""
    padding = {}
    for ep in (1, 8):
        served = serve(GPT_OSS, context=8, engine="vllm", tp=8, ep=ep, on="8x b200")
        (line,) = (line for line in served.device.lines if line.name == "padding of MXFP4 experts")
        padding[ep] = line.bytes
    experts = 36 * 16 * 3 * 2880 * 2880 * 17 // 32
    assert padding[8] == 36 * 16 * 3 * 3072 * 3072 * 17 // 32 - experts
    assert padding[1] > padding[8]
