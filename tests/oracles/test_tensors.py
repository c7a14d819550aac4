"""Every tensor that memcalc lists is one of transformers' state dict, and the other way round."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import ask
import pytest
import torch
from safetensors import safe_open
from small import DRAWN, SEEDS, seeds, small_config

from memcalc.files.catalogue import catalogue, record
from memcalc.files.config import Config
from memcalc.files.config_classes import config_class, harmless_fields
from memcalc.files.readers import READERS, read
from memcalc.files.tensor_names import header

RECORDED = Path(__file__).resolve().parents[1] / "recorded"
PUBLIC = json.loads((RECORDED / "models.json").read_text(encoding="utf-8"))["models"]
SMALL = {f"{kind} {seed}": small_config(kind, seed) for kind in DRAWN for seed in seeds(kind)}
PUBLISHED = {
    **{name: record(name).fields for name in catalogue()},
    **{f"{name}, public": model["config"] for name, model in PUBLIC.items()},
}
CONFIGS = PUBLISHED | SMALL
WINDOWED = {"qwen2", "qwen3", "qwen3_moe"}
SPARSE = [name for name, fields in SMALL.items() if read(fields).active_parameters < read(fields).parameters]


def listed(fields):
    """The names and shapes that memcalc lists; a name that stood twice would hide a tensor."""
    model = read(fields)
    each = Counter(tensor.name for tensor in model.each_weight())
    assert not [name for name, times in each.items() if times > 1]
    return header(model)


def test_every_reader_is_asked():
    assert set(DRAWN) == set(READERS)


@pytest.mark.sampled
@pytest.mark.parametrize("name", CONFIGS)
def test_lists_the_tensors_of_the_state_dict(name):
    """Name by name, shape by shape; the class's own rules write them as checkpoints do (`ask.tensors`)."""
    assert listed(CONFIGS[name]) == ask.tensors(ask.on_meta(CONFIGS[name]))


@pytest.mark.sampled
@pytest.mark.parametrize("name", SMALL)
def test_lists_the_tensors_of_a_saved_checkpoint(name, tmp_path):
    """`save_pretrained` writes names and shapes by itself, without `ask.tensors`: one matrix an expert."""
    model = ask.in_memory(SMALL[name])
    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        keys, kind = list(file.keys()), SMALL[name]["model_type"]
        written = {ask.as_published(key, kind): tuple(file.get_slice(key).get_shape()) for key in keys}
    assert listed(SMALL[name]) == ask.in_published_sizes(model.config, written)


@pytest.mark.sampled
@pytest.mark.parametrize("name", CONFIGS)
def test_counts_the_same(name):
    """Parameters with tied ones once, those that a token uses, the embedding, the buffers."""
    model = read(CONFIGS[name])
    assert {
        "parameters": model.parameters,
        "vision": model.vision_parameters,
        "active": model.active_parameters,
        "embedding": model.embedding_parameters,
        "tied": model.tied,
        "buffers": model.buffer_values,
    } == ask.counts(ask.on_meta(CONFIGS[name]))


@pytest.mark.sampled
@pytest.mark.parametrize("name", SPARSE)
def test_active_parameters_are_those_with_a_gradient(name):
    """One token goes through a real model and back: experts that it did not use have no gradient."""
    model = ask.in_memory(SMALL[name], torch.float32)
    assert read(SMALL[name]).active_parameters == ask.touched(model)


