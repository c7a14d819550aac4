"""The plans of the chapters: what their cells ask of memcalc, as commands that the calculator's page answers.

The cells are executed with recorders in the place of `memcalc.serve` and `memcalc.train`, so that a link is
what the chapter asks, and nobody types it. A plan is listed if the chapter prints a figure of its answer;
tests/test_chapter_plans.py asks the command line for each, and holds the answer against that figure.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import zlib
from base64 import urlsafe_b64encode
from collections import Counter
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import quote

import nbformat
import yaml
from made_of import fingerprint

import memcalc
from memcalc.cli.serve import fields as serving_fields
from memcalc.cli.train import fields as training_fields
from memcalc.interview.session import SESSION
from memcalc.serving.options import ServingOptions
from memcalc.show.remedy import command_line
from memcalc.training.options import TrainingOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "_build" / "chapter_plans.json"
MADE_OF = ("_toc.yml", "requirements.txt")  # the plans of the chapters
MADE_OF_FOLDERS = ("book", "memcalc", "notebooks", "tools")
PARTS = ("Start", "Serving", "Training", "Practice")  # of the book
LEFT_OUT = ("your_model_your_machine", "questions")  # a page for any model, and answers that readers look for
PAGE = "../book/calculator.html"
OWN = "config.json"  # what the calculator calls a config that is not of the catalogue
CHECKS = "hide-cell"  # the tag of cells that hold what a chapter says
DECLARED: dict[str, Any] = {"serve": ServingOptions, "train": TrainingOptions}
FIELDS: dict[str, Callable[[Any], dict[str, object]]] = {"serve": serving_fields, "train": training_fields}
# Figures of an answer, those first that say most of it. What it was asked about is none.
WHOLE = (
    "total_bytes",
    "device_bytes",
    "max_context",
    "max_batch",
    "tokens",
    "cache_bytes",
    "weights_file_bytes",
)
PARTLY = ("high_bytes", "low_bytes", "trainable_parameters", "moments", "components", "bytes")
STATED = (*WHOLE, *PARTLY)
UNITS = (2**30, 2**20, 10**9)
SHORTEST = 4  # letters of a figure: "1.00" is one, "24" may be anything
NUMBER = re.compile(r"(?<![\d,.])\d[\d,]*(?:\.\d+)?(?![\d,])")


class Plan(NamedTuple):
    """A plan of a chapter: the words behind `memcalc`, and a figure of the answer as the chapter prints it.

    `path` leads to that figure in the answer's JSON.
    """

    command: str
    path: tuple[str, ...]
    printed: str


class Recorder:
    """Stands in for `memcalc.serve` and `memcalc.train`, and keeps each command with its answer as JSON."""

    def __init__(self) -> None:
        self.asked: dict[str, dict[str, object]] = {}
        self.real = {name: getattr(memcalc, name) for name in (*DECLARED, "largest")}
        self.trying = False

    def __enter__(self) -> Self:
        recorders = {**{name: self.recorded(name) for name in DECLARED}, "largest": self.search}
        for name, function in recorders.items():
            setattr(memcalc, name, function)
        return self

    def __exit__(self, *_: object) -> None:
        for name, function in self.real.items():
            setattr(memcalc, name, function)

    def recorded(self, name: str) -> Callable[..., object]:
        """Return a function that answers as memcalc does; a sweep is no single plan, and is not kept."""

        def answered(source: object, **options: Any) -> object:
            answer = self.real[name](source, **options)
            swept = any(getattr(value, "ndim", 0) for value in options.values())
            if isinstance(source, str) and not swept and not self.trying:
                asked = command_line(name, source, DECLARED[name](**options))
                self.asked[asked.removeprefix("memcalc ")] = FIELDS[name](answer)
            return answer

        return answered

    def search(self, *given: Any, **named: Any) -> object:
        """Answer as `memcalc.largest`; what is tried on the way is no plan of the chapter."""
        self.trying = True
        try:
            return self.real["largest"](*given, **named)
        finally:
            self.trying = False


def figures(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield the sizes and limits of an answer, each with the way to it."""
    if isinstance(value, dict):
        for name, inside in value.items():
            if name != "plan":  # what was asked
                yield from figures(inside, (*path, str(name)))
    elif isinstance(value, list | tuple):
        for place, inside in enumerate(value):
            yield from figures(inside, (*path, str(place)))
    elif isinstance(value, int) and not isinstance(value, bool) and rank(path) < len(STATED):
        yield path, value


