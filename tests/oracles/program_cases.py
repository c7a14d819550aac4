"""Small configs of every type whose training has a program, and four runs of each."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

import ask
import peft
import small
import torch
import train
from torch._subclasses.fake_tensor import FakeTensorMode
from train import Run
from transformers.models.falcon import modeling_falcon
from transformers.models.gptj import modeling_gptj

from memcalc.evidence.measure import step as steps

USED = (
    *("start", "forward", "loss backward", "head backward", "stream backward", "layers backward"),
    *("backward", "step"),
)
SEEDS = range(3)
TYPES = (
    *("gemma", "gemma2", "gemma3_text", "phi3", "olmo2", "ministral3"),
    *("glm4_moe", "deepseek_v2", "deepseek_v3", "minimax_m2", "ernie4_5", "ernie4_5_moe", "qwen2_moe"),
    *("gpt_oss", "qwen3_vl", "qwen3_vl_moe", "seed_oss", "olmo3", "exaone4", "glm", "glm4", "granite"),
    *("helium", "hunyuan_v1_dense", "starcoder2", "gpt_neox"),
    *("phi", "opt", "falcon", "gptj", "bloom", "stablelm", "cohere", "cohere2", "olmo", "smollm3"),
    *("gemma4_text", "gemma4", "gemma4_text with vectors"),
    *("qwen2_5_vl", "qwen3_5_text", "qwen3_5_moe_text", "qwen3_next"),
    *("deepseek_v32", "glm_moe_dsa"),
    *("nemotron_h", "granitemoehybrid", "kimi_linear"),
)


def rounded(number, multiple=8):
    """The next multiple."""
    return number + -number % multiple


def even(fields, draw):
    """Sizes that kernels take: heads and inner widths of experts in multiples of 8."""
    for name in ("head_dim", "global_head_dim", "v_head_dim", "qk_nope_head_dim", "qk_rope_head_dim"):
        if name in fields:
            fields[name] = rounded(fields[name])
    if "v_head_dim" in fields:  # kernels pad values, but not queries
        fields["v_head_dim"] = min(
            fields["v_head_dim"], fields["qk_nope_head_dim"] + fields["qk_rope_head_dim"]
        )
    if "head_dim" not in fields and "num_attention_heads" in fields:
        heads = fields["num_attention_heads"]
        fields["hidden_size"] = heads * rounded(fields["hidden_size"] // heads)
    return fields


CHUNKED = ("qwen3_5_text", "qwen3_5_moe_text", "qwen3_next")  # a state goes from chunk to chunk of 64 tokens
STATES = ("qwen3_5_text", "qwen3_next", "kimi_linear")  # those of which a layer runs forward alone
# PEFT refuses adapters of its `out_proj`, and with it `all-linear`
TARGETS = {"nemotron_h": "in_proj,q_proj,k_proj,v_proj,o_proj,up_proj,down_proj"}
WITH_STATES = (*CHUNKED, "nemotron_h", "granitemoehybrid", "kimi_linear")
# no kernel of torch's trains sinks; the class has products alone
EAGER = ("gpt_oss", "bloom")
MASKED = ("deepseek_v32", "glm_moe_dsa")  # each layer masks what its indexer did not choose


def sparse_from_the_first(fields, draw):
    """Where no layer has experts PEFT takes linear layers for stacked arrays all the same."""
    del draw
    return {name: value for name, value in fields.items() if not name.startswith("moe_layer_")}


def without_vectors(fields, draw):
    """No vector of each token for each layer, and no layer that uses keys and values of another."""
    del draw
    return fields | {"hidden_size_per_layer_input": 0, "num_kv_shared_layers": 0}


def with_vectors(fields, draw):
    """Vectors for each layer, and mostly layers that use keys and values of others."""
    last = draw.randint(1, len(fields["layer_types"]) - 2) if draw.random() < 0.8 else 0
    return fields | {"hidden_size_per_layer_input": 8 * draw.randint(1, 3), "num_kv_shared_layers": last}


def with_states(fields, draw):
    """Some layers keep a state: the first two, where the draw has none."""
    del draw
    kinds = fields.get("layer_types", ["linear_attention"])
    if "linear_attention" in kinds:
        return fields
    kinds = ["linear_attention", "linear_attention", "full_attention"]
    return fields | {"num_hidden_layers": 3, "layer_types": kinds}


def as_wide_as_the_stream(fields, draw):
    """Tokens that are narrower than the stream have no program."""
    del draw
    return fields | {"word_embed_proj_dim": fields["hidden_size"]}


def heads_in_eights(fields, draw):
    """Falcon rotates, and its heads are as kernels take them; each seed has another way to share keys."""
    fields = even(fields | {"alibi": False}, draw)
    heads = fields["num_attention_heads"] = draw.choice((2, 4, 6))
    fields["hidden_size"] = heads * rounded(draw.randint(9, 40))
    return fields | {"num_kv_heads": draw.choice((1, 2)) if fields["new_decoder_architecture"] else heads}


def rotated_in_part(fields, draw):
    """GPT-J rotates a part of each head, or all of it."""
    heads, width = draw.choice((1, 2, 4)), rounded(draw.randint(9, 40))
    return fields | {"n_head": heads, "n_embd": heads * width, "rotary_dim": draw.choice((8, width))}


def without_norms_of_heads(fields, draw):
    """A norm for each head has no program."""
    del draw
    return fields | {"qk_layernorm": False}


def clamped(fields, draw):
    """Some clamp queries, keys and values."""
    return fields | {"clip_qkv": draw.choice((None, 8.0))}


def choosing_few(fields, draw):
    """An indexer chooses fewer tokens than there are, mostly; some layer has experts."""
    wide = fields["qk_rope_head_dim"] + draw.randint(0, 30)
    dense = min(fields.get("first_k_dense_replace", 3), fields["num_hidden_layers"] - 1)
    own = {"index_topk": draw.randint(5, 60), "index_head_dim": wide, "first_k_dense_replace": dense}
    return fields | own


def mixers(fields, draw):
    """Each kind of layer, chunks of which a sequence has several, and more heads than one."""
    letters = "M*E-" + "".join(draw.choice("M*E-") for _ in range(2))
    groups = draw.choice((1, 2, 3))
    fields = {name: fields[name] for name in fields if name not in ("layers_block_type", "mlp_bias")}
    fields |= {"hybrid_override_pattern": letters, "num_hidden_layers": len(letters), "n_groups": groups}
    fields |= {
        "mamba_num_heads": 6,
        "mamba_head_dim": draw.randint(4, 18),
        "chunk_size": draw.randint(16, 130),
    }
    if fields["moe_latent_size"] is not None:
        fields["moe_latent_size"] = rounded(fields["moe_latent_size"])
    return fields


def mixers_or_attention(fields, draw):
    """Both kinds of layer, several chunks and heads; rotated or not."""
    heads, width = draw.choice((2, 4)), 2 * fields["hidden_size"]
    fields |= {"mamba_expand": 2, "mamba_n_heads": heads, "mamba_d_head": width // heads}
    fields |= {"mamba_n_groups": draw.choice((1, 2)), "mamba_chunk_size": draw.randint(16, 130)}
    kinds = ["mamba", "attention", *(draw.choice(("mamba", "attention")) for _ in range(2))]
    fields |= {"layer_types": kinds, "num_hidden_layers": len(kinds)}
    return fields | {"position_embedding_type": draw.choice(("rope", "nope"))}


def both_attentions(fields, draw):
    """Some layers keep a state, of more heads than one, others attend; the first has no experts."""
    fields = {name: fields[name] for name in fields if name not in ("layer_types", "linear_attn_config")}
    kinds = ["linear_attention", "full_attention", draw.choice(("linear_attention", "full_attention"))]
    draw.shuffle(kinds)
    fields |= {"layer_types": kinds, "num_hidden_layers": len(kinds), "first_k_dense_replace": 1}
    sizes = {"linear_num_heads": draw.randint(2, 4), "linear_head_dim": rounded(draw.randint(9, 30))}
    return fields | sizes | {"linear_conv_kernel_dim": draw.randint(2, 4)}


# what a type needs beside: a function of its fields and a drawer
OWN = {
    **dict.fromkeys(CHUNKED, with_states),
    "nemotron_h": mixers,
    "granitemoehybrid": mixers_or_attention,
    "kimi_linear": both_attentions,
    "gemma4_text": without_vectors,
    "gemma4": without_vectors,
    "gemma4_text with vectors": with_vectors,
    "gptj": rotated_in_part,
    "ernie4_5_moe": sparse_from_the_first,
    "opt": as_wide_as_the_stream,
    "stablelm": without_norms_of_heads,
    "falcon": heads_in_eights,
    **dict.fromkeys(MASKED, choosing_few),
    "olmo": clamped,
}


def sparse(fields):
    """Whether there are experts, whose grouped product wants rows of whole 16 bytes."""
    names = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
    return any(fields.get(name, 0) != 0 for name in names)


def text_of(fields):
    """The fields of the text model: beside a tower they lie in an object of their own."""
    return fields.get("text_config", fields)


def config(model_type, seed):
    """A small config of a type; equal seeds give equal configs. Nothing is dropped."""
    draw = random.Random(f"program {model_type} {seed}")
    whole = small.small_config(model_type.split()[0], seed)
    fields = text_of(whole)
    even(fields, draw)
    for name in ("moe_intermediate_size", "intermediate_size", "hidden_size"):
        if name in fields and sparse(fields):
            fields[name] = rounded(fields[name])
    depth = "n_layer" if "n_layer" in fields else "num_hidden_layers"
    if "layer_types" not in fields and fields.get(depth, 9) < 3:
        fields[depth] = 3
    changed = OWN.get(model_type, lambda fields, draw: fields)(fields, draw)
    usual = ask.config_of(whole).get_text_config().to_dict()
    none = {name: 0.0 for name, value in usual.items() if "dropout" in name and value and value < 1}
    changed |= none
    if fields is whole:
        return changed
    if "out_hidden_size" in whole.get("vision_config", {}):
        whole["vision_config"]["out_hidden_size"] = changed["hidden_size"]
    return whole | {"text_config": changed}


def runs(model_type, seed):
    """Four runs: plain, recomputed, with adapters, and step by step or in other numbers."""
    draw = random.Random(f"program run {model_type} {seed}")

    only = {"attention": "eager"} if model_type in EAGER else {}
    if model_type in MASKED:
        only = {"attention": "sdpa"}

    targets = TARGETS.get(model_type, "all-linear")

    longest = 300 if model_type in WITH_STATES else 90

    def sizes():
        return only | {"batch": draw.randint(1, 3), "sequence": draw.randint(9, longest), "optimizer": "none"}

    other = ({"attention": "eager"}, {"weights": "fp32"}, {"attention": "repeated"})
    if sparse(text_of(small.small_config(model_type.split()[0], seed))):  # torch groups products in bf16 only
        other = ({"attention": "eager"}, {"experts": "batched_mm"}, {"attention": "repeated"})
    if model_type in MASKED:
        other = ({"attention": "eager"}, {"experts": "batched_mm"}, {"attention": "eager"})
    elif only:
        other = ({"experts": "batched_mm"},) * 3 if model_type == "gpt_oss" else ({}, {"weights": "fp32"}, {})
    if model_type in FLASH:
        other = ({"attention": "eager"}, {"weights": "fp32"}, {"attention": "eager"})
    return {
        "plain": Run(**sizes() | {"optimizer": draw.choice(("none", "adamw fused", "adamw foreach"))}),
        "recomputed": Run(**sizes(), recompute=True),
        "adapters": Run(**sizes(), trained=f"lora {draw.choice((4, 8, 16))} {targets} fp32"),
        "other": Run(**sizes() | other[seed % 3], recompute=draw.random() < 0.3),
    }


# a model's config with so many layers, at its published widths, whole and with adapters under autocast
PUBLISHED = {
    "phi": "microsoft__phi-2",
    "opt": "facebook__opt-1.3b",
    "falcon": "tiiuae__falcon-7b",
    "gptj": "EleutherAI__gpt-j-6B",
    "falcon new": "tiiuae__falcon-40b",
    "bloom": "bigscience__bloom",
    "stablelm": "stabilityai__stablelm-3b-4e1t",
    "deepseek_v32": "deepseek-ai__DeepSeek-V3.2",
    "glm_moe_dsa": "zai-org__GLM-5.2",
    "cohere": "CohereForAI__c4ai-command-r-v01",
    "gemma4": "google__gemma-4-26B-A4B",
    "gemma4 with vectors": "google__gemma-4-E2B",
    "qwen3_5": "Qwen__Qwen3.5-27B",
    "nemotron_h": "nvidia__NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
    "granitemoehybrid": "ibm-granite__granite-4.0-h-small",
    "kimi_linear": "moonshotai__Kimi-Linear-48B-A3B-Instruct",
}
LAYERS = 4
KINDS_OF_LAYERS = {"nemotron_h": "hybrid_override_pattern", "granitemoehybrid": "layer_types"}
NORMED = ("bloom",)  # a norm gives the stream, which has 32 bits under autocast
NOT_THEIRS = ("torch_dtype", "dtype", "quantization_config")


def published(name):
    """The config of a model of the catalogue, of few layers, unquantised, and without dropout."""
    path = Path(__file__).parents[2] / "memcalc" / "data" / "models" / f"{PUBLISHED[name]}.json"
    whole = json.loads(path.read_text(encoding="utf-8"))["config"]
    fields = text_of(whole)
    depth = "n_layer" if "n_layer" in fields else "num_hidden_layers"
    if "linear_attn_config" in fields:
        fields = whole = with_kinds_in_words(fields)
    listed = KINDS_OF_LAYERS.get(name)
    if listed is not None:  # the fourth to the seventh, which are of each kind
        fields |= {listed: fields[listed][3 : 3 + LAYERS], depth: LAYERS}
    usual = ask.config_of(whole).get_text_config().to_dict()
    none = {key: 0.0 for key, value in usual.items() if DROPPED.search(key) and value}
    kinds = {key: value[:LAYERS] for key, value in fields.items() if of_layers(value, fields[depth])}
    if "layer_types" in fields:  # those of the last layers: Gemma 4's last one has no window
        kinds["layer_types"] = fields["layer_types"][-LAYERS:]
    if fields.get("num_kv_shared_layers"):  # one of each kind lends to one that borrows
        kinds = {"layer_types": ["sliding_attention", "full_attention"] * 2, "num_kv_shared_layers": 2}
    own = {key: value for key, value in fields.items() if key not in NOT_THEIRS}
    few = own | kinds | {depth: LAYERS} | none
    beside = {key: value for key, value in whole.items() if key not in NOT_THEIRS}
    return few if fields is whole else beside | {"text_config": few}


def with_kinds_in_words(fields):
    """Kimi Linear's kinds of layers, and the sizes of those with a state, as transformers writes them."""
    inside, depth = fields["linear_attn_config"], fields["num_hidden_layers"]
    full = inside["full_attn_layers"]  # counted from 1 on
    kinds = ["full_attention" if index in full else "linear_attention" for index in range(1, depth + 1)]
    sizes = {"num_heads": "linear_num_heads", "head_dim": "linear_head_dim"}
    sizes["short_conv_kernel_size"] = "linear_conv_kernel_dim"
    own = {name: inside[stated] for stated, name in sizes.items()}
    return (
        {key: value for key, value in fields.items() if key != "linear_attn_config"}
        | own
        | {"layer_types": kinds}
    )


