"""The page of sources: all that pages cite, and each paper under its authors, its year and its title."""

from __future__ import annotations

import re
from collections import defaultdict

import pytest

# Pages that name a paper otherwise than by its authors and its year. The list only shrinks.
OTHERWISE = {("rules_of_thumb", "1910.02054"), ("rules_of_thumb", "2106.09685")}


@pytest.fixture(scope="module")
def cited(root):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root / "tools")
        import cited

        yield cited


def test_each_paper_that_is_cited_has_a_record_and_the_other_way_round(cited):
    """In a page, in what it prints, in a record of measurements, in the source of memcalc."""
    assert set(cited.places()) == set(cited.papers())


def test_papers_stand_under_their_authors(cited):
    entries = cited.cited_papers().splitlines()
    assert entries[0].startswith("- **Ainslie and others, 2023.** GQA: ")
    named = [entry.partition(".** ")[0].casefold() for entry in entries]
    assert named == sorted(named)
    assert len(entries) == len(cited.papers())
    assert all(
        re.search(r"\[arXiv:([\d.]+)\]\(https://arxiv.org/abs/\1\). Cited in .", one) for one in entries
    )


def test_every_link_of_a_page_to_another_site_stands_there(cited):
    """Each with the pages that have it."""
    found = cited.citations()
    text = cited.cited_papers() + cited.threads() + cited.others()
    assert len(found) > 150
    assert [address for address in found if f"]({address})" not in text] == []
    assert "[vllm-project/vllm#27508](https://github.com/vllm-project/vllm/issues/27508) | [](" in text


def test_sources_in_other_tables_are_counted(cited):
    rows = [line.split(" | ") for line in cited.counted().splitlines()[2:]]
    assert len(rows) == 6
    assert all(0 < int(sources) <= int(entries) for _, entries, sources, _ in rows)


def test_a_page_cites_a_paper_by_authors_and_year(cited):
    """Where it links to it several times, at least once."""
    otherwise = set()
    for page in cited.pages():
        words = defaultdict(list)
        for said, address in cited.LINK.findall(cited.prose(page)):
            for number in cited.ARXIV.findall(address):
                words[number].append(said.replace(" (", ", ").rstrip(")").replace("et al.", "and others"))
        for number, said in words.items():
            if not any(one.startswith(cited.papers()[number].named) for one in said):
                otherwise.add((page.stem, number))
    assert otherwise <= OTHERWISE
