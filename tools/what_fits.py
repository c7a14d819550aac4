"""Pages that are found by a card or a model: what runs on 24 GB, how much memory Qwen3.6-27B needs.

Every number is an answer of memcalc under the conditions that its page states, and a link that asks it again.
The pages are written into `fits/` before each build (tools/book.py); _toc.yml lists them.
"""

from __future__ import annotations

import re
from functools import cache, partial
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from chapter_plans import PAGE, address
from pages import short

from memcalc.data.units import GIB, hundredths
from memcalc.errors import MemcalcError
from memcalc.files.api import model as load_model
from memcalc.files.machines import devices
from memcalc.files.sources import source
from memcalc.ledger.formats import format_named
from memcalc.ledger.model import cache_growth
from memcalc.serving import serve
from memcalc.serving.search import LIMIT
from memcalc.show.tables import table
from memcalc.training import train
from memcalc.training.autograd.architectures import keeps_states

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memcalc.files.machines import Device
    from memcalc.serving import ServingEstimate
    from memcalc.serving.engines import EngineName
    from memcalc.training import TrainingEstimate

CONTEXT, SEQ, RANK = 8192, 2048, 16
REFUSED = "refused"
FEW = 16  # sequences that vLLM is told to hold at most
COUNTS = (1, 2, 4, 8)  # devices


class Size(NamedTuple):
    """A size in which memory is sold, and the device whose figures stand for it."""

    nominal: str
    device: str
    unified: bool = False

    @property
    def slug(self) -> str:
        """The page's name."""
        return slug(self.nominal)

    @property
    def words(self) -> str:
        """The size in English."""
        return f"{self.nominal} of unified memory" if self.unified else self.nominal

    @property
    def chinese(self) -> str:
        """The size in Chinese."""
        return f"{self.nominal} {'统一内存' if self.unified else '显存'}"

    @property
    def devices(self) -> list[Device]:
        """Every device of the record that is sold with it, the one that stands for it first."""
        sold = [one for one in devices().values() if one.nominal == self.nominal]
        sold = [one for one in sold if one.is_unified or not self.unified]
        return sorted(sold, key=lambda one: one.id != self.device)


SIZES = (
    *(Size("8 GB", "rtx-4060"), Size("12 GB", "rtx-4070"), Size("16 GB", "rtx-4060-ti-16g")),
    *(Size("24 GB", "rtx-4090"), Size("32 GB", "rtx-5090"), Size("48 GB", "rtx-a6000")),
    *(Size("80 GB", "h100-80g"), Size("96 GB", "rtx-pro-6000-blackwell")),
    Size("128 GB", "gb10", unified=True),
)
ASKED = (  # a page each
    *("Qwen/Qwen3.6-27B", "Qwen/Qwen3.6-35B-A3B", "Qwen/Qwen3.5-397B-A17B"),
    *("Qwen/Qwen3-8B", "Qwen/Qwen3-32B", "Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-235B-A22B"),
    *("openai/gpt-oss-20b", "openai/gpt-oss-120b", "deepseek-ai/DeepSeek-R1", "deepseek-ai/DeepSeek-V3.2"),
    *("meta-llama/Meta-Llama-3.1-8B", "meta-llama/Llama-3.3-70B-Instruct"),
    *("google/gemma-3-27b-it", "google/gemma-4-31B", "mistralai/Mixtral-8x7B-v0.1"),
    *("moonshotai/Kimi-K2.5", "zai-org/GLM-5.2", "MiniMaxAI/MiniMax-M2.5"),
)
BESIDE = (  # in the tables of the cards, too
    *("Qwen/Qwen3-0.6B", "Qwen/Qwen3-1.7B", "Qwen/Qwen3-4B", "Qwen/Qwen3-14B", "Qwen/Qwen3.5-122B-A10B"),
    *("Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-72B", "Qwen/Qwen3-VL-8B-Instruct"),
    *("meta-llama/Llama-3.2-3B", "google/gemma-3-4b-it", "google/gemma-3-12b-it", "google/gemma-4-E4B"),
    *("microsoft/phi-4", "zai-org/GLM-4.5-Air", "deepseek-ai/DeepSeek-R1-Distill-Llama-70B"),
)
TRAINED = (
    *("Qwen/Qwen3-0.6B", "Qwen/Qwen3-1.7B", "Qwen/Qwen3-4B", "Qwen/Qwen3-8B", "Qwen/Qwen3-14B"),
    *("Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-32B", "Qwen/Qwen2.5-7B-Instruct", "mistralai/Mistral-7B-v0.3"),
    *("meta-llama/Llama-3.2-3B", "meta-llama/Meta-Llama-3.1-8B", "meta-llama/Llama-3.3-70B-Instruct"),
)
RENTED = ("rtx-4090", "h100-80g", "h200-141g")
COMMON = ("rtx-4090", "rtx-5090", "rtx-a6000", "a100-80g", "h100-80g", "rtx-pro-6000-blackwell", "h200-141g")
MODES: Mapping[str, dict[str, Any]] = {  # options of a step, by what a column is called
    "every weight": {"optimizer_step": "fused"},
    "LoRA": {"lora_rank": RANK},
    "QLoRA": {"lora_rank": RANK, "quantize_base": "nf4-dq"},
}
SAID = {None: "", "fits": "fits: ", "may_not_fit": "may not fit: ", "does_not_fit": "no: "}
STEP = f"--seq {SEQ} --regime pure-bf16 --recompute full"
MIXES = ("Q8_0", "Q6_K", "Q5_K_M")


