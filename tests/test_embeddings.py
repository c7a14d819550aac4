"""Embedding models and rerankers: no head over the vocabulary, and a cache for the tokens of a pass alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

import memcalc
from memcalc.errors import MemcalcError
from memcalc.files.sources import source
from memcalc.serving import serve
from memcalc.serving.plan import plan_fields

if TYPE_CHECKING:
    from pathlib import Path

NEW = {"engine": "vllm", "engine_version": "0.28"}


@pytest.fixture
def config(tmp_path: Path):
    """Write a catalogue's config with other fields."""

    def written(name: str, **fields: object) -> Path:
        (tmp_path / "config.json").write_text(json.dumps({**source(name).fields, **fields}))
        return tmp_path

    return written


def test_published_counts(config) -> None:
    """Qwen3-Embedding-8B: 7,567,295,488 parameters on the Hub; e5-mistral-7b-instruct: 7,110,660,096."""
    embedding = config("Qwen/Qwen3-8B", vocab_size=151_665)
    served = serve(embedding, context=512, task="embed", **NEW)
    assert served.weights_file_bytes == 2 * 7_567_295_488
    mistral = config("mistralai/Mistral-7B-v0.1", architectures=["MistralModel"])
    assert memcalc.model(mistral).parameters == 7_110_660_096
    assert plan_fields(serve(mistral, context=512).plan)["task"] == "embed"


def test_a_classifier_has_a_head_of_its_own(config) -> None:
    """As many rows as labels."""
    named = ["Qwen3ForSequenceClassification"]
    one = config("Qwen/Qwen3-0.6B", architectures=named, id2label={"0": "LABEL_0"})
    assert memcalc.model(one).parameters == 596_049_920 + 1024
    two = config("Qwen/Qwen3-0.6B", architectures=named)
    assert memcalc.model(two).parameters == 596_049_920 + 2 * 1024
    with pytest.raises(MemcalcError, match="num_labels"):
        memcalc.model(config("Qwen/Qwen3-0.6B", architectures=named, num_labels="two"))


BARE, WIDTH = 596_049_920, 1024  # Qwen3-0.6B


@pytest.mark.parametrize(
    ("named", "labels", "beside"),
    [
        ("Qwen3ForSequenceClassification", {"num_labels": 3, "id2label": {"0": "a"}}, 3 * WIDTH),
        ("Qwen3ForTokenClassification", {"num_labels": 3}, 3 * WIDTH + 3),
        ("Qwen3ForQuestionAnswering", {"num_labels": 3}, 2 * WIDTH + 2),
        ("Qwen3Model", {}, 0),
        ("NewEmbeddingModel", {}, 0),
        ("Qwen2ForRewardModel", {"num_labels": 3, "model_type": "qwen2"}, WIDTH**2 + 2 * WIDTH + 1),
        ("Qwen2ForProcessRewardModel", {"model_type": "qwen2"}, WIDTH**2 + 3 * WIDTH + 2),
    ],
)
def test_the_class_says_what_stands_at_the_end(config, named, labels, beside) -> None:
    """The counts of transformers' classes (tests/oracles/test_heads.py) and of Qwen2.5-Math-RM's own."""
    fields = {**source("Qwen/Qwen3-0.6B").fields, **labels}
    generating = memcalc.files.read({**fields, "architectures": None})
    without = BARE if "model_type" not in labels else generating.parameters  # the head is tied
    assert memcalc.files.read({**fields, "architectures": [named]}).parameters == without + beside


@pytest.mark.parametrize(
    "named", ["Qwen3ForRewardModel", "Qwen3DoubleHeadsModel", "Qwen3RewardModel", "Qwen3ForSomethingElse"]
)
def test_an_end_that_is_not_known_is_refused(config, named) -> None:
    with pytest.raises(MemcalcError, match="architectures: expected a class whose end is known"):
        memcalc.model(config("Qwen/Qwen3-0.6B", architectures=[named]))


def test_code_that_is_nobodys_class_is_named(config) -> None:
    own = config("Qwen/Qwen3-0.6B", auto_map={"AutoModelForCausalLM": "modeling_new.NewForCausalLM"})
    assert memcalc.model(own).not_read == ("auto_map 'modeling_new.NewForCausalLM'",)
    usual = config(
        "Qwen/Qwen3-0.6B", auto_map={"AutoModelForCausalLM": "a/b--modeling_qwen3.Qwen3ForCausalLM"}
    )
    assert memcalc.model(usual).not_read == ()
    assert memcalc.model(config("Qwen/Qwen3-0.6B", architectures=["NewForCausalLM"])).not_read == (
        "architectures 'NewForCausalLM'",
    )


def test_a_class_of_another_type_is_refused_unless_it_has_the_same_tensors(config) -> None:
    """Experts in a qwen2 are no qwen2; a Llama with the class of Granite is one."""
    mixed = {"AutoModelForCausalLM": "modeling_qwen2_moe.Qwen2MoeForCausalLM"}
    with pytest.raises(MemcalcError, match=r"auto_map: expected a class of qwen2, .*of qwen2_moe'; correct"):
        memcalc.model(config("Qwen/Qwen2.5-7B-Instruct", auto_map=mixed))
    with pytest.raises(MemcalcError, match=r"architectures: expected a class of qwen3, .*of jamba'; correct"):
        memcalc.model(config("Qwen/Qwen3-0.6B", architectures=["JambaForCausalLM"]))
    with pytest.raises(MemcalcError, match="of mistral'; correct"):  # whose class has a window by default
        memcalc.model(config("meta-llama/Meta-Llama-3.1-8B", architectures=["MistralForCausalLM"]))
    same = config("meta-llama/Meta-Llama-3.1-8B", architectures=["GraniteForCausalLM"])
    assert memcalc.model(same).parameters == 8_030_261_248