def of_layers(value, depth):
    """Whether a field is a list with a word for each layer."""
    return isinstance(value, list) and len(value) == depth


DROPPED = re.compile("dropout|pdrop")


def states_last(name):
    """A dense config whose last two layers keep a state: a name has type, key heads and value heads."""
    kind, keys, values = name.split(" ")
    if kind == "kimi_linear":
        return kimi_last(int(keys))
    own = {"mlp_only_layers": [0, 1, 2], "num_experts_per_tok": 1} if kind == "qwen3_next" else {}
    return own | {
        "model_type": kind,
        "vocab_size": 300,
        "hidden_size": 64,
        "intermediate_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "layer_types": ["full_attention", "linear_attention", "linear_attention"],
        "linear_num_key_heads": int(keys),
        "linear_num_value_heads": int(values),
        "linear_key_head_dim": 24,
        "linear_value_head_dim": 40,
        "linear_conv_kernel_dim": 4,
        "tie_word_embeddings": False,
    }


def kimi_last(heads):
    """The same of Kimi Linear, whose layers have as many key heads as value heads, and latent attention."""
    return {
        "model_type": "kimi_linear",
        "vocab_size": 300,
        "hidden_size": 64,
        "intermediate_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "kv_lora_rank": 24,
        "qk_nope_head_dim": 16,
        "qk_rope_head_dim": 8,
        "v_head_dim": 16,
        "first_k_dense_replace": 3,
        "layer_types": ["full_attention", "linear_attention", "linear_attention"],
        "linear_num_heads": heads,
        "linear_head_dim": 40,
        "linear_conv_kernel_dim": 4,
        "pad_token_id": 0,
        "tie_word_embeddings": False,
    }


