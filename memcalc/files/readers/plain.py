"""Decoders that differ in a few words from Llama's: a table of those words, a line or two a type.

What a class of transformers builds is written down here; its fields and their defaults are generated
(`files.config_classes`), and names of tensors are spelled in `files.tensor_names`. Held by tests/oracles.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import BadInputError, Faults
from memcalc.files.config_classes import harmless_fields
from memcalc.files.readers import variants
from memcalc.files.readers.common import (
    PRE_NORMS,
    check_head_width,
    head_counts,
    layer_types,
    moe,
    periodic_windows,
    rotary_dim,
    rotary_positions,
    sliding_window,
    stack,
    windows_by_layer_type,
    windows_from_layer,
)
from memcalc.files.readers.no_norm import NoNorm
from memcalc.ledger import parts
from memcalc.ledger.model import Layer, Model
from memcalc.ledger.parts.plain import Embedding, Norm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from memcalc.files.config import Config
    from memcalc.ledger.parts import GQA, Part

    Switch = bool | str  # whether something is there, or the field of the config that says so
    Windows = Callable[[Config], tuple[int | None, ...]]
    Dense = Callable[[Config], tuple[bool, ...]]
    Width = str | Callable[[Config], int]
    Mixture = Callable[[Config], Part]
    Attention = Callable[[Config, int | None], Part]
    Further = Callable[[Config, str], Iterable[tuple[str, Part]]]

__all__ = ["CLASSIC", "DECODERS", "Decoder", "decoder_of", "first_dense", "plain"]


# Windows


def in_every_layer(config: Config) -> tuple[int | None, ...]:
    """Return the window of each layer where all have the same, or none has one."""
    return (config.optional("sliding_window"),) * config.size("num_hidden_layers")


def where_listed(config: Config, *, usual: str = "full_attention") -> tuple[int | None, ...]:
    """Return each layer's window as ``layer_types`` says; all layers are of the `usual` kind without it."""
    kinds = layer_types(config) or (usual,) * config.size("num_hidden_layers")
    window = config.optional("sliding_window")
    return windows_by_layer_type(kinds, window, "a sliding layer needs sliding_window")


def stated_period(config: Config, usual: int) -> tuple[int | None, ...]:
    """Return each layer's window where every n-th has none, and the config may say n."""
    stated = config.value("sliding_window_pattern")
    if isinstance(stated, str) and re.fullmatch("L+G", stated):  # as EXAONE 4 has it: local, and global
        return periodic_windows(config, len(stated))
    return periodic_windows(config, config.size("sliding_window_pattern") if stated else usual)


def first_of_period(config: Config, period: int) -> tuple[int | None, ...]:
    """Return each layer's window where the first of every `period` layers has none."""
    if config.has("layer_types"):
        return where_listed(config)
    window = config.optional("sliding_window")
    return tuple(window if index % period else None for index in range(config.size("num_hidden_layers")))


def cohere_windows(config: Config) -> tuple[int | None, ...]:
    """Return each layer's window in Command R7B, whose own files state the period and the tied head again."""
    config.restates("layer_switch", config.value("sliding_window_pattern") or 4)
    config.restates("use_embedding_sharing", config.flag("tie_word_embeddings"))
    return stated_period(config, 4)


def exaone_windows(config: Config) -> tuple[int | None, ...]:
    """Return each layer's window in EXAONE 4, which has none without a ``sliding_window``."""
    if not config.has("sliding_window"):
        config.restates("sliding_window_pattern", 0)
        return where_listed(config)
    return stated_period(config, 4)


def smollm3_windows(config: Config) -> tuple[int | None, ...]:
    """Return each layer's window in SmolLM3: on layers without rotation, if the config switches it on."""
    depth, window = config.size("num_hidden_layers"), sliding_window(config)
    rotated = config.whole_numbers("no_rope_layers")
    interval = config.size("no_rope_layer_interval")
    kinds = layer_types(config)
    if kinds is not None:
        return windows_by_layer_type(kinds, window, "a sliding layer needs use_sliding_window")
    turns = rotated or tuple(int((index + 1) % interval != 0) for index in range(depth))
    return tuple(None if turn else window for turn in turns[:depth])


def late_windows(config: Config) -> tuple[int | None, ...]:
    """Return each layer's window in dots.llm1: from layer ``max_window_layers`` on, if there is one."""
    if config.has("layer_types"):
        return where_listed(config)
    first, window = config.count("max_window_layers"), config.optional("sliding_window")
    return tuple(window if index >= first else None for index in range(config.size("num_hidden_layers")))


