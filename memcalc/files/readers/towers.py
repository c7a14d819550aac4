"""Vision towers that differ in a few words from each other: a table of those words, some lines a tower.

Names of tensors are canonical; `files.tensor_names` spells them. Held against transformers 5.23 by
tests/oracles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import BadInputError
from memcalc.files.config_classes import config_class
from memcalc.files.readers.vision import Patches
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import GQA, MLP, Linear, Norm, Part, PositionTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from memcalc.files.config import Config
    from memcalc.ledger.model import Named

    Switch = bool | str  # whether something is there, or the field of the tower's config that says so
    Built = Callable[[Config], Named]

__all__ = ["TOWERS", "Tower", "tower", "tower_config"]

ROOT = "vision_tower."


# What stands before and after the layers


def none(_vision: Config) -> Named:
    """Return nothing."""
    return ()


def patches(vision: Config, *, bias: bool = True, channels: str = "num_channels") -> Named:
    """Return the convolution over the patches of an image."""
    kernel = Patches(width_of(vision), vision.size(channels), vision.size("patch_size"), bias=bias)
    return ((f"{ROOT}patches", kernel),)


def video_patches(vision: Config, *, bias: bool = True) -> Named:
    """Return the convolution over patches in space and time."""
    frames, channels = vision.size("temporal_patch_size"), vision.size("in_channels")
    kernel = Patches(width_of(vision), channels, vision.size("patch_size"), frames, bias=bias)
    return ((f"{ROOT}patches", kernel),)


def places(vision: Config, more: int = 0) -> Named:
    """Return a table of positions, one for each patch of an image, and `more` for other vectors."""
    side = vision.size("image_size") // vision.size("patch_size")
    rows = (side, side) if not more else side * side + more
    return ((f"{ROOT}positions", PositionTable((rows,), width_of(vision))),)


def glm_before(vision: Config) -> Named:
    """Return what stands before the layers of GLM-4V's tower."""
    norm = ((f"{ROOT}post_conv_layernorm", Norm(width_of(vision))),)
    return (*video_patches(vision), *places(vision), *norm)


def glm_after(vision: Config, inner: str = "intermediate_size") -> Named:
    """Return what joins neighbouring vectors at the end of GLM-4V's tower, and a gated part behind it.

    `inner` is the field with the inner width of that part, or the one that it is a multiple of.
    """
    out, width = vision.size("out_hidden_size"), width_of(vision)
    wide = vision.size(inner) * (1 if inner == "intermediate_size" else out)
    return (
        (f"{ROOT}post_layernorm", Norm(width)),
        (f"{ROOT}downsample", Patches(out, width, vision.size("spatial_merge_size"))),
        (f"{ROOT}merger.proj", Linear(out, out)),
        (f"{ROOT}merger.post_projection_norm", Norm(out, bias=True)),
        (f"{ROOT}merger", MLP(out, wide)),
    )


def qwen_merger(vision: Config, *, out: str, layer_norm: bool = False) -> Named:
    """Return what makes one vector of neighbouring patches at the end of Qwen2-VL's tower."""
    width = width_of(vision)
    merged = width * vision.size("spatial_merge_size") ** 2
    return (
        (f"{ROOT}merger.ln_q", Norm(width, layer_norm)),
        (f"{ROOT}merger.mlp.0", Linear(merged, merged, bias=True)),
        (f"{ROOT}merger.mlp.2", Linear(vision.size(out), merged, bias=True)),
    )


# What tells one tower from another


class Tower(NamedTuple):
    """The words in which a tower differs from SigLIP's. A switch is true, false, or the field that says so.

    `width` is the field with the width of its stream, `ffn` that with the inner width, or with how many times
    the stream's that is (`times`). `layer_norm` says whether norms have a bias, `gated` whether feed-forward
    parts have three matrices, `qk_norm` whether the heads of queries and keys have norms. `before` and
    `after` are what stands before and after the layers. `out` is the field that has to restate the width of
    the text model, if there is one; `restated` are fields that repeat another, `harmless` those that change
    no memory.
    """

    width: str = "hidden_size"
    ffn: str = "intermediate_size"
    times: bool = False
    layer_norm: bool = True
    qkv_bias: Switch = True
    out_bias: Switch = True
    mlp_bias: Switch = True
    qk_norm: Switch = False
    gated: bool = False
    before: Built = none
    after: Built = none
    out: str = ""
    restated: tuple[tuple[str, str], ...] = ()
    harmless: tuple[str, ...] = ()


