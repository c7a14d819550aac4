"""Types that transformers does not have: parameters, names and sizes of their published checkpoints.

Right values are those that others have published: the total of a checkpoint's index with the names in it, or
a number of parameters that another program has counted or a model card has. What each is stands at the case.
Where no index was found, the names are those that the published code of the class gives its modules. All
sources were read in 2026-11.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, NamedTuple

import pytest

from memcalc.data import open_text
from memcalc.errors import BadInputError
from memcalc.files.readers import PUBLISHED, READERS, read
from memcalc.files.tensor_names import header, listed
from memcalc.ledger.model import cache_growth
from memcalc.serving import serve
from tests.test_linear_attention import M1

if TYPE_CHECKING:
    from pathlib import Path

QWEN_NAMES = {
    "transformer.wte.weight",
    "transformer.h.*.ln_1.weight",
    "transformer.h.*.ln_2.weight",
    "transformer.h.*.attn.c_attn.weight",
    "transformer.h.*.attn.c_attn.bias",
    "transformer.h.*.attn.c_proj.weight",
    "transformer.h.*.mlp.w1.weight",
    "transformer.h.*.mlp.w2.weight",
    "transformer.h.*.mlp.c_proj.weight",
    "transformer.ln_f.weight",
    "lm_head.weight",
}
INTERNLM2_NAMES = {
    "model.tok_embeddings.weight",
    "model.layers.*.attention_norm.weight",
    "model.layers.*.attention.wqkv.weight",
    "model.layers.*.attention.wo.weight",
    "model.layers.*.ffn_norm.weight",
    *(f"model.layers.*.feed_forward.w{number}.weight" for number in (1, 2, 3)),
    "model.norm.weight",
    "output.weight",
}
PHI_NAMES = {
    "transformer.embd.wte.weight",
    *(f"{place}.{kind}" for place in ("lm_head.ln", "lm_head.linear") for kind in ("weight", "bias")),
    *(
        f"transformer.h.*.{place}.{kind}"
        for place in ("ln", "mixer.Wqkv", "mixer.out_proj", "mlp.fc1", "mlp.fc2")
        for kind in ("weight", "bias")
    ),
}
GLM_NAMES = {
    "transformer.embedding.word_embeddings.weight",
    "transformer.rotary_pos_emb.inv_freq",
    "transformer.encoder.layers.*.input_layernorm.weight",
    "transformer.encoder.layers.*.self_attention.query_key_value.weight",
    "transformer.encoder.layers.*.self_attention.query_key_value.bias",
    "transformer.encoder.layers.*.self_attention.dense.weight",
    "transformer.encoder.layers.*.post_attention_layernorm.weight",
    "transformer.encoder.layers.*.mlp.dense_h_to_4h.weight",
    "transformer.encoder.layers.*.mlp.dense_4h_to_h.weight",
    "transformer.encoder.final_layernorm.weight",
    "transformer.output_layer.weight",
}
LLAMA_NAMES = {
    "model.embed_tokens.weight",
    "model.layers.*.input_layernorm.weight",
    "model.layers.*.post_attention_layernorm.weight",
    *(f"model.layers.*.self_attn.{letter}_proj.weight" for letter in "qkvo"),
    *(f"model.layers.*.mlp.{one}_proj.weight" for one in ("gate", "up", "down")),
    "model.norm.weight",
    "lm_head.weight",
}
PANGU_NAMES = LLAMA_NAMES | {
    *(f"model.layers.*.self_attn.{letter}_proj.bias" for letter in "qkvo"),
    "model.layers.*.self_attn.rotary_emb.inv_freq",
}
BAICHUAN_NAMES = LLAMA_NAMES - {f"model.layers.*.self_attn.{letter}_proj.weight" for letter in "qkv"}
BAICHUAN_NAMES |= {"model.layers.*.self_attn.W_pack.weight"}
DEEPSEEK_NAMES = LLAMA_NAMES | {
    "model.layers.*.mlp.gate.weight",
    *(f"model.layers.*.mlp.experts.*.{one}_proj.weight" for one in ("gate", "up", "down")),
    *(f"model.layers.*.mlp.shared_experts.{one}_proj.weight" for one in ("gate", "up", "down")),
}
MIMO_NAMES = LLAMA_NAMES | {f"model.layers.*.self_attn.{letter}_proj.bias" for letter in "qkv"}
MIMO_NAMES |= {
    *(name.replace("layers", "mtp_layers") for name in MIMO_NAMES if "layers" in name),
    "model.mtp_layers.*.input_proj.weight",
    *(f"model.mtp_layers.*.{one}_layernorm.weight" for one in ("token", "hidden", "final")),
}
M1_NAMES = {name for name in LLAMA_NAMES if "mlp" not in name} | {
    "model.layers.*.block_sparse_moe.gate.weight",
    *(f"model.layers.*.block_sparse_moe.experts.*.w{number}.weight" for number in (1, 2, 3)),
    *(f"model.layers.*.self_attn.{one}.weight" for one in ("norm", "out_proj", "output_gate", "qkv_proj")),
}


class Case(NamedTuple):
    """A published config, the names of its tensors with stars for numbers, and how large it is said to be.

    `total_size` are the bytes of all tensors in an index, at 16 bits where a tensor has no other format;
    `parameters` a count without what a checkpoint carries besides, such as frequencies.
    """

    fields: dict[str, object]
    names: set[str]
    total_size: int | None = None
    parameters: int | None = None


def sized(width: int, inner: int, depth: int, heads: int, vocab: int) -> dict[str, object]:
    """The five sizes of a decoder, under their usual names."""
    named = {"hidden_size": width, "intermediate_size": inner, "num_hidden_layers": depth}
    return {**named, "num_attention_heads": heads, "vocab_size": vocab}


QWEN = {"model_type": "qwen", "kv_channels": 128, "no_bias": True, "tie_word_embeddings": False}
BAICHUAN = {"model_type": "baichuan", "tie_word_embeddings": False}
GLM4 = {
    "architectures": ["ChatGLMModel"],
    "model_type": "chatglm",
    "auto_map": {"AutoModelForCausalLM": "modeling_chatglm.ChatGLMForConditionalGeneration"},
    "add_bias_linear": False,
    "add_qkv_bias": True,
    "apply_query_key_layer_scaling": True,
    "attention_softmax_in_fp32": True,
    "bias_dropout_fusion": True,
    "ffn_hidden_size": 13696,
    "hidden_size": 4096,
    "kv_channels": 128,
    "layernorm_epsilon": 1.5625e-07,
    "multi_query_attention": True,
    "multi_query_group_num": 2,
    "num_attention_heads": 32,
    "num_hidden_layers": 40,
    "num_layers": 40,
    "rope_ratio": 500,
    "original_rope": True,
    "padded_vocab_size": 151552,
    "post_layer_norm": True,
    "rmsnorm": True,
    "seq_length": 131072,
    "tie_word_embeddings": False,
}
PHI2 = {
    "model_type": "phi-msft",
    "architectures": ["PhiForCausalLM"],
    "flash_attn": False,
    "n_embd": 2560,
    "n_head": 32,
    "n_head_kv": None,
    "n_inner": None,
    "n_layer": 32,
    "n_positions": 2048,
    "rotary_dim": 32,
    "tie_word_embeddings": False,
    "vocab_size": 51200,
}
DEEPSEEK = {
    "model_type": "deepseek",
    "architectures": ["DeepseekForCausalLM"],
    "first_k_dense_replace": 1,
    "moe_intermediate_size": 1408,
    "moe_layer_freq": 1,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "num_experts_per_tok": 6,
    "num_key_value_heads": 16,
    **sized(2048, 10944, 28, 16, 102400),
}
MIMO = {
    "model_type": "mimo",
    "attention_bias": True,
    "head_dim": 128,
    "max_window_layers": 36,
    "num_key_value_heads": 8,
    "num_nextn_predict_layers": 1,
    "sliding_window": 32768,
    "use_sliding_window": False,
    **sized(4096, 11008, 36, 32, 151680),
}


def block(group: int | None, times: float) -> dict[str, object]:
    """A layer of a thinned-out Llama."""
    attention = {"n_heads_in_group": group, "no_op": group is None, "replace_with_linear": False}
    return {"attention": attention, "ffn": {"ffn_mult": times, "no_op": False, "replace_with_linear": False}}


OF_NEMOTRON = (  # runs of equal layers: how many, query heads to a key/value head, multiple of the width
    (1, 8, 2.625), (5, 8, 5.25), (2, None, 2.625), (3, 8, 5.25), (1, None, 3.28125), (30, 8, 5.25),
    (1, None, 1.3125), (2, None, 2.625), (1, None, 1.3125), (1, None, 5.25), (1, None, 1.3125),
    (1, None, 2.625), (3, None, 1.3125), (1, 8, 5.25), (1, None, 1.3125), (2, None, 1.0), (1, None, 1.3125),
    (3, None, 1.0), (2, None, 1.3125), (2, None, 0.5), (2, None, 1.0), (2, None, 0.5), (1, None, 1.0),
    (2, None, 0.5), (9, 8, 5.25),
)  # fmt: skip
NEMOTRON = {
    "model_type": "nemotron-nas",
    "architectures": ["DeciLMForCausalLM"],
    "attention_bias": False,
    "hidden_size": 8192,
    "intermediate_size": None,
    "mlp_bias": False,
    "num_attention_heads": 64,
    "num_hidden_layers": 80,
    "num_key_value_heads": None,
    "tie_word_embeddings": False,
    "vocab_size": 128256,
    "block_configs": [block(group, times) for number, group, times in OF_NEMOTRON for _ in range(number)],
}
CHATGLM3 = {
    **{field: value for field, value in GLM4.items() if field not in ("num_hidden_layers", "rope_ratio")},
    "layernorm_epsilon": 1e-05,
    "num_layers": 28,
    "padded_vocab_size": 65024,
    "seq_length": 8192,
}
CASES = {
    # config.json, names and total_size: mapengAdam/qianwen-72B on GitHub, commit c677f29 (copy of the
    # repository on ModelScope, 2023-12), model.safetensors.index.json
    "Qwen/Qwen-72B": Case(QWEN | sized(8192, 49152, 80, 64, 152064), QWEN_NAMES, total_size=144_575_840_256),
    # config.json: zhangningboo/Qwen-7B on GitHub, commit abcb6d6. Parameters: as foldl/chatllm.cpp counts
    # them in the converted file, commit 4a4310e, docs/rag.md. Names: Qwen-72B's, the same class
    "Qwen/Qwen-7B": Case(QWEN | sized(4096, 22016, 32, 32, 151936), QWEN_NAMES, parameters=7_721_324_544),
    # config.json: huggingface.co/openbmb/MiniCPM-2B-dpo-fp16, commit 6cd6dee (it has no tie_word_embeddings).
    # Parameters: foldl/chatllm.cpp, as above. Names: modeling_minicpm.py in wxthu/nas_tuner, commit 316794f
    "openbmb/MiniCPM-2B": Case(
        {"model_type": "minicpm", "scale_emb": 12, "dim_model_base": 256, "scale_depth": 1.4}
        | {"num_key_value_heads": 36}
        | sized(2304, 5760, 40, 36, 122753),
        LLAMA_NAMES - {"lm_head.weight"},
        parameters=2_724_880_896,
    ),
    # config.json: huggingface.co/THUDM/glm-4-9b-chat, commit 731ca7f. Parameters: foldl/chatllm.cpp, commit
    # 4a4310e, docs/tool_calling.md. Names: ChatGLM3's, the same class
    "THUDM/glm-4-9b-chat": Case(GLM4, GLM_NAMES, parameters=9_399_951_360),
    # config.json, names and total_size: zhangbo2008/chatglm3_annotated on GitHub, commit 84fba0f (2024-01),
    # model.safetensors.index.json
    "THUDM/chatglm3-6b": Case(CHATGLM3, GLM_NAMES, total_size=12_487_168_064),
    # config.json, names and total_size: NanSang2000/S1mpleAgent on GitHub, commit 4275caa (2024-03),
    # model.safetensors.index.json
    "internlm/internlm2-7b": Case(
        {"model_type": "internlm2", "bias": False, "num_key_value_heads": 8, "tie_word_embeddings": False}
        | sized(4096, 14336, 32, 32, 92544),
        INTERNLM2_NAMES,
        total_size=15_475_417_088,
    ),
    # config.json, names and total_size: yangulei/internlm-20b on GitHub, commit 5d2ec53 (2023-09),
    # pytorch_model.bin.index.json
    "internlm/internlm-20b": Case(
        {"model_type": "internlm", "bias": False, "num_key_value_heads": 40, "tie_word_embeddings": False}
        | sized(5120, 13824, 60, 40, 103168),
        LLAMA_NAMES,
        total_size=40_177_428_480,
    ),
    # config.json, names and total_size: IDLEOAK/openpangu-lightweight-methods on GitHub, commit bc3cf2c
    # (2026-04), model.safetensors.index.json
    "openpangu/openPangu-Embedded-7B": Case(
        {"model_type": "PanguEmbedded", "bias": True, "num_key_value_heads": 8, "tie_word_embeddings": False}
        | sized(4096, 12800, 34, 32, 153376),
        PANGU_NAMES,
        total_size=16_061_784_576,
    ),
    # config.json: huggingface.co/Laurie/baichuan7b-lora-merged, made of baichuan-inc/baichuan-7B.
    # Parameters: the table in README.md of baichuan-inc/Baichuan-13B on GitHub, commit a1ed082 (2023-09).
    # Names: Baichuan2's; whether its file carries frequencies besides was not found
    "baichuan-inc/Baichuan-7B": Case(
        BAICHUAN | {"max_position_embeddings": 4096} | sized(4096, 11008, 32, 32, 64000),
        BAICHUAN_NAMES,
        parameters=7_000_559_616,
    ),
    # config.json: huggingface.co/baichuan-inc/Baichuan-13B-Chat. Parameters: the same table
    "baichuan-inc/Baichuan-13B-Chat": Case(
        BAICHUAN | {"model_max_length": 4096} | sized(5120, 13696, 40, 40, 64000),
        BAICHUAN_NAMES,
        parameters=13_264_901_120,
    ),
    # config.json, names and total_size: jrd77/Baichuan2-13B-Chat on GitHub, commit d022d72 (2023-09),
    # pytorch_model.bin.index.json
    "baichuan-inc/Baichuan2-13B-Chat": Case(
        BAICHUAN | {"model_max_length": 4096} | sized(5120, 13696, 40, 40, 125696),
        BAICHUAN_NAMES,
        total_size=27_793_336_320,
    ),
    # config.json: what huggingface.co/anilbhatt1/phi2-oasst-guanaco-bf16-custom, commit 558f5ad, replaces,
    # Microsoft's of 2024-01. Parameters: the same model in transformers 5.23, below. Names: the modules of
    # moondream/phi/modeling_phi.py in vikhyat/moondream on GitHub, commit 0b689c3 (2023-12)
    "microsoft/phi-2": Case(PHI2, PHI_NAMES, parameters=2_779_683_840),
    # config.json: mlc-ai/mlc-llm on GitHub, commit 79d603f, python/mlc_llm/model/model_preset.py. Parameters:
    # cornell-sysphotonics/ccl-bench on GitHub, commit 1d257f0, trace_collection/deepseek-moe-16b-*/*.yaml.
    # Names: the modules of models/modelling_deepseek.py in ilyalasy/moe-routing on GitHub, commit 4f7f8f7
    "deepseek-ai/deepseek-moe-16b": Case(DEEPSEEK, DEEPSEEK_NAMES, parameters=16_375_728_128),
    # config.json, names and total_size: jj8127/mimo_kor on GitHub, commit 60c075c (2025-07),
    # model.safetensors.index.json; with the layer for multi-token prediction
    "XiaomiMiMo/MiMo-7B": Case(MIMO, MIMO_NAMES, total_size=15_666_819_072),
    # config.json: aiconfigurator-core 0.12.0 on PyPI, model_configs. No index was found, and no count whose
    # place could be named: test_nemotron_super_has_as_many_parameters_as_is_said. Names: the modules of
    # modeling_decilm.py in DeltaVector1/Chat-Prompters on GitHub, commit 760b19a (2025-07)
    "nvidia/Llama-3_3-Nemotron-Super-49B-v1": Case(NEMOTRON, LLAMA_NAMES),
    # config.json, names and total_size: MiniMax-AI/MiniMax-M1 on GitHub, commit 2abb4f4 (2025-07),
    # model.safetensors.index.json; its routers are in 32 bits
    "MiniMaxAI/MiniMax-M1-80k": Case(M1, M1_NAMES, total_size=912_210_767_872),
}


# held by rounded figures, or by a type of transformers: test_kimi_k3.py, test_minimax_m3.py
ELSEWHERE = {"kimi_k3", "kimi_k3_text", "minimax_m3"} | {
    "internvl_chat",
    "kimi_vl",
}  # test_vision_language.py
# test_step3.py, test_pangu.py, test_hunyuan.py
ELSEWHERE |= {"step3_vl", "step3_text", "PanguProMoE", "hunyuan"}
INSIDE = {"intern_vit_6b", "moonvit", "step3_vision_encoder"}  # towers of these


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.total_size])
def test_the_bytes_of_a_published_checkpoint(name: str) -> None:
    """All tensors together, to the byte; those for multi-token prediction too."""
    held = listed(read(CASES[name].fields, name)).values()
    sizes = (math.prod(one.shape) * (4 if one.tensor.format == "fp32" else 2) for one in held)
    assert sum(sizes) == CASES[name].total_size


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.parameters])
def test_the_parameters_of_a_published_model(name: str) -> None:
    """As others count them."""
    assert read(CASES[name].fields, name).parameters == CASES[name].parameters


@pytest.mark.parametrize("name", CASES)
def test_the_names_of_a_published_checkpoint(name: str) -> None:
    """Layers and experts together, those of the file and no others."""
    starred = {re.sub(r"\.\d+(?=\.)", ".*", tensor) for tensor in listed(read(CASES[name].fields, name))}
    assert starred == CASES[name].names


def test_phi_2_under_its_first_name_is_the_model_that_transformers_has() -> None:
    """No index with the first names was found: total and shapes are those of transformers' class."""
    sizes = sized(2560, 10240, 32, 32, 51200)
    first, now = read(PHI2), read({"model_type": "phi", "partial_rotary_factor": 0.4, **sizes})
    assert first.parameters == now.parameters
    assert cache_growth(first) == cache_growth(now)
    theirs = header(now)
    assert header(first)["transformer.h.0.mixer.Wqkv.weight"] == (
        sum(theirs[f"model.layers.0.self_attn.{letter}_proj.weight"][0] for letter in "qkv"),
        2560,
    )


