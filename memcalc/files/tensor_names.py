"""Names of tensors: canonical ones, and how each family's checkpoints spell them.

The ledger lists every tensor by itself, under one name whatever the family: ``mlp.experts.7.gate_proj``. A
checkpoint may have other words for it, and may store several in one: their outputs stand one below the other,
and experts lie along an axis of their own.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from memcalc.ledger.tensor import under

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

    from memcalc.ledger.model import Model
    from memcalc.ledger.tensor import Tensor

__all__ = [
    "SPELLINGS",
    "Listed",
    "Spelling",
    "family_name",
    "header",
    "listed",
    "name_in_header",
    "spelled",
    "spelling",
    "stored_shape",
]


class Spelling(NamedTuple):
    """Canonical beginnings of names, or of what follows a dot in them, and the family's own words.

    Two names that become one are one tensor. What ends with a word of `turned` is stored inputs first. `also`
    are beginnings, in the family's words, that some checkpoints of it write in another way. What ends with a
    word of `rows` is stored as one row of a matrix. Layers for multi-token prediction are counted from 0
    behind `mtp`, if it is there; otherwise they stand behind the others. What ends with a word of `stacked`
    has the rows of all experts of a layer in one matrix.
    """

    words: Mapping[str, str]
    turned: tuple[str, ...] = ()
    also: tuple[tuple[str, str], ...] = ()
    rows: tuple[str, ...] = ()
    mtp: str = ""
    stacked: tuple[str, ...] = ()


def renamed(pattern: str, **words: str) -> dict[str, str]:
    """Return names of a kind under a family's words, such as the parts of a feed-forward part.

    >>> renamed("mlp.{}_proj.", up="mlp.fc1.")
    {'mlp.up_proj.': 'mlp.fc1.'}
    """
    return {pattern.format(ours): theirs for ours, theirs in words.items()}


def fused(theirs: str) -> dict[str, str]:
    """Return queries, keys and values under the one name that holds all three."""
    return renamed("self_attn.{}_proj.", q=theirs, k=theirs, v=theirs)


def with_numbers(ours: str, theirs: str) -> dict[str, str]:
    """Return the three matrices of a feed-forward part as Mistral's own files count them.

    >>> with_numbers("mlp.", "feed_forward.")["mlp.down_proj."]
    'feed_forward.w2.'
    """
    return {f"{ours}{name}_proj.": f"{theirs}w{number}." for number, name in NUMBERED}


def bare(beginning: str, *names: str) -> dict[str, str]:
    """Return vectors of the ledger under names that do not end with the word for their numbers.

    >>> bare("mlp.act_fn.", "beta")
    {'mlp.act_fn.beta.value': 'mlp.act_fn.beta'}
    """
    return {f"{beginning}{name}.value": f"{beginning}{name}" for name in names}


def gpt(table: str, layers: str, norm: str) -> dict[str, str]:
    """Return the words of GPT-2's relatives for embedding, layers and final norm."""
    return {"model.embed_tokens.": table, "model.norm.": norm, "model.layers.": layers}


