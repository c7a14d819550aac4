"""Step-3.5 and Step-3.7 Flash: windows in layers with more query heads, a gate a head, experts.

Held against transformers 5.23 in tests/oracles; layers for multi-token prediction, which its class leaves
out, as in vllm-project/vllm, model_executor/models/step3p5_mtp.py, commit 8d9b52f, 2026-11.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.files.config_classes import config_class
from memcalc.files.readers.common import (
    check_head_width,
    decoder,
    decoder_layer,
    dense_mlp,
    gqa,
    moe,
    stack,
    windows_by_layer_type,
)
from memcalc.files.readers.step3 import layers_with_experts
from memcalc.files.readers.variants import rotated
from memcalc.files.readers.vision import Kernel, Patches, Values, hidden_size_of, nested_text_model
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import GQA, MLP, Linear, Norm

if TYPE_CHECKING:
    from memcalc.files.config import Config
    from memcalc.ledger.model import Model

__all__ = ["step3p5", "step3p7"]

KINDS = ("full_attention", "sliding_attention")
OF_EXPERTS = ("moe_intermediate_size", "n_routed_experts", "num_experts_per_tok", "share_expert_dim")
INSIDE = "vision_model.transformer.resblocks.{layer}."
# what activations are held to, how many positions a scaling is for, and what a program is called
HARMLESS = (
    "att_impl_type", "max_seq_len", "moe_router_activation", "need_fp32_gate", "norm_expert_weight",
    "query_pre_attn_scalar", "rope_theta", "swiglu_limits", "swiglu_limits_shared", "use_rope_layers",
    "yarn_only_types", "zero_centered",
)  # fmt: skip


def step3p5(config: Config, name: str) -> Model:
    """Read the text model: lists may go on behind its layers, for those of multi-token prediction."""
    for field in HARMLESS:
        config.has(field)
    for field, value in (
        ("use_head_wise_attn_gate", True),
        ("use_moe_router_bias", True),
        ("mlp_bias", False),
    ):
        config.restates(field, value)
    ahead = config.count("num_nextn_predict_layers") if config.has("num_nextn_predict_layers") else 0
    width, depth = config.size("hidden_size"), config.size("num_hidden_layers")
    kinds = listed(config, "layer_types", KINDS, ahead) or (KINDS[0],) * (depth + ahead)
    mixed = mixtures(config, depth + ahead, ahead)
    windows = windows_by_layer_type(kinds, config.optional("sliding_window"), "give sliding_window")
    config.size("num_key_value_heads")  # null is no number of them here
    plain = gqa(config, biased=config.flag("attention_bias"), qk_norm=True)
    heads = (plain.heads, heads_with_window(config, plain))
    same: tuple[object, ...] = ({},) if heads[0] == heads[1] else ()  # the class writes what differs
    config.restates("per_layer_config", heads_of_layers(kinds[:depth], heads[1]), *same)
    for field in ("intermediate_size", *OF_EXPERTS):
        config.has(field)  # sizes of a kind of layer: needed only where there are some
    sparse = None
    if any(mixed):
        shared = config.size("share_expert_dim")
        sparse = moe(config, "n_routed_experts", shared_width=shared, score_bias=True)

    def layer(kind: tuple[int | None, bool]) -> Layer:
        window, routed = kind
        own = heads[window is not None]
        part = replace(
            plain, heads=own, window=window, rope_dim=rotated(config, window, shares[window is None])
        )
        made = decoder_layer(part, sparse if routed and sparse else dense_mlp(config), width)
        return replace(made, parts=(*made.parts, ("self_attn.g_proj", Linear(own, width, cut=True))))

    shares = rotated_shares(config, kinds)
    layers = stack(zip(windows, mixed, strict=False), layer)  # as many as both lists tell of
    extra = (
        ("enorm", Norm(width)),
        ("hnorm", Norm(width)),
        ("eh_proj", Linear(width, 2 * width)),
        ("transformer.shared_head.norm", Norm(width)),
    )
    mtp = tuple(replace(one, parts=(*one.parts, *extra)) for one in layers[depth:])
    model = decoder(config, name, layers[:depth], mtp)
    if len(mtp) < ahead:
        unsaid = f"num_nextn_predict_layers {ahead}: of which kinds they are is not said"
        model = replace(model, not_read=(*model.not_read, unsaid))
    tables = len({window is None for window in windows[:depth]})
    rows = model.rotary_positions
    return model if rows is None else replace(model, rotary_positions=tables * rows)


def listed(config: Config, field: str, known: tuple[str, ...], ahead: int) -> tuple[str, ...] | None:
    """Return a list of a word a layer, those of multi-token prediction behind the others if they are said.

    Published files have one list for both, the class writes two.
    """
    depth, stated, behind = config.size("num_hidden_layers"), config.value(field), f"mtp_{field}"
    both = isinstance(stated, list) and len(stated) == depth + ahead
    found = config.words(field, known, depth + (ahead if both else 0))
    config.has(behind)
    more = config.words(behind, known, ahead) if ahead and not both else None
    return found if found is None else (*found, *(more or ()))


def mixtures(config: Config, every: int, ahead: int) -> tuple[bool, ...]:
    """Return which layers have experts: as listed by words, by numbers, or all from the fourth on."""
    words = listed(config, "mlp_layer_types", ("dense", "sparse"), ahead)
    if words is not None:
        config.has("moe_layers_enum")
        return tuple(word == "sparse" for word in words)
    if config.value("moe_layers_enum") is None:
        return tuple(3 <= index < every - ahead for index in range(every))
    numbers = layers_with_experts(config)
    return tuple(index in numbers for index in range(every))


def heads_with_window(config: Config, plain: GQA) -> int:
    """Return the query heads of layers with a window, which have key/value heads as the others.

    Raises
    ------
    BadInputError
        They do not share the key/value heads evenly, or heads are of another width.

    """
    field, other = "num_sliding_attention_heads", "attention_other_setting"
    inside = config.nested(other, None) if config.has(other) else None
    stated = config.optional(field)
    if inside is not None:
        inside.restates("attention_type", KINDS[1])
        inside.restates("num_attention_groups", plain.kv_heads)
        for width in ("head_dim", "true_head_dim"):
            inside.restates(width, plain.head_dim)
        own = inside.optional("num_attention_heads")
        stated = own if stated is None else stated
    found = plain.heads if stated is None else stated
    if found % plain.kv_heads:
        raise BadInputError(field, f"a multiple of {plain.kv_heads} key/value heads", found, "correct it")
    return found


def heads_of_layers(kinds: tuple[str, ...], heads: int) -> dict[str, dict[str, int]]:
    """Return what the class writes of layers with a window when it saves a model."""
    return {str(at): {"num_attention_heads": heads} for at, kind in enumerate(kinds) if kind == KINDS[1]}


def rotated_shares(config: Config, kinds: tuple[str, ...]) -> tuple[float, float]:
    """Return the share of a head that is rotated in layers with a window, and in the others."""
    stated = config.value("partial_rotary_factors")
    if not isinstance(stated, list) or len(stated) < len(set(kinds)):
        return 1, 1
    first = {kind: stated[at] for at, kind in reversed(list(enumerate(kinds[: len(stated)])))}
    return first.get(KINDS[1], 1), first.get(KINDS[0], 1)


def step3p7(config: Config, name: str) -> Model:
    """Read the text model behind its tower; the class has one of its own, whatever its type is called."""
    inside = config.mapping("text_config")
    if str(inside.get("model_type", "step3")).startswith("step3"):
        config.stated["text_config"] = {**inside, "model_type": "step3p5"}
    model = nested_text_model(config, name, "step3p5")
    for field in ("im_end_token", "im_patch_token", "im_start_token", "image_token_len", "patch_token_len"):
        config.has(field)
    config.has("understand_projector_stride")
    config.restates("hidden_size", hidden_size_of(model))
    return replace(model, vision=tower(config, hidden_size_of(model)))


def tower(config: Config, text_width: int) -> tuple[Layer, ...]:
    """Read the tower: a perception encoder without a token for the whole, and two convolutions behind it."""
    vision = config.nested("vision_config", config_class("step3p5_vision"))
    for field in (
        "model_type",
        "intermediate_size",
        "pool_type",
        "layer_scale_init_value",
        "rope_parameters",
    ):
        vision.has(field)
    for field, value in (
        ("use_cls_token", False),
        ("ues_cls_token", False),
        ("use_ln_post", False),
        ("use_ln_pre", True),
        ("use_abs_posemb", True),
        ("use_rope2d", True),
    ):
        vision.restates(field, value)
    check_head_width(vision)
    width, heads, patch = (
        vision.size(field) for field in ("hidden_size", "num_attention_heads", "patch_size")
    )
    places = (vision.size("image_size") // patch) ** 2
    if not places:
        remedy = "correct one of the two"
        raise BadInputError("vision_config.patch_size", "at most image_size", patch, remedy)
    attention = GQA(width, heads, heads, width // heads, qkv_bias=True, out_bias=True)
    norm, scale = Norm(width, bias=True), Values((width,), "norm")
    inside = (
        ("attn", attention),
        ("mlp", MLP(width, inner_width(vision, width), gated=False, bias=True)),
        *((f"ln_{number}", norm) for number in (1, 2)),
        *((f"ls_{number}.gamma", scale) for number in (1, 2)),
    )
    return (
        Layer(
            (
                ("vision_model.conv1", Patches(width, vision.size("num_channels"), patch, bias=False)),
                ("vision_model.positional_embedding", Values((places, width), "positions")),
                ("vision_model.ln_pre", norm),
            )
        ),
        Layer(
            tuple((f"{INSIDE}{name}", part) for name, part in inside), times=vision.size("num_hidden_layers")
        ),
        Layer(
            (
                ("vision_model.vit_downsampler1", Kernel((2 * width, width, 3, 3), bias=True)),
                ("vision_model.vit_downsampler2", Kernel((4 * width, 2 * width, 3, 3), bias=True)),
                ("vit_large_projector", Linear(text_width, 4 * width, bias=config.flag("projector_bias"))),
            )
        ),
    )


def inner_width(vision: Config, width: int) -> int:
    """Return the inner width, which follows from a ratio whatever ``intermediate_size`` says.

    Raises
    ------
    BadInputError
        The ratio is none.

    """
    ratio = vision.value("mlp_ratio")
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 1 <= width * ratio <= 2**53:
        raise BadInputError("vision_config.mlp_ratio", "a number of widths", ratio, "correct config.json")
    return int(width * ratio)
