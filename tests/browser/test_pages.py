"""Every page of the built book, opened from its file without a network."""

from __future__ import annotations

import gzip
import io
import re
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote, unquote, urldefrag, urlsplit

import numpy as np
import pytest
from fontTools.ttLib import TTFont
from PIL import Image

from memcalc.files.catalogue import catalogue
from memcalc.files.sources import source

# Formulas that MathJax refused, or never saw: TeX left in the text outside of code.
UNRENDERED = r"""() => {
    const refused = [...document.querySelectorAll('mjx-merror, [data-mjx-error]')];
    const bad = refused.map(e => 'error: ' + e.textContent);
    for (const span of document.querySelectorAll('.math'))
        if (!span.querySelector('mjx-container'))
            bad.push('raw: ' + span.textContent);
        else if (/\$$/.test(span.previousSibling?.data) || /^\$/.test(span.nextSibling?.data))
            bad.push('dollar beside: ' + span.textContent);
    const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const tex = /\\\(|\\\[|\$\$|\$[^$\n]*\\[a-z]+[^$\n]*\$|\\(frac|text|times|mathrm|sum|lceil|left|begin)\b/;
    for (let node; (node = words.nextNode());)
        if (tex.test(node.data) && !node.parentElement.closest('script, style, code, pre, .math, textarea'))
            bad.push('text: ' + node.data.trim().slice(0, 80));
    return bad;
}"""

# What lies beyond the screen, or is cut by a box that does not scroll.
CLIPPED = r"""() => {
    const bad = [], width = innerWidth;
    const aside = 'dialog:not([open]), .bd-sidebar-primary, .bd-sidebar-secondary, ' +
        '.visually-hidden, .sr-only, ' +
        'mjx-assistive-mml, .skip-link, #pst-skip-link, script, style, option';
    const scrolls = style => /auto|scroll/.test(style.overflowX);
    const name = e => [e.tagName.toLowerCase(), ...e.classList].join('.') +
        ' "' + (e.textContent || '').trim().slice(0, 40) + '"';
    for (const element of document.body.querySelectorAll('*')) {
        if (element.closest(aside)) continue;
        if (!element.checkVisibility({visibilityProperty: true, opacityProperty: true})) continue;
        const box = element.getBoundingClientRect();
        if (!box.width || !box.height) continue;
        let limit = [0, width], boxed = false;
        for (let up = element.parentElement; up && up !== document.documentElement; up = up.parentElement) {
            const style = getComputedStyle(up);
            if (scrolls(style)) { boxed = true; break; }
            if (/hidden|clip/.test(style.overflowX)) {
                const edge = up.getBoundingClientRect();
                limit = [Math.max(limit[0], edge.left), Math.min(limit[1], edge.right)];
            }
        }
        if (!boxed && (box.right > limit[1] + 1 || box.left < limit[0] - 1))
            bad.push(`${name(element)} ${Math.round(box.left)}..${Math.round(box.right)}`);
    }
    return bad;
}"""
HOME = "book/index.html"
# What a page makes the browser load, in bytes as they travel (gzip): twice what was reached. A quarter
# of a MB is MathJax, where a formula stands. What is loaded when it is asked for (Pyodide) comes on top.
HOME_LIMIT, PAGE_LIMIT = 300_000, 800_000
ICONS = r"""() => [...document.querySelectorAll('i')].map(icon => {
    const {content, fontFamily} = getComputedStyle(icon, '::before');
    return [icon.className, content.replaceAll('"', ''), fontFamily];
})"""
ICON_FONT = "[...document.fonts].some(font => /icons/.test(font.family) && font.status === 'loaded')"
FIGURES = ".bd-article img, .bd-article .cell_output svg, .bd-article figure svg"


# The tests of a page stand in an order that changes its size and its mode as seldom as can be: each change
# lays it out anew.
def test_opens_without_network_and_errors(opened):
    page = opened()
    assert page.noise == []
    assert page.evaluate(UNRENDERED) == []


@cache
def travels(path):
    return len(gzip.compress(Path(path).read_bytes(), 6))


def test_is_light(opened, page_name):
    page = opened()
    paths = (unquote(urlsplit(address).path) for address in page.asked if address.startswith("file:"))
    files = {path: travels(path) for path in paths if Path(path).is_file()}
    heaviest = sorted(files.items(), key=lambda item: -item[1])[:5]
    assert sum(files.values()) <= (HOME_LIMIT if page_name == HOME else PAGE_LIMIT), heaviest
    assert any("tex-mml-chtml" in path for path in files) == (page.locator(".math").count() > 0)