def test_nemotron_super_has_as_many_parameters_as_is_said() -> None:
    """No index was found: shapes as its published code, and two totals.

    49.9 billion: the page of huggingface.co/mmnga/Llama-3_3-Nemotron-Super-49B-v1-gguf, 2026-11. To the
    number: a public research log of 2026-08-10 that says so; the search did not name its repository.
    """
    assert round(read(NEMOTRON).parameters / 10**8) == 499
    assert read(NEMOTRON).parameters == 49_867_145_216


def test_every_published_type_has_a_case_and_a_source() -> None:
    """None of them is a type of transformers, whose classes would be the truth."""
    with open_text("published_classes.jsonl") as file:
        classes = [json.loads(line) for line in file]
    assert {one["model_type"] for one in classes} == {*PUBLISHED, *INSIDE}
    assert all(one["source"].startswith("https://") and one["date"] for one in classes)
    assert {case.fields["model_type"] for case in CASES.values()} | ELSEWHERE == set(PUBLISHED)
    with open_text("transformers_types.json") as file:
        assert not {*READERS, *json.load(file)["types"]} & set(PUBLISHED)


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("Qwen/Qwen-72B", "no_bias", False),
        ("Qwen/Qwen-72B", "kv_channels", 64),
        ("Qwen/Qwen-72B", "intermediate_size", 49151),
        ("Qwen/Qwen-72B", "use_cache_quantization", True),
        ("deepseek-ai/deepseek-moe-16b", "moe_layer_freq", 2),
        ("microsoft/phi-2", "num_local_experts", 4),
        ("microsoft/phi-2", "n_layer", None),
        ("microsoft/phi-2", "vocab_size", 51199),  # the class makes 51,200 of it
        ("microsoft/phi-2", "head_dim", 64),
        ("Qwen/Qwen-7B", "head_dim", 64),
        ("Qwen/Qwen-7B", "num_key_value_heads", 8),
        ("internlm/internlm-20b", "num_key_value_heads", 8),
        ("internlm/internlm2-7b", "head_dim", 64),
        ("baichuan-inc/Baichuan2-13B-Chat", "num_key_value_heads", 8),
        ("openbmb/MiniCPM-2B", "head_dim", 32),
        ("openbmb/MiniCPM-2B", "sparse_config", {"kernel_size": 32}),
        ("deepseek-ai/deepseek-moe-16b", "head_dim", 64),
        ("THUDM/chatglm3-6b", "tie_word_embeddings", True),
        ("THUDM/glm-4-9b-chat", "add_bias_linear", True),
        ("THUDM/glm-4-9b-chat", "pre_seq_len", 128),
        ("THUDM/glm-4-9b-chat", "multi_query_group_num", 3),
        ("THUDM/glm-4-9b-chat", "num_layers", 41),
        ("XiaomiMiMo/MiMo-7B", "use_mrope", True),
        ("openpangu/openPangu-Embedded-7B", "param_sink_number", 128),
        ("openbmb/MiniCPM-2B", "num_experts", 8),
        ("openbmb/MiniCPM-2B", "intermediate_size", None),
        ("nvidia/Llama-3_3-Nemotron-Super-49B-v1", "block_configs", [block(8, 1.0)]),
        ("nvidia/Llama-3_3-Nemotron-Super-49B-v1", "block_configs", 80 * [block(7, 1.0)]),
        ("nvidia/Llama-3_3-Nemotron-Super-49B-v1", "block_configs", 80 * [{"attention": {}}]),
    ],
)
def test_what_is_not_understood_is_refused(name: str, field: str, value: object) -> None:
    """By the name of the field; what a class does not read may only say again what it does all the same."""
    with pytest.raises(BadInputError, match=field):
        read({**CASES[name].fields, field: value})