NUMBERED = ((1, "gate"), (2, "down"), (3, "up"))
PIXTRAL_LAYER = "vision_tower.layers.{layer}."
MLP = "mlp.{}_proj."
GATE_UP = renamed(MLP, gate="mlp.gate_up_proj.", up="mlp.gate_up_proj.")
H_TO_4H = renamed(MLP, up="mlp.dense_h_to_4h.", down="mlp.dense_4h_to_h.")
C_FC = renamed(MLP, up="mlp.c_fc.", down="mlp.c_proj.")
FC_IN = {"input_layernorm.": "ln_1.", **renamed(MLP, up="mlp.fc_in.", down="mlp.fc_out.")}
FC_1 = renamed(MLP, up="mlp.fc1.", down="mlp.fc2.")
BART = {
    "input_layernorm.": "self_attn_layer_norm.",
    "post_attention_layernorm.": "final_layer_norm.",
    "self_attn.o_proj.": "self_attn.out_proj.",
    **renamed(MLP, up="fc1.", down="fc2."),
}
MIXTRAL = {"mlp.": "block_sparse_moe.", "gate_proj.": "w1.", "down_proj.": "w2.", "up_proj.": "w3."}
GRANITE_EXPERTS = {
    "mlp.experts.{expert}.gate_proj.": "block_sparse_moe.input_linear.",
    "mlp.experts.{expert}.up_proj.": "block_sparse_moe.input_linear.",
    "mlp.experts.{expert}.down_proj.": "block_sparse_moe.output_linear.",
    "mlp.shared_experts.gate_proj.": "shared_mlp.input_linear.",
    "mlp.shared_experts.up_proj.": "shared_mlp.input_linear.",
    "mlp.shared_experts.down_proj.": "shared_mlp.output_linear.",
    "mlp.gate.": "block_sparse_moe.router.layer.",
}
HUNYUAN = {
    "self_attn.q_norm.": "self_attn.query_layernorm.",
    "self_attn.k_norm.": "self_attn.key_layernorm.",
    "mlp.gate.": "mlp.gate.wg.",
    "mlp.shared_experts.": "mlp.shared_mlp.",
}
QK_LAYERNORMS = {f"self_attn.{letter}_norm.": f"self_attn.{letter}_layernorm." for letter in "qk"}
VISION = "vision_tower.layers.{layer}."
TEXT = {"model.": "language_model.model.", "lm_head.": "language_model.lm_head."}
SHARED_EXPERT = {"mlp.shared_experts.": "mlp.shared_expert."}
ONE_FOR_ALL = {  # matrices of all experts in one tensor
    "experts.{expert}.gate_proj.weight": "experts.gate_up_proj",
    "experts.{expert}.up_proj.weight": "experts.gate_up_proj",
    "experts.{expert}.down_proj.weight": "experts.down_proj",
}
GEMMA4 = {
    "layer_scalar.value": "layer_scalar",
    **{f"router.{name}.value": f"router.{name}" for name in ("scale", "per_expert_scale")},
    "moe.gate.": "router.proj.",
    **{f"moe.{ours}": theirs for ours, theirs in ONE_FOR_ALL.items()},
}
DEEPSEEK_V4 = {
    **gpt("embed.", "layers.", "norm."),
    "model.hc_head.": "hc_head.",
    "lm_head.": "head.",
    "input_layernorm.": "attn_norm.",
    "post_attention_layernorm.": "ffn_norm.",
    **{
        f"{part}_hc.{piece}": f"hc_{part}_{piece}"
        for part in ("attn", "ffn")
        for piece in ("fn", "base", "scale")
    },
    **{f"hc_head.hc_{piece}": f"hc_head_{piece}" for piece in ("fn", "base", "scale")},
    "compressor.indexer.scorer.": "indexer.",
    "compressor.indexer.q_b_proj.": "indexer.wq_b.",
    "compressor.indexer.": "indexer.compressor.",
    "compressor.kv_norm.": "compressor.norm.",
    "compressor.position_bias": "compressor.ape",
    **{f"compressor.{ours}_proj.": f"compressor.w{ours}." for ours in ("kv", "gate")},
    "self_attn.q_a_norm.": "self_attn.q_norm.",
    **{f"self_attn.{one}_{half}_proj.": f"self_attn.w{one}_{half}." for one in "qo" for half in "ab"},
    "self_attn.kv_proj.": "self_attn.wkv.",
    "self_attn.sinks": "self_attn.attn_sink",
    "gate.e_score_correction_bias": "gate.bias",
    "gate_proj.": "w1.",
    "down_proj.": "w2.",
    "up_proj.": "w3.",
    "self_attn.": "attn.",
    "mlp.": "ffn.",
}
ROUTER = {"mlp.gate.e_score_correction_bias": "mlp.expert_bias", "mlp.gate.": "mlp.router.gate."}
BACKBONE = gpt("backbone.embeddings.", "backbone.layers.", "backbone.norm_f.")
LFM2 = {
    "model.norm.": "model.embedding_norm.",
    "self_attn.o_proj.": "self_attn.out_proj.",
    **{f"self_attn.{letter}_norm.": f"self_attn.{letter}_layernorm." for letter in "qk"},
    **renamed("{}_proj.", gate="w1.", down="w2.", up="w3."),
}
MOONVIT = {
    **TEXT,
    "vision_tower.patches.": "vision_tower.patch_embed.proj.",
    "vision_tower.positions.": "vision_tower.patch_embed.pos_emb.",
    "vision_tower.norm.": "vision_tower.encoder.final_layernorm.",
    **{f"{VISION}self_attn.{letter}_proj.": f"{VISION}wqkv." for letter in "qkv"},
    f"{VISION}self_attn.o_proj.": f"{VISION}wo.",
    f"{VISION}mlp.up_proj.": f"{VISION}mlp.fc0.",
    f"{VISION}mlp.down_proj.": f"{VISION}mlp.fc1.",
    f"{VISION}input_layernorm.": f"{VISION}norm0.",
    f"{VISION}post_attention_layernorm.": f"{VISION}norm1.",
    "vision_tower.layers.": "vision_tower.encoder.blocks.",
    "mm_projector.in_proj.": "mm_projector.proj.0.",
    "mm_projector.out_proj.": "mm_projector.proj.2.",
}
KIMI_K3 = {
    **renamed("experts.{{expert}}.{}_proj.", gate="experts.{expert}.w1.", up="experts.{expert}.w3."),
    "experts.{expert}.down_proj.": "experts.{expert}.w2.",
    **{
        f"mlp.{part}": f"block_sparse_moe.{part}"
        for part in ("experts.", "shared_experts.", "gate.", "routed_expert_")
    },
}
M3 = {
    "mlp.gate.e_score_correction_bias": "block_sparse_moe.e_score_correction_bias",
    **{f"mlp.{part}": f"block_sparse_moe.{part}" for part in ("experts.", "shared_experts.", "gate.")},
    **renamed("experts.{{expert}}.{}_proj.", gate="experts.{expert}.w1.", up="experts.{expert}.w3."),
    "experts.{expert}.down_proj.": "experts.{expert}.w2.",
    "self_attn.indexer.": "self_attn.index_",
}
CLIP = "vision_tower.vision_model."
FALCON_H1 = {"model.norm.": "model.final_layernorm."}
QWEN_VL = {
    "model.": "model.language_model.",
    "vision_tower.patches.": "vision_tower.patch_embed.proj.",
    "vision_tower.positions.": "vision_tower.pos_embed.",
    **{f"{VISION}self_attn.{letter}_proj.": f"{VISION}attn.qkv." for letter in "qkv"},
    f"{VISION}self_attn.o_proj.": f"{VISION}attn.proj.",
    f"{VISION}mlp.up_proj.": f"{VISION}mlp.linear_fc1.",
    f"{VISION}mlp.down_proj.": f"{VISION}mlp.linear_fc2.",
    f"{VISION}input_layernorm.": f"{VISION}norm1.",
    f"{VISION}post_attention_layernorm.": f"{VISION}norm2.",
    "vision_tower.layers.": "vision_tower.blocks.",
    "deepstack.": "vision_tower.deepstack_merger_list.",
    "merger.": "vision_tower.merger.",
    "vision_tower.norm.": "vision_tower.merger.norm.",
    "vision_tower.": "model.visual.",
}
LLAMA4 = {
    "mlp.gate.": "mlp.router.",
    **SHARED_EXPERT,
    **ONE_FOR_ALL,
    "model.layers.{layer}.mlp.": "model.layers.{layer}.feed_forward.",
}
BLOCK, ENCODER, LAYER = (
    f"vision_tower.{each}.{{layer}}." for each in ("blocks", "encoder.layers", "encoder.layer")
)
PIXTRAL = "vision_tower.transformer.layers.{layer}."
TOWERS = {  # parts of the towers of readers/towers.py that families do not call as the ledger does
    **{f"{BLOCK}attn.{letter}_proj.": f"{BLOCK}attn.qkv." for letter in "qkv"},
    f"{BLOCK}attn.o_proj.": f"{BLOCK}attn.proj.",
    f"{ENCODER}self_attn.o_proj.": f"{ENCODER}self_attn.out_proj.",
    f"{LAYER}attention.o_proj.": f"{LAYER}attention.projection_layer.",
    **{
        f"{layer}mlp.{ours}_proj.": f"{layer}mlp.{theirs}."
        for layer in (ENCODER, LAYER)
        for ours, theirs in (("up", "fc1"), ("down", "fc2"))
    },
    **{f"{LAYER}lambda_{number}.value": f"{LAYER}lambda_{number}" for number in (1, 2)},
    "vision_tower.embeddings.position_embeddings.weight": "vision_tower.embeddings.position_embeddings",
    **{
        f"vision_tower.{each}.value": f"vision_tower.{each}"
        for each in (
            "embeddings.class_embedding",
            "embeddings.cls_token",
            "embeddings.mask_token",
            "head.probe",
        )
    },
    "image_newline.value": "image_newline",
    "multi_modal_projector.query.value": "multi_modal_projector.query",
    **{
        f"{of}.in_proj.{end}": f"{of}.in_proj_{end}"
        for of in ("vision_tower.head.attention", "multi_modal_projector.cross_attn.multihead_attn")
        for end in ("weight", "bias")
    },
}
PHI3 = {**fused("self_attn.qkv_proj."), **GATE_UP}
TEXT_LAYER, EXTENDED = "model.layers.{layer}.", "model.embed_tokens_extend."
GPT2 = Spelling(
    {
        "model.embed_tokens.": "transformer.wte.",
        "model.embed_positions.": "transformer.wpe.",
        "model.norm.": "transformer.ln_f.",
        "model.layers.": "transformer.h.",
        "input_layernorm.": "ln_1.",
        "post_attention_layernorm.": "ln_2.",
        **fused("attn.c_attn."),
        "self_attn.o_proj.": "attn.c_proj.",
        **C_FC,
    },
    turned=("c_attn.weight", "c_proj.weight", "c_fc.weight"),
)


