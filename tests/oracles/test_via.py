"""What has no reader, by way of transformers: held against the readers, on types that have one."""

from __future__ import annotations

import json
import re

import pytest
from small import small_config

from memcalc.__main__ import main
from memcalc.errors import BadInputError, MemcalcError
from memcalc.files.by_transformers import read as by_transformers
from memcalc.files.readers import READERS, read
from memcalc.ledger.model import cache_growth
from memcalc.serving import serve

FALCON = {  # sizes of tiiuae/falcon-7b's config.json, Apache 2.0
    "model_type": "falcon",
    "architectures": ["FalconForCausalLM"],
    "alibi": False,
    "bias": False,
    "hidden_size": 4544,
    "multi_query": True,
    "new_decoder_architecture": False,
    "num_attention_heads": 71,
    "num_hidden_layers": 32,
    "parallel_attn": True,
    "vocab_size": 65024,
}


LARGE = {  # sizes of google-bert/bert-large-uncased's config.json, Apache 2.0
    "model_type": "bert",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "max_position_embeddings": 512,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "vocab_size": 30522,
}
M3 = {  # sizes of BAAI/bge-m3's config.json, MIT
    **LARGE,
    "model_type": "xlm-roberta",
    "max_position_embeddings": 8194,
    "type_vocab_size": 1,
    "vocab_size": 250002,
}
MODERN = {"model_type": "modernbert", "hidden_size": 768, "num_hidden_layers": 22, "vocab_size": 50368}


# experts as rows of matrices that have other names, or of all layers in one
EXPERTS_NOT_TOLD = ("dbrx", "doge")
# no type of transformers', a tower of another library, fields that classes do not know or turn into lists
NOT_BUILT = ("kimi_k2", "deepseek_ref", "gemma3n", "gemma3n_text", "smolvlm")


@pytest.mark.sampled
@pytest.mark.parametrize("kind", [kind for kind in READERS if kind not in (*NOT_BUILT, *EXPERTS_NOT_TOLD)])
def test_the_same_as_a_reader(kind):
    """Parameters, those that a token uses, the tower's, buffers; the cache, or why it is not known."""
    fields = small_config(kind, 1)
    ours, found = read(fields), by_transformers(fields, "small")
    for what in ("parameters", "active_parameters", "vision_parameters", "buffer_values", "depth", "tied"):
        assert getattr(found, what) == getattr(ours, what), what
    assert found.embedding_parameters == ours.embedding_parameters
    if found.cache_unknown:
        assert "entry a token" in found.cache_unknown or "does not run" in found.cache_unknown
    else:
        grows = cache_growth(ours)
        if kind == "gpt_neo":  # its class keeps all tokens, and looks at those of its window
            grows["bytes_per_token"] = grows["bytes_per_token_in_window"]
        assert cache_growth(found) == grows


@pytest.mark.parametrize(
    ("kind", "says"),
    [("dbrx", "[0-9,]+ parameters in experts, as its class has"), ("doge", "parameters in experts, as its")],
)
def test_experts_that_are_not_told_from_the_rest_are_refused(kind, says):
    """All of them would count as used by each token."""
    with pytest.raises(BadInputError, match=rf"^num_experts_per_tok: expected {says}"):
        by_transformers(small_config(kind, 1), "small")


@pytest.mark.parametrize("seed", range(3))
def test_states_of_layers_behind_the_last_one_that_attends_are_counted(seed):
    """MiniMax's cache has a list of states beside its layers, of which it makes as many as attend."""
    fields = small_config("minimax", seed)
    assert cache_growth(by_transformers(fields, "small")) == cache_growth(read(fields))


@pytest.fixture
def falcon(tmp_path, monkeypatch):
    """A config.json, as if its type had no reader."""
    monkeypatch.setattr("memcalc.files.readers.has_reader", lambda _type: False)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(FALCON))
    return path


