"""The calculator's data: memcalc's own lines with letters in them, printed as JavaScript.

Nothing is typed twice. A plan is made for each model, engine and number of devices, its batch, context and
bytes of a cached number are replaced by letters, and what the budget's lines then say is printed. What models
share is one file; each has one of its own, which the page loads when it is chosen.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from letters import javascript_of, letter

from memcalc.errors import BadInputError
from memcalc.files.api import model as load_model
from memcalc.files.catalogue import catalogue
from memcalc.files.machines import devices, sized
from memcalc.files.sources import source
from memcalc.formula import JAVASCRIPT
from memcalc.ledger.formats import KV_FORMATS, Format, format_named
from memcalc.ledger.parts.kinds import is_mla
from memcalc.serving import serve
from memcalc.serving.engines import EngineName, engine
from memcalc.serving.engines.base import ALWAYS
from memcalc.serving.engines.platforms import APPLE, HUAWEI, NO_FLOAT16, platform_of, runs_on
from memcalc.serving.engines.sparse_cache import is_sparse
from memcalc.serving.engines.transformers import is_new
from memcalc.serving.plan import MILLION
from memcalc.serving.remedies import COUNTS as TRIED, stored_bytes, width
from memcalc.serving.search import LIMIT
from memcalc.serving.stage import constant_lines, distinct_stages, growing_lines, rank_context, system_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memcalc.files.machines import Device
    from memcalc.ledger.budget import Line
    from memcalc.serving import ServingEstimate
    from memcalc.serving.engines.base import RankContext

    Held = tuple[RankContext, list[Line]]  # a device of a stage, and what it always holds

COUNTS = (1, 2, 4, 8)
# the engines of the page: it asks for a checkpoint's format and for devices, not for mixes of GGUF or a host
OFFERED: tuple[EngineName, ...] = tuple(
    name for name in get_args(EngineName) if engine(name).reads_checkpoints and not engine(name).offloads
)
SGLANG_ON = (
    *("h100-80g", "h200-141g", "h20-96g", "a100-80g", "b200", "l40s-ecc"),
    *("rtx-4090", "rtx-5090", "rtx-a6000", "rtx-pro-6000-blackwell", "mi300x"),
)
PLAIN, SIXTEEN = ("bf16", "fp16", "fp32"), "plain"
OWN = ""  # where a format would stand: none was named, and the engine takes its own
# GiB of devices of which the size alone is known: an engine's defaults follow it
SIZES = (
    4,
    6,
    8,
    10,
    11,
    12,
    16,
    20,
    22,
    24,
    32,
    40,
    48,
    64,
    72,
    80,
    94,
    96,
    128,
    141,
    144,
    180,
    192,
    256,
    288,
)
SHARED = "calculator-data.js"
FUNCTIONS = ("counts", "plus", "times", "least", "floor_div", "ceil_div")
WRITTEN = '// Written by tools/calculator.py from memcalc\'s own lines: change them there.\n"use strict";\n'
Written = tuple[Any, ...]  # a line: component, moments, outside, and three sizes as JavaScript
ARGUMENTS = ("batch", "context", "bytes_per_element")


class Page(NamedTuple):
    """What the plans of a model share, each written once: lines of a budget, stages of lines."""

    lines: dict[Written, int]
    stages: dict[tuple[int, ...], int]


def moving(served: ServingEstimate, rank: RankContext, constant: list[Line], *, letters: bool) -> list[Line]:
    """Return what a device holds beside its weights, with letters in what grows with the sequences.

    The bytes of a cached number are a letter, too, but where a layout decides them.
    """
    plan = served.plan
    if letters:
        plan = plan._replace(kv=(Format("kv", 8 * letter("bytes_per_element")),) * 2)
    held = [line for line in constant if not is_plain_weight(line)]
    return [*held, *growing_lines(plan, rank, letter("batch"), letter("context"))]


def beside_weights(served: ServingEstimate, before: list[Held]) -> list[Held]:
    """Return a device of each stage, and what it always holds: without its weights, which take longest.

    What was found of the same weights before, with another format of the cache, is taken over where the
    engine sees the same device: all but the rule, which says the format of each weight, is compared.
    """
    plan = served.plan
    if plan.shares_memory:
        return [(one.rank, list(one.constant)) for one in served.stages]
    ranks = [rank_context(plan, *placed) for placed in distinct_stages(plan)]
    if [one._replace(rule=plan.rule) for one, _ in before] == [one._replace(rule=plan.rule) for one in ranks]:
        return [(rank, lines) for rank, (_, lines) in zip(ranks, before, strict=True)]
    return [(rank, [*constant_lines(plan, rank), *system_lines(plan)]) for rank in ranks]


def weight_bytes(served: ServingEstimate) -> list[tuple[int, int]]:
    """Return the weights of one device of each stage, and what the engine keeps of them besides."""
    return [
        (one.weight_bytes, sum(line.bytes for line in one.constant if is_plain_weight(line)))
        for one in served.stages
    ]


def is_plain_weight(line: Line) -> bool:
    """Say whether a line belongs to the weights at every moment, and has no range."""
    return line.component == "weights" and line.low is line.high is None and line.moments == ALWAYS


def stage_number(lines: list[Line], page: Page) -> int:
    """Return the number of a stage as the page reads it: lines of one component and one life are one."""
    sums: dict[tuple[Any, ...], list[Any]] = {}
    for line in lines:
        sizes = (line.least_bytes, line.bytes, line.most_bytes)
        life = (line.component, line.moments, line.outside)
        sums[life] = [total + size for total, size in zip(sums.get(life, (0, 0, 0)), sizes, strict=True)]
    found = ((*life, *map(javascript_of, sizes)) for life, sizes in sums.items())
    return numbered(page.stages, tuple(numbered(page.lines, line) for line in found))


def numbered(known: dict[Any, int], one: Any) -> int:
    """Return the number of what is written once."""
    return known.setdefault(one, len(known))


def formats_of(by: EngineName) -> tuple[str, ...]:
    """Return the formats of weights that the page offers: plain ones, and those that remedies name."""
    return (*PLAIN, *engine(by).smaller_weights)


class Kept(NamedTuple):
    """What the page is told of one model on one engine and so many devices.

    `stages` are found by the kind of device, the family of the format and, where each format of the cache has
    its layout, that of the cache. The bytes of a cached number where no format is asked for (`kv`) are found
    by kind and family, the engine's share by kind. Weights, the bytes of the whole model (`stored`), the bits
    of its narrowest matrices (`widths`) and the format's name are found by the format; weights are None where
    the engine cannot, and where the page can read no formula: SGLang's two pools.
    """

    stages: dict[str, list[int]]
    kv: dict[str, int]
    shares: dict[int, int]
    weights: dict[str, list[tuple[int, int]] | None]
    stored: dict[str, int]
    widths: dict[str, int]
    names: dict[str, str]


def on_devices(name: str, by: EngineName, count: int, page: Page) -> dict[str, object]:
    """Return what one model needs on so many devices, of each kind: its stages, and its weights by format.

    Weights do not hang on the kind of device, and what grows does not on which plain format they have.
    """
    kept = Kept({}, {}, {}, {}, {}, {}, {})
    model, found = load_model(name), source(name)
    sparse, own = is_sparse(model), family_of_own(name)
    for form in () if is_no_formula(name, by) else (OWN, *formats_of(by)):
        for kind, device in enumerate(kinds(by, packed=is_packed(name))):
            held: list[Held] = []
            for kv in (OWN, *caches(name, by)) if sparse else (OWN,):  # each format has its layout
                both = f"{kind} {family(form) if form else own}"
                key = f"{both} {kv}".rstrip()
                if key in kept.stages and form in kept.weights:
                    continue
                on = f"{count}x {device.id}"
                try:
                    served = serve(found, context=1, engine=by, weights=form or None, kv=kv or None, on=on)
                except BadInputError:  # memcalc itself says why
                    continue
                add_weights(kept, form, served)
                if key not in kept.stages:
                    held = beside_weights(served, held)
                    kept.stages[key] = [
                        stage_number(moving(served, *one, letters=not sparse), page) for one in held
                    ]
                    kept.shares[kind] = served.plan.share[0]
                    if not kv:
                        kept.kv[both] = served.plan.kv[0].bits // 8
        kept.weights.setdefault(form, None)
    ways = any(True for _ in engine(by).ways_to_host(model))
    return {**kept._asdict(), "by_cache": sparse, "host": ways}


def is_no_formula(name: str, by: EngineName) -> bool:
    """Say whether an engine has blocks of a pool for states, or takes no more than a window."""
    model, one = load_model(name), engine(by)
    try:
        one.check_context(model, LIMIT)
    except BadInputError:  # memcalc itself says why
        return True
    return one.reserves and any(tensor.kind == "state" for tensor in model.cache(1, 1))


def add_weights(kept: Kept, form: str, served: ServingEstimate) -> None:
    """Add what an estimate says of the weights in a format, if it is not there yet."""
    if form not in kept.weights:
        kept.weights[form] = weight_bytes(served)
        kept.stored[form] = stored_bytes(served.plan)
        kept.widths[form] = width(served.plan)
        kept.names[form] = served.plan.weights


@cache
def caches(name: str, by: EngineName) -> list[str]:
    """Return the formats of a cache that an engine takes for a model."""
    found = []
    for kv in KV_FORMATS:
        try:
            serve(source(name), context=1, engine=by, kv=kv)
        except BadInputError:  # memcalc itself says why
            continue
        found.append(kv)
    return found


@cache
def is_packed(name: str) -> bool:
    """Say whether vLLM's kernels for a model, or the formats it serves it in, differ by CUDA's generation."""
    model = load_model(name)
    latent = any(is_mla(part) for layer in model.groups for _, part in layer.parts)
    whole = model.model_type in NO_FLOAT16
    return latent or whole or source(name).stored_as == "mxfp4"


def family(form: str) -> str:
    """Return the formats that share their growing lines with this one; activations follow 32 bits."""
    return SIXTEEN if form in PLAIN and format_named(form).bits == 16 else form


def family_of_own(name: str) -> str:
    """Return the family of what a model is stored in, for where no format is named."""
    found = source(name)
    return "own" if found.scheme is not None or family(found.stored_as) != SIXTEEN else SIXTEEN


def looked_at(by: EngineName, device: Device, *, packed: bool) -> str | None:
    """Return what an engine looks at in a device; None where it does not run, or the page does not say.

    For experts in MXFP4 and for latent attention (`packed`) vLLM's kernels differ by CUDA's generation;
    transformers has the workspace of its libraries, and Macs are asked one at a time.
    SGLang's figures follow the memory of each device: the page has those that it is run on most.
    """
    one = engine(by)
    if not runs_on(one, device) or (by == "sglang" and device.id not in SGLANG_ON):
        return None
    if device.vendor and (by == "sglang" or one.platforms == (HUAWEI,)):
        return device.id  # of NPUs it matters how their memory is known
    defaults = [dict(one.defaults_on(device, one.default_parallelism(count))) for count in COUNTS]
    seen: list[str | bool] = []
    if by == "transformers":
        seen = [workspace_of(device), platform_of(device) == APPLE]
    elif packed:
        seen = [device.vendor, generation_of(device)]
    return json.dumps([seen, device.held_bytes, defaults])


def generation_of(device: Device) -> str:
    """Return the generation of NVIDIA's devices, the first number of CUDA's capability."""
    return (device.capability or "").partition(".")[0]


def workspace_of(device: Device) -> str:
    """Return whose workspace PyTorch has on a device: nothing else that transformers needs differs."""
    if not is_new(device):
        return "Ampere's"
    return "Hopper's" if generation_of(device) in ("", "9") else "Blackwell's"


def offered_devices() -> Iterator[Device]:
    """Yield the devices of the page: those of the record, and some of which the size alone is known."""
    yield from devices().values()
    yield from (sized(f"{size}GiB") for size in SIZES)


@cache
def kinds(by: EngineName, *, packed: bool) -> tuple[Device, ...]:
    """Return a device of each kind that an engine tells apart; devices of one kind share their formulas."""
    found = {looked_at(by, device, packed=packed): device for device in offered_devices()}
    return tuple(device for seen, device in found.items() if seen is not None)


def kind_of(by: EngineName, device: Device, *, packed: bool) -> int | None:
    """Return the number of a device's kind."""
    seen = looked_at(by, device, packed=packed)
    known = [looked_at(by, one, packed=packed) for one in kinds(by, packed=packed)]
    return None if seen is None else known.index(seen)