def alternating(config: Config) -> tuple[int | None, ...]:
    """Return each layer's window in Qwen2-MoE: every second one below ``max_window_layers``."""
    depth, window, kinds = config.size("num_hidden_layers"), sliding_window(config), layer_types(config)
    limit = config.count("max_window_layers")
    if kinds is not None:
        return windows_by_layer_type(kinds, window, "a sliding layer needs use_sliding_window")
    return tuple(window if (index + 1) % 2 and index < limit else None for index in range(depth))


# Mixtures of experts: which layers have none, and what stands in the others


def qwen2_moe_dense(config: Config) -> tuple[bool, ...]:
    """Say of each layer whether it is dense: all but every n-th, and those that are named."""
    named, step = config.whole_numbers("mlp_only_layers"), config.size("decoder_sparse_step")
    return tuple(
        index in named or (index + 1) % step > 0 for index in range(config.size("num_hidden_layers"))
    )


def mellum_dense(config: Config) -> tuple[bool, ...]:
    """Say of each layer whether it is dense, as ``mlp_layer_types`` does; none is without the list."""
    depth = config.size("num_hidden_layers")
    kinds = config.words("mlp_layer_types", ("dense", "sparse"), depth) or ("sparse",) * depth
    return tuple(kind == "dense" for kind in kinds)


def ernie_dense(config: Config) -> tuple[bool, ...]:
    """Say of each layer of ERNIE 4.5 whether it is dense: outside of two layers, and between every n-th."""
    depth, first = config.size("num_hidden_layers"), config.count("moe_layer_start_index")
    last, step = config.value("moe_layer_end_index"), config.size("moe_layer_interval")
    end = depth - 1 if last == -1 else config.count("moe_layer_end_index")
    return tuple((index + 1) % step > 0 or not first <= index <= end for index in range(depth))


def first_dense(config: Config) -> tuple[bool, ...]:
    """Say of each layer whether it is one of the first, which are dense."""
    first = config.count("first_k_dense_replace")
    return tuple(index < first for index in range(config.size("num_hidden_layers")))


def qwen2_moe(config: Config) -> Part:
    """Return Qwen2-MoE's mixture, with a shared expert behind a gate."""
    shared, normed = config.size("shared_expert_intermediate_size"), config.flag("norm_topk_prob")
    return moe(config, "num_experts", shared_width=shared, shared_gate=True, normed=normed)


def mellum(config: Config) -> Part:
    """Return Mellum's mixture."""
    return moe(config, "num_local_experts", normed=config.flag("norm_topk_prob"))


def granite_shared(config: Config) -> Part:
    """Return Granite's mixture with its shared expert, if it has one."""
    shared = config.count("shared_intermediate_size") or None
    return moe(config, "num_local_experts", "intermediate_size", shared_width=shared)


def ernie(config: Config) -> Part:
    """Return ERNIE 4.5's mixture, whose correction of the router is a parameter."""
    shared = config.count("moe_num_shared_experts") * config.size("moe_intermediate_size") or None
    return moe(config, "moe_num_experts", shared_width=shared, score_bias=True, score_trained=True)


def hunyuan(config: Config) -> Part:
    """Return Hunyuan's mixture, with one shared expert as wide as the others.

    Tencent's files state each layer's experts in lists; the class builds all layers alike.
    """
    depth, width = config.size("num_hidden_layers"), config.size("intermediate_size")
    top_k = config.value("moe_topk")
    if isinstance(top_k, list):
        config.restates("moe_topk", top_k[:1] * depth)
        config.stated["moe_topk"] = top_k[0]
    config.restates("num_shared_expert", 1, [1] * depth)
    config.restates("moe_intermediate_size", width, [width] * depth)
    return moe(config, "num_experts", "intermediate_size", shared_width=config.size("intermediate_size"))


def aria(config: Config) -> Part:
    """Return Aria's mixture, with shared experts as wide as the others."""
    shared = config.size("intermediate_size") * config.size("moe_num_shared_experts")
    config.aliases["num_experts_per_tok"] = "moe_topk"
    return moe(config, "moe_num_experts", "intermediate_size", shared_width=shared)


