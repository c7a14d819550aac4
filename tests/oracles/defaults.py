"""What transformers makes of a config when one of its fields is absent, or null.

One config of each type that memcalc reads, a published one if there is one. What is recorded of each change
is only what differs from the whole config: most fields change nothing.
"""

from __future__ import annotations

import json
from functools import cache
from itertools import groupby
from pathlib import Path

import ask
from huggingface_hub.errors import StrictDataclassError
from small import small_config

from memcalc.files.catalogue import catalogue, record
from memcalc.files.readers import READERS
from tests.changed_configs import WAYS, changed

RECORDED = Path(__file__).resolve().parents[1] / "recorded"
# What says where a model comes from, or how its weights are stored, and reaches no class.
ASIDE = {"model_type", "architectures", "auto_map", "quantization_config", "transformers_version"}
# What a class raises when a field that it needs is not there, or is none.
REFUSALS = (
    AssertionError,
    AttributeError,
    IndexError,
    StrictDataclassError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
    ZeroDivisionError,
)


def configs():
    """One config of each type: that of the record, of the catalogue, of models.json, or else a small one."""
    public = json.loads((RECORDED / "models.json").read_text(encoding="utf-8"))["models"]
    known = {name: record(name).fields for name in catalogue()}
    known |= {name: model["config"] for name, model in public.items() if name not in known}
    before = json.loads((RECORDED / "defaults.json").read_text(encoding="utf-8"))["models"]
    asked = [name for name in (one["config_of"] for one in before.values()) if name in known]
    found = {}
    for name, fields in {**dict.fromkeys(asked), **known, **{name: known[name] for name in asked}}.items():
        found.setdefault(fields["model_type"], (name, fields))
    small = {kind: (f"{kind} 0", small_config(kind, 0)) for kind in READERS if kind not in found}
    return {model_type: (found | small)[model_type] for model_type in READERS}


def places(fields, above=()):
    """The paths of all fields, those of nested objects too."""
    for field, value in fields.items():
        path = (*above, field)
        if field in ASIDE:
            continue
        yield ".".join(path)
        if isinstance(value, dict) and field.endswith("_config"):
            yield from places(value, path)


def figures(fields):
    """Counts, a digest of all names and shapes, and each layer's window; None where the class refuses."""
    try:
        return json.loads(_figures(ask.key_of(fields)))
    except REFUSALS:
        return None


@cache
def _figures(text):
    model = ask.build(text)
    windows = [f"{len(list(same))} x {window}" for window, same in groupby(ask.windows(json.loads(text)))]
    return json.dumps({**ask.counts(model), "tensors": ask.digest(ask.tensors(model)), "windows": windows})


def difference(whole, fields, place, way):
    """What differs from the whole config's figures: nothing, some of them, or "refused"."""
    said = figures(changed(fields, place, way))
    return "refused" if said is None else {key: value for key, value in said.items() if whole[key] != value}


def recorded(types=READERS):
    """What is recorded of these types; of all of them it takes some minutes."""
    found = {}
    for model_type, (name, fields) in configs().items():
        if model_type not in types:
            continue
        whole = figures(fields)
        differences = {
            way: {place: difference(whole, fields, place, way) for place in places(fields)} for way in WAYS
        }
        found[model_type] = {"config_of": name, "whole": whole, **differences}
    return found
