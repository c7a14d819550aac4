"""Two interviews to be held aloud, from book/mock_interviews.json.

Their questions and sums are those of the bank, with the numbers of a seed; what to listen for, and what to
ask next, stands in the file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from memcalc.interview.bank import find
from memcalc.interview.question import Question, question

FILE = Path(__file__).resolve().parents[1] / "book" / "mock_interviews.json"


class Part(NamedTuple):
    """A part of an interview: a question of the bank, how it is introduced, and what to listen for."""

    minutes: int
    id: str
    opening: str
    good: str
    weak: str
    then: list[tuple[str, str]]


class Interview(NamedTuple):
    """An interview: for whom, with which numbers, and its parts."""

    title: str
    about: str
    seed: int
    parts: tuple[Part, ...]


def interviews() -> list[Interview]:
    """Return the interviews."""
    read: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
    return [Interview(**{**one, "parts": tuple(Part(**part) for part in one["parts"])}) for one in read]


def page() -> str:
    """Return both interviews as Markdown."""
    return "\n".join(told(one, letter) for letter, one in zip("AB", interviews(), strict=True))


def told(one: Interview, letter: str) -> str:
    """Return an interview: how long its parts take, and the parts."""
    total = sum(part.minutes for part in one.parts)
    lines = [f"## {letter}. {one.title}", "", f"{one.about} {total} minutes, {len(one.parts)} questions.", ""]
    for number, part in enumerate(one.parts, 1):
        asked = question(find(part.id), one.seed)
        lines += [f"### {letter}{number}. {asked.template.title} ({part.minutes} min)", ""]
        lines += [f"*{part.opening}*", "", *said(asked), *folded(part, asked)]
    return "\n".join(lines)


def said(asked: Question) -> list[str]:
    """Return what the interviewer says."""
    choices = [f"- {line}" for line in asked.lines()[1:]]
    return [f"> {asked.text}", "", *choices, ""]


def folded(part: Part, asked: Question) -> list[str]:
    """Return what a good answer says, what a weak one does, and what is asked next, folded away."""
    then = [f"- *{ask}* {answer}" for ask, answer in (*part.then, halves(asked.further))]
    link = f"[The same with other numbers](quiz.md) (`{asked.template.id}`)"
    return [
        '<details class="answer"><summary>What a good answer says 好的回答</summary>', "",
        "```text", *asked.derivation, "```", "", part.good, "", f"**A weak answer:** {part.weak}", "",
        "**Then ask 追问**", "", *then, "", link, "", "</details>", "",
    ]  # fmt: skip


def halves(further: str) -> tuple[str, str]:
    """Take a follow-up apart: what is asked, and the answer that stands behind it in brackets."""
    ask, _, answer = further.partition(" (")
    return ask, answer.removesuffix(")")
