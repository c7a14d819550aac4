"""Vision towers that differ in a few words from each other: a table of those words, some lines a tower.

Names of tensors are canonical; `files.tensor_names` spells them. Held against transformers 5.23 by
tests/oracles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import BadInputError
from memcalc.files.config_classes import config_class
from memcalc.files.readers.vision import Patches, Values
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


# What stands before and after the layers, and in them beside attention and feed-forward part


def none(_vision: Config) -> Named:
    """Return nothing."""
    return ()


def square(vision: Config, field: str) -> tuple[int, int]:
    """Return a length in both directions; most files state one number for both.

    Raises
    ------
    BadInputError
        There are not two whole numbers >= 1.

    """
    stated = vision.value(field)
    if not isinstance(stated, list):
        return vision.size(field), vision.size(field)
    both = vision.whole_numbers(field)
    if len(both) != 2 or min(both) < 1:
        raise BadInputError(field, "two whole numbers >= 1, height and width", stated, "correct config.json")
    return both[0], both[1]


def patches(vision: Config, *, name: str = "embeddings.patch_embedding", bias: bool = True) -> Named:
    """Return the convolution over the patches of an image.

    Raises
    ------
    BadInputError
        Patches are no squares.

    """
    high, wide = square(vision, "patch_size")
    if high != wide:
        raise BadInputError("patch_size", "the same number twice", [high, wide], "no tower has other patches")
    kernel = Patches(width_of(vision), vision.size("num_channels"), high, bias=bias)
    return ((f"{ROOT}{name}", kernel),)


def video_patches(vision: Config, *, bias: bool = True) -> Named:
    """Return the convolution over patches in space and time."""
    frames, channels = vision.size("temporal_patch_size"), vision.size("in_channels")
    kernel = Patches(width_of(vision), channels, vision.size("patch_size"), frames, bias=bias)
    return ((f"{ROOT}patch_embed.proj", kernel),)


def places(vision: Config) -> int:
    """Return how many patches an image has."""
    (high, wide), (down, right) = square(vision, "image_size"), square(vision, "patch_size")
    return (high // down) * (wide // right)


def table(vision: Config, rows: int | None = None) -> Named:
    """Return a learned table of positions, one for each patch of an image unless `rows` says more."""
    places_of = PositionTable((places(vision) if rows is None else rows,), width_of(vision))
    return ((f"{ROOT}embeddings.position_embedding", places_of),)


def vit_before(vision: Config) -> Named:
    """Return patches and positions, as in SigLIP."""
    return (*patches(vision), *table(vision))


def clip_before(vision: Config) -> Named:
    """Return patches, a vector for the whole image, positions and a norm."""
    width = width_of(vision)
    return (
        *patches(vision, bias=False),
        (f"{ROOT}embeddings.class_embedding", Values((width,), "positions")),
        *table(vision, places(vision) + 1),
        (f"{ROOT}pre_layrnorm", Norm(width, bias=True)),
    )


def siglip2_before(vision: Config) -> Named:
    """Return patches as rows of a matrix, and positions that are stretched to the shape of an image."""
    width = width_of(vision)
    points = vision.size("num_channels") * vision.size("patch_size") ** 2
    matrix = Linear(width, points, bias=True)
    return ((f"{ROOT}embeddings.patch_embedding", matrix), *table(vision, vision.size("num_patches")))


def vit_after(vision: Config) -> Named:
    """Return the last norm, and SigLIP's head where the tower has one."""
    norm = ((f"{ROOT}post_layernorm", Norm(width_of(vision), bias=True)),)
    return with_head(vision) if vision.flag("vision_use_head") else norm


def with_head(vision: Config) -> Named:
    """Return the last norm and SigLIP's head: attention of a single query."""
    width, head, inner = width_of(vision), f"{ROOT}head.", vision.size("intermediate_size")
    return (
        (f"{ROOT}post_layernorm", Norm(width, bias=True)),
        (f"{head}probe", Values((1, 1, width), "positions")),
        (f"{head}attention.in_proj", Linear(3 * width, width, bias=True)),
        (f"{head}attention.out_proj", Linear(width, width, bias=True)),
        (f"{head}layernorm", Norm(width, bias=True)),
        (f"{head}mlp.fc1", Linear(inner, width, bias=True)),
        (f"{head}mlp.fc2", Linear(width, inner, bias=True)),
    )


def pixtral_before(vision: Config) -> Named:
    """Return patches and a norm: positions are rotated."""
    vision.has("image_size")
    return (*patches(vision, name="patch_conv", bias=False), (f"{ROOT}ln_pre", Norm(width_of(vision))))


