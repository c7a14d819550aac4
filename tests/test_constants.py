"""Measured constants, written out by hand: a number that is changed here by mistake is seen."""

from __future__ import annotations

import pytest

from memcalc.data import constants
from memcalc.serving import serve
from memcalc.training.autograd import IMPLEMENTATIONS

MIB = 1_048_576

# ---- training: lower end, typical, upper end, how the source begins ----------------------------------------

TRAINING = {
    "TRAINING_CUDA_CONTEXT": (300_000_000, 500_000_000, 1_000_000_000, "pytorch/pytorch#107667"),
    "TRAINING_ENGINE_ASLEEP": (289_910_292, 774 * MIB, 2440 * MIB, "vllm-project/vllm#17117"),
    "TRAINING_COMMUNICATORS": (500_000_000, 800_000_000, 1_600_000_000, "NVIDIA/nccl#964"),
    "TRAINING_RESERVE_PERCENT": (-12, 0, 8, "https://github.com/foundation-model-stack/fms-acceleration"),
    "TRAINING_FUSED_AWAY_PERCENT": (0, 0, 31, "https://github.com/meta-pytorch/torchtune"),
    "TRAINING_HOST_PROCESS": (449_159_168, 2_105_958_400, 4_080_000_000, "pytorch/pytorch#113326"),
    "TRAINING_HOST_SYSTEM": (0, 3_758_096_384, 3_758_096_384, "ollama/ollama#10739"),
    "ZERO_OFFLOAD_UNEXPLAINED": (0, 0, 8, "deepspeedai/DeepSpeed#7693"),
    "TRAINING_VARYING_PERCENT": (160, 347, 499, "https://github.com/modelscope/ms-swift"),
    "TRAINING_EXPANDABLE_PERCENT": (100, 150, 214, "https://github.com/meta-pytorch/torchtune/issues/1185"),
    "ZERO_BUCKETS": (0, 0, 4, "https://github.com/deepspeedai/DeepSpeed, runtime/zero/stage_1_and_2.py"),
}
MEGATRON = {
    8: (71_303_168, 84_934_656, 100_663_296),
    9: (100_663_296, 111_149_056, 143_654_912),
    10: (50_331_648, 101_711_872, 132_120_576),
}


@pytest.mark.parametrize("name", TRAINING)
def test_a_measured_constant_of_training_is_what_was_measured(name):
    low, typical, high, source = TRAINING[name]
    found = getattr(constants, name)
    assert found[:3] == (low, typical, high)
    assert found.source.startswith(source)
    assert found.date.startswith("20")


@pytest.mark.parametrize("generation", MEGATRON)
def test_workspaces_of_megatron_are_those_of_its_tests(generation):
    found = constants.MEGATRON_WORKSPACE[generation]
    assert found[:3] == MEGATRON[generation]
    assert found[3:] == ("NVIDIA/Megatron-LM d98e8a64, functional tests", "2026-08-22")


def test_every_generation_of_megatrons_workspaces_is_pinned():
    assert set(constants.MEGATRON_WORKSPACE) == set(MEGATRON)


def test_constants_that_sources_state():
    """DeepSpeed's buckets and what it lets live; workspaces as cuBLAS and Transformer Engine size them."""
    assert constants.ZERO_BUCKET_NUMBERS == 500_000_000
    assert constants.ZERO_3_LIVE_NUMBERS == constants.ZERO_3_STEP_NUMBERS == 1_000_000_000
    assert constants.ZERO_3_PERSISTENT_NUMBERS == 100_000
    assert constants.TRAINING_CUBLAS_WORKSPACE == 8_519_680
    assert constants.TRAINING_CUBLAS_WORKSPACE_HOPPER == 32 * MIB
    assert constants.TRANSFORMER_ENGINE_WORKSPACE == 4 * MIB
    assert constants.TRANSFORMER_ENGINE_WORKSPACE_HOPPER == 32 * MIB
    assert constants.TRANSFORMER_ENGINE_STREAMS == 4


def test_workspaces_of_transformers_are_one_two_or_four_of_cublas():
    """Where no device is named nothing is counted, and four of the smaller ones are the upper end."""
    workspace = IMPLEMENTATIONS["transformers"].workspace
    assert workspace("8.0")[:3] == (8_519_680, 17_039_360, 34_078_720)
    assert workspace("9.0")[:3] == (33_554_432, 67_108_864, 134_217_728)
    assert workspace("10.0")[:3] == (8_519_680, 67_108_864, 134_217_728)
    assert workspace(None)[:3] == (0, 0, 34_078_720)


