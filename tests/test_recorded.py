"""memcalc says what transformers said when it was asked: tests/recorded, by tools/record_oracles.py."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest

from memcalc.files.catalogue import catalogue, record
from memcalc.files.readers import READERS, read
from memcalc.files.tensor_names import header
from memcalc.ledger.model import everything
from memcalc.serving import serve
from memcalc.serving.engines import engine
from memcalc.serving.engines.compressed import is_compressed, keeping
from memcalc.serving.engines.states import has_states

FOLDER = Path(__file__).parent / "recorded"
ENGINE = engine("transformers")
KEPT = ENGINE.kept


def load(name):
    """A record's models, whoever was asked in whichever version."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))["models"]


CATALOGUE, PUBLIC, RANDOM, ROPE = map(load, ("catalogue", "models", "random", "rope"))
CASES = (
    [pytest.param(record(name).fields, figures, id=name) for name, figures in CATALOGUE.items()]
    + [
        pytest.param(model["config"], model["figures"], id=f"{name}, public")
        for name, model in PUBLIC.items()
    ]
    + [pytest.param(model["config"], model["figures"], id=name) for name, model in RANDOM.items()]
)

BYTES = {"fp32": 4, "int64": 8}


def spelled(shape):
    """A shape as the records write it."""
    return "x".join(map(str, shape))


def attention_of(name):
    """Which attention of a layer a cached tensor belongs to: LongCat's layers have two, cached one by one."""
    half = name.split(".")[1]
    return half if half.isdecimal() else ""


def cached(model, run):
    """What `model` keeps of so many sequences and tokens under transformers' rule for windows.

    transformers writes MLA's latent and rotated key as the keys and values of a single head.
    """
    batch, context = map(int, run.split(" x "))
    model = keeping(ENGINE.prepare(model), "now")
    layers = []
    for layer in model.layers:
        every = {tensor.name: tensor.stored_shape for tensor in layer.cache(batch, context, KEPT)}
        for _, names in groupby(every, attention_of):
            shapes = {name: every[name] for name in names}
            one_head = {name for name in shapes if name.endswith((".latent", ".rotated_key"))}
            one_head |= {
                name for name in ("self_attn.keys", "self_attn.values") if len(shapes.get(name, ())) == 3
            }
            shapes |= {name: (batch, 1, *shapes[name][1:]) for name in one_head}
            layers.append(" ".join(map(spelled, shapes.values())))
        if not every:
            layers.append("")
    held = ENGINE.cache(model, batch, context, ENGINE.defaults)
    total = sum(BYTES.get(tensor.format, 2) * tensor.count for tensor in held)
    return {"bytes": total, "layers": [f"{len(list(equal))} x {shapes}" for shapes, equal in groupby(layers)]}


@pytest.mark.slow
@pytest.mark.parametrize(("config", "figures"), CASES)
def test_equals_what_transformers_said(config, figures):
    """Counts, every tensor's name and shape as the family's checkpoints have them, every layer's cache."""
    model = read(config, "recorded")
    lines = [f"{name} {spelled(shape)}" for name, shape in header(model).items()]
    said = {
        "parameters": model.parameters,
        "vision": model.vision_parameters,
        "active": model.active_parameters,
        "embedding": model.embedding_parameters,
        "tied": model.tied,
        "buffers": model.buffer_values,
        "tensors": hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest(),
        "cache": {run: cached(model, run) for run in figures["cache"]},
    }
    if "in_short" in figures:  # small models: a difference can be read
        said["in_short"] = dict(Counter(re.sub(r"\.\d+\.", ".*.", line) for line in lines))
    assert said == figures


def test_every_model_was_asked():
    """The whole catalogue, small configs of every type, and no public config without source and date."""
    kinds = Counter(model["config"]["model_type"] for model in RANDOM.values())
    assert set(kinds) == set(READERS)
    assert min(kinds.values()) >= 4
    assert set(CATALOGUE) == set(catalogue())
    assert all(model["source"] and model["date"] for model in PUBLIC.values())


