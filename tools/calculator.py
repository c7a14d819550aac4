"""The calculator's data: memcalc's own lines with letters in them, printed as JavaScript.

Nothing is typed twice. A plan is made for each model, engine and number of devices, its batch, context and
bytes of a cached number are replaced by symbols, and what the budget's lines then say is printed.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from memcalc.engines import ENGINES
from memcalc.errors import BadInputError
from memcalc.formats import FORMATS, KV_FORMATS, Format
from memcalc.formula import JAVASCRIPT, symbol, to_javascript
from memcalc.machine import devices
from memcalc.serving import Serving, plan
from memcalc.sources import catalogue

if TYPE_CHECKING:
    from memcalc.budget import Line
    from memcalc.machine import Device
    from memcalc.model import Model

COUNTS = (1, 2, 4, 8)
ARGUMENTS = ("batch", "context", "bytes_per_element")


class Functions:
    """Every formula once, under a number; equal text is one function."""

    def __init__(self) -> None:
        """Begin with none."""
        self.numbers: dict[str, int] = {}

    def number(self, expression: Any) -> int:
        """Return the number of a formula's function."""
        return self.numbers.setdefault(_printed(expression), len(self.numbers))

    @property
    def text(self) -> str:
        """All functions as a JavaScript array."""
        return "[\n" + ",\n".join(self.numbers) + "\n]"


@cache
def _printed(expression: Any) -> str:
    return to_javascript("", expression, arguments=ARGUMENTS)


def moving(serving: Serving, stage: Model) -> list[Line]:
    """Return the lines that grow with the sequences, with letters in them."""
    letters = replace(serving, kv=(Format("kv", 8 * symbol("bytes_per_element")),) * 2)
    return list(letters.growing_lines(stage, symbol("batch"), symbol("context")))


def line_fields(line: Line, functions: Functions) -> dict[str, object]:
    """Return a growing line as the page reads it."""
    sizes = (line.least_bytes, line.bytes, line.most_bytes)
    low, size, high = (functions.number(number) for number in sizes)
    return {
        "component": line.component,
        "name": line.name,
        "moments": line.moments,
        "low": low,
        "bytes": size,
        "high": high,
    }


def on_devices(name: str, engine: str, count: int, functions: Functions) -> dict[str, object]:
    """Return what one model needs on so many devices: its stages, or why the engine cannot."""
    ranks = {"tp": count} if engine == "vllm" else {"pp": count}
    try:
        serving = plan(name, context=1, engine_name=engine, **ranks)  # type: ignore[arg-type]
    except BadInputError as error:
        return {"refused": str(error)}
    stages = [stage for stage, _ in serving.loaded]
    weights = {
        form: [
            sum(line.bytes for line in lines)
            for _, lines in plan(name, context=1, engine_name=engine, weights=form, **ranks).loaded  # type: ignore[arg-type]
        ]
        for form in FORMATS
    }
    return {
        "stages": [[line_fields(line, functions) for line in moving(serving, stage)] for stage in stages],
        "weights": weights,
    }


def device_fields(device: Device) -> dict[str, object]:
    """Return what the page says of a device; `usable` is what utilization 0.9 leaves."""
    one = plan(catalogue()[0], context=1, on=f"1x {device.id}")
    return {"name": device.name, "capacity": device.capacity_bytes, "usable": one.usable_bytes}


def javascript() -> str:
    """Return the calculator's data and functions."""
    functions = Functions()
    models = {}
    for name in catalogue():
        serving = plan(name, context=1)
        plans = {
            engine: {count: on_devices(name, engine, count, functions) for count in COUNTS}
            for engine in ENGINES
        }
        models[name] = {"weights": serving.named["weights"], "kv": serving.kv[0].id, "plans": plans}
    data = {
        "models": models,
        "devices": {item.id: device_fields(item) for item in devices().values()},
        "formats": list(FORMATS),
        "kv": {item.id: item.bits // 8 for item in KV_FORMATS.values()},
        "engines": list(ENGINES),
        "counts": COUNTS,
    }
    return (
        "// Written by tools/calculator.py from memcalc's own lines: change them there.\n"
        f'"use strict";\nconst MEMCALC = (() => {{\n{JAVASCRIPT}'
        f"const data = {json.dumps(data, separators=(',', ':'))};\n"
        f"data.functions = {functions.text};\nreturn data;\n}})();\n"
    )
