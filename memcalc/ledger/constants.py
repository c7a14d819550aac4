"""Measured numbers, each at home once: what no shape decides, as a range with its source and its date."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Measured"]


class Measured(NamedTuple):
    """A measured number: its lower end, what is typical, its upper end, and who measured it when."""

    low: int
    typical: int
    high: int
    source: str
    date: str


# ---- training ----------------------------------------------------------------------------------------------

MB, KIB, MIB = 10**6, 2**10, 2**20

# from lazy loading of kernels to all of them loaded
TRAINING_CUDA_CONTEXT = Measured(
    300 * MB, 500 * MB, 1000 * MB, "pytorch/pytorch#107667 and published logs", "2026-11"
)
TRAINING_COMMUNICATORS = Measured(500 * MB, 800 * MB, 1600 * MB, "NVIDIA/nccl#964, #864, #1685", "2026-11")

# per cent: of the two rows that set it one lies 8 % above the sum, one is bound by its device
TRAINING_RESERVE_PERCENT = Measured(
    -8, 0, 8, "https://github.com/foundation-model-stack/fms-acceleration, refs/a100_80gb.csv", "2025-02"
)

# per cent of what layers keep: 9.0 GiB of 29.8 were not kept in a published pair of runs
TRAINING_FUSED_AWAY_PERCENT = Measured(
    0,
    0,
    31,
    "https://github.com/meta-pytorch/torchtune, README at bd2a0fc7: 60.0 GiB, compiled 51.0 GiB",
    "2024-11",
)

# bytes a number of a bucket: two buckets of 16 bits, one on its way while the other is filled
ZERO_BUCKETS = Measured(
    0, 0, 4, "https://github.com/deepspeedai/DeepSpeed, runtime/zero/stage_1_and_2.py", "2026-11"
)
ZERO_BUCKET_NUMBERS = 5 * 10**8  # DeepSpeed's defaults of reduce_bucket_size and allgather_bucket_size

# What PyTorch has allocated after a step beyond what is derived: workspaces of cuBLAS and of Transformer
# Engine, and what is not listed. The smallest, the median and the largest of those of Megatron-LM's
# functional tests that have dense layers or latent attention, on A100, H100 and GB200: the record of training
# runs calls them calibration. One H100 run is left out (gpt3_7b_tp1_pp4_memory_speed: 1,377 MiB, and nothing
# of the plan explains them).
MEGATRON_TESTS = "NVIDIA/Megatron-LM d98e8a64, functional tests", "2026-08-22"
MEGATRON_WORKSPACE = {  # by the generation of CUDA's capability
    8: Measured(68 * MIB, 81 * MIB, 96 * MIB, *MEGATRON_TESTS),
    9: Measured(96 * MIB, 106 * MIB, 137 * MIB, *MEGATRON_TESTS),
    10: Measured(48 * MIB, 97 * MIB, 126 * MIB, *MEGATRON_TESTS),
}

# Workspaces of one thread, as their sources size them. cuBLAS: pytorch/pytorch v2.13,
# aten/src/ATen/cuda/CublasHandlePool.cpp, :4096:2:16:8, from capability 9.0 on :4096:8; published runs on
# A100 show 15 to 18 MB. Transformer Engine: transformer_engine/pytorch/cpp_extensions/gemm.py, one a stream.
TRAINING_CUBLAS_WORKSPACE = (2 * 4096 + 8 * 16) * KIB
TRAINING_CUBLAS_WORKSPACE_HOPPER = 8 * 4096 * KIB
TRANSFORMER_ENGINE_WORKSPACE, TRANSFORMER_ENGINE_WORKSPACE_HOPPER = 4 * MIB, 32 * MIB
TRANSFORMER_ENGINE_STREAMS = 4