def test_workspaces_of_megatron_on_a_device_that_is_not_named_span_all_of_them():
    workspace = IMPLEMENTATIONS["megatron"].workspace
    assert workspace(None)[:3] == (48 * MIB, 97 * MIB, 137 * MIB)
    assert workspace("7.0")[:3] == workspace(None)[:3]


# ---- serving: lower end, typical, upper end, how the source begins, when -----------------------------------

CUDA, PLANNER, SWEEP = "pytorch/pytorch#107667", "llm-d-incubation/llm-d-planner docs/", "jgchn/llm-d-planner"
LOGS = "logs of sgl-project.github.io (H100, 0.4.2 and 0.5)"
SERVING = {
    "TRANSFORMERS_CUDA_CONTEXT": (300_000_000, 300_000_000, 1_000_000_000, CUDA, "read 2026-11"),
    "TRANSFORMERS_UNEXPLAINED": (-2_097_152, 10_485_760, 36_700_160, "QwenLM/Qwen3@a912d23 docs/", "2024-11"),
    "TRANSFORMERS_AUTOAWQ": (0, 0, 125, "QwenLM/Qwen3 docs/source/getting_started/", "2025-05"),
    "VLLM_0_11_SAMPLER": (3837, 3898, 3959, PLANNER, "2026-04"),
    "VLLM_0_11_TOKENS": (100, 100, 100, "vllm-project/vllm#10517", "read 2026-11"),
    "VLLM_V0_NON_TORCH": (32_212_254, 375_809_638, 1_921_997_864, "vLLM logs: vllm#13882", "read 2026-11"),
    "VLLM_V0_NON_TORCH_ON_RANKS": (
        *(214_748_364, 2_104_533_975, 3_843_995_729, "vllm#14447 (16 x RTX 3090", "read 2026-11"),
    ),
    "VLLM_0_11_NON_TORCH": (32_212_254, 150_323_855, 1_921_997_864, PLANNER, "read 2026-11"),
    "VLLM_0_11_NON_TORCH_ON_RANKS": (*(214_748_364, 579_820_584, 3_843_995_729, PLANNER, "read 2026-11"),),
    "VLLM_0_11_GRAPHS": (-944_892_805, 107_374_182, 2_587_717_795, PLANNER, "2026-04"),
    "VLLM_0_29_SAMPLER": (1083, 1547, 1611, SWEEP, "2026-07"),
    "VLLM_V0_SAMPLER": (3837, 3898, 4121, PLANNER, "2026-04"),
    "VLLM_0_17_SAMPLER": (1483, 1547, 1611, SWEEP, "2026-04"),
    "VLLM_0_17_TOKENS": (100, 100, 112, SWEEP, "2026-04"),
    "VLLM_0_17_NON_TORCH": (32_212_254, 268_435_456, 1_921_997_864, SWEEP, "2026-04"),
    "VLLM_0_17_NON_TORCH_ON_RANKS": (214_748_364, 2_254_857_830, 3_843_995_729, SWEEP, "2026-04"),
    "NCCL_COMMUNICATOR": (0, 500_000_000, 1_000_000_000, "NVIDIA/nccl#964", "read 2026-11"),
    "VLLM_0_17_GRAPHS": (547_608_330, 977_105_059, 1_986_422_374, SWEEP, "2026-04"),
    "VLLM_WEIGHT_OFFLOAD": (1000, 1900, 2000, "vllm-project/vllm#56410", "2026-09"),
    "VLLM_KV_OFFLOAD": (1000, 1925, 2000, "vllm-project/vllm#53042", "2026-08"),
    "VLLM_0_21_GRAPHS": (96_636_764, 977_105_059, 2_587_717_795, SWEEP, "2026-08"),
    "VLLM_GRAPHS_OF_SHARED_EXPERTS": (96_636_764, 977_105_059, 68_708_739_317, "vllm#57936", "2026-09"),
    "VLLM_ASCEND_SAMPLER": (593, 607, 1611, "vllm-project/vllm-ascend#8289", "2026-04"),
    "VLLM_ASCEND_NON_TORCH": (32_212_254, 139_586_437, 1_921_997_864, "vllm-project/vllm-ascend#8289"),
    "NPU_VISIBLE": (-322_122_547, 0, 0, "vllm-project/vllm-ascend#1987", "2026-04"),
    "VLLM_ASCEND_GRAPHS": (21_474_836, 42_949_672, 1_986_422_374, "vllm-project/vllm-ascend#8289"),
    "VLLM_MXFP4_PADDING": (63, 65, 83, PLANNER, "2026-04"),
    "SGLANG_NON_TORCH": (397_284_474, 536_870_912, 880_468_295, LOGS, "2025-08"),
    "SGLANG_NON_TORCH_ON_RANKS": (901_943_132, 2_254_857_830, 4_090_956_349, LOGS, "2026-02"),
    "SGLANG_LOADING": (118_111_600, 128_849_018, 139_586_437, LOGS, "2025-08"),
    "SGLANG_LOADING_AMD": (96_636_764, 107_374_182, 139_586_437, "sgl-project/sglang#18263", "2026-07"),
    "SGLANG_GRAPHS": (64_424_509, 966_367_641, 1_986_422_374, "least: SGLang's own logs", "2026-04"),
    "SGLANG_REQUESTS": (2048, 2048, 4096, "sgl-project/sglang mem_cache/memory_pool.py", "2026-11"),
    "LLAMA_CPP_CUDA_CONTEXT": (
        *(300_000_000, 456 * MIB, 1_000_000_000),
        f"ggml-org/llama.cpp#15860 (RTX 4090), 2025-09; {CUDA}",
        "read 2026-11",
    ),
    "KTRANSFORMERS_RUNTIME": (2_580_000_000, 2_820_000_000, 3_640_000_000, "kvcache-ai/ktransformers#1817"),
    "KTRANSFORMERS_HOST": (0, 5_000_000_000, 18_000_000_000, "kvcache-ai/ktransformers doc/en/install.md"),
}


