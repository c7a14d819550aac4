"""What stands at the end of every class in transformers: no head, or one of labels."""

from __future__ import annotations

from collections import Counter

import ask
import pytest
import torch
import transformers
from small import DRAWN, small_config
from transformers.models.auto import modeling_auto

from memcalc.files.readers import read
from memcalc.files.tensor_names import header

TASKS = {
    "MODEL": {},
    "MODEL_FOR_SEQUENCE_CLASSIFICATION": {"num_labels": 5},
    "MODEL_FOR_TOKEN_CLASSIFICATION": {"id2label": {"0": "a", "1": "b", "2": "c"}},
    "MODEL_FOR_QUESTION_ANSWERING": {"num_labels": 4},
}


def class_for(task, model_type):
    found = getattr(modeling_auto, f"{task}_MAPPING_NAMES").get(model_type)
    return found[0] if isinstance(found, tuple) else found


CASES = [(task, kind) for task in TASKS for kind in DRAWN if class_for(task, kind)]


def on_meta(fields):
    with torch.device("meta"):
        config = ask.config_of(fields)
        return getattr(transformers, fields["architectures"][0])(config)


@pytest.mark.sampled
@pytest.mark.parametrize(("task", "kind"), CASES)
def test_as_its_class_has_it(task, kind):
    """Every shape as often as in the class, and its head's names."""
    fields = small_config(kind, 1) | TASKS[task] | {"architectures": [class_for(task, kind)]}
    try:
        written = ask.tensors(on_meta(fields))
    except TypeError:  # a class that cannot be built from its own defaults
        pytest.skip("transformers cannot build it")
    found = header(read(fields))
    assert Counter(found.values()) == Counter(written.values())
    ends = ("score.", "classifier.", "qa_outputs.", "lm_head.")
    heads = [{name for name in names if name.startswith(ends)} for names in (found, written)]
    assert heads[0] == heads[1]
    assert bool(heads[0]) is (task != "MODEL")
