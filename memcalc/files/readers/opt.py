"""OPT, whose 350M model has a narrower embedding and its norms behind each part. Held by tests/oracles."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.files.readers.no_norm import NoNorm
from memcalc.files.readers.plain import plain
from memcalc.ledger.parts.linear import Linear
from memcalc.ledger.parts.plain import Embedding, Part

if TYPE_CHECKING:
    from memcalc.files.config import Config
    from memcalc.ledger.model import Model

__all__ = ["opt"]


def opt(config: Config, name: str) -> Model:
    """Read OPT: tokens may be narrower than the stream, and the last norm may be missing."""
    model = plain(config, name)
    width = config.size("hidden_size")
    narrow = config.optional("word_embed_proj_dim") or width
    without = config.flag("_remove_final_layer_norm")
    normed = config.flag("do_layer_norm_before") and not without
    outside: list[tuple[str, Part]] = []
    for where, part in model.outside:
        if where == "model.norm":
            outside.append((where, part if normed else NoNorm()))
        else:
            outside.append((where, replace(part, width=narrow) if isinstance(part, Embedding) else part))
        if where == "model.embed_tokens" and narrow != width:
            outside += [
                ("model.project_in", Linear(width, narrow)),
                ("model.project_out", Linear(narrow, width)),
            ]
    return replace(model, outside=tuple(outside))
