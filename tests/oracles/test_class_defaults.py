"""Every type of transformers that writes text, with nothing said but its name: what each class builds.

tests/test_class_defaults.py holds memcalc to the record: equal, or refused by name. Here some classes are
asked again, and tensors are compared name by name.
"""

from __future__ import annotations

import json
from pathlib import Path

import ask
import class_defaults
import pytest

from memcalc.errors import MemcalcError
from memcalc.files.readers import read
from memcalc.files.tensor_names import header

RECORD = Path(__file__).resolve().parents[1] / "recorded" / "class_defaults.json"
RECORDED = json.loads(RECORD.read_text(encoding="utf-8"))["models"]


def is_answered(name):
    """Whether memcalc reads the class with its defaults alone; what it refuses is held by the record."""
    try:
        read(class_defaults.config(name))
    except MemcalcError:
        return False
    return True


# What the class of LongCat-Flash has and its published files have not: gate and up matrices for the 256
# experts that compute nothing. An estimate for transformers is refused for them.
BEYOND = {
    "longcat_flash": {
        f"model.layers.{layer}.mlp.experts.{expert}.{half}_proj.weight": (2048, 6144)
        for layer in range(28)
        for expert in range(512, 768)
        for half in ("gate", "up")
    }
}
ANSWERED = [name for name, said in RECORDED.items() if "figures" in said and is_answered(name)]


@pytest.mark.sampled(13)  # what is recorded of them all is asked in test_record.py
@pytest.mark.parametrize("name", ANSWERED)
def test_a_class_with_its_own_defaults(name):
    """The class is built on the meta device, at the size that it has when nothing is stated."""
    fields = class_defaults.config(name)
    assert header(read(fields)) | BEYOND.get(name, {}) == ask.tensors(ask.on_meta(fields))