def test_a_type_without_a_reader(falcon, capsys):
    """Falcon-7B: its one key/value head of 64 numbers in 32 layers, and a head that is the embedding."""
    assert main(["model", str(falcon), "--via", "transformers", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parameters"] == 6_921_720_704
    assert found["cache"]["bytes_per_token"] == 2 * 2 * 32 * 64
    assert found["defaults"][0].startswith("by way of transformers 5.")
    assert found["defaults"][1].startswith("left out: ")
    served = serve(falcon, context=2048, via="transformers", on="rtx-4090")
    assert served.weights_file_bytes == 2 * 6_921_720_704
    assert served.device.components["kv_cache"] == 2048 * 8192
    assert served.fits
    (line,) = [one for one in served.device.lines if one.name == "a prefill pass, by its widest matrix"]
    assert line.evidence == "assumed"
    assert line.low == 0


@pytest.mark.parametrize(
    "options", [{"engine": "vllm"}, {"tp": 2}, {"weights": "Q4_K_M"}, {"lora_slots": 2}, {"engine": "sglang"}]
)
def test_what_goes_by_parts_is_refused(falcon, options):
    with pytest.raises(MemcalcError, match=r"--via"):
        serve(falcon, context=2048, via="transformers", **options)


@pytest.mark.parametrize(
    ("added", "field"),
    [
        ({"model_type": "not_known_yet"}, "model_type"),
        ({"use_new_experts": True}, "use_new_experts"),
        ({"num_new_experts": 8}, "num_new_experts"),
        ({"hidden_size": "wide"}, "config.json"),
        ({"model_type": "clip"}, "hidden_size|model_type"),
    ],
)
def test_what_is_not_understood_is_refused(added, field):
    with pytest.raises(BadInputError, match=rf"^({field}): expected"):
        by_transformers({**FALCON, **added}, "small")


def test_a_file_without_sizes_is_refused():
    with pytest.raises(BadInputError, match="hidden_size: expected the size of the model"):
        by_transformers({"model_type": "falcon"}, "small")


def test_heads_follow_the_class():
    bare = by_transformers({**FALCON, "architectures": ["FalconModel"]}, "small")
    assert bare.headless
    scored = by_transformers({**FALCON, "architectures": ["FalconForSequenceClassification"]}, "small")
    assert scored.parameters == bare.parameters + 2 * 4544


@pytest.mark.parametrize(
    ("fields", "named", "parameters"),
    [
        (LARGE, "BertModel", 335_141_888),
        (LARGE, "BertForSequenceClassification", 335_143_938),
        (LARGE, "BertForMaskedLM", 335_174_458),
        ({"model_type": "bert", "hidden_size": 768}, "BertModel", 109_482_240),
        (M3, "XLMRobertaModel", 567_754_752),
        (MODERN, "ModernBertForSequenceClassification", 149_606_402),
    ],
)
def test_the_class_that_the_file_names(fields, named, parameters):
    """Encoders have a pooler or a head of their own, which no class that writes text has."""
    found = by_transformers({**fields, "architectures": [named]}, "small")
    assert found.parameters == parameters
    assert found.headless == (named != "BertForMaskedLM")
    assert found.cache_unknown == "a cache from its class was expected, and none was found"


@pytest.mark.parametrize("named", ["NewBertModel", "AutoModel", "BertConfig", "pipeline", "GPT2Model"])
def test_another_class_is_refused_by_name(named):
    with pytest.raises(BadInputError, match=rf"^architectures: expected a class .*'{named}'"):
        by_transformers({**LARGE, "architectures": [named]}, "small")


def test_a_reader_comes_first():
    served = serve("Qwen/Qwen3-0.6B", context=64, via="transformers")
    assert served.model.via == ""
    assert "--via transformers is not needed: a reader knows qwen3" in served.defaults


def test_experts_that_files_call_otherwise_are_experts():
    """Step-3.7's class calls them experts and its files do not."""
    drawn = (small_config("step3p7", seed) for seed in range(12))
    fields = next(one for one in drawn if read(one).has_experts)
    found = by_transformers(fields, "step")
    assert found.active_parameters == read(fields).active_parameters < found.parameters


def test_experts_that_are_not_found_are_no_answer(monkeypatch):
    """The whole would count as used by each token."""
    monkeypatch.setattr("memcalc.files.by_transformers.STACKED", re.compile("never"))
    monkeypatch.setattr("memcalc.files.by_transformers.EXPERTS", ())
    with pytest.raises(BadInputError, match=r"num_experts_per_tok: expected .* parameters in experts"):
        by_transformers(small_config("gpt_oss", 1), "small")


def test_a_tower_that_is_not_found_is_no_answer(monkeypatch):
    monkeypatch.setattr("memcalc.files.by_transformers.SEES", re.compile("never"))
    with pytest.raises(BadInputError, match="parameters beside its text model"):
        by_transformers(small_config("idefics3", 1), "small")


def test_a_tower_of_experts_is_counted_whole():
    """dots3_note's class with its own sizes: its tower has experts, which are not the text model's."""
    found = by_transformers({"model_type": "dots3_note", "text_config": {"hidden_size": 5120}}, "dots3_note")
    assert found.parameters + found.vision_parameters == 287_309_195_008
