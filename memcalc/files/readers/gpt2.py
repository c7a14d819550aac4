"""GPT-2: learned positions, LayerNorm, biases everywhere. Held against transformers 5.23 in tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.files.readers.common import PRE_NORMS
from memcalc.ledger.model import Layer, Model
from memcalc.ledger.parts import GQA, MLP, Embedding, Norm, PositionTable

if TYPE_CHECKING:
    from memcalc.files.config import Config
    from memcalc.ledger.parts import Part

__all__ = ["gpt2"]

KNOWN = {
    "activation_function": ("gelu_new",),
    "scale_attn_weights": (True,),
    "n_ctx": (),
    "add_cross_attention": (False,),
    "reorder_and_upcast_attn": (False,),
    "scale_attn_by_inverse_layer_idx": (False, True),
}


def gpt2(config: Config, name: str) -> Model:
    """Read GPT-2: as many key/value heads as query heads, a classic feed-forward part 4 times as wide."""
    width, heads, positions = config.size("n_embd"), config.size("n_head"), config.size("n_positions")
    if width % heads:
        raise BadInputError("n_head", "a divisor of n_embd", f"{heads} for {width}", "correct config.json")
    for field, known in KNOWN.items():
        config.restates(field, *(known or (positions,)))
    attention = GQA(width, heads, heads, width // heads, qkv_bias=True, out_bias=True)
    mlp = MLP(width, config.optional("n_inner") or 4 * width, gated=False, bias=True)
    norm = Norm(width, bias=True)
    layer = Layer((("self_attn", attention), ("mlp", mlp), *((each, norm) for each in PRE_NORMS)))
    outside: list[tuple[str, Part]] = [
        ("model.embed_tokens", Embedding(config.size("vocab_size"), width)),
        ("model.embed_positions", PositionTable((positions,), width)),
        ("model.norm", norm),
    ]
    tied = config.flag("tie_word_embeddings")
    if not tied:
        outside.append(("lm_head", Embedding(config.size("vocab_size"), width, "head")))
    layers = (layer,) * config.size("n_layer")
    return Model(name, str(config.fields["model_type"]), layers, tuple(outside), tied, positions, positions)
