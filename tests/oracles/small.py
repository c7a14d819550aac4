"""Small configs, drawn from a seed: every option that a class reads, in unpublished combinations."""

from __future__ import annotations

import random

import small_towers

from memcalc.files.config_classes import config_class
from memcalc.files.readers import PLAIN, PLAIN_INSIDE

SEEDS = range(12)
FIRST = (
    "llama", "qwen2", "qwen3", "qwen3_moe", "qwen3_next", "deepseek_v2", "deepseek_v3", "kimi_k2",
    "deepseek_v32", "glm_moe_dsa", "kimi_k25", "mistral", "mixtral", "gpt2", "phi3", "gemma2", "gemma3_text",
    "gemma3", "gpt_oss", "glm4_moe",
)  # fmt: skip


def seeds(model_type):
    """How many small configs of a type are asked about: more of the families that others are made of."""
    return SEEDS if model_type in FIRST else SEEDS[:4]


def small_config(model_type, seed):
    """A config of a type; equal seeds give equal configs, on every machine."""
    draw = random.Random(f"{model_type} {seed}")
    return {"model_type": model_type} | DRAWN[model_type](draw)


def stream(draw, *, head_dim_needed=False, any_width=True):
    """Vocabulary, widths, heads; with a head_dim of its own the width need not be a multiple of the heads."""
    heads = draw.choice((1, 2, 3, 4, 6, 12))
    fields = {
        "vocab_size": draw.randint(50, 999),
        "hidden_size": heads * 2 * draw.randint(4, 16),
        "intermediate_size": draw.randint(16, 300),
        "num_hidden_layers": draw.randint(1, 6),
        "num_attention_heads": heads,
        "num_key_value_heads": draw.choice([number for number in (1, 2, 3, 4, 6, 12) if heads % number == 0]),
        "max_position_embeddings": draw.choice((512, 4096)),
    }
    if head_dim_needed or draw.random() < 0.6:
        fields["head_dim"] = 2 * draw.randint(2, 20)
        if any_width:
            fields["hidden_size"] = draw.randint(30, 200)
    return fields | some(draw, tie_word_embeddings=draw.random() < 0.7)


def some(draw, **fields):
    """Each field, or nothing: then the class's default holds."""
    return {key: value for key, value in fields.items() if draw.random() < 0.7}


def windows(draw, depth):
    """A window from some layer on, or in layers that a list names, or stated and not used."""
    fields = {"use_sliding_window": draw.random() < 0.75, "sliding_window": draw.randint(5, 150)}
    kinds = ["full_attention", "sliding_attention"] if fields["use_sliding_window"] else ["full_attention"]
    if draw.random() < 0.4:
        fields["layer_types"] = [draw.choice(kinds) for _ in range(depth)]
    return fields | some(draw, max_window_layers=draw.randint(0, depth))


def llama(draw):
    fields = stream(draw, any_width=False)
    if draw.random() < 0.3:
        del fields["num_key_value_heads"]  # the class takes the query heads
    return fields | some(draw, attention_bias=draw.random() < 0.6, mlp_bias=draw.random() < 0.6)


def qwen2(draw):
    """`attention_bias` has no effect: the class always puts a bias on queries, keys and values."""
    fields = stream(draw)
    return (
        fields | windows(draw, fields["num_hidden_layers"]) | some(draw, attention_bias=draw.random() < 0.5)
    )


def qwen3(draw):
    fields = stream(draw, head_dim_needed=True)
    if draw.random() < 0.2:
        del fields["head_dim"]  # the class takes 128, whatever the width
    biased = some(draw, attention_bias=draw.random() < 0.6)
    return fields | windows(draw, fields["num_hidden_layers"]) | biased


