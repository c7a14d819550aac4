"""The quiz: what it asks, grades and derives is what `memcalc ask` says; what was missed comes back."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from memcalc.interview.bank import bank, find
from memcalc.interview.question import question
from memcalc.interview.values import plain, written

pytestmark = pytest.mark.xdist_group("quiz")  # Python starts once in a page
PAGE = "book/quiz.html"
STORE = "memcalc-quiz"
NUMBER = find("gb-to-gib")
SEED = 7
FOLDED = "#quiz-form .derivation p"
REFUSED = "Object.defineProperty(window, 'localStorage', {get() { throw new Error('refused'); }})"
# The next clock runs a hundred times as fast.
FAST = """() => {
    const real = window.setInterval;
    window.setInterval = (act) => { window.setInterval = real; return real(act, 10); };
}"""
SCORE = "#quiz-form .score output"
TITLED = "title => document.querySelector('#quiz-form .title').textContent === title"


@pytest.fixture(scope="module")
def page(visit_once):
    """One page of all tests that may share a score; its noise is looked at in the end."""
    opened = visit_once(PAGE)
    yield opened
    assert opened.noise == []


@pytest.fixture
def anew(page):
    """The page without a history, in English; Python goes on running in it."""
    page.once("dialog", lambda dialog: dialog.accept())
    page.evaluate("document.querySelector('#quiz-form [name=reset]').click()")
    page.uncheck("#quiz-form [name=cards]")
    page.select_option("#quiz-form [name=language]", "en")
    page.set_viewport_size({"width": 1280, "height": 900})
    assert score(page).startswith("0 of 0")
    return page


def beside(page):
    """Another page of the same reader's, who has come back.

    The page opens it, so that one process runs both: from one process to another Debian's Chromium 156
    now and then passes nothing on that is stored, whichever script stores it.
    """
    with page.context.expect_page() as other:
        page.evaluate("() => { open(location.href); }")
    other.value.wait_for_load_state()
    return other.value


def ask(page, template, seed, language="en"):
    """Open a question by its link; what memcalc asks with these numbers."""
    asked = question(template, seed, language)
    page.evaluate("hash => { location.hash = hash; }", f"{template.id}/{seed}/{language}")
    page.wait_for_function(
        "text => document.querySelector('#quiz-form .text').textContent === text", arg=asked.text
    )
    return asked


def answer(page, text):
    """Type an answer, and return its grade and what is said of it."""
    page.fill("#quiz-form [name=answer]", text)
    return graded(page, lambda: page.click("#quiz-form [name=check]"))


def graded(page, act):
    page.evaluate("delete document.querySelector('#quiz-form .grade').dataset.grade")
    act()
    page.wait_for_selector("#quiz-form .grade[data-grade]")
    grade = page.locator("#quiz-form .grade")
    return grade.get_attribute("data-grade"), grade.text_content()


def derivation(page):
    page.click("#quiz-form .way > summary")
    page.wait_for_selector(FOLDED)
    return page.locator(FOLDED).all_text_contents()


def score(page):
    return page.locator(SCORE).text_content()


def test_the_first_question_stands_there_before_python_does(page):
    """Of the bank, with the numbers that the page brings along; nothing of memcalc is loaded for it."""
    name, seed, language = page.evaluate("location.hash").removeprefix("#").split("/")
    assert page.locator("#quiz-form .text").text_content() == question(find(name), int(seed), language).text
    assert not any("/ask/" in address and "contents.js" not in address for address in page.asked)


def test_a_number_is_graded_in_both_units_or_asked_back(anew):
    asked = ask(anew, NUMBER, SEED)
    assert anew.evaluate("location.hash") == f"#{NUMBER.id}/{SEED}/en"
    assert answer(anew, f"{plain(asked.answer)} G")[0] == "back"
    assert score(anew).startswith("0 of 0")
    in_gb = asked.answer * 2**30 / 10**9
    assert answer(anew, f"{in_gb:.2f} GB") == ("right", "right")
    assert answer(anew, f"{plain(asked.answer)} GiB")[0] == "right"
    assert score(anew).startswith("1 of 1")  # the same question once
    lines = derivation(anew)
    assert lines == list(asked.derivation)
    assert lines[-1] == f"answer: {plain(asked.answer)} GiB"
    ask(anew, NUMBER, SEED + 1)
    wrong = question(NUMBER, SEED + 1).wrong[0]
    assert answer(anew, f"{plain(wrong.answer)} GiB") == ("wrong", f"wrong: {wrong.why}")
    assert score(anew).startswith("1 of 2")


@pytest.mark.parametrize("kind", ["choice", "fits", "mistakes", "order"])
def test_letters_are_chosen(anew, kind):
    template = next(one for one in bank().values() if one.kind == kind)
    asked = ask(anew, template, SEED)
    for letter in asked.letters:
        if kind == "order":
            anew.click(f"#quiz-form .answer button:has-text('{letter}. ')")
        else:
            anew.check(f"#quiz-form .answer input[value={letter}]")
    assert graded(anew, lambda: anew.click("#quiz-form [name=check]"))[0] == "right"


def test_what_was_missed_comes_back_after_three_others_with_other_numbers(anew):
    ask(anew, NUMBER, SEED)
    derivation(anew)  # before an answer
    expect(anew.locator(SCORE)).to_contain_text("1 to come back")
    others = [one for one in bank().values() if one.kind in ("number", "choice") and one is not NUMBER]
    for one in (others * 3)[:3]:
        anew.click("#quiz-form [name=next]")
        assert f"#{NUMBER.id}/" not in anew.evaluate("location.hash")
        seed = 100 + len(json.loads(anew.evaluate(f"localStorage.getItem('{STORE}')"))["answers"])
        asked = ask(anew, one, seed)
        if one.kind == "choice":
            anew.check(f"#quiz-form .answer input[value={asked.answer}]")
            assert graded(anew, lambda: anew.click("#quiz-form [name=check]"))[0] == "right"
        else:
            assert answer(anew, f"{plain(asked.answer)} {asked.unit}")[0] == "right"
    anew.click("#quiz-form [name=next]")
    name, seed, language = anew.evaluate("location.hash").removeprefix("#").split("/")
    assert name == NUMBER.id
    assert int(seed) != SEED
    asked = ask(anew, NUMBER, int(seed), language)
    assert answer(anew, f"{plain(asked.answer)} GiB")[0] == "right"
    assert "4 of 5 right" in score(anew)
    assert "0 to come back" in score(anew)
    # Chromium tells another page of what was stored a moment later
    expect(beside(anew).locator(SCORE)).to_have_text(score(anew))


def test_what_one_tab_answers_counts_in_another(anew):
    other = beside(anew)
    asked = ask(anew, NUMBER, SEED)
    answer(anew, f"{plain(asked.answer)} GiB")
    anew.check("#quiz-form [name=by_hand]")
    assert "1 of 1 right" in score(anew)
    expect(other.locator(SCORE)).to_have_text(score(anew))
    by_hand = "#quiz-form [name=by_hand]"
    expect(other.locator(by_hand)).to_be_checked()
    other.uncheck(by_hand)
    expect(anew.locator(by_hand)).not_to_be_checked()
    assert "1 of 1 right" in score(anew)


def test_a_question_in_chinese(anew):
    template = find("kv-bytes-a-token")
    anew.select_option("#quiz-form [name=language]", "zh")
    asked = ask(anew, template, SEED, "zh")
    assert answer(anew, f"{plain(asked.answer)} 字节")[0] == "right"
    lines = derivation(anew)
    assert lines == list(asked.derivation)
    assert lines[-1] == f"答案：{written(asked.answer, 'B')}"
    expect(beside(anew).locator("#quiz-form [name=language]")).to_have_value("zh")


def test_enter_checks(anew):
    asked = ask(anew, NUMBER, SEED)
    anew.fill("#quiz-form [name=answer]", f"{plain(asked.answer)} GiB")
    assert graded(anew, lambda: anew.press("#quiz-form [name=answer]", "Enter"))[0] == "right"


def test_hints_come_one_after_the_other(anew):
    asked = ask(anew, NUMBER, SEED)
    for count in range(1, len(asked.hints) + 1):
        anew.click("#quiz-form [name=hint]")
        anew.wait_for_selector(f"#quiz-form .hints li:nth-child({count})")
    assert anew.locator("#quiz-form .hints li").all_text_contents() == list(asked.hints)
    assert not anew.locator("#quiz-form [name=hint]").is_visible()


def test_a_card_is_turned_over_and_judged(anew):
    anew.evaluate(FAST)
    anew.check("#quiz-form [name=cards]")
    template = find(anew.evaluate("location.hash").removeprefix("#").partition("/")[0])
    assert template.by_hand or template.kind in ("choice", "explain")
    anew.wait_for_selector(FOLDED)
    assert anew.locator("#quiz-form .said").text_content() == "Time is up 时间到"
    anew.click("#quiz-form [name=judge][value=right]")
    assert "1 of 1 right" in score(anew)
    anew.wait_for_selector("#quiz-form .timer:not([hidden])")
    assert 50 < int(anew.locator("#quiz-form .seconds").text_content()) <= 60
    anew.click("#quiz-form [name=check]")
    anew.wait_for_selector(FOLDED)
    anew.click("#quiz-form [name=judge][value=missed]")
    assert "1 of 2 right" in score(anew)


def test_a_line_of_text_is_compared_by_the_reader(anew):
    asked = ask(anew, next(one for one in bank().values() if one.kind == "explain"), SEED)
    assert answer(anew, "because") == ("back", f"compare with: {asked.answer}")
    assert score(anew).startswith("0 of 0")
    anew.click("#quiz-form [name=judge][value=right]")
    assert score(anew).startswith("1 of 1")


def test_an_answer_fits_a_phone(anew):
    anew.set_viewport_size({"width": 390, "height": 844})
    for template in (NUMBER, next(one for one in bank().values() if one.kind == "order")):
        ask(anew, template, SEED)
        derivation(anew)
        assert anew.evaluate("document.scrollingElement.scrollWidth") <= 390


def test_the_index_has_every_question_and_can_be_narrowed(anew):
    rows = anew.locator("#quiz-index tbody tr:visible")
    assert rows.count() == len(bank())
    anew.select_option("#quiz-index [name=topic]", "units")
    anew.select_option("#quiz-index [name=difficulty]", "easy")
    wanted = [one.id for one in bank().values() if (one.topic, one.difficulty) == ("units", "easy")]
    assert rows.evaluate_all("all => all.map(row => row.dataset.id)") == wanted
    anew.click(f"#quiz-index tr[data-id={NUMBER.id}] a")
    anew.wait_for_function(TITLED, arg=NUMBER.title)
    asked = question(NUMBER, 1)
    assert answer(anew, f"{plain(asked.answer)} GiB")[0] == "right"
    assert "right" in anew.locator(f"#quiz-index tr[data-id={NUMBER.id}] .so-far").text_content()


def test_a_store_that_is_refused_or_broken_is_no_store(visit):
    page = visit(PAGE)
    page.evaluate(f"localStorage.setItem('{STORE}', '[1')")
    page.reload()
    assert score(page).startswith("0 of 0")
    page.add_init_script(REFUSED)
    page.evaluate("localStorage.clear()")
    page.goto(page.url.partition("#")[0] + f"#{NUMBER.id}/1")
    page.reload()
    page.wait_for_selector("#quiz-form [name=answer]")
    assert page.locator("#quiz-form .text").text_content() == question(NUMBER, 1).text