def seen(text: str, **roots: str) -> Spelling:
    """Return the words of a type that sees: where its text model stands, its tower, and what joins them."""
    beyond = {f"{ours}.": f"{theirs}." for ours, theirs in roots.items()}
    return Spelling({"model.": f"{text}.", **TOWERS, **beyond})


INTERNVIT = "vision_model.encoder.layers.{layer}."
KIMI_VL = "vision_tower.encoder.blocks.{layer}."
OF_AUDIO = "audio_tower.layers.{layer}."
WHISPER = {
    f"{OF_AUDIO}self_attn.o_proj.": f"{OF_AUDIO}self_attn.out_proj.",
    f"{OF_AUDIO}mlp.up_proj.": f"{OF_AUDIO}fc1.",
    f"{OF_AUDIO}mlp.down_proj.": f"{OF_AUDIO}fc2.",
    **{
        f"{OF_AUDIO}self_attn.{each}_proj.bias.value": f"{OF_AUDIO}self_attn.{each}_proj.bias"
        for each in "qv"
    },
}
LLAVA = Spelling({**TEXT, **TOWERS})
IN_MODEL = {each: f"model.{each}" for each in ("vision_tower", "multi_modal_projector")}
IDEFICS3 = seen("model.text_model", vision_tower="model.vision_model", connector="model.connector")
GLM_V = seen("model.language_model", vision_tower="model.visual")
FC_12 = {f"{BLOCK}mlp.up_proj.": f"{BLOCK}mlp.fc1.", f"{BLOCK}mlp.down_proj.": f"{BLOCK}mlp.fc2."}
STEP3 = "vision_model.transformer.layers.{layer}."
STEP3P5 = {
    "mlp.experts.{expert}.": "moe.",
    "mlp.gate.e_score_correction_bias": "moe.router_bias",
    "mlp.gate.": "moe.gate.",
    "mlp.shared_experts.": "share_expert.",
}
STEP3P7 = "vision_model.transformer.resblocks.{layer}."
SPELLINGS: dict[str, Spelling] = {
    "PanguProMoEV1": Spelling({**SHARED_EXPERT, **bare("mlp.", "router_scale")}),
    "PanguProMoEV2": Spelling(
        {**fused("self_attn.qkv_proj."), "mlp.gate.e_score_correction_bias": "mlp.e_score_correction_bias"}
    ),
    "step3_text": Spelling(STEP3P5),
    "step3p5": Spelling(STEP3P5),
    "step3p7": Spelling(
        {
            **{
                f"{STEP3P7}attn.{letter}_proj.{end}": f"{STEP3P7}attn.in_proj_{end}"
                for letter in "qkv"
                for end in ("weight", "bias")
            },
            f"{STEP3P7}attn.o_proj.": f"{STEP3P7}attn.out_proj.",
            f"{STEP3P7}mlp.up_proj.": f"{STEP3P7}mlp.c_fc.",
            f"{STEP3P7}mlp.down_proj.": f"{STEP3P7}mlp.c_proj.",
            **bare(STEP3P7, "ls_1.gamma", "ls_2.gamma"),
            **bare("vision_model.", "positional_embedding"),
        }
    ),
    "step3_vl": Spelling(
        {
            **{f"{STEP3}self_attn.{letter}_proj.": f"{STEP3}self_attn.qkv_proj." for letter in "qkv"},
            f"{STEP3}self_attn.o_proj.": f"{STEP3}self_attn.out_proj.",
            f"{STEP3}mlp.up_proj.": f"{STEP3}mlp.fc1.",
            f"{STEP3}mlp.down_proj.": f"{STEP3}mlp.fc2.",
            **bare("vision_model.embeddings.", "class_embedding"),
        }
    ),
    "phi3": Spelling(PHI3),
    "phi4_multimodal": Spelling(
        {
            **{f"{TEXT_LAYER}{ours}": f"{TEXT_LAYER}{theirs}" for ours, theirs in PHI3.items()},
            **TOWERS,
            "vision_tower.": f"{EXTENDED}image_embed.img_processor.",
            **bare("embed_vision.", "global_img_feature_extensor", "sub_img_feature_extensor"),
            "embed_vision.": f"{EXTENDED}image_embed.",
            **bare("audio_tower.encoders.{layer}.conv.glu.", "b1", "b2"),
            **bare("audio_tower.encoder_embedding.", "global_mean", "global_invstd"),
            "audio_tower.": f"{EXTENDED}audio_embed.encoder.",
            "embed_audio.": f"{EXTENDED}audio_embed.",
        }
    ),
    "gpt2": GPT2,
    "gpt-sw3": GPT2,
    "mixtral": Spelling(MIXTRAL),
    "phimoe": Spelling(MIXTRAL),
    "minimax": Spelling(MIXTRAL),
    "minimax_m1": Spelling(MIXTRAL),
    "minimax_m2": Spelling(
        {"mlp.gate.e_score_correction_bias": "block_sparse_moe.e_score_correction_bias", **MIXTRAL}
    ),
    "glm": Spelling(GATE_UP),
    "glm4": Spelling(GATE_UP),
    "granitemoe": Spelling(GRANITE_EXPERTS),
    "granitemoeshared": Spelling(GRANITE_EXPERTS),
    "hunyuan": Spelling(HUNYUAN),
    "hunyuan_v1_dense": Spelling(HUNYUAN),
    "hunyuan_v1_moe": Spelling(HUNYUAN),
    "qwen2_moe": Spelling(SHARED_EXPERT),
    "ernie4_5_moe": Spelling(
        {"mlp.gate.e_score_correction_bias": "mlp.moe_statics.e_score_correction_bias"},
        rows=("e_score_correction_bias",),
    ),
    "starcoder2": Spelling(C_FC),
    "granitemoe_swa": Spelling(
        {
            **{ours: theirs for ours, theirs in GRANITE_EXPERTS.items() if "shared" in ours},
            **{f"mlp.{ours}": f"block_sparse_moe.{theirs}" for ours, theirs in ONE_FOR_ALL.items()},
            "mlp.gate.": "block_sparse_moe.router.",
        }
    ),
    "nanochat": Spelling(FC_1),
    "apertus": Spelling(bare("mlp.act_fn.", "alpha_p", "alpha_n", "beta", "eps")),
    "diffllama": Spelling(bare("self_attn.lambda_", "q1", "k1", "q2", "k2")),
    "exaone_moe": Spelling({"mlp.gate.e_score_correction_bias": "mlp.e_score_correction_bias"}),
    "afmoe": Spelling(ROUTER),
    "hy_v3": Spelling({**ROUTER, "mlp.shared_experts.": "mlp.shared_mlp."}),
    "flint": Spelling({"self_attn.sinks": "self_attn.softmax_offset", **SHARED_EXPERT}),
    "kolibri1": Spelling({"mlp.gate.e_score_correction_bias": "moe.router.expert_bias"}),
    "hy_v4": Spelling(
        {
            **bare("model.hc_head.", "hc_head_fn", "hc_head_base", "hc_head_scale"),
            **bare("hc_attn_layer.hc_pre.", "hc_fn", "hc_base", "hc_scale"),
            **bare("hc_mlp_layer.hc_pre.", "hc_fn", "hc_base", "hc_scale"),
            **bare("self_attn.", "learnable_sink_param"),
            **ONE_FOR_ALL,
        },
        mtp="model.mtp_layers.",
    ),
    "laguna": Spelling(
        {"mlp.gate.e_score_correction_bias": "mlp.experts.e_score_correction_bias", **SHARED_EXPERT}
    ),
    "longcat_flash": Spelling(
        {"mlp.gate.e_score_": "mlp.router.e_score_", "mlp.gate.": "mlp.router.classifier."}
    ),
    "mimo_v2_flash": Spelling({"self_attn.sinks": "self_attn.attention_sink_bias"}),
    "phi": Spelling(
        {
            "model.norm.": "model.final_layernorm.",
            "self_attn.o_proj.": "self_attn.dense.",
            **QK_LAYERNORMS,
            **FC_1,
        }
    ),
    "persimmon": Spelling(
        {
            "model.norm.": "model.final_layernorm.",
            **fused("self_attn.query_key_value."),
            "self_attn.o_proj.": "self_attn.dense.",
            **QK_LAYERNORMS,
            **H_TO_4H,
        }
    ),
    "gpt_neox": Spelling(
        {
            **gpt("gpt_neox.embed_in.", "gpt_neox.layers.", "gpt_neox.final_layer_norm."),
            **fused("attention.query_key_value."),
            "self_attn.o_proj.": "attention.dense.",
            **H_TO_4H,
            "lm_head.": "embed_out.",
        }
    ),
    "bloom": Spelling(
        {
            **gpt("transformer.word_embeddings.", "transformer.h.", "transformer.ln_f."),
            "model.embed_norm.": "transformer.word_embeddings_layernorm.",
            **fused("self_attention.query_key_value."),
            "self_attn.o_proj.": "self_attention.dense.",
            **H_TO_4H,
        }
    ),
    "opt": Spelling(
        {"model.": "model.decoder.", "model.decoder.norm.": "model.decoder.final_layer_norm.", **BART}
    ),
    "stablelm": Spelling(
        {f"self_attn.{letter}_norm.": f"self_attn.{letter}_layernorm.norms." for letter in "qk"}
    ),
    "falcon": Spelling(
        {
            **gpt("transformer.word_embeddings.", "transformer.h.", "transformer.ln_f."),
            **fused("self_attention.query_key_value."),
            "self_attn.o_proj.": "self_attention.dense.",
            **H_TO_4H,
        }
    ),
    "gpt_neo": Spelling(
        {
            **gpt("transformer.wte.", "transformer.h.", "transformer.ln_f."),
            "model.embed_positions.": "transformer.wpe.",
            "input_layernorm.": "ln_1.",
            "post_attention_layernorm.": "ln_2.",
            "self_attn.o_proj.": "attn.attention.out_proj.",
            "self_attn.": "attn.attention.",
            **C_FC,
        }
    ),
    "gpt_neox_japanese": Spelling(
        {
            **gpt(
                "gpt_neox_japanese.embed_in.",
                "gpt_neox_japanese.layers.",
                "gpt_neox_japanese.final_layer_norm.",
            ),
            **fused("attention.query_key_value."),
            "self_attn.o_proj.bias": "attention.dense_bias",
            "self_attn.o_proj.": "attention.dense.",
            **H_TO_4H,
            "lm_head.": "embed_out.",
        }
    ),
    "mpt": Spelling(
        {
            **gpt("transformer.wte.", "transformer.blocks.", "transformer.norm_f."),
            "input_layernorm.": "norm_1.",
            "post_attention_layernorm.": "norm_2.",
            **fused("attn.Wqkv."),
            "self_attn.o_proj.": "attn.out_proj.",
            **renamed(MLP, up="ffn.up_proj.", down="ffn.down_proj."),
        }
    ),
    "dbrx": Spelling(
        {
            **gpt("transformer.wte.", "transformer.blocks.", "transformer.norm_f."),
            "input_layernorm.": "norm_attn_norm.norm_1.",
            "post_attention_layernorm.": "norm_attn_norm.norm_2.",
            **fused("norm_attn_norm.attn.Wqkv."),
            "self_attn.o_proj.": "norm_attn_norm.attn.out_proj.",
            "mlp.gate.": "ffn.router.layer.",
            **renamed(
                "mlp.experts.{{expert}}.{}_proj.weight", gate="ffn.experts.mlp.w1", up="ffn.experts.mlp.v1"
            ),
            "mlp.experts.{expert}.down_proj.weight": "ffn.experts.mlp.w2",
        },
        turned=("mlp.w2",),
        stacked=("mlp.w1", "mlp.v1", "mlp.w2"),
    ),
    "doge": Spelling(
        {
            **renamed("mlp.{}_embed.{{expert}}.", down="mlp.down_embed.", up="mlp.up_embed."),
            **bare("", "self_attn.A", "input_residual", "post_attention_residual"),
        }
    ),
    "mistral_large4_text": Spelling(
        {
            **gpt("tok_embeddings.", "layers.", "norm."),
            "model.rotary_emb.alpha.value": "lerope.alpha",
            "lm_head.": "output.",
            "input_layernorm.": "attention_norm.",
            "post_attention_layernorm.": "ffn_norm.",
            **renamed("self_attn.{}.", q_proj="attention.wq.", o_proj="attention.wo."),
            "self_attn.kv_a_proj_with_mqa.": "attention.wkv_a_with_mqa.",
            "self_attn.kv_a_layernorm.": "attention.kv_a_norm.",
            "self_attn.kv_b_proj.": "attention.wkv_b.",
            "self_attn.": "attention.",
            **renamed("softmax_scaling.{}", scale="ssmax_scaling.s", bias="ssmax_scaling.b"),
            "mlp.gate.": "gate.",
            **with_numbers("mlp.experts.{expert}.", "experts.{expert}."),
            **with_numbers("mlp.shared_experts.", "shared_experts."),
            **with_numbers("mlp.", "feed_forward."),
        }
    ),
    "mistral_large4": Spelling(
        {
            **{
                f"{PIXTRAL_LAYER}attention.{letter}_proj.": f"{PIXTRAL_LAYER}attention.w{letter}."
                for letter in "qkvo"
            },
            **with_numbers(f"{PIXTRAL_LAYER}feed_forward.", f"{PIXTRAL_LAYER}feed_forward."),
            "vision_tower.layers.": "vision_encoder.transformer.layers.",
            "vision_tower.": "vision_encoder.",
            **renamed(
                "multi_modal_projector.{}.",
                norm="pre_mm_projector_norm.",
                patch_merger="patch_merger.",
                linear_1="vision_language_adapter.w_in.",
                linear_2="vision_language_adapter.w_out.",
            ),
        }
    ),
    "xglm": Spelling({"model.norm.": "model.layer_norm.", **BART}),
    "biogpt": Spelling(
        {"lm_head.": "output_projection.", "model.norm.": "biogpt.layer_norm.", "model.": "biogpt.", **BART}
    ),
    "phi-msft": Spelling(
        {
            "lm_head.": "lm_head.linear.",
            **gpt("transformer.embd.wte.", "transformer.h.", "lm_head.ln."),
            "input_layernorm.": "ln.",
            **fused("mixer.Wqkv."),
            "self_attn.o_proj.": "mixer.out_proj.",
            **FC_1,
        }
    ),
    "internlm2": Spelling(
        {
            "lm_head.": "output.",
            "model.embed_tokens.": "model.tok_embeddings.",
            "input_layernorm.": "attention_norm.",
            "post_attention_layernorm.": "ffn_norm.",
            **fused("attention.wqkv."),
            "self_attn.o_proj.": "attention.wo.",
            **renamed(MLP, gate="feed_forward.w1.", down="feed_forward.w2.", up="feed_forward.w3."),
        }
    ),
    "baichuan": Spelling(fused("self_attn.W_pack.")),
    "chatglm": Spelling(
        {
            "lm_head.": "transformer.output_layer.",
            "model.rotary_pos_emb.": "transformer.rotary_pos_emb.",
            **gpt(
                "transformer.embedding.word_embeddings.",
                "transformer.encoder.layers.",
                "transformer.encoder.final_layernorm.",
            ),
            **fused("self_attention.query_key_value."),
            "self_attn.o_proj.": "self_attention.dense.",
            **H_TO_4H,
            "mlp.gate_proj.": "mlp.dense_h_to_4h.",
        }
    ),
    "mimo": Spelling({}, mtp="model.mtp_layers."),
    "qwen": Spelling(
        {
            **gpt("transformer.wte.", "transformer.h.", "transformer.ln_f."),
            "input_layernorm.": "ln_1.",
            "post_attention_layernorm.": "ln_2.",
            **fused("attn.c_attn."),
            "self_attn.o_proj.": "attn.c_proj.",
            **renamed(MLP, gate="mlp.w2.", up="mlp.w1.", down="mlp.c_proj."),
        }
    ),
    "gpt_bigcode": Spelling(
        {
            **gpt("transformer.wte.", "transformer.h.", "transformer.ln_f."),
            "model.embed_positions.": "transformer.wpe.",
            "input_layernorm.": "ln_1.",
            "post_attention_layernorm.": "ln_2.",
            **fused("attn.c_attn."),
            "self_attn.o_proj.": "attn.c_proj.",
            **C_FC,
        }
    ),
    "gptj": Spelling(
        {
            **gpt("transformer.wte.", "transformer.h.", "transformer.ln_f."),
            "self_attn.o_proj.": "attn.out_proj.",
            "self_attn.": "attn.",
            **FC_IN,
        }
    ),
    "codegen": Spelling(
        {
            **gpt("transformer.wte.", "transformer.h.", "transformer.ln_f."),
            "self_attn.o_proj.": "attn.out_proj.",
            **fused("attn.qkv_proj."),
            **FC_IN,
        }
    ),
    "qwen3_next": Spelling(
        {
            **{f"linear_attn.in_proj_{half}.": "linear_attn.in_proj_qkvz." for half in ("qkv", "z")},
            **{f"linear_attn.in_proj_{half}.": "linear_attn.in_proj_ba." for half in "ba"},
            "mlp.shared_experts.": "mlp.shared_expert.",
        }
    ),
    "qwen3_5_moe_text": Spelling(SHARED_EXPERT),
    "qwen4_exp_text": Spelling({"model.norm.": "model.hyper_connection_mixer.", **SHARED_EXPERT}),
    "qwen2_vl": Spelling({**FC_12, **TOWERS, "vision_tower.": "visual."}),
    "qwen2_5_vl": Spelling({**TOWERS, "vision_tower.": "visual."}),
    "qwen2_5_omni_thinker": Spelling(
        {
            **TOWERS,
            **{f"{BLOCK}attn.{letter}_proj.": f"{BLOCK}attn.{letter}." for letter in "qkv"},
            **WHISPER,
            "vision_tower.": "visual.",
        }
    ),
    "qwen3_omni_moe_thinker": Spelling(
        {
            **TOWERS,
            f"{BLOCK}mlp.up_proj.": f"{BLOCK}mlp.linear_fc1.",
            f"{BLOCK}mlp.down_proj.": f"{BLOCK}mlp.linear_fc2.",
            **WHISPER,
            "deepstack.": "visual.merger_list.",
            "vision_tower.": "visual.",
        }
    ),
    "mistral4": Spelling(ONE_FOR_ALL),
    "kimi_vl": Spelling(
        {
            **TEXT,
            **{f"{KIMI_VL}attn.{letter}_proj.": f"{KIMI_VL}wqkv." for letter in "qkv"},
            f"{KIMI_VL}attn.o_proj.": f"{KIMI_VL}wo.",
            f"{KIMI_VL}mlp.up_proj.": f"{KIMI_VL}mlp.fc0.",
            f"{KIMI_VL}mlp.down_proj.": f"{KIMI_VL}mlp.fc1.",
        }
    ),
    "internvl_chat": Spelling(
        {
            **TEXT,
            **{f"{INTERNVIT}attn.{letter}_proj.": f"{INTERNVIT}attn.qkv." for letter in "qkv"},
            f"{INTERNVIT}attn.o_proj.": f"{INTERNVIT}attn.proj.",
            f"{INTERNVIT}mlp.up_proj.": f"{INTERNVIT}mlp.fc1.",
            f"{INTERNVIT}mlp.down_proj.": f"{INTERNVIT}mlp.fc2.",
            **{f"{INTERNVIT}ls{number}.value": f"{INTERNVIT}ls{number}" for number in (1, 2)},
            "vision_model.embeddings.class_embedding.value": "vision_model.embeddings.class_embedding",
            "vision_model.embeddings.position_embedding.weight": "vision_model.embeddings.position_embedding",
        }
    ),
    "glm4v_text": Spelling(GATE_UP),
    "glm_ocr_text": Spelling(GATE_UP),
    **dict.fromkeys(("glm4v", "glm4v_moe", "glm46v", "glm_ocr"), GLM_V),
    **dict.fromkeys(("llava", "llava_next", "llava_onevision", "internvl", "paligemma", "aria"), LLAVA),
    **dict.fromkeys(("idefics3", "smolvlm"), IDEFICS3),
    **dict.fromkeys(("cohere2_vision", "lfm2_vl"), seen("model.language_model", **IN_MODEL)),
    "aria_text": Spelling(
        {
            "mlp.gate.": "mlp.router.",
            "experts.{expert}.gate_proj.weight": "experts.fc1.weight",
            "experts.{expert}.up_proj.weight": "experts.fc1.weight",
            "experts.{expert}.down_proj.weight": "experts.fc2.weight",
        },
        turned=("experts.fc1.weight", "experts.fc2.weight"),
    ),
    "qwen3_5": Spelling(QWEN_VL),
    "qwen3_5_moe": Spelling({**QWEN_VL, **SHARED_EXPERT}),
    "qwen3_vl": Spelling(QWEN_VL),
    "qwen3_vl_moe": Spelling({**QWEN_VL, **ONE_FOR_ALL}),
    "gpt_oss": Spelling(  # its rows of gate and up take turns, which no shape shows
        {
            "mlp.gate.": "mlp.router.",
            "experts.{expert}.gate_proj.weight": "experts.gate_up_proj",
            "experts.{expert}.up_proj.weight": "experts.gate_up_proj",
            "experts.{expert}.down_proj.weight": "experts.down_proj",
            "experts.{expert}.gate_proj.bias": "experts.gate_up_proj_bias",
            "experts.{expert}.up_proj.bias": "experts.gate_up_proj_bias",
            "experts.{expert}.down_proj.bias": "experts.down_proj_bias",
        },
        turned=("experts.gate_up_proj", "experts.down_proj"),
    ),
    "gemma3": Spelling(
        {
            **TEXT,
            "vision_tower.patches.": "vision_tower.embeddings.patch_embedding.",
            "vision_tower.positions.": "vision_tower.embeddings.position_embedding.",
            "vision_tower.norm.": "vision_tower.post_layernorm.",
            f"{VISION}self_attn.o_proj.": f"{VISION}self_attn.out_proj.",
            f"{VISION}mlp.up_proj.": f"{VISION}mlp.fc1.",
            f"{VISION}mlp.down_proj.": f"{VISION}mlp.fc2.",
            f"{VISION}input_layernorm.": f"{VISION}layer_norm1.",
            f"{VISION}post_attention_layernorm.": f"{VISION}layer_norm2.",
            "vision_tower.layers.": "vision_tower.encoder.layers.",
            "multi_modal_projector.weight": "multi_modal_projector.mm_input_projection_weight",
        },
        # Before version 5 transformers had a level more: index of https://github.com/Ibtasam-98/medgemma-27b-it,
        # commit 2488902, 2026-11.
        also=(("vision_tower.", "vision_tower.vision_model."),),
    ),
    "deepseek_v4": Spelling(DEEPSEEK_V4, mtp="mtp."),
    "deepseek_ref": Spelling(DEEPSEEK_V4, mtp="mtp."),
    "kimi_linear": Spelling(
        {
            **renamed("experts.{{expert}}.{}_proj.", gate="experts.{expert}.w1.", up="experts.{expert}.w3."),
            "experts.{expert}.down_proj.": "experts.{expert}.w2.",
            "mlp.": "block_sparse_moe.",
        }
    ),
    "kimi_k3_text": Spelling(KIMI_K3),
    "kimi_k3": Spelling({**KIMI_K3, **MOONVIT}),
    "minimax_m3": Spelling(M3),
    "minimax_m3_vl_text": Spelling(
        {
            **ONE_FOR_ALL,
            **GATE_UP,
            **renamed(
                "shared_experts.{}_proj.",
                gate="shared_experts.gate_up_proj.",
                up="shared_experts.gate_up_proj.",
            ),
        }
    ),
    "minimax_m3_vl": Spelling(
        {
            **M3,
            **TEXT,
            "vision_tower.patches.": f"{CLIP}embeddings.patch_embedding.",
            "vision_tower.norm.": f"{CLIP}pre_layrnorm.",
            f"{VISION}self_attn.o_proj.": f"{VISION}self_attn.out_proj.",
            f"{VISION}mlp.up_proj.": f"{VISION}mlp.fc1.",
            f"{VISION}mlp.down_proj.": f"{VISION}mlp.fc2.",
            f"{VISION}input_layernorm.": f"{VISION}layer_norm1.",
            f"{VISION}post_attention_layernorm.": f"{VISION}layer_norm2.",
            "vision_tower.layers.": f"{CLIP}encoder.layers.",
        }
    ),
    "mistral3": Spelling({**TEXT, "vision_tower.layers.": "vision_tower.transformer.layers."}),
    "lfm2": Spelling(LFM2),
    "lfm3": Spelling(
        {
            "model.norm.": "model.embedding_norm.",
            **renamed(
                "feed_forward.{}_proj.",
                gate="feed_forward.w1.",
                down="feed_forward.w2.",
                up="feed_forward.w3.",
            ),
        }
    ),
    "bailing_hybrid": Spelling(
        {
            "model.embed_tokens.": "model.word_embeddings.",
            "self_attn.o_proj.": "attention.dense.",
            "self_attn.": "attention.",
            "gate.e_score_correction_bias": "gate.expert_bias",
        }
    ),
    "lfm2_moe": Spelling({**LFM2, "gate.e_score_correction_bias": "expert_bias"}),
    "jamba": Spelling({**FALCON_H1, "feed_forward.gate.": "feed_forward.router."}),
    "mamba": Spelling(BACKBONE),
    "falcon_mamba": Spelling(BACKBONE),
    "mamba2": Spelling(BACKBONE),
    "nemotron_h": Spelling(BACKBONE),
    "falcon_h1": Spelling(FALCON_H1),
    "zamba": Spelling(FALCON_H1),
    "zamba2": Spelling(
        {
            **FALCON_H1,
            **renamed(
                "feed_forward.{}_proj.", gate="feed_forward.gate_up_proj.", up="feed_forward.gate_up_proj."
            ),
        }
    ),
    "bamba": Spelling(FALCON_H1),
    "granitemoehybrid": Spelling(GRANITE_EXPERTS),
    "gemma3n_text": Spelling({"correct_output_scale.value": "correct_output_scale"}),
    "gemma3n": Spelling(
        {
            **{
                f"{name}.value": name
                for name in ("correct_output_scale", "layer_scale.gamma", "per_dim_scale")
            },
            "model.": "model.language_model.",
            **{f"{part}.": f"model.{part}." for part in ("vision_tower", "audio_tower")},
            **{f"{part}.": f"model.{part}." for part in ("embed_vision", "embed_audio")},
        }
    ),
    "gemma4_text": Spelling(GEMMA4),
    "gemma4": Spelling(
        {
            **GEMMA4,
            "model.": "model.language_model.",
            "vision_tower.patches.": "vision_tower.patch_embedder.input_proj.",
            "vision_tower.positions.weight": "vision_tower.patch_embedder.position_embedding_table",
            **{
                f"{VISION}self_attn.{letter}_proj.weight": f"{VISION}self_attn.{letter}_proj.linear.weight"
                for letter in "qkvo"
            },
            **{
                f"{VISION}self_attn.{letter}_proj.bias": f"{VISION}self_attn.{letter}_proj.linear.bias"
                for letter in "qkvo"
            },
            **{
                f"{VISION}mlp.{name}_proj.weight": f"{VISION}mlp.{name}_proj.linear.weight"
                for name in ("gate", "up", "down")
            },
            **{f"{name}.value": name for name in ("std_bias", "std_scale")},
            **{
                f"{side}_{end}.value": f"{side}_{end}"
                for side in ("input", "output")
                for end in ("min", "max")
            },
            "vision_tower.layers.": "vision_tower.encoder.layers.",
            "vision_tower.": "model.vision_tower.",
            "embed_vision.": "model.embed_vision.",
            "per_dim_scale.value": "per_dim_scale",
            "audio_tower.": "model.audio_tower.",
            "embed_audio.": "model.embed_audio.",
        }
    ),
    "llama4_text": Spelling(LLAMA4, turned=("experts.gate_up_proj", "experts.down_proj")),
    "llama4": Spelling(
        {
            **LLAMA4,
            **TEXT,
            "vision_tower.patches.": "vision_tower.patch_embedding.linear.",
            "vision_tower.positions.weight": "vision_tower.positional_embedding_vlm",
            "class_embedding.value": "class_embedding",
            "vision_tower.norm_before.": "vision_tower.layernorm_pre.",
            "vision_tower.norm.": "vision_tower.layernorm_post.",
            f"{VISION}mlp.up_proj.": f"{VISION}mlp.fc1.",
            f"{VISION}mlp.down_proj.": f"{VISION}mlp.fc2.",
            "vision_tower.layers.": "vision_tower.model.layers.",
            "vision_tower.": "vision_model.",
        },
        turned=("experts.gate_up_proj", "experts.down_proj"),
    ),
    "gemma4_unified_text": Spelling(GEMMA4),
    "gemma4_unified": Spelling(
        {
            **GEMMA4,
            "model.": "model.language_model.",
            "vision_embedder.pos_embedding.weight": "vision_embedder.pos_embedding",
            **{f"{each}.": f"model.{each}." for each in ("vision_embedder", "embed_vision", "embed_audio")},
        }
    ),
    "kimi_k25": Spelling(MOONVIT),
}


