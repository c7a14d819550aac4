"""Attention in which each head has norms of its own: Command R+ and StableLM 2 12B."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.ledger.parts.attention import GQA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.ledger.tensor import Tensor

__all__ = ["HeadNormGQA", "with_head_norms"]


@record
class HeadNormGQA(GQA):
    """Grouped-query attention whose norms scale each head of queries and keys by numbers of its own.

    Source: huggingface/transformers v5.23, models/cohere and models/stablelm, 2026-11.

    Parameters
    ----------
    apart : bool, default False
        Whether the norm of each head is a tensor of its own, and not a row of one.

    Examples
    --------
    >>> part = HeadNormGQA(width=8, heads=2, kv_heads=1, head_dim=4, qk_norm=True)
    >>> [tensor.stored_shape for tensor in part.weights() if tensor.kind == "norm"]
    [(2, 4), (1, 4)]

    """

    apart: bool = False

    def weights(self) -> Iterator[Tensor]:
        """Yield the weights, with a norm for each head of queries and keys."""
        for tensor in super().weights():
            if tensor.kind != "norm":
                yield tensor
                continue
            heads = self.heads if tensor.name == "q_norm.weight" else self.kv_heads
            if self.apart:  # numbered as experts are, and all of them are used
                name = tensor.name.replace(".weight", ".{expert}.weight")
                yield tensor._replace(name=name, experts=heads, active_experts=heads)
            else:
                yield tensor._replace(shape=(heads, self.head_dim), shard_axis=0)


def with_head_norms(attention: GQA, *, apart: bool) -> HeadNormGQA:
    """Return attention with norms for each head.

    Parameters
    ----------
    attention : GQA
        Attention with norms that all heads share.
    apart : bool
        Whether each norm is a tensor of its own.

    """
    return HeadNormGQA(
        **{each.name: getattr(attention, each.name) for each in fields(attention)}, apart=apart
    )
