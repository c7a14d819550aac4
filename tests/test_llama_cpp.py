"""llama.cpp's mixes, caches and buffers as a real one said (tests/recorded/llama_cpp.json); the engine."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from memcalc.cli.model import growth_with
from memcalc.errors import BadInputError, MemcalcError, UnknownNameError
from memcalc.files.api import model as load_model
from memcalc.files.catalogue import record
from memcalc.files.gguf.header import DTYPES, NO_WEIGHTS, TYPES, format_of
from memcalc.files.gguf.model import gguf_model
from memcalc.files.gguf.names import ARCHITECTURES, NESTING, gguf_name
from memcalc.files.gguf.presets import FILE_TYPES, PRESETS, find_preset, with_preset
from memcalc.files.readers import INSIDE, PUBLISHED, READERS, read
from memcalc.files.source import Source
from memcalc.files.sources import source
from memcalc.ledger.formats import (
    FORMATS,
    GGUF_KV_FORMATS,
    GGUF_TYPES,
    stored_bytes,
    tensor_bytes,
    uniform_rule,
)
from memcalc.ledger.parts import Indexer
from memcalc.serving import serve
from memcalc.serving.engines import engine
from memcalc.serving.engines.base import RankContext, activation_width
from memcalc.serving.engines.llama_cpp import compute_buffers, tokens_a_pass
from memcalc.serving.parallelism import ServingParallelism
from tests import gguf_small
from tests.gguf_files import QWEN_27B, model_file, types_of

RECORDED = Path(__file__).parent / "recorded"
SAID = json.loads((RECORDED / "llama_cpp.json").read_text(encoding="utf-8"))
PUBLIC = json.loads((RECORDED / "models.json").read_text(encoding="utf-8"))["models"]
ENGINE = engine("llama.cpp")
MIB, GIB = 2**20, 2**30
GGUF_NAMES = {ours: theirs for theirs, ours in DTYPES.items()}


def model_of(name):
    """A model of the record, and whether its file holds MLA as older ones do."""
    whole, _, old = name.partition(", ")
    fields = PUBLIC[whole]["config"] if whole in PUBLIC else record(whole).fields
    return read(fields, whole), bool(old)


ASKED = [(name, mix) for name, said in SAID["models"].items() for mix in said["mixes"]]
TABLES = [(name, mix) for name, mix in ASKED if SAID["models"][name]["mixes"][mix] is not None]
REFUSED = [asked for asked in ASKED if asked not in TABLES]
CONTEXTS = [(name, context) for name, said in SAID["models"].items() for context in said["contexts"]]


def counted(model, rule):
    """How many tensors of a file there are of each type; what becomes one tensor there counts once."""
    types = {}
    for part, item in model.outside:
        for tensor in item.weights():
            name = f"{part}.{tensor.name}"
            types[gguf_name(model, name)] = rule(tensor._replace(name=name)).id, 1
    for number, layer in enumerate(model.groups):
        for tensor in layer.weights():
            types[number, gguf_name(model, f"model.layers.0.{tensor.name}")] = rule(tensor).id, layer.times
    found = Counter()
    for form, times in types.values():
        found[GGUF_NAMES.get(form, form)] += times
    return found


@pytest.mark.parametrize(("name", "mix"), TABLES)
def test_a_mix_to_the_byte_and_to_the_count_by_type(name, mix):
    model, old = model_of(name)
    said = SAID["models"][name]["mixes"][mix]
    held, rule = with_preset(model, PRESETS[mix], old=old)
    held = replace(held, layers=(*held.layers, *held.mtp))  # the file has both
    assert counted(held, rule) == said["types"]
    assert sum(tensor_bytes(tensor, rule(tensor)) for tensor in held.weights()) == said["bytes"]


@pytest.mark.parametrize(("name", "mix"), REFUSED)
def test_a_mix_that_llama_cpp_refuses_is_refused(name, mix):
    model, old = model_of(name)
    with pytest.raises(BadInputError, match="whole blocks of 128"):
        with_preset(model, PRESETS[mix], old=old)


def test_every_type_has_the_blocks_that_the_library_has():
    """What a weight may have, to the byte; what none has by name, removed types with a block of nothing."""
    said = {int(number): (name, numbers, size) for number, (name, numbers, size) in SAID["types"].items()}
    assert set(said) == {*TYPES, *NO_WEIGHTS} == set(range(43))
    for number, name in TYPES.items():
        form = format_of(name)
        numbers = form.columns_per_scale or 1
        assert said[number] == (name, numbers, form.bytes(1, numbers))
    for number, (name, _) in NO_WEIGHTS.items():
        theirs, numbers, size = said[number]
        assert (name == theirs and size > 0) or (numbers, size) == (0, 0)
    assert {said[number][0] for number in NO_WEIGHTS} >= {"Q8_1", "Q8_K", "I8", "I16", "I32", "I64", "F64"}
    assert set(GGUF_TYPES) == set(TYPES.values()) - set(DTYPES)


def test_the_record_is_large_enough():
    """Every mix, dense and sparse models, windows, latents old and new, states, 80 layers, 8 experts."""
    assert {mix for _, mix in TABLES} == set(PRESETS) == set(FILE_TYPES.values())
    assert len(ASKED) >= 17 * 35
    assert {mix for _, mix in REFUSED} == {"Q1_0"}
    assert len(CONTEXTS) >= 170
    kinds = {model_of(name)[0].model_type for name in SAID["models"]}
    assert kinds >= {
        "llama",
        "mixtral",
        "qwen2",
        "qwen3",
        "qwen3_moe",
        "qwen3_next",
        "deepseek_v2",
        "deepseek_v3",
    }
    assert kinds >= {"gemma3", "gpt_oss", "phi3", "glm4_moe", "deepseek_v32", "glm_moe_dsa"}
    assert SAID["versions"]["llama.cpp"].startswith("v0.5")
    assert ENGINE.version == SAID["versions"]["llama.cpp"].removeprefix("v")


API = {**ENGINE.defaults, "swa_full": True}  # the library's own, which the record was asked with


def engine_options(context):
    return {**API, **{key: value for key, value in context.items() if key in API}}


@pytest.mark.parametrize(("name", "context"), CONTEXTS)
def test_a_context_to_the_hundredth_of_a_mib(name, context):
    model, old = model_of(name)
    keys, values = (GGUF_KV_FORMATS[form] for form in context.get("cache", "f16/f16").split("/"))
    sizes = {"cache": 0, "state": 0}
    for tensor in ENGINE.cache(gguf_model(model, old=old), 1, context["n_ctx"], engine_options(context)):
        form = (
            FORMATS["fp32"] if tensor.kind == "state" else values if tensor.name.endswith("values") else keys
        )
        sizes[tensor.kind] += tensor_bytes(tensor, form)
    said = context["cache_mib"], context["state_mib"]
    printed = 1 + any(isinstance(part, Indexer) for layer in model.groups for _, part in layer.parts)
    mine = sizes["cache"] / MIB, sizes["state"] / MIB
    assert mine == pytest.approx(said, abs=0.0051 * printed)  # an indexer's cache is rounded by itself


def test_a_plan_says_the_same():
    """What the command answers is what the rows above hold: four sequences of DeepSeek-R1 in q8_0."""
    asked = {"context": 10_000, "engine": "llama.cpp", "weights": "Q4_K_M"}
    serving = serve("deepseek-ai/DeepSeek-R1", **asked, engine_options={"n_seq_max": 3})
    pool, host = serving.budget.pools
    assert pool.components["kv_cache"] / MIB == pytest.approx(720.56, abs=0.005)
    held = pool.components["weights"] + host.components["weights"]  # the embedding is the host's
    assert held == serving.weights_file_bytes == 404_488_847_360


def test_compute_buffers_are_a_range_that_holds_every_row():
    """On this CPU a second stream comes on top of the lower end, which in a quarter of the rows is all.

    The widest row needs over half of what the upper end adds.
    """
    exact, shares = 0, []
    for name, context in CONTEXTS:
        model, _ = model_of(name)
        held = gguf_model(model, old=name.endswith("old"))
        widths = {
            part: activation_width(part, ServingParallelism())
            for layer in held.groups
            for _, part in layer.parts
        }
        rank = RankContext(
            stage=held,
            parallelism=ServingParallelism(),
            rule=uniform_rule(FORMATS["bf16"]),
            device=None,
            prefill_chunk=None,
            element_bytes=2,
            options=engine_options(context),
            share=(1, 1),
            formats={},
            widths=widths,
        )
        low, high = compute_buffers(rank, context["n_ctx"])
        beyond = (context["compute_mib"] + 0.005) * MIB - low
        assert 0 <= beyond <= high - low, (name, context)
        tokens = tokens_a_pass(context["n_ctx"], engine_options(context))
        stream = 4 * tokens * dict(model.outside)["model.norm"].width
        assert beyond >= stream, (name, context)
        exact += beyond - stream < 0.02 * MIB
        shares.append(beyond / (high - low))
    assert exact > len(CONTEXTS) / 4
    assert max(shares) > 0.5


def test_the_range_of_a_plan():
    pool, _ = serve("meta-llama/Meta-Llama-3.1-8B", context=32_768, weights="Q8_0").budget.pools
    (line,) = (line for line in pool.lines if line.name == "compute buffers")
    assert (line.evidence, line.bytes / MIB) == ("measured", 258.5)
    assert line.low == line.bytes < line.high


def buffers(name, context, **asked):
    """MiB of the compute buffers of a plan: lower end and upper end."""
    pool, _ = serve(name, context=context, engine="llama.cpp", **asked).budget.pools
    (line,) = (line for line in pool.lines if line.name == "compute buffers")
    return line.bytes / MIB, line.high / MIB


@pytest.mark.parametrize(
    ("name", "weights", "printed"),
    [
        # "CUDA0 compute buffer size", "KV self size" of 4,096 cells, all layers on the device
        ("Qwen/Qwen3-1.7B", "Q4_K_M", (300.75, 448)),  # withcatai/node-llama-cpp#560, Jetson Orin, 2026-02
        ("Qwen/Qwen2.5-3B", "Q8_0", (300.75, 144)),  # SciSharp/LLamaSharp#1099, RTX 4080 SUPER, b4701, 2025
    ],
)
def test_cudas_compute_buffer_is_logits_and_one_stream(name, weights, printed):
    found = Source(name, PUBLIC[name]["config"], "recorded")
    least, most = buffers(found, 4096, weights=weights)
    assert (least, cache_bytes(found, 4096, weights=weights) / MIB) == printed
    assert least < most


def test_a_fork_of_two_cards_lies_in_the_range():
    """ikawrakow/ik_llama.cpp#370: 312.75 MiB on the second card of two, which has the head."""
    asked = {"context": 16_384, "engine": "llama.cpp", "weights": "Q6_K", "pp": 2}
    stages = serve("Qwen/Qwen3-235B-A22B", **asked).stages
    (low, high) = compute_buffers(stages[-1].rank, 16_384)
    assert low < 312.75 * MIB < high


