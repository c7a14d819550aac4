"""Write what transformers' configuration classes declare, so that an absent field takes the class's default.

`make defaults` runs it in the oracles' environment. It writes memcalc/data/config_classes.jsonl, a line for
each model type that memcalc reads, and beside it transformers_types.json, the names of all types of
transformers; tests/oracles/test_defaults.py holds the classes' file against the classes.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
import textwrap
import time
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "memcalc" / "data" / "config_classes.jsonl"
TYPES = ROOT / "memcalc" / "data" / "transformers_types.json"
sys.path[:0] = [str(ROOT)]

# Types that have no class of their own in transformers, and where the defaults come from instead.
BORROWED = {
    "kimi_k2": (
        "deepseek_v3",
        "Moonshot publishes no class: Kimi-K2's config.json names DeepseekV3ForCausalLM as its architecture",
    ),
    "deepseek_ref": (
        "deepseek_v4",
        "a copy of DeepSeek-V4-Pro calls itself so and names DeepseekV4ForCausalLM as its architecture",
    ),
}
# Keywords that a class takes for a field of its own, in more than one assignment: BloomConfig.__post_init__.
TAKEN_FOR = {"bloom": {"n_embed": "hidden_size"}, "falcon": {"n_embed": "hidden_size"}}
# Fields that every class has, or that its base class takes out of the keywords under another name.
OF_ALL = ("model_type", "name_or_path", "torch_dtype", "_name_or_path", "_commit_hash", "attn_implementation")


def plain(value: object) -> Any:
    """Return a default as JSON has it."""
    return json.loads(json.dumps(value))


def default_of(field: Field[Any]) -> object:
    """Return a declared field's default."""
    return field.default_factory() if field.default_factory is not MISSING else field.default


def other_keywords(config: type) -> dict[str, object]:
    """Return what the class's ``__post_init__`` takes out of undeclared keywords, with the defaults there.

    It says so in calls such as ``kwargs.setdefault("partial_rotary_factor", 0.25)``.
    """
    found: dict[str, object] = {}
    for node in nodes(config):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name("kwargs"), attr="get" | "pop" | "setdefault"),
                args=[ast.Constant(name), *rest],
            ):
                known = rest and isinstance(rest[0], ast.Constant | ast.List | ast.Dict)
                found[str(name)] = ast.literal_eval(rest[0]) if known else None
    return found


def nodes(config: type) -> Iterator[ast.AST]:
    """Yield what stands in ``__post_init__`` of a class and of those that it comes from."""
    from transformers import PreTrainedConfig

    for each in reversed(config.__mro__):
        own = vars(each).get("__post_init__")
        if own is not None and issubclass(each, PreTrainedConfig) and each is not PreTrainedConfig:
            yield from ast.walk(ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(own)))))


def older_names(config: type) -> dict[str, str]:
    """Return keywords that become a field as they are: older names of it.

    The class says so in assignments such as ``self.conv_kernel = kwargs.pop("mamba_d_conv", 4)``.
    """
    found = {}
    for node in nodes(config):
        match node:
            case ast.Assign(targets=[ast.Attribute(value=ast.Name("self"), attr=field)], value=value):
                taken = [one for one in (value, getattr(value, "body", None)) if isinstance(one, ast.Call)]
                match taken:
                    case [
                        ast.Call(func=ast.Attribute(value=ast.Name("kwargs")), args=[ast.Constant(name), *_])
                    ]:
                        found[str(name)] = field
    return {name: field for name, field in found.items() if name != field}


def declared(model_type: str, config: Any) -> dict[str, Any]:
    """Return a class's line: its fields with their defaults, which others may be null, and other names."""
    from transformers import PreTrainedConfig

    of_all = {field.name for field in fields(PreTrainedConfig)}
    own = [field for field in fields(config) if field.name not in of_all]
    defaults = {field.name: plain(default_of(field)) for field in own if default_of(field) is not MISSING}
    made = getattr(config(), "rope_parameters", None) or {}
    if made.get("rope_type", "default") != "default":  # what the class makes of null
        defaults["rope_parameters"] = plain(made)
    taken = TAKEN_FOR.get(model_type, {})
    older = {name: field for name, field in older_names(config).items() if field in defaults}
    others = {key: plain(value) for key, value in other_keywords(config).items() if key not in taken | older}
    names = config.attribute_map.items()  # of two names of one field the declared one is the name
    aliases = dict((b, a) if a in defaults and b not in defaults else (a, b) for a, b in names)
    line = {
        "model_type": model_type,
        "class": config.__name__,
        "defaults": defaults | others,
        "nullable": sorted({*others, *(each.name for each in own if "None" in str(each.type))}),
        "aliases": aliases | taken,
    }
    return {**line, "older": older} if older else line


def passed_over() -> list[str]:
    """Return the fields that the base class takes for every model: none of them shapes a tensor."""
    from transformers import GenerationConfig, PreTrainedConfig

    generation = GenerationConfig._get_default_generation_params()  # noqa: SLF001 (as the base class does)
    return sorted({*OF_ALL, *generation, *(field.name for field in fields(PreTrainedConfig))})


def lines() -> list[dict[str, Any]]:
    """Return the file's lines: where it comes from, then a class a line."""
    from transformers import __version__
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    from memcalc.files.readers import INSIDE, READERS, TOWERS

    head = {"transformers": __version__, "date": time.strftime("%Y-%m-%d"), "of_all_classes": passed_over()}
    found: list[dict[str, Any]] = [head]
    for model_type in (*READERS, *INSIDE, *TOWERS):
        known, why = BORROWED.get(model_type, (model_type, None))
        line = declared(model_type, CONFIG_MAPPING[known])
        found.append(line if why is None else {**line, "note": why})
    return found


def known_types() -> dict[str, object]:
    """Return the names of all types of transformers: a config may name a class of one that has no reader."""
    from transformers import __version__
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return {"transformers": __version__, "types": sorted(CONFIG_MAPPING_NAMES)}


def main() -> None:
    """Write the file."""
    text = "".join(json.dumps(line) + "\n" for line in lines())
    RECORD.write_text(text, encoding="utf-8", newline="\n")
    TYPES.write_text(json.dumps(known_types(), indent=1) + "\n", encoding="utf-8", newline="\n")
    print(f"   {RECORD.relative_to(ROOT)}: {text.count(chr(10)) - 1} classes, {len(text):,} bytes")


if __name__ == "__main__":
    main()
