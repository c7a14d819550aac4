"""The record of adapters is what torch and PEFT say now: one step in nine of each group (`make record`)."""

from __future__ import annotations

import json

import adapter_cases
import pytest

RECORD = json.loads(adapter_cases.RECORDED.read_text(encoding="utf-8"))
CASES = [
    (name, number, *case)
    for name, (cases, _) in adapter_cases.GROUPS.items()
    for number, case in enumerate(cases())
]


def test_everything_asked_is_recorded():
    said = [(name, step["config"], step["run"]) for name in adapter_cases.GROUPS for step in RECORD[name]]
    asked = [(name, fields, run.stated()) for name, _, fields, run in CASES]
    assert said == json.loads(json.dumps(asked), object_hook=None) or said == asked


@pytest.mark.parametrize(("name", "number", "fields", "run"), CASES[4::9])
def test_a_step_is_what_is_recorded(name, number, fields, run):
    _, asked = adapter_cases.GROUPS[name]
    assert json.loads(json.dumps(asked(fields, run))) == RECORD[name][number]