class Listed(NamedTuple):
    """One tensor of a checkpoint: its shape with outputs first, whose it is, and the ledger's own tensor.

    `part` is "text", "mtp" or "vision": the last two may be left out of a checkpoint as a whole.
    """

    shape: tuple[int, ...]
    part: str
    tensor: Tensor


def header(model: Model) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every tensor of the checkpoint as the family spells it, vision tower too.

    >>> from memcalc.files.readers import read
    >>> small = {"model_type": "phi3", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1,
    ...          "num_attention_heads": 2, "vocab_size": 10}
    >>> header(read(small))["model.layers.0.self_attn.qkv_proj.weight"]
    (24, 8)
    """
    own = spelling(model)
    return {
        name: stored_shape(own, name, one.shape) for name, one in listed(model).items() if one.part != "mtp"
    }


def stored_shape(own: Spelling, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of an unquantised tensor as the family stores it: of some, inputs come first."""
    if own.rows and name.endswith(own.rows):
        return (1, *shape)
    return turned(shape) if own.turned and name.endswith(own.turned) else shape


def spelling(model: Model) -> Spelling:
    """Return how the family of a model spells names: those of a nested text model in its own words first."""
    return nested_spelling(model.model_type, model.text_type)


@cache
def nested_spelling(model_type: str, text_type: str) -> Spelling:
    """Return the words of a text model's type, and those of the type around it."""
    own, inside = SPELLINGS.get(model_type, Spelling({})), SPELLINGS.get(text_type)
    if inside is None:
        return own
    turned, rows = (*inside.turned, *own.turned), (*inside.rows, *own.rows)
    return Spelling({**inside.words, **own.words}, turned, own.also, rows)