# GGUF's types and llama.cpp's mixes


@pytest.mark.parametrize(
    ("name", "bits"), [("Q8_0", 8.5), ("Q4_K", 4.5), ("Q6_K", 6.5625), ("IQ1_S", 1.5625)]
)
def test_bits_a_number(name, bits):
    assert float(GGUF_TYPES[name].limit) == bits


@pytest.mark.parametrize(
    ("name", "mix", "size"),
    [
        # llama.cpp's "model size" line, ikawrakow/ik_llama.cpp issue 530 and pull 370, 2025
        ("Qwen/Qwen3-235B-A22B", "Q4_K_M", "132.386"),
        ("Qwen/Qwen3-235B-A22B", "Q6_K", "179.754"),
    ],
)
def test_published_files(name, mix, size):
    model, rule = with_preset(load_model(name), PRESETS[mix])
    assert f"{stored_bytes(model.weights(), rule) / GIB:.3f}" == size


def test_names_of_mixes_are_read_in_any_case():
    assert find_preset("q4_k_m") is find_preset("Q4_K") is PRESETS["Q4_K_M"]
    assert find_preset("bf16") is PRESETS["BF16"]
    assert find_preset("Q4_K_XL") is None
    sizes = {
        serve("Qwen/Qwen3-8B", context=1, weights=name).weights_file_bytes for name in ("Q4_K_M", "q4_k_m")
    }
    assert len(sizes) == 1