def qwen3_moe(draw):
    """A window, if used, is in every layer here; `max_window_layers` stands in configs and is not read."""
    fields = stream(draw)
    depth, experts = fields["num_hidden_layers"], draw.randint(2, 9)
    return (
        fields
        | {
            "num_experts": experts,
            "num_experts_per_tok": draw.randint(1, experts),
            "moe_intermediate_size": draw.randint(5, 80),
            "use_sliding_window": draw.random() < 0.5,
            "sliding_window": draw.randint(5, 150),
        }
        | some(
            draw,
            attention_bias=draw.random() < 0.6,
            decoder_sparse_step=draw.randint(1, 3),
            mlp_only_layers=sorted(draw.sample(range(depth), draw.randint(0, depth // 2))),
            max_window_layers=draw.randint(0, depth),
            norm_topk_prob=draw.random() < 0.5,
        )
    )


def deepseek_v3(draw, *, any_width=True):
    fields = stream(draw, any_width=any_width)
    fields.pop("head_dim", None)  # the class sets it, to the width that is rotated
    groups, together, chosen = draw.choice((1, 2, 4)), draw.randint(2, 4), draw.randint(1, 2)
    chosen = min(chosen, groups)
    return (
        fields
        | {
            "num_key_value_heads": fields["num_attention_heads"],
            "q_lora_rank": draw.choice((None, draw.randint(8, 60))),
            "kv_lora_rank": draw.randint(8, 60),
            "qk_rope_head_dim": 2 * draw.randint(2, 9),
            "qk_nope_head_dim": draw.randint(4, 30),
            "v_head_dim": draw.randint(4, 30),
            "n_routed_experts": groups * together,
            "num_experts_per_tok": draw.randint(1, chosen * together),
            "n_group": groups,
            "topk_group": chosen,
            "moe_intermediate_size": draw.randint(5, 80),
        }
        | some(
            draw,
            n_shared_experts=draw.randint(1, 3),
            first_k_dense_replace=draw.randint(0, fields["num_hidden_layers"]),
            attention_bias=draw.random() < 0.6,
            num_nextn_predict_layers=draw.randint(0, 2),
        )
    )


def deepseek_v2(draw):
    """The router has no correction; what is rotated as complex numbers begins at an even place."""
    fields = deepseek_v3(draw, any_width=False)
    fields.pop("num_nextn_predict_layers", None)
    even = {key: fields[key] + fields[key] % 2 for key in ("kv_lora_rank", "qk_nope_head_dim")}
    return fields | even | {"topk_method": "greedy"}


def qwen3_next(draw):
    """Key heads of linear layers divide the value heads; the last layer attends: a cache needs keys."""
    fields = stream(draw, head_dim_needed=True)
    fields["head_dim"] = 4 * draw.randint(2, 10)
    depth, experts, keys = fields["num_hidden_layers"], draw.randint(2, 9), draw.randint(1, 3)
    kinds = [draw.choice(("linear_attention", "full_attention")) for _ in range(depth - 1)]
    return (
        fields
        | {
            "num_experts": experts,
            "num_experts_per_tok": draw.randint(1, experts),
            "moe_intermediate_size": draw.randint(5, 80),
            "linear_num_key_heads": keys,
            "linear_num_value_heads": keys * draw.randint(1, 3),
            "linear_key_head_dim": draw.randint(4, 30),
            "linear_value_head_dim": draw.randint(4, 30),
            "linear_conv_kernel_dim": draw.randint(2, 5),
            "shared_expert_intermediate_size": draw.randint(5, 80),
            "layer_types": [*kinds, "full_attention"],
            "partial_rotary_factor": draw.choice((0.25, 0.5, 1.0)),
        }
        | some(
            draw,
            attention_bias=draw.random() < 0.6,
            decoder_sparse_step=draw.randint(1, 3),
            mlp_only_layers=sorted(draw.sample(range(depth), draw.randint(0, depth // 2))),
            norm_topk_prob=draw.random() < 0.5,
        )
    )


def qwen3_5_text(draw):
    """As Qwen3-Next, with no experts; the pattern of layers may be left to the class."""
    fields = qwen3_next(draw)
    for field in ("num_experts", "num_experts_per_tok", "moe_intermediate_size", "norm_topk_prob"):
        fields.pop(field, None)
    for field in ("shared_expert_intermediate_size", "decoder_sparse_step", "mlp_only_layers"):
        fields.pop(field, None)
    if fields["num_hidden_layers"] % 2 == 0 and draw.random() < 0.5:
        del fields["layer_types"]
        fields["full_attention_interval"] = 2
    return fields


def qwen3_5_moe_text(draw):
    """The same with experts in every layer."""
    fields = qwen3_next(draw)
    for field in ("norm_topk_prob", "decoder_sparse_step", "mlp_only_layers", "intermediate_size"):
        fields.pop(field, None)
    return fields


def qwen3_vl_text(draw):
    """Qwen3 without windows."""
    fields = stream(draw, head_dim_needed=True)
    return fields | some(draw, attention_bias=draw.random() < 0.6)


def qwen3_vl_moe_text(draw):
    """Qwen3-MoE without windows; the layout of positions needs heads of some width."""
    fields = qwen3_moe(draw)
    for field in ("use_sliding_window", "sliding_window", "max_window_layers", "norm_topk_prob"):
        fields.pop(field, None)
    return fields


def qwen4_exp_text(draw):
    """As Qwen3.5 with experts, its indexers in every layer that attends, without tables of n-grams."""
    fields = qwen3_5_moe_text(draw)
    fields["layer_types"] = [
        draw.choice(("indexed_attention", kind)) if kind == "full_attention" else kind
        for kind in fields["layer_types"]
    ]
    fields["partial_rotary_factor"] = 0.5
    fields |= {"indexer_n_heads": draw.randint(1, 4), "indexer_kv_heads": 1, "indexer_compress_ratio": 4}
    fields |= {"indexer_head_dim": 8 * draw.randint(3, 6), "indexer_budget": 4 * draw.randint(1, 9)}
    return fields | some(draw, hc_count=draw.randint(2, 5), hc_lowrank=draw.randint(5, 40))


def qwen_vl(text):
    """A drawer of a model with the tower that Qwen3-VL and Qwen3.5 share."""

    def drawn(draw):
        inside = text(draw)
        inside["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 1]}
        inside["rope_parameters"] |= {"partial_rotary_factor": inside.pop("partial_rotary_factor", 1.0)}
        heads, depth = draw.choice((1, 2, 3)), draw.randint(1, 4)
        vision = {
            "hidden_size": heads * 4 * draw.randint(1, 5),
            "intermediate_size": draw.randint(9, 90),
            "depth": depth,
            "num_heads": heads,
            "patch_size": draw.randint(2, 5),
            "out_hidden_size": inside["hidden_size"],
            "num_position_embeddings": draw.randint(2, 9) ** 2,
        } | some(draw, spatial_merge_size=draw.randint(1, 3), temporal_patch_size=draw.randint(1, 3))
        vision |= some(draw, in_channels=draw.randint(1, 4))
        if text in (qwen3_vl_text, qwen3_vl_moe_text):
            vision |= some(draw, deepstack_visual_indexes=list(range(draw.randint(0, depth))))
        fields = {"text_config": inside, "vision_config": vision}
        return fields | some(draw, tie_word_embeddings=draw.random() < 0.5)

    return drawn


def deepseek_v32(draw):
    """Queries always have a low rank; an indexer's head is at least as wide as its rotated part."""
    fields = deepseek_v3(draw)
    fields["q_lora_rank"] = draw.randint(8, 60)
    wide = fields["qk_rope_head_dim"] + draw.randint(0, 30)
    return fields | {"index_n_heads": draw.randint(1, 6), "index_head_dim": wide} | some(draw, index_topk=300)


def glm_moe_dsa(draw):
    """The first layer has an indexer of its own; others may look where an earlier one did."""
    fields = deepseek_v32(draw)
    rest = [draw.choice(("full", "shared")) for _ in range(fields["num_hidden_layers"] - 1)]
    shared = draw.choice(({"indexer_types": ["full", *rest]}, {"index_topk_freq": draw.randint(1, 3)}, {}))
    return fields | shared | some(draw, index_skip_topk_offset=draw.randint(1, 3))


def kinds(draw, depth):
    """A kind of attention a layer, or nothing: then the class's pattern holds."""
    return some(
        draw, layer_types=[draw.choice(("full_attention", "sliding_attention")) for _ in range(depth)]
    )


def mistral(draw):
    """A window is in every layer; if nothing is said it is 4096 tokens."""
    return stream(draw) | some(draw, sliding_window=draw.choice((None, draw.randint(5, 150))))


def phi3(draw):
    """Half of the heads' numbers may be rotated; the class takes no other scaling than longrope."""
    fields = stream(draw) | {"pad_token_id": 0}  # the class has one beyond a small vocabulary
    if draw.random() < 0.3:
        del fields["num_key_value_heads"]
    share = some(draw, partial_rotary_factor=draw.choice((0.5, 1.0)))
    return fields | share | some(draw, sliding_window=draw.choice((None, draw.randint(5, 150))))


def mixtral(draw):
    """`intermediate_size` is an expert's width."""
    experts = draw.randint(2, 9)
    fields = stream(draw) | {"num_local_experts": experts, "num_experts_per_tok": draw.randint(1, experts)}
    return fields | some(draw, sliding_window=draw.choice((None, draw.randint(5, 150))))


def gpt2(draw):
    """Its own words for sizes; the head may be one of its own."""
    heads = draw.randint(1, 6)
    width, inner = heads * draw.randint(3, 20), draw.choice((None, draw.randint(16, 300)))
    sizes = {"n_embd": width, "n_head": heads, "n_layer": draw.randint(1, 4), "n_inner": inner}
    sizes |= {"vocab_size": draw.randint(50, 999), "n_positions": draw.randint(300, 600)}
    return sizes | some(draw, tie_word_embeddings=draw.random() < 0.5)


def gemma2(draw):
    """The class demands a width that the heads divide, whatever their own width."""
    fields = stream(draw, head_dim_needed=True, any_width=False)
    return (
        fields
        | kinds(draw, fields["num_hidden_layers"])
        | {"sliding_window": draw.randint(5, 150)}
        | some(draw, attention_bias=draw.random() < 0.6)
    )


def gemma3_text(draw):
    """As Gemma 2, with another pattern, which may be stated."""
    return gemma2(draw) | some(draw, sliding_window_pattern=draw.randint(2, 4))


def gemma3(draw):
    """Whether the head is tied is said outside; what the text model says has no effect."""
    heads, patch = draw.choice((1, 2, 3)), draw.randint(2, 5)
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": heads * draw.randint(4, 20),
        "intermediate_size": draw.randint(9, 90),
        "num_hidden_layers": draw.randint(1, 4),
        "num_attention_heads": heads,
        "image_size": patch * draw.randint(16, 20) + draw.randint(0, 1),
        "patch_size": patch,
        "vision_use_head": False,
    }
    text = gemma3_text(draw) | some(draw, model_type="gemma3_text")
    fields = {"text_config": text, "vision_config": vision | some(draw, num_channels=draw.randint(1, 4))}
    return fields | some(draw, tie_word_embeddings=draw.random() < 0.5)


def gemma4_text(draw):
    """Layers that borrow need one of each kind before them; heads have two widths."""
    fields = stream(draw, head_dim_needed=True)
    heads, depth = fields["num_attention_heads"], draw.randint(3, 6)
    fewer = draw.choice([number for number in (1, 2, 3, 4, 6, 12) if heads % number == 0])
    first = ["sliding_attention", "full_attention"]
    rest = [draw.choice(first) for _ in range(depth - 3)]
    fields |= {
        "num_hidden_layers": depth,
        "layer_types": [*first, *rest, "full_attention"],
        "sliding_window": draw.randint(5, 150),
        "global_head_dim": 4 * draw.randint(2, 10),
        "hidden_size_per_layer_input": draw.choice((0, draw.randint(3, 20))),
        "vocab_size_per_layer_input": fields["vocab_size"],
        "pad_token_id": 0,
    }
    fields |= some(
        draw,
        attention_k_eq_v=draw.random() < 0.6,
        num_global_key_value_heads=draw.choice((None, fewer)),
        num_kv_shared_layers=draw.randint(0, depth - 2) if fields["hidden_size_per_layer_input"] else 0,
        use_double_wide_mlp=draw.random() < 0.5,
        attention_bias=draw.random() < 0.5,
    )
    if draw.random() < 0.5:
        experts = draw.randint(2, 6)
        fields |= {
            "enable_moe_block": True,
            "num_experts": experts,
            "moe_intermediate_size": draw.randint(5, 80),
        }
        fields |= {"top_k_experts": draw.randint(1, experts)}
    return fields


def gemma3n_text(draw):
    """Layers that borrow need one of each kind before them; inner widths may differ from layer to layer."""
    fields = stream(draw, head_dim_needed=True, any_width=False)
    fields["hidden_size"] = fields["num_attention_heads"] * draw.randint(8, 20)
    depth, first = draw.randint(3, 6), ["sliding_attention", "full_attention"]
    rest = [draw.choice(first) for _ in range(depth - 2)]
    one, widths = fields.pop("intermediate_size"), [draw.randint(16, 300) for _ in range(depth)]
    return {
        **fields,
        "num_hidden_layers": depth,
        "intermediate_size": draw.choice((one, widths)),
        "layer_types": [*first, *rest],
        "sliding_window": draw.randint(5, 150),
        "hidden_size_per_layer_input": draw.randint(3, 20),
        "vocab_size_per_layer_input": fields["vocab_size"] - draw.randint(0, 9),
        "num_kv_shared_layers": draw.randint(0, depth - 2),
        "laurel_rank": draw.randint(3, 20),
        "altup_num_inputs": draw.randint(2, 5),
        "pad_token_id": 0,
    } | some(draw, attention_bias=draw.random() < 0.5)


def gemma3n(draw):
    """With timm's vision tower, whose sizes are always the same."""
    text = gemma3n_text(draw) | some(draw, model_type="gemma3n_text")
    fields = {"text_config": text, "vision_config": some(draw, vocab_size=draw.randint(9, 90))}
    return fields | {"audio_config": small_towers.gemma3n_audio(draw)} | some(draw, tie_word_embeddings=False)


def gemma4(draw):
    """With vision and audio towers, or without them."""
    heads = draw.choice((1, 2, 3))
    vision = {
        "model_type": "gemma4_vision",
        "hidden_size": draw.randint(9, 90),
        "intermediate_size": draw.randint(9, 90),
        "num_hidden_layers": draw.randint(1, 4),
        "num_attention_heads": heads,
        "num_key_value_heads": draw.choice((1, heads)),
        "head_dim": 4 * draw.randint(1, 9),
        "patch_size": draw.randint(2, 5),
        "position_embedding_size": draw.randint(9, 90),
    }
    vision |= some(draw, use_clipped_linears=draw.random() < 0.6, standardize=draw.random() < 0.6)
    vision |= some(draw, attention_bias=draw.random() < 0.6)
    fields = {"text_config": gemma4_text(draw) | some(draw, model_type="gemma4_text")}
    if draw.random() < 0.8:
        fields["vision_config"] = vision
    if draw.random() < 0.6:
        fields["audio_config"] = small_towers.gemma4_audio(draw)
    return fields | some(draw, tie_word_embeddings=draw.random() < 0.5)


def gemma4_unified_text(draw):
    """Gemma 4's text model without vectors of layers and without experts."""
    fields = gemma4_text(draw)
    more = {"hidden_size_per_layer_input", "vocab_size_per_layer_input", "enable_moe_block", "num_experts"}
    more |= {"moe_intermediate_size", "top_k_experts"}
    return {field: value for field, value in fields.items() if field not in more}


def gemma4_unified(draw):
    """Without towers: images and sounds pass some matrices, or there is nothing for them."""
    fields = {"text_config": gemma4_unified_text(draw) | some(draw, model_type="gemma4_unified_text")}
    vision = {"patch_size": draw.randint(2, 5), "pooling_kernel_size": draw.randint(1, 3)}
    vision |= {"mm_embed_dim": draw.randint(9, 90), "mm_posemb_size": draw.randint(9, 90)}
    fields |= some(draw, vision_config=vision | {"output_proj_dims": vision["mm_embed_dim"]})
    fields |= some(draw, audio_config=some(draw, audio_embed_dim=draw.randint(9, 90)))
    return fields | some(draw, tie_word_embeddings=draw.random() < 0.5)


def llama4_text(draw):
    """Chunks by a list, by the layers that are rotated, or an interval; experts by a list, or every n-th."""
    experts, fields = draw.randint(2, 6), stream(draw, head_dim_needed=True)
    depth, kinds = fields["num_hidden_layers"], ("chunked_attention", "full_attention")
    fields |= {
        "attention_chunk_size": draw.randint(5, 150),
        "intermediate_size_mlp": draw.randint(5, 90),
        "num_local_experts": experts,
        "num_experts_per_tok": draw.randint(1, experts),
        "interleave_moe_layer_step": draw.randint(1, 3),
        "pad_token_id": 0,
    }
    fields |= draw.choice(
        (
            {"layer_types": [draw.choice(kinds) for _ in range(depth)]},
            {"no_rope_layers": [draw.randint(0, 1) for _ in range(depth)]},
            {"no_rope_layers": [], "no_rope_layer_interval": draw.randint(1, 4)},
        )
    )
    fields |= some(draw, attention_bias=draw.random() < 0.5, use_qk_norm=draw.random() < 0.5)
    listed = sorted(draw.sample(range(depth), draw.randint(0, depth)))
    return fields | draw.choice(({}, {"moe_layers": listed}))


def llama4(draw):
    """Patches are put together by fours."""
    heads, patch, inner = draw.choice((1, 2, 3)), draw.randint(2, 5), 4 * draw.randint(3, 20)
    seen = draw.randint(5, 60)
    vision = {
        "model_type": "llama4_vision_model",
        "hidden_size": heads * 4 * draw.randint(1, 9),
        "intermediate_size": inner,
        "num_hidden_layers": draw.randint(1, 4),
        "num_attention_heads": heads,
        "image_size": patch * draw.randint(4, 9) + draw.randint(0, 1),
        "patch_size": patch,
        "projector_input_dim": seen,
        "projector_output_dim": draw.choice((seen, draw.randint(5, 60))),
        "vision_output_dim": draw.randint(5, 60),
    } | some(draw, num_channels=draw.randint(1, 4))
    fields = {"text_config": llama4_text(draw) | {"model_type": "llama4_text"}, "vision_config": vision}
    return fields | some(draw, tie_word_embeddings=draw.random() < 0.5)


def ssm(draw, fields):
    """Mamba-2 under the fields that begin with mamba_: heads that make up the inner width."""
    groups = draw.choice((1, 2))
    heads = groups * draw.randint(1, 3)
    fields["hidden_size"] = heads * fields["num_attention_heads"] * 2 * draw.randint(1, 4)
    inner = 2 * fields["hidden_size"]
    return {
        "mamba_n_heads": heads,
        "mamba_d_head": draw.choice(("auto", inner // heads)),
        "mamba_n_groups": groups,
        "mamba_d_state": draw.randint(3, 20),
        "mamba_d_conv": draw.randint(2, 4),
        "mamba_expand": 2,
    } | some(draw, mamba_conv_bias=draw.random() < 0.6, mamba_proj_bias=draw.random() < 0.5)


def hybrid_stream(draw):
    """Widths and heads of a model whose heads have no width of their own."""
    fields = stream(draw, any_width=False) | {"pad_token_id": 0, "max_position_embeddings": 512}
    fields.pop("head_dim", None)
    return fields


def bamba(draw):
    """Half of a head is rotated: its width is a multiple of 4."""
    fields = hybrid_stream(draw)
    fields |= ssm(draw, fields)
    fields["hidden_size"] *= 2
    heads, inner = fields["mamba_n_heads"], 2 * fields["hidden_size"]
    depth = fields["num_hidden_layers"]
    fields |= {"mamba_d_head": draw.choice(("auto", inner // heads))}
    fields["attn_layer_indices"] = sorted({depth - 1, *draw.sample(range(depth), draw.randint(0, depth))})
    return fields | some(draw, attention_bias=draw.random() < 0.5, mlp_bias=draw.random() < 0.5)


def falcon_h1(draw):
    """The inner width may be another than twice the stream's."""
    fields = hybrid_stream(draw)
    fields |= ssm(draw, fields)
    inner = draw.choice((None, fields["mamba_n_heads"] * 2 * draw.randint(2, 9)))
    width = (inner or 2 * fields["hidden_size"]) // fields["mamba_n_heads"]
    fields |= {"mamba_d_ssm": inner, "mamba_d_head": draw.choice(("auto", width))}
    fields |= some(draw, mamba_rms_norm=draw.random() < 0.5, projectors_bias=draw.random() < 0.5)
    return fields | some(draw, attention_bias=draw.random() < 0.5, mlp_bias=draw.random() < 0.5)


def granitemoehybrid(draw):
    """With routed experts beside the shared one, or without."""
    fields = hybrid_stream(draw)
    fields |= ssm(draw, fields)
    experts, depth = draw.choice((0, draw.randint(2, 6))), fields["num_hidden_layers"]
    kinds = [draw.choice(("mamba", "attention")) for _ in range(depth - 1)]
    fields |= {"layer_types": [*kinds, "attention"], "num_local_experts": experts}
    fields |= {"num_experts_per_tok": draw.randint(1, experts or 1)}
    fields |= {"shared_intermediate_size": draw.randint(5, 80)}
    return fields | some(draw, attention_bias=draw.random() < 0.5, position_embedding_type="nope")


def mamba2(draw):
    """Nothing but state space layers."""
    groups = draw.choice((1, 2))
    heads, width = groups * draw.randint(1, 3), draw.randint(3, 12)
    return {
        "vocab_size": draw.randint(50, 999),
        "hidden_size": heads * width,
        "num_hidden_layers": draw.randint(1, 5),
        "num_heads": heads,
        "head_dim": 2 * width,
        "n_groups": groups,
        "state_size": draw.randint(3, 20),
        "conv_kernel": draw.randint(2, 4),
        "expand": 2,
        "pad_token_id": 0,
    } | some(
        draw,
        use_bias=draw.random() < 0.5,
        use_conv_bias=draw.random() < 0.5,
        tie_word_embeddings=draw.random() < 0.5,
        time_step_rank=draw.randint(2, 9),
    )


def nemotron_h(draw):
    """Layers by letters or by words; latent experts or not."""
    fields = stream(draw, head_dim_needed=True) | {"pad_token_id": 0, "tie_word_embeddings": False}
    groups, experts = draw.choice((1, 2)), 2 * draw.randint(1, 4)
    letters = "M*" + "".join(draw.choice("M*-E") for _ in range(fields["num_hidden_layers"]))
    words = {"M": "linear_attention", "*": "full_attention", "-": "mlp", "E": "moe"}
    listed = {"layers_block_type": [words[letter] for letter in letters]}
    fields |= draw.choice(({"hybrid_override_pattern": letters}, listed))
    return (
        fields
        | {
            "num_hidden_layers": len(letters),
            "mamba_num_heads": groups * draw.randint(1, 3),
            "mamba_head_dim": 2 * draw.randint(2, 9),
            "n_groups": groups,
            "ssm_state_size": draw.randint(3, 20),
            "conv_kernel": draw.randint(2, 4),
            "n_routed_experts": experts,
            "num_experts_per_tok": draw.randint(1, experts),
            "moe_intermediate_size": draw.randint(5, 80),
            "moe_shared_expert_intermediate_size": draw.randint(5, 80),
            "moe_latent_size": draw.choice((None, draw.randint(5, 80))),
        }
        | some(draw, use_bias=draw.random() < 0.5, use_conv_bias=draw.random() < 0.5)
        | ({} if "E" in letters else some(draw, mlp_bias=draw.random() < 0.5))
    )


def kimi_linear(draw):
    """Layers by words, or by numbers in an object as published."""
    fields = stream(draw) | {"pad_token_id": 0, "tie_word_embeddings": False}
    fields.pop("head_dim", None)
    depth, experts = fields["num_hidden_layers"], 2 * draw.randint(1, 4)
    heads, size, kernel = draw.randint(1, 4), 2 * draw.randint(2, 9), draw.randint(2, 4)
    full = sorted({depth, *draw.sample(range(1, depth + 1), draw.randint(0, depth))})
    words = ["full_attention" if index + 1 in full else "linear_attention" for index in range(depth)]
    plain = {"linear_num_heads": heads, "linear_head_dim": size, "linear_conv_kernel_dim": kernel}
    nested = {
        "full_attn_layers": full,
        "kda_layers": [each for each in range(1, depth + 1) if each not in full],
    }
    nested |= {"num_heads": heads, "head_dim": size, "short_conv_kernel_size": kernel}
    fields |= draw.choice((plain | {"layer_types": words}, {"linear_attn_config": nested}))
    return (
        fields
        | {
            "num_key_value_heads": fields["num_attention_heads"],
            "q_lora_rank": draw.choice((None, draw.randint(8, 60))),
            "kv_lora_rank": draw.randint(8, 60),
            "qk_rope_head_dim": 2 * draw.randint(2, 9),
            "qk_nope_head_dim": draw.randint(4, 30),
            "v_head_dim": draw.randint(4, 30),
            "num_experts": experts,
            "num_experts_per_token": draw.randint(1, experts),
            "moe_intermediate_size": draw.randint(5, 80),
        }
        | some(
            draw,
            num_shared_experts=draw.randint(1, 3),
            first_k_dense_replace=draw.randint(0, depth),
            attention_bias=draw.random() < 0.6,
        )
    )


def lfm2(draw):
    """The last layer attends: a cache needs keys."""
    fields = hybrid_stream(draw)
    depth = fields["num_hidden_layers"]
    full = sorted({depth - 1, *draw.sample(range(depth), draw.randint(0, depth))})
    words = ["full_attention" if index in full else "conv" for index in range(depth)]
    fields |= draw.choice(({"full_attn_idxs": full}, {"layer_types": words}))
    fields |= {"conv_L_cache": draw.randint(2, 4), "block_multiple_of": draw.choice((1, 8, 32))}
    return fields | some(
        draw,
        conv_bias=draw.random() < 0.5,
        block_auto_adjust_ff_dim=draw.random() < 0.5,
        block_ffn_dim_multiplier=draw.choice((1.0, 1.3)),
    )


def lfm2_moe(draw):
    """Experts behind the first layers."""
    fields = hybrid_stream(draw)
    depth, experts = fields["num_hidden_layers"], draw.randint(2, 6)
    words = [draw.choice(("full_attention", "conv")) for _ in range(depth - 1)]
    fields |= {"layer_types": [*words, "full_attention"], "conv_L_cache": draw.randint(2, 4)}
    fields |= {"num_experts": experts, "num_experts_per_tok": draw.randint(1, experts)}
    fields |= {"moe_intermediate_size": draw.randint(5, 80), "num_dense_layers": draw.randint(0, depth)}
    return fields | some(draw, conv_bias=draw.random() < 0.5, use_expert_bias=draw.random() < 0.5)


def mamba(draw):
    """Nothing but Mamba."""
    return {
        "vocab_size": draw.randint(50, 999),
        "hidden_size": draw.randint(9, 90),
        "num_hidden_layers": draw.randint(1, 5),
        "state_size": draw.randint(3, 20),
        "conv_kernel": draw.randint(2, 4),
    } | some(
        draw,
        expand=draw.randint(1, 3),
        use_bias=draw.random() < 0.5,
        use_conv_bias=draw.random() < 0.5,
        tie_word_embeddings=draw.random() < 0.5,
        time_step_rank=draw.choice(("auto", draw.randint(2, 9))),
    )


def jamba(draw):
    """Periods and offsets; experts or none; a layer that attends: a cache needs keys."""
    fields = hybrid_stream(draw)
    experts, period = draw.choice((1, draw.randint(2, 6))), draw.randint(1, 3)
    fields["num_hidden_layers"] += 3
    return (
        fields
        | {
            "num_experts": experts,
            "num_experts_per_tok": draw.randint(1, experts),
            "attn_layer_period": period,
            "attn_layer_offset": draw.randint(0, period - 1),
            "expert_layer_period": 2,
            "expert_layer_offset": draw.randint(0, 1),
            "mamba_d_state": draw.randint(3, 20),
            "mamba_d_conv": draw.randint(2, 4),
            "mamba_dt_rank": draw.choice(("auto", draw.randint(2, 9))),
        }
        | some(draw, mamba_proj_bias=draw.random() < 0.5, mamba_conv_bias=draw.random() < 0.5)
    )


def glm4_moe_lite(draw):
    """DeepSeek-V3 with a list of kinds."""
    fields = deepseek_v3(draw)
    fields.pop("first_k_dense_replace", None)
    fields.pop("num_nextn_predict_layers", None)
    fields.setdefault("n_shared_experts", 1)
    kinds = [draw.choice(("dense", "sparse")) for _ in range(fields["num_hidden_layers"])]
    return fields | some(draw, mlp_layer_types=kinds)


def mistral3(draw):
    """Pixtral before a text model."""
    heads, patch = draw.choice((1, 2, 3)), draw.randint(2, 5)
    vision = {
        "model_type": "pixtral",
        "hidden_size": heads * 4 * draw.randint(1, 9),
        "intermediate_size": draw.randint(9, 90),
        "num_hidden_layers": draw.randint(1, 4),
        "num_attention_heads": heads,
        "image_size": patch * draw.randint(16, 20),
        "patch_size": patch,
    } | some(draw, num_channels=draw.randint(1, 4))
    text = mistral(draw) | {"model_type": "mistral"}
    text["hidden_size"] = 8 * text["num_attention_heads"]  # rotated by halves, whatever is left out
    fields = {"text_config": text, "vision_config": vision}
    fields |= some(draw, spatial_merge_size=draw.randint(1, 3), multimodal_projector_bias=draw.random() < 0.5)
    return fields | some(draw, tie_word_embeddings=draw.random() < 0.5)


def minimax(draw):
    """Lightning attention by a list, or in every second layer."""
    fields, experts = stream(draw), draw.randint(2, 6)
    words = [draw.choice(("full_attention", "linear_attention")) for _ in range(fields["num_hidden_layers"])]
    return (
        fields
        | {"num_local_experts": experts, "num_experts_per_tok": draw.randint(1, experts)}
        | some(draw, layer_types=words)
        | {"block_size": draw.randint(4, 40)}
    )


def olmo_hybrid(draw):
    """Both kinds of layers; sizes of linear attention stated, or left to follow from the others."""
    fields, heads = hybrid_stream(draw), draw.randint(1, 3)
    depth = fields["num_hidden_layers"] = 1 + fields["num_hidden_layers"]
    full = draw.randint(1, depth - 1)
    words = ["linear_attention"] * (depth - full) + ["full_attention"] * full
    draw.shuffle(words)
    fields["hidden_size"] *= 4
    both = {"linear_num_key_heads": heads, "linear_num_value_heads": heads * draw.randint(1, 3)}
    fields |= draw.choice(({}, both))
    return fields | some(
        draw,
        layer_types=words,
        linear_key_head_dim=2 * draw.randint(2, 9),
        linear_value_head_dim=2 * draw.randint(2, 9),
        linear_conv_kernel_dim=draw.randint(2, 4),
        attention_bias=draw.random() < 0.5,
    )


def zamba2(draw):
    """One to three blocks that take turns, adapters at queries, keys and values or not."""
    fields = hybrid_stream(draw) | {"tie_word_embeddings": True}
    fields["num_key_value_heads"] = fields["num_attention_heads"]  # the adapters want as many
    groups = draw.choice((1, 2))
    heads = groups * draw.randint(1, 3)
    fields["hidden_size"] = heads * fields["num_attention_heads"] * 2 * draw.randint(1, 4)
    depth = fields["num_hidden_layers"] = 2 + fields["num_hidden_layers"]
    words = [draw.choice(("mamba", "hybrid")) for _ in range(depth - 1)]
    blocks = draw.randint(1, 1 + words.count("hybrid"))
    return (
        fields
        | {
            "layers_block_type": [*words, "hybrid"],
            "num_mem_blocks": blocks,
            "adapter_rank": draw.randint(2, 9),
        }
        | {"n_mamba_heads": heads, "mamba_ngroups": groups, "mamba_d_state": draw.randint(3, 20)}
        | {"mamba_d_conv": draw.randint(2, 4), "num_attention_heads": fields["num_attention_heads"]}
        | some(
            draw,
            use_shared_attention_adapter=draw.random() < 0.6,
            use_mem_rope=draw.random() < 0.5,
            add_bias_linear=draw.random() < 0.5,
        )
    )


def zamba(draw):
    """One block; layers by a list, or by period and offset."""
    fields = hybrid_stream(draw) | {"tie_word_embeddings": True}
    heads = draw.randint(1, 3)
    fields["hidden_size"] = heads * fields["num_attention_heads"] * 2 * draw.randint(1, 4)
    depth = fields["num_hidden_layers"] = 3 + fields["num_hidden_layers"]
    words = ["hybrid", *[draw.choice(("mamba", "hybrid")) for _ in range(depth - 2)]]
    period = draw.randint(1, 3)
    fields["num_hidden_layers"] = depth = depth + 3  # the class wants two uses
    words += ["mamba"] * 3
    return (
        fields
        | {"n_mamba_heads": heads, "mamba_d_state": draw.randint(3, 20), "mamba_d_conv": draw.randint(2, 4)}
        | {"attn_layer_period": period, "attn_layer_offset": draw.randint(0, period - 1)}
        | some(
            draw,
            layers_block_type=[*words, "hybrid"],
            mamba_dt_rank=draw.choice(("auto", draw.randint(2, 9))),
            mamba_conv_bias=draw.random() < 0.5,
            mamba_proj_bias=draw.random() < 0.5,
        )
    )


def minimax_m3_vl_text(draw):
    """Sparse layers and experts by words, or as MiniMax's own files list them."""
    fields, experts = stream(draw), draw.randint(2, 6)
    depth, wide = fields["num_hidden_layers"], 4 * draw.randint(1, 5)
    looks, routed = ([draw.randint(0, 1) for _ in range(depth)] for _ in range(2))
    heads = fields["num_key_value_heads"]
    words = {
        "layer_types": [("full_attention", "minimax_m3_sparse")[each] for each in looks],
        "mlp_layer_types": [("dense", "sparse")[each] for each in routed],
        "index_n_heads": heads,
        "index_head_dim": wide,
    }
    own = {"sparse_attention_freq": looks, "sparse_num_index_heads": heads, "sparse_index_dim": wide}
    return (
        fields
        | {"head_dim": wide, "rotary_dim": wide // 2, "num_local_experts": experts}
        | {"num_experts_per_tok": draw.randint(1, experts), "tie_word_embeddings": False}
        | {"shared_intermediate_size": draw.randint(5, 80), "dense_intermediate_size": draw.randint(5, 80)}
        | draw.choice((words, {"sparse_attention_config": own, "moe_layer_freq": routed}))
    )


def minimax_m3_vl(draw):
    """The same behind a tower, whose projections have a width of their own."""
    heads = draw.choice((1, 2, 3))
    vision = {
        "hidden_size": heads * 12 * draw.randint(1, 4),
        "intermediate_size": draw.randint(9, 90),
        "num_hidden_layers": draw.randint(1, 4),
        "num_attention_heads": heads,
        "patch_size": draw.randint(2, 5),
    } | some(draw, num_channels=draw.randint(1, 4), spatial_merge_size=draw.randint(1, 3))
    text = minimax_m3_vl_text(draw) | {"model_type": "minimax_m3_vl_text"}
    fields = {"text_config": text, "vision_config": vision, "projector_hidden_size": draw.randint(9, 90)}
    return fields | {"tie_word_embeddings": False}


def bailing_hybrid(draw):
    """Kimi delta attention and MLA by a list, or by a period; a layer that attends: a cache needs keys."""
    fields = stream(draw) | {"pad_token_id": 0, "tie_word_embeddings": False}
    fields["num_key_value_heads"] = fields["num_attention_heads"]
    depth = fields["num_hidden_layers"] = 2 + fields["num_hidden_layers"]
    groups, together = draw.choice((1, 2)), draw.randint(2, 4)
    words = [draw.choice(("full_attention", "linear_attention")) for _ in range(depth - 1)]
    words.append("full_attention")
    return (
        fields
        | {"head_dim": 2 * draw.randint(2, 9), "kv_lora_rank": draw.randint(8, 60)}
        | {"qk_rope_head_dim": 2 * draw.randint(2, 9), "qk_nope_head_dim": draw.randint(4, 30)}
        | {"v_head_dim": draw.randint(4, 30), "num_experts": groups * together, "n_group": groups}
        | {"topk_group": 1, "num_experts_per_tok": draw.randint(1, together)}
        | {"moe_intermediate_size": draw.randint(5, 80), "layer_group_size": draw.randint(1, 3)}
        | some(
            draw,
            layer_types=words,
            n_shared_experts=draw.randint(1, 3),
            first_k_dense_replace=draw.randint(0, depth),
            short_conv_kernel_size=draw.randint(2, 4),
            attention_bias=draw.random() < 0.5,
            mlp_layer_types=[draw.choice(("dense", "sparse")) for _ in range(depth)],
        )
    )


def lfm3(draw):
    """Three kinds of layers; the last one attends to all tokens: a cache needs keys."""
    fields = stream(draw, head_dim_needed=True) | {"pad_token_id": 0}
    fields["head_dim"] = 4 * draw.randint(1, 10)
    depth = fields["num_hidden_layers"] = 3 + fields["num_hidden_layers"]
    words = [draw.choice(("full_attention", "sliding_attention", "conv")) for _ in range(depth - 1)]
    return (
        fields
        | {"conv_L_cache": draw.randint(2, 4), "sliding_window": draw.randint(5, 150)}
        | some(
            draw,
            layer_types=[*words, "full_attention"],
            conv_bias=draw.random() < 0.5,
            use_sandwich_norm=draw.random() < 0.5,
            use_attention_gate=draw.random() < 0.5,
            attention_bias=draw.random() < 0.5,
        )
    )


def gpt_oss(draw):
    """`intermediate_size` is an expert's width."""
    experts, fields = draw.randint(2, 9), stream(draw)
    return (
        fields
        | kinds(draw, fields["num_hidden_layers"])
        | {"num_local_experts": experts, "num_experts_per_tok": draw.randint(1, experts)}
        | {"head_dim": 2 * draw.randint(2, 20), "sliding_window": draw.randint(5, 150)}
        | some(draw, attention_bias=draw.random() < 0.6)
    )


def glm4_moe(draw):
    """The groups of experts as in DeepSeek-V3; half of the heads' numbers are rotated if nothing is said."""
    fields = stream(draw)
    fields["head_dim"] = 4 * draw.randint(1, 10)
    groups, together = draw.choice((1, 2, 4)), draw.randint(2, 4)
    chosen = min(draw.randint(1, 2), groups)
    return (
        fields
        | {
            "n_routed_experts": groups * together,
            "num_experts_per_tok": draw.randint(1, chosen * together),
            "n_group": groups,
            "topk_group": chosen,
            "moe_intermediate_size": draw.randint(5, 80),
        }
        | some(
            draw,
            n_shared_experts=draw.randint(1, 3),
            first_k_dense_replace=draw.randint(0, fields["num_hidden_layers"]),
            attention_bias=draw.random() < 0.6,
            use_qk_norm=draw.random() < 0.6,
            num_nextn_predict_layers=draw.randint(0, 2),
            partial_rotary_factor=draw.choice((0.5, 1.0)),
        )
    )


def kimi_k25(draw):
    """The fields of the vision tower as transformers names them; its own class has others."""
    heads = draw.choice((1, 2, 3))
    vision = {
        "hidden_size": heads * 4 * draw.randint(2, 8),
        "intermediate_size": draw.randint(9, 90),
        "num_hidden_layers": draw.randint(1, 4),
        "num_attention_heads": heads,
        "patch_size": draw.randint(2, 5),
        "pos_emb_height": draw.randint(2, 9),
        "pos_emb_width": draw.randint(2, 9),
        "merge_kernel_size": [draw.randint(1, 3), draw.randint(1, 3)],
    }
    text = deepseek_v3(draw) | {"model_type": draw.choice(("deepseek_v3", "kimi_k2"))}
    text["q_lora_rank"] = draw.randint(8, 60)  # without one, transformers 5.23 cannot write a checkpoint
    fields = {"text_config": text, "vision_config": vision, "projection_hidden_size": vision["hidden_size"]}
    return fields | some(draw, tie_word_embeddings=draw.random() < 0.5)


def mistral4(draw):
    """DeepSeek-V3 without a correction of its router, with dense layers only if a file says so."""
    fields = deepseek_v3(draw)
    fields.pop("num_nextn_predict_layers", None)

    return fields


def qwen3_omni_moe_text(draw):
    """Qwen3-MoE without windows, in heads that fill the width, rotated in three directions."""
    fields = qwen3_vl_moe_text(draw)
    fields["head_dim"] = 8 * draw.randint(1, 4)
    half = fields["head_dim"] // 2
    third = [half - 2 * (half // 3), half // 3, half // 3]
    return fields | {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": third}}


def with_audio(drawer, audio):
    """A drawer of a vision-language model with an audio tower."""
    return lambda draw: drawer(draw) | {"audio_config": audio(draw)}


def vision_language(texts, tower, *, flat=False, tied_inside=False, tied_as_stated=False, **outside):
    """A drawer of a text model of some type and a tower beside it; files of some types do not nest it.

    Where several types are given the first one is meant if the text model does not say which.
    """
    texts = (texts,) if isinstance(texts, str) else texts

    def drawn(draw):
        text = draw.choice(texts)
        known = DRAWN | {"qwen3_omni_moe_text": qwen3_omni_moe_text}
        inside = known[text](draw) if text in known else decoder(text)(draw)
        tied = {key: inside.pop(key) for key in ("tie_word_embeddings",) if key in inside}
        vision = tower(draw, inside["hidden_size"])
        fields = {"vision_config": vision, **some(draw, **{key: of(draw) for key, of in outside.items()})}
        if flat and draw.random() < 0.5:
            return fields | inside | tied
        if tied_inside and draw.random() < 0.5:
            inside |= tied
        named = some(draw, model_type=text) if text == texts[0] else {"model_type": text}
        said = {"tie_word_embeddings": draw.random() < 0.5} if tied_as_stated else some(draw, **tied)
        return fields | {"text_config": inside | named} | said

    return drawn


def decoder(model_type):
    """A drawer for a decoder of the table: sizes, and every switch and list that its class declares.

    Fields of the class's own, and values that it refuses, need an entry in OWN.
    """
    declared = config_class(model_type)
    defaults, aliases = declared.defaults, declared.aliases

    def drawn(draw):
        sizes = stream(draw, head_dim_needed="head_dim" in defaults, any_width="head_dim" in defaults)
        wide = 8 * draw.randint(1, 5)  # of some classes a quarter of a head is rotated
        if "head_dim" in defaults:
            sizes["head_dim"] = wide
        if "head_dim" not in defaults or model_type in DIVIDED:
            sizes["hidden_size"] = sizes["num_attention_heads"] * wide
        if model_type in UNTIED:
            sizes["tie_word_embeddings"] = False
        fields = {aliases.get(field, field): value for field, value in sizes.items()}
        fields = {field: value for field, value in fields.items() if field in defaults or field in COMMON}
        depth = sizes["num_hidden_layers"]
        if "pad_token_id" in defaults:
            fields["pad_token_id"] = 0  # the class's may lie beyond a small vocabulary
        switches = [
            field for field, value in defaults.items() if isinstance(value, bool) and field not in QUIET
        ]
        fields |= some(draw, **{field: draw.random() < 0.5 for field in switches})
        if "sliding_window" in defaults:
            fields |= {"sliding_window": draw.randint(5, 150)}
        if "layer_types" in defaults and fields.get("use_sliding_window", True):
            fields |= kinds(draw, depth)
        if "use_sliding_window" in defaults and "use_sliding_window" not in fields:
            fields.pop("layer_types", None)  # off by default
        if "num_experts_per_tok" in {*defaults, *aliases}:
            fields |= mixture(draw, defaults, aliases)
        return fields | OWN.get(model_type, lambda *_: {})(draw, depth, sizes)

    return drawn


COMMON = ("tie_word_embeddings", "max_position_embeddings")
QUIET = (
    "use_cache",
    "is_decoder",
    "add_cross_attention",
    "use_qk_norm",
    "tie_word_embeddings",
    "output_router_logits",
)
DIVIDED = (
    "arcee",
    "aria_text",
    "cwm",
    "helium",
    "hyperclovax",
    "internlm3",
    "iquestcoder",
    "jais2",
    "vaultgemma",
)  # classes that want a width that the heads divide, although they have a head_dim
UNTIED = ("codegen", "gptj", "phi", "phimoe")  # their head has a bias, which a tied one cannot have


def mixture(draw, defaults, aliases):
    """Experts under the class's own words for them."""
    groups, together = draw.choice((1, 2)), draw.randint(2, 4)
    known = {
        "num_experts": groups * together,
        "num_local_experts": groups * together,
        "n_routed_experts": groups * together,
        "moe_num_experts": groups * together,
        "num_experts_per_tok": draw.randint(1, together),
        "moe_intermediate_size": draw.randint(5, 80),
        "shared_expert_intermediate_size": draw.randint(5, 80),
        "shared_intermediate_size": draw.choice((0, draw.randint(5, 80))),
        "n_shared_experts": draw.randint(1, 3),
        "moe_num_shared_experts": draw.choice((0, 1, 2)),
        "n_group": groups,
        "topk_group": 1,
    }
    named = {aliases.get(field, field): value for field, value in known.items()}
    return {field: value for field, value in named.items() if field in defaults}


def three_ways(_draw, _depth, sizes):
    """Heads that are rotated in time, height and width: the numbers of a head that each has."""
    half = sizes["hidden_size"] // sizes["num_attention_heads"] // 2
    third = [half - 2 * (half // 3), half // 3, half // 3]
    kind = {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 1.0}
    return {"rope_parameters": kind | {"mrope_section": third}}


def kinds_of_mlp(draw, depth, *, first="first_k_dense_replace"):
    """Dense layers by a list, or by how many there are in front."""
    listed = {"mlp_layer_types": [draw.choice(("dense", "sparse")) for _ in range(depth)]}
    return draw.choice((listed, {first: draw.randint(0, depth)} if first else {}))


def low_ranks(draw, sizes):
    """Latent attention, whose key/value heads are those of the queries."""
    return {
        "num_key_value_heads": sizes["num_attention_heads"],
        "q_lora_rank": draw.choice((None, draw.randint(8, 60))),
        "kv_lora_rank": draw.randint(8, 60),
        "qk_rope_head_dim": 2 * draw.randint(2, 9),
        "qk_nope_head_dim": draw.randint(4, 30),
        "v_head_dim": draw.randint(4, 30),
    }


def laguna(draw):
    """Query heads layer by layer; gates a head or a number."""
    fields = decoder("laguna")(draw) | kinds_of_mlp(draw, 1, first="")
    kv_heads, depth = fields["num_key_value_heads"], fields["num_hidden_layers"]
    fields |= {"mlp_layer_types": [draw.choice(("dense", "sparse")) for _ in range(depth)], "head_dim": 16}
    each = [kv_heads * draw.randint(1, 3) for _ in range(depth)]
    fields |= {"gating": draw.choice((True, "per-head", "per-element"))}
    fields.pop("moe_apply_router_weight_on_input", None)
    return fields | some(draw, num_attention_heads_per_layer=each)


def hy_v4(draw):
    """The first layer has an indexer of its own; few streams or many."""
    fields = deepseek_v32(draw)
    for field in ("first_k_dense_replace", "num_nextn_predict_layers", "n_group", "topk_group"):
        fields.pop(field, None)
    depth = fields["num_hidden_layers"]
    rest = [draw.choice(("full", "shared")) for _ in range(depth - 1)]
    fields |= kinds_of_mlp(draw, depth, first="") | some(draw, indexer_types=["full", *rest])
    return fields | {"n_shared_experts": draw.randint(1, 2), "hc_mult": draw.randint(1, 4), "pad_token_id": 0}


def axk2(draw):
    """All groups of experts at once, or one by one."""
    fields = deepseek_v32(draw)
    fields.pop("num_nextn_predict_layers", None)
    depth = fields["num_hidden_layers"]
    fields |= kinds_of_mlp(draw, depth) | {"n_shared_experts": draw.randint(1, 2), "pad_token_id": 0}
    return fields | some(draw, gated_norm_rank=draw.randint(1, 9))


def longcat_flash(draw):
    """Experts that compute nothing only where a token uses all of the others: which it meets is chance."""
    experts, heads = draw.randint(2, 6), draw.choice((1, 2, 3, 4))
    return {
        "vocab_size": draw.randint(50, 999),
        "hidden_size": heads * 2 * draw.randint(4, 16),
        "ffn_hidden_size": draw.randint(16, 300),
        "expert_ffn_hidden_size": draw.randint(5, 80),
        "num_layers": draw.randint(1, 3),
        "num_attention_heads": heads,
        "max_position_embeddings": 4096,
        **(ranks := low_ranks(draw, {"num_attention_heads": heads})),
        "q_lora_rank": draw.randint(8, 60),
        "head_dim": ranks["qk_rope_head_dim"],
        "qk_head_dim": ranks["qk_nope_head_dim"] + ranks["qk_rope_head_dim"],
        "n_routed_experts": experts,
        "moe_topk": draw.randint(1, experts),
        "zero_expert_num": 0,
    } | some(draw, attention_bias=draw.random() < 0.6, tie_word_embeddings=draw.random() < 0.5)


OWN = {
    "aria_text": lambda draw, *_: (
        {"moe_num_experts": draw.randint(2, 6), "moe_topk": draw.randint(1, 2), "mlp_bias": False}
        | {"intermediate_size": draw.randint(5, 60)}
    ),
    "youtu": lambda draw, _, sizes: low_ranks(draw, sizes),
    "axk1": lambda draw, depth, sizes: (
        low_ranks(draw, sizes) | {"q_lora_rank": draw.randint(8, 60)} | kinds_of_mlp(draw, depth)
    ),
    "flint": lambda draw, depth, _: (
        {"decoder_sparse_step": draw.randint(1, 2)}
        | some(draw, mlp_only_layers=sorted(draw.sample(range(depth), draw.randint(0, depth // 2))))
    ),
    "exaone_moe": lambda draw, depth, _: (
        kinds_of_mlp(draw, depth) | {"sliding_window_pattern": 3, "num_shared_experts": draw.randint(1, 3)}
    ),
    "cohere2_moe": lambda draw, depth, sizes: (
        kinds_of_mlp(draw, depth)
        | {"prefix_dense_sliding_window_pattern": draw.randint(1, 2), "sliding_window_pattern": 3}
        | {"num_shared_experts": draw.choice((0, 2))}
        | some(draw, prefix_dense_intermediate_size=draw.randint(16, 300))
    ),
    "afmoe": lambda draw, depth, _: {
        "num_dense_layers": draw.randint(0, depth),
        "num_shared_experts": draw.randint(1, 3),
        "global_attn_every_n_layers": draw.randint(1, 3),
    },
    "hy_v3": lambda draw, depth, _: (
        kinds_of_mlp(draw, depth, first="") | {"mlp_bias": False, "num_shared_experts": draw.randint(1, 3)}
    ),
    "mimo_v2_flash": lambda draw, depth, sizes: (
        kinds_of_mlp(draw, depth, first="")
        | {"v_head_dim": draw.randint(4, 30), "head_dim": 24}
        | {"num_attention_heads": 4, "num_key_value_heads": draw.choice((1, 2))}
        | some(draw, sliding_window_size=draw.randint(5, 150))
    ),
    "diffllama": lambda *_: {"num_attention_heads": 4, "num_key_value_heads": 2},  # they go in pairs
    "phimoe": lambda *_: {"num_experts_per_tok": 2},  # its router takes two, whatever this says
    "qwen2_moe": lambda draw, depth, _: {
        "sliding_window": draw.randint(5, 150),
        "decoder_sparse_step": draw.randint(1, 3),
        "max_window_layers": draw.randint(0, depth),
        "mlp_only_layers": sorted(draw.sample(range(depth), draw.randint(0, depth // 2))),
    },
    "mellum": lambda draw, depth, _: some(
        draw, mlp_layer_types=[draw.choice(("dense", "sparse")) for _ in range(depth)]
    ),
    "ernie4_5_moe": lambda draw, depth, _: {
        "use_bias": False,
        "moe_layer_start_index": draw.randint(0, depth),
        "moe_layer_end_index": draw.choice((-1, draw.randint(0, depth))),
        "moe_layer_interval": draw.randint(1, 2),
    },
    "dots1": lambda draw, depth, _: (
        {"first_k_dense_replace": draw.randint(0, depth)}
        | some(draw, max_window_layers=draw.randint(0, depth))
    ),
    "opt": lambda draw, _, sizes: (
        {"word_embed_proj_dim": draw.choice((sizes["hidden_size"], draw.randint(9, 90)))}
        | {"ffn_dim": draw.randint(16, 300), "do_layer_norm_before": draw.random() < 0.6}
        | {"layer_norm_elementwise_affine": True, "num_attention_heads": sizes["num_attention_heads"]}
    ),
    "gptj": lambda *_: {"rotary_dim": 8},
    "codegen": lambda draw, *_: {"n_head": 4, "n_embd": 4 * 8 * draw.randint(1, 5), "rotary_dim": 8},
    "helium": lambda _draw, _, sizes: {"head_dim": sizes["hidden_size"] // sizes["num_attention_heads"]},
    "cohere": lambda draw, *_: {"use_qk_norm": draw.random() < 0.6},
    "minimax_m2": lambda draw, _, sizes: some(draw, rotary_dim=sizes["head_dim"] // draw.choice((1, 2))),
    "internlm3": lambda draw, *_: dict.fromkeys(("attention_bias", "mlp_bias"), draw.random() < 0.5),
    "mpt": lambda draw, *_: {"no_bias": True} | some(draw, attn_config={"alibi": True, "clip_qkv": 6.0}),
    "xglm": lambda draw, *_: {"ffn_dim": draw.randint(16, 300), "add_cross_attention": False},
    "persimmon": lambda *_: {"num_key_value_heads": None},
    "hunyuan_v1_moe": lambda *_: {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
    "hunyuan_v1_dense": lambda *_: {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
    **dict.fromkeys(PLAIN_INSIDE, three_ways),
}


def falcon(draw):
    """Every combination of its switches; with as many heads of each kind where it wants that."""
    heads = draw.choice((1, 2, 4, 6))
    new, single = draw.random() < 0.5, draw.random() < 0.5
    fewer = draw.choice([number for number in (1, 2, 3) if heads % number == 0])
    fields = {
        "vocab_size": draw.randint(50, 999),
        "hidden_size": heads * 2 * draw.randint(4, 16),
        "num_hidden_layers": draw.randint(1, 6),
        "num_attention_heads": heads,
        "new_decoder_architecture": new,
        "multi_query": single,
        "num_kv_heads": draw.choice((None, fewer if new else heads)),
    }
    fields |= some(
        draw,
        alibi=draw.random() < 0.5,
        bias=draw.random() < 0.5,
        parallel_attn=draw.random() < 0.6,
        ffn_hidden_size=draw.choice((None, draw.randint(9, 90))),
        tie_word_embeddings=draw.random() < 0.5,
    )
    if new:
        fields["parallel_attn"] = True  # the class cannot run without
        fields |= some(draw, num_ln_in_parallel_attn=draw.choice((None, 1, 2)))
    return fields


def gpt_neo(draw):
    """Layers that see all tokens or the last ones."""
    heads, depth = draw.choice((1, 2, 3)), draw.randint(1, 5)
    kinds = [[[draw.choice(("global", "local"))], 1] for _ in range(depth)]
    return {
        "vocab_size": draw.randint(50, 999),
        "hidden_size": heads * 2 * draw.randint(4, 16),
        "num_layers": depth,
        "num_heads": heads,
        "attention_types": draw.choice((kinds, [[["local"], depth]])),
        "window_size": draw.randint(5, 150),
        "max_position_embeddings": 512,
    } | some(draw, intermediate_size=draw.randint(9, 90), tie_word_embeddings=draw.random() < 0.5)


def gpt_neox_japanese(draw):
    """The last layer differs."""
    heads = draw.choice((1, 2, 3))
    return {
        "vocab_size": draw.randint(50, 999),
        "hidden_size": heads * 4 * draw.randint(2, 9),
        "num_hidden_layers": draw.randint(1, 5),
        "num_attention_heads": heads,
        "intermediate_multiple_size": draw.randint(1, 4),
    } | some(draw, tie_word_embeddings=draw.random() < 0.5)


def minicpm3(draw):
    """MLA of its own ranks; values as wide as a share of the stream, or otherwise."""
    fields = deepseek_v3(draw, any_width=False)
    fields["hidden_size"] = fields["num_attention_heads"] * 2 * draw.randint(4, 16)
    keep = {
        "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "max_position_embeddings", "q_lora_rank", "kv_lora_rank", "attention_bias",
        "qk_rope_head_dim", "qk_nope_head_dim", "tie_word_embeddings",
    }  # fmt: skip
    fields = {field: value for field, value in fields.items() if field in keep}
    fields["v_head_dim"] = draw.choice((None, draw.randint(4, 30)))
    return fields | some(draw, mlp_bias=draw.random() < 0.5, dim_model_base=draw.choice((None, 64)))


def deepseek_v4(draw):
    """Kinds of layers by ratio, by name or by the class's own pattern; rates other than 4 and 128."""
    heads, groups, depth = draw.choice((2, 4, 6)), draw.choice((1, 2)), draw.randint(1, 6)
    head_dim = 8 * draw.randint(1, 6)
    fields = {
        "vocab_size": draw.randint(50, 999),
        "hidden_size": draw.randint(30, 200),
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "head_dim": head_dim,
        "q_lora_rank": draw.randint(8, 60),
        "o_groups": groups,
        "o_lora_rank": draw.randint(8, 60),
        "moe_intermediate_size": draw.randint(9, 90),
        "n_routed_experts": draw.randint(2, 9),
        "num_experts_per_tok": draw.randint(1, 2),
        "index_n_heads": draw.randint(1, 4),
        "index_head_dim": 8 * draw.randint(1, 4),
        "index_topk": draw.randint(1, 9),
        "partial_rotary_factor": draw.choice((0.25, 0.5)),
        "max_position_embeddings": draw.choice((512, 4096)),
        "sliding_window": draw.randint(5, 150),
        "pad_token_id": 0,
    }
    kinds = ("sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention")
    way = draw.choice(("ratios", "names", "pattern"))
    if way == "ratios":
        fields["compress_ratios"] = [draw.choice((0, 4, 128)) for _ in range(depth + draw.randint(0, 1))]
    elif way == "names":
        fields["layer_types"] = [draw.choice(kinds) for _ in range(depth)]
    if draw.random() < 0.4:
        fields["compress_rates"] = {kinds[1]: draw.randint(2, 9), kinds[2]: draw.randint(10, 60)}
    if draw.random() < 0.4:
        fields["mlp_layer_types"] = [draw.choice(("hash_moe", "moe")) for _ in range(depth)]
    more = {"num_hash_layers": draw.randint(0, depth), "num_nextn_predict_layers": draw.randint(0, 2)}
    return fields | some(draw, hc_mult=draw.randint(1, 5), tie_word_embeddings=draw.random() < 0.5, **more)


def dbrx(draw):
    """Sizes of attention and experts in objects of their own, whole or in part."""
    heads = draw.choice((1, 2, 4, 6, 12))
    experts = draw.randint(2, 6)
    fields = {
        "vocab_size": draw.randint(50, 999),
        "d_model": heads * 2 * draw.randint(4, 16),
        "n_heads": heads,
        "n_layers": draw.randint(1, 5),
        "max_seq_len": draw.choice((512, 4096)),
        "ffn_config": {"ffn_hidden_size": draw.randint(16, 200)},
    }
    shared = draw.choice([number for number in (1, 2, 4, 6, 12) if heads % number == 0])
    fields["ffn_config"] |= some(draw, moe_jitter_eps=None, moe_normalize_expert_weights=1.0)
    if draw.random() < 0.8:
        fields["ffn_config"] |= {"moe_num_experts": experts, "moe_top_k": draw.randint(1, experts)}
    return fields | {"attn_config": {"clip_qkv": 8, "rope_theta": 5e5} | some(draw, kv_n_heads=shared)}


def step3p7(draw):
    """Windows with more heads or as many; experts by words, by numbers, or from the fourth layer on."""
    fields = stream(draw, head_dim_needed=True) | {"pad_token_id": 0}
    fields.pop("tie_word_embeddings", None)
    depth, experts, ahead = fields["num_hidden_layers"], draw.randint(2, 6), draw.randint(0, 2)
    every = depth + ahead
    kinds = [draw.choice(("full_attention", "sliding_attention")) for _ in range(every)]
    groups = fields.pop("num_key_value_heads")
    more = groups * draw.randint(1, 4)
    listed = sorted(draw.sample(range(every), draw.randint(0, every)))
    words = ["sparse" if index in listed else "dense" for index in range(every)]
    numbers = draw.choice((listed, ",".join(map(str, listed)) or None))
    fields |= {
        "num_attention_groups": groups,
        "layer_types": kinds[: draw.choice((depth, every))],
        "sliding_window": draw.randint(5, 150),
        "moe_num_experts": experts,
        "moe_top_k": draw.randint(1, experts),
        "moe_intermediate_size": draw.randint(5, 80),
        "share_expert_dim": draw.randint(5, 80),
        "num_nextn_predict_layers": ahead,
        "rope_theta": [1e4] * every,
    }
    fields |= draw.choice(({"moe_layers_enum": numbers}, {"mlp_layer_types": words}, {}))
    other = {
        "attention_type": "sliding_attention",
        "num_attention_heads": more,
        "num_attention_groups": groups,
    }
    fields |= draw.choice(({"attention_other_setting": other}, {"num_sliding_attention_heads": more}, {}))
    fields |= some(draw, attention_bias=draw.random() < 0.5)
    heads, patch = draw.choice((1, 2, 3)), draw.randint(2, 5)
    vision = {"width": 8 * heads * draw.randint(1, 4), "layers": draw.randint(1, 4), "heads": heads}
    vision |= {"image_size": patch * draw.randint(3, 9) + draw.randint(0, 1), "patch_size": patch}
    vision |= some(draw, mlp_ratio=draw.choice((2.5, 4.0)), num_channels=draw.randint(1, 4))
    return {"text_config": fields | {"model_type": "step3p5"}, "vision_config": vision} | some(
        draw, tie_word_embeddings=draw.random() < 0.5, projector_bias=draw.random() < 0.5
    )


def mistral_large4(draw):
    """Layers that rotate or not, that read an earlier one's latents, that look where an earlier one did."""
    text = glm_moe_dsa(draw) | {"model_type": "mistral_large4_text"}
    for field in ("q_lora_rank", "num_nextn_predict_layers"):
        text.pop(field, None)
    depth = text["num_hidden_layers"] = draw.randint(1, 8)
    text.setdefault("n_shared_experts", 1)
    text.pop("indexer_types", None)
    text |= some(draw, indexer_types=["full", *(draw.choice(("full", "shared")) for _ in range(depth - 1))])
    rotates = [(index + 1) % 4 > 0 for index in range(depth)]
    if draw.random() < 0.5:
        rotates = [draw.random() < 0.6 for _ in range(depth)]
        text["no_rope_layers"] = [int(one) for one in rotates] + [1] * draw.randint(0, 2)
    sources = []
    for index, one in enumerate(rotates):  # the latest of its kind: the class looks for no other
        before = [each for each in sources if rotates[each] == one]
        sources.append(before[-1] if before and draw.random() < 0.6 else index)
    return mistral3(draw) | {"text_config": text | some(draw, kv_source_layers=sources)}


def phi4_multimodal(draw):
    """Phi-3, a tower that sees and one that hears; the class states no width of a head."""
    fields = phi3(draw)
    fields.setdefault("num_key_value_heads", None)  # null stands for the query heads
    if fields.pop("head_dim", None) or draw.random() < 0.5:
        fields["hidden_size"] = 4 * draw.randint(2, 9) * fields["num_attention_heads"]
    heads, patch = draw.choice((1, 2, 3)), draw.randint(2, 5)
    vision = {
        "hidden_size": heads * draw.randint(4, 20),
        "intermediate_size": draw.randint(9, 90),
        "num_hidden_layers": draw.randint(1, 4),
        "num_attention_heads": heads,
        "image_size": patch * draw.randint(3, 9) + draw.randint(0, 1),
        "patch_size": patch,
    } | some(draw, num_channels=draw.randint(1, 4), crop_size=draw.randint(9, 90))
    audio = {
        "hidden_size": heads * draw.randint(4, 20),
        "intermediate_size": draw.randint(9, 90),
        "num_blocks": draw.randint(1, 4),
        "num_attention_heads": heads,
        "nemo_conv_channels": draw.randint(3, 30),
        "ext_pw_out_channel": draw.randint(3, 30),
        "depthwise_separable_out_channel": draw.randint(3, 30),
    } | some(
        draw,
        depthwise_multiplier=draw.randint(1, 3),
        kernel_size=draw.randint(1, 5),
        input_size=draw.randint(9, 99),
        time_reduction=2 ** draw.randint(1, 4),
        bias_max_distance=draw.randint(3, 99),
        bias_symmetric=draw.random() < 0.5,
        downsample_rate=draw.randint(1, 3),
        left_chunk=draw.randint(2, 20),
    )
    return fields | {"vision_config": vision, "audio_config": audio}


def doge(draw):
    """Experts that are two rows each, or a plain feed-forward part; a square of keys finds the experts."""
    fields = stream(draw, any_width=False)
    fields.pop("head_dim", None)
    keys = draw.randint(2, 6)
    fields |= {"is_moe": draw.random() < 0.6, "num_experts": keys**2}
    fields["num_experts_per_tok"] = draw.randint(1, keys)
    biased = some(draw, attention_bias=draw.random() < 0.5, mlp_bias=draw.random() < 0.5)
    return fields | biased | some(draw, sliding_window=draw.randint(5, 150))


DRAWN = {
    "mistral_large4": mistral_large4,
    "doge": doge,
    "phi4_multimodal": phi4_multimodal,
    "step3p7": step3p7,
    "dbrx": dbrx,
    "llama": llama,
    "qwen2": qwen2,
    "qwen3": qwen3,
    "qwen3_moe": qwen3_moe,
    "qwen3_next": qwen3_next,
    "qwen3_5_text": qwen3_5_text,
    "qwen3_5_moe_text": qwen3_5_moe_text,
    "qwen3_5": qwen_vl(qwen3_5_text),
    "qwen3_5_moe": qwen_vl(qwen3_5_moe_text),
    "qwen3_vl": qwen_vl(qwen3_vl_text),
    "qwen3_vl_moe": qwen_vl(qwen3_vl_moe_text),
    "deepseek_v2": deepseek_v2,
    "deepseek_v3": deepseek_v3,
    "kimi_k2": deepseek_v3,
    "deepseek_v32": deepseek_v32,
    "glm_moe_dsa": glm_moe_dsa,
    "deepseek_v4": deepseek_v4,
    "qwen4_exp_text": qwen4_exp_text,
    "deepseek_ref": deepseek_v4,
    "kimi_k25": kimi_k25,
    "mistral": mistral,
    "mixtral": mixtral,
    "gpt2": gpt2,
    "phi3": phi3,
    "gemma2": gemma2,
    "gemma3_text": gemma3_text,
    "gemma3": gemma3,
    "mistral3": mistral3,
    "mistral4": mistral4,
    "lfm2": lfm2,
    "lfm2_moe": lfm2_moe,
    "mamba": mamba,
    "falcon_mamba": mamba,
    "jamba": jamba,
    "minimax": minimax,
    "bailing_hybrid": bailing_hybrid,
    "lfm3": lfm3,
    "minimax_m3_vl": minimax_m3_vl,
    "minimax_m3_vl_text": minimax_m3_vl_text,
    "olmo_hybrid": olmo_hybrid,
    "zamba": zamba,
    "zamba2": zamba2,
    "glm4_moe_lite": glm4_moe_lite,
    "kimi_linear": kimi_linear,
    "bamba": bamba,
    "falcon_h1": falcon_h1,
    "granitemoehybrid": granitemoehybrid,
    "mamba2": mamba2,
    "nemotron_h": nemotron_h,
    "gemma4_text": gemma4_text,
    "gemma4": gemma4,
    "gemma4_unified": gemma4_unified,
    "gemma4_unified_text": gemma4_unified_text,
    "gemma3n": gemma3n,
    "gemma3n_text": gemma3n_text,
    "llama4_text": llama4_text,
    "llama4": llama4,
    "gpt_oss": gpt_oss,
    "glm4_moe": glm4_moe,
    "opt": decoder("opt"),
    "falcon": falcon,
    "gpt_neo": gpt_neo,
    "gpt_neox_japanese": gpt_neox_japanese,
    "gpt-sw3": gpt2,
    "minicpm3": minicpm3,
    "hy_v4": hy_v4,
    "axk2": axk2,
    "laguna": laguna,
    "longcat_flash": longcat_flash,
    **{model_type: decoder(model_type) for model_type in PLAIN},
}
DRAWN |= {
    "llava": vision_language(
        ("llama", "mistral", "qwen2", "gemma", "phi3"),
        small_towers.any_of(small_towers.clip, small_towers.siglip, small_towers.pixtral),
        tied_inside=True,
        vision_feature_layer=lambda draw: draw.choice((-2, -1, [-2, -1])),
        multimodal_projector_bias=lambda draw: draw.random() < 0.5,
    ),
    "llava_next": vision_language(
        ("llama", "mistral", "qwen2"),
        small_towers.any_of(small_towers.clip, small_towers.siglip),
        vision_feature_layer=lambda draw: draw.choice((-2, [-2, -1])),
        multimodal_projector_bias=lambda draw: draw.random() < 0.5,
    ),
    "llava_onevision": vision_language(
        ("qwen2", "llama"),
        small_towers.siglip,
        tied_inside=True,
        vision_feature_layer=lambda draw: draw.choice((-1, [-2, -1])),
        multimodal_projector_bias=lambda draw: draw.random() < 0.5,
    ),
    "internvl": vision_language(
        ("qwen2", "llama", "qwen3", "qwen3_moe", "gpt_oss"),
        small_towers.internvl,
        downsample_ratio=lambda draw: draw.choice((0.5, 0.25, 1.0)),
        tied_as_stated=True,
    ),
    "idefics3": vision_language(
        ("llama", "mistral"), small_towers.vit, scale_factor=lambda draw: draw.randint(1, 3)
    ),
    "smolvlm": vision_language(
        ("llama", "qwen2"), small_towers.vit, scale_factor=lambda draw: draw.randint(1, 3)
    ),
    "paligemma": vision_language(("gemma", "gemma2"), small_towers.siglip),
    "cohere2_vision": vision_language(
        ("cohere2", "cohere"),
        small_towers.siglip,
        downsample_factor=lambda draw: draw.randint(1, 3),
        alignment_intermediate_size=lambda draw: 2 * draw.randint(5, 40),
    ),
    "lfm2_vl": vision_language(
        ("lfm2", "lfm2_moe"),
        small_towers.siglip2,
        downsample_factor=lambda draw: draw.randint(1, 3),
        projector_hidden_size=lambda draw: draw.randint(5, 60),
        projector_bias=lambda draw: draw.random() < 0.5,
        projector_use_layernorm=lambda draw: draw.random() < 0.5,
    ),
    "aria": vision_language(
        "aria_text",
        small_towers.vit,
        projector_patch_to_query_dict=lambda draw: {"9": draw.randint(3, 20), "16": draw.randint(3, 20)},
    ),
    "qwen2_5_omni_thinker": with_audio(
        vision_language("qwen2_5_omni_text", small_towers.qwen2_5_vl), small_towers.qwen2_5_omni_audio
    ),
    "qwen3_omni_moe_thinker": with_audio(
        vision_language("qwen3_omni_moe_text", small_towers.qwen3_omni), small_towers.qwen3_omni_audio
    ),
    "qwen2_vl": vision_language("qwen2_vl_text", small_towers.qwen2_vl, flat=True, tied_inside=True),
    "qwen2_5_vl": vision_language("qwen2_5_vl_text", small_towers.qwen2_5_vl, flat=True, tied_inside=True),
    "glm4v": vision_language("glm4v_text", small_towers.glm4v, tied_inside=True),
    "glm4v_moe": vision_language("glm4v_moe_text", small_towers.glm4v, tied_inside=True),
    "glm46v": vision_language("glm4v_text", small_towers.glm4v),
    "glm_ocr": vision_language("glm_ocr_text", small_towers.glm4v, tied_inside=True),
}
