"""GGUF files of true shapes whose numbers are a hole: a file of 1.3 TB takes 0.1 MB of disk."""

from __future__ import annotations

import struct

from memcalc.files.gguf.compare import shapes
from memcalc.files.gguf.header import TYPES, format_of
from memcalc.files.gguf.model import gguf_model
from memcalc.files.gguf.names import HYBRIDS, architecture, written_as
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
    """A value behind its type: flags, whole numbers, fractions, texts, lists of these."""
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
    number, letter = {bool: (7, "?"), float: (6, "f")}.get(type(item[0]) if item else int, (4, "I"))
    return struct.pack(f"<IIQ{len(item)}{letter}", 9, number, len(item), *item)


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


def first_sparse(model):
    """How many layers come before the first with experts."""
    sparse = (any(hasattr(part, "experts") for _, part in layer.parts) for layer in model.layers)
    return next((index for index, has_some in enumerate(sparse) if has_some), 0)


INNER = ("ffn_width", "expert_width")


def spread(parts):
    """What differs from layer to layer where some attend and others have a state, and the state's sizes."""
    states = [part for own in parts for part in own if hasattr(part, "conv_kernel")]
    if not states:  # lightning attention: its matrices follow from the heads
        return {}
    heads = [next((part.kv_heads for part in own if hasattr(part, "kv_heads")), 0) for own in parts]
    widths = ([getattr(part, name, 0) for part in own for name in INNER] for own in parts)
    inner = [max(found) for found in widths]
    found = {"attention.head_count_kv": heads, "ssm.conv_kernel": states[0].conv_kernel}
    if not any(heads):
        found["attention.head_count_kv"] = 0
    if len(set(inner)) > 1:
        found["feed_forward_length"] = inner
    if hasattr(states[0], "ssm_heads"):
        one = states[0]
        found |= {
            "ssm.inner_size": one.ssm_heads * one.ssm_head_dim,
            "ssm.state_size": one.ssm_state,
            "ssm.time_step_rank": one.ssm_heads,
            "ssm.group_count": one.ssm_groups,
        }
    elif hasattr(states[0], "ssm_state"):
        one = states[0]
        found |= {
            "ssm.inner_size": one.ssm_width,
            "ssm.state_size": one.ssm_state,
            "ssm.time_step_rank": one.step_rank,
        }
    return found


def granite(get, model):
    """Its multipliers are not optional; without routed experts the shared ones are the feed-forward part."""
    scales = dict.fromkeys(("attention.scale", "embedding_scale", "residual_scale", "logit_scale"), 1.0)
    shared = get("shared_intermediate_size")
    inner = {} if model.has_experts or not shared else {"feed_forward_length": shared}
    return {**scales, **inner, "expert_shared_feed_forward_length": shared}


def windowed(get, _):
    return {"attention.sliding_window": get("sliding_window") or 4096}


def dots1(get, _):
    return {
        "leading_dense_block_count": get("first_k_dense_replace") or 0,
        "expert_shared_count": get("n_shared_experts"),
        "expert_weights_scale": 2.5,
        "expert_gating_func": 2,
    }


def ernie(get, _):
    return {
        "leading_dense_block_count": get("moe_layer_start_index"),
        "interleave_moe_layer_step": get("moe_layer_interval"),
        "expert_count": get("moe_num_experts"),
        "expert_used_count": get("num_experts_per_tok", "moe_k"),
        "expert_shared_count": get("moe_num_shared_experts"),
        "expert_shared_feed_forward_length": get("moe_intermediate_size") * get("moe_num_shared_experts"),
    }


def llama4(get, _):
    return {
        "interleave_moe_layer_step": get("interleave_moe_layer_step"),
        "feed_forward_length": get("intermediate_size_mlp"),
        "expert_feed_forward_length": get("intermediate_size"),
        "attention.sliding_window": get("attention_chunk_size"),
    }


def nemotron(get, model):
    sparse = next((part for _, part in every_part(model) if hasattr(part, "experts")), None)
    return (
        {}
        if sparse is None
        else {
            "expert_shared_count": 1,
            "expert_shared_feed_forward_length": sparse.shared_width,
            "expert_weights_scale": 1.0,
            "expert_weights_norm": True,
            "expert_gating_func": 2,
            "moe_latent_size": sparse.latent,
        }
    )


