"""Kimi Linear: Kimi delta attention in most layers, MLA in the others. Held against transformers 5.23."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.files.readers.common import decoder, decoder_layer, dense_mlp, moe, stack
from memcalc.ledger.parts import MLA, KimiDelta

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memcalc.files.config import Config
    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.parts import Part

__all__ = ["kimi_linear", "kinds_of", "latent_of", "linear_sizes", "stated_inside"]

INSIDE = ("num_heads", "head_dim", "short_conv_kernel_size", "full_attn_layers", "kda_layers")
KINDS = ("linear_attention", "full_attention")


def kimi_linear(config: Config, name: str) -> Model:
    """Read Kimi Linear: no layer is rotated, and the first ones have no experts."""
    config.has("head_dim")  # published, and read by no class
    config.restates("mla_use_nope", True)  # noqa: FBT003 (a value that a field must have)
    config.restates("moe_layer_freq", 1)
    config.restates("tie_word_embeddings", False)  # noqa: FBT003 (the class has a head of its own anyway)
    latent, width = latent_of(config), config.size("hidden_size")
    depth, stated = config.size("num_hidden_layers"), stated_inside(config)
    count, size, kernel = linear_sizes(config, stated)
    delta = KimiDelta(width, count, count, size, size, kernel)
    shared = config.size("n_shared_experts") * config.size("moe_intermediate_size")
    sparse = moe(config, "num_local_experts", shared_width=shared, score_bias=True)
    first = config.count("first_k_dense_replace")
    mlps = config.words("mlp_layer_types", ("dense", "sparse"), depth) or [
        "dense" if index < first else "sparse" for index in range(depth)
    ]

    def layer(kind: tuple[str, str]) -> Layer:
        attention: Part = latent if kind[0] == "full_attention" else delta
        return decoder_layer(attention, dense_mlp(config) if kind[1] == "dense" else sparse, width)

    layers = stack(zip(kinds_of(config, stated, depth), mlps, strict=True), layer)
    return replace(decoder(config, name, layers), rotary_positions=None)


def stated_inside(config: Config, *more: str) -> dict[str, object]:
    """Return the object about linear attention: what else stands in it is refused with the rest."""
    inside = config.nested("linear_attn_config", None)
    inside.read.update((*INSIDE, *more))
    return inside.fields


def latent_of(config: Config) -> MLA:
    """Return the attention of the layers that keep every token."""
    heads = config.size("num_attention_heads")
    config.restates("num_key_value_heads", heads)
    # transformers writes it beside the two when it saves a model
    config.restates("qk_head_dim", config.size("qk_nope_head_dim") + config.size("qk_rope_head_dim"))
    return MLA(
        config.size("hidden_size"),
        heads,
        config.size("kv_lora_rank"),
        config.size("qk_nope_head_dim"),
        config.size("qk_rope_head_dim"),
        config.size("v_head_dim"),
        config.optional("q_lora_rank"),
        bias=config.flag("attention_bias"),
    )


def linear_sizes(config: Config, stated: dict[str, object]) -> tuple[int, int, int]:
    """Return heads, numbers of each, and tokens of the convolution of linear attention."""
    named = (
        ("linear_num_heads", "num_heads"),
        ("linear_head_dim", "head_dim"),
        ("linear_conv_kernel_dim", "short_conv_kernel_size"),
    )
    heads, size, kernel = (linear_size(config, field, stated.get(other), other) for field, other in named)
    return heads, size, kernel


def linear_size(config: Config, field: str, value: object, other: str) -> int:
    """Return a size of linear attention, from its own object or from the field that says the same."""
    if value is None:
        return config.size(field)
    if type(value) is not int or value < 1:
        expected, remedy = "a whole number >= 1", "correct the field in config.json"
        raise BadInputError(f"linear_attn_config.{other}", expected, value, remedy)
    config.restates(field, value)
    return value


def kinds_of(config: Config, stated: dict[str, object], depth: int) -> Sequence[str]:
    """Return the kind of each layer: as listed, or by lists of numbers from 1 on, or every fourth.

    Raises
    ------
    BadInputError
        The two lists do not share the layers between them.

    """
    listed = config.words("layer_types", KINDS, depth)
    full, linear = stated.get("full_attn_layers"), stated.get("kda_layers")
    if listed is not None:
        return listed
    if full is None or linear is None:
        return [KINDS[index > 0 and index % 4 == 0] for index in range(depth)]
    both = [*full, *linear] if isinstance(full, list) and isinstance(linear, list) else []
    if sorted(map(str, both)) != sorted(map(str, range(1, depth + 1))):
        expected, remedy = f"every layer from 1 to {depth} in one of the two lists", "correct config.json"
        raise BadInputError("linear_attn_config", expected, f"{full} and {linear}", remedy)
    return [KINDS[index + 1 in full] for index in range(depth)]  # type: ignore[operator]  # it is a list
