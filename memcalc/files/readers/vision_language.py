"""Vision-language models: a text model of a known type, a tower, and what joins them; a line or two a type.

Held against transformers 5.23 in tests/oracles.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import BadInputError
from memcalc.files.config_classes import harmless_fields
from memcalc.files.readers.audio import qwen2_5_omni, qwen3_omni
from memcalc.files.readers.towers import tower, tower_config
from memcalc.files.readers.vision import Values, hidden_size_of, nested_text_model
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import Linear, Norm

if TYPE_CHECKING:
    from collections.abc import Callable

    from memcalc.files.config import Config
    from memcalc.ledger.model import Model, Named

    Join = Callable[[Config, Config, int], Named]

__all__ = ["MODELS", "vision_language"]


# What joins tower and text model


def two_matrices(config: Config, vision: Config, text_width: int) -> Named:
    """Return LLaVA's projector, which may see several layers of the tower at once."""
    seen = config.value("vision_feature_layer")
    layers = len(config.whole_numbers("vision_feature_layer")) if isinstance(seen, list) else 1
    biased = config.flag("multimodal_projector_bias")
    return (
        (f"{JOINED}linear_1", Linear(text_width, layers * vision.size("hidden_size"), bias=biased)),
        (f"{JOINED}linear_2", Linear(text_width, text_width, bias=biased)),
    )


def with_line_breaks(config: Config, vision: Config, text_width: int) -> Named:
    """Return the same, and a vector that ends each row of an image."""
    config.restates("use_image_newline_parameter", True)  # noqa: FBT003 (a value that a field must have)
    newline = ("image_newline", Values((text_width,), "positions"))
    return (*two_matrices(config, vision, text_width), newline)


def one_matrix(config: Config, vision: Config, _text_width: int) -> Named:
    """Return PaliGemma's projector; its outputs are as wide as the text model."""
    rows = config.size("projection_dim")
    return ((f"{JOINED}linear", Linear(rows, vision.size("hidden_size"), bias=True)),)


def shuffled(config: Config, vision: Config, text_width: int) -> Named:
    """Return the matrix of Idefics3, for a square of neighbouring patches."""
    merged = vision.size("hidden_size") * config.size("scale_factor") ** 2
    return (("connector.modality_projection.proj", Linear(text_width, merged)),)


