"""Gemma 4 and its vision tower. Held against transformers 5.23 in tests/oracles."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from memcalc.errors import BadInputError
from memcalc.files.config_classes import config_class
from memcalc.files.readers.audio import conformer
from memcalc.files.readers.common import (
    SANDWICH_NORMS,
    decoder,
    decoder_layer,
    rope_parameters,
    scaled_positions,
    stack,
)
from memcalc.files.readers.vision import Values, hidden_size_of, nested_text_model
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import GQA, MLP, Embedding, Linear, MoE, Norm, Part, PositionTable

if TYPE_CHECKING:
    from memcalc.files.config import Config
    from memcalc.ledger.model import Model, Named

__all__ = ["gemma4", "gemma4_text", "gemma4_unified"]

KINDS = ("full_attention", "sliding_attention")


def gemma4_text(config: Config, name: str) -> Model:
    """Read Gemma 4's text model: layers without a window have wider heads, and may have keys for values.

    The last `num_kv_shared_layers` borrow the keys and values of earlier ones. Small models look every token
    up a second time, for a short vector of each layer; some have experts beside the feed-forward part.
    """
    config.restates("use_bidirectional_attention", "vision")
    kinds, borrowing = kinds_of_layers(config), config.count("num_kv_shared_layers")
    width, per_layer = config.size("hidden_size"), "hidden_size_per_layer_input"
    each = config.count(per_layer) if per_layer in config.defaults else 0  # Gemma 4 without towers has none
    own = len(kinds) - borrowing
    wide = 2 if config.flag("use_double_wide_mlp") else 1
    beside: list[tuple[str, object]] = [("layer_scalar", Values((1,)))]
    if each:
        beside += [
            ("per_layer_input_gate", Linear(each, width)),
            ("per_layer_projection", Linear(width, each)),
        ]
        beside += [("post_per_layer_input_norm", Norm(width))]
    beside += experts_beside(config)

    single = single_layers(config)

    def layer(kind: tuple[str, bool, tuple[tuple[str, int], ...] | None]) -> Layer:
        mlp = MLP(width, config.size("intermediate_size") * (wide if kind[1] else 1))
        parts = decoder_layer(attention(config, *kind), mlp, width, SANDWICH_NORMS).parts
        return Layer((*parts, *beside))  # type: ignore[arg-type]

    stated = [
        None if single is None else tuple(single.get(str(index), {}).items()) for index in range(len(kinds))
    ]
    layers = stack(zip(kinds, (index >= own for index in range(len(kinds))), stated, strict=True), layer)
    model = with_tables(config, decoder(config, name, layers), kinds)
    config.has("vocab_size_per_layer_input")
    return with_per_layer_tables(config, model, each) if each else model


def with_per_layer_tables(config: Config, model: Model, each: int) -> Model:
    """Return the model with what gives every layer a short vector of a token of its own, `each` numbers."""
    vocab, depth = config.size("vocab_size_per_layer_input"), model.depth
    tables: Named = (
        ("model.embed_tokens_per_layer", Embedding(vocab, depth * each, "positions")),
        ("model.per_layer_model_projection", Linear(depth * each, config.size("hidden_size"))),
        ("model.per_layer_projection_norm", Norm(each)),
    )
    return replace(model, outside=(*model.outside, *tables))


def single_layers(config: Config) -> dict[str, dict[str, int]] | None:
    """Return what transformers writes of single layers when it saves a model; None where it did not.

    Then the fields for layers without a window are not in the file: what is not listed is as in all layers.

    Raises
    ------
    BadInputError
        It says something of a layer that is not understood.

    """
    if not config.has("per_layer_config"):
        return None
    found: dict[str, dict[str, int]] = {}
    for index, stated in config.mapping("per_layer_config").items():
        sizes: dict[str, Any] = stated if isinstance(stated, dict) else {"": stated}
        known = sizes.keys() <= {"head_dim", "num_key_value_heads"}
        if not known or not all(type(size) is int and size > 0 for size in sizes.values()):
            expected = "head_dim and num_key_value_heads of single layers"
            remedy = "what else differs from layer to layer is not understood"
            raise BadInputError(f"per_layer_config.{index}", expected, stated, remedy)
        found[index] = sizes
    return found


def kinds_of_layers(config: Config) -> list[str]:
    """Return the kind of each layer; the class sees to it that the last one has no window."""
    depth = config.size("num_hidden_layers")
    stated = config.words("layer_types", KINDS, depth)
    kinds = list(stated or (KINDS[(index + 1) % 6 > 0] for index in range(depth)))
    kinds[-1] = "full_attention"
    check_borrowing(kinds, config.count("num_kv_shared_layers"))
    return kinds


def check_borrowing(kinds: list[str], borrowing: int) -> None:
    """Refuse layers that would borrow from a kind of layer that none before them is."""
    if borrowing and set(kinds[: max(len(kinds) - borrowing, 0)]) != set(kinds):
        expected = "layers before them of every kind that borrows"
        remedy = "correct config.json; there must be somebody to borrow from"
        raise BadInputError("num_kv_shared_layers", expected, f"{borrowing} of {len(kinds)}", remedy)


def attention(
    config: Config,
    kind: str,
    borrows: bool,  # noqa: FBT001 (one of the things that tell layers apart)
    stated: tuple[tuple[str, int], ...] | None,
) -> GQA:
    """Return the attention of a kind of layer; `stated` is what the file says of this layer alone."""
    full, same = kind == "full_attention", config.flag("attention_k_eq_v")
    heads, kv_heads = config.size("num_attention_heads"), config.size("num_key_value_heads")
    fewer = config.optional("num_global_key_value_heads")
    if full and same and fewer is not None and stated is None:
        kv_heads = fewer
    kv_heads = dict(stated or ()).get("num_key_value_heads", kv_heads)
    if heads % kv_heads:
        given, remedy = f"{kv_heads} for {heads} query heads", "correct config.json"
        raise BadInputError("num_key_value_heads", "a divisor of num_attention_heads", given, remedy)
    widths, window = (config.size("head_dim"), config.size("global_head_dim")), config.size("sliding_window")
    biased = config.flag("attention_bias")
    wide = widths[full] if stated is None else dict(stated).get("head_dim", widths[0])
    return GQA(
        config.size("hidden_size"),
        heads,
        kv_heads,
        wide,
        window=None if full else window,
        qkv_bias=biased,
        out_bias=biased,
        qk_norm=True,
        keys_are_values=full and same,
        borrows=borrows,
    )


def experts_beside(config: Config) -> list[tuple[str, object]]:
    """Return experts that stand beside the feed-forward part of a layer, if there are some."""
    for field in ("num_experts", "top_k_experts", "moe_intermediate_size", "expert_intermediate_size"):
        config.has(field)  # the last is an older name, which the class does not read
    if not config.flag("enable_moe_block"):
        return []
    width, experts, top_k = (config.size(name) for name in ("hidden_size", "num_experts", "top_k_experts"))
    if top_k > experts:
        raise BadInputError(
            "top_k_experts", "at most num_experts", f"{top_k} of {experts}", "correct config.json"
        )
    names = ("post_feedforward_layernorm_1", "post_feedforward_layernorm_2", "pre_feedforward_layernorm_2")
    return [
        ("moe", MoE(width, config.size("moe_intermediate_size"), experts, top_k, normed=True)),
        ("router.scale", Values((width,), "norm")),
        ("router.per_expert_scale", Values((experts,), "bias")),
        *((name, Norm(width)) for name in names),
    ]


def with_tables(config: Config, model: Model, kinds: list[str]) -> Model:
    """Return the model with sines and cosines for each kind of layer, which is rotated in its own way."""
    if model.max_context is None:
        return model
    scaling = rope_parameters(config) or {}
    rows = (scaled_positions(config, scaling.get(kind, {}), model.max_context) for kind in sorted(set(kinds)))
    return replace(model, rotary_positions=sum(rows))


def gemma4(config: Config, name: str) -> Model:
    """Read Gemma 4: the text model, and its vision and audio towers where there are some."""
    config.has("vision_soft_tokens_per_image")  # how many vectors an image gives
    text = nested_text_model(config, name, "gemma4_text")
    width = hidden_size_of(text)
    sees = tower(config, width) if config.has("vision_config") else ()
    audio = conformer(config, width) if config.has("audio_config") else ()
    return replace(text, vision=(*sees, *audio))


def gemma4_unified(config: Config, name: str) -> Model:
    """Read Gemma 4 without towers: patches and pieces of sound go through a few matrices."""
    config.has("vision_soft_tokens_per_image")
    text = nested_text_model(config, name, "gemma4_unified_text")
    width = hidden_size_of(text)
    found: list[tuple[str, Part]] = []
    if config.has("vision_config"):
        vision = config.nested("vision_config", config_class("gemma4_unified_vision"))
        vision.restates("model_type", "gemma4_unified_vision")
        inner, out = vision.size("mm_embed_dim"), vision.size("output_proj_dims")
        side = vision.size("patch_size") * vision.size("pooling_kernel_size")
        vision.restates("model_patch_size", side)
        points, seen = 3 * side**2, "vision_embedder."
        found += [
            (f"{seen}patch_ln1", Norm(points, bias=True)),
            (f"{seen}patch_dense", Linear(inner, points, bias=True)),
            (f"{seen}patch_ln2", Norm(inner, bias=True)),
            (f"{seen}pos_embedding", PositionTable((vision.size("mm_posemb_size"), 2), inner)),
            (f"{seen}pos_norm", Norm(inner, bias=True)),
            ("embed_vision.embedding_projection", Linear(width, out)),
        ]
    if config.has("audio_config"):
        audio = config.nested("audio_config", config_class("gemma4_unified_audio"))
        audio.restates("model_type", "gemma4_unified_audio")
        samples = audio.size("audio_embed_dim")
        for field in ("hidden_size", "output_proj_dims", "audio_samples_per_token"):
            audio.restates(field, samples)
        found.append(("embed_audio.embedding_projection", Linear(width, samples)))
    return replace(text, vision=(Layer(tuple(found)),) if found else ())


def tower(config: Config, text_width: int) -> tuple[Layer, ...]:
    """Read the vision tower: gated feed-forward parts, norms of queries and keys, two tables of positions."""
    vision = config.nested("vision_config", config_class("gemma4_vision"))
    vision.restates("model_type", "gemma4_vision")
    # how many vectors an image gives, and what no matrix of the class depends on
    for field in ("default_output_length", "pooling_kernel_size", "max_position_embeddings"):
        vision.has(field)
    for field in ("global_head_dim", "attention_bias"):
        vision.has(field)
    width = vision.size("hidden_size")
    heads, kv_heads = vision.size("num_attention_heads"), vision.size("num_key_value_heads")
    attention = GQA(width, heads, kv_heads, vision.size("head_dim"), qk_norm=True)
    layer = decoder_layer(attention, MLP(width, vision.size("intermediate_size")), width, SANDWICH_NORMS)
    inside = [(f"vision_tower.layers.{{layer}}.{part}", each) for part, each in layer.parts]
    if vision.flag("use_clipped_linears"):  # four limits for each matrix
        inside += [
            (f"vision_tower.layers.{{layer}}.{matrix}_proj.{side}_{end}", Values(()))
            for matrix in (
                "self_attn.q",
                "self_attn.k",
                "self_attn.v",
                "self_attn.o",
                "mlp.gate",
                "mlp.up",
                "mlp.down",
            )
            for side in ("input", "output")
            for end in ("min", "max")
        ]
    ends = ("std_bias", "std_scale") if vision.flag("standardize") else ()
    positions = PositionTable((2, vision.size("position_embedding_size")), width)
    return (
        Layer(
            (
                ("vision_tower.patches", Linear(width, 3 * vision.size("patch_size") ** 2)),
                ("vision_tower.positions", positions),
            )
        ),
        Layer(tuple(inside), times=vision.size("num_hidden_layers")),
        Layer(
            (
                *((f"vision_tower.{end}", Values((width,))) for end in ends),
                ("embed_vision.embedding_projection", Linear(text_width, width)),
            )
        ),
    )
