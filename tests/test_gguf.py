"""GGUF files, written here by hand, against the ledger: models, types, splits, damage."""

from __future__ import annotations

import contextlib
import io
import json
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from memcalc.__main__ import main
from memcalc.errors import BadInputError
from memcalc.files.catalogue import record
from memcalc.files.gguf.header import TYPES
from memcalc.files.gguf.model import gguf_model
from memcalc.files.gguf.presets import PRESETS
from memcalc.files.readers import read
from memcalc.files.sources import source
from memcalc.serving import serve
from tests import gguf_small
from tests.gguf_files import described, header, model_file, stored, write
from tests.test_schema import faults

RECORDED = Path(__file__).parent / "recorded"
PUBLIC = json.loads((RECORDED / "models.json").read_text(encoding="utf-8"))["models"]
NEXT, LITE = "Qwen/Qwen3-Next-80B-A3B-Instruct", "deepseek-ai/DeepSeek-V2-Lite"
NAMES = [
    "meta-llama/Meta-Llama-3.1-8B",
    "mistralai/Mixtral-8x7B-v0.1",
    "Qwen/Qwen2.5-7B-Instruct",
    "Qwen/Qwen3-0.6B",
    "Qwen/Qwen3-235B-A22B",
    "deepseek-ai/DeepSeek-R1",
    "google/gemma-2-9b-it",
    "google/gemma-3-27b-it",
    "microsoft/phi-4",
    "openai/gpt-oss-120b",
    NEXT,
    LITE,
    "zai-org/GLM-4.5-Air",
    "deepseek-ai/DeepSeek-V3.2",
    "zai-org/GLM-5",
]
SMALL = {
    "model_type": "qwen3",
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "vocab_size": 320,
    "tie_word_embeddings": False,
    "max_position_embeddings": 4096,
}


def config_of(name):
    return PUBLIC[name]["config"] if name in PUBLIC else record(name).fields


