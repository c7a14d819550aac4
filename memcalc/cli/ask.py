"""``memcalc ask``: interview questions about memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.cli.command import Answer, Command
from memcalc.errors import BadInputError, check_whole_number, choices
from memcalc.interview.grading import grade
from memcalc.interview.language import LANGUAGES, worded
from memcalc.interview.session import ask, chosen
from memcalc.interview.template import DIFFICULTIES, TOPICS
from memcalc.options import whole_number

if TYPE_CHECKING:
    import argparse

    from memcalc.cli.parser import Parser
    from memcalc.interview.question import Question
    from memcalc.interview.template import Template

__all__ = ["COMMAND"]


def add(parser: Parser) -> None:
    """Add the options."""
    parser.add_argument("id", metavar="ID", nargs="?", help="a question (see --list); without it, any")
    parser.add_argument("--list", action="store_true", help="list the questions instead")
    parser.add_argument("--topic", metavar="TOPIC", help=f"of this topic: {', '.join(TOPICS)}")
    parser.add_argument("--difficulty", metavar="DIFFICULTY", help=f"so difficult: {', '.join(DIFFICULTIES)}")
    parser.add_argument("--seed", metavar="N", help="with the numbers of this seed; default any")
    parser.add_argument("--lang", metavar="LANGUAGE", default="en", help="en, or zh for Chinese")
    parser.add_argument("--answer", metavar="TEXT", help="grade an answer, and show how one gets there")


def answer(given: argparse.Namespace) -> Answer:
    """Answer."""
    if given.list:
        found = to_list(given)
        rows = [one.fields() for one in found]
        return Answer(0, lambda: {"schema": 1, "questions": rows}, lambda: listed(found))
    seed = None if given.seed is None else seed_of(given.seed)
    asked = ask(given.id, topic=given.topic, difficulty=given.difficulty, seed=seed, lang=given.lang)
    return Answer(0, lambda: fields(asked, given.answer), lambda: text(asked, given.answer))


def seed_of(text: str) -> int:
    """Return the seed that was given."""
    return check_whole_number("--seed", whole_number(text), "give one, for example 1", least=0)


def to_list(given: argparse.Namespace) -> list[Template]:
    """Return what is to be listed; what asks one question has no meaning beside it."""
    for name, value in (("ID", given.id), ("--seed", given.seed), ("--answer", given.answer)):
        if value is not None:
            raise BadInputError(name, "nothing beside --list", value, "leave out one of the two")
    if given.lang not in LANGUAGES:
        raise BadInputError("--lang", choices(LANGUAGES), given.lang, "choose one of these")
    return [worded(one, given.lang) for one in chosen(given.topic, given.difficulty)]


def listed(found: list[Template]) -> str:
    """Return the list in words."""
    wide = max(len(one.id) for one in found)
    return "\n".join(
        f"{one.id:<{wide}}  {one.topic:<8}  {one.difficulty:<6}  {one.kind:<8}  {one.title}" for one in found
    )


def fields(asked: Question, given: str | None) -> dict[str, object]:
    """Return a question as JSON shows it, with the grade of an answer if one was given."""
    graded = {} if given is None else {"grade": grade(asked, given)._asdict()}
    return {**asked.fields(), **graded}


def text(asked: Question, given: str | None) -> str:
    """Return a question in words, with the way to the answer if one was given, unless it is asked back."""
    lines = [f"{asked.template.id}, seed {asked.seed}: {asked.template.title}", "", *asked.lines()]
    if given is None:
        return "\n".join(lines)
    found = grade(asked, given)
    if asked.template.kind == "explain":
        way = asked.derivation[:-1]  # the last line is the answer, which the grade says
    else:
        way = () if found.right is None else asked.derivation
    return "\n".join((*lines, "", found.says, *way))


COMMAND = Command(add, answer)
