"""What pages link to on other sites, as tables: papers, threads and all else, with the pages that cite it."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from prose import prose

from memcalc.show.tables import table

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\((https?://[^)\s]+)\)")
THREAD = re.compile(r"github\.com/([^/]+/[^/]+)/(?:issues|pull|discussions)/(\d+)")


def citations() -> dict[str, tuple[str, list[str]]]:
    """Return for each address the words that first link to it, and the pages that do."""
    words: dict[str, str] = {}
    pages: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        text = prose(path)
        title = re.sub(r"[^\x20-\x7e×²]+.*", "", text.partition("\n")[0].removeprefix("# ")).strip()
        for said, address in LINK.findall(text):
            words.setdefault(address, said)
            page = f"[{title}](../notebooks/{path.name})"
            if page not in pages[address]:
                pages[address].append(page)
    return {address: (said, pages[address]) for address, said in words.items()}


def listed(kind: str) -> str:
    """Return the table of papers, threads or other sources as Markdown."""
    found = {address: cited for address, cited in citations().items() if kind_of(address) == kind}
    rows = [
        {"source": f"[{name_of(address, said)}]({address})", "cited in": "; ".join(pages)}
        for address, (said, pages) in sorted(found.items())
    ]
    return f"{table(rows)!r}\n"


def kind_of(address: str) -> str:
    """Return what an address is."""
    if "arxiv.org/" in address:
        return "papers"
    return "threads" if THREAD.search(address) else "others"


def name_of(address: str, said: str) -> str:
    """Return how a source is called: a paper as a page cites it, a thread by number, a file by place."""
    thread = THREAD.search(address)
    if thread:
        return f"{thread[1]}#{thread[2]}"
    if kind_of(address) == "papers":
        return f"{said}, arXiv:{address.rsplit('/', 1)[1]}"
    return address.partition("://")[2].partition("#")[0].rstrip("/")