def test_icons_are_in_the_font_that_is_left_of_them(opened, site):
    drawn = TTFont(site / "_static" / "icons.woff").getBestCmap()
    page = opened()
    icons = page.evaluate(ICONS)
    assert icons
    for name, shown, family in icons:
        assert len(shown) == 1, name
        assert ord(shown) in drawn, name
        assert "memcalc icons" in family, name
    assert page.evaluate(ICON_FONT)


def test_pictures_stand_in_the_page_itself(opened):
    """As files they would not know its theme."""
    assert opened().locator('.bd-article img[src*="_images/"][src$=".svg"]').count() == 0


# Folded cells one below the other: the code of one thing is one fold.
FOLDS = ".cell.tag_hide-input:has(> details:only-child) + .cell.tag_hide-input"


def test_folded_code_of_neighbours_is_one_fold(opened):
    assert opened().locator(FOLDS).count() == 0


LONG = """() => [...document.querySelectorAll('.bd-article table')].filter(table =>
    table.tBodies[0]?.rows.length >= 30 && table.tHead && !table.closest('form, .memcalc')).length"""


def test_a_long_table_can_be_filtered(opened):
    page = opened()
    assert page.locator(".table-tools").count() == page.evaluate(LONG)


# Letters that have not the ink of the text around them; those on a colour are black.
LETTERS = """() => [...document.querySelectorAll('.picture text')]
    .map(text => [text, text.closest('figure')])
    .map(([text, figure]) => [text.textContent, getComputedStyle(text).fill, getComputedStyle(figure).color])
    .filter(([words, fill, ink]) => fill !== ink && fill !== 'rgb(0, 0, 0)')"""
SMALLEST = """() => Math.min(99, ...[...document.querySelectorAll('.picture text')].map(text => {
    const svg = text.closest('svg');
    return parseFloat(getComputedStyle(text).fontSize) * svg.clientWidth / svg.viewBox.baseVal.width;
}))"""


def test_letters_of_pictures_have_the_page_s_ink(opened):
    assert opened().evaluate(LETTERS) == []


@pytest.mark.sampled
def test_letters_of_pictures_have_the_ink_of_a_dark_page(opened):
    assert opened(mode="dark").evaluate(LETTERS) == []


def linear(part):
    """A channel of sRGB as light, as WCAG defines it."""
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


LIGHT = linear(np.arange(256) / 255)


def contrast(picture):
    """The contrast of each pixel with the page, which is seen in the corner."""
    light = LIGHT[np.asarray(picture.convert("RGB"))] @ np.array([0.2126, 0.7152, 0.0722])
    ground = light[0, 0]
    return ((np.maximum(light, ground) + 0.05) / (np.minimum(light, ground) + 0.05)).ravel()


def pictures(page):
    for index, figure in enumerate(page.query_selector_all(FIGURES)):
        box = figure.bounding_box()
        if box and box["width"] >= 100:  # an icon on a button is no figure
            yield index, Image.open(io.BytesIO(figure.screenshot(animations="disabled")))


@pytest.mark.sampled
def test_figures_are_legible_in_the_dark(opened):
    page = opened(mode="dark")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    dark = dict(pictures(page))
    light = dict(pictures(opened()))
    assert light.keys() == dark.keys()
    for index, picture in light.items():
        # What can be seen by day, at the contrast of 3 that WCAG asks of graphics, can be seen by night;
        # edges of thin lines are mixed with their ground there, which leaves 2.5 of a colour at 3.7.
        by_day, by_night = contrast(picture), contrast(dark[index].resize(picture.size))
        ink = np.count_nonzero(by_day >= 3)
        assert ink, f"figure {index} is too faint by day"
        assert np.count_nonzero(by_night >= 2.5) >= 0.9 * ink, f"figure {index} fades in the dark"
    assert page.noise == []


# Wide tables that pass below the contents of the page while these are seen.
COVERED = """async () => {
    const bad = [], contents = document.querySelector('.bd-sidebar-secondary');
    const covers = table => {
        const [inner, outer] = [table, contents].map(one => one.getBoundingClientRect());
        return inner.right > outer.left && inner.top < outer.bottom && inner.bottom > outer.top
            && contents.checkVisibility({visibilityProperty: true});
    };
    for (const table of document.querySelectorAll('table.wide')) {
        if (!table.checkVisibility()) continue;
        table.scrollIntoView({block: 'start', behavior: 'instant'});
        for (let waited = 0; waited < 3000 && covers(table); waited += 100)
            await new Promise(done => setTimeout(done, 100));
        if (covers(table)) bad.push(table.textContent.slice(0, 60));
    }
    scrollTo({top: 0, behavior: 'instant'});
    return bad;
}"""


