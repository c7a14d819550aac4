"""Measured numbers, each at home once: what no shape decides, as a range with its source and its date."""

from __future__ import annotations

from typing import NamedTuple

from memcalc.data.units import GB, GIB, MB, MIB

__all__ = ["Measured"]


class Measured(NamedTuple):
    """A measured number: its lower end, what is typical, its upper end, and who measured it when."""

    low: int
    typical: int
    high: int
    source: str
    date: str


def in_gib(low: float, typical: float, high: float, source: str, date: str) -> Measured:
    """Return a number that was measured in GiB, in bytes."""
    return Measured(int(low * GIB), int(typical * GIB), int(high * GIB), source, date)


# ---- Serving: what engines take on top of all that follows from shapes, in bytes ----

CUDA_SOURCE = "pytorch/pytorch#107667: a CUDA context with lazy loading, and before CUDA 11.7"
SPEED_BENCHMARK = "QwenLM/Qwen3@a912d23 docs/source/benchmark/speed_benchmark.rst (A100, transformers 4.46)"
PLANNER = "llm-d-incubation/llm-d-planner docs/empirical-vllm-memory-results.md (H100 80 GB, 0.11)"
SWEEP = "jgchn/llm-d-planner accuracy/results (H100 80 GB, logs of 0.15 to 0.19)"

TRANSFORMERS_CUDA_CONTEXT = Measured(300 * MB, 300 * MB, 1000 * MB, CUDA_SOURCE, "read 2026-11")
# what eight rows of the table show on top of all that is derived: the least, the mean, the most
TRANSFORMERS_UNEXPLAINED = Measured(-2 * MIB, 10 * MIB, 35 * MIB, SPEED_BENCHMARK, "2024-11")
# thousandths of the prompt's cache, on top of it
TRANSFORMERS_AUTOAWQ = Measured(
    0,
    0,
    125,
    "QwenLM/Qwen3 docs/source/getting_started/speed_benchmark.md (H20, transformers 4.51.3): Qwen3-8B in AWQ",
    "2025-05",
)

# hundredths of a byte that the sampler needs for an entry of the vocabulary and a sequence of the profile run
VLLM_0_11_SAMPLER = Measured(3837, 3898, 3959, f"{PLANNER}: Qwen3-0.6B, Llama-3.3-70B", "2026-04")
VLLM_V0_SAMPLER = Measured(3837, 3898, 4121, f"{PLANNER}; the end: vllm#10511 (Meta-Llama-3-8B)", "2026-04")
VLLM_0_17_SAMPLER = Measured(1483, 1547, 1611, f"{SWEEP}: gemma-2-2b, Llama-3.3-70B on 4", "2026-04")
# from 0.29 on: since 2026-07 one copy of 4 bytes is fewer in the source, and no log tells
VLLM_0_29_SAMPLER = Measured(1083, 1547, 1611, f"{SWEEP}; the lower end: vllm#48641", "2026-07")
# hundredths of what the tokens of the profile run take by their count of numbers
VLLM_0_11_TOKENS = Measured(
    100,
    100,
    100,
    "vllm-project/vllm#10517 (RTX 3090, 0.6.4: 2.07 and 2.99 GiB for 20,000 and 29,000 tokens a pass)",
    "read 2026-11",
)
VLLM_0_17_TOKENS = Measured(100, 100, 112, f"{SWEEP}: CodeLlama-7b (0.77 GiB)", "2026-04")
# outside PyTorch's allocator, on a rank that is alone and on one that talks to others; the ends are those of
# all versions, for no version has been measured on more than a few machines
V0_LOGS = "vLLM logs: vllm#13882 (RTX 4060, 0.7), vllm#10517 (RTX 3090, 0.6.4), vllm#10511 (0.6.5)"
VLLM_V0_NON_TORCH = in_gib(0.03, 0.35, 1.79, V0_LOGS, "read 2026-11")
VLLM_V0_NON_TORCH_ON_RANKS = in_gib(
    0.2, 1.96, 3.58, "vllm#14447 (16 x RTX 3090, 0.8), vllm#10909 (2 x H100), vllm#10511", "read 2026-11"
)
VLLM_0_11_NON_TORCH = in_gib(0.03, 0.14, 1.79, f"{PLANNER}; ends: {V0_LOGS}", "read 2026-11")
VLLM_0_11_NON_TORCH_ON_RANKS = in_gib(
    0.2, 0.54, 3.58, f"{PLANNER}; ends: vllm#14447 (16 x RTX 3090, 0.8), vllm#10511", "read 2026-11"
)
VLLM_0_17_NON_TORCH = in_gib(0.03, 0.25, 1.79, f"{SWEEP}: Llama-3.1-8B; ends: older versions", "2026-04")
VLLM_0_17_NON_TORCH_ON_RANKS = in_gib(
    0.2, 2.1, 3.58, f"{SWEEP}: Llama-3.3-70B on 2; ends: older versions", "2026-04"
)
# thousandths of what is asked to lie in the host's memory: pinned memory is rounded up to powers of two
VLLM_WEIGHT_OFFLOAD = Measured(1000, 1900, 2000, "vllm-project/vllm#56410 (QwQ-32B-AWQ), #58185", "2026-09")
VLLM_KV_OFFLOAD = Measured(
    1000, 1925, 2000, "vllm-project/vllm#53042 (0.26: 200 and 400 GiB), #50094", "2026-08"
)
# each further group of ranks that talks
NCCL_COMMUNICATOR = Measured(0, 500 * MB, 1000 * MB, "NVIDIA/nccl#964, #864, #1685", "read 2026-11")
# captured CUDA graphs; below 0 capturing freed more than it took
VLLM_0_11_GRAPHS = in_gib(
    -0.88,
    0.1,
    2.41,
    f"{PLANNER}: Qwen3-32B, Qwen3-0.6B; vllm#7553 (4 x RTX 4090, 0.5.4: 2,464 MiB)",
    "2026-04",
)
VLLM_0_17_GRAPHS = in_gib(
    0.51, 0.91, 1.85, f"{SWEEP}: Llama-3.1-8B in 4 stages and alone, Llama-3.3-70B on 2", "2026-04"
)
VLLM_0_21_GRAPHS = in_gib(
    0.09,
    0.91,
    2.41,
    f"{SWEEP}; noonghunna/club-3090#434 (0.09), gpustack/runner#251 (0.36); the end: vllm#7553",
    "2026-08",
)
# where experts are spread over several devices: the end is open, and the most that is known
VLLM_GRAPHS_OF_SHARED_EXPERTS = in_gib(
    0.09, 0.91, 63.99, "vllm#57936 (8 x B200: 57.45 GiB estimated, 63.99 captured)", "2026-09"
)
# on an NPU: a row with the parts that the server prints; the upper ends are CUDA's
NPU_ROW = "vllm-project/vllm-ascend#8289 (910B 64 GB: 0.22, 0.13 and 0.04 GiB, Qwen3-0.6B)"
VLLM_ASCEND_SAMPLER = Measured(593, 607, 1611, NPU_ROW, "2026-04")
VLLM_ASCEND_NON_TORCH = in_gib(0.03, 0.13, 1.79, NPU_ROW, "2026-04")
# two logs of the same device: 60.97 and 61.27 GiB
NPU_VISIBLE = in_gib(-0.3, 0, 0, "vllm-project/vllm-ascend#1987, 2025-07, and #8289", "2026-04")
VLLM_ASCEND_GRAPHS = in_gib(0.02, 0.04, 1.85, NPU_ROW, "2026-04")
# thousandths by which experts in MXFP4 grow when they are laid out for the kernel
VLLM_MXFP4_PADDING = Measured(
    63, 65, 83, f"{PLANNER}; {SWEEP}: gpt-oss-120b, gpt-oss-20b (0.11), gpt-oss-20b (0.19)", "2026-04"
)

