"""vLLM's blocks where windows and full attention differ in the bytes of a token: pages are made equal.

A page is as large as the larger kind's block; the smaller kind has so many more tokens in a block.
Source: vllm-project/vllm, v1/core/kv_cache_utils.py (unify_kv_cache_spec_page_size), 2026-11; Gemma-4-31B in
50 GiB, vllm-project/vllm#43308: about 55k tokens printed by 0.20 and 525k by 0.21.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.ledger.formats import tensor_bytes

if TYPE_CHECKING:
    from memcalc.ledger.formats import Format
    from memcalc.ledger.model import Model
    from memcalc.ledger.parts import Part
    from memcalc.serving.engines.base import Engine
    from memcalc.serving.parallelism import ServingParallelism

__all__ = ["laid_out"]


def laid_out(
    engine: Engine, model: Model, kv: tuple[Format, Format], ranks: ServingParallelism, block: int
) -> dict[str, int]:
    """Return the tokens of a block of each kind, and the bytes of a page; nothing where all kinds are alike.

    Raises:
        BadInputError: the sizes are no multiples, or this release does not make such pages equal.

    """
    sizes: dict[bool, set[int]] = {}
    for part in dict.fromkeys(part for layer in model.groups for _, part in layer.remembering):
        windowed = getattr(part, "window", None) is not None
        sizes.setdefault(windowed, set()).add(token_bytes(engine, part, kv, ranks))
    if len(sizes) < 2 or sizes[True] == sizes[False]:
        return {}
    each = sorted(sizes[True] | sizes[False])
    if len(each) != 2 or each[1] % each[0] or not engine.since(0, 20):
        expected = "windows whose tokens take as much as those of full attention"
        remedy = f"how {engine.title} {engine.release} makes their pages equal is not understood"
        raise BadInputError(f"--engine {engine.id}", expected, model.name, remedy)
    longer = block * (each[1] // each[0])
    wide = each[1] in sizes[False]
    return {
        "full_block": block if wide else longer,
        "window_block": longer if wide else block,
        "uniform_page": block * each[1],
    }


def token_bytes(engine: Engine, part: Part, kv: tuple[Format, Format], ranks: ServingParallelism) -> int:
    """Return the bytes of a token of one layer on a rank."""
    held = map(ranks.on_rank, part.cache(1, 1, lambda context, _window: context))
    return sum(
        tensor_bytes(tensor, engine.cache_format(tensor, kv[tensor.name.endswith("values")]))
        for tensor in held
    )