LAST = (
    "qwen3_5_text 3 3",
    "qwen3_5_text 2 4",
    "qwen3_next 1 3",
    "qwen3_next 2 4",
    "qwen3_next 3 3",
    "kimi_linear 2 2",
)


def states_last_runs(name):
    """In 16 bits, in 32, and recomputed; under autocast in 32, in 16, and with adapters, of one chunk, too.

    Of a Qwen3-Next without experts PEFT takes linear layers for stacked arrays: that is left out.
    """
    low = Run(batch=2, sequence=150, optimizer="none", autocast=True)
    adapters = replace(low, trained="lora 8 all-linear fp32")
    found = {
        "16 bits": Run(batch=2, sequence=150, optimizer="none"),
        "32 bits": Run(batch=2, sequence=70, optimizer="none", weights="fp32"),
        "recomputed": Run(batch=1, sequence=200, optimizer="none", recompute=True),
        "autocast, 32-bit weights": replace(low, weights="fp32"),
    }
    if name.startswith("qwen3_next"):
        return found
    return found | {
        "autocast, adapters": adapters,
        "autocast, one chunk": replace(adapters, batch=1, sequence=50),
        "autocast, recomputed": replace(low, batch=1, sequence=200, recompute=True),
    }


def published_runs(name):
    """All weights; and adapters under autocast."""
    how = {"attention": "eager"} if name in EAGER else {}
    how = {"attention": "sdpa"} if name in MASKED else how
    targets = TARGETS.get(name, "all-linear")
    low = Run(batch=2, sequence=512, trained=f"lora 16 {targets} fp32", autocast=True, **how)
    again = {"autocast, recomputed": replace(low, recompute=True)} if name in NORMED else {}
    return {"all": Run(batch=2, sequence=512, **how), "autocast": low, **again}


