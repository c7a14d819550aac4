"""Mistral Large 4: latents that later layers read again, and an indexer. Held against transformers 5.23."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.errors import BadInputError
from memcalc.files.readers.common import decoder, decoder_layer, dense_mlp, rope_parameters, stack
from memcalc.files.readers.deepseek import latent_attention, layers_with_indexer
from memcalc.files.readers.mistral3 import pixtral
from memcalc.files.readers.variants import experts, listed_dense, pass_over_widths
from memcalc.files.readers.vision import Values, hidden_size_of, nested_text_model
from memcalc.ledger.parts import MLA, Indexer, Norm
from memcalc.ledger.parts.kinds import is_gqa
from memcalc.ledger.tensor import Tensor, under

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.files.config import Config
    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.parts.plain import Kept

__all__ = ["mistral_large4", "mistral_large4_text"]


ROUTER = (("mlp.gate.weight", "fp32"),)  # kept there whatever the model's dtype


def scaling(heads: int) -> Iterator[Tensor]:
    """Yield two numbers a head, by which queries grow with the logarithm of their position."""
    yield Tensor("softmax_scaling.scale", (heads,), "norm")
    yield Tensor("softmax_scaling.bias", (heads,), "bias")


@record
class SharedLatent(MLA):
    """Latent attention that may read the latents of an earlier layer: then it makes and keeps none.

    >>> part = SharedLatent(width=8, heads=2, kv_rank=4, nope_dim=3, rope_dim=2, value_dim=5, borrows=True)
    >>> [tensor.name for tensor in part.weights()][:3]
    ['q_proj.weight', 'kv_b_proj.weight', 'o_proj.weight']
    """

    borrows: bool = False

    def weights(self) -> Iterator[Tensor]:
        """Yield the tensors, those of the latent only where it is its own."""
        made = ("kv_a_proj_with_mqa.", "kv_a_layernorm.") if self.borrows else ()
        yield from (one for one in super().weights() if not one.name.startswith(made))
        yield from scaling(self.heads)

    def cache(self, batch: int, context: int, kept: Kept) -> Iterator[Tensor]:
        """Yield what is kept of the tokens: no rotated keys where the layer does not rotate."""
        none = () if self.rope_dim else ("rotated_key",)
        yield from (one for one in super().cache(batch, context, kept) if one.name not in none)


@record
class NormedIndexer(Indexer):
    """An indexer whose queries come from the stream, through a LayerNorm, where queries have no latent.

    >>> part = NormedIndexer(width=8, q_rank=8, index_heads=2, index_dim=4)
    >>> sum(tensor.count for tensor in part.weights())
    140
    """

    def weights(self) -> Iterator[Tensor]:
        """Yield the tensors, the norm of the queries' input and what scales them."""
        yield from super().weights()
        yield from under("q_input_norm", Norm(self.q_rank, bias=True).weights())
        yield from scaling(self.index_heads)


def mistral_large4(config: Config, name: str) -> Model:
    """Read Mistral Large 4: the text model, and Pixtral before it, whose files have rotated pairs in turn.

    Raises
    ------
    BadInputError
        Heads of the tower have no pairs.

    """
    text = nested_text_model(config, name, "mistral_large4_text")
    vision = pixtral(config, hidden_size_of(text))
    for head_dim in (part.head_dim for layer in vision for _, part in layer.parts if is_gqa(part)):
        if head_dim % 2:
            field, remedy = "vision_config.num_attention_heads", "correct config.json"
            raise BadInputError(field, "heads with an even number of values", head_dim, remedy)
    return replace(text, vision=vision)


