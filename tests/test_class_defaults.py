"""A config that states nothing but its type, for every type of transformers that writes text.

tests/oracles/class_defaults.py asked each class what it builds. memcalc says the same, or refuses in one line
that names the field: nothing lies between the two.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from memcalc.__main__ import main
from memcalc.errors import MemcalcError
from memcalc.files.readers import INSIDE, READERS, read
from memcalc.files.tensor_names import header
from memcalc.serving import serve
from tests.test_recorded import cached, spelled

FOLDER = Path(__file__).parent / "recorded"
RECORDED = json.loads((FOLDER / "class_defaults.json").read_text(encoding="utf-8"))["models"]
LEAST = 103  # types that are answered when nothing is stated: more may come, none may go


def asked(name):
    """The model of a type with every size at its class's default, or the line that refuses it."""
    try:
        return read({"model_type": name}, "defaults")
    except MemcalcError as error:
        return str(error)


def figures_of(model, runs):
    """What the record says of a class, from the ledger."""
    lines = sorted(f"{name} {spelled(shape)}" for name, shape in header(model).items())
    found = {
        "parameters": model.parameters,
        "vision": model.vision_parameters,
        "active": model.active_parameters,
        "embedding": model.embedding_parameters,
        "tied": model.tied,
        "buffers": model.buffer_values,
        "tensors": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
    }
    return {**found, "cache": {run: cached(model, run) for run in runs}} if runs else found


@pytest.mark.slow
@pytest.mark.parametrize("name", RECORDED)
def test_equal_or_refused_by_name(name):
    """A class that cannot be asked has no figures to be equal to: its type is refused."""
    said, model = RECORDED[name], asked(name)
    if isinstance(model, str):
        assert len(model.splitlines()) == 1
        assert len(model) <= 300
        assert model.startswith("model_type: ") or name in READERS or name in INSIDE
    elif name in BEYOND:
        assert said["figures"]["parameters"] - model.parameters == BEYOND[name]
    elif "figures" in said:
        figures = said["figures"]
        assert figures_of(model, figures.get("cache", {})) == figures
    else:
        assert name in ELSEWHERE, said


# Types that are answered although their classes cannot be built when nothing is stated, and why that is so.
ELSEWHERE = {
    "hunyuan_v1_dense": "its head_dim is null, which the class does not fill in",
    "hunyuan_v1_moe": "its head_dim is null, which the class does not fill in",
    "nemotron": "its num_key_value_heads are null, which the class does not fill in",
}
# What the class of LongCat-Flash has and its published files have not: gate and up matrices for the 256
# experts that compute nothing. The published model has 560 billion parameters (arXiv:2509.01322).
BEYOND = {"longcat_flash": 28 * 256 * 2 * 2048 * 6144}


@pytest.mark.slow
def test_so_many_are_exact():
    exact = [name for name in RECORDED if not isinstance(asked(name), str)]
    assert len([name for name in exact if "figures" in RECORDED[name]]) >= LEAST


def test_what_was_not_asked_says_why():
    reasons = [why for said in RECORDED.values() for key, why in said.items() if key != "figures"]
    assert all(reasons)
    assert len(reasons) < len(RECORDED) / 2


@pytest.mark.parametrize(
    ("name", "engine", "why"),
    [
        ("mimo_v2_flash", "vllm", "expected keys and values of one width, given '192 and 128'"),
        ("longcat_flash", "transformers", "matrices for experts that compute nothing"),
    ],
)
def test_an_engine_that_keeps_something_else_is_refused(name, engine, why, tmp_path, capsys):
    """Another engine answers: LongCat-Flash's published size in vLLM, MiMo's own cache in transformers."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": name}), encoding="utf-8")
    with pytest.raises(MemcalcError, match=why):
        serve(path, context=64, engine=engine)
    assert main(["model", str(path), "--engine", engine]) == 2
    assert why in capsys.readouterr().err
    other = serve(path, context=64, engine="vllm" if engine == "transformers" else "transformers")
    sizes = {"longcat_flash": 560_664_958_976 + 28 * 768, "mimo_v2_flash": 308_778_768_832 + 47 * 256}
    assert other.model.parameters + other.model.buffer_values == sizes[name]