def adapted(how, **more):
    """A run with adapters of so many ranks, of these matrices, in such numbers."""
    return Run(trained=f"lora {how}", optimizer="none", **more)


LOW = {"autocast": True, "optimizer": "none"}
# what was once counted wrongly, each with its type, its seed and its run: further configs, lengths and ranks
FURTHER: tuple[tuple[str, int, Run], ...] = (
    # embedded tokens that are asked for a gradient, and multiplied or added to behind the embedding
    ("granite", 3, adapted("8 all-linear fp32", batch=3, sequence=108, autocast=True, recompute=True)),
    ("opt", 3, adapted("16 all-linear bf16", batch=3, sequence=123, recompute=True)),
    (
        "granitemoehybrid",
        5,
        adapted("8 all-linear fp32", batch=4, sequence=248, autocast=True, recompute=True),
    ),
    # no layer has experts
    ("deepseek_v2", 3, adapted("4 all-linear fp32", batch=2, sequence=79)),
    ("glm4_moe", 6, adapted("8 all-linear fp32", batch=2, sequence=69)),
    # adapters in 16 bits of experts and routers, of which one is loaded in 32
    ("ernie4_5_moe", 4, adapted("5 all-linear bf16", batch=3, sequence=28, recompute=True)),
    ("minimax_m2", 3, adapted("1 all-linear bf16", batch=3, sequence=54, recompute=True)),
    ("deepseek_v3", 3, adapted("5 all-linear bf16", batch=2, sequence=78)),
    # names that hold heads, and what a branch gave, until attention or the layer returns
    ("phi", 5, adapted("1 q_proj,v_proj bf16", sequence=87, recompute=True)),
    ("stablelm", 6, adapted("1 all-linear bf16", sequence=125, recompute=True)),
    # a frozen weight is saved, too: what asks for it runs its layer again
    ("ernie4_5", 5, adapted("1 q_proj,v_proj bf16", batch=2, sequence=44, recompute=True)),
    ("deepseek_v3", 5, adapted("5 all-linear bf16", batch=2, sequence=89, recompute=True)),
    (
        "deepseek_v32",
        7,
        adapted("16 all-linear bf16", batch=3, sequence=128, attention="sdpa", recompute=True),
    ),
    (
        "granitemoehybrid",
        4,
        adapted("8 q_proj,v_proj fp32", batch=3, sequence=203, autocast=True, recompute=True),
    ),
    ("gemma4_text", 4, adapted("1 q_proj,v_proj bf16", sequence=125, recompute=True)),
    # names that hold what is rotated, and one that lets go of what the feed-forward part is given
    ("cohere", 7, adapted("5 all-linear bf16", batch=4, sequence=61, recompute=True)),
    ("opt", 5, adapted("32 q_proj,v_proj fp32", batch=3, sequence=111, autocast=True, recompute=True)),
    # PEFT's forward holds what it was given, and the copy of it, until it returns
    ("gemma3_text", 3, adapted("32 all-linear fp32", sequence=140, autocast=True, recompute=True)),
    ("gemma2", 3, adapted("1 all-linear fp32", batch=3, sequence=10, autocast=True, recompute=True)),
    # one expert a token, and gradients of experts' adapters in 16 bits
    ("gpt_oss", 6, adapted("16 all-linear bf16", batch=4, sequence=146, attention="eager", recompute=True)),
    ("qwen3_next", 3, adapted("5 all-linear bf16", sequence=327, recompute=True)),
    # no gradient flows through the first layer, which keeps a state
    ("qwen3_next", 5, adapted("16 q_proj,v_proj bf16", batch=4, sequence=318)),
    # all weights have 16 bits under autocast: gradients of matrices, the last norm, branches side by side
    ("phi", 3, Run(batch=3, sequence=7, **LOW)),
    ("phi", 5, Run(batch=2, sequence=36, recompute=True, **LOW)),
    ("gpt_neox", 3, Run(batch=3, sequence=15, recompute=True, **LOW)),
    ("falcon", 3, Run(sequence=138, **LOW)),
    ("gptj", 4, Run(batch=3, sequence=141, **LOW)),
    ("olmo3", 3, Run(batch=4, sequence=8, recompute=True, **LOW)),
    ("qwen3_next", 3, Run(batch=4, sequence=174, **LOW)),
    ("deepseek_v2", 4, Run(sequence=59, **LOW)),
    ("deepseek_v32", 4, Run(batch=2, sequence=84, attention="sdpa", **LOW)),
    ("bloom", 4, Run(sequence=73, attention="eager", **LOW)),
    # a norm of the embedded tokens, keys that others use, layers that are not rotated, experts' answers
    ("bloom", 4, Run(batch=3, sequence=68, attention="eager", optimizer="none")),
    ("gemma4_text with vectors", 3, Run(batch=3, sequence=13, attention="eager", optimizer="none")),
    ("exaone4", 4, Run(sequence=43, recompute=True, optimizer="none")),
    ("cohere2", 5, Run(batch=2, sequence=12, recompute=True, optimizer="none")),
    ("deepseek_v32", 4, Run(sequence=42, attention="sdpa", experts="batched_mm", optimizer="none")),
    # 32-bit weights under autocast: heads that have 32 bits until a kernel narrows them, copies of transposes
    ("phi", 3, Run(batch=3, sequence=79, weights="fp32", **LOW)),
    ("hunyuan_v1_dense", 3, Run(batch=2, sequence=34, weights="fp32", **LOW)),
    ("gptj", 3, Run(batch=2, sequence=88, weights="fp32", **LOW)),
    ("falcon", 4, Run(batch=2, sequence=63, weights="fp32", recompute=True, **LOW)),
    ("phi", 6, adapted("1 q_proj,v_proj fp32", batch=2, sequence=68, autocast=True, recompute=True)),
    # the last norm is the fullest point of the forward pass; autocast keeps copies of an indexer's adapters
    ("glm_moe_dsa", 7, Run(batch=2, sequence=51, attention="sdpa", optimizer="none")),
    ("glm_moe_dsa", 7, adapted("8 all-linear fp32", batch=3, sequence=46, autocast=True, attention="sdpa")),
    ("glm_moe_dsa", 6, Run(batch=4, sequence=98, attention="sdpa", autocast=True, optimizer="none")),
    # no gradient flows through the first layer, which keeps a state, here, too
    ("kimi_linear", 3, adapted("8 kv_a_proj_with_mqa bf16", batch=2, sequence=150)),
)


