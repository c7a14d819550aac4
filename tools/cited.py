"""What the book cites: papers by author, threads, files and pages, each with the pages that cite it.

A paper is a record of book/papers.json, under its number at arXiv; its year is that of the number.
Sources of measured rows, models, machines and constants stand in other tables: here they are counted.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from prose import pages, prose

from memcalc.data import constants
from memcalc.evidence import checkpoints, observations, training_observations
from memcalc.evidence.records import source_of
from memcalc.files.catalogue import catalogue
from memcalc.files.machines import devices
from memcalc.files.sources import source
from memcalc.show.tables import table

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\((https?://[^)\s]+)\)")
THREAD = re.compile(r"github\.com/([^/]+/[^/]+)/(?:issues|pull|discussions)/(\d+)")
ARXIV = re.compile(r"(?:arXiv:|arxiv\.org/\w+/)(\d{4}\.\d{4,5})")


class Paper(NamedTuple):
    """A paper: its number at arXiv, its authors as a sentence names them, its title."""

    number: str
    authors: str
    title: str

    @property
    def address(self) -> str:
        """Where it is read."""
        return f"https://arxiv.org/abs/{self.number}"

    @property
    def named(self) -> str:
        """How a sentence cites it.

        >>> Paper("2305.13245", "Ainslie and others", "GQA").named
        'Ainslie and others, 2023'
        """
        return f"{self.authors}, 20{self.number[:2]}"


@cache
def papers() -> dict[str, Paper]:
    """Return every paper of the record by its number, sorted by author, then year."""
    records = json.loads((ROOT / "book" / "papers.json").read_text(encoding="utf-8"))
    found = [Paper(number, **record) for number, record in records.items()]
    return {one.number: one for one in sorted(found, key=lambda one: (one.named.casefold(), one.number))}


@cache
def citations() -> dict[str, list[Path]]:
    """Return the pages that link to each address on another site."""
    found: dict[str, list[Path]] = defaultdict(list)
    for page in pages():
        for address in dict.fromkeys(address for _, address in LINK.findall(prose(page))):
            found[address].append(page)
    return dict(found)


@cache
def places() -> dict[str, list[Path]]:
    """Return the files that name each paper: pages with what they print, records, and memcalc's source."""
    files = [*pages(), *(ROOT / "book" / "record").glob("*.json")]
    files += [path for path in (ROOT / "memcalc").rglob("*") if path.suffix in {".py", ".json", ".jsonl"}]
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(files):
        for number in sorted(set(ARXIV.findall(path.read_text(encoding="utf-8")))):
            found[number].append(path)
    return dict(found)


def cited_papers() -> str:
    """Return the papers as a Markdown list, each with the pages that cite it, else the files."""
    return "\n".join(
        f"- **{one.named}.** {one.title}. [arXiv:{number}]({one.address}). Cited in "
        f"{'; '.join(citing(places().get(number, ())))}."
        for number, one in papers().items()
    )


def citing(files: Sequence[Path]) -> list[str]:
    """Return the pages among files as links, which the build gives their titles; if none is, the paths.

    >>> citing([ROOT / "notebooks" / "bytes.ipynb"]), citing([ROOT / "memcalc" / "errors.py"])
    (['[](../notebooks/bytes.ipynb)'], ['`memcalc/errors.py`'])
    """
    paths = {one: one.relative_to(ROOT).as_posix() for one in files}
    linked = [f"[](../{path})" for one, path in paths.items() if one.suffix in {".ipynb", ".md"}]
    return linked or [f"`{path}`" for path in paths.values()]


def threads() -> str:
    """Return the threads as a Markdown table, those of a repository together."""
    found = {address: THREAD.search(address) for address in citations()}
    named = {address: (match[1], int(match[2])) for address, match in found.items() if match}
    ordered = sorted(named, key=lambda address: (named[address], address))
    return listed({address: "{}#{}".format(*named[address]) for address in ordered})


def others() -> str:
    """Return files and pages as a Markdown table, by their addresses."""
    found = (address for address in citations() if not (THREAD.search(address) or ARXIV.search(address)))
    return listed(
        {address: address.partition("://")[2].partition("#")[0].rstrip("/") for address in sorted(found)}
    )


def listed(names: dict[str, str]) -> str:
    """Return sources as a Markdown table: how each is called, and the pages that cite it."""
    rows = [
        {"source": f"[{name}]({address})", "cited in": "; ".join(citing(citations()[address]))}
        for address, name in names.items()
    ]
    return f"{table(rows)!r}\n"


def counted() -> str:
    """Return how many sources stand in other tables, and where."""
    measured = [one for one in vars(constants).values() if isinstance(one, constants.Measured)]
    score = "[the scoreboard](../notebooks/predictions_against_measurements.ipynb)"
    kinds: tuple[tuple[str, list[str], str], ...] = (
        ("measured rows, serving", [source_of(one.source) for one in observations()], score),
        ("measured rows, training", [source_of(one.source) for one in training_observations()], score),
        (
            "published checkpoints",
            [one.source for one in checkpoints()],
            "[Published checkpoints](../notebooks/handbook_checkpoints.ipynb)",
        ),
        ("models of the catalogue", [source(name).found for name in catalogue()], "[Models](coverage.md)"),
        ("machines", [one.source for one in devices().values()], "[Machines](coverage.md)"),
        (
            "measured constants",
            [one.source for one in measured],
            "`memcalc explain`, beside each number that uses one",
        ),
    )
    rows = [
        {"of what": what, "entries": len(found), "sources": len(set(found)), "where they stand": where}
        for what, found, where in kinds
    ]
    return f"{table(rows)!r}\n"
