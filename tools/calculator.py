"""The calculator's data: memcalc's own lines with letters in them, printed as JavaScript.

Nothing is typed twice. A plan is made for each model, engine and number of devices, its batch, context and
bytes of a cached number are replaced by symbols, and what the budget's lines then say is printed.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from memcalc.errors import BadInputError
from memcalc.files.catalogue import catalogue
from memcalc.files.machines import devices
from memcalc.formula import JAVASCRIPT, symbol, to_javascript
from memcalc.ledger.formats import COMMON_FORMATS, KV_FORMATS, Format, format_named
from memcalc.serving import serve
from memcalc.serving.engines import EngineName, engine
from memcalc.serving.engines.base import ALWAYS, Setting
from memcalc.serving.engines.sparse_cache import FP8_DS_MLA, is_sparse
from memcalc.serving.engines.transformers import is_new
from memcalc.serving.parallelism import ServingParallelism
from memcalc.serving.search import LIMIT
from memcalc.serving.stage import growing_lines

if TYPE_CHECKING:
    from memcalc.files.machines import Device
    from memcalc.ledger.budget import Line
    from memcalc.serving import ServingEstimate
    from memcalc.serving.stage import LoadedStage

COUNTS = (1, 2, 4, 8)
# the engines of the page: it asks for a checkpoint's format and for devices, not for mixes of GGUF or a host
OFFERED: tuple[EngineName, ...] = tuple(
    name for name in get_args(EngineName) if engine(name).reads_checkpoints and not engine(name).offloads
)
ARGUMENTS = ("batch", "context", "bytes_per_element")


class Written:
    """Every text once, under a number: equal functions, lines and stages are written once."""

    def __init__(self) -> None:
        """Begin with none."""
        self.numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Return the number of a text."""
        return self.numbers.setdefault(text, len(self.numbers))

    @property
    def text(self) -> str:
        """All texts as a JavaScript array."""
        return "[\n" + ",\n".join(self.numbers) + "\n]"


class Page(NamedTuple):
    """What many plans share: functions of batch, context and bytes; lines; stages; devices' shares."""

    functions: Written
    lines: Written
    stages: Written
    usable: Written


@cache
def _printed(expression: Any) -> str:
    return to_javascript("", expression, arguments=ARGUMENTS)


def moving(served: ServingEstimate, one: LoadedStage, kv: str | None) -> list[Line]:
    """Return what a device holds beside its weights, with letters in what grows with the sequences.

    Where the cache has layouts of its own its format is a name, else so many bytes an element.
    """
    plan = served.plan
    form = Format("kv", 8 * symbol("bytes_per_element"))
    if kv is not None:
        form = plan.engine.cache_layout(plan.model, KV_FORMATS[kv], plan.engine_options)
    letters = plan._replace(kv=(form, form))
    constant = [line for line in one.constant if not is_plain_weight(line)]
    return [*constant, *growing_lines(letters, one.rank, symbol("batch"), symbol("context"))]


def weight_bytes(one: LoadedStage) -> int:
    """Return the weights of one device, and what the engine keeps of them besides."""
    return one.weight_bytes + sum(line.bytes for line in one.constant if is_plain_weight(line))


def is_plain_weight(line: Line) -> bool:
    """Say whether a line belongs to the weights at every moment, and has no range."""
    return line.component == "weights" and line.low is None and line.moments == ALWAYS


def line_number(line: Line, page: Page) -> int:
    """Return the number of a growing line as the page reads it."""
    sizes = (line.least_bytes, line.bytes, line.most_bytes)
    low, size, high = (page.functions.number(_printed(number)) for number in sizes)
    fields = {
        "component": line.component,
        "moments": line.moments,
        "low": low,
        "bytes": size,
        "high": high,
        "outside": line.outside,
    }
    return page.lines.number(json.dumps(fields))


def refusal(error: BadInputError) -> dict[str, object]:
    """Return why an engine cannot, without the option's name: the page has fields instead."""
    return {"expected": error.expected, "given": str(error.given)}


def formats_of(own: str) -> tuple[str, ...]:
    """Return the formats that the page offers for a model: the common ones, and the one it is stored in."""
    return (*COMMON_FORMATS, *([] if own in COMMON_FORMATS else [own]))