def slug(name: str) -> str:
    """Return a name as an address has it.

    >>> slug("Qwen3.6-27B")
    'qwen3_6_27b'
    """
    return re.sub(r"[^a-z0-9]+", "_", name.lower())


class Plan(NamedTuple):
    """How a model is served: on which engine, in which format; None is the model's own."""

    model: str
    engine: EngineName
    weights: str | None = None

    def words(self, on: str | None) -> str:
        """Return what stands behind `memcalc` at a shell."""
        weights = f" --weights {self.weights}" if self.weights else ""
        machine = f" --on '{on}'" if on else ""
        few = f" --engine-option max_num_seqs={FEW}" if self.is_few else ""
        return f"serve {self.model} --context {CONTEXT}{weights} --engine {self.engine}{machine}{few}"

    @property
    def is_few(self) -> bool:
        """Whether vLLM is told to hold few sequences: it keeps a block for the states of each."""
        return self.engine == "vllm" and any(
            one.kind == "state" for one in load_model(self.model).cache(1, 1)
        )

    def on(self, machine: str | None) -> ServingEstimate:
        """Return the estimate."""
        few = {"max_num_seqs": FEW} if self.is_few else {}
        asked: dict[str, Any] = {
            "engine": self.engine,
            "weights": self.weights,
            "on": machine,
            "engine_options": few,
        }
        return serve(self.model, context=CONTEXT, **asked)


def own(name: str) -> str:
    """Return the format that a model is published in."""
    return serve(name, context=1).plan.weights


def four_bits(name: str) -> str:
    """Return the mix of GGUF that a model is run in most with 4 bits."""
    return "MXFP4_MOE" if own(name) == "mxfp4" else "Q4_K_M"


def columns(name: str) -> dict[str, Plan | None]:
    """Return the plans of a model by the names of their columns; None for what there is not."""
    smaller = Plan(name, "vllm", "fp8") if format_named(own(name)).is_plain else None
    return {
        "as published, vLLM": Plan(name, "vllm"),
        "FP8, vLLM": smaller,
        "4-bit GGUF, llama.cpp": Plan(name, "llama.cpp", four_bits(name)),
    }


def link(words: str, shown: str) -> str:
    """Return a link that asks the calculator."""
    return f'<a href="{address(words, PAGE)}">{escape(shown)}</a>'


def gib(count: int) -> str:
    """Return bytes in GiB, with two decimals."""
    return f"{hundredths(count, GIB)} GiB"


def longest(served: ServingEstimate) -> str:
    """Return the largest context: what memory allows, at most the model's own limit."""
    tokens, limit = served.max_context or 0, served.model.max_context
    if limit is not None and tokens >= limit:
        return f"all {limit:,} tokens"
    return "any number of tokens" if tokens >= LIMIT else f"{tokens:,} tokens"


def answer(plan: Plan, on: str) -> tuple[bool, str]:
    """Return whether a plan fits, and the cell that says so."""
    try:
        served = plan.on(on)
    except MemcalcError:
        return False, link(plan.words(on), REFUSED)
    if served.verdict == "fits":
        return True, link(plan.words(on), f"fits, {longest(served)}")
    said = "may not fit" if served.verdict == "may_not_fit" else "no"
    shown = f"{said}: {gib(served.device.total_bytes)}"
    return served.verdict == "may_not_fit", link(plan.words(on), shown)