def dots(config: Config) -> Part:
    """Return dots.llm1's mixture."""
    shared = config.size("n_shared_experts") * config.size("moe_intermediate_size")
    return moe(config, "n_routed_experts", shared_width=shared, score_bias=True)


# What tells one decoder from another


def check_hunyuan(config: Config) -> None:
    """Refuse heads of Hunyuan that have two widths."""
    config.restates("attention_head_dim", head_counts(config)[2])


def check_minimax(config: Config) -> None:
    """Refuse layers of MiniMax-M2 whose attention is another one, and experts that it does not have."""
    kinds = config.whole_numbers("attn_type_list")
    if any(kind != 1 for kind in kinds):
        remedy = "MiniMax-M2 attends fully in every layer; no other kind is understood"
        raise BadInputError("attn_type_list", "1 for every layer", kinds, remedy)
    config.restates("shared_intermediate_size", 0)


ATTENTION_OF_MPT = {"attn_type": "multihead_attention", "qk_ln": False, "prefix_lm": False, "alibi": True}
NO_SHAPE_OF_MPT = ("alibi_bias_max", "attn_impl", "attn_uses_sequence_id", "model_type", "softmax_scale")


def check_mpt(config: Config) -> None:
    """Refuse attention that the class of MPT does not build."""
    check_head_width(config)
    stated, faults = config.mapping("attn_config") if config.has("attn_config") else {}, Faults()
    for field, value in stated.items():
        faults.of(check_attention_of_mpt, field, value)
    faults.refuse()


def check_attention_of_mpt(field: str, value: object) -> None:
    """Refuse a field of the attention of MPT that may change its shape; transformers writes every class's."""
    if field in NO_SHAPE_OF_MPT or (field in ATTENTION_OF_MPT and value == ATTENTION_OF_MPT[field]):
        return
    if field in harmless_fields() and field not in ATTENTION_OF_MPT:
        return
    expected = str(ATTENTION_OF_MPT.get(field, "only fields of MptAttentionConfig"))
    raise BadInputError(f"attn_config.{field}", expected, value, "no other attention is understood")


def check_internlm3(config: Config) -> None:
    """Refuse one bias without the other, as the class does."""
    check_head_width(config)
    config.restates("mlp_bias", config.flag("attention_bias"))


def check_heads_fill(config: Config) -> None:
    """Refuse heads that are together not as wide as the stream: the output's matrix is square."""
    heads, _, head_dim = head_counts(config)
    if heads * head_dim != config.size("hidden_size"):
        given = f"{head_dim} for {heads} heads in {config.size('hidden_size')}"
        raise BadInputError("head_dim", "hidden_size / num_attention_heads", given, "correct config.json")


def neox_rotated(config: Config) -> int:
    """Return how many numbers of a head GPT-NeoX rotates: a quarter, unless ``rotary_pct`` says otherwise."""
    share = config.value("rotary_pct")
    if share is None:
        share = 0.25
    if not isinstance(share, int | float) or not 0 <= share <= 1:
        raise BadInputError("rotary_pct", "a share of a head, up to 1", share, "correct config.json")
    return int(head_counts(config)[2] * share)