def family_name(model: Model, name: str) -> str:
    """Return a canonical name in the words of the model's family.

    >>> import memcalc
    >>> family_name(memcalc.model("google/gemma-3-27b-it"), "model.norm.weight")
    'language_model.model.norm.weight'
    """
    text = model.text_type if name.startswith(("model.", "lm_head.")) else ""  # not the tower's names
    return spelled(name, tuple(nested_spelling(model.model_type, text).words.items()))


def listed(model: Model) -> dict[str, Listed]:
    """Return every tensor of the checkpoint by the family's name, what was joined in one as one.

    The layers for multi-token prediction stand behind the others, as in DeepSeek-V3's and GLM-4.5's files.
    """
    found: dict[str, Listed] = {}
    own = spelling(model)
    for layer, part, tensor in stored(model):
        name = family_name(model, tensor.name).replace("{layer}", str(layer))
        together = tensor.active_experts is not None and "{expert}" not in name
        shape = (tensor.experts, *tensor.stored_shape) if together else tensor.stored_shape
        if together and name.endswith(own.stacked):
            rows = int(name.endswith(own.turned))
            shape = tuple(size * (tensor.experts if at == rows else 1) for at, size in enumerate(shape[1:]))
        experts = range(tensor.experts) if "{expert}" in name else (0,)
        alone = Listed(shape, part, tensor)
        for expert in experts:
            one = name.replace("{expert}", str(expert))
            known = found.get(one)
            whole = None if known is None else joined(known.shape, shape, int(together))
            found[one] = alone if whole is None else Listed(whole, part, tensor)
    return found