def gemma4(get, model):
    """Layers without a window have wider heads; what differs from layer to layer is a list."""
    attends = [dict(layer.parts)["self_attn"] for layer in model.layers]
    width = {part.window is None: part.head_dim for part in attends}
    near, far = width.get(False, get("head_dim")), width.get(True, get("global_head_dim") or 512)
    return {
        "attention.key_length": far,
        "attention.value_length": far,
        "attention.key_length_swa": near,
        "attention.value_length_swa": near,
        "attention.head_count_kv": [part.kv_heads for part in attends],
        "attention.sliding_window": get("sliding_window"),
        "attention.sliding_window_pattern": [part.window is not None for part in attends],
        "attention.shared_kv_layers": get("num_kv_shared_layers") or 0,
        "embedding_length_per_layer_input": get("hidden_size_per_layer_input") or 0,
        "feed_forward_length": [dict(layer.parts)["mlp"].ffn_width for layer in model.layers],
        "rope.dimension_count": far,
        "rope.dimension_count_swa": near,
        "expert_count": get("num_experts") if model.has_experts else None,
        "expert_used_count": get("top_k_experts") if model.has_experts else None,
        "expert_feed_forward_length": get("moe_intermediate_size") if model.has_experts else None,
    }


def mixture(_, model):
    """What a file states of experts, where it states all of it."""
    sparse = next(part for _, part in every_part(model) if hasattr(part, "experts"))
    shared = getattr(sparse, "shared_width", None) or 0
    dense = next((part.ffn_width for _, part in every_part(model) if hasattr(part, "ffn_width")), None)
    return {
        **({"feed_forward_length": dense} if dense else {}),
        "leading_dense_block_count": first_sparse(model),
        "expert_count": sparse.experts,
        "expert_used_count": sparse.top_k,
        "expert_feed_forward_length": sparse.expert_width,
        "expert_shared_count": max(1, shared // sparse.expert_width) if shared else 0,
        "expert_shared_feed_forward_length": shared,
        "expert_weights_scale": 1.0,
        "expert_weights_norm": True,
        "expert_gating_func": 2,
    }


def listed(_, model):
    """Which layers have a window, in a list."""
    windows = [dict(layer.parts)["self_attn"].window for layer in (*model.layers, *gguf_model(model).mtp)]
    return {
        "attention.sliding_window": max((one for one in windows if one), default=0),
        "attention.sliding_window_pattern": [one is not None for one in windows],
    }


def both(*given):
    return mixture(*given) | listed(*given)


def laguna(get, model):
    """Layers may differ in heads; which have a window stands in the library's code."""
    heads = [dict(layer.parts)["self_attn"].heads for layer in model.layers]
    window = {"attention.sliding_window": max(model.windows, default=0), "rope.dimension_count_swa": 32}
    return {**mixture(get, model), "attention.head_count": heads, **(window if model.windows else {})}


def minicpm3(get, _):
    """Keys and values of all heads: how wide a value is follows from the stream's width."""
    ranks = {f"attention.{one}_lora_rank": get(f"{one}_lora_rank") for one in ("q", "kv")}
    rotated = get("qk_rope_head_dim")
    own = {"rope.dimension_count": rotated, "attention.key_length": get("qk_nope_head_dim") + rotated}
    return {**ranks, **own, "attention.head_count_kv": get("num_attention_heads")}


def deci(get, model):
    """Each layer has its own attention, or a matrix or nothing instead, and its own inner width."""
    parts = [dict(layer.parts) for layer in model.layers]
    attends = [own.get("self_attn") for own in parts]
    linear = [get("num_attention_heads") if "self_attn.linear_attn" in own else 0 for own in parts]
    return {
        "attention.head_count": [
            one.heads if one else other for one, other in zip(attends, linear, strict=True)
        ],
        "attention.head_count_kv": [one.kv_heads if one else 0 for one in attends],
        "feed_forward_length": [own["mlp"].ffn_width if "mlp" in own else 0 for own in parts],
    }


def granite_swa(get, model):
    shared = get("shared_intermediate_size") or 0
    return {**granite(get, model), **listed(get, model), "expert_shared_feed_forward_length": shared}


def widths_of(latent):
    """Latent attention as key-values: of what is kept, and of a head before it is made into one."""
    return {
        "attention.kv_lora_rank": latent.kv_rank,
        "attention.q_lora_rank": latent.q_rank,
        "attention.key_length": latent.kv_rank + latent.rope_dim,
        "attention.value_length": latent.kv_rank,
        "attention.key_length_mla": latent.nope_dim + latent.rope_dim,
        "attention.value_length_mla": latent.value_dim,
        "rope.dimension_count": latent.rope_dim,
    }


def delta(get, model):
    """Kimi delta attention: of its layers none has key/value heads, of the others each has one latent."""
    one = next(part for _, part in every_part(model) if hasattr(part, "linear_key_dim"))
    latent = next(part for _, part in every_part(model) if hasattr(part, "kv_rank"))
    kept = [int(hasattr(dict(layer.parts)["self_attn"], "kv_rank")) for layer in model.layers]
    return {
        **mixture(get, model),
        "attention.head_count_kv": kept,
        **widths_of(latent),
        "ssm.conv_kernel": one.conv_kernel,
        "kda.head_dim": one.linear_key_dim,
        "kda.gate_lower_bound": -5.0,
    }


def kimi_k3(get, model):
    sparse = next(part for _, part in every_part(model) if hasattr(part, "experts"))
    situ = {"activation.situ_beta": 1.0, "activation.situ_linear_beta": 1.0}
    latent = {"expert_latent_length": get("routed_expert_hidden_size"), "expert_count": sparse.experts}
    return {**delta(get, model), **situ, **latent, "attn_res.block_size": get("attn_res_block_size")}


def minimax_m3(get, model):
    inside = get("sparse_attention_config") or {}
    sizes = {"head_count": "sparse_num_index_heads", "key_length": "sparse_index_dim"}
    sizes |= {"top_k": "sparse_topk_blocks", "block_size": "sparse_block_size"}
    stated = {f"attention.indexer.{name}": inside.get(field) or 16 for name, field in sizes.items()}
    return {**mixture(get, model), **stated, "attention.indexer.local_blocks": 1}


def hy_v4(get, model):
    latent = next(part for _, part in every_part(model) if hasattr(part, "kv_rank"))
    kinds = get("indexer_types")
    return {
        **mixture(get, model),
        "attention.head_count_kv": 1,
        **widths_of(latent),
        "hyper_connection.count": get("hc_mult"),
        "hyper_connection.epsilon": 1e-6,
        "hyper_connection.magnitude": 2.0,
        "attention.indexer.head_count": get("index_n_heads"),
        "attention.indexer.key_length": get("index_head_dim"),
        "attention.indexer.top_k": get("index_topk"),
        "attention.indexer.types": [kind == "full" for kind in kinds],
    }


SECTIONS = {"rope.dimension_sections": [11, 11, 10, 0]}
XIELU = ("alpha_n", "alpha_p", "beta", "eps")

# what an architecture states beside the rest
OWN = {
    "afmoe": lambda *given: {**mixture(*given), **windowed(*given)},
    "cohere2moe": lambda *given: {**both(*given), "logit_scale": 1.0},
    "bailingmoe3": delta,
    "deci": deci,
    "kimi-k3": kimi_k3,
    "kimi-linear": delta,
    "deepseek": mixture,
    "gemma3n": lambda _, model: {"attention.sliding_window": max(model.windows)},
    "granite_swa": granite_swa,
    "minimax-m3": minimax_m3,
    "minicpm3": minicpm3,
    "minimax-01": lambda *_: {"residual_scale": 1.0},
    "mistral4": mixture,
    "exaone-moe": both,
    "hy_v3": mixture,
    "hy_v4": hy_v4,
    "laguna": laguna,
    "mellum": listed,
    "qwen2vl": lambda *_: SECTIONS,
    "gemma4": gemma4,
    "nemotron_h": nemotron,
    "nemotron_h_moe": nemotron,
    "granite": granite,
    "granitemoe": granite,
    "granitehybrid": granite,
    "lfm2": lambda get, _: {"shortconv.l_cache": get("conv_L_cache")},
    "lfm2moe": lambda get, _: {
        "shortconv.l_cache": get("conv_L_cache"),
        "leading_dense_block_count": get("num_dense_layers"),
        "expert_gating_func": 2,
    },
    "cohere2": lambda *given: {**windowed(*given), "logit_scale": 1.0},
    "command-r": lambda *_: {"logit_scale": 1.0},
    "dots1": dots1,
    "ernie4_5-moe": ernie,
    "exaone4": windowed,
    "gptneox": lambda *_: {"use_parallel_residual": True},
    "hunyuan-moe": lambda get, _: {"expert_shared_feed_forward_length": get("intermediate_size")},
    "llama4": llama4,
    "minimax-m2": lambda *_: {"expert_gating_func": 2},
    "mistral3": lambda *_: {"attention.temperature_scale": 1.0},
    "olmo2": lambda get, _: {"attention.sliding_window": get("sliding_window")},
    "qwen2moe": lambda get, _: {"expert_shared_feed_forward_length": get("shared_expert_intermediate_size")},
    "qwen3vl": lambda *_: {**SECTIONS, "n_deepstack_layers": 3},
    "qwen3vlmoe": lambda *_: {**SECTIONS, "n_deepstack_layers": 3},
    "stablelm": lambda *_: {"use_parallel_residual": False},
}


# ChatGLM's and Phi's own words
SPELLED = {"max_position_embeddings": "seq_length", "num_key_value_heads": "multi_query_group_num"}


def described(config, model, *, old=False):
    """The key-values of a model, from the fields of its config.json, as a converter writes them."""
    text_config = config.get("text_config", config)

    def get(*names):
        names = [each for name in names for each in (name, SPELLED.get(name))]
        return next((text_config[name] for name in names if text_config.get(name) is not None), None)

    name = architecture(model).id
    heads, kind = get("num_attention_heads"), written_as(model)
    parts = [[part for _, part in layer.parts] for layer in model.layers]
    attention = next((part for own in parts for part in own if hasattr(part, "kv_heads")), None)
    attention = attention or next((part for own in parts for part in own if hasattr(part, "heads")), None)
    heads = heads or getattr(attention, "heads", None)
    dense = next((part.ffn_width for own in parts for part in own if hasattr(part, "ffn_width")), None)
    vocab, width = (getattr(dict(model.outside)["model.embed_tokens"], name) for name in ("vocab", "width"))
    found = {
        "vocab_size": vocab,
        "context_length": get("max_position_embeddings") or model.max_context or 4096,
        "embedding_length": width,
        "block_count": len(model.layers) + len(gguf_model(model).mtp),
        "feed_forward_length": get("intermediate_size", "ffn_hidden_size", "n_inner") or dense or 4 * width,
        "attention.head_count": heads if attention else 0,
        "attention.head_count_kv": get("num_key_value_heads") or getattr(attention, "kv_heads", heads),
        "attention.layer_norm_rms_epsilon": 1e-6,
        "attention.layer_norm_epsilon": 1e-6,
        "rope.freq_base": 1e6,
        "expert_count": get("num_experts", "num_local_experts", "n_routed_experts"),
        "expert_used_count": get("num_experts_per_tok"),
        "expert_feed_forward_length": get("moe_intermediate_size") or get("intermediate_size"),
    }
    if name in ("deepseek2", "deepseek32", "glm-dsa", "mistral4"):
        rank, rotated = get("kv_lora_rank"), get("qk_rope_head_dim")
        key, of_value = get("qk_nope_head_dim") + rotated, get("v_head_dim")
        found |= {
            "attention.head_count_kv": heads if old else 1,
            "attention.key_length": key if old else rank + rotated,
            "attention.value_length": of_value if old else rank,
            "leading_dense_block_count": get("first_k_dense_replace") or first_sparse(model),
            **({} if model.has_experts else {"leading_dense_block_count": len(model.layers)}),
            "attention.kv_lora_rank": rank,
            "attention.q_lora_rank": get("q_lora_rank"),
            "rope.dimension_count": rotated,
            "expert_shared_count": get("n_shared_experts") or 0,
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
    elif hasattr(attention, "head_dim"):
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
    found |= {} if model.has_experts else {"expert_count": None, "expert_used_count": None}
    found |= spread(parts) if kind in HYBRIDS else {}
    found |= OWN.get(name, lambda *_: {})(get, model)
    own = {f"{name}.{key}": item for key, item in found.items() if item is not None}
    if name == "apertus":
        own |= {f"xielu.{each}": [0.5] * len(model.layers) for each in XIELU}
    return {"general.architecture": name, "general.file_type": 1, "tokenizer.ggml.model": "no_vocab", **own}


TURNED = (
    "bailingmoe3",
    "kimi-linear",
    "falcon-h1",
    "granitehybrid",
    "mamba2",
    "nemotron_h",
    "nemotron_h_moe",
)  # with a column of one


def stored(model, mix="F16", *, old=False):
    """(name, shape, type) of every tensor of a model's file in a mix."""
    types = types_of(model, mix, old=old)
    found = shapes(gguf_model(model, old=old)) | tables(model)
    if architecture(model).id in TURNED:
        groups = next((part.ssm_groups for _, part in every_part(model) if hasattr(part, "ssm_groups")), 1)
        for name, shape in found.items():
            if name.endswith(("ssm_a", "ssm_d")):
                found[name] = (*shape, 1)
            elif name.endswith("ssm_norm.weight") and groups > 1:
                found[name] = (groups, shape[0] // groups)
    for name in found:
        if "ssm_conv1d_" in name:  # Kimi's have an axis of one
            found[name] = (found[name][0], 1, found[name][1])
    return [(name, shape, types[name]) for name, shape in found.items()]


def every_part(model):
    return (pair for layer in model.groups for pair in layer.parts)


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
    return found | dict.fromkeys(tables(held), "F32")


def tables(model):
    """Tables that the converter adds: Gemma 4's frequencies, for layers without a window."""
    wide = [part for _, part in every_part(model) if hasattr(part, "borrows") and part.window is None]
    return (
        {"rope_freqs.weight": (wide[0].head_dim // 2,)} if architecture(model).id == "gemma4" and wide else {}
    )


def model_file(path, config, mix="F16", *, old=False, **more):
    """Write a model's file from its config.json."""
    model = read(config)
    return write(path, described(config, model, old=old) | more, stored(model, mix, old=old))
