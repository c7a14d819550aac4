"""Long tables: filtered, sorted and taken away as CSV in the page, from a file and without a network."""

from __future__ import annotations

import csv
import re

import pytest

SCOREBOARD = "notebooks/predictions_against_measurements.html"
FOLD = "details:has(> summary:text('rows of serving'))"
# All rows of the scoreboard's table, with the addresses of their links, whether they are shown or not.
ROWS = """table => [...table.tBodies[0].rows].map(row => ({
    cells: [...row.cells].map(cell => cell.textContent.trim().replaceAll('\\u00a0', ' ')), shown: !row.hidden,
    links: [...row.querySelectorAll('a')].map(link => link.href)}))"""
SIZES = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "MB": 10**6, "GB": 10**9}


class Long:
    """A long table of a page, and what it can be asked."""

    def __init__(self, page, fold):
        self.page, self.table = page, page.locator(f"{fold} table")
        self.fold = page.locator(fold)
        self.tools = self.fold.locator("xpath=preceding-sibling::*[1][contains(@class, 'table-tools')]")

    def rows(self):
        return self.table.evaluate(ROWS)

    def filter(self, words):
        self.tools.get_by_label("Filter 筛选").fill(words)
        return [row["cells"] for row in self.rows() if row["shown"]]

    def header(self, name):
        return self.table.locator("th").filter(has=self.page.get_by_role("button", name=name, exact=True))

    def column(self, name):
        place = self.table.locator("thead th").all_inner_texts().index(name)
        return [row["cells"][place] for row in self.rows()]


@pytest.fixture
def scoreboard(visit):
    return Long(visit(SCOREBOARD), FOLD)


def test_a_filter_opens_the_fold_and_shows_what_has_every_word(scoreboard):
    every = [row["cells"] for row in scoreboard.rows()]
    assert len(every) > 400
    assert scoreboard.fold.get_attribute("open") is None
    words = ("Qwen3", "graphs", "H100")
    expected = [row for row in every if all(word.lower() in " ".join(row).lower() for word in words)]
    assert 0 < len(expected) < 200
    assert scoreboard.filter(" ".join(words)) == expected
    assert scoreboard.fold.get_attribute("open") is not None
    assert scoreboard.tools.locator("output").inner_text() == f"{len(expected)} of {len(every)} rows"
    assert scoreboard.page.noise == []


def test_the_rows_of_a_very_long_table_are_laid_out_when_they_are_asked_for(scoreboard):
    rows = scoreboard.rows()
    assert sum(row["shown"] for row in rows) == 200
    assert "the first 200 shown" in scoreboard.tools.locator("output").inner_text()
    scoreboard.tools.get_by_role("button", name="Show all").click()
    assert all(row["shown"] for row in scoreboard.rows())
    assert scoreboard.tools.locator("output").inner_text() == f"{len(rows)} rows"


def test_a_header_sorts_by_mouse_and_by_keyboard(scoreboard):
    scoreboard.filter("vllm")
    as_written = scoreboard.column("off, %")
    header, button = scoreboard.header("off, %"), scoreboard.table.get_by_role("button", name="off, %")
    assert header.get_attribute("aria-sort") is None
    button.click()
    assert header.get_attribute("aria-sort") == "ascending"
    assert scoreboard.column("off, %") == sorted(as_written, key=float)
    button.focus()
    scoreboard.page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    assert [*map(float, scoreboard.column("off, %"))] == sorted(map(float, as_written), reverse=True)
    scoreboard.table.get_by_role("button", name="model", exact=True).click()
    assert header.get_attribute("aria-sort") is None
    scoreboard.page.keyboard.press("Space")
    scoreboard.page.keyboard.press("Space")
    assert scoreboard.column("off, %") == as_written


def in_bytes(said):
    digits, unit = re.match(r"(-?[\d,]*\.?\d+)\s*([A-Za-z]*)", said).groups()
    return float(digits.replace(",", "")) * SIZES[unit]


