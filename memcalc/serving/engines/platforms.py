"""Which devices an engine runs on, and is understood on: by their platform, and by CUDA's generation.

Source, read 2026-12: docs.vllm.ai, getting_started/installation (capability 7.0 up to 0.14, 7.5 in 0.21 and
0.31); 0.20 is built for CUDA 13, which has no older one (vllm-project/vllm#39878). Apple's GPUs are those of
vllm-project/vllm-metal, whose memory is MLX's. sgl-project/sglang, model_executor/model_runner.py, load_model
(capability 7.5). ggml-org/llama.cpp, README.md, supported backends. bfloat16 below 8.0: vllm-project/vllm,
platforms/cuda.py, check_if_supports_dtype, and config/model.py (config.py in 0.9.1),
_FLOAT16_NOT_SUPPORTED_MODELS; SGLang takes float16 there by itself. MLX's formats: huggingface/transformers,
quantizers/quantizer_metal.py, validate_environment (5.24): elsewhere a checkpoint becomes 16-bit again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import BadInputError

if TYPE_CHECKING:
    from memcalc.files.machines import Device, Machine
    from memcalc.ledger.model import Model
    from memcalc.serving.engines.base import Engine

__all__ = [
    "APPLE",
    "GAUDI",
    "GPUS",
    "HUAWEI",
    "NO_FLOAT16",
    "capability_of",
    "lacks_bfloat16",
    "platform_of",
    "refuse_device",
    "refuse_float16",
    "refuse_format",
    "runs_on",
]

HUAWEI, APPLE = "Huawei's NPUs", "Apple's chips"
NAMES = {
    "NVIDIA": "NVIDIA's GPUs",
    "AMD": "AMD's GPUs",
    "Intel": "Intel's GPUs",
    "Huawei": HUAWEI,
    "Apple": APPLE,
    "Google": "TPUs",
}
GAUDI = "Gaudi"
GPUS = ("NVIDIA's GPUs", "AMD's GPUs", "Intel's GPUs")
BFLOAT16 = (8, 0)  # CUDA's capability from which on it is there
NO_FLOAT16 = frozenset({"gemma2", "gemma3", "gemma3_text", "plamo2", "glm4"})


def platform_of(device: Device) -> str:
    """Return what a device is programmed as, in words; nothing of a size alone.

    >>> from memcalc.files.machines import devices
    >>> platform_of(devices()["mi300x"]), platform_of(devices()["gaudi3"])
    ("AMD's GPUs", 'Gaudi')
    """
    if device.vendor == "Intel" and device.kind == "npu":
        return GAUDI
    return NAMES.get(device.vendor, device.vendor)


def capability_of(device: Device) -> tuple[int, ...] | None:
    """Return CUDA's generation of a device as numbers; None where it has none."""
    return None if device.capability is None else tuple(map(int, device.capability.split(".")))


def lacks_bfloat16(device: Device | None) -> bool:
    """Say whether a device of NVIDIA's is older than bfloat16."""
    found = None if device is None else capability_of(device)
    return found is not None and found < BFLOAT16


def runs_on(engine: Engine, device: Device) -> bool:
    """Say whether an engine runs on a device, and is understood there."""
    platform, found = platform_of(device), capability_of(device)
    known = not platform or engine.platforms is None or platform in engine.platforms
    old = found is not None and engine.least_capability is not None and found < engine.least_capability
    return known and not old


def refuse_device(engine: Engine, where: Machine | None) -> None:
    """Refuse devices that an engine does not run on, or not as it is understood.

    Raises:
        BadInputError: there is one, or there are several Macs, each of which is a machine by itself.

    """
    for device, number in () if where is None else where.kinds.items():
        platform = platform_of(device)
        if not runs_on(engine, device):
            raise BadInputError("--on", *why_not(engine, device, platform))
        if platform == APPLE and number > 1:
            remedy = f"each is a machine by itself, and how {engine.id} spans several is not understood"
            raise BadInputError("--on", "one Mac", f"{number}x {device.id}", remedy)


def why_not(engine: Engine, device: Device, platform: str) -> tuple[str, str, str]:
    """Return what was expected of a device that an engine does not run on, what was given, what to do."""
    known = engine.platforms or ()
    if platform in known:
        least = ".".join(map(str, engine.least_capability or ()))
        older = f"{engine.title} {engine.release}"
        remedy = "name a newer card, or write --engine llama.cpp, which runs on this one"
        if engine.id == "vllm" and device.capability == "7.0":
            remedy = "vLLM before 0.20 has kernels for it: name such an --engine-version"
        return (
            f"compute capability {least} or higher for {older}",
            f"{device.id} ({device.capability})",
            remedy,
        )
    if known == (HUAWEI,):
        return f"one of {HUAWEI}, on which alone {engine.id} runs", device.id, "write --engine vllm"
    if platform == HUAWEI:
        return f"none of {HUAWEI}: figures of {engine.id} are CUDA's", device.id, "write --engine vllm-ascend"
    expected = f"a device that {engine.title} runs on: {', '.join(known)}"
    other = "transformers" if platform in ("TPUs", GAUDI) else "llama.cpp"
    remedy = f"write --engine {other}"
    if platform == APPLE and engine.id == "vllm":
        remedy = f"vllm-metal, which runs there, has MLX's memory and is not understood: {remedy}"
    return expected, device.id, remedy


def refuse_float16(engine: Engine, model: Model, where: Machine | None, bits: int) -> None:
    """Refuse models that vLLM serves in no float16 on devices that have no bfloat16.

    Raises:
        BadInputError: it is such a model on such a device, in 16 bits.

    """
    if engine.id != "vllm" or not engine.since(0, 9, 1) or bits != 16 or where is None:
        return
    if model.model_type in NO_FLOAT16 and any(map(lacks_bfloat16, where.kinds)):
        expected = f"capability 8.0 or higher for {model.model_type} in 16 bits"
        remedy = (
            f"{engine.title} serves it in bfloat16, which older cards lack, or in 32 bits: --weights fp32"
        )
        raise BadInputError("--on", expected, where.device.id, remedy)


def refuse_format(weights: str, where: Machine | None) -> None:
    """Refuse MLX's formats on devices that are known not to be Apple's: their kernels are Metal's.

    Raises:
        BadInputError: it is such a format on such a device.

    """
    if where is None or not weights.startswith("mlx-"):
        return
    for device in where.kinds:
        if platform_of(device) not in ("", APPLE):
            remedy = f"{weights} needs Metal: name a Mac, or another format as --weights"
            raise BadInputError("--on", f"one of {APPLE} for weights in {weights}", device.id, remedy)
