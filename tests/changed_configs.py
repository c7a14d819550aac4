"""Configs with fields changed: what the oracles ask transformers, and the tests memcalc."""

from __future__ import annotations

import copy
import json
import random
from functools import cache
from pathlib import Path

from memcalc.files.catalogue import catalogue, record
from memcalc.files.config_classes import config_class
from memcalc.files.readers import PUBLISHED, READERS

WAYS = ("absent", "null")
RECORDED = Path(__file__).parent / "recorded"
# What says where a model comes from or how its weights are stored, and builds nothing.
ABOUT = {"model_type", "architectures", "auto_map", "dtype", "torch_dtype", "transformers_version"}
HUGE = (10**5, 10**9, 2**53 + 1, 10**400)
ODD = (0, 1, -1, 2, 3, 7, 13, 0.5, 2.0, True, False, "", "auto", "x", "8", [], [1], ["a"], {}, {"a": 1})
# What a model may gain that no class of transformers declares: sizes, counts, switches, objects.
PLANTED = {
    "num_extra_experts": 4,
    "use_gated_attention": True,
    "mla_rank": 512,
    "share_kv_every": 2,
    "attention_gate_size": 64,
    "num_memory_tokens": 128,
    "use_second_mlp": True,
    "lora_ranks": [8, 16],
    "side_network": {"hidden_size": 64},
    "residual_streams": 4,
    "engram_vocab_size": 1_000_003,
    "per_layer_kv_heads": [2, 4],
}


def changed(fields, place, way):
    """The config with one field absent or null; a place is a path such as text_config.head_dim."""
    found = copy.deepcopy(fields)
    *above, field = place.split(".")
    inside = found
    for name in above:
        inside = inside[name]
    if way == "absent":
        del inside[field]
    else:
        inside[field] = None
    return found


@cache
def known_configs():
    """Lists of the published and drawn configs of each type that memcalc reads."""
    published = [record(name).fields for name in catalogue()]
    for name in ("models", "random"):
        models = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))["models"]
        published += [model["config"] for model in models.values()]
    from tests import (
        test_hunyuan,
        test_kimi_k3,
        test_minimax_m3,
        test_pangu,
        test_step3,
    )  # of the types that transformers does not have
    from tests.test_published import CASES
    from tests.test_vision_language import KIMI_VL, SMALL_VIT, internvl_chat

    published += [case.fields for case in CASES.values()]
    published += [test_kimi_k3.K3, test_kimi_k3.ALONE, test_minimax_m3.ALONE]
    published += [test_step3.STEP3, test_step3.ALONE, test_pangu.FIRST, test_pangu.SECOND]
    published += [test_hunyuan.LARGE, test_hunyuan.DENSE]
    published += [KIMI_VL, internvl_chat(SMALL_VIT, 896, 4864, 24, 14, 2)]
    found = {model_type: [] for model_type in (*READERS, *PUBLISHED)}
    for fields in published:
        if fields not in found[fields["model_type"]]:
            found[fields["model_type"]].append(fields)
    return found


def objects(fields, above=()):
    """The paths of a config and of the configs inside of it."""
    yield above
    for field, value in fields.items():
        if isinstance(value, dict) and field.endswith("_config") and "quantization" not in field:
            yield from objects(value, (*above, field))


def inside(fields, path):
    """The object at a path."""
    for name in path:
        fields = fields[name]
    return fields


@cache
def declared_by(model_type):
    """The fields that a type's class declares, with their defaults; none of a type without one."""
    known = config_class(model_type) if isinstance(model_type, str) else None
    return dict(known.defaults) if known else {}


@cache
def declared_by_others():
    """(field, default) of all classes."""
    pairs = {(name, json.dumps(value)) for kind in READERS for name, value in declared_by(kind).items()}
    return [(name, json.loads(text)) for name, text in sorted(pairs)]


@cache
def words_of(field):
    """The texts that a field has anywhere: in known configs, or as a class's default."""
    known = [fields for configs in known_configs().values() for fields in configs]
    known = [inside(fields, path) for fields in known for path in objects(fields)]
    known += [declared_by(kind) for kind in READERS]
    found = {fields[field] for fields in known if isinstance(fields.get(field), str)}
    return tuple(sorted(found))


def near(draw, value):
    """Another value of the same kind: a size beside it, the other switch, a list of another length."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return draw.choice((value + 1, value - 1, value * 2, value // 2, value * 3, value // 3, 1, 0))
    if isinstance(value, list):
        return draw.choice(
            (value[:-1], value + value[:1], value[::-1], [draw.choice(value)] if value else [0])
        )
    if isinstance(value, dict) and value:
        less = dict(value)
        less.pop(draw.choice(sorted(less)))
        return less
    return draw.choice((1, 2, True, 64, 0.5)) if value is None else value


def change(draw, found):
    """Change one field of a config, or of a config inside of it."""
    path = draw.choice([(), *objects(found)])
    place = inside(found, path)
    own = [field for field in sorted(place) if field not in ABOUT]
    absent = sorted(set(declared_by(place.get("model_type"))) - set(place) - ABOUT)
    way = draw.choice(
        ("drop", "null", "near", "near", "near", "odd", "huge", "declared", "declared", "other")
    )
    if way == "declared" and absent:
        field = draw.choice(absent)
        place[field] = near(draw, declared_by(place["model_type"])[field])
    elif way == "other":
        field, value = draw.choice(declared_by_others())
        place[field] = draw.choice((value, near(draw, value)))
    elif own:
        field = draw.choice(own)
        if way == "drop":
            del place[field]
        else:
            place[field] = {
                "null": lambda: None,
                "odd": lambda: draw.choice(ODD),
                "huge": lambda: draw.choice(HUGE),
            }.get(way, lambda: near(draw, place[field]))()


def mutated(fields, seed):
    """A config with one to three fields changed; equal seeds change the same."""
    draw, found = random.Random(seed), copy.deepcopy(fields)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        change(draw, found)
    return found


def mutants(model_type, number):
    """So many configs of a type, changed: of published and drawn ones in turn."""
    known = known_configs()[model_type]
    for seed in range(number):
        yield mutated(known[seed % len(known)], f"{model_type} {seed}")


def planted(fields, path, added):
    """A config with further fields in the object at a path."""
    found = copy.deepcopy(fields)
    inside(found, path).update(added)
    return found
