"""Published cases of training: each that was looked at is a row, an outcome, or left out with its reason."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

import pytest

import memcalc
from memcalc.evidence.score import scores
from memcalc.evidence.training import training_left_out, training_observations

FOLDER = Path(__file__).resolve().parents[1] / "book" / "record"
OUTCOMES = json.loads((FOLDER / "training_outcomes.json").read_text(encoding="utf-8"))
METHODS = json.loads((FOLDER / "method_runs.json").read_text(encoding="utf-8"))
ENDS = {"out of memory": ("may_not_fit", "does_not_fit"), "ran": ("fits", "may_not_fit")}
CASES = {  # the page or thread -> how many of its figures were looked at when these cases were gathered: 47
    "github.com/QwenLM/Qwen/": 7,
    "modelscope/ms-swift/blob/46922151e06cdfc110882e182757674f12352f2c/": 8,
    "modelscope/ms-swift/blob/001320d09193522edf9f937d4af192e83c520e56/": 4,
    "pytorch/ao/": 2,
    "LlamaFactory/issues/6755": 1,
    "LlamaFactory/issues/7282": 1,
    "LlamaFactory/issues/4642": 1,
    "axolotl/issues/1522": 1,
    "bitsandbytes/issues/1252": 1,
    "bitsandbytes/issues/1569": 2,
    "AgileRL/pull/623": 1,
    "unslothai/unsloth": 1,
    "torchtune/issues/1185": 1,
    "GaLore/issues/6": 1,
    "trl/issues/3168": 1,
    "LlamaFactory/issues/10175": 1,
    "unsloth.ai/blog/grpo": 1,  # the release note of 2025-02 has its figure
    "open-r1/issues/475": 1,
    "OpenRLHF/issues/519": 1,
    "LlamaFactory/pull/8826": 1,
    "transformers/issues/43696": 1,
    "LlamaFactory/issues/2580": 1,
    "peft/pull/2376": 1,
    "torchtitan/issues/1789": 1,
    "ms-swift/issues/2743": 1,
    "axolotl/issues/1813": 1,
    "llama-cookbook/issues/142": 1,
    "ms-swift/pull/9982": 1,
    "axolotl/issues/3787": 1,
}
PUBLISHED = ("qwen readme", "ms-swift varying", "ms-swift zero", "torchtune varying", "peft", "fms qlora")


@pytest.fixture(scope="module")
def published():
    """Test rows of adapters and of fine-tuning whose trainer, release and lengths are stated."""
    rows = [row for row in training_observations(role="test") if row.family in PUBLISHED]
    return [score for score in scores(rows) if score.row.quantity != "allocated_after_step"]


def recorded() -> Counter[str]:
    """How often each source stands in the record: as rows, as outcomes, as figures left out."""
    found = Counter(row.source for row in training_observations())
    for one in training_left_out():
        found[one.source] += one.rows
    for record in (OUTCOMES, METHODS):
        found.update(one["source"] for name in record for one in record[name])
    return found


def test_every_case_is_in_the_record():
    assert sum(CASES.values()) == 47
    sources = recorded()
    for part, figures in CASES.items():
        assert sum(count for source, count in sources.items() if part in source) >= figures, part


def test_rows_whose_settings_are_stated_lie_in_their_ranges(published):
    """At least 85 per cent of them; where lengths are constant all ranges are narrower than 40 per cent."""
    assert len(published) >= 60
    assert sum(score.inside for score in published) >= 0.85 * len(published)
    constant = [score for score in published if score.row.plan.get("lengths") != "varying"]
    assert sum(score.inside and score.width <= 0.4 for score in constant) >= 0.85 * len(constant)


def test_reserved_memory_of_varying_lengths_lies_in_its_range(published):
    """Nine tenths of what was not quantised by a release of bitsandbytes of before 0.43."""
    varying = [score for score in published if score.row.plan.get("lengths") == "varying"]
    usual = [score for score in varying if "quantize_base" not in score.row.plan]
    assert len(usual) == 20
    assert sum(score.inside for score in usual) == 19


def test_allocated_bytes_of_adapters_are_near(published):
    """Peaks of transformers and PEFT: all in their range, half of them within 0.02 per cent."""
    allocated = [score for score in published if score.row.quantity == "allocated"]
    assert len(allocated) == 6
    assert all(score.inside for score in allocated)
    assert median(abs(score.error) for score in allocated) <= 0.0002
    assert max(abs(score.error) for score in allocated) <= 0.0042


@pytest.mark.parametrize("row", OUTCOMES["rows"], ids=lambda row: row["id"])
def test_a_published_run_ends_as_it_did(row: dict[str, Any]) -> None:
    """None that was out of memory is said to fit, and none that ran not to."""
    plan = {name: tuple(value) if isinstance(value, list) else value for name, value in row["plan"].items()}
    step: Any = memcalc.train(row["model"], **plan)
    assert step.verdict in ENDS[row["outcome"]]


def test_what_is_recorded_says_where_it_stands() -> None:
    for row in OUTCOMES["rows"]:
        assert row["source"].startswith("https://")
        assert row["date"]
        assert row["note"]
    assert all(one["reason"] and one["source"].startswith("https://") for one in OUTCOMES["left_out"])
    assert len({row["id"] for row in OUTCOMES["rows"]}) == len(OUTCOMES["rows"])
