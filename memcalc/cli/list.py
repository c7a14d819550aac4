"""``memcalc list``: the models, machines, formats and engines that are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.cli.command import Answer, Command
from memcalc.errors import NOTHING
from memcalc.ledger.registry import Registry

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from memcalc.cli.parser import Parser

__all__ = ["COMMAND"]

PRESETS_SOURCE = "https://github.com/ggml-org/llama.cpp, src/llama-quant.cpp, v0.5.0, 2026-11"


def models() -> list[dict[str, object]]:
    """Return the catalogue."""
    from memcalc.files.catalogue import catalogue

    return [{"id": name} for name in catalogue()]


def machines() -> list[dict[str, object]]:
    """Return the devices and the servers."""
    from memcalc.files.machines import devices, servers

    rows = [
        {**item._asdict(), "nominal_only": item.is_nominal, "capacity_bytes": item.capacity_bytes}
        for item in devices().values()
    ]
    return [*rows, *({**item._asdict(), "kind": "server"} for item in servers().values())]


def formats() -> list[dict[str, object]]:
    """Return the formats of weights and caches, and llama.cpp's presets."""
    from memcalc.files.gguf.presets import PRESETS
    from memcalc.ledger.formats import FORMATS, GGUF_KV_FORMATS, GGUF_TYPES, KV_FORMATS
    from memcalc.serving.engines.sparse_cache import LAYOUTS

    caches = {item.id: item for item in (*KV_FORMATS.values(), *LAYOUTS, *GGUF_KV_FORMATS.values())}
    known = {**FORMATS, **GGUF_TYPES}
    of_one_kind = [
        {
            "id": item.id,
            "bits": item.bits,
            "weights": item.id in FORMATS,
            "kv": item.id in caches,
            "note": item.note,
            "source": item.source,
        }
        for item in {**caches, **FORMATS}.values()
    ]
    presets = [
        {
            "id": one.id,
            "bits": known[one.base].bits,
            "weights": True,
            "kv": False,
            "note": one.note or f"a preset of llama.cpp: {one.base}, and types of more bits for some tensors",
            "source": PRESETS_SOURCE,
        }
        for one in PRESETS.values()
    ]
    return [*of_one_kind, *presets]


def engines() -> list[dict[str, object]]:
    """Return the engines with versions, options and rules for host memory, and those without a model."""
    from memcalc.serving.engines import ENGINES, engine
    from memcalc.serving.engines.records import not_modelled, releases

    dated = releases()
    modelled = [
        {
            "id": one.id,
            "modelled": True,
            "name": one.title,
            "version": one.release,
            "date": dated[one.id][-1].date,
            "versions": list(one.versions),
            "releases": [release._asdict() for release in dated[one.id]],
            "options": dict(one.defaults),
            "offloads": list(one.offloads),
            "note": one.note,
        }
        for one in map(engine, ENGINES)
    ]
    return [*modelled, *({"modelled": False, **one._asdict()} for one in not_modelled())]


LISTS: Registry[Callable[[], list[dict[str, object]]]] = Registry(
    "memcalc list",
    {"models": models, "machines": machines, "formats": formats, "engines": engines},
    remedy="name what to list",
)


def add(parser: Parser) -> None:
    """Add the one argument."""
    parser.add_argument("what", metavar="|".join(LISTS), nargs="?", default=NOTHING, help="what to list")


def answer(given: argparse.Namespace) -> Answer:
    """Answer."""
    rows = LISTS[given.what]()
    text = TEXTS.get(given.what, lambda row: str(row["id"]))
    return Answer(0, lambda: rows, lambda: "\n".join(map(text, rows)))


def machine_text(row: dict[str, object]) -> str:
    """Return a device or a server as a line: its id, its kind, what a framework can use, what it is."""
    size = row.get("capacity_bytes")
    amount = f"{row['devices']} devices" if size is None else f"{size}"
    nominal = "; the box's number, assumed" if row.get("nominal_only") else ""
    return f"{row['id']:<24} {row['kind']:<8} {amount:>11}  {row['name']}{nominal}"


def engine_text(row: dict[str, object]) -> str:
    """Return an engine as a line: its id and the version that is meant, or the engine that is nearest."""
    if not row["modelled"]:
        return f"{row['id']:<14} not modelled; nearest: {row['nearest']} ({row['note']})"
    known = row["releases"]
    first = f", from {known[0]['version']} on" if len(known) > 1 else ""  # type: ignore[index,arg-type]
    return f"{row['id']:<14} {row['version']} of {row['date']}{first}"


TEXTS: dict[str, Callable[[dict[str, object]], str]] = {"machines": machine_text, "engines": engine_text}
COMMAND = Command(add, answer)
