"""A sheet of interview questions and its key, as PDFs: `make exam SEED=1 N=10 TOPIC=training EDITION=zh`.

Without SEED it is 1, without N ten questions, without TOPIC of all topics, and in English without EDITION.
The same seed gives the same sheet, to the byte. A sheet in Chinese wants a font with Chinese letters.
"""

from __future__ import annotations

import argparse
import html
import io
import sys
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, NamedTuple

import browser
from playwright.sync_api import sync_playwright
from pypdf import PdfReader, PdfWriter

from memcalc.errors import BadInputError, MemcalcError
from memcalc.interview.language import phrase
from memcalc.interview.sheet import POINTS, sheet
from memcalc.interview.values import written
from memcalc.options import whole_number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from playwright.sync_api import Browser, Playwright

    from memcalc.interview.question import Question

FOLDER = Path(__file__).resolve().parents[1] / "_build" / "exam"
FONT = "fonts-wqy-microhei"  # Debian's package
SHEET = {"format": "A4", "margin": dict.fromkeys(("top", "bottom", "left", "right"), "16mm")}
PAGE = """<!DOCTYPE html><html lang="{language}"><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 11pt/1.5 "Noto Sans", "Noto Sans CJK SC", "WenQuanYi Micro Hei", sans-serif }}
h1 {{ font-size: 17pt; margin: 0 }} header p {{ color: #444; margin: 0.3em 0 1.2em }}
section {{ break-inside: avoid; margin: 0 0 1.3em }} h2 {{ font-size: 11pt; margin: 0 }}
p {{ margin: 0.3em 0 }} ol {{ list-style: upper-alpha; margin: 0.3em 0 }}
pre {{ font: inherit; white-space: pre-wrap; margin: 0.3em 0 }}
.room {{ border-bottom: 1px dotted #888; height: {room}em }} small {{ color: #444 }}
</style><header><h1>{title}</h1><p>{about}</p></header>{body}</html>"""


class Words(NamedTuple):
    """What a sheet says of itself, in a language."""

    title: str
    key: str
    about: str
    name: str
    points: str
    answer: str
    wrong: str
    further: str


WORDS = {
    "en": Words(
        "How much memory? {count} questions",
        "Key",
        "seed {seed} · {total} points",
        " · name: ____________________",
        "{points} p.",
        "Answer",
        "Common wrong answers: ",
        "Asked next: ",
    ),
    "zh": Words(
        "要多少显存？{count} 道题",
        "答案",
        "种子 {seed} · 共 {total} 分",
        " · 姓名：____________________",
        "{points} 分",
        "答案",
        "常见错误：",
        "追问：",
    ),
}


class Asked(NamedTuple):
    """What was asked for."""

    seed: int
    many: int
    topic: str | None
    language: str

    @property
    def name(self) -> str:
        """What the files are called."""
        return f"exam_{self.topic or 'all'}_{self.many}_seed_{self.seed}_{self.language}"


def asked(arguments: Sequence[str] | None) -> Asked:
    """Read what was asked for; what is empty has its default."""
    reader = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("seed", "n", "topic", "edition"):
        reader.add_argument(f"--{name}", default="")
    given = reader.parse_args(arguments)
    numbers = {}
    for name, default in (("seed", "1"), ("n", "10")):
        number = whole_number(getattr(given, name) or default)
        if not isinstance(number, int):
            raise BadInputError(
                name.upper(), "a whole number", number, f"give one, for example {name.upper()}=1"
            )
        numbers[name] = number
    return Asked(numbers["seed"], numbers["n"], given.topic or None, given.edition or "en")


def heading(number: int, one: Question, words: Words) -> str:
    """Return the heading of a question."""
    points = words.points.format(points=POINTS[one.template.difficulty])
    return f"<h2>{number}. {html.escape(one.template.title)} <small>({points})</small></h2>"


def on_the_sheet(number: int, one: Question, words: Words) -> str:
    """Return a question with its choices and room for an answer."""
    choices = "".join(f"<li>{html.escape(text)}</li>" for text in one.choices)
    listed = f"<ol>{choices}</ol>" if choices else ""
    text = f"<p>{html.escape(one.text)}</p>{listed}"
    return f'<section>{heading(number, one, words)}{text}<div class="room"></div></section>'


def in_the_key(number: int, one: Question, words: Words) -> str:
    """Return the way to the answer."""
    lines = [f"<pre>{html.escape(chr(10).join(one.derivation))}</pre>"]
    if one.choices:
        names = zip(ascii_uppercase, one.choices, strict=False)
        lines.insert(0, "<p>" + "<br>".join(html.escape(f"{name}. {text}") for name, text in names) + "</p>")
    if one.wrong:
        answers = (
            wrong.answer if isinstance(wrong.answer, str) else written(wrong.answer, one.unit)
            for wrong in one.wrong
        )
        said = (f"{answer} ({wrong.why})" for answer, wrong in zip(answers, one.wrong, strict=True))
        wrong = phrase("between steps", one.language).join(said)
        lines.append(f"<p><small>{words.wrong}{html.escape(wrong)}</small></p>")
    lines.append(f"<p><small>{words.further}{html.escape(one.further)}</small></p>")
    return f"<section>{heading(number, one, words)}<p>{html.escape(one.text)}</p>{''.join(lines)}</section>"


def page(given: Asked, questions: list[Question], *, key: bool) -> str:
    """Return the sheet, or its key, as HTML."""
    words = WORDS[given.language]
    write: Callable[[int, Question, Words], str] = in_the_key if key else on_the_sheet
    title = words.title.format(count=len(questions)) + (f" · {words.key}" if key else "")
    total = sum(POINTS[one.template.difficulty] for one in questions)
    about = words.about.format(seed=given.seed, total=total) + words.name * (not key)
    body = "\n".join(write(number, one, words) for number, one in enumerate(questions, 1))
    return PAGE.format(language=given.language, title=title, about=about, body=body, room=4)


def chromium(playwright: Playwright, language: str) -> Browser:
    """Start a browser that has the letters of a language.

    Raises:
        BadInputError: there is no browser, or no font, and neither can be had.

    """
    path = browser.installed()
    if path is None:
        raise BadInputError("browser", "Chromium or Chrome", "none", "run `python tools/browser.py`")
    for attempt in (1, 2):
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        if language != "zh" or started.new_page().evaluate(browser.CHINESE):
            return started
        started.close()
        if attempt == 1:
            browser.debian_package(FONT)
    raise BadInputError("EDITION", "a font with Chinese letters", "none here", f"install {FONT} or another")


def printed(started: Browser, text: str, file: Path) -> None:
    """Print a page as a PDF without the hour at which it was printed: the same sheet is the same file."""
    opened = started.new_context(offline=True).new_page()
    opened.set_content(text)
    writer = PdfWriter()
    writer.append(PdfReader(io.BytesIO(opened.pdf(**SHEET))), import_outline=False)
    writer.metadata = None
    writer.add_metadata({"/Title": opened.title()})
    writer.write(file)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a sheet and its key; 2 if what was asked for is not understood."""
    try:
        given = asked(arguments)
        questions = sheet(given.seed, given.many, given.topic, given.language)
        with sync_playwright() as playwright:
            started = chromium(playwright, given.language)
            FOLDER.mkdir(parents=True, exist_ok=True)
            files = {key: FOLDER / f"{given.name}{'_key' * key}.pdf" for key in (False, True)}
            for key, file in files.items():
                printed(started, page(given, questions, key=key), file)
            started.close()
    except MemcalcError as refusal:
        print(f"exam: {refusal}", file=sys.stderr)
        return 2
    for file in files.values():
        print(f"   {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