def halved(config: Config, vision: Config, text_width: int) -> Named:
    """Return Cohere's projector, whose inner vector is half numbers and half their gates."""
    merged = vision.size("hidden_size") * config.size("downsample_factor") ** 2
    inner = config.size("alignment_intermediate_size")
    return (
        (f"{JOINED}linear_1", Linear(inner, merged, bias=True)),
        (f"{JOINED}linear_2", Linear(text_width, inner // 2, bias=True)),
    )


def lfm2(config: Config, vision: Config, text_width: int) -> Named:
    """Return LFM2's projector, with a norm or without."""
    merged = vision.size("hidden_size") * config.size("downsample_factor") ** 2
    inner, biased = config.size("projector_hidden_size"), config.flag("projector_bias")
    norm = ((f"{JOINED}layer_norm", Norm(merged, bias=True)),)
    return (
        *(norm if config.flag("projector_use_layernorm") else ()),
        (f"{JOINED}linear_1", Linear(inner, merged, bias=biased)),
        (f"{JOINED}linear_2", Linear(text_width, inner, bias=biased)),
    )


def internvl(config: Config, vision: Config, text_width: int) -> Named:
    """Return InternVL's projector.

    Raises
    ------
    BadInputError
        It is not said how many patches become one.

    """
    share = config.value("downsample_ratio")
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0.01 <= share <= 1:
        raise BadInputError("downsample_ratio", "a number from 0.01 to 1", share, "correct config.json")
    merged = vision.size("hidden_size") * int(1 / share) ** 2
    return (
        (f"{JOINED}layer_norm", Norm(merged, bias=True)),
        (f"{JOINED}linear_1", Linear(text_width, merged, bias=True)),
        (f"{JOINED}linear_2", Linear(text_width, text_width, bias=True)),
    )


def queries(config: Config, vision: Config, text_width: int) -> Named:
    """Return Aria's projector: learned vectors that ask what the tower has seen.

    Raises
    ------
    BadInputError
        It is not said how many they are.

    """
    stated = config.mapping(QUERIES) if config.has(QUERIES) else {"4900": 256}
    counts = [one for one in stated.values() if type(one) is int and one > 0]
    if not counts or len(counts) < len(stated):
        raise BadInputError(QUERIES, "whole numbers >= 1 by patches", stated, "correct config.json")
    config.restates(f"max_value_{QUERIES}", max(counts))  # transformers writes it, and builds from it
    width, norm = vision.size("hidden_size"), Norm(vision.size("hidden_size"), bias=True)
    asked = Linear(width, width)
    return (
        (f"{JOINED}query", Values((max(counts), width), "positions")),
        *((f"{JOINED}cross_attn.{letter}_proj", asked) for letter in "qkv"),
        (f"{JOINED}cross_attn.multihead_attn.in_proj", Linear(3 * width, width, bias=True)),
        (f"{JOINED}cross_attn.multihead_attn.out_proj", Linear(width, width, bias=True)),
        (f"{JOINED}cross_attn.linear", Linear(width, width, bias=True)),
        (f"{JOINED}cross_attn.layer_norm", norm),
        (f"{JOINED}cross_attn.layer_norm_kv", norm),
        (f"{JOINED}layer_norm", norm),
        (f"{JOINED}feed_forward.linear_in", Linear(text_width, width)),
        (f"{JOINED}feed_forward.linear_out", Linear(text_width, text_width)),
    )


def kimi(_config: Config, vision: Config, text_width: int) -> Named:
    """Return Kimi-VL's projector, for a rectangle of neighbouring patches.

    Raises
    ------
    BadInputError
        It is not said how large that is.

    """
    width, joined = vision.size("hidden_size"), vision.whole_numbers("merge_kernel_size")
    if len(joined) != 2 or min(joined) < 1:
        remedy = "give how many patches become one, in height and in width"
        raise BadInputError("merge_kernel_size", "two whole numbers >= 1", list(joined), remedy)
    merged = width * joined[0] * joined[1]
    return (
        (f"{JOINED}pre_norm", Norm(width, bias=True)),
        (f"{JOINED}linear_1", Linear(merged, merged, bias=True)),
        (f"{JOINED}linear_2", Linear(text_width, merged, bias=True)),
    )


class VisionLanguage(NamedTuple):
    """What a type with a vision tower consists of.

    `texts` are the known types of its text model and `towers` those of its tower, the first of which is meant
    where a file says nothing; with `others` the class takes text models of every type. `join` is what stands
    between tower and text model, by config, tower and the text model's width. `flat` types have files that
    state the text model's fields outside. With `tied_by_either` a text model that says so is tied, too, with
    `tied_inside` only one that does; `tied_as_stated` types have
    files that contradict the default of their class, so that there is none. `audio` reads an audio tower.
    `harmless` are fields that change no memory, `aside` those of the text model.
    """

    texts: tuple[str, ...]
    towers: tuple[str, ...]
    join: Join | None = None
    others: bool = False
    flat: bool = False
    tied_by_either: bool = False
    tied_inside: bool = False
    tied_as_stated: bool = False
    audio: Callable[[Config], tuple[Layer, ...]] | None = None
    harmless: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()


JOINED = "multi_modal_projector."
QUERIES = "projector_patch_to_query_dict"
LAYERS = ("vision_feature_layer", "vision_feature_select_strategy", "image_seq_length")
TILES = ("image_grid_pinpoints", "vision_aspect_ratio")
# how LFM2's images are cut into tiles
LFM2 = (
    "do_image_splitting", "encoder_patch_size", "max_image_tokens", "max_num_patches", "max_pixels_tolerance",
    "max_tiles", "min_image_tokens", "min_tiles", "tile_size", "use_image_special_tokens", "use_thumbnail",
)  # fmt: skip
# where a position stands in time, and numbers of tokens
OMNI = (
    "position_id_per_seconds",
    "seconds_per_chunk",
    "audio_start_token_id",
    "audio_end_token_id",
    "user_token_id",
)
LLAVA = VisionLanguage(
    ("llama",),
    ("clip_vision_model", "siglip_vision_model", "pixtral"),
    join=two_matrices,
    others=True,
    harmless=LAYERS,
)
IDEFICS3 = VisionLanguage(
    ("llama",),
    ("idefics3_vision",),
    join=shuffled,
    others=True,
    aside=("perceiver_config", "pixel_shuffle_factor", "use_resampler", "qk_layer_norms"),
)
MODELS: dict[str, VisionLanguage] = {
    "llava": LLAVA._replace(tied_by_either=True),
    "llava_next": LLAVA._replace(join=with_line_breaks, harmless=(*LAYERS, *TILES)),
    "llava_onevision": LLAVA._replace(
        texts=("qwen2",),
        towers=("siglip_vision_model", "clip_vision_model"),
        join=with_line_breaks,
        tied_by_either=True,
        harmless=(*LAYERS, *TILES),
    ),
    # OpenGVLab/InternVL3-1B-hf has 938,193,024 numbers, 135,899,904 of them in a head of its own, 2026-09
    "internvl": VisionLanguage(
        ("qwen2",), ("internvl_vision",), join=internvl, others=True, tied_as_stated=True, harmless=LAYERS
    ),
    "idefics3": IDEFICS3,
    "smolvlm": IDEFICS3._replace(towers=("smolvlm_vision",)),
    "paligemma": VisionLanguage(
        ("gemma",),
        ("siglip_vision_model",),
        join=one_matrix,
        others=True,
        harmless=("vocab_size", "hidden_size"),
        aside=("num_image_tokens", "use_bidirectional_attention"),
    ),
    "cohere2_vision": VisionLanguage(("cohere2",), ("siglip_vision_model",), join=halved, others=True),
    "lfm2_vl": VisionLanguage(
        ("lfm2",), ("siglip2_vision_model",), join=lfm2, others=True, harmless=(*LAYERS, *LFM2)
    ),
    "aria": VisionLanguage(("aria_text",), ("idefics3_vision",), join=queries, harmless=LAYERS),
    "kimi_vl": VisionLanguage(("deepseek_v3",), ("moonvit",), join=kimi, tied_inside=True),
    "qwen2_5_omni_thinker": VisionLanguage(
        ("qwen2_5_omni_text",), ("qwen2_5_omni_vision_encoder",), audio=qwen2_5_omni, harmless=OMNI
    ),
    "qwen3_omni_moe_thinker": VisionLanguage(
        ("qwen3_omni_moe_text",), ("qwen3_omni_moe_vision_encoder",), audio=qwen3_omni, harmless=OMNI
    ),
    "qwen2_vl": VisionLanguage(("qwen2_vl_text",), ("qwen2_vl_vision",), flat=True, tied_by_either=True),
    "qwen2_5_vl": VisionLanguage(
        ("qwen2_5_vl_text",), ("qwen2_5_vl_vision",), flat=True, tied_by_either=True
    ),
    "glm4v": VisionLanguage(("glm4v_text",), ("glm4v_vision",), tied_by_either=True),
    "glm4v_moe": VisionLanguage(("glm4v_moe_text",), ("glm4v_moe_vision",), tied_by_either=True),
    "glm46v": VisionLanguage(("glm4v_text", "glm4v_moe_text"), ("glm4v_vision", "glm4v_moe_vision")),
    "glm_ocr": VisionLanguage(("glm_ocr_text",), ("glm_ocr_vision",), tied_by_either=True),
}


def vision_language(config: Config, name: str) -> Model:
    """Read a model of the table: the text model's parameters are its own, the tower's are counted apart.

    Raises
    ------
    BadInputError
        A text model or a tower is not understood, or the two do not fit.

    """
    words = MODELS[str(config.fields["model_type"])]
    for field in words.harmless:
        config.has(field)
    inside = config.fields.get("text_config")
    said = inside.get("tie_word_embeddings") if isinstance(inside, dict) else None
    if words.tied_as_stated and config.stated.get("tie_word_embeddings") is None and said is True:
        config.stated["tie_word_embeddings"] = True  # as the class does where nothing is said
    if words.tied_as_stated and config.stated.get("tie_word_embeddings") is None:
        remedy = "add it: the files of this type do not all do what its class does where nothing is said"
        raise BadInputError("tie_word_embeddings", "true or false", None, remedy)
    if words.flat and not config.has("text_config"):
        text = flat_text_model(config, name, words.texts[0])
    else:
        text = nested_text_model(
            config,
            name,
            *words.texts,
            others=words.others,
            tied_inside=words.tied_inside,
            tied_by_either=words.tied_by_either,
            aside=words.aside,
        )
        if words.tied_inside:
            config.restates("tie_word_embeddings", text.tied)
        declared = config.declared.defaults if config.declared else {}
        for field, value in config.mapping("text_config").items():
            if type(value) is int and field in config.fields and field not in (*declared, *harmless_fields()):
                config.restates(field, value)  # of the text model, said outside again
    width = hidden_size_of(text)
    vision = tower_config(config, *words.towers)
    layers = tower(vision, width)
    joined = (Layer(words.join(config, vision, width)),) if words.join else ()
    audio = words.audio(config) if words.audio else ()
    return replace(text, vision=(*layers, *joined, *audio))


def flat_text_model(config: Config, name: str, text_type: str) -> Model:
    """Return the text model of a file that states its fields outside, among those of the whole.

    Raises
    ------
    BadInputError
        There are no such fields.

    """
    outside = config.declared.defaults if config.declared else {}
    kept = ("model_type", "architectures", "auto_map", "quantization_config")
    inside = {key: value for key, value in config.fields.items() if key not in outside and key not in kept}
    if "hidden_size" not in inside:
        raise BadInputError("text_config", "an object", None, "add the object to config.json")
    config.read |= inside.keys()
    text = {**inside, "model_type": text_type, "tie_word_embeddings": config.flag("tie_word_embeddings")}
    if config.read_model is None:
        raise TypeError("text_config: no reader for it was given")
    outer = str(config.fields["model_type"])
    return replace(config.read_model(text, name), model_type=outer, text_type=text_type)
