"""The bank of questions: each template keeps to the rules that a question lives by, with many numbers."""

from __future__ import annotations

import ast
import json
import re
from importlib import import_module
from pkgutil import iter_modules

import pytest

from memcalc.__main__ import main
from memcalc.errors import MemcalcError
from memcalc.interview import bank as package
from memcalc.interview.bank import bank, find
from memcalc.interview.draw import combinations, drawn
from memcalc.interview.grading import COUNTED, grade
from memcalc.interview.language import LANGUAGES, PHRASES, chinese, unit_name
from memcalc.interview.question import question
from memcalc.interview.session import SESSION, ask, check, hint, score
from memcalc.interview.sums import names, operations, significant, steps
from memcalc.interview.template import DIFFICULTIES, KINDS, TOPICS
from memcalc.interview.values import BYTES, placeholders, plain, written

SEEDS = range(25)  # of a number: as many different questions at least
LINES = 15
OPERATIONS, DIGITS = 6, 4  # of a question that can be answered by hand
TEMPLATES = [pytest.param(one, id=one.id) for one in bank().values()]
NUMBERS = [pytest.param(one, id=one.id) for one in bank().values() if one.kind in ("number", "estimate")]
every = pytest.mark.parametrize("template", TEMPLATES)


def test_no_two_questions_have_one_address():
    modules = (import_module(one.name) for one in iter_modules(package.__path__, f"{package.__name__}."))
    found = [one.id for module in modules for one in getattr(module, "TEMPLATES", ())]
    assert len(set(found)) == len(found) == len(bank())


def test_a_template_is_short(root):
    for file in (root / "memcalc" / "interview" / "bank").glob("*.py"):
        source = file.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Template":
                assert node.end_lineno - node.lineno < LINES + 2, source.splitlines()[node.lineno]


@every
def test_a_template_says_what_it_is(root, template):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", template.id)
    assert bank()[template.id] is template
    assert template.topic in TOPICS
    assert template.difficulty in DIFFICULTIES
    assert template.kind in KINDS
    assert template.subject
    assert template.title.endswith("?") or template.title.startswith("Find the mistakes")
    assert template.source
    assert template.further
    assert template.hints
    pages = (root / "notebooks" / f"{template.chapter}.ipynb", root / "book" / f"{template.chapter}.md")
    assert any(page.is_file() for page in pages)


@every
def test_a_question_can_be_answered_with_a_pen(template):
    """Every number of the sum stands in the text."""
    asked = placeholders(template.question) | placeholders(template.item)
    texts = (template.steps, *(one.steps for one in template.wrong), f"room = {template.capacity or 0}")
    for text in filter(None, texts):
        found = set()
        for step in steps(text):
            assert names(step.expression) - found <= asked | ({"depth"} & asked), step.name
            found.add(step.name)


@every
def test_every_draw_has_an_answer(request, template):
    """25 seeds; with --full, all that can be drawn."""
    all_seeds = range(max(len(SEEDS), len(combinations(template))))
    for seed in all_seeds if request.config.getoption("full") else SEEDS:
        asked = question(template, seed)
        assert asked.text
        assert "{" not in "".join(
            (asked.text, *asked.derivation, *asked.hints, asked.further, *asked.choices)
        )
        *_, last = asked.derivation
        if template.kind == "explain":
            assert last == asked.answer
        elif template.kind in ("number", "estimate"):
            assert last == f"answer: {written(asked.answer, asked.unit)}"
        else:
            letters = last.removeprefix("answer: ").partition(". ")[0]
            assert re.split(r", | < ", letters) == list(asked.letters)
            assert len(set(asked.choices)) == len(asked.choices)
        assert json.loads(json.dumps(asked.fields()))["answer"] is not None


@pytest.mark.parametrize("template", NUMBERS)
def test_numbers_are_new_with_every_seed(template):
    assert len(combinations(template)) >= len(SEEDS)
    assert len({question(template, seed).text for seed in SEEDS}) == len(SEEDS)


@pytest.mark.parametrize("template", NUMBERS)
def test_a_number_is_held_against_the_ledger(template):
    """Or it is one of units alone, which no ledger knows."""
    assert template.ledger is not None or template.topic == "units"
    if template.unit not in BYTES:
        assert template.unit


@pytest.mark.parametrize("template", NUMBERS)
def test_wrong_answers_differ_from_the_right_one(template):
    for seed in SEEDS:
        asked = question(template, seed)
        for wrong in asked.wrong:
            assert abs(wrong.answer - asked.answer) > template.tolerance * abs(asked.answer)
            assert grade(asked, f"{plain(wrong.answer)} {template.unit}") == (False, f"wrong: {wrong.why}")
        right = grade(asked, f"{plain(asked.answer)} {template.unit}")
        assert right.right is True
    assert not template.wrong or any(question(template, seed).wrong for seed in SEEDS)


