"""The notes that the book began from: their text, every claim in it, and the verdict on each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from memcalc.evidence.records import load_records, open_record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.evidence.records import Checks

__all__ = [
    "ARITHMETIC",
    "CHECKS",
    "NONE",
    "PRICE",
    "SECTIONS",
    "VERDICTS",
    "Citation",
    "Claim",
    "NotAClaim",
    "citations",
    "claims",
    "link",
    "not_claims",
    "notes_text",
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
CHECKS: Checks = {  # what every claim must state
    "verdict": lambda claim: claim.verdict in VERDICTS,
    "section": lambda claim: claim.section in SECTIONS,
    "unit": lambda claim: claim.unit in UNITS,
    "english": lambda claim: claim.english != "",
    "why": lambda claim: claim.why != "",
    "chinese": lambda claim: re.search("[\u4e00-\u9fff]", claim.chinese) is not None,
    "source": lambda claim: (
        claim.source == (NONE if claim.is_exempt else ARITHMETIC) or claim.source.startswith("https://")
    ),
    "date": lambda claim: (
        re.fullmatch(r"\d{4}-\d\d" if "://" in claim.source else "", claim.date) is not None
    ),
}
# letters, digits and signs; not spaces, punctuation and the marks of Markdown
CONTENT = re.compile(r"[^\s\-*#>|:：，。、；（）()\[\]`+=$]")


class Claim(NamedTuple):
    """One claim of the notes, and what became of it.

    `quote` is verbatim and occurs once in the notes; `chinese` says in Chinese why the verdict is what it is.
    `low` and `high` are the claim's own figure in its `unit`, where it has one; None is an open end.
    `article` is what the notes take it from: the id of a `Citation`. `source` is an address, with its `date`,
    or ``arithmetic``; prices and opinions have none.

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
    chinese: str
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
        return f"{link(self.source)}, {self.date}" if self.date else self.source

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
        why = self.why if self.is_exempt else f"{self.why} ({self.cited})"
        return {
            "verdict": self.mark,
            "the notes, and in English": f"{self.shown}<br>*{self.english}*",
            "computed here": computed or "–",
            "why, and source": f"{why}<br>{self.chinese}",
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


class NotAClaim(NamedTuple):
    """Text of the notes that claims nothing: a whole line, or a piece that occurs once, and why."""

    text: str
    why: str


def notes_text() -> str:
    """Return the notes, verbatim.

    >>> notes_text().splitlines()[2]
    '- Qwen/Qwen3-32B'
    """
    with open_record("notes.txt") as file:
        return file.read()


def claims(section: str | None = None) -> tuple[Claim, ...]:
    """Return the claims of the notes, each with its verdict, in the notes' order.

    Parameters
    ----------
    section : str, optional
        One of `SECTIONS`; all of them by default.

    Returns
    -------
    tuple of Claim

    Raises
    ------
    TypeError
        A claim lacks a field, or has a verdict, section, unit or source that cannot be.

    Examples
    --------
    >>> {claim.section for claim in claims()} == set(SECTIONS)
    True

    """
    found = load_records(Claim, "notes.json", CHECKS, part="claims")
    return tuple(one for one in found if section in (None, one.section))


def citations() -> tuple[Citation, ...]:
    """Return the articles and pages that the notes cite.

    >>> next(one.read for one in citations() if one.id == "hiascend-r1")
    'yes'
    """
    return load_records(Citation, "notes.json", {}, part="citations")


def not_claims() -> tuple[NotAClaim, ...]:
    """Return the pieces of the notes that claim nothing, each with its reason.

    >>> not_claims()[0].why
    'a heading'
    """
    return load_records(NotAClaim, "notes.json", {}, part="not_claims")


def uncovered() -> Iterator[tuple[int, str]]:
    """Yield what no claim quotes, no citation is and no reason excuses: a line's number, and its rest.

    Letters, digits and signs of the text all count; only spaces, punctuation and Markdown's marks do not.
    A line that consists of such marks has to be excused as well.

    >>> list(uncovered())
    []
    """
    notes = notes_text()
    whole_lines = {line.strip() for line in notes.splitlines()}
    excused = {one.text for one in not_claims()}
    quotes = [*(one.quote for one in claims()), *(one.quote for one in citations())]
    covered = [False] * len(notes)
    for piece in (*quotes, *(excused - whole_lines)):
        start = notes.index(piece)
        covered[start : start + len(piece)] = [True] * len(piece)
    start = 0
    for number, line in enumerate(notes.splitlines(), 1):
        marked = covered[start : start + len(line)]
        start += len(line) + 1
        rest = "".join(sign for sign, done in zip(line, marked, strict=True) if not done)
        only_marks = line.strip() != "" and not any(marked)
        if line.strip() not in excused and (only_marks or CONTENT.search(rest)):
            yield number, rest


def link(url: str) -> str:
    """Return an address as a Markdown link with a short text.

    >>> link("https://github.com/vllm-project/vllm/issues/17327")
    '[vllm#17327](https://github.com/vllm-project/vllm/issues/17327)'
    >>> link("https://arxiv.org/abs/2211.10438")
    '[arxiv.org](https://arxiv.org/abs/2211.10438)'
    """
    thread = re.fullmatch(r"https://github\.com/[^/]+/([^/]+)/(?:issues|pull)/(\d+)", url)
    file = re.fullmatch(r"https://github\.com/.*/([^/]+)", url)
    host = url.split("/")[2].removeprefix("www.")
    return f"[{f'{thread[1]}#{thread[2]}' if thread else file[1] if file else host}]({url})"
