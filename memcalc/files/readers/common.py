"""What readers share: attention from head counts, windows, a layer in the usual order, a decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memcalc.errors import BadInputError
from memcalc.ledger import parts  # its names load when they are used: no model has parts of every kind
from memcalc.ledger.model import Layer, Model
from memcalc.ledger.parts.plain import Embedding, Norm, Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TypeVar

    from memcalc.files.config import Config
    from memcalc.ledger.parts import GQA, MLP, MoE

    Kind = TypeVar("Kind")

__all__ = [
    "PRE_NORMS",
    "SANDWICH_NORMS",
    "check_head_width",
    "decoder",
    "decoder_layer",
    "dense_mlp",
    "dense_then_sparse",
    "gqa",
    "moe",
    "mtp_layers",
    "periodic_windows",
    "rope_parameters",
    "rotary_dim",
    "scaled_positions",
    "sliding_window",
    "stack",
    "windows_from_layer",
]


# Parts


def head_counts(config: Config) -> tuple[int, int, int]:
    """Return query heads, key/value heads and the width of one head.

    Raises
    ------
    BadInputError
        The counts contradict each other.

    """
    width, heads = config.size("hidden_size"), config.size("num_attention_heads")
    kv_heads = config.optional("num_key_value_heads") or heads
    if config.is_old_null("num_key_value_heads"):
        config.assumed["num_key_value_heads"] = kv_heads
    if heads % kv_heads:
        remedy = "every key/value head serves the same number of query heads"
        given = f"{kv_heads} for {heads} query heads"
        raise BadInputError("num_key_value_heads", "a divisor of num_attention_heads", given, remedy)
    if config.has("head_dim"):
        return heads, kv_heads, config.size("head_dim")
    if width % heads:
        expected, given = "a divisor of hidden_size, or a head_dim", f"{heads} for {width}"
        raise BadInputError("num_attention_heads", expected, given, "add head_dim to config.json")
    return heads, kv_heads, width // heads


def check_head_width(config: Config) -> None:
    """Refuse a hidden_size that is no multiple of the heads, as some classes do even with a head_dim."""
    width, heads = config.size("hidden_size"), config.size("num_attention_heads")
    if width % heads:
        given = f"{heads} for hidden_size {width}"
        raise BadInputError("num_attention_heads", "a divisor of hidden_size", given, "correct config.json")


def gqa(config: Config, *, biased: bool = False, **variant: Any) -> GQA:
    """Return grouped-query attention as most configs describe it.

    Parameters
    ----------
    config : Config
        Its ``hidden_size``, ``num_attention_heads``, ``num_key_value_heads`` and ``head_dim`` are read.
    biased : bool, default False
        Whether q, k, v and o have a bias.
    **variant
        Further fields of `GQA`, such as ``window``, ``qk_norm`` or ``out_bias``.

    """
    heads, kv_heads, head_dim = head_counts(config)
    how = {"qkv_bias": biased, "out_bias": biased, **variant}
    return parts.GQA(config.size("hidden_size"), heads, kv_heads, head_dim, **how)


def dense_mlp(config: Config, *, bias: bool = False) -> MLP:
    """Return the gated feed-forward part of width ``intermediate_size``."""
    return parts.MLP(config.size("hidden_size"), config.size("intermediate_size"), bias=bias)


def moe(config: Config, experts: str, width: str = "moe_intermediate_size", **variant: Any) -> MoE:
    """Return a mixture of experts.

    Parameters
    ----------
    config : Config
        Its ``hidden_size`` and ``num_experts_per_tok`` are read beside the two fields named here.
    experts : str
        The field that counts the routed experts of a layer, such as ``num_experts``.
    width : str, default "moe_intermediate_size"
        The field with the inner width of one expert.
    **variant
        Further fields of `MoE`, such as ``shared_width``.

    Raises
    ------
    BadInputError
        A token would use more experts than there are.

    """
    number, top_k = config.size(experts), config.size("num_experts_per_tok")
    if top_k > number:
        given = f"{top_k} of {number}"
        raise BadInputError("num_experts_per_tok", f"at most {experts}", given, "correct config.json")
    return parts.MoE(config.size("hidden_size"), config.size(width), number, top_k, **variant)


# Sliding windows


def sliding_window(config: Config) -> int | None:
    """Return ``sliding_window`` in tokens where ``use_sliding_window`` switches it on (Qwen's configs)."""
    window, used = config.value("sliding_window"), config.flag("use_sliding_window")
    return None if window is None or not used else config.size("sliding_window")


def layer_types(config: Config) -> tuple[str, ...] | None:
    """Return each layer's kind of attention where the config lists them."""
    known = ("full_attention", "sliding_attention")
    return config.words("layer_types", known, config.size("num_hidden_layers"))


def windows_from_layer(config: Config) -> tuple[int | None, ...]:
    """Return each layer's window as Qwen's configs state it: from layer ``max_window_layers`` on."""
    depth, window, kinds = config.size("num_hidden_layers"), sliding_window(config), layer_types(config)
    if kinds is None:
        first = config.count("max_window_layers")
        return tuple(window if index >= first else None for index in range(depth))
    return windows_by_layer_type(kinds, window, "a sliding layer needs use_sliding_window and sliding_window")


def periodic_windows(config: Config, period: int) -> tuple[int | None, ...]:
    """Return each layer's window where every `period`-th layer has none, or as ``layer_types`` says."""
    kinds = layer_types(config)
    if kinds is None:
        kinds = tuple(
            "sliding_attention" if (index + 1) % period else "full_attention"
            for index in range(config.size("num_hidden_layers"))
        )
    window = config.optional("sliding_window")
    return windows_by_layer_type(kinds, window, "a sliding layer needs sliding_window")


def windows_by_layer_type(kinds: Sequence[str], window: int | None, remedy: str) -> tuple[int | None, ...]:
    """Return the window of sliding layers and None for the others.

    Raises
    ------
    BadInputError
        There are sliding layers and no window.

    """
    if "sliding_attention" in kinds and window is None:
        raise BadInputError(
            "layer_types", "only full_attention without a window", "sliding_attention", remedy
        )
    return tuple(window if kind == "sliding_attention" else None for kind in kinds)


# Layers


PRE_NORMS = ("input_layernorm", "post_attention_layernorm")
SANDWICH_NORMS = (*PRE_NORMS, "pre_feedforward_layernorm", "post_feedforward_layernorm")


def decoder_layer(attention: Part, mlp: Part, width: int, norms: Sequence[str] = PRE_NORMS) -> Layer:
    """Return a layer of attention, feed-forward part and RMSNorms.

    Parameters
    ----------
    attention, mlp : Part
        The two parts.
    width : int
        Width of the residual stream, which every norm has.
    norms : sequence of str, default PRE_NORMS
        Names of the norms: one before each part, or SANDWICH_NORMS with one behind each as well.

    """
    return Layer((("self_attn", attention), ("mlp", mlp), *((name, Norm(width)) for name in norms)))


def stack(kinds: Iterable[Kind], layer: Callable[[Kind], Layer]) -> list[Layer]:
    """Return the layer of each kind; equal kinds are one object, made once."""
    listed = list(kinds)
    made = {kind: layer(kind) for kind in dict.fromkeys(listed)}
    return [made[kind] for kind in listed]


def dense_then_sparse(config: Config, attention: Part, sparse: MoE) -> list[Layer]:
    """Return the layers of a model whose first ``first_k_dense_replace`` are dense and the others sparse."""
    depth, first = config.size("num_hidden_layers"), config.count("first_k_dense_replace")
    config.has("intermediate_size")  # the width of dense layers: needed only where there are some
    return stack(
        (index < first for index in range(depth)),
        lambda plain: decoder_layer(attention, dense_mlp(config) if plain else sparse, sparse.width),
    )


def mtp_layers(config: Config, attention: Part, sparse: MoE) -> tuple[Layer, ...]:
    """Return the layers for multi-token prediction: a layer, three norms, and what joins two streams.

    Source: DeepSeek-V3, arXiv:2412.19437, section 2.2; embedding and head are those of the model.
    """
    width = sparse.width
    joined = parts.Linear(width, 2 * width)
    extra = (
        ("enorm", Norm(width)),
        ("hnorm", Norm(width)),
        ("eh_proj", joined),
        ("shared_head.norm", Norm(width)),
    )
    layer = Layer((*decoder_layer(attention, sparse, width).parts, *extra))
    ahead = config.count("num_nextn_predict_layers") if config.has("num_nextn_predict_layers") else 0
    return (layer,) * ahead


def decoder(
    config: Config, name: str, layers: Iterable[Layer], mtp: tuple[Layer, ...] = (), *, ties: bool = True
) -> Model:
    """Return the model: embedding, layers, final norm, and a head unless it is tied to the embedding.

    Parameters
    ----------
    config : Config
        Its ``vocab_size``, ``tie_word_embeddings`` and ``max_position_embeddings`` are read.
    name : str
        What answers call the model.
    layers : iterable of Layer
        Its layers, the first one first; equal layers should be one object, as `stack` makes them.
    mtp : tuple of Layer, default ()
        Layers for multi-token prediction, which stand beside the model.
    ties : bool, default True
        Whether the class ties the head where the config says so.

    """
    width, vocab = config.size("hidden_size"), config.size("vocab_size")
    multiple = config.optional("pad_vocab_size_multiple")
    if multiple is not None and vocab % multiple:
        remedy = "whether the vocabulary is padded further is not known: correct one of the two"
        raise BadInputError("pad_vocab_size_multiple", f"a divisor of vocab_size {vocab}", multiple, remedy)
    tied = config.flag("tie_word_embeddings") and ties
    outside: list[tuple[str, Part]] = [
        ("model.embed_tokens", Embedding(vocab, width)),
        ("model.norm", Norm(width)),
    ]
    if not tied:
        outside.append(("lm_head", Embedding(vocab, width, "head")))
    limit = config.optional("max_position_embeddings")
    model_type, rows = str(config.fields["model_type"]), rotary_positions(config, limit)
    return Model(name, model_type, tuple(layers), tuple(outside), tied, limit, rows, mtp)


# Rotary position embedding


ROPE_TYPES = ("default", "linear", "dynamic", "yarn", "longrope", "llama3", "proportional")
# in Phi-3's first configs, and in those of Qwen2-VL, whose rotation in three directions is no scaling
OTHER_NAMES = {"su": "longrope", "mrope": "default"}


def rotary_dim(config: Config) -> int | None:
    """Return how many numbers of a head are rotated, or None for all of them.

    Raises
    ------
    BadInputError
        ``partial_rotary_factor`` is no share of a head.

    """
    stated = config.value("partial_rotary_factor")
    share = (rope_parameters(config) or {}).get("partial_rotary_factor", 1 if stated is None else stated)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        expected = "a number above 0 and at most 1"
        raise BadInputError("partial_rotary_factor", expected, share, "correct config.json")
    return None if share == 1 else int(head_counts(config)[2] * share)


def rope_parameters(config: Config) -> dict[str, Any] | None:
    """Return what the config says of rotation: ``rope_scaling``, or transformers' newer ``rope_parameters``.

    Raises
    ------
    BadInputError
        It is no object.

    """
    stated = config.value("rope_scaling") or config.value("rope_parameters")
    scaling: Any = stated or config.defaults.get("rope_parameters")  # null stands for the class's
    # newer configs of models with windows have an object for each kind of layer
    kinds = scaling.values() if isinstance(scaling, dict) and "full_attention" in scaling else ()
    for part in (scaling, *kinds):
        if part is not None and not isinstance(part, dict):
            raise BadInputError("rope_scaling", "an object, or null", part, "correct config.json")
    return scaling


def rotary_positions(config: Config, limit: int | None) -> int | None:
    """Return the positions for which an engine tabulates sines and cosines: more with RoPE scaling."""
    scaling = rope_parameters(config)
    return limit if scaling is None or limit is None else scaled_positions(config, scaling, limit)


def scaled_positions(config: Config, scaling: dict[str, Any], limit: int) -> int:
    """Return the positions that are tabulated under one scaling.

    YaRN states the length before scaling and longrope tables both lengths; linear and dynamic scaling stretch
    the stated one. Source: vllm-project/vllm, model_executor/layers/rotary_embedding, 2026-11.

    Raises
    ------
    BadInputError
        The kind of scaling is unknown, or its numbers cannot be.

    """
    kind, factor = scaling.get("rope_type", scaling.get("type", "default")), scaling.get("factor", 1)
    kind = OTHER_NAMES.get(str(kind), kind)
    if kind not in ROPE_TYPES:
        remedy = "this kind of scaling is not understood, so its table is not counted"
        raise BadInputError("rope_scaling.rope_type", f"one of {', '.join(ROPE_TYPES)}", kind, remedy)
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 1 <= factor <= 2**20:
        raise BadInputError("rope_scaling.factor", "a number from 1 to 2^20", factor, "correct config.json")
    stated = config.value("original_max_position_embeddings") or limit  # Phi-3 states it outside
    original = scaling.get("original_max_position_embeddings", stated)
    if type(original) is not int or original < 1:
        raise BadInputError(
            "rope_scaling.original_max_position_embeddings",
            "a whole number >= 1",
            original,
            "correct config.json",
        )
    rows = {"yarn": original * factor, "linear": limit * factor, "dynamic": limit * factor}
    return int(rows.get(kind, limit + original if kind == "longrope" else limit))