@pytest.mark.parametrize("template", [one for one in NUMBERS if one.values[0].by_hand])
def test_a_sum_by_hand_is_short(template):
    told = steps(template.steps)
    conversion = BYTES.get(template.unit, 1) != 1
    assert sum(operations(step.expression) for step in told) + conversion <= OPERATIONS
    for seed in SEEDS:
        known = drawn(template, seed)
        given = set().union(*(names(step.expression) for step in told)) - {step.name for step in told}
        assert all(significant(known[name]) <= DIGITS for name in given)
        answer = question(template, seed).answer
        assert isinstance(answer, float) or len(str(answer).strip("0")) <= DIGITS


@pytest.mark.parametrize("name", sorted(chinese()["questions"]))
def test_chinese_has_the_same_blanks(name):
    template = find(name)
    texts = chinese()["questions"][name]
    assert placeholders(texts["question"]) == placeholders(template.question)
    assert len(texts["hints"]) == len(template.hints)
    needed = ("item", "because", "further", "points", "wrong", "options", "rows")
    assert {field for field in needed if getattr(template, field)} <= texts.keys()
    asked = question(template, 1, "zh")
    assert template.kind == "explain" or asked.answer == question(template, 1).answer
    assert re.search("[\u4e00-\u9fff]", asked.text)
    words = set().union(*(names(step.expression) | {step.name} for step in steps(template.steps)))
    assert words <= chinese()["names"].keys()


def test_every_question_stands_in_chinese():
    assert chinese()["titles"].keys() == chinese()["questions"].keys() == bank().keys()


def test_every_unit_stands_in_chinese():
    """And none that no question has; a grade knows both names of what is counted."""
    counted = {one.unit for one in bank().values()} - BYTES.keys() - {""}
    assert chinese()["units"].keys() == counted
    assert all(counted_as(unit) is counted_as(unit_name(unit, "zh")) for unit in counted - {"bits"})


def counted_as(unit):
    """The names of what a unit counts."""
    return next(names for names in COUNTED if unit in names)


@pytest.fixture(scope="module")
def asked():
    """A question whose answer is 262,144 bytes."""
    template, given = find("kv-bytes-a-token"), {"model": "Qwen/Qwen3-32B", "bits": 16}
    every = range(len(combinations(template)))
    return question(template, next(seed for seed in every if vars(drawn(template, seed).given) == given))


@pytest.mark.parametrize("given", ["262144 B", "262,144 bytes", "256 KiB", "256kib", "~0.25 MiB", "262.1 KB"])
def test_units_are_read(asked, given):
    assert grade(asked, given).right is True


@pytest.mark.parametrize("given", ["256 K", "256k", "262144", "", "many", "256 apples", "0.25 M"])
def test_what_may_mean_two_things_is_asked_back(asked, given):
    assert grade(asked, given).right is None


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("template", [one for one in NUMBERS if one.values[0].unit not in BYTES])
def test_what_is_counted_may_be_named(template, language):
    """Or not; a unit of something else is asked back, right though the number is."""
    asked = question(template, 3, language)
    number = plain(asked.answer)
    assert grade(asked, number).right is True
    assert grade(asked, f"{number} {asked.unit}").right is True
    for other in ("ms", "GiB", "bananas", "B" if template.unit != "billion parameters" else "W"):
        found = grade(asked, f"{number} {other}")
        assert found.right is None
        assert asked.unit in found.says


@pytest.mark.parametrize(
    "given",
    [
        "D",
        "d",
        "(D)",
        "D.",
        "Answer: D",
        "answer D",
        "The answer is D",
        "Option D",
        "答案：D",
        "选 D",
        "选项D",
    ],
)
def test_a_letter_may_have_words_before_it(given):
    asked = next(
        one for one in (question(find("what-w8a8-shrinks"), seed) for seed in SEEDS) if one.answer == "D"
    )
    assert grade(asked, given).right is True
    assert grade(asked, given.replace("D", "B").replace("d", "b")).right is False


def test_a_number_may_have_words_before_it(asked):
    assert grade(asked, "Answer: 256 KiB").right is True
    assert grade(asked, "答案是 256 KiB").right is True


@pytest.mark.parametrize(
    "given", ["-", "e5 B", "1e999999999 B", "9" * 5000 + " B", "nan", "inf B", "x" * 10**4]
)
def test_what_is_no_size_is_asked_back_in_a_line(asked, given):
    found = grade(asked, given)
    assert found.right is None
    assert len(found.says) < 160


@pytest.mark.parametrize(
    ("id", "given"),
    [
        ("order-of-caches", ""),
        ("order-of-caches", "A"),
        ("loads-that-fit", ""),
        ("cards-for-the-weights", "6 GiB"),
    ],
)
def test_half_an_answer_is_asked_back(id, given):  # noqa: A002 (the word of `ask`)
    assert grade(question(find(id), 3), given).right is None


