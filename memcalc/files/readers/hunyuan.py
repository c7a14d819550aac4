"""Hunyuan-Large: layers that attend with keys and values of the one before, and experts beside a shared one.

Source: Tencent/Tencent-Hunyuan-Large, models/modeling_hunyuan.py, commit cdc3735, read 2026-11; later
generations have types of their own (hunyuan_v1_dense, hunyuan_v1_moe, hy_v3). Transformers has none of it.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.files.readers.common import check_head_width, decoder, decoder_layer, dense_mlp, gqa, moe, stack
from memcalc.ledger.parts import GQA, Norm
from memcalc.ledger.tensor import under

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.files.config import Config
    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.parts import Part
    from memcalc.ledger.tensor import Tensor

__all__ = ["CrossLayerGQA", "hunyuan"]


@record
class CrossLayerGQA(GQA):
    """Attention with keys and values of an earlier layer, which it passes through a norm of its own.

    Its published class for transformers keeps them once more; other engines need not.
    Source: Brandon et al. 2024, arXiv:2405.12981; HunYuanAttention of modeling_hunyuan.py.

    Examples
    --------
    >>> part = CrossLayerGQA(width=6400, heads=80, kv_heads=8, head_dim=80, qk_norm=True, borrows=True)
    >>> [tensor.name for tensor in part.weights()]
    ['q_proj.weight', 'o_proj.weight', 'q_norm.weight', 'k_norm.weight']
    >>> [sum(tensor.count for tensor in one.cache(1, 1, lambda context, window: context))
    ...  for one in (part, part.in_transformers())]
    [0, 1280]

    """

    def in_transformers(self) -> CrossLayerGQA:
        """Return the part as its class for transformers keeps keys and values."""
        return replace(self, borrows=False)

    def weights(self) -> Iterator[Tensor]:
        """Yield queries and output, and both norms, wherever keys and values are kept."""
        yield from GQA.weights(replace(self, borrows=True))
        if self.qk_norm:
            yield from under("k_norm", Norm(self.head_dim).weights())


def hunyuan(config: Config, name: str) -> Model:
    """Read the decoder: of every ``cla_share_factor`` layers the first makes keys and values."""
    check_head_width(config)
    config.restates("attention_head_dim", config.size("hidden_size") // config.size("num_attention_heads"))
    for field in ("capacity_factor", "moe_drop_tokens", "moe_random_routing_dropped_token"):
        config.has(field)  # which tokens an expert takes
    plain = gqa(config, biased=config.flag("attention_bias"), qk_norm=config.flag("use_qk_norm"))
    cross = CrossLayerGQA(**{each.name: getattr(plain, each.name) for each in fields(GQA)})
    cross = replace(cross, borrows=True)
    mlp, width, every = feed_forward(config), config.size("hidden_size"), config.size("cla_share_factor")
    shared = config.flag("use_cla")

    def layer(borrows: bool) -> Layer:  # noqa: FBT001 (the kind of a layer)
        made = decoder_layer(cross if borrows else plain, mlp, width)
        return replace(made, formats=(("mlp.gate.weight", "fp32"),))

    depth = config.size("num_hidden_layers")
    return decoder(config, name, stack((shared and index % every != 0 for index in range(depth)), layer))


def feed_forward(config: Config) -> Part:
    """Return experts as wide as the part that stands where there is but one of them."""
    inner, mixed = config.size("intermediate_size"), config.flag("use_mixed_mlp_moe")
    for field in ("moe_topk", "num_shared_expert"):
        stated, depth = config.value(field), config.size("num_hidden_layers")
        if isinstance(stated, list):  # one for each layer, in files of smaller models
            config.restates(field, stated[:1] * depth)
            config.stated[field] = stated[0] if stated else None
    beside = config.size("num_shared_expert") * inner if mixed else None
    config.has("num_experts_per_tok")
    if config.size("num_experts") == 1:
        return dense_mlp(config)
    return moe(config, "num_experts", "intermediate_size", shared_width=beside)