def internvl_before(vision: Config) -> Named:
    """Return a vector for the whole image, patches and positions."""
    width, tables = width_of(vision), f"{ROOT}embeddings."
    found: list[tuple[str, Part]] = [(f"{tables}cls_token", Values((1, 1, width), "positions"))]
    if vision.flag("use_mask_token"):
        found.append((f"{tables}mask_token", Values((1, 1, width), "positions")))
    if vision.flag("use_absolute_position_embeddings"):
        positions = PositionTable((1, places(vision) + 1), width)
        found.append((f"{tables}position_embeddings", positions))
    vision.has("image_size")
    return (*found, *patches(vision, name="embeddings.patch_embeddings.projection"))


def internvl_after(vision: Config) -> Named:
    """Return the last norm, which a tower that takes the mean of all patches has not."""
    norm = ((f"{ROOT}layernorm", Norm(width_of(vision), bias=True)),)
    return () if vision.flag("use_mean_pooling") else norm


def two_scales(vision: Config) -> Named:
    """Return a scale behind the attention and one behind the feed-forward part."""
    return tuple((f"lambda_{number}", Values((width_of(vision),), "norm")) for number in (1, 2))


def glm_before(vision: Config) -> Named:
    """Return what stands before the layers of GLM-4V's tower."""
    norm = ((f"{ROOT}post_conv_layernorm", Norm(width_of(vision))),)
    return (*video_patches(vision), *table(vision), *norm)


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


def moonvit_before(vision: Config) -> Named:
    """Return patches of colours and a table of positions with rows and columns."""
    width = width_of(vision)
    sides = vision.size("init_pos_emb_height"), vision.size("init_pos_emb_width")
    return (
        (f"{ROOT}patch_embed.proj", Patches(width, 3, vision.size("patch_size"))),
        (f"{ROOT}patch_embed.pos_emb", PositionTable(sides, width)),
    )


def moonvit_after(vision: Config) -> Named:
    """Return the last norm."""
    return ((f"{ROOT}encoder.final_layernorm", Norm(width_of(vision), bias=True)),)


def table_of(vision: Config) -> Named:
    """Return the table of positions of Qwen3's towers, whose rows are counted in their config."""
    rows = vision.size("num_position_embeddings")
    return ((f"{ROOT}pos_embed", PositionTable((rows,), width_of(vision))),)


def deepstack(vision: Config) -> Layer:
    """Return the mergers behind some layers: what they give is added to the text model's."""
    width = width_of(vision) * vision.size("spatial_merge_size") ** 2
    each = "deepstack.{layer}."
    merger = (
        (f"{each}ln_q", Norm(width, bias=True)),
        (f"{each}mlp.0", Linear(width, width, bias=True)),
        (f"{each}mlp.2", Linear(vision.size("out_hidden_size"), width, bias=True)),
    )
    times = len(vision.whole_numbers("deepstack_visual_indexes"))
    return Layer(merger if times else (), times=times)


# What tells one tower from another


class Tower(NamedTuple):
    """The words in which a tower differs from SigLIP's. A switch is true, false, or the field that says so.

    `layers` is what the family calls its layers, and `parts` what it calls attention, feed-forward part and
    norms. `width` is the field with the width of its stream, `ffn` that with the inner width, or with how
    many times the stream's that is (`times`). `layer_norm` says whether norms have a bias, `gated` whether
    feed-forward parts have three matrices, `qk_norm` whether queries and keys have norms, and `whole_norm`
    that those span all heads. `before` and `after` are what stands before and after the layers, `beside` what
    stands in each of them; with `deepstack` a merger follows some layers, too. `out` is the field that has to
    restate the width of the text model, if there is one; `repeated` are fields that repeat another,
    `restated` those with the one value that is understood, `harmless` those that change no memory.
    """

    layers: str = "encoder.layers"
    parts: tuple[str, ...] = ("self_attn", "mlp", "layer_norm1", "layer_norm2")
    width: str = "hidden_size"
    ffn: str = "intermediate_size"
    times: bool = False
    layer_norm: bool = True
    qkv_bias: Switch = True
    out_bias: Switch = True
    mlp_bias: Switch = True
    qk_norm: Switch = False
    whole_norm: bool = False
    gated: bool = False
    before: Built = vit_before
    beside: Built = none
    after: Built = vit_after
    deepstack: bool = False
    out: str = ""
    repeated: tuple[tuple[str, str], ...] = ()
    restated: tuple[tuple[str, object], ...] = ()
    harmless: tuple[str, ...] = ()