class Decoder(NamedTuple):
    """The words in which a decoder differs from Llama. A switch is true, false, or the field that says so.

    `norms` are the norms of a layer by name, of which `layer_norm` says whether they have a bias; with
    `parallel` attention and feed-forward part share the first of them, and `more_norms` are a switch and what
    it adds. `qk_norm` says whether queries and
    keys have norms, `whole_norm` that those span all heads, `head_norms` how they are stored where each head
    has one of its own. `ffn` is the field with the inner width, 4 times the width if it is null or there is
    none, or tells the width; `gated` says whether the feed-forward part has three matrices.
    `rotated` is false where positions are learned or biases: `positions` are the rows of a learned table
    beyond the number that the field `limit` has. `check` refuses what the class does, `restated` are fields
    with the one value that is understood, `harmless` those that the class reads and that change no memory.
    `in_32_bits` are tensors of a sparse layer that the class keeps in fp32 whatever the model's dtype.
    `rotated_width` is the field with the rotated numbers of a head where no share of them is stated, or tells
    them. `beside` are fields that tell of weights which no published checkpoint has: they are not counted,
    and are named.
    `attend` makes the attention of a layer with a window (or None) where it is no `GQA`; `sinks` says whether
    each query head has a logit of its own. `further` makes further parts of a "dense" or "sparse" layer.
    With `rotated_by_kind` layers with a window have a table of sines of their own. `ahead` says what a layer
    for multi-token prediction has beside attention: its kind, its further norms, and the matrix that joins
    two streams.
    """

    norms: tuple[str, ...] = PRE_NORMS
    more_norms: tuple[Switch, tuple[str, ...]] = (False, ())
    final_norm: bool = True
    layer_norm: bool = False
    embedding_norm: bool = False
    qkv_bias: Switch = "attention_bias"
    out_bias: Switch = "attention_bias"
    mlp_bias: Switch = "mlp_bias"
    head_bias: Switch = False
    qk_norm: Switch = False
    whole_norm: bool = False
    head_norms: str = ""
    norm_bias: bool = False
    gated: bool = True
    ffn: Width = "intermediate_size"
    windows: Windows | None = None
    mixture: Mixture | None = None
    dense: Dense | None = None
    rotated: bool = True
    limit: str = "max_position_embeddings"
    positions: int | None = None
    kv_heads: Callable[[Config], int] | None = None
    parallel: Switch = False
    check: Callable[[Config], None] | None = None
    restated: tuple[tuple[str, object], ...] = ()
    harmless: tuple[str, ...] = ()
    in_32_bits: tuple[str, ...] = ()
    rotated_width: Width = ""
    beside: tuple[str, ...] = ()
    attend: Attention | None = None
    sinks: bool = False
    further: Further | None = None
    rotated_by_kind: bool = False
    ahead: tuple[str, tuple[str, ...], str] | None = None


ROUTER_OF = "mlp.gate"
OF_HUNYUAN = (
    ("use_qk_norm", True),
    ("use_cla", False),
    ("use_rotary_pos_emb", True),
    ("add_classification_head", False),
)
ROUTER = f"{ROUTER_OF}.weight"
ONE_NORM = ("input_layernorm",)
AFTER = ("post_attention_layernorm", "post_feedforward_layernorm")
CLASSIC = Decoder(
    layer_norm=True,
    qkv_bias=True,
    out_bias=True,
    mlp_bias=True,
    gated=False,
    rotated=False,
    check=check_head_width,
)
GPTJ = CLASSIC._replace(
    norms=ONE_NORM, qkv_bias=False, out_bias=False, ffn="n_inner", head_bias=True, harmless=("rotary_dim",)
)
QWEN2_VL = Decoder(qkv_bias=True, out_bias=False, windows=windows_from_layer, check=check_heads_fill)
GLM4V = Decoder(
    (*PRE_NORMS, "post_self_attn_layernorm", "post_mlp_layernorm"),
    qkv_bias=True,
    out_bias=False,
    check=check_heads_fill,
    harmless=("attention_bias",),  # the class has biases on q, k and v, and none on o, whatever it says
)
CORRECTED = partial(variants.experts, number="num_experts", shared="num_shared_experts", corrected=True)
FIRST_OF_FOUR = partial(variants.full_where, full=lambda index, _: index % 4 == 0)
BESIDE_HUNYUAN = (
    "enable_lm_head_fp32",
    "cla_share_factor",
    "dense_list",
    "num_media_embeds",
    "org_vocab_size",
)


