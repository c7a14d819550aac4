"""A field that is absent, or null, means what it means to the class: tests/recorded/defaults.json.

One config of each type, published if possible; each of its fields left out, and set to null, as
tests/oracles/defaults.py asked transformers. Every change is counted; names and shapes of all tensors, tens
of thousands of a model with experts, are compared for one change in four, and for all of them with --full.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from itertools import groupby
from pathlib import Path
from zlib import crc32

import pytest

from memcalc.errors import BadInputError, MemcalcError
from memcalc.files.catalogue import catalogue, record
from memcalc.files.config_classes import config_class
from memcalc.files.readers import READERS, read
from memcalc.files.tensor_names import header
from memcalc.serving.engines import engine
from tests.changed_configs import WAYS, changed
from tests.published_fields import WITH_OTHER_FIELDS

FOLDER = Path(__file__).parent / "recorded"
ONE_IN = 4  # changes of which each tensor is compared
RECORDED, PUBLIC, RANDOM = (
    json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))["models"]
    for name in ("defaults", "models", "random")
)
# Where memcalc refuses by name and the class answers: what it builds could not run, or is no such model.
REFUSED = {
    "num_attention_heads": "heads that do not divide the width",
    "num_key_value_heads": "heads that do not divide the query heads, or that MLA has not",
    "num_experts_per_tok": "more experts a token than there are",
    "moe_topk": "more experts a token than there are",
    "moe_k": "more experts a token than there are",
    "text_config": "another text model than the tower belongs to",
    "vision_config": "another tower than the text model belongs to",
    "audio_config": "no audio tower, where the class makes one of its own",
    "hybrid_override_pattern": "no kinds of layers, where the class makes four whatever their number",
    "out_hidden_size": "a tower whose vectors are of another width than the text model's",
    "vision_use_head": "a head that no Gemma 3 has",
}
# The same, of one type alone.
REFUSED_OF_TYPE = {
    **{
        ("helium", field): "an output that is wider than the stream"
        for field in ("head_dim", "hidden_size", "num_attention_heads")
    },
    **{
        ("longcat_flash", field): "a head that is wider or narrower than the sum of its parts"
        for field in ("qk_rope_head_dim", "qk_nope_head_dim")
    },
    ("opt", "hidden_size"): "embeddings of another width than the stream's",
    **{
        (kind, f"{inside}num_attention_heads"): "heads of one number, which cannot be rotated"
        for kind, inside in (
            ("granitemoe", ""),
            ("glm4v_moe", "text_config."),
            ("glm_ocr", "text_config."),
            ("llava_next", "text_config."),
        )
    },
    ("gemma3n", "audio_config.conf_num_attention_heads"): "heads narrower together than what follows them",
    ("qwen2_vl", "vision_config.hidden_size"): "a tower whose vectors are of another width",
}
# Moonshot's own names of the tower's fields: transformers does not read them at all.
MOONSHOT = ("hidden_size", "intermediate_size", "num_hidden_layers", "pos_emb_height", "pos_emb_width")
# What the recorded version of transformers cannot do, and memcalc can.
BEYOND = {
    (
        "longcat_flash",
        "absent",
        "zero_expert_num",
    ): "it makes matrices for experts that compute nothing, which published files do not have",
    (
        "mistral3",
        "null",
        "text_config.num_key_value_heads",
    ): "transformers 4 took it for as many as query heads",
    (
        "llava_next",
        "null",
        "text_config.num_key_value_heads",
    ): "transformers 4 took it for as many as query heads",
    ("kimi_k25", "null", "text_config.q_lora_rank"): "its rules for names go wrong without a low rank",
    **{
        (kind, "null", "num_key_value_heads"): "transformers 4 took it for as many as query heads"
        for kind in ("glm", "mistral", "mixtral", "qwen2_moe")
    },
    **{("hunyuan_v1_dense", way, "head_dim"): "the class divides by it before it has one" for way in WAYS},
    ("ernie4_5_moe", "null", "num_key_value_heads"): "taken as in the dense class: as many as query heads",
    **{
        ("internvl", way, "tie_word_embeddings"): "files have a head of their own where the class ties one"
        for way in WAYS
    },
    ("phi3", "absent", "vocab_size"): "its padding token lies beyond the default vocabulary",
}


def config_of(model_type):
    """The whole config, as it was published or drawn."""
    name = RECORDED[model_type]["config_of"]
    return record(name).fields if name in catalogue() else (PUBLIC | RANDOM)[name]["config"]


def figures(fields, *, tensors=True):
    """What is recorded of transformers, as memcalc counts it; without its tensors if they are not asked."""
    model = read(fields)
    return {**figures_of(model), **({"tensors": tensors_of(model)} if tensors else {})}


@cache
def tensors_of(model):
    """One number for names and shapes of all tensors; most changes of a config leave the model as it was."""
    lines = sorted(f"{name} {'x'.join(map(str, shape))}" for name, shape in header(model).items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@cache
def figures_of(model):
    """What is counted of a model."""
    held = engine("transformers").prepare(model)
    attending = (
        part
        for layer in held.layers
        for part in [one for name, one in layer.parts if re.fullmatch(r"self_attn(\.\d)?", name)] or [None]
    )
    # what borrows keys and values keeps nothing, in a window or without one
    windows = [
        None if getattr(part, "borrows", False) else getattr(part, "window", None) for part in attending
    ]
    return {
        "parameters": model.parameters,
        "vision": model.vision_parameters,
        "active": model.active_parameters,
        "embedding": model.embedding_parameters,
        "tied": model.tied,
        "buffers": model.buffer_values,
        "windows": [f"{len(list(same))} x {window}" for window, same in groupby(windows)],
    }


def answer(fields, *, tensors):
    """Memcalc's figures, or its refusal."""
    try:
        return figures(fields, tensors=tensors)
    except BadInputError as refusal:
        return refusal


