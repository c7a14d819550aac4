"""The notes, judged: nothing of them is left out, every quotation is theirs, every verdict can be checked."""

from __future__ import annotations

import ast
import hashlib
import json
import re

import pytest

from memcalc.evidence import notes as module, records
from memcalc.evidence.notes import (
    ARITHMETIC,
    CHECKS,
    NONE,
    PRICE,
    VERDICTS,
    Claim,
    citations,
    claims,
    link,
    not_claims,
    notes_text,
    uncovered,
)
from memcalc.evidence.records import entry, read_record

KINDS = ("claims", "citations", "not_claims")


@pytest.fixture
def page(root):
    """The source of the page's code cells."""
    notebook = json.loads((root / "notebooks/the_notes_judged.ipynb").read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


@pytest.fixture
def edited(monkeypatch):
    """Put other notes, or another record, in the place of the stored ones."""

    def put(notes=None, **lists):
        if notes:
            monkeypatch.setattr(module, "notes_text", lambda: notes)
        stored = {kind: read_record("notes.json", kind) for kind in KINDS} | lists
        monkeypatch.setattr(records, "read_record", lambda _file, part: stored[part])

    return put


def test_the_notes_are_verbatim():
    """A change of a letter, or of the spaces in their tables, is a change of the evidence."""
    digest = hashlib.sha256(notes_text().encode()).hexdigest()
    assert digest == "82606601b4a82403ad0df734675998091c70590d7d51b3d98fa2d68e47dac0cb"


def test_nothing_of_the_notes_is_left_over():
    assert list(uncovered()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_without_any_one_entry_something_is_left_over_or_it_shares_its_words(edited, kind):
    """Every entry is needed, unless other entries quote all of its words."""
    stored = read_record("notes.json", kind)
    assert len(stored) == {"claims": 70, "citations": 12, "not_claims": 29}[kind]
    for index, one in enumerate(stored):
        edited(**{kind: stored[:index] + stored[index + 1 :]})
        needed = list(uncovered()) != []
        shared = one.get("id") in {"2.4-twice", "typeset", "671b", "kimi-link", "2.4"}
        assert needed or shared, one


@pytest.mark.parametrize("added", ["另外需要 5 GB", "x", "42"])
@pytest.mark.parametrize("line", [1, 8, 23, 44, 72, 123, 143])
def test_a_word_more_is_noticed_wherever_it_stands(edited, line, added):
    lines = notes_text().splitlines()
    lines[line - 1] += added
    edited(notes="\n".join(lines))
    assert [number for number, _ in uncovered()] == [line]


def test_a_line_more_is_noticed(edited):
    edited(notes=notes_text() + "\n\n- 多卡时显存可以相加")
    assert [rest for _, rest in uncovered()] == ["- 多卡时显存可以相加"]


@pytest.mark.parametrize("one", [*claims(), *citations()], ids=lambda one: one.id)
def test_every_quotation_occurs_once_and_verbatim(one):
    assert notes_text().count(one.quote) == 1


def test_what_claims_nothing_is_a_whole_line_or_occurs_once():
    whole = {line.strip() for line in notes_text().splitlines()}
    for one in not_claims():
        assert one.text in whole or notes_text().count(one.text) == 1
        assert one.why


def test_a_page_that_a_chapter_quotes_from_a_copy_counts_as_read(root):
    """The chapters and the record agree on whether a copy of a cited page was found."""
    read = {one.url: one.read for one in citations()}
    quoted = {
        address
        for path in (root / "notebooks").glob("*.ipynb")
        for address in re.findall(r"\]\((https://[^)]+)\), as a public copy had it", path.read_text("utf-8"))
    }
    assert quoted == {"https://zhuanlan.zhihu.com/p/687226668"}
    assert {read[address] for address in quoted} == {"yes"}


def test_claims_and_citations_have_names_of_their_own():
    for found in (claims(), citations()):
        assert len({one.id for one in found}) == len(found)
    assert {claim.article for claim in claims()} - {one.id for one in citations()} == {""}
    assert {claim.verdict for claim in claims()} == set(VERDICTS)


@pytest.mark.parametrize("one", citations(), ids=lambda one: one.id)
def test_a_citation_is_a_link_of_the_notes_and_says_how_much_of_it_was_read(one):
    assert f"[{one.title}]({one.url})" in one.quote
    assert one.url.startswith("https://")
    assert one.read in {"yes", "in part", "no"}
    assert one.states
    assert one.date


def test_every_claim_is_computed_on_the_page_or_has_a_source(page):
    """Prices and opinions aside; what only arithmetic decides must be computed there."""
    computed = set()
    for source in page:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                computed.add(node.value)
    patterns = {"kv-8k", "kv-16k"}  # their names are made in a loop
    for claim in claims():
        assert (claim.source == NONE) == claim.is_exempt
        assert claim.source != ARITHMETIC or claim.id in computed | patterns, claim.id
    assert any('if one.source == "arithmetic")' in source for source in page)


def test_prices_are_shown_and_not_judged():
    prices = [claim for claim in claims() if claim.unit == PRICE]
    assert [claim.stated for claim in prices] == ["at most 400,000 CNY", "at most 200,000 CNY", "250,000 CNY"]
    assert {claim.verdict for claim in prices} == {"not verifiable"}


@pytest.mark.parametrize(
    "broken",
    [
        *({field: ""} for field in ("english", "why", "verdict", "section", "source")),
        {"verdict": "nearly right"},
        {"source": "http://example.org"},
        {"source": "none"},
        {"source": "https://example.org", "date": "lately"},
        {"unit": "G"},
    ],
    ids=str,
)
def test_a_claim_that_does_not_say_all_does_not_load(broken):
    fields = {**claims()[0]._asdict(), **broken}
    with pytest.raises(TypeError, match="date" if "date" in broken else next(iter(broken))):
        entry(Claim, fields, CHECKS)


def test_a_figure_agrees_only_inside_its_range():
    by_id = {claim.id: claim for claim in claims()}
    least, exact, between = by_id["four-16k"], by_id["768"], by_id["40-44"]
    assert (least.stated, exact.stated, between.stated) == ("at least 150 GB", "768", "40–44 GB")
    assert [least.agrees(size * 10**9) for size in (149.9, 150, 1000)] == [False, True, True]
    assert [exact.agrees(number) for number in (767, 768, 769)] == [False, True, False]
    assert [between.agrees(size * 10**9) for size in (39.9, 40, 44, 44.1)] == [False, True, True, False]


def test_a_quotation_is_shown_without_effect_of_its_marks():
    by_id = {claim.id: claim for claim in claims()}
    assert by_id["not-36"].shown == r"但\*\*实际部署不是 36GB\*\*"
    tex = r"`$$` `\text{InferMemory}` `\approx` 1.2 \* `\text{ModelMemory}`"
    assert by_id["infer-memory"].shown == f"推理显存可以粗略设计为： {tex}"
    assert by_id["36"].row()["computed here"] == "–"


def test_a_link_names_thread_file_or_host():
    assert link("https://www.hiascend.com/a/b").startswith("[hiascend.com]")
    assert link("https://github.com/a/b/blob/main/doc/AMX.md").startswith("[AMX.md]")
    assert link("https://github.com/a/b/pull/7").startswith("[b#7]")