def test_bf16_is_the_engines_word():
    """Every number in 16 bits for transformers; in GGUF norms stay in fp32."""
    plain = serve("Qwen/Qwen3-8B", context=1, weights="bf16")
    packed = serve("Qwen/Qwen3-8B", context=1, weights="bf16", engine="llama.cpp")
    assert (plain.engine.id, packed.plan.weights) == ("transformers", "BF16")
    norms = sum(tensor.count for tensor in plain.model.weights() if tensor.kind == "norm")
    assert packed.weights_file_bytes - plain.weights_file_bytes == 2 * norms


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("Qwen/Qwen3-32B", "BF16"),
        ("Qwen/Qwen3-32B-FP8", "BF16"),
        ("Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4", "BF16"),
        ("openai/gpt-oss-20b", "BF16, experts MXFP4"),
    ],
)
def test_what_nobody_names_is_what_the_converter_makes(name, weights):
    serving = serve(name, context=1, engine="llama.cpp")
    assert serving.plan.weights == weights
    forms = {serving.plan.rule(tensor).id for tensor in serving.model.weights() if tensor.kind == "expert"}
    assert forms <= {"bf16", "fp16", "MXFP4"}
    assert ("MXFP4" in forms) == ("MXFP4" in weights)


def test_every_tensor_has_a_name_in_gguf():
    for name in SAID["models"]:
        model, old = model_of(name)
        names = [gguf_name(model, tensor.name) for tensor in gguf_model(model, old=old).weights()]
        assert all(one.startswith(("blk.{layer}.", "token_embd.", "output")) for one in names)


