"""What other calculators that pip and npm install say of twenty models: book/record/other_calculators.json.

`.venv-oracles/bin/python tools/other_calculators.py` installs them into a folder of `_build`, gives each the
sizes of the same configs, and writes down what they answer, or the words in which they refuse. They ask the
Hub for a config and a header; here a folder answers instead. Nothing else of them is changed.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import subprocess
import sys
import types
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "_build" / "other_calculators"
RECORD = ROOT / "book" / "record" / "other_calculators.json"
CONTEXT = 32768
PINNED = {
    "hf-mem": "0.5.6",
    "canirun": "1.0.1",
    "hf-vram-calc": "1.0.9",
    "llm-mem": "0.1.1",
    "vramcalc": "0.1.2",
    "llm-analysis": "0.2.2",
    "llm-d-planner": "0.3.3",
    "llmfit": "1.1.17",
}
NEEDED = (
    "httpx2[http2]", "tabulate", "fire", "jinja2", "pydantic-settings", "python-dotenv", "requests", "rich",
    "psutil",
)  # fmt: skip
RENAMED = {  # llmfit's own names of the same sizes
    "meta-llama/Meta-Llama-3.1-8B": "meta-llama/Llama-3.1-8B",
    "mistralai/Mixtral-8x7B-v0.1": "mistralai/Mixtral-8x7B-Instruct-v0.1",
}
NPM = ("llm-checker", "3.8.1")
MODELS = (
    "meta-llama/Llama-2-7b-hf",
    "meta-llama/Meta-Llama-3.1-8B",
    "meta-llama/Llama-3.3-70B-Instruct",
    "Qwen/Qwen2.5-7B-Instruct",
    "Qwen/Qwen3-8B",
    "Qwen/Qwen3-32B",
    "Qwen/Qwen3-30B-A3B",
    "Qwen/Qwen3-235B-A22B",
    "mistralai/Mixtral-8x7B-v0.1",
    "microsoft/phi-4",
    "google/gemma-2-9b-it",
    "google/gemma-3-27b-it",
    "google/gemma-4-31B",
    "openai/gpt-oss-120b",
    "deepseek-ai/DeepSeek-V3",
    "zai-org/GLM-4.5-Air",
    "Qwen/Qwen3.5-27B",
    "moonshotai/Kimi-Linear-48B-A3B-Instruct",
    "ibm-granite/granite-4.0-h-small",
    "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
)

sys.path[:0] = [str(ROOT), str(HERE / "site")]


def install() -> None:
    """Put the calculators, and what they need beside torch and transformers, into a folder of their own."""
    site = HERE / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--upgrade", "--target", str(site)]
    subprocess.run([*pip, *NEEDED], check=True)
    subprocess.run(
        [*pip, "--no-deps", *(f"{name}=={version}" for name, version in PINNED.items())], check=True
    )
    name, version = NPM
    subprocess.run(
        ["npm", "install", "--silent", "--ignore-scripts", f"{name}@{version}"], cwd=HERE, check=True
    )


def config_of(name: str) -> dict[str, Any]:
    """Return a catalogue model's config with its class and its dtype, as the published file has them."""
    from transformers.models.auto import modeling_auto

    from memcalc.files.catalogue import record

    fields = {field: value for field, value in record(name).fields.items() if field != "auto_map"}
    kind = str(fields["model_type"])
    both = "text_config" in fields
    names = (
        modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
        if both
        else modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    )
    fields.setdefault("architectures", [names[kind]])
    if not fields.get("torch_dtype") and not fields.get("dtype"):
        fields["torch_dtype"] = "bfloat16"
    return fields


def gib(amount: float) -> int:
    """Return a figure in GiB as bytes."""
    return round(amount * 2**30)