def router_adapter(layer, adapter):
    """What PEFT adds to a router's matrix, as on GPUs: for CPUs alone it copies both factors to 32 bits."""
    return layer.lora_B[adapter].weight @ layer.lora_A[adapter].weight * layer.scaling[adapter]


# what a config states beside shapes: shares that are dropped, and activations
DROPOUTS = dict.fromkeys(
    (
        *("attention_dropout", "attn_pdrop", "residual_dropout", "resid_pdrop", "hidden_dropout"),
        *("dropout", "embedding_dropout", "embd_pdrop"),
    ),
    0.1,
)
DROPPING = (
    *("seed_oss", "starcoder2", "gpt_neox", "phi3", "phi", "falcon", "bloom", "stablelm", "opt", "llama"),
    *("gemma2", "deepseek_v3", "gpt_oss"),
)
ACTIVATED = (
    "relu",
    "relu2",
    "relu6",
    "gelu_new",
    "tanh",
    "sigmoid",
    "linear",
    "mish",
    "hardswish",
    "leaky_relu",
)
CHANGED = (
    *((name, DROPOUTS, Run(batch=2, sequence=33, attention="eager", optimizer="none")) for name in DROPPING),
    *(
        (name, DROPOUTS, adapted("4 all-linear fp32", batch=2, sequence=33, autocast=True, recompute=True))
        for name in DROPPING
        if name != "bloom"
    ),
    ("opt", DROPOUTS, Run(batch=2, sequence=33, recompute=True, optimizer="none")),
    *(("mistral", {"hidden_act": name}, Run(batch=2, sequence=33, optimizer="none")) for name in ACTIVATED),
    ("phi3", {"hidden_act": "gelu_new"}, Run(batch=2, sequence=33, weights="fp32", **LOW)),
)


