"""InternVL as OpenGVLab publishes it: a text model in `llm_config` beside InternViT.

Source: OpenGVLab/InternVL, commit 2410d1d (2025-09-22), internvl_chat/internvl/model/internvl_chat. Held
against published sizes in tests/test_vision_language.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.files.config_classes import config_class
from memcalc.files.readers.vision import Patches, Values, hidden_size_of
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import GQA, MLP, Linear, Norm, PositionTable

if TYPE_CHECKING:
    from memcalc.files.config import Config
    from memcalc.ledger.model import Model

__all__ = ["internvl_chat"]

INSIDE = "vision_model.encoder.layers.{layer}."
# how images are cut into tiles, and what is trained
TILES = (
    "dynamic_image_size", "force_image_size", "max_dynamic_patch", "min_dynamic_patch", "pad2square",
    "ps_version", "select_layer", "template", "use_backbone_lora", "use_llm_lora", "use_thumbnail",
)  # fmt: skip


def internvl_chat(config: Config, name: str) -> Model:
    """Read InternVL: a text model of any type that has a reader, InternViT, and what joins the two.

    The class unties the head of each text model, whatever its own class declares.

    Raises
    ------
    BadInputError
        The file says that the head is tied.

    """
    for field in TILES:
        config.has(field)
    config.restates("architectures", ["InternVLChatModel"])
    for field in ("architectures", "auto_map"):
        config.fields.pop(field, None)  # a class whose name ends in Model, and that has a head all the same
    text = dict(config.mapping("llm_config"))
    text = {key: value for key, value in text.items() if key not in ("architectures", "auto_map")}
    if config.read_model is None:
        raise TypeError("llm_config: no reader for it was given")
    for said in (text.get("tie_word_embeddings"), config.stated.get("tie_word_embeddings")):
        if said:
            raise BadInputError(
                "tie_word_embeddings", "false: the class ties no head", said, "correct config.json"
            )
    config.has("tie_word_embeddings")
    text["tie_word_embeddings"] = False
    config.restates("hidden_size", text.get("hidden_size"))
    model = config.read_model(text, name)
    layers = (*internvit(config), Layer(joined(config, hidden_size_of(model))))
    return replace(model, model_type="internvl_chat", text_type=str(text.get("model_type")), vision=layers)


def internvit(config: Config) -> tuple[Layer, ...]:
    """Read InternViT, whose largest has RMSNorms and norms of queries and keys.

    Raises
    ------
    BadInputError
        The kind of norm is not known, or heads do not fill the width.

    """
    vision = config.nested("vision_config", config_class("intern_vit_6b"))
    vision.restates("model_type", "intern_vit_6b")
    for field in ("drop_path_rate", "dropout", "use_flash_attn", "initializer_factor"):
        vision.has(field)
    width, heads = vision.size("hidden_size"), vision.size("num_attention_heads")
    kind = vision.value("norm_type")
    if kind not in ("layer_norm", "rms_norm"):
        raise BadInputError("norm_type", "layer_norm or rms_norm", kind, "correct config.json")
    if width % heads:
        given = f"{heads} for hidden_size {width}"
        raise BadInputError(
            "num_attention_heads", "a divisor of hidden_size", given, "correct one of the two"
        )
    norm, scale = Norm(width, bias=kind == "layer_norm"), Values((width,), "norm")
    attention = GQA(
        width,
        heads,
        heads,
        width // heads,
        qkv_bias=vision.flag("qkv_bias"),
        out_bias=True,
        qk_norm=vision.flag("qk_normalization"),
        qk_norm_whole=True,
    )
    parts = (
        ("attn", attention),
        ("mlp", MLP(width, vision.size("intermediate_size"), gated=False, bias=True)),
        ("norm1", norm),
        ("norm2", norm),
        ("ls1", scale),
        ("ls2", scale),
    )
    tables, patch = "vision_model.embeddings.", vision.size("patch_size")
    places = (vision.size("image_size") // patch) ** 2 + 1
    before = (
        (f"{tables}class_embedding", Values((1, 1, width), "positions")),
        (f"{tables}patch_embedding", Patches(width, vision.size("num_channels"), patch)),
        (f"{tables}position_embedding", PositionTable((1, places), width)),
    )
    layer = tuple((f"{INSIDE}{name}", part) for name, part in parts)
    return Layer(before), Layer(layer, times=vision.size("num_hidden_layers"))


def joined(config: Config, text_width: int) -> tuple[tuple[str, Norm | Linear], ...]:
    """Return what makes one vector of neighbouring patches.

    Raises
    ------
    BadInputError
        It is not said how many patches become one.

    """
    share = config.value("downsample_ratio")
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0.01 <= share <= 1:
        raise BadInputError("downsample_ratio", "a number from 0.01 to 1", share, "correct config.json")
    merged = config.inside[-1][1].size("hidden_size") * int(1 / share) ** 2
    return (
        ("mlp1.0", Norm(merged, bias=True)),
        ("mlp1.1", Linear(text_width, merged, bias=True)),
        ("mlp1.3", Linear(text_width, text_width, bias=True)),
    )
