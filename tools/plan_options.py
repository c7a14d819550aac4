"""What the calculator's page offers: every option of `serve` and `train`, from where each is declared.

Written as a script, because a page that was opened from a file may load nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_origin

from memcalc.cli.options import explained
from memcalc.data import open_text
from memcalc.data.words import plain
from memcalc.errors import NOTHING, RefusalError, choices
from memcalc.files import catalogue as names, machines as records
from memcalc.files.catalogue import aliases, catalogue
from memcalc.files.gguf.presets import FILE_TYPES
from memcalc.files.machines import Server, devices, machine, notes, servers, spelled
from memcalc.files.sources import TAKEN, source
from memcalc.ledger.budget import COMPONENTS
from memcalc.ledger.formats import FORMATS, KV_FORMATS
from memcalc.options import expectation, options_of
from memcalc.serving.engines.platforms import APPLE, platform_of
from memcalc.serving.engines.records import releases
from memcalc.serving.options import ServingOptions
from memcalc.show.colours import COLOURS
from memcalc.training.options import TrainingOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from memcalc.options import Option

WRITTEN = '// Written by tools/plan_options.py from the options that memcalc declares.\n"use strict";\n'
DECLARED = {"serve": ServingOptions, "train": TrainingOptions}
# those that a form shows at once; the others unfold
COMMON = {
    "serve": ("context", "batch", "weights", "kv", "on", "engine", "engine_version"),
    "train": ("seq", "micro_batch", "on", "world", "shard", "recompute", "optimizer", "lora_rank"),
}
SLIDING = {"context", "batch", "seq", "micro_batch"}  # numbers that a slider doubles and halves
OFFERED = {"weights": "formats", "kv": "kv", "on": "machines", "engine_version": "versions"}


def described(option: Option) -> dict[str, object]:
    """Return an option as the page shows it."""
    return {
        "name": option.name,
        "flag": option.typed,
        "kind": kind_of(option),
        "choices": list(map(str, option.kind)) if isinstance(option.kind, tuple) else [],
        "meaning": explained(option),
        "unit": option.unit,
        "default": option.shown_default,
        "expected": "" if isinstance(option.kind, tuple) else expectation(option)[0],
        "required": option.required,
        "tokens": option.counts_tokens,
        "slides": option.name in SLIDING,
        "offers": OFFERED.get(option.name, ""),
    }


def kind_of(option: Option) -> str:
    """Return what stands behind an option's flag: nothing, one of some words, pairs, or a text."""
    if isinstance(option.kind, tuple):
        return "choice"
    if option.kind is bool:
        return "yes or no" if option.optional else "switch"
    return "pairs" if get_origin(option.kind) is Mapping else "text"


def groups(command: str) -> dict[str, list[dict[str, object]]]:
    """Return a command's options by group, those that are shown at once in one of their own."""
    found: dict[str, list[dict[str, object]]] = {"common": []}
    known = {option.name: option for option in options_of(DECLARED[command])}
    for name in COMMON[command]:
        found["common"].append(described(known.pop(name)))
    for option in known.values():
        found.setdefault(option.group or "more", []).append(described(option))
    return found


def refusal(read: Callable[[Any], object], given: object) -> dict[str, str]:
    """Return what a reader of names expects, and what to do, where nothing is like what was given."""
    try:
        read(given)
    except RefusalError as error:
        return {"expected": error.expected, "remedy": error.remedy}
    raise ValueError(f"{given} is understood")


def of_models() -> dict[str, object]:
    """Return by which rules a text names a model of the catalogue: those of memcalc/files/catalogue.py."""
    with open_text("synonyms.json") as file:
        formats: dict[str, list[str]] = json.load(file)["--weights"]
    words = {plain(other): right.split(" or ")[0] for right, others in formats.items() for other in others}
    understood = {other: right for other, right in words.items() if not right.startswith("leave")}
    return {
        "aliases": aliases(),
        "separators": names.SEPARATORS,
        "words": names.WORDS,
        "variants": sorted(names.VARIANTS),
        "most": names.MOST_OFFERED,
        "longest": names.LONGEST_OFFER,
        "taken": TAKEN,
        "formats": [name for name in FORMATS if name == name.lower()],
        "formatWords": understood,
        "unknown": refusal(source, "?"),
        "missing": refusal(source, NOTHING),
    }


def of_machines() -> dict[str, object]:
    """Return by which rules a text names devices: those of memcalc/files/machines.py."""
    known = {key: found.item for key, found in spelled().items() if not key.startswith("?")}
    return {
        "keys": {key: item.id for key, item in known.items()},
        "taken": {
            key: next(iter(notes(found.item, "{}")))
            for key, found in spelled().items()
            if key in known and found.is_taken and not isinstance(found.item, Server)
        },
        "servers": {one.id: [one.devices, one.device] for one in servers().values()},
        "notes": {one.id: list(notes(one, "")) for one in devices().values() if list(notes(one, ""))},
        "patterns": {
            "counted": records.COUNTED,
            "behind": records.COUNTED_BEHIND,
            "size": records.SIZE,
            "vendors": records.VENDORS,
            "series": records.SERIES,
            "variant": records.VARIANT,
            "otherwise": records.OTHERWISE,
            "marks": records.MARKS,
            "onTheMove": records.ON_THE_MOVE,
        },
        "formFactors": sorted(records.FORM_FACTORS),
        "ids": [*devices(), *servers()],
        # several of them are no machine, which memcalc says
        "macs": [one.id for one in devices().values() if platform_of(one) == APPLE],
        "near": records.NEAR,
        "unknown": {**refusal(machine, "?"), "expected": choices([*devices(), *servers()])},
    }


def script() -> str:
    """Return what the page reads, as JavaScript."""
    data = {
        "commands": {command: groups(command) for command in DECLARED},
        "models": catalogue(),
        "names": of_models(),
        "machines": of_machines(),
        "colours": {name: COLOURS[name] for name in COMPONENTS},
        "lists": {
            "machines": [f"1x {name}" for name in devices()],
            "formats": [*FORMATS, *FILE_TYPES],
            "kv": list(KV_FORMATS),
            "versions": sorted({release.version for dated in releases().values() for release in dated}),
        },
    }
    return f"{WRITTEN}globalThis.MEMCALC_OPTIONS = {json.dumps(data, separators=(',', ':'))};\n"
