"""Configs that somebody changed: an answer that can be, or one line that names the field; never a traceback.

Of each type that memcalc reads, published and drawn configs with one to three fields changed. What is
answered is held against transformers in tests/oracles/test_changed_configs.py.
"""

from __future__ import annotations

import json

import pytest

from memcalc.errors import RefusalError
from memcalc.files.readers import PUBLISHED, READERS, read
from memcalc.files.source import Source
from memcalc.serving import serve
from tests.changed_configs import PLANTED, known_configs, mutants, objects, planted

LONGEST = 300
TYPES = (*READERS, *PUBLISHED)
ENGINES = ("transformers", "vllm", "sglang", "llama.cpp")


@pytest.fixture(scope="session")
def each(pytestconfig):
    """How many configs of a type: 2,000 of all, or 20,000 with --full."""
    return -(-(20_000 if pytestconfig.getoption("full") else 2000) // len(TYPES))


def check_line(refusal):
    """A line that is read, and names the field, what was given and what to do."""
    line = str(refusal)
    assert line.isprintable()
    assert len(line) <= LONGEST
    assert refusal.field[:50] in line
    assert "expected" in line
    assert refusal.remedy


def check_model(model):
    """Nothing is counted as zero."""
    assert 0 < model.active_parameters <= model.parameters
    assert 0 < model.embedding_parameters <= model.parameters
    assert min(tensor.count for tensor in model.weights()) > 0
    assert all(tensor.count > 0 for tensor in model.cache(1, 1000))


def check_answer(fields, engine):
    """The config is answered, or refused; what an engine refuses is one line, too."""
    try:
        model = read(fields)
    except RefusalError as refusal:
        check_line(refusal)
        return False
    check_model(model)
    try:
        served = serve(Source("x", fields, "x"), context=1000, engine=engine)
    except RefusalError as refusal:
        check_line(refusal)
    else:
        assert served.weights_file_bytes > 0
        assert served.cache_bytes >= 0
    return True


@pytest.mark.parametrize("model_type", TYPES)
def test_a_changed_config_is_answered_or_refused_in_a_line(model_type, each):
    answered = 0
    for seed, fields in enumerate(mutants(model_type, each)):
        try:
            answered += check_answer(fields, ENGINES[seed % len(ENGINES)])
        except Exception as fault:
            fault.add_note(json.dumps(fields))
            raise
    assert answered >= each // 10, "hardly any is answered: nothing is tried"


@pytest.mark.parametrize("model_type", TYPES)
def test_a_field_that_nobody_knows_is_refused_by_its_name(model_type):
    """In the config, and in the configs inside of it, whatever else stands there."""
    fields = known_configs()[model_type][0]
    for path in objects(fields):
        for field, value in PLANTED.items():
            with pytest.raises(RefusalError, match=field) as refused:
                read(planted(fields, path, {field: value}))
            check_line(refused.value)
        with pytest.raises(RefusalError) as refused:
            read(planted(fields, path, PLANTED))
        check_line(refused.value)
        assert [one.field.rpartition(".")[2] for one in (refused.value, *refused.value.others)] == [*PLANTED]