class Asked:
    """A model as the calculators meet it: a folder with its config, and the count of a header's numbers."""

    def __init__(self, name: str) -> None:
        """Write the folder."""
        import memcalc

        model = memcalc.model(name)
        self.name, self.config = name, config_of(name)
        self.numbers = model.parameters + model.mtp_parameters + model.vision_parameters
        self.folder = HERE / "models" / name
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "config.json").write_text(json.dumps(self.config), encoding="utf-8")

    def download(self, *_: Any, **__: Any) -> str:
        """Stand in for the Hub: the path of the config."""
        return str(self.folder / "config.json")

    def header(self, *_: Any, **__: Any) -> Any:
        """Stand in for the Hub: how many numbers of which dtype the safetensors hold."""
        counted = {"BF16": self.numbers}
        held = {"total": self.numbers, "parameters": counted}
        return types.SimpleNamespace(parameter_count=counted, safetensors=held, library_name="transformers")


def hf_mem(asked: Asked) -> dict[str, int]:
    """Of hf-mem what `hf-mem --experimental --max-model-len` says, with the Hub's files from the folder."""
    run = importlib.import_module("hf_mem.run")

    async def file(client: Any, url: str, headers: Any = None) -> Any:  # noqa: ARG001 - hf-mem's own names
        if "/tree/" in url:
            return [{"path": path, "type": "file"} for path in ("config.json", "model.safetensors")]
        return json.loads(json.dumps(asked.config))

    async def header(**_: Any) -> Any:
        size = [0, 2 * asked.numbers]
        return {"all": {"dtype": "BF16", "shape": [asked.numbers], "data_offsets": size}}

    patches = (
        mock.patch.object(run, "get_json_file", file),
        mock.patch.object(run, "fetch_safetensors_metadata", header),
    )
    with patches[0], patches[1]:
        result = run.run(asked.name, experimental=True, max_model_len=CONTEXT, kv_cache_dtype="bfloat16")
    return {"cache_bytes": result.kv_cache}


def canirun(asked: Asked) -> dict[str, int]:
    """Of canirun the cache at 16 bits, and its parameters where no header tells them."""
    logic = importlib.import_module("canirun.logic")
    with (
        mock.patch.object(logic, "hf_hub_download", asked.download),
        mock.patch.object(logic, "model_info", asked.header),
    ):
        analyzer = logic.ModelAnalyzer(asked.name, verbose=False)
        rows = analyzer.calculate(analyzer.fetch_model_data(), ctx=CONTEXT)
    return {"cache_bytes": rows[0]["kv_cache"]}


def hf_vram_calc(asked: Asked) -> dict[str, int]:
    """Of hf-vram-calc the parameters and the cache in 16 bits."""
    parser = importlib.import_module("hf_vram_calc.parser")
    calculator = importlib.import_module("hf_vram_calc.calculator")
    settings = importlib.import_module("hf_vram_calc.config").ConfigManager()
    config = parser.ConfigParser.load_and_parse_config(asked.name, str(asked.folder))
    cache = calculator.VRAMCalculator(settings).calculate_kv_cache_memory(config, "bf16", 1, CONTEXT)
    numbers = calculator.ParameterCalculator.calculate_transformer_params(config)
    return {"cache_bytes": gib(cache), "parameters": numbers}


def llm_mem(asked: Asked) -> dict[str, int]:
    """Of llm-mem the "Context VRAM" in float16, which it prints in units of 10^9 bytes."""
    module = importlib.import_module("llm_mem.llm_memory_calculator")
    with mock.patch.object(module, "hf_hub_download", asked.download):
        answer = module.LLMMemoryCalculator().calculate_kv_cache_memory(CONTEXT, asked.name, "float16")
    if isinstance(answer, str):
        raise TypeError(answer)
    return {"cache_bytes": round(answer * 1e9)}


def vramcalc(asked: Asked) -> dict[str, int]:
    """Of vramcalc the cache and the parameters."""
    arch = importlib.import_module("vramcalc.loaders").load_arch(asked.config)
    cache = importlib.import_module("vramcalc.memory").kv_cache(arch, 1, CONTEXT, 2)
    return {"cache_bytes": cache, "parameters": arch.param_count()}


def llm_analysis(asked: Asked) -> dict[str, int]:
    """Of llm-analysis the cache of all layers and the parameters, of the config as it reads it."""
    config = importlib.import_module("llm_analysis.config")
    module = importlib.import_module("llm_analysis.analysis")
    card = config.GPUConfig("any", 80, 2000, 300, 1e-6, 300)
    read = config.get_model_config_from_hf(str(asked.folder))
    analysis = module.LLMAnalysis(read, card)
    cache = read.num_layers * analysis.get_memory_kv_cache_per_layer(1, CONTEXT)
    return {"cache_bytes": round(cache), "parameters": round(analysis.get_num_params_total())}