@pytest.mark.sampled
def test_a_wide_table_covers_no_contents(opened):
    assert opened(wide=True).evaluate(COVERED) == []


# Tables and formulas of which a part can be seen by scrolling alone. A formula of one part cannot break.
SCROLLING = """() => {
    const scrolls = one => one.checkVisibility() && one.scrollWidth > one.clientWidth + 1;
    const tables = [...document.querySelectorAll('.bd-article table')].filter(one => !one.closest('form'));
    const formulas = [...document.querySelectorAll('.bd-article mjx-container[display]')];
    return [...tables, ...formulas].filter(scrolls)
        .map(one => [one.tagName, one.clientWidth, one.scrollWidth, one.textContent.slice(0, 60)]);
}"""


@pytest.mark.sampled
def test_tables_and_formulas_are_seen_as_a_whole(opened):
    """In the margin, on lines: a verdict in the last column stands on the screen."""
    assert opened(wide=True).evaluate(SCROLLING) == []


HEADINGS = """() => [...document.querySelectorAll('.bd-article :is(h1, h2, h3, h4) > a.headerlink')]
    .filter(link => link.offsetWidth > 0).map(link => link.parentElement.textContent)"""
# Where a line of a choice goes on behind code: the gap, if it is wider than a word's.
TORN = """() => [...document.querySelectorAll('details:is(.choice, .answer) > summary > code')].map(code => {
    const behind = document.createRange();
    if (code.nextSibling?.nodeType !== Node.TEXT_NODE) return 0;
    behind.selectNodeContents(code.nextSibling);
    const [first] = behind.getClientRects(), last = [...code.getClientRects()].at(-1);
    return first && Math.abs(first.top - last.top) < 10 ? first.left - last.right : 0;
}).filter(gap => gap > 8)"""
NEIGHBOURS = """() => [...document.querySelectorAll('.prev-next-area a')]
    .map(link => link.getBoundingClientRect()).map(({top, bottom}) => [top, bottom])"""


@pytest.mark.sampled
def test_lines_break_where_their_words_do(opened):
    """No empty line below a heading for the link to it, and no column for the code in a choice."""
    page = opened(wide=True)
    assert page.evaluate(HEADINGS) == []
    assert page.evaluate(TORN) == []


@pytest.mark.sampled
def test_on_a_phone_lines_break_where_their_words_do(opened):
    page = opened(phone=True)
    assert page.evaluate(HEADINGS) == []
    assert page.evaluate(TORN) == []


def test_on_a_phone_tables_and_formulas_are_seen_as_a_whole(opened):
    """On lines, as cards."""
    assert opened(phone=True).evaluate(SCROLLING) == []


GLASS = """() => {
    const field = document.querySelector('main .bd-search input');
    const glass = document.querySelector('main .bd-search svg, main .bd-search i');
    return field.getBoundingClientRect().left + parseFloat(getComputedStyle(field).paddingLeft)
        - glass.getBoundingClientRect().right;
}"""


@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
def test_the_words_of_a_search_begin_behind_its_glass(visit, size):
    assert visit("search.html", size).evaluate(GLASS) >= 0


def test_on_a_phone_the_pages_before_and_after_have_a_line_each(opened):
    places = opened(phone=True).evaluate(NEIGHBOURS)
    assert all(bottom <= top for (_, bottom), (top, _) in pairwise(places))


def test_letters_of_pictures_are_readable_on_a_phone(opened):
    assert opened(phone=True).evaluate(SMALLEST) >= 11


def test_fits_a_phone(opened, mode):
    page = opened(phone=True, mode=mode)
    wide = page.evaluate("document.scrollingElement.scrollWidth - innerWidth")
    clipped = page.evaluate(CLIPPED)
    assert clipped == []
    assert wide <= 0
    assert page.noise == []


FAULTS = """() => axe.run(document, {resultTypes: ['violations']}).then(({violations}) => violations
    .filter(({impact}) => ['serious', 'critical'].includes(impact))
    .map(({id, nodes}) => [id, nodes.length, nodes[0].target.join(' '), nodes[0].html.slice(0, 200)]))"""


@pytest.fixture(scope="session")
def axe():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).resolve().parents[2] / "tools")
        import npm
    return npm.AXE.files()["axe.min.js"].decode()


def test_axe_finds_nothing_serious(visit, asked_page, mode, axe):
    """Names of controls, order of headings, contrast, what a keyboard reaches."""
    page = visit(asked_page, mode=mode)
    page.evaluate(axe)
    assert page.evaluate(FAULTS) == []