SGLANG_LOGS = "logs of sgl-project.github.io (H100, 0.4.2 and 0.5)"
# outside PyTorch's allocator before weights are loaded, on one device and on several
SGLANG_NON_TORCH = in_gib(0.37, 0.5, 0.82, f"{SGLANG_LOGS}; jerryzsj/my-deepseek-r1 (RTX 3090)", "2025-08")
SGLANG_NON_TORCH_ON_RANKS = in_gib(
    0.84,
    2.1,
    3.81,
    f"{SGLANG_LOGS}; vllm-project/vllm#21348 (4 x H100); 8 x MI355X, ajith-sirra-amd/Issues",
    "2026-02",
)
SGLANG_LOADING = in_gib(0.11, 0.12, 0.13, SGLANG_LOGS, "2025-08")
SGLANG_LOADING_AMD = in_gib(0.09, 0.1, 0.13, "sgl-project/sglang#18263 (MI355X)", "2026-07")
SGLANG_GRAPHS = in_gib(
    0.06, 0.9, 1.85, f"least: SGLang's own logs for 4 sequences; else as vLLM's, {SWEEP}", "2026-04"
)
# rows of the table that says where each token of each request lies
SGLANG_REQUESTS = Measured(
    2048, 2048, 4096, "sgl-project/sglang mem_cache/memory_pool.py, ReqToTokenPool: int32", "2026-11"
)

# what its breakdown on exit cannot account for: 451, 456 and 456 MiB on each of three RTX 4090; the ends are
# those of any program's context
LLAMA_CPP_CUDA_CONTEXT = Measured(
    300 * MB,
    456 * MIB,
    1000 * MB,
    f"ggml-org/llama.cpp#15860 (RTX 4090), 2025-09; {CUDA_SOURCE}",
    "read 2026-11",
)

