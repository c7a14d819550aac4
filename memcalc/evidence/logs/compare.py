"""``memcalc.check``: each figure of a log beside the ledger's, and a likely cause of the difference."""

from __future__ import annotations

import codecs
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from memcalc.errors import BadInputError, MemcalcError, escaped
from memcalc.evidence.logs.ledger import Compared, Ledger
from memcalc.evidence.logs.plan import plan_of, unknown_model
from memcalc.evidence.logs.reading import plain, read
from memcalc.evidence.logs.wordings import COUNTS, TOOLS
from memcalc.serving.engines import ENGINES
from memcalc.serving.estimate import estimate
from memcalc.serving.options import ServingOptions

if TYPE_CHECKING:
    from os import PathLike

    from memcalc.evidence.logs.plan import Plan
    from memcalc.evidence.logs.reading import Ignored, Told
    from memcalc.serving.estimate import ServingEstimate

__all__ = ["Checked", "Compared", "check"]

LOG = "a file with what an engine, PyTorch or nvidia-smi printed, or - for standard input"
STRANGE = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\ufffd]")  # what logs hold hardly any of
SAMPLE = 2**16  # characters that tell text from other data
UNQUANTISED = ("bf16", "fp16", "fp32")
CONTEXTS = (
    4096,
    2048,
)  # tokens: where a log does not say the context, what differs between them depends on it
BUILDS = ("llama.cpp", "ollama")  # engines whose logs name a build, or a version that is not llama.cpp's
READ = "vLLM, SGLang, KTransformers, llama.cpp, ollama, PyTorch, nvidia-smi, rocm-smi and npu-smi"
NO_CONTEXT = "it depends on the context, which the log does not say"
UNFUSED = re.compile(r"\bflash_attn\s*= (?:0|disabled)\b")
NO_FLASH = "flash attention is off in this log, and memcalc's figure is with it"
CARD = re.compile(r"Device (\d+):|\bid=(\S+)")  # which of several cards that a log gives no name


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


def check(log: str | bytes | PathLike[str], *, model: str | None = None, on: str | None = None) -> Checked:
    r"""Read a start-up log and hold each memory figure against the ledger.

    Parameters
    ----------
    log : str, bytes or path
        The path of a log, or its text: what has more than one line, or is no file and reads as a line of one.
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
        There is no such file, it is no text, or `model` or `on` is not understood.

    Examples
    --------
    >>> log = "vLLM API server version 0.11.0\nINFO Model loading took 61.03 GiB and 9.1 seconds\n"
    >>> (weights,) = check(log, model="Qwen/Qwen3-32B").lines
    >>> weights.told.quantity, weights.told.amount, weights.difference < 2**24
    ('weights', 65530463519, True)

    """
    content = plain(text_of(log))
    reading = read(content)
    plan = plan_of(content, reading)
    served, unsaid = served_as(plan, model, on, machine_said(plan, reading.told))
    if served is None:
        lines = tuple(Compared(told, None, unsaid) for told in reading.told)
    else:
        ledgers = [
            Ledger(one, reading.told, stated=on is not None, capped=plan.capped)
            for one in with_contexts(plan, served)
        ]
        unfused = UNFUSED.search(content) is not None
        lines = tuple(beside(told, ledgers, unfused=unfused) for told in reading.told)
    return Checked(plan, lines, reading.ignored, served, unsaid)


def with_contexts(plan: Plan, served: ServingEstimate) -> tuple[ServingEstimate, ...]:
    """Return the estimate; where the log does not say the context, those of other contexts as well."""
    if "context" in plan.options:
        return (served,)
    others = (replace(served.plan.options, context=context) for context in CONTEXTS[1:])
    return served, *(estimate(served.plan.source, other) for other in others)


def beside(told: Told, ledgers: list[Ledger], *, unfused: bool) -> Compared:
    """Return a figure beside the ledger's, unless that depends on what is not so in the log, or not said.

    Without flash attention (`unfused`) llama.cpp's buffer also holds the scores of a batch.
    """
    first, *others = (ledger.beside(told) for ledger in ledgers)
    if unfused and told.quantity == "compute_buffer" and first.ledger is not None:
        return first._replace(ledger=None, cause=NO_FLASH)
    is_known = all(other.ledger == first.ledger for other in others)
    return first if is_known else first._replace(ledger=None, cause=NO_CONTEXT)


def text_of(log: str | bytes | PathLike[str]) -> str:
    """Return a log's text.

    Raises:
        BadInputError: There is no such file, or it is no text.

    """
    if isinstance(log, bytes):
        return decoded(log, "-")
    if isinstance(log, str) and "\n" in log:
        return log
    try:
        return decoded(Path(log).read_bytes(), str(log))
    except (OSError, ValueError) as error:
        if isinstance(log, str) and read(log).told:  # a log of one line
            return log
        if isinstance(error, BadInputError):
            raise
        given, said = str(log), getattr(error, "strerror", None)
        raise BadInputError("LOG", LOG, given, str(said or error)) from error


