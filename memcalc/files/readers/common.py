"""What readers share: an attention from head counts, a layer in the usual order, a stack of layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memcalc.errors import BadInputError
from memcalc.ledger.model import Layer, Model
from memcalc.ledger.parts import GQA, MLP, Embedding, Linear, MoE, Norm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TypeVar

    from memcalc.files.config import Config
    from memcalc.ledger.parts import Part

    Kind = TypeVar("Kind")

__all__ = [
    "after_dense",
    "block",
    "decoder",
    "dense",
    "gqa",
    "patterned",
    "predictors",
    "refuse_broken_heads",
    "rotated",
    "routed",
    "scaled_positions",
    "stack",
    "used_window",
    "windows",
]


def head_counts(config: Config) -> tuple[int, int, int]:
    """Return query heads, key/value heads and the width of one head.

    Raises:
        BadInputError: the counts contradict each other.

    """
    width, heads = config.size("hidden_size"), config.size("num_attention_heads")
    kv_heads = config.optional("num_key_value_heads") or heads
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


def refuse_broken_heads(config: Config) -> None:
    """Refuse a width that is no multiple of the heads, as some classes do, head_dim or not.

    Raises:
        BadInputError: it is none.

    """
    width, heads = config.size("hidden_size"), config.size("num_attention_heads")
    if width % heads:
        given = f"{heads} for hidden_size {width}"
        raise BadInputError("num_attention_heads", "a divisor of hidden_size", given, "correct config.json")


def gqa(config: Config, *, biased: bool = False, **variant: Any) -> GQA:
    """Return the attention that most configs describe; `biased` puts a bias on q, k, v and o."""
    heads, kv_heads, head_dim = head_counts(config)
    how = {"qkv_bias": biased, "out_bias": biased, **variant}
    return GQA(config.size("hidden_size"), heads, kv_heads, head_dim, **how)


def rotated(config: Config) -> int | None:
    """Return how many numbers of a head are rotated, or None for all of them.

    Raises:
        BadInputError: the factor is no share of a head.

    """
    beside = config.value("partial_rotary_factor")
    share = (rope_fields(config) or {}).get("partial_rotary_factor", 1 if beside is None else beside)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        expected = "a number above 0 and at most 1"
        raise BadInputError("partial_rotary_factor", expected, share, "correct config.json")
    return None if share == 1 else int(head_counts(config)[2] * share)


def dense(config: Config, *, bias: bool = False) -> MLP:
    """Return the gated feed-forward part."""
    return MLP(config.size("hidden_size"), config.size("intermediate_size"), bias=bias)


def routed(config: Config, experts: str, width: str = "moe_intermediate_size", **variant: Any) -> MoE:
    """Return the mixture of experts whose count and width stand in the fields `experts` and `width`.

    Raises:
        BadInputError: a token would use more experts than there are.

    """
    number, top_k = config.size(experts), config.size("num_experts_per_tok")
    if top_k > number:
        given = f"{top_k} of {number}"
        raise BadInputError("num_experts_per_tok", f"at most {experts}", given, "correct config.json")
    return MoE(config.size("hidden_size"), config.size(width), number, top_k, **variant)


def used_window(config: Config) -> int | None:
    """Return the sliding window of Qwen's configs: stated, and used as well."""
    window = config.value("sliding_window")
    return None if window is None or not config.flag("use_sliding_window") else config.size("sliding_window")


def layer_kinds(config: Config) -> tuple[str, ...] | None:
    """Return each layer's kind of attention where the config lists them."""
    return config.words(
        "layer_types", ("full_attention", "sliding_attention"), config.size("num_hidden_layers")
    )


def windows(config: Config) -> tuple[int | None, ...]:
    """Return each layer's sliding window as Qwen's configs state it: from `max_window_layers` on, if used."""
    depth, window, kinds = config.size("num_hidden_layers"), used_window(config), layer_kinds(config)
    if kinds is None:
        first = config.count("max_window_layers")
        return tuple(window if index >= first else None for index in range(depth))
    return of_kinds(kinds, window, "a sliding layer needs use_sliding_window and sliding_window")


def patterned(config: Config, period: int) -> tuple[int | None, ...]:
    """Return each layer's sliding window where every `period`-th layer has none, or as `layer_types` says."""
    kinds = layer_kinds(config)
    if kinds is None:
        kinds = tuple(
            "sliding_attention" if (index + 1) % period else "full_attention"
            for index in range(config.size("num_hidden_layers"))
        )
    return of_kinds(kinds, config.optional("sliding_window"), "a sliding layer needs sliding_window")


def of_kinds(kinds: Sequence[str], window: int | None, remedy: str) -> tuple[int | None, ...]:
    """Return the window of sliding layers and None for the others.

    Raises:
        BadInputError: there are sliding layers and no window.

    """
    if "sliding_attention" in kinds and window is None:
        raise BadInputError(
            "layer_types", "only full_attention without a window", "sliding_attention", remedy
        )
    return tuple(window if kind == "sliding_attention" else None for kind in kinds)


NORMS = ("input_layernorm", "post_attention_layernorm")
SANDWICH = (*NORMS, "pre_feedforward_layernorm", "post_feedforward_layernorm")


