"""Which words a model has: those of its type, with what its parts and its config.json say beside."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.training.autograd.architecture import CHUNKS, LIKE_LLAMA, LLAMA, NOT_LISTED, UNLISTED_ACTIVATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memcalc.ledger.model import Model
    from memcalc.training.autograd.architecture import Architecture

__all__ = [
    "COPY_TOKENS",
    "architecture_of",
    "keeps_states",
    "kernels_read_matrices",
    "uses_others",
    "words_of",
]

COPY_TOKENS = frozenset({"gemma4", "gemma4_unified"})  # classes that put padding where images are
BY_LAYER = ("model.embed_tokens_per_layer",)  # a vector of each token for each layer (Gemma 4 E2B)
PROJECTED = ("model.project_in", "model.project_out")  # tokens that are narrower than the stream (OPT 350M)


def words_of(model: Model) -> Architecture:
    """Return the words of a model's type."""
    name = model.text_type or model.model_type
    if name in LIKE_LLAMA:
        return LLAMA
    from memcalc.training.autograd.by_type import ARCHITECTURES

    return ARCHITECTURES.get(name, NOT_LISTED)


def keeps_states(model: Model) -> bool:
    """Say whether some layers of a model keep a state of fixed size instead of tokens."""
    return any(part.counted == "state_depth" for layer in model.groups for _, part in layer.parts)


def kernels_read_matrices(model: Model) -> bool:
    """Say whether the fused kernel of a model's states multiplies by its last matrix, as it is stored."""
    return model.model_type in CHUNKS


def has_more(model: Model) -> bool:
    """Say whether a model has what no words tell: projected tokens, or norms that each head has."""
    apart = any(getattr(part, "apart", False) for layer in model.groups for _, part in layer.parts)
    return apart or any(name in PROJECTED for name, _ in model.outside)


def uses_others(model: Model) -> bool:
    """Say whether layers use keys and values of others, or vectors that are made before the first."""
    borrows = any(getattr(part, "borrows", False) for layer in model.groups for _, part in layer.parts)
    return borrows or any(name in BY_LAYER for name, _ in model.outside)


def known_words(model: Model, *, swept: bool, whole: bool) -> Architecture:
    """Return the words of a model's type, unless the model has what they do not tell.

    In a sweep the length is an unknown, and nobody counts the chunks through which a state goes, or the
    tokens that an indexer chooses. Unless one rank has the model `whole`, layers that use what others made
    are not listed.
    """
    found = words_of(model)
    if found is LLAMA or not found.listed:
        return found
    together = uses_others(model)
    if has_more(model) or (swept and keeps_states(model)) or (together and not whole):
        return NOT_LISTED
    unknown = swept and bool(found.index_rope)
    return replace(
        found,
        together=together,
        listed=not unknown,
        index_rope="" if unknown else found.index_rope,
        handed_on=found.handed_on and not unknown,
    )


def with_activation(found: Architecture, model: Model, fields: Mapping[str, object]) -> Architecture:
    """Return the words of a model like Llama, or GPT-2's, with the activation that its config states."""
    inside = fields.get("text_config")
    text: Mapping[str, object] = inside if isinstance(inside, dict) else fields
    usual = ("gelu_new",) if model.model_type == "gpt2" else ("silu", "swish")
    activation = text.get("activation_function" if model.model_type == "gpt2" else "hidden_act")
    if activation is None or activation in usual:
        return found
    if activation in UNLISTED_ACTIVATIONS:
        return NOT_LISTED
    return replace(found, activation=str(activation))


def architecture_of(
    model: Model,
    fields: Mapping[str, object],
    *,
    swept: bool = False,
    whole: bool = True,
    widens_norms: bool = False,
) -> Architecture:
    """Return the words of a model, with what its config.json says beside.

    `widens_norms`: autocast gives the result of a LayerNorm more bits than the stream has.

    Raises
    ------
    BadInputError
        Such norms give the stream: that of some layers is wider than that of others.

    """
    found = known_words(model, swept=swept, whole=whole)
    if not found.listed:
        return found
    if found is LLAMA:
        return with_activation(found, model, fields)
    from memcalc.training.autograd.by_type import AFTER, as_config_says

    said = as_config_says(found, model, fields)
    if widens_norms and said.branches is AFTER:
        expected = "no, or 32-bit weights, where norms stand behind the branches (do_layer_norm_before false)"
        remedy = "the stream of some layers is wider than that of others, which is not modelled"
        raise BadInputError("--autocast", expected, "yes", remedy)
    return said
