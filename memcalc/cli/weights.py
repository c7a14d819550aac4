"""``memcalc model`` of a header alone: its tensors, and the cache where it is stated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.cli.command import Answer
from memcalc.data.units import gb, gib
from memcalc.errors import BadInputError, escaped
from memcalc.files.header_alone import stored_weights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.files.header_alone import StoredWeights
    from memcalc.files.source import Source

__all__ = ["answer_of_header"]

MOST = 20  # groups of equal tensors that a text answer lists
CACHE = ("bytes_per_token", "bytes_per_token_in_window", "state_bytes_per_sequence")
EXTRA = ("mtp_parameters", "vision_parameters", "buffer_values")
EVERYTHING = "parameters: every number in the file, those of towers, prediction layers and buffers too"


def answer_of_header(source: Source, engine: str | None) -> Answer:
    """Answer.

    Raises:
        BadInputError: an engine's cache is asked for.

    """
    found = stored_weights(source)
    if engine is not None:
        raise BadInputError(
            "--engine", "none: a header alone", engine, "leave it out, or add the config.json"
        )
    return Answer(
        0, lambda: fields(found, source), lambda: "\n".join(map(escaped, [*lines(found), *source.defaults]))
    )


def fields(found: StoredWeights, source: Source) -> dict[str, object]:
    """Return them as JSON shows them: what a header alone does not say is null."""
    header = found.header
    return {
        "schema": 1,
        "name": found.name,
        "model_type": found.architecture,
        "parameters": found.parameters,
        **dict.fromkeys(("active_parameters", "embedding_parameters", "tied", "depth")),
        "cache": found.cache or dict.fromkeys(CACHE),
        "extra": dict.fromkeys(EXTRA),
        "quantization": source.quantization,
        "defaults": [*source.defaults, *([] if found.parameters is None else [EVERYTHING])],
        "header": {
            "tensors": len(header.tensors),
            "bytes": header.bytes,
            "ledger_bytes": None,
            "files": header.files,
        },
        "differences": [],
        **({} if found.cache else {"cache_unknown": found.unknown}),
        "weights": [
            {
                "name": name,
                "dtype": info and info.dtype,
                "shape": info and list(info.shape),
                "bytes": info and info.bytes,
            }
            for name, info in header.tensors.items()
        ],
    }


def lines(found: StoredWeights) -> Iterator[str]:
    """Yield them for people: totals, the cache or why it is not known, the largest groups of tensors."""
    named, tensors = found.architecture or "no config.json", len(found.header.tensors)
    yield f"{found.name} ({named}, {tensors:,} tensors, by its header alone)"
    size = "not stated by the index" if found.bytes is None else f"{gib(found.bytes)} = {gb(found.bytes)}"
    parameters = "not known: some types pack several" if found.parameters is None else f"{found.parameters:,}"
    cache = f"unknown, because {found.unknown}"
    if found.cache is not None:
        cache = f"{found.cache['bytes_per_token']:,} B (16-bit)"
    rows = {"weights": size, "numbers in all": parameters, "cache a token": cache}
    yield from (f"  {name:<18} {text}" for name, text in rows.items())
    groups = found.groups
    for one in groups[:MOST]:
        info = "" if one.info is None else f"{one.info.dtype} {list(one.info.shape)}, {one.bytes:,} B"
        times = f"{one.times:,} x " if one.times > 1 else ""
        yield f"  {times}{one.name}  {info}".rstrip()
    if len(groups) > MOST:
        yield f"  and {len(groups) - MOST} smaller kinds: --json lists every tensor"