def test_architectures_are_families():
    assert set(ARCHITECTURES) <= {*READERS, *INSIDE, *PUBLISHED}
    assert set(NESTING) <= {*READERS, *PUBLISHED} - {*ARCHITECTURES}
    with pytest.raises(UnknownNameError, match="xglm"):
        ARCHITECTURES["xglm"]


TEXTS = {"glm46v": "glm4v_text", "idefics3": "llama", "lfm2_vl": "lfm2", "llava": "llama", "smolvlm": "llama"}
TEXTS |= {"kimi_vl": "deepseek_v3", "internvl_chat": "qwen2", "qwen2_5_omni_thinker": "qwen2_5_omni_text"}
TEXTS |= {"qwen3_omni_moe_thinker": "qwen3_omni_moe_text"}
TEXTS |= {kind: f"{kind}_text" for kind in ("glm4v", "glm4v_moe", "glm_ocr", "qwen2_5_vl", "qwen2_vl")}
WHOLE = {"llama": "meta-llama/Meta-Llama-3.1-8B", "qwen2": "Qwen/Qwen2.5-72B"}
WHOLE |= {"deepseek_v3": "deepseek-ai/DeepSeek-R1"}


@pytest.mark.parametrize("kind", sorted(NESTING))
def test_a_nested_text_model_is_written_as_its_own_type(kind):
    """Of a tower there is nothing in its file."""
    whole = WHOLE.get(TEXTS[kind])
    text = load_model(whole) if whole else read(gguf_small.small(TEXTS[kind], 1))
    outer = replace(text, model_type=kind, text_type=text.model_type)
    assert types_of(outer, "Q4_K_M") == types_of(text, "Q4_K_M")


@pytest.mark.parametrize(
    ("kind", "changes", "says"),
    [
        ("apertus", {"tie_word_embeddings": True}, "tie_word_embeddings: .*without the output's matrix"),
        ("mellum", {"mlp_layer_types": ["dense", "sparse"]}, "mlp.gate_proj.weight"),
        ("falcon", {"bias": True}, "self_attn.q_proj.bias"),
        ("gemma3n_text", {"num_kv_shared_layers": 5}, "in the first 20 layers"),
        ("minimax", {"layer_types": None}, "states in all layers but every 8. one"),
        ("minicpm3", {"q_lora_rank": None}, "self_attn.q_proj.weight"),
        ("laguna", {"layer_types": ["sliding_attention"] * 5, "num_hidden_layers": 5}, "windows of laguna"),
    ],
)
def test_what_its_loader_has_no_room_for_is_refused(kind, changes, says):
    fields = gguf_small.small(kind, 1) | changes
    if kind == "laguna":
        fields |= {"mlp_layer_types": ["sparse"] * 5, "num_attention_heads_per_layer": None}
    with pytest.raises(BadInputError, match=says):
        types_of(read(fields), "Q4_K_M")


def test_windows_that_llama_cpp_does_not_know_keep_everything():
    """Mistral's config states a window; its architecture there is Llama's, which has none."""
    states = growth_with(load_model("mistralai/Mistral-7B-v0.1"), "llama.cpp")
    assert states["bytes_per_token"] == states["bytes_per_token_in_window"] == 131_072
    assert cache_bytes("mistralai/Mistral-7B-v0.1", 32_768) == 32_768 * 131_072


# the engine


def cache_bytes(name, context, options=(), **asked):
    pool, _ = serve(name, context=context, engine="llama.cpp", engine_options=options, **asked).budget.pools
    return pool.components["kv_cache"] + pool.components.get("state", 0)


def test_the_context_is_that_of_all_sequences():
    one = cache_bytes("Qwen/Qwen3-8B", 32_768)
    assert cache_bytes("Qwen/Qwen3-8B", 32_768, batch=4) == one
    assert cache_bytes("Qwen/Qwen3-8B", 32_768, {"n_seq_max": 4}) == one
    assert cache_bytes("Qwen/Qwen3-8B", 1024, batch=64) == 64 * cache_bytes("Qwen/Qwen3-8B", 256)
    serving = serve("Qwen/Qwen3-8B", context=32_768, batch=4, engine="llama.cpp")
    assert serving.cache_bytes == one
    assert cache_bytes("Qwen/Qwen3-8B", 32_768, prompt=100) == one  # taken when the context is made


