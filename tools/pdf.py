"""The whole book as one PDF: a Chromium prints each page of the built site, and the sheets are put together.

`python tools/pdf.py` writes _build/html/where_the_memory_goes.pdf, and links it from the page on citing.
Bookmarks are parts, chapters and their sections; a link to another chapter leads there inside the file. It
takes minutes, so `make book` leaves it out: `make pdf` makes it, and the published site has it.
"""

from __future__ import annotations

import html
import io
import re
import sys
import unicodedata
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urldefrag

import browser
import yaml
from playwright.sync_api import sync_playwright
from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, DictionaryObject, NameObject, NumberObject

import book

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

SITE = book.HOME.parent
FILE = SITE / "where_the_memory_goes.pdf"
LINKED_FROM, PLACE = SITE / "book" / "citation.html", "<!-- the whole book as PDF -->"
LINK = '<p class="whole-book"><a href="../{}">The whole book as one PDF 全书 PDF</a> ({:.1f} MB)</p>'
EDGES = {"top": "14mm", "bottom": "14mm", "left": "12mm", "right": "12mm"}
SHEET = {"format": "A4", "margin": EDGES, "scale": 0.75, "print_background": True}
# The theme hides a page's title in print, because its list of sections has it. What fits on a sheet is not
# cut, and a heading stays with what follows.
PAPER = """
.bd-article h1 { display: block !important; }
.bd-article :is(h1, h2, h3, h4) { break-after: avoid; }
.bd-article :is(.cell_input, pre, tr, figure, svg, img, .admonition, blockquote) { break-inside: avoid; }
"""
# Paper unfolds nothing: what a click would show is shown. The theme's list of sections for print is dropped:
# there is one of the whole book. Formulas are waited for.
UNFOLD = """async () => {
    document.getElementById('jb-print-docs-body')?.remove();
    document.documentElement.dataset.theme = document.documentElement.dataset.mode = 'light';
    for (const folded of document.querySelectorAll('details')) folded.open = true;
    for (const one of document.querySelectorAll('.toggle-hidden')) one.classList.remove('toggle-hidden');
    if (document.querySelector('.math')) {
        while (!window.MathJax?.startup?.promise) await new Promise(done => setTimeout(done, 20));
        await window.MathJax.startup.promise;
    }
    await document.fonts.ready;
}"""
CONTENTS = """<!DOCTYPE html><meta charset="utf-8"><title>Contents</title><style>
body {{ font: 10.5pt/1.5 sans-serif }} h1 {{ font-size: 26pt }} h2 {{ font-size: 12pt; margin: 1.1em 0 0 }}
p {{ display: flex; margin: 0 }} i {{ border-bottom: 1px dotted #999; flex: 1; margin: 0 0.4em 0.3em }}
</style><h1>{title}</h1>{parts}"""


class Chapter(NamedTuple):
    """A page of the site as sheets of paper."""

    part: str
    address: str
    title: str
    sheets: PdfReader


def pages() -> Iterator[tuple[str, str]]:
    """Yield the pages of the book in their order, each with its part."""
    toc = yaml.safe_load((book.ROOT / "_toc.yml").read_text(encoding="utf-8"))
    yield "", toc["root"]
    for part in toc["parts"]:
        yield from ((part["caption"], chapter["file"]) for chapter in part["chapters"])


def printed(page: Page, part: str, name: str) -> Chapter:
    """Print a page."""
    file = SITE / f"{name}.html"
    page.goto(file.as_uri())
    page.add_style_tag(content=PAPER)
    page.evaluate(UNFOLD)
    title = page.locator("article h1").first.evaluate("heading => heading.firstChild.textContent.trim()")
    sheets = page.pdf(**SHEET, outline=True, tagged=True)
    return Chapter(part, str(file), title, PdfReader(io.BytesIO(sheets)))


def contents(page: Page, title: str, chapters: list[Chapter], first: int) -> PdfReader:
    """Print the table of contents, where the first chapter begins on the sheet of this number."""
    parts, part = [], ""
    for chapter in chapters:
        if chapter.part != part:
            part = chapter.part
            parts.append(f"<h2>{html.escape(part)}</h2>")
        parts.append(f"<p>{html.escape(chapter.title)}<i></i>{first}</p>")
        first += len(chapter.sheets.pages)
    page.set_content(CONTENTS.format(title=html.escape(title), parts="\n".join(parts)))
    return PdfReader(io.BytesIO(page.pdf(**SHEET)))


