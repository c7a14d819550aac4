"""What transformers' configuration classes declare: defaults, other names of fields, and what they pass over.

The classes' part is generated (tools/model_defaults.py); fields that cannot change memory although they are
not at a class's default are listed with the reason in memcalc/data/harmless_fields.json.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from memcalc.data import open_text

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ConfigClass", "config_class", "harmless_fields", "stem", "types_by_stem"]


class ConfigClass:
    """What one configuration class declares.

    `defaults` has every declared field, and what the class takes out of undeclared keywords; `nullable` are
    those that may be null; `aliases` are other names of declared fields, and `older` those that the class
    takes even where the file states the newer one, too. `generates` are classes with a head whose names do
    not say so.
    """

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.name: str = record["class"]
        self.defaults: Mapping[str, object] = record["defaults"]
        self.nullable = frozenset(record["nullable"])
        self.older: Mapping[str, str] = record.get("older", {})
        self.aliases: Mapping[str, str] = {**record["aliases"], **self.older}
        self.generates: tuple[str, ...] = tuple(record.get("generates", ()))

    def takes_null(self, field: str) -> bool:
        """Whether the class takes null for a field."""
        return field in self.nullable or field not in self.defaults


@cache
def config_class(model_type: str) -> ConfigClass | None:
    """Return what the class of a model type declares; None if the record has none.

    Types that transformers does not have are written down by hand, each with the code that declares it.

    >>> config_class("deepseek_v3").defaults["q_lora_rank"]
    1536
    >>> config_class("qwen").name
    'QWenConfig'
    """
    start = f'{{"model_type": {json.dumps(model_type)},'
    for name in ("config_classes.jsonl", "published_classes.jsonl"):
        with open_text(name) as file:  # a line a class: only one is parsed
            found = next((json.loads(line) for line in file if line.startswith(start)), None)
        if found is not None:
            return ConfigClass(found)
    return None


@cache
def harmless_fields() -> frozenset[str]:
    """Return the fields that change no weight and no cache, whatever they say.

    >>> {"temperature", "rms_norm_eps"} <= harmless_fields()
    True
    """
    with open_text("config_classes.jsonl") as file:
        of_all = json.loads(file.readline())["of_all_classes"]
    with open_text("harmless_fields.json") as file:
        listed: dict[str, list[str]] = json.load(file)
    return frozenset(of_all).union(*listed.values())


def stem(name: str) -> str:
    """Return what a class, its config's class or a type is called without the ending that says its task.

    >>> stem("Gemma3TextModel"), stem("gemma3_text"), stem("Ernie4_5_MoeForCausalLM"), stem("GPT2Config")
    ('gemma3', 'gemma3', 'ernie45moe', 'gpt2')
    """
    named = name.partition("For")[0].partition("LMHead")[0].removesuffix("Model").removesuffix("Config")
    return named.replace("_", "").replace("-", "").lower().removesuffix("text")


@cache
def types_by_stem() -> dict[str, str]:
    """Return the types of transformers and of published code, by what their classes are called.

    >>> types_by_stem()["qwen2moe"], types_by_stem()["decilm"]
    ('qwen2_moe', 'nemotron-nas')
    """
    with open_text("published_classes.jsonl") as file:
        published = [json.loads(line) for line in file]
    with open_text("transformers_types.json") as file:
        known = {stem(model_type): model_type for model_type in json.load(file)["types"]}
    return {**{stem(one["class"]): one["model_type"] for one in published}, **known}