# parameters that are trained by a word of their names: in a plain step, and in one that is recomputed
NAMED = {
    "gemma": ("o_proj", "post_attention_layernorm"),
    "gemma2": ("pre_feedforward_layernorm", "v_proj"),
    "gemma3_text": ("gate_proj", "q_norm"),
    "phi3": ("gate_up_proj", "qkv_proj"),
    "olmo2": ("post_feedforward_layernorm", "k_norm"),
    "ministral3": ("mlp", "lm_head"),
    "glm4_moe": ("shared_experts", "gate_up_proj"),
    "deepseek_v2": ("gate_up_proj", "kv_a_proj_with_mqa"),
    "deepseek_v3": ("experts", "q_a_layernorm"),
    "minimax_m2": ("gate_up_proj", "q_norm"),
    "ernie4_5": ("up_proj", "norm"),
    "ernie4_5_moe": ("gate_up_proj", "mlp"),
    "qwen2_moe": ("shared_expert_gate", "shared_expert"),
    "gpt_oss": ("gate_up_proj", "sinks"),
    "qwen3_vl": ("lm_head", "k_proj"),
    "qwen3_vl_moe": ("experts", "self_attn"),
    "seed_oss": ("down_proj", "input_layernorm"),
    "olmo3": ("post_attention_layernorm", "v_proj"),
    "exaone4": ("q_norm", "lm_head"),
    "glm": ("gate_up_proj", "o_proj"),
    "glm4": ("post_mlp_layernorm", "post_self_attn_layernorm"),
    "granite": ("o_proj", "norm"),
    "helium": ("v_proj", "lm_head"),
    "hunyuan_v1_dense": ("key_layernorm", "query_layernorm"),
    "starcoder2": ("c_fc", "c_proj"),
    "gpt_neox": ("query_key_value", "dense"),
    "phi": ("fc1", "dense"),
    "opt": ("fc1", "self_attn_layer_norm"),
    "falcon": ("dense", "query_key_value"),
    "gptj": ("fc_in", "ln_f"),
    "bloom": ("self_attention",),
    "stablelm": ("post_attention_layernorm", "k_proj"),
    "cohere": ("input_layernorm", "o_proj"),
    "cohere2": ("up_proj", "norm"),
    "olmo": ("q_proj", "mlp"),
    "smollm3": ("k_proj", "down_proj"),
    "gemma4_text": ("post_feedforward_layernorm_2", "q_norm"),
    "gemma4": ("gate_proj", "lm_head"),
    "gemma4_text with vectors": ("per_layer_projection", "per_expert_scale"),
    "qwen2_5_vl": ("v_proj", "lm_head"),
    "qwen3_5_text": ("in_proj_qkv", "A_log"),
    "qwen3_5_moe_text": ("experts", "linear_attn"),
    "qwen3_next": ("shared_expert", "in_proj_ba"),
    "deepseek_v32": ("q_b_proj", "lm_head"),
    "glm_moe_dsa": ("shared_experts", "kv_b_proj"),
    "nemotron_h": ("fc1_latent_proj", "norm_f"),
    "granitemoehybrid": ("shared_mlp", "in_proj"),
    "kimi_linear": ("forget_gate", "o_norm"),
}
# matrices with adapters, as their classes call them
ADAPTED = {
    "phi3": "qkv_proj,gate_up_proj",
    "qwen2_moe": "shared_expert_gate,v_proj",
    "glm": "gate_up_proj,o_proj",
    "starcoder2": "c_fc,c_proj",
    "gpt_neox": "query_key_value,dense",
    "phi": "fc1,dense",
    "opt": "fc2,out_proj",
    "falcon": "dense,dense_4h_to_h",
    "gptj": "fc_in,out_proj",
    "bloom": "query_key_value,dense_h_to_4h",
    "qwen3_next": "in_proj_ba,out_proj",
    "granitemoehybrid": "input_linear,in_proj",
    "kimi_linear": "f_a_proj,o_proj",
}


