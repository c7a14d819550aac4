"""The record of adapters is what torch and PEFT say now: one step in twelve of it (`make record`)."""

from __future__ import annotations

import json

import adapter_cases
import pytest

RECORD = json.loads(adapter_cases.RECORDED.read_text(encoding="utf-8"))
CASES = [
    (name, number, case)
    for name, (cases, _) in adapter_cases.GROUPS.items()
    for number, case in enumerate(cases())
]


def test_everything_asked_is_recorded():
    """No more and no less, in this order."""
    said = [
        (name, step["config"], step["run"], *([step["base"]] if "base" in step else []))
        for name in adapter_cases.GROUPS
        for step in RECORD[name]
    ]
    assert said == [(name, fields, run.stated(), *words) for name, _, (fields, run, *words) in CASES]


@pytest.mark.parametrize(("name", "number", "case"), CASES[5::12])
def test_a_step_is_what_is_recorded(name, number, case):
    """Every moment."""
    _, asked = adapter_cases.GROUPS[name]
    assert json.loads(json.dumps(asked(*case))) == RECORD[name][number]