def test_active_parameters_and_layers_ahead() -> None:
    """Six of 64 experts and both shared ones, as ccl-bench counts; MiMo's layer ahead is counted apart."""
    assert read(DEEPSEEK).active_parameters == 2_828_650_496
    mimo = read(MIMO)
    assert 2 * (mimo.parameters + mimo.mtp_parameters) == CASES["XiaomiMiMo/MiMo-7B"].total_size
    assert listed(mimo)["model.mtp_layers.0.input_proj.weight"].shape == (4096, 8192)
    assert {one.part for name, one in listed(mimo).items() if "mtp_layers" in name} == {"mtp"}


def test_layers_that_lack_something() -> None:
    """No attention, no feed-forward part, or a square matrix in its place; a cache of what is left."""
    linear = {"no_op": False, "replace_with_linear": True}
    blocks = [
        {"attention": {"no_op": True}, "ffn": {"no_op": True}},
        {"attention": linear, "ffn": linear},
        block(4, 0.1),
    ]
    small = NEMOTRON | {"num_hidden_layers": 3, "block_configs": blocks, "hidden_size": 512}
    model = read(small | {"num_attention_heads": 8, "vocab_size": 10})
    shapes = header(model)
    assert not any(name.startswith("model.layers.0.") for name in shapes)
    assert {name: shape for name, shape in shapes.items() if name.startswith("model.layers.1.")} == {
        "model.layers.1.self_attn.linear_attn.weight": (512, 512),
        "model.layers.1.mlp.linear_mlp.weight": (512, 512),
        "model.layers.1.input_layernorm.weight": (512,),
        "model.layers.1.post_attention_layernorm.weight": (512,),
    }
    assert shapes["model.layers.2.mlp.up_proj.weight"] == (256, 512)  # 34 rounded up
    assert sum(tensor.count for tensor in model.cache(1, 1)) == 2 * 2 * 64