DECODERS: dict[str, Decoder] = {
    "gemma": Decoder(harmless=("use_bidirectional_attention",)),
    "seed_oss": Decoder(out_bias="attention_out_bias"),
    "cwm": Decoder(
        qkv_bias=False, out_bias=False, windows=partial(first_of_period, period=4), check=check_head_width
    ),
    "ernie4_5": Decoder(
        qkv_bias="use_bias", out_bias="use_bias", mlp_bias="use_bias", check=variants.check_ernie
    ),
    "granite": Decoder(check=check_head_width),
    "helium": Decoder(out_bias=False, check=check_heads_fill),
    "internlm3": Decoder(check=check_internlm3),
    "iquestcoder": Decoder(check=check_head_width),
    "hyperclovax": Decoder(
        more_norms=("use_post_norm", ("post_norm1", "post_norm2")), check=check_head_width
    ),
    "smollm3": Decoder(windows=smollm3_windows),
    "ministral3": Decoder(windows=in_every_layer),
    "olmo": Decoder(norms=(), final_norm=False, check=check_head_width),
    "olmo2": Decoder(AFTER, qk_norm=True, whole_norm=True),
    "olmo3": Decoder(AFTER, qk_norm=True, whole_norm=True, windows=partial(periodic_windows, period=4)),
    "starcoder2": CLASSIC._replace(
        qkv_bias="use_bias",
        out_bias="use_bias",
        mlp_bias="use_bias",
        rotated=True,
        windows=in_every_layer,
        check=None,
    ),
    "cohere": Decoder(ONE_NORM, qk_norm="use_qk_norm", head_norms="stacked"),
    "cohere2": Decoder(
        ONE_NORM,
        windows=cohere_windows,
        restated=(("use_gated_activation", True), ("use_parallel_block", True)),
    ),
    "glm": Decoder(out_bias=False),
    "glm4": Decoder((*PRE_NORMS, "post_self_attn_layernorm", "post_mlp_layernorm"), out_bias=False),
    "exaone4": Decoder(
        AFTER,
        qk_norm=True,
        windows=exaone_windows,
        restated=tuple((field, True) for field in ("reorder_qk_norm", "reorder_and_qk_norm")),
    ),
    "stablelm": Decoder(
        layer_norm=True,
        qkv_bias="use_qkv_bias",
        out_bias=False,
        parallel="use_parallel_residual",
        qk_norm="qk_layernorm",
        head_norms="apart",
    ),
    "nemotron": Decoder(layer_norm=True, gated=False),
    "phi": CLASSIC._replace(
        norms=ONE_NORM, rotated=True, head_bias=True, qk_norm="qk_layernorm", norm_bias=True
    ),
    "gpt_neox": CLASSIC._replace(
        qkv_bias="attention_bias",
        out_bias="attention_bias",
        rotated=True,
        rotated_width=neox_rotated,
        harmless=("use_parallel_residual",),
    ),
    "opt": CLASSIC._replace(
        qkv_bias="enable_bias",
        out_bias="enable_bias",
        mlp_bias="enable_bias",
        ffn="ffn_dim",
        positions=2,
        restated=(("layer_norm_elementwise_affine", True),),
    ),
    "xglm": CLASSIC._replace(ffn="ffn_dim", restated=(("add_cross_attention", False),)),
    "biogpt": CLASSIC._replace(positions=2),
    "mpt": Decoder(
        qkv_bias=False,
        out_bias=False,
        gated=False,
        ffn="",
        rotated=False,
        limit="max_seq_len",
        check=check_mpt,
        restated=(("no_bias", True), ("expansion_ratio", 4)),
        harmless=("learned_pos_emb",),
    ),
    "bloom": CLASSIC._replace(
        embedding_norm=True, ffn="", harmless=("apply_residual_connection_post_layernorm", "slow_but_exact")
    ),
    "gptj": GPTJ,
    "codegen": GPTJ,
    "gpt_bigcode": CLASSIC._replace(
        restated=(("add_cross_attention", False),),
        ffn="n_inner",
        positions=0,
        kv_heads=lambda config: 1 if config.flag("multi_query") else 0,
    ),
    "persimmon": CLASSIC._replace(rotated=True, qk_norm="qk_layernorm", norm_bias=True),
    "arcee": Decoder(gated=False, check=check_head_width),
    "hunyuan_v1_dense": Decoder(
        qk_norm=True, check=check_hunyuan, restated=OF_HUNYUAN, harmless=BESIDE_HUNYUAN
    ),
    "aria_text": Decoder(mixture=aria, restated=(("mlp_bias", False),), check=check_head_width),
    # text models of vision-language models
    "qwen2_vl_text": QWEN2_VL,
    "qwen2_5_vl_text": QWEN2_VL,
    "qwen2_5_omni_text": QWEN2_VL,
    "glm4v_text": GLM4V,
    "glm_ocr_text": GLM4V._replace(
        qkv_bias=False, check=None, harmless=(), restated=(("attention_bias", False),)
    ),
    "glm4v_moe_text": Decoder(out_bias=False, mixture=dots, dense=first_dense),
    "apertus": Decoder(
        ("attention_layernorm", "feedforward_layernorm"),
        qk_norm=True,
        gated=False,
        further=variants.xielu,
        restated=(("qk_norm", True),),
    ),
    "ministral": Decoder(windows=variants.window_or_list, check=variants.needs_head_dim),
    "nanochat": Decoder(norms=(), final_norm=False, gated=False),
    "vaultgemma": Decoder(
        ("input_layernorm", "pre_feedforward_layernorm"),
        windows=partial(periodic_windows, period=2),
        check=check_head_width,
    ),
    "bitnet": Decoder(further=variants.inner_norms),
    "diffllama": Decoder(further=variants.differences, check=variants.check_pairs),
    "jais2": Decoder(layer_norm=True, gated=False, check=check_head_width),
    "granite_swa": Decoder(windows=FIRST_OF_FOUR, sinks=True, harmless=("layer_rope_theta",)),
    "youtu": Decoder(attend=variants.latent),
    # mixtures of experts
    "granitemoe_swa": Decoder(
        windows=FIRST_OF_FOUR, sinks=True, mixture=granite_shared, harmless=("layer_rope_theta",)
    ),
    "exaone_moe": Decoder(
        qk_norm=True,
        windows=variants.exaone_moe_windows,
        mixture=CORRECTED,
        dense=variants.listed_dense,
        check=variants.check_exaone,
        # vllm-project/vllm, model_executor/models/exaone_moe_mtp.py, 2026-11: always dense
        ahead=("dense", ("norm", "pre_fc_norm_hidden", "pre_fc_norm_embedding"), "fc"),
    ),
    "cohere2_moe": Decoder(
        ONE_NORM,
        windows=variants.cohere2_moe_windows,
        mixture=variants.cohere2_experts,
        dense=variants.listed_dense,
        ffn=variants.cohere2_dense_width,
        harmless=("intermediate_size", "prefix_dense_intermediate_size"),
    ),
    "afmoe": Decoder(
        (*PRE_NORMS, "pre_mlp_layernorm", "post_mlp_layernorm"),
        qk_norm=True,
        windows=variants.afmoe_windows,
        mixture=partial(CORRECTED, trained=True),
        dense=variants.afmoe_dense,
        check=variants.needs_head_dim,
        further=variants.output_gate,
        harmless=("mup_enabled", "num_expert_groups", "num_limited_groups", "route_norm", "use_grouped_mm"),
    ),
    "hy_v3": Decoder(
        qk_norm=True,
        mixture=CORRECTED,
        dense=variants.listed_dense,
        check=variants.check_hy,
        restated=(
            ("mlp_bias", False),
            ("moe_router_enable_expert_bias", True),
            ("moe_router_use_sigmoid", True),
            ("qk_norm", True),
        ),
        harmless=(
            *("enable_attention_fp32_softmax", "enable_lm_head_fp32", "enable_moe_fp32_combine"),
            *("route_norm", "use_grouped_mm"),
        ),
        # vllm-project/vllm, model_executor/models/hy_v3_mtp.py, 2026-11: its head is the model's
        ahead=("sparse", ("enorm", "hnorm", "final_layernorm"), "eh_proj"),
    ),
    "axk1": Decoder(
        attend=variants.latent,
        mixture=partial(CORRECTED, number="n_routed_experts", shared="n_shared_experts"),
        dense=variants.listed_dense,
        further=variants.norm_behind_experts,
    ),
    "flint": Decoder(
        qk_norm=True,
        windows=variants.flint_windows,
        sinks=True,
        mixture=variants.beside_shared,
        dense=variants.flint_dense,
        in_32_bits=(ROUTER, "self_attn.sinks"),
    ),
    "kolibri1": Decoder(
        ("input_layernorm", "post_attn_norm", "post_attention_layernorm", "post_ffn_norm"),
        qk_norm=True,
        windows=partial(variants.full_where, full=lambda index, _: index % 5 == 4),
        mixture=partial(variants.beside_shared, corrected=True),
    ),
    "mimo_v2_flash": Decoder(
        rotated_by_kind=True,
        attend=variants.mimo_attention,
        check=variants.check_mimo,
        windows=variants.mimo_windows,
        mixture=partial(variants.experts, number="n_routed_experts", corrected=True),
        dense=variants.listed_dense,
    ),
    "solar_open": Decoder(
        out_bias=False, mixture=partial(CORRECTED, number="n_routed_experts", shared="n_shared_experts")
    ),
    "qwen2_moe": Decoder(
        qkv_bias="qkv_bias", out_bias=False, windows=alternating, mixture=qwen2_moe, dense=qwen2_moe_dense
    ),
    "mellum": Decoder(qk_norm=True, windows=where_listed, mixture=mellum, dense=mellum_dense),
    "olmoe": Decoder(
        qk_norm=True,
        whole_norm=True,
        mixture=partial(moe, experts="num_experts", width="intermediate_size"),
        check=check_heads_fill,  # its norms are as wide as the stream
    ),
    "flex_olmo": Decoder(
        AFTER,
        qk_norm=True,
        whole_norm=True,
        mixture=partial(moe, experts="num_experts", width="intermediate_size"),
    ),
    "granitemoe": Decoder(mixture=partial(moe, experts="num_local_experts", width="intermediate_size")),
    "granitemoeshared": Decoder(mixture=granite_shared),
    "minimax_m2": Decoder(
        qkv_bias=False,
        out_bias=False,
        qk_norm=True,
        whole_norm=True,
        mixture=partial(moe, experts="num_local_experts", width="intermediate_size", score_bias=True),
        check=check_minimax,
        rotated_width="rotary_dim",
        restated=(("use_qk_norm", True), ("qk_norm_type", "per_layer"), ("use_routing_bias", True)),
        harmless=("use_mtp", "mtp_transformer_layers"),
        beside=("num_mtp_modules",),
    ),
    "phimoe": Decoder(  # its router takes the two best experts, whatever the field says
        restated=(("num_experts_per_tok", 2),),
        layer_norm=True,
        head_bias="lm_head_bias",
        windows=in_every_layer,
        mixture=partial(moe, experts="num_local_experts", width="intermediate_size"),
    ),
    "ernie4_5_moe": Decoder(
        mixture=ernie,
        dense=ernie_dense,
        restated=(("use_bias", False),),
        harmless=("weight_share_add_bias",),
        # vllm-project/vllm, model_executor/models/ernie_mtp.py, 2026-11: dense, in files of a mixture, too
        ahead=("dense", ("mtp_emb_norm", "mtp_hidden_norm"), "mtp_linear_proj"),
        in_32_bits=(ROUTER, f"{ROUTER_OF}.e_score_correction_bias"),
    ),
    "hunyuan_v1_moe": Decoder(
        qk_norm=True,
        mixture=hunyuan,
        in_32_bits=(ROUTER,),
        check=check_hunyuan,
        restated=(*OF_HUNYUAN, ("use_mixed_mlp_moe", True)),
        harmless=(*BESIDE_HUNYUAN, "anyres_pooling_size"),
    ),
    "dots1": Decoder(
        qk_norm=True,
        windows=late_windows,
        mixture=dots,
        dense=first_dense,
        restated=(("qk_layernorm", True),),
    ),
}