def on_devices(
    name: str, by: EngineName, count: int, offered: tuple[str, ...], page: Page
) -> dict[str, object]:
    """Return what one model needs on so many devices, of each kind: its stages, or why the engine cannot."""
    stages: dict[str, object] = {}
    weights: dict[str, object] = {}
    last: ServingEstimate | None = None
    caches = caches_of(name, by)
    for form in offered:
        try:
            for kind, device in enumerate(KINDS.values()):
                if engine(by).on_npus is (device.vendor != "Huawei"):
                    continue
                on = f"{count}x {device.id}"
                served = serve(name, context=1, engine=by, weights=form, on=on)
                for kv in caches:
                    stages[" ".join([str(kind), family(form), *([kv] if kv else [])])] = [
                        stage_number(moving(served, one, kv), page) for one in served.stages
                    ]
                weights[form], last = [weight_bytes(one) for one in served.stages], served
        except BadInputError as error:
            weights[form] = refusal(error)
    usable = None if last is None else page.usable.number(json.dumps(usable_bytes(last)))
    return {"stages": stages, "weights": weights, "usable": usable, "by_cache": caches != (None,)}


def stage_number(lines: list[Line], page: Page) -> int:
    """Return the number of a stage's lines."""
    return page.stages.number(json.dumps([line_number(line, page) for line in lines]))


def caches_of(name: str, by: EngineName) -> tuple[str | None, ...]:
    """Return the formats of the cache that have stages of their own: those of sparse attention, by layout."""
    layouts = FP8_DS_MLA.id in engine(by).cache_formats and is_sparse(serve(name, context=1).model)
    return tuple(KV_FORMATS) if layouts else (None,)


def usable_bytes(served: ServingEstimate) -> list[int]:
    """Return what the engine's own share leaves of each device, for this model on as many of them."""
    plan = served.plan
    found: list[int] = []
    for device in devices().values():
        options = plan.engine.options({}, device, plan.parallelism)
        share = plan.engine.default_share(Setting(plan.model, device, plan.parallelism, options))
        found.append(plan._replace(utilization=share).usable_of(device))
    return found


def family(form: str) -> str:
    """Return the formats that share their growing lines with this one."""
    return "plain" if format_named(form).is_plain else form


def generation(device: Device) -> str:
    """Return the maker of a device, or the generation of CUDA's kernels that it has."""
    major = (device.capability or "").partition(".")[0]
    return major if major in ("9", "10", "12") else {"AMD": "AMD", "Huawei": "Huawei"}.get(device.vendor, "")


def kind_of(device: Device) -> str:
    """Return what engines look at in a device; devices of one kind share their formulas."""
    return json.dumps(
        [
            generation(device),
            is_new(device),
            device.held_bytes,
            *(dict(engine(name).defaults_on(device, ServingParallelism())) for name in OFFERED),
        ]
    )


KINDS = {kind_of(device): device for device in devices().values()}


def device_fields(device: Device) -> dict[str, object]:
    """Return what the page says of a device."""
    return {
        "name": device.name,
        "capacity": device.capacity_bytes,
        "known": "box" if device.is_nominal else "driver" if device.visible_mib is None else "framework",
        "kind": list(KINDS).index(kind_of(device)),
    }


def javascript() -> str:
    """Return the calculator's data and functions."""
    page = Page(Written(), Written(), Written(), Written())
    models = {}
    formats: dict[str, str] = {}
    for name in catalogue():
        served = serve(name, context=1)
        offered = formats_of(served.plan.weights)
        formats.update({form: family(form) for form in offered})
        plans = {
            id_: {count: on_devices(name, id_, count, offered, page) for count in COUNTS} for id_ in OFFERED
        }
        models[name] = {
            "limit": served.model.max_context,
            "weights": served.plan.weights,
            "formats": offered,
            "kv": served.plan.kv[0].id,
            "plans": plans,
        }
    data = {
        "models": models,
        "devices": {item.id: device_fields(item) for item in devices().values()},
        "formats": formats,
        "kv": {item.id: item.bits // 8 for item in KV_FORMATS.values()},
        "engines": list(OFFERED),
        "counts": COUNTS,
        "limit": LIMIT,
    }
    return (
        "// Written by tools/calculator.py from memcalc's own lines: change them there.\n"
        f'"use strict";\nconst MEMCALC = (() => {{\n{JAVASCRIPT}'
        f"const data = {json.dumps(data, separators=(',', ':'))};\n"
        f"data.functions = {page.functions.text};\ndata.lines = {page.lines.text};\n"
        f"data.stages = {page.stages.text};\ndata.usable = {page.usable.text};\nreturn data;\n}})();\n"
    )