def name_in_header(model: Model, name: str, there: Container[str]) -> str:
    """Return the name of a tensor as a checkpoint has it, where the family's checkpoints differ.

    >>> import memcalc
    >>> name, other = "vision_tower.norm.weight", "vision_tower.vision_model.norm.weight"
    >>> name_in_header(memcalc.model("google/gemma-3-27b-it"), name, {other}) == other
    True
    """
    for ours, theirs in spelling(model).also:
        other = theirs + name.removeprefix(ours)
        if name.startswith(ours) and other in there:
            return other
    return name


def stored(model: Model) -> Iterator[tuple[int, str, Tensor]]:
    """Yield every tensor of the checkpoint: its layer's number, its part, experts of a layer together."""
    for name, part in model.outside:
        yield from ((0, "text", tensor) for tensor in under(name, part.weights()))
    for index, layer in enumerate(model.layers):
        yield from ((index, "text", tensor) for tensor in under("model.layers.{layer}", layer.weights()))
    own = spelling(model).mtp
    for index, layer in enumerate(model.mtp, 0 if own else len(model.layers)):
        tensors = under(f"{own or 'model.layers.'}{{layer}}", layer.weights())
        yield from ((index, "mtp", tensor) for tensor in tensors)
    for layer in model.vision:
        yield from ((index, "vision", tensor) for index in range(layer.times) for tensor in layer.weights())


@cache
def spelled(name: str, words: tuple[tuple[str, str], ...]) -> str:
    """Return a name in a family's own words.

    >>> spelled("model.layers.{layer}.mlp.gate.weight", (("mlp.gate.", "mlp.router."),))
    'model.layers.{layer}.mlp.router.weight'
    """
    for ours, theirs in words:
        if name.startswith(ours):
            name = theirs + name.removeprefix(ours)
        else:
            name = name.replace(f".{ours}", f".{theirs}")
    return name


def joined(one: tuple[int, ...], other: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """Return the shape of two arrays, one below the other along an axis."""
    return (*one[:axis], one[axis] + other[axis], *one[axis + 1 :])


def turned(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape with inputs before outputs."""
    return (*shape[:-2], shape[-1], shape[-2])
