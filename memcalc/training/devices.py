"""What training needs of a device: kernels that some of them do not have.

Source, read 2026-12: huggingface.co/docs/bitsandbytes 0.50, installation (NVIDIA, AMD, Intel, Gaudi, Apple;
LLM.int8 from capability 7.5 on). Dao-AILab/flash-attention, README.md: Ampere or newer, ROCm; what it says on
a T4 stands in huggingface.co/OpenGVLab/Mini-InternVL-Chat-2B-V1-5, discussion 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memcalc.files.machines import Device

__all__ = ["runs_bitsandbytes", "runs_flash"]

FLASH, INT8 = (8, 0), (7, 5)  # CUDA's capability from which on they run


def runs_flash(device: Device) -> bool:
    """Say whether FlashAttention runs on a device.

    >>> from memcalc.files.machines import devices
    >>> [runs_flash(devices()[name]) for name in ("t4", "a100-80g", "mi300x", "m4-max-128g")]
    [False, True, True, False]
    """
    from memcalc.serving.engines.platforms import APPLE, capability_of, platform_of

    found = capability_of(device)
    return platform_of(device) != APPLE and (found is None or found >= FLASH)


def runs_bitsandbytes(device: Device, *, in_8_bits: bool = False) -> bool:
    """Say whether bitsandbytes runs on a device, or its products in 8 bits do.

    >>> from memcalc.files.machines import devices
    >>> [runs_bitsandbytes(devices()[name], in_8_bits=True) for name in ("v100-32g", "t4", "tpu-v6e")]
    [False, True, False]
    """
    from memcalc.serving.engines.platforms import HUAWEI, capability_of, platform_of

    found = capability_of(device)
    known = platform_of(device) not in ("TPUs", HUAWEI)
    return known and not (in_8_bits and found is not None and found < INT8)
