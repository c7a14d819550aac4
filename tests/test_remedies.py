"""What is said to do works: engines that a refusal names answer, what would fit instead of a plan does."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from memcalc.cli.command import parser_of
from memcalc.cli.options import options_from
from memcalc.errors import Faults, MemcalcError
from memcalc.files import Source, stored_weights
from memcalc.files.catalogue import catalogue, record
from memcalc.files.readers import READERS, read
from memcalc.serving import serve
from memcalc.serving.engines import ENGINES
from memcalc.serving.options import ServingOptions
from memcalc.serving.parallelism import RANKS
from memcalc.show.remedy import NONE
from memcalc.training import train
from memcalc.training.options import TrainingOptions
from tests.test_verdicts import drawn

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


# ---- what would fit instead of a plan ----

SAID = {  # what a remedy's words have for each option that its command changes
    "batch": r"a batch of [\d,]+",
    "context": r"a context(| and a prompt) of [\d,]+ tokens",
    "prompt": r"a context and a prompt of [\d,]+ tokens",
    "devices": r"\d+x \S+",
    "engine_options": r"layers on the CPU|weights in the host's memory|sequences at once",
    "host": r"[\d,]+ GiB of host memory",
    "kv": r"the KV cache in \S+",
    "lora_rank": "LoRA adapters of rank 16",
    "loss": "the cross-entropy of Liger Kernel",
    "micro_batch": r"a micro-batch of \d",
    "optimizer": "AdamW in 8 bits",
    "optimizer_step": "the fused optimizer step|with its own step",
    "quantize_base": "base weights in NF4",
    "recompute": "full recomputation",
    "recompute_modules": "full recomputation",
    "seq": r"sequences of [\d,]+ tokens",
    "shard": r"ZeRO stage \d|with FSDP",
    "utilization": r"a share of 0\.\d+",
    "weights": r"weights in \S+",
    "world": r"\d+x \S+",
}
TOGETHER = {  # options that one change sets: as many ranks as devices
    **dict.fromkeys((*RANKS, "devices", "world"), "devices"),
    **dict.fromkeys(("recompute", "recompute_modules"), "recompute"),
    **dict.fromkeys(("context", "prompt"), "context"),
}


def asked_by(command):
    """The options that a command line states."""
    _, kind, *words = shlex.split(command)
    declared = {"serve": ServingOptions, "train": TrainingOptions}[kind]
    given = parser_of(kind).read(words, Faults())
    return options_from(given, declared)


def parts(options):
    """Options by name; of the machine its devices and its host by themselves."""
    found = dict(vars(options))
    if "engine_options" in found:
        found["engine_options"] = dict(found["engine_options"])
    devices, *host = re.split(r" \+ (?=\d+GiB host)", found.pop("on"))
    return found | {"devices": devices, "host": host}


def options_of(parts, declared):
    """The options that parts make."""
    found = dict(parts)
    return declared(on=" + ".join([found.pop("devices"), *found.pop("host")]), **found)


def again(answer, options):
    """The same plan with other options; nothing where they are refused."""
    try:
        return answer.changed(answer.plan.source, vars(options))
    except MemcalcError:
        return None


def hold_remedies(answer):
    """Each fits, says all that its command changes and what is held then, and needs each of its changes."""
    before = parts(getattr(answer.plan, "asked", answer.plan.options))
    for remedy in answer.remedies:
        changed = asked_by(remedy.command)
        made, after = again(answer, changed), parts(changed)
        assert made.verdict == "fits", remedy
        devices = getattr(made, "devices", (made.device,))
        assert max(pool.total_bytes for pool in devices) == remedy.total_bytes, remedy
        differing = [name for name in before if before[name] != after[name]]
        for name in differing:
            ranks = getattr(made.plan.parallelism, name, None)
            assert re.search(f"{name} {ranks}" if name in RANKS else SAID[name], remedy.words), (name, remedy)
        for change in {TOGETHER.get(name, name) for name in differing}:
            back = {name: before[name] for name in differing if TOGETHER.get(name, name) == change}
            if change == "optimizer":
                back["optimizer_step"] = before["optimizer_step"]
            less = again(answer, options_of({**after, **back}, type(changed)))
            alone = change == "optimizer_step" and "optimizer" in differing  # refused with the other's
            assert alone or less is None or less.verdict != "fits", (change, remedy)
        for rank in RANKS if isinstance(changed, ServingOptions) else ():
            if after[rank] not in (None, before[rank]):  # nor is one stated that the engine takes by itself
                less = again(answer, options_of({**after, rank: None}, type(changed)))
                assert less is None or less.verdict != "fits", (rank, remedy)
    assert len({remedy.command for remedy in answer.remedies}) == len(answer.remedies)


BIG, KIMI = "Qwen/Qwen3-32B", "moonshotai/Kimi-K2-Instruct"
SERVED = [
    (BIG, {"context": 32_768, "on": "1x rtx-4090", "engine": "vllm"}),
    (BIG, {"context": 32_768, "on": "2x rtx-4090", "engine": "vllm", "tp": 2, "batch": 4}),
    (BIG, {"context": 50_000, "prompt": 49_000, "on": "1x rtx-4090", "engine": "vllm"}),
    (BIG, {"context": 40_000, "prompt": 39_000, "on": "1x h100-80g", "engine": "vllm"}),
    (BIG, {"context": 40_960, "batch": 8, "on": "1x h200-141g", "engine": "sglang"}),
    (BIG, {"context": 32_768, "on": "1x rtx-3060-12g", "engine": "llama.cpp", "weights": "Q8_0"}),
    (
        BIG,
        {"context": 32_768, "on": "1x rtx-3060-12g + 8GiB host", "engine": "llama.cpp", "weights": "Q4_K_M"},
    ),
    (BIG, {"context": 40_960, "on": "1x rtx-4090", "engine": "llama.cpp", "weights": "Q4_K_M"}),
    (BIG, {"context": 8192, "on": "1x rtx-4090", "engine": "transformers"}),
    (BIG, {"context": 8192, "on": "1x rtx-3060-12g", "engine": "transformers"}),
    (BIG, {"context": 8192, "on": "2x rtx-4090", "engine": "sglang", "pp": 2}),
    (BIG, {"context": 8192, "on": "1x ascend-910b-64g", "engine": "vllm-ascend"}),
    (BIG, {"context": 8192, "batch": 64, "on": "1x ascend-910b-64g", "engine": "mindie"}),
    ("openai/gpt-oss-120b", {"context": 32_768, "on": "1x rtx-4090", "engine": "llama.cpp"}),
    ("openai/gpt-oss-120b", {"context": 32_768, "on": "1x rtx-4090 + 16GiB host", "engine": "llama.cpp"}),
    *(
        (name, {"context": 8192, "weights": weights, "on": on, "engine": "ktransformers"})
        for name in ("deepseek-ai/DeepSeek-R1", KIMI)
        for weights in ("Q8_0", "Q4_K_M")
        for on in ("1x rtx-4090 + 128GiB host", "1x rtx-4090-48g + 256GiB host")
    ),
    ("deepseek-ai/DeepSeek-V3", {"context": 8192, "on": "8x h100-80g", "engine": "vllm", "tp": 8, "ep": 8}),
    ("deepseek-ai/DeepSeek-V3", {"context": 8192, "on": "8x h200-141g", "engine": "sglang", "batch": 256}),
    ("Qwen/Qwen3-Next-80B-A3B-Instruct", {"context": 262_144, "on": "2x h100-80g", "engine": "vllm"}),
    ("google/gemma-3-27b-it", {"context": 131_072, "batch": 4, "on": "1x h100-80g", "engine": "vllm"}),
    ("meta-llama/Llama-3.3-70B-Instruct", {"context": 131_072, "on": "4x rtx-a6000", "engine": "vllm"}),
]


@pytest.mark.parametrize(("name", "asked"), SERVED, ids=str)
def test_a_plan_s_remedies_are_as_small_as_they_can_be(name, asked):
    served = serve(name, **asked)
    assert served.verdict not in (None, "fits")
    hold_remedies(served)


def test_many_plans_have_one():
    assert sum(bool(serve(name, **asked).remedies) for name, asked in SERVED) > len(SERVED) - 4


LLAMA, SMALL = "meta-llama/Meta-Llama-3.1-8B", "Qwen/Qwen3-0.6B"
TRAINED = [
    (LLAMA, {"on": "1x h100-80g"}),
    (LLAMA, {"on": "1x rtx-4090"}),
    (LLAMA, {"on": "1x h100-80g", "recompute": "full"}),
    (LLAMA, {"on": "1x rtx-4090", "lora_rank": 16}),
    (
        LLAMA,
        {"on": "1x rtx-4090", "lora_rank": 16, "recompute": "selective", "recompute_modules": ("core_attn",)},
    ),
    (LLAMA, {"on": "2x h100-80g", "implementation": "megatron", "tp": 2, "world": 2}),
    (LLAMA, {"on": "8x h100-80g", "world": 8}),
    (LLAMA, {"on": "8x rtx-4090", "world": 8, "shard": "fsdp"}),
    (LLAMA, {"on": "1x 60GiB", "regime": "pure-bf16", "recompute": "full", "optimizer_step": "foreach"}),
    (LLAMA, {"on": "1x h100-80g + 8GiB host", "recompute": "full", "offload": ("optimizer",)}),
    (LLAMA, {"on": "8x h100-80g"}),
    (SMALL, {"on": "1x rtx-4090"}),
    (SMALL, {"on": "1x rtx-4090", "micro_batch": 4}),
    (SMALL, {"on": "1x rtx-3060-12g", "regime": "pure-bf16"}),
    ("Qwen/Qwen3-1.7B", {"on": "1x rtx-4090", "regime": "pure-bf16"}),
    ("Qwen/Qwen3-4B", {"on": "1x h100-80g"}),
    ("Qwen/Qwen3-32B", {"on": "8x h100-80g", "world": 8, "shard": 3}),
    ("Qwen/Qwen3-30B-A3B", {"on": "8x h100-80g", "world": 8, "shard": 3}),
]


@pytest.mark.parametrize(("name", "asked"), TRAINED, ids=str)
def test_a_step_s_remedies_are_as_small_as_they_can_be(name, asked):
    step = train(name, seq=4096, **asked)
    assert step.verdict not in (None, "fits")
    assert step.remedies
    hold_remedies(step)


def test_devices_that_stay_idle_are_offered_before_more_of_them():
    step = train("Qwen/Qwen3-4B", seq=4096, on="8x h100-80g")
    first = step.remedies[0]
    assert first.words == "all 8x h100-80g with FSDP"
    assert "--world 8 --shard fsdp" in first.command
    used = train("Qwen/Qwen3-4B", seq=4096, on="8x h100-80g", world=8)
    assert not any(one.words.startswith("all ") for one in used.remedies)


def test_the_gentlest_comes_first():
    """A larger host before other weights, what trains the same before adapters, a large cut at the end."""
    r1 = serve(
        "deepseek-ai/DeepSeek-R1",
        context=8192,
        weights="Q4_K_M",
        engine="ktransformers",
        on="1x rtx-4090-48g + 128GiB host",
    )
    assert r1.remedies[0].words == "512 GiB of host memory"
    adapters = [
        ["LoRA" in one.words for one in train(LLAMA, seq=4096, **asked).remedies] for _, asked in TRAINED[:3]
    ]
    assert adapters == [sorted(of_one) for of_one in adapters]
    cut = train(LLAMA, seq=4096, lora_rank=16, on="1x rtx-4090").remedies
    assert [one.words.startswith("sequences of") for one in cut] in ([False, False, True], [False] * 3)


def test_no_format_is_offered_that_is_larger():
    asked = {"context": 8192, "engine": "llama.cpp", "weights": "Q4_K_M", "on": "1x rtx-3060-12g"}
    assert not any("Q8_0" in one.words or "Q6_K" in one.words for one in serve(BIG, **asked).remedies)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("openai/gpt-oss-120b", {"engine": "vllm", "on": "1x h100"}),  # mxfp4
        ("openai/gpt-oss-20b", {"engine": "transformers", "on": "1x rtx-3060-12g"}),
        ("openai/gpt-oss-20b", {"engine": "llama.cpp", "on": "1x rtx-3060-8g"}),
        ("Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4", {"engine": "sglang", "on": "1x rtx-4090"}),
        (BIG, {"engine": "vllm", "on": "1x rtx-3060-12g", "weights": "gptq-int4-g128"}),
    ],
    ids=str,
)
def test_what_is_quantised_is_not_quantised_to_the_same_width(name, asked):
    served = serve(name, context=32_768, **asked)
    assert served.verdict != "fits"
    offered = [one.words for one in served.remedies if one.words.startswith("weights in ")]
    assert not [one for one in offered if "Q3" not in one and "Q2" not in one], offered


def test_eight_bits_become_four():
    served = serve("deepseek-ai/DeepSeek-V3", context=32_768, engine="vllm", on="8x h100")
    assert served.remedies[0].words == "weights in awq-int4-g128"


@pytest.mark.slow
def test_the_remedies_of_many_plans_are_as_small_as_they_can_be(request):
    for _, served in drawn(120 if request.config.getoption("full") else 40):
        if served.verdict != "fits":
            hold_remedies(served)


def test_recomputation_is_tried_before_a_second_server():
    """Four cards with it, not 64 without."""
    first = train("meta-llama/Meta-Llama-3.1-8B", seq=8192, on="1x h100").remedies[0]
    assert first.words == "full recomputation and 4x h100-80g with ZeRO stage 2"


def test_fewer_sequences_on_more_devices_are_the_last_resort():
    """Neither alone is enough."""
    asked = {"context": 65536, "batch": 10, "on": "2x a100-80g"}
    (only,) = serve("mistralai/Mixtral-8x22B-v0.1", **asked).remedies
    assert only.words == "6x a100-80g and a batch of 1"


@pytest.mark.parametrize("asked", [{"on": "1x 8GiB"}, {"on": "h100"}], ids=str)
def test_where_nothing_makes_it_fit_that_is_said(asked):
    served = serve("deepseek-ai/DeepSeek-R1", context=65536, **asked)
    assert (NONE in str(served)) == (not served.remedies)
    assert NONE not in str(serve("Qwen/Qwen3-0.6B", context=8192, on="h100"))