# What a class declares and passes over, and memcalc refuses all the same.
REFUSED_ALL_THE_SAME = {
    "mlp_bias": "DeepSeek-V3.2's and GLM-5's published code would have a bias there",
    **dict.fromkeys(
        ("mamba_chunk_size", "mamba_conv_bias", "mamba_d_conv", "mamba_expand", "mamba_n_groups"),
        "other names of Nemotron-H's fields, which may contradict them",
    ),
    "moe_apply_router_weight_on_input": "the class of Laguna has no answer",
    "num_mtp_layers": "layers that predict further tokens, which the class of Mellum leaves out",
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("model_type", DRAWN)
def test_no_declared_field_is_refused_for_nothing(model_type):
    """Of the fields that a class declares and the reader leaves, each that is refused changes something.

    What may stand there is asked of the class; a value that shapes no tensor is no reason to refuse.
    """
    fields, declared = SMALL[f"{model_type} 0"], config_class(model_type).defaults
    unread = set(declared) - harmless_fields() - read_fields(fields) - REFUSED_ALL_THE_SAME.keys()
    for field in sorted(unread):
        for odd in (2, True):
            changed = fields | {field: odd}
            if not ask.configures(changed) or not ask.accepts(changed):
                continue
            if described_tensors(changed) == described_tensors(fields):
                assert ask.windows(changed) != ask.windows(fields) or read(changed), (field, odd)


# Fields of which a class wants words, lists or mappings: an odd number says nothing there.
NO_NUMBERS = frozenset(
    [
        "architectures", "auto_map", "bad_words_ids", "dtype", "finetuning_task", "hidden_act",
        "hidden_activation", "id2label",
        "kv_cache_scheme", "label2id", "model_type", "name_or_path", "_name_or_path", "prefix",
        "projector_hidden_act", "time_step_limit",
        "problem_type", "pruned_heads", "quantization_config", "rope_parameters", "rope_scaling",
        "scoring_func", "summary_activation", "summary_type", "task_specific_params",
        "tokenizer_class", "topk_method", "torch_dtype",
        "transformers_version",
    ]
)  # fmt: skip
# Harmless fields that a class never builds with, whatever stands there: what it says of them.
NEVER_BUILT_WITH = {
    "iquestcoder": {"clip_qkv": "does not support `clip_qkv`"},
    "diffllama": {"attention_dropout": "does not support `attention_dropout > 0`"},
}
# What a config needs so that its class takes the odd number of a harmless field: as many groups, at least.
ROOM = {"axk2": {"n_group": 6}}


def read_fields(fields):
    """The fields that memcalc's reader looks at, under each of their names."""
    model_type = fields["model_type"]
    config = Config(fields, config_class(model_type), read_model=read)
    READERS[model_type](config, "any")
    return config.read | {other for other, name in config.aliases.items() if name in config.read}


def differences(fields, names, odd):
    """Yield (field, what differs) for fields that are given an odd value; a refused one differs in None.

    All are changed at once. Where that is refused, or changes something, each half is asked again: a few
    models are built instead of one for each field, and no field is passed over.
    """
    if not names:
        return
    changed = fields | dict.fromkeys(names, odd)
    found = ask.accepts(changed) and [
        what for what in (described_tensors, ask.windows) if what(changed) != what(fields)
    ]
    if found == []:
        return
    if len(names) > 1:
        middle = len(names) // 2
        yield from differences(fields, names[:middle], odd)
        yield from differences(fields, names[middle:], odd)
    else:
        yield names[0], found or None


def taken_by_its_config(fields, names, odd):
    """The names that the configuration class takes at an odd value: asked together, then by halves."""
    if ask.configures(fields | dict.fromkeys(names, odd)):
        return names
    middle = len(names) // 2
    halves = (names[:middle], names[middle:]) if middle else ()
    return [name for half in halves for name in taken_by_its_config(fields, half, odd)]


def described_tensors(fields):
    return ask.tensors(ask.on_meta(fields))


def cannot_be_set(kind, field):
    """Whether a field is a property of the class that only says what other fields say."""
    found = getattr(kind, field, None)
    return isinstance(found, property) and found.fset is None


@pytest.mark.sampled
@pytest.mark.parametrize("model_type", DRAWN)
def test_harmless_fields_change_nothing(model_type):
    """What memcalc passes over without reading changes no tensor and no window of transformers."""
    fields = next(
        config
        for seed in SEEDS
        for config in [SMALL[f"{model_type} {seed}"]]
        if config.get("use_sliding_window") or model_type not in WINDOWED
    )
    fields, kind = fields | ROOM.get(model_type, {}), type(ask.config_of(fields))
    names = sorted(
        (
            field
            for field in harmless_fields() - NO_NUMBERS - read_fields(fields)
            if not cannot_be_set(kind, field)
        ),
        key=lambda field: (not hasattr(kind, field), field),  # what no class knows is taken all at once
    )
    never = NEVER_BUILT_WITH.get(model_type, {})
    refused = dict.fromkeys(names, 0)
    for odd in (3, 0.5, True):
        taken = taken_by_its_config(fields, names, odd)
        different = dict(differences(fields, taken, odd))
        for field in names:
            assert different.get(field) is None, (field, odd)
            refused[field] += field not in taken or field in different
    assert [field for field, times in refused.items() if times == 3] == list(never)
    for field, said in never.items():
        with pytest.raises(ask.REFUSALS, match=said):
            ask.build(ask.key_of(fields | {field: 0.5}))