REPEATED = (("in_chans", "in_channels"), ("spatial_patch_size", "patch_size"))  # published, and not read
GLM = Tower(
    ffn="out_hidden_size",
    layer_norm=False,
    qkv_bias="attention_bias",
    out_bias=False,
    mlp_bias=False,
    gated=True,
    before=glm_before,
    after=glm_after,
    out="out_hidden_size",
)
TOWERS: dict[str, Tower] = {
    "qwen2_vl_vision": Tower(
        width="embed_dim",
        ffn="mlp_ratio",
        times=True,
        before=lambda vision: video_patches(vision, bias=False),
        after=lambda vision: qwen_merger(vision, out="hidden_size", layer_norm=True),
        out="hidden_size",
        restated=REPEATED,
    ),
    "qwen2_5_vl_vision": Tower(
        layer_norm=False,
        gated=True,
        before=lambda vision: video_patches(vision, bias=False),
        after=lambda vision: qwen_merger(vision, out="out_hidden_size"),
        out="out_hidden_size",
        restated=REPEATED,
        harmless=("window_size", "fullatt_block_indexes", "tokens_per_second"),
    ),
    "glm4v_vision": GLM,
    "glm4v_moe_vision": GLM,
    "glm_ocr_vision": GLM._replace(
        ffn="intermediate_size",
        out_bias="attention_bias",
        mlp_bias="attention_bias",
        qk_norm=True,
        before=video_patches,
        after=lambda vision: glm_after(vision, inner="in_channels"),
        harmless=("image_size",),
    ),
}


def tower_config(config: Config, *types: str) -> Config:
    """Return the tower's config inside of a model's, with the defaults of its class.

    Parameters
    ----------
    config : Config
        The outer config; its ``vision_config`` is read.
    *types : str
        Known types of the tower; the first one is meant where the tower says nothing.

    Raises
    ------
    BadInputError
        The tower is of another type.

    """
    stated = config.mapping("vision_config").get("model_type")
    kind = types[0] if stated in (None, config.fields["model_type"]) else str(stated)
    if kind not in types:
        remedy = "another tower under this model_type is not understood"
        raise BadInputError("vision_config.model_type", " or ".join(types), stated, remedy)
    vision = config.nested("vision_config", config_class(kind))
    vision.value("model_type")
    vision.fields["model_type"] = kind
    return vision


def tower(vision: Config, text_width: int | None = None) -> tuple[Layer, ...]:
    """Read a tower of the table, without what projects it into the text model's stream.

    Raises
    ------
    BadInputError
        A field contradicts another, or the width of the text model's stream.

    """
    words = TOWERS[str(vision.fields["model_type"])]
    for field, other in words.restated:
        vision.restates(field, vision.value(other))
    for field in words.harmless:
        vision.has(field)
    if words.out and vision.size(words.out) != text_width:
        expected, given = f"{text_width}, the text model's hidden_size", vision.size(words.out)
        raise BadInputError(words.out, expected, given, "correct one of the two")
    norm = Norm(width_of(vision), words.layer_norm)
    inside = ROOT + "layers.{layer}."
    layer: Named = (
        (f"{inside}self_attn", attention(vision, words)),
        (f"{inside}mlp", feed_forward(vision, words)),
        (f"{inside}input_layernorm", norm),
        (f"{inside}post_attention_layernorm", norm),
    )
    found = (
        Layer(words.before(vision)),
        Layer(layer, times=vision.size("num_hidden_layers")),
        Layer(words.after(vision)),
    )
    return tuple(each for each in found if each.parts)


def width_of(vision: Config) -> int:
    """Return the width of a tower's stream."""
    return vision.size(TOWERS[str(vision.fields["model_type"])].width)


def switched(vision: Config, switch: Switch) -> bool:
    """Say whether something is there."""
    return switch if isinstance(switch, bool) else vision.flag(switch)


def attention(vision: Config, words: Tower) -> GQA:
    """Return the attention of a layer."""
    width, heads = width_of(vision), vision.size("num_attention_heads")
    if width % heads:
        given = f"{heads} for {words.width} {width}"
        raise BadInputError("num_attention_heads", f"a divisor of {words.width}", given, "correct one")
    return GQA(
        width,
        heads,
        heads,
        width // heads,
        qkv_bias=switched(vision, words.qkv_bias),
        out_bias=switched(vision, words.out_bias),
        qk_norm=switched(vision, words.qk_norm),
    )


def feed_forward(vision: Config, words: Tower) -> Part:
    """Return the feed-forward part of a layer."""
    width = width_of(vision)
    inner = vision.size(words.ffn) * (width if words.times else 1)
    return MLP(width, inner, gated=words.gated, bias=switched(vision, words.mlp_bias))