def serving_rows(on: str) -> tuple[list[dict[str, object]], list[str]]:
    """Return a row for each model of which a format fits, and links to the plans of the others."""
    rows, larger = [], []
    for name in sorted({*ASKED, *BESIDE}, key=lambda one: (load_model(one).parameters, one)):
        cells = {
            what: (False, "–") if one is None else answer(one, on) for what, one in columns(name).items()
        }
        if any(fits for fits, _ in cells.values()):
            shown = f"[{short(name)}]({slug(short(name))}.md)" if name in ASKED else short(name)
            rows.append(
                {"model": shown, "parameters, × 10⁹": load_model(name).parameters / 10**9}
                | {what: cell for what, (_, cell) in cells.items()}
            )
        else:
            larger.append(link(Plan(name, "llama.cpp", four_bits(name)).words(on), short(name)))
    return rows, larger


def training_words(name: str, mode: str, on: str | None = None) -> str:
    """Return what stands behind `memcalc` at a shell for a step of training."""
    options = " ".join(f"--{option.replace('_', '-')} {value}" for option, value in MODES[mode].items())
    return f"train {name} {STEP} {options}" + (f" --on '{on}'" if on else "")


@cache
def step(name: str, mode: str, on: str | None = None) -> TrainingEstimate:
    """Return a step of training."""
    return train(name, seq=SEQ, regime="pure-bf16", recompute="full", on=on, **MODES[mode])


def training_cell(name: str, mode: str, on: str | None = None) -> str:
    """Return what a step of training needs, and whether it fits."""
    words = training_words(name, mode, on)
    try:
        trained = step(name, mode, on)
    except MemcalcError:
        return link(words, REFUSED)
    return link(words, f"{SAID[trained.verdict]}{gib(trained.device.total_bytes)}")


def name_of(device: Device) -> str:
    """Return a device's name without its vendor's.

    >>> name_of(devices()["rtx-4090"])
    'RTX 4090 / 4090 D'
    """
    return device.name.removeprefix(f"{device.vendor} ")


def plain_name(device: Device) -> str:
    """Return the first name of a device, without what tells it from its variants.

    >>> plain_name(devices()["rtx-a6000"])
    'RTX A6000'
    """
    return name_of(device).partition(" / ")[0].partition(",")[0]


def titled(device: Device) -> str:
    """Return a device's name and its memory, once."""
    name = name_of(device)
    return name if device.nominal in name else f"{name}, {device.nominal}"


UNIFIED = """
Unified memory (统一内存) is one memory that processor and accelerator share: the system needs a part of it.
"""


def card_page(size: Size) -> str:
    """Return the page of a size of memory."""
    first = size.devices[0]
    on = f"1x {first.id}"
    rows, larger = serving_rows(on)
    trained = [
        {"model": short(name)} | {mode: training_cell(name, mode, on) for mode in MODES} for name in TRAINED
    ]
    machines = [
        {
            "device": name_of(one),
            "in memcalc": f"`{one.id}`",
            "driver prints, MiB": one.printed_mib,
            "framework sees, MiB": one.visible_mib,
        }
        for one in size.devices
    ]
    return CARD.format(
        words=size.words,
        chinese=size.chinese,
        few=", ".join(list(dict.fromkeys(map(plain_name, size.devices)))[:2]),
        names=", ".join(map(name_of, size.devices)),
        machines=f"{table(machines)!r}",
        unified=UNIFIED if size.unified else "",
        device=name_of(first),
        capacity=gib(first.capacity_bytes),
        conditions=conditions(),
        rows=f"{table(rows)!r}",
        larger=f"\nToo large in every one of these formats: {', '.join(larger)}.\n" if larger else "",
        trained=f"{table(trained)!r}",
        step=STEP_WORDS,
    )


def releases() -> str:
    """Return the two engines of the tables with their releases."""
    both = (Plan("Qwen/Qwen3-8B", "vllm"), Plan("Qwen/Qwen3-8B", "llama.cpp", "Q4_K_M"))
    found = [one.on(None).engine for one in both]
    return " and ".join(f"{one.title} {one.release}" for one in found)