def test_every_type_was_asked():
    assert set(RECORDED) == set(READERS)
    assert sum(len(model[way]) for model in RECORDED.values() for way in WAYS) > 800


@pytest.mark.slow
@pytest.mark.parametrize("model_type", READERS)
def test_the_whole_config(model_type):
    assert figures(config_of(model_type)) == RECORDED[model_type]["whole"]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("model_type", READERS)
def test_a_field_that_is_not_there(model_type, way, request):
    """The class's number, or a refusal; where the class refuses, a refusal or a null that is not read."""
    recorded, fields = RECORDED[model_type], config_of(model_type)
    for place, said in recorded[way].items():
        if (model_type, way, place) in BEYOND:
            continue
        sampled = crc32(f"{model_type} {way} {place}".encode()) % ONE_IN == 0
        tensors = sampled or request.config.getoption("full")
        found = answer(changed(fields, place, way), tensors=tensors)
        whole = recorded["whole"] if said == "refused" else recorded["whole"] | said
        whole = whole if tensors else {key: value for key, value in whole.items() if key != "tensors"}
        if isinstance(found, BadInputError):
            no_model = found.field in REFUSED or (model_type, place) in REFUSED_OF_TYPE
            no_model = no_model or (model_type == "kimi_k25" and found.field in MOONSHOT)
            assert said == "refused" or no_model, (place, found)
        elif said != "refused":
            assert found == whole, place
        elif way == "null" and place not in config_class(model_type).defaults:
            absent = figures(changed(fields, place, "absent"), tensors=tensors)
            assert found in (whole, absent), place
        else:
            assert found == whole, place