def test_entry_leads_home(visit):
    page = visit("book/index.html")
    home = page.title()
    page.goto(page.url.replace("/book/index.html", "/index.html"))
    page.wait_for_url("**/book/index.html")
    assert page.title() == home
    assert page.noise == []


def test_search_finds_a_word(visit):
    page = visit("book/index.html")
    page.locator(".search-button, .search-button__button").locator("visible=true").first.click()
    page.locator("input[type=search]").locator("visible=true").first.fill("memory")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=memory*")
    page.wait_for_selector("#search-results ul.search li a")
    found = page.locator("#search-results ul.search li a")
    assert found.count() >= 1
    found.first.click()
    page.wait_for_url(lambda url: "search.html" not in url)
    assert page.noise == []


def found_by(visit, question):
    """The pages that a question finds, the best first."""
    page = visit(f"search.html?q={quote(question)}")
    page.locator(".search-summary", has_text="page(s) matching").wait_for()
    assert page.noise == []
    links = page.locator("#search-results ul.search li a")
    return [
        name.partition("#")[0] for name in links.evaluate_all("all => all.map(a => a.getAttribute('href'))")
    ]


def test_search_finds_chinese_within_a_run(visit):
    """A page that writes 费显存吗 is about 显存."""
    assert len(set(found_by(visit, "显存"))) >= 15
    assert "book/glossary.html" in found_by(visit, "投机解码")


@pytest.mark.parametrize(
    ("question", "first"),
    [
        ("4090", "fits/24_gb.html"),
        ("RTX4090", "fits/24_gb.html"),
        ("24 GB 显存", "fits/24_gb.html"),
        ("Qwen3.6-27B", "fits/qwen3_6_27b.html"),
        ("qwen3.6 显存", "fits/qwen3_6_27b.html"),
    ],
)
def test_search_finds_a_card_and_a_model_first(visit, question, first):
    assert found_by(visit, question)[0] == first


def test_a_question_is_parted_as_the_pages_are(visit, site):
    """What a page's words are is said twice, in Python and in JavaScript."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).resolve().parents[2] / "_ext")
        import search_words
    page = visit("search.html?q=x")
    for name in ("fits/24_gb.html", "fits/qwen3_6_27b.html", "book/index.html", "notebooks/questions.html"):
        text = re.sub(r"<[^<]+?>", " ", (site / name).read_text(encoding="utf-8"))
        words = list(search_words.words(text))
        assert len(words) > 1000
        assert page.evaluate("text => splitQuery(text)", text) == words


class Addresses(HTMLParser):
    def __init__(self):
        super().__init__()
        self.links, self.names = [], set()

    def handle_starttag(self, tag, attrs):
        for key, value in attrs:
            if key in {"href", "src"} and value:
                self.links.append((tag, value))
            if key in {"id", "name"}:
                self.names.add(value)


@cache
def read(path):
    addresses = Addresses()
    addresses.feed(path.read_text(encoding="utf-8"))
    return addresses


@pytest.mark.xdist_group("links")  # each page is read once
def test_links_lead_somewhere(site, site_page):
    here = site / site_page
    dead = []
    for tag, link in read(here).links:
        if re.match(r"[a-z]+:", link):
            if tag in {"script", "img", "iframe"}:
                dead.append(link)
            continue
        address, fragment = urldefrag(link)
        target = here.parent / unquote(address.partition("?")[0]) if address else here
        # what the calculator's page and the quiz answer
        asks = unquote(fragment).startswith("memcalc ") or re.fullmatch(r"[a-z0-9-]+/\d+", fragment)
        named = fragment and target.suffix == ".html" and not asks
        if not target.is_file() or (named and unquote(fragment) not in read(target).names):
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("pattern", ["*.map", "*webpack-macros.html"])
def test_no_leftovers(site, pattern):
    assert list(site.rglob(pattern)) == []


def test_two_dashes_of_a_name_stay_two(site):
    """One long dash in their place would name another file, or another option."""
    named = {name for model in catalogue() for name in re.findall(r"[\w./]+--[\w./]+", source(model).found)}
    text = (site / "book" / "coverage.html").read_text(encoding="utf-8")
    assert named
    assert [name for name in sorted(named) if name not in text] == []


def test_mathjax_is_served_from_the_book(site):
    served = sorted(path.name for path in (site / "_static" / "mathjax").rglob("*") if path.is_file())
    assert "tex-mml-chtml.js" in served
    assert all(name.endswith((".js", ".woff")) for name in served)