def test_what_was_asked_of_small_models_is_in_no_other_size():
    """Published and small models share lengths; small ones were also asked before and in their windows."""
    for model in (*CATALOGUE.values(), *(model["figures"] for model in PUBLIC.values())):
        assert set(model["cache"]) == {"1 x 64", "1 x 128"}
    for model in RANDOM.values():
        assert set(model["figures"]["cache"]) == {"1 x 7", "2 x 64", "1 x 128", "3 x 200"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tie_word_embeddings", True),
        ("attention_bias", True),
        ("mlp_bias", True),
        ("use_sliding_window", True),
        ("q_lora_rank", None),
        ("first_k_dense_replace", 0),
        ("decoder_sparse_step", 1),
        ("mlp_only_layers", []),
        ("n_shared_experts", 1),
    ],
)
def test_the_small_configs_cover_an_option(field, value):
    """With it and without it; a record without windows, biases or low ranks would show little."""
    having = [model["config"][field] == value for model in RANDOM.values() if field in model["config"]]
    assert any(having)
    assert not all(having)
    assert field in {"mlp_bias", "q_lora_rank"} or len(having) < len(RANDOM)


def test_the_small_configs_have_heads_of_their_own_width():
    """head_dim other than width / heads, and a field left out that the class fills in."""
    configs = [model["config"] for model in RANDOM.values() if model["config"]["model_type"] != "deepseek_v3"]
    own = [config for config in configs if "head_dim" in config]
    assert any(config["head_dim"] * config["num_attention_heads"] != config["hidden_size"] for config in own)
    assert any("head_dim" not in config for config in configs)
    assert any("num_key_value_heads" not in config for config in configs)
    assert any("layer_types" in config for config in configs)


def test_windows_end_before_the_recorded_lengths():
    """In the record there is a layer that keeps less than the tokens seen, and one that keeps all of them."""
    plain = (model for model in RANDOM.values() if not is_compressed(read(model["config"])))
    tokens = [model for model in plain if not has_states(read(model["config"]))]
    shorter = [model for model in tokens if read(model["config"]).cache(1, 200, everything)]
    lengths = {
        int(layer.split("x")[3].strip())
        for model in shorter
        for layer in model["figures"]["cache"]["3 x 200"]["layers"]
        if "x" in layer.partition(" x ")[2]  # not those that borrow the keys and values of another one
    }
    assert 200 in lengths
    assert min(lengths) < 64


@pytest.mark.parametrize("kind", ["default", "linear", "dynamic", "yarn", "longrope", "llama3"])
def test_rope_scaling_costs_512_bytes_and_no_cache(kind):
    """64 frequencies for heads 128 wide, 4 bytes each, kept twice, whatever the kind."""
    said = ROPE[kind]
    assert sum(said["buffers"].values()) == 2 * 64 * 4 == 512
    assert said["cache_bytes"] == ROPE["default"]["cache_bytes"]


@pytest.mark.parametrize(("scaling", "positions", "mebibytes"), [(None, 32_768, 8), ("yarn", 131_072, 32)])
def test_the_table_of_vllm_grows_with_the_positions(scaling, positions, mebibytes, tmp_path):
    """8 MiB become 32 MiB: positions x 128 x 2 B (vLLM's cos_sin_cache; tests/oracles/test_rope.py)."""
    fields = {**record("Qwen/Qwen3-32B").fields, "max_position_embeddings": positions}
    if scaling:
        fields["rope_scaling"] = {
            "rope_type": scaling,
            "factor": 4.0,
            "original_max_position_embeddings": 32_768,
        }
    path = tmp_path / "config.json"
    path.write_text(json.dumps(fields), encoding="utf-8")
    serving = serve(str(path), context=16, engine="vllm", on="h100-80g")
    lines = [line for pool in serving.budget.pools for line in pool.lines]
    tables = [line.bytes for line in lines if line.name == "rotary table"]
    assert tables == [mebibytes * 2**20]