@pytest.fixture
def answer(capsys):
    """Ask the command, get the JSON."""

    def ask(*arguments):
        assert main([*map(str, arguments), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert faults(arguments[0], found) == []
        return found

    return ask


@pytest.fixture
def refusal(capsys):
    """Ask the command, get the one line that it refuses with."""

    def ask(*arguments):
        assert main([*map(str, arguments)]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith("memcalc: error: ")
        assert printed.err.count("\n") == 1
        return printed.err

    return ask


@pytest.fixture
def small(tmp_path):
    """A small file: `small(values={...}, tensors=lambda listed: ...)` changes what is written."""

    def make(mix="Q4_K_M", values=None, tensors=list, name="small.gguf", version=3):
        model = read(SMALL)
        known = described(SMALL, model) | (values or {})
        return write(tmp_path / name, known, tensors(stored(model, mix)), version)

    return make


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_the_model_that_it_was_made_of(tmp_path, answer, name):
    """Every tensor of the file is one of the ledger's, and the other way round; sparse files take no disk."""
    path = model_file(tmp_path / "model.gguf", config_of(name), "Q4_K_M")
    said, ours = answer("model", path), read(config_of(name))
    assert said["differences"] == []
    assert (said["parameters"], said["active_parameters"]) == (ours.parameters, ours.active_parameters)
    assert (said["depth"], said["tied"]) == (ours.depth, ours.tied)
    assert said["header"]["bytes"] == said["header"]["ledger_bytes"]
    assert path.stat().st_blocks * 512 < 10**6


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", [kind for kind in gguf_small.DRAWN if kind in gguf_small.READ_BACK])
def test_a_file_of_a_plain_decoder_is_read_back(tmp_path, answer, kind, seed):
    """Its key-values and the tensors that are there say all that counts."""
    config = gguf_small.small(kind, seed)
    ours = gguf_model(read(config))
    said = answer("model", model_file(tmp_path / "model.gguf", config, "Q4_K_M"))
    assert said["differences"] == []
    for name in ("parameters", "active_parameters", "depth", "tied"):
        assert said[name] == getattr(ours, name), name
    asked = {"context": 9999, "engine": "llama.cpp"}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    both = [serve(tmp_path / file, **asked).cache_bytes for file in ("model.gguf", "config.json")]
    assert both[0] == both[1]


@pytest.mark.parametrize("mix", PRESETS)
def test_the_types_of_the_file_decide(tmp_path, answer, mix):
    path = model_file(tmp_path / "model.gguf", config_of("Qwen/Qwen3-30B-A3B"), mix)
    by_file = answer("serve", path, "--context", 8192)
    named = answer("model", path)["quantization"]
    assert "not stated" not in named
    by_name = answer(
        "serve", "Qwen/Qwen3-30B-A3B", "--context", 8192, "--weights", mix, "--engine", "llama.cpp"
    )
    assert by_file["engine"] == "llama.cpp"
    assert by_file["weights_file_bytes"] == by_name["weights_file_bytes"] == by_file["header"]["bytes"]
    assert by_file["pools"] == by_name["pools"]


def test_a_file_that_follows_no_mix(small, answer):
    """One tensor in more bits, as in what others call dynamic: the plan has exactly its bytes more."""

    def better(listed):
        return [(n, s, "Q8_0" if n == "blk.1.ffn_up.weight" else dtype) for n, s, dtype in listed]

    plain, dynamic = answer("serve", small(), "--context", 256), None
    dynamic = answer("serve", small(tensors=better, name="b.gguf"), "--context", 256)
    more = 512 * 256 // 256 * (8 * 34 - 144)
    assert dynamic["weights_file_bytes"] - plain["weights_file_bytes"] == more
    assert dynamic["differences"] == []


SCALED = {**SMALL, "model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2}
SCALED["moe_intermediate_size"] = 128


def test_matrices_in_nvfp4_have_scales_beside_them(tmp_path, answer):
    """36 bytes for 64 numbers, and an fp32 a matrix, or an expert, for its scales and for its inputs."""
    model = read(SCALED)
    plain = stored(model, "F16")
    packed = [(name, shape, "NVFP4" if "exps" in name else dtype) for name, shape, dtype in plain]
    beside = [
        (name.replace("weight", scale), (4,), "F32")
        for name, _, dtype in packed
        for scale in ("scale", "input_scale")
        if dtype == "NVFP4"
    ]
    assert len(beside) == 2 * 3 * 2
    path = write(tmp_path / "packed.gguf", described(SCALED, model), packed + beside)
    said = answer("serve", path, "--context", 256)
    assert said["differences"] == []
    assert said["header"]["bytes"] == said["header"]["ledger_bytes"]
    numbers = 2 * 3 * 4 * 128 * 256
    before = answer(
        "serve", write(tmp_path / "plain.gguf", described(SCALED, model), plain), "--context", 256
    )
    assert before["weights_file_bytes"] - said["weights_file_bytes"] == 2 * numbers - numbers // 64 * 36
    assert (
        before["header"]["bytes"] - said["header"]["bytes"] == 2 * numbers - numbers // 64 * 36 - 4 * 4 * 12
    )


def test_scales_of_another_shape_are_a_difference(small, answer):
    def more(listed):
        return [*listed, ("blk.0.ffn_up.scale", (2,), "F32"), ("blk.0.attn_norm.scale", (1,), "F32")]

    found = answer("model", small(tensors=more))["differences"]
    assert [(one["name"], one["kind"]) for one in found] == [
        ("blk.0.ffn_up.scale", "shape"),
        ("blk.0.attn_norm.scale", "unexpected"),
    ]


def test_the_file_says_which_mix_it_is(small):
    path = small(values={"general.file_type": 15})
    assert serve(str(path), context=256).plan.weights == "Q4_K_M, as the file has it"


def test_another_mix_of_the_same_model(small):
    """--weights leaves the file's own types aside, as it does a quantization_config."""
    path = str(small("F16"))
    assert (
        serve(path, context=256, weights="Q8_0").weights_file_bytes
        < serve(path, context=256).weights_file_bytes
    )


def test_version_2_and_tokens_instead_of_a_vocabulary(small, answer):
    tokens = {"tokenizer.ggml.tokens": [f"word {number}" for number in range(320)]}
    assert answer("model", small(version=2, values=tokens))["differences"] == []


@pytest.mark.parametrize("old", [False, True])
def test_older_files_of_deepseek_keep_all_heads(tmp_path, answer, old):
    path = model_file(tmp_path / "model.gguf", config_of("deepseek-ai/DeepSeek-R1"), "Q8_0", old=old)
    said = answer("serve", path, "--context", 4096)
    assert said["differences"] == []
    assert said["pools"][0]["components"]["kv_cache"] == (19_520 if old else 274.5) * 2**20


GLM_5 = {
    **record("zai-org/GLM-5").fields,
    "num_hidden_layers": 8,
    "indexer_types": ["full", "full", "full", "shared", "shared", "shared", "full", "shared"],
}


def test_layers_without_an_indexer_of_their_own(tmp_path, answer):
    """GLM-5.2's kind: the file's list says which; without it all have one, or every fourth if it is newer."""
    path = model_file(tmp_path / "model.gguf", GLM_5)
    said = answer("model", path)
    assert said["differences"] == []
    per_layer = 2 * (512 + 64)
    assert said["cache"]["bytes_per_token"] == 8 * per_layer + 4 * 2 * 128
    model = read(GLM_5)
    values = described(GLM_5, model)
    del values["glm-dsa.attention.indexer.types"]
    older = answer("model", write(tmp_path / "older.gguf", values, stored(model)))
    missing = [one["name"] for one in older["differences"]]
    assert {name.rpartition("indexer.")[2] for name in missing} == {
        "attn_q_b.weight",
        "attn_k.weight",
        "k_norm.weight",
        "k_norm.bias",
        "proj.weight",
    }
    assert sum(one["count"] for one in older["differences"]) == 4 * 5
    longer = values | {"glm-dsa.context_length": 2**20}
    assert answer("model", write(tmp_path / "longer.gguf", longer, stored(model)))["differences"] == []


def test_a_list_of_indexers_that_is_too_short(tmp_path, refusal):
    path = model_file(tmp_path / "model.gguf", GLM_5, **{"glm-dsa.attention.indexer.types": [1, 1]})
    assert "glm-dsa.attention.indexer.types: expected a list of 8 numbers" in refusal("model", path)


@pytest.mark.parametrize("name", ["zai-org/GLM-4.5-Air", "deepseek-ai/DeepSeek-V3.2"])
def test_layers_for_prediction_are_in_the_file_and_are_not_loaded(tmp_path, answer, name):
    """With a copy of embedding and head or without; a file that leaves them out has no further blocks."""
    config = record(name).fields
    model = read(config)
    depth, listed = model.depth, stored(model)
    prefix = f"{described(config, model)['general.architecture']}."
    assert {one for one, _, _ in listed if one.startswith(f"blk.{depth}.nextn.")} == {
        f"blk.{depth}.nextn.{part}.weight" for part in ("eh_proj", "enorm", "hnorm", "shared_head_norm")
    }
    table = next(shape for one, shape, _ in listed if one == "token_embd.weight")
    copied = [
        (f"blk.{depth}.nextn.{one}.weight", table, "F16") for one in ("embed_tokens", "shared_head_head")
    ]
    path = write(tmp_path / "copied.gguf", described(config, model), listed + copied)
    whole = answer("serve", path, "--context", 256)
    assert whole["differences"] == []
    assert whole["header"]["bytes"] == whole["header"]["ledger_bytes"]
    text, beside = whole["weights_file_bytes"], whole["not_loaded_bytes"]["mtp"]
    ahead = answer("serve", path, "--context", 256, "--draft", "mtp")
    drafts = [line for line in ahead["lines"] if line["name"].startswith("draft weights")]
    assert sum(line["bytes"] for line in drafts) == beside
    assert whole["header"]["bytes"] == text + beside + 2 * 2 * table[0] * table[1]
    without = [one for one in listed if not one[0].startswith(f"blk.{depth}.")]
    values = described(config, model) | {f"{prefix}block_count": depth, f"{prefix}nextn_predict_layers": 0}
    said = answer("serve", write(tmp_path / "without.gguf", values, without), "--context", 256)
    assert said["differences"] == []
    assert said["header"]["bytes"] == said["weights_file_bytes"] == whole["weights_file_bytes"]
    assert said["pools"] == whole["pools"]


@pytest.mark.parametrize("old", [False, True])
def test_ktransformers_keeps_the_latent_whichever_way_the_file_holds_its_projection(tmp_path, answer, old):
    path = model_file(tmp_path / "model.gguf", config_of("deepseek-ai/DeepSeek-R1"), "Q4_K_M", old=old)
    asked = ("serve", path, "--context", 8192, "--engine", "ktransformers")
    device = answer(*asked, "--engine-version", "0.2")["pools"][0]["components"]
    assert answer(*asked)["pools"][0]["components"]["kv_cache"] == 8192 * 70_272
    assert device["kv_cache"] == 8192 * 70_272
    assert device["weights"] == 10_475_267_072


def test_tables_of_frequencies_are_no_difference(small, answer):
    def more(listed):
        return [*listed, ("rope_freqs.weight", (32,), "F32")]

    said = answer("model", small(tensors=more))
    assert said["differences"] == []
    assert said["header"]["bytes"] == said["header"]["ledger_bytes"]


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (
            lambda listed: [one for one in listed if one[0] != "blk.1.attn_k.weight"],
            {
                "name": "blk.1.attn_k.weight",
                "kind": "missing",
                "expected": {"shape": [128, 256]},
                "found": None,
            },
        ),
        (
            lambda listed: [
                *listed,
                ("blk.0.attn_q.bias", (256,), "F32"),
                ("blk.1.attn_q.bias", (256,), "F32"),
            ],
            {
                "name": "blk.{layer}.attn_q.bias",
                "kind": "unexpected",
                "expected": None,
                "found": {"dtype": "F32", "shape": [256]},
                "count": 2,
            },
        ),
        (
            lambda listed: [
                (name, (640, 256) if name == "blk.0.ffn_up.weight" else shape, dtype)
                for name, shape, dtype in listed
            ],
            {
                "name": "blk.0.ffn_up.weight",
                "kind": "shape",
                "expected": {"shape": [512, 256]},
                "found": {"dtype": "Q4_K", "shape": [640, 256]},
            },
        ),
    ],
    ids=["missing", "unexpected", "shape"],
)
def test_what_is_broken_is_the_one_difference(small, answer, change, difference):
    assert answer("model", small(tensors=change))["differences"] == [{"count": 1, **difference}]


def test_a_file_without_a_tensor_cannot_be_served(small, refusal):
    path = small(tensors=lambda listed: [one for one in listed if one[0] != "blk.1.attn_k.weight"])
    assert "blk.1.attn_k.weight" in refusal("serve", path, "--context", 256)


# files that were cut into several


def cut(tmp_path, parts, count=None):
    model = read(SMALL)
    listed, paths = stored(model, "Q4_K_M"), []
    for number in range(parts):
        values = {"split.no": number, "split.count": parts, "split.tensors.count": count or len(listed)}
        values = (described(SMALL, model) if number == 0 else {}) | values
        name = f"small-{number + 1:05}-of-{parts:05}.gguf"
        paths.append(write(tmp_path / name, values, listed[number::parts]))
    return paths


def test_all_files_of_a_model_are_read_whichever_is_given(tmp_path, answer):
    paths = cut(tmp_path, 3)
    said = [answer("model", path) for path in paths]
    assert {one["header"]["files"] for one in said} == {3}
    assert all(one["differences"] == [] for one in said)


def test_a_file_is_missing(tmp_path, refusal):
    paths = cut(tmp_path, 3)
    paths[1].unlink()
    assert "no small-00002-of-00003.gguf" in refusal("model", paths[2])


def test_files_that_do_not_belong_together(tmp_path, refusal):
    assert "do not belong together" in refusal("model", cut(tmp_path, 2, count=99)[0])


# damage


def spoiled(path, change):
    content = bytearray(path.read_bytes())
    path.write_bytes(change(content))
    return path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda content: b"", "begins with GGUF"),
        (lambda content: b"GG", "begins with GGUF"),
        (lambda content: b"GGML" + content[4:], "begins with GGUF"),
        (lambda content: b"GGUF" + struct.pack("<I", 1) + content[8:], "version 2 or 3"),
        (lambda content: b"GGUF" + struct.pack(">I", 3) + content[8:], "version 2 or 3"),
        (lambda content: content[:100], "a whole header"),
        (lambda content: content[:-5000], "bytes that its header says"),
        (lambda content: content[:8] + struct.pack("<Q", 2**62) + content[16:], "the name twice"),
        (lambda content: content[:16] + struct.pack("<Q", 2**62) + content[24:], "small.gguf"),
        (lambda content: content[:24] + struct.pack("<Q", 2**62) + content[32:], "a whole header"),
        (lambda content: content.replace(b"general.architecture", b"general.\xffrchitecture"), "UTF-8"),
        (
            lambda content: content.replace(b"blk.1.attn_k.weight", b"blk.1.attn_v.weight", 1),
            "each tensor once",
        ),
        (
            lambda content: content.replace(b"qwen3.block_count", b"qwen3.vocab_size\0", 1),
            "qwen3.block_count",
        ),
    ],
)
def test_a_damaged_file_is_refused(small, refusal, change, says):
    assert says in refusal("model", spoiled(small(), change))


