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

__all__ = ["LANGUAGES", "label", "phrase", "unit_name", "worded"]

LANGUAGES = ("en", "zh")
PLAIN = ("question", "item", "because", "further", "subject")
LISTS = ("hints", "points")
RECORDS = ("wrong", "options", "rows")
PHRASES = {
    "answer": {"en": "answer: ", "zh": "答案："},
    "between steps": {"en": "; ", "zh": "；"},
    "right": {"en": "right", "zh": "正确"},
    "wrong": {"en": "wrong", "zh": "不对"},
    "wrong, because": {"en": "wrong: {}", "zh": "不对：{}"},
    "too large": {"en": "wrong: too large", "zh": "不对：偏大"},
    "too small": {"en": "wrong: too small", "zh": "不对：偏小"},
    "by a factor": {"en": "{}, by a factor of {}", "zh": "{}，相差 {} 倍"},
    "unit alone": {"en": "wrong by the unit alone: {} are not {}", "zh": "只错在单位：{} 不是 {}"},
    "compare": {"en": "compare with: {}", "zh": "请对照：{}"},
    "nothing": {"en": "nothing", "zh": "没有答案"},
    "one letter": {"en": "{}: expected one letter of {}", "zh": "{}：应为一个字母：{}"},
    "all letters": {
        "en": "{}: expected all letters, the smallest first, of {}",
        "zh": "{}：应为全部字母，从小到大：{}",
    },
    "letters": {"en": "{}: expected letters of {}", "zh": "{}：应为这些字母中的若干个：{}"},
    "a number": {"en": "{}: expected a number{}", "zh": "{}：应为一个数{}"},
    "of a unit": {"en": " of {}", "zh": "，单位 {}"},
    "of bytes": {"en": ", for example 5 GiB or 5.37 GB", "zh": "，例如 5 GiB 或 5.37 GB"},
    "no unit": {"en": "{}: of what? write the unit{}", "zh": "{}：请写上单位{}"},
    "a unit": {"en": "{}: expected a unit of bytes{}", "zh": "{}：单位应为字节{}"},
    "which unit": {
        "en": "{0}: is that {1}B (10^{2} bytes) or {1}iB (2^{3} bytes)?",
        "zh": "{0}：是 {1}B（10^{2} 字节）还是 {1}iB（2^{3} 字节）？",
    },
    "which power": {
        "en": "{}: write the number out; {} may mean 1,000 or 1,024 to the power",
        "zh": "{}：请写出整个数；{} 可以是 1,000 的幂，也可以是 1,024 的幂",
    },
}


@cache
def chinese() -> Mapping[str, Any]:
    """Return the titles, the questions and the words of sums in Chinese."""
    with open_text("questions.zh.json") as file:
        found: Mapping[str, Any] = json.load(file)
    return found


def phrase(name: str, language: str, *said: object) -> str:
    """Return our own words in a derivation or a grade, with what stands in their braces.

    >>> phrase("unit alone", "en", "GB", "GiB")
    'wrong by the unit alone: GB are not GiB'
    """
    return PHRASES[name][language].format(*said)


def label(name: str, language: str) -> str:
    """Return the words for a name in a sum.

    >>> label("kv_heads", "en")
    'kv heads'
    """
    words = chinese()["names"] if language == "zh" else {}
    return str(words.get(name, name.replace("_", " ")))


def unit_name(unit: str, language: str) -> str:
    """Return a unit in a language; those of bytes are the same in both.

    >>> unit_name("tokens", "zh"), unit_name("GiB", "zh")
    ('词元', 'GiB')
    """
    return str(chinese()["units"].get(unit, unit)) if language == "zh" else unit


def worded(template: Template, language: str) -> Template:
    """Return a template in a language.

    Parameters
    ----------
    template : Template
        In English.
    language : str
        ``en`` or ``zh``.

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
    unit = unit_name(template.unit, language)
    return replace(template, title=chinese()["titles"][template.id], unit=unit, **said)


def of_record(one: Wrong | Option | Row, text: Any) -> Wrong | Option | Row:
    """Return a record of a template with its texts in Chinese: of a wrong sum the reason, of others both."""
    return type(one)(one.steps, text) if isinstance(one, Wrong) else type(one)(*text)