def llm_d_planner(asked: Asked) -> dict[str, int]:
    """Of llm-d-planner the cache of one request."""
    from transformers import AutoConfig

    planner = importlib.import_module("planner.capacity_planner")
    config = AutoConfig.from_pretrained(asked.folder)
    return {"cache_bytes": gib(planner.kv_cache_req(asked.name, config, CONTEXT))}


def llmfit(asked: Asked) -> dict[str, int]:
    """Of llmfit, which knows models by name, what the context adds to its plan's memory, in units of GiB."""
    program = HERE / "site" / "bin" / "llmfit"

    def planned(context: int) -> float:
        words = [
            str(program),
            "plan",
            RENAMED.get(asked.name, asked.name),
            "--context",
            str(context),
            "--json",
        ]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LookupError(done.stderr.strip().splitlines()[-1])
        return float(json.loads(done.stdout)["minimum"]["vram_gb"])

    return {"cache_bytes": gib((planned(CONTEXT) - planned(1024)) * CONTEXT / (CONTEXT - 1024))}


def llm_checker(asked: Asked) -> dict[str, int]:
    """Of llm-checker the cache that it estimates of a model of so many parameters, in units of GiB."""
    script = f"""
    const Selector = require('llm-checker/src/ai/multi-objective-selector.js');
    const made = new (Selector.default || Selector.MultiObjectiveSelector || Selector)();
    console.log(made.estimateKVCache({{name: {asked.name!r}, params: {asked.numbers / 1e9},
        size: '{asked.numbers / 1e9:.1f}B'}}, {CONTEXT}));
    """
    done = subprocess.run(["node", "-e", script], cwd=HERE, capture_output=True, text=True, check=True)
    return {"cache_bytes": gib(float(done.stdout.strip().splitlines()[-1]))}


def accelerate(asked: Asked) -> dict[str, int]:
    """Of `accelerate estimate-memory` the parameters: it has nothing on caches."""
    estimate = importlib.import_module("accelerate.commands.estimate")
    sizes = importlib.import_module("accelerate.utils").calculate_maximum_sizes
    known = types.SimpleNamespace(config=asked.config, library_name="transformers")
    with mock.patch.object(estimate, "verify_on_hub", return_value=known):
        built = estimate.create_empty_model(str(asked.folder), "transformers")
    return {"parameters": sizes(built)[0] // 4}


CALCULATORS: dict[str, Callable[[Asked], dict[str, int]]] = {
    "hf-mem": hf_mem,
    "llm-d-planner": llm_d_planner,
    "llmfit": llmfit,
    "hf-vram-calc": hf_vram_calc,
    "vramcalc": vramcalc,
    "canirun": canirun,
    "llm-mem": llm_mem,
    "llm-analysis": llm_analysis,
    "llm-checker": llm_checker,
    "accelerate": accelerate,
}


def answer(calculator: Callable[[Asked], dict[str, int]], asked: Asked) -> dict[str, Any]:
    """Return what a calculator says of a model, or how it refuses, in its own words."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return dict(calculator(asked))
    except Exception as error:  # noqa: BLE001 - whatever another program raises is its answer, and is recorded
        words = str(error).strip().splitlines() or [""]
        return {"refused": f"{type(error).__name__}: {words[0]}"[:160].replace(str(asked.folder), "MODEL")}


def main() -> None:
    """Install, ask, write."""
    HERE.mkdir(parents=True, exist_ok=True)
    if "--installed" not in sys.argv:
        install()
    versions = {**PINNED, NPM[0]: NPM[1], "accelerate": metadata.version("accelerate")}
    versions["transformers"] = metadata.version("transformers")
    models = {}
    for name in MODELS:
        asked = Asked(name)
        models[name] = {title: answer(ask, asked) for title, ask in CALCULATORS.items()}
        print(f"   {name}")
    found = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "context": CONTEXT,
        "versions": versions,
        "models": models,
    }
    RECORD.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