@pytest.mark.parametrize(
    ("name", "field", "parameters"),
    [
        ("deepseek-ai/DeepSeek-R1", "q_lora_rank", 671_026_404_352),
        ("deepseek-ai/DeepSeek-V2-Lite", "q_lora_rank", 15_748_993_024),
        ("moonshotai/Kimi-K2-Instruct", "q_lora_rank", 1_026_408_209_408),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", "head_dim", 79_674_391_296),
    ],
)
def test_an_absent_field_takes_the_default_of_its_class(name, field, parameters):
    """1,536 and 256 numbers; null stays null: then queries of DeepSeek have no low rank."""
    fields = record(name).fields if name in catalogue() else PUBLIC[name]["config"]
    assert read({key: value for key, value in fields.items() if key != field}).parameters == parameters


def test_null_stays_null():
    """DeepSeek-R1 without low-rank queries, and a head_dim that Qwen3's class does not take."""
    fields = record("deepseek-ai/DeepSeek-R1").fields
    assert read({**fields, "q_lora_rank": None}).parameters == 678_797_831_680
    with pytest.raises(BadInputError, match="head_dim: expected another value than null"):
        read({**record("Qwen/Qwen3-8B").fields, "head_dim": None})


QWEN3 = record("Qwen/Qwen3-8B").fields


@pytest.mark.parametrize("value", [2, 128, True, [1], ["a"], {"a": 1}])
def test_what_may_change_memory_is_refused(value):
    """A field that the reader does not know: a size, a switch, a list, an object."""
    with pytest.raises(BadInputError, match="surprise: expected only fields that the reader of qwen3"):
        read({**QWEN3, "surprise": value})


@pytest.mark.parametrize("field", ["surprise", "num_surprises", "surprise_size"])
@pytest.mark.parametrize("value", [None, False, 0, 0.0, "", [], {}])
def test_none_says_nothing(field, value):
    """0, false and null are "none", in fields that look like sizes as well."""
    assert read({**QWEN3, field: value}) == read(QWEN3)


@pytest.mark.parametrize("value", ["2026.4.7", 1, -3, 0.5])
def test_texts_and_other_numbers_are_named(value):
    """They pass, and the model says that they were not read."""
    assert read({**QWEN3, "surprise": value}).not_read == (f"surprise {value!r}",)


def test_what_is_named_cannot_write_to_the_terminal():
    """A field of a downloaded file may have any name."""
    assert read({**QWEN3, "a\n\x1b[31mb": "c\n"}).not_read == (r"a\n\x1b[31mb 'c\n'",)


def test_a_field_at_its_default_never_refuses():
    """Whatever kind of value the class has there; nor is it named beside what the config has named."""
    for model_type in READERS:
        fields = config_of(model_type)
        named = read(fields).not_read
        defaults = config_class(model_type).defaults
        stated = {config_class(model_type).aliases.get(field, field) for field in fields}
        added = {key: value for key, value in defaults.items() if key not in stated and "config" not in key}
        for field, value in added.items():
            others = tuple(one for one in named if not one.startswith(f"{field} "))  # stated, it is read
            assert read({**fields, field: value}).not_read == others, (model_type, field)


def test_what_is_nested_is_named_and_refused_too():
    """By its path where it is named, as a tower has fields of the same names."""
    fields = record("google/gemma-3-27b-it").fields
    tower, text = (
        {**fields, name: {**fields[name], "surprise": "x"}} for name in ("vision_config", "text_config")
    )
    assert read(tower).not_read == ("vision_config.surprise 'x'",)
    assert read(text).not_read == ("surprise 'x'",)
    with pytest.raises(BadInputError, match="surprise"):
        read({**fields, "vision_config": {**fields["vision_config"], "surprise": 2}})


def test_two_names_of_one_field():
    """transformers 5 writes Qwen3-MoE's experts under another name; the two may not contradict each other."""
    fields = dict(record("Qwen/Qwen3-30B-A3B").fields)
    count = fields.pop("num_experts")
    assert read({**fields, "num_local_experts": count}) == read({**fields, "num_experts": count})
    both = {**fields, "num_experts": count, "num_local_experts": count}
    assert read(both).parameters == read({**fields, "num_experts": count}).parameters
    with pytest.raises(BadInputError, match="they are one field"):
        read({**both, "num_local_experts": 7})


