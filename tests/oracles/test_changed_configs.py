"""What memcalc answers of a config that somebody changed is what the class counts, names and keeps."""

from __future__ import annotations

import json
import math

import ask
import pytest
from defaults import REFUSALS
from small import seeds, small_config
from test_cache import expected
from test_tensors import listed

from memcalc.errors import RefusalError
from memcalc.files.config_classes import config_class
from memcalc.files.readers import READERS, read
from tests.changed_configs import inside, mutated, objects, planted, words_of

RUNS = ((1, 7), (2, 130))  # sequences x tokens: before, in and after most windows
MOST_LAYERS = 40  # more of them are listed as these are, and take minutes to build
ANSWERED = 500


def counted(model):
    """The figures of `ask.counts`."""
    return {
        "parameters": model.parameters,
        "vision": model.vision_parameters,
        "active": model.active_parameters,
        "embedding": model.embedding_parameters,
        "tied": model.tied,
        "buffers": model.buffer_values,
    }


def built(fields):
    """The class's model, on the meta device; None where the class refuses."""
    try:
        model = ask.on_meta(fields)
    except REFUSALS:
        return None
    for config in (model.config, model.config.get_text_config()):
        config._experts_implementation = "batched_mm"  # grouped_mm wants widths that are multiples of 16
    return model


def kept(model):
    """The shapes that the class keeps of each run; none where its forward pass cannot run."""
    try:
        return {run: ask.shapes_held(ask.run(model, *run)) for run in RUNS}
    except (*REFUSALS, NameError, NotImplementedError):
        return {}


def check(fields):
    """Hold memcalc to the class; False where one of the two refuses, and nothing can be compared."""
    try:
        model = read(fields)
    except RefusalError:
        return False
    said = built(fields) if len(model.layers) <= MOST_LAYERS else None
    if said is None:
        return False
    counts, names = ask.counts(said), ask.tensors(said)
    if fields["model_type"] == "longcat_flash":
        counts, names = without_idle_experts(fields, counts, names)
    assert counted(model) == counts
    assert listed(fields) == names
    for (batch, tokens), shapes in kept(said).items():
        assert expected(fields, batch, tokens) == shapes, (batch, tokens)
    return True


def without_idle_experts(fields, counts, names):
    """As the files have it: the class of LongCat-Flash has matrices for experts that compute nothing, too."""
    first = read(fields).layers[0].parts[-1][1].experts
    idle = {
        name
        for name in names
        if ".experts." in name and int(name.split(".experts.")[1].split(".")[0]) >= first
    }
    more = sum(math.prod(names[name]) for name in idle)
    left = {name: shape for name, shape in names.items() if name not in idle}
    return {**counts, "parameters": counts["parameters"] - more}, left


@pytest.mark.sampled(2)  # half of the types: about 60; with --full all of them, and 500 answers
@pytest.mark.parametrize("model_type", READERS)
def test_a_changed_config_is_counted_as_the_class_does(model_type, pytestconfig):
    wanted = -(-ANSWERED // len(READERS)) if pytestconfig.getoption("full") else 1
    compared = seed = 0
    while compared < wanted:
        fields = mutated(small_config(model_type, seed % len(seeds(model_type))), f"{model_type} {seed}")
        seed += 1
        assert seed < 20 * wanted + 20, "hardly any is answered: nothing is compared"
        try:
            compared += check(fields)
        except Exception as fault:
            fault.add_note(json.dumps(fields))
            raise


def declared_changes(fields):
    """(path, field, value): declared fields of each object of a config, at other values than before."""
    for path in objects(fields):
        place = inside(fields, path)
        known = config_class(place.get("model_type", fields["model_type"] if not path else ""))
        for field, default in known.defaults.items() if known else ():
            stated = place.get(field, default)
            for value in others(field, stated):
                if value != stated or type(value) is not type(stated):
                    yield path, field, value


def others(field, value):
    """Other values that a field may have: the other switch, sizes, words that it has elsewhere."""
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int):
        return (value + 1, value * 2, 1, 0)
    if value is None:
        return (True, 2, *words_of(field))
    return words_of(field) if isinstance(value, str) else ()


def differs(fields, changes):
    """Yield the changes after which the class has other tensors or windows: all at once, then by halves."""
    changed = fields
    for path, field, value in changes:
        changed = planted(changed, path, {field: value})
    if not changes or same(fields, changed):
        return
    if len(changes) == 1:
        if built(changed) is not None:
            yield changes[0]
        return
    middle = len(changes) // 2
    yield from differs(fields, changes[:middle])
    yield from differs(fields, changes[middle:])


def same(fields, changed):
    """Whether the class makes the same of two configs; a refusal is not the same."""
    one, other = built(fields), built(changed)
    if other is None or ask.tensors(one) != ask.tensors(other) or ask.counts(one) != ask.counts(other):
        return False
    return kept(other) in ({}, kept(one))  # some values build a model that cannot run


@pytest.mark.sampled(29)
@pytest.mark.parametrize("model_type", READERS)
def test_a_declared_field_that_changes_memory_never_passes_unnoticed(model_type):
    """Each field that the class declares, changed: refused, or counted as the class does."""
    fields = small_config(model_type, 1)
    plain, silent = read(fields), []
    for path, field, value in declared_changes(fields):
        changed = planted(fields, path, {field: value})
        try:
            model = read(changed)
        except RefusalError:
            continue
        parts = [(one.layers, one.vision) for one in (model, plain)]
        if parts[0] == parts[1] and counted(model) == counted(plain):
            silent.append((path, field, value))
        else:
            try:
                check(changed)
            except AssertionError as fault:
                fault.add_note(f"{field} {value!r} of {json.dumps(changed)}")
                raise
    fields_of = {field for _, field, _ in silent}
    rounds = [[one for one in silent if one[1] == field] for field in sorted(fields_of)]
    for number in range(max(map(len, rounds), default=0)):  # a value of each field at a time
        assert list(differs(fields, [one[number] for one in rounds if number < len(one)])) == []
