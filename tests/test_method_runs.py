"""Published runs of DPO, PPO and GRPO: no run that was out of memory is said to fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import memcalc

RECORD = json.loads(
    (Path(__file__).resolve().parents[1] / "book" / "record" / "method_runs.json").read_text(encoding="utf-8")
)
OUTCOMES = {"out of memory": ("may_not_fit", "does_not_fit"), "ran": ("fits", "may_not_fit")}
LLAMA = "meta-llama/Meta-Llama-3.1-8B"


def planned(row: dict[str, Any]) -> Any:
    """Return the estimate of a recorded run."""
    plan = {name: tuple(value) if isinstance(value, list) else value for name, value in row["plan"].items()}
    return memcalc.train(row["model"], **plan)


@pytest.mark.parametrize("row", RECORD["rows"], ids=lambda row: row["id"])
def test_a_published_run_ends_as_it_did(row: dict[str, Any]) -> None:
    """A run that was out of memory does not fit, or may not; one that ran fits, or may not."""
    assert planned(row).verdict in OUTCOMES[row["outcome"]]


def test_what_is_recorded_says_where_it_stands() -> None:
    """Each row and what is left out have a source, and a date or a reason."""
    for row in (*RECORD["rows"], *RECORD["figures"]):
        assert row["source"].startswith("https://")
        assert row["date"]
    assert all(row["reason"] and row["source"].startswith("https://") for row in RECORD["left_out"])
    assert len({row["id"] for row in RECORD["rows"]}) == len(RECORD["rows"])


def test_figures_of_unsloth_follow_from_shapes() -> None:
    """78.3 and 2.5, in GiB: logits of two passes over 8 answers of 20 x 1,024 tokens, and one cache."""
    printed = {row["id"]: row["printed"] for row in RECORD["figures"]}
    step: Any = memcalc.train(
        LLAMA, method="grpo", seq=20481, completion_tokens=20480, micro_batch=8, reference="copy",
        regime="pure-bf16", recompute="full", rollout_engine="none",
    )  # fmt: skip
    lines = {line.name: line for line in step.device.lines}
    logits = lines["log-probabilities: kept"].bytes + lines["log-probabilities: kept"].bytes
    assert f"{logits / 2**30:.1f} GB" == printed["unsloth-logits"]
    cache = memcalc.serve(LLAMA, context=20480).cache_bytes
    assert f"{cache / 2**30:.1f} GB" == printed["unsloth-cache"]