@pytest.mark.parametrize("name", SERVING)
def test_a_measured_constant_of_serving_is_what_was_measured(name):
    low, typical, high, source, *date = SERVING[name]
    found = getattr(constants, name)
    assert found[:3] == (low, typical, high)
    assert found.source.startswith(source)
    assert date in ([], [found.date])
    assert found.date.removeprefix("read ").startswith("20")


def test_every_measured_constant_is_pinned():
    measured = {name for name, one in vars(constants).items() if isinstance(one, constants.Measured)}
    assert measured == {*TRAINING, *SERVING}


# what engines make of them: the lines that lie outside PyTorch's allocator, and tables, as low, typical, high
LINES = {
    ("transformers", "1x h100-80g"): {"CUDA context and rounding": (297_902_848, 310_485_760, 1_036_700_160)},
    ("vllm", "1x h100-80g"): {
        "outside PyTorch's allocator": (32_212_254, 268_435_456, 1_921_997_864),
        "CUDA graphs": (96_636_764, 977_105_059, 2_587_717_795),
    },
    ("vllm", "2x h100-80g"): {
        "outside PyTorch's allocator": (214_748_364, 2_254_857_830, 3_843_995_729),
        "CUDA graphs": (96_636_764, 977_105_059, 2_587_717_795),
    },
    ("sglang", "1x h100-80g"): {
        "outside PyTorch's allocator, in the share": (329_746_113, 445_602_856, 730_788_684),
        "outside PyTorch's allocator, on top of it": (67_538_361, 91_268_056, 149_679_611),
        "loading workspaces": (118_111_600, 128_849_018, 139_586_437),
        "request-to-token table": (335_577_088, 335_577_088, 671_154_176),
        "CUDA graphs": (64_424_509, 966_367_641, 1_986_422_374),
    },
    ("llama.cpp", "1x h100-80g"): {"CUDA context": (300_000_000, 456 * MIB, 1_000_000_000)},
    ("ktransformers", "1x h100-80g"): {
        "context, graphs and temporaries": (2_580_000_000, 2_820_000_000, 3_640_000_000)
    },
}


@pytest.mark.parametrize(("engine", "machine"), LINES)
def test_the_runtime_of_an_engine_is_made_of_its_constants(engine, machine):
    """SGLang's table: 2,048 to 4,096 requests x (40,960 + 4) positions x 4 B."""
    version = "0.2" if engine == "ktransformers" else None
    asked = {"engine": engine, "engine_version": version, "on": machine}
    lines = serve("Qwen/Qwen3-32B", context=8, **asked).device.lines
    runtime = {one.name: (one.low, one.bytes, one.high) for one in lines if one.component == "runtime"}
    assert runtime == LINES[engine, machine]