REPEATED = (("in_chans", "in_channels"), ("spatial_patch_size", "patch_size"))  # published, and not read
# what images are scaled to, and a word of SmolVLM that no class reads
SIZES = ("max_image_size", "size", "use_base_siglip")
SIGLIP = Tower(harmless=("projection_dim", "vocab_size", "num_image_tokens", *SIZES))
BLOCKS = Tower(layers="blocks", parts=("attn", "mlp", "norm1", "norm2"))
GLM = BLOCKS._replace(
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
    "siglip_vision_model": SIGLIP,
    "idefics3_vision": SIGLIP._replace(restated=(("vision_use_head", False),)),
    "smolvlm_vision": SIGLIP._replace(restated=(("vision_use_head", False),)),
    "siglip2_vision_model": SIGLIP._replace(before=siglip2_before, harmless=(*SIGLIP.harmless, "image_size")),
    "clip_vision_model": SIGLIP._replace(before=clip_before, restated=(("vision_use_head", False),)),
    "phi4_multimodal_vision": Tower(after=with_head, harmless=("crop_size", "feature_layer")),
    "pixtral": Tower(
        layers="transformer.layers",
        parts=("attention", "feed_forward", "attention_norm", "ffn_norm"),
        layer_norm=False,
        qkv_bias=False,
        out_bias=False,
        mlp_bias=False,
        gated=True,
        before=pixtral_before,
        after=none,
        harmless=("vocab_size", "head_dim", "projection_dim"),
    ),
    "internvl_vision": Tower(
        layers="encoder.layer",
        parts=("attention", "mlp", "layernorm_before", "layernorm_after"),
        qkv_bias="attention_bias",
        qk_norm="use_qk_norm",
        whole_norm=True,
        before=internvl_before,
        beside=two_scales,
        after=internvl_after,
        restated=(("norm_type", "layer_norm"),),
    ),
    "qwen2_vl_vision": BLOCKS._replace(
        width="embed_dim",
        ffn="mlp_ratio",
        times=True,
        before=lambda vision: video_patches(vision, bias=False),
        after=lambda vision: qwen_merger(vision, out="hidden_size", layer_norm=True),
        out="hidden_size",
        repeated=REPEATED,
    ),
    "qwen2_5_vl_vision": BLOCKS._replace(
        layer_norm=False,
        gated=True,
        before=lambda vision: video_patches(vision, bias=False),
        after=lambda vision: qwen_merger(vision, out="out_hidden_size"),
        out="out_hidden_size",
        repeated=REPEATED,
        harmless=("window_size", "fullatt_block_indexes", "tokens_per_second"),
    ),
    "qwen2_5_omni_vision_encoder": BLOCKS._replace(
        layer_norm=False,
        gated=True,
        before=lambda vision: video_patches(vision, bias=False),
        after=lambda vision: qwen_merger(vision, out="out_hidden_size"),
        out="out_hidden_size",
        repeated=REPEATED,
        harmless=("window_size", "fullatt_block_indexes", "tokens_per_second"),
    ),
    "qwen3_omni_moe_vision_encoder": BLOCKS._replace(
        before=lambda vision: (*video_patches(vision), *table_of(vision)),
        after=lambda vision: qwen_merger(vision, out="out_hidden_size", layer_norm=True),
        deepstack=True,
        out="out_hidden_size",
        repeated=REPEATED,
        harmless=("image_size", "apply_vit_abs_pos_embed", "tokens_per_second"),
    ),
    "moonvit": Tower(  # vllm-project/vllm 0.32, vllm/model_executor/models/moonvit.py
        layers="encoder.blocks",
        parts=("attn", "mlp", "norm0", "norm1"),
        before=moonvit_before,
        after=moonvit_after,
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
    for field, other in words.repeated:
        vision.restates(field, vision.value(other))
    for field, value in words.restated:
        vision.restates(field, value)
    for field in words.harmless:
        vision.has(field)
    if words.out and vision.size(words.out) != text_width:
        expected, given = f"{text_width}, the text model's hidden_size", vision.size(words.out)
        raise BadInputError(words.out, expected, given, "correct one of the two")
    norm = Norm(width_of(vision), words.layer_norm)
    inside = (attention(vision, words), feed_forward(vision, words), norm, norm)
    named = (*zip(words.parts, inside, strict=True), *words.beside(vision))
    layer = tuple((f"{ROOT}{words.layers}.{{layer}}.{name}", part) for name, part in named)
    found = (
        Layer(words.before(vision)),
        Layer(layer, times=vision.size("num_hidden_layers")),
        Layer(words.after(vision)),
        *((deepstack(vision),) if words.deepstack else ()),
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
        qk_norm_whole=words.whole_norm,
    )


def feed_forward(vision: Config, words: Tower) -> Part:
    """Return the feed-forward part of a layer."""
    width = width_of(vision)
    inner = vision.size(words.ffn) * (width if words.times else 1)
    return MLP(width, inner, gated=words.gated, bias=switched(vision, words.mlp_bias))
