"""How the book checks itself, in numbers: counted in the records and the tests themselves."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memcalc.evidence import checkpoints, claims, observations, scores, training_observations
from memcalc.evidence.records import source_of
from memcalc.files.catalogue import catalogue
from memcalc.files.machines import devices
from memcalc.files.readers import PUBLISHED, READERS
from memcalc.show.tables import table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from memcalc.evidence import Score

ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT / "tests" / "recorded"


def recorded(name: str, key: str = "models") -> int:
    """Return how many cases a record of an oracle has."""
    record: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))
    return len(record[key])


def tests(folder: Path) -> int:
    """Return how many test functions the files of a folder have; many of them run for hundreds of cases."""
    found = (node for path in folder.glob("test_*.py") for node in ast.walk(ast.parse(path.read_bytes())))
    return sum(isinstance(node, ast.FunctionDef) and node.name.startswith("test_") for node in found)


def asserts() -> int:
    """Return how many statements of the chapters demand a number that the page says."""
    cells = (
        cell
        for path in (ROOT / "notebooks").glob("*.ipynb")
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "code"
    )
    return sum(
        "".join(cell["source"]).count("\nassert ") + cell["source"][0].startswith("assert ") for cell in cells
    )


def lines(path: Path) -> int:
    """Return how many lines a file has."""
    return path.read_bytes().count(b"\n")


def listed(rows: Iterable[Sequence[object]], *names: str) -> str:
    """Return rows as a Markdown table."""
    return f"{table([dict(zip(names, row, strict=True)) for row in rows])!r}\n"


def exact() -> str:
    """Return what is held with ==, and against what."""
    types = len(READERS) + len(PUBLISHED)
    rows = (
        (
            "model types that memcalc can read",
            types,
            "names and shapes of the tensors of transformers' class, or of a published checkpoint",
        ),
        ("models of the catalogue", recorded("catalogue"), "transformers' classes, built without memory"),
        ("configs of other published models", recorded("models"), "the same classes"),
        ("small random configs", recorded("random"), "the same classes, their caches and saved checkpoints"),
        ("configs that state only their type", recorded("defaults"), "the defaults that the class fills in"),
        ("training steps", recorded("saved", "steps"), "what PyTorch's autograd keeps, on fake tensors"),
        (
            "models as GGUF files, in every preset",
            recorded("llama_cpp"),
            "llama.cpp itself, tensor by tensor",
        ),
        ("published checkpoints", len(checkpoints()), "their published sizes or headers"),
    )
    return listed(rows, "what", "how many", "held against")


def judged(name: str, rows: Sequence[Any], testing: Sequence[Score[Any]]) -> tuple[object, ...]:
    """Return a record in numbers: its rows, and how many of those that test have a prediction that holds."""
    ranged = [score for score in testing if score.has_range]
    return (
        *(name, len(rows), len({source_of(row.source) for row in rows})),
        *(sum(row.role == "calibration" for row in rows), len(testing)),
        f"{sum(score.inside for score in ranged):,} of {len(ranged):,}",
    )


def measured() -> str:
    """Return how many measurements there are, and how many of those that test hold."""
    rows = (
        judged("serving", observations(), scores(observations(role="test"))),
        judged("training", training_observations(), scores(training_observations(role="test"))),
    )
    return listed(
        *(rows, "record", "rows", "sources", "set a constant", "test a prediction"),
        "inside its range, if it has one",
    )


def gate() -> str:
    """Return what the gate runs, in numbers."""
    notebooks = len(list((ROOT / "notebooks").glob("*.ipynb")))
    rows = (
        ("unit tests", tests(ROOT / "tests"), "test functions, many of them with hundreds of cases"),
        (
            "golden answers",
            lines(RECORDED / "answers.jsonl"),
            "recorded answers of commands, compared byte for byte",
        ),
        ("chapters executed again", notebooks, "notebooks; each output has to come out the same"),
        ("numbers that chapters assert", asserts(), "`assert` statements"),
        (
            "public logs",
            recorded("logs", "logs"),
            "logs of engines; their lines are recognised, their figures compared",
        ),
        (
            "notes, judged",
            len(claims()),
            "claims of the notes that the book began with, each with a verdict and the number behind it",
        ),
        (
            "pages in a browser",
            tests(ROOT / "tests" / "browser"),
            "test functions, for every page or for one of each kind",
        ),
        ("oracles", tests(ROOT / "tests" / "oracles"), "test functions, in an environment of their own"),
        (
            "models and machines",
            len(catalogue()) + len(devices()),
            "records; one without a source and a date does not load",
        ),
    )
    return listed(rows, "check", "how many", "of what")
