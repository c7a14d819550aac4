"""What torch holds in training small models of every type with a program: the record, live."""

from __future__ import annotations

import json
from pathlib import Path

import program_cases as cases
import pytest
import train_methods

RECORDED = Path(__file__).resolve().parents[1] / "recorded"
PROGRAMS = json.loads((RECORDED / "programs.json").read_text(encoding="utf-8"))
STEPS, PUBLISHED, ALONE = PROGRAMS["steps"], PROGRAMS["published"], PROGRAMS["without a graph"]
LAST, FURTHER = PROGRAMS["states last"], PROGRAMS["further"]
METHODS = json.loads((RECORDED / "methods.json").read_text(encoding="utf-8"))["steps"]
UPDATES = [*train_methods.cases()]
RUNS = {f"{kind} {step['kind']} {step['seed']}": (kind, step) for kind in STEPS for step in STEPS[kind]}


def plain(value):
    """As it stands in a file."""
    return json.loads(json.dumps(value))


def test_every_type_is_recorded():
    assert [*STEPS] == [*cases.TYPES]


@pytest.mark.parametrize("kind", cases.TYPES)
def test_configs_and_runs_are_those_of_the_record(kind):
    said = [(one["seed"], one["kind"], one["config"], one["run"]) for one in STEPS[kind]]
    drawn = [
        (seed, name, cases.config(kind, seed), run.stated())
        for seed in cases.SEEDS
        for name, run in cases.runs(kind, seed).items()
    ]
    assert [*map(list, said)] == plain(drawn)


@pytest.mark.sampled(151)
@pytest.mark.parametrize("name", RUNS)
def test_a_step_holds_what_is_recorded(name):
    kind, step = RUNS[name]
    run = cases.runs(kind, step["seed"])[step["kind"]]
    assert plain(cases.moments(step["config"], run)) == step["moments"]


def test_models_of_the_record_are_those_that_are_asked():
    said = [(one["name"], one["kind"], one["config"], one["run"]) for one in PUBLISHED]
    drawn = [
        (name, kind, cases.published(name), run.stated())
        for name in cases.PUBLISHED
        for kind, run in cases.published_runs(name).items()
    ]
    assert [*map(list, said)] == plain(drawn)


@pytest.mark.sampled(17)
@pytest.mark.parametrize("number", range(len(PUBLISHED)))
def test_a_step_of_few_layers_holds_what_is_recorded(number):
    step = PUBLISHED[number]
    run = cases.published_runs(step["name"])[step["kind"]]
    assert plain(cases.moments(step["config"], run)) == step["moments"]


def test_further_cases_are_those_of_the_record():
    said = [(one["name"], one["seed"], one["config"], one["run"]) for one in FURTHER]
    drawn = [(name, seed, fields, run.stated()) for name, seed, fields, run in cases.further()]
    assert [*map(list, said)] == plain(drawn)


@pytest.mark.sampled(17)
@pytest.mark.parametrize("number", range(len(FURTHER)))
def test_a_further_step_holds_what_is_recorded(number):
    step, (_, _, _, run) = FURTHER[number], [*cases.further()][number]
    assert plain(cases.moments(step["config"], run)) == step["moments"]


@pytest.mark.sampled(17)
@pytest.mark.parametrize("number", range(len(LAST)))
def test_a_step_whose_last_layers_keep_a_state_holds_what_is_recorded(number):
    step = LAST[number]
    fields, run = cases.states_last(step["name"]), cases.states_last_runs(step["name"])[step["kind"]]
    assert plain([fields, run.stated()]) == [step["config"], step["run"]]
    assert plain(cases.moments(fields, run)) == step["moments"]


@pytest.mark.sampled(17)
@pytest.mark.parametrize("number", range(len(ALONE)))
def test_a_layer_with_a_state_takes_forward_what_is_recorded(number):
    said = ALONE[number]
    fields, run = cases.config(said["name"], said["seed"]), cases.runs(said["name"], said["seed"])["plain"]
    assert plain([fields, run.stated()]) == [said["config"], said["run"]]
    assert cases.without_a_graph(fields, run) == said["bytes"]


@pytest.mark.sampled(151)
@pytest.mark.parametrize("name", [str(number) for number in range(len(METHODS))])
def test_a_step_of_a_method_holds_what_is_recorded(name):
    assert plain(train_methods.recorded(*UPDATES[int(name)])) == METHODS[int(name)]
