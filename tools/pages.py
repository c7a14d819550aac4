"""What pages show of memcalc's own records: deployments, symbols, models, machines."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple, get_args

import chapter_plans

from memcalc.data.units import hundredths
from memcalc.errors import MemcalcError
from memcalc.files.api import model as load_model
from memcalc.files.catalogue import catalogue
from memcalc.files.machines import devices
from memcalc.files.readers import PUBLISHED, READERS
from memcalc.files.sources import source
from memcalc.ledger.model import cache_growth
from memcalc.ledger.vocabulary import WORDS
from memcalc.serving import serve
from memcalc.serving.engines import EngineName
from memcalc.serving.engines.records import not_modelled, releases
from memcalc.show.figure import bars
from memcalc.show.tables import table

if TYPE_CHECKING:
    from memcalc.ledger.parts import Part
    from memcalc.serving import ServingEstimate

CONTEXT, GIB = 8192, 2**30


class Deployment(NamedTuple):
    """What runs where; `weights` None is the source's own format, `chunk` None the engine's own pass.

    `version` None is the newest version of the engine that is modelled.
    """

    model: str
    on: str
    engine: EngineName = "vllm"
    weights: str | None = None
    chunk: int | None = None
    version: str | None = None


DEPLOYMENTS = (
    Deployment("Qwen/Qwen3-32B", "1x rtx-pro-6000-blackwell", "transformers"),
    Deployment("Qwen/Qwen3-32B", "1x rtx-pro-6000-blackwell", "transformers", chunk=2048),
    Deployment("Qwen/Qwen3-32B", "1x rtx-pro-6000-blackwell"),
    Deployment("Qwen/Qwen3-32B", "2x rtx-a6000"),
    Deployment("Qwen/Qwen3-32B", "2x rtx-a6000-ecc"),
    Deployment("Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4", "1x rtx-pro-6000-blackwell"),
    Deployment("Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4", "2x rtx-a6000"),
    Deployment("Qwen/Qwen3-235B-A22B", "8x h20-96g"),
    Deployment("Qwen/Qwen3-235B-A22B", "4x h20-96g"),
    Deployment("Qwen/Qwen3-235B-A22B-FP8", "4x h20-96g"),
    Deployment(
        "deepseek-ai/DeepSeek-R1", "1x rtx-4090 + 512GiB host", "ktransformers", "q4_k_m", version="0.2"
    ),
    Deployment("deepseek-ai/DeepSeek-R1", "1x rtx-4090-48g + 512GiB host", "ktransformers", "q4_k_m"),
    Deployment("Qwen/Qwen3-235B-A22B", "1x rtx-4090 + 256GiB host", "ktransformers", "q4_k_m"),
    Deployment("moonshotai/Kimi-K2.5", "2x rtx-4090 + 640GiB host", "ktransformers"),
    Deployment("Qwen/Qwen3-32B", "1x ascend-910b-64g", "vllm-ascend"),
    Deployment("Qwen/Qwen3-32B", "2x ascend-910b-64g", "vllm-ascend"),
    Deployment("deepseek-ai/DeepSeek-R1", "4x atlas-800i-a2", "vllm-ascend", "bf16"),
    Deployment("deepseek-ai/DeepSeek-R1", "2x atlas-800i-a2", "vllm-ascend", "w8a8"),
    Deployment("deepseek-ai/DeepSeek-R1", "1x atlas-800i-a2", "vllm-ascend", "w8a8"),
)


def short(name: str) -> str:
    """Return a model's name without its owner."""
    return name.partition("/")[2]


def planned() -> dict[Deployment, ServingEstimate]:
    """Return the plan of every deployment: one sequence, all else as the engine's version has it."""
    return {
        one: serve(
            one.model,
            context=CONTEXT,
            on=one.on,
            engine=one.engine,
            weights=one.weights,
            prefill_chunk=one.chunk,
            engine_version=one.version,
        )
        for one in DEPLOYMENTS
    }


def a_pass(served: ServingEstimate) -> str:
    """Return how many tokens of a prompt go through the model at once."""
    option, plan = served.engine.chunk_option, served.plan
    tokens = plan.engine_options.get(option) if option else plan.prefill_chunk
    return f"{tokens:,}" if tokens else "the whole prompt"