def test_states_are_one_a_sequence_and_tokens_are_shared(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(PUBLIC["Qwen/Qwen3-Next-80B-A3B-Instruct"]["config"]), encoding="utf-8")
    asked = {"context": 32_768, "weights": "Q4_K_M", "batch": 4}
    pool, _ = serve(str(path), **asked).budget.pools
    assert pool.components["state"] / MIB == pytest.approx(301.5, abs=0.005)
    assert pool.components["kv_cache"] / MIB == 768
    serving = serve(str(path), **asked)
    assert serving.cache_bytes == 768 * MIB + 4 * 77_856_768
    facts = growth_with(serving.model, "llama.cpp")
    assert facts["state_bytes_per_sequence"] / MIB == pytest.approx(75.375)
    model = read(PUBLIC["Qwen/Qwen3-Next-80B-A3B-Instruct"]["config"])
    assert (
        growth_with(model, "vllm")["state_bytes_per_sequence"] == 36 * 2 * 544 * 2048
    )  # pages of 16-bit states
    slot = 36 * (3 * 8192 * 2 + 32 * 128 * 128 * 4)
    assert growth_with(model, "sglang")["state_bytes_per_sequence"] == 3 * slot
    assert growth_with(model, "transformers")["state_bytes_per_sequence"] == 77_856_768
    with pytest.raises(BadInputError, match="without recurrent states"):
        growth_with(model, "mindie")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"kv": "fp8"}, "--kv: expected one of f16"),
        ({"kv": "q8_0/f16"}, "name one format"),
        ({"tp": 2}, "--tp: expected 1"),
        ({"batch": 257}, "at most 256 sequences"),
        ({"engine_options": {"n_seq_max": 257}}, "n_seq_max: expected at most 256 sequences"),
        ({"engine_options": {"n_gpu_layers": -5}}, "n_gpu_layers: expected a whole number .* or -1"),
        ({"engine_options": {"kv_unified": 1}}, "true or false"),
        ({"engine_options": {"flash": True}}, "n_seq_max"),
        ({"weights": "fp8-block128"}, "--weights: expected one of F32"),
        ({"weights": "Q4_K_XL"}, "--weights: expected Q4_K_M, given .Q4_K_XL."),
        ({"weights": "nonsense"}, "or one of llama.cpp's, as in Q4_K_M"),
        ({"engine_version": "b1234"}, "a version that begins with 0.5"),
    ],
)
def test_what_is_refused(asked, says):
    with pytest.raises((BadInputError, UnknownNameError), match=says):
        serve("deepseek-ai/DeepSeek-R1", **{"context": 8, "engine": "llama.cpp", **asked})


def test_a_mix_is_for_an_engine_that_reads_it():
    assert serve("Qwen/Qwen3-8B", context=8, weights="Q4_K_M").engine.id == "llama.cpp"
    with pytest.raises(BadInputError, match=r"GGUF is llama\.cpp's"):
        serve("Qwen/Qwen3-8B", context=8, weights="Q4_K_M", engine="vllm")


def test_blocks_that_no_head_fills_are_refused():
    """Phi-4-mini's kind: a head of 96 numbers has whole blocks of 32; one of 80 has not."""
    fields = {**source("Qwen/Qwen3-8B").fields, "head_dim": 80}
    with pytest.raises(BadInputError, match="fill a head"):
        ENGINE.check_cache_formats(gguf_model(read(fields)), GGUF_KV_FORMATS["q8_0"], GGUF_KV_FORMATS["q8_0"])
    ENGINE.check_cache_formats(gguf_model(read(fields)), GGUF_KV_FORMATS["f16"], GGUF_KV_FORMATS["bf16"])


def test_a_row_that_no_type_fits_is_refused_as_the_library_refuses_it():
    fields = {**source("Qwen/Qwen3-8B").fields, "intermediate_size": 1000}
    with pytest.raises(BadInputError, match="whole blocks of 32"):
        with_preset(read(fields), PRESETS["Q8_0"])
    model, rule = with_preset(read(fields), PRESETS["Q4_K_M"])
    assert {rule(tensor).id for tensor in model.weights() if "down_proj" in tensor.name} == {"fp16"}


def test_inverse_questions():
    serving = serve("Qwen/Qwen3-32B", context=32_768, weights="Q4_K_M", on="1x rtx-a6000")
    longest = serving.max_context
    assert longest % 256 == 0
    assert serving.search.fits(1, longest)
    assert not serving.search.fits(1, longest + 1)
    assert serving.max_batch == 256


def test_layers_are_spread_over_devices():
    one, two = (serve("Qwen/Qwen3-32B", context=8192, weights="Q4_K_M", on=f"{n}x rtx-a6000") for n in (1, 2))
    assert (two.plan.parallelism.pp, two.plan.parallelism.tp) == (2, 1)
    assert one.budget.pools[0].components["kv_cache"] == 2 * two.budget.pools[0].components["kv_cache"]