def test_amounts_are_sorted_by_their_bytes(scoreboard):
    scoreboard.filter("vllm")
    scoreboard.table.get_by_role("button", name="predicted").click()
    sizes = [in_bytes(said) for said in scoreboard.column("predicted")]
    assert sizes == sorted(sizes)
    assert {said.rpartition(" ")[2] for said in scoreboard.column("predicted")} >= {"B", "GiB"}


def test_csv_has_the_rows_that_are_asked_for_in_their_order(scoreboard):
    scoreboard.filter("sglang")
    scoreboard.table.get_by_role("button", name="off, %").click()
    with scoreboard.page.expect_download() as download:
        scoreboard.tools.get_by_role("button", name="CSV").click()
    assert download.value.suggested_filename == "predictions_against_measurements_every-row.csv"
    with download.value.path().open(encoding="utf-8-sig", newline="") as file:
        head, *lines = csv.reader(file)
    assert head == [*scoreboard.table.locator("thead th").all_inner_texts(), "link"]
    assert lines == [row["cells"] + row["links"] for row in scoreboard.rows() if row["shown"]]
    assert any("," in field for line in lines for field in line)
    assert scoreboard.page.noise == []


def test_text_never_becomes_markup(scoreboard):
    markup = '<img src=x onerror="document.title=1">, "quoted"'
    scoreboard.table.evaluate(
        "(table, said) => { table.tBodies[0].rows[0].cells[0].textContent = said; }", markup
    )
    title = scoreboard.page.title()
    (found,) = scoreboard.filter("<img onerror")
    assert found[0] == markup
    with scoreboard.page.expect_download() as download:
        scoreboard.tools.get_by_role("button", name="CSV").click()
    with download.value.path().open(encoding="utf-8-sig", newline="") as file:
        assert list(csv.reader(file))[1][0] == markup
    assert scoreboard.page.locator("table img, .table-tools img").count() == 0
    assert scoreboard.page.title() == title
    assert scoreboard.page.noise == []


# The least of some runs: other programs want the processor, too.
FASTEST = """field => Math.min(...['qwen', 'vllm graphs', '0.', ''].map(words => {
    const begin = performance.now();
    field.value = words;
    field.dispatchEvent(new Event('input'));
    return performance.now() - begin;
}))"""


def test_a_filter_answers_while_one_types(scoreboard):
    field = scoreboard.tools.get_by_label("Filter 筛选")
    assert field.evaluate(FASTEST) < 50


def test_a_page_of_tables_is_light(visit, site):
    assert (site / SCOREBOARD).stat().st_size <= 1_200_000


def test_without_scripts_every_row_is_there(browser, site):
    context = browser.new_context(offline=True, java_script_enabled=False)
    page = context.new_page()
    page.goto((site / SCOREBOARD).as_uri())
    rows = page.locator(f"{FOLD} tbody tr")
    assert rows.count() > 400
    assert page.locator(f"{FOLD} tbody tr[hidden], .table-tools").count() == 0
    context.close()


def test_a_phone_shows_each_row_as_a_card_with_its_result(visit):
    page = visit(SCOREBOARD, size=(390, 844))
    table = Long(page, FOLD)
    table.filter("qwen3 vllm graphs")
    page.wait_for_selector("table.cards tr:not([hidden]) td")
    boxes = table.table.locator("tbody tr:not([hidden]) td").evaluate_all(
        "all => all.map(one => [one.dataset.label, one.getBoundingClientRect().right])"
    )
    assert {"off, %", "in range", "predicted"} <= {label for label, _ in boxes}
    assert all(right <= 390 for _, right in boxes)


# Cells of cards that take more lines than their letters need at the width of a phone.
SQUEEZED = """() => [...document.querySelectorAll('table.cards td')].filter(one => one.checkVisibility())
    .map(one => [one.textContent, one.clientHeight / parseFloat(getComputedStyle(one).lineHeight)])
    .filter(([words, lines]) => lines > 3 + words.length / 18)"""


def test_words_in_a_card_have_its_width(visit):
    page = visit("notebooks/the_notes_judged.html", size=(390, 844))
    assert page.locator("table.cards td").count() > 100
    assert page.evaluate(SQUEEZED) == []
