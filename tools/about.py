"""Pages about the book itself, from files of the repository: changes, how to cite, notices and licenses."""

from __future__ import annotations

import re
from pathlib import Path

import licenses
import yaml

ROOT = Path(__file__).resolve().parents[1]


def read(name: str) -> str:
    """Return a file of this repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def without_title(text: str) -> str:
    """Return a Markdown text from below its first heading: the page has one of its own."""
    return text.partition("\n")[2].lstrip("\n")


def changes() -> str:
    """Return what has changed, newest first."""
    return without_title(read("CHANGELOG.md"))


def notices() -> str:
    """Return the notices for what others made, and the texts of the licenses that the site carries."""
    text = without_title(read("THIRD_PARTY.md"))
    text = text.replace("[MIT license](LICENSE)", f"{served('LICENSE.txt', 'MIT license')}")
    text = re.sub(r"`_static/licenses/`", "the end of this page", text)
    listed = "\n".join(f"- {served(name, name)}" for name in sorted(licenses.BUILT))
    return f"{text}\n## The texts\n\n{listed}\n"


def served(name: str, words: str) -> str:
    """Return a link to a file among the licenses, from a page in `book/`."""
    return f'<a href="../_static/licenses/{name}">{words}</a>'


def citation() -> str:
    """Return how to cite, as words and as BibTeX, from CITATION.cff."""
    cited = yaml.safe_load(read("CITATION.cff"))
    authors = " and ".join(author["name"] for author in cited["authors"])
    year = re.search(r"\d{4}", str(yaml.safe_load(read("_config.yml"))["copyright"]))
    if year is None:
        raise ValueError("_config.yml: copyright names no year")
    fields = {
        "title": f"{{{cited['title']}}}",
        "author": f"{{{authors}}}",  # a group, not a person with a first and a last name
        "version": cited["version"],
        "year": year[0],
        "license": cited["license"],
        "note": "with the book ``Where the memory goes''",
    }
    lines = "".join(f"  {name:<7} = {{{text}}},\n" for name, text in fields.items())
    return (
        f"{cited['message']}\n\n{authors}, *{cited['title']}*, version {cited['version']}, {year[0]}.\n\n"
        f"```bibtex\n@software{{memcalc,\n{lines}}}\n```\n"
    )