def test_megatrons_arguments_have_no_class():
    """Nothing is known to be harmless there: a text may be a pattern of layers."""
    arguments = {"num_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "vocab_size": 100}
    arguments |= {"position_embedding_type": "rope"}
    assert read(arguments).depth == 2
    with pytest.raises(MemcalcError, match="hybrid_override_pattern"):
        read({**arguments, "hybrid_override_pattern": "M-M*"})


LLAMA = record("meta-llama/Meta-Llama-3.1-8B").fields
WRITTEN_BY_TOOLS = {  # real fields of public files, read 2026-11
    "Unsloth": (LLAMA, {"unsloth_fixed": True, "unsloth_version": "2026.4.7"}),
    "SmolLM2": (
        LLAMA,
        {"is_llama_config": True, "rope_interleaved": False, "transformers.js_config": {"a": 1}},
    ),
    "TheBloke": (LLAMA, {"max_sequence_length": 4096}),
    "Mistral, transformers 4.4x": (record("mistralai/Mistral-7B-v0.3").fields, {"head_dim": None}),
    "Qwen3-Coder-480B": (record("Qwen/Qwen3-30B-A3B").fields, {"shared_expert_intermediate_size": 0}),
    "gpt2-medium": (
        PUBLIC["openai-community/gpt2"]["config"],
        {"n_special": 0, "predict_special_tokens": True},
    ),
    "GLM-5.3 NVFP4": (record("zai-org/GLM-5").fields, {"num_experts": 256}),
    "GLM-5.2": (record("zai-org/GLM-5").fields, {"layer_types": ["deepseek_sparse_attention"] * 78}),
}


@pytest.mark.parametrize("who", WRITTEN_BY_TOOLS)
def test_what_tools_write_is_no_reason_to_refuse(who):
    """The same model as without it."""
    fields, written = WRITTEN_BY_TOOLS[who]
    assert figures({**fields, **written}) == figures(fields)


@pytest.mark.parametrize("who", WITH_OTHER_FIELDS)
def test_what_published_files_state_beside_the_shapes(who):
    """The number that the class builds; tests/oracles/test_defaults.py asks it."""
    parameters, fields, others = WITH_OTHER_FIELDS[who]
    assert read({**fields, **others}).parameters == (parameters or read(fields).parameters)
    assert not read({**fields, **others}).not_read


@pytest.mark.parametrize(
    ("who", "field", "value"),
    [
        ("Command R7B", "use_parallel_block", False),
        ("Command R7B", "use_gated_activation", False),
        ("Command R7B", "use_embedding_sharing", False),
        ("Command R7B", "layer_switch", 3),
        ("Falcon-11B", "ff_factor", 3),
        ("Falcon-H1", "mamba_use_mlp", False),
        ("Zamba2", "use_shared_mlp_adapter", False),
        ("EXAONE 4", "reorder_and_qk_norm", False),
        ("Hunyuan-A13B", "moe_topk", [8] * 31 + [4]),
        ("Hunyuan-A13B", "moe_topk", [8]),
        ("Hunyuan-A13B", "num_shared_expert", [1] * 31 + [2]),
        ("Hunyuan-A13B", "moe_intermediate_size", [3072] * 31 + [1536]),
        ("Hunyuan-A13B", "attention_head_dim", 64),
        ("Hunyuan-A13B", "use_cla", True),
    ],
)
def test_their_other_values_would_be_another_model(who, field, value):
    """The class passes over them; the files that state them would have other tensors."""
    _, fields, others = WITH_OTHER_FIELDS[who]
    with pytest.raises(BadInputError, match=field):
        read({**fields, **others, field: value})


def test_embedding_gemma_sees_half_of_its_window_on_each_side():
    _, fields, others = WITH_OTHER_FIELDS["EmbeddingGemma"]
    assert read(fields).layers[0].parts[0][1].window == 512
    assert read({**fields, **others}).layers[0].parts[0][1].window == 257
