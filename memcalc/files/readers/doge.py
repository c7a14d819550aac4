"""Doge: attention that masks by what values say, experts that are two rows each. Held by tests/oracles."""

from __future__ import annotations

from dataclasses import replace
from math import isqrt
from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.errors import BadInputError
from memcalc.files.readers.common import decoder, decoder_layer, dense_mlp, gqa
from memcalc.files.readers.vision import Values
from memcalc.ledger.parts import MLP, Linear
from memcalc.ledger.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.files.config import Config
    from memcalc.ledger.model import Model
    from memcalc.ledger.parts import Part

__all__ = ["Keys", "RowExperts", "doge"]


@record
class RowExperts(MLP):
    """A plain feed-forward part, and experts beside it: rows of two tables, of an inner width of one.

    Their router is a part of its own, `Keys`.

    Parameters
    ----------
    experts, top_k : int
        Rows of a table, and how many of them a token uses.
    expert_width : int, default 1
        Inner width of an expert.

    Examples
    --------
    >>> part = RowExperts(width=64, ffn_width=128, experts=100, top_k=4)
    >>> sum(tensor.count for tensor in part.weights()) - 3 * 64 * 128 == 64 * 2 * 100
    True

    """

    counted = "moe_depth"
    experts: int = 1
    top_k: int = 1
    expert_width: int = 1

    @property
    def shared_width(self) -> int:
        """The plain part's inner width: every token uses it, as it does shared experts."""
        return self.ffn_width

    def weights(self) -> Iterator[Tensor]:
        """Yield the plain part and both tables."""
        yield from super().weights()
        for name in ("down_embed.{expert}.weight", "up_embed.{expert}.weight"):
            yield Tensor(name, (self.width,), "norm", experts=self.experts, active_experts=self.top_k)


@record
class Keys(Linear):
    """The router: two lists of keys, whose pairs name the experts.

    >>> [tensor.kind for tensor in Keys(rows=20, columns=64).weights()]
    ['router']
    """

    def weights(self) -> Iterator[Tensor]:
        """Yield the matrix."""
        yield from (tensor._replace(kind="router") for tensor in super().weights())


def doge(config: Config, name: str) -> Model:
    """Read the decoder: each layer scales what it adds to, and attention what it masks."""
    width, biased = config.size("hidden_size"), config.flag("attention_bias")
    config.has("keep_window_size")
    attention = gqa(config, biased=biased, qk_norm=True, window=config.optional("sliding_window"))
    mlp: Part = dense_mlp(config, bias=config.flag("mlp_bias"))
    for field in ("num_experts", "num_experts_per_tok"):
        config.has(field)
    if config.flag("is_moe"):
        mlp = row_experts(config)
    layer = decoder_layer(attention, mlp, width)
    keys = 2 * isqrt(config.size("num_experts"))
    router = (("mlp.router_gate", Keys(keys, width)),) if config.flag("is_moe") else ()
    kv_heads = attention.kv_heads
    more = (
        ("self_attn.A", Values((kv_heads,), "bias")),
        ("self_attn.dt_proj", Linear(kv_heads, kv_heads * attention.head_dim, bias=biased)),
        *((f"{place}_residual", Values((width,), "norm")) for place in ("input", "post_attention")),
    )
    layer = replace(layer, parts=(*layer.parts, *router, *more))
    return decoder(config, name, (layer,) * config.size("num_hidden_layers"))


def row_experts(config: Config) -> RowExperts:
    """Return experts of which no token uses more than two lists of keys can name."""
    experts, top_k = config.size("num_experts"), config.size("num_experts_per_tok")
    if top_k > isqrt(experts) ** 2:
        expected, remedy = f"at most {isqrt(experts) ** 2}", "correct config.json"
        raise BadInputError("num_experts_per_tok", expected, top_k, remedy)
    width, inner = config.size("hidden_size"), config.size("intermediate_size")
    return RowExperts(width, inner, bias=config.flag("mlp_bias"), experts=experts, top_k=top_k)
