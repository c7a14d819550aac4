"""Hy4 and A.X-K2: latent attention with an indexer, and gates. Held against transformers 5.23."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.files.readers.common import decoder, decoder_layer, dense_mlp, stack
from memcalc.files.readers.deepseek import latent_attention
from memcalc.files.readers.variants import Values, experts, listed_dense, pass_over_widths
from memcalc.ledger.parts import MLA, Indexer, Linear, Norm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.files.config import Config
    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.parts import Part
    from memcalc.ledger.tensor import Tensor

__all__ = ["axk2", "hy_v4"]

MIXERS = ("hc_attn_layer.hc_pre", "hc_mlp_layer.hc_pre")
AHEAD = ("enorm", "hnorm", "final_layernorm")
# What is F32 in the headers of tencent/Hy4-preview, where all else is BF16 but the routers' biases: 626 of
# 2,006 tensors, three of them behind the layers (https://github.com/wendadawen/dojo, hy4-preview-dataflow,
# 2026-09). The class has more in fp32 once it is loaded: KEPT_WIDE in serving/engines/transformers.py.
IN_32_BITS = tuple(
    (f"{name}.value", "fp32")
    for name in (
        *(f"{mixer}.{one}" for mixer in MIXERS for one in ("hc_fn", "hc_base", "hc_scale")),
        "self_attn.learnable_sink_param",
    )
)


@record
class WideValues(Values):
    """Numbers in fp32 whatever the model's dtype."""

    def weights(self) -> Iterator[Tensor]:
        """Yield them."""
        yield from (one._replace(format="fp32") for one in super().weights())


@record
class GatedQueries(MLA):
    """Latent attention whose queries come with a gate for each number that attention gives (A.X-K2).

    One matrix makes both, from the queries' latent and a second one of the same width.

    >>> part = GatedQueries(8, heads=2, kv_rank=4, nope_dim=3, rope_dim=2, value_dim=5, q_rank=6)
    >>> next(one.stored_shape for one in part.weights() if one.name == "q_b_proj.weight")
    (20, 12)
    """

    def weights(self) -> Iterator[Tensor]:
        """Yield the tensors, the queries' up-projection with the gate's rows."""
        columns = 2 * (self.q_rank or 0)
        rows = self.heads, self.nope_dim + self.rope_dim + self.value_dim
        for tensor in super().weights():
            yield tensor._replace(shape=(rows, columns)) if tensor.name == "q_b_proj.weight" else tensor


def indexer_of(config: Config, depth: int) -> Indexer:
    """Return the indexer that a layer with its own has; how many tokens it finds changes nothing kept."""
    config.has("index_topk")
    config.words("layer_types", ("indexed_attention", "deepseek_sparse_attention"), depth)
    width, rank = config.size("hidden_size"), config.size("q_lora_rank")
    return Indexer(width, rank, config.size("index_n_heads"), config.size("index_head_dim"))


def hy_v4(config: Config, name: str) -> Model:
    """Read Hy4: several streams beside each other, sinks and a gate; some layers look where another did."""
    attention, width = latent_attention(config), config.size("hidden_size")
    depth, streams = config.size("num_hidden_layers"), config.size("hc_mult")
    indexer, dense = indexer_of(config, depth), listed_dense(config)
    own = config.words("indexer_types", ("full", "shared"), depth) or tuple(
        "full" if index == 0 or index % 4 == 1 else "shared" for index in range(depth)
    )
    pass_over_widths(config)
    sparse = None if all(dense) else experts(config, "n_routed_experts", "n_shared_experts", corrected=True)
    for field in ("enable_ihc", "learnable_sink", "gated_mla"):
        config.restates(field, True)  # noqa: FBT003 (what transformers always builds)
    config.restates("gating_type", "elementwise")
    config.has("enable_lm_head_fp32")  # its file is BF16, and transformers has it in fp32 anyway
    beside: tuple[tuple[str, Part], ...] = (
        ("self_attn.linear_gate", Linear(attention.heads * attention.value_dim, width, cut=True)),
        ("self_attn.learnable_sink_param", Values((attention.heads,), "bias")),
    )
    mixed: list[tuple[str, Part]] = []
    for mixer in MIXERS:
        mixed += [
            (f"{mixer}.hc_fn", Values((2 * streams, streams * width))),
            (f"{mixer}.hc_base", Values((2 * streams,))),
            (f"{mixer}.hc_scale", Values((2,))),
        ]

    def layer(kind: tuple[bool, str]) -> Layer:
        mlp = dense_mlp(config) if kind[0] or sparse is None else sparse
        looks = (("self_attn.indexer", indexer),) if kind[1] == "full" else ()
        made = decoder_layer(attention, mlp, width)
        return replace(made, parts=(*made.parts, *looks, *beside, *mixed), formats=IN_32_BITS)

    joining = (("eh_proj", Linear(width, 2 * width)), *((each, Norm(width)) for each in AHEAD))
    alone = replace(layer((False, "full")), formats=())
    alone = replace(alone, parts=(*(one for one in alone.parts if one not in mixed), *joining))
    ahead = config.count("num_nextn_predict_layers") if config.has("num_nextn_predict_layers") else 0
    model = decoder(config, name, stack(zip(dense, own, strict=True), layer), (alone,) * ahead)
    ends = (
        ("model.hc_head.hc_head_fn", WideValues((streams, streams * width))),
        ("model.hc_head.hc_head_base", WideValues((streams,))),
        ("model.hc_head.hc_head_scale", WideValues((1,))),
    )
    return replace(model, outside=(*model.outside, *ends))


def axk2(config: Config, name: str) -> Model:
    """Read A.X-K2: norms with a gate of a low rank, gated queries, and an indexer in every layer."""
    found, width = latent_attention(config), config.size("hidden_size")
    attention = GatedQueries(**vars(found))
    depth, rank = config.size("num_hidden_layers"), config.size("gated_norm_rank")
    indexer, dense = indexer_of(config, depth), listed_dense(config)
    pass_over_widths(config)
    sparse = None if all(dense) else experts(config, "n_routed_experts", "n_shared_experts", corrected=True)

    def gated(norm: str) -> tuple[tuple[str, Part], ...]:
        down, up = Linear(rank, width), Linear(width, rank)
        return (f"{norm}.norm", Norm(width)), (f"{norm}.W_down", down), (f"{norm}.W_up", up)

    def layer(kind: str) -> Layer:
        plain = kind == "dense"
        mlp = dense_mlp(config) if plain or sparse is None else sparse
        behind = "post_attention_layernorm"
        norms = (*gated("input_layernorm"), *(((behind, Norm(width)),) if plain else gated(behind)))
        made = decoder_layer(attention, mlp, width, ())
        return replace(made, parts=(*made.parts, ("self_attn.indexer", indexer), *norms))

    return decoder(config, name, stack(("dense" if plain else "sparse" for plain in dense), layer))
