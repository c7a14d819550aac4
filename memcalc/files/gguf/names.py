"""Names in GGUF files: which architecture a model is there, and how its tensors are called.

Source of the names: ggml-org/llama.cpp, gguf-py/gguf/constants.py and src/llama-arch.cpp, read 2026-11. What
they allow is held against the library itself in tests/oracles: it refuses a file that lacks a tensor.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import BadInputError
from memcalc.files.gguf.words import (
    AFMOE,
    AFTER,
    APERTUS,
    ATTENTION_BIAS,
    BAILING,
    BARE,
    BEHIND,
    COMMON,
    DECI,
    EXPERTS,
    FALCON,
    FUSED,
    GATE_UP,
    GEMMA3N,
    GEMMA4,
    GLM4,
    GLM4_MOE,
    GRANITE_SWA,
    HY_V3,
    HY_V4,
    INDEXED,
    JAMBA,
    KIMI_K3,
    KIMI_LINEAR,
    LATENT,
    LEARNED,
    LFM2,
    LIGHTNING,
    MELLUM,
    MINICPM3,
    MINIMAX_M3,
    MIXER,
    NEMOTRON,
    PREDICTING,
    QKV,
    QKV_BIAS,
    RECURRENT,
    RECURRENT_35,
    SANDWICH,
    SPARSE,
    SPARSE_BARE,
    UP,
    state_space,
)
from memcalc.ledger.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memcalc.ledger.model import Model

__all__ = [
    "ARCHITECTURES",
    "NESTING",
    "Architecture",
    "architecture",
    "gguf_name",
    "has_names",
    "translated",
    "written_as",
]


class Architecture(NamedTuple):
    """What llama.cpp calls an architecture, its words for tensors, and whether it knows their windows.

    Two canonical names that become one are one tensor, as in `files.tensor_names`. Where llama.cpp knows no
    window, its layers keep all tokens whatever the config says; where its code says which layers have one,
    every `period`-th has none, from the first on if that one `leads`, and only models of `depth` layers have
    any if that is stated. With experts the architecture may have another name, `sparse`. `drops` are parts
    that its converter leaves out. Where it `expands`, MLA lies as in old files. Where only every so-many-th
    layer `attends`, the others have states. Where layers from a number on borrow keys and values, and carry
    their own matrices all the same, it `carries` that number. `predicts`: its converter writes the layers for
    multi-token prediction behind the others; they are in the file, and are not loaded.
    Source of the last: ggml-org/llama.cpp, conversion/*.py (skip_mtp, block_count), 2026-11.
    """

    id: str
    words: Mapping[str, str]
    windows: bool = False
    predicts: bool = False
    period: int | None = None
    leads: bool = False
    depth: int | None = None
    sparse: str | None = None
    drops: tuple[str, ...] = ()
    expands: bool = False
    attends: int | None = None
    carries: int | None = None


# each row is multiplied into the norm before it
RESIDUAL_ROWS = ("self_attention_res_proj", "mlp_res_proj", "model.output_attn_res_proj")
HYBRIDS = {
    "kimi_linear": Architecture("kimi-linear", KIMI_LINEAR),
    "bailing_hybrid": Architecture("bailingmoe3", BAILING),
    **dict.fromkeys(("kimi_k3", "kimi_k3_text"), Architecture("kimi-k3", KIMI_K3, drops=RESIDUAL_ROWS)),
    **dict.fromkeys(("minimax", "minimax_m1"), Architecture("minimax-01", LIGHTNING, attends=8)),
    "falcon_h1": Architecture("falcon-h1", {**JAMBA, "pre_ff_layernorm.weight": "ffn_norm"}),
    "falcon_mamba": Architecture("mamba", MIXER),
    "granitemoehybrid": Architecture("granitehybrid", {**SPARSE, **state_space("mamba")}),
    "jamba": Architecture("jamba", JAMBA),
    "lfm2": Architecture("lfm2", LFM2),
    "lfm2_moe": Architecture("lfm2moe", LFM2),
    "mamba": Architecture("mamba", MIXER),
    "mamba2": Architecture("mamba2", MIXER),
    "nemotron_h": Architecture("nemotron_h", NEMOTRON, sparse="nemotron_h_moe"),
}
QWEN2_VL = Architecture("qwen2vl", {**BARE, **QKV_BIAS})
# decoders of the table in files.readers.plain, and their relatives
PLAIN = {
    "PanguEmbedded": Architecture(
        "pangu-embedded", {**BARE, **ATTENTION_BIAS}, drops=("self_attn.rotary_emb",)
    ),
    "afmoe": Architecture("afmoe", AFMOE, windows=True, period=4),
    "apertus": Architecture("apertus", APERTUS, drops=("mlp.act_fn.",)),
    "arcee": Architecture("arcee", COMMON),
    "baichuan": Architecture("baichuan", BARE),
    "bitnet": Architecture(
        "bitnet", {**BARE, "self_attn.attn_sub_norm.": "attn_sub_norm.", "mlp.ffn_sub_norm.": "ffn_sub_norm."}
    ),
    "bloom": Architecture("bloom", {**COMMON, **QKV, "model.embed_norm.": "token_embd_norm."}),
    "chatglm": Architecture("chatglm", {**BARE, **QKV, **UP}, drops=("model.rotary_pos_emb",)),
    "cohere": Architecture("command-r", COMMON),
    "cohere2": Architecture("cohere2", COMMON, windows=True, period=4),
    "cohere2_moe": Architecture("cohere2moe", SPARSE_BARE, windows=True, predicts=True),
    "deepseek": Architecture("deepseek", SPARSE_BARE),
    "dots1": Architecture("dots1", SPARSE),
    "ernie4_5": Architecture("ernie4_5", COMMON),
    "ernie4_5_moe": Architecture("ernie4_5-moe", SPARSE),
    "exaone4": Architecture("exaone4", {**COMMON, **AFTER}, windows=True, period=4, depth=64),
    "exaone_moe": Architecture("exaone-moe", SPARSE_BARE, windows=True, predicts=True),
    "falcon": Architecture("falcon", FALCON),
    "gemma": Architecture("gemma", COMMON),
    "glm": Architecture("chatglm", {**BARE, **QKV_BIAS, **UP}),
    **dict.fromkeys(("glm4", "glm4v_text", "glm_ocr_text"), Architecture("glm4", GLM4)),
    **dict.fromkeys(("glm4v_moe_text", "solar_open"), Architecture("glm4moe", GLM4_MOE, predicts=True)),
    "glm4_moe_lite": Architecture("deepseek2", {**COMMON, **EXPERTS, **LATENT}),
    "gpt2": Architecture("gpt2", {**COMMON, **QKV, **LEARNED}),
    "gpt_bigcode": Architecture("starcoder", {**COMMON, **QKV, **LEARNED}),
    "gpt_neox": Architecture("gptneox", {**COMMON, **QKV}),
    "granite": Architecture("granite", COMMON),
    "granitemoe": Architecture("granitemoe", SPARSE),
    **dict.fromkeys(
        ("granite_swa", "granitemoe_swa"), Architecture("granite_swa", GRANITE_SWA, windows=True)
    ),
    "granitemoeshared": Architecture("granitemoe", SPARSE),
    "hy_v3": Architecture("hy_v3", HY_V3, predicts=True),
    "hy_v4": Architecture("hy_v4", HY_V4),
    "hunyuan_v1_dense": Architecture("hunyuan-dense", COMMON),
    "hunyuan_v1_moe": Architecture("hunyuan-moe", SPARSE),
    "internlm2": Architecture("internlm2", {**BARE, **QKV_BIAS}),
    **dict.fromkeys(("internlm3", "iquestcoder"), Architecture("llama", COMMON)),
    "jais2": Architecture("jais2", COMMON),
    "laguna": Architecture(
        "laguna", {**SPARSE_BARE, "self_attn.g_proj.": "attn_gate."}, windows=True, period=4, leads=True
    ),
    "llama4": Architecture("llama4", SPARSE, windows=True, period=4),
    "llama4_text": Architecture("llama4", SPARSE, windows=True, period=4),
    "mellum": Architecture("mellum", MELLUM, windows=True),
    "minicpm": Architecture("minicpm", COMMON),
    "minicpm3": Architecture("minicpm3", MINICPM3, expands=True),
    "minimax_m2": Architecture("minimax-m2", SPARSE),
    "ministral3": Architecture("mistral3", COMMON),
    "mistral3": Architecture("mistral3", COMMON),
    "mistral4": Architecture("mistral4", {**SPARSE, **LATENT, **GATE_UP}),
    "mpt": Architecture("mpt", {**COMMON, **QKV}),
    "nemotron-nas": Architecture("deci", DECI),
    "nemotron": Architecture("nemotron", COMMON),
    "olmo": Architecture("olmo", COMMON),
    "olmo2": Architecture("olmo2", {**COMMON, **AFTER}),
    "olmo3": Architecture("olmo2", {**COMMON, **AFTER}, windows=True, period=4),
    "olmoe": Architecture("olmoe", SPARSE),
    "phi": Architecture("phi2", COMMON),
    "phi-msft": Architecture("phi2", {**COMMON, **QKV}),
    "phimoe": Architecture("phimoe", SPARSE),
    "qwen": Architecture("qwen", {**BARE, **QKV}),
    **dict.fromkeys(("qwen2_vl_text", "qwen2_5_vl_text", "qwen2_5_omni_text"), QWEN2_VL),
    "qwen2_moe": Architecture("qwen2moe", SPARSE),
    "qwen3_vl": Architecture("qwen3vl", COMMON),
    "qwen3_vl_moe": Architecture("qwen3vlmoe", SPARSE),
    "qwen3_omni_moe_text": Architecture("qwen3vlmoe", SPARSE),
    "seed_oss": Architecture("seed_oss", {**COMMON, **BEHIND}),
    "smollm3": Architecture("smollm3", COMMON),
    "stablelm": Architecture("stablelm", COMMON),
    "youtu": Architecture("deepseek2", {**BARE, **LATENT}),
    "starcoder2": Architecture("starcoder2", COMMON),
}
QWEN35 = Architecture("qwen35", {**COMMON, **RECURRENT_35}, predicts=True)
QWEN35_MOE = Architecture("qwen35moe", {**COMMON, **EXPERTS, **RECURRENT_35}, predicts=True)
LATENT_EXPERTS = Architecture("deepseek2", {**COMMON, **EXPERTS, **LATENT})
SPARSE_LATENT = {**COMMON, **EXPERTS, **LATENT, **INDEXED, **PREDICTING}
ARCHITECTURES: Registry[Architecture] = Registry(
    "model_type",
    {
        "llama": Architecture("llama", COMMON),
        "mistral": Architecture("llama", COMMON),
        "mixtral": Architecture("llama", {**COMMON, **EXPERTS}),
        "qwen2": Architecture("qwen2", COMMON),
        "qwen3": Architecture("qwen3", COMMON),
        "qwen3_moe": Architecture("qwen3moe", {**COMMON, **EXPERTS}),
        "qwen3_next": Architecture("qwen3next", {**COMMON, **EXPERTS, **RECURRENT, **BEHIND}),
        "qwen3_5": QWEN35,
        "qwen3_5_text": QWEN35,
        "qwen3_5_moe": QWEN35_MOE,
        "qwen3_5_moe_text": QWEN35_MOE,
        "phi3": Architecture("phi3", {**COMMON, **FUSED}),
        "gemma2": Architecture("gemma2", {**COMMON, **SANDWICH}, windows=True, period=2),
        "gemma3_text": Architecture("gemma3", {**COMMON, **SANDWICH}, windows=True, period=6),
        "gemma3": Architecture("gemma3", {**COMMON, **SANDWICH}, windows=True, period=6),
        "gpt_oss": Architecture(
            "gpt-oss", {**COMMON, **EXPERTS, **BEHIND, "self_attn.sinks": "attn_sinks.weight"}, windows=True
        ),
        "deepseek_v2": LATENT_EXPERTS,
        "deepseek_v3": LATENT_EXPERTS,
        "kimi_k2": LATENT_EXPERTS,
        "kimi_k25": LATENT_EXPERTS,
        "deepseek_v32": Architecture("deepseek32", SPARSE_LATENT, predicts=True),
        "glm_moe_dsa": Architecture("glm-dsa", SPARSE_LATENT, predicts=True),
        **PLAIN,
        **HYBRIDS,
        **dict.fromkeys(
            ("gemma4", "gemma4_text", "gemma4_unified", "gemma4_unified_text"),
            Architecture("gemma4", GEMMA4, windows=True),
        ),
        **dict.fromkeys(
            ("gemma3n", "gemma3n_text"), Architecture("gemma3n", GEMMA3N, windows=True, period=5, carries=20)
        ),
        **dict.fromkeys(
            ("minimax_m3", "minimax_m3_vl", "minimax_m3_vl_text"), Architecture("minimax-m3", MINIMAX_M3)
        ),
        "glm4_moe": Architecture("glm4moe", GLM4_MOE, predicts=True),
    },
    remedy="its names in GGUF are not known, so no GGUF of it is counted; name another --engine",
    offers=False,
)


# their text model is a GGUF of its own, under its own type's names; a tower is another file (mmproj).
# Source: ggml-org/llama.cpp, conversion/base.py (get_model_architecture) and __init__.py, 2026-11
NESTING = frozenset(
    {
        *(
            "glm46v",
            "glm4v",
            "glm4v_moe",
            "glm_ocr",
            "idefics3",
            "internvl_chat",
            "kimi_vl",
            "lfm2_vl",
            "llava",
        ),
        *("qwen2_5_omni_thinker", "qwen2_5_vl", "qwen2_vl", "qwen3_omni_moe_thinker", "smolvlm"),
    }
)


def written_as(model: Model) -> str:
    """Return the model_type whose names a model's file has: the text model's, where that is nested.

    >>> import memcalc
    >>> written_as(memcalc.model("Qwen/Qwen3-32B"))
    'qwen3'

    """
    return model.text_type if model.model_type in NESTING else model.model_type


def has_names(model_type: object) -> bool:
    """Say whether models of a type have names in GGUF; of some their text model decides.

    >>> has_names("qwen3"), has_names("llava"), has_names("xglm")
    (True, True, False)
    """
    return model_type in ARCHITECTURES or model_type in NESTING


def architecture(model: Model) -> Architecture:
    """Return what llama.cpp calls the architecture of a model.

    >>> import memcalc
    >>> architecture(memcalc.model("openai/gpt-oss-20b")).id
    'gpt-oss'

    """
    found = ARCHITECTURES[written_as(model)]
    return found._replace(id=found.sparse) if found.sparse and model.has_experts else found


def gguf_name(model: Model, name: str) -> str:
    """Return the name in GGUF of a canonical one; `{layer}` and `{expert}` may stand in it.

    >>> import memcalc
    >>> gguf_name(memcalc.model("Qwen/Qwen3-30B-A3B"), "model.layers.7.mlp.experts.{expert}.up_proj.weight")
    'blk.7.ffn_up_exps.weight'

    Raises
    ------
    BadInputError
        The model, or the tensor, has no name in GGUF here.

    """
    if name.startswith("model.layers."):
        layer, _, rest = name.removeprefix("model.layers.").partition(".")
        return f"blk.{layer}.{translated(written_as(model), rest)}"
    return translated(written_as(model), name)


@cache
def translated(model_type: str, name: str) -> str:
    """Return a name, without the layer before it, in GGUF's words: the longest beginning known decides."""
    words = ARCHITECTURES[model_type].words
    fitting = [ours for ours in words if name.startswith(ours)]
    if not fitting:
        expected, remedy = "a tensor with a name in GGUF", "name another --engine"
        raise BadInputError(f"model_type {model_type}", expected, name, remedy)
    ours = max(fitting, key=len)
    return words[ours] + name.removeprefix(ours)
