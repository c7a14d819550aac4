"""``memcalc.check``: each figure of a log beside the ledger's, and a likely cause of the difference."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from memcalc.errors import BadInputError, MemcalcError, escaped
from memcalc.evidence.logs.plan import plan_of
from memcalc.evidence.logs.reading import read
from memcalc.evidence.logs.wordings import COUNTS
from memcalc.serving.engines import ENGINES
from memcalc.serving.estimate import estimate
from memcalc.serving.options import ServingOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    from memcalc.evidence.logs.plan import Plan
    from memcalc.evidence.logs.reading import Ignored, Told
    from memcalc.ledger.budget import Line
    from memcalc.serving.estimate import ServingEstimate

__all__ = ["Checked", "Compared", "check"]

CLOSE = 0.01  # what two decimals of a log and rounding up to blocks come to


class Compared(NamedTuple):
    """A figure of the log, what memcalc says of it (None: nothing), and the cause if they differ."""

    told: Told
    ledger: int | float | None
    cause: str

    @property
    def difference(self) -> int | float | None:
        """The log's figure less the ledger's."""
        return None if self.ledger is None else self.told.amount - self.ledger


class Checked(NamedTuple):
    """A log beside the ledger. `unsaid` is why there is no ledger to compare with, or empty."""

    plan: Plan
    lines: tuple[Compared, ...]
    ignored: tuple[Ignored, ...]
    served: ServingEstimate | None
    unsaid: str

    @property
    def model(self) -> str | None:
        """The model's name: the one that was compared with, else what the log calls it."""
        return self.plan.model if self.served is None else self.served.model.name

    def __str__(self) -> str:
        """Show a line for each figure."""
        return in_words(self)


def check(log: str | PathLike[str], *, model: str | None = None, on: str | None = None) -> Checked:
    r"""Read a start-up log and hold each memory figure against the ledger.

    Parameters
    ----------
    log : str or path
        The path of a log, or its text where it has more than one line.
    model : str, optional
        The model's source, where the log does not name one that the catalogue knows.
    on : str, optional
        The machine, as `memcalc serve` takes it; the size that the log prints by default.

    Returns
    -------
    Checked
        Plan, figures with their differences, and lines that were passed over.

    Raises
    ------
    BadInputError
        There is no such file, or `model` or `on` is not understood.

    Examples
    --------
    >>> log = "vLLM API server version 0.11.0\nINFO Model loading took 61.03 GiB and 9.1 seconds\n"
    >>> (weights,) = check(log, model="Qwen/Qwen3-32B").lines
    >>> weights.told.quantity, weights.told.amount, weights.difference < 2**24
    ('weights', 65530463519, True)

    """
    content = text_of(log)
    reading = read(content)
    plan = plan_of(content, reading)
    served, unsaid = served_as(plan, model, on, machine_said(reading.told))
    lines = tuple(beside(told, served) for told in reading.told)
    return Checked(plan, lines, reading.ignored, served, unsaid)


def text_of(log: str | PathLike[str]) -> str:
    """Return a log's text.

    Raises:
        BadInputError: There is no such file.

    """
    if isinstance(log, str) and "\n" in log:
        return log
    try:
        return Path(log).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        expected = "a file with what an engine, PyTorch or nvidia-smi printed, or - for standard input"
        raise BadInputError("LOG", expected, str(log), str(error.strerror or error)) from error


def machine_said(told: tuple[Told, ...]) -> str | None:
    """Return the size of a device as the log prints it."""
    totals = [one for one in told if one.quantity == "total" and one.scope not in ("host", "RPC0")]
    return f"{totals[0].amount / 2**20:.0f}MiB" if totals else None


def served_as(
    plan: Plan, model: str | None, on: str | None, machine: str | None
) -> tuple[ServingEstimate | None, str]:
    """Return the estimate of a log's plan, or why there is none; what the user states is refused aloud."""
    source = model or (plan.model if plan.known else None)
    if source is None:
        told = (
            f"the log names {plan.model}, which is not in the catalogue"
            if plan.model
            else "the log names no model"
        )
        return None, f"{told}: add --model"
    if plan.engine not in ENGINES:
        return None, f"memcalc has no engine for {plan.engine or 'this log'}"
    options: dict[str, Any] = {"context": 4096, **plan.options}
    ranks = options.get("tp", 1) * options.get("pp", 1) * options.get("dp", 1)
    if on or machine:
        options["on"] = on or f"{ranks}x {machine}"
    asked = ServingOptions(**options, engine=cast("Any", plan.engine), engine_version=plan.version)
    if model is not None or on is not None:
        return estimate(source, asked), ""
    try:
        return estimate(source, asked), ""
    except MemcalcError as error:
        return None, str(error)


