"""What the classes of transformers do that Llama's does not: a line or two a type, and what configs say.

A config's file and the parts of a model say what is stored; this table says what its class does with it. Read
in transformers 5.23, src/transformers/models; held against autograd in tests/test_programs.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.files.config import text_config
from memcalc.ledger.parts import GQA
from memcalc.training.autograd.architecture import (
    BRANCHES,
    CHUNKS,
    DROPPED,
    LIKE_LLAMA,
    LLAMA,
    NOT_LISTED,
    PRE_NORMS,
    UNLISTED_ACTIVATIONS,
    Architecture,
    Aside,
    Branch,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memcalc.files.config import Config
    from memcalc.ledger.model import Layer, Model

__all__ = ["ARCHITECTURES", "as_config_says", "with_turns"]

SANDWICH = (
    Branch("input_layernorm", "self_attn", "post_attention_layernorm"),
    Branch("pre_feedforward_layernorm", "mlp", "post_feedforward_layernorm"),
)
BEHIND_BOTH = (
    Branch("input_layernorm", "self_attn", "post_self_attn_layernorm"),
    Branch("post_attention_layernorm", "mlp", "post_mlp_layernorm"),
)
BEHIND = (
    Branch(None, "self_attn", "post_attention_layernorm"),
    Branch(None, "mlp", "post_feedforward_layernorm"),
)
AFTER = (
    Branch(None, "self_attn", after="input_layernorm"),
    Branch(None, "mlp", after="post_attention_layernorm"),
)
ONE_BRANCH = (Branch("norm", "self_attn"),)
OWN_NORMS = (Branch("ln_attn", "self_attn"), Branch("ln_mlp", "mlp"))
SHARED_NORM = (Branch("input_layernorm", "self_attn"), Branch("input_layernorm", "mlp"))

EXPERTS_ASIDE = (
    SANDWICH[0],
    SANDWICH[1]._replace(
        aside=Aside(
            "post_feedforward_layernorm_1",
            "pre_feedforward_layernorm_2",
            "moe",
            "post_feedforward_layernorm_2",
        )
    ),
)

CORRECTION = "e_score_correction_bias"
OLMO2 = Architecture(branches=BEHIND, norm="wide", wide_tables=True)
GLM = Architecture(fused=("gate_up",), rope="turned in part")
GEMMA = Architecture(norm="plus one", scaled_embedding=True)
QWEN3_5 = Architecture(norm="plus one", rope="joined", tables_by_sequence=True, shared_first=True)
INDEXED = Architecture(
    rope="pairs",
    router="corrected",
    attentions=("sdpa", "eager"),
    index_rope="halves",
    unreached=tuple(f"indexer.{name}" for name in ("wq_b", "wk", "k_norm", "weights_proj")),
)
COHERE = Architecture(
    branches=SHARED_NORM, parallel=True, norm="centred", rope="both woven", scaled_logits=True
)
PHI = Architecture(
    branches=SHARED_NORM,
    parallel=True,
    norm="layer",
    rope="joined",
    named_parts=True,
    late_norms=True,
    dropped=DROPPED,
)
ARCHITECTURES: dict[str, Architecture] = {
    **dict.fromkeys(LIKE_LLAMA, LLAMA),  # to be listed: words_of answers for them without this table
    "gemma": GEMMA,
    "gemma2": replace(GEMMA, branches=SANDWICH),
    "gemma3_text": replace(GEMMA, branches=SANDWICH, late_norms=True, tables_by_kind=True),
    "gemma4_text": Architecture(
        branches=EXPERTS_ASIDE,
        norm="power",
        scaled_embedding=True,
        tables_by_kind=True,
        queries_first=True,
        router="scaled experts",
        narrow_buffers=True,
        scaled_layers=True,
    ),
    "glm4_moe": Architecture(late_norms=True, rope="joined", router="corrected"),
    **dict.fromkeys(("deepseek_v3", "kimi_k2"), Architecture(rope="pairs", router="corrected")),
    "kimi_linear": Architecture(rope="none", fused=("conv",), router="corrected", narrow_buffers=True),
    "deepseek_v32": INDEXED,
    "glm_moe_dsa": replace(INDEXED, index_rope="pairs", handed_on=True),
    "deepseek_v2": Architecture(rope="complex", router="scaled softmax"),
    "minimax_m2": Architecture(rope="joined", router="sigmoid", narrow_buffers=True),
    "ernie4_5_moe": Architecture(
        wide_tables=True,
        rope="woven",
        router="clamped sum",
        shared_first=True,
        wide_weights=("mlp.gate.weight", CORRECTION),
        frozen=(CORRECTION,),
    ),
    "ernie4_5": Architecture(wide_tables=True, rope="woven"),
    "gpt_oss": Architecture(rope="two", norm="wide", router="chosen", clamped_gate=True, sinks=True),
    "ministral3": Architecture(scaled_queries="by position"),
    **dict.fromkeys(("qwen3_5_text", "qwen3_5_moe_text"), QWEN3_5),
    "qwen3_next": replace(QWEN3_5, tables_by_sequence=False, fused=("qkvz",)),
    "qwen2_5_vl_text": Architecture(tables_by_sequence=True, positions="none"),
    **dict.fromkeys(("qwen3_vl_text", "qwen3_vl_moe_text"), Architecture(tables_by_sequence=True)),
    "qwen2_moe": Architecture(shared_first=True),
    "phi3": Architecture(fused=("qkv", "gate_up"), rope="joined", dropped=BRANCHES),
    "olmo": Architecture(norm="bare", wide_tables=True),
    "olmo2": OLMO2,
    "olmo3": replace(OLMO2, tables_by_kind=True),
    "exaone4": Architecture(branches=BEHIND, late_norms=True),
    "glm": GLM,
    "glm4": replace(GLM, branches=BEHIND_BOTH),
    "granite": Architecture(scaled_branches=True, scaled_logits=True, moved_tokens=True),
    "granitemoehybrid": Architecture(
        rope="none",
        fused=("gate_up",),
        by_kind=True,
        router="chosen",
        wide_softmax=True,
        scaled_branches=True,
        scaled_logits=True,
        moved_tokens=True,
        positions="none",
    ),
    "nemotron_h": Architecture(
        branches=ONE_BRANCH,
        by_kind=True,
        norm="float",
        rope="none",
        router="corrected",
        activation="relu2",
        wide_logits=True,
    ),
    "helium": Architecture(norm="float", rope="turned"),
    "smollm3": Architecture(turns_by_layer=True),
    "seed_oss": Architecture(dropped=BRANCHES),
    "starcoder2": Architecture(norm="layer", dropped=DROPPED),
    "gpt_neox": Architecture(
        norm="layer", fused=("qkv",), cut="at once", rope="joined", late_norms=True, dropped=DROPPED
    ),
    "hunyuan_v1_dense": Architecture(rotated_first=True),
    "phi": PHI,
    "falcon": Architecture(
        branches=SHARED_NORM,
        parallel=True,
        norm="layer",
        fused=("qkv",),
        cut="picked",
        biases_apart=True,
        named_branches=True,
        narrow_softmax=True,
        dropped=("sum",),
        attentions=("flash", "eager"),
    ),
    "gptj": Architecture(
        branches=SHARED_NORM,
        parallel=True,
        norm="layer",
        rope="turned in part",
        keys_first=True,
        wide_products=True,
        dropped=DROPPED,
        attentions=("flash", "eager"),
    ),
    "bloom": Architecture(
        norm="layer",
        rope="none",
        fused=("qkv",),
        positions="biases",
        activation="bloom",
        dropped=BRANCHES,
        attentions=("eager",),
    ),
    "stablelm": replace(PHI, named_branches=True, dropped=("mlp",)),
    "cohere": replace(COHERE, late_norms=True),
    "cohere2": replace(COHERE, unrotated=True),
    "opt": Architecture(
        norm="layer",
        rope="none",
        scaled_queries="number",
        positions="each",
        inline_mlp=True,
        dropped=BRANCHES,
    ),
}

# fields of config.json, and what they say: the first that is there
ACTIVATIONS = ("hidden_activation", "hidden_act", "activation_function", "activation", "mlp_hidden_act")
WINDOWS_ROTATE = ("exaone4",)  # if there are windows, layers without one are not rotated


def side_by_side(found: Architecture, names: set[str]) -> Architecture:
    """Return the words of a type whose branches may share a norm, by the norms that its layers have."""
    if "ln_mlp" in names:
        return replace(found, branches=OWN_NORMS, norms_first=True)
    if "post_attention_layernorm" in names:
        dropped = BRANCHES if "sum" in found.dropped else found.dropped
        return replace(found, branches=PRE_NORMS, parallel=False, dropped=dropped)
    return found


def cut_of(config: Config) -> str:
    """Return how Falcon cuts heads apart: keys spread to their queries, one picked, or as many as queries."""
    if config.value("new_decoder_architecture"):
        return "spread"
    return "picked" if config.value("multi_query") else "apart"


def with_chunks(found: Architecture, model: Model, config: Config) -> Architecture:
    """Return the words of a type with Mamba-2, with the tokens of a chunk.

    What has one head, or one number of it, is not copied where others are; other activations are not read.
    """
    if model.model_type not in CHUNKS:
        return found
    chunk = config.value(CHUNKS[model.model_type])
    active = config.value("mamba_hidden_act") or config.value("hidden_act")
    mixers = [part for layer in model.groups for name, part in layer.parts if name == "mamba"]
    sizes = [getattr(part, name) for part in mixers for name in ("ssm_heads", "ssm_head_dim", "ssm_state")]
    if not isinstance(chunk, int) or min([chunk, *sizes]) < 2 or active != "silu":
        return NOT_LISTED
    rope = "halves" if config.value("position_embedding_type") == "rope" else found.rope
    return replace(found, chunk=chunk, rope=rope)


def runs_as_read(found: Architecture, model: Model, activation: str) -> bool:
    """Say whether Kimi delta attention is that of its program: one head is not copied where several are."""
    if "conv" not in found.fused:
        return True
    heads = (getattr(part, "linear_value_heads", None) for layer in model.groups for _, part in layer.parts)
    return activation == "silu" and 1 not in heads


def with_turns(model: Model, fields: Mapping[str, object]) -> Model:
    """Return a model whose layers say whether they are rotated, as SmolLM3's config has it."""
    config = text_config(model, fields)
    every = config.size("no_rope_layer_interval")
    turns = config.whole_numbers("no_rope_layers") or [(index + 1) % every for index in range(model.depth)]

    def as_said(layer: Layer, turned: object) -> Layer:
        if turned:
            return layer
        still = (
            (name, replace(part, rope_dim=0) if isinstance(part, GQA) else part) for name, part in layer.parts
        )
        return replace(layer, parts=tuple(still))

    return model.map_layers(as_said, (bool(turned) for turned in turns[: model.depth]))


