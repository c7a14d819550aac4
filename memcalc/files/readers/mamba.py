"""Models with Mamba-2 layers. Held against transformers 5.23 in tests/oracles."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.errors import NOTHING, BadInputError
from memcalc.files.readers.common import decoder, dense_mlp, gqa, moe, stack
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import MLP, Linear, Mamba2, Norm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memcalc.files.config import Config
    from memcalc.ledger.model import Model
    from memcalc.ledger.parts import Part

__all__ = ["bamba", "falcon_h1", "granitemoehybrid", "mamba2", "nemotron_h"]

LINEAR = ("linear_attention", "mamba", "mamba2")  # one kind of layer, under its names
FULL = ("full_attention", "attention")


def mixer(config: Config, inner: int | None, **variant: bool) -> Mamba2:
    """Return the Mamba-2 part of configs whose fields begin with ``mamba_``.

    Raises
    ------
    BadInputError
        The heads do not make up the inner width.

    """
    width, heads = config.size("hidden_size"), config.size("mamba_n_heads")
    config.has("mamba_expand")
    inner = inner or config.size("mamba_expand") * width
    given = config.value("mamba_d_head")
    head_dim = inner // heads if given == "auto" else config.size("mamba_d_head")
    if heads * head_dim != inner:
        expected = f"heads that make up the inner width of {inner}"
        raise BadInputError("mamba_n_heads", expected, f"{heads} of {head_dim}", "correct config.json")
    config.has("mamba_chunk_size")  # how many tokens are worked on together
    biased = config.flag("mamba_proj_bias")
    how = {"in_bias": biased, "out_bias": biased, "conv_bias": config.flag("mamba_conv_bias"), **variant}
    kernel, state = config.size("mamba_d_conv"), config.size("mamba_d_state")
    groups = config.size("mamba_n_groups")
    if heads % groups:
        given = f"{groups} for {heads} heads"
        raise BadInputError("mamba_n_groups", "a divisor of mamba_n_heads", given, "correct config.json")
    return Mamba2(width, kernel, heads, head_dim, state, groups, **how)


# sizes of a layer with Mamba-2, or with attention: needed only where there are some
MIXERS = (
    *("mamba_n_heads", "mamba_d_head", "mamba_n_groups", "mamba_d_state", "mamba_d_conv", "mamba_expand"),
    *("mamba_conv_bias", "mamba_proj_bias", "mamba_chunk_size", "num_attention_heads", "num_key_value_heads"),
    *("head_dim", "attention_bias"),
)


def alternating(
    config: Config, attends: Sequence[bool], mlp: Sequence[tuple[str, Part]], second: str
) -> list[Layer]:
    """Return layers that attend or have Mamba-2, with the same feed-forward part in all, and two norms."""
    for field in MIXERS:
        config.has(field)
    norms = (
        ("input_layernorm", Norm(config.size("hidden_size"))),
        (second, Norm(config.size("hidden_size"))),
    )

    def layer(attending: bool) -> Layer:  # noqa: FBT001 (it is the kind of layer)
        if attending:
            return Layer((("self_attn", gqa(config, biased=config.flag("attention_bias"))), *mlp, *norms))
        return Layer((("mamba", mixer(config, None)), *mlp, *norms))

    return stack(attends, layer)


def bamba(config: Config, name: str) -> Model:
    """Read Bamba: Mamba-2, or attention in `attn_layer_indices`, and a feed-forward part in each layer."""
    where = config.whole_numbers("attn_layer_indices")
    attends = [index in where for index in range(config.size("num_hidden_layers"))]
    mlp = (("feed_forward", dense_mlp(config, bias=config.flag("mlp_bias"))),)
    config.has("num_logits_to_keep")
    return decoder(config, name, alternating(config, attends, mlp, "pre_ff_layernorm"))


def falcon_h1(config: Config, name: str) -> Model:
    """Read Falcon-H1: attention and Mamba-2 side by side in every layer."""
    for field, value in (("mamba_use_mlp", True), ("mlp_expansion_factor", 8)):
        config.restates(field, value)  # all files say so, whatever their intermediate_size is
    width, attention = config.size("hidden_size"), gqa(config, biased=config.flag("attention_bias"))
    out, normed = config.flag("projectors_bias"), config.flag("mamba_rms_norm")
    state = mixer(config, config.optional("mamba_d_ssm"), out_bias=out, normed=normed)
    mlp = dense_mlp(config, bias=config.flag("mlp_bias"))
    for field in ("mamba_norm_before_gate", "num_logits_to_keep", "mlp_multipliers", "ssm_multipliers"):
        config.has(field)  # the order of operations, and factors between them
    norm = Norm(width)
    parts = (("mamba", state), ("self_attn", attention), ("feed_forward", mlp))
    layer = Layer((*parts, ("input_layernorm", norm), ("pre_ff_layernorm", norm)))
    return decoder(config, name, [layer] * config.size("num_hidden_layers"))


def granitemoehybrid(config: Config, name: str) -> Model:
    """Read Granite 4: Mamba-2 or attention, and shared and routed experts, or the shared ones alone."""
    depth = config.size("num_hidden_layers")
    config.restates("position_embedding_type", "rope", "nope")
    kinds = config.words("layer_types", (*LINEAR, *FULL), depth) or ("mamba",) * depth
    attends = [kind in FULL for kind in kinds]
    shared = config.size("shared_intermediate_size")
    mlp: list[tuple[str, Part]]
    if config.count("num_local_experts"):
        sparse = moe(config, "num_local_experts", "intermediate_size", shared_width=shared)
        mlp = [("mlp", sparse)]
    else:
        config.has("num_experts_per_tok")
        config.has("intermediate_size")
        mlp = [("mlp.shared_experts", MLP(config.size("hidden_size"), shared))]
    return decoder(config, name, alternating(config, attends, mlp, "post_attention_layernorm"))


def mamba2(config: Config, name: str) -> Model:
    """Read Mamba-2: nothing else in any layer."""
    width, heads, head_dim = config.size("hidden_size"), config.size("num_heads"), config.size("head_dim")
    config.restates("intermediate_size", heads * head_dim)
    config.restates("rms_norm", True)  # noqa: FBT003 (the class has the norm whatever it says)
    config.has("norm_before_gate")
    if config.size("expand") * width != heads * head_dim:
        expected, given = "heads that make up expand x hidden_size", f"{heads} of {head_dim}"
        raise BadInputError("num_heads", expected, given, "correct config.json")
    for field in ("chunk_size", "time_step_rank"):
        config.has(field)
    biased, kernel = config.flag("use_bias"), config.size("conv_kernel")
    state, groups = config.size("state_size"), config.size("n_groups")
    how = {"conv_bias": config.flag("use_conv_bias"), "in_bias": biased, "out_bias": biased}
    part = Mamba2(width, kernel, heads, head_dim, state, groups, **how)
    layer = Layer((("mixer", part), ("norm", Norm(width))))
    return decoder(config, name, [layer] * config.size("num_hidden_layers"))


PATTERN = {"M": "linear_attention", "*": "full_attention", "-": "mlp", "E": "moe"}


# sizes of one kind of layer: needed only where there are some
ONE_KIND = (
    *("intermediate_size", "mlp_bias", "moe_intermediate_size", "moe_shared_expert_intermediate_size"),
    *("n_routed_experts", "n_shared_experts", "num_experts_per_tok", "moe_latent_size", "n_groups", "expand"),
    *("mamba_num_heads", "mamba_head_dim", "ssm_state_size", "conv_kernel", "use_bias", "use_conv_bias"),
    *("mamba_proj_bias", "num_attention_heads", "num_key_value_heads", "head_dim", "attention_head_dim"),
    *("attention_bias", "sliding_window"),
)
# how it starts, and how it is computed
NOT_SHAPES = (
    *("num_logits_to_keep", "use_mamba_kernels", "rescale_prenorm_residual", "moe_shared_expert_overlap"),
    *("chunk_size", "time_step_rank", "partial_rotary_factor"),
)


def nemotron_h(config: Config, name: str) -> Model:
    """Read Nemotron-H and Nemotron 3: each layer is Mamba-2, attention, a feed-forward part, or experts."""
    made = {"linear_attention": nemotron_mixer, "full_attention": nemotron_attention}
    made |= {"moe": nemotron_experts, "mlp": nemotron_mlp}
    for field in (*ONE_KIND, *NOT_SHAPES):
        config.has(field)
    config.restates("mamba_ssm_cache_dtype", "auto", "float32", "bfloat16", "float16")  # engines read it
    config.restates("tie_word_embeddings", False)  # noqa: FBT003 (the class has a head of its own anyway)
    norm = Norm(config.size("hidden_size"))

    def layer(kind: str) -> Layer:
        return Layer((*made[kind](config), ("norm", norm)))

    kinds = pattern(config, "layers_block_type", "hybrid_override_pattern")
    depth = config.optional("num_hidden_layers")
    if depth is not None and depth != len(kinds):
        given, remedy = f"{len(kinds)} for {depth} layers", "correct one of the two"
        raise BadInputError("hybrid_override_pattern", "a letter a layer", given, remedy)
    said = config.stated.get("mamba_ssm_cache_dtype") or ""
    model = replace(decoder(config, name, stack(kinds, layer)), state_dtype=str(said))
    ahead = config.count("num_nextn_predict_layers") if config.has("num_nextn_predict_layers") else 0
    config.has("mtp_layers_block_type")
    config.has("mtp_hybrid_override_pattern")
    if not ahead:
        return model
    after = pattern(config, "mtp_layers_block_type", "mtp_hybrid_override_pattern")
    width = norm.width
    ends = (("enorm", norm), ("hnorm", norm), ("eh_proj", Linear(width, 2 * width)))
    parts = [layer(kind).parts for kind in after]
    parts[0] = (*ends, *parts[0])
    parts[-1] = (*parts[-1], ("final_layernorm", norm))
    return replace(model, mtp=tuple(Layer(tuple(each)) for each in parts) * ahead)


def pattern(config: Config, listed: str, letters: str) -> list[str]:
    """Return the kind of each layer, by a list or by a string of letters.

    Raises
    ------
    BadInputError
        A letter or a word is not known.

    """
    words, text = config.value(listed), config.value(letters)
    if words is None and isinstance(text, str):
        words = [PATTERN.get(letter, letter) for letter in text]
    kinds = words if isinstance(words, list) else []
    names = {**dict.fromkeys(LINEAR, "linear_attention"), **dict.fromkeys(FULL, "full_attention")}
    found = [names.get(kind, str(kind)) for kind in kinds]
    if not found:
        raise BadInputError(letters, "a letter a layer", NOTHING, "add it: M, *, - and E are understood")
    for kind in found:
        if kind not in PATTERN.values():
            remedy = "this kind of layer is not understood, so nothing is counted"
            raise BadInputError(letters, "only M, *, - and E", kind, remedy)
    return found


def nemotron_mixer(config: Config) -> tuple[tuple[str, Part], ...]:
    """Return Mamba-2 as Nemotron's fields describe it; `expand` says nothing of it."""
    config.has("expand")
    biased, heads = config.flag("use_bias"), config.size("mamba_num_heads")
    config.restates("mamba_proj_bias", biased)
    how = {"conv_bias": config.flag("use_conv_bias"), "in_bias": biased, "out_bias": biased}
    head_dim, state, groups = map(config.size, ("mamba_head_dim", "ssm_state_size", "n_groups"))
    width, kernel = config.size("hidden_size"), config.size("conv_kernel")
    return (("mixer", Mamba2(width, kernel, heads, head_dim, state, groups, **how)),)