def rank(path: tuple[str, ...]) -> int:
    """Return how much a figure says of an answer: 0 the most, and as many as there are names nothing."""
    return min((STATED.index(name) for name in path[-2:] if name in STATED), default=len(STATED))


def written(number: int) -> set[str]:
    """Return how a chapter may print a number: whole, or in a unit of bytes with two decimals."""
    forms = {f"{number:,}", *(f"{number / unit:,.2f}" for unit in UNITS)}
    return {form for form in forms if len(form) >= SHORTEST and float(form.replace(",", "")) >= 1}


def stated(answers: dict[str, dict[str, object]], printed: dict[str, int]) -> Iterator[Plan]:
    """Yield the plans of a cell of which a figure is printed: the first that says most of each.

    `printed` has the cell that prints a figure first. A part that several plans have in common says of none
    that it is meant.
    """
    known = {
        command: [
            (path, form)
            for _, _, path, form in sorted(
                (rank(path), printed[form], path, form)
                for path, number in figures(answer)
                for form in written(number) & printed.keys()
            )
        ]
        for command, answer in answers.items()
    }
    shared = Counter(form for found in known.values() for form in {form for _, form in found})
    for command, found in known.items():
        for path, form in found:
            if rank(path) < len(WHOLE) or shared[form] == 1:
                yield Plan(command, path, form)
                break


def text_of(cell: Any) -> str:
    """Return what a cell has printed; of a picture the sentence that describes it."""
    texts = [output.get("text", "") for output in cell.get("outputs", [])]
    data = [output.get("data", {}) for output in cell.get("outputs", [])]
    return "\n".join(
        [*texts, *(one.get(kind, "") for one in data for kind in ("text/markdown", "text/plain"))]
    )


def plans_of(path: Path) -> dict[int, list[Plan]]:
    """Return the plans of a chapter whose figures it prints, by the number of the cell that prints them.

    A plan may be asked for long before its figure is shown: its link stands where the figure is.
    """
    cells = nbformat.read(path, as_version=4).cells
    printed = [set(NUMBER.findall(text_of(cell))) for cell in cells]
    names: dict[str, object] = {"__name__": "__main__"}
    found: dict[int, list[Plan]] = {}
    SESSION.grades.clear()  # in a kernel of its own nothing was answered before
    with Recorder() as recorder, contextlib.chdir(path.parent), contextlib.redirect_stdout(io.StringIO()):
        for place, cell in enumerate(cells):
            if cell.cell_type != "code":
                continue
            recorder.asked = {}
            exec(compile(cell.source, f"{path.name}: cell {place}", "exec"), names)  # noqa: S102  # our own
            if CHECKS in cell.metadata.get("tags", []):
                continue
            first = {form: at for at in reversed(range(place, len(cells))) for form in printed[at]}
            for plan in stated(recorder.asked, first):
                here = found.setdefault(first[plan.printed], [])
                if plan.command not in [one.command for one in here]:
                    here.append(plan)
    return dict(sorted(found.items()))


def chapters() -> Iterator[Path]:
    """Yield the notebooks whose plans are listed."""
    parts = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))["parts"]
    for part in parts:
        for chapter in part["chapters"] if part["caption"] in PARTS else []:
            path = ROOT / f"{chapter['file']}.ipynb"
            if path.is_file() and path.stem not in LEFT_OUT:
                yield path


@cache
def plans() -> dict[str, dict[int, list[Plan]]]:
    """Return the plans of every chapter, by the chapter's name and the number of the cell.

    Chapters are executed once: what was found of the same chapters and program is kept below `_build`.
    """
    now = fingerprint(MADE_OF, MADE_OF_FOLDERS)
    if KEPT.is_file():
        kept = json.loads(KEPT.read_text(encoding="utf-8"))
        if kept["made_of"] == now:
            return {
                name: {int(place): [plan_of(*one) for one in some] for place, some in cells.items()}
                for name, cells in kept["plans"].items()
            }
    found = {path.stem: cells for path in chapters() if (cells := plans_of(path))}
    KEPT.parent.mkdir(exist_ok=True)
    whole = KEPT.with_suffix(f".{os.getpid()}")  # who reads it meanwhile never has half of it
    whole.write_text(json.dumps({"made_of": now, "plans": found}), encoding="utf-8")
    whole.replace(KEPT)
    return found


