"""Types that transformers does not have: parameters, names and sizes of their published checkpoints."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from memcalc.data import open_text
from memcalc.errors import BadInputError
from memcalc.files.readers import PUBLISHED, READERS, read
from memcalc.files.tensor_names import header, listed
from memcalc.ledger.formats import FORMATS, tensor_bytes
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


def sized(width: int, inner: int, depth: int, heads: int, vocab: int) -> dict[str, object]:
    """The five sizes of a decoder, under their usual names."""
    named = {"hidden_size": width, "intermediate_size": inner, "num_hidden_layers": depth}
    return {**named, "num_attention_heads": heads, "vocab_size": vocab}


QWEN = {"model_type": "qwen", "kv_channels": 128, "no_bias": True, "tie_word_embeddings": False}
BAICHUAN = {"model_type": "baichuan", "model_max_length": 4096, "tie_word_embeddings": False}
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
    "max_window_layers": 32,
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


NEMOTRON = {
    "model_type": "nemotron-nas",
    "architectures": ["DeciLMForCausalLM"],
    "hidden_size": 8192,
    "intermediate_size": None,
    "num_attention_heads": 64,
    "num_hidden_layers": 80,
    "num_key_value_heads": None,
    "vocab_size": 128256,
    "block_configs": [
        *(48 * [block(8, 5.25)]), block(8, 2.625), block(None, 3.28125), block(None, 5.25),
        *(5 * [block(None, 2.625)]), *(10 * [block(None, 1.3125)]), *(8 * [block(None, 1.0)]),
        *(6 * [block(None, 0.5)]),
    ],
}  # fmt: skip
# model: its config, bytes of its 16-bit weights, names of its tensors where they were seen; source, 2026-11
CASES = {
    # model.safetensors.index.json: https://github.com/mapengAdam/qianwen-72B, commit 3334bfe
    "Qwen/Qwen-72B": (QWEN | sized(8192, 49152, 80, 64, 152064), 144_575_840_256, QWEN_NAMES),
    # parameters that https://github.com/foldl/chatllm.cpp, commit 4a4310e, prints: docs/rag.md
    "Qwen/Qwen-7B": (QWEN | sized(4096, 22016, 32, 32, 151936), 2 * 7_721_324_544, QWEN_NAMES),
    "openbmb/MiniCPM-2B": (
        {"model_type": "minicpm", "scale_emb": 12, "dim_model_base": 256, "num_key_value_heads": 36}
        | sized(2304, 5760, 40, 36, 122753),
        2 * 2_724_880_896,
        LLAMA_NAMES - {"lm_head.weight"},
    ),
    # the same, docs/tool_calling.md; and 32 frequencies
    "THUDM/glm-4-9b": (GLM4, 2 * (9_399_951_360 + 32), GLM_NAMES),
    # model.safetensors.index.json: https://github.com/NanSang2000/S1mpleAgent, commit 4275caa
    "internlm/internlm2-7b": (
        {"model_type": "internlm2", "bias": False, "num_key_value_heads": 8}
        | sized(4096, 14336, 32, 32, 92544),
        15_475_417_088,
        INTERNLM2_NAMES,
    ),
    # pytorch_model.bin.index.json: https://github.com/yangulei/internlm-20b, commit c8acf43
    "internlm/internlm-20b": (
        {"model_type": "internlm", "bias": False, "rotary": {"base": 10000, "type": "dynamic"}}
        | sized(5120, 13824, 60, 40, 103168),
        40_177_428_480,
        LLAMA_NAMES,
    ),
    # model.safetensors.index.json: https://github.com/IDLEOAK/openpangu-lightweight-methods, commit bc3cf2c
    "openpangu/openPangu-Embedded-7B": (
        {"model_type": "PanguEmbedded", "bias": True, "num_key_value_heads": 8}
        | sized(4096, 12800, 34, 32, 153376),
        16_061_784_576,
        PANGU_NAMES,
    ),
    # table of parameters: https://github.com/baichuan-inc/Baichuan-13B, README.md, 2023-07
    "baichuan-inc/Baichuan-7B": (
        BAICHUAN | {"max_position_embeddings": 4096} | sized(4096, 11008, 32, 32, 64000),
        2 * 7_000_559_616,
        BAICHUAN_NAMES,
    ),
    "baichuan-inc/Baichuan-13B": (
        BAICHUAN | sized(5120, 13696, 40, 40, 64000),
        2 * 13_264_901_120,
        BAICHUAN_NAMES,
    ),
    # parameters of the safetensors: https://huggingface.co/microsoft/phi-2
    "microsoft/phi-2": (PHI2, 2 * 2_779_683_840, PHI_NAMES),
    # parameters of the safetensors: https://huggingface.co/deepseek-ai/deepseek-moe-16b-base
    "deepseek-ai/deepseek-moe-16b": (DEEPSEEK, 2 * 16_375_728_128, set()),
    # 7.83 billion with the layer for multi-token prediction: https://huggingface.co/XiaomiMiMo/MiMo-7B-Base
    "XiaomiMiMo/MiMo-7B": (MIMO, 2 * 7_622_619_136, set()),
    # 49.9 billion: https://huggingface.co/mmnga/Llama-3_3-Nemotron-Super-49B-v1-gguf
    "nvidia/Llama-3_3-Nemotron-Super-49B-v1": (NEMOTRON, 2 * 49_867_145_216, LLAMA_NAMES),
    # model.safetensors.index.json: https://github.com/MiniMax-AI/MiniMax-M1, commit 2abb4f4, 2025-06
    "MiniMaxAI/MiniMax-M1-80k": (M1, 912_210_767_872, set()),
}


# whose sizes are published in rounded figures, or of another type: test_kimi_k3.py, test_minimax_m3.py
ROUNDED = {"kimi_k3", "kimi_k3_text", "minimax_m3"}


@pytest.mark.parametrize("name", CASES)
def test_the_bytes_of_a_published_checkpoint(name: str) -> None:
    """All tensors together, to the byte."""
    fields, size, _ = CASES[name]
    model = read(fields, name)
    held = (tensor_bytes(tensor, FORMATS[tensor.format or "bf16"]) for tensor in model.weights())
    assert sum(held) == size


@pytest.mark.parametrize("name", CASES)
def test_the_names_of_a_published_checkpoint(name: str) -> None:
    """Layers and experts together, those of the file and no others."""
    fields, _, names = CASES[name]
    starred = {re.sub(r"\.\d+\.", ".*.", tensor) for tensor in header(read(fields, name))}
    assert starred == (names or starred)


def test_every_published_type_has_a_case_and_a_source() -> None:
    """None of them is a type of transformers, whose classes would be the truth."""
    with open_text("published_classes.jsonl") as file:
        classes = [json.loads(line) for line in file]
    assert {one["model_type"] for one in classes} == set(PUBLISHED)
    assert all(one["source"].startswith("https://") and one["date"] for one in classes)
    assert {fields["model_type"] for fields, _, _ in CASES.values()} | ROUNDED == set(PUBLISHED)
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
        ("THUDM/glm-4-9b", "add_bias_linear", True),
        ("THUDM/glm-4-9b", "pre_seq_len", 128),
        ("THUDM/glm-4-9b", "multi_query_group_num", 3),
        ("THUDM/glm-4-9b", "num_layers", 41),
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
    """By the name of the field."""
    with pytest.raises(BadInputError, match=field):
        read({**CASES[name][0], field: value})


def test_active_parameters_and_layers_ahead() -> None:
    """Six of 64 experts and both shared ones; MiMo's 7.83 billion with its layer ahead."""
    assert read(CASES["deepseek-ai/deepseek-moe-16b"][0]).active_parameters == 2_828_650_496
    mimo = read(MIMO)
    assert mimo.parameters + mimo.mtp_parameters == 7_833_409_536
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
        ("openbmb/MiniCPM-2B", "num_key_value_heads", 0),
    ],
)
def test_an_absent_field_means_what_its_class_says(name: str, field: str, added: int) -> None:
    """InternLM's and Pangu's classes have biases if nothing is said."""
    fields = CASES[name][0]
    without = {key: value for key, value in fields.items() if key != field}
    assert read(without).parameters == read(fields).parameters + added


def test_the_classes_that_do_not_say_that_they_have_a_head() -> None:
    """ChatGLM's config names its trunk, and the file has a head."""
    assert not read(GLM4).headless
    assert read(GLM4).buffer_values == 32


@pytest.mark.parametrize("name", ["Qwen/Qwen-7B", "internlm/internlm-20b", "baichuan-inc/Baichuan-7B"])
def test_vllm_has_no_class_for_them_any_more(name: str, tmp_path: Path) -> None:
    """The registry of 0.32 says: until 0.23."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CASES[name][0]), encoding="utf-8")
    serve(config, context=2048, engine="vllm", engine_version="0.22", on="1x h200")
    with pytest.raises(BadInputError, match="--engine: expected a type that vLLM"):
        serve(config, context=2048, engine="vllm", on="1x h200")
