"""Questions in Chinese: memcalc/data/questions.zh.json, by the template's id."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from memcalc.data import open_text
from memcalc.interview.template import Wrong

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memcalc.interview.template import Option, Row, Template

__all__ = ["LANGUAGES", "label", "languages", "phrase", "worded"]

LANGUAGES = ("en", "zh")
PLAIN = ("question", "item", "because", "further", "subject")
LISTS = ("hints", "points")
RECORDS = ("wrong", "options", "rows")
PHRASES = {"answer": {"en": "answer:", "zh": "答案："}, "right": {"en": "right", "zh": "正确"}}


@cache
def chinese() -> Mapping[str, Any]:
    """Return the titles, the questions and the words of sums in Chinese."""
    with open_text("questions.zh.json") as file:
        found: Mapping[str, Any] = json.load(file)
    return found


def phrase(name: str, language: str) -> str:
    """Return one of our own words in a derivation."""
    return PHRASES[name][language]


def label(name: str, language: str) -> str:
    """Return the words for a name in a sum.

    >>> label("kv_heads", "en")
    'kv heads'
    """
    words = chinese()["names"] if language == "zh" else {}
    return str(words.get(name, name.replace("_", " ")))


def languages(template: Template) -> tuple[str, ...]:
    """Return the languages in which a template can be asked.

    >>> from memcalc.interview.bank import find
    >>> languages(find("kv-bytes-a-token"))
    ('en', 'zh')
    """
    return LANGUAGES if template.id in chinese()["questions"] else LANGUAGES[:1]


def worded(template: Template, language: str) -> Template:
    """Return a template in a language.

    Parameters
    ----------
    template : Template
        In English.
    language : str
        One in which it can be asked.

    """
    if language == "en":
        return template
    texts = chinese()["questions"][template.id]
    said: dict[str, Any] = {name: texts[name] for name in PLAIN if name in texts}
    said |= {name: tuple(texts[name]) for name in LISTS if name in texts}
    said |= {
        name: tuple(
            of_record(one, text) for one, text in zip(getattr(template, name), texts[name], strict=True)
        )
        for name in RECORDS
        if name in texts
    }
    return replace(template, title=chinese()["titles"][template.id], **said)


def of_record(one: Wrong | Option | Row, text: Any) -> Wrong | Option | Row:
    """Return a record of a template with its texts in Chinese: of a wrong sum the reason, of others both."""
    return type(one)(one.steps, text) if isinstance(one, Wrong) else type(one)(*text)