def nemotron_attention(config: Config) -> tuple[tuple[str, Part], ...]:
    """Return attention, which is not rotated, and has no bias whatever the config says."""
    config.has("attention_bias")
    config.restates("sliding_window")
    if config.has("attention_head_dim"):
        config.restates("attention_head_dim", config.size("head_dim"))
    return (("mixer", gqa(config, rope_dim=0)),)


def nemotron_mlp(config: Config) -> tuple[tuple[str, Part], ...]:
    """Return a feed-forward part of two matrices."""
    width, inner = config.size("hidden_size"), config.size("intermediate_size")
    return (("mixer", MLP(width, inner, gated=False, bias=config.flag("mlp_bias"))),)


def nemotron_experts(config: Config) -> tuple[tuple[str, Part], ...]:
    """Return experts of two matrices; with `moe_latent_size` they see the stream through a narrower one.

    Nemotron 3 Super and Ultra: the latent is made once for all experts of a token, and the shared expert sees
    the stream itself.
    """
    width, latent = config.size("hidden_size"), config.optional("moe_latent_size")
    config.restates("n_shared_experts", 1)
    config.restates("mlp_bias", False)  # noqa: FBT003 (experts have none, the shared one would: not published)
    shared = config.size("moe_shared_expert_intermediate_size")
    sparse = moe(config, "n_routed_experts", gated=False, score_bias=True, shared_width=shared, latent=latent)
    if latent is None:
        return (("mixer", sparse),)
    down, up = Linear(latent, width), Linear(width, latent)
    return (("mixer", sparse), ("mixer.fc1_latent_proj", down), ("mixer.fc2_latent_proj", up))
