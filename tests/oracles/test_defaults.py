"""What is recorded of transformers' configuration classes is what they declare now."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import ask
import defaults
import pytest

from memcalc.files.readers import read
from memcalc.files.tensor_names import header
from tests.published_fields import WITH_OTHER_FIELDS

ROOT = Path(__file__).resolve().parents[2]
RECORDED = json.loads((defaults.RECORDED / "defaults.json").read_text(encoding="utf-8"))["models"]
CASES = [
    (model_type, way, place)
    for model_type, (_, fields) in defaults.configs().items()
    for way in defaults.WAYS
    for place in defaults.places(fields)
]


@pytest.fixture(scope="module")
def script():
    """tools/model_defaults.py"""
    path = ROOT / "tools" / "model_defaults.py"
    spec = importlib.util.spec_from_file_location("model_defaults", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def test_the_file_is_what_the_classes_declare(script):
    """Defaults, what may be null, other names, and what the base class passes over."""
    said = script.lines()
    recorded = [json.loads(line) for line in script.RECORD.read_text(encoding="utf-8").splitlines()]
    for lines in said, recorded:
        assert lines[0].pop("date")
    assert recorded == said, "run `make defaults` and look at the difference"


def test_every_field_of_a_config_of_every_type_is_recorded():
    asked = [
        (model_type, way, place)
        for model_type in RECORDED
        for way in defaults.WAYS
        for place in RECORDED[model_type][way]
    ]
    assert sorted(asked) == sorted(CASES), "run `make record`"


@pytest.mark.sampled(71)  # all of them take minutes
@pytest.mark.parametrize(("model_type", "way", "place"), CASES)
def test_a_field_that_is_not_there(model_type, way, place):
    """Absent, or null."""
    name, fields = defaults.configs()[model_type]
    recorded = RECORDED[model_type]
    assert recorded["config_of"] == name
    assert defaults.difference(recorded["whole"], fields, place, way) == recorded[way][place]


@pytest.mark.parametrize("who", WITH_OTHER_FIELDS)
def test_what_published_files_state_beside_the_shapes(who):
    """The class builds the same with these fields as without, and the recorded number of parameters."""
    parameters, fields, others = WITH_OTHER_FIELDS[who]
    whole = fields | others
    assert ask.tensors(ask.on_meta(whole)) == ask.tensors(ask.on_meta(fields)) == header(read(whole))
    counted = sum(item.numel() for _, item in ask.text_parameters(ask.on_meta(whole)))
    assert counted == (parameters or read(fields).parameters)


def test_embedding_gemma_sees_half_of_its_window_on_each_side():
    _, fields, others = WITH_OTHER_FIELDS["EmbeddingGemma"]
    windows = [layer.parts[0][1].window for layer in read(fields | others).layers]
    assert set(windows) == {257, None}
    assert ask.windows(fields | others) == windows
