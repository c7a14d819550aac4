"""Small configs for llama.cpp, of models with states and of the table of plain decoders.

Rows are whole blocks of 32; what its code has fixed (heads that fill the stream, which layers have windows)
is drawn as it has it.
"""

from __future__ import annotations

import random

from memcalc.files.config_classes import config_class
from memcalc.files.gguf.names import HYBRIDS, PLAIN
from memcalc.files.readers import PUBLISHED


def known(config, own):
    """The fields that the type's class has, and its own ones."""
    declared = config_class(config["model_type"])
    fields = {*declared.defaults, *declared.aliases, *own, "model_type", "tie_word_embeddings"}
    return {name: value for name, value in {**config, **own}.items() if name in fields and value != ()}


def routed(draw, experts):
    return {"num_experts_per_tok": draw.randint(1, experts), "moe_intermediate_size": 32 * draw.randint(1, 9)}


def attending(draw, depth):
    """Which layers attend: the last one does."""
    full = {depth - 1, *draw.sample(range(depth), draw.randint(0, depth))}
    return [index in full for index in range(depth)]


def mamba(draw, config, _):
    own = {"state_size": 16, "conv_kernel": 4, "expand": 2, "time_step_rank": 32, "use_bias": False}
    return {**own, "intermediate_size": 2 * config["hidden_size"]}