def device_fields(device: Device) -> dict[str, object]:
    """Return what the page says of a device."""
    return {
        "capacity": device.capacity_bytes,
        "kinds": [{by: kind_of(by, device, packed=packed) for by in OFFERED} for packed in (False, True)],
    }


def of_model(name: str) -> str:
    """Return what the page loads when a model is chosen, as JavaScript."""
    said, lines = of_shapes(shaped_like(name))
    named = f"MEMCALC.models[{json.dumps(name)}]"
    return (
        f"{WRITTEN}(({{{', '.join(FUNCTIONS)}}}) => {{\n{named} = {said};\n{named}.lines = [\n{lines}\n];\n"
        "})(MEMCALC.exact);\n"
    )


@cache
def of_shapes(name: str) -> tuple[str, str]:
    """Return what the page is told of a model, and of all with its shapes and formats: plans, lines."""
    served, page = serve(name, context=1), Page({}, {})
    plans = {id_: {count: on_devices(name, id_, count, page) for count in COUNTS} for id_ in OFFERED}
    said = {
        "limit": served.model.max_context,
        "packed": is_packed(name),
        "family": family_of_own(name),
        "caches": {by: caches(name, by) for by in OFFERED},
        "plans": plans,
        "stages": list(page.stages),
    }
    return json.dumps(said, separators=(",", ":")), ",\n".join(map(line_text, page.lines))