def test_a_file_that_lacks_its_last_byte_is_refused(tmp_path, refusal):
    """A block of Q8_0 has 34 bytes; where nothing is padded behind it, each of them is needed."""
    path = tmp_path / "cut.gguf"
    head, _ = header({"general.architecture": "qwen3"}, [("a", (32,), "Q8_0")])
    path.write_bytes(head + b"\0" * 33)
    assert f"the {len(head) + 34} bytes that its header says" in refusal("model", path)
    path.write_bytes(head + b"\0" * 34)
    assert "that its header says" not in refusal("model", path)


def entry(name, shape, number, offset):
    axes = tuple(reversed(shape))
    text = struct.pack("<Q", len(name)) + name.encode()
    return text + struct.pack(f"<I{len(axes)}QIQ", len(axes), *axes, number, offset)


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        (entry("a", (4, 4), 99, 0), "type 99"),
        (entry("a", (4, 4), 31, 0), "type 31 (Q4_0_4_4)"),  # a type that ggml once had
        (entry("a", (4, 256), 15, 0), "type 15 (Q8_K)'; llama.cpp keeps it between products only"),
        (entry("a", (4, 4), 26, 0), "type 26 (I32)'; llama.cpp multiplies no weight of this type"),
        (entry("a", (4, 32), 40, 0), "whole blocks of 64"),
        (entry("a", (4, 4), 12, 0), "whole blocks of 256"),
        (entry("a", (1, 1, 1, 1, 1), 0, 0), "at most 4 axes"),
        (entry("a", (4, 4), 0, 32), "to begin at byte 0"),
    ],
)
def test_a_tensor_that_cannot_be(tmp_path, refusal, tensor, says):
    path = tmp_path / "small.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + tensor + b"\0" * 2000)
    assert says in refusal("model", path)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"general.alignment": 0}, "general.alignment"),
        ({"qwen3.attention.head_count_kv": [1, 2]}, "one whole number for all layers"),
        ({"qwen3.attention.value_length": 32}, "value_length"),
        ({"qwen3.block_count": 2.5}, "qwen3.block_count"),
        ({"qwen3.embedding_length": 0}, "qwen3.embedding_length: expected a whole number >= 1"),
        ({"qwen3.block_count": 10**9}, "qwen3.block_count: expected at most 10000 layers"),
        ({"qwen3.context_length": 2**60}, "qwen3.context_length: expected at most 9007199254740992"),
        (
            {"qwen3.attention.head_count_kv": 3},
            "qwen3.attention.head_count_kv: expected a divisor of qwen3.attention.head_count",
        ),
    ],
)
def test_key_values_that_are_not_understood(small, refusal, values, says):
    assert says in refusal("model", small(values=values))


