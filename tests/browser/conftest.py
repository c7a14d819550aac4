"""One Chromium a worker, offline, and what it hears while a page opens."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from zlib import crc32

import pytest
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "_build" / "html"
FOUND = sorted(path.relative_to(SITE) for path in SITE.rglob("*.html"))
# One of each kind: a page of them all takes axe-core minutes.
KINDS = [
    *("book/index.html", "notebooks/on_a_napkin.html", "notebooks/forty_lines.html"),
    *("book/engines.html", "book/quiz.html", "fits/24_gb.html", "search.html"),
]
ENTRY = "index.html"  # leads on to the Home page, and is tested on its own
PAGES = [str(path) for path in FOUND if "_static" not in path.parts and str(path) != ENTRY] or [ENTRY]
# Of pages that one template makes the gate opens one of a kind, --full all of them.
ONE_IN = 3  # pages that a test marked `sampled` looks at in the gate
ALIKE, ONE_OF_THEM = "fits/", {"fits/index.html", "fits/24_gb.html", "fits/qwen3_6_27b.html"}
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
STORED = "localStorage.setItem('mode', '{0}'); localStorage.setItem('theme', '{0}');"
# What the theme's own switch sets.
SWITCHED = "mode => Object.assign(document.documentElement.dataset, {mode: mode, theme: mode})"
RENDERED = """async () => {
    if (document.querySelector('.math')) {
        while (!window.MathJax?.startup?.promise) await new Promise(done => setTimeout(done, 20));
        await window.MathJax.startup.promise;
    }
    await document.fonts.ready;
    if (document.querySelector('.bd-article'))
        while (!document.documentElement.dataset.fitted) await new Promise(done => setTimeout(done, 20));
}"""
# After a change of size: sidebars have moved, and what looks at the width of the text has run. An animation
# that the browser has put aside never ends, and no test waits for it without end.
SETTLED = """async width => {
    while (innerWidth !== width) await new Promise(done => setTimeout(done, 20));
    const within = (time, one) => Promise.race([one, new Promise(done => setTimeout(done, time))]);
    const frame = () => within(1000, new Promise(requestAnimationFrame));
    await frame();
    await within(2000, Promise.allSettled(document.getAnimations().map(one => one.finished)));
    await frame();
    await frame();
}"""
DESKTOP, WIDE, PHONE = (1280, 900), (1440, 900), (390, 844)
PATIENCE = 180_000  # milliseconds until what never comes is a fault: a busy machine is no fault


def pytest_generate_tests(metafunc):
    """Colours move nothing: the gate looks at one mode, --full at both."""
    if "mode" in metafunc.fixturenames:
        metafunc.parametrize("mode", ["light", "dark"] if metafunc.config.getoption("full") else ["light"])
    if "page_name" in metafunc.fixturenames:
        full = metafunc.config.getoption("full")
        names = [name for name in PAGES if full or not name.startswith(ALIKE) or name in ONE_OF_THEM]
        # Tests of one page go to one worker, which then loads it once (pytest-xdist: --dist loadgroup).
        grouped = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in names]
        metafunc.parametrize("page_name", grouped, indirect=True, scope="module")
    if "site_page" in metafunc.fixturenames:
        metafunc.parametrize("site_page", PAGES)
    if "asked_page" in metafunc.fixturenames:
        metafunc.parametrize("asked_page", PAGES if metafunc.config.getoption("full") else KINDS)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config, items):
    """Leave out the pages that are not in a test's sample: always the same ones."""
    left_out = [
        item
        for item in items
        if item.get_closest_marker("sampled")
        and not config.getoption("full")
        and "page_name" in item.callspec.params
        and crc32(item.callspec.params["page_name"].encode()) % ONE_IN
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        aside = set(left_out)
        items[:] = [item for item in items if item not in aside]


@pytest.fixture(scope="session")
def patience():
    """Milliseconds that a page is waited for."""
    return PATIENCE


@pytest.fixture(scope="session")
def site():
    assert (SITE / "index.html").is_file(), "the book is not built: make book"
    return SITE


@pytest.fixture(scope="session")
def browser():
    spec = importlib.util.spec_from_file_location("browser", ROOT / "tools" / "browser.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    path = tool.installed()
    assert path, "no browser: python tools/browser.py"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()


def visitor(browser, site):
    """Yield a function that opens a page from its file, offline; `page.noise` is what should not happen.

    `page.asked` is every file that the browser has asked for.
    """
    contexts = []

    def open_page(name, size=DESKTOP, mode="light"):
        context = browser.new_context(offline=True, viewport={"width": size[0], "height": size[1]})
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        context.add_init_script(STORED.format(mode))
        page = context.new_page()
        page.noise, page.asked = [], set()

        def heard(request):
            page.asked.add(request.url)
            if not request.url.startswith(("file:", "data:", "blob:")):
                page.noise.append(f"asks the network: {request.url}")

        page.on("request", heard)
        page.on(
            "requestfailed", lambda request: page.noise.append(f"failed: {request.url} {request.failure}")
        )
        page.on("pageerror", lambda error: page.noise.append(f"error: {error}"))
        page.on(
            "console",
            lambda message: (
                page.noise.append(f"console: {message.text}") if message.type == "error" else None
            ),
        )
        file, _, question = name.partition("?")
        page.goto(f"{(site / file).as_uri()}{question and '?'}{question}")
        page.evaluate(RENDERED)
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def visit(browser, site):
    """A page of one test alone."""
    yield from visitor(browser, site)


@pytest.fixture(scope="module")
def visit_once(browser, site):
    """A page that the tests of a module share."""
    yield from visitor(browser, site)


@pytest.fixture(scope="module")
def page_name(request):
    """Each page of the site in turn."""
    return request.param


@pytest.fixture(scope="module")
def opened(request, browser, site, page_name):
    """Show a page at a size and in a mode: loaded once and switched, or with --full loaded anew for each."""
    full = request.config.getoption("full")
    opening = visitor(browser, site)
    visit, pages, seen = next(opening), {}, []

    def show(*, phone=False, wide=False, mode="light"):
        size = PHONE if phone else WIDE if wide else DESKTOP
        key = (size, mode) if full else ()
        if key not in pages:
            pages[key] = visit(page_name, size, mode) if full else visit(page_name)
            seen[:] = [DESKTOP, "light"]
        page = pages[key]
        if not full and seen != [size, mode]:
            page.set_viewport_size({"width": size[0], "height": size[1]})
            page.evaluate(SWITCHED, mode)
            page.evaluate(SETTLED, size[0])
            seen[:] = [size, mode]
        return page

    yield show
    next(opening, None)
