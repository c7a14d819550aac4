"""What readers share: an attention from head counts, a layer in the usual order, a stack of layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.model import Layer, Model
from memcalc.parts import GQA, MLP, Embedding, Norm

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memcalc.config import Config
    from memcalc.parts import Part

__all__ = ["block", "decoder", "dense", "gqa", "windows"]


def head_counts(config: Config) -> tuple[int, int, int]:
    """Return query heads, key/value heads and the width of one head.

    Raises:
        BadInputError: the counts contradict each other.

    """
    width, heads = config.size("hidden_size"), config.size("num_attention_heads")
    kv_heads = config.size("num_key_value_heads") if config.has("num_key_value_heads") else heads
    if heads % kv_heads:
        remedy = "every key/value head serves the same number of query heads"
        given = f"{kv_heads} for {heads} query heads"
        raise BadInputError("num_key_value_heads", "a divisor of num_attention_heads", given, remedy)
    if config.has("head_dim"):
        return heads, kv_heads, config.size("head_dim")
    if width % heads:
        expected, given = "a divisor of hidden_size, or a head_dim beside it", f"{heads} for {width}"
        raise BadInputError("num_attention_heads", expected, given, "add head_dim to config.json")
    return heads, kv_heads, width // heads


def gqa(config: Config, *, window: int | None = None, biased: bool = False, qk_norm: bool = False) -> GQA:
    """Return the attention that most configs describe; `biased` puts a bias on q, k, v and o."""
    heads, kv_heads, head_dim = head_counts(config)
    width = config.size("hidden_size")
    return GQA(width, heads, kv_heads, head_dim, window, qkv_bias=biased, out_bias=biased, qk_norm=qk_norm)


def dense(config: Config, *, bias: bool = False) -> MLP:
    """Return the gated feed-forward part."""
    return MLP(config.size("hidden_size"), config.size("intermediate_size"), bias=bias)


def windows(config: Config) -> tuple[int | None, ...]:
    """Return each layer's sliding window as Qwen's configs state it: from `max_window_layers` on, if used."""
    depth = config.size("num_hidden_layers")
    kinds = config.words("layer_types", ("full_attention", "sliding_attention"), depth)
    used = config.has("use_sliding_window") and config.flag("use_sliding_window")
    window = config.size("sliding_window") if config.has("sliding_window") and used else None
    if kinds is None:
        first = config.count("max_window_layers") if config.has("max_window_layers") else 28
        return tuple(window if index >= first else None for index in range(depth))
    if "sliding_attention" in kinds and window is None:
        remedy = "a sliding layer needs use_sliding_window and sliding_window"
        raise BadInputError(
            "layer_types", "only full_attention without a window", "sliding_attention", remedy
        )
    return tuple(window if kind == "sliding_attention" else None for kind in kinds)


def block(attention: Part, mlp: Part, width: int) -> Layer:
    """Return a layer with a norm before each of its two parts."""
    return Layer(
        (
            ("self_attn", attention),
            ("mlp", mlp),
            ("input_layernorm", Norm(width)),
            ("post_attention_layernorm", Norm(width)),
        )
    )


def decoder(config: Config, name: str, layers: Iterable[Layer], mtp: tuple[Layer, ...] = ()) -> Model:
    """Return the model: embedding, layers, final norm, and a head unless it is tied to the embedding."""
    width, vocab = config.size("hidden_size"), config.size("vocab_size")
    tied = config.has("tie_word_embeddings") and config.flag("tie_word_embeddings")
    outside: list[tuple[str, Part]] = [
        ("model.embed_tokens", Embedding(vocab, width)),
        ("model.norm", Norm(width)),
    ]
    if not tied:
        outside.append(("lm_head", Embedding(vocab, width, "head")))
    limit = config.size("max_position_embeddings") if config.has("max_position_embeddings") else None
    model_type = str(config.fields["model_type"])
    return Model(
        name, model_type, tuple(layers), tuple(outside), tied, limit, rotary_positions(config, limit), mtp
    )


ROPE_KINDS = ("default", "linear", "dynamic", "yarn", "longrope", "llama3", "proportional")


def rotary_positions(config: Config, limit: int | None) -> int | None:
    """Return the positions for which an engine tabulates sines and cosines: more of them with RoPE scaling.

    YaRN states the length before scaling and longrope tables both lengths; linear and dynamic scaling stretch
    the stated one. Source: vllm-project/vllm, model_executor/layers/rotary_embedding, 2026-11.

    Raises:
        BadInputError: the kind of scaling is unknown, or its numbers cannot be.

    """
    scaling = config.values.get("rope_scaling") or config.values.get("rope_parameters")
    if scaling is None or limit is None:
        return limit
    if not isinstance(scaling, dict):
        raise BadInputError("rope_scaling", "an object, or null", scaling, "correct config.json")
    kind, factor = scaling.get("rope_type", scaling.get("type", "default")), scaling.get("factor", 1)
    if kind not in ROPE_KINDS:
        remedy = "this kind of scaling is not understood, so its table is not counted"
        raise BadInputError("rope_scaling.rope_type", f"one of {', '.join(ROPE_KINDS)}", kind, remedy)
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 1 <= factor <= 2**20:
        raise BadInputError("rope_scaling.factor", "a number from 1 to 2^20", factor, "correct config.json")
    original = scaling.get("original_max_position_embeddings", limit)
    if type(original) is not int or original < 1:
        raise BadInputError(
            "rope_scaling.original_max_position_embeddings",
            "a whole number >= 1",
            original,
            "correct config.json",
        )
    rows = {"yarn": original * factor, "linear": limit * factor, "dynamic": limit * factor}
    return int(rows.get(kind, limit + original if kind == "longrope" else limit))