# weights in 32 bits under autocast: biases added apart, a head's bias, tokens that autocast holds in 16 bits
ALL_LINEAR = "lora 8 all-linear fp32"
WIDE = (
    ("falcon", 8, Run(sequence=200)),
    ("falcon", 9, Run(sequence=80, recompute=True)),
    ("gptj", 4, Run(batch=2, sequence=40)),
    ("glm", 9, Run(sequence=160, recompute=True, trained=ALL_LINEAR)),
    ("exaone4", 7, Run(batch=3, sequence=58, recompute=True, trained=ALL_LINEAR)),
    ("olmo2", 4, Run(batch=2, sequence=33, recompute=True, trained="named post_attention_layernorm")),
)


def further():
    """Every further case: its type, its seed, its config and its run."""
    for name, seed, run in FURTHER:
        yield name, seed, config(name, seed), run
    for name, changes, run in CHANGED:
        yield name, 1, config(name, 1) | changes, run
    for name, words in NAMED.items():
        for kind, word in zip(("plain", "recomputed"), words, strict=False):
            yield name, 0, config(name, 0), replace(runs(name, 0)[kind], trained=f"named {word}")
    yield "gpt_oss", 1, config("gpt_oss", 1), replace(runs("gpt_oss", 1)["plain"], trained="named sinks")
    for name, seed, word in (("gptj", 1, "k_proj"), ("olmo", 2, "o_proj"), ("gemma4_text", 0, "v_proj")):
        yield name, seed, config(name, seed), replace(runs(name, seed)["recomputed"], trained=f"named {word}")
    yield "ministral3", 6, config("ministral3", 6), Run(batch=3, sequence=76, weights="fp32", **LOW)
    for name, seed, run in WIDE:
        yield name, seed, config(name, seed), replace(run, weights="fp32", **LOW)
    for name, targets in ADAPTED.items():
        run = replace(runs(name, 1)["adapters"], trained=f"lora 8 {targets} fp32")
        yield name, 1, config(name, 1), run


EINSUM = torch.einsum


def narrow_einsum(how, *factors):
    """The product as autocast of GPUs takes it: its factors in 16 bits, before they are put in order."""
    if torch.is_autocast_enabled("cpu"):
        factors = [item.to(torch.get_autocast_dtype("cpu")) for item in factors]
    return EINSUM(how, *factors)


def moments(fields, run):
    """One step: bytes held at each moment and their peak since the one before, without ids and scalars."""
    with (
        mock.patch.object(torch, "einsum", narrow_einsum),
        mock.patch.object(peft.tuners.lora.Linear, "get_delta_weight", router_adapter),
        mock.patch.object(steps, "watch", watch),
        mock.patch.object(train, "build", built),
        mock.patch.object(steps, "Ledger", Ledger),
        mock.patch.object(ask, "class_of", lambda config: WithoutTowers(CLASS_OF(config))),
    ):
        return moments_of(fields, run)