@pytest.mark.parametrize(
    ("name", "field", "added"),
    [
        ("internlm/internlm2-7b", "bias", 32 * (4096 + 2 * 1024 + 4096)),
        ("internlm/internlm-20b", "bias", 60 * 4 * 5120),
        ("openpangu/openPangu-Embedded-7B", "bias", 0),
        ("openpangu/openPangu-Embedded-7B", "num_key_value_heads", 0),
        ("MiniMaxAI/MiniMax-M1-80k", "num_key_value_heads", 0),
        ("XiaomiMiMo/MiMo-7B", "num_key_value_heads", 37 * 2 * 24 * 128 * (4096 + 1)),
        ("openbmb/MiniCPM-2B", "num_key_value_heads", 0),
        ("openbmb/MiniCPM-2B", "tie_word_embeddings", 0),
        ("deepseek-ai/deepseek-moe-16b", "n_shared_experts", -27 * 3 * 2 * 1408 * 2048),
        (
            "deepseek-ai/deepseek-moe-16b",
            "first_k_dense_replace",
            66 * 3 * 1408 * 2048 + 64 * 2048 - 3 * 10944 * 2048,
        ),
    ],
)
def test_an_absent_field_means_what_its_class_says(name: str, field: str, added: int) -> None:
    """InternLM's and Pangu's have biases, Pangu's and M1's 8 key/value heads, MiMo's 32."""
    fields = CASES[name].fields
    without = {key: value for key, value in fields.items() if key != field}
    before, after = read(fields), read(without)
    assert after.parameters + after.mtp_parameters == before.parameters + before.mtp_parameters + added


def test_the_classes_that_do_not_say_that_they_have_a_head() -> None:
    """ChatGLM's config names its trunk, and the file has a head."""
    assert not read(GLM4).headless
    assert read(GLM4).buffer_values == 32


@pytest.mark.parametrize("name", ["Qwen/Qwen-7B", "internlm/internlm-20b", "baichuan-inc/Baichuan-7B"])
def test_vllm_has_no_class_for_them_any_more(name: str, tmp_path: Path) -> None:
    """The registry of 0.32 says: until 0.23."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CASES[name].fields), encoding="utf-8")
    serve(config, context=2048, engine="vllm", engine_version="0.22", on="1x h200")
    with pytest.raises(BadInputError, match="--engine: expected a type that vLLM"):
        serve(config, context=2048, engine="vllm", on="1x h200")