def beside(told: Told, served: ServingEstimate | None) -> Compared:
    """Return a figure beside the ledger's."""
    if served is None or told.quantity not in OF_LEDGER:
        return Compared(told, None, "" if served is None else UNCOUNTED.get(told.quantity, ""))
    found = OF_LEDGER[told.quantity](served)
    if found is None:
        return Compared(told, None, "")
    return Compared(told, found, cause(told, found, served))


def cause(told: Told, ledger: float, served: ServingEstimate) -> str:
    """Return what a difference is likely to come from, or nothing where there is none."""
    if abs(told.amount - ledger) <= CLOSE * max(abs(ledger), 1):
        return ""
    if told.quantity == "weights":
        return f"weights as {served.plan.weights} assumed: another format, or another parallelism"
    if told.quantity in ("kv_pool", "kv_tokens", "concurrency", "kv_blocks_gpu"):
        low, high = bounds(told, served)
        if low <= told.amount <= high:
            return "inside the measured range"
        return "the pool is what the rest leaves: look at weights, activation and share first"
    if told.quantity in MEASURED:
        return "measured on other machines, not derived"
    return ""


def bounds(told: Told, served: ServingEstimate) -> tuple[float, float]:
    """Return the ends of a pool's range in the unit of a figure."""
    pool = served.kv_pool
    if pool is None:
        return (0, 0)
    if told.quantity == "kv_pool":
        return pool.low_bytes, pool.high_bytes
    return pool.low_tokens, pool.high_tokens


def weights(served: ServingEstimate) -> int:
    """Return a rank's weights as they are loaded."""
    return int(served.device.components["weights"])


def line_sum(pattern: str) -> Callable[[ServingEstimate], int | None]:
    """Return a function that sums the lines of a device whose names match."""

    def summed(served: ServingEstimate) -> int | None:
        lines: list[Line] = [line for line in served.device.lines if re.search(pattern, line.name)]
        return sum(int(line.bytes) for line in lines) if lines else None

    return summed


def of_pool(name: str) -> Callable[[ServingEstimate], int | float | None]:
    """Return a function that takes a figure of the engine's pool."""
    return lambda served: None if served.kv_pool is None else getattr(served.kv_pool, name)


MEASURED = ("activation", "non_torch", "graphs", "graphs_estimated", "compute_buffer")
OF_LEDGER: dict[str, Callable[[ServingEstimate], int | float | None]] = {
    "weights": weights,
    "kv_pool": of_pool("bytes"),
    "kv_tokens": of_pool("tokens"),
    "concurrency": of_pool("concurrency"),
    "activation": lambda served: int(served.device.components.get("activations", 0)) or None,
    "graphs": line_sum(r"graph"),
    "graphs_estimated": line_sum(r"graph"),
    "total": lambda served: served.device.capacity_bytes,
}
UNCOUNTED = {
    "free": "what is left at that moment: compare the parts",
    "kv_blocks_cpu": "host memory, not on a device",
    "kv_pool_host": "host memory, not on a device",
}


def in_words(checked: Checked) -> str:
    """Return a log beside the ledger as text: a line for each figure, equal ones together."""
    plan = checked.plan
    asked = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in plan.options.items())
    title = f"{plan.engine or 'unknown engine'} {plan.version or ''}".strip()
    rows = [f"{title}: {checked.model or 'unknown model'}{f' ({asked})' if asked else ''}"]
    if checked.unsaid:
        rows.append(f"  not compared: {checked.unsaid}")
    times: dict[tuple[object, ...], int] = {}
    for one in checked.lines:
        key = (one.told.quantity, one.told.printed, one.told.scope, one.ledger, one.cause)
        times[key] = times.get(key, 0) + 1
    cells = [("", "of", "log", "memcalc", "")]
    for (quantity, printed, scope, ledger, why), count in times.items():
        told = f"{printed}{f' x {count}' if count > 1 else ''}"
        is_count = quantity in COUNTS
        said = "" if ledger is None else shown(cast("float", ledger), is_count=is_count)
        cells.append((str(quantity), str(scope), told, said, str(why)))
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    rows += [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)).rstrip()
        for row in cells
    ]
    if checked.ignored:
        whys = dict.fromkeys(one.why for one in checked.ignored)
        rows.append(f"  passed over: {len(checked.ignored):,} lines ({'; '.join(whys)})")
    return "\n".join(map(escaped, rows))


def shown(amount: float, *, is_count: bool) -> str:
    """Return the ledger's figure in the unit of people."""
    if not is_count:
        return f"{amount / 2**30:.2f} GiB"
    return f"{amount:,.2f}" if amount % 1 else f"{amount:,.0f}"