EXPERT_FIELDS = (
    "moe_intermediate_size", "moe_num_experts", "moe_num_shared_experts", "n_routed_experts",
    "n_shared_experts", "num_experts", "num_experts_per_tok", "num_local_experts", "num_shared_experts",
    "shared_expert_intermediate_size", "shared_intermediate_size",
)  # fmt: skip


def plain(config: Config, name: str) -> Model:
    """Read a decoder of the table."""
    return decoder_of(config, name, DECODERS[str(config.fields["model_type"])])


def decoder_of(config: Config, name: str, words: Decoder) -> Model:
    """Read a decoder that these words describe."""
    for field, value in words.restated:
        config.restates(field, value)
    for field in words.harmless:
        config.has(field)
    if words.check:
        words.check(config)
    width, depth = config.size("hidden_size"), config.size("num_hidden_layers")
    windows = words.windows(config) if words.windows else (None,) * depth
    dense = words.dense(config) if words.dense else (words.mixture is None,) * depth
    inner = (words.ffn,) if isinstance(words.ffn, str) else ()
    for field in (*inner, *EXPERT_FIELDS) if words.mixture else ():
        config.has(field)  # sizes of a kind of layer: needed only where there are some
    sparse = None if words.mixture is None or all(dense) else words.mixture(config)
    norm = Norm(width, words.layer_norm)

    norms = words.norms[:1] if switched(config, words.parallel) else words.norms
    switch, more = words.more_norms
    norms = (*norms, *more) if switched(config, switch) else norms

    def layer(kind: tuple[int | None, bool]) -> Layer:
        window, is_dense = kind
        mlp = feed_forward(config, words) if is_dense or sparse is None else sparse
        named = ((each, norm) for each in norms)
        own = words.further(config, "sparse" if mlp is sparse else "dense") if words.further else ()
        wide = tuple((one, "fp32") for one in words.in_32_bits if mlp is sparse or ROUTER_OF not in one)
        attends = words.attend(config, window) if words.attend else attention(config, words, window)
        return Layer((("self_attn", attends), ("mlp", mlp), *named, *own), formats=wide)

    layers = tuple(stack(zip(windows, dense, strict=True), layer))
    limit = config.optional(words.limit)
    rows = rotary_positions(config, limit) if words.rotated else None
    if rows is not None and words.rotated_by_kind:
        rows *= len({window is None for window in windows})
    tied = config.flag("tie_word_embeddings")
    outside = ends(config, words, norm, limit, tied=tied)
    beside = tuple(f"{field} {config.value(field)}" for field in words.beside if config.has(field))
    model_type = str(config.fields["model_type"])
    mtp = predicted(config, words, layer) if words.ahead else ()
    return Model(name, model_type, layers, outside, tied, limit, rows, mtp, not_read=beside)


