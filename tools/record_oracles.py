"""Record what the oracles say, so that it can be checked where they are not installed: tests/recorded/.

`make record` runs it in the oracles' environment. `make oracles` shows that the record is what they say now.
`make record types="gemma seed_oss"` asks of these model types alone what every reader is held by: seconds.
models.json holds configs as well: to record another model, add its config, source and date there first.
"""

from __future__ import annotations

import importlib
import json
import platform
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT / "tests" / "recorded"

sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "oracles")]


def public() -> dict[str, Any]:
    """Return the models of models.json: configs with source and date, and what was recorded of them."""
    content = json.loads((RECORDED / "models.json").read_text(encoding="utf-8"))
    models: dict[str, Any] = content["models"]
    return models


def figures() -> dict[str, dict[str, Callable[[], Any]]]:
    """Return, for each record and each name in it, the function that asks for what stands there."""
    ask, small = importlib.import_module("ask"), importlib.import_module("small")
    classes, forward, beside = map(importlib.import_module, ("class_defaults", "forward", "beside"))
    catalogue = importlib.import_module("memcalc.files.catalogue")

    def published(model: dict[str, Any]) -> dict[str, Any]:
        return {**model, "figures": ask.figures(model["config"])}

    def drawn(kind: str, seed: int) -> dict[str, Any]:
        config = small.small_config(kind, seed)
        return {"config": config, "figures": ask.small_figures(config)}

    return {
        "catalogue": {
            name: partial(ask.figures, catalogue.record(name).fields) for name in catalogue.catalogue()
        },
        "models": {name: partial(published, model) for name, model in public().items()},
        "random": {
            f"{kind} {seed}": partial(drawn, kind, seed) for kind in small.DRAWN for seed in small.seeds(kind)
        },
        "rope": {kind: partial(ask.rope, kind) for kind in ask.ROPE_TYPES},
        "class_defaults": {name: partial(classes.recorded, name) for name in classes.TYPES},
        "forward": {name: partial(forward.prefill, catalogue.record(name).fields) for name in forward.MODELS},
        "beside": {
            **{
                name: partial(beside.copied_by_saving, catalogue.record(name).fields)
                for name in beside.MIXTURES
            },
            **{name: partial(beside.evaluated, fields) for name, fields in beside.EVALUATED.items()},
        },
    }


def asked_versions() -> dict[str, str]:
    """Return the versions of what is asked."""
    versions: dict[str, str] = importlib.import_module("ask").VERSIONS
    return versions


def of_types(types: list[str]) -> dict[str, Any]:
    """Return the records that hold every reader, with these types asked anew and the others as they were."""
    ask, small, defaults = map(importlib.import_module, ("ask", "small", "defaults"))
    classes = importlib.import_module("class_defaults")
    names = ("models.json", "random.json", "defaults.json", "catalogue.json", "class_defaults.json")
    found = {name: json.loads((RECORDED / name).read_text(encoding="utf-8")) for name in names}
    published, drawn, changed, listed, alone = (found[name]["models"] for name in names)
    catalogue = importlib.import_module("memcalc.files.catalogue")
    for name in catalogue.catalogue():
        fields = catalogue.record(name).fields
        if fields["model_type"] in types:
            listed[name] = ask.figures(fields)
    for model in published.values():
        if model["config"]["model_type"] in types:
            model["figures"] = ask.figures(model["config"])
    for kind in types:
        for seed in small.seeds(kind):
            config = small.small_config(kind, seed)
            drawn[f"{kind} {seed}"] = {"config": config, "figures": ask.small_figures(config)}
    alone |= {kind: classes.recorded(kind) for kind in types if kind in classes.TYPES}
    changed |= defaults.recorded(types)
    for name, asked in (
        *((name, figures()[name]) for name in ("models", "random", "catalogue")),
        ("defaults", defaults.configs()),
    ):
        models = found[f"{name}.json"][
            "models"
        ]  # in the order of all, and without those that are asked no more
        found[f"{name}.json"]["models"] = {key: models[key] for key in asked if key in models}
    return found