def decoded(data: bytes, name: str) -> str:
    """Return bytes as text: UTF-8, or the UTF-16 that PowerShell writes.

    Raises:
        BadInputError: They are no text.

    """
    is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = data.decode("utf-16" if is_wide else "utf-8-sig", errors="replace")
    sample = text[:SAMPLE]
    if len(STRANGE.findall(sample)) > len(sample) // 10:
        remedy = "unpack it first" if data.startswith((b"\x1f\x8b", b"PK", b"\x28\xb5\x2f\xfd")) else ""
        raise BadInputError("LOG", LOG, f"{name}, which is no text", remedy or "give the log itself")
    return text


def machine_said(plan: Plan, told: tuple[Told, ...]) -> str | None:
    """Return the size of the devices as the log prints it, as `--on` has it."""
    printed = [one for one in told if one.quantity == "total" and one.scope not in ("host", "all", "RPC0")]
    own = [one for one in printed if one.engine not in TOOLS] or printed
    if not own:
        return None
    if plan.engine in BUILDS:
        named = [one for one in own if one.scope != "device"] or own
        cards = {(one.scope, str(CARD.findall(one.text))): f"1x {one.amount / 2**20:.0f}MiB" for one in named}
        return " + ".join(cards.values())
    ranks = plan.options.get("tp", 1) * plan.options.get("pp", 1) * plan.options.get("dp", 1)
    return f"{ranks}x {own[0].amount / 2**20:.0f}MiB"


def served_as(
    plan: Plan, model: str | None, on: str | None, machine: str | None
) -> tuple[ServingEstimate | None, str]:
    """Return the estimate of a log's plan, or why there is none; what the user states is refused aloud."""
    source = model or (plan.model if plan.known else None)
    engine = "llama.cpp" if plan.engine in BUILDS else plan.engine
    why = why_no_plan(plan, engine, model)
    if source is None or why:
        return None, why or unknown_model(plan)
    options: dict[str, Any] = {"context": CONTEXTS[0], **plan.options}
    if on or machine:
        options["on"] = on or machine
    version = None if plan.engine in BUILDS else plan.version
    asked = ServingOptions(**options, engine=cast("Any", engine), engine_version=version)
    try:
        return quantised(plan, estimate(source, asked), source, asked)
    except MemcalcError as error:
        if model is not None or on is not None:
            raise
        return None, str(error)


def why_no_plan(plan: Plan, engine: str | None, model: str | None) -> str:
    """Return why a log's plan cannot be stated to memcalc, whichever the model, or nothing."""
    if engine is None:
        return f"no line of an engine was recognised; memcalc reads logs of {READ}"
    if engine not in ENGINES:
        return f"lines of {engine} tell of a card, and of no model's plan"
    if plan.beyond.startswith("it has"):
        return f"the log is not of one run: {plan.beyond}"
    if plan.beyond and not (model and plan.beyond.startswith("it names")):
        return f"the log's plan is more than it says: {plan.beyond}; state it with `memcalc serve`"
    return ""


def quantised(
    plan: Plan, served: ServingEstimate, source: str, asked: ServingOptions
) -> tuple[ServingEstimate | None, str]:
    """Return the estimate with the weights that the log names, where the source's own are not quantised."""
    if served.engine.reads_gguf and "weights" not in plan.options and not served.plan.source.is_gguf:
        return None, "the log does not say the file's format: add --model with the GGUF file"
    said, stored = plan.quantization, served.plan.weights
    if stored not in UNQUANTISED or "weights" in plan.options:
        return served, ""
    if said is None:  # stored in one, kept in another
        is_kept = served.engine.reads_gguf or plan.dtype in (None, stored)
        return (served if is_kept else estimate(source, replace(asked, weights=plan.dtype))), ""
    if said == "fp8":  # made while the model is loaded: a scale a tensor
        return estimate(source, replace(asked, weights="fp8")), ""
    where = f"{served.model.name} is stored as {stored}"
    return None, f"the log says quantization {said}, and {where}: add --model with the quantised model"


def in_words(checked: Checked) -> str:
    """Return a log beside the ledger as text: a line for each figure, equal ones together."""
    plan = checked.plan
    options = {**plan.options, **plan.options.get("engine_options", {})}
    options.pop("engine_options", None)
    asked = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in options.items())
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
        cells.append((str(quantity), str(scope), told, said, "" if why == checked.unsaid else str(why)))
    if len(cells) == 1:
        rows += ["  no figure of memory was found"] if plan.engine else []
        cells = []
    widths = [max((len(row[column]) for row in cells), default=0) for column in range(4)]
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