def plan_of(command: str, path: list[str], printed: str) -> Plan:
    """Return a plan as it was before it was written as JSON."""
    return Plan(command, tuple(path), printed)


def address(command: str, page: str = "") -> str:
    """Return the address of a plan: the calculator of that page, or of the same one, opens it.

    A config that lies beside the notebooks goes with it, as the calculator packs one of a reader's own.
    """
    name, source, *rest = shlex.split(command)
    own = ROOT / "notebooks" / source
    if not own.is_file():
        return f"{page}#{quote(f'memcalc {command}', safe='')}"
    words = quote(shlex.join(["memcalc", name, OWN, *rest]), safe="")
    packed = zlib.compress(own.read_bytes(), wbits=-zlib.MAX_WBITS)
    return f"{page}#{words}&config={urlsafe_b64encode(packed).decode().rstrip('=')}"


def link(command: str, words: str, page: str = "") -> str:
    """Return a link to a plan, in words of its command."""
    return anchor(command, f"<code>{escape(words)}</code>", page)


def anchor(command: str, inside: str, page: str) -> str:
    """Return a link to a plan around what is HTML already; the whole command is its title."""
    return f'<a href="{address(command, page)}" title="{escape(f"memcalc {command}")}">{inside}</a>'


def options(command: str) -> list[str]:
    """Return a command as its options, each with its value, behind what is asked of which model.

    >>> options("serve Qwen/Qwen3-32B --context 8192 --on '2x rtx-a6000'")
    ['serve Qwen/Qwen3-32B', '--context 8192', "--on '2x rtx-a6000'"]
    """
    found: list[str] = []
    for word in shlex.split(command):
        quoted = shlex.quote(word)
        if found and not word.startswith("--"):
            found[-1] += f" {quoted}"
        else:
            found.append(quoted)
    return found


def line(some: list[Plan]) -> str:
    """Return the links of a cell: what its plans have in common once, and each in the words that differ."""
    if len(some) == 1:
        words = "Open this plan in the calculator 算一算"
        return f'<p class="in-calculator d-print-none">{anchor(some[0].command, words, PAGE)}</p>\n'
    asked = [options(one.command) for one in some]
    common = [one for one in asked[0] if all(one in other for other in asked)]
    links = (
        link(one.command, " ".join(word for word in words if word not in common) or "no other option", PAGE)
        for one, words in zip(some, asked, strict=True)
    )
    said = f"<p><code>{escape(' '.join(common))}</code>, and:</p>" if common else ""
    listed = "".join(f"<li>{one}</li>" for one in links)
    return (
        '<details class="in-calculator d-print-none">'
        f"<summary>Open these {len(some)} plans in the calculator 算一算</summary>"
        f"{said}<ul>{listed}</ul></details>\n"
    )


def lines() -> str:
    """Return the line of each cell as JSON, by chapter and number of the cell (`_ext/in_calculator.py`)."""
    found = {name: {place: line(some) for place, some in cells.items()} for name, cells in plans().items()}
    return json.dumps(found, ensure_ascii=False)


def title(chapter: str) -> str:
    """Return the title of a chapter."""
    cells = nbformat.read(ROOT / "notebooks" / f"{chapter}.ipynb", as_version=4).cells
    return str(cells[0].source).partition("\n")[0].removeprefix("# ")


def index() -> str:
    """Return the plans of all chapters as a list, for the calculator's page."""
    rows = []
    for chapter, cells in plans().items():
        some = dict.fromkeys(one.command for found in cells.values() for one in found)
        links = "".join(f"<li>{link(one, one)}</li>\n" for one in some)
        heading = f'<a href="../notebooks/{chapter}.html">{escape(title(chapter))}</a>'
        rows.append(
            f"<details><summary>{escape(title(chapter))}: {len(some)}</summary>\n"
            f"<p>{heading}</p>\n<ul>{links}</ul></details>\n"
        )
    return "".join(rows)