@cache
def conditions() -> str:
    """Return under which conditions the tables of serving hold."""
    return (
        f"One sequence of {CONTEXT:,} tokens, prompt and answer together, with {releases()}; "
        "each engine takes its own share of the memory, and the KV cache has 16 bits a number. "
        f"For a model with states of a fixed size, vLLM is limited to {FEW} sequences (`max_num_seqs`). "
        "The 4-bit GGUF file is Q4_K_M, or MXFP4_MOE for a model that is published in MXFP4. "
        "A model that is published in fewer than 16 bits is not converted to FP8 (–)."
    )


STEP_WORDS = (
    f"One sequence of {SEQ:,} tokens, weights in bfloat16 with AdamW, activations recomputed layer by layer "
    f"(重计算); LoRA and QLoRA have adapters of rank {RANK}, QLoRA a base in NF4."
)
CARD = """# What runs on {words} ({few})? {chinese}能跑什么

Which language models fit {words}, in which format, and for how many tokens,
and what can be trained there: {names}.
{unified}
## Serving 推理

One {device}, of which a framework sees {capacity}. {conditions}
A number of tokens is the largest context that the memory allows; *all* is the model's own limit.
Each answer is a link into the calculator, where you can change any of it.

{rows}
{larger}
What to do if a model does not fit: [It does not fit. Now what?](../notebooks/it_does_not_fit.ipynb)
The experts of a mixture can be kept in the host's memory:
[one GPU and a lot of RAM](../notebooks/one_gpu_and_a_lot_of_ram.ipynb).

## Training 训练

On the same device. {step}

{trained}

What these numbers are made of:
[What does one step hold?](../notebooks/what_does_one_step_hold.ipynb),
[LoRA and QLoRA](../notebooks/lora_and_qlora.ipynb).

## Devices of this size 哪些设备

They differ a little, and so do the answers.
The calculator and `--on` know each by the name in the second column.

{machines}

Other sizes, and models: [What fits where](index.md). Words: [the glossary](../book/glossary.md).
"""


def facts(name: str) -> str:
    """Return what a model is, as far as memory is concerned."""
    model, growth = load_model(name), cache_growth(load_model(name))
    rows: dict[str, object] = {
        "parameters": model.parameters,
        "active a token": model.active_parameters if model.active_parameters != model.parameters else None,
        "vision tower, parameters": model.vision_parameters or None,
        "published in": f"`{own(name)}`",
        "layers": model.depth,
        "KV cache of a token, bytes": growth["bytes_per_token_in_window"],
        "… once every window is full": growth["bytes_per_token"]
        if growth["bytes_per_token"] != growth["bytes_per_token_in_window"]
        else None,
        "states of a sequence, bytes": growth["state_bytes_per_sequence"] or None,
        "the model's own limit, tokens": model.max_context,
        "config.json from": source(name).found,
    }
    return f"{table({'': what, short(name): value} for what, value in rows.items() if value is not None)!r}"


def format_rows(name: str) -> list[dict[str, object]]:
    """Return what each format takes."""
    plans = [one for one in list(columns(name).values())[:2] if one is not None]
    plans += [Plan(name, "llama.cpp", mix) for mix in (*MIXES, four_bits(name))]
    rows = []
    for plan in plans:
        try:
            served = plan.on(None)
        except MemcalcError:
            continue
        total = served.device.total_bytes + (served.host.total_bytes if served.host else 0)
        rows.append(
            {
                "format": f"`{served.plan.weights}`",
                "engine": served.engine.title,
                "weights, GiB": served.device.components["weights"] / GIB,
                f"in all, with {CONTEXT:,} tokens, GiB": link(plan.words(None), hundredths(total, GIB)),
            }
        )
    return rows


def verdict_of(plan: Plan, on: str) -> str:
    """Return the verdict of a plan on a machine, or that it is refused there."""
    try:
        return plan.on(on).verdict or ""
    except MemcalcError:
        return REFUSED


def fewest(plan: Plan | None, device: str) -> str:
    """Return the fewest devices on which a plan fits, as a cell."""
    if plan is None:
        return "–"
    may, verdict = "", ""
    for count in COUNTS:
        on = f"{count}x {device}"
        verdict = verdict_of(plan, on)
        if verdict == "fits":
            return link(plan.words(on), f"{count}{may}")
        if verdict == "may_not_fit":
            may = may or f" ({count})"
    return link(plan.words(on), f"refused{may}" if verdict == REFUSED else f"more than {COUNTS[-1]}{may}")


