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
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT / "tests" / "recorded"

sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "oracles")]


def recordings() -> dict[str, dict[str, Any]]:
    """Return the content of each record."""
    ask, small = importlib.import_module("ask"), importlib.import_module("small")
    sources = importlib.import_module("memcalc.files.sources")
    versions = {**ask.VERSIONS, "python": platform.python_version(), "date": time.strftime("%Y-%m-%d")}
    public = json.loads((RECORDED / "models.json").read_text(encoding="utf-8"))["models"]
    drawn = {f"{kind} {seed}": small.small_config(kind, seed) for kind in small.DRAWN for seed in small.SEEDS}
    models = {
        "catalogue": {name: ask.figures(sources.record(name).fields) for name in sources.catalogue()},
        "models": {
            name: {**model, "figures": ask.figures(model["config"])} for name, model in public.items()
        },
        "random": {
            name: {"config": config, "figures": ask.small_figures(config)} for name, config in drawn.items()
        },
        "rope": ask.rope(),
    }
    return {f"{name}.json": {"versions": versions, "models": content} for name, content in models.items()}


def of_types(types: list[str]) -> dict[str, Any]:
    """Return the records that hold every reader, with these types asked anew and the others as they were."""
    ask, small, defaults = map(importlib.import_module, ("ask", "small", "defaults"))
    names = ("models.json", "random.json", "defaults.json")
    found = {name: json.loads((RECORDED / name).read_text(encoding="utf-8")) for name in names}
    public, drawn, changed = (found[name]["models"] for name in names)
    for model in public.values():
        if model["config"]["model_type"] in types:
            model["figures"] = ask.figures(model["config"])
    for kind in types:
        for seed in small.SEEDS:
            config = small.small_config(kind, seed)
            drawn[f"{kind} {seed}"] = {"config": config, "figures": ask.small_figures(config)}
    changed |= defaults.recorded(types)
    return found


def defaults_recording() -> dict[str, Any]:
    """Return what transformers makes of configs with a field absent or null: the content of defaults.json."""
    ask, defaults = importlib.import_module("ask"), importlib.import_module("defaults")
    versions = {**ask.VERSIONS, "python": platform.python_version(), "date": time.strftime("%Y-%m-%d")}
    return {"versions": versions, "models": defaults.recorded()}


def llama_recording() -> dict[str, Any]:
    """Return what a real llama.cpp says of types, mixes and contexts: the content of llama_cpp.json.

    Raises:
        NotInstalledError: there is none for this machine.

    """
    llama = importlib.import_module("llama")
    sources = importlib.import_module("memcalc.files.sources")
    public = json.loads((RECORDED / "models.json").read_text(encoding="utf-8"))["models"]

    def config_of(name: str) -> dict[str, object]:
        config: dict[str, object] = public[name]["config"] if name in public else sources.record(name).fields
        return config

    library = llama.Llama()
    versions = {
        "llama.cpp": library.version,
        "package": f"{llama.installer.PACKAGE} {llama.installer.VERSION}",
        "source": "https://github.com/ggml-org/llama.cpp",
        "date": time.strftime("%Y-%m-%d"),
    }
    with tempfile.TemporaryDirectory() as folder:
        models = llama.recorded(library, folder, config_of)
    return {"versions": versions, "types": library.blocks(), "models": models}


def training_recording() -> dict[str, Any]:
    """Return what torch, PEFT and bitsandbytes hold in training: the content of training.json."""
    cases = importlib.import_module("train_cases")
    sources = importlib.import_module("memcalc.files.sources")
    published, adapted = (
        {name: sources.record(source).fields for name, source in named.items()}
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
        return
    made = {**recordings(), "training.json": training_recording(), "llama_cpp.json": llama_recording()}
    made |= {"defaults.json": defaults_recording()}
    write(made)
    importlib.import_module("record_saved").main()
    print("   tests/recorded/saved.json")
    print(f"   {time.monotonic() - start:.1f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