def test_each_step_of_a_comparison_has_its_name():
    first, *_ = question(find("zero-that-fits"), 3).derivation
    assert re.fullmatch(r"A\. shared = 10 \+ 2 × \d; held = .+ GiB [≤>] .+ GiB", first)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("2 MiB", "query heads"),
        ("128 KiB", "both keys and values"),
        ("240 KiB", "too small"),
        ("256 KB", "wrong by the unit alone"),
        ("1 GiB", "too large, by a factor of 4096"),
        ("-1 B", "too small"),
        ("0 B", "too small"),
    ],
)
def test_a_wrong_number_is_told_why(asked, given, says):
    found = grade(asked, given)
    assert found.right is False
    assert says in found.says


@pytest.mark.parametrize(
    ("given", "right", "says"),
    [
        ("256 KiB", True, "正确"),
        ("2 MiB", False, "不对：把查询头算进去了；查询不会留下任何东西"),
        ("1 GiB", False, "不对：偏大，相差 4096 倍"),
        ("256 KB", False, "只错在单位：KB 不是 KiB"),
        ("256 K", None, "256 K：是 KB（10^3 字节）还是 KiB（2^10 字节）？"),
        ("", None, "没有答案：应为一个数，例如 5 GiB 或 5.37 GB"),
    ],
)
def test_a_grade_has_the_question_s_language(asked, given, right, says):
    in_chinese = question(asked.template, asked.seed, "zh")
    assert grade(in_chinese, given) == (right, says)


def test_every_phrase_has_the_same_blanks_in_chinese():
    for words in PHRASES.values():
        assert sorted(re.findall(r"{\d?}", words["zh"])) == sorted(re.findall(r"{\d?}", words["en"]))


def test_a_session_counts_what_was_answered(asked):
    SESSION.grades.clear()
    ask(asked.template.id, seed=asked.seed)
    assert check("1 K").right is None
    assert score() == (0, 0)
    assert check("256 KiB").right is True
    assert [hint() for _ in range(3)][:2] == list(asked.hints)
    ask(asked.template.id, seed=asked.seed + 1)
    check("1 B")
    assert score() == (1, 2)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"topic": "cooking"}, "--topic: expected one of serving"),
        ({"difficulty": "x"}, "--difficulty: expected one of easy"),
        ({"seed": -1}, "--seed: expected a whole number"),
        ({"seed": True}, "--seed: expected a whole number"),
        ({"lang": "fr"}, "--lang: expected one of en"),
        ({"id": "kv-bytes-a-tokn"}, "did you mean kv-bytes-a-token"),
        ({"id": "kv-bytes-a-token", "topic": "serving"}, "--topic: expected nothing beside the question"),
        ({"id": "kv-bytes-a-token", "difficulty": "hard"}, "--difficulty: expected nothing beside"),
    ],
)
def test_bad_words_are_refused(given, says):
    with pytest.raises(MemcalcError, match=re.escape(says)):
        ask(**given)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            "kv-bytes-a-token --topic training",
            "--topic: expected nothing beside the question kv-bytes-a-token",
        ),
        ("kv-bytes-a-token --difficulty easy", "--difficulty: expected nothing beside the question"),
        ("--list --lang fr", "--lang: expected one of en, zh, given 'fr'"),
        ("--list --seed 1", "--seed: expected nothing beside --list"),
        ("--list --answer A", "--answer: expected nothing beside --list"),
        ("--list kv-bytes-a-token", "ID: expected nothing beside --list"),
        ("--lang fr", "--lang: expected one of en, zh"),
        ("nope", "question: expected the id of one"),
    ],
)
def test_the_command_refuses_what_it_would_not_heed(capsys, words, says):
    assert main(["ask", *words.split()]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"memcalc: error: {says}")
    assert said.err.count("\n") == 1


def told(capsys, *words):
    """What `memcalc ask` says."""
    assert main(["ask", *words]) == 0
    return capsys.readouterr().out


def test_the_list_is_in_a_language(capsys):
    assert chinese()["titles"]["kv-bytes-a-token"] in told(capsys, "--list", "--lang", "zh")
    assert find("kv-bytes-a-token").title in told(capsys, "--list")


def test_the_way_is_shown_once_there_is_a_grade(capsys):
    """What is asked back gives nothing away; of a text the model answer stands there once."""
    asked = question(find("kv-bytes-a-token"), 4)
    given = ("kv-bytes-a-token", "--seed", "4", "--answer")
    assert asked.derivation[-1] not in told(capsys, *given, "5 G")
    assert asked.derivation[-1] in told(capsys, *given, "1 B")
    explained = question(find("why-a-pool"), 4)
    said = told(capsys, "why-a-pool", "--seed", "4", "--answer", "a pool")
    assert said.count(explained.answer) == 1
    assert all(point in said for point in explained.derivation)


def test_the_quiz_and_the_list_say_the_same_of_a_question():
    """Of all that a list says, each key in one place alone."""
    template = find("kv-bytes-a-token")
    assert template.fields().items() <= question(template, 1).fields().items()