def mistral_large4_text(config: Config, name: str) -> Model:
    """Read the text model: some layers do not rotate, some read another's latents, some look where it did.

    Layers that do not rotate have heads and latents of the same width: what would be rotated is not.
    """
    config.restates("q_lora_rank")  # queries have no low-rank form, whatever is said
    config.has("index_topk")  # how many tokens are looked at: all are kept
    config.has("final_logit_softcapping")
    depth, width = config.size("num_hidden_layers"), config.size("hidden_size")
    config.words("layer_types", ("indexed_attention", "deepseek_sparse_attention"), depth)
    config.restates("num_experts", config.size("n_routed_experts"))  # the class takes it for the same
    rotates, dense = rotating_layers(config, depth), listed_dense(config)
    pass_over_widths(config)
    sparse = None if all(dense) else experts(config, "n_routed_experts", "n_shared_experts")
    attention = SharedLatent(**vars(latent_attention(config)))
    flat = replace(attention, nope_dim=attention.nope_dim + attention.rope_dim, rope_dim=0)
    indexer = NormedIndexer(width, width, config.size("index_n_heads"), config.size("index_head_dim"))

    def layer(kind: tuple[bool, bool, bool, bool]) -> Layer:
        plain, rotated, borrows, looks = kind
        own = replace(attention if rotated else flat, borrows=borrows)
        made = decoder_layer(own, dense_mlp(config) if plain or sparse is None else sparse, width)
        beside = (("self_attn.indexer", indexer),) if looks else ()
        return replace(made, parts=(*made.parts, *beside), formats=() if plain else ROUTER)

    kinds = zip(
        dense, rotates, borrowing_layers(config, rotates), layers_with_indexer(config, depth), strict=True
    )
    model = decoder(config, name, stack(kinds, layer))
    alpha = Values((rotated_pairs(config),))
    return replace(model, outside=(*model.outside, ("model.rotary_emb.alpha", alpha)))


def rotated_pairs(config: Config) -> int:
    """Return how many frequencies are scaled, each by a number of the checkpoint's.

    Raises
    ------
    BadInputError
        Not all of the numbers that are to be rotated are, or they are odd.

    """
    rotated = config.size("qk_rope_head_dim")
    share = (rope_parameters(config) or {}).get("partial_rotary_factor", 1)
    if share != 1 or rotated % 2:
        field = "qk_rope_head_dim" if rotated % 2 else "rope_parameters.partial_rotary_factor"
        expected, given = ("an even number", rotated) if rotated % 2 else ("1, or no such field", share)
        raise BadInputError(field, expected, given, "correct config.json")
    return rotated // 2


def rotating_layers(config: Config, depth: int) -> tuple[bool, ...]:
    """Say of each layer whether it rotates: as ``no_rope_layers`` lists it (1 is yes), or all but each n-th.

    Raises
    ------
    BadInputError
        The list has too few numbers, or others.

    """
    listed, step = config.whole_numbers("no_rope_layers"), config.size("no_rope_layer_interval")
    if not config.has("no_rope_layers"):
        return tuple((index + 1) % step != 0 for index in range(depth))
    if len(listed) < depth or not {0, 1}.issuperset(listed):
        expected = f"at least {depth} numbers, each 0 or 1"
        raise BadInputError("no_rope_layers", expected, list(listed), "correct config.json")
    return tuple(number == 1 for number in listed[:depth])


def borrowing_layers(config: Config, rotates: tuple[bool, ...]) -> tuple[bool, ...]:
    """Say of each layer whether it reads the latents of another, as ``kv_source_layers`` lists it.

    Raises
    ------
    BadInputError
        A layer would read what no earlier one keeps, or what is rotated and should not be.

    """
    own = tuple(range(len(rotates)))
    sources = config.whole_numbers("kv_source_layers") if config.has("kv_source_layers") else own
    remedy = "correct config.json"
    if len(sources) != len(own):
        raise BadInputError("kv_source_layers", f"{len(own)} numbers of layers", list(sources), remedy)
    for index, source in enumerate(sources):
        if not 0 <= source <= index or sources[source] != source or rotates[source] != rotates[index]:
            expected = "itself, or an earlier layer with latents of its own that rotates as it does"
            raise BadInputError("kv_source_layers", expected, f"{source} for layer {index}", remedy)
    return tuple(index != source for index, source in enumerate(sources))
