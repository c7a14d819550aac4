"""The notes that the book began from: their text, every claim in it, and the verdict on each."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from memcalc.evidence.record import need, open_record

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "ARITHMETIC",
    "NONE",
    "PRICE",
    "SECTIONS",
    "VERDICTS",
    "Citation",
    "Claim",
    "Silent",
    "citations",
    "claims",
    "label",
    "silent",
    "text",
    "uncovered",
]

VERDICTS = {  # each with a mark that needs no colour
    "right": "✓",
    "right under an assumption": "(✓)",
    "wrong": "✗",
    "contradicts itself": "⇄",
    "opinion": "○",
    "not verifiable": "?",
}
SECTIONS = ("GPU servers", "KTransformers", "Ascend", "RoPE", "Inference", "72B", "Training")
ARITHMETIC = "arithmetic"  # the source of what is computed from shapes and sourced records
NONE = "none"  # the source of a price, which is the notes' own, and of an opinion
PRICE = "CNY"
UNITS = {"": 1, "GB": 10**9, "GiB": 2**30, PRICE: 1}


class Claim(NamedTuple):
    """One claim of the notes, and what became of it.

    `quote` is verbatim and occurs once in the notes. `low` and `high` are the claim's own figure in its
    `unit`, where it has one; None is an open end. `article` is what the notes take it from: the id of a
    `Citation`. `source` is an address, with its `date`, or ``arithmetic``; prices and opinions have none.

    >>> eight = next(claim for claim in claims() if claim.id == "total-8k")
    >>> eight.stated, eight.agrees(62 * 10**9), eight.agrees(46_650_000_000)
    ('60–65 GB', True, False)
    """

    id: str
    section: str
    quote: str
    english: str
    verdict: str
    why: str
    source: str
    date: str = ""
    article: str = ""
    low: float | None = None
    high: float | None = None
    unit: str = ""

    @property
    def stated(self) -> str:
        """The claim's own figure."""
        if self.low is None or self.high is None:
            ends = {"at most": self.high, "at least": self.low}
            return "".join(f"{word} {end:,g} {self.unit}" for word, end in ends.items() if end is not None)
        both = dict.fromkeys(f"{end:,g}" for end in (self.low, self.high))
        return f"{'–'.join(both)} {self.unit}".strip()

    def agrees(self, number: float) -> bool:
        """Say whether a number (of bytes, or of whatever is counted) is the claim's own figure."""
        size = number / UNITS[self.unit]
        return (self.low is None or self.low <= size) and (self.high is None or size <= self.high)

    @property
    def mark(self) -> str:
        """The verdict, and its mark."""
        return f"{VERDICTS[self.verdict]} {self.verdict}"

    @property
    def cited(self) -> str:
        """The source as Markdown."""
        return f"{label(self.source)}, {self.date}" if self.date else self.source

    @property
    def is_exempt(self) -> bool:
        """True for a price and for an opinion: there is nothing to compute and nothing to look up."""
        return self.unit == PRICE or self.verdict == "opinion"

    @property
    def shown(self) -> str:
        """The quotation as Markdown shows it verbatim: on one line, its marks without effect, TeX as code."""
        words = (
            f"`{word}`" if re.search(r"[\\$]", word) else re.sub(r"([`*_\[\]<>#~])", r"\\\1", word)
            for word in self.quote.split()
        )
        return " ".join(words)

    def row(self, computed: str = "") -> dict[str, str]:
        """Return a row of a table: the verdict, the claim, what was computed for it, why, and the source."""
        return {
            "verdict": self.mark,
            "the notes, and in English": f"{self.shown}<br>*{self.english}*",
            "computed here": computed or "–",
            "why, and source": self.why if self.is_exempt else f"{self.why} ({self.cited})",
        }


class Citation(NamedTuple):
    """An article or page that the notes cite.

    `quote` is the link as it stands in the notes, `read` how much of it could be read (``yes``, ``in part``,
    ``no``), `states` what it says, or what is known of it.
    """

    id: str
    quote: str
    title: str
    url: str
    read: str
    states: str
    date: str