def test_a_tied_head_is_copied_to_the_last_device_alone():
    """The first has 9 of gemma-2-2b's 26 layers and reads rows of the embedding in the host's memory."""
    three = serve("google/gemma-2-2b-it", context=8192, weights="Q4_K_M", on="3x rtx-3090 + 64GiB host")
    (one,) = serve("google/gemma-2-2b-it", context=8192, weights="Q4_K_M").stages
    held = [stage.weight_bytes for stage in three.stages]
    assert [len(stage.stage.layers) for stage in three.stages] == [9, 9, 8]
    assert sum(held) == one.weight_bytes
    assert max(held) == held[-1] == three.budget.pools[0].components["weights"]


# placement


def placed(offload=None, name="Qwen/Qwen3-30B-A3B", **options):
    """The weights on the device, those in the host's memory, and all of them."""
    asked = {"context": 8192, "engine": "llama.cpp", "weights": "Q4_K_M", "offload": offload}
    serving = serve(name, **asked, engine_options=options)
    device, host = (pool.components for pool in serving.budget.pools)
    return serving, device, host


def test_the_embedding_stays_in_the_hosts_memory():
    serving, device, host = placed()
    embedding = next(tensor for tensor in serving.model.weights() if tensor.kind == "embedding")
    assert host == {"weights": tensor_bytes(embedding, serving.plan.rule(embedding))}
    assert device["weights"] + host["weights"] == serving.weights_file_bytes


def test_a_tied_head_is_a_second_copy_of_the_embedding():
    """llama.cpp loads it once for the rows that it looks up, and once where the output is computed."""
    serving, device, host = placed(name="google/gemma-2-2b-it")
    assert serving.model.tied
    assert device["weights"] == serving.weights_file_bytes
    none, device, host = placed(name="google/gemma-2-2b-it", n_gpu_layers=0)
    assert "weights" not in device
    assert host["weights"] == none.weights_file_bytes


@pytest.mark.parametrize("layers", [0, 1, 20, 48, 49, 99])
def test_the_last_layers_and_the_output_lie_on_the_device(layers):
    """The output counts as one: 49 of 48 layers are all; caches lie where their layers do."""
    serving, device, host = placed(n_gpu_layers=layers)
    assert device.get("weights", 0) + host["weights"] == serving.weights_file_bytes
    cache = 2 * 4 * 128 * 8192 * 2
    mine = min(max(layers - 1, 0), 48)
    assert device.get("kv_cache", 0) == mine * cache
    assert host.get("kv_cache", 0) == (48 - mine) * cache
    assert serving.cache_bytes == 48 * cache
    assert placed(n_gpu_layers=layers)[1] == device


def test_experts_of_the_first_layers_go_to_the_host():
    """--n-cpu-moe, --cpu-moe and --override-tensor say the same of all layers."""
    _, every, _ = placed()
    few, device, _ = placed(n_cpu_moe=30)
    moved = sum(
        tensor_bytes(tensor, few.plan.rule(tensor))
        for tensor in few.model.weights()
        if tensor.kind == "expert" and tensor.pool == "host"
    )
    assert every["weights"] - device["weights"] == moved > 0
    assert device["kv_cache"] == every["kv_cache"]
    assert placed("experts")[1:] == placed(n_cpu_moe=48)[1:] == placed("ffn_.*_exps=CPU")[1:]
    assert placed("^blk.(0|1).ffn_(gate|up|down)_exps=CPU")[1:] == placed(n_cpu_moe=2)[1:]
    assert placed("^blk.0.ffn_.*_exps=CPU,^blk.1.ffn_.*_exps=CPU")[1:] == placed(n_cpu_moe=2)[1:]


def test_biases_of_experts_go_with_them():
    """llama.cpp's own expression is ffn_(up|down|gate)_exps, which names ffn_up_exps.bias too."""
    name = "openai/gpt-oss-120b"
    every = placed("ffn_(up|down|gate)_exps=CPU", name)[1:]
    assert placed("experts", name)[1:] == placed(name=name, n_cpu_moe=36)[1:] == every


def test_an_expression_may_name_what_stands_outside_layers():
    """--override-tensor holds for every tensor: the head, and where it is the embedding, its copy."""
    serving, device, _ = placed()
    size = {w.name: tensor_bytes(w, serving.plan.rule(w)) for w in serving.model.weights()}
    outside = size["lm_head.weight"] + size["model.norm.weight"]
    _, moved, host = placed("^output=CPU")
    assert device["weights"] - moved["weights"] == outside
    assert host["weights"] == size["model.embed_tokens.weight"] + outside
    whole, device, host = placed("token_embd=CPU", "google/gemma-2-2b-it")
    assert device["weights"] + host["weights"] == whole.weights_file_bytes


