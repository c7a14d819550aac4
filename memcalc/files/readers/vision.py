"""Models that see: the text model stands in `text_config`, a vision tower beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.files.readers import read
from memcalc.files.readers.common import refuse_broken_heads
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import GQA, MLP, Norm, Patches

if TYPE_CHECKING:
    from memcalc.files.config import Config
    from memcalc.ledger.model import Model, Named
    from memcalc.ledger.parts import Part

__all__ = ["seeing", "stream_width", "tower"]


def seeing(config: Config, name: str, *text_types: str) -> Model:
    """Return the text model, whose `model_type` is one of `text_types` (the first if it says nothing).

    Whether the head is tied to the embedding is said outside: transformers does not look inside.

    Raises:
        BadInputError: the text model is of another type.

    """
    text = {"model_type": text_types[0], **config.mapping("text_config")}
    if text["model_type"] not in text_types:
        remedy = "another text model under this model_type is not understood"
        raise BadInputError("text_config.model_type", " or ".join(text_types), text["model_type"], remedy)
    text["tie_word_embeddings"] = config.flag("tie_word_embeddings")
    return replace(read(text, name), model_type=str(config.fields["model_type"]))


def stream_width(text: Model) -> int:
    """Return the width of the text model's stream, into which a tower is projected."""
    return next(part.width for name, part in text.outside if name == "model.embed_tokens")  # type: ignore[attr-defined]


def tower(config: Config, channels: int, positions: Part, projection: Named) -> tuple[Layer, ...]:
    """Return a vision tower of the usual kind, LayerNorms and biases everywhere, and its projection."""
    refuse_broken_heads(config)
    width, heads = config.size("hidden_size"), config.size("num_attention_heads")
    patches = Patches(width, channels, config.size("patch_size"))
    attention = GQA(width, heads, heads, width // heads, qkv_bias=True, out_bias=True)
    mlp = MLP(width, config.size("intermediate_size"), gated=False, bias=True)
    norm = Norm(width, bias=True)
    layer: Named = (
        ("vision_tower.layers.{layer}.self_attn", attention),
        ("vision_tower.layers.{layer}.mlp", mlp),
        ("vision_tower.layers.{layer}.input_layernorm", norm),
        ("vision_tower.layers.{layer}.post_attention_layernorm", norm),
    )
    return (
        Layer((("vision_tower.patches", patches), ("vision_tower.positions", positions))),
        Layer(layer, times=config.size("num_hidden_layers")),
        Layer((("vision_tower.norm", norm), *projection)),
    )