def lead(writer: PdfWriter, starts: dict[str, int]) -> None:
    """Let links to other chapters lead to their first sheets, and no link to a file of this machine."""
    for sheet in writer.pages:
        kept = ArrayObject()
        for one in sheet.get("/Annots", ()):
            note: Any = one.get_object()
            action = note.get("/A", {})
            address = str(action.get("/URI", ""))
            if address.startswith("file:"):
                target = unquote(urldefrag(address)[0]).removeprefix("file://")
                if target not in starts:
                    continue
                where = writer.pages[starts[target]].indirect_reference
                goal = ArrayObject([where, NameObject("/XYZ"), *([NumberObject(0)] * 3)])
                goal[3] = sheet.mediabox.top
                note[NameObject("/A")] = DictionaryObject(
                    {NameObject("/S"): NameObject("/GoTo"), NameObject("/D"): goal}
                )
            kept.append(one)
        if "/Annots" in sheet:
            sheet[NameObject("/Annots")] = kept


def together(front: PdfReader, chapters: list[Chapter], title: str) -> PdfWriter:
    """Put the sheets together, with bookmarks."""
    writer, starts, parts = PdfWriter(), dict[str, int](), dict[str, Any]()
    writer.append(front, outline_item="Contents", import_outline=False)
    for chapter in chapters:
        starts[chapter.address] = len(writer.pages)
        writer.append(chapter.sheets, import_outline=False)
        if chapter.part and chapter.part not in parts:
            parts[chapter.part] = writer.add_outline_item(
                title=chapter.part, page_number=starts[chapter.address], bold=True
            )
        above = writer.add_outline_item(
            title=chapter.title, page_number=starts[chapter.address], parent=parts.get(chapter.part)
        )
        for name, sheet in sections(chapter.sheets):
            writer.add_outline_item(title=name, page_number=starts[chapter.address] + sheet, parent=above)
    lead(writer, starts)
    writer.add_metadata({"/Title": title, "/Author": "the memcalc authors"})
    writer.compress_identical_objects()
    return writer


def sections(sheets: PdfReader) -> Iterator[tuple[str, int]]:
    """Yield the sections of a chapter, each with its sheet; Chromium writes some titles twice, in one."""
    for one in sheets.outline:
        if not isinstance(one, list):
            title = str(one.title)
            half = len(title) // 2
            title = title[:half] if title[:half] == title[half:] else title
            yield title, sheets.get_destination_page_number(one) or 0


def check(chapters: list[Chapter]) -> None:
    """Look at the file again: chapters have their titles and bookmarks, and no address is of this machine.

    Raises:
        ValueError: something is missing, or a link leads to a file of this machine.

    """
    firsts = {one.title: latin(one.sheets.pages[0].extract_text()) for one in chapters}
    bare = [title for title, text in firsts.items() if latin(title) not in text]
    written = PdfReader(FILE)
    titles = {str(one.title) for one in flat(written.outline)}
    missing = [chapter.title for chapter in chapters if chapter.title not in titles]
    notes = (note.get_object() for sheet in written.pages for note in sheet.get("/Annots", ()))
    leaks = {address for note in notes if "file:" in (address := str(note.get("/A", {}).get("/URI", "")))}
    if bare or missing or leaks:
        faults = f"without a title: {bare}; without a bookmark: {missing}; of this machine: {leaks}"
        raise ValueError(f"{FILE.name}: {faults}")


def latin(text: str) -> str:
    """Return the Latin letters and digits of a text, ligatures taken apart; others may have no font here.

    >>> latin("The ﬁve levels 省显存的五个层级")
    'Thefivelevels'
    """
    return re.sub("[^A-Za-z0-9]", "", unicodedata.normalize("NFKC", text))


def flat(outline: list[Any]) -> Iterator[Any]:
    """Yield the bookmarks of all depths."""
    for one in outline:
        if isinstance(one, list):
            yield from flat(one)
        else:
            yield one


def link() -> None:
    """Link the file from the page that speaks of it."""
    text = LINKED_FROM.read_text(encoding="utf-8")
    size = FILE.stat().st_size / 1e6
    LINKED_FROM.write_text(text.replace(PLACE, LINK.format(FILE.name, size)), encoding="utf-8", newline="\n")


def main() -> int:
    """Build the book if it is out of date, and print it."""
    status = book.main()
    path = browser.installed()
    if status or path is None:
        print("missing: a browser (python tools/browser.py)" if path is None else "", file=sys.stderr)
        return status or 1
    title = yaml.safe_load((book.ROOT / "_config.yml").read_text(encoding="utf-8"))["title"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = chromium.new_context(offline=True).new_page()
        if not page.evaluate(browser.CHINESE):
            print("   no font here has Chinese letters: they will be boxes", file=sys.stderr)
        chapters = [printed(page, part, name) for part, name in pages()]
        guess = len(contents(page, title, chapters, 1).pages)
        front = contents(page, title, chapters, guess + 1)
        chromium.close()
    writer = together(front, chapters, title)
    writer.write(FILE)
    check(chapters)
    link()
    print(f"   {FILE.stat().st_size / 1e6:.1f} MB, {len(writer.pages)} pages: {FILE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