@pytest.mark.parametrize(
    "offload",
    [
        "[=CPU",
        "=CPU",
        "=CPU=CPU",
        "exps=GPU",
        "exps=CUDA0,attn=CPU",
        "marlin",
        "nothing=CPU",
        "exps=CPU,nothing=CPU",
    ],
)
def test_a_placement_that_is_not_understood_is_refused(offload):
    with pytest.raises(MemcalcError, match="--offload"):
        placed(offload)


def test_experts_of_a_model_without_any_are_refused():
    """Also an expression for experts of a layer that has none."""
    for told in ({"offload": "experts"}, {"n_cpu_moe": 3}, {"offload": "exps=CPU"}):
        with pytest.raises(BadInputError, match=r"--offload|--engine-option n_cpu_moe"):
            placed(name="Qwen/Qwen3-32B", **told)
    with pytest.raises(BadInputError, match="names a tensor"):
        placed("blk.0.ffn_up_exps=CPU", "deepseek-ai/DeepSeek-R1")


def test_all_layers_may_be_said_as_the_answer_says_it():
    assert placed(n_gpu_layers=-1)[1:] == placed()[1:]


def test_a_pass_is_no_larger_than_the_batch():
    """llama-context.cpp: n_ubatch is at most n_batch."""
    assert placed(n_batch=128)[1] == placed(n_ubatch=128)[1] != placed()[1]


def test_buffers_of_several_devices_are_assumed():
    """What is recorded ran on one."""
    for devices, evidence in ((1, "measured"), (2, "assumed")):
        serving = serve("Qwen/Qwen3-8B", context=8192, weights="Q4_K_M", pp=devices)
        (line,) = [line for line in serving.budget.pools[0].lines if line.component == "activations"]
        assert line.evidence == evidence


def test_layers_in_the_host_and_several_devices_are_refused():
    asked = {"context": 8, "engine": "llama.cpp", "weights": "Q4_K_M"}
    serving = serve("Qwen/Qwen3-30B-A3B", **asked, pp=2, engine_options={"n_cpu_moe": 2})
    with pytest.raises(BadInputError, match="--pp"):
        _ = serving.budget


def test_the_hosts_memory_bounds_what_its_layers_remember():
    asked = {"context": 8192, "engine": "llama.cpp", "weights": "Q4_K_M"}
    told = {"n_gpu_layers": 20}
    large = serve("Qwen/Qwen3-30B-A3B", **asked, on="1x rtx-4090 + 64GiB host", engine_options=told)
    small = serve("Qwen/Qwen3-30B-A3B", **asked, on="1x rtx-4090 + 11GiB host", engine_options=told)
    assert small.max_context < large.max_context
    assert small.search.fits(1, small.max_context)
    assert not small.search.fits(1, small.max_context + 256)
    assert (
        small.search.free_host_bytes(1, small.max_context)
        >= 0
        > small.search.free_host_bytes(1, small.max_context + 256)
    )
    none = serve("Qwen/Qwen3-30B-A3B", **asked, on="1x rtx-4090 + 4GiB host", engine_options=told)
    assert not none.fits
    assert none.max_context == none.max_batch == 0


# as people run it

GEMMA = "google/gemma-3-27b-it"  # 10 layers of 62 attend to everything, the others to 1,024 tokens


@pytest.mark.parametrize(
    ("options", "cells"),
    [
        ({}, 1536),  # one sequence: a window and a pass of 512 tokens
        ({"server": True}, 4608),  # four windows in one cache
        ({"server": True, "n_seq_max": 1}, 1536),  # llama-server -np 1
        ({"server": True, "n_seq_max": 4}, 4 * 1536),  # -np 4: each slot has a cache of its own
        ({"server": True, "swa_full": True}, 8192),
        ({"swa_full": True}, 8192),
    ],
)
def test_windows_as_the_programs_keep_them(options, cells):
    a_layer = 2 * 16 * 128 * 2
    assert cache_bytes(GEMMA, 8192, options, weights="Q4_K_M") == (10 * 8192 + 52 * cells) * a_layer


def test_a_token_of_a_model_with_windows():
    """10 of 62 layers grow on, as in the architecture; all of them while every window still grows."""
    layer = 2 * 16 * 128 * 2
    growth = growth_with(load_model(GEMMA), "llama.cpp")
    assert (growth["bytes_per_token"], growth["bytes_per_token_in_window"]) == (10 * layer, 62 * layer)