@cache
def shaped_like(name: str) -> str:
    """Return the first model of the catalogue that differs from this one in nothing but its name.

    >>> shaped_like("deepseek-ai/DeepSeek-V3")
    'deepseek-ai/DeepSeek-R1'
    """
    return next(other for other in catalogue() if without_name(other) == without_name(name))


@cache
def without_name(name: str) -> tuple[object, ...]:
    """Return what an estimate looks at in a model of the catalogue."""
    found = source(name)
    return (replace(found.model, name=""), found.scheme, found.scale_bits, found.stored_as)


def line_text(line: Written) -> str:
    """Return a line of a budget as JavaScript: its sizes are numbers, or functions."""
    component, moments, outside, *sizes = line
    low, size, high = (text if text.isdecimal() else f"({', '.join(ARGUMENTS)}) => {text}" for text in sizes)
    said = json.dumps({"component": component, "moments": moments, "outside": outside})
    return (
        f"{said[:-1]}, "
        + (f"bytes: {size}" if len(set(sizes)) == 1 else f"low: {low}, bytes: {size}, high: {high}")
        + "}"
    )


def shared() -> str:
    """Return what the page knows of all models, devices and engines, as JavaScript."""
    files = {name: file_of(name) for name in catalogue()}
    data = {
        "files": files,
        "models": {},
        "devices": {item.id: device_fields(item) for item in offered_devices()},
        "formats": {form: family(form) for by in OFFERED for form in formats_of(by)},
        "kv": {item.id: item.bits // 8 for item in KV_FORMATS.values()},
        "engines": list(OFFERED),
        "counts": COUNTS,
        "tried": TRIED,
        "smaller": {
            by: {"weights": engine(by).smaller_weights, "caches": engine(by).smaller_caches} for by in OFFERED
        },
        "limit": LIMIT,
        "millions": MILLION,
    }
    return (
        f"{WRITTEN}const MEMCALC = (() => {{\n{JAVASCRIPT}"
        f"const data = {json.dumps(data, separators=(',', ':'))};\n"
        f"data.exact = {{{', '.join(FUNCTIONS)}}};\nreturn data;\n}})();\n"
    )


def file_of(name: str) -> str:
    """Return the file, beside the shared one, that has a model's numbers."""
    return f"calculator/{name.replace('/', '__')}.js"


def files() -> dict[str, Callable[[], str]]:
    """Return every file of the calculator's data, and what writes it."""
    return {SHARED: shared, **{file_of(name): partial(of_model, name) for name in catalogue()}}
