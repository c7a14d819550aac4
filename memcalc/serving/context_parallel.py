"""Decode context parallelism: which engines and models share the tokens of a cache among their ranks.

Sources: vllm-project/vllm#23734 (0.10.2) and vllm/config/model.py, verify_with_parallel_config;
sgl-project/sglang#14194 (MLA) and #31821 (sparse attention), read 2026-11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.ledger.parts.kinds import is_gqa, is_mla

if TYPE_CHECKING:
    from memcalc.ledger.model import Model
    from memcalc.ledger.parts import Part
    from memcalc.serving.engines.base import Engine
    from memcalc.serving.parallelism import ServingParallelism

__all__ = ["check_context_parallel"]


def check_context_parallel(engine: Engine, model: Model, ranks: ServingParallelism) -> None:
    """Refuse ranks that cannot share tokens.

    Parameters
    ----------
    engine : Engine
        What serves the model.
    model : Model
        The model as it loads it.
    ranks : ServingParallelism
        How it is spread; its `dcp` is above 1.

    Raises
    ------
    BadInputError
        The engine has no such thing, or the ranks hold no copies of the cache that they could share.

    """
    dcp, tp = ranks.dcp, ranks.tp
    if engine.id not in ("vllm", "sglang"):
        given = f"{dcp} for {engine.id}"
        raise BadInputError("--dcp", "1", given, "vllm and sglang have it: name one with --engine")
    if engine.id == "vllm" and not engine.since(0, 10):
        raise BadInputError(
            "--engine-version", "0.10 or newer with --dcp", engine.release, "name a later one"
        )
    if tp % dcp:
        raise BadInputError("--dcp", f"a divisor of --tp {tp}", dcp, "it takes the tensor-parallel ranks")
    for part in dict.fromkeys(part for layer in model.groups for _, part in layer.parts):
        check_part(engine, part, ranks)


def check_part(engine: Engine, part: Part, ranks: ServingParallelism) -> None:
    """Refuse a part whose cache ranks cannot share.

    Raises:
        BadInputError: it looks at a window, or each rank has heads of its own.

    """
    dcp, tp = ranks.dcp, ranks.tp
    if not is_gqa(part) or is_mla(part):
        return
    if engine.id == "sglang":
        raise BadInputError("--dcp", "a model with latent attention", "heads", "sglang shares latents alone")
    if part.window is not None:
        remedy = "windows are not shared: each rank holds its own"
        raise BadInputError("--dcp", "a model without sliding windows", f"a window of {part.window}", remedy)
    most = tp // part.kv_heads
    if dcp > most or (part.heads // part.kv_heads) % dcp:
        expected = f"a divisor of the copies of each KV head on {tp} ranks, {most}"
        raise BadInputError("--dcp", expected, dcp, "ranks share what they hold copies of: raise --tp")
