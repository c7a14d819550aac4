"""Engines on the devices that they run on: `which` offers no other, and a launch line starts there."""

from __future__ import annotations

import pytest

from memcalc import serve
from memcalc.errors import BadInputError
from memcalc.files.machines import devices
from memcalc.serving.api import which

SMALL = "Qwen/Qwen3-0.6B"
MACS = {name for name, one in devices().items() if one.vendor == "Apple"}
NPUS = {name for name, one in devices().items() if one.vendor == "Huawei"}
OLD, VOLTA = {"p40"}, {"v100-16g", "v100-32g"}
TPUS, GAUDIS = {"tpu-v5e", "tpu-v6e"}, {"gaudi2", "gaudi3"}
NOT_ON = {
    "vllm": MACS | NPUS | OLD | VOLTA,
    "sglang": MACS | NPUS | OLD | VOLTA | TPUS | GAUDIS,
    "llama.cpp": TPUS | GAUDIS,
    "transformers": set(),
}


@pytest.mark.parametrize("engine", NOT_ON)
def test_which_offers_the_devices_that_an_engine_runs_on(engine):
    """And a small model fits on one of each: servers aside, no other is missing."""
    offered = {one.id for one in which(SMALL, context=1024, engine=engine).machines} & devices().keys()
    assert offered == devices().keys() - NOT_ON[engine]


@pytest.mark.parametrize("engine", ["llama.cpp", "transformers"])
def test_macs_are_no_ranks(engine):
    rows = which("Qwen/Qwen3-32B", context=32_768, engine=engine).machines
    assert {one.count for one in rows if one.id in MACS} == {1}
    with pytest.raises(BadInputError, match=r"--on: expected one Mac, given '2x m4-max-64g'"):
        serve(SMALL, context=1024, engine=engine, on="2x m4-max-64g")


@pytest.mark.parametrize(
    ("engine", "release", "on", "said"),
    [
        (
            "vllm",
            None,
            "p40",
            r"compute capability 7.5 or higher for vLLM 0.33, given 'p40 \(6.1\)'.*llama.cpp",
        ),
        ("vllm", "0.14", "p40", r"compute capability 7.0 or higher for vLLM 0.14"),
        ("vllm", None, "v100-16g", r"compute capability 7.5 or higher.*vLLM before 0.20 has kernels for it"),
        ("vllm", None, "m4-max-64g", r"a device that vLLM runs on: .*vllm-metal.*write --engine llama.cpp"),
        ("sglang", None, "v100-16g", r"compute capability 7.5 or higher for SGLang"),
        ("sglang", None, "tpu-v6e", r"a device that SGLang runs on: .*write --engine transformers"),
        ("ktransformers", None, "m3-ultra-512g", r"a device that KTransformers runs on"),
        ("llama.cpp", None, "tpu-v5e", r"a device that llama.cpp runs on: .*write --engine transformers"),
    ],
)
def test_a_refusal_says_what_to_do(engine, release, on, said):
    with pytest.raises(BadInputError, match=f"--on: expected {said}"):
        serve(SMALL, context=1024, engine=engine, engine_version=release, on=on)


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_cards_without_bfloat16_are_started_in_float16(engine):
    """As many bytes, and said; `--kv bf16` is no word for them either."""
    plain, old = (serve(SMALL, context=1024, engine=engine, on=on) for on in ("a10", "t4"))
    assert plain.device.components["weights"] == old.device.components["weights"]
    assert " --dtype bfloat16 " in plain.launch_line
    assert " --dtype half " in old.launch_line
    assert "float16, as t4 has no bfloat16: as many bytes" in old.plan.defaults
    assert "float16, as t4" not in " ".join(plain.plan.defaults)
    named = serve(SMALL, context=1024, engine=engine, on="t4", kv="bf16")
    assert "--kv-cache-dtype auto" in named.launch_line
    assert serve(SMALL, context=1024, engine="vllm", engine_version="0.19", on="v100-32g").launch_line


def test_models_that_vllm_serves_in_no_float16_are_refused_there():
    """config/model.py, _FLOAT16_NOT_SUPPORTED_MODELS: from 0.9.1 on."""
    asked = {"context": 1024, "engine": "vllm", "on": "t4"}
    with pytest.raises(BadInputError, match=r"--on: expected capability 8.0.*or in 32 bits: --weights fp32"):
        serve("google/gemma-3-4b-it", **asked)
    assert " --dtype float32 " in serve("google/gemma-3-4b-it", weights="fp32", **asked).launch_line
    assert serve("google/gemma-3-4b-it", engine_version="0.9.0.1", **asked)
    assert serve("google/gemma-3-4b-it", **{**asked, "engine": "llama.cpp"})


@pytest.mark.parametrize("engine", ["transformers", "vllm", "sglang"])
@pytest.mark.parametrize("on", ["rtx-4090", "mi300x", "8x h100-80g"])
def test_mlx_formats_run_on_apples_chips_alone(engine, on):
    """transformers' quantizer_metal.py: without MPS it refuses, or makes the checkpoint 16-bit again."""
    said = r"--on: expected one of Apple's chips for weights in mlx-4bit-g64, given .*name a Mac"
    with pytest.raises(BadInputError, match=said):
        serve(SMALL, context=1024, engine=engine, weights="mlx-4bit-g64", on=on)


@pytest.mark.parametrize("on", ["m4-max-64g", "24GiB", None])
def test_mlx_formats_are_counted_on_a_mac_and_where_the_device_is_not_known(on):
    served = serve(SMALL, context=1024, weights="mlx-4bit-g64", on=on)
    assert served.weights_file_bytes < serve(SMALL, context=1024).weights_file_bytes / 3


def test_no_machine_but_a_mac_is_offered_for_mlx_weights():
    offered = {one.id for one in which(SMALL, context=1024, weights="mlx-4bit-g64").machines}
    assert offered
    assert offered & devices().keys() <= MACS