def in_host(served: ServingEstimate) -> str:
    """Return what the host's memory holds of a deployment, if it holds anything."""
    return "" if served.host is None else f", host {hundredths(served.host.total_bytes, GIB)}"


def deployments() -> str:
    """Return the table of deployments as Markdown."""
    rows = [
        {
            "model, format": f'<a href="{chapter_plans.address(command_of(one))}">'
            f"{escape(short(one.model))}</a>, {served.plan.weights}",
            "machine": one.on,
            "engine, share, one pass": f"{served.engine.title} {served.engine.release}, "
            f"{served.plan.utilization:.2f}, {a_pass(served)}",
            "memory allows, tokens": served.max_context if served.fits else "does not fit",
            "own limit": served.model.max_context,
            "one device's share, GiB": f"{hundredths(served.device.share_bytes, GIB)} of "
            f"{hundredths(served.usable_bytes or 0, GIB)}{in_host(served)}",
        }
        for one, served in planned().items()
    ]
    return f"{table(rows)!r}\n"


def command_of(one: Deployment) -> str:
    """Return the words behind `memcalc` that ask for a deployment."""
    weights = f" --weights {one.weights}" if one.weights else ""
    chunk = f" --prefill-chunk {one.chunk}" if one.chunk else ""
    version = f" --engine-version {one.version}" if one.version else ""
    asked = f"serve {one.model} --context {CONTEXT} --on '{one.on}' --engine {one.engine}"
    return f"{asked}{version}{weights}{chunk}"


def examples() -> str:
    """Return the plans of the Home page and of the chapters as links that the calculator's page answers."""
    rows = "".join(
        f"<li>{chapter_plans.link(command_of(one), command_of(one))}</li>\n" for one in DEPLOYMENTS
    )
    home = (
        f"<details open><summary>Home: {len(DEPLOYMENTS)}</summary>\n"
        f'<p><a href="index.html">Home</a></p>\n<ul>{rows}</ul></details>\n'
    )
    return f'```{{raw}} html\n<div class="examples d-print-none">\n{home}{chapter_plans.index()}</div>\n```\n'


def picture() -> str:
    """Return the picture of what fills one device."""
    some = {
        f"{short(one.model)}\n{one.on}": served
        for one, served in planned().items()
        if one.engine == "vllm" and not one.on.endswith("-ecc")
    }
    capacity = {
        label: served.device.capacity_bytes
        for label, served in some.items()
        if served.device.capacity_bytes is not None
    }
    rows = {label: served.device.components for label, served in some.items()}
    return bars(
        rows, "What fills one device: weights first, then what the engine takes.", capacity=capacity
    ).file


def symbols() -> str:
    """Return the table of every quantity as Markdown."""
    rows = [
        {
            "letter": f"${found.latex}$",
            "name in code": f"`{name}`",
            "unit": found.unit,
            "meaning": found.meaning,
        }
        for name, found in WORDS.items()
    ]
    return f"{table(rows)!r}\n"


def models() -> str:
    """Return the table of catalogue models as Markdown."""
    rows = [
        {
            "model": f"`{name}`",
            "parameters": model.parameters,
            "cache, B a token (windows not full)": growth["bytes_per_token_in_window"],
            "state, B a sequence": growth["state_bytes_per_sequence"] or None,
            "config.json from": source(name).found,
        }
        for name in catalogue()
        for model in [load_model(name)]
        for growth in [cache_growth(model)]
    ]
    return f"{table(rows)!r}\n"


KEPT = {  # what a part of a layer keeps of a text
    "GQA": "keys and values",
    "MLA": "latent",
    "Indexer": "indexer keys",
    "BlockIndexer": "indexer keys",
    "CompressedAttention": "compressed entries",
    "DeltaNet": "state (gated delta rule)",
    "KimiDelta": "state (Kimi delta attention)",
    "Mamba": "state (Mamba-1)",
    "HeadedMamba": "state (Mamba-1, in heads)",
    "Mamba2": "state (Mamba-2)",
    "RecurrentUnit": "state (RG-LRU)",
    "ShortConvolution": "state (short convolution)",
    "LightningAttention": "state (lightning attention)",
}
SERVED: tuple[EngineName, ...] = ("transformers", "vllm", "sglang", "llama.cpp")


