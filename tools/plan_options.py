"""What the calculator's page offers: every option of `serve` and `train`, from where each is declared.

Written as a script, because a page that was opened from a file may load nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, get_origin

from memcalc.cli.options import explained
from memcalc.files.catalogue import catalogue
from memcalc.files.gguf.presets import FILE_TYPES
from memcalc.files.machines import devices
from memcalc.ledger.formats import FORMATS, KV_FORMATS
from memcalc.options import options_of
from memcalc.serving.engines.records import releases
from memcalc.serving.options import ServingOptions
from memcalc.training.options import TrainingOptions

if TYPE_CHECKING:
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
        "required": option.required,
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


def script() -> str:
    """Return what the page reads, as JavaScript."""
    data = {
        "commands": {command: groups(command) for command in DECLARED},
        "models": catalogue(),
        "lists": {
            "machines": [f"1x {name}" for name in devices()],
            "formats": [*FORMATS, *FILE_TYPES],
            "kv": list(KV_FORMATS),
            "versions": sorted({release.version for dated in releases().values() for release in dated}),
        },
    }
    return f"{WRITTEN}globalThis.MEMCALC_OPTIONS = {json.dumps(data, separators=(',', ':'))};\n"
