"""One Chromium a worker, offline, and what it hears while a page opens."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "_build" / "html"
FOUND = sorted(path.relative_to(SITE) for path in SITE.rglob("*.html"))
ENTRY = "index.html"  # leads on to the Home page, and is tested on its own
PAGES = [str(path) for path in FOUND if "_static" not in path.parts and str(path) != ENTRY]
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LIGHT = "localStorage.setItem('mode', 'light'); localStorage.setItem('theme', 'light');"
DARK = "localStorage.setItem('mode', 'dark'); localStorage.setItem('theme', 'dark');"
RENDERED = """async () => {
    if (document.querySelector('.math')) {
        while (!window.MathJax?.startup?.promise) await new Promise(done => setTimeout(done, 20));
        await window.MathJax.startup.promise;
    }
    await document.fonts.ready;
}"""


def pytest_generate_tests(metafunc):
    if "page_name" in metafunc.fixturenames:
        metafunc.parametrize("page_name", PAGES or [ENTRY])


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


@pytest.fixture
def visit(browser, site):
    """Open a page from its file, offline; `page.noise` is what should not have happened."""
    contexts = []

    def open_page(name, *, width=1280, height=900, dark=False, address=""):
        context = browser.new_context(offline=True, viewport={"width": width, "height": height})
        contexts.append(context)
        context.add_init_script(DARK if dark else LIGHT)
        page = context.new_page()
        page.noise = []

        def heard(request):
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
        page.goto((site / name).as_uri() + address)
        page.evaluate(RENDERED)
        return page

    yield open_page
    for context in contexts:
        context.close()