def predicted(
    config: Config, words: Decoder, layer: Callable[[tuple[int | None, bool]], Layer]
) -> tuple[Layer, ...]:
    """Return the layers for multi-token prediction, which the class leaves out: files have them beside."""
    kind, norms, matrix = words.ahead or ("", (), "")
    ahead = config.count("num_nextn_predict_layers") if config.has("num_nextn_predict_layers") else 0
    if not ahead:
        return ()
    width = config.size("hidden_size")
    extra = (*((each, Norm(width)) for each in norms), (matrix, parts.Linear(width, 2 * width)))
    made = layer((None, kind == "dense"))
    return (replace(made, parts=(*made.parts, *extra)),) * ahead


def switched(config: Config, switch: Switch) -> bool:
    """Say whether something is there; a switch that the class does not declare is off."""
    return switch if isinstance(switch, bool) else switch in config.defaults and config.flag(switch)


def attention(config: Config, words: Decoder, window: int | None) -> GQA:
    """Return the attention of a layer."""
    heads, kv_heads, head_dim = head_counts(config)
    normed = switched(config, words.qk_norm)
    made = parts.GQA(
        config.size("hidden_size"),
        heads,
        (words.kv_heads(config) if words.kv_heads else 0) or kv_heads,
        head_dim,
        window=window,
        qkv_bias=switched(config, words.qkv_bias),
        out_bias=switched(config, words.out_bias),
        qk_norm=normed,
        qk_norm_bias=words.norm_bias,
        qk_norm_whole=words.whole_norm,
        rope_dim=rotated_numbers(config, words) if words.rotated else 0,
        sinks=words.sinks,
    )
    if not (normed and words.head_norms):
        return made
    from memcalc.files.readers.head_norms import with_head_norms

    return with_head_norms(made, apart=words.head_norms == "apart")