def test_an_architecture_without_a_reader_has_weights_alone(small, refusal, answer):
    path = small(values={"general.architecture": "arctic"})
    assert "arctic.block_count" in answer("model", path)["cache_unknown"]
    assert "general.architecture" in refusal("serve", path, "--context", 256)


def test_an_array_of_a_damaged_length_ends_soon(tmp_path, refusal):
    """A hole of a terabyte behind it holds as many empty texts as one likes."""
    path, key = tmp_path / "small.gguf", b"tokens"
    with path.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, len(key)) + key + struct.pack("<IIQ", 9, 8, 2**33))
        file.truncate(2**40)
    assert "arrays of at most" in refusal("model", path)


def test_a_list_of_equal_numbers_is_one_number(small, answer):
    assert answer("model", small(values={"qwen3.feed_forward_length": [512, 512]}))["differences"] == []


def test_what_is_no_file(tmp_path, refusal):
    assert "expected a readable file" in refusal("model", tmp_path / "absent.gguf")
    (tmp_path / "folder.gguf").mkdir()
    assert "memcalc: error: SOURCE" in refusal("model", tmp_path / "folder.gguf")


@pytest.mark.slow
@settings(max_examples=300)
@given(data=st.data())
def test_no_file_ends_in_a_traceback(tmp_path_factory, data):
    """Bytes changed, added and cut anywhere: an answer, or one line."""
    model = read(SMALL)
    head, length = header(described(SMALL, model), stored(model, "Q4_K_M"))
    content = bytearray(head + b"\0" * length)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(head) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("any") / "small.gguf"
    path.write_bytes(content[: data.draw(st.sampled_from([len(content), len(head), len(head) // 2]))])
    said, printed = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(printed):
        status = main(["model", str(path)])
    assert (status == 0 and not said.getvalue()) or (status == 2 and said.getvalue().count("\n") == 1)


def test_every_type_has_a_size():
    from memcalc.files.gguf.header import format_of

    assert {format_of(name).is_plain for name in TYPES.values()} == {True, False}


def test_a_source_knows_what_it_is(small):
    assert source(str(small())).is_gguf
    assert not source("Qwen/Qwen3-0.6B").is_gguf
    with pytest.raises(BadInputError, match="a readable file"):
        source("absent.gguf")