def block(attention: Part, mlp: Part, width: int, norms: Sequence[str] = NORMS) -> Layer:
    """Return a layer with a norm before each of its two parts; a SANDWICH has one behind each as well."""
    return Layer((("self_attn", attention), ("mlp", mlp), *((name, Norm(width)) for name in norms)))


def stack(kinds: Iterable[Kind], layer: Callable[[Kind], Layer]) -> list[Layer]:
    """Return the layer of each kind; equal kinds are one object, made once."""
    listed = list(kinds)
    made = {kind: layer(kind) for kind in dict.fromkeys(listed)}
    return [made[kind] for kind in listed]


def after_dense(config: Config, attention: Part, sparse: MoE) -> list[Layer]:
    """Return the layers of a model whose first `first_k_dense_replace` are dense and the others sparse."""
    depth, first = config.size("num_hidden_layers"), config.count("first_k_dense_replace")
    config.has("intermediate_size")  # the width of dense layers: needed only where there are some
    return stack(
        (index < first for index in range(depth)),
        lambda plain: block(attention, dense(config) if plain else sparse, sparse.width),
    )


def predictors(config: Config, attention: Part, sparse: MoE) -> tuple[Layer, ...]:
    """Return the layers for multi-token prediction: a layer, three norms, and what joins two streams.

    Source: DeepSeek-V3, arXiv:2412.19437, section 2.2; embedding and head are those of the model.
    """
    width = sparse.width
    extra = (("enorm", Norm(width)), ("hnorm", Norm(width)), ("eh_proj", Linear(width, 2 * width)))
    parts = (*block(attention, sparse, width).parts, *extra, ("shared_head.norm", Norm(width)))
    ahead = config.count("num_nextn_predict_layers") if config.has("num_nextn_predict_layers") else 0
    return (Layer(parts),) * ahead


def decoder(config: Config, name: str, layers: Iterable[Layer], mtp: tuple[Layer, ...] = ()) -> Model:
    """Return the model: embedding, layers, final norm, and a head unless it is tied to the embedding."""
    width, vocab = config.size("hidden_size"), config.size("vocab_size")
    tied = config.flag("tie_word_embeddings")
    outside: list[tuple[str, Part]] = [
        ("model.embed_tokens", Embedding(vocab, width)),
        ("model.norm", Norm(width)),
    ]
    if not tied:
        outside.append(("lm_head", Embedding(vocab, width, "head")))
    limit = config.optional("max_position_embeddings")
    model_type = str(config.fields["model_type"])
    return Model(
        name, model_type, tuple(layers), tuple(outside), tied, limit, rotary_positions(config, limit), mtp
    )


ROPE_KINDS = ("default", "linear", "dynamic", "yarn", "longrope", "llama3", "proportional")


def rope_fields(config: Config) -> dict[str, Any] | None:
    """Return what the config says of rotation: `rope_scaling`, or transformers' newer `rope_parameters`.

    Raises:
        BadInputError: it is no object.

    """
    stated = config.value("rope_scaling") or config.value("rope_parameters")
    scaling: Any = stated or config.defaults.get("rope_parameters")
    # newer configs of models with windows have an object for each kind of layer
    kinds = scaling.values() if isinstance(scaling, dict) and "full_attention" in scaling else ()
    for part in (scaling, *kinds):
        if part is not None and not isinstance(part, dict):
            raise BadInputError("rope_scaling", "an object, or null", part, "correct config.json")
    return scaling


def rotary_positions(config: Config, limit: int | None) -> int | None:
    """Return the positions for which an engine tabulates sines and cosines: more with RoPE scaling."""
    scaling = rope_fields(config)
    return limit if scaling is None or limit is None else scaled_positions(config, scaling, limit)


def scaled_positions(config: Config, scaling: dict[str, Any], limit: int) -> int:
    """Return the positions that are tabulated under one scaling.

    YaRN states the length before scaling and longrope tables both lengths; linear and dynamic scaling stretch
    the stated one. Source: vllm-project/vllm, model_executor/layers/rotary_embedding, 2026-11.

    Raises:
        BadInputError: the kind of scaling is unknown, or its numbers cannot be.

    """
    kind, factor = scaling.get("rope_type", scaling.get("type", "default")), scaling.get("factor", 1)
    kind = "longrope" if kind == "su" else kind  # its name in Phi-3's first configs
    if kind not in ROPE_KINDS:
        remedy = "this kind of scaling is not understood, so its table is not counted"
        raise BadInputError("rope_scaling.rope_type", f"one of {', '.join(ROPE_KINDS)}", kind, remedy)
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 1 <= factor <= 2**20:
        raise BadInputError("rope_scaling.factor", "a number from 1 to 2^20", factor, "correct config.json")
    beside = config.value("original_max_position_embeddings") or limit  # where Phi-3 states it
    original = scaling.get("original_max_position_embeddings", beside)
    if type(original) is not int or original < 1:
        raise BadInputError(
            "rope_scaling.original_max_position_embeddings",
            "a whole number >= 1",
            original,
            "correct config.json",
        )
    rows = {"yarn": original * factor, "linear": limit * factor, "dynamic": limit * factor}
    return int(rows.get(kind, limit + original if kind == "longrope" else limit))