def rotated_numbers(config: Config, words: Decoder) -> int | None:
    """Return how many numbers of a head are rotated, or None for all of them."""
    if isinstance(words.rotated_width, str):
        stated = config.optional(words.rotated_width) if words.rotated_width else None
    else:
        stated = words.rotated_width(config)
    share = rotary_dim(config)
    return share if share is not None or stated == head_counts(config)[2] else stated


def feed_forward(config: Config, words: Decoder) -> Part:
    """Return the dense feed-forward part of a layer."""
    width = config.size("hidden_size")
    if isinstance(words.ffn, str):
        inner = (config.optional(words.ffn) if words.ffn else None) or 4 * width
    else:
        inner = words.ffn(config)
    return parts.MLP(width, inner, gated=words.gated, bias=switched(config, words.mlp_bias))


def ends(
    config: Config, words: Decoder, norm: Norm, limit: int | None, *, tied: bool
) -> tuple[tuple[str, Part], ...]:
    """Return what stands before and after the layers."""
    width, vocab = norm.width, config.size("vocab_size")
    found: list[tuple[str, Part]] = [("model.embed_tokens", Embedding(vocab, width))]
    if words.positions is not None:
        rows = (limit or 0) + words.positions
        found.append(("model.embed_positions", parts.PositionTable((rows,), width)))
    if words.embedding_norm:
        found.append(("model.embed_norm", norm))
    found.append(("model.norm", norm if words.final_norm else NoNorm()))
    biased = switched(config, words.head_bias)
    if tied and biased:
        remedy = "a bias of a head that is the embedding is not understood"
        raise BadInputError("tie_word_embeddings", "false where the head has a bias", tied, remedy)
    if not tied:
        found.append(("lm_head", Embedding(vocab, width, "head", bias=biased)))
    return tuple(found)