def test_the_answer_names_the_program_and_the_other_ones_cache():
    one, server = (
        str(serve(GEMMA, context=8192, weights="Q4_K_M", engine_options=options))
        for options in ({}, {"server": True})
    )
    assert "llama.cpp 0.5.0" in one
    assert "one sequence, swa_full=false, as llama-cli and llama-server -np 1 run it" in one
    assert "server=true, llama-server's own 4 slots: 2.45 GiB" in one
    assert "kv_cache         1.23 GiB" in one
    assert "kv_cache         2.45 GiB" in server
    assert "llama-cli and llama-server -np 1: 1.23 GiB" in server
    many = serve(GEMMA, context=8192, weights="Q4_K_M", batch=8)
    assert "8 sequences that share 8,192 tokens" in str(many)
    assert "8 x 8,192" not in str(many)


def test_the_prompt_cache_of_the_server_lies_in_the_hosts_memory():
    """--cache-ram: at most 8,192 MiB, and only llama-server has it (ollama/ollama#18264, 2026-09)."""
    asked = {"context": 8192, "engine": "llama.cpp", "weights": "Q4_K_M", "on": "1x rtx-4090 + 64GiB host"}
    _, one = serve("Qwen/Qwen3-8B", **asked).budget.pools
    _, server = serve("Qwen/Qwen3-8B", **asked, engine_options={"server": True}).budget.pools
    assert one.low_bytes == one.high_bytes == server.low_bytes == server.total_bytes
    assert server.high_bytes - server.total_bytes == 8192 * MIB


@pytest.mark.parametrize(("model_type", "times"), [("qwen3_next", 1), ("qwen3_5", 3)])
def test_states_that_a_sequence_can_be_rolled_back_to(model_type, times):
    """llama.cpp v0.5.0 takes rs_seq as 0 for Qwen3-Next, with a warning; of Qwen3.5 it keeps as many more.

    "size = 448.88 MiB (1 cells, 64 layers, 1 seqs 2 rs_seq)": TheTom/llama-cpp-turboquant#308, 2026-08.
    """
    model = read(PUBLIC["Qwen/Qwen3-Next-80B-A3B-Instruct"]["config"])
    sizes = []
    for number in (0, 2):
        options = {**ENGINE.defaults, "rs_seq": number}
        held = ENGINE.cache(replace(gguf_model(model), model_type=model_type), 1, 8192, options)
        sizes.append(sum(tensor.count for tensor in held if tensor.kind == "state"))
    assert sizes[1] == times * sizes[0] > 0


def test_more_sequences_than_there_is_room_for_are_refused():
    asked = {"context": 8192, "engine": "llama.cpp", "weights": "Q4_K_M"}
    for options in ({"n_seq_max": 4}, {"server": True}):
        with pytest.raises(MemcalcError, match=r"^--batch: expected at most n_seq_max, 4, given 8; "):
            serve("Qwen/Qwen3-8B", batch=8, engine_options=options, **asked)
        fits = serve("Qwen/Qwen3-8B", batch=4, engine_options=options, on="1x h100-80g + 64GiB host", **asked)
        assert fits.max_batch == 4
    with_more = serve("Qwen/Qwen3-8B", batch=8, engine_options={"server": True, "n_seq_max": 8}, **asked)
    assert not with_more.plan.engine_options["kv_unified"]  # as with -np 8


@pytest.mark.parametrize(
    ("options", "cache", "states"),
    [
        ({}, 256, 149.62),
        ({"rs_seq": 2}, 256, 448.88),
        ({"n_seq_max": 3, "rs_seq": 1}, 672, 897.75),
        ({"n_seq_max": 4, "kv_unified": True}, 2048, 598.5),
    ],
)
def test_qwen3_5_as_the_library_says_it(tmp_path, options, cache, states):
    """llama.cpp v0.5.0 on a file of Qwen3.8-27B's shapes: MiB of its cache, and of R and S in 32 bits."""
    (tmp_path / "config.json").write_text(json.dumps(QWEN_27B), encoding="utf-8")
    context = {0: 4096, 3: 10_000, 4: 32_768}[options.get("n_seq_max", 0)]
    served = serve(
        tmp_path,
        context=context,
        batch=options.get("n_seq_max", 1),
        engine="llama.cpp",
        weights="Q4_K_M",
        engine_options=options,
    )
    sizes = served.device.components
    assert sizes["kv_cache"] == cache * MIB
    assert sizes["state"] / MIB == pytest.approx(states, abs=0.006)


def test_a_file_of_qwen3_5_is_read(tmp_path):
    """With the layer that predicts further tokens, which its converter writes behind the others."""
    path = model_file(tmp_path / "model.gguf", QWEN_27B, "Q4_K_M")
    found, expected = load_model(path), read(QWEN_27B)
    for name in ("parameters", "mtp_parameters", "depth"):
        assert getattr(found, name) == getattr(expected, name)
