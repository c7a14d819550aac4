"""Models with states, with towers, and with caches that layers share: figures known from outside.

Parameters and caches are what transformers 5.23 has on the meta device for the published configs.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memcalc import model, serve
from memcalc.errors import BadInputError
from memcalc.files.catalogue import record
from memcalc.files.readers import read
from memcalc.ledger.model import cache_growth
from memcalc.ledger.parts import KimiDelta, Mamba2
from memcalc.ledger.tensor import count
from memcalc.serving import activation_width
from memcalc.serving.parallelism import ServingParallelism
from tests.gguf_files import QWEN_27B

PUBLIC = json.loads((Path(__file__).parent / "recorded" / "models.json").read_text(encoding="utf-8"))[
    "models"
]


@pytest.mark.parametrize(
    ("name", "parameters", "active", "vision", "cache"),
    [
        ("Qwen/Qwen3.5-27B", 26_895_998_464, 26_895_998_464, 460_730_096, (65_536, 65_536, 154_927_104)),
        ("Qwen/Qwen3.5-35B-A3B", 34_660_610_688, 3_454_988_928, 446_571_248, (20_480, 20_480, 64_880_640)),
        ("Qwen/Qwen3-VL-8B-Instruct", 8_190_735_360, 8_190_735_360, 576_388_336, (147_456, 147_456, 0)),
        ("Qwen/Qwen3-VL-30B-A3B-Instruct", 30_532_122_624, 3_353_032_704, 538_631_408, (98_304, 98_304, 0)),
        ("google/gemma-4-31B", 30_697_345_280, 30_697_345_280, 575_741_232, (81_920, 901_120, 0)),
        ("google/gemma-4-E4B", 7_463_013_376, 7_463_013_376, 169_330_688, (16_384, 57_344, 0)),
        (
            "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
            31_577_937_344,
            3_580_073_408,
            0,
            (6144, 6144, 49_364_992),
        ),
        ("ibm-granite/granite-4.0-h-small", 32_207_337_984, 8_803_121_664, 0, (16_384, 16_384, 153_427_968)),
        (
            "moonshotai/Kimi-Linear-48B-A3B-Instruct",
            49_122_675_072,
            3_484_453_248,
            0,
            (8064, 8064, 43_909_120),
        ),
    ],
)
def test_published_models(name, parameters, active, vision, cache):
    known = model(name)
    assert (known.parameters, known.active_parameters, known.vision_parameters) == (
        parameters,
        active,
        vision,
    )
    assert tuple(cache_growth(known).values()) == cache


@pytest.mark.parametrize(
    ("name", "parameters", "active", "state"),
    [
        ("state-spaces/mamba-2.8b-hf", 2_768_345_600, 2_768_345_600, 23_592_960),
        ("ai21labs/Jamba-v0.1", 51_570_323_328, 12_110_311_296, 16_515_072),
        ("mistralai/Mamba-Codestral-7B-v0.1", 7_285_403_648, 7_285_403_648, 273_678_336),
    ],
)
def test_models_with_mamba(name, parameters, active, state):
    known = read(PUBLIC[name]["config"])
    assert (known.parameters, known.active_parameters) == (parameters, active)
    assert cache_growth(known)["state_bytes_per_sequence"] == state


def test_the_latent_of_nemotron_3_super():
    """Experts see 1,024 numbers of 4,096, and 12.8 of 120.7 billion parameters work on a token."""
    fields = PUBLIC["nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-NVFP4"]["config"]
    known = read(fields)
    assert (known.parameters, known.active_parameters) == (120_668_687_360, 12_770_216_960)
    assert known.buffer_values == 40 * 512
    assert len(known.mtp) == 2  # attention, and experts


def test_multi_token_prediction_of_qwen_3_5():
    """A layer that attends, three norms, and a matrix that joins two streams: apart from the model."""
    known = model("Qwen/Qwen3.5-27B")
    full = count(known.layers[3].weights())
    assert known.mtp_parameters == full + 2 * 5120 * 5120 + 3 * 5120


def test_a_state_space_layer():
    """Mamba-Codestral-7B: in 18,560 x 4,096, out 4,096 x 8,192, and a state of 128 x 64 x 128 numbers."""
    part = Mamba2(4096, conv_kernel=4, ssm_heads=128, ssm_head_dim=64, ssm_state=128, ssm_groups=8)
    known = 18_560 * 4096 + 4096 * 8192 + 10_240 * 5 + 3 * 128 + 8192
    assert count(part.weights()) == known
    assert [tensor.count for tensor in part.cache(2, 99, lambda context, _: context)] == [
        2 * 40_960,
        2 * 2**20,
    ]


def test_kimi_delta_attention_remembers_as_gated_deltanet_does():
    """12,288 streams of 4 tokens, and 32 matrices of 128 x 128."""
    part = KimiDelta(2304, 32, 32, 128, 128, 4)
    shapes = [tensor.stored_shape for tensor in part.cache(1, 7, lambda context, _: context)]
    assert shapes == [(1, 12_288, 4), (1, 32, 128, 128)]
    assert count(part.weights()) == 4 * 4096 * 2304 + 3 * 4096 * 4 + 2 * (128 * 2304 + 4096 * 128) + (
        32 * 2304 + 32 + 4096 + 128
    )


GEMMA, NEMOTRON = (
    record("google/gemma-4-E4B").fields,
    record("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16").fields,
)
KIMI = record("moonshotai/Kimi-Linear-48B-A3B-Instruct").fields


@pytest.mark.parametrize(
    ("fields", "changed", "refused"),
    [
        (GEMMA, {"audio_config": {"subsampling_conv_channels": [128]}}, "subsampling_conv_channels"),
        (
            GEMMA,
            {"text_config": {**GEMMA["text_config"], "num_kv_shared_layers": 42}},
            "num_kv_shared_layers",
        ),
        (NEMOTRON, {"hybrid_override_pattern": "MX" * 26}, "hybrid_override_pattern"),
        (NEMOTRON, {"hybrid_override_pattern": None}, "hybrid_override_pattern: .*, given nothing; add it"),
        (NEMOTRON, {"num_hidden_layers": 51}, "hybrid_override_pattern"),
        (NEMOTRON, {"mamba_ssm_cache_dtype": "float64"}, "mamba_ssm_cache_dtype"),
        (
            KIMI,
            {"linear_attn_config": {**KIMI["linear_attn_config"], "kda_layers": [1]}},
            "linear_attn_config",
        ),
        (KIMI, {"attn_residual_block_size": 4}, "attn_residual_block_size"),
    ],
)
def test_what_is_not_understood_is_refused(fields, changed, refused):
    with pytest.raises(BadInputError, match=refused):
        read({**fields, **changed})


def test_pages_of_different_sizes_are_refused():
    """Gemma 4: 16,384 B a token in layers with a window, 8,192 B in the others."""
    with pytest.raises(BadInputError, match="8,192 B and 16,384 B"):
        serve("google/gemma-4-31B", context=8192, engine="vllm-ascend", on="1x ascend-910b-64g")


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_two_groups_of_a_state_space_model_are_not_copied(tmp_path, engine):
    """Engines give every rank a copy where there is one group; two on four ranks are an assertion in both."""
    fields = record("ibm-granite/granite-4.0-h-small").fields
    (tmp_path / "config.json").write_text(json.dumps({**fields, "mamba_n_groups": 2}), encoding="utf-8")
    with pytest.raises(BadInputError, match="divisor of the model's 2 groups"):
        serve(tmp_path, context=8192, engine=engine, on="4x h200", tp=4)


def test_a_state_space_layer_is_alive_in_a_pass():
    """Four copies of the stream, and 18,560 numbers twice: what is projected, and what is convolved."""
    part = Mamba2(4096, conv_kernel=4, ssm_heads=128, ssm_head_dim=64, ssm_state=128, ssm_groups=8)
    assert activation_width(part, ServingParallelism()) == 4 * 4096 + 2 * 18_560


def test_a_text_model_without_a_stated_tower_has_that_of_its_class():
    """As classes of transformers 5.23 build it; one for text alone has none, and the answer says so."""
    fields = {"model_type": "qwen3_5", "text_config": QWEN_27B, "tie_word_embeddings": False}
    found = read(fields)
    assert found.parameters == read(QWEN_27B).parameters
    assert found.vision_parameters == 453_650_672
    alone = read({**fields, "architectures": ["Qwen3_5ForCausalLM"]})
    assert alone.parameters == found.parameters
    assert alone.vision_parameters == 0
    assert alone.not_read == ("no vision_config: a tower is not counted",)


def test_kimi_linear_says_a_size_twice_or_contradicts_itself():
    """transformers saves the sizes of linear attention outside of their own object, too."""
    fields = record("moonshotai/Kimi-Linear-48B-A3B-Instruct").fields
    own = fields["linear_attn_config"]
    twice = {**fields, "linear_head_dim": own["head_dim"], "qk_head_dim": 192}
    assert read(twice).parameters == read(fields).parameters
    for field in ("linear_head_dim", "qk_head_dim"):
        with pytest.raises(BadInputError, match=field):
            read({**twice, field: 7})