def as_config_says(found: Architecture, model: Model, fields: Mapping[str, object]) -> Architecture:
    """Return the words of a type with what a config.json says beside."""
    config = text_config(model, fields)
    stated = (config.value(name) for name in ACTIVATIONS)
    activation = next((value for value in stated if value is not None), found.activation)
    found = with_chunks(found, model, config)
    if activation in UNLISTED_ACTIVATIONS or not runs_as_read(found, model, str(activation)):
        return NOT_LISTED
    if config.value("rope_interleave") is False and not found.index_rope:  # which those classes do not read
        found = replace(found, rope="halves")
    if config.value("do_layer_norm_before") is False:
        found = replace(found, branches=AFTER)
    if found.branches is SHARED_NORM:
        found = side_by_side(found, {name for name, _ in model.layers[0].parts})
    if found.cut == "picked":
        if config.value("alibi"):
            return NOT_LISTED
        found = replace(found, cut=cut_of(config))
    if model.model_type in WINDOWS_ROTATE:
        found = replace(found, unrotated=config.value("sliding_window") is not None)
    rotary, chosen = config.value("rotary_dim"), config.value("index_topk")
    return replace(
        found,
        activation=str(activation),
        rotated=rotary if isinstance(rotary, int) else None,
        chosen=chosen if isinstance(chosen, int) else 0,
        rows=(model.max_context or 0) if found.keys_first else 0,
        parallel=found.parallel or bool(config.value("use_parallel_residual")),
        normed=bool(config.value("norm_topk_prob")),
        clamped_heads=config.value("clip_qkv") is not None,
        softcap=config.value("attn_logit_softcapping") is not None,
        logits_softcap=config.value("final_logit_softcapping") is not None,
    )
