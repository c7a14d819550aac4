"""GGUF files of true shapes whose numbers are a hole: a file of 1.3 TB takes 0.1 MB of disk."""

from __future__ import annotations

import struct

from memcalc.files.gguf.compare import shapes
from memcalc.files.gguf.header import TYPES, format_of
from memcalc.files.gguf.model import gguf_model
from memcalc.files.gguf.names import architecture
from memcalc.files.gguf.presets import PRESETS, with_preset
from memcalc.files.readers import read

NUMBERS = {name: number for number, name in TYPES.items()}
ALIGNMENT = 32

# the text model of Qwen3.8-27B, as its config describes it
QWEN_27B = {
    "model_type": "qwen3_5_text",
    "vocab_size": 248_320,
    "hidden_size": 5120,
    "intermediate_size": 17_408,
    "num_hidden_layers": 64,
    "num_attention_heads": 24,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "full_attention_interval": 4,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 48,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_conv_kernel_dim": 4,
    "mtp_num_hidden_layers": 1,
    "max_position_embeddings": 262_144,
    "tie_word_embeddings": False,
}


def text(value):
    return struct.pack("<Q", len(value.encode())) + value.encode()


def value(item):
    """A value behind its type: flags, whole numbers, fractions, texts, lists of whole numbers or texts."""
    if isinstance(item, bool):
        return struct.pack("<I?", 7, item)
    if isinstance(item, int):
        return struct.pack("<II", 4, item) if item < 2**32 else struct.pack("<IQ", 10, item)
    if isinstance(item, float):
        return struct.pack("<If", 6, item)
    if isinstance(item, str):
        return struct.pack("<I", 8) + text(item)
    if item and isinstance(item[0], str):
        return struct.pack("<IIQ", 9, 8, len(item)) + b"".join(map(text, item))
    return struct.pack(f"<IIQ{len(item)}I", 9, 4, len(item), *item)


def size_of(shape, dtype):
    *rows, columns = shape
    number = 1
    for axis in rows:
        number *= axis
    return format_of(dtype).bytes(number, columns)


