"""What vLLM's kernels for MXFP4 experts add to the weights: they round a rank's matrices up.

A rank's inner width and the hidden width become multiples, by kernel. On top of that Triton's layout for
Hopper grows what it rearranges, which was measured. Which kernel runs depends on the device, the version and
what is installed: the usual one of the device gives the middle, all that may run there the ends.

Source: vllm-project/vllm, model_executor/layers/quantization/mxfp4.py (create_weights, get_mxfp4_backend),
read 2026-11. A log of eight RTX PRO 4500 Blackwell has 9.98 GiB a rank (vllm-project/vllm#51590).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from memcalc.data.constants import VLLM_MXFP4_PADDING, Measured
from memcalc.ledger.formats import FORMATS, tensor_bytes
from memcalc.ledger.parts.kinds import is_moe
from memcalc.ledger.tensor import ceil_div
from memcalc.serving.engines.base import ALWAYS, cuda_evidence, measured_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.files.machines import Device
    from memcalc.ledger.budget import Line
    from memcalc.serving.engines.base import RankContext

__all__ = ["MXFP4", "Kernel", "expert_padding"]

MXFP4 = "mxfp4"


class Kernel(NamedTuple):
    """What a kernel rounds a rank's inner width and the hidden width up to, and thousandths on top of it."""

    name: str
    inner: int
    hidden: int
    grows: tuple[int, int, int] = (0, 0, 0)


TRITON = Kernel("Triton", 64, 1, VLLM_MXFP4_PADDING[:3])
HOPPER = Kernel("FlashInfer on Hopper", 128, 128)
MARLIN = Kernel("Marlin", 128, 256)
BLACKWELL = Kernel("FlashInfer on Blackwell", 256, 256)
BY_CAPABILITY = {  # the usual one first
    "9": (TRITON, HOPPER, MARLIN),
    "10": (BLACKWELL, TRITON, MARLIN),
    "12": (MARLIN, BLACKWELL),
}


def kernels(device: Device | None) -> tuple[Kernel, ...]:
    """Return the kernels that may run on a device, the usual one first; on an unknown one all may."""
    if device is None:
        return TRITON, HOPPER, MARLIN, BLACKWELL
    if device.capability is None:  # ROCm rounds as Blackwell does
        return BLACKWELL, TRITON
    return BY_CAPABILITY.get(device.capability.partition(".")[0], (MARLIN,))


def padded_bytes(rank: RankContext, kernel: Kernel) -> tuple[int, int, int]:
    """Return the bytes of a rank's experts as a kernel lays them out: the least, the usual, the most."""
    ranks, size = rank.parallelism, 0
    for layer in rank.stage.groups:
        for _, part in layer.parts:
            if is_moe(part):
                inner = ceil_div(part.expert_width, ranks.expert_tp)
                width = ceil_div(inner, kernel.inner) * kernel.inner
                seen = part.width if part.latent is None else part.latent
                hidden = ceil_div(seen, kernel.hidden) * kernel.hidden
                matrices = 3 * ceil_div(part.experts, ranks.ep)
                size += layer.times * matrices * FORMATS[MXFP4].bytes(rows=width, columns=hidden)
    low, usual, high = (size * (1000 + more) // 1000 for more in kernel.grows)
    return low, usual, high


def expert_padding(rank: RankContext, usual: Kernel | None = None) -> Iterator[Line]:
    """Yield what MXFP4 experts grow by when they are laid out for the kernel; `usual` is an engine's own."""
    if MXFP4 not in rank.formats:
        return
    tensors = (tensor for tensor in rank.stage.weights() if rank.rule(tensor).id == MXFP4)
    stored = sum(tensor_bytes(rank.parallelism.on_rank(tensor), rank.rule(tensor)) for tensor in tensors)
    possible = kernels(rank.device) if usual is None else (usual, *kernels(rank.device))
    sizes = [padded_bytes(rank, kernel) for kernel in possible]
    low, high = min(one[0] for one in sizes) - stored, max(one[2] for one in sizes) - stored
    names = ", ".join(f"{one.name} {one.inner} x {one.hidden}" for one in possible)
    share = VLLM_MXFP4_PADDING
    yield measured_line(
        "padding of MXFP4 experts",
        Measured(low, sizes[0][1] - stored, high, f"vllm mxfp4.py; {share.source}", share.date),
        formula=f"{stored} B of experts, rounded up by {names}",
        evidence=cuda_evidence(rank),
        component="weights",
        moments=ALWAYS,
    )