@pytest.mark.parametrize("engine", ["vllm", "transformers"])
def test_no_logits(engine: str) -> None:
    """Neither of a profile run, nor of the last token."""
    served = serve("Qwen/Qwen3-8B", context=512, task="embed", engine=engine)
    generating = serve("Qwen/Qwen3-8B", context=512, engine=engine)
    assert not [line for line in served.device.lines if line.component == "logits"]
    heads = [any(line.name == "lm_head.weight" for line in one.device.lines) for one in (served, generating)]
    assert heads == [False, True]
    assert served.device.components["activations"] <= generating.device.components["activations"]


def test_the_cache_is_that_of_a_pass() -> None:
    """vLLM takes 8,192 tokens a pass: 16 sequences of 512, and one that is cut; the others wait."""
    few = serve("Qwen/Qwen3-8B", context=512, batch=8, task="embed", **NEW)  # type: ignore[arg-type]
    many = serve("Qwen/Qwen3-8B", context=512, batch=10_000, task="embed", **NEW)  # type: ignore[arg-type]
    assert few.device.components["kv_cache"] == 8 * 512 * 147_456
    assert many.device.components["kv_cache"] == 17 * 512 * 147_456
    whole = serve("Qwen/Qwen3-8B", context=512, batch=100, task="embed")
    assert whole.device.components["kv_cache"] == 100 * 512 * 147_456


def test_any_number_may_wait() -> None:
    served = serve("Qwen/Qwen3-8B", context=512, task="embed", on="rtx-4090", **NEW)  # type: ignore[arg-type]
    assert "largest batch any" in str(served)
    assert served.max_context is not None
    assert served.search.fits(1, served.max_context)
    assert not served.search.fits(1, served.max_context + 16)


def test_a_sweep_is_its_plans() -> None:
    contexts, batches = np.array([100, 512, 9000]), np.array([[1], [20], [5000]])
    swept = serve("Qwen/Qwen3-8B", context=contexts, batch=batches, task="embed", **NEW)  # type: ignore[arg-type]
    for row, batch in enumerate(batches[:, 0]):
        for column, context in enumerate(contexts):
            one = serve("Qwen/Qwen3-8B", context=int(context), batch=int(batch), task="embed", **NEW)  # type: ignore[arg-type]
            assert one.device.total_bytes == swept.device.total_bytes[row, column]


def test_what_is_refused(config) -> None:
    for engine in ("sglang", "llama.cpp", "ktransformers", "vllm-ascend"):
        with pytest.raises(MemcalcError, match="for embeddings is not understood"):
            serve("Qwen/Qwen3-8B", context=512, task="embed", engine=engine)
    with pytest.raises(MemcalcError, match="its class has no head"):
        serve(config("Qwen/Qwen3-8B", architectures=["Qwen3Model"]), context=512, task="generate")
    with pytest.raises(MemcalcError, match="a model that generates"):
        serve("Qwen/Qwen3-8B", context=512, task="embed", draft="Qwen/Qwen3-0.6B", **NEW)  # type: ignore[arg-type]
    with pytest.raises(MemcalcError, match="--task"):
        serve("Qwen/Qwen3-8B", context=512, task="rank")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"architectures": ["LlamaMoEForCausalLM"]}, "MoE"),
        ({"architectures": ["MedusaLlamaForCausalLM"]}, "Medusa"),
        ({"architectures": ["EagleModel"]}, "Eagle"),
        ({"architectures": ["LlamaMambaForCausalLM"]}, "Mamba"),
        ({"architectures": ["LlamaLoRAForCausalLM"]}, "LoRA"),
        ({"architectures": ["MyVLForCausalLM"]}, "VL"),
        ({"auto_map": {"AutoModelForCausalLM": "modeling.LlamaForCausalLMEagle"}}, "Eagle"),
    ],
)
def test_a_class_that_speaks_of_other_parts_is_refused(fields, named) -> None:
    """Its tensors are nobody's; another unknown class is named in the answer."""
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    llama = {"model_type": "llama", "vocab_size": 10, **sizes}
    with pytest.raises(MemcalcError, match=rf"expected a class of llama without {named}, which its reader"):
        memcalc.read({**llama, **fields})
    same = {"architectures": ["MyOwnForCausalLM"], "auto_map": {"AutoConfig": "configuration_moe.MoEConfig"}}
    assert memcalc.read({**llama, **same}).not_read == ("architectures 'MyOwnForCausalLM'",)


def test_a_mixture_may_have_a_mixtures_class() -> None:
    fields = {**source("Qwen/Qwen3-30B-A3B").fields, "architectures": ["MyMoEForCausalLM"]}
    assert memcalc.read(fields).not_read == ("architectures 'MyMoEForCausalLM'",)


@pytest.mark.parametrize("named", ["FalconForTokenClassification", "BioGptForTokenClassification"])
def test_older_classes_call_a_head_for_tokens_otherwise(named) -> None:
    """A header with `classifier.weight` is theirs (tests/oracles/test_heads.py)."""
    small = {"model_type": named.partition("For")[0].lower(), "hidden_size": 64, "num_attention_heads": 4}
    ends = dict(memcalc.files.read({**small, "architectures": [named]}).outside)
    assert "classifier" in ends
    assert "score" not in ends