def types() -> str:
    """Return the table of every model type that has a reader, as Markdown."""
    known = {str(source(name).fields["model_type"]): name for name in reversed(catalogue())}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        rows = [
            row_of_type(name, known.get(name), path) for name in sorted((*READERS, *PUBLISHED), key=str.lower)
        ]
    return f"{table(rows)!r}\n"


def row_of_type(name: str, example: str | None, path: Path) -> dict[str, object]:
    """Return what is known of a model type: what its layers keep, and which engines have a rule for it.

    A model of the catalogue stands for it, else its class's own defaults.
    """
    path.write_text(json.dumps({"model_type": name}), encoding="utf-8")
    asked = example or path
    row: dict[str, object] = {"`model_type`": f"`{name}`", "for example": short(example) if example else ""}
    try:
        model = load_model(asked)
    except MemcalcError:
        return row | {"its layers keep": "as its config says"} | dict.fromkeys(SERVED, "")
    parts = {kept_by(part): None for layer in model.layers for _, part in layer.remembering}
    windows = ", some in a window" if model.windows else ""
    row["its layers keep"] = (", ".join(parts) or "nothing") + windows
    return row | {engine: "yes" if answers(asked, engine) else "no" for engine in SERVED}


def kept_by(part: Part) -> str:
    """Return what a part of a layer keeps, in the words of its class or of the nearest one above it."""
    return next(KEPT[kind.__name__] for kind in type(part).__mro__ if kind.__name__ in KEPT)


def answers(asked: str | Path, engine: EngineName) -> bool:
    """Say whether an engine has a rule for a model."""
    try:
        serve(asked, context=1024, engine=engine, weights="Q8_0" if engine == "llama.cpp" else "bf16")
    except MemcalcError:
        return False
    return True


def machines() -> str:
    """Return the table of devices as Markdown."""
    rows = [
        {
            "device": f"`{item.id}`",
            "name": item.name,
            "on the box": item.nominal,
            "driver prints, MiB": item.printed_mib,
            "framework sees, MiB": item.visible_mib,
            "source": f"{item.source}, {item.date}",
        }
        for item in devices().values()
    ]
    return f"{table(rows)!r}\n"


def engines() -> str:
    """Return the table of engines and of the releases that are modelled as Markdown."""
    rows = [
        {
            "engine": f"`{name}`" if release == dated[0] else "",
            "release": f"{release.version}, **the default**" if release == dated[-1] else release.version,
            "of": release.date,
            "source": link(release.source),
        }
        for name, dated in releases().items()
        for release in dated
    ]
    return f"{table(rows)!r}\n"


def engines_today() -> str:
    """Return what each engine takes for granted where only a model and a machine are named, as Markdown."""
    machines_of: dict[str, str] = {"vllm-ascend": "2x ascend-910b-64g", "mindie": "2x ascend-910b-64g"}
    rows = [
        {"engine": f"`{name}`", "on": on, "taken for granted": "; ".join(served.plan.defaults)}
        for name in get_args(EngineName)
        for on in [machines_of.get(name, "1x h100-80g")]
        for served in [serve("Qwen/Qwen3-14B", context=CONTEXT, on=on, engine=name)]
    ]
    return f"{table(rows)!r}\n"


def engines_not_modelled() -> str:
    """Return the table of engines without a model of their own as Markdown."""
    rows = [
        {
            "engine": one.name,
            "newest release": f"{one.version}, {one.date}" if one.version else "–",
            "nearest": f"`{one.nearest}`",
            "what is known of it": one.note,
        }
        for one in not_modelled()
    ]
    return f"{table(rows)!r}\n"


def link(source: str) -> str:
    """Return a source as a link, if it is an address."""
    return f"[{source.removeprefix('https://').partition('/')[2]}]({source})" if "://" in source else source