# on top of modules and cache: Kimi-K2.5 with 5 experts on the device and with 1, DeepSeek-R1. The last cache
# is 17 pages of 64 tokens: a prompt of 25, and 1,000 new ones (ktransformers/models/custom_cache.py).
KTRANSFORMERS_RUNTIME = Measured(
    2_580 * MB,
    2_820 * MB,
    3_640 * MB,
    "kvcache-ai/ktransformers#1817 (Kimi-K2.5: 39 and 31 GB), 2026-02; "
    "#275 (DeepSeek-R1: 13,535 MiB with 1,000 new tokens), 2025-02",
    "2026-02",
)
# on top of the mapped file: DeepSeek-R1 asks for 382 of 376.65 GiB, Qwen3-235B took 160 of 142.1 GB
KTRANSFORMERS_HOST = Measured(
    0,
    5 * GB,
    18 * GB,
    "kvcache-ai/ktransformers doc/en/install.md (382 GiB); README at cb5617b4 (160 GB)",
    "2025-04",
)


# ---- training ----------------------------------------------------------------------------------------------

KIB = 2**10

# from lazy loading of kernels to all of them loaded
TRAINING_CUDA_CONTEXT = Measured(
    300 * MB, 500 * MB, 1000 * MB, "pytorch/pytorch#107667 and published logs", "2026-11"
)
# what vLLM's sleep mode leaves on the device: 0.27 GiB of 19.78 stayed; 774 MiB of a process, 2,440 with tp 2
TRAINING_ENGINE_ASLEEP = Measured(
    int(0.27 * GIB), 774 * MIB, 2440 * MIB, "vllm-project/vllm#17117, NVIDIA-NeMo/RL#223", "2025-04"
)
TRAINING_COMMUNICATORS = Measured(500 * MB, 800 * MB, 1600 * MB, "NVIDIA/nccl#964, #864, #1685", "2026-11")

# per cent: of the rows that set it one lies 8 % above the sum, one 12 % below, and one is bound by its device
TRAINING_RESERVE_PERCENT = Measured(
    -12, 0, 8, "https://github.com/foundation-model-stack/fms-acceleration, refs/a100_80gb.csv", "2025-02"
)

# per cent of what is held for a while and as long as the tokens: logits, the loss, the layer that runs again.
# Where lengths vary, each longer micro-batch than all before takes segments of its own, and those of the ones
# before stay; nothing derives how many there are. Rows of two models set it, those of others test it.
TRAINING_VARYING_PERCENT = Measured(
    160, 347, 499, "https://github.com/modelscope/ms-swift, docs/source_en/LLM/Benchmark.md", "2024-06"
)
# the same with expandable segments: one run of which both are published, 10.83 GiB and 16.39
TRAINING_EXPANDABLE_PERCENT = Measured(
    100, 150, 214, "https://github.com/meta-pytorch/torchtune/issues/1185", "2024-07-16"
)

# per cent of what layers keep: 9.0 GiB of 29.8 were not kept in a published pair of runs
TRAINING_FUSED_AWAY_PERCENT = Measured(
    0,
    0,
    31,
    "https://github.com/meta-pytorch/torchtune, README at bd2a0fc7: 60.0 GiB, compiled 51.0 GiB",
    "2024-11",
)

# a process that trains, in the host's memory: CUDA alone, with what PyTorch loads for it, and a Trainer of
# transformers with its data
TRAINING_HOST_PROCESS = Measured(
    438_632 * 1024,
    2_056_600 * 1024,
    4080 * MB,
    "pytorch/pytorch#113326 (/usr/bin/time -v), 2023-11; huggingface/peft#76 (bloomz-7b1 on an A100)",
    "2023-02",
)
# what else runs on the machine: nothing in a container with a limit of its own, 62.6 - 59.1 GiB of a desktop;
# the upper end is what Kubernetes keeps for it on a machine of that size (memcalc.training.host)
TRAINING_HOST_SYSTEM = in_gib(
    0,
    3.5,
    3.5,
    "ollama/ollama#10739 (Debian), 2025-05; the upper end: cloud.google.com/kubernetes-engine/docs/concepts/"
    "plan-node-sizes",
    "2026-12",
)
# bytes a number that ZeRO-2 with its optimizer on the host was seen to take on top of master copy, gradients,
# moments and 16-bit copies: 28 - 18, of which 2 have been mended since
ZERO_OFFLOAD_UNEXPLAINED = Measured(0, 0, 8, "deepspeedai/DeepSpeed#7693, #7689", "2025-11")

# bytes a number of a bucket: two buckets of 16 bits, one on its way while the other is filled
ZERO_BUCKETS = Measured(
    0, 0, 4, "https://github.com/deepspeedai/DeepSpeed, runtime/zero/stage_1_and_2.py", "2026-11"
)
ZERO_BUCKET_NUMBERS = 5 * 10**8  # DeepSpeed's defaults of reduce_bucket_size and allgather_bucket_size
# DeepSpeed's defaults of stage3_max_live_parameters (which configs of others repeat), of sub_group_size, by
# which the step goes, and of stage3_param_persistence_threshold: deepspeed/runtime/zero/config.py, 0.19.6
ZERO_3_LIVE_NUMBERS = ZERO_3_STEP_NUMBERS = 10**9
ZERO_3_PERSISTENT_NUMBERS = 10**5

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
