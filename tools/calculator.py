"""The calculator's data: memcalc's own lines with letters in them, printed as JavaScript.

Nothing is typed twice. A plan is made for each model, engine and number of devices, its batch, context and
bytes of a cached number are replaced by symbols, and what the budget's lines then say is printed.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from memcalc.errors import BadInputError
from memcalc.files.api import model as load_model
from memcalc.files.catalogue import catalogue
from memcalc.files.machines import devices
from memcalc.files.sources import source
from memcalc.formula import JAVASCRIPT, symbol, to_javascript
from memcalc.ledger.formats import COMMON_FORMATS, KV_FORMATS, Format, format_named
from memcalc.ledger.parts.kinds import is_mla
from memcalc.serving import serve
from memcalc.serving.engines import EngineName, engine
from memcalc.serving.engines.base import ALWAYS
from memcalc.serving.engines.sparse_cache import is_sparse
from memcalc.serving.plan import MILLION
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
SGLANG_ON = (
    *("h100-80g", "h200-141g", "h20-96g", "a100-80g", "b200", "l40s-ecc"),
    *("rtx-4090", "rtx-5090", "rtx-a6000", "rtx-pro-6000-blackwell", "mi300x"),
)
AT_A_SHELL: dict[str, object] = {"at_a_shell": True}
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
    """What many plans share: functions of batch, context and bytes; lines of a budget; stages of lines."""

    functions: Written
    lines: Written
    stages: Written


@cache
def _printed(expression: Any) -> str:
    return to_javascript("", expression, arguments=ARGUMENTS)


def moving(served: ServingEstimate, one: LoadedStage, *, letters: bool) -> list[Line]:
    """Return what a device holds beside its weights, with letters in what grows with the sequences.

    The bytes of a cached number are a letter, too, but where a layout decides them.
    """
    plan = served.plan
    if letters:
        plan = plan._replace(kv=(Format("kv", 8 * symbol("bytes_per_element")),) * 2)
    constant = [line for line in one.constant if not is_plain_weight(line)]
    return [*constant, *growing_lines(plan, one.rank, symbol("batch"), symbol("context"))]


def weight_bytes(one: LoadedStage) -> int:
    """Return the weights of one device, and what the engine keeps of them besides."""
    return one.weight_bytes + sum(line.bytes for line in one.constant if is_plain_weight(line))


def is_plain_weight(line: Line) -> bool:
    """Say whether a line belongs to the weights at every moment, and has no range."""
    return line.component == "weights" and line.low is line.high is None and line.moments == ALWAYS


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
    """Return why an engine cannot, without the option's name: the page has fields instead.

    What has no formula that the page can read, such as SGLang's two pools, is answered at a shell alone.
    """
    if error.field == "formula":
        return AT_A_SHELL
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
    shares: dict[int, int] = {}
    model = load_model(name)
    sparse = is_sparse(model)
    if engine(by).reserves and any(tensor.kind == "state" for tensor in model.cache(1, 1)):
        offered, weights = (), dict.fromkeys(offered, AT_A_SHELL)  # blocks of a pool are no formula
    for form in offered:
        try:
            for kind, device in enumerate(kinds(by, packed=is_packed(name))):
                on = f"{count}x {device.id}"
                for kv in KV_FORMATS if sparse else [None]:  # each format has its layout
                    served = serve(name, context=1, engine=by, weights=form, kv=kv, on=on)
                    stages[" ".join(filter(None, (str(kind), family(form), kv)))] = [
                        page.stages.number(json.dumps([line_number(line, page) for line in lines]))
                        for lines in (moving(served, one, letters=kv is None) for one in served.stages)
                    ]
                shares[kind] = served.plan.share[0]
                weights[form] = [weight_bytes(one) for one in served.stages]
        except BadInputError as error:
            weights[form] = refusal(error)
    return {"stages": stages, "weights": weights, "shares": shares, "by_cache": sparse}


@cache
def is_packed(name: str) -> bool:
    """Say whether vLLM's kernels for a model differ by CUDA's generation."""
    model = load_model(name)
    latent = any(is_mla(part) for layer in model.groups for _, part in layer.parts)
    return latent or source(name).stored_as == "mxfp4"


def family(form: str) -> str:
    """Return the formats that share their growing lines with this one."""
    return "plain" if format_named(form).is_plain else form


def looked_at(by: EngineName, device: Device, *, packed: bool) -> str | None:
    """Return what an engine looks at in a device; None where it does not run, or the page does not say.

    For experts in MXFP4 and for latent attention (`packed`) vLLM's kernels differ by CUDA's generation.
    SGLang's figures follow the memory of each device: the page has those that it is run on most.
    """
    one = engine(by)
    if one.on_npus is (device.vendor != "Huawei") or (by == "sglang" and device.id not in SGLANG_ON):
        return None
    if by == "sglang" or one.on_npus:  # of NPUs it matters how their memory is known
        return device.id
    defaults = [dict(one.defaults_on(device, one.default_parallelism(count))) for count in COUNTS]
    generation = (device.capability or "").partition(".")[0]
    seen = [device.vendor, generation] if packed or by == "transformers" else []
    return json.dumps([seen, device.held_bytes, defaults])


@cache
def kinds(by: EngineName, *, packed: bool) -> tuple[Device, ...]:
    """Return a device of each kind that an engine tells apart; devices of one kind share their formulas."""
    found = {looked_at(by, device, packed=packed): device for device in devices().values()}
    return tuple(device for seen, device in found.items() if seen is not None)


def kind_of(by: EngineName, device: Device, *, packed: bool) -> int | None:
    """Return the number of a device's kind."""
    seen = looked_at(by, device, packed=packed)
    known = [looked_at(by, one, packed=packed) for one in kinds(by, packed=packed)]
    return None if seen is None else known.index(seen)


def device_fields(device: Device) -> dict[str, object]:
    """Return what the page says of a device."""
    return {
        "name": device.name,
        "capacity": device.capacity_bytes,
        "known": "box" if device.is_nominal else "driver" if device.visible_mib is None else "framework",
        "kinds": [{by: kind_of(by, device, packed=packed) for by in OFFERED} for packed in (False, True)],
    }


def javascript() -> str:
    """Return the calculator's data and functions."""
    page = Page(Written(), Written(), Written())
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
            "packed": is_packed(name),
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
        "millions": MILLION,
    }
    return (
        "// Written by tools/calculator.py from memcalc's own lines: change them there.\n"
        f'"use strict";\nconst MEMCALC = (() => {{\n{JAVASCRIPT}'
        f"const data = {json.dumps(data, separators=(',', ':'))};\n"
        f"data.functions = {page.functions.text};\ndata.lines = {page.lines.text};\n"
        f"data.stages = {page.stages.text};\nreturn data;\n}})();\n"
    )