def header(values, tensors, version=3):
    """The bytes before the numbers, and how many bytes of numbers follow."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(values))
    head += b"".join(text(key) + value(item) for key, item in values.items())
    offset = 0
    for name, shape, dtype in tensors:
        axes = tuple(reversed(shape))
        head += text(name) + struct.pack(f"<I{len(axes)}QIQ", len(axes), *axes, NUMBERS[dtype], offset)
        offset += -(-size_of(shape, dtype) // ALIGNMENT) * ALIGNMENT
    return head + b"\0" * (-len(head) % ALIGNMENT), offset


def write(path, values, tensors, version=3):
    """Write a file; `tensors` are (name, shape with outputs first, type)."""
    head, length = header(values, tensors, version)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + length)
    return path


def described(config, model, *, old=False):
    """The key-values of a model, from the fields of its config.json, as a converter writes them."""
    text_config = config.get("text_config", config)

    def get(*names):
        return next((text_config[name] for name in names if text_config.get(name) is not None), None)

    name = architecture(model).id
    heads, kind = get("num_attention_heads"), model.model_type
    attention = next(part for layer in model.groups for _, part in layer.parts if hasattr(part, "heads"))
    found = {
        "vocab_size": dict(model.outside)["model.embed_tokens"].vocab,
        "context_length": get("max_position_embeddings") or 4096,
        "embedding_length": get("hidden_size"),
        "block_count": get("num_hidden_layers") + len(gguf_model(model).mtp),
        "feed_forward_length": get("intermediate_size"),
        "attention.head_count": heads,
        "attention.head_count_kv": get("num_key_value_heads") or heads,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "rope.freq_base": 1e6,
        "expert_count": get("num_experts", "num_local_experts", "n_routed_experts"),
        "expert_used_count": get("num_experts_per_tok"),
        "expert_feed_forward_length": get("moe_intermediate_size") or get("intermediate_size"),
    }
    if name in ("deepseek2", "deepseek32", "glm-dsa"):
        rank, rotated = get("kv_lora_rank"), get("qk_rope_head_dim")
        key, of_value = get("qk_nope_head_dim") + rotated, get("v_head_dim")
        found |= {
            "attention.head_count_kv": heads if old else 1,
            "attention.key_length": key if old else rank + rotated,
            "attention.value_length": of_value if old else rank,
            "leading_dense_block_count": get("first_k_dense_replace") or 0,
            "attention.kv_lora_rank": rank,
            "attention.q_lora_rank": get("q_lora_rank"),
            "rope.dimension_count": rotated,
            "expert_shared_count": get("n_shared_experts"),
            "expert_weights_scale": 2.5,
            "expert_gating_func": 2,
            "expert_weights_norm": True,
        }
        found |= {} if old else {"attention.key_length_mla": key, "attention.value_length_mla": of_value}
        found |= {
            f"attention.indexer.{theirs}": get(ours)
            for ours, theirs in (
                ("index_n_heads", "head_count"),
                ("index_head_dim", "key_length"),
                ("index_topk", "top_k"),
            )
        }
    else:
        found |= {"attention.key_length": attention.head_dim, "attention.value_length": attention.head_dim}
        found |= {"rope.dimension_count": attention.rope_dim or attention.head_dim}
    if name == "glm-dsa" and (kinds := get("indexer_types")) is not None:
        found["attention.indexer.types"] = [int(kind == "full") for kind in kinds]
    if name == "glm4moe":
        found |= {
            "leading_dense_block_count": get("first_k_dense_replace") or 0,
            "expert_shared_count": get("n_shared_experts"),
        }
    found |= {"nextn_predict_layers": len(model.mtp)} if gguf_model(model).mtp else {}
    if kind in ("gemma2", "gemma3", "gemma3_text", "gpt_oss", "phi3"):
        found["attention.sliding_window"] = get("sliding_window") or 4096
    if kind in ("qwen3_next", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text"):
        inner = get("linear_num_value_heads") * get("linear_value_head_dim")
        found |= {
            "ssm.conv_kernel": get("linear_conv_kernel_dim"),
            "ssm.inner_size": inner,
            "ssm.state_size": get("linear_key_head_dim"),
            "ssm.time_step_rank": get("linear_num_value_heads"),
            "ssm.group_count": get("linear_num_key_heads"),
            "expert_shared_feed_forward_length": get("shared_expert_intermediate_size"),
        }
    if kind.startswith("qwen3_5"):
        found |= {"rope.dimension_sections": [11, 11, 10, 0], "full_attention_interval": 4}
    own = {f"{name}.{key}": item for key, item in found.items() if item is not None}
    return {"general.architecture": name, "general.file_type": 1, "tokenizer.ggml.model": "no_vocab", **own}


def stored(model, mix="F16", *, old=False):
    """(name, shape, type) of every tensor of a model's file in a mix."""
    types = types_of(model, mix, old=old)
    return [(name, shape, types[name]) for name, shape in shapes(gguf_model(model, old=old)).items()]


def types_of(model, mix, *, old=False):
    """The type of every tensor of a file, by name in GGUF."""
    from memcalc.files.gguf.names import gguf_name

    held, rule = with_preset(model, PRESETS[mix], old=old)
    spelled = {"fp32": "F32", "fp16": "F16", "bf16": "BF16"}
    found = {}
    for name, part in held.outside:
        for tensor in part.weights():
            form = rule(tensor._replace(name=f"{name}.{tensor.name}")).id
            found[gguf_name(held, f"{name}.{tensor.name}")] = spelled.get(form, form)
    for index, layer in enumerate((*held.layers, *held.mtp)):
        for tensor in layer.weights():
            form = rule(tensor).id
            found[gguf_name(held, f"model.layers.{index}.{tensor.name}")] = spelled.get(form, form)
    return found


def model_file(path, config, mix="F16", *, old=False, **more):
    """Write a model's file from its config.json."""
    model = read(config)
    return write(path, described(config, model, old=old) | more, stored(model, mix, old=old))