def defaults_recording() -> dict[str, Any]:
    """Return what transformers makes of configs with a field absent or null: the content of defaults.json."""
    ask, defaults = importlib.import_module("ask"), importlib.import_module("defaults")
    versions = {**ask.VERSIONS, "python": platform.python_version(), "date": time.strftime("%Y-%m-%d")}
    return {"versions": versions, "models": defaults.recorded()}


def recordings() -> dict[str, dict[str, Any]]:
    """Return the content of each record."""
    versions = {**asked_versions(), "python": platform.python_version(), "date": time.strftime("%Y-%m-%d")}
    return {
        f"{record}.json": {"versions": versions, "models": {name: said() for name, said in asked.items()}}
        for record, asked in figures().items()
    }


def llama_recording(library: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return what a real llama.cpp says of types, mixes and contexts: the content of llama_cpp.json."""
    llama = importlib.import_module("llama")
    catalogue = importlib.import_module("memcalc.files.catalogue")
    published = public()

    def config_of(name: str) -> dict[str, object]:
        config: dict[str, object]
        config = published[name]["config"] if name in published else catalogue.record(name).fields
        return config

    versions = {
        "llama.cpp": library.version,
        "package": f"{llama.installer.PACKAGE} {llama.installer.VERSION}",
        "source": "https://github.com/ggml-org/llama.cpp",
        "date": time.strftime("%Y-%m-%d"),
    }
    with tempfile.TemporaryDirectory() as folder:
        models = llama.recorded(library, folder, config_of, names)
    return {"versions": versions, "types": library.blocks(), "models": models}


def training_recording() -> dict[str, Any]:
    """Return what torch, PEFT and bitsandbytes hold in training: the content of training.json."""
    cases = importlib.import_module("train_cases")
    catalogue = importlib.import_module("memcalc.files.catalogue")
    published, adapted = (
        {name: catalogue.record(source).fields for name, source in named.items()}
        for named in (cases.PUBLISHED, cases.ADAPTED)
    )
    recorded = cases.recorded(published, adapted)
    versions = {**cases.VERSIONS, "python": platform.python_version(), "date": time.strftime("%Y-%m-%d")}
    return {"versions": versions, "models": recorded}


def text(value: object, depth: int = 0) -> str:
    """Write a record: a line for each figure; a config, and what lies deeper, on one line."""
    if isinstance(value, list) and depth == 3:
        pad = " " * (depth + 1)
        return "[\n" + ",\n".join(pad + text(item, 4) for item in value) + "\n" + " " * depth + "]"
    if not isinstance(value, dict) or depth > 3:
        return json.dumps(value, ensure_ascii=False)
    pad = " " * (depth + 1)
    lines = (
        f"{pad}{json.dumps(key, ensure_ascii=False)}: {text(item, 4 if key == 'config' else depth + 1)}"
        for key, item in value.items()
    )
    return "{\n" + ",\n".join(lines) + "\n" + " " * depth + "}"


def write(made: dict[str, Any]) -> None:
    """Write some of the records."""
    for name, content in made.items():
        (RECORDED / name).write_text(text(content) + "\n", encoding="utf-8", newline="\n")
        print(f"   tests/recorded/{name}: {len(content['models'])}")


def main(types: list[str]) -> None:
    """Write the records: all of them, or what is recorded of some model types."""
    start = time.monotonic()
    if types:
        write(of_types(types))
        with_program = [kind for kind in types if kind in importlib.import_module("program_cases").TYPES]
        if with_program:
            importlib.import_module("record_programs").main(with_program)
        return
    llama = importlib.import_module("llama")
    made = {
        **recordings(),
        "training.json": training_recording(),
        "llama_cpp.json": llama_recording(llama.Llama(), llama.RECORDED),
        "defaults.json": defaults_recording(),
    }
    write(made)
    behind = ("saved", "record_saved"), ("adapters", "adapter_cases"), ("programs", "record_programs")
    for name, module in (*behind, ("methods", "train_methods")):
        importlib.import_module(module).main()
        print(f"   tests/recorded/{name}.json")
    print(f"   {time.monotonic() - start:.1f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
