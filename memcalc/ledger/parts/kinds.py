"""Which kind a part is, told by the quantities that it has: no answer loads classes that its model lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import TypeIs

    from memcalc.ledger.parts.attention import GQA
    from memcalc.ledger.parts.experts import MoE
    from memcalc.ledger.parts.feedforward import MLP
    from memcalc.ledger.parts.latent import MLA
    from memcalc.ledger.parts.plain import Part

__all__ = ["is_gqa", "is_mla", "is_mlp", "is_moe", "keeps_state"]


def is_gqa(part: object) -> TypeIs[GQA]:
    """Say whether a part is attention of heads."""
    return hasattr(part, "kv_heads")


def is_mla(part: object) -> TypeIs[MLA]:
    """Say whether a part is latent attention."""
    return hasattr(part, "kv_rank")


def is_mlp(part: object) -> TypeIs[MLP]:
    """Say whether a part is a dense feed-forward part."""
    return hasattr(part, "ffn_width")


def is_moe(part: object) -> TypeIs[MoE]:
    """Say whether a part is a mixture of experts."""
    return hasattr(part, "experts")


def keeps_state(part: Part) -> bool:
    """Say whether a part remembers a state of fixed size instead of tokens."""
    return part.counted == "state_depth"