class Silent(NamedTuple):
    """Text of the notes that claims nothing: a whole line, or a piece that occurs once, and why."""

    text: str
    why: str


def text() -> str:
    """Return the notes, verbatim.

    >>> text().splitlines()[2]
    '- Qwen/Qwen3-32B'
    """
    with open_record("notes.txt") as file:
        return file.read()


def claims(section: str | None = None) -> tuple[Claim, ...]:
    """Return all claims in the notes' order, or those of a section.

    >>> {claim.section for claim in claims()} == set(SECTIONS)
    True

    Raises:
        TypeError: a claim lacks a field, or has a verdict, section, unit or source that cannot be.

    """
    found = [claim(fields) for fields in record()["claims"]]
    return tuple(one for one in found if section in (None, one.section))


def claim(fields: dict[str, Any]) -> Claim:
    """Return a claim of the record, if it says all that a reader must know.

    Raises:
        TypeError: it does not.

    """
    found = Claim(**fields)
    stated = {
        "verdict": found.verdict in VERDICTS,
        "section": found.section in SECTIONS,
        "unit": found.unit in UNITS,
        "english": found.english != "",
        "why": found.why != "",
        "source": found.source == (NONE if found.is_exempt else ARITHMETIC)
        or found.source.startswith("https://"),
        "date": re.fullmatch(r"\d{4}-\d\d" if "://" in found.source else "", found.date) is not None,
    }
    need(f"{found.id}: a claim of the record", stated)
    return found


def citations() -> tuple[Citation, ...]:
    """Return the articles and pages that the notes cite.

    >>> next(one.read for one in citations() if one.id == "hiascend-r1")
    'yes'
    """
    return tuple(Citation(**fields) for fields in record()["citations"])


def silent() -> tuple[Silent, ...]:
    """Return what claims nothing, each with its reason.

    >>> silent()[0].why
    'a heading'
    """
    return tuple(Silent(**fields) for fields in record()["silent"])


def record() -> dict[str, Any]:
    """Return the record as it is stored."""
    with open_record("notes.json") as file:
        found: dict[str, Any] = json.load(file)
    return found


def uncovered() -> Iterator[tuple[int, str]]:
    """Yield what no claim quotes, no citation is and no reason excuses: a line's number, and its rest.

    Letters, digits and signs of the text all count; only spaces, punctuation and Markdown's marks do not.
    A line of which nothing but such marks stands there has to be excused as well.

    >>> list(uncovered())
    []
    """
    notes, whole = text(), {line.strip() for line in text().splitlines()}
    pieces = [one.quote for one in claims()] + [one.quote for one in citations()]
    said = [False] * len(notes)
    for piece in pieces:
        start = notes.index(piece)
        said[start : start + len(piece)] = [True] * len(piece)
    for one in silent():
        if one.text not in whole:
            start = notes.index(one.text)
            said[start : start + len(one.text)] = [True] * len(one.text)
    excused = {one.text for one in silent()} & whole
    start = 0
    for number, line in enumerate(notes.splitlines(), 1):
        covered = said[start : start + len(line)]
        start += len(line) + 1
        rest = "".join(sign for sign, done in zip(line, covered, strict=True) if not done)
        bare = not any(covered) and line.strip() != ""
        if line.strip() not in excused and (bare or re.search(r"[^\s\-*#>|:：，。、；（）()\[\]`+=$]", rest)):
            yield number, rest


def label(url: str) -> str:
    """Return an address as a Markdown link with a short text.

    >>> label("https://github.com/vllm-project/vllm/issues/17327")
    '[vllm#17327](https://github.com/vllm-project/vllm/issues/17327)'
    >>> label("https://arxiv.org/abs/2211.10438")
    '[arxiv.org](https://arxiv.org/abs/2211.10438)'
    """
    thread = re.fullmatch(r"https://github\.com/[^/]+/([^/]+)/(?:issues|pull)/(\d+)", url)
    file = re.fullmatch(r"https://github\.com/.*/([^/]+)", url)
    host = url.split("/")[2].removeprefix("www.")
    return f"[{f'{thread[1]}#{thread[2]}' if thread else file[1] if file else host}]({url})"