class Ledger(train.Ledger):
    """LayerNorm's mean and deviation have 32 bits, as on GPUs.

    torch._refs.native_layer_norm narrows them to the numbers of its input for CPUs alone.
    """

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        if operator is torch.ops.aten.native_layer_norm.default:
            normal, *statistics = operator(*args, **(kwargs or {}))
            result = (normal, *(item.float() for item in statistics))
            for item in result:
                self.take(item)
            return result
        return super().__torch_dispatch__(operator, types, args, kwargs)


WATCH = steps.watch
BETWEEN = ("opt", "bloom")  # tokens and layers: the stream is not what the embedding gives


def watch(model, ledger):
    """Mark, too, that the gradient of the first layer's input is complete: positions join, or a norm runs."""

    def before_layers(_, args):
        if args[0].requires_grad:
            args[0].register_hook(partial(ledger.mark, "stream backward"))

    WATCH(model, ledger)
    if model.config.model_type in BETWEEN:
        path, _ = train.layers_of(model)
        model.get_submodule(path)[0].register_forward_pre_hook(before_layers)


def without_a_graph(fields, run):
    """The most that a layer with a state takes forward where no gradient flows, beside what it is given."""
    model = train.build(fields, run)
    with FakeTensorMode(), torch.no_grad():
        train.faked(model)
        kinds = model.config.get_text_config().layer_types
        layer = model.base_model.layers[kinds.index("linear_attention")]
        x = torch.empty((run.batch, run.sequence, fields["hidden_size"]), dtype=torch.bfloat16)
        ledger = Ledger()
        for item in (*model.parameters(), *model.buffers(), x):
            ledger.take(item)
        before = ledger.peak
        with ledger:
            _result = layer(x, position_embeddings=None, attention_mask=None)
    return ledger.peak - before


CLASS_OF = ask.class_of


class WithoutTowers:
    """A class whose models have no towers: they are given text alone."""

    def __init__(self, kind):
        self.kind = kind

    def from_config(self, *args, **more):
        """The model, built as the class builds it."""
        model = self.kind.from_config(*args, **more)
        for name in [name for name, _ in model.base_model.named_children() if name in TOWERS]:
            delattr(model.base_model, name)
        return model


TOWERS = {prefix.split(".")[1] for prefix in ask.TOWER_PREFIXES if prefix.startswith("model.")}


def kernel(query, key, value, *_, **__):
    """The fused kernel, for callers who hand heads behind tokens and take the output so."""
    by_heads = (item.transpose(1, 2) for item in (query, key, value))
    attend = torch.ops.aten._scaled_dot_product_flash_attention
    return attend(*by_heads, 0.0, is_causal=True)[0].transpose(1, 2)


FLASH = {
    "falcon": (modeling_falcon.FalconAttention, modeling_falcon.FalconFlashAttention2),
    "gptj": (modeling_gptj.GPTJAttention, modeling_gptj.GPTJFlashAttention2),
}
for module in modeling_falcon, modeling_gptj:  # flash_attn's own kernels want a GPU
    module._flash_attention_forward = kernel

BUILD = train.build


def built(fields, run, device="meta"):
    """The model with what its class loads in 32 bits whatever its dtype: a config alone does not do that.

    Classes that choose a class of attention when they are built are given that of flash kernels.
    """
    model = BUILD(fields, run, device)
    kinds = FLASH.get(fields["model_type"]) if run.attention == "flash" else None
    for module in model.modules() if kinds else ():
        if isinstance(module, kinds[0]):
            module.__class__, module._flash_attn_uses_top_left_mask = kinds[1], False
    wide = tuple(model.base_model._keep_in_fp32_modules_strict or ())
    for name, item in (*model.named_parameters(), *model.named_buffers()) if wide else ():
        if any(f".{part}." in f".{name}." for part in wide):
            item.data = item.data.float()
    return model


UNREACHED = ("moe_statics", ".indexer.")  # no gradient reaches them: an optimizer has no step of theirs


def moments_of(fields, run):
    """The same of what is built."""
    found = train.step(fields, run)
    if "capped backward" in found:  # what follows the head belongs to it
        behind = found["loss backward"]["peak"]
        found["loss backward"] = found["capped backward"]
        found["head backward"]["peak"] = max(found["head backward"]["peak"], behind)
    model = train.build(fields, run)
    trained = [
        item
        for name, item in model.named_parameters()
        if item.requires_grad and not any(part in name for part in UNREACHED)
    ]
    scalars = 4 * len(trained) if "adamw" in run.optimizer else 0  # no gradient reaches them
    beside = 8 * run.batch * run.sequence + scalars
    used = (*USED, "layers forward") if fields["model_type"] in MASKED else USED
    return {
        name: [found[name]["held"] - beside, found[name]["peak"] - beside] for name in used if name in found
    }
