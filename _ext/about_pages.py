"""What a page is, in one sentence: for search engines, and for language models (llms.txt); and its notebook.

The sentence is the page's own: the question that a chapter answers, or the first paragraph of another page.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from docutils import nodes

from memcalc.cli.command import EXAMPLE, SUMMARIES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx

NOTEBOOK = (
    '</h1>\n<p class="notebook-of-page d-print-none"><a href="{}" download>'
    "Download this chapter as a notebook 下载笔记本</a></p>"
)
QUESTION = "Question. "  # how a chapter begins
ASKED_IN_PAGE = "book/calculator"
IN_PAGE = """
## In the page

`await window.memcalc.ask(words, files)` on the [calculator]({address}) is the command line, without an
installation and without a network: `words` is the list of what stands behind `memcalc` at a shell, `files` an
object that maps names of files to their text. It gives `{{code, out, err}}`: exit status, standard output,
standard error.

    await window.memcalc.ask(["serve", "Qwen/Qwen3-32B", "--context", "32k", "--on", "2x rtx-a6000"], {{}})
"""


def remember_sentence(app: Sphinx, doctree: nodes.document) -> None:
    """Keep what the page says first: of a chapter the question that it answers."""
    first = next(iter(doctree.findall(nodes.paragraph)), None)
    text = " ".join(first.astext().split()) if first else ""
    said = text.removeprefix(QUESTION)
    if said == text:  # no question: one sentence, not a paragraph
        said = re.split(r"(?<=[.?!]) ", text)[0]
    app.env.metadata[app.env.docname]["description"] = said


def describe(app: Sphinx, page: str, _template: str, context: dict[str, Any], _doctree: object) -> None:
    """Say what the page is, and offer the notebook that it was made from, as Sphinx has copied it."""
    context["description"] = app.env.metadata.get(page, {}).get("description", "")
    source = context.get("sourcename") or ""
    if source.endswith(".ipynb"):
        address = context["pathto"](f"_sources/{source}", 1)
        context["body"] = context["body"].replace("</h1>", NOTEBOOK.format(address), 1)


def parts(app: Sphinx) -> Iterator[tuple[str, list[str]]]:
    """Yield each part of the table of contents, and its pages."""
    text = (Path(app.srcdir) / app.config.external_toc_path).read_text(encoding="utf-8")
    toc = yaml.safe_load(text)
    yield "Home", [toc["root"]]
    for part in toc.get("parts", []):
        yield (
            part["caption"],
            [page["file"] for one in part["chapters"] for page in (one, *one.get("sections", []))],
        )
    if "chapters" in toc:
        yield "Chapters", [chapter["file"] for chapter in toc["chapters"]]


def for_language_models(app: Sphinx) -> Iterator[str]:
    """Yield the lines of llms.txt (llmstxt.org): what the book is, its pages, the command line."""
    citation = yaml.safe_load((Path(app.srcdir) / "CITATION.cff").read_text(encoding="utf-8"))
    yield f"# {app.config.html_title or app.config.project}\n\n> {' '.join(citation['abstract'].split())}\n"
    for caption, pages in parts(app):
        yield f"\n## {caption}\n"
        for page in pages:
            said = app.env.metadata[page]["description"]
            yield f"- [{app.env.titles[page].astext()}]({page}.html): {said}"
    yield "\n## Command line\n"
    yield "`python -m memcalc` in a checkout, or `memcalc` once `pip install .` has run there.\n"
    yield from (f"- `memcalc {name}`: {summary}" for name, summary in SUMMARIES.items())
    yield (
        f"\nFor example {EXAMPLE.partition(', or see ')[0]}. `--json` prints one object of whole bytes. "
        "Exit status: 0 answered, 1 does not fit, or may not (with `--check`), 2 could not answer, "
        "with one line on standard error."
    )
    if ASKED_IN_PAGE in app.env.found_docs:
        yield IN_PAGE.format(address=f"{ASKED_IN_PAGE}.html")


def write_for_language_models(app: Sphinx, error: Exception | None) -> None:
    """Write llms.txt at the root of the site."""
    if error is None and app.builder.format == "html":
        text = "\n".join(for_language_models(app)).rstrip() + "\n"
        (Path(app.outdir) / "llms.txt").write_text(text, encoding="utf-8", newline="\n")


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.connect("doctree-read", remember_sentence)
    app.connect("html-page-context", describe)
    app.connect("build-finished", write_for_language_models)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