def mamba2(draw, config, _):
    own = {"state_size": 64, "conv_kernel": 4, "expand": 2, "num_heads": config["hidden_size"] // 16}
    return {
        **own,
        "head_dim": 32,
        "n_groups": draw.choice((1, 2)),
        "use_bias": False,
        "intermediate_size": (),
    }


def lfm2(draw, config, experts):
    config["num_hidden_layers"] = depth = max(config["num_hidden_layers"], 2)
    words = ["full_attention" if one else "conv" for one in attending(draw, depth)]
    words[draw.randrange(depth - 1)] = "conv"
    own = {"layer_types": words, "conv_L_cache": 3, "head_dim": (), "tie_word_embeddings": True}
    if config["model_type"] == "lfm2":
        return {**own, "block_auto_adjust_ff_dim": False}
    dense = draw.randint(0, min(2, len(words)))
    return {**own, "num_experts": experts, **routed(draw, experts), "num_dense_layers": dense}


def jamba(draw, config, experts):
    own = {"mamba_d_state": 16, "mamba_d_conv": 4, "mamba_expand": 2, "mamba_dt_rank": 32, "head_dim": ()}
    own |= {"num_experts": experts, "num_experts_per_tok": draw.randint(1, experts)}
    depth = max(config["num_hidden_layers"], 2)
    own |= {"num_hidden_layers": depth, "attn_layer_period": 8, "attn_layer_offset": min(4, depth - 1)}
    return {**own, "expert_layer_period": 2, "expert_layer_offset": 1}


def ssm(draw, config):
    sizes = {"n_heads": config["hidden_size"] // 16, "d_head": 32, "n_groups": draw.choice((1, 2))}
    sizes |= {"d_state": 64, "d_conv": 4, "expand": 2}
    return {f"mamba_{name}": size for name, size in sizes.items()}


def falcon_h1(draw, config, _):
    return {**ssm(draw, config), "mamba_d_ssm": None}


def granite(draw, config, experts):
    """At least one layer has a state: the library asks for its sizes."""
    config["num_hidden_layers"] = depth = max(config["num_hidden_layers"], 2)
    words = ["attention" if one else "mamba" for one in attending(draw, depth)]
    words[draw.randrange(depth)] = "mamba"
    own = {**ssm(draw, config), "layer_types": words, "head_dim": (), "shared_intermediate_size": 96}
    return {**own, "num_local_experts": draw.choice((0, experts)), "num_experts_per_tok": 1}


def nemotron(draw, config, experts):
    kinds = draw.choice(("M*-", "M*E"))  # dense parts and experts are two architectures
    letters = f"M*{kinds[-1]}" + "".join(draw.choice(kinds) for _ in range(config["num_hidden_layers"]))
    own = {"hybrid_override_pattern": letters, "num_hidden_layers": len(letters), "mamba_head_dim": 32}
    own |= {"mamba_num_heads": config["hidden_size"] // 16, "n_groups": draw.choice((1, 2))}
    own |= {"ssm_state_size": 64, "conv_kernel": 4, "tie_word_embeddings": False}
    own |= {"n_routed_experts": experts, **routed(draw, experts), "moe_shared_expert_intermediate_size": 64}
    return {**own, "moe_latent_size": draw.choice((None, 64))}


def lightning(draw, config, experts):
    own = {"num_local_experts": experts, "num_experts_per_tok": draw.randint(1, experts)}
    depth = config["num_hidden_layers"] = draw.choice((8, 16, 31))
    attends = [index % 8 == 7 for index in range(depth)]
    if config["model_type"] == "minimax_m1":
        return {**own, "attn_type_list": [int(one) for one in attends], "rotary_dim": 32}
    words = ["full_attention" if one else "linear_attention" for one in attends]
    return {**own, "layer_types": words, "block_size": 32}


def turns(draw, depth):
    """Which layers attend, at least one, and at least one that does not."""
    kinds = ["full_attention" if draw.random() < 0.3 else "linear_attention" for _ in range(depth)]
    kinds[0], kinds[-1] = "linear_attention", "full_attention"
    return kinds


def delta(draw, config, experts):
    """As many heads of both kinds of attention."""
    depth = config["num_hidden_layers"] = max(3, config["num_hidden_layers"])
    kinds, heads = turns(draw, depth), config["num_attention_heads"]
    dense = draw.randint(1, 2)
    inside = {"num_heads": heads, "head_dim": draw.choice((32, 64)), "short_conv_kernel_size": 4}
    for name, kind in (("full_attn_layers", "full_attention"), ("kda_layers", "linear_attention")):
        inside[name] = [index + 1 for index, one in enumerate(kinds) if one == kind]
    own = {**latent(draw, config, experts), "linear_attn_config": inside, "tie_word_embeddings": False}
    own |= {"num_local_experts": experts, "n_shared_experts": draw.randint(1, 2), **routed(draw, experts)}
    return {**own, "first_k_dense_replace": dense, "q_lora_rank": None}


def kimi_k3(draw, config, experts):
    """Experts in a narrower stream, a gate of full rank, and rows that mix earlier residuals."""
    own = delta(draw, config, experts)
    del own["head_dim"], config["head_dim"], own["num_local_experts"]
    own["linear_attn_config"] |= {"use_full_rank_gate": True, "gate_lower_bound": -5.0}
    own |= {"num_experts": experts, "num_shared_experts": own.pop("n_shared_experts"), "q_lora_rank": 96}
    own |= {"routed_expert_hidden_size": draw.choice((64, 256)), "attn_res_block_size": 4}
    flags = ("mla_use_nope", "mla_use_output_gate", "latent_moe_use_norm", "moe_renormalize")
    return {**own, **dict.fromkeys(flags, True), "activation_situ_beta": 4.0}


def bailing(draw, config, experts):
    depth = config["num_hidden_layers"] = max(3, config["num_hidden_layers"])
    own = {**latent(draw, config, experts), "num_experts": experts, **routed(draw, experts)}
    own |= {"layer_group_size": 3, "first_k_dense_replace": draw.randint(0, 2), "num_shared_experts": 1}
    own |= {
        "head_dim": draw.choice((32, 64)),
        "short_conv_kernel_size": 4,
        "q_lora_rank": draw.choice((None, 96)),
    }
    return {**own, "n_group": 1, "topk_group": 1, "layer_types": turns(draw, depth)}


STATES = {
    "kimi_linear": delta,
    "kimi_k3_text": kimi_k3,
    "bailing_hybrid": bailing,
    **dict.fromkeys(("minimax", "minimax_m1"), lightning),
    "falcon_h1": falcon_h1,
    "falcon_mamba": mamba,
    "granitemoehybrid": granite,
    "jamba": jamba,
    "lfm2": lfm2,
    "lfm2_moe": lfm2,
    "mamba": mamba,
    "mamba2": mamba2,
    "nemotron_h": nemotron,
}


def hybrid(draw, config, experts):
    """A config of a model with states."""
    config = filled(config)
    if config["model_type"] in PUBLISHED:
        own = STATES[config["model_type"]](draw, config, experts)
        return {**config, **own, "tie_word_embeddings": False}
    return known(config, STATES[config["model_type"]](draw, config, experts))


def filled(config):
    """The same with heads that are together as wide as the stream."""
    return {**config, "hidden_size": config["num_attention_heads"] * config["head_dim"]}


def qwen3_vl(draw, config, experts):
    """The tower's vectors are added to the first three layers."""
    kind = config["model_type"]
    inside = {
        **config,
        "model_type": f"{kind}_text",
        "num_hidden_layers": max(config["num_hidden_layers"], 5),
    }
    if kind == "qwen3_vl_moe":
        inside |= {"num_experts": experts, **routed(draw, experts), "tie_word_embeddings": False}
    return {"model_type": kind, "text_config": inside, "tie_word_embeddings": inside["tie_word_embeddings"]}


def gemma4(draw, config, experts):
    """Keys for values, borrowed caches, vectors of each layer, or experts; or none of these."""
    heads, depth = config["num_attention_heads"], max(config["num_hidden_layers"], 5)
    kinds = ["sliding_attention", "full_attention"]
    listed = [*kinds, *(draw.choice(kinds) for _ in range(depth - 3)), "full_attention"]
    each = draw.choice((0, 32, 256))
    config |= {"sliding_window": draw.choice((512, 1000)), "global_head_dim": draw.choice((64, 256, 512))}
    config |= {"num_hidden_layers": depth, "tie_word_embeddings": True}
    config |= {"hidden_size_per_layer_input": each, "vocab_size_per_layer_input": config["vocab_size"]}
    if each:
        own = draw.randint(2, depth)
        listed[own - 2 : own] = kinds  # the last two of their own are those that others borrow from
        listed[-1] = "full_attention" if own < depth else listed[-1]
        config |= {"num_kv_shared_layers": depth - own, "use_double_wide_mlp": draw.random() < 0.5}
    else:
        config |= {"attention_k_eq_v": draw.random() < 0.6, "num_global_key_value_heads": heads // 2}
    if not each and draw.random() < 0.5:
        config |= {"enable_moe_block": True, "num_experts": experts, "top_k_experts": 1}
        config |= {"moe_intermediate_size": 32 * draw.randint(1, 9)}
    return {**config, "layer_types": listed}


def gemma3n(draw, config, _):
    """What its code has fixed: four streams, widths of 64 and 256, and 20 layers with keys of their own."""
    depth = draw.choice((30, 35))
    config |= {"num_hidden_layers": depth, "num_kv_shared_layers": depth - 20, "tie_word_embeddings": True}
    config |= {"hidden_size_per_layer_input": 256, "laurel_rank": 64, "altup_num_inputs": 4}
    config |= {"vocab_size_per_layer_input": config["vocab_size"] - draw.choice((0, 20))}
    config |= {"layer_types": None, "activation_sparsity_pattern": None}
    return {**config, "sliding_window": draw.choice((512, 1000))}


def minimax_m3(draw, config, experts):
    """Its first layers are dense, and have no indexer; for many more layers the library has no room."""
    depth = config["num_hidden_layers"] = min(16, max(2, config["num_hidden_layers"]))
    dense = draw.randint(1, min(3, depth - 1))
    freq = [int(index >= dense) for index in range(depth)]
    sizes = {"sparse_index_dim": 128, "sparse_topk_blocks": 16}
    sizes["sparse_num_index_heads"] = config["num_key_value_heads"]
    sizes |= {"sparse_block_size": 128, "sparse_attention_freq": freq}
    own = {"sparse_attention_config": sizes, "moe_layer_freq": freq, "tie_word_embeddings": False}
    own |= {"num_local_experts": experts, "num_experts_per_tok": draw.randint(1, experts)}
    own |= {"shared_intermediate_size": config["intermediate_size"], "rotary_dim": 32}
    return {**config, **own, "dense_intermediate_size": 352}


# plain decoders

TIED = {"bitnet", "cohere", "cohere2", "gemma"}  # there the output is always the embedding
UNTIED = {
    *("dots1", "glm4_moe_lite", "gpt_neox", "llama4_text", "minimax_m2", "nemotron", "olmo2", "olmo3"),
    *("olmoe", "phi", "phimoe", "qwen2_moe", "stablelm", "mellum", "exaone_moe", "apertus"),
}
ALL_HEADS = {"dots1", "olmoe"}  # as many of keys as of queries
OWN_HEADS = {
    "afmoe",
    "cohere2_moe",
    "hy_v3",
    "mellum",
    "laguna",
    "exaone_moe",
    "ernie4_5",
    "exaone4",
    "gemma",
    "glm4",
    "granite",
    "hunyuan_v1_dense",
    "ministral3",
    "seed_oss",
}
UNSCALED = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}


def flash(draw, config, _):
    """GLM-4.7 Flash: latent attention, and a first layer without experts."""
    sizes = {"kv_lora_rank": 256, "q_lora_rank": 96, "qk_nope_head_dim": 64, "qk_rope_head_dim": 32}
    heads = {"num_key_value_heads": config["num_attention_heads"], "head_dim": (), "v_head_dim": 64}
    return {**sizes, **heads, "num_hidden_layers": max(config["num_hidden_layers"], 2)}


def first_dense(field):
    """A number of dense layers, up to three."""
    return lambda draw, config, _: {field: draw.randint(0, min(3, config["num_hidden_layers"] - 1))}


def window(draw, *_):
    return {"sliding_window": draw.choice((512, 1000, 4096))}


def fixed(**fields):
    return lambda *_: fields


def mixed_windows(draw, config):
    """Layers with a window, the first of them, and without; where none has one the library aborts."""
    listed = [KINDS[draw.randint(0, 1)] for _ in range(config["num_hidden_layers"] - 1)]
    return {"layer_types": [KINDS[1], *listed]}


def cohere2_moe(draw, config, _):
    dense = draw.randint(0, min(2, config["num_hidden_layers"] - 1))
    inner = {"prefix_dense_intermediate_size": 96, "num_shared_experts": draw.randint(0, 2)}
    return {**window(draw), **mixed_windows(draw, config), **inner, "first_k_dense_replace": dense}


def laguna(draw, config, _):
    dense = draw.randint(0, min(2, config["num_hidden_layers"] - 1))
    kinds = ["dense"] * dense + ["sparse"] * (config["num_hidden_layers"] - dense)
    period = {"layer_types": [KINDS[index % 4 > 0] for index in range(len(kinds))]}
    heads = [config["num_attention_heads"] * draw.choice((1, 2)) for _ in kinds]
    own = {"num_attention_heads_per_layer": heads} if draw.random() < 0.5 else {}
    gate = {"gating": draw.choice(("per-head", "per-element"))}
    return {**window(draw), **period, **own, **gate, "mlp_layer_types": kinds}


KINDS = ("full_attention", "sliding_attention")


def latent(draw, config, _):
    """Latent attention, and as many key/value heads as query heads."""
    sizes = {"kv_lora_rank": draw.choice((64, 256)), "q_lora_rank": 96, "v_head_dim": draw.choice((64, 128))}
    sizes |= {"qk_nope_head_dim": draw.choice((64, 128)), "qk_rope_head_dim": draw.choice((32, 64))}
    return {**sizes, "num_key_value_heads": config["num_attention_heads"], "head_dim": ()}


def minicpm3(draw, config, _):
    own = latent(draw, config, _)
    return {**own, "hidden_size": config["num_attention_heads"] * own["v_head_dim"]}


def granite_swa(draw, config, _):
    depth = config["num_hidden_layers"] = max(2, config["num_hidden_layers"])
    return {**window(draw), "layer_types": [KINDS[index % 4 > 0] for index in range(depth)]}


def hy_v4(draw, config, experts):
    depth = config["num_hidden_layers"] = max(2, config["num_hidden_layers"])
    dense = draw.randint(0, 1)
    own = {**latent(draw, config, experts), "qk_rope_head_dim": 32, "hc_mult": draw.choice((2, 4))}
    own |= {"index_n_heads": draw.choice((2, 8, 32)), "index_head_dim": draw.choice((64, 128))}
    own |= {"indexer_types": ["full", *(draw.choice(("full", "shared")) for _ in range(depth - 1))]}
    own |= {"mlp_layer_types": ["dense"] * dense + ["sparse"] * (depth - dense), "index_topk": 256}
    return {**own, "tie_word_embeddings": False, "num_nextn_predict_layers": 0}


OWN = {
    **dict.fromkeys(("bloom", "gpt2", "gpt_bigcode"), fixed(intermediate_size=())),
    "cohere": lambda _draw, config, _: {"num_hidden_layers": min(config["num_hidden_layers"], 48)},
    **dict.fromkeys(("cohere2", "olmo3"), window),
    **dict.fromkeys(("dots1", "glm4v_moe_text"), first_dense("first_k_dense_replace")),
    "afmoe": lambda draw, config, _: {**window(draw), **first_dense("num_dense_layers")(draw, config, _)},
    "cohere2_moe": cohere2_moe,
    "exaone_moe": lambda draw, config, _: {
        **window(draw),
        **mixed_windows(draw, config),
        **first_dense("first_k_dense_replace")(draw, config, _),
    },
    "hy_v4": hy_v4,
    "hy_v3": lambda _draw, config, _: {
        "num_shared_experts": 1,
        "num_hidden_layers": max(2, config["num_hidden_layers"]),
    },
    "laguna": laguna,
    "mellum": lambda draw, config, _: {**window(draw), **mixed_windows(draw, config)},
    "ernie4_5_moe": fixed(moe_layer_start_index=0, moe_layer_interval=1, use_bias=False),
    "exaone4": lambda draw, *_: {**window(draw), "num_hidden_layers": draw.choice((5, 64)), **PATTERN},
    "glm4_moe_lite": flash,
    **dict.fromkeys(("granite_swa", "granitemoe_swa"), granite_swa),
    "minicpm3": minicpm3,
    "mistral4": lambda draw, config, _: {**latent(draw, config, _), "first_k_dense_replace": 0},
    "youtu": latent,
    "hunyuan_v1_dense": fixed(**UNSCALED),
    "hunyuan_v1_moe": fixed(**UNSCALED),
    "llama4_text": lambda draw, *_: {"interleave_moe_layer_step": draw.randint(1, 2)},
    "phimoe": fixed(lm_head_bias=True, attention_bias=True, num_experts_per_tok=2),
}
PATTERN = {"sliding_window_pattern": 4}


def published(draw, config, experts):
    """A config of a type whose code lies beside its weights: no class says which fields it has."""
    config = filled({**config, "tie_word_embeddings": False})
    own = BESIDE.get(config["model_type"], lambda *_: {})(draw, config, experts)
    return {**config, **own}


def every_head(_draw, config, _):
    return {"num_key_value_heads": config["num_attention_heads"], "head_dim": config["head_dim"]}


def qwen(draw, config, _):
    return {**every_head(draw, config, _), "intermediate_size": 2 * config["intermediate_size"]}


def deepseek(draw, config, experts):
    dense = draw.randint(0, min(3, config["num_hidden_layers"] - 1))
    own = {"n_routed_experts": experts, "n_shared_experts": draw.randint(1, 2), **routed(draw, experts)}
    return {**own, "first_k_dense_replace": dense, "moe_layer_freq": 1}


CHATGLM = {
    "padded_vocab_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "ffn_hidden_size": "intermediate_size",
    "kv_channels": "head_dim",
    "multi_query_group_num": "num_key_value_heads",
    "seq_length": "max_position_embeddings",
}


def chatglm(draw, config, _):
    named = {theirs: config.pop(ours) for theirs, ours in CHATGLM.items()}
    return {**named, "multi_query_attention": True, "add_qkv_bias": draw.random() < 0.5}


def phi_msft(draw, config, _):
    config["n_inner"] = config.pop("intermediate_size")
    heads = {"num_key_value_heads": config["num_attention_heads"]}
    return {**heads, "vocab_size": 64 * draw.randint(4, 40), "rotary_dim": 32}


def nemotron_nas(draw, config, _):
    heads = config["num_attention_heads"]
    del config["head_dim"]
    groups = [one for one in (1, 2, 4) if heads % one == 0]
    drops = {"no_op": True}

    def block():
        attention = draw.choice(({"n_heads_in_group": draw.choice(groups)}, drops))
        return {"attention": attention, "ffn": {"ffn_mult": draw.choice((0.5, 1.3, 2.6))}}

    blocks = [block() for _ in range(config["num_hidden_layers"])]
    blocks[0]["attention"] = {"n_heads_in_group": 1}
    return {"block_configs": blocks, "intermediate_size": None, "num_key_value_heads": None}


BESIDE = {
    "nemotron-nas": nemotron_nas,
    "baichuan": every_head,
    "deepseek": deepseek,
    "chatglm": chatglm,
    "internlm2": fixed(bias=False),
    "phi-msft": phi_msft,
    "minicpm": lambda draw, *_: {"tie_word_embeddings": draw.random() < 0.5},
    "qwen": qwen,
}


def plain(draw, config, experts):
    """A config of a decoder of the table; most architectures take no width of a head."""
    kind = config["model_type"]
    config = config if kind in OWN_HEADS else filled(config)
    if kind in ALL_HEADS:
        config["num_key_value_heads"] = config["num_attention_heads"]
    if kind in TIED | UNTIED:
        config["tie_word_embeddings"] = kind in TIED
    names = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
    config |= dict.fromkeys(names, experts) | {"attention_chunk_size": 8192}
    config |= {
        **routed(draw, min(2, experts)),
        "shared_expert_intermediate_size": 32 * draw.randint(1, 9),
        "shared_intermediate_size": 32 * draw.randint(1, 9),
        "n_shared_experts": draw.randint(1, 2),
        "moe_num_shared_experts": draw.randint(1, 2),
        "intermediate_size_mlp": 32 * draw.randint(1, 9),
    }
    return known(config, OWN.get(kind, lambda *_: {})(draw, config, experts))


def base(draw, kind):
    """What all have, and how many experts a layer has that has some."""
    heads, head_dim = draw.choice((2, 4, 8, 16)), draw.choice((32, 64, 96, 128, 256))
    config = {
        "model_type": kind,
        "vocab_size": draw.randint(100, 3000),
        "hidden_size": draw.choice((32 * heads, 256, 512, 64 * heads, 2048)),
        "intermediate_size": 32 * draw.choice((3, 8, 11, 16, 45)),
        "num_hidden_layers": draw.choice((1, 2, 5, 16, 31, 48, 80)),
        "num_attention_heads": heads,
        "num_key_value_heads": draw.choice([number for number in (1, 2, 4, 8, 16) if heads % number == 0]),
        "head_dim": head_dim,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": draw.random() < 0.4,
    }
    return config, draw.choice((2, 3, 4, 8, 12))


def small(kind, seed):
    """A config of a type; equal seeds give equal configs, on every machine."""
    draw = random.Random(f"gguf {kind} {seed}")
    return DRAWN[kind](draw, *base(draw, kind))


# experts, gates and windows of these stand in no field that a reader here knows; Apertus' activations in none
UNREAD = {"afmoe", "apertus", "cohere2_moe", "exaone_moe", "hy_v3", "laguna", "mellum"}
UNREAD |= {"granite_swa", "granitemoe_swa", "minicpm3", "mistral4", "nemotron-nas", "youtu", "hy_v4"}
UNREAD |= {"bailing_hybrid", "kimi_k3", "kimi_k3_text", "kimi_linear", "minimax", "minimax_m1"}
READ_BACK = {*PLAIN, *HYBRIDS, "gemma4_text"} - {"llama4", "mistral3", "jamba", *UNREAD}
DRAWN = {
    **dict.fromkeys(PLAIN, plain),
    **dict.fromkeys({*PLAIN} & {*PUBLISHED}, published),
    **dict.fromkeys(HYBRIDS, hybrid),
    **dict.fromkeys(("qwen3_vl", "qwen3_vl_moe"), qwen3_vl),
    "gemma4_text": gemma4,
    "gemma3n_text": gemma3n,
    "minimax_m3": minimax_m3,
}
