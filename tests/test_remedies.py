"""What a refusal says to do works: engines that it names answer, parts that it offers are read."""

from __future__ import annotations

import json
import re

import pytest

from memcalc.errors import MemcalcError
from memcalc.files import Source, stored_weights
from memcalc.files.catalogue import catalogue, record
from memcalc.files.readers import READERS, read
from memcalc.serving import serve
from memcalc.serving.engines import ENGINES

NAMED = re.compile(r"--engine (\S+) answers")


def one_of_each_type():
    """The catalogue's first model of each type, and the class's defaults where it has none."""
    found = {}
    for name in catalogue():
        found.setdefault(record(name).fields.get("model_type"), record(name))
    for name in READERS:
        found.setdefault(name, Source(name, {"model_type": name}, name))
    return found


def refusal(source, engine):
    """What an engine says where it does not answer."""
    try:
        serve(source, context=64, engine=engine)
    except MemcalcError as error:
        return str(error)
    return ""


@pytest.mark.slow
def test_an_engine_that_is_named_answers():
    named = 0
    for source in one_of_each_type().values():
        said = {engine: refusal(source, engine) for engine in ENGINES}
        for engine, line in said.items():
            for other in NAMED.findall(line):
                named += 1
                assert not said[other], (source.name, engine, line, said[other])
            assert not line.startswith("--engine ") or line.startswith(f"--engine {engine}:"), line
    assert named > 3


def refused(fields):
    with pytest.raises(MemcalcError) as found:
        read(fields)
    assert len(str(found.value)) <= 300
    return str(found.value)


SIZES = "hidden_size num_hidden_layers num_attention_heads num_key_value_heads vocab_size intermediate_size"
LLAMA = f"{SIZES} rms_norm_eps rope_theta rope_scaling hidden_act initializer_range max_position_embeddings"

# of the config.json of inclusionAI/Ling-lite, microsoft/Phi-4-multimodal-instruct; old names of sizes
LING = "norm_topk_prob first_k_dense_replace moe_intermediate_size norm_head multi_gate use_qkv_bias"
PHI = "partial_rotary_factor original_max_position_embeddings speech_lora vision_lora full_attn_mod"


@pytest.mark.parametrize(
    ("model_type", "fields", "nearest"),
    [
        (
            "bailing_moe",
            f"{LLAMA} num_experts num_shared_experts num_experts_per_tok embedding_dropout {LING}",
            "bailing_hybrid",
        ),
        ("phi4mm", f"{LLAMA} embd_pdrop resid_pdrop mlp_bias lm_head_bias sliding_window {PHI}", "phi3"),
        (
            "a_new_one",
            "d_model n_heads n_layers max_seq_len attn_config ffn_config resid_pdrop emb_pdrop vocab_size",
            "dbrx",
        ),
        ("mllama", f"{LLAMA} cross_attention_layers dropout tie_word_embeddings", "llama"),
    ],
)
def test_the_nearest_type_is_found_by_fields(model_type, fields, nearest):
    """By letters the first would be nobody's, and the third nothing."""
    assert f"nearest: {nearest} by its fields" in refused(
        {"model_type": model_type, **dict.fromkeys(fields.split(), 1)}
    )


@pytest.mark.parametrize("name", ["qwen2_5_omni", "qwen3_omni_moe"])
def test_the_thinker_of_an_omni_model_is_offered(name):
    """As published: the thinker is inside, and has a reader."""
    thinker = f"{name}_thinker"
    said = refused({"model_type": name, "thinker_config": {"model_type": thinker}})
    assert f"give its thinker_config ({thinker}) as a config.json of its own" in said
    assert thinker in READERS


def test_a_draft_s_class_is_not_called_the_model_with_another_head():
    """EAGLE's has a matrix more, in front: ...Model would leave it out."""
    said = refused({"model_type": "llama", "architectures": ["LlamaForCausalLMEagle"]})
    assert "...Model, to count" not in said
    assert said.endswith("what it adds is not known; its .safetensors or .gguf alone gives the weights")


def safetensors(path, names):
    """A file with a header, of numbers in 16 bits."""
    places = {name: [4 * place, 4 * place + 4] for place, name in enumerate(names)}
    entries = {name: {"dtype": "BF16", "shape": [2], "data_offsets": place} for name, place in places.items()}
    text = json.dumps(entries).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(4 * len(names)))


def test_a_header_beside_a_config_of_an_unknown_type_says_so(tmp_path):
    """It is not told to add the config.json that lies there; what one layer alone has keeps its number."""
    safetensors(
        tmp_path / "model.safetensors", ["layers.0.a.weight", "layers.1.a.weight", "layers.3.b.weight"]
    )
    alone = stored_weights(str(tmp_path / "model.safetensors"))
    assert alone.unknown.endswith("add the model's config.json")
    (tmp_path / "config.json").write_text('{"model_type": "newtype"}')
    beside = stored_weights(str(tmp_path))
    assert beside.unknown.endswith("and the config.json's type, newtype, has no reader")
    assert [one.name for one in beside.groups] == ["layers.{layer}.a.weight", "layers.3.b.weight"]
