"""config.json of a model_type -> Model: one small module a family, loaded when it is needed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.files.config import Config
from memcalc.files.config_classes import config_class, stem
from memcalc.ledger.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memcalc.ledger.model import Model

    Reader = Callable[[Config, str], Model]

__all__ = ["INSIDE", "PUBLISHED", "READERS", "TOWERS", "has_reader", "read"]

# model types of the table in plain.py
PLAIN = (
    "arcee", "aria_text", "biogpt", "bloom", "codegen", "cohere", "cohere2", "cwm", "dots1", "ernie4_5",
    "ernie4_5_moe",
    "exaone4", "flex_olmo", "gemma", "glm", "glm4", "gpt_bigcode", "gpt_neox", "gptj", "granite",
    "granitemoe", "granitemoeshared", "helium", "hunyuan_v1_dense", "hunyuan_v1_moe",
    "hyperclovax", "internlm3", "iquestcoder", "mellum", "mpt", "xglm",
    "minimax_m2", "ministral3", "nemotron", "olmo", "olmo2", "olmo3", "olmoe", "persimmon", "phi",
    "phimoe", "qwen2_moe", "seed_oss", "smollm3", "stablelm", "starcoder2",
    "afmoe", "apertus", "axk1", "bitnet", "cohere2_moe", "diffllama", "exaone_moe", "flint",
    "granite_swa", "granitemoe_swa", "hy_v3", "jais2", "kolibri1", "mimo_v2_flash", "ministral",
    "nanochat", "solar_open", "vaultgemma", "youtu",
)  # fmt: skip
# of them, those that stand only inside of others
PLAIN_INSIDE = (
    "glm4v_moe_text", "glm4v_text", "glm_ocr_text", "qwen2_5_omni_text", "qwen2_5_vl_text", "qwen2_vl_text",
)  # fmt: skip
# model types of the table in vision_language.py
VISION_LANGUAGE = (
    "aria", "cohere2_vision", "glm46v", "glm4v", "glm4v_moe", "glm_ocr", "idefics3", "internvl", "lfm2_vl",
    "llava", "llava_next", "llava_onevision", "paligemma", "qwen2_5_omni_thinker", "qwen2_5_vl", "qwen2_vl",
    "qwen3_omni_moe_thinker", "smolvlm",
)  # fmt: skip
# model_type -> the module here, and its function
READERS: Registry[Reader] = Registry(
    "model_type",
    {
        "llama": "dense:llama",
        "qwen2": "dense:qwen2",
        "qwen3": "dense:qwen3",
        "qwen3_moe": "qwen3_moe:qwen3_moe",
        "qwen3_next": "qwen3_next:qwen3_next",
        "qwen3_5_text": "qwen3_next:qwen3_5_text",
        "qwen3_5_moe_text": "qwen3_next:qwen3_5_moe_text",
        **dict.fromkeys(("qwen3_5", "qwen3_5_moe", "qwen3_vl", "qwen3_vl_moe"), "qwen_vl:qwen3_vl"),
        "deepseek_v2": "deepseek:deepseek_v2",
        "deepseek_v3": "deepseek:deepseek_v3",
        "kimi_k2": "deepseek:deepseek_v3",
        "deepseek_v32": "deepseek:deepseek_v32",
        "glm_moe_dsa": "deepseek:glm_moe_dsa",
        **dict.fromkeys(("deepseek_v4", "deepseek_ref"), "deepseek_v4:deepseek_v4"),
        "qwen4_exp_text": "qwen4_exp:qwen4_exp_text",
        "kimi_k25": "kimi:kimi_k25",
        "mistral": "dense:mistral",
        "mixtral": "mixtral:mixtral",
        "gpt2": "gpt2:gpt2",
        "phi3": "dense:phi3",
        "gemma2": "gemma:gemma2",
        "gemma3_text": "gemma:gemma3_text",
        "gemma3": "gemma:gemma3",
        "bamba": "mamba:bamba",
        "falcon_h1": "mamba:falcon_h1",
        "granitemoehybrid": "mamba:granitemoehybrid",
        "mamba2": "mamba:mamba2",
        "mistral3": "mistral3:mistral3",
        "mistral4": "deepseek:mistral4",
        "lfm2": "lfm2:lfm2",
        "lfm2_moe": "lfm2:lfm2_moe",
        "mamba": "mamba1:mamba",
        "falcon_mamba": "mamba1:mamba",
        "jamba": "mamba1:jamba",
        "glm4_moe_lite": "deepseek:glm4_moe_lite",
        "kimi_linear": "kimi_linear:kimi_linear",
        "nemotron_h": "mamba:nemotron_h",
        "gemma4_text": "gemma4:gemma4_text",
        "gemma4": "gemma4:gemma4",
        "gemma4_unified": "gemma4:gemma4_unified",
        "gemma4_unified_text": "gemma4:gemma4_text",
        "gemma3n": "gemma3n:gemma3n",
        "gemma3n_text": "gemma3n:gemma3n_text",
        "llama4_text": "llama4:llama4_text",
        "llama4": "llama4:llama4",
        "gpt_oss": "gpt_oss:gpt_oss",
        "glm4_moe": "glm:glm4_moe",
        "minimax": "minimax:minimax",
        "hy_v4": "indexed:hy_v4",
        "axk2": "indexed:axk2",
        "laguna": "laguna:laguna",
        "longcat_flash": "longcat:longcat_flash",
        "bailing_hybrid": "bailing:bailing_hybrid",
        "lfm3": "lfm3:lfm3",
        "minimax_m3_vl": "minimax_m3:minimax_m3_vl",
        "minimax_m3_vl_text": "minimax_m3:minimax_m3_vl_text",
        "olmo_hybrid": "olmo_hybrid:olmo_hybrid",
        "zamba": "zamba:zamba",
        "zamba2": "zamba:zamba2",
        **dict.fromkeys(PLAIN, "plain:plain"),
        "opt": "opt:opt",
        **dict.fromkeys(VISION_LANGUAGE, "vision_language:vision_language"),
        "falcon": "older:falcon",
        "gpt_neo": "older:gpt_neo",
        "gpt_neox_japanese": "older:gpt_neox_japanese",
        "gpt-sw3": "gpt2:gpt2",
        "minicpm3": "deepseek:minicpm3",
        "step3p7": "step3p7:step3p7",
        "dbrx": "dbrx:dbrx",
        "mistral_large4": "mistral_large4:mistral_large4",
        "doge": "doge:doge",
        "phi4_multimodal": "phi4_multimodal:phi4_multimodal",
    },
    package=__name__,
    remedy="add a reader, see CONTRIBUTING.md",
)
# text models that stand only inside of others: no class of transformers writes with them alone
INSIDE: Registry[Reader] = Registry(
    "model_type",
    {
        "qwen3_vl_text": "qwen_vl:qwen3_vl_text",
        "qwen3_vl_moe_text": "qwen_vl:qwen3_vl_moe_text",
        "qwen3_omni_moe_text": "qwen_vl:qwen3_vl_moe_text",
        "step3p5": "step3p7:step3p5",
        "mistral_large4_text": "mistral_large4:mistral_large4_text",
        **dict.fromkeys(PLAIN_INSIDE, "plain:plain"),
    },
    package=__name__,
)
# types that no version of transformers has: their code lies beside their weights. What its configuration
# class declares is written down with its source in memcalc/data/published_classes.jsonl
PUBLISHED: Registry[Reader] = Registry(
    "model_type",
    {
        **dict.fromkeys(
            ("qwen", "deepseek", "phi-msft", "internlm", "internlm2", "minicpm"), "published:published"
        ),
        "baichuan": "published:baichuan",
        "chatglm": "published:chatglm",
        "mimo": "published:mimo",
        "PanguEmbedded": "published:pangu_embedded",
        "PanguProMoE": "pangu:pangu_pro_moe",
        "nemotron-nas": "nemotron_nas:nemotron_nas",
        "minimax_m1": "minimax:minimax_m1",
        "minimax_m3": "minimax_m3:minimax_m3",
        "kimi_k3": "kimi_k3:kimi_k3",
        "kimi_k3_text": "kimi_k3:kimi_k3_text",
        "internvl_chat": "internvl_chat:internvl_chat",
        "kimi_vl": "vision_language:vision_language",
        "step3_vl": "step3:step3_vl",
        "step3_text": "step3:step3_text",
        "hunyuan": "hunyuan:hunyuan",
    },
    package=__name__,
)
# those of the table in towers.py
IN_TABLE = (
    "clip_vision_model", "glm4v_moe_vision", "glm4v_vision", "glm_ocr_vision", "idefics3_vision",
    "internvl_vision", "qwen2_5_omni_vision_encoder", "qwen2_5_vl_vision", "qwen2_vl_vision",
    "qwen3_omni_moe_vision_encoder", "siglip2_vision_model", "smolvlm_vision",
)  # fmt: skip
# types of a vision_config: its class's defaults are known
TOWERS = (
    "minimax_m3_vl_vision",
    "step3p5_vision",
    "siglip_vision_model", "kimi_k25_vision", "qwen3_5_vision", "qwen3_5_moe_vision", "qwen3_vl_vision",
    "qwen3_vl_moe_vision", "gemma4_vision", "pixtral", "llama4_vision_model",
    *IN_TABLE,
    *("gemma4_audio", "gemma4_unified_audio", "gemma4_unified_vision", "qwen2_5_omni_audio_encoder"),
    *("phi4_multimodal_audio", "phi4_multimodal_vision"),
    *("qwen3_omni_moe_audio_encoder", "gemma3n_audio", "gemma3n_vision"),
)  # fmt: skip


def has_reader(model_type: object) -> bool:
    """Say whether a config.json of this type is read.

    >>> has_reader("qwen"), has_reader("qwen2"), has_reader("qwen0")
    (True, True, False)
    """
    return model_type in READERS or model_type in PUBLISHED


GENERATE = ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel")  # how classes with a head are named


def read(fields: Mapping[str, object], name: str = "model") -> Model:
    """Return the model that a config.json describes.

    Parameters
    ----------
    fields : mapping of str to object
        The config.json as parsed, or Megatron's arguments by name.
    name : str, default "model"
        What answers call the model.

    Returns
    -------
    Model
        Its tensors; what was passed over is named in `not_read`.

    Raises
    ------
    BadInputError
        A size is wrong, or a field that may change memory is not understood.
    UnknownNameError
        No reader knows the model_type.

    Examples
    --------
    >>> read({"model_type": "llama", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1,
    ...       "num_attention_heads": 2, "vocab_size": 10}).parameters
    824

    """
    if "model_type" not in fields and ("num-layers" in fields or "num_layers" in fields):
        from memcalc.files.readers.megatron import is_megatron, megatron, plain

        if is_megatron(fields):
            return finished(megatron, Config(plain(fields)), name)
    model_type = fields.get("model_type")
    known = next((some for some in (READERS, INSIDE, PUBLISHED) if model_type in some), None)
    if not isinstance(model_type, str) or known is None:
        from memcalc.files.readers.unknown import refusal

        raise refusal(fields, {**READERS, **PUBLISHED})
    return finished(known[model_type], Config(fields, config_class(model_type), read_model=read), name)


def as_its_class(model: Model, config: Config) -> Model:
    """Return the model as its class has it: embedding models have no head, classifiers one of their own."""
    fields = config.fields
    if not ("architectures" in fields or "auto_map" in fields):
        return model
    stated = fields.get("architectures")
    first = stated[0] if isinstance(stated, list) and stated and isinstance(stated[0], str) else ""
    own = {stem(str(fields.get("model_type"))), stem(config.declared.name) if config.declared else ""}
    if stem(first) not in {*own, ""} or "auto_map" in fields:
        from memcalc.files.readers.classes import checked_against

        model = checked_against(model, first, own, config)
    if not first or first.endswith(GENERATE) or (config.declared and first in config.declared.generates):
        return model
    from memcalc.files.readers.heads import with_head_of

    return with_head_of(model, first, fields)


def check_rotation(model: Model) -> None:
    """Refuse heads of which a single value is rotated: classes of transformers then cache two."""
    if model.rotary_positions is None:
        return
    for part in {part for layer in set(model.layers) for _, part in layer.parts}:
        if not (hasattr(part, "kv_heads") or hasattr(part, "nope_dim")):
            continue
        rotated, width = getattr(part, "rope_dim", 0), getattr(part, "head_dim", None)
        rotated = width if rotated is None or (rotated and width == 1) else rotated
        if rotated == 1:
            field = "head_dim" if hasattr(part, "head_dim") else "qk_rope_head_dim"
            remedy = "correct it, or what it follows from: hidden_size, heads, partial_rotary_factor"
            raise BadInputError(field, "at least 2 rotated values in a head", rotated, remedy)


def refuse_trained_activations(fields: Mapping[str, object]) -> None:
    """Refuse an activation that has parameters of its own, which one class alone counts.

    Raises:
        BadInputError: This is such a one.

    """
    if fields.get("hidden_act") == "xielu" and fields.get("model_type") != "apertus":
        raise BadInputError(
            "hidden_act",
            "an activation without parameters",
            "xielu",
            "its numbers are counted for apertus alone",
        )


def finished(reader: Reader, config: Config, name: str) -> Model:
    """Return what a reader makes of a config, once it is known that nothing of it was passed over unnamed."""
    refuse_trained_activations(config.fields)
    model = as_its_class(reader(config, name), config)
    for _, tower in config.inside:
        refuse_trained_activations(tower.fields)
    check_rotation(model)
    unread, assumed = config.unread(), tuple(f"{name} {value}" for name, value in config.assumed.items())
    if not (unread or assumed):
        return model
    return replace(
        model, not_read=(*model.not_read, *unread), class_defaults=(*model.class_defaults, *assumed)
    )