def smallest(plan: Plan) -> str:
    """Return the smallest machine of those that many have on which a plan fits, else the largest of them."""
    machines = [f"{count}x {device}" for count in COUNTS for device in RENTED]
    return next((one for one in machines if verdict_of(plan, one) == "fits"), machines[-1])


def commands(name: str) -> str:
    """Return command lines that answer for a model, and the engine's own."""
    plan, mix = Plan(name, "vllm"), Plan(name, "llama.cpp", four_bits(name))
    on = smallest(plan)
    trained = [] if refusal(name) else [f"memcalc {training_words(name, 'QLoRA')}"]
    lines = [
        f"memcalc {plan.words(on)}",
        f"memcalc {mix.words(smallest(mix))}",
        f"memcalc which {name} --context {CONTEXT}",
        *trained,
        f"# the engine itself, on {on}",
        plan.on(on).launch_line,
    ]
    return "\n".join(lines)


def refusal(name: str) -> str:
    """Return why a step of training is refused; nothing where it is not."""
    try:
        step(name, "every weight")
    except MemcalcError as error:
        return str(error)
    return ""


def training_of(name: str) -> str:
    """Return what one device would need to train a model, or why that is not known."""
    refused = refusal(name)
    if refused:
        return f"`memcalc` refuses a step of this model, rather than guess: `{refused}`"
    cells = {mode: training_cell(name, mode) for mode in MODES}
    return f"{STEP_WORDS} What one device would need:\n\n{table([cells])!r}{assumed_of(name)}"


def assumed_of(name: str) -> str:
    """Return between what a step of each kind lies where what layers keep is assumed."""
    steps = {mode: step(name, mode) for mode in MODES}
    listed = all(one.plan.micro_batch.architecture.listed for one in steps.values())
    if listed and not keeps_states(load_model(name)):
        return ""
    why = "the kernels decide for layers with a state" if listed else "their operations are not listed"
    ranges = (
        f"{mode} {gib(one.device.low_bytes)} to {gib(one.device.high_bytes)}" for mode, one in steps.items()
    )
    return f"\n\nWhat its layers keep for the backward pass is assumed, as {why}: {', '.join(ranges)}."


def model_page(name: str) -> str:
    """Return the page of a model."""
    plans = columns(name)
    few = [
        {"device": titled(devices()[one])} | {what: fewest(plan, one) for what, plan in plans.items()}
        for one in COMMON
    ]
    return MODEL.format(
        name=short(name),
        facts=facts(name),
        conditions=conditions(),
        formats=f"{table(format_rows(name))!r}",
        few=f"{table(few)!r}",
        most=COUNTS[-1],
        trained=training_of(name),
        commands=commands(name),
    )


MODEL = """# How much memory does {name} need? {name} 需要多少显存

What {name} takes to serve and to train:
its weights in each format, its KV cache, and the fewest cards that hold it.

## The model 模型

{facts}

## Formats 量化格式

{conditions}

{formats}

## Fewest cards 最少几张卡

Powers of two, at most {most}, under the same conditions.
A number in brackets may be enough: there a measured overhead decides.
Each answer is a link into the calculator.

{few}

## Training on one device 训练

{trained}

## Command lines 命令

```sh
{commands}
```

Other models, and cards: [What fits where](index.md). Words: [the glossary](../book/glossary.md).
"""


def index_page() -> str:
    """Return the page that lists the others."""
    sizes = "\n".join(
        f"- [{size.words}]({size.slug}.md): {', '.join(map(name_of, size.devices))}" for size in SIZES
    )
    found = [
        {
            "model": f"[{short(name)}]({slug(short(name))}.md)",
            "parameters, × 10⁹": load_model(name).parameters / 10**9,
            "published in": f"`{own(name)}`",
        }
        for name in ASKED
    ]
    return INDEX.format(sizes=sizes, models=f"{table(found)!r}")


INDEX = """# What fits where 什么显卡能跑什么模型

Pages by card and by model: what runs on a card of so many GB, and how much memory a model needs.

## By memory: what runs on it? 按显存查

{sizes}

## By model: how much does it need? 按模型查

{models}

Any other model, card or load: [the calculator](../book/calculator.md).
All that is known: [models and machines](../book/coverage.md).
"""

PAGES: Mapping[str, Callable[[], str]] = {
    "index.md": index_page,
    **{f"{size.slug}.md": partial(card_page, size) for size in SIZES},
    **{f"{slug(short(name))}.md": partial(model_page, name) for name in ASKED},
}
"""Below fits/."""
